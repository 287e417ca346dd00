package gss

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

// ErrNoLocalUser is the error of a principal that stands for no user of this
// machine.
var ErrNoLocalUser = errors.New("no local user")

// noLocalUser is the error of a call that found no local user. Libraries answer
// ErrUnavailable for that, MIT 1.20 with the text of ENOENT.
func noLocalUser(op string, mech OID, s status, why string) *Error {
	return &Error{Op: op, Major: ErrFailure, Minor: s.minor, Mech: mech, Text: why, Err: ErrNoLocalUser}
}

const noName = "the principal has no name on this machine: see auth_to_local in krb5.conf"

// localMech checks the mechanism of a call for a local name. Heimdal 7.8 makes a
// name of SPNEGO's that crashes.
func localMech(op string, mech OID) (unsafe.Pointer, error) {
	if _, err := lib(); err != nil {
		return nil, err
	}
	if heimdal() && mech == MechSPNEGO {
		return nil, &Error{Op: op, Major: ErrBadMech, Mech: mech, Text: "not called: ask for the mechanism inside, such as Kerberos"}
	}
	return cOID(op, mech)
}

// mapped is the error of a failed call for a local name.
//
//gss:pinned
func (s status) mapped(op string, mech OID) *Error {
	if Major(s.major).Is(ErrUnavailable) && bound(op) {
		return noLocalUser(op, mech, s, noName)
	}
	return s.error(op, mech)
}

// Localname calls gss_localname: the name of the local user that the principal
// stands for, by rules such as auth_to_local in krb5.conf; an empty mech is that of
// the name. It does not say that there is such a user, nor that the principal may
// log in as him: AuthorizeLocalname does. The error is ErrNoLocalUser if there is no
// rule. It asks no KDC; plugins of the library may ask a name service. MIT 1.10 and
// later, Heimdal 7.1 and later.
func (n *Name) Localname(mech OID) (*Buffer, error) {
	const op = "gss_localname"
	m, err := localMech(op, mech)
	if err != nil {
		return nil, err
	}
	u, err := n.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, buf := localname(u.h, m)
	b := buf.buffer(false)
	if s.failed() {
		b.Release()
		return nil, s.mapped(op, mech)
	}
	if b.Len() == 0 {
		b.Release()
		return nil, noLocalUser(op, mech, s, noName)
	}
	return b, nil
}

// PnameToUID calls gss_pname_to_uid: the uid of the local user that Localname
// tells. The error is ErrNoLocalUser if there is none. It asks the name service
// (getpwnam) and no KDC. MIT, Heimdal.
func (n *Name) PnameToUID(mech OID) (uint32, error) {
	const op = "gss_pname_to_uid"
	m, err := localMech(op, mech)
	if err != nil {
		return 0, err
	}
	u, err := n.need(op)
	if err != nil {
		return 0, err
	}
	defer u.end()
	// A name that is empty is no user, and MIT 1.20 loses its memory.
	if s, buf := localname(u.h, m); len(buf.take()) == 0 && !s.failed() {
		return 0, noLocalUser(op, mech, s, noName)
	}
	s, uid := pnameToUID(u.h, m)
	switch {
	case s.failed() && Major(s.major).Is(ErrFailure) && s.minor == 0: // MIT 1.20: getpwnam_r
		return 0, noLocalUser(op, mech, s, "this machine does not know the user, or its user database cannot be read")
	case s.failed():
		return 0, s.mapped(op, mech)
	case uid == 1<<32-1:
		return 0, &Error{Op: op, Major: ErrFailure, Mech: mech, Text: "the library reported success and told no uid"}
	}
	return uid, nil
}

// UserOK calls gss_userok: may the principal log in as that local user? It is
// AuthorizeLocalname without an error: false also if the library could not tell.
// It reads the user's ~/.k5login and asks the name service for his home, and no
// KDC. The error is that of a user's name that is none, of a name that was
// released, and ErrUnavailable.
//
// GNU gss 1.0.4 compares the text of the name with that of the user, and the names
// that it tells of peers have no realm: do not decide by it there. MIT 1.10 and
// later, Heimdal, GNU gss, GSS.framework.
func (n *Name) UserOK(user string) (bool, error) {
	const op = "gss_userok"
	if _, err := lib(); err != nil {
		return false, err
	}
	if user == "" || len(user) > maxText || strings.ContainsRune(user, 0) {
		return false, &Error{Op: op, Major: ErrBadName, Text: fmt.Sprintf("%q is no user", clip(user))}
	}
	u, err := n.need(op)
	if err != nil {
		return false, err
	}
	defer u.end()
	s, ok := userok(u.h, withNUL(user, 1))
	if s.failed() {
		return false, s.error(op, "")
	}
	return ok, nil
}

// AuthorizeLocalname calls gss_authorize_localname: may the principal log in as
// that local user, whose name was imported as NTUserName? For Kerberos he may if
// the user's ~/.k5login has him, or, without such a file, if Localname is the
// user's name. (On Heimdal 7.8 the file keeps nobody out unless krb5.conf says
// k5login_authoritative, and there need be no such user.) It asks the name service
// for the user's home, and no KDC. False and
// no error is a clear no (GSS_S_UNAUTHORIZED). MIT 1.10 and later, Heimdal.
func (n *Name) AuthorizeLocalname(user *Name) (bool, error) {
	const op = "gss_authorize_localname"
	if _, err := lib(); err != nil {
		return false, err
	}
	if n != nil && user != nil && n.c == user.c {
		return false, &Error{Op: op, Major: ErrBadName, Text: "the principal and the user are one name: import the user's as a user name"}
	}
	// Adopted names are locked: in the order of their addresses, as in Compare.
	first, second := n, user
	if n != nil && user != nil && uintptr(unsafe.Pointer(n.c)) > uintptr(unsafe.Pointer(user.c)) {
		first, second = user, n
	}
	u, err := first.need(op)
	if err != nil {
		return false, err
	}
	defer u.end()
	v, err := second.need(op)
	if err != nil {
		return false, err
	}
	defer v.end()
	if first != n {
		u, v = v, u
	}
	if kind() == KindMIT {
		r := inquireName(u.h)
		releaseOID(r.handle)
		releaseBufferSet(r.attrs, false)
		if !r.failed() && !r.mn {
			return false, &Error{Op: op, Major: ErrNameNotMN, Text: "canonicalize it first"}
		}
	}
	s := authorizeLocalname(u.h, v.h)
	switch {
	case Major(s.major).Is(ErrUnauthorized), Major(s.major).Is(ErrUnavailable) && bound(op):
		return false, nil
	case s.failed():
		return false, s.error(op, "")
	}
	return true, nil
}
