package gss

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// peerOf is alice as an acceptor is told of her, with a context of mech.
func peerOf(t *testing.T, mech OID) *Name {
	t.Helper()
	needKrb5(t)
	_, a := establish(t, mech, allFlags)
	info, err := a.Inquire()
	check(t, err)
	info.Target.Release()
	t.Cleanup(info.Source.Release)
	return info.Source
}

// mechName is a mechanism name of Kerberos.
func mechName(t *testing.T, principal string) *Name {
	t.Helper()
	n, err := nameOf(t, principal, NTKrb5PrincipalName).Canonicalize(MechKrb5)
	check(t, err)
	t.Cleanup(n.Release)
	return n
}

// needAttributes skips a test where names have no attributes; TestNoAttributes has
// those libraries.
func needAttributes(t *testing.T) {
	t.Helper()
	if k := needLibrary(t).Kind; k != KindMIT && !laterHeimdal() {
		skip(t, "the mechanisms of "+string(k)+" have no attributes of names")
	}
}

// onlyMIT skips a test of what MIT alone does with them.
func onlyMIT(t *testing.T) {
	t.Helper()
	needAttributes(t)
	if k := needLibrary(t).Kind; k != KindMIT {
		skip(t, string(k)+" shows names as one type only, and has no attributes that can be set")
	}
}

func TestDisplayExt(t *testing.T) {
	onlyMIT(t)
	for _, c := range []struct {
		n    *Name
		typ  OID
		want string // empty: ErrUnavailable
	}{
		{nameOf(t, "alice", NTUserName), NTUserName, "alice"},
		{nameOf(t, "alice", NTUserName), NTKrb5PrincipalName, ""},
		{nameOf(t, "host@server.test", NTHostBasedService), NTHostBasedService, "host@server.test"},
		{nameOf(t, "host@server.test", NTHostBasedService), NTUserName, ""},
		{mechName(t, "alice@TEST.GSS"), NTKrb5PrincipalName, "alice@TEST.GSS"},
		{mechName(t, "alice@TEST.GSS"), NTUserName, ""},
	} {
		b, err := c.n.DisplayExt(c.typ)
		if c.want == "" {
			is(t, err, ErrUnavailable)
			mention(t, err, c.typ.String())
			continue
		}
		if err != nil || string(b.Bytes()) != c.want {
			t.Errorf("as %v: %q, %v, want %q", c.typ, b.Bytes(), err, c.want)
		}
		b.Release()
	}
	_, err := nameOf(t, "alice", NTUserName).DisplayExt("")
	is(t, err, ErrBadNameType)
}

// The ticket of MIT's KDC has a PAC, and so the peer's name has its parts.
func TestPeerAttributes(t *testing.T) {
	needAttributes(t)
	for what, mech := range map[string]OID{"krb5": MechKrb5, "SPNEGO": MechSPNEGO} {
		t.Run(what, func(t *testing.T) {
			peer := peerOf(t, mech)
			info, err := peer.Inquire()
			check(t, err)
			if heimdal() {
				mech = MechKrb5 // SPNEGO has no names of its own there
			}
			if !info.MechName || info.Mech != mech || !slices.Contains(info.Attributes, "urn:mspac:") || !slices.Contains(info.Attributes, "urn:mspac:client-info") {
				t.Fatalf("the peer is %+v", info)
			}
			whole, err := peer.GetAttribute("urn:mspac:", -1)
			check(t, err)
			defer whole.Release()
			client, err := peer.GetAttribute("urn:mspac:client-info", -1)
			check(t, err)
			defer client.Release()
			for _, v := range []*Attribute{whole, client} {
				if !v.Authenticated || !v.Complete || v.More != 0 {
					t.Errorf("a value of a PAC: %+v", v)
				}
			}
			// MS-PAC, 2.7: a time, the length of the name, and the name in UTF-16.
			if b := client.Value.Bytes(); len(b) != 20 || binary.LittleEndian.Uint16(b[8:]) != 10 || string(b[10:]) != "a\x00l\x00i\x00c\x00e\x00" {
				t.Errorf("the client is %q", b)
			}
			if !bytes.Contains(whole.Value.Bytes(), client.Value.Bytes()) {
				t.Error("the whole PAC does not have it")
			}
			for _, attr := range []string{"none", "urn:mspac", "urn:mspac:99", "urn:mspac:client-info ", "urn:mspac:1x"} {
				_, err := peer.GetAttribute(attr, -1)
				is(t, err, ErrUnavailable)
				mention(t, err, attr)
			}
			// Whose length ends in the middle of "urn:mspac:10", the number of client-info.
			_, err = peer.GetAttribute("urn:mspac:10"[:11], -1)
			is(t, err, ErrUnavailable)
			if _, err = peer.GetAttribute("urn:mspac:", 1); !heimdal() { // it does not look at the number
				is(t, err, ErrUnavailable)
			}
		})
	}
}

