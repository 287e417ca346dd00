package httpauth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"

	"github.com/seed2651813c/gss/gssapi"
)

// Transport is an http.RoundTripper that answers a server's demand for Negotiate, if
// the server is among its Hosts. Requests to others it passes on as they are. It may
// be used by many goroutines at once; its fields must not be changed once it is used.
//
// A request to one of the Hosts has a connection of HTTP/1.1 of its own, from its
// first leg to the end of the response's body, as the scheme demands. Connections
// are kept for later requests, as many and as long as Base says (90 seconds if it
// sets no time).
//
// A response is returned only if the server has proved who it is (mutual
// authentication, in the header of the final response), or if it asked for no
// authentication; a demand for other schemes is returned as it is. Everything else is
// an error that says what is wrong: those of gssapi.Context.Step (no ticket, a service
// that the KDC does not know, ...), and gssapi.ErrUnauthorized if the server refused
// the token or did not prove who it is.
//
// A body that was sent with a request that was answered with a demand is sent again,
// from Request.GetBody, or from memory if it is not longer than MaxBody: RoundTrip
// reads that much of it before it sends anything. With longer ones the server is
// asked before (Expect: 100-continue); if it takes a body and then wants another one
// with the token, the error is ErrBody.
//
// A request that has an Authorization header is passed on as it is. The caller's
// request is not changed, so that an http.Client does not take a token along to where
// it is redirected to; there the Hosts are asked again. It is Request.URL that says
// who the server must be, and not Request.Host.
//
// RoundTrip returns when the request's context is done, although the C library may
// still wait for a KDC: see gssapi.Context.Step. RFC 4559.
type Transport struct {
	// Base makes the connections; nil is http.DefaultTransport. It is cloned when the
	// Transport is first used. What is to see every request, such as instruments,
	// goes around the Transport, and not into it.
	Base *http.Transport
	// Hosts are those that get tokens: none, if there is none. The first that fits
	// counts.
	Hosts []Host
	// Proxies are the proxies of HTTP that get tokens, where Base.Proxy names them.
	// To one that makes a tunnel for https (CONNECT) the token is sent unasked, and not
	// bound to the proxy's certificate if it has one; it has one leg. A proxy with a
	// user in its URL gets none.
	Proxies []Host
	// Credential to authenticate with; nil is the user's default one.
	Credential *gssapi.Credential
	// MaxBody is how many bytes of a request's body are kept in memory, so that they
	// can be sent again; 0 is DefaultMaxBody, below 0 none.
	MaxBody int64
	// Trace is told what happens to the contexts.
	Trace *gssapi.Trace

	once    sync.Once
	err     error // of the fields
	base    *http.Transport
	hosts   []rule
	proxies []rule
	others  *http.Transport // for requests that no token may come to go with
	lanes   lanes           // for those that one may
}

const (
	// maxSent is how often one request is sent, to servers and proxies that demand
	// again and again. Kerberos takes two or three.
	maxSent = 10
	// maxDrain is how much of a demand's body is read, in bytes, so that its
	// connection can be used again.
	maxDrain = 256 << 10
)

// start checks the fields and makes what RoundTrip needs.
func (t *Transport) start() error {
	t.once.Do(func() {
		t.base = t.Base
		if t.base == nil {
			var ok bool
			if t.base, ok = http.DefaultTransport.(*http.Transport); !ok {
				t.err = fmt.Errorf("httpauth: http.DefaultTransport is a %T here: set Transport.Base", http.DefaultTransport)
				return
			}
		}
		if t.hosts, t.err = rules("Hosts", t.Hosts); t.err != nil {
			return
		}
		if t.proxies, t.err = rules("Proxies", t.Proxies); t.err != nil {
			return
		}
		t.base = t.base.Clone()
		t.others = t.base.Clone()
		if len(t.proxies) > 0 {
			t.others.GetProxyConnectHeader, t.others.OnProxyConnectResponse = t.connectHeader, t.connected
		}
		t.lanes.init(t.others)
	})
	return t.err
}

