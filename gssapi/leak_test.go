package gssapi

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// resident is the memory of this process that is in RAM, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	settle(0)
	return inRAM(t)
}

// inRAM is resident without waiting for the collector to release handles.
func inRAM(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// flat runs f many times and fails the test if the process grows by more than
// limit bytes each time. What is lost in C is not seen by Live.
func flat(t *testing.T, limit int, f func()) {
	t.Helper()
	switch {
	case testing.Short():
		t.Skip("leaks: tens of thousands of calls are not for -short")
	case raceBuild, asanBuild:
		t.Skip("leaks: the race detector and AddressSanitizer need memory of their own that grows; AddressSanitizer looks for leaks itself")
	case runtime.GOOS != "linux":
		t.Skip("leaks: the memory of the process is read from /proc/self/statm, which is Linux's")
	}
	const times, warmUp, collect = 20000, 4000, 1000
	runtime.LockOSThread() // one thread's memory
	defer runtime.UnlockOSThread()
	run := func(n int) {
		for i := range n {
			f()
			if i%collect == 0 {
				settle(0)
			}
		}
	}
	run(warmUp)
	before := resident(t)
	run(times)
	grown := resident(t) - before
	t.Logf("%d times: the process grew by %d bytes, %.1f each time", times, grown, float64(grown)/times)
	if grown > limit*times {
		t.Errorf("that is more than %d bytes each time", limit)
	}
}

func TestHandshakesDoNotLeak(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		host := target(t)
		// (With the default credential Heimdal 7.8's SPNEGO tries NTLM too, and
		// loses some 140 bytes each time.)
		io := &InitiatorOptions{Mech: mech, Credential: acquire(t, &CredentialOptions{Mechs: []OID{mech}})}
		flat(t, 50, func() {
			i, a := NewInitiator(host, io), NewAcceptor(nil)
			if err := handshake(i, a, nil); err != nil {
				t.Fatal(err)
			}
			i.Close()
			a.Close()
		})
	})
}

func TestFailuresDoNotLeak(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		good := step(t, NewInitiator(target(t), &InitiatorOptions{Mech: mech}), nil)
		cut, changed := good[:len(good)-20], bytes.Clone(good)
		changed[len(changed)-30] ^= 1
		junk := [][]byte{frame(mech, "junk"), frame(mech, "\x01\x00"+strings.Repeat("x", 300)), cut, changed}
		n := 0
		// (Heimdal 7.8's SPNEGO loses some 45 bytes each time: see ci/lsan.supp.)
		flat(t, 80, func() {
			n++
			a := NewAcceptor(nil)
			if _, err := a.Step(context.Background(), junk[n%len(junk)]); err == nil && mech == MechKrb5 {
				t.Fatal("junk was accepted")
			}
			a.Close()
		})
	})
}

func TestReplaysDoNotLeak(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		msg := strings.Repeat("message ", 50)
		token := wrap(t, i, msg)
		receive(t, a, token, msg)
		flat(t, 10, func() {
			if _, err := a.Unwrap(token); !errors.Is(err, ErrDuplicateToken) {
				t.Fatal(err)
			}
		})
	})
}

func TestTransfersDoNotLeak(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		flat(t, 50, func() {
			a = transfer(t, a)
		})
		exchange(t, i, a)
	})
}

// MIT 1.20 allocates for a message of nothing that was only signed, and does not
// free what has no length.
func TestEmptyMessagesDoNotLeak(t *testing.T) {
	needsHandshake(t)
	i, a := pair(t, nil, nil)
	flat(t, 16, func() {
		token, err := i.AppendWrap(nil, nil, Integrity)
		if err == nil {
			_, _, err = a.AppendUnwrap(nil, token)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}
