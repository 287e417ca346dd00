package gss

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

var oidExamples = []struct {
	oid    OID
	dotted string
}{
	{MechKrb5, "1.2.840.113554.1.2.2"},
	{MechSPNEGO, "1.3.6.1.5.5.2"},
	{MechIAKERB, "1.3.6.1.5.2.5"},
	{MechNTLM, "1.3.6.1.4.1.311.2.2.10"},
	{NTHostBasedService, "1.2.840.113554.1.2.1.4"},
	{NTUserName, "1.2.840.113554.1.2.1.1"},
	{NTMachineUID, "1.2.840.113554.1.2.1.2"},
	{NTStringUID, "1.2.840.113554.1.2.1.3"},
	{NTAnonymous, "1.3.6.1.5.6.3"},
	{NTExportName, "1.3.6.1.5.6.4"},
	{NTCompositeExport, "1.3.6.1.5.6.6"},
	{NTKrb5PrincipalName, "1.2.840.113554.1.2.2.1"},
	{NTKrb5EnterpriseName, "1.2.840.113554.1.2.2.6"},
	{"\x81\x34\x03", "2.100.3"}, // X.690, 8.19.5
	{"\x00", "0.0"},
	{"\x27", "0.39"},
	{"\x28", "1.0"},
	{"\x4f", "1.39"},
	{"\x50", "2.0"},
	{"\x88\x37", "2.999"},
	{"\x2a\x00\x7f\x81\x00", "1.2.0.127.128"},
	{"\x69\x82\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "2.25.27670116110564327423"}, // more than 64 bits
}

func TestOIDExamples(t *testing.T) {
	for _, tt := range oidExamples {
		if got := tt.oid.String(); got != tt.dotted {
			t.Errorf("%x is %s, want %s", string(tt.oid), got, tt.dotted)
		}
		if got, err := ParseOID(tt.dotted); err != nil || got != tt.oid {
			t.Errorf("%s is %x, %v, want %x", tt.dotted, string(got), err, string(tt.oid))
		}
	}
}

func TestParseOIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", ".", "1", "none", "1.", ".1", "1..2", "1.2.", " 1.2", "1.2 ", "1.2\n", "1,2", "1.2.x", "1.-2", "+1.2", "1.+2", "0x1.2", "1_0.2",
		"3.1", "0.40", "1.40", "01.2", "1.02", "1.2.00", "1.2.٣", "1.2\x00", "{1 2 840}",
		"1.2." + strings.Repeat("9", 65), "1.2" + strings.Repeat(".1", 300), "1.2." + strings.Repeat("9", 1<<20), "1" + strings.Repeat(".", 1<<20),
	} {
		if got, err := ParseOID(s); err == nil || got != "" {
			t.Errorf("%q is taken for %v", clip(s), got)
		} else if len(err.Error()) > 300 {
			t.Errorf("%q: an error of %d bytes", clip(s), len(err.Error()))
		}
	}
	if got, err := ParseOID("1.2." + strings.Repeat("9", 64)); err != nil || got.String() != "1.2."+strings.Repeat("9", 64) {
		t.Errorf("a number of 64 digits: %v, %v", got, err)
	}
}

func TestOIDStringOfJunk(t *testing.T) {
	for oid, want := range map[OID]string{
		"":                 "none",
		"\x80":             "80?",
		"\x80\x01":         "8001?",
		"\x2a\x80\x01":     "2a8001?", // X.690, 8.19.2: the leading octet of a number is not 0x80
		"\x2a\x86":         "2a86?",
		"\xff":             "ff?",
		OID("hello\x80"):   "68656c6c6f80?",
		"\x2a\x86\x48\xff": "2a8648ff?",
	} {
		if got := oid.String(); got != want {
			t.Errorf("%x is %q, want %q", string(oid), got, want)
		}
	}
}

func TestOIDLogValue(t *testing.T) {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "mech", MechKrb5)
	if !strings.Contains(b.String(), "mech=1.2.840.113554.1.2.2\n") {
		t.Error(b.String())
	}
}