// RoundTrip sends the request and returns the response, whose Request is req. It
// blocks until the response's header is there, and is done when the request's context
// is. The caller closes the response's body. Errors are those of Transport.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.start(); err != nil {
		closeBody(req)
		return nil, err
	}
	u := req.URL
	if u == nil || req.Header == nil || u.Scheme != "http" && u.Scheme != "https" {
		return t.others.RoundTrip(req) // which says what is wrong with it
	}
	var proxy *url.URL
	if t.base.Proxy != nil {
		var err error
		if proxy, err = t.base.Proxy(req); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	var parties []*party
	if r := t.proxyRule(proxy, req.Header); r != nil && u.Scheme == "http" {
		parties = append(parties, t.proxyParty(r, proxy))
	}
	if r := find(t.hosts, u); r != nil && (r.PlainHTTP || u.Scheme == "https") && !has(req.Header, "Authorization") {
		parties = append(parties, &party{rule: r, t: t, url: u, who: origin(u),
			status: http.StatusUnauthorized, ask: "WWW-Authenticate", answer: "Authorization", asked: r.Preemptive})
	}
	ctx := req.Context()
	if len(t.proxies) > 0 && u.Scheme == "https" {
		ctx = context.WithValue(ctx, tunnelKey{}, new(tunnel)) // for the hooks
	}
	var resp *http.Response
	var err error
	if len(parties) == 0 {
		resp, err = t.others.RoundTrip(req.WithContext(ctx))
	} else {
		x := &exchange{req: req, parties: parties}
		x.ctx, x.cancel = context.WithCancelCause(ctx)
		resp, err = t.overLane(x, proxy)
	}
	if err != nil {
		return nil, err
	}
	resp.Request = req
	return resp, nil
}

// overLane sends the request of x over a lane.
func (t *Transport) overLane(x *exchange, proxy *url.URL) (*http.Response, error) {
	l, err := t.lanes.get(x.ctx, x.req.URL, proxy)
	if err != nil {
		closeBody(x.req)
		x.cancel(nil)
		return nil, err
	}
	resp, err := func() (*http.Response, error) {
		defer x.close()
		body, err := newReplay(x.req, t.MaxBody)
		if err != nil {
			return nil, err
		}
		defer body.finish()
		return x.run(l, body)
	}()
	if err != nil {
		x.cancel(nil)
		t.lanes.put(l, false)
		return nil, err
	}
	t.lanes.lend(l, resp, func() { x.cancel(nil) })
	return resp, nil
}

// CloseIdleConnections closes the connections that are kept for later requests. It
// does not interrupt requests.
func (t *Transport) CloseIdleConnections() {
	if t.start() == nil {
		t.others.CloseIdleConnections()
		t.lanes.closeIdle()
	}
}

// exchange is one request and all that is sent for it.
type exchange struct {
	req     *http.Request // the caller's
	ctx     context.Context
	cancel  context.CancelCauseFunc
	parties []*party
}

// run sends the request until nobody demands anything any more.
func (x *exchange) run(l *lane, body *replay) (*http.Response, error) {
	for range maxSent {
		resp, err := x.send(l, body)
		if err != nil {
			return nil, err
		}
		again := body.declined(resp)
		if !again {
			again, err = x.receive(resp)
		}
		if err == nil && !again {
			return resp, nil
		}
		if again {
			io.CopyN(io.Discard, resp.Body, maxDrain+1)
		}
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("httpauth: %s has demanded a token %d times, and there is no end to it: %w", origin(x.req.URL), maxSent, gssapi.ErrUnauthorized)
}

// send sends the request once. The tokens are made when it is known which connection
// it goes over: they are bound to its certificate, and all of a context go over one.
// (net/http calls GotConn before it writes the header, and calls it again if it has
// lost the connection and sends the request over another one.)
func (x *exchange) send(l *lane, body *replay) (*http.Response, error) {
	var leg *http.Request
	var failed error
	leg = x.req.WithContext(httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		for _, p := range x.parties {
			if failed != nil || !p.asked {
				continue
			}
			var value string
			if value, failed = p.authorize(x.ctx, info.Conn); failed == nil {
				leg.Header.Set(p.answer, value)
				continue
			}
			x.cancel(failed)
			info.Conn.Close() // before anything is sent
		}
	}}))
	leg.Header = x.req.Header.Clone()
	asks := false
	for _, p := range x.parties {
		asks = asks || !p.asked
	}
	if err := body.next(leg, asks); err != nil {
		return nil, fmt.Errorf("httpauth: %s: %w", origin(x.req.URL), err)
	}
	resp, err := l.RoundTrip(leg)
	if failed != nil {
		if err == nil {
			resp.Body.Close()
		}
		return nil, failed
	}
	return resp, err
}

// receive gives each party what the response has for it. If the proxy, which is the
// first, demands a token, the server has not seen the request.
func (x *exchange) receive(resp *http.Response) (again bool, err error) {
	for _, p := range x.parties {
		if again, err = p.receive(x.ctx, resp); again || err != nil {
			break
		}
	}
	return again, err
}

func (x *exchange) close() {
	for _, p := range x.parties {
		p.close()
	}
}

