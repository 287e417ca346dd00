package httpauth

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// forward is a proxy's work: it passes requests on, or makes a tunnel. It keeps what
// of tokens it has seen.
type forward struct {
	n    *internet
	base *http.Transport
	mu   sync.Mutex
	seen []http.Header
}

func newForward(n *internet) *forward {
	f := &forward{n: n, base: n.base()}
	f.base.ExpectContinueTimeout = time.Minute // it asks for a body when the server does
	return f
}

func (f *forward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r.Header.Clone())
	f.mu.Unlock()
	if r.Method == http.MethodConnect {
		f.tunnel(w, r)
		return
	}
	req := r.Clone(r.Context())
	req.RequestURI = ""
	req.Header.Del("Proxy-Authorization")
	req.Header.Del("X-User")
	resp, err := f.base.RoundTrip(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		if k != "Proxy-Authenticate" || w.Header()[k] == nil {
			w.Header()[k] = v
		}
	}
	w.WriteHeader(resp.StatusCode)
	io.Copy(w, resp.Body)
}

func (f *forward) tunnel(w http.ResponseWriter, r *http.Request) {
	to, err := f.n.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.n.t.Error(err)
		return
	}
	defer from.Close()
	fmt.Fprint(buf, "HTTP/1.1 200 Connected\r\n")
	w.Header().Write(buf)
	fmt.Fprint(buf, "\r\n")
	buf.Flush()
	go func() {
		io.Copy(to, buf)
		to.Close()
	}()
	io.Copy(from, to)
}

// headers are those that the proxy has seen since it was asked last.
func (f *forward) headers() []http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.seen
	f.seen = nil
	return s
}

// behindProxy is an internet with a proxy at localhost:3128, which is n's gate, and a
// Transport that uses it.
func behindProxy(t *testing.T) (n *internet, g *gate, f *forward) {
	n = newInternet(t)
	f = newForward(n)
	g = &gate{t: t, proxy: true, next: f}
	n.serve("localhost:3128", g)
	return n, g, f
}

var proxyURL = &url.URL{Scheme: "http", Host: "localhost:3128"}

func (n *internet) throughProxy(proxies, hosts []Host) *Transport {
	rt := n.transport(hosts...)
	rt.Proxies = proxies
	rt.Base.Proxy = http.ProxyURL(proxyURL)
	return rt
}

// A proxy and a server, each of which demands a token of its own.
func TestProxy(t *testing.T) {
	needsLibrary(t)
	n, proxy, f := behindProxy(t)
	server := &gate{t: t}
	n.serve("www.test:80", server)
	server.bound = &n.serve("www.test:443", server).TLS.Certificates[0]
	n.serve("open.test:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("Authorization") != "" {
			t.Error("a token for a stranger")
		}
		io.WriteString(w, alice)
	}))
	rt := n.throughProxy([]Host{{Name: "localhost:3128"}}, []Host{{Name: "www.test", PlainHTTP: true}})

	status, body, err := get(t, rt, "http://www.test/x")
	wantAlice(t, status, body, err)
	wantLog(t, proxy, "GET /x -", "GET /x token", "GET /x token")
	wantLog(t, server, "GET /x -", "GET /x token")
	f.headers()

	// With a body that can be sent once.
	rt.MaxBody = -1
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://www.test/x", io.NopCloser(strings.NewReader("x")))
	check(t, err)
	status, body, err = do(t, rt, req)
	wantAlice(t, status, body, err)
	wantLog(t, proxy, "POST /x -", "POST /x token", "POST /x token")
	wantLog(t, server, "POST /x -", "POST /x token")

	status, body, err = get(t, rt, "http://open.test/")
	wantAlice(t, status, body, err)
	wantLog(t, proxy, "GET / -", "GET / token")

	// A tunnel: the proxy sees its own token, and the server's is within.
	f.headers()
	for range 2 {
		status, body, err = get(t, rt, "https://www.test/x")
		wantAlice(t, status, body, err)
	}
	wantLog(t, proxy, "CONNECT  token")
	wantLog(t, server, "GET /x -", "GET /x token", "GET /x -", "GET /x token")
	for _, h := range f.headers() {
		if h.Get("Authorization") != "" {
			t.Error("the proxy has got the server's token")
		}
	}

	// A stranger through a tunnel has HTTP/2.
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	h2.EnableHTTP2 = true
	h2.TLS = &tls.Config{Certificates: []tls.Certificate{n.ed25519("open.test")}}
	h2.StartTLS()
	defer h2.Close()
	n.hosts["open.test:443"] = h2.Listener.Addr().String()
	rt = n.throughProxy([]Host{{Name: "localhost:3128"}}, nil)
	rt.Base.ForceAttemptHTTP2 = true
	if _, body, err := get(t, rt, "https://open.test/"); body != "HTTP/2.0" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	wantLog(t, proxy, "CONNECT  token")
}

