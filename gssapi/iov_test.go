package gssapi

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed2651813c/gss"
)

var iovSizes = []int{0, 1, 15, 16, 17, 4096, 1 << 16, 1<<20 + 1}

// lorem is n bytes that are easily told apart.
func lorem(n int) []byte { return bytes.Repeat([]byte("message "), n/8+1)[:n] }

// needsIOV skips a test on a library without messages in parts.
func needsIOV(t testing.TB) {
	t.Helper()
	lacks(t, gss.KindGNU, "it has no messages in parts")
}

// needsMICIOV skips a test on a library without MICs over parts.
func needsMICIOV(t testing.TB) {
	t.Helper()
	needsIOV(t)
	lacks(t, gss.KindHeimdal, "it has no gss_get_mic_iov")
}

// wrapParts wraps msg by LayoutIOV and WrapIOV, and returns the token and its
// parts.
func wrapParts(t testing.TB, c *Context, msg []byte, p Protection) ([]byte, []IOVBuffer) {
	t.Helper()
	out, iov, err := c.LayoutIOV([]byte("prefix"), msg, p)
	if err != nil {
		t.Fatalf("LayoutIOV of %d bytes, %v: %v", len(msg), p, err)
	}
	if err := c.WrapIOV(iov, p); err != nil {
		t.Fatalf("WrapIOV of %d bytes, %v: %v", len(msg), p, err)
	}
	token, ok := bytes.CutPrefix(out, []byte("prefix"))
	if !ok {
		t.Fatal("dst is not in front")
	}
	if readable := len(msg) > 8 && bytes.Contains(token, msg[:8]); readable != (len(msg) > 8 && p == Integrity) {
		t.Fatalf("%d bytes, %v: is it readable? %v", len(msg), p, readable)
	}
	return token, iov
}

func TestIOV(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			for _, n := range iovSizes[:len(iovSizes)-1] { // the longest are for TestIOVPeers
				for _, p := range []Protection{Private, Integrity} {
					msg := lorem(n)
					check := func(what string, got []byte, q Protection, err error) {
						t.Helper()
						if err != nil || q != p || !bytes.Equal(got, msg) {
							t.Errorf("%d bytes, %v, %s: %d bytes, %v, %v", n, p, what, len(got), q, err)
						}
					}
					// By parts, unwrapped by the plain call.
					token, _ := wrapParts(t, c, msg, p)
					got, q, err := peer.AppendUnwrap(nil, token)
					check("IOV, plain", got, q, err)
					// By parts, unwrapped by the same parts.
					_, iov := wrapParts(t, c, msg, p)
					q, err = peer.UnwrapIOV(iov)
					check("IOV, IOV", iov[1].Data, q, err)
					// By the plain call, unwrapped as a stream.
					token, err = c.AppendWrap(nil, msg, p)
					if err != nil {
						t.Fatal(err)
					}
					got, q, err = peer.UnwrapInPlace(token)
					check("plain, in place", got, q, err)
					if n > 0 && !within(got, token) {
						t.Error("the message is not in its token")
					}
					// In place.
					before, after, err := c.MessageRoom(n, p)
					if err != nil {
						t.Fatal(err)
					}
					buf := append(make([]byte, before+3, before+3+n+after+4), msg...)
					buf = buf[:cap(buf)]
					token, err = c.WrapInPlace(buf, before+3, before+3+n, p)
					if err != nil {
						t.Fatal(err)
					}
					if len(token) != before+n+after || &token[0] != &buf[3] {
						t.Errorf("%d bytes of token, want %d", len(token), before+n+after)
					}
					got, q, err = peer.AppendUnwrap(nil, token)
					check("in place, plain", got, q, err)
				}
			}
			exchange(t, c, peer)
		})
	})
}

// within reports whether a is a part of b.
func within(a, b []byte) bool {
	p, q := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return p >= q && p+uintptr(len(a)) <= q+uintptr(len(b))
}

