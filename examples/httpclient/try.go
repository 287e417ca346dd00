package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"crypto/tls"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

// try fetches from a server on a throwaway realm: with and without a body, and by a
// name for which the server has no key.
func try(ctx context.Context, o options) (err error) {
	r, err := realm.Start("HTTP/localhost")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	c, err := realm.Certify("localhost")
	if err != nil {
		return err
	}
	defer os.Remove(c.File)
	h, err := httpauth.NewHandler(http.HandlerFunc(hello), nil)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{c.Certificate}}, ReadHeaderTimeout: 10 * time.Second}
	if err := h.Attach(s); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer s.Close()
	go s.ServeTLS(l, "", "")

	_, port, _ := net.SplitHostPort(l.Addr().String())
	url := "https://localhost:" + port + "/"
	o.cacert = c.File
	for _, data := range []string{"", "good morning"} {
		o.data = data
		if err := fetch(ctx, o, url); err != nil {
			return err
		}
	}
	o.service = "HTTP@nobody.test"
	if err := fetch(ctx, o, url); err == nil {
		return errors.New("the server has proved to be nobody.test")
	} else {
		fmt.Println("as nobody.test:", err)
	}
	return nil
}

// hello tells the client who he is, and what he has sent.
func hello(w http.ResponseWriter, r *http.Request) {
	i := httpauth.FromContext(r.Context())
	fmt.Fprintf(w, "%s: you are %s, until %s, delegated a credential: %t\n", r.Method, i.Name, i.Expiry.Format(time.RFC3339), i.Delegated() != nil)
	if r.Method == http.MethodPost {
		fmt.Fprint(w, "you have sent: ")
		io.Copy(w, http.MaxBytesReader(w, r.Body, 1<<20))
		fmt.Fprintln(w)
	}
}