// A proxy with TLS: the token is bound to its certificate.
func TestProxyWithTLS(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	f := newForward(n)
	proxy := &gate{t: t, proxy: true, next: f}
	proxy.bound = &n.serve("localhost:8443", proxy).TLS.Certificates[0]
	server := &gate{t: t}
	n.serve("www.test:80", server)
	rt := n.throughProxy([]Host{{Name: "localhost"}}, []Host{{Name: "www.test", PlainHTTP: true}})
	rt.Base.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: "localhost:8443"})
	status, body, err := get(t, rt, "http://www.test/")
	wantAlice(t, status, body, err)
	wantLog(t, proxy, "GET / -", "GET / token", "GET / token")
	other := n.certificate("localhost", proxy.bound.PrivateKey.(crypto.Signer))
	proxy.bound = &other
	_, _, err = get(t, rt, "http://www.test/")
	wantRefused(t, err, "proxy https://localhost:8443 refused the token")
}

// What a proxy may answer.
func TestProxyRefuses(t *testing.T) {
	needsLibrary(t)
	n, proxy, _ := behindProxy(t)
	server := &gate{t: t}
	n.serve("www.test:80", server)
	n.serve("www.test:443", server)
	hosts := []Host{{Name: "www.test", PlainHTTP: true}}
	urls := []string{"http://www.test/", "https://www.test/"}

	// Not among the Proxies, or with another way to authenticate: no tokens.
	for _, proxies := range [][]Host{nil, {{Name: "localhost:3129"}}} {
		rt := n.throughProxy(proxies, hosts)
		if status, body, err := get(t, rt, urls[0]); status != 407 || body != "who are you?\n" || err != nil {
			t.Errorf("%d, %q, %v", status, body, err)
		}
		wantLog(t, proxy, "GET / -")
		_, _, err := get(t, rt, urls[1])
		wantWords(t, err, "Proxy Authentication Required")
		wantLog(t, proxy, "CONNECT  -")
	}
	rt := n.throughProxy([]Host{{Name: "localhost"}}, hosts)
	rt.Base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxyURL.Host, User: url.UserPassword("x", "y")})
	for _, u := range urls {
		get(t, rt, u)
	}
	wantLog(t, proxy, "GET / -", "CONNECT  -")

	// It refuses, or proves nothing.
	rt = n.throughProxy([]Host{{Name: "localhost", Service: "HTTP@other.test"}}, hosts)
	for _, u := range urls {
		_, _, err := get(t, rt, u)
		wantRefused(t, err, "proxy http://localhost:3128 refused the token for HTTP@other.test (407 Proxy Authentication Required)")
	}
	rt = n.throughProxy([]Host{{Name: "localhost", Service: "HTTP@unknown.test"}}, hosts)
	for _, u := range urls {
		_, _, err := get(t, rt, u)
		wantWords(t, err, "there is no token for HTTP@unknown.test, which proxy http://localhost:3128 must be")
	}
	proxy.mute = true
	for _, without := range []bool{false, true} {
		rt = n.throughProxy([]Host{{Name: "localhost", WithoutMutual: without}}, hosts)
		for _, u := range urls {
			status, body, err := get(t, rt, u)
			if without {
				wantAlice(t, status, body, err)
				continue
			}
			wantRefused(t, err, "proxy http://localhost:3128 has not proved to be HTTP@localhost", "Proxy-Authenticate")
		}
	}
	proxy.mute = false

	// A tunnel that cannot be made is net/http's error.
	rt = n.throughProxy([]Host{{Name: "localhost"}}, hosts)
	_, _, err := get(t, rt, "https://nowhere.test/")
	wantWords(t, err, "Bad Gateway")

	// Junk.
	proxy.accept = func(*http.Request, []byte) ([]byte, string, error) { return []byte("junk"), "", nil }
	for _, u := range urls {
		_, _, err := get(t, rt, u)
		wantRefused(t, err, "proxy http://localhost:3128 refused the token")
	}
}

