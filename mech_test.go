package gss

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// mechAttrs are the attributes of mechanisms, as C has them.
var mechAttrs = map[string]OID{
	"GSS_C_MA_MECH_CONCRETE":  MAMechConcrete,
	"GSS_C_MA_MECH_PSEUDO":    MAMechPseudo,
	"GSS_C_MA_MECH_COMPOSITE": MAMechComposite,
	"GSS_C_MA_MECH_NEGO":      MAMechNego,
	"GSS_C_MA_MECH_GLUE":      MAMechGlue,
	"GSS_C_MA_NOT_MECH":       MANotMech,
	"GSS_C_MA_DEPRECATED":     MADeprecated,
	"GSS_C_MA_NOT_DFLT_MECH":  MANotDfltMech,
	"GSS_C_MA_ITOK_FRAMED":    MAItokFramed,
	"GSS_C_MA_AUTH_INIT":      MAAuthInit,
	"GSS_C_MA_AUTH_TARG":      MAAuthTarg,
	"GSS_C_MA_AUTH_INIT_INIT": MAAuthInitInit,
	"GSS_C_MA_AUTH_TARG_INIT": MAAuthTargInit,
	"GSS_C_MA_AUTH_INIT_ANON": MAAuthInitAnon,
	"GSS_C_MA_AUTH_TARG_ANON": MAAuthTargAnon,
	"GSS_C_MA_DELEG_CRED":     MADelegCred,
	"GSS_C_MA_INTEG_PROT":     MAIntegProt,
	"GSS_C_MA_CONF_PROT":      MAConfProt,
	"GSS_C_MA_MIC":            MAMIC,
	"GSS_C_MA_WRAP":           MAWrap,
	"GSS_C_MA_PROT_READY":     MAProtReady,
	"GSS_C_MA_REPLAY_DET":     MAReplayDet,
	"GSS_C_MA_OOS_DET":        MAOOSDet,
	"GSS_C_MA_CBINDINGS":      MACBindings,
	"GSS_C_MA_PFS":            MAPFS,
	"GSS_C_MA_COMPRESS":       MACompress,
	"GSS_C_MA_CTX_TRANS":      MACtxTrans,
}

// Those that one library has.
var ownMechAttrs = map[Kind]map[string]OID{
	KindMIT:     {"GSS_C_MA_NEGOEX_AND_SPNEGO": MANegoExAndSPNEGO},
	KindHeimdal: {"GSS_C_MA_SASL_MECH_NAME": MASASLMechName, "GSS_C_MA_MECH_NAME": MAMechName, "GSS_C_MA_MECH_DESCRIPTION": MAMechDescription},
}

// notGNU skips a test of functions that GNU gss lacks; TestLacking has them.
func notGNU(tb testing.TB, what string) {
	tb.Helper()
	if needLibrary(tb).Kind == KindGNU {
		skip(tb, "GNU gss has no "+what)
	}
}

// librarysOID reads an OID out of the library's own data: MIT and GNU gss have
// variables that point to descriptors, Heimdal descriptors.
func librarysOID(t *testing.T, name string) OID {
	t.Helper()
	type desc struct {
		length   uint32
		elements unsafe.Pointer
	}
	var d *desc
	switch kind() {
	case KindMIT, KindGNU:
		if p := (**desc)(symbol(name)); p != nil {
			d = *p
		}
	case KindHeimdal:
		d = (*desc)(symbol("__" + strings.ToLower(name) + "_oid_desc"))
	}
	if d == nil {
		t.Fatalf("the library has no %s", name)
	}
	return OID(unsafe.Slice((*byte)(d.elements), d.length))
}

func TestMechAttrOIDs(t *testing.T) {
	notGNU(t, "attributes of mechanisms")
	check := func(name string, oid OID) {
		if have := librarysOID(t, name); have != oid {
			t.Errorf("%s is %v in the library and %v here", name, have, oid)
		}
		told, short, _, err := DisplayMechAttr(oid)
		if err != nil || told != name || short == "" {
			t.Errorf("%s is displayed as %q, %q, %v", name, told, short, err)
		}
	}
	for name, oid := range mechAttrs {
		check(name, oid)
	}
	for name, oid := range ownMechAttrs[kind()] {
		check(name, oid)
	}
	if len(mechAttrs) != 27 {
		t.Errorf("RFC 5587 has 27 attributes, here are %d", len(mechAttrs))
	}
}

