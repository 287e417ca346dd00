package httpauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// certificate of a key, for localhost and www.test.
func certificate(t testing.TB, key crypto.Signer) tls.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost", "www.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := rsaKey()
	check(t, err)
	return certificate(t, key)
}

func ecdsaCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return certificate(t, key)
}

// files writes a certificate and its key.
func files(t testing.TB, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	check(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	check(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	check(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return certFile, keyFile
}

// startTLS starts a server on a free port; serve nil is ServeTLS without files.
func startTLS(t testing.TB, o *ServerOptions, s *http.Server, serve func(*http.Server, net.Listener) error) *site {
	t.Helper()
	h, log := handler(t, whoami, o)
	s.Handler = h
	check(t, h.Attach(s))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan error)
	go func() {
		if serve == nil {
			done <- s.ServeTLS(l, "", "")
		} else {
			done <- serve(s, l)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return &site{h, l.Addr().String(), log, "https://localhost:" + port}
}

// tlsClient has a cache of sessions, and no connection yet.
func tlsClient(t testing.TB, version uint16, change func(*tls.Config)) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	if change != nil {
		change(config)
	}
	tr := &http.Transport{TLSClientConfig: config}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// bound returns a token that is bound to a certificate, unless that is nil.
func bound(t testing.TB, cert *x509.Certificate) string {
	t.Helper()
	o := new(gssapi.InitiatorOptions)
	if cert != nil {
		var err error
		o.Bindings, err = gssapi.TLSServerEndPoint(cert)
		check(t, err)
	}
	return negotiate(token(t, o))
}

// policy is the one that is strictest on the library.
func policy() BindingsPolicy {
	if isMIT() {
		return BindingsRequired
	}
	return BindingsIfOffered // Heimdal 7.8 does not tell acceptors of bindings
}

// checkBindings sees that the server knows which certificate the client sees, on a connection that
// is resumed or not, and returns it. stranger is another one.
func checkBindings(t testing.TB, s *site, c *http.Client, resumed bool, stranger tls.Certificate) *x509.Certificate {
	t.Helper()
	a := ask(t, c, s.url, "")
	a.want(t, 401, "")
	if a.TLS.DidResume != resumed {
		t.Fatalf("the connection is resumed: %t", a.TLS.DidResume)
	}
	seen := a.TLS.PeerCertificates[0]
	other, err := x509.ParseCertificate(stranger.Certificate[0])
	check(t, err)
	s.log.take()
	a = ask(t, c, s.url, bound(t, seen))
	a.want(t, 200, "alice@TEST.GSS")
	if isMIT() && !strings.Contains(a.text, gssapi.FlagChannelBound.String()) {
		t.Errorf("it is not bound: %q", a.text)
	}
	if record := logged(t, s.log, "INFO"); record != nil && record["user"].(map[string]any)["channel_bound"] != isMIT() {
		t.Errorf("%v", record)
	}
	ask(t, c, s.url, bound(t, other)).want(t, 401, "")
	logged(t, s.log, "WARN", "bindings")
	status := 200
	if s.h.o.Bindings == BindingsRequired {
		status = 401
	}
	ask(t, c, s.url, bound(t, nil)).want(t, status, "")
	s.log.take()
	return seen
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// The certificate that was sent is known however the server got it.
func TestServerBindings(t *testing.T) {
	needsLibrary(t)
	one, two, stranger := ecdsaCertificate(t), ecdsaCertificate(t), ecdsaCertificate(t)
	certFile, keyFile := files(t, two)
	fromFiles := func(s *http.Server, l net.Listener) error { return s.ServeTLS(l, certFile, keyFile) }
	bySNI := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "localhost" {
			return &two, nil
		}
		return nil, nil
	}
	configs := func(change func(*tls.Config)) func(*tls.ClientHelloInfo) (*tls.Config, error) {
		base := &tls.Config{Certificates: []tls.Certificate{two}}
		return func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := base.Clone()
			if change != nil {
				change(c)
			}
			return c, nil
		}
	}
	for name, test := range map[string]struct {
		server *http.Server
		serve  func(*http.Server, net.Listener) error
	}{
		"files":                  {&http.Server{}, fromFiles},
		"files and TLSConfig":    {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{one}}}, fromFiles},
		"TLSConfig.Certificates": {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{two}}}, nil},
		"GetCertificate":         {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{one}, GetCertificate: bySNI}}, nil},
		"GetConfigForClient":     {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{one}, GetConfigForClient: configs(nil)}}, nil},
		"GetConfigForClient with keys": {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{one}, GetConfigForClient: configs(func(c *tls.Config) {
			c.SetSessionTicketKeys([][32]byte{{1}})
		})}}, nil},
		"GetConfigForClient that has none": {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{two}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}}, nil},
		"a listener": {&http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{two}}}, func(s *http.Server, l net.Listener) error {
			return s.Serve(tls.NewListener(l, s.TLSConfig))
		}},
		"sessions that are wrapped": {&http.Server{TLSConfig: wrapped(&tls.Config{Certificates: []tls.Certificate{two}})}, nil},
	} {
		for version, number := range versions {
			t.Run(name+"/"+version, func(t *testing.T) {
				server := &http.Server{TLSConfig: test.server.TLSConfig.Clone()}
				s := startTLS(t, &ServerOptions{Bindings: policy()}, server, test.serve)
				c := tlsClient(t, number, nil)
				for range 2 {
					if seen := checkBindings(t, s, c, false, stranger); !seen.Equal(parse(t, two)) {
						t.Error("it is the other certificate")
					}
					c.CloseIdleConnections()
					for range 2 { // the second one with a ticket of a session that was resumed
						if seen := checkBindings(t, s, c, true, stranger); !seen.Equal(parse(t, two)) {
							t.Error("it is the other certificate")
						}
						c.CloseIdleConnections()
					}
					c = tlsClient(t, number, nil)
				}
			})
		}
	}
}

