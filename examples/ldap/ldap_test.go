package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/gssapi/ldapauth"
	"github.com/seed2651813c/gss/gssapi/sasl"
)

// That the types fit.
var _ ldap.GSSAPIClient = (*ldapauth.Client)(nil)

const (
	service = "ldap/" + realm.Host
	alice   = "dn:cn=alice,dc=test"
)

var testRealm *gsstest.Realm

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		testRealm, err = realm.Start()
	}
	if err == nil {
		err = testRealm.AddPrincipal("bob")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer testRealm.Close()
	defer func() {
		for _, s := range servers {
			s.close()
		}
	}()
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is a slapd for the length of the test.
func server(t *testing.T, more ...string) *slapd {
	t.Helper()
	s, err := startSlapd(testRealm, more...)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("slapd:\n%s", s.daemon.Log())
		}
		check(t, s.close())
	})
	return s
}

// sealing binds over a connection that ldapauth protects.
func sealing(t *testing.T, addr, service, authzid string, o *ldapauth.Options) (*ldap.Conn, *ldapauth.Client, error) {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	check(t, err)
	client := ldapauth.NewClient(o)
	l := ldap.NewConn(client.Conn(raw), false)
	l.Start()
	t.Cleanup(func() { l.Close() })
	return l, client, l.GSSAPIBind(client, service, authzid)
}

func who(l *ldap.Conn) string {
	w, err := l.WhoAmI(nil)
	if err != nil {
		return err.Error()
	}
	return w.AuthzID
}

// search gets what is more than 150 kilobytes.
func search(t *testing.T, l *ldap.Conn) {
	t.Helper()
	r, err := l.Search(&ldap.SearchRequest{BaseDN: "dc=test", Scope: ldap.ScopeWholeSubtree, Filter: "(sn=n)"})
	check(t, err)
	if len(r.Entries) != 300 {
		t.Errorf("%d entries", len(r.Entries))
	}
	// A request longer than what the server takes in one piece.
	_, err = l.Search(&ldap.SearchRequest{BaseDN: "dc=test", Filter: "(cn=" + strings.Repeat("z", 100<<10) + ")"})
	check(t, err)
	for _, e := range r.Entries {
		if e.GetAttributeValue("description") != strings.Repeat("x", 500) {
			t.Errorf("%s: %v", e.DN, e.Attributes)
		}
	}
}

// Layers that the server offers and the client wants.
func TestLayers(t *testing.T) {
	const (
		none = sasl.LayerNone
		sign = sasl.LayerIntegrity
		seal = sasl.LayerConfidentiality
	)
	for _, tt := range []struct {
		props string
		want  sasl.Layers
		got   sasl.Layers // 0: refused
	}{
		{"none", 0, seal}, {"none", seal, seal}, {"none", sign, sign}, {"none", sign | seal, seal}, {"none", none, none}, {"none", none | sign, sign},
		{"minssf=1", 0, seal}, {"minssf=1", sign, sign}, {"minssf=1", seal, seal}, {"minssf=1", none, 0},
		{"minssf=56", 0, seal}, {"minssf=56", seal, seal}, {"minssf=56", sign, 0}, {"minssf=56", none, 0}, {"minssf=56", none | sign, 0},
		{"maxssf=0", 0, 0}, {"maxssf=0", seal, 0}, {"maxssf=0", sign, 0}, {"maxssf=0", none | sign | seal, none},
		{"maxssf=1", 0, 0}, {"maxssf=1", seal, 0}, {"maxssf=1", sign | seal, sign},
		{"none,maxbufsize=1024", 0, seal}, {"none,maxbufsize=1024", sign, sign},
	} {
		t.Run(fmt.Sprintf("%s for %v", tt.props, tt.want), func(t *testing.T) {
			s := shared(t, "sasl-secprops "+tt.props)
			l, client, err := sealing(t, s.ldap, service, "", &ldapauth.Options{Layers: tt.want})
			if tt.got == 0 {
				if !errors.Is(err, gssapi.ErrUnauthorized) || !strings.Contains(err.Error(), "the server offers the security layers") {
					t.Error(err)
				}
				if got := who(l); strings.HasPrefix(got, "dn:") || got == "" {
					t.Errorf("it goes on as %q", got)
				}
				return
			}
			if err != nil || client.Layer() != tt.got {
				t.Fatal(client.Layer(), err)
			}
			if got := who(l); got != alice {
				t.Error(got)
			}
			search(t, l)
		})
	}
}

var (
	servers = map[string]*slapd{}
	using   sync.Mutex
)