// Parts in every arrangement: data in pieces, what is only signed before, between
// and behind them, with and without padding and trailer.
func TestIOVArrangements(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
		for _, types := range [][]IOVType{
			{IOVHeader, IOVData, IOVPadding, IOVTrailer},
			{IOVHeader, IOVData, IOVPadding},
			{IOVHeader, IOVData},
			{IOVHeader, IOVData, IOVTrailer},
			{IOVTrailer, IOVData, IOVHeader},
			{IOVHeader, IOVData, IOVData, IOVPadding, IOVTrailer},
			{IOVSignOnly, IOVHeader, IOVData, IOVSignOnly, IOVPadding, IOVTrailer},
			{IOVSignOnly, IOVSignOnly, IOVData, IOVSignOnly, IOVData, IOVSignOnly, IOVTrailer, IOVHeader},
			{IOVHeader, IOVEmpty, IOVSignOnly, IOVData, IOVEmpty, IOVPadding, IOVTrailer},
			{IOVHeader, IOVSignOnly},
			{IOVHeader, IOVSignOnly, IOVTrailer},
		} {
			for _, p := range []Protection{Private, Integrity} {
				if p == Private && !slices.Contains(types, IOVData) {
					continue
				}
				for _, n := range []int{0, 1, 16, 1000} {
					var iov []IOVBuffer
					for k, typ := range types {
						b := IOVBuffer{Type: typ}
						if typ == IOVData || typ == IOVSignOnly {
							b.Data = bytes.Repeat([]byte{byte('a' + k)}, n)
						}
						iov = append(iov, b)
					}
					want := cloneIOV(iov)
					if err := i.WrapIOVLength(iov, p); err != nil {
						t.Fatalf("%v, %v, %d: WrapIOVLength: %v", types, p, n, err)
					}
					lengths := cloneIOV(iov)
					if err := i.WrapIOV(iov, p); err != nil {
						t.Fatalf("%v, %v, %d: WrapIOV: %v", types, p, n, err)
					}
					for k := range iov {
						if len(iov[k].Data) != len(lengths[k].Data) {
							t.Errorf("%v, %v, %d: part %d has %d bytes, and was to have %d", types, p, n, k, len(iov[k].Data), len(lengths[k].Data))
						}
						if same := bytes.Equal(iov[k].Data, want[k].Data); n > 8 && iov[k].Type == IOVData && same != (p == Integrity) {
							t.Errorf("%v, %v, %d: is part %d readable? %v", types, p, n, k, same)
						}
					}
					wrapped := cloneIOV(iov)
					q, err := a.UnwrapIOV(iov)
					if err != nil || q != p {
						t.Errorf("%v, %v, %d: UnwrapIOV: %v, %v", types, p, n, q, err)
					}
					for k := range iov {
						if typ := iov[k].Type; (typ == IOVData || typ == IOVSignOnly) && !bytes.Equal(iov[k].Data, want[k].Data) {
							t.Errorf("%v, %v, %d: part %d is another", types, p, n, k)
						}
					}
					// What is only signed is signed.
					for k := range wrapped {
						if wrapped[k].Type != IOVSignOnly || n == 0 {
							continue
						}
						bad := cloneIOV(wrapped)
						bad[k].Data[n-1] ^= 1
						if _, err := a.UnwrapIOV(bad); !errors.Is(err, ErrBadMIC) {
							t.Errorf("%v, %v, %d: part %d is not signed: %v", types, p, n, k, err)
						}
						for _, b := range bad {
							if b.Type == IOVData && n > 8 && !bytes.Equal(b.Data, make([]byte, n)) {
								t.Errorf("%v, %v, %d: after an error there are data", types, p, n)
							}
						}
					}
				}
			}
		}
		exchange(t, i, a)
	})
}

func cloneIOV(iov []IOVBuffer) []IOVBuffer {
	c := slices.Clone(iov)
	for i := range c {
		c[i].Data = bytes.Clone(c[i].Data)
	}
	return c
}

