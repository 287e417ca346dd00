// Prefork is a line server of two kinds of processes. The acceptor has the keytab
// and authenticates the clients; workers, which are another user, speak with them
// and cannot read it. What a client sends after the handshake never reaches the
// acceptor, and what breaks a worker does not get at the keys of the service.
//
//	prefork -try                        shows it on a throwaway realm
//	KRB5_KTNAME=... prefork -addr :4444 serves; systemd may have opened the socket
//
// Started as root the workers are the user nobody (-user); otherwise there is one
// user, which the program says.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/handoff"
)

type options struct {
	addr, user string
	workers    int
	probe      string // of -try: a file that workers are to try to read
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:4444", "`host:port` to listen on, unless systemd has opened the socket")
	flag.StringVar(&o.user, "user", "nobody", "`name` of the workers' user, when started as root")
	flag.IntVar(&o.workers, "workers", 4, "how many workers there are")
	flag.StringVar(&o.probe, "probe", "", "for workers: a `file` to try to read, and say whether they can")
	attempt := flag.Bool("try", false, "start a realm, a server and some clients, and end")
	flag.Parse()
	var err error
	switch {
	case handoff.IsWorker():
		err = work(o)
	case *attempt:
		err = try(o)
	default:
		err = serve(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prefork:", err)
		os.Exit(1)
	}
}

// serve is the acceptor, until SIGTERM or SIGINT.
func serve(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listeners, err := handoff.ActivationListeners()
	if err != nil {
		return err
	}
	if len(listeners) == 0 {
		l, err := net.Listen("tcp", o.addr)
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	s, err := newServer(ctx, o)
	if err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		slog.Info("listening", "addr", l.Addr())
		go func() { failed <- s.Serve(l) }()
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	slog.Info("draining", "stats", s.Stats())
	drain, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, s.Shutdown(drain))
}

// newServer is the acceptor's half.
func newServer(ctx context.Context, o options) (*handoff.Server, error) {
	if os.Getuid() != 0 {
		slog.Warn("not started as root: the workers are the same user, and can read the keytab")
	}
	// Once, for all handshakes: who is asked for is in the keytab.
	cred, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{Usage: gssapi.Accept})
	if err != nil {
		return nil, err
	}
	return &handoff.Server{
		Command: func(string) (*exec.Cmd, error) {
			cmd, err := handoff.Self("-probe=" + o.probe)
			if err != nil {
				return nil, err
			}
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			cmd.Dir = "/"
			if os.Getuid() == 0 {
				err = handoff.RunAs(cmd, o.user)
			}
			return cmd, err
		},
		Workers:  o.workers,
		Acceptor: &gssapi.AcceptorOptions{Credential: cred, Require: gssapi.DefaultFlags},
		Trace:    handoff.LogTrace(nil),
	}, nil
}

// work is a worker: it serves the connections that the acceptor hands it.
func work(o options) error {
	if o.probe != "" {
		_, err := os.ReadFile(o.probe)
		fmt.Printf("process %d of user %d reads the keytab: %v\n", os.Getpid(), os.Getuid(), err)
	}
	signal.Ignore(os.Interrupt) // of the terminal: the acceptor decides
	w := &handoff.Worker{Handler: lines}
	return w.Run(context.Background())
}

// lines answers each line of a client with who he is, and who serves him.
func lines(ctx context.Context, r *handoff.Received) {
	c := r.Conn(nil)
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Minute)) // nobody keeps his place for ever
	in := bufio.NewScanner(c)
	for in.Scan() {
		if _, err := fmt.Fprintf(c, "%s, process %d of user %d has got: %s\n", r.Peer(), os.Getpid(), os.Getuid(), in.Text()); err != nil {
			break
		}
	}
	if err := in.Err(); err != nil {
		slog.Warn("client failed", "peer", r.Peer(), "error", err)
		r.Close() // without an end of stream: the client is to see that this is not all
	}
}
