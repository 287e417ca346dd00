// Web is a web server that shows visitors who they are: by which mechanism, until
// when, with which flags, and how it knows. Browsers and curl log in by Negotiate
// (RFC 4559); a cookie spares them that for later requests.
//
//	web -try                          on a throwaway realm; it prints how to visit it
//	KRB5_KTNAME=... web -addr :8080   for everybody who has a ticket for HTTP/ and its host name
//
// With -tls the certificate is made at the start; the program says in which file it
// is. A real server has one that its visitors know.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

type options struct {
	addr, host           string
	tls, bound, password bool
}

func main() {
	var o options
	flag.StringVar(&o.addr, "addr", "127.0.0.1:8080", "`host:port` to listen on; port 0 is a free one")
	flag.StringVar(&o.host, "host", "localhost", "`name` of this host in the certificate of -tls")
	flag.BoolVar(&o.tls, "tls", false, "serve https, with a certificate that is made now")
	flag.BoolVar(&o.bound, "bound", false, "refuse tokens that are not bound to the TLS connection (takes -tls, and MIT)")
	flag.BoolVar(&o.password, "password", false, "take passwords from visitors without a ticket (takes -tls)")
	attempt := flag.Bool("try", false, "start a realm, and print how to visit this server")
	flag.Parse()
	err := o.check()
	switch {
	case err != nil:
	case *attempt:
		err = try(o)
	default:
		err = serve(o, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func (o *options) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("%q is no flag; web -help lists them", flag.Arg(0))
	case o.bound && !o.tls:
		return errors.New("-bound takes -tls: it is TLS that tokens are bound to")
	case o.password && !o.tls:
		return errors.New("-password takes -tls: without it everybody on the way can read passwords")
	case o.password && o.bound:
		return errors.New("-password and -bound exclude each other: passwords are not bound to anything")
	}
	return nil
}

// serve serves until SIGTERM or SIGINT. It tells started, if that is not nil, where,
// and with which certificate if with one.
func serve(o options, started func(url string, c *realm.Certificate)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s, err := newServer(ctx, o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	url := "http://" + net.JoinHostPort(o.host, port) + "/"
	var c *realm.Certificate
	if o.tls {
		c, err = realm.Certify(o.host)
		if err != nil {
			return err
		}
		defer os.Remove(c.File)
		slog.Info("the certificate is self-made", "file", c.File)
		s.TLSConfig.Certificates = []tls.Certificate{c.Certificate}
		url = "https" + url[len("http"):]
	}
	slog.Info("listening", "addr", l.Addr(), "url", url)
	failed := make(chan error, 1)
	go func() {
		if o.tls {
			failed <- s.ServeTLS(l, "", "")
		} else {
			failed <- s.Serve(l)
		}
	}()
	if started != nil {
		started(url, c)
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, s.Shutdown(end))
}

// newServer is the server, without its certificate.
func newServer(ctx context.Context, o options) (*http.Server, error) {
	// Once, for all visitors: that there are no keys is an error now, and not when the first one comes.
	cred, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{Usage: gssapi.Accept})
	if err != nil {
		return nil, fmt.Errorf("there are no keys of this server (KRB5_KTNAME names their file): %w", err)
	}
	ho := &httpauth.ServerOptions{
		Acceptor: &gssapi.AcceptorOptions{Credential: cred},
		Session:  new(httpauth.SessionOptions), // a cookie spares the next request the token
		Refused:  refused,
		Logger:   slog.Default(),
	}
	if o.bound {
		ho.Bindings = httpauth.BindingsRequired
	}
	if o.password {
		ho.Basic = new(httpauth.BasicOptions)
	}
	h, err := httpauth.NewHandler(http.HandlerFunc(page), ho)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/{$}", h)
	mux.Handle("/style.css", http.FileServerFS(files))
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		h.EndSession(w, r)
		headers(w)
		render(w, "left", nil)
	})
	s := &http.Server{
		// Browsers log in unasked, also for a form on somebody else's page.
		Handler:           http.NewCrossOriginProtection().Handler(mux),
		TLSConfig:         new(tls.Config),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	return s, h.Attach(s)
}
