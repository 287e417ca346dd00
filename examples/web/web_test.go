package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

var theRealm *gsstest.Realm

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		theRealm, err = realm.Start("HTTP/localhost")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer theRealm.Close()
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts the server for the rest of the test.
func start(t *testing.T, o options) (url string, c *realm.Certificate) {
	t.Helper()
	s, err := newServer(t.Context(), o)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	url = "http://localhost:" + port + "/"
	done := make(chan error, 1)
	if o.tls {
		c, err = realm.Certify("localhost")
		check(t, err)
		t.Cleanup(func() { os.Remove(c.File) })
		s.TLSConfig.Certificates = []tls.Certificate{c.Certificate}
		url = "https://localhost:" + port + "/"
		go func() { done <- s.ServeTLS(l, "", "") }()
	} else {
		go func() { done <- s.Serve(l) }()
	}
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return url, c
}

// browser starts Chromium, with a profile of its own, for a user with that ccache.
// It gives tokens to the hosts in allow.
func browser(t *testing.T, ccache, allow string, c *realm.Certificate) context.Context {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium here; ci/install.sh gets it where apt has it")
	}
	// The first demand of Negotiate makes it note that it shall load the C library the next time it is started. This
	// one has been started before.
	dir, err := os.MkdirTemp(theRealm.Dir(), "chromium") // some of its processes may write there for a while after its end
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "Local State"), []byte(`{"net":{"received_http_auth_negotiate_headers":true}}`), 0o600))
	o := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(dir),
		chromedp.Env("KRB5_CONFIG="+os.Getenv("KRB5_CONFIG"), "KRB5CCNAME="+ccache, "TMPDIR="+dir),
		chromedp.Flag("headless", "new"), chromedp.Flag("auth-server-allowlist", allow),
		chromedp.NoSandbox, // of which root and containers have none; it sees our own pages only
		chromedp.WSURLReadTimeout(time.Minute),
	)
	if c != nil {
		o = append(o, chromedp.Flag("ignore-certificate-errors-spki-list", c.Pin))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, o...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(func(format string, args ...any) {
		if t.Context().Err() == nil {
			t.Logf(format, args...)
		}
	}))
	t.Cleanup(func() { chromedp.Cancel(ctx) }) // it waits for the browser's end
	return ctx
}

// shown is what stands in the places of the page that these selectors name.
func shown(t *testing.T, ctx context.Context, selectors ...string) (texts []string) {
	t.Helper()
	for _, s := range selectors {
		var text string
		if err := chromedp.Run(ctx, chromedp.Text(s, &text, chromedp.ByQuery)); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		texts = append(texts, text)
	}
	return texts
}

// goTo goes to the URL and returns the status of the page.
func goTo(t *testing.T, ctx context.Context, url string) int64 {
	t.Helper()
	resp, err := chromedp.RunResponse(ctx, chromedp.Navigate(url))
	check(t, err)
	return resp.Status
}

// Chromium logs in, as its user and nobody else.
func TestChromium(t *testing.T) {
	url, _ := start(t, options{})
	hers := browser(t, os.Getenv("KRB5CCNAME"), "localhost", nil)
	welcome(t, hers, url, "alice@TEST.GSS")

	var width string
	if err := chromedp.Run(hers, chromedp.Evaluate(`getComputedStyle(document.body).maxWidth`, &width)); err != nil || width != "672px" {
		t.Errorf("the page has no style: %v, %q", err, width)
	}

	// The form is a POST, for which the cookie is enough.
	check(t, chromedp.Run(hers,
		chromedp.SendKeys("input[name=say]", "<b>good</b> morning", chromedp.ByQuery),
		chromedp.Click("form[action='/'] button", chromedp.ByQuery),
		chromedp.WaitVisible("#said", chromedp.ByQuery)))
	want := []string{"alice@TEST.GSS", "Session", "<b>good</b> morning"}
	if diff := cmp.Diff(want, shown(t, hers, "h1", "#method", "#said")); diff != "" {
		t.Error(diff)
	}

	// Somebody else, at the same server.
	bob, err := theRealm.Kinit("bob", nil)
	check(t, err)
	welcome(t, browser(t, bob, "localhost", nil), url, "bob@TEST.GSS")

	// Without a cookie the ticket counts again.
	check(t, chromedp.Run(hers,
		chromedp.Click("form[action='/logout'] button", chromedp.ByQuery),
		chromedp.WaitVisible("a[href='/']", chromedp.ByQuery)))
	if s := shown(t, hers, "h1"); s[0] != "You are logged out" {
		t.Errorf("%q", s)
	}
	welcome(t, hers, url, "alice@TEST.GSS")
}

