package gssapi

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/internal/fakegss"
	"github.com/seed2651813c/gss/internal/testexec"
)

// The realm of this package's tests. The libraries find it, alice's tickets and
// the service's keytab through the environment, which is the one way that
// Heimdal 7.8 knows.
var (
	realm  *gsstest.Realm
	ccache string // alice, forwardable
	keytab string // service and other
)

const (
	service = "host/server.test"
	other   = "HTTP/other.test"
)

// childEnv is set in a process that runs one test on its own: see inChild.
const childEnv = "GSSAPI_TEST_CHILD"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(childEnv) == "" {
		if err := checkLibrary(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := startRealm(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer realm.Close()
		leaveOut()
	}
	code := m.Run()
	if left := settleLong(0); left > 0 {
		fmt.Fprintf(os.Stderr, "gssapi: %d handles or buffers of the C library were not released\n", left)
		return max(code, 1)
	}
	return code
}

// examples are those that some library cannot run, and why.
var examples = []struct {
	names string // a pattern
	why   string
	able  func() bool
}{
	{
		"Context_(PseudoRandom|WrapInPlace|AppendWrapAEAD|WrapIOV|SessionKey|PAC|AuthorizationData)|TLSExporter|" +
			"Acquire_ccache|AcquireKrb5|Credential_(CopyToCCache|Export)|Name_LocalName",
		"it reads neither krb5.conf nor the ccache and keytab of the realm, so there are no handshakes here",
		func() bool { return kind() != gss.KindGNU },
	},
	{"Acquire_store|Credential_(Store|Impersonate)", "it has no credential stores", func() bool { return gss.Supports("gss_acquire_cred_from") }},
	{"Acquire_negMechs", "it has no gss_set_neg_mechs", func() bool { return gss.Supports("gss_set_neg_mechs") }},
	{"Name_Attribute", "its names have no attributes", func() bool { return kind() == gss.KindMIT }},
	{"MechanismsByAttributes", "it knows no attributes of mechanisms", func() bool { return gss.Supports("gss_indicate_mechs_by_attrs") }},
	{"ThreadSettings", "it has no settings for a thread", func() bool { return kind() == gss.KindHeimdal }},
}

// leaveOut says which examples this library cannot run, and leaves them out: an
// example cannot skip itself.
func leaveOut() {
	flag.Parse()
	var names []string
	for _, e := range examples {
		if !e.able() {
			fmt.Fprintf(os.Stderr, "gssapi: left out, Example(%s): %s\n", e.names, e.why)
			names = append(names, e.names)
		}
	}
	if names == nil {
		return
	}
	skip, pattern := flag.Lookup("test.skip"), "^Example("+strings.Join(names, "|")+")$"
	if given := skip.Value.String(); given != "" {
		pattern = given + "|" + pattern
	}
	skip.Value.Set(pattern)
}

// checkLibrary holds the library to what GSS_REQUIRE_LIBRARY says, if it does.
func checkLibrary() error {
	l, err := gss.Library()
	if err != nil {
		return fmt.Errorf("these tests need a GSS-API library: %w", err)
	}
	fmt.Fprintf(os.Stderr, "gssapi: testing with %v\n", l)
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); want != "" && want != string(l.Kind) {
		return fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	return nil
}

func startRealm() error {
	var err error
	realm, err = gsstest.Start(&gsstest.Options{
		Principals: []string{"alice", "bob", service, other},
		Passwords:  map[string]string{"carol": carolsPassword},
	})
	if err != nil {
		return err
	}
	if ccache, err = realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true}); err != nil {
		return err
	}
	if keytab, err = realm.Keytab(service, other); err != nil {
		return err
	}
	// Nothing of this machine's own: Shishi (GNU gss) makes files in its home.
	env := append(realm.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:", "HOME="+realm.Dir(), "SHISHI_HOME="+realm.Dir())
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
}

