package gss

import (
	"bytes"
	"fmt"
	"runtime"
	"unsafe"
)

// Name is a gss_name_t. It does not change, and may be used by many calls at
// once.
type Name struct {
	c     *cell
	how   sharing
	realm string // that it was imported with, where Heimdal may forget it: see realmKept
}

// sharing says how calls on one name of Heimdal keep out of each other's way.
//
// Heimdal (7.8, lib/gssapi/mech/gss_names.c) adds to a name that was imported the
// mechanism names that a call looks up, without a lock. A mechanism name does not
// change; but one that came out of a SPNEGO context is of a kind of its own, which
// compares unequal to the same name from elsewhere and crashes
// gss_duplicate_name: see mechanismName.
type sharing uint8

const (
	plain    sharing = iota // the library takes care, or the name does not change
	imported                // each call works on a duplicate
	adopted                 // not known what it is: one call at a time
)

func newName(h unsafe.Pointer, how sharing) *Name {
	if h == nil {
		return nil
	}
	if !heimdal() {
		how = plain
	}
	n := &Name{c: newCell(h, func(h unsafe.Pointer) { releaseName(h) }), how: how}
	runtime.AddCleanup(n, (*cell).close, n.c)
	return n
}

// heimdal reports whether the library is Heimdal, or Apple's descendant of it.
func heimdal() bool { return kind() == KindHeimdal || kind() == KindApple }

// mechanismName takes a name that a context told. What Heimdal 7.8's SPNEGO told
// becomes the inner mechanism's name on its way out and in again.
//
//gss:pinned
func mechanismName(h unsafe.Pointer) *Name {
	if h == nil || !heimdal() || laterHeimdal() {
		return newName(h, plain)
	}
	if inner := exportImport(h); inner != nil {
		releaseName(h)
		h = inner
	}
	return newName(h, plain)
}

// exportImport copies a mechanism name by its exported form; nil if it has none.
//
//gss:pinned
func exportImport(h unsafe.Pointer) unsafe.Pointer {
	s, buf := exportName(h)
	b := buf.take()
	typ, err := cOID("gss_import_name", NTExportName)
	if s.failed() || err != nil {
		return nil
	}
	s, inner := importName(b, typ)
	if s.failed() {
		return nil
	}
	return inner
}

// begin takes hold of the name for one call. A nil Name is GSS_C_NO_NAME.
func (n *Name) begin(op string) (use, error) {
	if n == nil {
		runtime.LockOSThread()
		return use{}, nil
	}
	if !n.c.hold() {
		return use{}, &Error{Op: op, Major: ErrBadName, Text: "the name was released"}
	}
	u := use{c: n.c, h: n.c.h}
	switch n.how {
	case adopted:
		n.c.mu.Lock()
		u.locked = true
		runtime.LockOSThread()
	case imported:
		n.c.mu.Lock()
		runtime.LockOSThread()
		s, h := duplicateName(n.c.h)
		n.c.mu.Unlock()
		if s.failed() {
			err := s.error("gss_duplicate_name", "")
			u.end()
			return use{}, err
		}
		u.h, u.copied = h, true
		if n.realm != "" && op != opDisplay && op != opDuplicate {
			if err := n.realmKept(op, h); err != nil {
				u.end()
				return use{}, err
			}
		}
	default:
		runtime.LockOSThread()
	}
	return u, nil
}

// Calls that do not ask whose name it is.
const (
	opDisplay   = "gss_display_name"
	opDuplicate = "gss_duplicate_name"
)

// realmOf is the realm of a principal host/NAME@REALM, which Heimdal 7.8 takes
// for a host's service, and puts that host's realm in its place
// (lib/gssapi/krb5/canonicalize_name.c). Empty for other names.
func realmOf(name []byte, typ OID) string {
	if !heimdal() || typ != "" && typ != NTKrb5PrincipalName && typ != NTUserName || !bytes.HasPrefix(name, []byte("host/")) {
		return ""
	}
	_, realm, _ := bytes.Cut(name, []byte("@"))
	return string(realm)
}

// realmKept is ErrBadName if Heimdal would take the name for that of another
// realm.
//
//gss:pinned
func (n *Name) realmKept(op string, h unsafe.Pointer) error {
	mech, err := cOID(op, MechKrb5)
	if err != nil {
		return err
	}
	s, mn := canonicalizeName(h, mech)
	if s.failed() || mn == nil {
		return nil // so will the call that asks
	}
	_, buf, _ := displayName(mn)
	text := buf.take()
	releaseName(mn)
	if bytes.HasSuffix(text, []byte("@"+n.realm)) {
		return nil
	}
	return &Error{Op: op, Major: ErrBadName, Text: fmt.Sprintf("Heimdal would take %s for it, and not the one of realm %s: let krb5.conf say of which realm the host is", cleanText(text), n.realm)}
}