func FuzzParseOID(f *testing.F) {
	for _, tt := range oidExamples {
		f.Add(tt.dotted)
	}
	f.Add("1.2.x")
	f.Add("1..2")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOID(s)
		if err != nil {
			if o != "" {
				t.Fatalf("%q: %v and an error", s, o)
			}
			return
		}
		if got := o.String(); got != s || len(o) > maxOID {
			t.Fatalf("%q became %x, which is %q", s, string(o), got)
		}
	})
}

func FuzzOIDString(f *testing.F) {
	for _, tt := range oidExamples {
		f.Add([]byte(tt.oid))
	}
	f.Add([]byte("\x80\x01"))
	f.Add([]byte("\x2a\x86"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := OID(b)
		s := o.String()
		back, err := ParseOID(s)
		switch {
		case len(b) == 0 || strings.HasSuffix(s, "?"):
			if err == nil {
				t.Fatalf("%x is called %q, which parses as %x", b, s, string(back))
			}
		case err == nil:
			if back != o {
				t.Fatalf("%x is %q, which is %x", b, s, string(back))
			}
		case len(b) <= maxOID && !slices.ContainsFunc(strings.Split(s, "."), func(n string) bool { return len(n) > 64 }):
			t.Fatalf("%x is %q, which does not parse: %v", b, s, err)
		}
	})
}

// The numbers go through math/big in both directions; this is the definition.
func TestBase128(t *testing.T) {
	for shift := range 300 {
		n := new(big.Int).Lsh(big.NewInt(5), uint(shift))
		var want []byte
		for rest := new(big.Int).Set(n); ; {
			want = append([]byte{byte(rest.Uint64()&0x7f) | 0x80}, want...)
			if rest.Rsh(rest, 7).Sign() == 0 {
				break
			}
		}
		want[len(want)-1] &= 0x7f
		if got := appendBase128(nil, n); !bytes.Equal(got, want) {
			t.Fatalf("%v: %x, want %x", n, got, want)
		}
	}
}

// C gets one pointer for one OID, for ever: GNU gss keeps it.
func TestInternedOIDs(t *testing.T) {
	needLibrary(t) // no C without cgo
	const n = 64
	oid := func(i int) OID { return OID(fmt.Sprintf("\x2a\x03interned%c", 'A'+i)) }
	var got [n][16]unsafe.Pointer
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			for i := range got[g] {
				p, err := cOID("test", oid(i))
				if err != nil {
					t.Error(err)
				}
				got[g][i] = p
			}
		})
	}
	wg.Wait()
	for g := range n {
		if got[g] != got[0] {
			t.Fatalf("goroutine %d got %v, the first %v", g, got[g], got[0])
		}
	}
	seen := map[unsafe.Pointer]bool{}
	for _, p := range got[0] {
		if p == nil || seen[p] {
			t.Fatalf("%v twice or nil", p)
		}
		seen[p] = true
	}
	// What C reads there.
	var oids []OID
	for i := range got[0] {
		oids = append(oids, oid(i))
	}
	set, err := oidSet(oids)
	check(t, err)
	if back := takeOIDSet(set); !slices.Equal(back, oids) {
		t.Errorf("C has %v, want %v", back, oids)
	}
}

