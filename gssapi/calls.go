package gssapi

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/seed2651813c/gss"
)

// Limits bound how many calls that may block are in the C library at once, each
// of which holds a thread. The kinds are bounded apart, so that a KDC that does
// not answer initiators stops no logins. Who finds no place waits for one, until
// his ctx is done. Zero or less is DefaultLimit.
type Limits struct {
	Initiate int // Step of initiators
	Accept   int // Step of acceptors, and Acquire for Accept alone
	Acquire  int // the other calls for credentials, Canonicalize, and those for local users
}

// DefaultLimit is how many calls of a kind are in the C library at once, if
// nothing else was set. Calls whose callers have given up keep their places
// until the library comes back.
const DefaultLimit = 128

// SetLimits sets the limits of this process and returns those before. It may be
// called at any time: calls that are under way go on, and those that wait come
// in if there is room now. It does not block.
func SetLimits(l Limits) (old Limits) {
	return Limits{initiating.setLimit(l.Initiate), accepting.setLimit(l.Accept), acquiring.setLimit(l.Acquire)}
}

// CallStats are about the calls of one kind that may block.
type CallStats struct {
	Limit          int   `json:"limit"`           // see Limits
	Running        int   `json:"running"`         // in the C library now, abandoned ones included
	Waiting        int   `json:"waiting"`         // for a place
	Abandoned      int   `json:"abandoned"`       // in the C library now, and nobody waits for them any more
	TotalWaited    int64 `json:"total_waited"`    // had to wait for a place, since the process began
	TotalAbandoned int64 `json:"total_abandoned"` // since the process began
}

// Stats are the counters of this process.
type Stats struct {
	Initiate CallStats `json:"initiate"` // the kinds are those of Limits
	Accept   CallStats `json:"accept"`
	Acquire  CallStats `json:"acquire"`
	Handles  int64     `json:"handles"` // names, credentials, contexts and buffers of the C library that are not released
}

// ReadStats reads the counters. It is made for expvar:
//
//	expvar.Publish("gssapi", expvar.Func(func() any { return gssapi.ReadStats() }))
//
// Handles that grow without end are a leak, Abandoned at its Limit a KDC or a
// name service that does not answer.
func ReadStats() Stats {
	return Stats{initiating.stats(), accepting.stats(), acquiring.stats(), gss.Live()}
}

// The kinds of calls that may block.
var (
	initiating = &gate{limit: DefaultLimit}
	accepting  = &gate{limit: DefaultLimit}
	acquiring  = &gate{limit: DefaultLimit}
)

// gate lets so many calls into the C library at once, in the order in which they
// came.
type gate struct {
	mu             sync.Mutex
	limit          int
	running        int
	abandoned      int
	waiting        list.List // of chan struct{}, closed when the waiter has a place
	totalWaited    int64
	totalAbandoned int64
}

func (g *gate) setLimit(n int) (old int) {
	if n <= 0 {
		n = DefaultLimit
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old, g.limit = g.limit, n
	g.admit()
	return old
}

// admit gives free places to those who wait. The caller holds g.mu.
func (g *gate) admit() {
	for g.running < g.limit && g.waiting.Len() > 0 {
		g.running++
		close(g.waiting.Remove(g.waiting.Front()).(chan struct{}))
	}
}

// enter takes a place, and waits for one until ctx is done. blocked is called
// before it waits. False: ctx is done, and no place was taken.
func (g *gate) enter(ctx context.Context, blocked func()) bool {
	g.mu.Lock()
	if g.running < g.limit {
		g.running++
		g.mu.Unlock()
		return true
	}
	place := make(chan struct{})
	e := g.waiting.PushBack(place)
	g.totalWaited++
	g.mu.Unlock()
	in := false
	defer func() {
		if !in {
			g.giveUp(e)
		}
	}()
	blocked() // may panic
	select {
	case <-place:
		in = ctx.Err() == nil // both at once: nothing is lost yet
	case <-ctx.Done():
	}
	return in
}

// giveUp ends the wait of e for a place.
func (g *gate) giveUp(e *list.Element) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-e.Value.(chan struct{}): // just now: the next one gets it
		g.running--
		g.admit()
	default:
		g.waiting.Remove(e)
	}
}

// leave gives a place back.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	g.admit()
}

func (g *gate) stats() CallStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return CallStats{g.limit, g.running, g.waiting.Len(), g.abandoned, g.totalWaited, g.totalAbandoned}
}

// blocking is a call that may block.
type blocking[T any] struct {
	gate    *gate
	trace   *Trace
	event   Event                         // what the events of the call have in common
	input   []byte                        // the caller's, who may change it once run returns
	call    func(input []byte) (T, error) // uses nothing that the caller may change
	leave   func()                        // ends what the call is about, if it is left behind; may be nil
	discard func(T)                       // releases what call returned, also with an error, if nobody waits for it
}

// fate is what became of a call.
type fate int

const (
	cameBack   fate = iota // with a result, or with an error of the library
	notCalled              // ctx was done before there was a place
	leftBehind             // ctx was done, and the call goes on
)

// run makes the call. If ctx can end, that is in a goroutine of its own and with
// a copy of the input in C's memory, and run returns when ctx is done. If ctx
// cannot end there is neither goroutine nor copy.
func (b *blocking[T]) run(ctx context.Context) (result T, _ fate, err error) {
	g := b.gate
	if !g.enter(ctx, func() { fire(b.trace.Blocked, b.event) }) {
		return result, notCalled, givenUp(ctx, b.event.Op)
	}
	if ctx.Done() == nil {
		defer g.leave()
		result, err = b.call(b.input)
		return result, cameBack, err
	}
	type outcome struct {
		result T
		err    error
	}
	var (
		began          = time.Now()
		input          = gss.NewMemory(b.input)
		back           = make(chan outcome, 1)
		told           = make(chan struct{}) // that the call was left behind
		finished, left bool                  // which of both came first; guarded by g.mu
	)
	go func() {
		r, err := b.call(input.Bytes())
		input.Free()
		g.mu.Lock()
		finished = true
		left := left
		g.mu.Unlock()
		if !left {
			g.leave()
			back <- outcome{r, err}
			return
		}
		b.discard(r)
		g.mu.Lock()
		g.abandoned--
		g.mu.Unlock()
		g.leave()
		<-told
		e := b.event
		e.Duration, e.Err = time.Since(began), err
		fire(b.trace.Returned, e)
	}()
	select {
	case o := <-back:
		return o.result, cameBack, o.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	if !finished {
		left = true
		g.abandoned++
		g.totalAbandoned++
	}
	g.mu.Unlock()
	if !left {
		o := <-back
		return o.result, cameBack, o.err
	}
	defer close(told)
	if b.leave != nil {
		b.leave()
	}
	err = givenUp(ctx, b.event.Op)
	e := b.event
	e.Duration, e.Err = time.Since(began), err
	fire(b.trace.Abandoned, e)
	return result, leftBehind, err
}

// givenUp is the error of who waits no longer, because ctx is done: never nil, even
// if ctx, against its contract, has no error then.
func givenUp(ctx context.Context, op string) error {
	if err := ended(ctx, op); err != nil {
		return err
	}
	return &Error{Op: op, Major: ErrFailure, Text: context.Canceled.Error(), Err: context.Canceled}
}