// party is who is authenticated to: a server or a proxy.
type party struct {
	*rule
	t      *Transport
	url    *url.URL
	who    string // for errors: "proxy http://proxy.example.com:3128"
	status int    // of a demand
	ask    string // the header of the demand
	answer string // the header of the token

	demanded bool // it has demanded a token
	asked    bool // it is to get one with the next request

	// Of the context that is under way.
	ctx    *gssapi.Context
	target *gssapi.Name
	conn   net.Conn // which all its tokens go over
	token  []byte   // to be sent next; nil: the context is to be begun
}

// proxyRule is the rule for a proxy that gets tokens; nil if it gets none.
func (t *Transport) proxyRule(proxy *url.URL, h http.Header) *rule {
	if proxy == nil || proxy.User != nil || proxy.Scheme != "http" && proxy.Scheme != "https" || has(h, "Proxy-Authorization") {
		return nil
	}
	return find(t.proxies, proxy)
}

func (t *Transport) proxyParty(r *rule, proxy *url.URL) *party {
	return &party{rule: r, t: t, url: proxy, who: "proxy " + origin(proxy),
		status: http.StatusProxyAuthRequired, ask: "Proxy-Authenticate", answer: "Proxy-Authorization", asked: r.Preemptive}
}

// authorize returns the header with the next token, which goes over conn. A context
// that has begun goes on over its connection only. conn is nil for a tunnel.
func (p *party) authorize(ctx context.Context, conn net.Conn) (string, error) {
	if p.token != nil {
		if conn != p.conn {
			return "", fmt.Errorf("httpauth: %s closed the connection in the midst of the authentication, which takes more than one token over one connection: %w", p.who, net.ErrClosed)
		}
		return negotiate(p.token), nil
	}
	p.close() // that of a connection that was lost with its first token
	o := &gssapi.InitiatorOptions{
		Credential: p.t.Credential, Mech: gssapi.MechSPNEGO, Trace: p.t.Trace,
		Without: gssapi.DefaultFlags &^ gssapi.FlagMutual, // no messages are protected
	}
	if p.WithoutMutual {
		o.Without |= gssapi.FlagMutual
	}
	if p.Delegate {
		o.Flags |= gssapi.FlagDeleg
	}
	var err error
	if p.url.Scheme == "https" && !p.WithoutBindings && conn != nil {
		if o.Bindings, err = bindings(conn); err != nil {
			return "", fmt.Errorf("httpauth: %s: %w", p.who, err)
		}
	}
	if p.target, err = p.service(p.url); err != nil {
		return "", fmt.Errorf("httpauth: %s: %w", p.who, err)
	}
	p.conn, p.ctx = conn, gssapi.NewInitiator(p.target, o)
	token, err := p.ctx.Step(ctx, nil)
	if errors.Is(err, gssapi.ErrBadMech) || errors.Is(err, gssapi.ErrNoCred) {
		// SPNEGO does not say why Kerberos has failed: the first of these is all that
		// Heimdal (7.8) has to say, the second what MIT (1.20) says without a ticket.
		o.Mech = gssapi.MechKrb5
		k := gssapi.NewInitiator(p.target, o)
		defer k.Close()
		if _, reason := k.Step(ctx, nil); reason != nil {
			err = reason
		}
	}
	if err != nil {
		return "", fmt.Errorf("httpauth: there is no token for %v, which %s must be: %w", p.target, p.who, err)
	}
	return negotiate(token), nil
}

// bindings are those of a connection with TLS; nil if its certificate has none.
func bindings(conn net.Conn) (*gssapi.ChannelBindings, error) {
	c, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil, fmt.Errorf("a connection of type %T does not tell its certificate, which tokens are bound to: have Base.DialTLSContext return a *tls.Conn, or set Host.WithoutBindings", conn)
	}
	certs := c.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return nil, errors.New("the connection has no certificate, which tokens are bound to: set Host.WithoutBindings")
	}
	b, err := gssapi.TLSServerEndPoint(certs[0])
	if errors.Is(err, gssapi.ErrBadBindings) {
		return nil, nil // Ed25519
	}
	return b, err
}

// receive takes what a response has for the party, and tells whether the request must
// be sent again with a token.
func (p *party) receive(ctx context.Context, resp *http.Response) (again bool, err error) {
	demand := resp.StatusCode == p.status
	if !demand && p.ctx == nil {
		return false, nil // it wanted nothing, and so has nothing to prove
	}
	token, found, err := challenge(resp.Header, p.ask)
	if err != nil {
		return false, fmt.Errorf("%w (%s, %s)", err, p.who, status(resp))
	}
	switch {
	case p.ctx == nil:
		p.demanded, p.asked = found, found
		return found, nil
	case !demand:
		return false, p.final(ctx, resp, token)
	case !p.demanded && !found:
		return false, nil // to a token that it did not ask for: it wants another scheme
	case token == nil || p.ctx.Established():
		return false, p.refused(resp, gssapi.ErrUnauthorized)
	}
	p.demanded = true
	if p.token, err = p.ctx.Step(ctx, token); err != nil {
		return false, p.refused(resp, unproved(ctx, err))
	}
	if len(p.token) == 0 { // nothing is left to say, and it wants more
		return false, p.refused(resp, gssapi.ErrUnauthorized)
	}
	return true, nil
}