// settle collects garbage until no more than want handles are left, or it is
// clear that they stay, but for some that the runtime keeps for a second. It
// returns how many are left.
func settle(want int64) int64 {
	for range 200 {
		runtime.GC() // cleanups run in a goroutine of their own
		runtime.Gosched()
		if gss.Live() <= want {
			break
		}
	}
	return gss.Live()
}

// settleLong is settle with patience, for what should be gone.
func settleLong(want int64) int64 {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		if settle(want) <= want {
			break
		}
		<-tick.C
	}
	return gss.Live()
}

// kept fails the test if it ends with more handles than it began with.
func kept(t *testing.T) {
	t.Helper()
	before := settle(0)
	t.Cleanup(func() {
		if left := settleLong(before); left > before {
			t.Errorf("%d handles before, %d after", before, left)
		}
	})
}

func kind() gss.Kind {
	// C reads this. Go must see it read in a test, or go test would take one
	// library's cached result for another's.
	os.Getenv("GSSAPI_LIBRARY")
	l, err := gss.Library()
	if err != nil {
		return ""
	}
	return l.Kind
}

// laterHeimdal reports whether the library is a Heimdal after 7.8; those who run the
// tests on one see that they hold there.
func laterHeimdal() bool { return kind() == gss.KindHeimdal && gss.Supports("gss_store_cred_into2") }

// lacks skips a test on a library of that kind, which cannot do it because of
// why.
func lacks(t testing.TB, k gss.Kind, why string) {
	t.Helper()
	if kind() == k {
		l, _ := gss.Library()
		t.Skipf("%v: %s", l, why)
	}
}

// needsHandshake skips a test on a library that cannot use the realm.
func needsHandshake(t testing.TB) {
	t.Helper()
	lacks(t, gss.KindGNU, "it reads neither krb5.conf nor the ccache and keytab of the realm, so there are no handshakes here")
}

// eachMech runs a test with Kerberos and with SPNEGO.
func eachMech(t *testing.T, f func(t *testing.T, mech OID)) {
	t.Helper()
	needsHandshake(t)
	t.Run("krb5", func(t *testing.T) { f(t, MechKrb5) })
	t.Run("SPNEGO", func(t *testing.T) { f(t, MechSPNEGO) })
}

// eachSide runs a test with the initiator and with the acceptor of a pair; the
// other one is the peer.
func eachSide(t *testing.T, o *InitiatorOptions, f func(t *testing.T, c, peer *Context)) {
	t.Helper()
	t.Run("initiator", func(t *testing.T) {
		i, a := pair(t, o, nil)
		f(t, i, a)
	})
	t.Run("acceptor", func(t *testing.T) {
		i, a := pair(t, o, nil)
		f(t, a, i)
	})
}

