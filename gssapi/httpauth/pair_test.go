package httpauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
)

// secureSite is a Handler at https://www.test.
func (n *internet) secureSite(o *ServerOptions) *journal {
	n.t.Helper()
	h, log := handler(n.t, whoami, o)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(n.t, err)
	s := httptest.NewUnstartedServer(h)
	s.Config.TLSConfig = &tls.Config{Certificates: []tls.Certificate{n.certificate("www.test", key)}}
	check(n.t, h.Attach(s.Config))
	s.TLS = s.Config.TLSConfig
	s.StartTLS()
	n.t.Cleanup(s.Close)
	n.mu.Lock()
	n.hosts["www.test:443"] = s.Listener.Addr().String()
	n.mu.Unlock()
	return log
}

// A Transport for each of two users and one Handler, with everything at once.
func TestPair(t *testing.T) {
	needsLibrary(t)
	bound := 0
	o := &ServerOptions{Session: new(SessionOptions)}
	if isMIT() {
		o.Bindings, bound = BindingsRequired, int(gssapi.FlagChannelBound)
	}
	n := newInternet(t)
	n.secureSite(o)
	var all sync.WaitGroup
	for user, ccache := range map[string]string{alice: aliceTickets, "bob@TEST.GSS": bobTickets} {
		for _, preemptive := range []bool{false, true} {
			rt := n.transport(Host{Name: "www.test", Preemptive: preemptive})
			rt.Credential = ticketsOf(t, ccache)
			jar, err := cookiejar.New(nil)
			check(t, err)
			client, session := &http.Client{Transport: rt}, &http.Client{Transport: rt, Jar: jar}
			post := func(c *http.Client, i int, method Method, flag int) {
				body := strings.Repeat("x", i*37)
				resp, err := c.Post("https://www.test/", "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := fmt.Sprintf("%s %s %s %d <nil>", user, method, gssapi.Flags(flag), len(body))
				if string(b) != want || err != nil {
					t.Errorf("%q in place of %q, %v", b, want, err)
				}
			}
			post(session, 1, MethodNegotiate, bound)
			for i := range 250 {
				all.Go(func() {
					post(client, i, MethodNegotiate, bound)
					if !preemptive { // which sends a token though it has a cookie
						post(session, i, MethodSession, bound) // the flags are those of the login
					}
				})
			}
		}
	}
	all.Wait()
}

// A token that a client gave to one server is of no use to it at another one.
func TestRelay(t *testing.T) {
	needsLibrary(t)
	good, evil := newInternet(t), newInternet(t)
	log := good.secureSite(nil)
	relay := good.base() // of the attacker, who believes the good server's certificate
	evil.serve("www.test:443", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, "https://www.test/", nil)
		check(t, err)
		if token := r.Header.Get("Authorization"); token != "" {
			req.Header.Set("Authorization", token)
		}
		resp, err := relay.RoundTrip(req)
		check(t, err)
		defer resp.Body.Close()
		for _, v := range resp.Header.Values("WWW-Authenticate") {
			w.Header().Add("WWW-Authenticate", v)
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	for _, without := range []bool{false, true} {
		rt := evil.transport(Host{Name: "www.test", WithoutBindings: without})
		status, body, err := get(t, rt, "https://www.test/")
		switch {
		case without: // what the bindings are for
			if status != 200 || err != nil {
				t.Errorf("%d, %q, %v", status, body, err)
			}
		case err == nil:
			t.Errorf("it is relayed: %d, %q", status, body)
		default:
			logged(t, log, "WARN", "channel bindings")
		}
	}
}
