package gss

import (
	"encoding/binary"
	"slices"
	"testing"
)

// exported makes an exported name: RFC 2743, 3.2; composite ones RFC 6680, 8.
func exported(kind byte, mech OID, name string, attributes ...string) []byte {
	b := []byte{4, kind, 0, byte(len(mech) + 2), 6, byte(len(mech))}
	b = append(b, mech...)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(name))), name...)
	for _, a := range attributes {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a))), a...)
	}
	return b
}

func TestParseExported(t *testing.T) {
	for _, b := range [][]byte{
		exported(1, MechKrb5, "alice@TEST.GSS"),
		exported(1, MechSPNEGO, ""),
		exported(2, MechKrb5, "alice@TEST.GSS"),
		exported(2, MechKrb5, "alice@TEST.GSS", "\x00\x00"),
	} {
		if e, ok := parseExported(b); !ok || e.mech != MechKrb5 && e.mech != MechSPNEGO {
			t.Errorf("%q: %+v, %v", b, e, ok)
		}
		for n := range b {
			e, ok := parseExported(b[:n])
			if ok && !(b[1] == 2 && string(e.name) == "alice@TEST.GSS") { // less its attributes a composite name is one too
				t.Errorf("%q, cut from %d bytes: taken", b[:n], len(b))
			}
		}
		if b[1] == 1 {
			if _, ok := parseExported(append(slices.Clone(b), 0)); ok {
				t.Errorf("%q and a byte more: taken", b)
			}
		}
	}
}

// What is no exported name, or a uid in another form, does not reach C: MIT 1.20
// aborts on some, reads beyond others, and takes yet others for root.
func TestImportNameForms(t *testing.T) {
	needLibrary(t)
	good := exported(1, MechKrb5, "alice@TEST.GSS")
	long := slices.Clone(good)
	long[len(long)-15]++ // the length of the name
	for what, c := range map[string]struct {
		name string
		typ  OID
	}{
		"junk":                             {"junk", NTExportName},
		"an empty exported name":           {"", NTExportName},
		"a byte more":                      {string(good) + "x", NTExportName},
		"a byte more, composite":           {string(exported(2, MechKrb5, "alice")) + "x", NTCompositeExport},
		"a byte less":                      {string(good[:len(good)-1]), NTExportName},
		"a length too long":                {string(long), NTExportName},
		"a NUL in the name":                {string(exported(1, MechKrb5, "alice@TEST.GSS\x00evil")), NTExportName},
		"a NUL in the name, composite":     {string(exported(2, MechKrb5, "alice@TEST.GSS\x00evil")), NTCompositeExport},
		"a uid of one byte":                {"\x00", NTMachineUID},
		"a uid of five bytes":              {"\x00\x00\x00\x00\x00", NTMachineUID},
		"an empty uid":                     {"", NTStringUID},
		"a uid with a sign":                {"+0", NTStringUID},
		"a uid with a space":               {" 0", NTStringUID},
		"a uid with letters":               {"0abc", NTStringUID},
		"a uid that is 0 in 32 bits":       {"4294967296", NTStringUID},
		"the uid that is no uid":           {"4294967295", NTStringUID},
		"a uid that is 0 in 64 bits":       {"18446744073709551616", NTStringUID},
		"a uid of very many digits, all 9": {"99999999999999999999999999999999999999", NTStringUID},
	} {
		_, err := ImportName([]byte(c.name), c.typ)
		is(t, err, ErrBadName)
		if t.Failed() {
			t.Fatalf("%s", what)
		}
	}
	n, err := ImportName(good, NTExportName)
	if err != nil {
		t.Fatal(err)
	}
	buf, _, err := n.Display()
	if err != nil || string(buf.Bytes()) != "alice@TEST.GSS" {
		t.Errorf("%q, %v", buf.Bytes(), err)
	}
}

// FuzzParseExported: no panic, and what is taken is what its parts make.
func FuzzParseExported(f *testing.F) {
	f.Add(exported(1, MechKrb5, "alice@TEST.GSS"))
	f.Add(exported(2, MechKrb5, "alice@TEST.GSS", "\x00\x00"))
	f.Add([]byte("\x04\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseExported(b)
		if !ok {
			return
		}
		if again := exported(b[1], e.mech, string(e.name)); string(b[:min(len(b), len(again))]) != string(again) {
			t.Errorf("%q is %+v, which is %q", b, e, again)
		}
	})
}