func parse(t testing.TB, cert tls.Certificate) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(cert.Certificate[0])
	check(t, err)
	return c
}

// wrapped has sessions whose state the program sees, and adds to.
func wrapped(config *tls.Config) *tls.Config {
	keys := new(tls.Config)
	config.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = append(ss.Extra, []byte("mine"))
		return keys.EncryptTicket(cs, ss)
	}
	config.UnwrapSession = func(b []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ss, err := keys.DecryptTicket(b, cs)
		if ss != nil && len(ss.Extra) != 2 {
			return nil, errors.New("the state has not what it had")
		}
		return ss, err
	}
	return config
}

// httptest has a configuration of its own, and puts its certificate there.
func TestServerBindingsHTTPTest(t *testing.T) {
	needsLibrary(t)
	for _, h2 := range []bool{false, true} {
		h, log := handler(t, whoami, &ServerOptions{Bindings: policy()})
		ts := httptest.NewUnstartedServer(h)
		ts.EnableHTTP2 = h2
		check(t, h.Attach(ts.Config))
		ts.TLS = ts.Config.TLSConfig
		ts.StartTLS()
		defer ts.Close()
		s := &site{h, "", log, ts.URL}
		seen := checkBindings(t, s, ts.Client(), false, ecdsaCertificate(t))
		if !seen.Equal(ts.Certificate()) {
			t.Error("it is another certificate")
		}
		if proto := ask(t, ts.Client(), ts.URL, "").Proto; (proto == "HTTP/2.0") != h2 {
			t.Errorf("%s was used", proto)
		}
	}
}

// Of two certificates the client's abilities choose.
func TestServerBindingsTwoCertificates(t *testing.T) {
	needsLibrary(t)
	ec, rs, stranger := ecdsaCertificate(t), rsaCertificate(t), ecdsaCertificate(t)
	s := startTLS(t, &ServerOptions{Bindings: policy()}, &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{ec, rs}}}, nil)
	for suite, cert := range map[uint16]tls.Certificate{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   rs,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: ec,
	} {
		c := tlsClient(t, tls.VersionTLS12, func(c *tls.Config) { c.CipherSuites = []uint16{suite} })
		for _, resumed := range []bool{false, true} {
			if seen := checkBindings(t, s, c, resumed, stranger); !seen.Equal(parse(t, cert)) {
				t.Errorf("%s: it is the other certificate", tls.CipherSuiteName(suite))
			}
			c.CloseIdleConnections()
		}
	}
}

