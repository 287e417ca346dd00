package httpauth

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// Hosts of the realm. All of them are at 127.0.0.1. Of other.test the KDC has a key,
// and none of the servers.
const (
	www   = "www.test"
	back  = "back.test"
	proxy = "proxy.test"
	other = "other.test"
)

// The realm of the tests. This process has the tickets of alice, which are
// forwardable, and the keys of all hosts but other.test.
var (
	theRealm    *gsstest.Realm
	certificate *realm.Certificate // of all hosts
	roots       = x509.NewCertPool()
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		err = start()
	}
	if theRealm != nil {
		defer theRealm.Close()
	}
	if certificate != nil {
		defer os.Remove(certificate.File)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	for range 200 {
		runtime.GC() // cleanups run in a goroutine of their own
		runtime.Gosched()
		if gssapi.ReadStats().Handles == 0 {
			return code
		}
	}
	fmt.Fprintf(os.Stderr, "httpauth: something of the C library was not released: %+v\n", gssapi.ReadStats())
	return max(code, 1)
}

func start() (err error) {
	principals := []string{"HTTP/" + www, "HTTP/" + back, "HTTP/" + proxy, "HTTP/localhost"}
	if theRealm, err = gsstest.Start(&gsstest.Options{Principals: append([]string{"alice", "bob", "HTTP/" + other}, principals...)}); err != nil {
		return err
	}
	alice, err := theRealm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	if err != nil {
		return err
	}
	keytab, err := theRealm.Keytab(principals...)
	if err != nil {
		return err
	}
	for _, kv := range theRealm.EnvFor(alice, keytab) {
		k, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	if certificate, err = realm.Certify(www, back, proxy, other, "localhost"); err == nil {
		roots.AddCert(certificate.Leaf)
	}
	return err
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// port is a port that is free, for a program that cannot tell which one it took.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return portOf(l.Addr().String())
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// dial takes all hosts for 127.0.0.1.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", portOf(addr)))
}

// credential is one of a ccache.
func credential(t *testing.T, ccache string) *gssapi.Credential {
	t.Helper()
	c, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: ccache, Usage: gssapi.Initiate})
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// expired is a ccache of alice's whose tickets have expired.
func expired(t *testing.T) string {
	t.Helper()
	ccache, err := theRealm.Kinit("alice", &gsstest.KinitOptions{Lifetime: time.Second})
	check(t, err)
	time.Sleep(2 * time.Second) // their times are whole seconds
	return ccache
}