func TestOIDsThatDoNotGoToC(t *testing.T) {
	needLibrary(t)
	if p, err := cOID("test", ""); p != nil || err != nil {
		t.Errorf("the empty OID is %v, %v", p, err)
	}
	long := OID(strings.Repeat("\x01", maxOID+1))
	_, err := cOID("op", long)
	is(t, err, ErrFailure)
	mention(t, err, "op: ", "257 bytes")
	if _, ok := interned.Load(long); ok {
		t.Error("it was interned")
	}
	if p, err := cOID("op", long[1:]); p == nil || err != nil {
		t.Errorf("an OID of %d bytes: %v", maxOID, err)
	}
	// In every call that takes one.
	n := nameOf(t, "host@server.test", NTHostBasedService)
	for name, call := range map[string]func() error{
		"ImportName":            func() error { _, err := ImportName([]byte("x"), long); return err },
		"Canonicalize":          func() error { _, err := n.Canonicalize(long); return err },
		"AcquireCred":           func() error { _, err := AcquireCred(n, 0, []OID{long}, UsageAccept); return err },
		"Add":                   func() error { _, err := (*Cred)(nil).Add(nil, long, UsageAccept, 0, 0); return err },
		"InquireByMech":         func() error { _, err := (*Cred)(nil).InquireByMech(long); return err },
		"Init":                  func() error { _, err := NewCtx().Init(&InitArgs{Target: n, Mech: long}); return err },
		"InquireNamesForMech":   func() error { _, err := InquireNamesForMech(long); return err },
		"TestOIDSetMember":      func() error { _, err := TestOIDSetMember(long, nil); return err },
		"TestOIDSetMember, set": func() error { _, err := TestOIDSetMember(MechKrb5, []OID{long}); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s: no error", name)
		} else if !gnu() { // of which the package asks first whether it has the mechanism
			mention(t, err, "257 bytes")
		}
	}
	if _, err := AcquireCred(n, 0, []OID{MechKrb5, ""}, UsageAccept); err == nil {
		t.Error("an empty OID in a set is taken")
	} else {
		is(t, err, ErrBadMech)
	}
}

func TestMechanisms(t *testing.T) {
	needLibrary(t)
	mechs, err := IndicateMechs()
	check(t, err)
	if !slices.Contains(mechs, MechKrb5) {
		t.Errorf("no Kerberos among %v", mechs)
	}
	for _, o := range mechs {
		if o == "" || strings.HasSuffix(o.String(), "?") {
			t.Errorf("%v is no mechanism", o)
		}
	}
	types, err := InquireNamesForMech(MechKrb5)
	check(t, err)
	if !slices.Contains(types, NTHostBasedService) {
		t.Errorf("Kerberos does not take host based services: %v", types)
	}
	_, err = InquireNamesForMech("\x2a\x03\x04")
	if err == nil && kind() != KindGNU { // 1.0.4 answers COMPLETE
		t.Error("an unknown mechanism has name types")
	}
}

// A mechanism that the library does not have is an error everywhere, not a crash:
// Heimdal 7.8 is not careful in all of its functions.
func TestUnknownMechanism(t *testing.T) {
	needLibrary(t)
	target := nameOf(t, "host@server.test", NTHostBasedService)
	for _, mech := range []OID{"\x2a\x03\x04", MechIAKERB + "\x01"} {
		for name, call := range map[string]func() error{
			"Canonicalize":  func() error { _, err := target.Canonicalize(mech); return err },
			"AcquireCred":   func() error { _, err := AcquireCred(nil, 0, []OID{mech}, UsageAccept); return err },
			"Initiator":     func() error { _, err := AcquireCred(nil, 0, []OID{mech}, UsageInitiate); return err },
			"Add":           func() error { _, err := (*Cred)(nil).Add(nil, mech, UsageAccept, 0, 0); return err },
			"InquireByMech": func() error { _, err := (*Cred)(nil).InquireByMech(mech); return err },
			"Init":          func() error { _, err := NewCtx().Init(&InitArgs{Target: target, Mech: mech}); return err },
		} {
			if err := call(); err == nil && (name != "Canonicalize" || kind() != KindGNU) { // 1.0.4 copies the name
				t.Errorf("%s takes %v", name, mech)
			}
		}
	}
}

func TestOIDSetMembership(t *testing.T) {
	needLibrary(t)
	set := []OID{MechSPNEGO, MechKrb5}
	for oid, want := range map[OID]bool{MechKrb5: true, MechSPNEGO: true, MechNTLM: false} {
		if got, err := TestOIDSetMember(oid, set); err != nil || got != want {
			t.Errorf("%v: %v, %v", oid, got, err)
		}
	}
	if got, err := TestOIDSetMember(MechKrb5, nil); got || err != nil {
		t.Errorf("a member of the empty set: %v, %v", got, err)
	}
	if got, err := TestOIDSetMember("", set); got || err != nil {
		t.Errorf("the empty OID: %v, %v", got, err)
	}
}