// A part that is longer than it needs is shortened, one that is too short an error,
// and nothing is written beyond.
func TestIOVLengths(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		msg := lorem(100)
		_, exact := wrapParts(t, i, msg, Private)
		if _, err := a.UnwrapIOV(cloneIOV(exact)); err != nil {
			t.Fatal(err)
		}
		for _, more := range []int{-20, -1, 1, 100} {
			for _, k := range []int{0, 3} { // header, trailer
				iov := cloneIOV(exact)
				copy(iov[1].Data, msg)
				n := len(exact[k].Data)
				room := bytes.Repeat([]byte{0xaa}, n+200)
				iov[k].Data = room[:n+more]
				err := i.WrapIOV(iov, Private)
				if more < 0 {
					wantErr(t, "too short a part", err, ErrFailure)
					if !strings.Contains(err.Error(), "too short") {
						t.Errorf("too short a part: %v", err)
					}
					if !bytes.Equal(room[n+more:], bytes.Repeat([]byte{0xaa}, 200-more)) {
						t.Error("there was written beyond it")
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(iov[k].Data) != n {
					t.Errorf("part %d: %d bytes, want %d", k, len(iov[k].Data), n)
				}
				if _, err := a.UnwrapIOV(iov); err != nil || !bytes.Equal(iov[1].Data, msg) {
					t.Errorf("%v", err)
				}
			}
		}
		// WrapIOVLength uses the memory that there is, and makes more.
		room := make([]byte, 100)
		iov := []IOVBuffer{{Type: IOVHeader, Data: room}, {Type: IOVData, Data: msg}, {Type: IOVTrailer}}
		if err := i.WrapIOVLength(iov, Private); err != nil {
			t.Fatal(err)
		}
		if &iov[0].Data[0] != &room[0] || len(iov[0].Data) != len(exact[0].Data) || len(iov[2].Data) != len(exact[3].Data) {
			t.Errorf("%d and %d bytes", len(iov[0].Data), len(iov[2].Data))
		}
		// Too little room around a message.
		before, after, err := i.MessageRoom(len(msg), Private)
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range [][2]int{{before - 1, after}, {before, after - 1}, {0, 0}} {
			buf := slices.Concat(make([]byte, room[0]), msg, make([]byte, room[1]))
			token, err := i.WrapInPlace(buf, room[0], room[0]+len(msg), Private)
			wantErr(t, "too little room", err, ErrFailure)
			if token != nil || !bytes.Equal(buf[room[0]:][:len(msg)], msg) {
				t.Error("there is a token, or the message is gone")
			}
		}
		for _, at := range [][2]int{{-1, 5}, {5, 4}, {0, 101}} {
			_, err := i.WrapInPlace(msg, at[0], at[1], Private)
			wantErr(t, "a message that is not in the buffer", err, ErrFailure)
		}
		_, _, err = i.MessageRoom(-1, Private)
		wantErr(t, "a negative length", err, ErrFailure)
		exchange(t, i, a)
	})
}

