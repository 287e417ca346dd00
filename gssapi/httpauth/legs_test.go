package httpauth

import (
	"bufio"
	"context"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// spnego is a client whose negotiation takes several legs: its first token has none of
// Kerberos, or one of a mechanism that no server has.
type spnego struct {
	krb5  *gssapi.Context
	mechs []byte // the list that is negotiated about, in DER
}

// tlv is an element of DER, of up to 64 KiB.
func tlv(tag byte, parts ...[]byte) []byte {
	b := slices.Concat(parts...)
	switch n := len(b); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, b...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, b...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, b...)
	}
}

// foreign is the OID of a mechanism that nobody has.
const foreign gssapi.OID = "\x2a\x03\x04\x05"

// newSPNEGO begins with a list of mechanisms and, if that is not nil, a token of the first.
func newSPNEGO(t testing.TB, mechs []gssapi.OID, optimistic []byte) (*spnego, []byte) {
	t.Helper()
	c := &spnego{krb5: initiator(t, "localhost", &gssapi.InitiatorOptions{Mech: gssapi.MechKrb5})}
	var list [][]byte
	for _, m := range mechs {
		list = append(list, tlv(0x06, []byte(m)))
	}
	c.mechs = tlv(0x30, list...)
	parts := [][]byte{tlv(0xa0, c.mechs)}
	if optimistic != nil {
		parts = append(parts, tlv(0xa2, tlv(0x04, optimistic)))
	}
	return c, tlv(0x60, tlv(0x06, []byte(gssapi.MechSPNEGO)), tlv(0xa0, tlv(0x30, parts...)))
}

// negTokenResp is RFC 4178, 4.2.2.
type negTokenResp struct {
	State asn1.Enumerated       `asn1:"explicit,optional,tag:0,default:-1"`
	Mech  asn1.ObjectIdentifier `asn1:"explicit,optional,tag:1"`
	Token []byte                `asn1:"explicit,optional,tag:2"`
	MIC   []byte                `asn1:"explicit,optional,tag:3"`
}

const (
	acceptCompleted  = 0
	acceptIncomplete = 1
	requestMIC       = 3
)

func readResp(t testing.TB, b []byte) (r negTokenResp) {
	t.Helper()
	_, err := asn1.UnmarshalWithParams(b, &r, "explicit,tag:1")
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return r
}

// second is the leg with the token of Kerberos.
func (c *spnego) second(t testing.TB) []byte {
	t.Helper()
	token, err := c.krb5.Step(t.Context(), nil)
	check(t, err)
	return tlv(0xa1, tlv(0x30, tlv(0xa2, tlv(0x04, token))))
}

// third takes the token of Kerberos in the answer, and signs the negotiation.
func (c *spnego) third(t testing.TB, r negTokenResp) []byte {
	t.Helper()
	_, err := c.krb5.Step(t.Context(), r.Token)
	check(t, err)
	mic, err := c.krb5.AppendMIC(nil, c.mechs)
	check(t, err)
	return tlv(0xa1, tlv(0x30, tlv(0xa3, tlv(0x04, mic))))
}

