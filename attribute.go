package gss

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

// AttrLocalLoginUser is the attribute of a name that has the local users who the
// principal may log in as: GSS_C_ATTR_LOCAL_LOGIN_USER.
const AttrLocalLoginUser = "local-login-user"

// nameInfoResult is what came back of gss_inquire_name.
type nameInfoResult struct {
	status
	mn     bool
	mech   OID
	handle unsafe.Pointer // for releaseOID
	attrs  unsafe.Pointer // gss_buffer_set_t
}

// attributeResult is one value of an attribute.
type attributeResult struct {
	status
	authenticated, complete bool
	more                    int32
	value, display          libBuffer
}

// DisplayExt calls gss_display_name_ext: the name as a text of type typ.
// ErrUnavailable if it cannot be shown so, which is the most common answer: MIT
// 1.20 shows an imported name as the type that it was imported as, and a mechanism
// name as NTKrb5PrincipalName; Heimdal 7.8 shows none. RFC 6680, 7.3.
func (n *Name) DisplayExt(typ OID) (*Buffer, error) {
	const op = "gss_display_name_ext"
	if typ == "" {
		return nil, &Error{Op: op, Major: ErrBadNameType, Text: "no name type was given"}
	}
	t, err := cOID(op, typ)
	if err != nil {
		return nil, err
	}
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, buf := displayNameExt(u.h, t)
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		return nil, s.explained(op, "", fmt.Sprintf("the name cannot be shown as one of type %v", typ))
	}
	return b, nil
}

// explained is error for calls whose libraries answer ErrUnavailable with no text,
// or with that of ENOENT, for what is not there: why says what is not.
//
//gss:pinned
func (s status) explained(op string, mech OID, why string) *Error {
	err := s.error(op, mech)
	if Major(s.major).Is(ErrUnavailable) && bound(op) {
		err.Text = why
	}
	return err
}

// NameInfo is what Inquire tells.
type NameInfo struct {
	MechName   bool     // a mechanism name (MN)
	Mech       OID      // whose it is; empty if it is none
	Attributes []string // the names of its attributes
}

// Inquire calls gss_inquire_name: is it a mechanism name, of which mechanism, and
// which attributes does it have? ErrUnavailable on Heimdal 7.8, whose mechanisms
// know none, and on GNU gss. RFC 6680, 7.4.
func (n *Name) Inquire() (*NameInfo, error) {
	const op = "gss_inquire_name"
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	r := inquireName(u.h)
	releaseOID(r.handle)
	attrs, err := takeBufferSet(r.attrs, false)
	if r.failed() {
		return nil, r.explained(op, "", noAttributes)
	}
	if err != nil {
		return nil, err
	}
	info := &NameInfo{MechName: r.mn, Mech: r.mech}
	for _, a := range attrs {
		info.Attributes = append(info.Attributes, string(a))
	}
	return info, nil
}

const noAttributes = "the name is of no mechanism that has attributes"

// Attribute is one value of an attribute of a name. Its buffers are the caller's.
type Attribute struct {
	Value, Display *Buffer // Display is for people, and often empty
	Authenticated  bool    // somebody who may say so has said it, such as the KDC
	Complete       bool    // nothing is missing in the value
	More           int32   // for the next value; 0 if this was the last
}

// Release releases both buffers.
func (a *Attribute) Release() {
	if a != nil {
		a.Value.Release()
		a.Display.Release()
	}
}

// attribute is the name of an attribute for C, with a NUL behind it: MIT 1.20
// reads on behind the 1 of "urn:mspac:1".
func attribute(op, name string) ([]byte, error) {
	if name == "" || len(name) > maxText || strings.ContainsRune(name, 0) {
		return nil, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("%q is no name of an attribute: it is empty, or longer than %d bytes, or has a NUL byte", clip(name), maxText)}
	}
	return withNUL(name, 0), nil
}

// GetAttribute calls gss_get_name_attribute: a value of an attribute. more is -1
// for the first, and for the others what the one before told. ErrUnavailable for an
// attribute that the name does not have, or whose proof does not hold, and on
// Heimdal 7.8 and GNU gss. RFC 6680, 7.5.
func (n *Name) GetAttribute(attr string, more int32) (*Attribute, error) {
	const op = "gss_get_name_attribute"
	a, err := attribute(op, attr)
	if err != nil {
		return nil, err
	}
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	r := getNameAttribute(u.h, a, more)
	v := &Attribute{r.value.buffer(false), r.display.buffer(false), r.authenticated, r.complete, r.more}
	if r.failed() {
		v.Release()
		return nil, r.explained(op, "", fmt.Sprintf("the name has no attribute %q", clip(attr)))
	}
	return v, nil
}

