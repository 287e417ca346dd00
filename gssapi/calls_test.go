package gssapi

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
)

// await waits until the condition is true.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 60000 {
		if condition() {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s did not come: %+v", what, ReadStats())
}

// idle waits until no call that may block is under way or waits.
func idle(t testing.TB) {
	t.Helper()
	await(t, "the end of the calls", func() bool {
		s := ReadStats()
		for _, c := range []CallStats{s.Initiate, s.Accept, s.Acquire} {
			if c.Running != 0 || c.Waiting != 0 || c.Abandoned != 0 {
				return false
			}
		}
		return true
	})
}

// limits sets the limits for the rest of the test.
func limits(t testing.TB, l Limits) {
	t.Helper()
	old := SetLimits(l)
	t.Cleanup(func() { SetLimits(old) })
}

// threads is how many threads this process has.
func threads(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "Threads:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(n))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no Threads in %s", b)
	return 0
}

func TestLimits(t *testing.T) {
	was := SetLimits(Limits{Initiate: 1, Accept: 2, Acquire: 3})
	defer SetLimits(was)
	if old := SetLimits(Limits{Accept: -1}); old != (Limits{1, 2, 3}) {
		t.Errorf("the limits were %+v", old)
	}
	if all := (Limits{DefaultLimit, DefaultLimit, DefaultLimit}); was != all {
		t.Errorf("the limits were %+v at first, want %+v", was, all)
	} else if old := SetLimits(was); old != all {
		t.Errorf("nothing and less became %+v, want %+v", old, all)
	}
	SetLimits(Limits{4, 5, 6})
	if s := ReadStats(); s.Initiate.Limit != 4 || s.Accept.Limit != 5 || s.Acquire.Limit != 6 {
		t.Errorf("%+v", s)
	}
}

// queue makes n calls wait at g, one after the other. Who comes in, or gives
// up, tells which.
func queue(t *testing.T, g *gate, ctx context.Context, n int, in, out chan<- int) {
	t.Helper()
	for i := range n {
		waits := make(chan struct{})
		go func() {
			if g.enter(ctx, func() { close(waits) }) {
				in <- i
			} else {
				out <- i
			}
		}()
		<-waits
	}
}

// Who waits comes in in the order in which he came, whenever there is room.
func TestPlacesInOrder(t *testing.T) {
	const n = 20
	g := &gate{limit: 1}
	if !g.enter(t.Context(), func() { t.Error("the first one waits") }) {
		t.Fatal("no place")
	}
	in := make(chan int)
	queue(t, g, t.Context(), n, in, nil)
	if s := g.stats(); s != (CallStats{Limit: 1, Running: 1, Waiting: n, TotalWaited: n}) {
		t.Fatalf("%+v", s)
	}
	for i := range n / 2 {
		g.leave()
		if got := <-in; got != i {
			t.Fatalf("the one that came in is %d, want %d", got, i)
		}
	}
	// Raised, it lets in as many more; lowered, it puts nobody out.
	if old := g.setLimit(4); old != 1 {
		t.Errorf("the limit was %d", old)
	}
	three := []int{<-in, <-in, <-in} // at once: they may overtake each other on the way out
	slices.Sort(three)
	if want := []int{n / 2, n/2 + 1, n/2 + 2}; !slices.Equal(three, want) {
		t.Fatalf("%v came in, want %v", three, want)
	}
	g.setLimit(2)
	if s := g.stats(); s.Running != 4 || s.Waiting != n/2-3 || s.Limit != 2 {
		t.Fatalf("%+v", s)
	}
	g.leave()
	g.leave()
	if s := g.stats(); s.Running != 2 || s.Waiting != n/2-3 {
		t.Fatalf("above the limit somebody came in: %+v", s)
	}
	for i := n/2 + 3; i < n; i++ {
		g.leave()
		if got := <-in; got != i {
			t.Fatalf("the one that came in is %d, want %d", got, i)
		}
	}
	g.leave()
	g.leave()
	if s := g.stats(); s != (CallStats{Limit: 2, TotalWaited: n}) {
		t.Errorf("%+v", s)
	}
}

