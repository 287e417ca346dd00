package httpauth

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/internal/testexec"
)

// realm of all tests; its services are those of localhost and www.test, and its users
// alice, whose tickets are the default ones, and bob.
var realm *gsstest.Realm

// Files of the realm.
var aliceTickets, bobTickets, keytab string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(nothingVariable) != "" {
		return m.Run()
	}
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		skew, _ := time.ParseDuration(os.Getenv(skewVariable))
		realm, err = gsstest.Start(&gsstest.Options{
			Principals: []string{"alice", "bob", "HTTP/localhost", "HTTP/www.test", "HTTP/other.test"},
			Passwords:  map[string]string{"carol": carolPassword},
			ClockSkew:  skew,
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer realm.Close()
	var errs [3]error
	aliceTickets, errs[0] = realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	bobTickets, errs[1] = realm.Kinit("bob", nil)
	keytab, errs[2] = realm.Keytab("HTTP/localhost", "HTTP/www.test")
	if err := errors.Join(errs[:]...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, kv := range append(realm.EnvFor(aliceTickets, keytab), "HOME="+realm.Dir()) {
		k, v, _ := strings.Cut(kv, "=")
		os.Setenv(k, v)
	}
	if fake := os.Getenv(fakeVariable); fake != "" {
		os.Setenv("KRB5_CONFIG", fake)
	}
	return m.Run()
}

// skewVariable is how far the realm's clocks may differ in a child process of a test.
const skewVariable = "HTTPAUTH_TEST_SKEW"

// fakeVariable names the krb5.conf that takes the place of the realm's in one.
const fakeVariable = "HTTPAUTH_TEST_FAKE"

// nothingVariable tells that there is neither a library nor a realm.
const nothingVariable = "HTTPAUTH_TEST_NOTHING"

// child runs a test in a process of its own, with variables in its environment.
func child(t *testing.T, test string, variables ...string) {
	t.Helper()
	cmd, err := testexec.Self("-test.run=^"+test+"$", "-test.v")
	check(t, err)
	cmd.Env = append(os.Environ(), variables...)
	out, err := cmd.CombinedOutput()
	if err == nil && strings.Contains(string(out), "--- SKIP: "+test) {
		t.Skipf("a process of its own skips it:\n%s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("%v\n%s", err, out)
	}
}

const carolPassword = "correct horse battery staple"

// needsLibrary skips what GNU gss cannot do.
func needsLibrary(t testing.TB) {
	t.Helper()
	if l, err := gss.Library(); err != nil || l.Kind == gss.KindGNU {
		t.Skip("GNU gss has no SPNEGO, and accepts for tests only")
	}
}

// isMIT reports whether the library is MIT's.
func isMIT() bool {
	l, err := gss.Library()
	return err == nil && l.Kind == gss.KindMIT
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
