//go:build unix

package gssapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/internal/fakegss"
)

// Functions that no library of Debian 12 has.

var fakeLater = fakeLibrary("fake-later", &fakegss.Options{Optional: fakegss.Later})

// onFakeLater is onFake with what Heimdal has after 7.8.
func onFakeLater(t *testing.T) bool {
	t.Helper()
	return onFakeOf(t, "", fakeLater)
}

// A library without them says which function it lacks.
func TestLaterUnavailable(t *testing.T) {
	c := new(Credential)
	for function, call := range map[string]func() error{
		"gss_store_cred_into2": func() error { return second(c.StoreEnv(t.Context(), nil)) },
		"gss_get_neg_mechs":    func() error { return second(c.NegMechs()) },
		"gss_duplicate_cred":   func() error { return second(c.Duplicate(t.Context())) },
		"gss_destroy_cred":     c.Destroy,
		"gss_set_log_function": func() error { return LogLibrary(slog.Default()) },
	} {
		if gss.Supports(function) {
			continue // on the fake library, below
		}
		err := call()
		wantErr(t, function, err, ErrUnavailable, errors.ErrUnsupported)
		if !strings.Contains(err.Error(), function) {
			t.Errorf("%v does not name %s", err, function)
		}
	}
	var none *Credential
	for what, call := range map[string]func() error{
		"StoreEnv":  func() error { return second(none.StoreEnv(t.Context(), nil)) },
		"NegMechs":  func() error { return second(none.NegMechs()) },
		"Duplicate": func() error { return second(none.Duplicate(t.Context())) },
		"Destroy":   none.Destroy,
	} {
		wantErr(t, what+" of none", call(), ErrNoCred)
	}
}

func TestFakeStoreEnv(t *testing.T) {
	if !onFakeLater(t) {
		return
	}
	faults(t, "")
	c := acquire(t, nil)
	for _, o := range []*StoreOptions{
		nil,
		{Overwrite: true, Default: true, Mech: MechSPNEGO, Usage: Both, Store: map[string]string{"unique_ccache_type": "FILE"}},
		{Overwrite: true, Store: map[string]string{"ccache": "FILE:/x"}},
		{Default: true},
	} {
		env, err := c.StoreEnv(t.Context(), o)
		if err != nil || !slices.Equal(env, []string{"KRB5CCNAME=FILE:/tmp/fake", "EMPTY="}) {
			t.Errorf("%+v: %q, %v", o, env, err)
		}
	}
	want := []string{"1 1.2.840.113554.1.2.2 0 NULL", "0 1.3.6.1.5.5.2 3 unique_ccache_type:FILE", "1 1.2.840.113554.1.2.2 2 ccache:FILE:/x", "1 1.2.840.113554.1.2.2 1 NULL"}
	calls := called(t, "gss_store_cred_into2")
	for n, call := range calls {
		if got := strings.Join([]string{call.Args["usage"], call.Args["mech"], call.Args["flags"], call.Args["store"]}, " "); got != want[n] {
			t.Errorf("call %d: %s, want %s", n, got, want[n])
		}
	}
	if len(calls) != len(want) {
		t.Errorf("%d calls", len(calls))
	}
	for _, store := range []map[string]string{{}, {"cache": "x"}, {"ccache": ""}, {"ccache": "x", "username": "y"}, {"unique_ccache_type": ""}} {
		_, err := c.StoreEnv(t.Context(), &StoreOptions{Store: store})
		wantErr(t, "a store that C would overlook", err, ErrFailure)
	}
	_, err := c.StoreEnv(t.Context(), &StoreOptions{Usage: 3})
	wantErr(t, "a usage that is none", err, ErrFailure)
	faults(t, "store=fail-env")
	env, err := c.StoreEnv(t.Context(), nil)
	wantErr(t, "told to fail", err, ErrFailure)
	if env != nil {
		t.Error(env)
	}
	faults(t, "")
	c.Close()
	nothingHeld(t)
}

func TestFakeCredentialNegMechs(t *testing.T) {
	if !onFakeLater(t) {
		return
	}
	faults(t, "")
	for _, want := range [][]OID{nil, {MechKrb5}, {MechNTLM, MechKrb5}} {
		c := acquire(t, &CredentialOptions{NegMechs: want})
		if got, err := c.NegMechs(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
		c.Close()
		wantErr(t, "of one that is closed", second(c.NegMechs()), ErrNoCred)
	}
	nothingHeld(t)
}

func TestFakeDuplicateCredential(t *testing.T) {
	if !onFakeLater(t) {
		return
	}
	faults(t, "")
	c := acquire(t, &CredentialOptions{Name: importName(t, "alice", NTUserName)})
	d, err := c.Duplicate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	info, err := d.Info(t.Context())
	if err != nil || info.Name.String() != "alice" {
		t.Errorf("%+v, %v", info, err)
	}
	info.Name.Close()
	// What an abandoned call brings is released.
	faults(t, "block=gss_duplicate_cred")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { wantErr(t, "Duplicate", second(d.Duplicate(ctx)), context.Canceled) })
	awaitCall(t, "blocked", 1)
	cancel()
	wg.Wait()
	faults(t, "")
	openGate(t)
	eventually(t, "the call is back", func() bool { return ReadStats().Acquire.Running == 0 })
	d.Close()
	wantErr(t, "Duplicate of one that is closed", second(d.Duplicate(t.Context())), ErrNoCred)
}

func TestFakeDestroyCredential(t *testing.T) {
	if !onFakeLater(t) {
		return
	}
	faults(t, "")
	c := acquire(t, nil)
	if err := c.Destroy(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Destroy again", c.Destroy(), ErrNoCred)
	wantErr(t, "Info", second(c.Info(t.Context())), ErrNoCred)
	if d, r := len(called(t, "gss_destroy_cred")), len(called(t, "gss_release_cred")); d != 1 || r != 0 {
		t.Errorf("destroyed %d times, released %d times", d, r)
	}
	nothingHeld(t)
}

// lockedBuffer is for a log that another goroutine writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestFakeLogLibrary(t *testing.T) {
	if !onFakeLater(t) {
		return
	}
	faults(t, "")
	var one, two lockedBuffer
	logger := func(b *lockedBuffer) *slog.Logger {
		return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, b := range []*lockedBuffer{&one, &two} {
		if err := LogLibrary(logger(b)); err != nil {
			t.Fatal(err)
		}
		if _, err := Mechanisms(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a line", func() bool { return strings.Contains(b.String(), "gss_release_oid_set") })
	}
	if err := LogLibrary(nil); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*lockedBuffer{&one, &two} {
		if s := b.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, `level=DEBUG msg="called gss_indicate_mechs with  " level=1`) {
			t.Errorf("%s", s)
		}
	}
}
