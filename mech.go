package gss

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// Attributes of mechanisms: RFC 5587, 3.4. MIT and Heimdal have these.
const (
	MAMechConcrete  OID = "\x2b\x06\x01\x05\x05\x0d\x01" // neither a pseudo-mechanism nor a composite one
	MAMechPseudo    OID = "\x2b\x06\x01\x05\x05\x0d\x02" // a pseudo-mechanism
	MAMechComposite OID = "\x2b\x06\x01\x05\x05\x0d\x03" // made of other mechanisms
	MAMechNego      OID = "\x2b\x06\x01\x05\x05\x0d\x04" // negotiates mechanisms
	MAMechGlue      OID = "\x2b\x06\x01\x05\x05\x0d\x05" // stands for the library's own layer over mechanisms
	MANotMech       OID = "\x2b\x06\x01\x05\x05\x0d\x06" // not the identifier of a mechanism
	MADeprecated    OID = "\x2b\x06\x01\x05\x05\x0d\x07" // not to be used any more
	MANotDfltMech   OID = "\x2b\x06\x01\x05\x05\x0d\x08" // not for use as a default
	MAItokFramed    OID = "\x2b\x06\x01\x05\x05\x0d\x09" // the first token is framed: RFC 2743, 3.1
	MAAuthInit      OID = "\x2b\x06\x01\x05\x05\x0d\x0a" // authenticates the initiator to the acceptor
	MAAuthTarg      OID = "\x2b\x06\x01\x05\x05\x0d\x0b" // authenticates the acceptor to the initiator
	MAAuthInitInit  OID = "\x2b\x06\x01\x05\x05\x0d\x0c" // an initiator needs no credential from before
	MAAuthTargInit  OID = "\x2b\x06\x01\x05\x05\x0d\x0d" // an acceptor needs no credential from before
	MAAuthInitAnon  OID = "\x2b\x06\x01\x05\x05\x0d\x0e" // an initiator may be anonymous
	MAAuthTargAnon  OID = "\x2b\x06\x01\x05\x05\x0d\x0f" // an acceptor may be anonymous
	MADelegCred     OID = "\x2b\x06\x01\x05\x05\x0d\x10" // delegates credentials
	MAIntegProt     OID = "\x2b\x06\x01\x05\x05\x0d\x11" // signs messages
	MAConfProt      OID = "\x2b\x06\x01\x05\x05\x0d\x12" // encrypts messages
	MAMIC           OID = "\x2b\x06\x01\x05\x05\x0d\x13" // has MICs
	MAWrap          OID = "\x2b\x06\x01\x05\x05\x0d\x14" // has wrap tokens
	MAProtReady     OID = "\x2b\x06\x01\x05\x05\x0d\x15" // can protect messages before the context is established
	MAReplayDet     OID = "\x2b\x06\x01\x05\x05\x0d\x16" // detects replays
	MAOOSDet        OID = "\x2b\x06\x01\x05\x05\x0d\x17" // detects what is out of sequence
	MACBindings     OID = "\x2b\x06\x01\x05\x05\x0d\x18" // has channel bindings
	MAPFS           OID = "\x2b\x06\x01\x05\x05\x0d\x19" // perfect forward secrecy
	MACompress      OID = "\x2b\x06\x01\x05\x05\x0d\x1a" // compresses what it wraps
	MACtxTrans      OID = "\x2b\x06\x01\x05\x05\x0d\x1b" // exports and imports contexts
)

// More attributes of mechanisms, which are not of RFC 5587.
const (
	MANegoExAndSPNEGO OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x12" // MIT, 1.18 and later: SPNEGO negotiates it by NegoEx and directly
	MASASLMechName    OID = "\x2a\x85\x70\x2b\x0d\x64"                     // Heimdal: has a SASL name
	MAMechName        OID = "\x2a\x85\x70\x2b\x0d\x65"                     // Heimdal: has a name
	MAMechDescription OID = "\x2a\x85\x70\x2b\x0d\x66"                     // Heimdal: has a description
)

// textsResult is what came back of calls that tell three texts.
type textsResult struct {
	status
	texts [3]libBuffer
}

