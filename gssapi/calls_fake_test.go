//go:build unix

package gssapi

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/internal/fakegss"
)

// gateStaysOpen lets all calls that block go on, and those to come, until the
// returned function is called.
func gateStaysOpen(t *testing.T) (shut func()) {
	t.Helper()
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

// releaseAll lets all calls that block come back, and checks that they leave
// nothing.
func releaseAll(t *testing.T) {
	t.Helper()
	shut := gateStaysOpen(t)
	idle(t)
	shut()
	faults(t, "")
}

// nothingHeld checks what the library says of what it has given out.
func nothingHeld(t *testing.T) {
	t.Helper()
	settle(0)
	live, err := fakegss.Live(os.Getenv("FAKEGSS_LOG"))
	if err != nil {
		t.Fatal(err)
	}
	for what, n := range live {
		if n != 0 {
			t.Errorf("the library has %d %s that were not given back", n, what)
		}
	}
}

// A call that may block.
type blocker struct {
	name, function string
	kind           func() CallStats // that bounds it
	call           func(ctx context.Context, t *Trace) error
}

func initiateStats() CallStats { return ReadStats().Initiate }
func acceptStats() CallStats   { return ReadStats().Accept }
func acquireStats() CallStats  { return ReadStats().Acquire }

// blockers are all calls that may block. The objects that they make are given
// back if they succeed. Call it while the library behaves.
func blockers(t *testing.T) []blocker {
	t.Helper()
	host := target(t)
	token := step(t, NewInitiator(host, &InitiatorOptions{Flags: FlagDeleg}), nil)
	cred := acquire(t, nil)
	acquired := func(ctx context.Context, o *CredentialOptions) error {
		c, err := Acquire(ctx, o)
		if c != nil {
			c.Close()
		}
		return err
	}
	info := func(i *CredentialInfo, err error) error {
		if i != nil {
			i.Name.Close()
		}
		return err
	}
	traced := func(tr *Trace) *Credential { return &Credential{cred.c, tr} }
	return []blocker{
		{"Step of an initiator", "gss_init_sec_context", initiateStats, func(ctx context.Context, tr *Trace) error {
			_, err := NewInitiator(host, &InitiatorOptions{Trace: tr}).Step(ctx, nil)
			return err
		}},
		{"Step of an acceptor", "gss_accept_sec_context", acceptStats, func(ctx context.Context, tr *Trace) error {
			_, err := NewAcceptor(&AcceptorOptions{Trace: tr}).Step(ctx, token)
			return err
		}},
		{"Acquire", "gss_acquire_cred", acquireStats, func(ctx context.Context, tr *Trace) error {
			return acquired(ctx, &CredentialOptions{Trace: tr})
		}},
		{"Acquire for both", "gss_acquire_cred", acquireStats, func(ctx context.Context, tr *Trace) error {
			return acquired(ctx, &CredentialOptions{Usage: Both, Trace: tr})
		}},
		{"Acquire to accept", "gss_acquire_cred", acceptStats, func(ctx context.Context, tr *Trace) error {
			return acquired(ctx, &CredentialOptions{Usage: Accept, Trace: tr})
		}},
		{"Acquire with a password", "gss_acquire_cred_with_password", acquireStats, func(ctx context.Context, tr *Trace) error {
			return acquired(ctx, &CredentialOptions{Name: host, Password: "secret", Trace: tr})
		}},
		{"Acquire from a store", "gss_acquire_cred_from", acquireStats, func(ctx context.Context, tr *Trace) error {
			return acquired(ctx, &CredentialOptions{Store: map[string]string{"ccache": "x"}, Trace: tr})
		}},
		{"Add", "gss_add_cred", acquireStats, func(ctx context.Context, tr *Trace) error {
			c, err := cred.Add(ctx, &CredentialOptions{Mechs: []OID{MechSPNEGO}, Trace: tr})
			if c != nil {
				c.Close()
			}
			return err
		}},
		{"Add, which inquires", "gss_inquire_cred", acquireStats, func(ctx context.Context, tr *Trace) error {
			c, err := cred.Add(ctx, &CredentialOptions{Mechs: []OID{MechSPNEGO}, Trace: tr})
			if c != nil {
				c.Close()
			}
			return err
		}},
		{"Info", "gss_inquire_cred", acquireStats, func(ctx context.Context, tr *Trace) error {
			return info(traced(tr).Info(ctx))
		}},
		{"MechInfo", "gss_inquire_cred_by_mech", acquireStats, func(ctx context.Context, tr *Trace) error {
			return info(traced(tr).MechInfo(ctx, MechKrb5))
		}},
		{"Canonicalize", "gss_canonicalize_name", acquireStats, func(ctx context.Context, tr *Trace) error {
			n, err := host.Canonicalize(ctx, MechKrb5)
			if n != nil {
				n.Close()
			}
			return err
		}},
	}
}

// Each call that blocks returns when its ctx is done, counts until it comes back,
// and then leaves nothing. It is bounded with those of its kind alone.
func TestFakeAbandonedCalls(t *testing.T) {
	if !onFake(t) {
		return
	}
	all := blockers(t)
	limits(t, Limits{1, 1, 1})
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			before, was := settle(2), b.kind() // a name and a credential
			blocked := len(called(t, "blocked"))
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			faults(t, "block="+b.function)
			var events sink
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 2)
			call := func(ctx context.Context) { done <- b.call(ctx, events.trace()) }
			go call(ctx)
			await(t, "the call", func() bool { return len(called(t, "blocked")) > blocked })
			// A second one of its kind waits, and gives up: it was not called.
			second, cancelSecond := context.WithCancel(t.Context())
			go call(second)
			await(t, "one who waits", func() bool { return b.kind().Waiting == 1 })
			cancelSecond()
			wantErr(t, "the one that waits", <-done, context.Canceled)
			cancel()
			wantErr(t, "the one that blocks", <-done, context.Canceled)
			if s := b.kind(); s.Running != 1 || s.Abandoned != 1 || s.Waiting != 0 || s.TotalAbandoned != was.TotalAbandoned+1 || s.TotalWaited != was.TotalWaited+1 {
				t.Errorf("%+v after %+v", s, was)
			}
			// The other kinds have room.
			for _, other := range all {
				if s := other.kind(); s.TotalAbandoned != b.kind().TotalAbandoned && (s.Running != 0 || s.Waiting != 0) {
					t.Errorf("%s: %+v", other.name, s)
				}
			}
			releaseAll(t)
			if b.name != "Canonicalize" { // it has no trace
				returned := events.await(t, "Returned")
				if returned.Err != nil {
					t.Errorf("it came back with %v", returned.Err)
				}
			}
			if left := gss.Live(); left != before { // and the collector had no part in it
				t.Errorf("%d handles before, %d after", before, left)
			}
			if err := b.call(t.Context(), nil); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
	all = nil
	nothingHeld(t)
}