// What is wrong with the parts is said before C is called: the sequence goes on.
func TestIOVRefused(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		mem := make([]byte, 1000)
		header, data, trailer := IOVBuffer{Type: IOVHeader, Data: mem[:100]}, IOVBuffer{Type: IOVData, Data: mem[100:200]}, IOVBuffer{Type: IOVTrailer, Data: mem[200:300]}
		stream := IOVBuffer{Type: IOVStream, Data: mem[:200]}
		token := wrap(t, i, "hello")
		for what, iov := range map[string][]IOVBuffer{
			"nothing":                nil,
			"no header":              {data, trailer},
			"two headers":            {header, data, {Type: IOVHeader, Data: mem[500:600]}},
			"two trailers":           {header, data, trailer, {Type: IOVTrailer, Data: mem[500:600]}},
			"two paddings":           {header, data, {Type: IOVPadding}, {Type: IOVPadding}},
			"an unknown type":        {header, data, {Type: 5}},
			"a type of no bit":       {header, data, {Type: 33}},
			"a flag":                 {header, data, {Type: IOVTrailer | 0x10000}},
			"a MIC":                  {header, data, {Type: IOVMICToken}},
			"nine parts":             {header, data, {}, {}, {}, {}, {}, {}, {}},
			"data on the header":     {header, {Type: IOVData, Data: mem[99:150]}},
			"the trailer on data":    {header, data, {Type: IOVTrailer, Data: mem[199:250]}},
			"sign-only on data":      {header, {Type: IOVSignOnly, Data: mem[199:250]}, data},
			"data on sign-only":      {{Type: IOVSignOnly, Data: mem[150:160]}, header, data},
			"a stream with a header": {stream, {Type: IOVHeader, Data: mem[300:400]}, {Type: IOVData}},
			"a stream without data":  {stream},
			"two streams":            {stream, stream, {Type: IOVData}},
			"a stream and two data":  {stream, {Type: IOVData}, {Type: IOVData}},
			"eight parts and a stream": {
				{Type: IOVStream, Data: token}, {Type: IOVData}, {}, {}, {}, {}, {}, {},
			},
			"sign-only on the stream": {{Type: IOVStream, Data: token}, {Type: IOVData}, {Type: IOVSignOnly, Data: token[:5]}},
		} {
			before := bytes.Clone(token)
			if !hasPart(iov, IOVStream) {
				wantErr(t, what+": WrapIOV", i.WrapIOV(cloneTypes(iov), Private), ErrFailure)
				if what != "data on the header" && what != "the trailer on data" && what != "sign-only on data" && what != "data on sign-only" {
					wantErr(t, what+": WrapIOVLength", i.WrapIOVLength(cloneTypes(iov), Private), ErrFailure)
				}
			}
			_, err := a.UnwrapIOV(cloneTypes(iov))
			wantErr(t, what+": UnwrapIOV", err, ErrFailure)
			if !bytes.Equal(token, before) {
				t.Errorf("%s: the token was changed", what)
			}
			wantErr(t, what+": MICIOV", i.MICIOV(cloneTypes(iov)), ErrFailure)
			wantErr(t, what+": MICIOVLength", i.MICIOVLength(cloneTypes(iov)), ErrFailure)
			wantErr(t, what+": VerifyMICIOV", a.VerifyMICIOV(cloneTypes(iov)), ErrFailure)
		}
		wantErr(t, "a stream to wrap", i.WrapIOV([]IOVBuffer{stream, data}, Private), ErrFailure)
		err := i.WrapIOV([]IOVBuffer{header, {Type: IOVSignOnly, Data: mem[300:]}}, Private)
		wantErr(t, "nothing to encrypt", err, ErrFailure)
		for _, c := range []*Context{i, a} {
			wantErr(t, "a protection that is none", c.WrapIOV([]IOVBuffer{header, data}, 2), ErrBadQOP)
			wantErr(t, "a protection that is none", c.WrapIOVLength([]IOVBuffer{header, data}, 2), ErrBadQOP)
			_, _, err := c.LayoutIOV(nil, nil, 2)
			wantErr(t, "a protection that is none", err, ErrBadQOP)
			_, err = c.WrapInPlace(mem, 100, 200, 2)
			wantErr(t, "a protection that is none", err, ErrBadQOP)
			_, err = c.AppendWrapAEAD(nil, nil, nil, 2)
			wantErr(t, "a protection that is none", err, ErrBadQOP)
		}
		receive(t, a, token, "hello") // the next in sequence
		exchange(t, i, a)
	})
}

// cloneTypes is another slice of the same memory.
func cloneTypes(iov []IOVBuffer) []IOVBuffer { return slices.Clone(iov) }

