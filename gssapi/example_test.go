package gssapi_test

import (
	"context"
	"encoding/binary"
	"expvar"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// send and receive frame tokens: 4 bytes of length in front of each.
func send(w io.Writer, token []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
	return err
}

func receive(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > 1<<16 { // whoever connects has not authenticated yet
		return nil, fmt.Errorf("a token of %d bytes", n)
	}
	token := make([]byte, n)
	_, err := io.ReadFull(r, token)
	return token, err
}

// A connection to a service, with the tickets of kinit.
func ExampleClient() {
	target, err := gssapi.HostService("host", "server.example.com")
	if err != nil {
		log.Fatal(err)
	}
	tcp, err := net.Dial("tcp", "server.example.com:4444")
	if err != nil {
		log.Fatal(err)
	}
	conn := gssapi.Client(tcp, target, nil)
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	if err := conn.CloseWrite(); err != nil {
		log.Fatal(err)
	}
	answer, err := io.ReadAll(conn) // an error if it was cut
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", answer)
}

// A server that greets whoever has tickets for it.
func ExampleServer() {
	l, err := net.Listen("tcp", ":4444")
	if err != nil {
		log.Fatal(err)
	}
	for {
		tcp, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			conn := gssapi.Server(tcp, nil)
			defer conn.Close() // sends the end
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := conn.HandshakeContext(ctx); err != nil {
				log.Print(err)
				return
			}
			fmt.Fprintf(conn, "hello, %v\n", conn.ConnectionState().Peer())
		}()
	}
}

// Log what happens, and count the contexts.
func ExampleTrace() {
	contexts := expvar.NewInt("contexts")
	trace := gssapi.LogTrace(nil)
	established := trace.Established
	trace.Established = func(e gssapi.Event) {
		established(e)
		contexts.Add(1)
	}
	_ = gssapi.NewAcceptor(&gssapi.AcceptorOptions{Trace: trace})
}

// A client that logs in to a service with the tickets of kinit and sends it one
// message.
func ExampleNewInitiator() {
	conn, err := net.Dial("tcp", "server.example.com:4444")
	if err != nil {
		log.Fatal(err)
	}
	target, err := gssapi.HostService("host", "server.example.com")
	if err != nil {
		log.Fatal(err)
	}
	c := gssapi.NewInitiator(target, nil)
	defer c.Close()
	for token := []byte(nil); !c.Established(); {
		out, err := c.Step(context.Background(), token)
		if len(out) > 0 {
			send(conn, out) // even if there is an error: it tells the peer
		}
		if err != nil {
			log.Fatal(err)
		}
		if !c.Established() {
			if token, err = receive(conn); err != nil {
				log.Fatal(err)
			}
		}
	}
	sealed, err := c.Wrap([]byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	send(conn, sealed)
}

// A server that lets in whoever has tickets for it, and prints who that is and
// what they say.
func ExampleNewAcceptor() {
	serve := func(conn net.Conn) error {
		defer conn.Close()
		c := gssapi.NewAcceptor(&gssapi.AcceptorOptions{Require: gssapi.FlagMutual | gssapi.FlagConf})
		defer c.Close()
		for !c.Established() {
			token, err := receive(conn)
			if err != nil {
				return err
			}
			out, err := c.Step(context.Background(), token)
			if len(out) > 0 {
				send(conn, out)
			}
			if err != nil {
				return err
			}
		}
		info, err := c.Info()
		if err != nil {
			return err
		}
		sealed, err := receive(conn)
		if err != nil {
			return err
		}
		msg, err := c.Unwrap(sealed)
		fmt.Printf("%v says %q\n", info.Peer(), msg)
		return err
	}
	l, err := net.Listen("tcp", ":4444")
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			if err := serve(conn); err != nil {
				log.Print(err)
			}
		}()
	}
}

// A context goes to another process on this host.
func ExampleContext_Export() {
	handOver := func(c *gssapi.Context, worker io.Writer) error {
		token, err := c.Export()
		if err != nil {
			return err // c is kept, unless the library lost it
		}
		defer clear(token) // it holds the keys
		return send(worker, token)
	}
	takeOver := func(acceptor io.Reader) (*gssapi.Context, error) {
		token, err := receive(acceptor)
		if err != nil {
			return nil, err
		}
		defer clear(token)
		return gssapi.Import(token, &gssapi.ImportOptions{Require: gssapi.FlagConf})
	}
	_, _ = handOver, takeOver
}

// Credentials of a file and not of the environment, with MIT.
func ExampleAcquire() {
	cred, err := gssapi.Acquire(context.Background(), &gssapi.CredentialOptions{
		Usage: gssapi.Accept,
		Store: map[string]string{"keytab": "FILE:/etc/app.keytab"},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = gssapi.NewAcceptor(&gssapi.AcceptorOptions{Credential: cred})
}

func ExampleParseOID() {
	oid, err := gssapi.ParseOID("1.2.840.113554.1.2.2")
	fmt.Println(oid, oid == gssapi.MechKrb5, err)
	// Output: 1.2.840.113554.1.2.2 true <nil>
}

// What is asked for is what comes on top of the defaults.
func ExampleInitiatorOptions() {
	o := gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg, Without: gssapi.FlagSequence}
	fmt.Println((gssapi.DefaultFlags | o.Flags) &^ o.Without)
	// Output: deleg,mutual,replay,conf,integ
}

// A password does not get into logs.
func ExampleCredentialOptions() {
	fmt.Printf("%+v\n", &gssapi.CredentialOptions{Password: "secret", Store: map[string]string{"ccache": "MEMORY:x"}})
	// Output: {Name:(no name) Mechs:[] Usage:initiate Lifetime:0s Store:[ccache="MEMORY:x"] Password:(redacted)}
}
