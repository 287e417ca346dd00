package httpauth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

// client takes all hosts for 127.0.0.1, and trusts their certificate.
func client(t *testing.T, tr *httpauth.Transport) *http.Client {
	t.Helper()
	if tr.Base == nil {
		tr.Base = new(http.Transport)
	}
	tr.Base.DialContext = dial
	tr.Base.TLSClientConfig = &tls.Config{RootCAs: roots}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// read returns the answer, which must be 200.
func read(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %s, %s", err, resp.Status, b)
	}
	return string(b)
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	return read(t, resp, err)
}

func post(t *testing.T, c *http.Client, url string, body io.Reader) string {
	t.Helper()
	resp, err := c.Post(url, "application/octet-stream", body)
	return read(t, resp, err)
}

// refused fails the test unless it was a server that refused a token, or did not prove itself.
func refused(t *testing.T, resp *http.Response, err error) {
	t.Helper()
	if err == nil {
		resp.Body.Close()
		t.Errorf("%s", resp.Status)
	} else if !errors.Is(err, gssapi.ErrUnauthorized) {
		t.Error(err)
	}
}

// established counts contexts.
func established(n *atomic.Int32) *gssapi.Trace {
	return &gssapi.Trace{Established: func(gssapi.Event) { n.Add(1) }}
}

// hosts are those of the tests; tokens go there without TLS too.
func hosts() []httpauth.Host {
	return []httpauth.Host{{Name: ".test", PlainHTTP: true}, {Name: "localhost", PlainHTTP: true}}
}