func TestIOVWithoutConfidentiality(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		i.flags &^= FlagConf
		_, _, err := i.LayoutIOV(nil, []byte("secret"), Private)
		wantErr(t, "LayoutIOV", err, ErrUnavailable)
		iov := []IOVBuffer{{Type: IOVHeader}, {Type: IOVData, Data: []byte("secret")}}
		wantErr(t, "WrapIOVLength", i.WrapIOVLength(iov, Private), ErrUnavailable)
		wantErr(t, "WrapIOV", i.WrapIOV(iov, Private), ErrUnavailable)
		_, _, err = i.MessageRoom(6, Private)
		wantErr(t, "MessageRoom", err, ErrUnavailable)
		_, err = i.WrapInPlace(make([]byte, 200), 90, 100, Private)
		wantErr(t, "WrapInPlace", err, ErrUnavailable)
		_, err = i.AppendWrapAEAD(nil, []byte("secret"), nil, Private)
		wantErr(t, "AppendWrapAEAD", err, ErrUnavailable)
		token, _ := wrapParts(t, i, []byte("readable by all"), Integrity)
		got, p, err := a.UnwrapInPlace(token)
		if err != nil || p != Integrity || string(got) != "readable by all" {
			t.Errorf("%q, %v, %v", got, p, err)
		}
	})
}

