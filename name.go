package gss

import (
	"runtime"
	"unsafe"
)

// Name is a gss_name_t. It does not change, and may be used by many calls at
// once.
type Name struct{ c *cell }

func newName(h unsafe.Pointer) *Name {
	if h == nil {
		return nil
	}
	n := &Name{newCell(h, func(h unsafe.Pointer) { releaseName(h) })}
	runtime.AddCleanup(n, (*cell).close, n.c)
	return n
}

// begin takes hold of the name for one call. A nil Name is GSS_C_NO_NAME.
//
// Heimdal (7.8, lib/gssapi/mech/gss_names.c) adds to a name the mechanism names
// that a call looks up, without a lock: there each call works on a duplicate,
// which is made under one.
func (n *Name) begin(op string) (use, error) {
	if n == nil {
		runtime.LockOSThread()
		return use{}, nil
	}
	if !n.c.hold() {
		return use{}, &Error{Op: op, Major: ErrBadName, Text: "the name was released"}
	}
	runtime.LockOSThread()
	u := use{c: n.c, h: n.c.h}
	if kind() == KindHeimdal || kind() == KindApple {
		n.c.mu.Lock()
		s, h := duplicateName(n.c.h)
		n.c.mu.Unlock()
		if s.failed() {
			err := s.error("gss_duplicate_name", "")
			u.end()
			return use{}, err
		}
		u.h, u.copied = h, true
	}
	return u, nil
}

// need is begin for calls that cannot do without a name. (Heimdal 7.8 crashes
// on GSS_C_NO_NAME in most.)
func (n *Name) need(op string) (use, error) {
	if n == nil {
		return use{}, &Error{Op: op, Major: ErrBadName, Text: "no name was given"}
	}
	return n.begin(op)
}

// ImportName calls gss_import_name: it makes a name from its printable or other
// form of type typ; an empty typ is the library's default. It does not ask a
// KDC; a library may ask the name service about a host. RFC 2744, 5.16.
func ImportName(name []byte, typ OID) (*Name, error) {
	const op = "gss_import_name"
	if _, err := lib(); err != nil {
		return nil, err
	}
	if err := checkSize(op, "name", len(name)); err != nil {
		return nil, err
	}
	t, err := cOID(op, typ)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, h := importName(name, t)
	if s.failed() {
		if h != nil {
			releaseName(h)
		}
		return nil, s.error(op, "")
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the library reported success and returned no name"}
	}
	return newName(h), nil
}

// Release drops the name. It does not wait; calls that are using the name go
// on. More calls do nothing.
func (n *Name) Release() {
	if n != nil {
		n.c.close()
	}
}

// Display calls gss_display_name: a printable form of the name, and the type of
// that form. It is for people and logs; compare names with Compare or by
// Export. RFC 2744, 5.10.
func (n *Name) Display() (*Buffer, OID, error) {
	const op = "gss_display_name"
	u, err := n.need(op)
	if err != nil {
		return nil, "", err
	}
	defer u.end()
	s, buf, typ := displayName(u.h)
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		return nil, "", s.error(op, "")
	}
	return b, typ, nil
}

// Compare calls gss_compare_name: do both denote the same entity? Names that
// were imported and never canonicalized may compare unequal although they
// denote the same. RFC 2744, 5.5.
func (n *Name) Compare(other *Name) (bool, error) {
	const op = "gss_compare_name"
	u, err := n.need(op)
	if err != nil {
		return false, err
	}
	defer u.end()
	v, err := other.need(op)
	if err != nil {
		return false, err
	}
	defer v.end()
	s, equal := compareName(u.h, v.h)
	if s.failed() {
		return false, s.error(op, "")
	}
	return equal, nil
}

// Duplicate calls gss_duplicate_name. RFC 2744, 5.12.
func (n *Name) Duplicate() (*Name, error) {
	const op = "gss_duplicate_name"
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, h := duplicateName(u.h)
	return named(op, s, h, "")
}

// Canonicalize calls gss_canonicalize_name: the mechanism name (MN) of the name
// for mech, which must not be empty. It may ask the name service. RFC 2744, 5.4.
func (n *Name) Canonicalize(mech OID) (*Name, error) {
	const op = "gss_canonicalize_name"
	if mech == "" {
		return nil, &Error{Op: op, Major: ErrBadMech, Text: "no mechanism was given"}
	}
	m, err := cOID(op, mech)
	if err != nil {
		return nil, err
	}
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, h := canonicalizeName(u.h, m)
	return named(op, s, h, mech)
}

// named makes the Name that a call returned, or its error.
//
//gss:pinned
func named(op string, s status, h unsafe.Pointer, mech OID) (*Name, error) {
	if s.failed() {
		if h != nil {
			releaseName(h)
		}
		return nil, s.error(op, mech)
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Mech: mech, Text: "the library reported success and returned no name"}
	}
	return newName(h), nil
}

// Export calls gss_export_name: the canonical bytes of a mechanism name, fit for
// comparing with memcmp and for access control lists (RFC 2743, 3.2). MIT
// answers ErrNameNotMN for a name that was not canonicalized; Heimdal exports
// it. RFC 2744, 5.13.
func (n *Name) Export() (*Buffer, error) {
	const op = "gss_export_name"
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, buf := exportName(u.h)
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		return nil, s.error(op, "")
	}
	return b, nil
}

// InquireMechs calls gss_inquire_mechs_for_name: the mechanisms that may be able
// to process the name. RFC 2744, 5.23.
func (n *Name) InquireMechs() ([]OID, error) {
	const op = "gss_inquire_mechs_for_name"
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, set := inquireMechsForName(u.h)
	mechs := takeOIDSet(set)
	if s.failed() {
		return nil, s.error(op, "")
	}
	return mechs, nil
}

// AdoptName takes ownership of a gss_name_t of the loaded library that C made.
// Errors are ErrUnavailable when it cannot be certain whose handle it is (see
// LoadAt), and ErrBadName for nil.
func AdoptName(h unsafe.Pointer) (*Name, error) {
	const op = "adopt name"
	if err := adoptable(op); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrBadName, Text: "the handle is NULL"}
	}
	return newName(h), nil
}

// Detach gives up the name without releasing it: the gss_name_t is the
// caller's. The error is ErrBadName if it was released, or is in use by a call
// at this moment.
func (n *Name) Detach() (unsafe.Pointer, error) {
	if n == nil {
		return nil, &Error{Op: "detach name", Major: ErrBadName, Text: "no name was given"}
	}
	h, ok := n.c.takeAlone()
	if !ok {
		return nil, &Error{Op: "detach name", Major: ErrBadName, Text: "the name was released, or a call is using it"}
	}
	return h, nil
}
