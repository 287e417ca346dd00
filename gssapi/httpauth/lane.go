package httpauth

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

const (
	// idleTime is how long connections are kept if Base sets no time: lanes are not
	// told when a server closes theirs.
	idleTime = 90 * time.Second
	// continueTime is how long a server is waited for that was asked whether it takes
	// a body, if Base sets no time.
	continueTime = 5 * time.Second
)

// lane is an http.Transport with one connection, of HTTP/1.1, that one request has for
// itself from its first leg to the end of the response's body.
type lane struct {
	*http.Transport
	key   laneKey
	timer *time.Timer // closes it if it stays idle
}

// laneKey is what a lane can be used for.
type laneKey struct{ scheme, addr, proxy string }

// lanes are those of a Transport.
type lanes struct {
	template *http.Transport

	// As in Base.
	idlePerHost, idleAll int // 0 for the latter: no limit
	idleTime             time.Duration
	perHost              int // in use; 0: no limit

	mu     sync.Mutex
	idle   []*lane // the one that was used last is the last
	closed bool    // by CloseIdleConnections, until the next request
	places map[laneKey]*places
}

// places are the connections that a host may have, and who has or wants one.
type places struct {
	taken chan struct{}
	users int
}

// init takes from base how connections are made, and how many there may be.
func (ls *lanes) init(base *http.Transport) {
	ls.idlePerHost, ls.idleAll, ls.idleTime, ls.perHost = base.MaxIdleConnsPerHost, base.MaxIdleConns, base.IdleConnTimeout, base.MaxConnsPerHost
	if ls.idlePerHost == 0 {
		ls.idlePerHost = http.DefaultMaxIdleConnsPerHost
	}
	if base.DisableKeepAlives {
		ls.idlePerHost = -1
	}
	if ls.idleTime == 0 {
		ls.idleTime = idleTime
	}

	t := base.Clone()
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost, t.MaxIdleConns = 1, 1, 0
	t.DisableKeepAlives = false // all legs are one request
	t.ForceAttemptHTTP2, t.HTTP2, t.TLSNextProto, t.Protocols = false, nil, nil, new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = slices.DeleteFunc(slices.Clone(t.TLSClientConfig.NextProtos), func(p string) bool { return p == "h2" })
	}
	if t.ExpectContinueTimeout == 0 {
		t.ExpectContinueTimeout = continueTime
	}
	ls.template = t
}

// get returns a lane for a request to u, for which lend or put is to be called. It
// waits for one if Base limits the connections.
func (ls *lanes) get(ctx context.Context, u, proxy *url.URL) (*lane, error) {
	key := laneKey{scheme: u.Scheme, addr: net.JoinHostPort(hostname(u), port(u))}
	if proxy != nil {
		key.proxy = proxy.String()
	}
	if err := ls.enter(ctx, key); err != nil {
		return nil, err
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = false
	for n, l := range slices.Backward(ls.idle) {
		if l.key == key {
			ls.idle = slices.Delete(ls.idle, n, n+1)
			l.timer.Stop()
			return l, nil
		}
	}
	l := &lane{Transport: ls.template.Clone(), key: key}
	l.Proxy = nil
	if proxy != nil {
		l.Proxy = http.ProxyURL(proxy)
	}
	return l, nil
}

// lend leaves the lane to the body of resp, until that is read to its end or closed;
// then done is called.
func (ls *lanes) lend(l *lane, resp *http.Response, done func()) {
	var once sync.Once
	end := func(keep bool) {
		once.Do(func() {
			ls.put(l, keep && !resp.Close)
			done()
		})
	}
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		end(false) // the connection is the caller's
	case resp.Body == http.NoBody:
		end(true)
	default:
		resp.Body = &laneBody{resp.Body, end}
	}
}

// laneBody is the body of a response that holds a lane.
type laneBody struct {
	io.ReadCloser
	end func(keep bool)
}

func (b *laneBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

func (b *laneBody) Close() error {
	err := b.ReadCloser.Close()
	b.end(false)
	return err
}

// put takes a lane back. keep tells that its connection can be used again.
func (ls *lanes) put(l *lane, keep bool) {
	ls.leave(l.key)
	ls.mu.Lock()
	surplus := l
	if keep && !ls.closed && ls.count(l.key) < ls.idlePerHost {
		ls.idle, surplus = append(ls.idle, l), nil
		l.timer = time.AfterFunc(ls.idleTime, func() { ls.expire(l) })
		if ls.idleAll > 0 && len(ls.idle) > ls.idleAll {
			surplus = ls.idle[0]
			surplus.timer.Stop()
			ls.idle = slices.Delete(ls.idle, 0, 1)
		}
	}
	ls.mu.Unlock()
	if surplus != nil {
		surplus.CloseIdleConnections() // and the one that is still to become idle
	}
}

// count is how many are idle. The caller holds ls.mu.
func (ls *lanes) count(key laneKey) (n int) {
	for _, l := range ls.idle {
		if l.key == key {
			n++
		}
	}
	return n
}

// expire closes a lane that has been idle for its time.
func (ls *lanes) expire(l *lane) {
	ls.mu.Lock()
	n := slices.Index(ls.idle, l)
	if n >= 0 {
		ls.idle = slices.Delete(ls.idle, n, n+1)
	}
	ls.mu.Unlock()
	if n >= 0 {
		l.CloseIdleConnections()
	}
}

func (ls *lanes) closeIdle() {
	ls.mu.Lock()
	idle := ls.idle
	ls.idle, ls.closed = nil, true
	ls.mu.Unlock()
	for _, l := range idle {
		l.timer.Stop()
		l.CloseIdleConnections()
	}
}

// enter waits for one of the places that a host has.
func (ls *lanes) enter(ctx context.Context, key laneKey) error {
	if ls.perHost <= 0 {
		return nil
	}
	ls.mu.Lock()
	p := ls.places[key]
	if p == nil {
		if ls.places == nil {
			ls.places = map[laneKey]*places{}
		}
		p = &places{taken: make(chan struct{}, ls.perHost)}
		ls.places[key] = p
	}
	p.users++
	ls.mu.Unlock()
	select {
	case p.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		ls.gone(key, p)
		return context.Cause(ctx)
	}
}

// leave gives the place back.
func (ls *lanes) leave(key laneKey) {
	if ls.perHost <= 0 {
		return
	}
	ls.mu.Lock()
	p := ls.places[key]
	ls.mu.Unlock()
	<-p.taken
	ls.gone(key, p)
}

func (ls *lanes) gone(key laneKey, p *places) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(ls.places, key)
	}
}