// A context with DCE style takes what DCE/RPC sends: a head and a tail that are
// only signed, the stub between them, and the token apart.
func TestIOVDCEStyle(t *testing.T) {
	needsIOV(t)
	needsHandshake(t)
	i, a := pair(t, &InitiatorOptions{Flags: FlagDCEStyle}, nil)
	for _, ends := range [][2]*Context{{i, a}, {a, i}} {
		for _, n := range []int{0, 16, 4096} {
			head, stub, tail := []byte("the head"), lorem(n), []byte("the tail")
			iov := []IOVBuffer{{Type: IOVSignOnly, Data: bytes.Clone(head)}, {Type: IOVData, Data: bytes.Clone(stub)}, {Type: IOVSignOnly, Data: bytes.Clone(tail)}, {Type: IOVHeader}}
			if err := ends[0].WrapIOVLength(iov, Private); err != nil {
				t.Fatal(err)
			}
			if err := ends[0].WrapIOV(iov, Private); err != nil {
				t.Fatal(err)
			}
			if string(iov[0].Data) != string(head) || string(iov[2].Data) != string(tail) || n > 0 && bytes.Equal(iov[1].Data, stub) {
				t.Error("the head or the tail changed, or the stub did not")
			}
			p, err := ends[1].UnwrapIOV(iov)
			if err != nil || p != Private || !bytes.Equal(iov[1].Data, stub) {
				t.Errorf("%d bytes: %v, %v", n, p, err)
			}
			_, iov, err = ends[0].LayoutIOV(nil, stub, Private)
			if err != nil {
				t.Fatal(err)
			}
			if len(iov) != 2 {
				t.Errorf("%d parts", len(iov))
			}
			if err := ends[0].WrapIOV(iov, Private); err != nil {
				t.Fatal(err)
			}
			if _, err := ends[1].UnwrapIOV(iov); err != nil || !bytes.Equal(iov[1].Data, stub) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
	_, _, err := i.UnwrapInPlace(make([]byte, 100))
	wantErr(t, "UnwrapInPlace", err, ErrUnavailable)
	_, err = i.WrapInPlace(make([]byte, 200), 90, 100, Private)
	wantErr(t, "WrapInPlace", err, ErrUnavailable)
	_, _, err = i.MessageRoom(10, Private)
	wantErr(t, "MessageRoom", err, ErrUnavailable)
	_, err = i.AppendWrapAEAD(nil, nil, nil, Private)
	wantErr(t, "AppendWrapAEAD", err, ErrUnavailable)
	_, _, err = i.AppendUnwrapAEAD(nil, nil, nil)
	wantErr(t, "AppendUnwrapAEAD", err, ErrUnavailable)
}

func TestAEAD(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech, Without: unordered}, func(t *testing.T, c, peer *Context) {
			for _, n := range []int{0, 1, 16, 4096} {
				for _, k := range []int{0, 1, 17, 1000} {
					for _, p := range []Protection{Private, Integrity} {
						msg, associated := lorem(n), bytes.Repeat([]byte("header "), k)
						token, err := c.AppendWrapAEAD([]byte("prefix"), msg, associated, p)
						if err != nil {
							t.Fatal(err)
						}
						token, ok := bytes.CutPrefix(token, []byte("prefix"))
						if !ok || len(token) > n+100 || bytes.Contains(token, []byte("header ")) {
							t.Fatalf("%d bytes of token from %d", len(token), n)
						}
						got, q, err := peer.AppendUnwrapAEAD([]byte("dst"), bytes.Clone(token), associated)
						if err != nil || q != p || string(got) != "dst"+string(msg) {
							t.Errorf("%d bytes, %d associated, %v: %d bytes, %v, %v", n, k, p, len(got), q, err)
						}
						// In the place of the token.
						place := bytes.Clone(token)
						got, _, err = peer.AppendUnwrapAEAD(place[:0], place, associated)
						if err != nil || !bytes.Equal(got, msg) {
							t.Errorf("%d bytes, %d associated, %v: %d bytes, %v", n, k, p, len(got), err)
						}
						// Other associated data.
						for _, other := range [][]byte{append(bytes.Clone(associated), 'x'), []byte("another"), nil} {
							if k == 0 && other == nil {
								continue
							}
							place := bytes.Clone(token)
							got, _, err = peer.AppendUnwrapAEAD([]byte("dst"), place, other)
							if err == nil || string(got) != "dst" {
								t.Errorf("%d bytes, %d associated, %v: others are taken", n, k, p)
							}
							if n > 16 && bytes.Contains(place, msg[:16]) {
								t.Errorf("%d bytes, %d associated, %v: the message is in the token", n, k, p)
							}
						}
						// Without any it is a token like all.
						if k == 0 {
							got, q, err := peer.AppendUnwrap(nil, token)
							if err != nil || q != p || !bytes.Equal(got, msg) {
								t.Errorf("%d bytes, %v: %v", n, p, err)
							}
						}
					}
				}
			}
			// The message in the spare room of dst.
			buf := append(make([]byte, 0, 300), "a message"...)
			token, err := c.AppendWrapAEAD(buf[:0], buf, []byte("x"), Private)
			if err != nil {
				t.Fatal(err)
			}
			if &token[0] != &buf[0] {
				t.Error("there was room, and it was not used")
			}
			got, _, err := peer.AppendUnwrapAEAD(nil, token, []byte("x"))
			if err != nil || string(got) != "a message" {
				t.Errorf("%q, %v", got, err)
			}
			// What is associated in the room of the token.
			out, err := c.AppendWrapAEAD(buf[:2], []byte("msg"), buf[5:9], Private)
			wantErr(t, "associated data on the token", err, ErrFailure)
			if string(out) != string(buf[:2]) {
				t.Errorf("%q", out)
			}
		})
	})
}