// While one kind of calls is at its limit the others go on.
func TestFakeKindsApart(t *testing.T) {
	if !onFake(t) {
		return
	}
	limits(t, Limits{2, 2, 2})
	all := blockers(t)
	kinds := []struct{ function, name string }{
		{"gss_init_sec_context", "Step of an initiator"}, {"gss_accept_sec_context", "Step of an acceptor"}, {"gss_acquire_cred", "Acquire"},
	}
	for _, k := range kinds {
		faults(t, "block="+k.function)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var blocked blocker
		for _, b := range all {
			if b.name == k.name {
				blocked = b
			}
		}
		for range 5 {
			wg.Go(func() { wantCancelled(t, blocked.call(ctx, nil)) })
		}
		await(t, "the limit", func() bool { s := blocked.kind(); return s.Running == 2 && s.Waiting == 3 })
		for _, b := range all {
			if b.function == k.function {
				continue
			}
			if s := b.kind(); s.Running != 0 {
				continue // of the kind that is at its limit
			}
			if err := b.call(t.Context(), nil); err != nil {
				t.Errorf("%s while %s blocks: %v", b.name, k.name, err)
			}
		}
		cancel()
		wg.Wait()
		releaseAll(t)
	}
	i, a := fakePair(t)
	exchange(t, i, a)
}