// oneConn is a client with one connection, and no second one.
func oneConn(t testing.TB, addr string) *http.Client {
	t.Helper()
	conns := make(chan net.Conn, 1)
	conn, err := net.Dial("tcp", addr)
	check(t, err)
	conns <- conn
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		select {
		case conn := <-conns:
			return conn, nil
		default:
			return nil, fmt.Errorf("the connection has ended")
		}
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// leg returns the token of an answer that wants another one.
func leg(t testing.TB, a *answered) []byte {
	t.Helper()
	a.want(t, 401, "")
	token, _, err := challenge(a.Header, "WWW-Authenticate")
	if err != nil || token == nil {
		t.Fatalf("%d %q has no token: %v", a.StatusCode, a.Header, err)
	}
	return token
}

// Exchanges of more than one request end authenticated.
func TestServerLegs(t *testing.T) {
	needsLibrary(t)
	s := serve(t, nil)
	for name, test := range map[string]struct {
		mechs      []gssapi.OID
		optimistic []byte
	}{
		"no token of a mechanism": {[]gssapi.OID{gssapi.MechKrb5}, nil},
		"another mechanism":       {[]gssapi.OID{foreign, gssapi.MechKrb5}, []byte("hello")},
	} {
		t.Run(name, func(t *testing.T) {
			one := oneConn(t, s.addr)
			c, first := newSPNEGO(t, test.mechs, test.optimistic)
			resp := readResp(t, leg(t, ask(t, one, s.url, negotiate(first))))
			if resp.State != acceptIncomplete && resp.State != requestMIC {
				t.Errorf("%+v", resp)
			}
			if text := s.log.take(); text != "" {
				t.Errorf("a leg is logged: %s", text)
			}
			a := ask(t, one, s.url+"/elsewhere", negotiate(c.second(t)))
			if a.StatusCode == 401 {
				a = ask(t, one, s.url, negotiate(c.third(t, readResp(t, leg(t, a)))))
			}
			a.want(t, 200, "alice@TEST.GSS Negotiate")
			logged(t, s.log, "INFO", "alice@TEST.GSS")
			final, _, err := challenge(a.Header, "WWW-Authenticate")
			check(t, err)
			if final != nil && readResp(t, final).State != acceptCompleted { // MIT has none after a signed negotiation
				t.Errorf("the last token: %x", final)
			}
			ask(t, one, s.url, "").want(t, 401, "")
		})
	}
}

// krb5Only is the list of a first token of 29 bytes.
var krb5Only = []gssapi.OID{gssapi.MechKrb5}

// half is the first leg of an exchange, after which the server wants another one.
func half(t testing.TB, one *http.Client, s *site) *spnego {
	t.Helper()
	c, first := newSPNEGO(t, krb5Only, nil)
	if len(first) != 29 {
		t.Fatalf("the first token has %d bytes", len(first))
	}
	leg(t, ask(t, one, s.url, negotiate(first)))
	return c
}

// Every other request of the connection ends an exchange, and so does every other
// connection.
func TestHalfDropped(t *testing.T) {
	needsLibrary(t)
	h, log := handler(t, whoami, &ServerOptions{Optional: true})
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("/free", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, FromContext(r.Context()) == nil) })
	s := start(t, h, log, &http.Server{Handler: mux}, true)
	bob := ticketsOf(t, bobTickets)
	for name, between := range map[string]func(one *http.Client) *http.Client{
		"no token": func(one *http.Client) *http.Client {
			ask(t, one, s.url, "").want(t, 200, "nobody")
			return one
		},
		"a path that is not the Handler's": func(one *http.Client) *http.Client {
			ask(t, one, s.url+"/free", "").want(t, 200, "true")
			return one
		},
		"another scheme": func(one *http.Client) *http.Client {
			ask(t, one, s.url, "Bearer x").want(t, 200, "nobody")
			return one
		},
		"no base64": func(one *http.Client) *http.Client {
			ask(t, one, s.url, "Negotiate !").want(t, 401, "")
			return one
		},
		"somebody else's first token": func(one *http.Client) *http.Client {
			ask(t, one, s.url, negotiate(token(t, &gssapi.InitiatorOptions{Credential: bob}))).want(t, 200, "bob@TEST.GSS")
			return one
		},
		"another connection": func(*http.Client) *http.Client { return client(t) },
	} {
		t.Run(name, func(t *testing.T) {
			one := oneConn(t, s.addr)
			c := half(t, one, s)
			other := between(one)
			s.log.take()
			ask(t, other, s.url, negotiate(c.second(t))).want(t, 401, "")
			logged(t, s.log, "WARN", "goes on with an exchange that this connection has not")
		})
	}
	t.Run("pipelining", func(t *testing.T) {
		c, first := newSPNEGO(t, krb5Only, nil)
		conn, err := net.Dial("tcp", s.addr)
		check(t, err)
		defer conn.Close()
		const get = "GET / HTTP/1.1\r\nHost: localhost\r\n"
		_, err = fmt.Fprintf(conn, get+"Authorization: %s\r\n\r\n"+get+"\r\n"+get+"Authorization: %s\r\n\r\n", negotiate(first), negotiate(c.second(t)))
		check(t, err)
		b := bufio.NewReader(conn)
		for n, status := range []int{401, 200, 401} {
			resp, err := http.ReadResponse(b, nil)
			check(t, err)
			text, err := io.ReadAll(resp.Body)
			check(t, err)
			if resp.StatusCode != status {
				t.Errorf("answer %d is %d %s", n, resp.StatusCode, text)
			}
		}
	})
}

// An exchange ends with its connection, and nothing is left.
func TestHalfCloses(t *testing.T) {
	needsLibrary(t)
	h, log := handler(t, whoami, nil)
	ended := make(chan struct{}, 1)
	s := start(t, h, log, &http.Server{Handler: h, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			ended <- struct{}{}
		}
	}}, true)
	one := oneConn(t, s.addr)
	half(t, one, s)
	var next *gssapi.Context
	h.connections.Range(func(_, value any) bool {
		c := value.(*connection)
		c.mu.Lock()
		defer c.mu.Unlock()
		next = c.next
		return true
	})
	if next == nil || !strings.Contains(next.String(), "partial") {
		t.Fatalf("the exchange is %v", next)
	}
	one.CloseIdleConnections()
	<-ended
	if !strings.Contains(next.String(), "closed") {
		t.Errorf("the exchange is %v", next)
	}
	h.connections.Range(func(any, any) bool {
		t.Error("the connection is not forgotten")
		return false
	})
}

// An exchange does not wait for ever for its next leg.
func TestHalfTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			wait time.Duration
			kept bool
		}{{legTimeout - time.Second, true}, {legTimeout + time.Second, false}} {
			c, half := new(connection), gssapi.NewAcceptor(nil)
			c.turn()
			c.keep(half)
			time.Sleep(test.wait) // sleep: of the bubble, which does not take time
			synctest.Wait()
			if closed := strings.Contains(half.String(), "closed"); closed == test.kept {
				t.Errorf("after %v: %v", test.wait, half)
			}
			c.turn()
			if got := c.take(); (got != nil) != test.kept {
				t.Errorf("after %v: %v", test.wait, got)
			}
			if c.take() != nil {
				t.Error("it is given twice")
			}
		}
	})
}

