package httpauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/internal/testexec"
)

const alice = "alice@TEST.GSS"

func wantAlice(t testing.TB, status int, body string, err error) {
	t.Helper()
	if status != 200 || body != alice || err != nil {
		t.Errorf("%d, %q, %v", status, body, err)
	}
}

func wantLog(t testing.TB, g *gate, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, g.requests()); diff != "" {
		t.Error("requests:", diff)
	}
}

// wantRefused fails the test unless err is ErrUnauthorized and has all the words.
func wantRefused(t testing.TB, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, gssapi.ErrUnauthorized) {
		t.Errorf("error %v, want %v", err, gssapi.ErrUnauthorized)
		return
	}
	wantWords(t, err, words...)
}

func wantWords(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v has no %q", err, w)
		}
	}
}

// With and without TLS, asked and unasked, over one connection.
func TestRoundTrip(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	g.bound = &n.serve("www.test:443", g).TLS.Certificates[0]
	for _, scheme := range []string{"http", "https"} {
		for _, preemptive := range []bool{false, true} {
			rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: preemptive})
			for range 3 {
				status, body, err := get(t, rt, scheme+"://www.test/x")
				wantAlice(t, status, body, err)
				if preemptive {
					wantLog(t, g, "GET /x token")
				} else {
					wantLog(t, g, "GET /x -", "GET /x token")
				}
			}
		}
	}
	if a, b := n.dialled("www.test:80"), n.dialled("www.test:443"); a != 2 || b != 2 {
		t.Errorf("%d and %d connections for two Transports each", a, b)
	}
}

// What is no business of the Transport goes on as it is.
func TestStrangers(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	n.serve("evil.test:80", g)
	rt := n.transport(Host{Name: "www.test"})
	for _, u := range []string{"http://evil.test/", "http://www.test/"} {
		status, body, err := get(t, rt, u)
		if status != 401 || body != "who are you?\n" || err != nil {
			t.Errorf("%s: %d, %q, %v", u, status, body, err)
		}
		wantLog(t, g, "GET / -")
	}

	// A header of the caller's own, however it is written.
	rt = n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: true})
	for _, name := range []string{"Authorization", "authorization"} {
		req := httptest.NewRequestWithContext(t.Context(), "GET", "http://www.test/", nil)
		req.RequestURI = ""
		req.Header[name] = []string{"Basic eDp5"}
		if status, _, err := do(t, rt, req); status != 401 || err != nil {
			t.Errorf("%d, %v", status, err)
		}
		wantLog(t, g, "GET / -")
	}

	// HTTP/2 for strangers, and not for Hosts.
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	h2.EnableHTTP2 = true
	h2.StartTLS()
	defer h2.Close()
	for _, base := range []*http.Transport{
		{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}, ForceAttemptHTTP2: true},
		h2.Client().Transport.(*http.Transport),
	} {
		for want, hosts := range map[string][]Host{"HTTP/2.0": nil, "HTTP/1.1": {{Name: "127.0.0.1"}}} {
			rt := &Transport{Base: base, Hosts: hosts}
			if _, body, err := get(t, rt, h2.URL); body != want || err != nil {
				t.Errorf("%s for %v: %v", body, hosts, err)
			}
			rt.CloseIdleConnections()
		}
		base.CloseIdleConnections()
	}
}

// Other schemes, and none, are the caller's to see.
func TestOtherSchemes(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	var header string
	var sent atomic.Int32
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		if header != "" {
			w.Header().Set("WWW-Authenticate", header)
		}
		w.WriteHeader(401)
		io.WriteString(w, "no")
	}))
	for _, preemptive := range []bool{false, true} {
		rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: preemptive})
		for _, header = range []string{"", `Basic realm="Negotiate"`, "NTLM", `Digest realm="x", qop="auth"`} {
			sent.Store(0)
			status, body, err := get(t, rt, "http://www.test/")
			if status != 401 || body != "no" || err != nil || sent.Load() != 1 {
				t.Errorf("%q: %d, %q, %v after %d requests", header, status, body, err, sent.Load())
			}
		}
	}
}

