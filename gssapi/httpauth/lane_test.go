package httpauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// counted is a server that counts its connections; closed gets one item for each that
// ends.
func (n *internet) counted(addr string, h http.Handler) (open *atomic.Int32, closed chan net.Conn) {
	open, closed = new(atomic.Int32), make(chan net.Conn, 10_000)
	n.connState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
			closed <- c
		}
	}
	n.serve(addr, h)
	return open, closed
}

// crowd sends so many requests at once, which meet at the server before it answers.
func crowd(t *testing.T, rt http.RoundTripper, url string, many int) {
	t.Helper()
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if status, _, err := get(t, rt, url); status != 200 || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	all.Wait()
}

// meeting is a handler that answers when so many requests are there.
func meeting(many int) http.Handler {
	var mu sync.Mutex
	there, all := 0, make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if there++; there == many {
			close(all)
		}
		mu.Unlock()
		<-all
		io.WriteString(w, "all are there")
	})
}

// As many connections are kept as Base says.
func TestIdle(t *testing.T) {
	needsLibrary(t)
	for _, test := range []struct {
		name          string
		perHost, all  int
		noKeepAlives  bool
		want, dialled int
	}{
		{"default", 0, 0, false, 2, 8},
		{"5", 5, 0, false, 5, 8},
		{"all", 100, 0, false, 8, 8},
		{"5 of all", 100, 5, false, 5, 8},
		{"none", -1, 0, false, 0, 8},
		{"no keep-alives", 5, 0, true, 0, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newInternet(t)
			g := &gate{t: t, next: meeting(8)}
			open, closed := n.counted("www.test:80", g)
			rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
			rt.Base.MaxIdleConnsPerHost, rt.Base.MaxIdleConns, rt.Base.DisableKeepAlives = test.perHost, test.all, test.noKeepAlives
			crowd(t, rt, "http://www.test/", 8)
			for range 8 - test.want {
				<-closed
			}
			if int(open.Load()) != test.want || n.dialled("www.test:80") != test.dialled {
				t.Errorf("%d are open of %d", open.Load(), n.dialled("www.test:80"))
			}
			rt.CloseIdleConnections()
			for range test.want {
				<-closed
			}
		})
	}
}

// Idle ones end after their time; and the one that was used last is the next.
func TestIdleTime(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: meeting(2)}
	_, closed := n.counted("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.Base.IdleConnTimeout = 10 * time.Millisecond
	crowd(t, rt, "http://www.test/", 2)
	for range 2 {
		<-closed
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for left := -1; left != 0; <-tick.C {
		rt.lanes.mu.Lock()
		left = len(rt.lanes.idle)
		rt.lanes.mu.Unlock()
	}

	g.next = nil
	rt = n.transport(Host{Name: "www.test", PlainHTTP: true})
	check(t, rt.start())
	ctx := t.Context()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://www.test/", nil)
	check(t, err)
	a, err := rt.lanes.get(ctx, req.URL, nil)
	check(t, err)
	b, err := rt.lanes.get(ctx, req.URL, nil)
	check(t, err)
	rt.lanes.put(a, true)
	rt.lanes.put(b, true)
	for _, want := range []*lane{b, a} {
		if l, err := rt.lanes.get(ctx, req.URL, nil); l != want || err != nil {
			t.Error("another lane than the one that was used last", err)
		}
	}
	rt.lanes.put(a, true)
	req.URL.Scheme = "https"
	if l, err := rt.lanes.get(ctx, req.URL, nil); l == a || err != nil {
		t.Error("one lane for http and https", err)
	}
	rt.CloseIdleConnections()
	rt.lanes.put(b, true)
	if len(rt.lanes.idle) != 0 {
		t.Error("kept after CloseIdleConnections")
	}
}

// Base may limit the connections: requests wait, until their context ends.
func TestMaxConns(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	var now, most atomic.Int32
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	var hold atomic.Bool
	g := &gate{t: t, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for v := now.Add(1); ; {
			if m := most.Load(); v <= m || most.CompareAndSwap(m, v) {
				break
			}
		}
		defer now.Add(-1)
		if hold.Load() {
			arrived <- struct{}{}
			<-release
		}
	})}
	n.serve("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.Base.MaxConnsPerHost = 2
	crowd(t, rt, "http://www.test/", 20)
	if most.Load() > 2 {
		t.Errorf("%d at once", most.Load())
	}
	hold.Store(true)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { get(t, rt, "http://www.test/") })
		<-arrived
	}
	before := n.dialled("www.test:80")
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no time")
	body := &closing{Reader: strings.NewReader("x")}
	req, err := http.NewRequestWithContext(ctx, "POST", "http://www.test/", body)
	check(t, err)
	errs := make(chan error, 1)
	go func() {
		_, err := rt.RoundTrip(req)
		errs <- err
	}()
	users := 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		rt.lanes.mu.Lock()
		if users = 0; len(rt.lanes.places) == 1 {
			users = slices.Collect(maps.Values(rt.lanes.places))[0].users
		}
		rt.lanes.mu.Unlock()
		if users == 3 {
			break
		}
		<-tick.C
	}
	if dialled := n.dialled("www.test:80"); users != 3 || dialled != before {
		t.Errorf("%d have or want a connection, and %d were made more", users, dialled-before)
	}
	cancel(why)
	if err := <-errs; !errors.Is(err, why) {
		t.Error(err)
	}
	body.wantClosed(t)
	close(release)
	both.Wait()
	if len(rt.lanes.places) != 0 {
		t.Errorf("%d places are left", len(rt.lanes.places))
	}
}