// shared is a slapd that the subtests of a test share.
func shared(t *testing.T, conf string) *slapd {
	t.Helper()
	using.Lock()
	defer using.Unlock()
	if servers[conf] == nil {
		s, err := startSlapd(testRealm, conf)
		check(t, err)
		servers[conf] = s
	}
	return servers[conf]
}

func TestMany(t *testing.T) {
	s := server(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			l, _, err := sealing(t, s.ldap, service, "", nil)
			if err != nil {
				t.Error(err)
				return
			}
			var both sync.WaitGroup // requests at once on one connection
			for range 4 {
				both.Go(func() {
					if got := who(l); got != alice {
						t.Error(got)
					}
				})
			}
			both.Wait()
		})
	}
	all.Wait()
}

// Who may act as whom.
func TestAuthzID(t *testing.T) {
	s := server(t)
	bob, err := testRealm.Kinit("bob", nil)
	check(t, err)
	cred, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: bob, Usage: gssapi.Initiate})
	check(t, err)
	for _, tt := range []struct {
		cred          *gssapi.Credential
		authzid, want string
	}{
		{nil, "dn:cn=alice,dc=test", alice}, {nil, "u:alice", alice}, {nil, "dn:cn=bob,dc=test", ""},
		{cred, "", "dn:cn=bob,dc=test"}, {cred, "dn:cn=alice,dc=test", alice},
	} {
		l, _, err := sealing(t, s.ldap, service, tt.authzid, &ldapauth.Options{Credential: tt.cred})
		if tt.want == "" {
			if err == nil {
				t.Errorf("%q: %s", tt.authzid, who(l))
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.authzid, err)
		} else if got := who(l); got != tt.want {
			t.Errorf("%q: %s", tt.authzid, got)
		}
	}
}

// overTLS connects by ldaps, or by StartTLS.
func overTLS(t *testing.T, s *slapd, start bool) *ldap.Conn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.cert)
	config := &tls.Config{RootCAs: roots, ServerName: realm.Host}
	var l *ldap.Conn
	var err error
	if start {
		if l, err = ldap.DialURL("ldap://" + s.ldap); err == nil {
			err = l.StartTLS(config)
		}
	} else {
		l, err = ldap.DialURL("ldaps://"+s.ldaps, ldap.DialWithTLSConfig(config))
	}
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// The TLS connection is bound to the authentication.
func TestBindings(t *testing.T) {
	s := server(t, "sasl-cbinding tls-endpoint")
	der, _, err := certificate()
	check(t, err)
	other, err := x509.ParseCertificate(der)
	check(t, err)
	for _, start := range []bool{false, true} {
		for _, right := range []bool{true, false} {
			l := overTLS(t, s, start)
			state, ok := l.TLSConnectionState()
			if !ok {
				t.Fatal("no TLS")
			}
			cert := state.PeerCertificates[0]
			if !right {
				cert = other
			}
			bindings, err := gssapi.TLSServerEndPoint(cert)
			check(t, err)
			client := ldapauth.NewClient(&ldapauth.Options{Bindings: bindings})
			err = l.GSSAPIBind(client, service, "")
			if right {
				if err != nil || who(l) != alice || client.Layer() != sasl.LayerNone {
					t.Errorf("StartTLS %t: %v, %s", start, err, who(l))
				}
				search(t, l)
			} else if !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
				t.Errorf("StartTLS %t, bindings of another certificate: %v", start, err)
			}
		}
	}
	l := overTLS(t, s, false)
	err = l.GSSAPIBind(ldapauth.NewClient(&ldapauth.Options{Layers: sasl.LayerConfidentiality}), service, "")
	if !errors.Is(err, gssapi.ErrUnavailable) || !strings.Contains(err.Error(), "Client.Conn") {
		t.Errorf("a layer without a Conn: %v", err)
	}
}