// forMech is the name to initiate to with mech. Heimdal 7.8's SPNEGO does not take
// a name of Kerberos, such as that of a peer: it gets the text of it.
func (n *Name) forMech(mech OID) (*Name, error) {
	if n == nil || n.how != plain || mech != MechSPNEGO || !heimdal() {
		return n, nil
	}
	buf, typ, err := n.Display()
	if err != nil {
		return nil, err
	}
	defer buf.Release()
	return ImportName(buf.Bytes(), typ)
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
	if err := checkForm(op, name, typ); err != nil {
		return nil, err
	}
	if gnu() && typ == NTExportName {
		if name, err = gnuImport(op, name); err != nil {
			return nil, err
		}
		return ImportName(name, NTKrb5PrincipalName)
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
	if typ == NTExportName || typ == NTCompositeExport {
		return newName(h, plain), nil
	}
	n := newName(h, imported)
	n.realm = realmOf(name, typ)
	return n, nil
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
	const op = opDisplay
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
	// Adopted names are locked: in the order of their addresses, so that no two
	// calls wait for each other, and once if they are one.
	if n != nil && other != nil && uintptr(unsafe.Pointer(n.c)) > uintptr(unsafe.Pointer(other.c)) {
		n, other = other, n
	}
	u, err := n.need(op)
	if err != nil {
		return false, err
	}
	defer u.end()
	h := u.h
	if other == nil || other.c != n.c {
		v, err := other.need(op)
		if err != nil {
			return false, err
		}
		defer v.end()
		h = v.h
	}
	s, equal := compareName(u.h, h)
	if s.failed() {
		return false, s.error(op, "")
	}
	return equal, nil
}

// Duplicate calls gss_duplicate_name. RFC 2744, 5.12.
func (n *Name) Duplicate() (*Name, error) {
	const op = opDuplicate
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if heimdal() && n.how != imported {
		h := exportImport(u.h)
		if h == nil {
			return nil, &Error{Op: op, Major: ErrUnavailable, Text: "Heimdal can duplicate a mechanism name by its exported form only, and this one has none"}
		}
		return newName(h, plain), nil
	}
	s, h := duplicateName(u.h)
	d, err := named(op, s, h, "", n.how)
	if err == nil {
		d.realm = n.realm
	}
	return d, err
}

// Canonicalize calls gss_canonicalize_name: the mechanism name (MN) of the name
// for mech, which must not be empty. It may ask the name service. RFC 2744, 5.4.
func (n *Name) Canonicalize(mech OID) (*Name, error) {
	const op = "gss_canonicalize_name"
	if mech == "" {
		return nil, &Error{Op: op, Major: ErrBadMech, Text: "no mechanism was given"}
	}
	if err := gnuMech(op, mech); err != nil {
		return nil, err
	}
	if heimdal() && mech == MechSPNEGO {
		return nil, &Error{Op: op, Major: ErrBadMech, Mech: mech, Text: "not called: Heimdal makes a name that crashes; canonicalize for the mechanism inside, such as Kerberos"}
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
	return named(op, s, h, mech, plain)
}

// named makes the Name that a call returned, or its error.
//
//gss:pinned
func named(op string, s status, h unsafe.Pointer, mech OID, how sharing) (*Name, error) {
	if s.failed() {
		if h != nil {
			releaseName(h)
		}
		return nil, s.error(op, mech)
	}
	if h == nil {
		if t := minorText(s.minor, mech); t != "" { // GNU gss 1.0.4, a service without a host
			return nil, &Error{Op: op, Major: ErrBadName, Minor: s.minor, Mech: mech, Text: t}
		}
		return nil, &Error{Op: op, Major: ErrFailure, Mech: mech, Text: "the library reported success and returned no name"}
	}
	return newName(h, how), nil
}

// Export calls gss_export_name: the canonical bytes of a mechanism name, fit for
// comparing with memcmp and for access control lists (RFC 2743, 3.2).
// ErrNameNotMN for a name that was not canonicalized; Heimdal 7.8 and GNU gss
// would export other bytes than those of the mechanism name. RFC 2744, 5.13.
func (n *Name) Export() (*Buffer, error) {
	const op = "gss_export_name"
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if heimdal() && n.how == imported {
		return nil, &Error{Op: op, Major: ErrNameNotMN, Text: "canonicalize it first"}
	}
	if err := gnuExport(op, u.h); err != nil {
		return nil, err
	}
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
// LoadAt), and ErrBadName for nil; then the handle is still the caller's.
func AdoptName(h unsafe.Pointer) (*Name, error) {
	const op = "adopt name"
	if err := adoptable(op); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrBadName, Text: "the handle is NULL"}
	}
	return newName(h, adopted), nil
}

// Detach gives up the name without releasing it: the gss_name_t is the
// caller's. From here on every call answers ErrBadName; Detach waits for those
// that are under way, which may ask a KDC. The error is ErrBadName if it was
// released or detached before.
func (n *Name) Detach() (unsafe.Pointer, error) {
	const op = "detach name"
	if n == nil {
		return nil, &Error{Op: op, Major: ErrBadName, Text: "no name was given"}
	}
	h, err := n.c.detach()
	if err != nil {
		return nil, &Error{Op: op, Major: ErrBadName, Text: err.Error()}
	}
	return h, nil
}