// take copies the texts and releases them.
func (r textsResult) take() (t [3]string) {
	for i, b := range r.texts {
		t[i] = string(b.take())
	}
	return t
}

// noMech is the error of a call that cannot do without an object identifier.
// Heimdal 7.8 and GNU gss look at it without a check.
func noMech(op, what string) error {
	return &Error{Op: op, Major: ErrBadMech, Text: "no " + what + " was given"}
}

// IndicateMechsByAttrs calls gss_indicate_mechs_by_attrs: the mechanisms that have
// all desired attributes, none of the others in except, and know all that are
// critical. Each set may be nil. RFC 5587, 3.4.2. MIT, Heimdal, GSS.framework.
//
// Heimdal 7.8 counts only attributes that a mechanism has as known to it.
func IndicateMechsByAttrs(desired, except, critical []OID) ([]OID, error) {
	const op = "gss_indicate_mechs_by_attrs"
	if _, err := lib(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var sets [3]unsafe.Pointer
	defer func() {
		for _, set := range sets {
			if set != nil {
				releaseOIDSet(set)
			}
		}
	}()
	for i, oids := range [][]OID{desired, except, critical} {
		var err error
		if sets[i], err = oidSet(oids); err != nil {
			return nil, err
		}
	}
	s, set := indicateMechsByAttrs(sets[0], sets[1], sets[2])
	mechs := takeOIDSet(set)
	if s.failed() {
		return nil, s.error(op, "")
	}
	return mechs, nil
}

// InquireAttrsForMech calls gss_inquire_attrs_for_mech: the attributes that a
// mechanism has, and those that are known, so that what is known and not had
// is not had indeed. RFC 5587, 3.4.3. MIT, Heimdal, GSS.framework.
func InquireAttrsForMech(mech OID) (attrs, known []OID, err error) {
	const op = "gss_inquire_attrs_for_mech"
	if _, err := lib(); err != nil {
		return nil, nil, err
	}
	if mech == "" {
		return nil, nil, noMech(op, "mechanism")
	}
	m, err := cOID(op, mech)
	if err != nil {
		return nil, nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, a, k := inquireAttrsForMech(m)
	attrs, known = takeOIDSet(a), takeOIDSet(k)
	if s.failed() {
		return nil, nil, s.error(op, mech)
	}
	return attrs, known, nil
}

// DisplayMechAttr calls gss_display_mech_attr: the name of an attribute of
// mechanisms, such as "GSS_C_MA_CTX_TRANS", and a short and a long description,
// which may be empty. ErrBadMechAttr for one that the library does not know. RFC
// 5587, 3.4.4. MIT, Heimdal, GSS.framework.
func DisplayMechAttr(attr OID) (name, short, long string, err error) {
	const op = "gss_display_mech_attr"
	if _, err := lib(); err != nil {
		return "", "", "", err
	}
	if attr == "" {
		return "", "", "", &Error{Op: op, Major: ErrBadMechAttr, Text: "no attribute was given"}
	}
	a, err := cOID(op, attr)
	if err != nil {
		return "", "", "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := displayMechAttr(a)
	t := r.take()
	if r.failed() {
		return "", "", "", r.error(op, "")
	}
	return t[0], t[1], t[2], nil
}

// InquireSASLNameForMech calls gss_inquire_saslname_for_mech: the name that a
// mechanism has in SASL, such as "GS2-KRB5", its own name and a description. A
// mechanism without a SASL name of its own gets one made of its identifier, and
// the others are empty. RFC 5801, 11. MIT, Heimdal, GNU gss, GSS.framework.
func InquireSASLNameForMech(mech OID) (sasl, name, description string, err error) {
	const op = "gss_inquire_saslname_for_mech"
	if _, err := lib(); err != nil {
		return "", "", "", err
	}
	if mech == "" {
		return "", "", "", noMech(op, "mechanism")
	}
	if err := gnuMech(op, mech); err != nil {
		return "", "", "", err
	}
	if heimdal() { // 7.8 makes a SASL name of any identifier
		have, err := IndicateMechs()
		if err != nil {
			return "", "", "", err
		}
		if !slices.Contains(have, mech) {
			return "", "", "", &Error{Op: op, Major: ErrBadMech, Mech: mech, Text: fmt.Sprintf("Heimdal has %v, not %v", have, mech)}
		}
	}
	m, err := cOID(op, mech)
	if err != nil {
		return "", "", "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := inquireSASLNameForMech(m)
	t := r.take()
	if r.failed() {
		return "", "", "", r.error(op, mech)
	}
	return t[0], t[1], t[2], nil
}

// InquireMechForSASLName calls gss_inquire_mech_for_saslname: the mechanism with
// that name in SASL. ErrBadMech if there is none. RFC 5801, 11. MIT, Heimdal, GNU
// gss, GSS.framework.
func InquireMechForSASLName(name string) (OID, error) {
	const op = "gss_inquire_mech_for_saslname"
	if _, err := lib(); err != nil {
		return "", err
	}
	// RFC 4422, 3.1: 20 characters at most. Nothing longer is one.
	if name == "" || len(name) > 20 {
		return "", &Error{Op: op, Major: ErrBadMech, Text: fmt.Sprintf("%q is no name of a SASL mechanism: those have 1 to 20 characters", clip(name))}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, mech := inquireMechForSASLName([]byte(name))
	switch {
	case s.failed():
		return "", s.error(op, "")
	case mech == "":
		return "", &Error{Op: op, Major: ErrBadMech, Text: fmt.Sprintf("the library reported success and told no mechanism for %q", name)}
	}
	return mech, nil
}

// maxFramed bounds the identifier in the frame of a token: its length has one
// byte there, in MIT 1.20 without a check.
const maxFramed = 127

// framed checks what both directions of the frame check.
func framed(op string, mech OID, token []byte) (unsafe.Pointer, error) {
	if _, err := lib(); err != nil {
		return nil, err
	}
	if mech == "" {
		return nil, noMech(op, "mechanism")
	}
	if len(mech) > maxFramed {
		return nil, &Error{Op: op, Major: ErrBadMech, Text: fmt.Sprintf("an object identifier of %d bytes: a token's frame has room for %d", len(mech), maxFramed)}
	}
	if err := checkSize(op, "token", len(token)); err != nil {
		return nil, err
	}
	return cOID(op, mech)
}

// frameHead is how a frame begins that has an identifier and a token of those
// lengths: up to the identifier.
func frameHead(mech, token int) []byte {
	n := 2 + mech + token
	if n < 0x80 {
		return []byte{0x60, byte(n)}
	}
	var length []byte
	for rest := n; rest > 0; rest >>= 8 {
		length = append([]byte{byte(rest)}, length...)
	}
	return append([]byte{0x60, 0x80 | byte(len(length))}, length...)
}

// EncapsulateToken calls gss_encapsulate_token: token in the frame of an initial
// context token, which names the mechanism. RFC 2743, 3.1. MIT, Heimdal, GNU gss,
// GSS.framework.
func EncapsulateToken(token []byte, mech OID) (*Buffer, error) {
	const op = "gss_encapsulate_token"
	m, err := framed(op, mech, token)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	head := frameHead(len(mech), len(token))
	odd := kind() == KindMIT && len(head) != len(frameHead(len(mech), len(token)+2))
	if odd {
		// MIT counts two bytes that it does not write. Where the length of the
		// length depends on them, 1.20 tells a byte too much, and 1.21 and later
		// (mechglue/g_encapsulate_token.c) abort: they get two bytes more.
		token = append(slices.Clip(token), 0, 0)
	}
	s, buf := encapsulateToken(m, token)
	if odd && !s.failed() && buf.p != nil {
		frame := unsafe.Slice((*byte)(buf.p), buf.n)
		n := copy(frame, head)
		n += copy(frame[n:], frame[len(frameHead(len(mech), len(token))):])
		buf.n = uintptr(n - 2)
	}
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		return nil, s.error(op, mech)
	}
	return b, nil
}

// DecapsulateToken calls gss_decapsulate_token: what is in the frame that
// EncapsulateToken makes. ErrDefectiveToken if it is not that of mech. RFC 2743,
// 3.1. MIT, Heimdal, GNU gss, GSS.framework.
func DecapsulateToken(token []byte, mech OID) (*Buffer, error) {
	const op = "gss_decapsulate_token"
	m, err := framed(op, mech, token)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, buf := decapsulateToken(m, token)
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		if heimdal() && (Major(s.major).Is(ErrFailure) || Major(s.major).Is(ErrBadMech)) { // 7.8, and later ones: for every token that they refuse
			s.major = uint32(ErrDefectiveToken)
		}
		return nil, s.error(op, mech)
	}
	return b, nil
}

// StrToOID calls gss_str_to_oid, for "{ 1 2 840 113554 1 2 2 }", with or without
// braces, and for dots instead of blanks. MIT, GSS.framework; [ParseOID] is for
// all libraries, and takes nothing behind the numbers.
func StrToOID(s string) (OID, error) {
	const op = "gss_str_to_oid"
	if _, err := lib(); err != nil {
		return "", err
	}
	if len(s) > 4*maxOID {
		return "", &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("a text of %d bytes is too long", len(s))}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	st, oid, handle := strToOID([]byte(s))
	releaseOID(handle)
	switch {
	case st.failed():
		return "", st.error(op, "")
	case oid == "":
		return "", &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("%q makes no object identifier that is passed on", clip(s))}
	}
	return oid, nil
}

// OIDToStr calls gss_oid_to_str. MIT writes "{ 1 2 840 113554 1 2 2 }", Heimdal
// "1 2 840 113554 1 2 2"; the NUL that MIT counts is taken off. What a library
// writes wrong is an error: numbers of more than 64 bits, and on Heimdal 7.8 of more
// than 32, and there what begins with 2.48 or more. [OID.String] is for all.
func OIDToStr(oid OID) (string, error) {
	const op = "gss_oid_to_str"
	if _, err := lib(); err != nil {
		return "", err
	}
	if oid == "" {
		return "", &Error{Op: op, Major: ErrFailure, Text: "no object identifier was given"}
	}
	o, err := cOID(op, oid)
	if err != nil {
		return "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, buf := oidToStr(o)
	b := buf.take()
	if s.failed() {
		return "", s.error(op, "")
	}
	text := string(bytes.TrimSuffix(b, []byte{0}))
	if numbers := strings.ReplaceAll(oid.String(), ".", " "); strings.Trim(text, "{} ") != numbers {
		return "", &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("the library writes %q for %v", clip(text), oid)}
	}
	return text, nil
}

// OIDToName calls gss_oid_to_name: what a mechanism is called in C, such as
// "GSS_KRB5_MECHANISM"; empty if the library does not know it. Heimdal.
func OIDToName(oid OID) (string, error) {
	const op = "gss_oid_to_name"
	if _, err := lib(); err != nil {
		return "", err
	}
	o, err := cOID(op, oid)
	if err != nil || o == nil {
		return "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, name := oidToName(o)
	if s.failed() {
		return "", s.error(op, "")
	}
	return name, nil
}

// NameToOID calls gss_name_to_oid: the mechanism of a short name, such as
// "Kerberos 5", or of the beginning of one that is the beginning of no other. It
// is empty if there is none. Heimdal.
func NameToOID(name string) (OID, error) {
	const op = "gss_name_to_oid"
	if _, err := lib(); err != nil {
		return "", err
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return "", &Error{Op: op, Major: ErrBadName, Text: fmt.Sprintf("%q is empty or has a NUL byte", clip(name))}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, oid := nameToOID(withNUL(name, 1))
	if s.failed() {
		return "", s.error(op, "")
	}
	return oid, nil
}

// withNUL is a copy of s with a NUL byte, of which counted are part of the
// slice: behind the slice there is a NUL in any case.
func withNUL(s string, counted int) []byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return b[:len(s)+counted]
}

// What is asked for as a C struct with pointers in it: MIT's mechanism ends the
// process on another length, or follows what it finds.
const (
	invokeCcacheName OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x03" // 1.2.840.113554.1.2.2.5.3
	invokeFreeLucid  OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x07" // 1.2.840.113554.1.2.2.5.7
)

// MechInvoke calls gssspi_mech_invoke: a mechanism's own call, chosen by object,
// with value, which may be empty. What it does is for the whole process. MIT.
//
// MIT's Kerberos has 1.2.840.113554.1.2.2.5.9, the keytab of acceptors, whose name
// is the value, and 1.2.840.113554.1.2.2.5.8, which makes the process use the
// KDC's configuration. Those that want C structs are ErrUnavailable: they are
// functions of their own.
func MechInvoke(mech, object OID, value []byte) error {
	const op = "gssspi_mech_invoke"
	if _, err := lib(); err != nil {
		return err
	}
	if mech == "" || object == "" {
		return noMech(op, "mechanism or object")
	}
	for _, o := range []OID{invokeCcacheName, invokeFreeLucid} {
		if strings.HasPrefix(string(object), string(o)) {
			return &Error{Op: op, Major: ErrUnavailable, Mech: mech, Text: fmt.Sprintf("not called: %v takes a C struct with pointers", object)}
		}
	}
	if err := checkSize(op, "value", len(value)); err != nil {
		return err
	}
	m, err := cOID(op, mech)
	if err != nil {
		return err
	}
	o, err := cOID(op, object)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s := mechInvoke(m, o, withNUL(string(value), 0)); s.failed() {
		return s.error(op, mech)
	}
	return nil
}

// mechOption checks what the calls for options of mechanisms take.
func mechOption(op string, mech, option OID) (m, o unsafe.Pointer, err error) {
	if _, err := lib(); err != nil {
		return nil, nil, err
	}
	if mech == "" || option == "" {
		return nil, nil, noMech(op, "mechanism or option")
	}
	if m, err = cOID(op, mech); err != nil {
		return nil, nil, err
	}
	o, err = cOID(op, option)
	return m, o, err
}

// MOSet calls gss_mo_set: it sets an option of a mechanism, for the whole process.
// ErrUnavailable for an option that is none, or cannot be set; Heimdal 7.8 has none
// that can. Heimdal.
func MOSet(mech, option OID, enable bool, value []byte) error {
	const op = "gss_mo_set"
	m, o, err := mechOption(op, mech, option)
	if err != nil {
		return err
	}
	if err := checkSize(op, "value", len(value)); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s := moSet(m, o, enable, value); s.failed() {
		return s.error(op, mech)
	}
	return nil
}

// MOGet calls gss_mo_get: the value of an option of a mechanism, such as its name
// for MAMechName. ErrUnavailable for an option that is none, or has no value.
// Heimdal.
func MOGet(mech, option OID) ([]byte, error) {
	const op = "gss_mo_get"
	m, o, err := mechOption(op, mech, option)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, buf := moGet(m, o)
	b := buf.take()
	if s.failed() {
		return nil, s.error(op, mech)
	}
	return b, nil
}

// MOList calls gss_mo_list: the options of a mechanism. Heimdal.
func MOList(mech OID) ([]OID, error) {
	const op = "gss_mo_list"
	if _, err := lib(); err != nil {
		return nil, err
	}
	if mech == "" {
		return nil, noMech(op, "mechanism")
	}
	m, err := cOID(op, mech)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, set := moList(m)
	if s.failed() {
		return nil, s.error(op, mech)
	}
	if set == nil {
		return nil, &Error{Op: op, Major: ErrBadMech, Mech: mech, Text: "the library tells no options of it"}
	}
	return takeOIDSet(set), nil
}

// MOName calls gss_mo_name: what an option of a mechanism is called. Heimdal.
func MOName(mech, option OID) (string, error) {
	const op = "gss_mo_name"
	m, o, err := mechOption(op, mech, option)
	if err != nil {
		return "", err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, buf := moName(m, o)
	b := buf.take()
	if s.failed() {
		return "", s.error(op, mech)
	}
	return string(b), nil
}