func wantCancelled(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// Thousands give up while the library blocks: few threads, nothing left.
func TestFakeNameServiceThatDoesNotAnswer(t *testing.T) {
	if !onFake(t) {
		return
	}
	const limit = 16
	limits(t, Limits{limit, limit, limit})
	i, token := NewInitiator(target(t), nil), []byte(nil)
	token = step(t, i, nil)
	faults(t, "block=gss_accept_sec_context")
	crowd(t, acceptStats, limit, func(ctx context.Context) error {
		out, err := NewAcceptor(nil).Step(ctx, token)
		if out != nil {
			t.Error("there is a token")
		}
		return err
	}, func() {
		releaseAll(t)
		faults(t, "block=gss_accept_sec_context")
	})
	faults(t, "")
	a := NewAcceptor(nil)
	if err := handshake(i, a, step(t, a, token)); err != nil {
		t.Fatal(err)
	}
	exchange(t, i, a)
	for _, c := range []*Context{i, a} {
		c.Close()
	}
	nothingHeld(t)
}

// With a ctx that cannot end there is no goroutine, no copy, and C gets the
// caller's bytes. With one that can it gets a copy, which is given back.
func TestFakeInput(t *testing.T) {
	if !onFake(t) {
		return
	}
	good := step(t, NewInitiator(target(t), nil), nil)
	for _, c := range []struct {
		name   string
		ctx    func() (context.Context, context.CancelFunc)
		copies int64
	}{
		{"ctx cannot end", func() (context.Context, context.CancelFunc) { return context.Background(), nil }, 0},
		{"ctx can end", func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults(t, "block=gss_accept_sec_context")
			ctx, cancel := c.ctx()
			var events sink
			token := bytes.Clone(good)
			live, goroutines, blocked := settle(0), runtime.NumGoroutine(), len(called(t, "blocked"))
			a := NewAcceptor(&AcceptorOptions{Trace: events.trace()})
			done := make(chan error, 1)
			go func() {
				_, err := a.Step(ctx, token)
				done <- err
			}()
			awaitCall(t, "blocked", blocked+1)
			if got := gss.Live() - live; got != c.copies {
				t.Errorf("%d copies, want %d", got, c.copies)
			}
			if got := runtime.NumGoroutine() - goroutines - 1; got != int(c.copies) {
				t.Errorf("%d goroutines besides the caller's, want %d", got, c.copies)
			}
			if cancel == nil {
				clear(token) // C is about to read it
				releaseAll(t)
				wantErr(t, "Step", <-done, ErrDefectiveToken)
				return
			}
			cancel()
			wantErr(t, "Step", <-done, context.Canceled)
			clear(token) // it is the caller's again
			if got := gss.Live() - live; got != 1 {
				t.Errorf("%d copies while C goes on, want 1", got)
			}
			releaseAll(t)
			if e := events.await(t, "Returned"); e.Err != nil {
				t.Errorf("C saw the caller's changes: %v", e.Err)
			}
			if got := settle(live); got != live {
				t.Errorf("%d handles are left", got-live)
			}
		})
	}
}

// A password is copied and overwritten too, and not for a ctx that cannot end.
func TestFakePasswordInput(t *testing.T) {
	if !onFake(t) {
		return
	}
	o := &CredentialOptions{Name: target(t), Password: "secret"}
	settle(1)
	faults(t, "block=gss_acquire_cred_with_password")
	ctx, cancel := context.WithCancel(t.Context())
	for n, ctx := range []context.Context{context.Background(), ctx} {
		live := gss.Live()
		done := make(chan *Credential, 1)
		go func() {
			c, _ := Acquire(ctx, o)
			done <- c
		}()
		awaitCall(t, "blocked", n+1)
		if got := gss.Live() - live; got != int64(n) {
			t.Errorf("%d copies, want %d", got, n)
		}
		openGate(t)
		c := <-done
		if c == nil {
			t.Fatal("no credential")
		}
		c.Close()
		if got := settle(live); got != live {
			t.Errorf("%d handles are left", got-live)
		}
		calls := called(t, "gss_acquire_cred_with_password")
		if got := calls[len(calls)-1].Args["password"]; got != "6" {
			t.Errorf("a password of %s bytes reaches C", got)
		}
	}
	cancel()
}

