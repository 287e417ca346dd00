package gssapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// arena is memory in which parts lie with gaps between them. What writes into a
// gap wrote beyond a part.
type arena struct {
	mem  []byte
	next int
	used [][2]int
}

const gap = 64

func newArena(n int) *arena {
	return &arena{mem: bytes.Clone(clean[:n]), next: gap}
}

func (a *arena) part(n int) []byte {
	from := a.next
	a.used = append(a.used, [2]int{from, from + n})
	a.next += n + gap
	return a.mem[from : from+n : from+n]
}

// clean is what no part has been written to.
var clean = bytes.Repeat([]byte{0xa5}, 4096)

// damaged returns where there is a gap that was changed, or -1.
func (a *arena) damaged() int {
	at := 0
	for _, u := range append(a.used, [2]int{len(a.mem), len(a.mem)}) {
		if !bytes.Equal(a.mem[at:u[0]], clean[:u[0]-at]) {
			return at
		}
		at = u[1]
	}
	return -1
}

// place copies parts into an arena.
func (a *arena) place(iov []IOVBuffer) []IOVBuffer {
	iov = slices.Clone(iov)
	for i := range iov {
		b := a.part(len(iov[i].Data))
		copy(b, iov[i].Data)
		iov[i].Data = b
	}
	return iov
}

// junkPairs are contexts of all kinds that read whatever they get, in any order.
func junkPairs(t *testing.T) map[string][2]*Context {
	pairs := map[string][2]*Context{}
	for name, o := range map[string]*InitiatorOptions{
		"krb5":   {Without: unordered},
		"SPNEGO": {Without: unordered, Mech: MechSPNEGO},
		"DCE":    {Without: unordered, Flags: FlagDCEStyle},
	} {
		i, a := pair(t, o, nil)
		pairs[name] = [2]*Context{i, a}
	}
	return pairs
}

// junkRealm runs a test in a child, with the realm of the package and in one with
// RC4.
func junkRealm(t *testing.T, test func(t *testing.T)) {
	needsIOV(t)
	needsHandshake(t)
	t.Run("AES", func(t *testing.T) {
		if inChild(t, nil) {
			test(t)
		}
	})
	t.Run("RC4", func(t *testing.T) {
		var env []string
		if os.Getenv(childEnv) == "" {
			r := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", service}, Enctypes: []string{rc4}})
			ccache, err := r.Kinit("alice", nil)
			if err != nil {
				t.Fatal(err)
			}
			keytab, err := r.Keytab(service)
			if err != nil {
				t.Fatal(err)
			}
			env = r.EnvFor(ccache, keytab)
		}
		if inChild(t, env) {
			test(t)
		}
	})
}

// No token, however changed, makes a library write beyond it, crash, or take
// another message for the peer's.
func TestIOVDamaged(t *testing.T) {
	junkRealm(t, func(t *testing.T) {
		for name, ends := range junkPairs(t) {
			for _, p := range []Protection{Private, Integrity} {
				testIOVDamaged(t, name, ends[0], ends[1], p)
			}
		}
	})
}