func TestApache(t *testing.T) {
	a := startApache(t)
	plain, secure := "http://"+www+":"+a.plain, "https://"+www+":"+a.tls

	t.Run("Get", func(t *testing.T) {
		c := client(t, &httpauth.Transport{Hosts: hosts()})
		for _, url := range []string{plain, secure} {
			for range 2 {
				has(t, get(t, c, url+"/auth"), "user: alice@TEST.GSS")
			}
		}
	})
	t.Run("Preemptive", func(t *testing.T) {
		c := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: www, PlainHTTP: true, Preemptive: true}}})
		for _, url := range []string{plain, secure} {
			has(t, get(t, c, url+"/auth"), "user: alice@TEST.GSS")
		}
	})
	t.Run("Stranger", func(t *testing.T) {
		var n atomic.Int32
		for _, hosts := range [][]httpauth.Host{nil, {{Name: back, PlainHTTP: true}}, {{Name: www}}} {
			c := client(t, &httpauth.Transport{Hosts: hosts, Trace: established(&n)})
			resp, err := c.Get(plain + "/auth")
			check(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized || n.Load() != 0 {
				t.Errorf("%+v: %s, %d contexts", hosts, resp.Status, n.Load())
			}
		}
	})
	t.Run("Post", func(t *testing.T) {
		body, line := big(1 << 20)
		c := client(t, &httpauth.Transport{Hosts: hosts()})
		// More than is kept in memory: Apache is asked before.
		small := client(t, &httpauth.Transport{Hosts: hosts(), MaxBody: 1000})
		for _, url := range []string{plain, secure} {
			url += "/auth"
			has(t, post(t, c, url, bytes.NewReader(body)), "user: alice@TEST.GSS", line) // with GetBody
			has(t, post(t, c, url, io.NopCloser(bytes.NewReader(body))), "user: alice@TEST.GSS", line)
			has(t, post(t, small, url, io.NopCloser(bytes.NewReader(body))), "user: alice@TEST.GSS", line)
			r, err := http.NewRequest(http.MethodPost, url, io.NopCloser(bytes.NewReader(body)))
			check(t, err)
			r.ContentLength = int64(len(body))
			resp, err := small.Do(r)
			has(t, read(t, resp, err), "user: alice@TEST.GSS", line)
		}
	})
	t.Run("Session", func(t *testing.T) {
		var n atomic.Int32
		jar, err := cookiejar.New(nil)
		check(t, err)
		c := client(t, &httpauth.Transport{Hosts: hosts(), Trace: established(&n)})
		c.Jar = jar
		for range 3 {
			has(t, get(t, c, plain+"/session"), "user: alice@TEST.GSS")
		}
		if n.Load() != 1 {
			t.Errorf("%d contexts for three requests, of which two have a cookie", n.Load())
		}
	})
	t.Run("ConnectionBound", func(t *testing.T) {
		var n atomic.Int32
		c := client(t, &httpauth.Transport{Hosts: hosts(), Trace: established(&n)})
		resp, err := c.Get(plain + "/bound")
		has(t, read(t, resp, err), "user: alice@TEST.GSS")
		if err == nil && resp.Header.Get("Persistent-Auth") != "true" {
			t.Errorf("Apache does not take the connection for authenticated: %v", resp.Header)
		}
		has(t, get(t, c, plain+"/bound"), "user: alice@TEST.GSS")
		if n.Load() != 1 {
			t.Errorf("%d contexts for two requests on a connection that Apache takes for authenticated", n.Load())
		}
		// Which is not another user's.
		bob, err := theRealm.Kinit("bob", nil)
		check(t, err)
		other := client(t, &httpauth.Transport{Hosts: hosts(), Credential: credential(t, bob)})
		if resp, err := other.Get(plain + "/bound"); err == nil {
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Error("bob was taken for alice")
			}
		}
	})
	t.Run("WrongService", func(t *testing.T) {
		for service, want := range map[string]string{
			"HTTP@" + other:    other,                       // Apache has no key of it
			"HTTP@nobody.test": "HTTP/nobody.test@TEST.GSS", // nor has the KDC
		} {
			c := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: www, PlainHTTP: true, Service: service}}})
			resp, err := c.Get(plain + "/auth")
			if err == nil {
				resp.Body.Close()
				t.Errorf("%s: %s", service, resp.Status)
			} else if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", service, err)
			}
		}
	})
	t.Run("Delegation", func(t *testing.T) {
		for _, delegate := range []bool{false, true} {
			c := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: www, Delegate: delegate}}})
			out := get(t, c, secure+"/delegate")
			has(t, out, "user: alice@TEST.GSS")
			if got := strings.Contains(out, "\ndelegated: alice@TEST.GSS\n"); got != delegate {
				t.Errorf("Delegate is %t, and Apache's program has: %s", delegate, out)
			}
		}
		// Apache keeps what it got in a file.
		b, err := os.ReadFile(filepath.Join(a.dir, "delegated", "alice@TEST.GSS"))
		check(t, err)
		ccache := filepath.Join(t.TempDir(), "ccache") // Heimdal takes its owner's only
		check(t, os.WriteFile(ccache, b, 0o600))
		info, err := credential(t, ccache).Info(t.Context())
		check(t, err)
		if info.Name.String() != "alice@TEST.GSS" {
			t.Errorf("these are tickets of %v", info.Name)
		}
	})
	t.Run("Proxy", func(t *testing.T) {
		body, line := big(1 << 20)
		through := func(port string, proxies []httpauth.Host) *http.Client {
			p := &url.URL{Scheme: "http", Host: proxy + ":" + port}
			return client(t, &httpauth.Transport{Base: &http.Transport{Proxy: http.ProxyURL(p)}, Hosts: hosts(), Proxies: proxies})
		}
		// In the answer to CONNECT Apache leaves out the token that would prove who it is.
		for _, c := range []*http.Client{through(a.proxy, []httpauth.Host{{Name: proxy, WithoutMutual: true}}), through(a.open, nil)} {
			for _, url := range []string{"http://localhost:" + a.plain, "https://localhost:" + a.tls} {
				has(t, get(t, c, url+"/auth"), "user: alice@TEST.GSS")
				has(t, post(t, c, url+"/auth", io.NopCloser(bytes.NewReader(body))), "user: alice@TEST.GSS", line)
			}
		}
		c := through(a.proxy, []httpauth.Host{{Name: proxy}})
		has(t, get(t, c, "http://localhost:"+a.plain+"/auth"), "user: alice@TEST.GSS")
		resp, err := c.Get("https://localhost:" + a.tls + "/auth")
		refused(t, resp, err)
		for scheme, port := range map[string]string{"http": a.plain, "https": a.tls} {
			c := through(a.proxy, nil) // it gets no token
			resp, err := c.Get(scheme + "://localhost:" + port + "/auth")
			if err == nil {
				resp.Body.Close()
			}
			if scheme == "http" && (err != nil || resp.StatusCode != http.StatusProxyAuthRequired) {
				t.Errorf("http: %v, %v", resp, err)
			} else if scheme == "https" && (err == nil || !strings.Contains(err.Error(), "Proxy Authentication Required")) {
				t.Errorf("https: %v, %v", resp, err)
			}
			c = through(a.proxy, []httpauth.Host{{Name: proxy, Service: "HTTP@nobody.test"}})
			if resp, err = c.Get(scheme + "://localhost:" + port + "/auth"); err == nil {
				resp.Body.Close()
				t.Errorf("%s: %s", scheme, resp.Status)
			} else if !strings.Contains(err.Error(), "nobody.test") {
				t.Error(err)
			}
		}
	})
	t.Run("OtherUser", func(t *testing.T) { // whom Apache knows, and does not let in
		bob, err := theRealm.Kinit("bob", nil)
		check(t, err)
		c := client(t, &httpauth.Transport{Hosts: hosts(), Credential: credential(t, bob)})
		resp, err := c.Get(secure + "/auth")
		refused(t, resp, err)
	})
	t.Run("Program", func(t *testing.T) { testProgram(t, a) })
}