// Who gave up before the library was called has lost nothing.
func TestFakeNothingLost(t *testing.T) {
	if !onFake(t) {
		return
	}
	limits(t, Limits{Initiate: 1})
	host := target(t)
	faults(t, "block=gss_init_sec_context")
	type result struct {
		token []byte
		err   error
	}
	first := NewInitiator(host, nil)
	done := make(chan result, 1)
	go func() {
		token, err := first.Step(t.Context(), nil)
		done <- result{token, err}
	}()
	awaitCall(t, "blocked", 1)

	// For want of a place.
	ctx, cancel := context.WithCancel(t.Context())
	i := NewInitiator(host, &InitiatorOptions{Trace: &Trace{Blocked: func(Event) { cancel() }}})
	_, err := i.Step(ctx, nil)
	wantErr(t, "Step without a place", err, context.Canceled)
	if i.is() != fresh {
		t.Errorf("%v", i)
	}
	// Because another Step of the context is under way.
	_, err = first.Step(ctx, nil)
	wantErr(t, "the second Step of one context", err, context.Canceled)
	if s := initiateStats(); s.Running != 1 || s.Waiting != 0 || s.Abandoned != 0 {
		t.Errorf("%+v", s)
	}

	openGate(t)
	r := <-done
	faults(t, "")
	if r.err != nil {
		t.Fatalf("the first Step: %v", r.err)
	}
	for c, token := range map[*Context][]byte{first: r.token, i: step(t, i, nil)} {
		a := NewAcceptor(nil)
		if err := handshake(c, a, step(t, a, token)); err != nil {
			t.Fatal(err)
		}
		exchange(t, c, a)
	}
}

// Whatever is closed while a Step uses it, the Step goes on, and in the end all
// is given back.
func TestFakeClosedDuringStep(t *testing.T) {
	if !onFake(t) {
		return
	}
	for _, c := range []struct {
		name   string
		cancel bool
		want   error
	}{{"to the end", false, ErrNoContext}, {"abandoned", true, context.Canceled}} {
		for _, initiator := range []bool{true, false} {
			for _, first := range []bool{true, false} { // Close, and then ctx ends; or the other way round
				faults(t, "")
				before := settle(0)
				usage := Accept
				if initiator {
					usage = Initiate
				}
				host := target(t)
				token := step(t, NewInitiator(host, &InitiatorOptions{Flags: FlagDeleg}), nil)
				cred := acquire(t, &CredentialOptions{Usage: usage})
				x := NewAcceptor(&AcceptorOptions{Credential: cred})
				if initiator {
					x, token = NewInitiator(host, &InitiatorOptions{Credential: cred}), nil
				}
				faults(t, "block=gss_init_sec_context,gss_accept_sec_context")
				blocked := len(called(t, "blocked"))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					_, err := x.Step(ctx, token)
					done <- err
				}()
				awaitCall(t, "blocked", blocked+1)
				var err error
				if c.cancel && !first {
					cancel()
					err = <-done
				}
				x.Close()
				cred.Close()
				host.Close()
				if c.cancel && first {
					cancel()
					err = <-done
				}
				releaseAll(t)
				if !c.cancel {
					err = <-done
				}
				cancel()
				wantErr(t, c.name, err, c.want)
				wantGone(t, x)
				if x.is() != closed {
					t.Errorf("%s: %v", c.name, x)
				}
				x = nil
				if left := settle(before); left > before {
					t.Errorf("%s, initiator %v: %d handles before, %d after", c.name, initiator, before, left)
				}
			}
		}
	}
	nothingHeld(t)
}

