package httpauth

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// closing is a body that counts how often it is closed, and what is read.
type closing struct {
	io.Reader
	closed atomic.Int32
	read   atomic.Int64
}

func (c *closing) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *closing) Close() error {
	c.closed.Add(1)
	return nil
}

// wantClosed waits until the body is closed, which may be after RoundTrip.
func (c *closing) wantClosed(t testing.TB) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		if c.closed.Load() > 0 {
			break
		}
		<-tick.C
	}
	if c.closed.Load() != 1 {
		t.Errorf("the body was closed %d times", c.closed.Load())
	}
}

// failing is a body that breaks off.
type failing struct{}

var errBroken = errors.New("the body has broken off")

func (failing) Read([]byte) (int, error) { return 0, errBroken }

// tell writes how long the body is and what its hash is.
var tell = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		w.WriteHeader(400)
		return
	}
	fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
})

// Every way to send a body: it comes whole, and is closed once.
func TestBody(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: tell}
	n.serve("www.test:80", g)
	n.serve("www.test:443", g)
	const limit = 100 << 10
	for _, u := range []string{"http://www.test/", "https://www.test/"} {
		for _, size := range []int{0, 1, limit - 1, limit, limit + 1, 3 << 20} {
			for _, known := range []bool{true, false} {
				for _, maxBody := range []int64{limit, -1} {
					for _, preemptive := range []bool{false, true} {
						rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: preemptive})
						rt.MaxBody = maxBody
						content := bytes.Repeat([]byte("b"), size)
						body := &closing{Reader: bytes.NewReader(content)}
						req, err := http.NewRequestWithContext(t.Context(), "POST", u, body)
						check(t, err)
						if known {
							req.ContentLength = int64(size)
						}
						status, got, err := do(t, rt, req)
						name := fmt.Sprintf("%s, %d bytes, known: %t, MaxBody %d, preemptive: %t", u, size, known, maxBody, preemptive)
						if want := fmt.Sprintf("%d %x", size, sha256.Sum256(content)); status != 200 || got != want || err != nil {
							t.Errorf("%s: %d, %q, %v", name, status, got, err)
						}
						if body.wantClosed(t); body.read.Load() != int64(size) {
							t.Errorf("%s: %d bytes were read", name, body.read.Load())
						}
						if preemptive {
							wantLog(t, g, "POST / token")
						} else {
							wantLog(t, g, "POST / -", "POST / token")
						}
						rt.CloseIdleConnections()
					}
				}
			}
		}
	}
}

func TestGetBody(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: tell}
	n.serve("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	content := bytes.Repeat([]byte("b"), 3<<20)
	var bodies []*closing
	make := func() (io.ReadCloser, error) {
		b := &closing{Reader: bytes.NewReader(content)}
		bodies = append(bodies, b)
		return b, nil
	}
	req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://www.test/", nil)
	check(t, err)
	req.Body, _ = make()
	req.GetBody, req.ContentLength = make, int64(len(content))
	status, got, err := do(t, rt, req)
	if want := fmt.Sprintf("%d %x", len(content), sha256.Sum256(content)); status != 200 || got != want || err != nil {
		t.Errorf("%d, %q, %v", status, got, err)
	}
	if len(bodies) != 2 {
		t.Errorf("%d bodies", len(bodies))
	}
	for _, b := range bodies {
		b.wantClosed(t)
	}
	req.Body, _ = make()
	req.GetBody = func() (io.ReadCloser, error) { return nil, errBroken }
	if _, _, err := do(t, rt, req); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	bodies[len(bodies)-1].wantClosed(t)
}

// A body that is gone is an error, and nothing is sent in place of it.
func TestErrBody(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: tell}
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			io.Copy(io.Discard, r.Body) // it takes the body before it demands anything
		}
		g.ServeHTTP(w, r)
	}))
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.MaxBody = 10
	for _, length := range []int64{-1, 100_000} {
		body := &closing{Reader: strings.NewReader(strings.Repeat("b", 100_000))}
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
		check(t, err)
		req.ContentLength = length
		_, _, err = do(t, rt, req)
		if !errors.Is(err, ErrBody) {
			t.Error(err)
		}
		body.wantClosed(t)
		wantWords(t, err, "http://www.test", "GetBody", "MaxBody")
		wantLog(t, g, "POST / -")
	}
	rt = n.transport(Host{Name: "www.test", PlainHTTP: true})
	body := &closing{Reader: strings.NewReader(strings.Repeat("b", 100_000))}
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
	check(t, err)
	if status, _, err := do(t, rt, req); status != 200 || err != nil {
		t.Errorf("with a larger MaxBody: %d, %v", status, err)
	}
	body.wantClosed(t)
}

// lazy demands a token without reading the request's body or closing the connection,
// and fails the test if that comes nevertheless. Who has a token goes on to next.
func lazy(t *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			next.ServeHTTP(w, r)
			return
		}
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		w.Header().Set("WWW-Authenticate", "Negotiate")
		fmt.Fprint(buf, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n")
		w.Header().Write(buf)
		fmt.Fprint(buf, "\r\n")
		buf.Flush()
		if b, _ := io.ReadAll(buf); len(b) > 0 {
			t.Errorf("%d bytes came to who has not asked for them", len(b))
		}
	})
}

