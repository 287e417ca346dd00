package conn

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	r, err := realm.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer r.Close()
	code := m.Run()
	for range 200 {
		runtime.GC() // cleanups run in a goroutine of their own
		runtime.Gosched()
		if gssapi.ReadStats().Handles == 0 {
			break
		}
	}
	if s := gssapi.ReadStats(); s.Handles > 0 || s.Initiate.Running+s.Accept.Running+s.Acquire.Running > 0 {
		fmt.Fprintf(os.Stderr, "conn: something of the C library was not released: %+v\n", s)
		return max(code, 1)
	}
	return code
}

// TestRequiredLibrary keeps a run on one library from passing on another.
func TestRequiredLibrary(t *testing.T) {
	want := os.Getenv("GSS_REQUIRE_LIBRARY")
	if want == "" {
		t.Skip("GSS_REQUIRE_LIBRARY is not set: the tests run on whatever library is found")
	}
	l, err := gss.Library()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(l)
	if string(l.Kind) != want {
		t.Errorf("the tests run on %s, and %s is required", l.Kind, want)
	}
}