// Request.URL says who the server must be, and what the caller has is not changed.
func TestRequest(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		check(t, err)
		fmt.Fprint(w, r.Host, " ", r.Header.Get("X"), " ", string(b), " ", r.Trailer.Get("T"), " ", r.TransferEncoding, " ", r.ContentLength)
	})}
	n.serve("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	for _, test := range []struct {
		length int64
		want   string
	}{
		{-1, "elsewhere.test x body trailer [chunked] -1"},
		{0, "elsewhere.test x body trailer [chunked] -1"},
		{4, "elsewhere.test x body  [] 4"},
	} {
		make := func() *http.Request {
			return &http.Request{
				Method: "POST", URL: &url.URL{Scheme: "http", Host: "www.test", Path: "/p", RawQuery: "q=1"}, Host: "elsewhere.test",
				Header: http.Header{"X": {"x"}}, Trailer: http.Header{"T": {"trailer"}}, ContentLength: test.length,
			}
		}
		req := make()
		req.Body = io.NopCloser(strings.NewReader("body"))
		body := req.Body
		status, got, err := do(t, rt, req)
		if status != 200 || got != test.want || err != nil {
			t.Errorf("%d: %d, %q, %v", test.length, status, got, err)
		}
		if req.Body != body || req.GetBody != nil {
			t.Error("the request has another body")
		}
		req.Body = nil
		if diff := cmp.Diff(make(), req, cmp.Comparer(func(a, b *http.Request) bool {
			return a.Method == b.Method && *a.URL == *b.URL && a.Host == b.Host && cmp.Equal(a.Header, b.Header) && cmp.Equal(a.Trailer, b.Trailer) &&
				a.ContentLength == b.ContentLength && a.Close == b.Close && a.TransferEncoding == nil && a.Context() == b.Context()
		})); diff != "" {
			t.Error(diff)
		}
	}
}

// Services that are not what they should be.
func TestService(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	for _, h := range []string{"www.test", "localhost", "other.test", "unknown.test"} {
		n.serve(h+":80", g)
	}
	for _, test := range []struct {
		host, service string
		words         []string // nil: it works
	}{
		{"www.test", "", nil},
		{"unknown.test", "HTTP@www.test", nil},
		{"unknown.test", "HTTP/www.test@TEST.GSS", nil},
		{"unknown.test", "HTTP/www.test", nil},
		{"unknown.test", "", []string{"there is no token for HTTP@unknown.test, which http://unknown.test must be", "HTTP/unknown.test"}},
		{"www.test", "HTTP/nobody.test@TEST.GSS", []string{"there is no token for HTTP/nobody.test@TEST.GSS"}},
		// The server has no key of that name.
		{"other.test", "", []string{"http://other.test refused the token for HTTP@other.test (401 Unauthorized)", "keytab"}},
		{"localhost", "HTTP@other.test", []string{"http://localhost refused the token for HTTP@other.test"}},
	} {
		rt := n.transport(Host{Name: test.host, Service: test.service, PlainHTTP: true})
		status, body, err := get(t, rt, "http://"+test.host+"/?secret")
		if test.words == nil {
			wantAlice(t, status, body, err)
			continue
		}
		wantWords(t, err, test.words...)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Error("the error tells all of the URL:", err)
		}
	}
}

// Where there is no token, nothing is sent in place of it.
func TestNothingSent(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("unknown.test:80", g)
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would tidy up
	handles := gssapi.ReadStats().Handles
	for _, preemptive := range []bool{false, true} {
		rt := n.transport(Host{Name: "unknown.test", PlainHTTP: true, Preemptive: preemptive})
		for range 100 {
			_, _, err := get(t, rt, "http://unknown.test/")
			wantWords(t, err, "there is no token")
			if preemptive {
				wantLog(t, g)
			} else {
				wantLog(t, g, "GET / -")
			}
		}
	}
	if now := gssapi.ReadStats().Handles; now > handles {
		t.Errorf("%d handles of the library are left", now-handles)
	}
}