// The demands of the one bring no token for the other.
func TestConfusion(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	var mu sync.Mutex
	var got []string
	var status int
	var header string
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"Authorization", "Proxy-Authorization"} {
			if r.Header.Get(name) != "" {
				got = append(got, r.Method+" "+name)
			}
		}
		w.Header().Set(header, "Negotiate")
		w.WriteHeader(status)
	})
	n.serve("www.test:80", h)
	n.serve("www.test:443", h)
	n.serve("localhost:3128", h)
	const s, p = "WWW-Authenticate", "Proxy-Authenticate"
	hosts, proxies := []Host{{Name: "www.test", PlainHTTP: true}}, []Host{{Name: "localhost"}}
	for _, test := range []struct {
		name           string
		url            string
		proxied        bool
		hosts, proxies []Host
		status         int
		header         string
		want           string
	}{
		{"a server that passes for a proxy", "http://www.test/", false, hosts, proxies, 407, p, ""},
		{"... with TLS", "https://www.test/", false, hosts, proxies, 407, p, ""},
		{"a server with the proxy's header", "http://www.test/", false, hosts, proxies, 401, p, ""},
		{"a server with the proxy's status", "http://www.test/", false, hosts, proxies, 407, s, ""},
		{"a proxy that passes for a stranger", "http://evil.test/", true, hosts, proxies, 401, s, ""},
		{"a proxy with the server's header", "http://www.test/", true, hosts, proxies, 407, s, ""},
		{"a proxy with the server's status", "http://www.test/", true, hosts, proxies, 401, p, ""},
		{"a proxy that is none of ours", "http://www.test/", true, nil, nil, 407, p, ""},
		{"a tunnel to a server, by one that is none of ours", "https://www.test/", true, hosts, nil, 407, p, ""},
		{"... with the server's status", "https://www.test/", true, hosts, nil, 401, s, ""},
		{"a tunnel, the proxy's token alone", "https://www.test/", true, hosts, proxies, 401, s, "CONNECT Proxy-Authorization"},
		{"a proxy that is ours", "http://www.test/", true, hosts, proxies, 407, p, "GET Proxy-Authorization"},
		{"a server behind a proxy", "http://www.test/", true, hosts, proxies, 401, s, "GET Authorization"},
	} {
		got, status, header = nil, test.status, test.header
		rt := n.throughProxy(test.proxies, test.hosts)
		if !test.proxied {
			rt.Base.Proxy = nil
		}
		get(t, rt, test.url)
		if g := strings.Join(got, ", "); g != test.want {
			t.Errorf("%s: %s", test.name, g)
		}
	}
}

