package handoff

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// The realm of this package's tests.
var (
	realm          *gsstest.Realm
	ccache, keytab string
)

const service = "host/server.test"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if role := os.Getenv(roleEnv); role != "" {
		return roles[role]()
	}
	l, err := gss.Library()
	if err == nil {
		fmt.Fprintf(os.Stderr, "handoff: testing with %v\n", l)
		if want := os.Getenv("GSS_REQUIRE_LIBRARY"); want != "" && want != string(l.Kind) {
			err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
		}
	}
	if err == nil {
		err = startRealm()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer realm.Close()
	code := m.Run()
	if left := settle(); left > 0 {
		fmt.Fprintf(os.Stderr, "handoff: %d handles or buffers of the C library were not released\n", left)
		return max(code, 1)
	}
	return code
}

func startRealm() error {
	var err error
	realm, err = gsstest.Start(&gsstest.Options{Principals: []string{"alice", "bob", service}})
	if err != nil {
		return err
	}
	if ccache, err = realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true}); err != nil {
		return err
	}
	if keytab, err = realm.Keytab(service); err != nil {
		return err
	}
	for _, kv := range append(realm.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:", "HOME="+realm.Dir()) {
		k, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
}

// settle collects garbage until no handles are left, or it is clear that they
// stay.
func settle() int64 {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		runtime.GC()
		if gss.Live() == 0 {
			break
		}
		<-tick.C
	}
	return gss.Live()
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// roleEnv makes a process of the tests' program something else: see roles.
const roleEnv = "HANDOFF_TEST_ROLE"

// roles are what a process of the tests' program can be; the result is its exit status.
var roles = make(map[string]func() int)

// skip skips a test that cannot run here. The sentence says what is missing.
func skip(t testing.TB, sentence string) {
	t.Helper()
	l, err := gss.Library()
	if err != nil {
		t.Skipf("no library: %s", sentence)
	}
	t.Skipf("%s: %s", l.Kind, sentence)
}

// needsExport skips a test on a library that has no contexts to hand over.
func needsExport(t testing.TB) {
	t.Helper()
	os.Getenv("GSSAPI_LIBRARY") // C reads it, and go test is to know that
	if l, err := gss.Library(); err == nil && l.Kind == gss.KindGNU {
		skip(t, "it neither uses the realm nor exports contexts")
	}
}

// canExport says why contexts cannot leave this process; empty if they can.
func canExport() string {
	if l, err := gss.Library(); err != nil || l.Kind == gss.KindGNU {
		return "GNU gss cannot export contexts"
	}
	return ""
}