func TestMICIOV(t *testing.T) {
	needsMICIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Order: AllowGap}, &AcceptorOptions{Order: AllowGap})
		for _, ends := range [][2]*Context{{i, a}, {a, i}} {
			c, peer := ends[0], ends[1]
			for _, n := range []int{0, 1, 100, 1 << 16} {
				msg := lorem(n)
				parts := func(mic []byte) []IOVBuffer {
					return []IOVBuffer{{Type: IOVData, Data: msg[:n/2]}, {Type: IOVSignOnly, Data: msg[n/2:]}, {Type: IOVMICToken, Data: mic}}
				}
				make := func() []IOVBuffer {
					iov := parts(nil)
					if err := c.MICIOVLength(iov); err != nil {
						t.Fatal(err)
					}
					if err := c.MICIOV(iov); err != nil {
						t.Fatal(err)
					}
					return iov
				}
				iov := make()
				if !bytes.Equal(msg, lorem(n)) {
					t.Error("MICIOV changed the message")
				}
				if err := peer.VerifyMICIOV(iov); err != nil {
					t.Error(err)
				}
				wantErr(t, "the same again", peer.VerifyMICIOV(iov), ErrDuplicateToken)
				// It is that of the message in one piece.
				if err := peer.VerifyMIC(msg, make()[2].Data); err != nil {
					t.Error(err)
				}
				mic, err := c.AppendMIC(nil, msg)
				if err != nil {
					t.Fatal(err)
				}
				if err := peer.VerifyMICIOV(parts(mic)); err != nil {
					t.Error(err)
				}
				bad := append(make(), IOVBuffer{Type: IOVSignOnly, Data: []byte("more")})
				wantErr(t, "another message", peer.VerifyMICIOV(bad), ErrBadMIC)
				bad = make()
				bad[2].Data[len(bad[2].Data)-1] ^= 1
				wantErr(t, "another MIC", peer.VerifyMICIOV(bad), ErrBadMIC)
				// MIT 1.20 aborts on some that are cut.
				for k := range bad[2].Data {
					if err := peer.VerifyMICIOV(parts(bad[2].Data[:k])); err == nil {
						t.Errorf("%d bytes are a MIC", k)
					}
				}
				iov = parts(mic[:5])
				err = c.MICIOV(iov)
				wantErr(t, "too short a part", err, ErrFailure)
				if !strings.Contains(err.Error(), "too short") {
					t.Errorf("too short a part: %v", err)
				}
			}
		}
	})
}

func TestMICIOVUnavailable(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindHeimdal {
		t.Skipf("%s: it has all", kind())
	}
	i, _ := pair(t, nil, nil)
	iov := []IOVBuffer{{Type: IOVData, Data: []byte("msg")}, {Type: IOVMICToken, Data: make([]byte, 100)}}
	for what, err := range map[string]error{
		"gss_get_mic_iov_length": i.MICIOVLength(iov),
		"gss_get_mic_iov":        i.MICIOV(iov),
		"gss_verify_mic_iov":     i.VerifyMICIOV(iov),
	} {
		wantErr(t, what, err, ErrUnavailable)
		if !strings.Contains(err.Error(), "has no function "+what) {
			t.Error(err)
		}
	}
}

// Which parts are taken out of their sequence: as those of Unwrap.
func TestIOVOrder(t *testing.T) {
	needsIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, order := range []Order{0, AllowGap | AllowReorder} {
			i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Order: order})
			tolerant := order != 0 && kind() == gss.KindMIT
			send(t, i, a, "zeroth")
			send(t, i, a, "first")
			second, third := wrap(t, i, "the second"), wrap(t, i, "the third")
			take := func(what string, token []byte, want string, allowed bool, wanted error) {
				t.Helper()
				parts := bytes.Clone(token)
				msg, _, err := a.UnwrapInPlace(parts)
				if allowed {
					if err != nil || string(msg) != want {
						t.Errorf("%s: %q, %v", what, msg, err)
					}
					return
				}
				wantErr(t, what, err, wanted)
				if msg != nil || bytes.Contains(parts, []byte(want)) {
					t.Errorf("%s: the message is there", what)
				}
			}
			take("a gap", third, "the third", tolerant, ErrGapToken)
			take("late", second, "the second", tolerant, ErrUnseqToken)
			take("late again", second, "the second", false, ErrDuplicateToken)
			if laterHeimdal() {
				a.UnwrapInPlace(bytes.Clone(third)) // as in TestOrder
			}
			take("a duplicate", third, "the third", false, ErrDuplicateToken)
			send(t, i, a, "next")

			_, iov := wrapParts(t, i, []byte("in parts"), Private)
			again := cloneIOV(iov)
			if _, err := a.UnwrapIOV(iov); err != nil {
				t.Error(err)
			}
			_, err := a.UnwrapIOV(again)
			wantErr(t, "the same parts", err, ErrDuplicateToken)
			if string(again[1].Data) == "in parts" {
				t.Error("the message is there")
			}
			send(t, i, a, "after")
		}
	})
}

