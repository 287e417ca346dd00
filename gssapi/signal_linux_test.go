package gssapi

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// A Go process gets signals: for children that end, and the runtime's own. A login
// that waits for a KDC does not fail for it. (Heimdal 7.8 does, if it gets one.)
func TestSignalsDuringKDCExchange(t *testing.T) {
	needsHandshake(t)
	// A service that the cache has no ticket for: the KDC is asked, and made to
	// answer only after the signals.
	if err := realm.AddPrincipal("signal/server.test"); err != nil {
		t.Fatal(err)
	}
	n, err := HostService("signal", "server.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := realm.SuspendKDC(); err != nil {
		t.Fatal(err)
	}
	thread, stepped := make(chan int), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- syscall.Gettid()
		_, err := NewInitiator(n, nil).Step(t.Context(), nil)
		stepped <- err
	}()
	id := <-thread
	for range 200 { // children set the pace
		if err := exec.Command("true").Run(); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Tgkill(os.Getpid(), id, syscall.SIGURG); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-stepped:
			realm.ResumeKDC()
			t.Fatalf("Step did not wait for the KDC: %v", err)
		default:
		}
	}
	if err := realm.ResumeKDC(); err != nil {
		t.Fatal(err)
	}
	if err := <-stepped; err != nil {
		t.Errorf("Step, with signals meanwhile: %v", err)
	}
}