// No ticket, expired ones, and no KDC: what the library says comes through.
func TestNoTicket(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})

	if os.Getenv("HTTPAUTH_TEST") == "no ticket" {
		check(t, os.Setenv("KRB5CCNAME", "FILE:/nothing-here"))
		_, _, err := get(t, rt, "http://www.test/")
		if !errors.Is(err, gssapi.ErrNoCred) && !errors.Is(err, gssapi.ErrFailure) {
			t.Error(err)
		}
		wantWords(t, err, "there is no token for HTTP@www.test", "nothing-here")
		wantLog(t, g, "GET / -")
		return
	}
	self, err := testexec.Self("-test.run=^TestNoTicket$", "-test.v")
	check(t, err)
	cmd := exec.CommandContext(t.Context(), self.Args[0], self.Args[1:]...)
	cmd.Env = append(os.Environ(), "HTTPAUTH_TEST=no ticket")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	file, err := realm.Kinit("bob", &gsstest.KinitOptions{Lifetime: time.Second})
	check(t, err)
	rt.Credential = credential(t, file)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for { // until it has expired
		info, err := rt.Credential.Info(t.Context())
		if err != nil || !info.Expiry.After(time.Now()) {
			break
		}
		<-tick.C
	}
	_, _, err = get(t, rt, "http://www.test/")
	wantWords(t, err, "there is no token for HTTP@www.test", "expired")

	file, err = realm.Kinit("bob", nil)
	check(t, err)
	rt = n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.Credential = credential(t, file)
	check(t, realm.StopKDC())
	_, _, err = get(t, rt, "http://www.test/")
	check(t, realm.StartKDC())
	wantWords(t, err, "there is no token for HTTP@www.test", "KDC")
	if _, body, err := get(t, rt, "http://www.test/"); body != "bob@TEST.GSS" || err != nil {
		t.Errorf("with the KDC up again: %q, %v", body, err)
	}
}

// A token is for the connection that it was made for.
func TestBindings(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	good := &gate{t: t}
	good.bound = &n.serve("good.test:443", good).TLS.Certificates[0]
	// This one has a certificate that the client believes, and passes on what it gets.
	relay := n.base()
	n.serve("www.test:443", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "https://good.test/", nil)
		check(t, err)
		req.Header = r.Header.Clone()
		resp, err := relay.RoundTrip(req)
		check(t, err)
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	for _, preemptive := range []bool{false, true} {
		_, _, err := get(t, n.transport(Host{Name: "www.test", Preemptive: preemptive}), "https://www.test/")
		wantWords(t, err, "https://www.test refused the token for HTTP@www.test (401 Unauthorized)", "channel bindings")
		status, body, err := get(t, n.transport(Host{Name: "www.test", WithoutBindings: true, Preemptive: preemptive}), "https://www.test/")
		wantAlice(t, status, body, err) // so it was the bindings
		good.requests()
	}

	// A certificate that has no bindings.
	g := &gate{t: t}
	s := httptest.NewUnstartedServer(g)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{n.ed25519("localhost")}}
	s.StartTLS()
	defer s.Close()
	n.hosts["localhost:443"] = s.Listener.Addr().String()
	status, body, err := get(t, n.transport(Host{Name: "localhost"}), "https://localhost/")
	wantAlice(t, status, body, err)

	// TLS of the caller's own making.
	for _, hide := range []bool{false, true} {
		rt := n.transport(Host{Name: "localhost"})
		rt.Base.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			tc := tls.Client(c, &tls.Config{RootCAs: n.roots, ServerName: "localhost"})
			if hide {
				return struct{ net.Conn }{tc}, nil
			}
			return tc, nil
		}
		status, body, err := get(t, rt, "https://localhost/")
		if hide {
			wantWords(t, err, "does not tell its certificate", "WithoutBindings")
			continue
		}
		wantAlice(t, status, body, err)
	}
}

