//go:build unix

package gssapi

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// crowd lets thousands make a call that blocks, and give up while it does: they
// return, and few threads are in C. open lets C go on; then nothing is left.
func crowd(t *testing.T, stats func() CallStats, limit int, call func(ctx context.Context) error, open func()) {
	t.Helper()
	const callers = 5000
	linux := runtime.GOOS == "linux"
	if !linux {
		t.Log("threads and memory are not looked at: they are read from /proc, which is Linux's")
	}
	live := settle(0)
	round := func() {
		t.Helper()
		most, total := 0, stats().TotalAbandoned
		if linux {
			most = threads(t) + limit + 2*runtime.GOMAXPROCS(0) + 4 // the runtime's own
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		errs := make(chan error, callers)
		for range callers {
			go func() { errs <- call(ctx) }()
		}
		await(t, "the limit", func() bool { s := stats(); return s.Running == limit && s.Waiting == callers-limit })
		cancel()
		for range callers {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v, want %v", err, context.Canceled)
			}
		}
		if s := stats(); s.Running != limit || s.Abandoned != limit || s.Waiting != 0 || s.TotalAbandoned != total+int64(limit) {
			t.Errorf("after all have returned: %+v", s)
		}
		if linux {
			if n := threads(t); n > most {
				t.Errorf("%d threads with %d calls in C, want at most %d", n, limit, most)
			}
		}
		open()
		idle(t)
		if left := settle(live); left > live {
			t.Errorf("%d handles before, %d after", live, left)
		}
	}
	round()
	if !linux || raceBuild || asanBuild {
		return
	}
	before := inRAM(t)
	round()
	grown := inRAM(t) - before
	t.Logf("%d more callers: the process grew by %d bytes", callers, grown)
	if grown > 5000*callers {
		t.Error("that is too much: what they had is not given back")
	}
}

// stable runs f, which makes so many calls, many times, and fails the test if
// the process grows with it.
func stable(t *testing.T, calls int, f func()) {
	t.Helper()
	times := 100
	if raceBuild || asanBuild || runtime.GOOS != "linux" {
		times = 5 // memory is not looked at
	}
	run := func(n int) {
		for range n {
			f()
		}
	}
	run(times / 4)
	if times < 100 {
		return
	}
	before := inRAM(t)
	run(times)
	grown := inRAM(t) - before
	t.Logf("%d calls: the process grew by %d bytes", times*calls, grown)
	if grown > 1000*times*calls {
		t.Error("that is too much: what they had is not given back")
	}
}