func testIOVDamaged(t *testing.T, name string, from, to *Context, p Protection) {
	msg := []byte("the message")
	forms := map[string][]IOVBuffer{}
	_, parts, err := from.LayoutIOV(nil, msg, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := from.WrapIOV(parts, p); err != nil {
		if name == "DCE" && p == Integrity {
			return // Heimdal 7.8 refuses to
		}
		t.Fatal(err)
	}
	forms["parts"] = parts
	// Everything in the header, as with DCE style.
	two := []IOVBuffer{{Type: IOVHeader}, {Type: IOVData, Data: slices.Clone(msg)}}
	if from.WrapIOVLength(two, p) == nil && from.WrapIOV(two, p) == nil {
		forms["header and data"] = two
	}
	if name != "DCE" {
		token, err := from.AppendWrap(nil, msg, p)
		if err != nil {
			t.Fatal(err)
		}
		forms["stream"] = []IOVBuffer{{Type: IOVStream, Data: token}, {Type: IOVData}}
	}
	for form, parts := range forms {
		try := func(what string, iov []IOVBuffer) {
			t.Helper()
			a := newArena(2000)
			iov = a.place(iov)
			q, err := to.UnwrapIOV(iov)
			data := part(iov, IOVData)
			if err == nil && (!bytes.Equal(data, msg) || q != p) {
				t.Errorf("%s, %s, %v, %s: it is %q, %v", name, form, p, what, data, q)
			}
			if err != nil && bytes.Contains(a.mem, msg) && form != "stream" && p == Private {
				t.Errorf("%s, %s, %v, %s: the message is there after an error", name, form, p, what)
			}
			if at := a.damaged(); at >= 0 {
				t.Errorf("%s, %s, %v, %s: there was written behind byte %d, which is in no part", name, form, p, what, at)
			}
		}
		try("as it is", parts)
		for k := range parts {
			n := len(parts[k].Data)
			for at := range n {
				for bit := range 8 {
					if (raceBuild || asanBuild) && bit != at%8 {
						continue // for time's sake
					}
					bad := cloneIOV(parts)
					bad[k].Data[at] ^= 1 << bit
					try(fmt.Sprintf("bit %d of byte %d of part %d", bit, at, k), bad)
				}
				bad := cloneIOV(parts)
				bad[k].Data = bad[k].Data[:at]
				try(fmt.Sprintf("%d bytes of part %d", at, k), bad)
				bad = cloneIOV(parts)
				bad[k].Data = bad[k].Data[at+1:]
				try(fmt.Sprintf("part %d without %d bytes", k, at+1), bad)
			}
			bad := cloneIOV(parts)
			bad[k].Data = append(bad[k].Data, 'x')
			try(fmt.Sprintf("part %d with a byte more", k), bad)
		}
		if form == "parts" && name != "DCE" {
			bad := cloneIOV(parts) // some of the data as padding
			bad[2].Data = slices.Concat(bad[1].Data[5:], bad[2].Data)
			bad[1].Data = bad[1].Data[:5]
			try("a long padding", bad)
		}
		if form == "parts" && parts[0].Data[0] == 5 && len(parts) == 4 {
			// Heimdal 7.8 would read beyond them to rotate them back.
			bad := cloneIOV(parts)
			binary.BigEndian.PutUint16(bad[0].Data[6:], 60000)
			_, err := to.UnwrapIOV(bad)
			if !errors.Is(err, ErrDefectiveToken) && p == Private {
				t.Errorf("%s: parts that are rotated: %v", name, err)
			}
		}
		// The numbers in a header of RFC 4121: extra bytes and rotation.
		for k, at := range map[string]int{"extra": 4, "rotated": 6} {
			for _, n := range []uint16{0, 1, 4, 11, 12, 15, 16, 17, 20, 27, 28, 29, 32, 44, 60, 61, 100, 300, 1000, 0x7fff, 0x8000, 0xffff} {
				for _, more := range []uint16{0, 1, 16, 28, 44, 1000, 0xffff} {
					bad := cloneIOV(parts)
					if bad[0].Data[0] != 5 {
						continue
					}
					binary.BigEndian.PutUint16(bad[0].Data[4:], more)
					binary.BigEndian.PutUint16(bad[0].Data[6:], more)
					binary.BigEndian.PutUint16(bad[0].Data[at:], n)
					for _, flags := range []byte{bad[0].Data[2], bad[0].Data[2] ^ 2} {
						bad := cloneIOV(bad)
						bad[0].Data[2] = flags
						try(fmt.Sprintf("%s %d (%d), flags %d", k, n, more, flags), bad)
					}
				}
			}
		}
	}
}

// Whatever parts there are, of any length and content: an error, and no crash.
func TestIOVJunk(t *testing.T) {
	junkRealm(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		pairs := junkPairs(t)
		types := []IOVType{IOVEmpty, IOVData, IOVData, IOVHeader, IOVHeader, IOVMechParams, IOVTrailer, IOVPadding, IOVStream, IOVSignOnly, IOVMICToken, 4, 5, 6, 8, 13, 0x10001, 0x20002}
		lengths := []int{0, 0, 1, 2, 8, 15, 16, 17, 28, 32, 44, 45, 60, 76, 100}
		starts := []string{
			"", "\x05\x04\x02\xff\x00\x00\x00\x00", "\x05\x04\x00\xff\x00\x0c\x00\x00", "\x05\x04\x03\xff\x00\x10\x00\x1c", "\x05\x04\x07\xff\xff\xff\xff\xff",
			"\x04\x04\x00\xff\xff\xff\xff\xff", "\x04\x04\x04\xff\xff\xff\xff\xff", "\x60\x2b\x06\x09" + string(MechKrb5) + "\x02\x01\x11\x00\x10\x00\xff\xff",
			"\x60\x2b\x06\x09" + string(MechKrb5) + "\x01\x01\x11\x00\xff\xff\xff\xff", "\x02\x01\x11\x00\x10\x00\xff\xff", "\x60\x82\xff\xff\x06\x09", "\x60\x84\xff\xff\xff\xff\x06",
		}
		times := 6000
		if raceBuild || asanBuild {
			times = 1000
		}
		for n := range times {
			for _, name := range []string{"krb5", "SPNEGO", "DCE"} {
				c := pairs[name][n%2]
				a := newArena(2500)
				var iov []IOVBuffer
				for k := range random.IntN(10) {
					typ := types[random.IntN(len(types))]
					if k == 0 && n%3 != 0 {
						typ = []IOVType{IOVHeader, IOVStream, IOVMICToken}[n/3%3]
					}
					b := a.part(lengths[random.IntN(len(lengths))])
					for i := range b {
						b[i] = byte(random.Uint32())
					}
					s := starts[random.IntN(len(starts))]
					if copy(b, s) > 1 && b[0] == 0x60 && random.IntN(2) == 0 {
						b[1] = byte(len(b) - 2) // as long as it says
					}
					iov = append(iov, IOVBuffer{Type: typ, Data: b})
				}
				before := cloneIOV(iov)
				what, err := "", error(nil)
				switch random.IntN(6) {
				case 0:
					what = "WrapIOV"
					c.WrapIOV(iov, Protection(random.IntN(2)))
				case 1:
					what = "WrapIOVLength"
					c.WrapIOVLength(iov, Protection(random.IntN(2)))
				case 2:
					what = "MICIOV"
					c.MICIOV(iov)
				case 3:
					what = "VerifyMICIOV"
					err = c.VerifyMICIOV(iov)
				default:
					what = "UnwrapIOV"
					_, err = c.UnwrapIOV(iov)
				}
				if err == nil && (what == "UnwrapIOV" || what == "VerifyMICIOV") {
					t.Errorf("%d: %s took junk: %x", n, what, before)
				}
				if at := a.damaged(); at >= 0 {
					t.Errorf("%d: %s wrote behind byte %d, which is in no part", n, what, at)
				}
				for k := range iov {
					if iov[k].Type == IOVSignOnly && !bytes.Equal(iov[k].Data, before[k].Data) {
						t.Errorf("%d: %s changed part %d, which is sign-only", n, what, k)
					}
				}
			}
		}
		for name, ends := range pairs {
			_, iov, err := ends[0].LayoutIOV(nil, []byte("it still works"), Private)
			if err == nil {
				err = ends[0].WrapIOV(iov, Private)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ends[1].UnwrapIOV(iov); err != nil && (name != "DCE" || iov[0].Data[0] != 0x60) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