// SetAttribute calls gss_set_name_attribute on a duplicate of the name, and
// returns that: n does not change. complete says that nothing is missing in the
// value. ErrUnavailable for an attribute that cannot be set, and on Heimdal 7.8 and
// GNU gss. RFC 6680, 7.6.
func (n *Name) SetAttribute(complete bool, attr string, value []byte) (*Name, error) {
	const op = "gss_set_name_attribute"
	a, err := attribute(op, attr)
	if err != nil {
		return nil, err
	}
	if err := checkSize(op, "value", len(value)); err != nil {
		return nil, err
	}
	return changed(n, op, attr, func(h unsafe.Pointer) status { return setNameAttribute(h, complete, a, value) })
}

// DeleteAttribute calls gss_delete_name_attribute on a duplicate of the name, and
// returns that: n does not change. ErrUnavailable for an attribute that the name
// does not have or that cannot be deleted, and on Heimdal 7.8 and GNU gss. RFC
// 6680, 7.7.
func (n *Name) DeleteAttribute(attr string) (*Name, error) {
	const op = "gss_delete_name_attribute"
	a, err := attribute(op, attr)
	if err != nil {
		return nil, err
	}
	return changed(n, op, attr, func(h unsafe.Pointer) status { return deleteNameAttribute(h, a) })
}

// changed is a duplicate of the name that call has changed.
func changed(n *Name, op, attr string, call func(h unsafe.Pointer) status) (*Name, error) {
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if !bound(op) {
		return nil, status{uint32(ErrUnavailable), 0}.error(op, "")
	}
	if heimdal() && !laterHeimdal() {
		// Its mechanisms have none, and its names are not all fit for
		// gss_duplicate_name.
		return nil, call(u.h).explained(op, "", noAttributes)
	}
	s, h := duplicateName(u.h)
	if s.failed() {
		return nil, s.error("gss_duplicate_name", "")
	}
	if s := call(h); s.failed() {
		err := s.explained(op, "", fmt.Sprintf("the attribute %q cannot be changed", clip(attr)))
		releaseName(h)
		return nil, err
	}
	return newName(h, n.how), nil
}

// ExportComposite calls gss_export_name_composite: the name with its attributes, to
// be imported as NTCompositeExport. It is not for comparing: Export is. Whoever
// imports it takes the attributes as proven, so it must come from where it was
// made. ErrUnavailable for a name that is not a mechanism's, and on Heimdal 7.8 and
// GNU gss. RFC 6680, 7.8.
func (n *Name) ExportComposite() (*Buffer, error) {
	const op = "gss_export_name_composite"
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, buf := exportNameComposite(u.h)
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		return nil, s.explained(op, "", noAttributes)
	}
	return b, nil
}

// soundAttributes reports whether the lengths in the attributes of a name that
// MIT's Kerberos exported add up. MIT 1.20 reads beyond them if that of a PAC does
// not (mspac_internalize). What another module than MIT's own two wrote is for that
// module to check.
func soundAttributes(b []byte) bool {
	number := func() (n uint32, ok bool) {
		if len(b) < 4 {
			return 0, false
		}
		n, b = binary.BigEndian.Uint32(b), b[4:]
		return n, true
	}
	counted := func() (part []byte, ok bool) {
		n, ok := number()
		if !ok || uint64(n) > uint64(len(b)) {
			return nil, false
		}
		part, b = b[:n], b[n:]
		return part, true
	}
	if len(b) == 0 {
		return true
	}
	modules, ok := number()
	for ; ok && modules > 0; modules-- {
		var module []byte
		if module, ok = counted(); !ok {
			return false
		}
		switch string(module) {
		case "mspac": // the PAC, and whether it was verified
			if _, ok = counted(); ok {
				_, ok = number()
			}
		case "authentication-indicators":
			var n uint32
			for n, ok = number(); ok && n > 0; n-- {
				_, ok = counted()
			}
		default:
			return true
		}
	}
	return ok && len(b) == 0
}
