// Trace shows what a program can tell about its security contexts: a log through
// slog, and counters through expvar. A client and a server, both in this process,
// exchange a message; another client asks for a service that nobody has.
//
//	cd examples && go run ./trace
//
// It starts a Kerberos realm of its own. The C library is the one that
// GSSAPI_LIBRARY names (mit, heimdal).
package main

import (
	"errors"
	"expvar"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "trace: %v\n", err)
		os.Exit(1)
	}
}

// newTrace logs everything, and counts contexts and failures.
func newTrace(l *slog.Logger, counts *expvar.Map) *gssapi.Trace {
	trace := gssapi.LogTrace(l)
	established, stepped := trace.Established, trace.Stepped
	trace.Established = func(e gssapi.Event) {
		established(e)
		counts.Add("established", 1)
	}
	trace.Stepped = func(e gssapi.Event) {
		stepped(e)
		if e.Err != nil {
			counts.Add("failed", 1)
		}
	}
	return trace
}

func run() (err error) {
	r, err := realm.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()

	l := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	// A program with an HTTP server has these at /debug/vars.
	expvar.Publish("gssapi", expvar.Func(func() any { return gssapi.ReadStats() }))
	trace := newTrace(l, expvar.NewMap("contexts"))

	answer, err := ask(realm.Host, "hello", trace)
	if err != nil {
		return err
	}
	l.Info("answered", "answer", answer)
	if _, err := ask("nobody.test", "hello", trace); err == nil {
		return errors.New("a service that is not in the realm has answered")
	}
	fmt.Printf("gssapi: %v\ncontexts: %v\n", expvar.Get("gssapi"), expvar.Get("contexts"))
	return nil
}

// ask connects to the service of that host, which echoes, and returns what it says.
func ask(host, message string, trace *gssapi.Trace) (answer string, err error) {
	target, err := gssapi.HostService("host", host)
	if err != nil {
		return "", err
	}
	a, b := net.Pipe()
	client := gssapi.Client(a, target, &gssapi.InitiatorOptions{Trace: trace})
	server := gssapi.Server(b, &gssapi.AcceptorOptions{Trace: trace})
	served := make(chan error)
	go func() {
		defer server.Close()
		_, err := io.Copy(server, server)
		served <- err
	}()
	defer func() {
		client.Close()
		if serr := <-served; err == nil {
			err = serr
		}
	}()
	if _, err := io.WriteString(client, message); err != nil {
		return "", err
	}
	got := make([]byte, len(message))
	n, err := io.ReadFull(client, got)
	return string(got[:n]), err
}