// The server has to prove who it is.
func TestMutual(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	host := Host{Name: "www.test", PlainHTTP: true}

	g.mute = true
	_, _, err := get(t, n.transport(host), "http://www.test/")
	wantRefused(t, err, "http://www.test has not proved to be HTTP@www.test: its answer (200 OK) has no token in WWW-Authenticate", "WithoutMutual")
	free := host
	free.WithoutMutual = true
	status, body, err := get(t, n.transport(free), "http://www.test/")
	wantAlice(t, status, body, err)
	g.mute = false
	status, body, err = get(t, n.transport(free), "http://www.test/")
	wantAlice(t, status, body, err)

	// Somebody else's proof, an old one, and junk.
	var old []byte
	g.accept = func(r *http.Request, token []byte) ([]byte, string, error) {
		out, user, err := g.step(r, token)
		if old == nil {
			old = out
		}
		return old, user, err
	}
	status, body, err = get(t, n.transport(host), "http://www.test/")
	wantAlice(t, status, body, err)
	junk := make([]byte, 100)
	rand.Read(junk)
	for _, proof := range [][]byte{old, junk, {0xa1}, old[:len(old)-1]} {
		old = proof
		for _, rt := range []*Transport{n.transport(host), n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: true})} {
			_, _, err = get(t, rt, "http://www.test/")
			wantRefused(t, err, "http://www.test has not proved to be HTTP@www.test (200 OK): ", "gss_init_sec_context")
		}
	}

	// It knows who the user is, and does not let him in.
	g.accept = func(r *http.Request, token []byte) ([]byte, string, error) {
		out, _, err := g.step(r, token)
		return out, "", err
	}
	g.requests()
	_, _, err = get(t, n.transport(host), "http://www.test/")
	wantRefused(t, err, "http://www.test refused the token", "whether the user may come in")
	wantLog(t, g, "GET / -", "GET / token")

	// It has proved nothing by an answer that is no success.
	g.accept = nil
	n.serve("localhost:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(503)
			return
		}
		w.Header().Set("WWW-Authenticate", "Negotiate")
		w.WriteHeader(401)
	}))
	_, _, err = get(t, n.transport(Host{Name: "localhost", PlainHTTP: true}), "http://localhost:8080/")
	wantRefused(t, err, "503 Service Unavailable")
}

// Answers that nobody should send.
func TestGarbage(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	var answer func(w http.ResponseWriter, sent int)
	var sent atomic.Int32
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, int(sent.Add(1))) }))
	demand := func(token string) func(http.ResponseWriter, int) {
		return func(w http.ResponseWriter, _ int) {
			w.Header().Set("WWW-Authenticate", strings.TrimSpace("Negotiate "+token))
			w.WriteHeader(401)
		}
	}
	for _, test := range []struct {
		name   string
		answer func(http.ResponseWriter, int)
		most   int32
		words  string
	}{
		{"endless", demand(""), 2, "refused the token"},
		{"endless, with tokens", demand("b2theQ=="), 2, "refused the token"},
		{"no base64", demand("!"), 1, "not in base64"},
		{"long", demand(strings.Repeat("A", maxToken+4)), 1, "longer than"},
		{"two tokens", demand("b2theQ==, Negotiate b2theQ=="), 1, "more than one token"},
		{"other scheme afterwards", func(w http.ResponseWriter, sent int) {
			w.Header().Set("WWW-Authenticate", []string{"Negotiate", "Basic"}[min(sent-1, 1)])
			w.WriteHeader(401)
		}, 2, "refused the token"},
		{"no header afterwards", func(w http.ResponseWriter, sent int) {
			if sent == 1 {
				w.Header().Set("WWW-Authenticate", "Negotiate")
			}
			w.WriteHeader(401)
		}, 2, "refused the token"},
		{"junk in the end", func(w http.ResponseWriter, sent int) {
			w.Header().Set("WWW-Authenticate", []string{"Negotiate", "Negotiate !"}[min(sent-1, 1)])
			w.WriteHeader([]int{401, 200}[min(sent-1, 1)])
		}, 2, "not in base64"},
	} {
		answer = test.answer
		sent.Store(0)
		_, _, err := get(t, n.transport(Host{Name: "www.test", PlainHTTP: true}), "http://www.test/")
		wantWords(t, err, "httpauth: ", "http://www.test", test.words)
		if sent.Load() != test.most {
			t.Errorf("%s: %d requests", test.name, sent.Load())
		}
		// Only a token is given to the library.
		if e := (*gssapi.Error)(nil); errors.As(err, &e) != (test.name == "endless, with tokens") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// A demand's body may be long, or have no end; its connection may be closed.
func TestDemands(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	var demand func(w http.ResponseWriter, r *http.Request)
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			g.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Negotiate")
		demand(w, r)
	}))
	page := bytes.Repeat([]byte("page"), 1024)
	for _, test := range []struct {
		name   string
		demand func(w http.ResponseWriter, r *http.Request)
		conns  int
	}{
		{"200 KiB", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(401)
			for range 50 {
				w.Write(page)
			}
		}, 1},
		{"1 MiB", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(256*len(page)))
			w.WriteHeader(401)
			for range 256 {
				w.Write(page)
			}
		}, 2},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(401)
			for err := error(nil); err == nil; {
				_, err = w.Write(page)
			}
		}, 2},
		{"cut", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(401)
			w.Write(page[:10])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 2},
		{"closed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(401)
		}, 2},
	} {
		demand = test.demand
		before := n.dialled("www.test:80")
		status, body, err := get(t, n.transport(Host{Name: "www.test", PlainHTTP: true}), "http://www.test/")
		wantAlice(t, status, body, err)
		if conns := n.dialled("www.test:80") - before; conns != test.conns {
			t.Errorf("%s: %d connections", test.name, conns)
		}
	}
}

