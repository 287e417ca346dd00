package handoff

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// both makes the sealers of a new session with a key: those that seal, and those
// that open.
func both(t testing.TB, k Key) (seal, open [2]*sealer) {
	t.Helper()
	s, r := hello(toReceiver)[headerSize:], hello(toSender)[headerSize:]
	seal, err := sealers(k, s, r)
	check(t, err)
	open, err = sealers(k, s, r)
	check(t, err)
	return seal, open
}

// wantRefused fails the test unless a packet was refused and left nothing.
func wantRefused(t *testing.T, what string, s *sealer, p []byte) {
	t.Helper()
	const mark = 0x5a
	dst := bytes.Repeat([]byte{mark}, 4096)
	before := s.counter
	h, b, err := s.open(dst[:3], p)
	if !errors.Is(err, ErrMessage) || h != nil || len(b) != 3 || s.counter != before {
		t.Fatalf("%s: %v, %v, %d bytes, counter %d after %d", what, h, err, len(b), s.counter, before)
	}
	if i := slices.IndexFunc(dst, func(c byte) bool { return c != mark && c != 0 }); i >= 0 {
		t.Fatalf("%s: something of it was left at %d", what, i)
	}
}

func TestSeal(t *testing.T) {
	k := NewKey()
	seal, open := both(t, k)
	text := []byte("the token of a context: \x00\x01\x02\x03")
	for dir := range seal {
		for n := range 5 {
			for _, typ := range []packetType{packetLast, packetMore} {
				p := seal[dir].seal([]byte("before"), text, typ, byte(n%2))[6:]
				if len(p) != headerSize+len(text)+tagSize || bytes.Contains(p, text[:8]) {
					t.Fatalf("%d bytes: %q", len(p), p)
				}
				h, b, err := open[dir].open([]byte("xy"), p)
				check(t, err)
				if string(b) != "xy"+string(text) || h.typ != typ || h.fds != byte(n%2) {
					t.Fatalf("%q, %+v", b, h)
				}
			}
		}
	}
}

// A packet is taken as a whole and as it is, or not at all.
func TestSealBroken(t *testing.T) {
	seal, open := both(t, NewKey())
	p := seal[0].seal(nil, []byte(strings.Repeat("secret ", 20)), packetLast, 1)
	for n := range p {
		wantRefused(t, "cut", open[0], p[:n])
	}
	wantRefused(t, "longer", open[0], append(slices.Clone(p), 0))
	for n := range p {
		for bit := range 8 {
			bad := slices.Clone(p)
			bad[n] ^= 1 << bit
			wantRefused(t, "changed", open[0], bad)
		}
	}
	for range 2 {
		next := seal[0].seal(nil, []byte("next"), packetLast, 0)
		wantRefused(t, "out of its order", open[0], next)
	}
	wantRefused(t, "of the other direction", open[1], p)
	if _, _, err := open[0].open(nil, p); err != nil {
		t.Fatalf("the genuine packet after all that: %v", err)
	}
	wantRefused(t, "repeated", open[0], p)
}

func TestSealOther(t *testing.T) {
	k := NewKey()
	seal, open := both(t, k)
	for what, other := range map[string]Key{"another session with the same key": k, "another key": NewKey()} {
		foreign, _ := both(t, other)
		p := foreign[0].seal(nil, []byte("x"), packetLast, 0)
		wantRefused(t, what, open[0], p)
		foreign[0].session = seal[0].session
		foreign[0].counter = 0
		p = foreign[0].seal(nil, []byte("x"), packetLast, 0)
		wantRefused(t, what+" that says it is this one", open[0], p)
	}
	back := seal[1].seal(nil, []byte("x"), packetLast, 0)
	back[6] = byte(toReceiver)
	wantRefused(t, "the other direction's that says it is this one", open[0], back)

	// No two have a key in common.
	again, _ := both(t, k)
	seen := make(map[string]bool)
	text := []byte("the same in all of them")
	for _, s := range []*sealer{seal[0], seal[1], again[0], again[1]} {
		s.counter = 7
		p := s.seal(nil, text, packetLast, 0)[headerSize:]
		seen[string(p[:len(text)])] = true
	}
	if len(seen) != 4 {
		t.Error("the same key twice")
	}
}

