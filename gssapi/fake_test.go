//go:build unix

package gssapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/internal/fakegss"
)

var (
	fake    = fakeLibrary("fake", &fakegss.Options{Optional: append([]string{"gss_acquire_cred_from", "gss_acquire_cred_with_password"}, fakegss.IOV...)})
	fakeGNU = fakeLibrary("fake-gnu", &fakegss.Options{Optional: []string{"gss_check_version"}, GNU: true})
)

// fakeLibrary builds a fake library, once.
func fakeLibrary(name string, o *fakegss.Options) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir := filepath.Join(realm.Dir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
		return fakegss.Build(dir, o)
	})
}

// onFake runs the test in a process of its own on the fake library, as inChild
// does. There, faults tells the library how to misbehave.
func onFake(t *testing.T) bool {
	t.Helper()
	return onFakeOf(t, "", fake)
}

// onFakeGNU is onFake with one that passes for GNU gss.
func onFakeGNU(t *testing.T) bool {
	t.Helper()
	return onFakeOf(t, gss.KindGNU, fakeGNU)
}

func onFakeOf(t *testing.T, k gss.Kind, build func() (string, error)) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		if l, err := gss.Library(); err != nil || l.Kind != k || !strings.Contains(l.Path, "fake") {
			t.Fatalf("not the fake library: %v, %v", l, err)
		}
		kept(t)
		return true
	}
	lib, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	return inChild(t, []string{"GSSAPI_LIBRARY=" + lib, "FAKEGSS_LOG=" + filepath.Join(dir, "log"), "FAKEGSS_GATE=" + gate})
}

func faults(t *testing.T, s string) {
	t.Helper()
	if err := os.Setenv("FAKEGSS", s); err != nil {
		t.Fatal(err)
	}
}

