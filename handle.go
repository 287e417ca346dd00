package gss

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// live counts the names, credentials, contexts and buffers of C that are not
// released.
var live atomic.Int64

// Live is the number of names, credentials, contexts and buffers of the C
// library that this process holds or is giving back. It is for tests and for
// monitoring: a number that grows without end is a leak.
func Live() int64 { return live.Load() }

// cell holds one handle of the C library and counts who uses it. Its owner, a
// Name, Cred or Ctx, has one reference; each call that is under way has one.
// The handle is released by whoever drops the last: close does not wait, and a
// handle is never pulled from under a call.
type cell struct {
	state atomic.Int64 // references; closedBit once no more are given; detachedBit if detach waits for the last
	lent  atomic.Int64 // how many of the references other cells have, as their keep
	mu    sync.Mutex   // one call at a time, for contexts; short lookups for names
	h     unsafe.Pointer
	free  func(unsafe.Pointer) // releases h
	after func()               // what is done once h is gone; nil: nothing
	keep  *cell                // what h borrows from, for its whole life; this cell has a reference to it
	idle  chan struct{}        // closed when detach has waited enough
}

const (
	closedBit   = int64(1) << 62
	detachedBit = int64(1) << 61
)

func newCell(h unsafe.Pointer, free func(unsafe.Pointer)) *cell {
	c := &cell{h: h, free: free}
	c.state.Store(1)
	if h != nil {
		live.Add(1)
	}
	return c
}

// hold takes a reference; it fails once the cell is closed. The zero Name, Cred
// or Ctx has no cell, and counts as released.
func (c *cell) hold() bool {
	if c == nil {
		return false
	}
	for {
		s := c.state.Load()
		if s&closedBit != 0 {
			return false
		}
		if c.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// lend takes a further reference, for a cell that keeps it; the caller has one.
func (c *cell) lend() *cell {
	c.lent.Add(1)
	c.state.Add(1)
	return c
}

// drop gives a reference back.
func (c *cell) drop() {
	switch c.state.Add(-1) {
	case closedBit:
		c.release()
	case closedBit | detachedBit:
		close(c.idle)
	}
}

// close drops the owner's reference, once.
func (c *cell) close() {
	if c == nil {
		return
	}
	for {
		s := c.state.Load()
		if s&closedBit != 0 {
			return
		}
		if c.state.CompareAndSwap(s, s|closedBit) {
			c.drop()
			return
		}
	}
}

func (c *cell) closed() bool { return c.state.Load()&closedBit != 0 }

// release gives the handle back to the library, and then what it needed; the
// caller has the cell for itself.
func (c *cell) release() {
	h, keep := c.h, c.keep
	c.h, c.keep = nil, nil
	if h == nil {
		return // detached: what it needs stays, for C
	}
	inTurn(func() {
		c.free(h)
		if c.after != nil {
			c.after()
		}
		live.Add(-1) // and not before: who sees 0 may end the process
		if keep != nil {
			keep.lent.Add(-1)
			keep.drop()
		}
	})
}

// set changes the handle; the caller has the cell for itself.
func (c *cell) set(h unsafe.Pointer) {
	switch {
	case c.h == nil && h != nil:
		live.Add(1)
	case c.h != nil && h == nil:
		live.Add(-1)
	}
	c.h = h
}

// take empties the cell without releasing the handle.
func (c *cell) take() unsafe.Pointer {
	h := c.h
	c.set(nil)
	return h
}

// detach closes the cell, waits for the calls that use it, and takes its handle.
// It fails if the cell is closed already, or another one keeps it.
func (c *cell) detach() (unsafe.Pointer, error) {
	for {
		if c == nil || c.closed() {
			return nil, errors.New("it was released")
		}
		if c.lent.Load() > 0 {
			return nil, errors.New("a context uses it until it is deleted")
		}
		if s := c.state.Load(); s&closedBit == 0 && c.state.CompareAndSwap(s, s|closedBit|detachedBit) {
			break
		}
	}
	c.idle = make(chan struct{}) // before the owner's reference is dropped, and so before the last one is
	c.drop()
	<-c.idle
	return c.take(), nil
}

// use is one call's hold on a handle. While it lasts the handle is valid, the
// goroutine stays on its thread (the text of an error is per thread), and for a
// context no other call is under way. The zero use is that of an object that
// was not given: its handle is nil, GSS_C_NO_NAME and so on.
type use struct {
	c      *cell
	h      unsafe.Pointer
	locked bool // c.mu is held
	copied bool // h is a duplicate, to be released at the end
	works  bool // it has a place in work
}

// work has an item for each call on a long message. The runtime gives other
// goroutines a thread of their own while one is in C for long: without a bound
// thousands of connections at work would be thousands of threads, and at 10,000
// the runtime ends the process. More of them than processors gain nothing.
var work = make(chan struct{}, max(16, 4*runtime.NumCPU()))

// shortWork is the longest message, in bytes, that takes C less than the 20
// microseconds or so after which the runtime takes the call for a long one.
const shortWork = 1 << 10

// end gives back what begin took.
func (u use) end() {
	if u.copied {
		u.c.free(u.h)
	}
	if u.works {
		<-work
	}
	if u.c != nil {
		if u.locked {
			u.c.mu.Unlock()
		}
		u.c.drop()
	}
	runtime.UnlockOSThread()
}