// A name that is changed is another one. What was added to a PAC makes that count
// as not proven, and so its parts are not told any more.
func TestSetAttribute(t *testing.T) {
	onlyMIT(t)
	peer := peerOf(t, MechKrb5)
	before, err := peer.Inquire()
	check(t, err)
	changed, err := peer.SetAttribute(true, "urn:mspac:77", []byte("value"))
	check(t, err)
	defer changed.Release()
	info, err := changed.Inquire()
	check(t, err)
	if !slices.Contains(info.Attributes, "urn:mspac:77") || len(info.Attributes) != len(before.Attributes)+1 {
		t.Errorf("it has %q", info.Attributes)
	}
	for _, attr := range []string{"urn:mspac:77", "urn:mspac:client-info", "urn:mspac:"} {
		_, err := changed.GetAttribute(attr, -1)
		is(t, err, ErrUnavailable)
	}
	after, err := peer.Inquire()
	check(t, err)
	if !slices.Equal(before.Attributes, after.Attributes) {
		t.Errorf("the name itself had %q and has %q", before.Attributes, after.Attributes)
	}
	v, err := peer.GetAttribute("urn:mspac:client-info", -1)
	check(t, err)
	v.Release()
	if same, err := changed.Compare(peer); err != nil || !same {
		t.Errorf("the changed name is another principal's: %v", err)
	}
	for _, attr := range []string{"none", "auth-indicators"} {
		_, err := peer.SetAttribute(true, attr, []byte("value"))
		is(t, err, ErrUnavailable)
		mention(t, err, attr)
	}
	_, err = peer.SetAttribute(true, "urn:mspac:", []byte("no PAC"))
	if err == nil {
		t.Error("a PAC that is none was taken")
	}
	_, err = mechName(t, "alice@TEST.GSS").SetAttribute(true, "urn:mspac:77", []byte("value"))
	is(t, err, ErrUnavailable)
	for _, attr := range []string{"urn:mspac:", "none"} { // none of MIT's own can be deleted
		_, err := peer.DeleteAttribute(attr)
		is(t, err, ErrUnavailable)
		mention(t, err, attr)
	}
}

func TestExportComposite(t *testing.T) {
	needAttributes(t)
	for what, mech := range map[string]OID{"krb5": MechKrb5, "SPNEGO": MechSPNEGO} {
		t.Run(what, func(t *testing.T) {
			peer := peerOf(t, mech)
			buf, err := peer.ExportComposite()
			check(t, err)
			defer buf.Release()
			b := buf.Bytes()
			e, ok := parseExported(b)
			if !ok || !e.composite || e.mech != MechKrb5 || !soundAttributes(e.attrs) || !bytes.Contains(e.name, []byte("alice")) {
				t.Fatalf("it is %q", b)
			}
			if kind() == KindMIT && string(e.name) != "alice@TEST.GSS" {
				t.Errorf("the name is %q", e.name)
			}
			back, err := ImportName(b, NTCompositeExport)
			check(t, err)
			defer back.Release()
			one, err := peer.GetAttribute("urn:mspac:", -1)
			check(t, err)
			defer one.Release()
			two, err := back.GetAttribute("urn:mspac:", -1)
			check(t, err)
			defer two.Release()
			if !bytes.Equal(one.Value.Bytes(), two.Value.Bytes()) || !two.Authenticated {
				t.Errorf("it comes back as %+v", two)
			}
			if same, err := back.Compare(mechName(t, "alice@TEST.GSS")); err != nil || !same {
				t.Errorf("it comes back as somebody else: %v", err)
			}
			_, err = ImportName(b, NTExportName)
			is(t, err, ErrBadName)
			mention(t, err, "NTCompositeExport")
		})
	}
	if _, err := nameOf(t, "alice", NTUserName).ExportComposite(); !heimdal() { // whose imported names are Kerberos' already
		is(t, err, ErrUnavailable)
	}
}

