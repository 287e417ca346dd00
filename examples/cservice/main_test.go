//go:build linux

package cservice

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// library is the one that the tests run on, and other one that it is not.
var library, other string

var dir string // with what make has built

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	r, err := realm.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer r.Close()
	// Other tickets than realm's: these can be delegated.
	ccache, err := r.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	if err == nil {
		err = os.Setenv("KRB5CCNAME", "FILE:"+ccache)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := gss.Library()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	library, other = string(l.Kind), "heimdal"
	if library == other {
		other = "mit"
	}
	if dir, err = os.MkdirTemp("", "cservice"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

// built has an item for each target of the Makefile that was made.
var built struct {
	sync.Mutex
	targets map[string]error
}

// program is the name of what a target of the Makefile makes.
func program(t *testing.T, target, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	err, ok := built.targets[target]
	if !ok {
		out, e := exec.Command("make", "-s", "BUILD="+dir, "GSSAPI_LIBRARY="+library, target).CombinedOutput()
		if err = e; err != nil {
			err = fmt.Errorf("make %s: %w (ci/install.sh installs what it needs)\n%s", target, err, out)
		}
		if built.targets == nil {
			built.targets = map[string]error{}
		}
		built.targets[target] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// TestRequiredLibrary keeps a run on one library from passing on another.
func TestRequiredLibrary(t *testing.T) {
	want := os.Getenv("GSS_REQUIRE_LIBRARY")
	if want == "" {
		t.Skip("GSS_REQUIRE_LIBRARY is not set: the tests run on whatever library is found")
	}
	if library != want {
		t.Errorf("the tests run on %s, and %s is required", library, want)
	}
}