func TestDisplayMechAttr(t *testing.T) {
	notGNU(t, "gss_display_mech_attr")
	_, short, long, err := DisplayMechAttr(MAMechConcrete)
	if err != nil || short != "concrete-mech" || !strings.Contains(long, "pseudo") {
		t.Errorf("%q, %q, %v", short, long, err)
	}
	for _, oid := range []OID{"", "\x2a\x03", MechKrb5, "\x80", OID(strings.Repeat("\xff", maxOID))} {
		_, _, _, err := DisplayMechAttr(oid)
		is(t, err, ErrBadMechAttr)
	}
	_, _, _, err = DisplayMechAttr(OID(strings.Repeat("\x01", maxOID+1)))
	is(t, err, ErrFailure)
}

func TestInquireAttrsForMech(t *testing.T) {
	notGNU(t, "gss_inquire_attrs_for_mech")
	for mech, c := range map[OID]struct{ has, hasNot []OID }{
		MechKrb5:   {[]OID{MAMechConcrete, MAItokFramed, MAAuthInit, MAAuthTarg, MADelegCred, MAIntegProt, MAConfProt, MAMIC, MAWrap, MAReplayDet, MAOOSDet, MACBindings, MACtxTrans}, []OID{MAMechNego, MAMechPseudo, MADeprecated}},
		MechSPNEGO: {[]OID{MAMechNego}, []OID{MAMechConcrete, MAWrap}},
	} {
		attrs, known, err := InquireAttrsForMech(mech)
		check(t, err)
		for _, a := range c.has {
			if !slices.Contains(attrs, a) {
				t.Errorf("%v has no attribute %v: %v", mech, a, attrs)
			}
		}
		for _, a := range c.hasNot {
			if slices.Contains(attrs, a) {
				t.Errorf("%v has the attribute %v: %v", mech, a, attrs)
			}
		}
		for _, a := range attrs {
			if !slices.Contains(known, a) {
				t.Errorf("%v has the attribute %v, which is not known: %v", mech, a, known)
			}
		}
		if len(known) <= len(attrs) {
			t.Errorf("%v has %d attributes, and %d are known", mech, len(attrs), len(known))
		}
	}
	for _, mech := range []OID{"", "\x2a\x03", "\x80"} {
		_, _, err := InquireAttrsForMech(mech)
		is(t, err, ErrBadMech)
	}
}

func TestIndicateMechsByAttrs(t *testing.T) {
	notGNU(t, "gss_indicate_mechs_by_attrs")
	all, err := IndicateMechs()
	check(t, err)
	for what, c := range map[string]struct {
		desired, except, critical []OID
		has, hasNot               []OID
	}{
		"all":            {has: all},
		"wrap":           {desired: []OID{MAWrap}, has: []OID{MechKrb5}, hasNot: []OID{MechSPNEGO}},
		"wrap and nego":  {desired: []OID{MAWrap, MAMechNego}, hasNot: all},
		"no wrap":        {except: []OID{MAWrap}, has: []OID{MechSPNEGO}, hasNot: []OID{MechKrb5}},
		"wrap, no wrap":  {desired: []OID{MAWrap}, except: []OID{MAWrap}, hasNot: all},
		"knows wrap":     {critical: []OID{MAWrap}, has: []OID{MechKrb5}},
		"knows nobody's": {critical: []OID{"\x2a\x03"}, hasNot: all},
		"has nobody's":   {desired: []OID{"\x2a\x03"}, hasNot: all},
		"not nobody's":   {except: []OID{"\x2a\x03"}, has: []OID{MechKrb5, MechSPNEGO}},
	} {
		mechs, err := IndicateMechsByAttrs(c.desired, c.except, c.critical)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for _, m := range c.has {
			if !slices.Contains(mechs, m) {
				t.Errorf("%s: %v is not in %v", what, m, mechs)
			}
		}
		for _, m := range c.hasNot {
			if slices.Contains(mechs, m) {
				t.Errorf("%s: %v is in %v", what, m, mechs)
			}
		}
	}
	for i := range 3 {
		sets := make([][]OID, 3)
		sets[i] = []OID{MAWrap, ""}
		_, err := IndicateMechsByAttrs(sets[0], sets[1], sets[2])
		is(t, err, ErrBadMech)
	}
}