// MIT 1.20 reads beyond attributes whose lengths do not add up.
func TestSoundAttributes(t *testing.T) {
	u32 := binary.BigEndian.AppendUint32
	counted := func(b []byte, s string) []byte { return append(u32(b, uint32(len(s))), s...) }
	pac := u32(counted(counted(nil, "mspac"), "the PAC"), 1)
	indicators := counted(counted(u32(counted(nil, "authentication-indicators"), 2), "one"), "two")
	for what, b := range map[string][]byte{
		"nothing":    nil,
		"no module":  u32(nil, 0),
		"a PAC":      append(u32(nil, 1), pac...),
		"indicators": append(u32(nil, 1), indicators...),
		"both":       slices.Concat(u32(nil, 2), pac, indicators),
		"no PAC":     append(u32(nil, 1), u32(u32(counted(nil, "mspac"), 0), 0)...),
	} {
		if !soundAttributes(b) {
			t.Errorf("%s is refused", what)
		}
		for n := 1; n < len(b); n++ {
			if soundAttributes(b[:n]) {
				t.Errorf("%s is taken, cut from %d bytes to %d", what, len(b), n)
			}
		}
		if len(b) > 0 && soundAttributes(append(slices.Clone(b), 0)) {
			t.Errorf("%s is taken with a byte more", what)
		}
	}
	for what, b := range map[string][]byte{
		"a PAC longer than the name": append(u32(nil, 1), u32(append(u32(counted(nil, "mspac"), 1<<31), "PAC"...), 1)...),
		"many indicators":            append(u32(nil, 1), u32(counted(nil, "authentication-indicators"), 1<<32-1)...),
		"many modules":               append(u32(nil, 1<<32-1), pac...),
		"a long module":              u32(u32(nil, 1), 1<<32-1),
	} {
		if soundAttributes(b) {
			t.Errorf("%s: taken", what)
		}
	}
}

func FuzzSoundAttributes(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02\x00\x00\x00\x05mspac\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x19authentication-indicators\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x05mspac\x00\x00\x00\x03PAC\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if soundAttributes(b) && len(b) > 0 && len(b) < 4 {
			t.Fatalf("%x is sound", b)
		}
	})
}

// Names of any kind, whole or changed, in every call for attributes: what comes
// back may be an error, and the process lives.
func TestAttributeJunk(t *testing.T) {
	needLibrary(t)
	if !inChild(t) {
		return
	}
	// Each call of MIT's reads krb5.conf: not all of it is for each of the many names.
	use := func(n *Name, all bool) {
		attrs := []string{"a", AttrLocalLoginUser, "urn:mspac:", "urn:mspac:1", "urn:mspac:4294967295", "urn:mspac:99999999999999999999", "auth-indicators", "\xff", strings.Repeat("x", maxText)}
		tries := []int32{-1, 0, -2, -1 << 31}
		if !all {
			attrs, tries = attrs[:0], tries[:1]
		}
		if info, err := n.Inquire(); err == nil {
			attrs = append(attrs, info.Attributes...)
		}
		for _, attr := range attrs {
			for _, more := range tries {
				if v, err := n.GetAttribute(attr, more); err == nil {
					v.Release()
				}
			}
			if !all {
				continue
			}
			if c, err := n.SetAttribute(true, attr, nil); err == nil {
				c.Release()
			}
			if c, err := n.DeleteAttribute(attr); err == nil {
				c.Release()
			}
		}
		for _, oid := range []OID{NTUserName, "\x80", MechKrb5} {
			if b, err := n.DisplayExt(oid); err == nil {
				b.Release()
			}
		}
		if b, err := n.ExportComposite(); err == nil {
			b.Release()
		}
	}
	names := []*Name{nameOf(t, "host@server.test", NTHostBasedService), nameOf(t, "alice@TEST.GSS", NTKrb5PrincipalName), new(Name), nil}
	if n, err := ImportName([]byte("alice"), NTUserName); err == nil {
		names = append(names, n)
	}
	if kind() != KindGNU {
		names = append(names, mechName(t, "alice@TEST.GSS"))
	}
	if n, err := ImportName(nil, NTAnonymous); err == nil {
		names = append(names, n)
	}
	composite := exported(2, MechKrb5, "alice@TEST.GSS", "")
	if kind() != KindGNU {
		peer := peerOf(t, MechKrb5)
		names = append(names, peer, peerOf(t, MechSPNEGO))
		if b, err := peer.ExportComposite(); err == nil {
			composite = b.Bytes()
			b.Release()
		}
	}
	for _, n := range names {
		use(n, true)
	}
	for i := range composite {
		for _, mask := range []byte{1, 0x80, 0xff} {
			b := slices.Clone(composite)
			b[i] ^= mask
			if n, err := ImportName(b, NTCompositeExport); err == nil {
				use(n, false)
				n.Release()
			}
		}
		if n, err := ImportName(slices.Clone(composite[:i]), NTCompositeExport); err == nil {
			use(n, false)
			n.Release()
		}
	}
}

