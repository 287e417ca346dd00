package gss

import (
	"fmt"
	"log/slog"
	"math/big"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"
)

// OID is an object identifier: the contents octets of its DER encoding, without
// tag and length, as in RFC 2744's gss_OID_desc. It is comparable and may be a
// constant. The empty OID is GSS_C_NO_OID.
type OID string

// Mechanisms.
const (
	MechKrb5   OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"     // 1.2.840.113554.1.2.2, RFC 4121
	MechSPNEGO OID = "\x2b\x06\x01\x05\x05\x02"                 // 1.3.6.1.5.5.2, RFC 4178
	MechIAKERB OID = "\x2b\x06\x01\x05\x02\x05"                 // 1.3.6.1.5.2.5
	MechNTLM   OID = "\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a" // 1.3.6.1.4.1.311.2.2.10
	MechSANON  OID = "\x2b\x06\x01\x04\x01\xa9\x4a\x1a\x01\x6e" // 1.3.6.1.4.1.5322.26.1.110: no one in particular, encrypted; Heimdal after 7.8, and not inside of SPNEGO
)

// Name types: RFC 2744, 4 and appendix A; RFC 1964, 2.1; RFC 6680.
const (
	NTHostBasedService   OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04" // service@host
	NTUserName           OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x01" // a local user's name
	NTMachineUID         OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x02" // a uid in binary
	NTStringUID          OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x03" // a uid in digits
	NTAnonymous          OID = "\x2b\x06\x01\x05\x06\x03"
	NTExportName         OID = "\x2b\x06\x01\x05\x06\x04"                 // what Export returned
	NTCompositeExport    OID = "\x2b\x06\x01\x05\x06\x06"                 // RFC 6680, 8
	NTKrb5PrincipalName  OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01" // primary/instance@REALM
	NTKrb5EnterpriseName OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x06" // user@domain, to be looked up by the KDC
)

// maxOID bounds what is interned for C and never freed.
const maxOID = 256

// ParseOID parses a dotted object identifier such as "1.2.840.113554.1.2.2".
func ParseOID(s string) (OID, error) {
	bad := func(why string) (OID, error) {
		return "", fmt.Errorf("gss: %q is not an object identifier: %s", clip(s), why)
	}
	parts := strings.Split(s, ".")
	if len(parts) < 2 {
		return bad("it needs two numbers or more with dots between them")
	}
	var out []byte
	var first int64
	for i, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" || len(p) > 1 && p[0] == '0' {
			return bad("each part is a decimal number without leading zeros")
		}
		n, ok := new(big.Int), true
		if len(p) <= 64 {
			n, ok = n.SetString(p, 10)
		}
		if !ok || len(p) > 64 {
			return bad("a number is too long")
		}
		switch i {
		case 0:
			if n.Cmp(big.NewInt(2)) > 0 {
				return bad("the first number is 0, 1 or 2")
			}
			first = n.Int64()
			continue
		case 1:
			if first < 2 && n.Cmp(big.NewInt(39)) > 0 {
				return bad("the second number is at most 39 after 0 and 1")
			}
			n.Add(n, big.NewInt(40*first))
		}
		out = appendBase128(out, n)
	}
	if len(out) > maxOID {
		return bad("it is too long")
	}
	return OID(out), nil
}

func appendBase128(dst []byte, n *big.Int) []byte {
	groups := (n.BitLen() + 6) / 7
	if groups == 0 {
		groups = 1
	}
	var low big.Int
	for i := groups - 1; i >= 0; i-- {
		b := byte(low.Rsh(n, uint(7*i)).Uint64() & 0x7f)
		if i > 0 {
			b |= 0x80
		}
		dst = append(dst, b)
	}
	return dst
}

// String returns the dotted form, "none" for the empty OID, and hexadecimal
// digits in front of a question mark for what is not an object identifier.
func (o OID) String() string {
	if o == "" {
		return "none"
	}
	if len(o) > maxOID {
		return fmt.Sprintf("%x?", clip(string(o)))
	}
	var parts []string
	n := new(big.Int)
	for i := 0; i < len(o); i++ {
		if n.Sign() == 0 && o[i] == 0x80 {
			return fmt.Sprintf("%x?", clip(string(o)))
		}
		n.Lsh(n, 7).Or(n, big.NewInt(int64(o[i]&0x7f)))
		if o[i]&0x80 != 0 {
			continue
		}
		if len(parts) == 0 {
			first := int64(2)
			if n.Cmp(big.NewInt(80)) < 0 {
				first = n.Int64() / 40
			}
			parts = append(parts, strconv.FormatInt(first, 10))
			n.Sub(n, big.NewInt(40*first))
		}
		parts = append(parts, n.String())
		n.SetInt64(0)
	}
	if o[len(o)-1]&0x80 != 0 {
		return fmt.Sprintf("%x?", clip(string(o)))
	}
	return strings.Join(parts, ".")
}