func TestHeaderErrors(t *testing.T) {
	good := (&header{version: version, typ: packetLast, dir: toReceiver}).append(nil)
	if _, err := parseHeader(good, toReceiver); err != nil {
		t.Fatal(err)
	}
	change := func(at int, to byte) []byte {
		b := slices.Clone(good)
		b[at] = to
		return b
	}
	for want, p := range map[string][]byte{
		"0 bytes are too few":  nil,
		"31 bytes are too few": good[:31],
		"does not speak":       change(0, 'H'),
		"the peer speaks version 2 of the handoff protocol, this process version 1": change(4, version+1),
		"the peer speaks version 0":       change(4, 0),
		"its header is none":              change(5, byte(packetMore)+1),
		"both ends are the receiver":      change(6, byte(toSender)),
		"message refused: its header is ": change(6, byte(toSender)+1),
		"refused: its header is none":     change(7, 2),
	} {
		if _, err := parseHeader(p, toReceiver); !errors.Is(err, ErrMessage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestHello(t *testing.T) {
	for _, dir := range []direction{toReceiver, toSender} {
		p := hello(dir)
		b, err := parseHello(p, dir)
		if err != nil || !bytes.Equal(b, p[headerSize:]) || bytes.Equal(b, hello(dir)[headerSize:]) {
			t.Fatalf("%x, %v", b, err)
		}
		if _, err := parseHello(p, dir.other()); !errors.Is(err, ErrMessage) {
			t.Errorf("that went the other way: %v", err)
		}
		for n := range p {
			if _, err := parseHello(p[:n], dir); !errors.Is(err, ErrMessage) {
				t.Errorf("cut at %d: %v", n, err)
			}
			if n >= headerSize {
				continue
			}
			for bit := range 8 {
				bad := slices.Clone(p)
				bad[n] ^= 1 << bit
				if _, err := parseHello(bad, dir); !errors.Is(err, ErrMessage) {
					t.Errorf("byte %d changed: %v", n, err)
				}
			}
		}
		if _, err := parseHello(append(p, 0), dir); !errors.Is(err, ErrMessage) {
			t.Errorf("longer: %v", err)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	seal, _ := both(f, NewKey())
	f.Add(hello(toSender), true)
	f.Add(seal[0].seal(nil, []byte("x"), packetMore, 1), false)
	f.Fuzz(func(t *testing.T, p []byte, back bool) {
		dir := toReceiver
		if back {
			dir = toSender
		}
		h, err := parseHeader(p, dir)
		if err != nil {
			if !errors.Is(err, ErrMessage) || h != nil {
				t.Fatalf("%v, %v", h, err)
			}
			return
		}
		if !bytes.Equal(h.append(nil), p[:headerSize]) {
			t.Fatalf("%x is not %+v", p, h)
		}
		if b, err := parseHello(p, dir); err == nil && (len(b) != randomSize || h.typ != packetHello) {
			t.Fatalf("%x is a hello", p)
		}
	})
}

// Nobody without the key makes a packet that is taken.
func FuzzOpen(f *testing.F) {
	k := NewKey()
	seal, _ := both(f, k)
	for dir := range seal {
		f.Add(seal[dir].seal(nil, []byte("x"), packetLast, 0))
	}
	f.Add(hello(toReceiver))
	f.Fuzz(func(t *testing.T, p []byte) {
		_, open := both(t, k)
		for _, s := range open {
			if len(p) >= headerSize { // he can see what it must be
				h := header{version: version, typ: packetLast, dir: s.dir, session: s.session}
				h.append(p[:0])
			}
			wantRefused(t, "junk", s, p)
		}
	})
}