// Limits that change while calls are under way and wait.
func TestFakeLimitsChange(t *testing.T) {
	if !onFake(t) {
		return
	}
	limits(t, Limits{Initiate: 2})
	host := target(t)
	faults(t, "block=gss_init_sec_context")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			_, err := NewInitiator(host, nil).Step(ctx, nil)
			wantCancelled(t, err)
		})
	}
	are := func(running, waiting int) {
		t.Helper()
		await(t, "the limit", func() bool {
			s := initiateStats()
			return s.Running == running && s.Waiting == waiting
		})
	}
	are(2, 8)
	SetLimits(Limits{Initiate: 6})
	are(6, 4)
	awaitCall(t, "blocked", 6)
	SetLimits(Limits{Initiate: 1})
	are(6, 4)
	cancel()
	wg.Wait()
	if s := initiateStats(); s.Running != 6 || s.Abandoned != 6 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	releaseAll(t)
	if n := len(called(t, "gss_init_sec_context")); n != 6 {
		t.Errorf("%d calls reached the library, want 6", n)
	}
	i, a := fakePair(t)
	exchange(t, i, a)
	if s := initiateStats(); s.Limit != 1 || s.Running != 0 {
		t.Errorf("%+v", s)
	}
}

// A hook that panics leaves the context and the places as they are told to be.
func TestFakeHooksThatPanic(t *testing.T) {
	if !onFake(t) {
		return
	}
	limits(t, Limits{Initiate: 1})
	host := target(t)
	panics := func(c *Context, ctx context.Context) {
		t.Helper()
		defer func() {
			if r := recover(); r != "a hook" {
				t.Errorf("it panics with %v", r)
			}
		}()
		c.Step(ctx, nil)
	}
	fails := func(Event) { panic("a hook") }
	i := NewInitiator(host, &InitiatorOptions{Trace: &Trace{Stepped: fails}})
	panics(i, t.Context())
	if i.is() != partial {
		t.Errorf("%v", i)
	}

	faults(t, "block=gss_init_sec_context")
	ctx, cancel := context.WithCancel(t.Context())
	hold := make(chan struct{})
	abandoning := NewInitiator(host, &InitiatorOptions{Trace: &Trace{Abandoned: fails}})
	go func() {
		defer close(hold)
		panics(abandoning, ctx)
	}()
	awaitCall(t, "blocked", 1)
	waiting := NewInitiator(host, &InitiatorOptions{Trace: &Trace{Blocked: fails}})
	panics(waiting, t.Context())
	cancel()
	<-hold
	if abandoning.is() != abandoned {
		t.Errorf("%v", abandoning)
	}
	_, err := abandoning.Step(t.Context(), nil)
	wantErr(t, "Step", err, ErrNoContext)
	releaseAll(t)
	// (The one that was to wait goes on.)
	a := NewAcceptor(nil)
	if err := handshake(waiting, a, step(t, a, step(t, waiting, nil))); err != nil {
		t.Error(err)
	}
}

// What abandoned calls leave: nothing, in Go's memory or in C's.
func TestFakeAbandonedCallsDoNotLeak(t *testing.T) {
	if !onFake(t) {
		return
	}
	limits(t, Limits{Accept: 50})
	token := step(t, NewInitiator(target(t), &InitiatorOptions{Flags: FlagDeleg, Bindings: &ChannelBindings{ApplicationData: []byte(strings.Repeat("x", 1000))}}), nil)
	token = append(token, make([]byte, 16<<10)...) // (what is behind is not read)
	faults(t, "block=gss_accept_sec_context")
	os.Setenv("FAKEGSS_LOG", "") // it would be long
	round := func() {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := NewAcceptor(nil).Step(ctx, token)
				wantCancelled(t, err)
			})
		}
		await(t, "the calls", func() bool { return acceptStats().Running == 50 })
		cancel()
		wg.Wait()
		shut := gateStaysOpen(t)
		idle(t)
		shut()
	}
	stable(t, 50, round)
}

