package handoff_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/handoff"
)

// The acceptor: it has the keytab, and starts workers as another user.
func ExampleServer() {
	cred, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{Usage: gssapi.Accept})
	if err != nil {
		log.Fatal(err)
	}
	s := &handoff.Server{
		Command: func(string) (*exec.Cmd, error) {
			cmd, err := handoff.Self("-worker")
			if err != nil {
				return nil, err
			}
			cmd.Stderr = os.Stderr
			return cmd, handoff.RunAs(cmd, "nobody")
		},
		Workers:  4,
		Acceptor: &gssapi.AcceptorOptions{Credential: cred},
		Trace:    handoff.LogTrace(nil),
	}
	l, err := net.Listen("tcp", ":4444")
	if err != nil {
		log.Fatal(err)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	drained := make(chan error, 1)
	go func() {
		<-interrupted.Done()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		drained <- s.Shutdown(ctx)
	}()
	if err := s.Serve(l); err != handoff.ErrServerClosed {
		log.Fatal(err)
	}
	if err := <-drained; err != nil {
		log.Print("some clients were cut: ", err)
	}
	fmt.Printf("%+v\n", s.Stats())
}

// The worker: it gets clients that the acceptor has authenticated.
func ExampleWorker() {
	w := &handoff.Worker{Handler: func(ctx context.Context, r *handoff.Received) {
		c := r.Conn(nil)
		defer c.Close()
		fmt.Fprintf(c, "Hello %s!\n", r.Peer())
		io.Copy(c, c)
	}}
	if err := w.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// Workers that are started by something else come to a named socket; both ends
// read the key from a file.
func ExampleServer_ServeWorkers() {
	key, err := handoff.ReadKeyFile("/etc/app/handoff.key")
	if err != nil {
		log.Fatal(err)
	}
	l, err := handoff.Listen("/run/app/handoff", true)
	if err != nil {
		log.Fatal(err)
	}
	s := new(handoff.Server)
	log.Fatal(s.ServeWorkers(l, "", &handoff.Options{Key: key, PeerUIDs: []int{1001}}))
}

// A worker of ServeWorkers. The acceptor's uid is 1000.
func ExampleDial() {
	key, err := handoff.ReadKeyFile("/etc/app/handoff.key")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	r, err := handoff.Dial(ctx, "/run/app/handoff", &handoff.ReceiverOptions{Options: handoff.Options{Key: key, PeerUIDs: []int{1000}}})
	if err != nil {
		log.Fatal(err)
	}
	w := &handoff.Worker{Handler: func(ctx context.Context, r *handoff.Received) { r.Conn(nil).Close() }}
	log.Print(w.Serve(ctx, r))
}
