// Httpworker is a web server of two kinds of processes. The acceptor has the
// keytab: it reads requests until a client has authenticated itself by Negotiate
// (RFC 4559), and hands the connection, with the request, to a worker. The worker is
// an ordinary net/http server that never sees the keytab; it knows from the
// acceptor who the client is.
//
//	KRB5_KTNAME=... httpworker -addr :8080
//	curl --negotiate -u : http://www.example.com:8080/
//
// A connection belongs to one user from then on. So do not put a proxy before it
// that sends requests of several users over one connection, and serve HTTPS by a
// proxy that knows about Negotiate, or not at all: TLS cannot be handed over.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/handoff"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on; port 0 is a free one")
	workers := flag.Int("workers", 2, "how many workers there are")
	user := flag.String("user", "nobody", "`name` of the workers' user, when started as root")
	flag.Parse()
	var err error
	if handoff.IsWorker() {
		err = work()
	} else {
		err = serve(*addr, *user, *workers)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "httpworker:", err)
		os.Exit(1)
	}
}

// serve is the acceptor, until SIGTERM or SIGINT.
func serve(addr, user string, workers int) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	cred, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{Usage: gssapi.Accept})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := &handoff.Server{
		Command: func(string) (*exec.Cmd, error) {
			cmd, err := handoff.Self()
			if err != nil {
				return nil, err
			}
			cmd.Stderr, cmd.Dir = os.Stderr, "/"
			if os.Getuid() == 0 {
				err = handoff.RunAs(cmd, user)
			}
			return cmd, err
		},
		Workers: workers,
		Handshake: func(ctx context.Context, conn net.Conn) (*handoff.Handoff, error) {
			return negotiate(ctx, conn, &gssapi.AcceptorOptions{Credential: cred})
		},
		Trace: handoff.LogTrace(nil),
	}
	slog.Info("listening", "addr", l.Addr())
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, s.Shutdown(drain))
}

// work is a worker: a server whose listener gives out the connections that come
// from the acceptor.
func work() error {
	signal.Ignore(os.Interrupt) // of the terminal: the acceptor decides
	r, err := handoff.Inherited(context.Background(), new(handoff.ReceiverOptions))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           answered(http.HandlerFunc(page)),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			got, _ := handoff.FromNetConn(c)
			return context.WithValue(ctx, clientKey{}, &client{Received: got})
		},
	}
	err = server.Serve(handoff.NewListener(r))
	// No more will come, or the acceptor has died: what is here goes on to its end.
	if e := server.Shutdown(context.Background()); err == nil || errors.Is(err, net.ErrClosed) {
		err = e
	}
	return err
}

// client is the user of a connection.
type client struct {
	*handoff.Received
	answer sync.Once // the last token of the handshake was sent
}

type clientKey struct{}

// answered sends the last token of the handshake, which came from the acceptor,
// with the first answer: the client verifies the server by it.
func answered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c := q.Context().Value(clientKey{}).(*client)
		c.answer.Do(func() {
			if len(c.Data) > 0 {
				w.Header().Set("WWW-Authenticate", "Negotiate "+base64.StdEncoding.EncodeToString(c.Data))
			}
		})
		next.ServeHTTP(w, q)
	})
}

// page tells the client who he is.
func page(w http.ResponseWriter, q *http.Request) {
	c := q.Context().Value(clientKey{}).(*client)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintf(w, "%s %s: you are %v, until %v; process %d of user %d\n",
		q.Method, q.URL.Path, c.Peer(), c.Expiry.Format(time.RFC3339), os.Getpid(), os.Getuid())
}
