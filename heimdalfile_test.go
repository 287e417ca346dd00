package gss

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keytabOf is a keytab of that version with two keys, and a hole between them.
func keytabOf(version byte) []byte {
	var order binary.AppendByteOrder = binary.BigEndian
	if version == 1 {
		order = binary.NativeEndian
	}
	counted := func(b []byte, s string) []byte {
		return append(order.AppendUint16(b, uint16(len(s))), s...)
	}
	components := uint16(2)
	if version == 1 {
		components++
	}
	e := order.AppendUint16(nil, components)
	e = counted(counted(counted(e, "TEST.GSS"), "host"), "server.test")
	if version != 1 {
		e = order.AppendUint32(e, 1) // the type of the name
	}
	e = order.AppendUint32(e, 1234567890) // time
	e = append(e, 3)                      // version
	e = counted(order.AppendUint16(e, 18), "the key")
	entry := append(order.AppendUint32(nil, uint32(len(e))), e...)
	b := append([]byte{5, version}, entry...)
	b = append(order.AppendUint32(b, 1<<32-10), make([]byte, 10)...)
	return append(b, entry...)
}

func TestKeytabKeys(t *testing.T) {
	for _, version := range []byte{1, 2} {
		b := keytabOf(version)
		if keys, sound := keytabKeys(b); keys != 2 || !sound {
			t.Errorf("version %d: %d keys, sound: %v", version, keys, sound)
		}
		first := (len(b) - 2 - 14) / 2 // its length
		for n := range b {
			keys, sound := keytabKeys(b[:n])
			var want bool
			switch at := n - 2; {
			case at < 4: // nothing of the first entry
				want = true
			case at < first:
			case at < first+14+4: // the hole
				want = true
			}
			if sound != want || keys > 1 {
				t.Errorf("version %d, %d of %d bytes: %d keys, sound: %v", version, n, len(b), keys, sound)
			}
		}
	}
	for _, b := range []string{"", "\x05", "junk", "\x05\x02", "\x05\x02\x00"} {
		if keys, sound := keytabKeys([]byte(b)); keys != 0 || !sound {
			t.Errorf("%q: %d keys, sound: %v", b, keys, sound)
		}
	}
	for _, b := range []string{"\x05\x04\x00\x0c", "\x05\x02\x00\x00\x00\x02", "\x05\x02\x00\x00\x00\x02\xff\xff", "\x05\x02\x00\x00\x00\x02\x00\x00\xff\xfe"} {
		if _, sound := keytabKeys([]byte(b)); sound {
			t.Errorf("%q is sound", b)
		}
	}
}

func FuzzKeytabKeys(f *testing.F) {
	for _, version := range []byte{0, 1, 2, 3} {
		f.Add(keytabOf(version))
	}
	f.Add([]byte("\x05\x02\x80\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, sound := keytabKeys(b)
		if keys < 0 || keys > len(b)/4 || keys > 0 && len(b) < 2+4+2 {
			t.Errorf("%d keys in %d bytes, sound: %v", keys, len(b), sound)
		}
	})
}

// A keytab that is cut anywhere, or a ccache in its place, is an error or the
// beginning of a keytab, and so is a ccache; neither ends the process.
func TestCutFiles(t *testing.T) {
	needKrb5(t)
	if !inChild(t, "ASAN_OPTIONS=detect_leaks=0") { // MIT 1.20 loses the entry that it was cut in
		return
	}
	keys, err := os.ReadFile(strings.TrimPrefix(os.Getenv("KRB5_KTNAME"), "FILE:"))
	check(t, err)
	tickets, err := os.ReadFile(strings.TrimPrefix(os.Getenv("KRB5CCNAME"), "FILE:"))
	check(t, err)
	x := NewCtx()
	s, err := x.Init(&InitArgs{Target: server(t), Mech: MechKrb5, Flags: allFlags})
	check(t, err)
	token := s.Token.Bytes()
	s.Token.Release()
	x.Delete()
	dir := t.TempDir()
	cases := [][]byte{nil, tickets, []byte("no keytab"), {5, 0, 0, 0}, {5, 0xff, 0, 0}, {5, 2, 0, 0, 0, 60, 0x7f, 0xff}}
	for n := range min(len(keys), 150) {
		cases = append(cases, keys[:n])
	}
	for n, b := range cases {
		name := filepath.Join(dir, fmt.Sprint(n))
		check(t, os.WriteFile(name, b, 0o600))
		for _, name := range []string{name, "FILE:" + name} {
			if c, err := ImportKrb5Cred(name, "", ""); err == nil {
				if string(b) != string(tickets) {
					t.Errorf("%q is a ccache", b)
				}
				c.Release()
			}
			WithCCacheName(name, func() error {
				if r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate); err == nil {
					r.Cred.Release()
				}
				return nil
			})
			if RegisterAcceptorIdentity(name) == nil {
				check(t, RegisterAcceptorIdentity(""))
			}
			c, err := ImportKrb5Cred("", "", name)
			if err != nil {
				is(t, err, ErrNoCred)
				continue
			}
			x := NewCtx()
			s, err := x.Accept(&AcceptArgs{Cred: c, Token: token})
			if err == nil && n > 5 && len(b) < 60 {
				t.Errorf("accepted with %q", b)
			}
			if s != nil {
				s.Token.Release()
				s.Source.Release()
			}
			x.Delete()
			c.Release()
		}
	}
	for _, name := range []string{"FILE:/nowhere/keytab", "/nowhere/keytab", "FILE:" + dir} {
		_, err := ImportKrb5Cred("", "", name)
		is(t, err, ErrNoCred)
	}
}