// What cannot be, and what a person is told. The connection is dead then.
func TestRefused(t *testing.T) {
	s := server(t)
	none := "FILE:" + t.TempDir() + "/none"
	usual := os.Getenv("KRB5CCNAME")
	short, err := testRealm.Kinit("alice", &gsstest.KinitOptions{Lifetime: time.Second})
	check(t, err)
	cred, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: short, Usage: gssapi.Initiate})
	check(t, err)
	info, err := cred.Info(t.Context())
	check(t, err)
	fresh, err := testRealm.Kinit("alice", nil)
	check(t, err)
	check(t, testRealm.AddPrincipal("ldap/stranger.test"))
	<-time.After(time.Until(info.Expiry) + time.Second)
	expired := "expired"
	if l, err := gss.Library(); err == nil && l.Kind == gss.KindHeimdal {
		expired = "Matching credential not found" // it does not look at others
	}
	for _, tt := range []struct{ what, ccache, service, want string }{
		{"no ticket", none, service, "none"},
		{"an expired ticket", short, service, expired},
		{"a service that is not known", usual, "ldap/nobody.test", "ldap/nobody.test"},
		{"a service whose key the server lacks", usual, "ldap/stranger.test", "Invalid Credentials"},
		{"a principal", usual, "ldap/stranger.test@TEST.GSS", "Invalid Credentials"},
		{"no service", usual, "ldap", "should be like ldap/ldap.example.com"},
		{"no KDC", fresh, service, "KDC"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Setenv("KRB5CCNAME", tt.ccache)
			if tt.want == "KDC" {
				check(t, testRealm.StopKDC())
				defer func() { check(t, testRealm.StartKDC()) }()
			}
			l, _, err := sealing(t, s.ldap, tt.service, "", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if got := who(l); strings.HasPrefix(got, "dn:") || got == "" {
				t.Errorf("the connection goes on as %q", got)
			}
			bare, err := ldap.DialURL("ldap://" + s.ldap)
			check(t, err)
			defer bare.Close()
			if err := bare.GSSAPIBind(ldapauth.NewClient(nil), tt.service, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("without a Conn: %v, want %q", err, tt.want)
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := sealing(t, s.ldap, service, "", &ldapauth.Options{Context: ended}); !errors.Is(err, context.Canceled) {
		t.Errorf("a ctx that has ended: %v", err)
	}
}

// A Client, and a Conn, are for one bind.
func TestTwice(t *testing.T) {
	s := server(t)
	l, client, err := sealing(t, s.ldap, service, "", nil)
	check(t, err)
	if err := l.GSSAPIBind(client, service, ""); !errors.Is(err, gssapi.ErrNoContext) || !strings.Contains(err.Error(), "one bind") {
		t.Errorf("the same Client again: %v", err)
	}
	if got := who(l); got != alice {
		t.Errorf("after that: %s", got)
	}
	search(t, l)
}

// between passes everything on between a client and the server, but what edit changes
// of the server's answers, of which each is one read.
func between(t *testing.T, s *slapd, edit func(n int, answer []byte) []byte) (addr string, seen func() []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	var mu sync.Mutex
	var log bytes.Buffer
	all.Go(func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", s.ldap)
		if err != nil {
			t.Error(err)
			return
		}
		all.Go(func() {
			io.Copy(writerFunc(func(b []byte) (int, error) {
				mu.Lock()
				log.Write(b)
				mu.Unlock()
				return server.Write(b)
			}), client)
			server.Close()
		})
		buf := make([]byte, 64<<10)
		for i := 0; ; i++ {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			if _, err := client.Write(edit(i, buf[:n])); err != nil {
				return
			}
		}
	})
	return l.Addr().String(), func() []byte {
		mu.Lock()
		defer mu.Unlock()
		return bytes.Clone(log.Bytes())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// What somebody in the middle can do: take the offer of layers away, change it, say
// that the bind is done, put something behind it, listen.
func TestMiddle(t *testing.T) {
	s := server(t)
	success := func(answer []byte) []byte { // with the number of the answer
		return []byte{0x30, 0x0c, 0x02, 0x01, answer[4], 0x61, 0x07, 0x0a, 0x01, 0, 0x04, 0, 0x04, 0}
	}
	for _, tt := range []struct {
		what string
		at   int
		edit func([]byte) []byte
		bind bool // go-ldap may take the bind for done
	}{
		{"success at once", 0, success, false},
		{"no offer", 1, success, true},
		{"another offer", 1, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, false},
		{"success in the name of the server", 2, func(b []byte) []byte { return append(success(b), success(b)...) }, true},
		{"something behind the bind", 2, func(b []byte) []byte { return append(b, success(b)...) }, true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			addr, seen := between(t, s, func(n int, b []byte) []byte {
				if n == tt.at {
					return tt.edit(bytes.Clone(b))
				}
				return b
			})
			l, _, err := sealing(t, addr, service, "", nil)
			if err == nil && !tt.bind {
				t.Error("the bind is done")
			}
			_, err = l.Search(&ldap.SearchRequest{BaseDN: "dc=test", Filter: "(cn=confidential)"})
			if err == nil {
				t.Error("the connection goes on")
			}
			if bytes.Contains(seen(), []byte("confidential")) {
				t.Error("a request went in the clear")
			}
		})
	}
	addr, seen := between(t, s, func(n int, b []byte) []byte { return b })
	l, _, err := sealing(t, addr, service, "", nil)
	check(t, err)
	_, err = l.Search(&ldap.SearchRequest{BaseDN: "dc=test", Filter: "(cn=confidential)"})
	check(t, err)
	if bytes.Contains(seen(), []byte("confidential")) {
		t.Error("a request went in the clear")
	}
}