// Who gives up leaves his place in the queue to the next, and loses none.
func TestPlacesGivenUp(t *testing.T) {
	g := &gate{limit: 1}
	g.enter(t.Context(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	in, out := make(chan int), make(chan int)
	queue(t, g, ctx, 5, in, out)
	queue(t, g, t.Context(), 1, in, out)
	cancel()
	for range 5 {
		<-out
	}
	if s := g.stats(); s.Running != 1 || s.Waiting != 1 {
		t.Fatalf("%+v", s)
	}
	g.leave()
	<-in

	// A place that comes to one whose ctx ended just now goes on to the next.
	ctx, cancel = context.WithCancel(t.Context())
	waits, gaveUp := make(chan struct{}), make(chan bool)
	go func() {
		gaveUp <- !g.enter(ctx, func() {
			waits <- struct{}{}
			<-waits
		})
	}()
	<-waits
	queue(t, g, t.Context(), 1, in, nil)
	g.leave() // to the first
	cancel()
	waits <- struct{}{} // who sees both now
	if !<-gaveUp {
		t.Error("one whose ctx has ended came in")
	}
	<-in
	g.leave()
	if s := g.stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// A hook that panics loses no place.
func TestPlaceAfterPanic(t *testing.T) {
	g := &gate{limit: 1}
	g.enter(t.Context(), nil)
	func() {
		defer func() { recover() }()
		g.enter(t.Context(), func() { panic("a hook") })
		t.Error("it did not panic")
	}()
	func() {
		defer func() { recover() }()
		g.enter(t.Context(), func() {
			g.leave() // the place comes, and then the panic
			panic("a hook")
		})
		t.Error("it did not panic")
	}()
	if s := g.stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// Contexts that end at any moment and limits that change lose no place.
func TestPlacesUnderStress(t *testing.T) {
	g := &gate{limit: 3}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for range rand.IntN(20) {
						runtime.Gosched()
					}
					cancel()
				}()
				if g.enter(ctx, func() {}) {
					for range rand.IntN(20) {
						runtime.Gosched()
					}
					g.leave()
				}
				<-ended
			}
		})
	}
	wg.Go(func() {
		for range 500 {
			g.setLimit(1 + rand.IntN(5))
			runtime.Gosched()
		}
	})
	wg.Wait()
	g.setLimit(3)
	if s := g.stats(); s.Running != 0 || s.Waiting != 0 {
		t.Fatalf("%+v", s)
	}
	for range 3 {
		g.enter(t.Context(), func() { t.Error("a place is lost") })
	}
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan int)
	queue(t, g, ctx, 1, nil, out) // and there is no fourth
	cancel()
	<-out
}

// theirs is the error of a cause.
type theirs struct{ name string }

func (e *theirs) Error() string { return e.name }

func TestCtxErrors(t *testing.T) {
	cause := &theirs{"the client has gone"}
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	late, cancelLate := context.WithTimeoutCause(t.Context(), 0, cause)
	defer cancelLate()
	plain, cancelPlain := context.WithTimeout(t.Context(), 0)
	defer cancelPlain()
	<-plain.Done()
	<-late.Done()
	name := new(Name)
	for what, c := range map[string]struct {
		ctx     context.Context
		err     error
		cause   error // nil: none of its own
		timeout bool
	}{
		"cancelled":  {cancelled, context.Canceled, cause, false},
		"late":       {late, context.DeadlineExceeded, cause, true},
		"plain late": {plain, context.DeadlineExceeded, nil, true},
	} {
		_, step := NewInitiator(name, nil).Step(c.ctx, nil)
		_, acquire := Acquire(c.ctx, nil)
		_, add := new(Credential).Add(c.ctx, &CredentialOptions{Mechs: []OID{MechKrb5}})
		_, info := new(Credential).Info(c.ctx)
		_, mechInfo := new(Credential).MechInfo(c.ctx, MechKrb5)
		_, canonical := name.Canonicalize(c.ctx, MechKrb5)
		for op, err := range map[string]error{"Step": step, "Acquire": acquire, "Add": add, "Info": info, "MechInfo": mechInfo, "Canonicalize": canonical} {
			wantErr(t, what+" "+op, err, c.err, ErrFailure)
			var e *Error
			if !errors.As(err, &e) || !strings.HasSuffix(op, e.Op) || !strings.Contains(err.Error(), c.err.Error()) {
				t.Errorf("%s %s: %v of %+v", what, op, err, e)
			}
			var their *theirs
			if has := errors.As(err, &their) && errors.Is(err, cause); has != (c.cause != nil) || has && !strings.Contains(err.Error(), cause.Error()) {
				t.Errorf("%s %s: %v has the cause: %v", what, op, err, has)
			}
			var timeout net.Error
			if has := errors.As(err, &timeout) && timeout.Timeout(); has != c.timeout {
				t.Errorf("%s %s: %v is a timeout: %v", what, op, err, has)
			}
		}
	}
}