// A body that can be sent once stays here until somebody wants it.
func TestLazyServer(t *testing.T) {
	needsLibrary(t)
	n, proxy, f := behindProxy(t)
	server := &gate{t: t, next: tell}
	n.serve("www.test:80", lazy(t, server))
	proxy.next = lazy(t, f)
	for _, rt := range []*Transport{
		n.transport(Host{Name: "www.test", PlainHTTP: true}),
		n.throughProxy([]Host{{Name: "localhost"}}, []Host{{Name: "www.test", PlainHTTP: true}}),
		n.throughProxy([]Host{{Name: "localhost", Preemptive: true}}, []Host{{Name: "www.test", PlainHTTP: true}}),
	} {
		rt.MaxBody = -1
		body := &closing{Reader: strings.NewReader("body")}
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
		check(t, err)
		if status, got, err := do(t, rt, req); status != 200 || !strings.HasPrefix(got, "4 ") || err != nil {
			t.Errorf("%d, %q, %v", status, got, err)
		}
		body.wantClosed(t)
	}
}

// A server that does not know of Expect gets the request without: what it does with the
// body then is another thing.
func TestExpectationFailed(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: tell}
	n.serve("www.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		if r.Header.Get("Authorization") == "" {
			io.Copy(io.Discard, r.Body)
		}
		g.ServeHTTP(w, r)
	}))
	for _, preemptive := range []bool{false, true} {
		rt := n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: preemptive})
		rt.MaxBody = -1
		body := &closing{Reader: strings.NewReader("body")}
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
		check(t, err)
		status, got, err := do(t, rt, req)
		if preemptive && (status != 200 || !strings.HasPrefix(got, "4 ") || err != nil) {
			t.Errorf("%d, %q, %v", status, got, err)
		}
		if !preemptive && !errors.Is(err, ErrBody) {
			t.Errorf("%d, %q, %v", status, got, err)
		}
		body.wantClosed(t)
		// The caller's own.
		body = &closing{Reader: strings.NewReader("body")}
		req, err = http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
		check(t, err)
		req.Header.Set("Expect", "100-continue")
		status, _, err = do(t, rt, req)
		if preemptive {
			wantRefused(t, err, "417 Expectation Failed")
		} else if status != 417 || err != nil {
			t.Errorf("%d, %v", status, err)
		}
		body.wantClosed(t)
	}
}

// Bodies that are not what they should be, and requests that come to nothing.
func TestBadBody(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: tell}
	n.serve("www.test:80", g)
	n.serve("evil.test:80", tell)
	for _, host := range []string{"www.test", "evil.test"} {
		for _, maxBody := range []int64{0, -1} {
			for _, test := range []struct {
				name   string
				reader io.Reader
				length int64
				words  string // of the error
			}{
				{"broken", io.MultiReader(strings.NewReader("begin"), failing{}), 10, errBroken.Error()},
				{"broken, of no known length", io.MultiReader(strings.NewReader("begin"), failing{}), -1, errBroken.Error()},
				{"short", strings.NewReader("begin"), 10, ""},
				{"long", strings.NewReader("begin and more than this"), 10, ""}, // net/http may send the beginning
			} {
				rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
				rt.MaxBody = maxBody
				body := &closing{Reader: test.reader}
				req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+host+"/", body)
				check(t, err)
				req.ContentLength = test.length
				status, got, err := do(t, rt, req)
				if err == nil && status == 200 && !strings.HasPrefix(got, "10 ") {
					t.Errorf("%s, MaxBody %d, %s: %d, %q, %v", host, maxBody, test.name, status, got, err)
				}
				body.wantClosed(t)
				if err != nil {
					wantWords(t, err, test.words)
				}
			}
		}
	}
	for _, u := range []string{"http://nowhere.test/", "http://www.test:1/", "ftp://www.test/", "http:///", "http://unknown.test/"} {
		rt := n.transport(Host{Name: "www.test", PlainHTTP: true}, Host{Name: "unknown.test", PlainHTTP: true})
		for _, rt.MaxBody = range []int64{0, -1} {
			body := &closing{Reader: strings.NewReader("x")}
			req, err := http.NewRequestWithContext(t.Context(), "POST", u, body)
			check(t, err)
			if _, _, err = do(t, rt, req); err == nil {
				t.Errorf("%s: %v", u, err)
			}
			body.wantClosed(t)
		}
	}
	for _, req := range []*http.Request{{}, {URL: nil, Header: http.Header{}}} {
		body := &closing{Reader: strings.NewReader("x")}
		req.Body = body
		if _, err := n.transport().RoundTrip(req); err == nil {
			t.Error("no error")
		}
		body.wantClosed(t)
	}
}

// The only body: what was not read goes to the next leg, and no leg reads another's.
func TestOnce(t *testing.T) {
	body := &closing{Reader: strings.NewReader("body")}
	o := &once{from: body, body: body}
	first, err := o.next()
	check(t, err)
	second, err := o.next()
	check(t, err)
	if n, err := first.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the first leg reads: %d, %v", n, err)
	}
	check(t, first.Close())
	if body.closed.Load() != 0 {
		t.Error("the first leg has closed it")
	}
	if b, err := io.ReadAll(second); string(b) != "body" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := o.next(); !errors.Is(err, ErrBody) {
		t.Error(err)
	}
	o.finish()
	if body.closed.Load() != 0 {
		t.Error("closed while a leg has it")
	}
	for range 2 {
		check(t, second.Close())
	}
	if body.closed.Load() != 1 {
		t.Errorf("closed %d times", body.closed.Load())
	}

	body = &closing{}
	o = &once{from: body, body: body}
	leg, err := o.next()
	check(t, err)
	check(t, leg.Close())
	o.finish()
	if body.closed.Load() != 1 {
		t.Errorf("unread: closed %d times", body.closed.Load())
	}
}
