// Httpclient fetches a URL like curl, and logs in by Negotiate (RFC 4559) if the server
// asks for it. It is an http.Client with an httpauth.Transport.
//
//	httpclient -try                              shows it on a throwaway realm
//	httpclient https://www.example.com/          with the user's ticket
//	httpclient -d data -proxy http://proxy.example.com:3128 https://www.example.com/
//
// Tokens go to the host of the URL and to those of -host, and to nobody whom these
// redirect to. The answer goes to standard output; the exit status is 1 if it is an
// error.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"

	"github.com/seed2651813c/gss/gssapi/httpauth"
)

type options struct {
	data, proxy, cacert, service string
	hosts                        []string
	plain, delegate              bool
}

func main() {
	var o options
	flag.StringVar(&o.data, "d", "", "send this `body`, by POST")
	flag.Func("host", "another `host` that gets tokens, or all of a domain (.example.com); may be repeated", func(s string) error {
		o.hosts = append(o.hosts, s)
		return nil
	})
	flag.BoolVar(&o.plain, "plain", false, "give tokens without TLS too: everybody on the way can use them")
	flag.BoolVar(&o.delegate, "delegate", false, "let the host of the URL act for you, if your ticket is forwardable")
	flag.StringVar(&o.service, "service", "", "what the host of the URL must prove to be, as `HTTP@name`; else HTTP@ and its name")
	flag.StringVar(&o.proxy, "proxy", "", "`URL` of a proxy, which gets a token too if it asks")
	flag.StringVar(&o.cacert, "cacert", "", "trust the certificates in this `file`, and no others")
	attempt := flag.Bool("try", false, "start a realm and a server, and fetch from it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *attempt && flag.NArg() == 0:
		err = try(ctx, o)
	case !*attempt && flag.NArg() == 1:
		err = fetch(ctx, o, flag.Arg(0))
	default:
		err = errors.New("usage: httpclient [flags] URL, or httpclient -try; httpclient -help lists the flags, which come first")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "httpclient:", err)
		os.Exit(1)
	}
}

// fetch prints what is at a URL.
func fetch(ctx context.Context, o options, target string) error {
	u, err := parse(target)
	if err != nil {
		return err
	}
	t, err := transport(o, u)
	if err != nil {
		return err
	}
	defer t.CloseIdleConnections()
	method, body := http.MethodGet, io.Reader(nil)
	if o.data != "" {
		method, body = http.MethodPost, strings.NewReader(o.data)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: t}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		return err
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized && resp.Request.URL.Scheme == "http" && !o.plain:
		return fmt.Errorf("%s: %s; tokens go to https only, unless there is -plain", resp.Request.URL, resp.Status)
	case resp.StatusCode >= 400:
		return fmt.Errorf("%s: %s", resp.Request.URL, resp.Status)
	}
	return nil
}

// parse refuses what an http.Client would complain of less clearly.
func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no URL such as https://www.example.com/", s)
	}
	return u, nil
}

// transport gives tokens to the host of u and to the others of the options.
func transport(o options, u *url.URL) (*httpauth.Transport, error) {
	t := &httpauth.Transport{
		Base:  http.DefaultTransport.(*http.Transport).Clone(),
		Hosts: []httpauth.Host{{Name: u.Host, Service: o.service, PlainHTTP: o.plain, Delegate: o.delegate}},
	}
	for _, h := range o.hosts {
		t.Hosts = append(t.Hosts, httpauth.Host{Name: h, PlainHTTP: o.plain})
	}
	if o.proxy != "" {
		p, err := parse(o.proxy)
		if err != nil {
			return nil, fmt.Errorf("-proxy: %w", err)
		}
		t.Base.Proxy = http.ProxyURL(p)
		t.Proxies = []httpauth.Host{{Name: p.Host}}
	}
	if o.cacert != "" {
		b, err := os.ReadFile(o.cacert)
		if err != nil {
			return nil, fmt.Errorf("-cacert: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("-cacert: %s has no certificate in PEM", o.cacert)
		}
		t.Base.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return t, nil
}
