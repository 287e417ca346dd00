// Package daemon runs other people's servers for examples and their tests.
package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Daemon is a server that runs until Close, or until this process ends.
type Daemon struct {
	stdin io.Closer // its end is the server's
	ended chan error
	log   serverLog
}

// Start starts cmd, a server that stays in the foreground, and waits until it has
// written ready, for a minute at most. cmd must have no standard input and output.
func Start(cmd *exec.Cmd, ready string) (*Daemon, error) {
	d := &Daemon{ended: make(chan error, 1), log: serverLog{ready: ready, isReady: make(chan struct{})}}
	// The shell becomes the server; its child waits for the end of the input.
	const script = `exec 3<&0
		(cat <&3; kill -INT $$) >/dev/null 2>&1 &
		exec "$@" 3<&- </dev/null`
	cmd.Args = append([]string{"/bin/sh", "-c", script, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.Stdout, cmd.Stderr = &d.log, &d.log
	var err error
	if d.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.ended <- cmd.Wait() }()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case <-d.log.isReady:
		return d, nil
	case err := <-d.ended:
		d.stdin.Close()
		return nil, fmt.Errorf("it ended with %v: %s", err, d.Log())
	case <-limit.C:
		d.Close()
		return nil, fmt.Errorf("it is not ready after a minute: %s", d.Log())
	}
}

// Log is what the server has written so far.
func (d *Daemon) Log() string {
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	return d.log.text.String()
}

// Close ends the server, waits for its end, and returns what it ended with. It is
// called once.
func (d *Daemon) Close() error {
	d.stdin.Close()
	return <-d.ended
}

// serverLog keeps what a server writes.
type serverLog struct {
	ready   string
	isReady chan struct{} // closed when it has written that

	mu   sync.Mutex
	text strings.Builder
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if l.ready != "" && strings.Contains(l.text.String(), l.ready) {
		l.ready = ""
		close(l.isReady)
	}
	return len(b), nil
}

// Unprivileged is who a server runs as that is not to be root: nobody, if this process
// is root; nil is the user of this process.
func Unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// As runs a command as c; nil is the user of this process.
func As(c *syscall.Credential) *syscall.SysProcAttr { return &syscall.SysProcAttr{Credential: c} }

// Give makes files those of the user whom Unprivileged names.
func Give(files ...string) error {
	c, err := Unprivileged()
	if c == nil || err != nil {
		return err
	}
	for _, f := range files {
		err = errors.Join(err, os.Chown(f, int(c.Uid), int(c.Gid)))
	}
	return err
}

// FreeAddr is an address on loopback that nobody listens on now, for servers that do
// not tell which one they took.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Await waits until addr is listened on, for a minute at most.
func Await(addr string) error {
	limit := time.After(time.Minute)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-again.C:
		case <-limit:
			return fmt.Errorf("nobody listens after a minute: %w", err)
		}
	}
}
