//go:build unix

package fakegss_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seed2651813c/gss"
)

// Opening the gate for writing waits for a call that blocks, and lets it go on.
func TestGate(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	if !pass(t, nil, "FAKEGSS=acquire=block", "FAKEGSS_GATE="+gate) {
		return
	}
	done := make(chan error)
	go func() {
		r, err := gss.AcquireCred(nil, 0, nil, gss.UsageInitiate)
		if err == nil {
			r.Cred.Release()
		}
		done <- err
	}()
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