// LogValue makes slog print the dotted form.
func (o OID) LogValue() slog.Value { return slog.StringValue(o.String()) }

// clip shortens what goes into an error text.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// interned holds the gss_OID_desc of every OID that went to C. They are never
// freed: GNU gss 1.0.4 keeps the pointer that gss_import_name was given, and
// other libraries keep those of mechanisms.
var interned sync.Map // OID -> unsafe.Pointer

// cOID is a gss_OID for C; nil for the empty OID.
func cOID(op string, o OID) (unsafe.Pointer, error) {
	if o == "" {
		return nil, nil
	}
	if p, ok := interned.Load(o); ok {
		return p.(unsafe.Pointer), nil
	}
	if len(o) > maxOID {
		return nil, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("object identifier of %d bytes: at most %d are passed to C", len(o), maxOID)}
	}
	internMu.Lock()
	defer internMu.Unlock()
	if p, ok := interned.Load(o); ok {
		return p.(unsafe.Pointer), nil
	}
	p := internOID(o)
	if p == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "out of memory"}
	}
	interned.Store(o, p)
	return p, nil
}

var internMu sync.Mutex

// oidSet makes a gss_OID_set of mechs; nil for none. The thread is pinned by
// the caller, who releases the set with releaseOIDSet.
//
//gss:pinned
func oidSet(mechs []OID) (unsafe.Pointer, error) {
	if len(mechs) == 0 {
		return nil, nil
	}
	s, set := createEmptyOIDSet()
	if s.failed() {
		return nil, s.error("gss_create_empty_oid_set", "")
	}
	for _, m := range mechs {
		p, err := cOID("gss_add_oid_set_member", m)
		if err == nil && p == nil {
			err = &Error{Op: "gss_add_oid_set_member", Major: ErrBadMech, Text: "an empty object identifier in a set"}
		}
		if err == nil {
			s, set = addOIDSetMember(p, set)
			if s.failed() {
				err = s.error("gss_add_oid_set_member", "")
			}
		}
		if err != nil {
			releaseOIDSet(set)
			return nil, err
		}
	}
	return set, nil
}

// takeOIDSet copies a gss_OID_set and releases it.
//
//gss:pinned
func takeOIDSet(set unsafe.Pointer) []OID {
	if set == nil {
		return nil
	}
	n := oidSetCount(set)
	oids := make([]OID, 0, n)
	for i := range n {
		oids = append(oids, oidSetAt(set, i))
	}
	releaseOIDSet(set)
	return oids
}

// IndicateMechs calls gss_indicate_mechs: the mechanisms that the library has.
// RFC 2744, 5.19.
func IndicateMechs() ([]OID, error) {
	if _, err := lib(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, set := indicateMechs()
	mechs := takeOIDSet(set)
	if s.failed() {
		return nil, s.error("gss_indicate_mechs", "")
	}
	return mechs, nil
}

// InquireNamesForMech calls gss_inquire_names_for_mech: the name types that a
// mechanism takes. RFC 2744, 5.24.
func InquireNamesForMech(mech OID) ([]OID, error) {
	const op = "gss_inquire_names_for_mech"
	if _, err := lib(); err != nil {
		return nil, err
	}
	if err := gnuMech(op, mech); err != nil {
		return nil, err
	}
	m, err := cOID(op, mech)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, set := inquireNamesForMech(m)
	types := takeOIDSet(set)
	if s.failed() {
		return nil, s.error(op, mech)
	}
	return types, nil
}

// TestOIDSetMember calls gss_test_oid_set_member: is oid in the set? In Go,
// slices.Contains tells the same; this is for whoever wants the library's word.
// RFC 2744, 5.32.
func TestOIDSetMember(oid OID, set []OID) (bool, error) {
	const op = "gss_test_oid_set_member"
	if _, err := lib(); err != nil {
		return false, err
	}
	o, err := cOID(op, oid)
	if err != nil {
		return false, err
	}
	if o == nil || len(set) == 0 {
		return false, nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := oidSet(set)
	if err != nil {
		return false, err
	}
	s, present := testOIDSetMember(o, p)
	releaseOIDSet(p)
	if s.failed() {
		return false, s.error(op, "")
	}
	return present, nil
}