// What cannot have attributes answers ErrUnavailable, on every library.
func TestNoAttributes(t *testing.T) {
	needLibrary(t)
	if laterHeimdal() {
		// There each name has some of its own making, which nobody has proven.
		n := nameOf(t, "alice@TEST.GSS", NTKrb5PrincipalName)
		v, err := n.GetAttribute("urn:ietf:kerberos:nameattr-realm", -1)
		check(t, err)
		defer v.Release()
		if v.Authenticated || string(v.Value.Bytes()) != "TEST.GSS" {
			t.Errorf("%q, %+v", v.Value.Bytes(), v)
		}
		_, err = n.GetAttribute("urn:mspac:", -1)
		is(t, err, ErrUnavailable)
		return
	}
	for what, n := range map[string]*Name{"service": nameOf(t, "host@server.test", NTHostBasedService), "principal": nameOf(t, "alice@TEST.GSS", NTKrb5PrincipalName)} {
		_, err := n.GetAttribute("urn:mspac:", -1)
		is(t, err, ErrUnavailable)
		_, err = n.SetAttribute(true, "urn:mspac:77", []byte("value"))
		is(t, err, ErrUnavailable)
		_, err = n.DeleteAttribute("urn:mspac:")
		is(t, err, ErrUnavailable)
		_, err = n.ExportComposite()
		is(t, err, ErrUnavailable)
		info, err := n.Inquire()
		if kind() == KindMIT {
			if err != nil || info.MechName || info.Mech != "" || info.Attributes != nil {
				t.Errorf("%s: %+v, %v", what, info, err)
			}
			continue
		}
		is(t, err, ErrUnavailable)
		_, err = n.DisplayExt(NTKrb5PrincipalName)
		is(t, err, ErrUnavailable)
	}
}

func TestAttributesOfNoName(t *testing.T) {
	needLibrary(t)
	released, err := ImportName([]byte("host@server.test"), NTHostBasedService)
	check(t, err)
	released.Release()
	for what, n := range map[string]*Name{"nil": nil, "zero": {}, "released": released} {
		calls := map[string]func() error{
			"DisplayExt":      func() error { _, err := n.DisplayExt(NTUserName); return err },
			"Inquire":         func() error { _, err := n.Inquire(); return err },
			"GetAttribute":    func() error { _, err := n.GetAttribute("a", -1); return err },
			"SetAttribute":    func() error { _, err := n.SetAttribute(true, "a", nil); return err },
			"DeleteAttribute": func() error { _, err := n.DeleteAttribute("a"); return err },
			"ExportComposite": func() error { _, err := n.ExportComposite(); return err },
			"Localname":       func() error { _, err := n.Localname(""); return err },
			"PnameToUID":      func() error { _, err := n.PnameToUID(""); return err },
			"UserOK":          func() error { _, err := n.UserOK("root"); return err },
		}
		for call, f := range calls {
			if err := f(); !errors.Is(err, ErrBadName) {
				t.Errorf("%s, %s: %v", what, call, err)
			}
		}
	}
	n := nameOf(t, "host@server.test", NTHostBasedService)
	for _, attr := range []string{"", "a\x00", strings.Repeat("x", maxText+1)} {
		_, err := n.GetAttribute(attr, -1)
		is(t, err, ErrFailure)
		_, err = n.SetAttribute(true, attr, nil)
		is(t, err, ErrFailure)
		_, err = n.DeleteAttribute(attr)
		is(t, err, ErrFailure)
	}
}