func TestMICIOVOrder(t *testing.T) {
	needsMICIOV(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Order: AllowGap | AllowReorder})
		var mics [][]byte
		for range 4 {
			mic, err := i.AppendMIC(nil, []byte("msg"))
			if err != nil {
				t.Fatal(err)
			}
			mics = append(mics, mic)
		}
		for _, n := range []int{0, 1, 3, 2} {
			if err := a.VerifyMICIOV([]IOVBuffer{{Type: IOVData, Data: []byte("msg")}, {Type: IOVMICToken, Data: mics[n]}}); err != nil {
				t.Errorf("%d: %v", n, err)
			}
		}
		wantErr(t, "again", a.VerifyMICIOV([]IOVBuffer{{Type: IOVData, Data: []byte("msg")}, {Type: IOVMICToken, Data: mics[2]}}), ErrDuplicateToken)
	})
}

// MessageFailed is told of every message that failed.
func TestIOVTrace(t *testing.T) {
	needsIOV(t)
	needsHandshake(t)
	var failed []Event
	trace := &Trace{MessageFailed: func(e Event) { failed = append(failed, e) }}
	i, _ := pair(t, &InitiatorOptions{Trace: trace}, nil)
	iov := []IOVBuffer{{Type: IOVHeader, Data: make([]byte, 20)}, {Type: IOVData, Data: make([]byte, 7)}, {Type: IOVTrailer, Data: make([]byte, 3)}}
	err := i.WrapIOV(iov, Private)
	if len(failed) != 1 || failed[0].Op != "WrapIOV" || failed[0].Received != 30 || failed[0].Err != err || err == nil {
		t.Errorf("%+v", failed)
	}
	i.UnwrapIOV(iov)
	i.UnwrapInPlace(make([]byte, 9))
	i.WrapInPlace(make([]byte, 9), 3, 4, Private)
	i.AppendWrapAEAD(nil, nil, nil, 2)
	i.MICIOV(iov)
	i.VerifyMICIOV(iov)
	i.LayoutIOV(nil, nil, 2)
	if len(failed) != 8 {
		t.Errorf("%d events: %+v", len(failed), failed)
	}
}

// The methods for parts on a context that is none.
func TestIOVStates(t *testing.T) {
	needsHandshake(t)
	fresh, _ := contexts(t, nil, nil)
	closed, _ := pair(t, nil, nil)
	closed.Close()
	for _, c := range []*Context{nil, fresh, closed} {
		iov := []IOVBuffer{{Type: IOVHeader}, {Type: IOVData}, {Type: IOVMICToken}}
		_, unwrap := c.UnwrapIOV(iov)
		_, _, layout := c.LayoutIOV(nil, nil, Private)
		_, _, room := c.MessageRoom(1, Private)
		_, wrap := c.WrapInPlace(nil, 0, 0, Private)
		_, _, in := c.UnwrapInPlace(nil)
		_, aead := c.AppendWrapAEAD(nil, nil, nil, Private)
		_, _, unaead := c.AppendUnwrapAEAD(nil, nil, nil)
		for what, err := range map[string]error{
			"WrapIOVLength": c.WrapIOVLength(iov, Private), "WrapIOV": c.WrapIOV(iov, Private), "UnwrapIOV": unwrap,
			"LayoutIOV": layout, "MessageRoom": room, "WrapInPlace": wrap, "UnwrapInPlace": in, "AppendWrapAEAD": aead, "AppendUnwrapAEAD": unaead,
			"MICIOVLength": c.MICIOVLength(iov), "MICIOV": c.MICIOV(iov), "VerifyMICIOV": c.VerifyMICIOV(iov),
		} {
			wantErr(t, what, err, ErrNoContext)
		}
	}
}