// Without Attach nothing tells of connections.
func TestHalfWithoutAttach(t *testing.T) {
	needsLibrary(t)
	h, log := handler(t, whoami, nil)
	s := start(t, h, log, &http.Server{Handler: h}, false)
	one := oneConn(t, s.addr)
	_, first := newSPNEGO(t, krb5Only, nil)
	a := ask(t, one, s.url, negotiate(first))
	a.want(t, 401, "")
	if got := a.Header.Get("WWW-Authenticate"); got != "Negotiate" {
		t.Errorf("the challenge is %q", got)
	}
	logged(t, s.log, "WARN", "call Handler.Attach")
	ask(t, one, s.url, negotiate(token(t, nil))).want(t, 200, "alice@TEST.GSS")
}

// HTTP/2 has place for exchanges of one leg.
func TestHTTP2(t *testing.T) {
	needsLibrary(t)
	for name, protocols := range map[string]func(*http.Protocols){
		"HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
	} {
		t.Run(name, func(t *testing.T) {
			h, log := handler(t, whoami, nil)
			server := &http.Server{Handler: h, Protocols: new(http.Protocols)}
			protocols(server.Protocols)
			s := start(t, h, log, server, true)
			tr := &http.Transport{Protocols: server.Protocols}
			defer tr.CloseIdleConnections()
			c := &http.Client{Transport: tr}
			a := ask(t, c, s.url, negotiate(token(t, nil)))
			a.want(t, 200, "alice@TEST.GSS")
			if !strings.HasPrefix(a.Proto, name) {
				t.Fatalf("%s was used", a.Proto)
			}
			s.log.take()
			_, first := newSPNEGO(t, krb5Only, nil)
			a = ask(t, c, s.url, negotiate(first))
			if name == "HTTP/1" {
				leg(t, a)
				return
			}
			a.want(t, 401, "")
			if got := a.Header.Get("WWW-Authenticate"); got != "Negotiate" {
				t.Errorf("the challenge is %q", got)
			}
			logged(t, s.log, "WARN", "turn HTTP/2 off", "http.Server.Protocols")
		})
	}
}

// slicedConn cannot be the key of a map, which its type does not tell.
type slicedConn struct {
	net.Conn
	more any
}

// slicedListener has such connections.
type slicedListener struct{ net.Listener }

func (l slicedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return slicedConn{c, []byte(nil)}, err
}

// Odd connections are served, but for exchanges of several legs.
func TestHalfUnknownConnection(t *testing.T) {
	needsLibrary(t)
	h, log := handler(t, whoami, nil)
	ts := httptest.NewUnstartedServer(h)
	ts.Listener = slicedListener{ts.Listener}
	check(t, h.Attach(ts.Config))
	ts.Config.ConnState = nil // httptest has one that is not for such connections
	go ts.Config.Serve(ts.Listener)
	defer ts.Config.Close()
	url := "http://" + ts.Listener.Addr().String()
	c := client(t)
	ask(t, c, url, negotiate(token(t, nil))).want(t, 200, "alice@TEST.GSS")
	log.take()
	_, first := newSPNEGO(t, krb5Only, nil)
	ask(t, c, url, negotiate(first)).want(t, 401, "")
	logged(t, log, "WARN", "cannot be told apart")
}

// Two Handlers on one server do not disturb each other.
func TestTwoHandlers(t *testing.T) {
	needsLibrary(t)
	one, log := handler(t, whoami, &ServerOptions{Bindings: policy()})
	two, _ := handler(t, whoami, &ServerOptions{Bindings: policy()})
	mux := http.NewServeMux()
	mux.Handle("/", one)
	mux.Handle("/two", two)
	ts := httptest.NewUnstartedServer(mux)
	check(t, one.Attach(ts.Config))
	check(t, two.Attach(ts.Config))
	ts.TLS = ts.Config.TLSConfig
	ts.StartTLS()
	defer ts.Close()
	for _, number := range versions {
		for _, path := range []string{"/", "/two"} {
			c := tlsClient(t, number, nil)
			for _, resumed := range []bool{false, true} {
				a := ask(t, c, ts.URL+path, bound(t, ts.Certificate()))
				a.want(t, 200, "alice@TEST.GSS")
				if a.TLS.DidResume != resumed {
					t.Errorf("resumed: %t", a.TLS.DidResume)
				}
				ask(t, c, ts.URL+path, bound(t, parse(t, ecdsaCertificate(t)))).want(t, 401, "")
				if !resumed && !isMIT() { // where bindings are not required, which newSPNEGO has not
					x, first := newSPNEGO(t, krb5Only, nil)
					leg(t, ask(t, c, ts.URL+path, negotiate(first)))
					ask(t, c, ts.URL+path, negotiate(x.second(t))).want(t, 200, "alice@TEST.GSS")
				}
				c.CloseIdleConnections()
			}
		}
	}
	log.take()
}