// Blocked, Abandoned and Returned come in this order, and tell whose call it is.
func TestFakeTraceOfBlockedCalls(t *testing.T) {
	if !onFake(t) {
		return
	}
	limits(t, Limits{Accept: 1})
	token := step(t, NewInitiator(target(t), nil), nil)
	faults(t, "block=gss_accept_sec_context")
	done := make(chan error, 2)
	go func() {
		_, err := NewAcceptor(nil).Step(t.Context(), token)
		done <- err
	}()
	awaitCall(t, "blocked", 1)
	var events sink
	ctx, cancel := context.WithCancel(t.Context())
	tr := events.trace()
	tr.Abandoned = func(e Event) {
		releaseAll(t) // the call comes back now: Returned waits nevertheless
		events.hook("Abandoned")(e)
	}
	a := NewAcceptor(&AcceptorOptions{Trace: tr})
	go func() {
		_, err := a.Step(ctx, token)
		done <- err
	}()
	if e := events.await(t, "Blocked"); e.Op != "Step" || e.Context != a || e.Err != nil || e.Duration != 0 || e.Name != nil {
		t.Errorf("%+v", e)
	}
	SetLimits(Limits{Accept: 2})
	awaitCall(t, "blocked", 2) // it has come in
	cancel()
	if first, second := <-done, <-done; !errors.Is(errors.Join(first, second), context.Canceled) || first != nil && second != nil {
		t.Errorf("the one that waited and the one before it: %v, %v", first, second)
	}
	if e := events.await(t, "Abandoned"); e.Op != "Step" || e.Context != a || e.Duration <= 0 || !errors.Is(e.Err, context.Canceled) {
		t.Errorf("%+v", e)
	}
	if e := events.await(t, "Stepped"); e.Context != a || e.Received != len(token) || e.Sent != 0 || !errors.Is(e.Err, context.Canceled) {
		t.Errorf("%+v", e)
	}
	if e := events.await(t, "Returned"); e.Op != "Step" || e.Context != a || e.Duration <= 0 || e.Err != nil {
		t.Errorf("%+v", e)
	}
	hooks, _ := events.take()
	if slices.Sort(hooks[min(2, len(hooks)):]); !slices.Equal(hooks, []string{"Blocked", "Abandoned", "Returned", "Stepped"}) {
		t.Errorf("%v", hooks)
	}
	// What the abandoned call comes back with.
	faults(t, "block=gss_acquire_cred;fail=gss_acquire_cred")
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, err := Acquire(ctx, &CredentialOptions{Trace: events.trace()})
		done <- err
	}()
	awaitCall(t, "blocked", 3)
	cancel()
	wantErr(t, "Acquire", <-done, context.Canceled)
	releaseAll(t)
	if e := events.await(t, "Returned"); e.Op != "Acquire" || e.Context != nil || !errors.Is(e.Err, ErrFailure) {
		t.Errorf("%+v", e)
	}
	if hooks, _ = events.take(); !slices.Equal(hooks, []string{"Abandoned", "Acquired", "Returned"}) {
		t.Errorf("%v", hooks)
	}
}

// What only a faulty library does to messages.
func TestFakeTraceOfMessages(t *testing.T) {
	if !onFake(t) {
		return
	}
	var events sink
	for _, c := range []struct {
		fault, op string
		want      error
	}{
		{"wrap=noconf", "Wrap", ErrNotEncrypted},
		{"fail=gss_wrap", "Wrap", ErrFailure},
		{"unwrap=noconf", "Unwrap", ErrNotEncrypted},
		{"unwrap=dup", "Unwrap", ErrDuplicateToken},
		{"fail=gss_get_mic", "AppendMIC", ErrFailure},
		{"verify=gap", "VerifyMIC", ErrGapToken},
	} {
		i, a := fakePair(t)
		i.trace, a.trace = events.trace(), events.trace()
		token := wrap(t, i, "message")
		mic, err := i.AppendMIC(nil, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		faults(t, c.fault)
		x, size := i, len("message")
		switch c.op {
		case "Wrap":
			_, err = i.Wrap([]byte("message"))
		case "Unwrap":
			x, size = a, len(token)
			_, err = a.Unwrap(token)
		case "AppendMIC":
			_, err = i.AppendMIC(nil, []byte("message"))
		case "VerifyMIC":
			x = a
			err = a.VerifyMIC([]byte("message"), mic)
		}
		wantErr(t, c.fault, err, c.want)
		hooks, es := events.take()
		if !slices.Equal(hooks, []string{"MessageFailed"}) {
			t.Fatalf("%s: %v", c.fault, hooks)
		}
		if e := es[0]; e.Op != c.op || e.Context != x || e.Err != err || e.Received != size {
			t.Errorf("%s: %+v", c.fault, e)
		}
	}
}