// The names of NameToCertificate count where there are several certificates.
func TestChoose(t *testing.T) {
	one, two := ecdsaCertificate(t), ecdsaCertificate(t)
	//lint:ignore SA1019 it is what is tested
	config := &tls.Config{Certificates: []tls.Certificate{one, two}, NameToCertificate: map[string]*tls.Certificate{"www.test": &two, "*.example.test": &two}}
	for _, client := range []string{"www.test", "WWW.TEST", "a.example.test", "a.b.example.test", "localhost", ""} {
		want := make(chan []byte, 1)
		a, b := net.Pipe()
		go func() {
			c := tls.Client(a, &tls.Config{ServerName: client, InsecureSkipVerify: true})
			defer a.Close()
			if c.Handshake() != nil {
				want <- nil
				return
			}
			want <- c.ConnectionState().PeerCertificates[0].Raw
		}()
		var chosen *tls.Certificate
		probe := config.Clone()
		probe.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			var err error
			chosen, err = choose(config, hello)
			return nil, err
		}
		server := tls.Server(b, probe)
		check(t, server.Handshake())
		if raw := <-want; string(raw) != string(chosen.Certificate[0]) {
			t.Errorf("%q: it is not the one that crypto/tls takes", client)
		}
		b.Close()
	}
	if _, err := choose(new(tls.Config), new(tls.ClientHelloInfo)); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("without certificates: %v", err)
	}
}

// A session goes on with the certificate that it began with, after that was replaced.
func TestServerBindingsRotation(t *testing.T) {
	needsLibrary(t)
	for version, number := range versions {
		t.Run(version, func(t *testing.T) {
			certs := [2]tls.Certificate{ecdsaCertificate(t), ecdsaCertificate(t)}
			var n atomic.Int32
			s := startTLS(t, &ServerOptions{Bindings: policy()}, &http.Server{TLSConfig: &tls.Config{
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certs[n.Load()], nil },
			}}, nil)
			old := tlsClient(t, number, nil)
			checkBindings(t, s, old, false, certs[1])
			n.Store(1)
			checkBindings(t, s, tlsClient(t, number, nil), false, certs[0])
			old.CloseIdleConnections()
			if seen := checkBindings(t, s, old, true, certs[1]); !seen.Equal(parse(t, certs[0])) {
				t.Error("it is the new certificate")
			}
		})
	}
}

// Tickets that do not tell which certificate was sent are not taken.
func TestTicketsOfOthers(t *testing.T) {
	needsLibrary(t)
	cert := ecdsaCertificate(t)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	config.SetSessionTicketKeys([][32]byte{{2}})
	h, log := handler(t, whoami, &ServerOptions{Bindings: policy()})
	plain := httptest.NewUnstartedServer(h)
	plain.TLS = config.Clone()
	plain.StartTLS()
	defer plain.Close()
	s := startTLS(t, &ServerOptions{Bindings: policy()}, &http.Server{}, func(s *http.Server, l net.Listener) error {
		s.TLSConfig.Certificates = config.Certificates
		s.TLSConfig.SetSessionTicketKeys([][32]byte{{2}})
		return s.Serve(tls.NewListener(l, s.TLSConfig))
	})
	for version, number := range versions {
		c := tlsClient(t, number, func(c *tls.Config) { c.ServerName = "localhost" })
		a := ask(t, c, plain.URL, bound(t, nil))
		a.want(t, 503, "")
		logged(t, log, "ERROR", "call Handler.Attach")
		c.CloseIdleConnections()
		if seen := checkBindings(t, s, c, false, ecdsaCertificate(t)); !seen.Equal(parse(t, cert)) {
			t.Errorf("%s: it is another certificate", version)
		}
	}
}

// Ed25519's certificates have no bindings.
func TestServerBindingsEd25519(t *testing.T) {
	needsLibrary(t)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t, key)}}
	for name, p := range map[string]BindingsPolicy{"if offered": BindingsIfOffered, "required": BindingsRequired} {
		t.Run(name, func(t *testing.T) {
			s := startTLS(t, &ServerOptions{Bindings: p}, &http.Server{TLSConfig: config.Clone()}, nil)
			c := tlsClient(t, tls.VersionTLS13, nil)
			for range 2 { // the second time resumed
				if p == BindingsRequired {
					ask(t, c, s.url, bound(t, nil)).want(t, 503, "")
					logged(t, s.log, "ERROR", "RSA or ECDSA")
				} else {
					ask(t, c, s.url, bound(t, nil)).want(t, 200, "alice@TEST.GSS")
				}
				c.CloseIdleConnections()
			}
		})
	}
}