// Hooks and headers of Base are there too.
func TestProxyHooks(t *testing.T) {
	needsLibrary(t)
	n, proxy, f := behindProxy(t)
	n.serve("www.test:443", &gate{t: t})
	stop := errors.New("no further")
	for _, test := range []struct {
		name string
		base func(*http.Transport)
		want string // X-Base; empty: an error
		log  []string
	}{
		{"header", func(b *http.Transport) { b.ProxyConnectHeader = http.Header{"X-Base": {"header"}} }, "header", []string{"CONNECT  token"}},
		{"hook", func(b *http.Transport) {
			b.GetProxyConnectHeader = func(ctx context.Context, u *url.URL, target string) (http.Header, error) {
				if u.Host != proxyURL.Host || target != "www.test:443" {
					t.Error(u, target)
				}
				return http.Header{"X-Base": {"hook"}}, nil
			}
		}, "hook", []string{"CONNECT  token"}},
		{"hook that fails", func(b *http.Transport) {
			b.GetProxyConnectHeader = func(context.Context, *url.URL, string) (http.Header, error) { return nil, stop }
		}, "", nil},
		{"response that is not wanted", func(b *http.Transport) {
			b.OnProxyConnectResponse = func(context.Context, *url.URL, *http.Request, *http.Response) error { return stop }
		}, "", []string{"CONNECT  token"}},
	} {
		rt := n.throughProxy([]Host{{Name: "localhost"}}, []Host{{Name: "www.test"}})
		test.base(rt.Base)
		status, body, err := get(t, rt, "https://www.test/")
		if test.want == "" {
			if !errors.Is(err, stop) {
				t.Errorf("%s: %v", test.name, err)
			}
		} else {
			wantAlice(t, status, body, err)
			if h := f.headers(); len(h) != 1 || h[0].Get("X-Base") != test.want {
				t.Errorf("%s: %v", test.name, h)
			}
		}
		wantLog(t, proxy, test.log...)
		f.headers()
	}
	// A token of the caller's own.
	rt := n.throughProxy([]Host{{Name: "localhost"}}, nil)
	rt.Base.ProxyConnectHeader = http.Header{"Proxy-Authorization": {"Basic eDp5"}}
	get(t, rt, "https://www.test/")
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://www.test/", nil)
	check(t, err)
	req.Header.Set("Proxy-Authorization", "Basic eDp5")
	if status, _, err := do(t, rt, req); status != 407 || err != nil {
		t.Error(status, err)
	}
	wantLog(t, proxy, "CONNECT  -", "GET / -")

	rt.Base.Proxy = func(*http.Request) (*url.URL, error) { return nil, stop }
	body := &closing{Reader: strings.NewReader("x")}
	req, err = http.NewRequestWithContext(t.Context(), "POST", "http://www.test/", body)
	check(t, err)
	rt = &Transport{Base: rt.Base}
	if _, _, err := do(t, rt, req); !errors.Is(err, stop) {
		t.Error(err)
	}
	body.wantClosed(t)
}

// Many tunnels at once, each with a token of its own.
func TestManyTunnels(t *testing.T) {
	needsLibrary(t)
	n, proxy, _ := behindProxy(t)
	n.serve("www.test:443", &gate{t: t})
	rt := n.throughProxy([]Host{{Name: "localhost"}}, []Host{{Name: "www.test"}})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			status, body, err := get(t, rt, "https://www.test/")
			wantAlice(t, status, body, err)
		})
	}
	all.Wait()
	for _, l := range proxy.requests() {
		if l != "CONNECT  token" {
			t.Error(l)
		}
	}
}

// Proxies of SOCKS know nothing of Negotiate.
func TestSOCKS(t *testing.T) {
	needsLibrary(t)
	n := newInternet(t)
	g := &gate{t: t}
	n.serve("www.test:80", g)
	rt := n.transport(Host{Name: "www.test", PlainHTTP: true})
	rt.Proxies = []Host{{Name: "*"}}
	rt.Base.Proxy = http.ProxyURL(&url.URL{Scheme: "socks5", Host: "localhost:1080"})
	rt.Base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { // RFC 1928, for one address
			defer server.Close()
			b := make([]byte, 512)
			io.ReadFull(server, b[:3])
			server.Write([]byte{5, 0})
			io.ReadFull(server, b[:5+len("www.test")+2])
			server.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
			to, err := n.dial(context.Background(), "tcp", "www.test:80")
			if err != nil {
				return
			}
			defer to.Close()
			go io.Copy(to, server)
			io.Copy(server, to)
		}()
		return client, nil
	}
	status, body, err := get(t, rt, "http://www.test/")
	wantAlice(t, status, body, err)
	wantLog(t, g, "GET / -", "GET / token")
}
