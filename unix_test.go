//go:build unix

package gss

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed2651813c/gss/internal/testexec"
)

// Release and Delete do not wait for a call that is blocked in the library, and
// do not pull what it uses from under it; the fake library aborts on a dead
// handle.
func TestReleaseDuringBlockedCall(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if !isChild() {
		check(t, syscall.Mkfifo(gate, 0o600))
	}
	child, log := inFake(t, "block=gss_init_sec_context", nil, "FAKEGSS_GATE="+gate)
	if !child {
		if n := len(log.calls("gss_delete_sec_context")); n != 1 {
			t.Errorf("the context was deleted %d times", n)
		}
		if n := len(log.calls("gss_release_cred")); n != 1 {
			t.Errorf("the credential was released %d times", n)
		}
		return
	}
	n, err := ImportName([]byte("host@server"), NTHostBasedService)
	check(t, err)
	r, err := AcquireCred(nil, 0, nil, UsageInitiate)
	check(t, err)
	x := NewCtx()
	done := make(chan error)
	go func() {
		s, err := x.Init(&InitArgs{Target: n, Cred: r.Cred, Flags: allFlags})
		s.Token.Release()
		done <- err
	}()
	// The call holds all three once it is in the library, which the log tells.
	for len((&callLog{t, os.Getenv("FAKEGSS_LOG")}).calls("blocked")) == 0 {
		runtime.Gosched()
	}
	n.Release()
	r.Cred.Release()
	x.Delete()
	if Live() != 2 {
		t.Errorf("%d things are held during the call, want the name and the credential", Live())
	}
	_, _, err = n.Display()
	is(t, err, ErrBadName)
	_, err = r.Cred.Inquire()
	is(t, err, ErrNoCred)
	_, err = x.Init(&InitArgs{Target: n})
	is(t, err, ErrNoContext)
	if !x.Gone() {
		t.Error("a deleted context is there")
	}
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0) // lets it go on
	check(t, err)
	f.Close()
	check(t, <-done)
	if Live() != 0 {
		t.Errorf("%d things are held after the call", Live())
	}
	if !x.Gone() {
		t.Error("a deleted context is there")
	}
}

// Detach gives nothing away that a call is using: it waits for it. Later calls
// answer at once, a second Detach among them.
func TestDetachDuringBlockedCall(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if !isChild() {
		check(t, syscall.Mkfifo(gate, 0o600))
	}
	child, log := inFake(t, "block=gss_init_sec_context", nil, "FAKEGSS_GATE="+gate)
	if !child {
		for _, f := range []string{"gss_delete_sec_context", "gss_release_cred", "gss_release_name"} {
			if n := len(log.calls(f)); n != 1 {
				t.Errorf("%s: %d calls, want 1", f, n)
			}
		}
		return
	}
	n, err := ImportName([]byte("host@server"), NTHostBasedService)
	check(t, err)
	r, err := AcquireCred(nil, 0, nil, UsageInitiate)
	check(t, err)
	x := NewCtx()
	var back atomic.Bool
	done := make(chan error)
	go func() {
		s, err := x.Init(&InitArgs{Target: n, Cred: r.Cred, Flags: allFlags})
		s.Token.Release()
		done <- err
	}()
	for len((&callLog{t, os.Getenv("FAKEGSS_LOG")}).calls("blocked")) == 0 {
		runtime.Gosched()
	}
	var detached sync.WaitGroup
	for what, detach := range map[string]func() error{
		"name": func() error {
			h, err := n.Detach()
			if err == nil {
				_, err = AdoptName(h) // the collector releases it
			}
			return err
		},
		"credential": func() error {
			h, err := r.Cred.Detach()
			if err == nil {
				_, err = AdoptCred(h)
			}
			return err
		},
	} {
		detached.Go(func() {
			if err := detach(); err != nil || !back.Load() {
				t.Errorf("the %s was detached during the call that uses it: %v", what, err)
			}
		})
	}
	for !n.c.closed() || !r.Cred.c.closed() {
		runtime.Gosched()
	}
	_, err = n.Detach()
	is(t, err, ErrBadName)
	_, err = r.Cred.Detach()
	is(t, err, ErrNoCred)
	_, _, err = n.Display()
	is(t, err, ErrBadName)
	_, err = r.Cred.Inquire()
	is(t, err, ErrNoCred)
	n.Release()
	r.Cred.Release()
	if Live() != 2 {
		t.Errorf("%d things are held during the call, want the name and the credential", Live())
	}
	back.Store(true)
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0) // lets it go on
	check(t, err)
	f.Close()
	check(t, <-done)
	detached.Wait()
	x.Delete()
	awaitLive(t, 0)
}