// final takes the token of the response that is the last one, by which the server has
// to prove who it is. (One that comes to an established context proves nothing more.)
func (p *party) final(ctx context.Context, resp *http.Response, token []byte) error {
	defer p.close()
	if token != nil && !p.ctx.Established() {
		if _, err := p.ctx.Step(ctx, token); err != nil {
			hint := ""
			if p.Delegate {
				hint = "; Host.Delegate takes a forwardable ticket (kinit -f)"
			}
			return fmt.Errorf("httpauth: %s has not proved to be %v (%s)%s: %w", p.who, p.target, status(resp), hint, unproved(ctx, err))
		}
		if !p.ctx.Established() {
			return fmt.Errorf("httpauth: %s answered (%s) in the midst of the authentication: %w", p.who, status(resp), gssapi.ErrUnauthorized)
		}
	}
	if !p.ctx.Established() && !p.WithoutMutual {
		return fmt.Errorf("httpauth: %s has not proved to be %v: its answer (%s) has no token in %s; if it cannot, and TLS is proof enough, set Host.WithoutMutual: %w",
			p.who, p.target, status(resp), p.ask, gssapi.ErrUnauthorized)
	}
	return nil
}

// unproved is the error of a peer's token that was no good.
func unproved(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", gssapi.ErrUnauthorized, err)
}

func (p *party) refused(resp *http.Response, err error) error {
	return fmt.Errorf("httpauth: %s refused the token for %v (%s); its log says why: look at its keytab, the clocks, the channel bindings, and whether the user may come in: %w",
		p.who, p.target, status(resp), err)
}

// close ends the context, if there is one.
func (p *party) close() {
	p.ctx.Close()
	if p.target != nil {
		p.target.Close()
	}
	p.ctx, p.target, p.conn, p.token = nil, nil, nil, nil
}

type tunnelKey struct{}

// tunnel is what the CONNECTs for one request have sent, and is in the context of
// their dials: which may be more than one at a time, if net/http loses a connection.
type tunnel struct {
	mu   sync.Mutex
	sent map[string]*party // by the header that was sent
}

// connectHeader is the hook that makes the header of a CONNECT.
func (t *Transport) connectHeader(ctx context.Context, proxy *url.URL, target string) (http.Header, error) {
	h := t.base.ProxyConnectHeader
	if t.base.GetProxyConnectHeader != nil {
		var err error
		if h, err = t.base.GetProxyConnectHeader(ctx, proxy, target); err != nil {
			return nil, err
		}
	}
	r := t.proxyRule(proxy, h)
	tn, _ := ctx.Value(tunnelKey{}).(*tunnel)
	if r == nil || tn == nil {
		return h, nil
	}
	p := t.proxyParty(r, proxy)
	p.demanded = true // whatever the answer is, it must not be 407
	value, err := p.authorize(ctx, nil)
	if err != nil {
		p.close()
		return nil, err
	}
	if h = h.Clone(); h == nil {
		h = http.Header{}
	}
	h.Set(p.answer, value)
	tn.mu.Lock()
	defer tn.mu.Unlock()
	if tn.sent == nil {
		tn.sent = map[string]*party{}
	}
	tn.sent[value] = p
	return h, nil
}

// connected is the hook that sees the answer to a CONNECT.
func (t *Transport) connected(ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
	if t.base.OnProxyConnectResponse != nil {
		if err := t.base.OnProxyConnectResponse(ctx, proxy, req, resp); err != nil {
			return err
		}
	}
	tn, _ := ctx.Value(tunnelKey{}).(*tunnel)
	if tn == nil {
		return nil
	}
	value := req.Header.Get("Proxy-Authorization")
	tn.mu.Lock()
	p := tn.sent[value]
	delete(tn.sent, value)
	tn.mu.Unlock()
	if p == nil {
		return nil
	}
	defer p.close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != p.status {
		return nil // net/http makes an error of it
	}
	again, err := p.receive(ctx, resp)
	if again {
		err = fmt.Errorf("httpauth: %s wants more than one token, which net/http cannot send to make a tunnel: %w", p.who, gssapi.ErrUnavailable)
	}
	return err
}

// has tells whether the header has one of that name, however that is written.
func has(h http.Header, name string) bool {
	for k := range h {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}

// origin is the part of the URL that may be told in errors.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// status is that of the response, without the server's own words.
func status(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