func TestSASLNames(t *testing.T) {
	needLibrary(t)
	mechs, err := IndicateMechs()
	check(t, err)
	for _, m := range mechs {
		sasl, name, description, err := InquireSASLNameForMech(m)
		if err != nil || sasl == "" {
			t.Errorf("%v: %q, %v", m, sasl, err)
			continue
		}
		if m == MechKrb5 && (sasl != "GS2-KRB5" || name == "" || !strings.Contains(description, "Kerberos")) {
			t.Errorf("Kerberos is %q, %q, %q", sasl, name, description)
		}
		back, err := InquireMechForSASLName(sasl)
		if heimdal() && m == MechSANON && errors.Is(err, ErrBadMech) {
			continue // Heimdal after 7.8 does not find the name that it made for it
		}
		if err != nil || back != m {
			t.Errorf("%q is %v, %v, want %v", sasl, back, err, m)
		}
	}
	for _, name := range []string{"", "GS2-KRB", "GS2-KRB5 ", "gs2-krb5", "KRB5", "GS2-AAAAAAAAAAA", "\x00", "GS2-KRB5\x00", strings.Repeat("G", 20), strings.Repeat("G", 1<<20)} {
		m, err := InquireMechForSASLName(name)
		if err == nil {
			t.Errorf("%q is %v", clip(name), m)
			continue
		}
		is(t, err, ErrBadMech)
	}
	for _, mech := range []OID{"", "\x2a\x03", "\x80"} {
		_, _, _, err := InquireSASLNameForMech(mech)
		is(t, err, ErrBadMech)
	}
}