// A body that is not read to its end, or not at all, ends its connection, and holds no
// lane when it is closed.
func TestUnread(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 1<<20))
	})}
	open, closed := n.counted("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.Base.MaxConnsPerHost = 1
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://www.test/", nil)
		check(t, err)
		resp, err := rt.RoundTrip(req)
		check(t, err)
		_, err = resp.Body.Read(make([]byte, 10))
		check(t, err)
		check(t, resp.Body.Close())
		check(t, resp.Body.Close())
		<-closed
	}
	if open.Load() != 0 || len(rt.lanes.idle) != 0 {
		t.Errorf("%d connections, %d lanes", open.Load(), len(rt.lanes.idle))
	}
	// No body at all.
	g.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	for _, method := range []string{"GET", "HEAD", "GET"} {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://www.test/", nil)
		check(t, err)
		resp, err := rt.RoundTrip(req)
		check(t, err)
		if len(rt.lanes.idle) != 1 {
			t.Errorf("%s: %d lanes are free before the body is closed", method, len(rt.lanes.idle))
		}
		check(t, resp.Body.Close())
	}
	if open.Load() != 1 {
		t.Errorf("%d connections", open.Load())
	}
}

// A thousand requests at once of two users: none is taken for the other, and nothing
// is left.
func TestMany(t *testing.T) {
	needsLibrary(t)
	many := 1000
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	g.bound = &n.serve("www.test:443", g).TLS.Certificates[0]
	users := map[string]*Transport{
		alice:          n.transport(Host{Name: "www.test", PlainHTTP: true}),
		"bob@TEST.GSS": n.transport(Host{Name: "www.test", PlainHTTP: true, Preemptive: true}),
	}
	users["bob@TEST.GSS"].Credential = credential(t, bobTickets)
	for user, rt := range users { // the tickets
		if _, got, err := get(t, rt, "http://www.test/"); got != user || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		rt.CloseIdleConnections()
	}
	before := left(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // one with an end
	defer cancel()
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			for user, rt := range users {
				u := []string{"http://www.test/", "https://www.test/"}[i%2]
				req, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprint(u, i), strings.NewReader(user))
				check(t, err)
				if status, got, err := do(t, rt, req); status != 200 || got != user || err != nil {
					t.Errorf("%d, %q in place of %q, %v", status, got, user, err)
				}
			}
		})
	}
	all.Wait()
	for _, rt := range users {
		rt.CloseIdleConnections()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if runtime.GC(); !before.less(left(t)) {
			return
		}
		<-tick.C
	}
	buf := make([]byte, 1<<20)
	t.Errorf("before: %+v, now: %+v\n%s", before, left(t), buf[:runtime.Stack(buf, true)])
}

// counts are what must not grow.
type counts struct {
	goroutines, files int
	handles           int64
}

func left(t *testing.T) counts {
	files, _ := os.ReadDir("/proc/self/fd") // there is none elsewhere
	return counts{runtime.NumGoroutine(), len(files), gssapi.ReadStats().Handles}
}

// less tells whether now is more, but for a few that come and go.
func (c counts) less(now counts) bool {
	return now.goroutines > c.goroutines+5 || now.files > c.files+5 || now.handles > c.handles+5
}
