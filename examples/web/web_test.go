package main

import (
	"context"
	"crypto/tls"
	"fmt"
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
	"github.com/seed2651813c/gss/gssapi/gsstest"
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
	s, err := newServer(o)
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
	o := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.Env("KRB5_CONFIG="+os.Getenv("KRB5_CONFIG"), "KRB5CCNAME="+ccache),
		chromedp.Flag("headless", "new"), chromedp.Flag("auth-server-allowlist", allow),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	if os.Getuid() == 0 {
		o = append(o, chromedp.NoSandbox)
	}
	if c != nil {
		o = append(o, chromedp.Flag("ignore-certificate-errors-spki-list", c.Pin))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, o...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
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
	bob, err := theRealm.Kinit("bob", nil)
	check(t, err)
	for _, o := range []options{{}, {tls: true}} {
		t.Run(fmt.Sprintf("tls=%t", o.tls), func(t *testing.T) {
			url, c := start(t, o)
			hers := browser(t, os.Getenv("KRB5CCNAME"), "localhost", c)
			if status := goTo(t, hers, url); status != http.StatusOK {
				t.Fatalf("alice: %d, %q", status, shown(t, hers, "body"))
			}
			want := []string{"alice@TEST.GSS", "Negotiate", "no"}
			if diff := cmp.Diff(want, shown(t, hers, "h1", "#method", "#delegated")); diff != "" {
				t.Error(diff)
			}
			if s := shown(t, hers, "#mechanism", "#flags", "#until"); !strings.Contains(s[0], "1.2.840.113554.1.2.2") ||
				!strings.Contains(s[1], "mutual") || !strings.Contains(s[2], "(in 9h59m") {
				t.Errorf("mechanism, flags, until: %q", s)
			}

			// The form is a POST, for which the cookie is enough.
			check(t, chromedp.Run(hers,
				chromedp.SendKeys("input[name=say]", "<b>good</b> morning", chromedp.ByQuery),
				chromedp.Click("form[action='/'] button", chromedp.ByQuery),
				chromedp.WaitVisible("#said", chromedp.ByQuery)))
			want = []string{"alice@TEST.GSS", "Session", "<b>good</b> morning"}
			if diff := cmp.Diff(want, shown(t, hers, "h1", "#method", "#said")); diff != "" {
				t.Error(diff)
			}

			// Somebody else, with the same server.
			his := browser(t, bob, "localhost", c)
			goTo(t, his, url)
			if diff := cmp.Diff([]string{"bob@TEST.GSS", "Negotiate"}, shown(t, his, "h1", "#method")); diff != "" {
				t.Error(diff)
			}

			// Without a cookie the ticket counts again.
			check(t, chromedp.Run(hers,
				chromedp.Click("form[action='/logout'] button", chromedp.ByQuery),
				chromedp.WaitVisible("a[href='/']", chromedp.ByQuery)))
			if s := shown(t, hers, "h1"); s[0] != "You are logged out" {
				t.Errorf("%q", s)
			}
			goTo(t, hers, url)
			if diff := cmp.Diff([]string{"alice@TEST.GSS", "Negotiate"}, shown(t, hers, "h1", "#method")); diff != "" {
				t.Error(diff)
			}
		})
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