// A connection that was closed while it was idle is not noticed but by using it:
// net/http sends the request again then, over another one, and it gets another token.
func TestLostConnection(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	var mu sync.Mutex
	var tokens []string
	var cut atomic.Bool
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tokens = append(tokens, r.Header.Get("Authorization"))
		mu.Unlock()
		if cut.Swap(false) {
			panic(http.ErrAbortHandler)
		}
		g.ServeHTTP(w, r)
	}))
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: true})
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would tidy up
	handles := gssapi.ReadStats().Handles
	for _, cutting := range []bool{false, true} {
		cut.Store(cutting)
		status, body, err := get(t, rt, "http://www.test/")
		wantAlice(t, status, body, err)
	}
	// The acceptors, of which there were two, keep the initiator's name.
	if now := gssapi.ReadStats().Handles; now > handles+2 {
		t.Errorf("%d handles of the library are left", now-handles)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(tokens) != 3 || n.dialled("www.test:80") != 2 {
		t.Errorf("%d requests over %d connections", len(tokens), n.dialled("www.test:80"))
	}
	if slices.Sort(tokens); len(slices.Compact(tokens)) != 3 || tokens[0] == "" {
		t.Error("a token was sent twice")
	}
}

func TestDelegate(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	var delegated bool
	g := &gate{t: t, accept: func(r *http.Request, token []byte) ([]byte, string, error) {
		a := gssapi.NewAcceptor(nil)
		defer a.Close()
		out, err := a.Step(r.Context(), token)
		d := a.Delegated()
		defer d.Close()
		delegated = d != nil
		return out, "somebody", err
	}}
	n.serve("www.test:80", g)
	n.serve("localhost:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Delegate: true}, Host{Name: "*", PlainHTTP: true})
	for u, want := range map[string]bool{"http://www.test/": true, "http://localhost/": false} {
		if _, _, err := get(t, rt, u); delegated != want || err != nil {
			t.Errorf("%s: %t, %v", u, delegated, err)
		}
	}
	rt = n.transport(Host{Name: "www.test", PlainHTTP: true, Delegate: true})
	rt.Credential = credential(t, bobTickets) // which are not forwardable
	_, _, err := get(t, rt, "http://www.test/")
	wantRefused(t, err, "Host.Delegate takes a forwardable ticket")
}

// Redirects: the tokens are for the hosts, not for the client.
func TestRedirect(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	to := func(u string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, u, http.StatusTemporaryRedirect) })
	}
	var target string
	first, evil, second := &gate{t: t}, &gate{t: t}, &gate{t: t}
	first.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { to(target).ServeHTTP(w, r) })
	n.serve("www.test:443", first)
	n.serve("www.test:80", second)
	n.serve("localhost:443", second)
	n.serve("evil.test:443", evil)
	client := &http.Client{Transport: n.transport(Host{Name: "www.test"}, Host{Name: "localhost"})}
	for _, test := range []struct {
		to     string
		g      *gate
		status int
		token  bool
	}{
		{"https://localhost/there", second, 200, true},
		{"http://www.test/there", second, 401, false},
		{"https://evil.test/there", evil, 401, false},
	} {
		target = test.to
		for _, method := range []string{"GET", "POST"} {
			req, err := http.NewRequestWithContext(t.Context(), method, "https://www.test/here", strings.NewReader("x"))
			check(t, err)
			resp, err := client.Do(req)
			check(t, err)
			resp.Body.Close()
			if resp.StatusCode != test.status || resp.Request.URL.String() != test.to {
				t.Errorf("%s: %d from %s", test.to, resp.StatusCode, resp.Request.URL)
			}
			wantLog(t, first, method+" /here -", method+" /here token")
			if test.token {
				wantLog(t, test.g, method+" /there -", method+" /there token")
			} else {
				wantLog(t, test.g, method+" /there -")
			}
		}
	}
}