// testProgram runs examples/httpclient as users without good tickets, whose environment
// is another than ours.
func testProgram(t *testing.T, a *apache) {
	bin := filepath.Join(t.TempDir(), "httpclient")
	if out, err := exec.Command("go", "build", "-o", bin, "../httpclient").CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	url := "https://localhost:" + a.tls + "/auth"
	run := func(ccache string, args ...string) (string, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, bin, append([]string{"-cacert", certificate.File}, args...)...)
		cmd.Env = append(os.Environ(), "KRB5CCNAME="+ccache)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	fresh := func() string { // no ticket for a service is in it yet
		ccache, err := theRealm.Kinit("alice", nil)
		check(t, err)
		return ccache
	}
	for _, c := range []struct {
		name, ccache string
		url          string // empty: one that is there
		want         string // in the error, as each library says it; empty: there is none
		before       func() error
		after        func() error
	}{
		{name: "a ticket", ccache: fresh()},
		{name: "no such page", ccache: fresh(), url: url + "x", want: "404"},
		{name: "no ticket", ccache: filepath.Join(t.TempDir(), "none"), want: "no credentials|lstat.*/none"},
		{name: "an expired ticket", ccache: expired(t), want: "expired|Matching credential not found"},
		{name: "no KDC", ccache: fresh(), want: "KDC", before: theRealm.StopKDC, after: theRealm.StartKDC},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != nil {
				check(t, c.before())
				defer func() { check(t, c.after()) }()
			}
			stdout, stderr, err := run(c.ccache, cmp.Or(c.url, url))
			if c.want == "" {
				if err != nil || !strings.Contains(stdout, "user: alice@TEST.GSS") || stderr != "" {
					t.Errorf("%v, %q, %q", err, stdout, stderr)
				}
			} else if err == nil || strings.Contains(stdout, "user:") || !regexp.MustCompile(c.want).MatchString(stderr) {
				t.Errorf("%v, %q, %q", err, stdout, stderr)
			}
		})
	}
}