func importName(t testing.TB, s string, typ OID) *Name {
	t.Helper()
	n, err := ImportName(s, typ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func target(t testing.TB) *Name {
	t.Helper()
	n, err := HostService("host", "server.test")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// contexts makes both ends, which have exchanged nothing.
func contexts(t testing.TB, io *InitiatorOptions, ao *AcceptorOptions) (i, a *Context) {
	t.Helper()
	needsHandshake(t)
	return NewInitiator(target(t), io), NewAcceptor(ao)
}

// pair makes both ends of an established context.
func pair(t testing.TB, io *InitiatorOptions, ao *AcceptorOptions) (i, a *Context) {
	t.Helper()
	i, a = contexts(t, io, ao)
	if err := handshake(i, a, nil); err != nil {
		t.Fatal(err)
	}
	return i, a
}

// sideError is the error of one end of a handshake.
type sideError struct {
	side  string
	token []byte // that came with it
	err   error
}

func (e *sideError) Error() string { return e.side + ": " + e.err.Error() }
func (e *sideError) Unwrap() error { return e.err }

// handshake goes on until both ends are established; token is for i.
func handshake(i, a *Context, token []byte) error {
	for range 10 {
		var err error
		if !i.Established() {
			if token, err = i.Step(context.Background(), token); err != nil {
				return &sideError{"initiator", token, err}
			}
		}
		if len(token) > 0 && !a.Established() {
			if token, err = a.Step(context.Background(), token); err != nil {
				return &sideError{"acceptor", token, err}
			}
		}
		if i.Established() && a.Established() {
			return nil
		}
	}
	return fmt.Errorf("the handshake does not end: %v, %v", i, a)
}

// step is a Step that must succeed.
func step(t testing.TB, c *Context, token []byte) []byte {
	t.Helper()
	out, err := c.Step(context.Background(), token)
	if err != nil {
		t.Fatalf("Step of %v: %v", c, err)
	}
	return out
}

// exchange sends messages both ways.
func exchange(t testing.TB, x, y *Context) {
	t.Helper()
	for range 2 {
		send(t, x, y, "one way")
		send(t, y, x, "and back")
	}
	msg := []byte("to be signed")
	mic, err := x.AppendMIC(nil, msg)
	if err != nil {
		t.Fatal(err)
	}
	if err := y.VerifyMIC(msg, mic); err != nil {
		t.Fatal(err)
	}
}

func send(t testing.TB, from, to *Context, msg string) {
	t.Helper()
	receive(t, to, wrap(t, from, msg), msg)
}

func wrap(t testing.TB, c *Context, msg string) []byte {
	t.Helper()
	token, err := c.Wrap([]byte(msg))
	if err != nil {
		t.Fatalf("Wrap of %v: %v", c, err)
	}
	if len(msg) > 3 && bytes.Contains(token, []byte(msg)) {
		t.Fatalf("the message %q is readable in its token", msg)
	}
	return token
}

func receive(t testing.TB, c *Context, token []byte, want string) {
	t.Helper()
	msg, err := c.Unwrap(token)
	if err != nil {
		t.Fatalf("Unwrap of %v: %v", c, err)
	}
	if string(msg) != want {
		t.Fatalf("Unwrap of %v: %q, want %q", c, msg, want)
	}
}

// ints are those of the numbers that an int of this processor can be.
func ints(all ...int64) []int {
	var fit []int
	for _, n := range all {
		if int64(int(n)) == n {
			fit = append(fit, int(n))
		}
	}
	return fit
}

// wantErr fails the test unless err is all of those.
func wantErr(t testing.TB, what string, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Fatalf("%s: error %v, want %v", what, err, w)
		}
	}
}

// inChild runs the test in a process of its own, with env besides the
// environment, and reports whether this is that process. What may crash C, or
// needs another library, runs there.
//
//	if !inChild(t, nil) {
//		return
//	}
func inChild(t *testing.T, env []string) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	out, err := child(t, env).CombinedOutput()
	if err != nil {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	if skip := regexp.MustCompile(`(?m)^\s*\S+_test\.go:\d+: (.*)\n--- SKIP`).FindSubmatch(out); skip != nil {
		t.Skipf("%s", skip[1])
	}
	return false
}

// child is the command that runs this test in another process. The test is skipped
// if env chooses another library, and there can be none.
func child(t *testing.T, env []string) *exec.Cmd {
	t.Helper()
	for _, kv := range env {
		if l, ok := strings.CutPrefix(kv, "GSSAPI_LIBRARY="); ok && l != string(kind()) && fakegss.NoLoading != "" {
			lacks(t, kind(), fakegss.NoLoading)
		}
	}
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	self, err := testexec.Self("-test.run="+strings.Join(pattern, "/"), "-test.v")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self.Args[0], self.Args[1:]...)
	// What leaks in a process that is fed junk is the library's.
	cmd.Env = append(os.Environ(), append([]string{childEnv + "=" + t.Name(), "ASAN_OPTIONS=detect_leaks=0"}, env...)...)
	return cmd
}
