// Cancel gives up on a handshake: its KDC does not answer, and a call of the C
// library cannot be interrupted. It shows when the caller is free, what becomes of
// the call, and that the next handshake works.
//
//	cd examples && go run ./cancel
//
// It starts a Kerberos realm of its own. The C library is the one that
// GSSAPI_LIBRARY names (mit, heimdal).
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "cancel: %v\n", err)
		os.Exit(1)
	}
}

func run() (err error) {
	r, err := realm.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()

	target, err := gssapi.HostService("host", realm.Host)
	if err != nil {
		return err
	}
	back := make(chan gssapi.Event, 1) // the hook must not wait
	o := &gssapi.InitiatorOptions{Trace: &gssapi.Trace{Returned: func(e gssapi.Event) { back <- e }}}
	before := gssapi.ReadStats()

	if err := r.SuspendKDC(); err != nil {
		return err
	}
	fmt.Println("the KDC does not answer")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err = handshake(ctx, target, o)
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the handshake ended with another error than its ctx: %v", err)
	}
	fmt.Printf("the handshake was given up: %v\n", err)
	now := tell("the call goes on")
	if now.Initiate.Abandoned != 1 {
		return fmt.Errorf("%d calls were abandoned, not one", now.Initiate.Abandoned)
	}

	if err := r.ResumeKDC(); err != nil {
		return err
	}
	fmt.Println("the KDC answers")
	e := <-back
	fmt.Printf("%s came back, %v after it began; its error: %v\n", e.Op, e.Duration.Round(time.Millisecond), e.Err)
	now = tell("what it brought is released")
	if now.Initiate.Running != 0 || now.Initiate.Abandoned != 0 || now.Handles != before.Handles {
		return fmt.Errorf("something is left of it: %+v, before it was %+v", now, before)
	}

	peer, err := handshake(context.Background(), target, o)
	if err != nil {
		return err
	}
	fmt.Printf("the next handshake is complete: the server talks to %v\n", peer)
	return nil
}

// handshake connects a client and a server of this process, and returns the client
// as the server knows it.
func handshake(ctx context.Context, target *gssapi.Name, o *gssapi.InitiatorOptions) (peer *gssapi.Name, err error) {
	a, b := net.Pipe()
	client, server := gssapi.Client(a, target, o), gssapi.Server(b, nil)
	defer a.Close()
	defer b.Close()
	served := make(chan error)
	go func() { served <- server.Handshake() }()
	err = client.HandshakeContext(ctx)
	if serr := <-served; err == nil {
		err = serr
	}
	return server.ConnectionState().Peer(), err
}

func tell(what string) gssapi.Stats {
	s := gssapi.ReadStats()
	fmt.Printf("%s: initiators' calls in the C library: %d, abandoned: %d (since the start: %d); handles: %d\n",
		what, s.Initiate.Running, s.Initiate.Abandoned, s.Initiate.TotalAbandoned, s.Handles)
	return s
}