// openGate waits for a call that blocks and lets it go on.
func openGate(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// called returns the calls of a function so far.
func called(t *testing.T, function string) []fakegss.Call {
	t.Helper()
	calls, err := fakegss.ReadLog(os.Getenv("FAKEGSS_LOG"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(calls, func(c fakegss.Call) bool { return c.Function != function })
}

// fakePair is an established pair with a library that behaves.
func fakePair(t *testing.T) (i, a *Context) {
	t.Helper()
	faults(t, "")
	return pair(t, nil, nil)
}

func TestFakeLifetimes(t *testing.T) {
	if !onFake(t) {
		return
	}
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0"},
		{time.Hour, "3600"},
		{1500 * time.Millisecond, "2"},
		{1, "1"},
		{Indefinite, "4294967295"},
		{(1 << 32) * time.Second, "4294967295"},
		{(1<<32 - 2) * time.Second, "4294967294"},
	} {
		step(t, NewInitiator(target(t), &InitiatorOptions{Lifetime: c.d}), nil)
		calls := called(t, "gss_init_sec_context")
		if got := calls[len(calls)-1].Args["time_req"]; got != c.want {
			t.Errorf("a lifetime of %v reaches gss_init_sec_context as %s, want %s", c.d, got, c.want)
		}
		cred, err := Acquire(t.Context(), &CredentialOptions{Lifetime: c.d})
		if err != nil {
			t.Fatal(err)
		}
		cred.Close()
		calls = called(t, "gss_acquire_cred")
		if got := calls[len(calls)-1].Args["time_req"]; got != c.want {
			t.Errorf("a lifetime of %v reaches gss_acquire_cred as %s, want %s", c.d, got, c.want)
		}
	}
}

// Every leg gets what the first got; the first gets no token at all.
func TestFakeLegs(t *testing.T) {
	if !onFake(t) {
		return
	}
	cred, err := Acquire(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &ChannelBindings{ApplicationData: []byte("channel")}
	i, a := pair(t, &InitiatorOptions{Credential: cred, Mech: MechKrb5, Lifetime: time.Minute, Bindings: b, Flags: FlagDeleg}, &AcceptorOptions{Bindings: b})
	exchange(t, i, a)
	legs := called(t, "gss_init_sec_context")
	if len(legs) != 2 {
		t.Fatalf("%d legs", len(legs))
	}
	for _, k := range []string{"cred", "target", "mech", "flags", "time_req", "bindings"} {
		if legs[0].Args[k] != legs[1].Args[k] || legs[0].Args[k] == "" {
			t.Errorf("%s is %q on the first leg, %q on the second", k, legs[0].Args[k], legs[1].Args[k])
		}
	}
	if legs[0].Args["cred"] != "given" || legs[0].Args["input"] != "NULL" || legs[0].Args["context"] != "NULL" || legs[1].Args["context"] != "given" {
		t.Errorf("%v", legs)
	}
	if want := fmt.Sprintf("0x%x", uint32(DefaultFlags|FlagDeleg)); legs[0].Args["flags"] != want {
		t.Errorf("flags %s, want %s", legs[0].Args["flags"], want)
	}
	accepts := called(t, "gss_accept_sec_context")
	if len(accepts) != 1 || accepts[0].Args["bindings"] != legs[0].Args["bindings"] {
		t.Errorf("%v", accepts)
	}
}

func TestFakeSteps(t *testing.T) {
	if !onFake(t) {
		return
	}
	for _, c := range []struct {
		fault, side string
		want        Major
		token       bool
	}{
		{"init=notgranted", "initiator", ErrUnauthorized, false},
		{"init=fail-token", "initiator", ErrFailure, true},
		{"accept=fail-token", "acceptor", ErrFailure, true},
		{"init=weird", "initiator", ErrFailure, false},
		{"accept=weird", "acceptor", ErrFailure, false},
		{"init=null", "initiator", ErrFailure, false},
		{"accept=null", "acceptor", ErrFailure, false},
		{"fail=gss_init_sec_context", "initiator", ErrFailure, false},
		{"fail=gss_accept_sec_context", "acceptor", ErrFailure, false},
	} {
		t.Run(c.fault, func(t *testing.T) {
			faults(t, c.fault)
			i, a := contexts(t, nil, nil)
			err := handshake(i, a, nil)
			wantErr(t, "the handshake", err, c.want)
			var side *sideError
			if !errors.As(err, &side) || side.side != c.side || (side.token != nil) != c.token {
				t.Fatalf("%+v", side)
			}
			x := i
			if c.side == "acceptor" {
				x = a
			}
			if token, again := x.Step(t.Context(), nil); again != side.err || token != nil {
				t.Errorf("the next Step: %v, want %v", again, side.err)
			}
			wantGone(t, x)
		})
	}
	faults(t, "accept=continue-forever")
	a := NewAcceptor(nil)
	for range 100 {
		step(t, a, frame(MechKrb5, "any"))
	}
	if a.is() != partial {
		t.Errorf("%v", a)
	}
}

func TestFakeExport(t *testing.T) {
	if !onFake(t) {
		return
	}
	for _, c := range []struct {
		fault string
		want  error // nil: there is a token
		kept  bool
	}{
		{"", nil, false},
		{"export=fail-keep", ErrFailure, true},
		{"export=fail-null", ErrFailure, false},
		{"export=unavailable", ErrUnavailable, true},
		{"export=empty", ErrUnavailable, false},
		{"export=oidonly", ErrUnavailable, false},
		{"export=keep", nil, false},
		{"time=expired", ErrContextExpired, true},
		{"release=fail", nil, false},
	} {
		t.Run(c.fault, func(t *testing.T) {
			i, a := fakePair(t)
			exchange(t, i, a)
			before := len(called(t, "gss_export_sec_context"))
			faults(t, c.fault)
			token, err := i.Export()
			faults(t, "")
			if !errors.Is(err, c.want) || (token == nil) != (c.want != nil) {
				t.Fatalf("a token of %d bytes, %v", len(token), err)
			}
			if n := len(called(t, "gss_export_sec_context")) - before; c.fault == "time=expired" && n != 0 || c.fault != "time=expired" && n != 1 {
				t.Errorf("%d calls of gss_export_sec_context", n)
			}
			if c.kept {
				exchange(t, i, a)
				if token, err = i.Export(); err != nil {
					t.Fatal(err)
				}
			}
			wantGone(t, i)
			if n := len(called(t, "gss_export_sec_context")) - before; n > 2 {
				t.Errorf("%d calls of gss_export_sec_context", n)
			}
			if token != nil {
				exchange(t, importContextOf(t, token, nil), a)
			}
		})
	}
	for _, fault := range []string{"init=notrans", "accept=notrans"} {
		faults(t, fault)
		i, a := contexts(t, nil, nil)
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		c := i
		if fault == "accept=notrans" {
			c = a
		}
		before := len(called(t, "gss_export_sec_context"))
		_, err := c.Export()
		wantErr(t, fault, err, ErrUnavailable)
		if n := len(called(t, "gss_export_sec_context")) - before; n != 0 {
			t.Errorf("%s: %d calls of gss_export_sec_context", fault, n)
		}
		exchange(t, i, a)
	}
}

func TestFakeImport(t *testing.T) {
	if !onFake(t) {
		return
	}
	i, a := fakePair(t)
	token := export(t, i)
	for _, fault := range []string{"import=fail-handle", "import=null", "fail=gss_import_sec_context", "fail=gss_inquire_context"} {
		faults(t, fault)
		c, err := Import(token, nil)
		wantErr(t, fault, err, ErrFailure)
		if c != nil {
			t.Errorf("%s: there is a context", fault)
		}
	}
	// An expired one is imported, unless it cannot be told whether it is what
	// is required.
	faults(t, "inquire=expired")
	before := settle(0)
	_, err := Import(token, &ImportOptions{Peer: target(t)})
	wantErr(t, "Import with a peer", err, ErrContextExpired)
	if left := settle(before); left > before {
		t.Errorf("%d handles are left", left-before)
	}
	i = importContextOf(t, token, &ImportOptions{Require: DefaultFlags})
	faults(t, "")
	exchange(t, i, a)
}

func TestFakeMessages(t *testing.T) {
	if !onFake(t) {
		return
	}
	i, _ := fakePair(t)
	faults(t, "wrap=noconf")
	token, err := i.Wrap([]byte("secret"))
	wantErr(t, "Wrap that does not encrypt", err, ErrNotEncrypted)
	if token != nil {
		t.Errorf("there is a token: %q", token)
	}
	dst, err := i.AppendWrap([]byte("dst"), []byte("secret"), Private)
	wantErr(t, "AppendWrap that does not encrypt", err, ErrNotEncrypted)
	if string(dst) != "dst" {
		t.Errorf("%q", dst)
	}
	faults(t, "wrap=empty-fail")
	_, err = i.Wrap([]byte("secret"))
	wantErr(t, "Wrap that fails", err, ErrFailure)
	faults(t, "")

	i, a := fakePair(t)
	faults(t, "unwrap=noconf")
	_, err = a.Unwrap(wrap(t, i, "secret"))
	wantErr(t, "Unwrap of what is not encrypted", err, ErrNotEncrypted)
	msg, p, err := a.AppendUnwrap(nil, wrap(t, i, "secret"))
	if err != nil || p != Integrity || string(msg) != "secret" {
		t.Errorf("%q, %v, %v", msg, p, err)
	}
	// Which library verifies before it looks at the sequence is known of MIT
	// alone: an order is not kept anywhere else.
	for _, order := range []Order{0, AllowGap | AllowReorder} {
		for fault, want := range map[string]Major{
			"unwrap=unseq": ErrUnseqToken, "unwrap=gap": ErrGapToken, "unwrap=dup": ErrDuplicateToken, "unwrap=old": ErrOldToken, "unwrap=dup-nodata": ErrDuplicateToken,
		} {
			i, a = fakePair(t)
			a.order = order
			faults(t, fault)
			msg, err := a.Unwrap(wrap(t, i, "secret"))
			wantErr(t, fault, err, want)
			if msg != nil {
				t.Errorf("%s: %q with an error", fault, msg)
			}
			room := make([]byte, 100)
			if _, _, err := a.AppendUnwrap(room[:0], wrap(t, i, "secret")); err == nil || string(room[:6]) == "secret" {
				t.Errorf("%s: the message is left in dst's room; %v", fault, err)
			}
		}
		for fault, want := range map[string]Major{"verify=unseq": ErrUnseqToken, "verify=gap": ErrGapToken, "verify=dup": ErrDuplicateToken, "verify=old": ErrOldToken} {
			i, a = fakePair(t)
			a.order = order
			mic, err := i.AppendMIC(nil, []byte("msg"))
			if err != nil {
				t.Fatal(err)
			}
			faults(t, fault)
			wantErr(t, fault, a.VerifyMIC([]byte("msg"), mic), want)
		}
	}
}

func TestFakeInfo(t *testing.T) {
	if !onFake(t) {
		return
	}
	i, a := fakePair(t)
	for _, fault := range []string{"", "inquire=expired", "inquire=lifetime0"} {
		faults(t, fault)
		for _, c := range []*Context{i, a} {
			info, err := c.Info()
			if err != nil {
				t.Fatalf("%q: %v", fault, err)
			}
			if expired := !info.Expiry.After(time.Now()); expired != (fault != "") {
				t.Errorf("%q: it expires at %v", fault, info.Expiry)
			}
			if info.Flags&DefaultFlags != DefaultFlags || info.Mech != MechKrb5 || info.Local != (c == i) {
				t.Errorf("%q: %+v", fault, info)
			}
		}
	}
	faults(t, "fail=gss_inquire_context")
	_, err := i.Info()
	wantErr(t, "Info", err, ErrFailure)
}

// A Step that blocks: Close does not wait for it, nor does it bring the context
// back; a ctx that ended meanwhile abandons it.
func TestFakeBlockedStep(t *testing.T) {
	if !onFake(t) {
		return
	}
	type result struct {
		token []byte
		err   error
	}
	begin := func(ctx context.Context) (*Context, chan result) {
		i := NewInitiator(target(t), nil)
		done := make(chan result, 1)
		go func() {
			token, err := i.Step(ctx, nil)
			done <- result{token, err}
		}()
		return i, done
	}
	faults(t, "block=gss_init_sec_context")
	t.Run("closed", func(t *testing.T) {
		i, done := begin(t.Context())
		// The call is under way when the log says so.
		awaitCall(t, "blocked", 1)
		i.Close()
		if i.is() != closed {
			t.Errorf("%v", i)
		}
		openGate(t)
		r := <-done
		wantErr(t, "Step", r.err, ErrNoContext)
		if r.token != nil {
			t.Error("there is a token")
		}
		wantGone(t, i)
	})
	t.Run("ctx ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		i, done := begin(ctx)
		awaitCall(t, "blocked", 2)
		cancel()
		r := <-done // C is still in the call
		wantErr(t, "Step", r.err, context.Canceled)
		if n := len(called(t, "gss_delete_sec_context")); n != 1 { // the closed one
			t.Errorf("%d contexts were deleted, want 1", n)
		}
		openGate(t)
		awaitCall(t, "gss_delete_sec_context", 2)
		if r.token != nil {
			t.Error("there is a token")
		}
		wantGone(t, i)
		if i.is() != abandoned {
			t.Errorf("%v", i)
		}
		_, err := i.Step(t.Context(), nil)
		wantErr(t, "the next Step", err, ErrNoContext)
	})
	faults(t, "acquire=block")
	t.Run("Acquire", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			c, err := Acquire(ctx, nil)
			if c != nil {
				t.Error("there is a credential")
			}
			done <- err
		}()
		awaitCall(t, "blocked", 3)
		cancel()
		wantErr(t, "Acquire", <-done, context.Canceled)
		openGate(t)
		awaitCall(t, "gss_release_cred", 1)
	})
}

