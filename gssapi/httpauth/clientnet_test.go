package httpauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// internet is where the names of a test's hosts lead: "www.test:443" to a listener.
type internet struct {
	t     testing.TB
	roots *x509.CertPool
	// connState is the hook of the servers to come.
	connState func(net.Conn, http.ConnState)

	mu    sync.Mutex
	hosts map[string]string
	dials map[string]int // by name
}

func newInternet(t testing.TB) *internet {
	return &internet{t: t, roots: x509.NewCertPool(), hosts: map[string]string{}, dials: map[string]int{}}
}

// base is an http.Transport that finds the hosts and believes their certificates.
func (n *internet) base() *http.Transport {
	base := &http.Transport{
		DialContext:     n.dial,
		TLSClientConfig: &tls.Config{RootCAs: n.roots},
	}
	n.t.Cleanup(base.CloseIdleConnections)
	return base
}

func (n *internet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	to, ok := n.hosts[addr]
	n.dials[addr]++
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("there is no %s in this test", addr)
	}
	return new(net.Dialer).DialContext(ctx, network, to)
}

func (n *internet) dialled(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[addr]
}

// serve starts a server at addr, such as "www.test:443", with TLS if the port ends
// in 443.
func (n *internet) serve(addr string, h http.Handler) *httptest.Server {
	n.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = n.connState
	if strings.HasSuffix(addr, "443") {
		host, _, _ := net.SplitHostPort(addr)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(n.t, err)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{n.certificate(host, key)}}
		s.StartTLS()
	} else {
		s.Start()
	}
	n.t.Cleanup(s.Close)
	n.mu.Lock()
	n.hosts[addr] = s.Listener.Addr().String()
	n.mu.Unlock()
	return s
}

// certificate is one that the clients believe.
func (n *internet) certificate(host string, key crypto.Signer) tls.Certificate {
	n.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(n.t, err)
	leaf, err := x509.ParseCertificate(der)
	check(n.t, err)
	n.roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (n *internet) ed25519(host string) tls.Certificate {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(n.t, err)
	return n.certificate(host, key)
}

// transport is one for the hosts, whose connections go through n.
func (n *internet) transport(hosts ...Host) *Transport {
	t := &Transport{Base: n.base(), Hosts: hosts}
	n.t.Cleanup(t.CloseIdleConnections)
	return t
}

// gate is a server's side of Negotiate, made for these tests: one context for each
// connection. Who has come in gets the name of the user.
type gate struct {
	t      testing.TB
	o      gssapi.AcceptorOptions
	bound  *tls.Certificate // takes tokens that are bound to it only, if bound at all
	mute   bool             // does not prove who it is
	proxy  bool             // is a proxy's
	next   http.Handler     // for who has come in; nil writes the user's name
	accept func(r *http.Request, token []byte) (out []byte, user string, err error)

	mu    sync.Mutex
	conns map[string]*gssapi.Context
	log   []string // "method path auth"
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ask, answer, code := "WWW-Authenticate", "Authorization", http.StatusUnauthorized
	if g.proxy {
		ask, answer, code = "Proxy-Authenticate", "Proxy-Authorization", http.StatusProxyAuthRequired
	}
	token, found, err := credentials(r.Header.Get(answer))
	g.mu.Lock()
	what := "-"
	if found {
		what = "token"
	}
	g.log = append(g.log, r.Method+" "+r.URL.Path+" "+what)
	g.mu.Unlock()
	if !found || err != nil {
		w.Header().Set(ask, "Negotiate")
		http.Error(w, "who are you?", code)
		return
	}
	accept := g.step
	if g.accept != nil {
		accept = g.accept
	}
	out, user, err := accept(r, token)
	if len(out) > 0 && !g.mute {
		w.Header().Set(ask, negotiate(out))
	}
	if err != nil || user == "" {
		if err != nil {
			g.t.Logf("%s %s: %v", r.Method, r.URL, err)
		}
		if len(out) == 0 {
			w.Header().Set(ask, "Negotiate")
		}
		http.Error(w, "you may not come in", code)
		return
	}
	r.Header.Set("X-User", user)
	if g.next != nil {
		g.next.ServeHTTP(w, r)
		return
	}
	io.WriteString(w, user)
}

// step is one leg; user is empty if there is to be another.
func (g *gate) step(r *http.Request, token []byte) (out []byte, user string, err error) {
	g.mu.Lock()
	c := g.conns[r.RemoteAddr]
	delete(g.conns, r.RemoteAddr)
	g.mu.Unlock()
	if c == nil {
		o := g.o
		if g.bound != nil {
			if o.Bindings, err = gssapi.TLSServerEndPoint(g.bound.Leaf); err != nil {
				return nil, "", err
			}
		}
		c = gssapi.NewAcceptor(&o)
	}
	if out, err = c.Step(r.Context(), token); err != nil {
		c.Close()
		return out, "", err
	}
	if !c.Established() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.conns == nil {
			g.conns = map[string]*gssapi.Context{}
		}
		g.conns[r.RemoteAddr] = c
		return out, "", nil
	}
	defer c.Close()
	info, err := c.Info()
	if err != nil {
		return nil, "", err
	}
	defer info.Initiator.Close()
	defer info.Acceptor.Close()
	return out, info.Peer().String(), nil
}

// requests are those that have come, and empties the log.
func (g *gate) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.log
	g.log = nil
	return l
}

// get asks for a URL, and returns the status and the body.
func get(t testing.TB, rt http.RoundTripper, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	check(t, err)
	return do(t, rt, req)
}

func do(t testing.TB, rt http.RoundTripper, req *http.Request) (int, string, error) {
	t.Helper()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	if resp.Request != req {
		t.Error("the response is to another request")
	}
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	check(t, resp.Body.Close())
	return resp.StatusCode, string(b), nil
}

// credential is one from a ccache.
func credential(t testing.TB, ccache string) *gssapi.Credential {
	t.Helper()
	c, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: "FILE:" + ccache})
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}
