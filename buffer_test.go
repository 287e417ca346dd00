package gss

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

const hostName = "host@server.test"

// display makes a Buffer of the library with hostName in it.
func display(t *testing.T) *Buffer {
	t.Helper()
	b, _, err := nameOf(t, hostName, NTHostBasedService).Display()
	check(t, err)
	return b
}

// awaitLive collects garbage until the library holds no more than n things: the
// collector runs cleanups when it likes.
func awaitLive(t *testing.T, n int64) {
	t.Helper()
	for range 500 {
		if Live() <= n {
			break
		}
		runtime.GC()
		runtime.Gosched()
	}
	if Live() != n {
		t.Errorf("%d things are held, want %d", Live(), n)
	}
}

func TestBuffer(t *testing.T) {
	needLibrary(t)
	name := nameOf(t, hostName, NTHostBasedService)
	awaitLive(t, 1) // what earlier tests left
	b, _, err := name.Display()
	check(t, err)
	if Live() != 2 {
		t.Errorf("%d things are held, want a name and a buffer", Live())
	}
	if b.Len() != len(hostName) || string(b.Bytes()) != hostName {
		t.Errorf("%d bytes %q", b.Len(), b.Bytes())
	}
	got, err := b.AppendTo([]byte("a "))
	if err != nil || string(got) != "a "+hostName {
		t.Errorf("%q, %v", got, err)
	}
	cp := b.Bytes()
	b.Release()
	if Live() != 1 {
		t.Errorf("%d things are held, want a name", Live())
	}
	if string(cp) != hostName {
		t.Errorf("the copy became %q", cp)
	}
	for range 3 {
		b.Release()
		if b.Len() != 0 || b.Bytes() != nil {
			t.Errorf("released, and has %d bytes", b.Len())
		}
		if got, err := b.AppendTo([]byte("x")); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if Live() != 1 {
		t.Errorf("%d things are held after a second release, want a name", Live())
	}
}

func TestNilBuffer(t *testing.T) {
	var b *Buffer
	b.Release()
	if b.Len() != 0 || b.Bytes() != nil {
		t.Error("it has bytes")
	}
	if got, err := b.AppendTo([]byte("x")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if b.String() != "gss.Buffer(0 bytes)" {
		t.Error(b.String())
	}
}

func TestBufferDoesNotPrint(t *testing.T) {
	needLibrary(t)
	b := display(t)
	defer b.Release()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "buf", b)
	for _, s := range []string{fmt.Sprint(b), fmt.Sprintf("%v", b), fmt.Sprintf("%+v", b), fmt.Sprintf("%#v", b), fmt.Sprintf("%x", b), log.String()} {
		if strings.Contains(s, "server") || strings.Contains(s, fmt.Sprintf("%x", "server")) {
			t.Errorf("printed: %s", s)
		}
	}
	if got, want := fmt.Sprint(b), fmt.Sprintf("gss.Buffer(%d bytes)", len(hostName)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What nobody can reach any more is given back.
func TestBufferCollected(t *testing.T) {
	needLibrary(t)
	awaitLive(t, 0)
	name := nameOf(t, hostName, NTHostBasedService)
	for range 100 {
		_, _, err := name.Display()
		check(t, err)
	}
	awaitLive(t, 1)
	if b, _, err := name.Display(); err != nil || string(b.Bytes()) != hostName {
		t.Errorf("the name: %q, %v", b.Bytes(), err)
	}
}

// While a Buffer can be reached its bytes stay.
func TestBufferConcurrently(t *testing.T) {
	needLibrary(t)
	b := display(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 100 {
				if got := b.Bytes(); got != nil && string(got) != hostName {
					t.Errorf("%q", got)
				}
				if n := b.Len(); n != 0 && n != len(hostName) {
					t.Errorf("%d bytes", n)
				}
			}
			if i%8 == 7 {
				b.Release()
			}
		})
	}
	wg.Wait()
	if b.Len() != 0 {
		t.Error("not released")
	}
}

func TestBufferTooLong(t *testing.T) {
	var c byte
	for _, n := range []uintptr{math.MaxInt, math.MaxInt + 1, math.MaxUint} {
		dst := []byte("x")
		got, err := libBuffer{unsafe.Pointer(&c), n}.appendTo(dst)
		is(t, err, ErrFailure)
		if string(got) != "x" {
			t.Errorf("%q", got)
		}
	}
}

func TestMemory(t *testing.T) {
	awaitLive(t, 0)
	const secret = "a token that is long enough to be told from what malloc writes into free memory"
	in := []byte(secret)
	m := NewMemory(in)
	if Live() != 1 {
		t.Errorf("%d things are held, want the memory", Live())
	}
	clear(in)
	if string(m.Bytes()) != secret {
		t.Errorf("it has %q: it is no copy", m.Bytes())
	}
	if first, second := m.Bytes(), m.Bytes(); &first[0] != &second[0] {
		t.Error("each look makes a copy")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c"} {
		if s := fmt.Sprintf(verb, m); s != m.String() {
			t.Errorf("%s prints %s", verb, s)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "m", m)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "m", m)
	if strings.Contains(log.String(), "token") {
		t.Errorf("logged: %s", log.String())
	}
	if got, want := m.String(), fmt.Sprintf("gss.Memory(%d bytes)", len(secret)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for range 3 {
		m.Free()
		if Live() != 0 || m.Bytes() != nil || m.String() != "gss.Memory(0 bytes)" {
			t.Errorf("freed, %d things are held, and it has %q", Live(), m.Bytes())
		}
	}
}

func TestNoMemory(t *testing.T) {
	awaitLive(t, 0)
	for _, m := range []*Memory{nil, NewMemory(nil), NewMemory([]byte{})} {
		if Live() != 0 || m.Bytes() != nil || m.String() != "gss.Memory(0 bytes)" {
			t.Errorf("nothing is %v with %q, and %d things are held", m, m.Bytes(), Live())
		}
		m.Free()
	}
}

// What is freed is overwritten first. C's memory stays where it is, and readable,
// but for AddressSanitizer; the allocator writes into its first bytes.
func TestMemoryOverwritten(t *testing.T) {
	if asanBuild {
		skip(t, "memory that was freed is read, which AddressSanitizer is there to find")
	}
	awaitLive(t, 0)
	secret := bytes.Repeat([]byte("secret"), 100)
	m := NewMemory(secret)
	b := m.Bytes()
	m.Free()
	if bytes.Contains(b, []byte("secret")) {
		t.Errorf("after Free it has %q", b)
	}
}