func TestChromiumTLS(t *testing.T) {
	url, c := start(t, options{tls: true})
	ctx := browser(t, os.Getenv("KRB5CCNAME"), "localhost", c)
	welcome(t, ctx, url, "alice@TEST.GSS")
	// On Linux its tokens are not bound to the TLS connection (Chromium 156).
	if s := shown(t, ctx, "#tls", "#bound"); s[0] != "yes, by TLS" || s[1] != "no" {
		t.Errorf("%q", s)
	}
}

// welcome visits the URL with a ticket, as whose owner the visitor is welcomed.
func welcome(t *testing.T, ctx context.Context, url, name string) {
	t.Helper()
	if status := goTo(t, ctx, url); status != http.StatusOK {
		t.Fatalf("%s: %d, %q", name, status, shown(t, ctx, "body"))
	}
	want := []string{name, "Negotiate", "no"}
	if diff := cmp.Diff(want, shown(t, ctx, "h1", "#method", "#delegated")); diff != "" {
		t.Error(diff)
	}
	// Of the ten hours of the ticket some seconds are gone; MIT adds the clock skew.
	if s := shown(t, ctx, "#mechanism", "#flags", "#until"); !strings.Contains(s[0], "1.2.840.113554.1.2.2") || !strings.Contains(s[1], "integ") ||
		!strings.Contains(s[2], "(in 9h") && !strings.Contains(s[2], "(in 10h") {
		t.Errorf("mechanism, flags, until: %q", s)
	}
}

// Who has no ticket, or a browser that gives no tokens, reads what to do about it.
func TestChromiumRefused(t *testing.T) {
	url, _ := start(t, options{})
	for _, c := range []struct{ name, ccache, allow string }{
		{"no ticket", filepath.Join(t.TempDir(), "none"), "localhost"},
		{"another host allowed", os.Getenv("KRB5CCNAME"), "www.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := browser(t, c.ccache, c.allow, nil)
			if status := goTo(t, ctx, url); status != http.StatusUnauthorized {
				t.Errorf("status %d", status)
			}
			if s := shown(t, ctx, "h1", "ul"); s[0] != "401 Unauthorized" || !strings.Contains(s[1], "--auth-server-allowlist=localhost") {
				t.Errorf("%q", s)
			}
		})
	}
}

// fetch is a request of our own client, as alice.
func fetch(t *testing.T, c *realm.Certificate, r *http.Request) (status int, body string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	tr := &httpauth.Transport{
		Base:  &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		Hosts: []httpauth.Host{{Name: "localhost"}},
	}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		if !errors.Is(err, gssapi.ErrUnauthorized) {
			t.Fatal(err)
		}
		return http.StatusUnauthorized, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(b)
}

// With -bound curl is refused, and our client welcome where the library tells.
func TestBound(t *testing.T) {
	url, c := start(t, options{tls: true, bound: true})
	r, err := http.NewRequest(http.MethodGet, url, nil)
	check(t, err)
	status, body := fetch(t, c, r)
	if l, err := gss.Library(); err != nil || l.Kind != gss.KindMIT {
		if status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
			t.Errorf("%v, %v: %d, %s", l, err, status, body)
		}
	} else if status != http.StatusOK || !strings.Contains(body, `<dd id="bound"><span class="yes">yes`) {
		t.Errorf("%d, %s", status, body)
	}
	out, err := exec.CommandContext(t.Context(), "curl", "-q", "-sS", "--cacert", c.File, "--negotiate", "-u", ":", url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Unauthorized") && !strings.Contains(string(out), "Unavailable") {
		t.Errorf("curl: %v, %s", err, out)
	}
}

// Forms on other people's pages do nothing here.
func TestCrossOrigin(t *testing.T) {
	url, c := start(t, options{tls: true})
	for site, want := range map[string]int{"same-origin": http.StatusOK, "cross-site": http.StatusForbidden} {
		r, err := http.NewRequest(http.MethodPost, url, strings.NewReader("say=hello"))
		check(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		if status, body := fetch(t, c, r); status != want || strings.Contains(body, "hello") != (want == http.StatusOK) {
			t.Errorf("%s: %d, %s", site, status, body)
		}
	}
}