// A server's cookies spare tokens.
func TestCookies(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	})}
	with := 0
	n.serve("www.test:443", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("session"); err == nil && c.Value == "1" {
			with++
			return
		}
		g.ServeHTTP(w, r)
	}))
	jar, err := cookiejar.New(nil)
	check(t, err)
	client := &http.Client{Transport: n.transport(Host{Name: "www.test"}), Jar: jar}
	for range 3 {
		resp, err := client.Get("https://www.test/")
		check(t, err)
		resp.Body.Close()
	}
	wantLog(t, g, "GET / -", "GET / token")
	if with != 2 {
		t.Errorf("%d requests with the cookie", with)
	}
}

// The caller's trace sees the connections and the legs.
func TestClientTrace(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	n.serve("www.test:80", &gate{t: t})
	var got, wrote int
	var reused bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn:      func(i httptrace.GotConnInfo) { got++; reused = i.Reused },
		WroteHeaders: func() { wrote++ },
	})
	var established atomic.Int32
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.Trace = &gssapi.Trace{Established: func(gssapi.Event) { established.Add(1) }}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://www.test/", nil)
	check(t, err)
	status, body, err := do(t, rt, req)
	wantAlice(t, status, body, err)
	if got != 2 || wrote != 2 || !reused || established.Load() != 1 {
		t.Errorf("%d connections, %d headers, reused: %t, %d contexts", got, wrote, reused, established.Load())
	}
}

// After 101 the connection is the caller's.
func TestUpgrade(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header().Get("WWW-Authenticate")
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nWWW-Authenticate: %s\r\n\r\n", h)
		buf.Flush()
		io.Copy(c, buf)
	})}
	n.serve("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://www.test/", nil)
		check(t, err)
		req.Header.Set("Connection", "upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := rt.RoundTrip(req)
		check(t, err)
		rw, ok := resp.Body.(io.ReadWriteCloser)
		if !ok || resp.StatusCode != 101 {
			t.Fatalf("%d, body %T", resp.StatusCode, resp.Body)
		}
		rt.CloseIdleConnections()
		b := make([]byte, 5)
		_, err = rw.Write([]byte("hello"))
		check(t, err)
		_, err = io.ReadFull(rw, b)
		if string(b) != "hello" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		check(t, rw.Close())
	}
}

// A context that ends ends RoundTrip, wherever it is, and nothing is left.
func TestCancel(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	var at atomic.Value // where to stop
	at.Store("")
	reached, release := make(chan struct{}, 10), make(chan struct{})
	stop := func(where string, r *http.Request) {
		if at.Load() == where {
			reached <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-release:
			}
		}
	}
	g.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, alice)
		http.NewResponseController(w).Flush()
		stop("body", r)
	})
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			stop("demand", r)
		} else {
			stop("answer", r)
		}
		g.ServeHTTP(w, r)
	}))
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	dial := rt.Base.DialContext
	rt.Base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if at.Load() == "dial" {
			reached <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return dial(ctx, network, addr)
	}
	file, err := realm.Kinit("bob", nil)
	check(t, err)
	for _, where := range []string{"dial", "demand", "step", "answer", "body"} {
		t.Run(where, func(t *testing.T) {
			at.Store(where)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			rt.CloseIdleConnections()
			rt := &Transport{Base: rt.Base, Hosts: rt.Hosts}
			defer rt.CloseIdleConnections()
			if where == "step" {
				rt.Credential = credential(t, file) // without a ticket for the service
				check(t, realm.SuspendKDC())
				defer realm.ResumeKDC()
				go func() {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for gssapi.ReadStats().Initiate.Running == 0 {
						<-tick.C
					}
					reached <- struct{}{}
				}()
			}
			errs := make(chan error, 1)
			body := &closing{Reader: strings.NewReader("x")}
			req, err := http.NewRequestWithContext(ctx, "POST", "http://www.test/", body)
			check(t, err)
			go func() {
				resp, err := rt.RoundTrip(req)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				errs <- err
			}()
			<-reached
			cancel(context.Canceled)
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			body.wantClosed(t)
		})
	}
	close(release)
	at.Store("")
	status, b, err := get(t, rt, "http://www.test/")
	wantAlice(t, status, b, err)
}