// awaitCall waits until a function was called n times.
func awaitCall(t *testing.T, function string, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 30000 {
		if len(called(t, function)) >= n {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s was not called %d times", function, n)
}

// A handshake whose last word is not plain success is none.
func TestFakeStatuses(t *testing.T) {
	if !onFake(t) {
		return
	}
	for fault, want := range map[string]Major{
		"accept=dup":                    ErrDuplicateToken,
		"accept=old":                    ErrOldToken,
		"init=dup":                      ErrDuplicateToken,
		"init=nomech;inquire=nomech":    ErrUnauthorized,
		"accept=nomech;inquire=nomech":  ErrUnauthorized,
		"accept=nomech;inquire=expired": ErrContextExpired,
	} {
		faults(t, fault)
		i, a := contexts(t, nil, nil)
		wantErr(t, fault, handshake(i, a, nil), want)
		if strings.HasPrefix(fault, "accept") && a.Established() || strings.HasPrefix(fault, "init") && i.Established() {
			t.Errorf("%s: established", fault)
		}
	}
}

// A library that does not encrypt parts, or returns memory that it was not given:
// nothing of the message goes out, and nothing is taken for one.
func TestFakeIOV(t *testing.T) {
	if !onFake(t) {
		return
	}
	i, _ := pair(t, nil, nil)
	message := func() []IOVBuffer {
		return []IOVBuffer{{Type: IOVHeader, Data: make([]byte, 20)}, {Type: IOVData, Data: []byte("secret")}}
	}
	for _, fault := range []string{"noconf", "untouched"} {
		faults(t, "iov="+fault)
		iov := message()
		wantErr(t, "WrapIOV, "+fault, i.WrapIOV(iov, Private), ErrNotEncrypted)
		if strings.Trim(string(iov[0].Data), "\x00") != "" {
			t.Errorf("%s: the header of a message that was not encrypted is there", fault)
		}
		buf := append(make([]byte, 20, 64), "secret"...)
		token, err := i.WrapInPlace(buf, 20, 26, Private)
		wantErr(t, "WrapInPlace, "+fault, err, ErrNotEncrypted)
		if len(token) > 0 || strings.Contains(string(buf), "secret") {
			t.Errorf("%s: %q, and %q in the memory", fault, token, buf)
		}
		if err := i.WrapIOV(message(), Integrity); err != nil {
			t.Errorf("%s: only signed: %v", fault, err)
		}
	}
	faults(t, "")
	i, a := pair(t, nil, nil) // who have not missed a message
	iov := message()
	if err := i.WrapIOV(iov, Private); err != nil {
		t.Error(err)
	}
	if p, err := a.UnwrapIOV(iov); p != Private || err != nil || string(iov[1].Data) != "secret" {
		t.Errorf("%v, %v, %q", p, err, iov[1].Data)
	}
	for _, fault := range []string{"longer", "elsewhere", "allocated", "fail-allocated"} {
		faults(t, "")
		iov := message()
		if err := i.WrapIOV(iov, Private); err != nil {
			t.Fatal(err)
		}
		faults(t, "iov="+fault)
		_, err := a.UnwrapIOV(iov)
		wantErr(t, "UnwrapIOV, "+fault, err, ErrFailure)
		if strings.Trim(string(iov[1].Data), "\x00") != "" {
			t.Errorf("%s: the data are %q", fault, iov[1].Data)
		}
		wantErr(t, "WrapIOV, "+fault, i.WrapIOV(message(), Private), ErrFailure)
		mic := []IOVBuffer{{Type: IOVMICToken, Data: make([]byte, 20)}, {Type: IOVData, Data: []byte("signed")}}
		wantErr(t, "MICIOV, "+fault, i.MICIOV(mic), ErrFailure)
	}
	// What a header is said to need, and cannot.
	faults(t, "iov=64k+1")
	wantErr(t, "WrapIOVLength", i.WrapIOVLength([]IOVBuffer{{Type: IOVHeader}, {Type: IOVData, Data: []byte("x")}}, Private), ErrFailure)
	_, _, err := i.MessageRoom(1, Integrity)
	wantErr(t, "MessageRoom", err, ErrFailure)
}