// Bindings that nothing is known for.
func TestServerBindingsUnknown(t *testing.T) {
	needsLibrary(t)
	cert := ecdsaCertificate(t)
	listen := func(s *http.Server, l net.Listener) error {
		return s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
	}
	s := startTLS(t, nil, new(http.Server), listen)
	ask(t, tlsClient(t, tls.VersionTLS13, nil), s.url, bound(t, nil)).want(t, 503, "")
	logged(t, s.log, "ERROR", "without the http.Server's TLSConfig")

	s = startTLS(t, &ServerOptions{Bindings: BindingsOff}, new(http.Server), listen)
	ask(t, tlsClient(t, tls.VersionTLS13, nil), s.url, bound(t, parse(t, ecdsaCertificate(t)))).want(t, 200, "alice@TEST.GSS")

	s = serve(t, &ServerOptions{Bindings: BindingsRequired})
	ask(t, client(t), s.url, bound(t, nil)).want(t, 401, "")
	logged(t, s.log, "WARN", "BindingsRequired takes TLS")
}

// Heimdal 7.8 cannot require bindings: that is the server's fault.
func TestServerBindingsNotTold(t *testing.T) {
	needsLibrary(t)
	if isMIT() {
		t.Skip("MIT tells acceptors of bindings")
	}
	s := startTLS(t, &ServerOptions{Bindings: BindingsRequired}, &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{ecdsaCertificate(t)}}}, nil)
	c := tlsClient(t, tls.VersionTLS13, nil)
	seen := ask(t, c, s.url, "").TLS.PeerCertificates[0]
	ask(t, c, s.url, bound(t, seen)).want(t, 503, "")
	logged(t, s.log, "ERROR", "cannot be required")
}

// Behind a proxy that ends TLS the program tells the certificate.
func TestServerBindingsBehindProxy(t *testing.T) {
	needsLibrary(t)
	cert := parse(t, ecdsaCertificate(t))
	var told atomic.Pointer[x509.Certificate]
	fault := errors.New("the certificate's file is not there")
	s := serve(t, &ServerOptions{Bindings: policy(), Session: new(SessionOptions), Certificate: func(r *http.Request) (*x509.Certificate, error) {
		if r.URL.Path == "/fault" {
			return nil, fault
		}
		return told.Load(), nil
	}})
	told.Store(cert)
	c := client(t)
	a := ask(t, c, s.url, bound(t, cert))
	a.want(t, 200, "alice@TEST.GSS")
	if got := a.Cookies(); len(got) != 1 || !got[0].Secure {
		t.Errorf("cookies: %v", got)
	}
	ask(t, c, s.url, bound(t, parse(t, ecdsaCertificate(t)))).want(t, 401, "")
	s.log.take()
	ask(t, c, s.url+"/fault", bound(t, cert)).want(t, 503, "")
	logged(t, s.log, "ERROR", fault.Error())
	told.Store(nil)
	a = ask(t, c, s.url, bound(t, nil))
	if isMIT() {
		a.want(t, 401, "") // BindingsRequired
	} else {
		a.want(t, 200, "alice@TEST.GSS")
	}
}

// A configuration's own keys for tickets are found, however they were set.
func TestTicketKeys(t *testing.T) {
	with := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{{}}}
		change(c)
		return c
	}
	for name, test := range map[string]struct {
		config *tls.Config
		want   bool
	}{
		"none":   {with(func(*tls.Config) {}), false},
		"set":    {with(func(c *tls.Config) { c.SetSessionTicketKeys([][32]byte{{1}}) }), true},
		"cloned": {with(func(c *tls.Config) { c.SetSessionTicketKeys([][32]byte{{1}}) }).Clone(), true},
		//lint:ignore SA1019 who still sets it is served
		"field": {&tls.Config{SessionTicketKey: [32]byte{1}}, true},
	} {
		if got := hasTicketKeys(test.config); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