// ownRealm is a realm for this process alone, which is alice, with services that
// the cache has no ticket for, and with one for which it has: host/server.test.
func ownRealm(t *testing.T, services ...string) (r *gsstest.Realm, keytab string) {
	t.Helper()
	r = gsstest.New(t, &gsstest.Options{
		Principals: append([]string{"alice", service}, services...),
		Passwords:  map[string]string{"carol": carolsPassword},
	})
	ccache, err := r.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	if keytab, err = r.Keytab(append([]string{service}, services...)...); err != nil {
		t.Fatal(err)
	}
	for _, kv := range append(r.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:") {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	i, a := pair(t, nil, nil)
	exchange(t, i, a)
	i.Close()
	a.Close()
	return r, keytab
}

func hostService(t testing.TB, service string) *Name {
	t.Helper()
	n, err := HostService(service, "server.test")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func try(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A KDC that gives no answer, and then does.
func TestKDCThatDoesNotAnswer(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, nil) {
		return
	}
	kept(t)
	const limit = 5 // krb5kdc has room for so many connections: who finds none tries again after seconds
	limits(t, Limits{limit, limit, limit})
	r, _ := ownRealm(t, "slow/server.test", "later/server.test")
	slow, ready := hostService(t, "slow"), target(t)
	carol := importName(t, "carol", NTUserName)

	t.Run("initiate", func(t *testing.T) {
		crowdSlow := func(ctx context.Context) error {
			_, err := NewInitiator(slow, nil).Step(ctx, nil)
			return err
		}
		try(t, r.SuspendKDC())
		first := true
		crowd(t, initiateStats, limit, crowdSlow, func() {
			if first {
				first = false
				// Who asks no KDC goes on, but for initiators: they wait.
				accepting := NewAcceptor(nil)
				ctx, cancel := context.WithCancel(t.Context())
				i := NewInitiator(ready, &InitiatorOptions{Trace: &Trace{Blocked: func(Event) { cancel() }}})
				_, err := i.Step(ctx, nil)
				wantErr(t, "an initiator", err, context.Canceled)
				cred := acquire(t, &CredentialOptions{Usage: Accept})
				cred.Close()
				SetLimits(Limits{limit + 1, limit, limit})
				if err := handshake(i, accepting, nil); err != nil {
					t.Fatal(err)
				}
				exchange(t, i, accepting)
				i.Close()
				accepting.Close()
				SetLimits(Limits{limit, limit, limit})
			}
			try(t, r.ResumeKDC())
			idle(t)
			slow = hostService(t, "later") // there may be a ticket for the other one now
			try(t, r.SuspendKDC())
		})
		try(t, r.ResumeKDC())
		for _, service := range []string{"slow", "later", "host"} {
			i, a := NewInitiator(hostService(t, service), nil), NewAcceptor(nil)
			if err := handshake(i, a, nil); err != nil {
				t.Fatal(err)
			}
			exchange(t, i, a)
			i.Close()
			a.Close()
		}
	})
	t.Run("acquire", func(t *testing.T) {
		try(t, r.SuspendKDC())
		crowd(t, acquireStats, limit, func(ctx context.Context) error {
			c, err := Acquire(ctx, &CredentialOptions{Name: carol, Password: carolsPassword, Mechs: []OID{MechKrb5}})
			if err == nil {
				defer c.Close()
				_, err = c.Info(ctx)
			}
			return err
		}, func() {
			try(t, r.ResumeKDC())
			idle(t)
			try(t, r.SuspendKDC())
		})
		try(t, r.ResumeKDC())
		c := acquire(t, &CredentialOptions{Name: carol, Password: carolsPassword, Mechs: []OID{MechKrb5}})
		i, a := pair(t, &InitiatorOptions{Credential: c}, nil)
		exchange(t, i, a)
		i.Close()
		a.Close()
		c.Close()
	})
}

// A keytab on a file system that does not answer, such as a FIFO that nobody
// writes to: acceptors block, initiators do not.
func TestKeytabThatDoesNotAnswer(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, nil) {
		return
	}
	kept(t)
	const limit = 12
	limits(t, Limits{limit, limit, limit})
	_, keytab := ownRealm(t)
	_, keytab, _ = strings.Cut(":"+keytab, ":")
	dir := t.TempDir()
	gate, slow := filepath.Join(dir, "gate"), filepath.Join(dir, "keytab")
	keys, err := os.ReadFile(keytab)
	try(t, err)
	try(t, syscall.Mkfifo(gate, 0o600))
	t.Setenv("KRB5_KTNAME", "FILE:"+slow)
	host := target(t)
	block := func() {
		os.Remove(slow)
		try(t, os.Link(gate, slow))
	}
	open := func() {
		real := filepath.Join(dir, "real")
		try(t, os.WriteFile(real, keys, 0o600))
		try(t, os.Rename(real, slow))
		// Who has opened the FIFO finds it empty.
		await(t, "the end of the calls", func() bool {
			if fd, err := syscall.Open(gate, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
				syscall.Close(fd)
			}
			return acceptStats().Running == 0
		})
	}
	block()
	token := step(t, NewInitiator(host, nil), nil)
	first := true
	crowd(t, acceptStats, limit, func(ctx context.Context) error {
		_, err := NewAcceptor(nil).Step(ctx, token)
		return err
	}, func() {
		if first {
			first = false
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					i := NewInitiator(host, nil)
					if _, err := i.Step(t.Context(), nil); err != nil {
						t.Errorf("an initiator, while acceptors block: %v", err)
					}
					i.Close()
				})
			}
			wg.Wait()
			c := acquire(t, nil)
			if _, err := c.Info(t.Context()); err != nil {
				t.Error(err)
			}
			c.Close()
		}
		open()
		idle(t)
		block()
	})
	open()
	i, a := pair(t, nil, nil)
	exchange(t, i, a)
	i.Close()
	a.Close()
}

// On Heimdal a call has an adopted name to itself until it is back. A log of it
// does not wait for that.
func TestTraceOfAdoptedName(t *testing.T) {
	needsHandshake(t)
	if kind() == gss.KindApple {
		t.Skip("the framework takes no realm of a test")
	}
	if !inChild(t, nil) {
		return
	}
	kept(t)
	r, _ := ownRealm(t, "slow/server.test")
	h, err := hostService(t, "slow").Detach()
	try(t, err)
	n, err := AdoptName(h)
	try(t, err)
	try(t, r.SuspendKDC())
	ctx, cancel := context.WithCancel(t.Context())
	var log safeBuffer
	done := make(chan error, 1)
	go func() {
		_, err := NewInitiator(n, &InitiatorOptions{Trace: LogTrace(slog.New(slog.NewTextHandler(&log, nil)))}).Step(ctx, nil)
		done <- err
	}()
	await(t, "the call", func() bool { return initiateStats().Running == 1 })
	cancel()
	err = <-done
	if s := initiateStats(); s.Abandoned != 1 {
		t.Errorf("Step returned when the library did: %+v", s)
	}
	try(t, r.ResumeKDC())
	wantErr(t, "Step", err, context.Canceled)
	idle(t)
	if !strings.Contains(log.String(), n.String()) {
		t.Errorf("%v is not in the log:\n%s", n, log.String())
	}
}