func TestNilCtx(t *testing.T) {
	var none context.Context
	name, c := importName(t, "alice", NTUserName), new(Credential)
	conn, _ := net.Pipe()
	defer conn.Close()
	login := second(name.MayLogIn(none, "root"))
	if kind() == gss.KindGNU {
		login = ErrFailure // it is not asked
	}
	for what, err := range map[string]error{
		"Step":             second(NewInitiator(name, nil).Step(none, nil)),
		"HandshakeContext": Client(conn, name, nil).HandshakeContext(none),
		"Acquire":          second(Acquire(none, nil)),
		"AcquireKrb5":      second(AcquireKrb5(none, nil)),
		"Add":              second(c.Add(none, &CredentialOptions{Mechs: []OID{MechKrb5}})),
		"Info":             second(c.Info(none)),
		"MechInfo":         second(c.MechInfo(none, MechKrb5)),
		"Store":            c.Store(none, nil),
		"Export":           second(c.Export(none)),
		"Impersonate":      second(c.Impersonate(none, name, nil)),
		"InquireByOID":     second(c.InquireByOID(none, gss.CredImpersonator)),
		"CopyToCCache":     c.CopyToCCache(none, "MEMORY:x"),
		"ForSPNEGO":        second(c.ForSPNEGO(none)),
		"Canonicalize":     second(name.Canonicalize(none, MechKrb5)),
		"LocalName":        second(name.LocalName(none, MechKrb5)),
		"UID":              second(name.UID(none, MechKrb5)),
		"MayLogIn":         login,
	} {
		wantErr(t, what, err, ErrFailure)
	}
}

// A ctx that breaks its contract, done and without an error, is no success.
type broken struct{ context.Context }

func (broken) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (broken) Err() error { return nil }

func TestBrokenCtx(t *testing.T) {
	g := &gate{limit: 1}
	hold := make(chan struct{})
	b := blocking[int]{gate: g, trace: noTrace, call: func([]byte) (int, error) { <-hold; return 1, nil }, discard: func(int) {}}
	_, fate, err := b.run(broken{t.Context()})
	wantErr(t, "run", err, context.Canceled)
	if fate != leftBehind {
		t.Errorf("fate %v", fate)
	}
	_, fate, err = b.run(broken{t.Context()})
	wantErr(t, "run without a place", err, context.Canceled)
	if fate != notCalled {
		t.Errorf("fate %v", fate)
	}
	close(hold)
	await(t, "the call", func() bool { return g.stats().Running == 0 })
}

// What expvar publishes has the documented names.
func TestStatsNames(t *testing.T) {
	v := expvar.Func(func() any { return ReadStats() })
	var got map[string]any
	if err := json.Unmarshal([]byte(v.String()), &got); err != nil {
		t.Fatal(err)
	}
	names := func(m any) []string {
		var names []string
		for k := range m.(map[string]any) {
			names = append(names, k)
		}
		slices.Sort(names)
		return names
	}
	if n := names(got); !slices.Equal(n, []string{"accept", "acquire", "handles", "initiate"}) {
		t.Errorf("%v", n)
	}
	for _, kind := range []string{"accept", "acquire", "initiate"} {
		if n := names(got[kind]); !slices.Equal(n, []string{"abandoned", "limit", "running", "total_abandoned", "total_waited", "waiting"}) {
			t.Errorf("%s: %v", kind, n)
		}
	}
	if limit := got["accept"].(map[string]any)["limit"]; limit != float64(DefaultLimit) {
		t.Errorf("the limit is %v", limit)
	}
	if n, ok := got["handles"].(float64); !ok || n < 0 {
		t.Errorf("%v handles", got["handles"])
	}
}