// A C program may end when nothing is live: no release is under way then.
func TestLiveDuringRelease(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if !isChild() {
		check(t, syscall.Mkfifo(gate, 0o600))
	}
	if child, _ := inFake(t, "block=gss_release_name", nil, "FAKEGSS_GATE="+gate); !child {
		return
	}
	n, err := ImportName([]byte("host@server"), NTHostBasedService)
	check(t, err)
	released := make(chan struct{})
	go func() {
		n.Release()
		close(released)
	}()
	for len((&callLog{t, os.Getenv("FAKEGSS_LOG")}).calls("blocked")) == 0 {
		runtime.Gosched()
	}
	if Live() != 1 {
		t.Errorf("%d things are held while the name is released, want 1", Live())
	}
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0) // lets it go on
	check(t, err)
	f.Close()
	<-released
	if Live() != 0 {
		t.Errorf("%d things are held after the release", Live())
	}
}

// What C cannot take is refused before it gets there.
func TestInputLimit(t *testing.T) {
	if raceBuild || asanBuild || ^uint(0)>>32 == 0 {
		skip(t, "2 GiB of address space are too much for the sanitizers and 32 bits")
	}
	needKrb5(t)
	i, a := establish(t, MechKrb5, allFlags)
	huge, err := syscall.Mmap(-1, 0, maxInput+1, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE) // whoever touches it dies
	check(t, err)
	defer func() { check(t, syscall.Munmap(huge)) }()
	target := server(t)
	for name, call := range map[string]func() error{
		"Wrap":           func() error { _, _, err := i.Wrap(nil, huge, true, 0); return err },
		"Unwrap":         func() error { _, _, _, err := a.Unwrap(nil, huge); return err },
		"GetMIC":         func() error { _, err := i.GetMIC(nil, huge, 0); return err },
		"VerifyMIC":      func() error { _, err := a.VerifyMIC(huge, []byte("m")); return err },
		"VerifyMIC, MIC": func() error { _, err := a.VerifyMIC([]byte("m"), huge); return err },
		"ProcessToken":   func() error { return a.ProcessToken(huge) },
		"Init":           func() error { _, err := NewCtx().Init(&InitArgs{Target: target, Token: huge}); return err },
		"Accept":         func() error { _, err := NewCtx().Accept(&AcceptArgs{Token: huge}); return err },
		"bindings": func() error {
			_, err := NewCtx().Init(&InitArgs{Target: target, Bindings: &ChannelBindings{AcceptorAddress: huge}})
			return err
		},
		"bindings, Accept": func() error {
			_, err := NewCtx().Accept(&AcceptArgs{Bindings: &ChannelBindings{ApplicationData: huge}})
			return err
		},
		"ImportName":       func() error { _, err := ImportName(huge, NTUserName); return err },
		"ImportSecContext": func() error { _, err := ImportSecContext(huge); return err },
	} {
		err := call()
		is(t, err, ErrFailure)
		mention(t, err, fmt.Sprint(maxInput+1), "at most")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	_, err = AcquireCredWithPassword(nil, huge[:maxPassword+1], 0, nil, UsageInitiate)
	is(t, err, ErrFailure)
	mention(t, err, "4097", "4096")
	if err := checkSize("op", "x", maxInput); err != nil {
		t.Error(err)
	}
	pair{i, a}.send(t, []byte("it still works"), true)
}

// A set-uid program does not let its user choose the code that it runs.
func TestSetUID(t *testing.T) {
	needLoader(t, "linux")
	if isChild() {
		if os.Getuid() == os.Geteuid() {
			t.Fatal("the child is not set-uid")
		}
		if !secure() {
			t.Error("not known to be set-uid")
		}
		if l, err := Library(); err != nil || string(l.Kind) != os.Getenv("WANT") {
			t.Errorf("%v, %v", l, err)
		}
		return
	}
	if testexec.Emulated() {
		skip(t, "the system does not start a program of another processor by itself")
	}
	if os.Getuid() != 0 {
		skip(t, "only root can make a set-uid program of another user's")
	}
	kinds, _ := installed(t)
	exe, err := os.Executable()
	check(t, err)
	b, err := os.ReadFile(exe)
	check(t, err)
	dir, err := os.MkdirTemp("", "gss-setuid-")
	check(t, err)
	defer os.RemoveAll(dir)
	check(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "setuid")
	check(t, os.WriteFile(path, b, 0o755))
	check(t, os.Chmod(path, 0o755|os.ModeSetuid))
	cmd := childCommand(t, libraryEnv+"=/nonexistent", "WANT="+string(kinds[0]), "ASAN_OPTIONS=detect_leaks=0") // which ptraces, as it may not
	cmd.Path, cmd.Dir = path, dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	passes(t, cmd)
}

// GNU gss is called by one at a time. Who releases or deletes does not wait for
// his turn: it is done when that comes.
func TestReleaseDoesNotWaitForItsTurn(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if !isChild() {
		check(t, syscall.Mkfifo(gate, 0o600))
	}
	if child, _ := inFake(t, "", nil, "FAKEGSS_GATE="+gate); !child {
		return
	}
	needLibrary(t)
	posing := *loaded.Load()
	posing.Kind = KindGNU
	loaded.Store(&posing)
	log := &callLog{t, os.Getenv("FAKEGSS_LOG")}
	name := server(t)
	r, err := AcquireCred(name, 0, nil, UsageAccept)
	check(t, err)
	i, a, err := handshake(&InitArgs{Target: name, Mech: MechKrb5, Flags: allFlags &^ FlagConf}, &AcceptArgs{Cred: r.Cred})
	check(t, err)
	toldTo(t, "block=gss_init_sec_context")
	x, done := NewCtx(), make(chan error, 1)
	go func() {
		s, err := x.Init(&InitArgs{Target: name, Mech: MechKrb5})
		if s != nil {
			s.Token.Release()
		}
		done <- err
	}()
	await := func(what string, condition func() bool) {
		t.Helper()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range 20000 {
			if condition() {
				return
			}
			<-tick.C
		}
		t.Fatalf("%s did not come", what)
	}
	await("the call", func() bool { return len(log.calls("blocked")) == 1 })
	released := make(chan struct{})
	go func() {
		defer close(released)
		r.Cred.Release() // (the acceptor's context needs it)
		i.Delete()
		a.Delete()
		x.Delete()
		name.Release()
	}()
	await("the end of the releases, while another has his turn", func() bool {
		select {
		case <-released:
			return true
		default:
			return false
		}
	})
	for _, function := range []string{"gss_delete_sec_context", "gss_release_cred"} {
		if n := len(log.calls(function)); n != 0 {
			t.Errorf("%d calls of %s out of turn", n, function)
		}
	}
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0)
	check(t, err)
	f.Close()
	check(t, <-done)
	await("what was to be released", func() bool {
		return len(log.calls("gss_delete_sec_context")) == 3 && len(log.calls("gss_release_cred")) == 1
	})
	await("the last release", func() bool {
		for _, n := range log.live() {
			if n != 0 {
				return false
			}
		}
		return true
	})
	if Live() != 0 {
		t.Errorf("%d things are held", Live())
	}
}
