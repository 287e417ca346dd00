package gss

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"unsafe"
)

// Buffer is memory of the C library (a gss_buffer_desc that it filled). It goes
// back with gss_release_buffer: by Release, or by the collector when the Buffer
// is unreachable. A nil Buffer is empty. It is safe for concurrent use.
//
// A Buffer never prints its contents.
type Buffer struct {
	mem     *bufferMem
	cleanup runtime.Cleanup
}

type bufferMem struct {
	mu     sync.Mutex
	p      unsafe.Pointer
	n      uintptr
	secret bool // overwritten before it goes back
}

// libBuffer is a buffer as C gave it: not yet owned by a Buffer.
type libBuffer struct {
	p unsafe.Pointer
	n uintptr
}

// buffer takes ownership of what C gave. A pointer with no length is kept for
// its release.
func (b libBuffer) buffer(secret bool) *Buffer {
	if b.p == nil {
		return nil
	}
	live.Add(1)
	buf := &Buffer{mem: &bufferMem{p: b.p, n: b.n, secret: secret}}
	buf.cleanup = runtime.AddCleanup(buf, (*bufferMem).release, buf.mem)
	return buf
}

func (m *bufferMem) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return
	}
	releaseBuffer(libBuffer{m.p, m.n}, m.secret)
	m.p, m.n = nil, 0
	live.Add(-1)
}

// Release gives the memory back to the library; a secret is overwritten first.
// The Buffer is empty afterwards. More calls do nothing.
func (b *Buffer) Release() {
	if b == nil || b.mem == nil {
		return
	}
	b.cleanup.Stop()
	b.mem.release()
}

// Len is the number of bytes in the buffer.
func (b *Buffer) Len() int {
	if b == nil || b.mem == nil {
		return 0
	}
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	return int(min(b.mem.n, math.MaxInt))
}

// AppendTo appends a copy of the contents to dst. The error is ErrFailure for a
// buffer that is longer than a Go slice can be.
func (b *Buffer) AppendTo(dst []byte) ([]byte, error) {
	if b == nil || b.mem == nil {
		return dst, nil
	}
	b.mem.mu.Lock()
	defer b.mem.mu.Unlock()
	return libBuffer{b.mem.p, b.mem.n}.appendTo(dst)
}

// Bytes returns a copy of the contents, nil if there are none.
func (b *Buffer) Bytes() []byte {
	out, _ := b.AppendTo(nil)
	return out
}

// String tells the length, never the contents.
func (b *Buffer) String() string { return fmt.Sprintf("gss.Buffer(%d bytes)", b.Len()) }

// GoString is String: %#v does not print contents either.
func (b *Buffer) GoString() string { return b.String() }

// LogValue is String.
func (b *Buffer) LogValue() slog.Value { return slog.StringValue(b.String()) }

// appendTo copies what C gave, whose length is checked because Go panics on a
// slice that is too long.
func (b libBuffer) appendTo(dst []byte) ([]byte, error) {
	if b.p == nil || b.n == 0 {
		return dst, nil
	}
	if b.n > uintptr(math.MaxInt-len(dst)) {
		return dst, &Error{Op: "copy", Major: ErrFailure, Text: fmt.Sprintf("the library returned %d bytes, more than fit", b.n)}
	}
	return append(dst, unsafe.Slice((*byte)(b.p), int(b.n))...), nil
}

// take copies what C gave and releases it.
func (b libBuffer) take() []byte {
	buf := b.buffer(false)
	defer buf.Release()
	return buf.Bytes()
}

// takeBufferSet copies a gss_buffer_set_t and releases it, overwritten if it is
// secret. There is an error if a buffer is longer than a Go slice can be.
//
//gss:pinned
func takeBufferSet(set unsafe.Pointer, secret bool) (parts [][]byte, err error) {
	if set == nil {
		return nil, nil
	}
	for i := range bufferSetCount(set) {
		var b []byte
		if b, err = bufferSetAt(set, i).appendTo(nil); err != nil {
			break
		}
		parts = append(parts, b)
	}
	releaseBufferSet(set, secret)
	return parts, err
}

// Memory is a copy of bytes in C's memory, for a call that may still be under
// way when the bytes belong to somebody else again. A nil Memory is empty.
type Memory struct{ b []byte }

// NewMemory copies b. The caller frees the copy.
func NewMemory(b []byte) *Memory {
	if len(b) == 0 {
		return nil
	}
	live.Add(1)
	m := &Memory{allocate(len(b))}
	copy(m.b, b)
	return m
}

// Bytes is the copy itself, valid until Free.
func (m *Memory) Bytes() []byte {
	if m == nil {
		return nil
	}
	return m.b
}

// Free overwrites the copy and gives the memory back. More calls do nothing. It
// must not be called while a call uses Bytes.
func (m *Memory) Free() {
	if m == nil || m.b == nil {
		return
	}
	deallocate(m.b)
	m.b = nil
	live.Add(-1)
}

// String tells the length, never the contents.
func (m *Memory) String() string { return fmt.Sprintf("gss.Memory(%d bytes)", len(m.Bytes())) }

// Format is String: no verb prints contents.
func (m *Memory) Format(f fmt.State, verb rune) { io.WriteString(f, m.String()) }