// frameOf is RFC 2743, 3.1, in Go.
func frameOf(mech OID, token []byte) []byte {
	body := append(append([]byte{6, byte(len(mech))}, mech...), token...)
	n := len(body)
	head := []byte{0x60}
	switch {
	case n < 0x80:
		head = append(head, byte(n))
	case n < 1<<8:
		head = append(head, 0x81, byte(n))
	case n < 1<<16:
		head = append(head, 0x82, byte(n>>8), byte(n))
	case n < 1<<24:
		head = append(head, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(head, body...)
}

func TestEncapsulateToken(t *testing.T) {
	needLibrary(t)
	long := OID(strings.Repeat("\x01", maxFramed))
	for _, mech := range []OID{MechKrb5, MechSPNEGO, "\x2a\x03", long} {
		for _, n := range []int{0, 1, 100, 116, 117, 118, 243, 244, 245, 246, 65523, 65524, 65525, 65526, 1 << 17} {
			token := bytes.Repeat([]byte("t"), n)
			b, err := EncapsulateToken(token, mech)
			check(t, err)
			if !bytes.Equal(b.Bytes(), frameOf(mech, token)) {
				t.Fatalf("%d bytes in %v: %d bytes, %.40x; want %d, %.40x", n, mech, b.Len(), b.Bytes(), len(frameOf(mech, token)), frameOf(mech, token))
			}
			back, err := DecapsulateToken(b.Bytes(), mech)
			if err != nil || !bytes.Equal(back.Bytes(), token) {
				t.Fatalf("%d bytes in %v come back as %d, %v", n, mech, back.Len(), err)
			}
			_, err = DecapsulateToken(b.Bytes(), MechNTLM)
			is(t, err, ErrDefectiveToken)
			b.Release()
			back.Release()
		}
	}
	for _, mech := range []OID{"", long + "\x01"} {
		_, err := EncapsulateToken(nil, mech)
		is(t, err, ErrBadMech)
		_, err = DecapsulateToken(frameOf(mech, nil), mech)
		is(t, err, ErrBadMech)
	}
}

// What is no frame is refused, and what is taken out of one was in it.
func TestDecapsulateJunk(t *testing.T) {
	needLibrary(t)
	if !inChild(t) {
		return
	}
	good := frameOf(MechKrb5, []byte("what is in the token"))
	try := func(what string, b []byte) {
		out, err := DecapsulateToken(slices.Clone(b), MechKrb5)
		if err != nil {
			is(t, err, ErrDefectiveToken)
			return
		}
		if !bytes.Contains(b, out.Bytes()) {
			t.Errorf("%s: %q comes out of %q", what, out.Bytes(), b)
		}
		out.Release()
	}
	for n := range good {
		_, err := DecapsulateToken(slices.Clone(good[:n]), MechKrb5)
		if err == nil {
			t.Errorf("taken, cut to %d bytes", n)
		}
		for mask := 1; mask < 256; mask++ {
			b := slices.Clone(good)
			b[n] ^= byte(mask)
			try(fmt.Sprintf("byte %d", n), b)
		}
	}
	try("behind", append(slices.Clone(good), "more"...))
	for n := range 9 {
		for _, fill := range []byte{0, 0x60, 0x7f, 0x80, 0x84, 0xff} {
			try("fill", append([]byte{0x60, 0x80 | byte(n)}, bytes.Repeat([]byte{fill}, n)...))
		}
	}
}

func TestStrToOID(t *testing.T) {
	if needLibrary(t).Kind != KindMIT {
		skip(t, "of these libraries MIT alone has gss_str_to_oid")
	}
	for _, s := range []string{"1.2.840.113554.1.2.2", "1 2 840 113554 1 2 2", "{1 2 840 113554 1 2 2}", "{ 1 2 840 113554 1 2 2 }", " 1.2.840.113554.1.2.2 "} {
		if oid, err := StrToOID(s); err != nil || oid != MechKrb5 {
			t.Errorf("%q is %v, %v", s, oid, err)
		}
	}
	for _, tt := range oidExamples {
		if strings.Contains(tt.dotted, "27670116110564327423") {
			continue // more than 64 bits: gss_str_to_oid refuses it
		}
		if oid, err := StrToOID(tt.dotted); err != nil || oid != tt.oid {
			t.Errorf("%s is %x, %v, want %x", tt.dotted, string(oid), err, string(tt.oid))
		}
	}
	for _, s := range []string{"", " ", "{", "}", "{}", "1", "x", "3.1", "0.40", "\x00", "-1.2", strings.Repeat("1.", 10000), strings.Repeat("1 ", 400)} {
		if oid, err := StrToOID(s); err == nil {
			t.Errorf("%q is %v", clip(s), oid)
		}
	}
}

func TestOIDToStr(t *testing.T) {
	notGNU(t, "gss_oid_to_str")
	for _, tt := range oidExamples {
		// More than 64 bits, and on Heimdal 7.8 a first byte that is not the last of its
		// number, are written wrong.
		if strings.Contains(tt.dotted, "27670116110564327423") || kind() == KindHeimdal && tt.oid[0] >= 0x80 {
			_, err := OIDToStr(tt.oid)
			is(t, err, ErrFailure)
			mention(t, err, "the library writes")
			continue
		}
		want := strings.ReplaceAll(tt.dotted, ".", " ")
		if kind() == KindMIT {
			want = "{ " + want + " }"
		}
		if got, err := OIDToStr(tt.oid); err != nil || got != want {
			t.Errorf("%v is %q, %v, want %q", tt.oid, got, err, want)
		}
	}
	_, err := OIDToStr("")
	is(t, err, ErrFailure)
	_, err = OIDToStr(OID(strings.Repeat("\x01", maxOID+1)))
	is(t, err, ErrFailure)
}

func TestOIDJunk(t *testing.T) {
	needLibrary(t)
	if !inChild(t) {
		return
	}
	for _, oid := range junkOIDs() {
		OIDToStr(oid)
		OIDToName(oid)
		DisplayMechAttr(oid)
		InquireAttrsForMech(oid)
		InquireSASLNameForMech(oid)
		IndicateMechsByAttrs([]OID{oid}, []OID{oid}, []OID{oid})
		EncapsulateToken([]byte("token"), oid)
		DecapsulateToken([]byte("token"), oid)
		MOList(oid)
		for _, other := range []OID{MechKrb5, oid} {
			MOGet(other, oid)
			MOName(other, oid)
			MOSet(other, oid, true, []byte("value"))
			MOSet(other, oid, false, nil)
			if oid != invokeAcceptor && oid != invokeUseKDC {
				MechInvoke(other, oid, []byte("value"))
				MechInvoke(oid, other, nil)
			}
		}
	}
	for _, s := range []string{"", "\x00", "{", "{ 1 2", "1 2 }", "999999999999999999999 1", "1 999999999999999999999", strings.Repeat("9 ", 1000), strings.Repeat("\xff", 1000)} {
		StrToOID(s)
		NameToOID(s)
		InquireMechForSASLName(s)
	}
}

// Not called with junk: they change the process.
const (
	invokeUseKDC   = MechKrb5 + "\x05\x08"
	invokeAcceptor = MechKrb5 + "\x05\x09"
)

func junkOIDs() []OID {
	oids := []OID{"\x00", "\x80", "\xff", "\x2a\x80", "\x2a\x80\x01", MechKrb5, MechSPNEGO, MechNTLM, MechIAKERB, MechKrb5 + "\x00", MechKrb5[:8], OID(strings.Repeat("\x7f", 100)),
		OID(strings.Repeat("\xff", 127)), OID(strings.Repeat("\x01", 128)), OID(strings.Repeat("\xff", maxOID)), MAWrap, MASASLMechName, NTUserName, NTExportName}
	for i := range 12 {
		oids = append(oids, MechKrb5+OID([]byte{5, byte(i)}))
	}
	return oids
}

func TestMechNames(t *testing.T) {
	if needLibrary(t).Kind != KindHeimdal {
		skip(t, "of these libraries Heimdal alone has gss_oid_to_name and gss_name_to_oid")
	}
	if name, err := OIDToName(MechKrb5); err != nil || name != "GSS_KRB5_MECHANISM" && name != "krb5" { // 7.8; later
		t.Errorf("Kerberos is %q, %v", name, err)
	}
	for _, oid := range []OID{"", "\x2a\x03", "\x80"} {
		if name, err := OIDToName(oid); err != nil || name != "" {
			t.Errorf("%v is %q, %v", oid, name, err)
		}
	}
	for name, want := range map[string]OID{"Kerberos 5": MechKrb5, "kerb": MechKrb5, "SPNEGO": MechSPNEGO, "nt": MechNTLM, "none": "", "Kerberos 55": ""} {
		if oid, err := NameToOID(name); err != nil || oid != want {
			t.Errorf("%q is %v, %v, want %v", name, oid, err, want)
		}
	}
	for _, name := range []string{"", "kerb\x00", "\x00"} {
		_, err := NameToOID(name)
		is(t, err, ErrBadName)
	}
}

func TestMechOptions(t *testing.T) {
	if needLibrary(t).Kind != KindHeimdal {
		skip(t, "of these libraries Heimdal alone has gss_mo_get, gss_mo_set, gss_mo_list and gss_mo_name")
	}
	options, err := MOList(MechKrb5)
	check(t, err)
	for option, want := range map[OID]struct{ name, value string }{
		MASASLMechName:    {"SASL mech name", "GS2-KRB5"},
		MAMechName:        {"Mechanism name", "KRB5"},
		MAMechDescription: {"Mechanism description", "Heimdal Kerberos 5 mech"},
	} {
		if !slices.Contains(options, option) {
			t.Errorf("%v is not in %v", option, options)
		}
		if name, err := MOName(MechKrb5, option); err != nil || name != want.name {
			t.Errorf("%v is called %q, %v", option, name, err)
		}
		if value, err := MOGet(MechKrb5, option); err != nil || string(value) != want.value {
			t.Errorf("%v is %q, %v", option, value, err)
		}
		is(t, MOSet(MechKrb5, option, true, []byte("value")), ErrUnavailable)
	}
	if name, err := MOName(MechKrb5, MAWrap); err != nil || name != "wrap" {
		t.Errorf("it is called %q, %v", name, err)
	}
	_, err = MOGet(MechKrb5, MAWrap) // it has no value
	is(t, err, ErrUnavailable)
	_, err = MOGet(MechKrb5, "\x2a\x03")
	is(t, err, ErrUnavailable)
	_, err = MOName(MechKrb5, "\x2a\x03")
	is(t, err, ErrBadName)
	for _, mech := range []OID{"", "\x2a\x03"} {
		_, err = MOGet(mech, MAMechName)
		is(t, err, ErrBadMech)
		_, err = MOName(mech, MAMechName)
		is(t, err, ErrBadMech)
		_, err = MOList(mech)
		is(t, err, ErrBadMech)
		is(t, MOSet(mech, MAMechName, true, nil), ErrBadMech)
	}
}

// The keytab of acceptors is set, and set back, for the whole process.
func TestMechInvoke(t *testing.T) {
	if needLibrary(t).Kind != KindMIT {
		skip(t, "of these libraries MIT alone has gssspi_mech_invoke")
	}
	needKrb5(t)
	if !inChild(t) {
		return
	}
	accepts := func() error {
		r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageAccept)
		if err == nil {
			r.Cred.Release()
		}
		return err
	}
	check(t, accepts())
	// With what stands behind the value in memory it would be another file.
	name := "FILE:" + filepath.Join(t.TempDir(), "none")
	check(t, MechInvoke(MechKrb5, invokeAcceptor, []byte(name + "behind it")[:len(name)]))
	err := accepts()
	is(t, err, ErrNoCred)
	mention(t, err, strings.TrimPrefix(name, "FILE:"))
	if err != nil && strings.Contains(err.Error(), "behind it") {
		t.Errorf("more than the value was taken: %v", err)
	}
	check(t, MechInvoke(MechKrb5, invokeAcceptor, nil))
	check(t, accepts())

	is(t, MechInvoke(MechKrb5, MechKrb5+"\x05\x01", nil), ErrUnavailable)
	is(t, MechInvoke("", invokeAcceptor, nil), ErrBadMech)
	is(t, MechInvoke(MechKrb5, "", nil), ErrBadMech)
	is(t, MechInvoke("\x2a\x03", invokeAcceptor, nil), ErrBadMech)
	for _, object := range []OID{invokeCcacheName, invokeFreeLucid, invokeFreeLucid + "\x01"} {
		err := MechInvoke(MechKrb5, object, binary.NativeEndian.AppendUint64(nil, 1))
		is(t, err, ErrUnavailable)
		mention(t, err, "not called")
	}
}

// What a library lacks is ErrUnavailable, and the error names the function.
func TestLacking(t *testing.T) {
	needLibrary(t)
	n := nameOf(t, "host@server.test", NTHostBasedService)
	user := nameOf(t, "host@server.test", NTHostBasedService)
	lacking := 0
	for function, call := range map[string]func() error{
		"gss_indicate_mechs_by_attrs":   func() error { _, err := IndicateMechsByAttrs(nil, nil, nil); return err },
		"gss_inquire_attrs_for_mech":    func() error { _, _, err := InquireAttrsForMech(MechKrb5); return err },
		"gss_display_mech_attr":         func() error { _, _, _, err := DisplayMechAttr(MAWrap); return err },
		"gss_inquire_saslname_for_mech": func() error { _, _, _, err := InquireSASLNameForMech(MechKrb5); return err },
		"gss_inquire_mech_for_saslname": func() error { _, err := InquireMechForSASLName("GS2-KRB5"); return err },
		"gss_encapsulate_token":         func() error { _, err := EncapsulateToken(nil, MechKrb5); return err },
		"gss_decapsulate_token":         func() error { _, err := DecapsulateToken(nil, MechKrb5); return err },
		"gss_str_to_oid":                func() error { _, err := StrToOID("1.2"); return err },
		"gss_oid_to_str":                func() error { _, err := OIDToStr(MechKrb5); return err },
		"gss_oid_to_name":               func() error { _, err := OIDToName(MechKrb5); return err },
		"gss_name_to_oid":               func() error { _, err := NameToOID("SPNEGO"); return err },
		"gssspi_mech_invoke":            func() error { return MechInvoke(MechKrb5, MechKrb5, nil) },
		"gss_mo_set":                    func() error { return MOSet(MechKrb5, MechKrb5, true, nil) },
		"gss_mo_get":                    func() error { _, err := MOGet(MechKrb5, MechKrb5); return err },
		"gss_mo_list":                   func() error { _, err := MOList(MechKrb5); return err },
		"gss_mo_name":                   func() error { _, err := MOName(MechKrb5, MechKrb5); return err },
		"gss_display_name_ext":          func() error { _, err := n.DisplayExt(NTUserName); return err },
		"gss_inquire_name":              func() error { _, err := n.Inquire(); return err },
		"gss_get_name_attribute":        func() error { _, err := n.GetAttribute("a", -1); return err },
		"gss_set_name_attribute":        func() error { _, err := n.SetAttribute(true, "a", nil); return err },
		"gss_delete_name_attribute":     func() error { _, err := n.DeleteAttribute("a"); return err },
		"gss_export_name_composite":     func() error { _, err := n.ExportComposite(); return err },
		"gss_localname":                 func() error { _, err := n.Localname(MechKrb5); return err },
		"gss_userok":                    func() error { _, err := n.UserOK("root"); return err },
		"gss_authorize_localname":       func() error { _, err := n.AuthorizeLocalname(user); return err },
		"gss_pname_to_uid":              func() error { _, err := n.PnameToUID(MechKrb5); return err },
	} {
		err := call()
		if Supports(function) {
			if err != nil && strings.Contains(err.Error(), "has no function") {
				t.Errorf("%s is there: %v", function, err)
			}
			continue
		}
		lacking++
		is(t, err, ErrUnavailable)
		mention(t, err, "has no function "+function)
	}
	if want := map[Kind]int{KindMIT: 6, KindHeimdal: 2, KindGNU: 21}[kind()]; lacking != want {
		t.Errorf("%d functions are lacking, want %d", lacking, want)
	}
}
