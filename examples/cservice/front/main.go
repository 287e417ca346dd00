//go:build unix

// Front is an acceptor in Go for a worker in C, worker.c: it does the handshake and
// hands the context and the connection to the worker, who serves the client and hands
// the context back for the last words.
//
//	front ./worker
//
// It prints its port, serves one client after the other, and ends with SIGTERM.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: front worker [argument...]")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "front: %v\n", err)
		os.Exit(1)
	}
}

func run(command []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cred, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{Usage: gssapi.Accept})
	if err != nil {
		return err
	}
	defer cred.Close()
	worker, end, err := startWorker(command)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	fmt.Println("port", l.Addr().(*net.TCPAddr).Port)
	failed := 0
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			return err
		}
		if err := serve(conn.(*net.TCPConn), cred, worker); err != nil {
			fmt.Fprintf(os.Stderr, "front: %v\n", err)
			failed++
		}
		conn.Close()
	}
	fmt.Println("failed", failed)
	worker.Close() // tells it that there is no more to come
	return end()
}

// startWorker starts the worker with one end of a socket pair that nobody else has.
// That is why what comes from it may go to the C library, which trusts a context.
func startWorker(command []string) (worker *net.UnixConn, end func() error, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	mine, its := os.NewFile(uintptr(fds[0]), "front"), os.NewFile(uintptr(fds[1]), "worker")
	defer mine.Close()
	defer its.Close()
	c, err := net.FileConn(mine)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{its}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // signals are for this process
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return c.(*net.UnixConn), cmd.Wait, nil
}

func serve(conn *net.TCPConn, cred *gssapi.Credential, worker *net.UnixConn) error {
	end := time.Now().Add(2 * time.Minute)
	conn.SetDeadline(end)
	worker.SetDeadline(end)
	sec := gssapi.NewAcceptor(&gssapi.AcceptorOptions{Credential: cred, Require: gssapi.DefaultFlags})
	defer func() { sec.Close() }()
	for !sec.Established() {
		token, err := frame.Read(conn)
		if err != nil {
			return err
		}
		out, err := sec.Step(context.Background(), token)
		if len(out) > 0 {
			err = errors.Join(err, frame.Write(conn, out))
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(hear(conn, sec), say(conn, sec, "welcome")); err != nil {
		return err
	}
	info, err := sec.Info()
	if err != nil {
		return err
	}
	if sec, err = lend(conn, sec, info, worker); err != nil {
		return err
	}
	return errors.Join(say(conn, sec, "goodbye "+info.Peer().String()), hear(conn, sec), say(conn, sec, ""))
}

func say(conn net.Conn, sec *gssapi.Context, text string) error {
	token, err := sec.Wrap([]byte(text))
	if err != nil {
		return err
	}
	return frame.Write(conn, token)
}

// hear takes one message of the client, whatever it is.
func hear(conn net.Conn, sec *gssapi.Context) error {
	token, err := frame.Read(conn)
	if err != nil {
		return err
	}
	_, err = sec.Unwrap(token)
	return err
}

// lend gives the context to the worker, until it has served the client.
func lend(conn *net.TCPConn, sec *gssapi.Context, info *gssapi.ContextInfo, worker *net.UnixConn) (*gssapi.Context, error) {
	token, err := sec.Export()
	if err != nil {
		return sec, err
	}
	err = pass(worker, conn, token)
	clear(token)
	if err != nil {
		return sec, err
	}
	seen, err := frame.Read(worker)
	if err != nil {
		return sec, err
	}
	token, err = frame.Read(worker)
	if err != nil {
		return sec, err
	}
	defer clear(token)
	fmt.Printf("worker %s\n", seen)
	if want := fmt.Sprintf("%v %x", info.Peer(), uint32(info.Flags)); string(seen) != want {
		return sec, fmt.Errorf("the worker sees %q, and should see %q", seen, want)
	}
	if len(token) == 0 {
		return sec, errors.New("the worker has lost the context")
	}
	return gssapi.Import(token, &gssapi.ImportOptions{Require: info.Flags, Mech: info.Mech, Peer: info.Peer()})
}

// pass sends a frame with a context, and the connection with it.
func pass(worker *net.UnixConn, conn *net.TCPConn, token []byte) error {
	raw, err := conn.SyscallConn() // and not File, which makes the connection blocking
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(token)))
		_, _, sendErr = worker.WriteMsgUnix(head, syscall.UnixRights(int(fd)), nil)
	})
	if err := errors.Join(err, sendErr); err != nil {
		return err
	}
	_, err = worker.Write(token)
	return err
}
