package gssapi

import (
	"context"

	"github.com/seed2651813c/gss"
)

// ErrNoLocalUser is the error of a principal that stands for no user of this
// machine.
var ErrNoLocalUser = gss.ErrNoLocalUser

// lookup makes a call that may ask the name service.
func lookup[T any](ctx context.Context, n *Name, op string, mech OID, call func() (T, error)) (T, error) {
	var none T
	if err := ended(ctx, op); err != nil {
		return none, err
	}
	b := blocking[T]{
		gate: acquiring, trace: noTrace, event: Event{Op: op, Name: n, Mech: mech},
		call:    func([]byte) (T, error) { return call() },
		discard: func(T) {},
	}
	v, _, err := b.run(ctx)
	if err != nil {
		return none, err
	}
	return v, nil
}

// LocalName returns the name of the local user that the principal stands for, by
// rules such as auth_to_local in krb5.conf: by default alice for alice@REALM of the
// default realm. An empty mech is that of the name. It says neither that there is
// such a user nor that the principal may log in as him: see MayLogIn. The error is
// ErrNoLocalUser if no rule fits.
//
// It asks no KDC; plugins of the library may ask a name service. It returns when
// ctx is done. MIT, Heimdal; ErrUnavailable on GNU gss and GSS.framework.
func (n *Name) LocalName(ctx context.Context, mech OID) (string, error) {
	return lookup(ctx, n, "LocalName", mech, func() (string, error) {
		b, err := taken(n.thin().Localname(mech))
		if s := string(b); err == nil && (s == "" || printable(b) != s) {
			return "", refuse("LocalName", ErrFailure, "the library tells a local name that is empty or has control characters: %q", s)
		}
		return string(b), err
	})
}

// MayLogIn reports whether the principal may log in as that local user. For
// Kerberos he may if the user's ~/.k5login has him, or, without such a file, if
// LocalName is the user's name. The name is that of a peer, or one that Canonicalize
// returned; MIT answers ErrNameNotMN to others. False and no error is a no; an error
// is a no as well.
//
// On Heimdal 7.8 a .k5login keeps nobody out unless krb5.conf says
// k5login_authoritative = true, which is the default of MIT; and the answer may be a
// yes for a user that does not exist.
//
// It calls gss_authorize_localname, or gss_userok where the library has that only
// (GSS.framework), which does not tell errors. On GNU gss it is ErrUnavailable: its
// gss_userok compares texts, and the names of its peers have no realm.
//
// It asks the name service for the user's home and reads files there, and asks no
// KDC. It returns when ctx is done.
func (n *Name) MayLogIn(ctx context.Context, user string) (bool, error) {
	const op = "MayLogIn"
	l, err := gss.Library()
	if err != nil {
		return false, err
	}
	if l.Kind == gss.KindGNU {
		return false, refuse(op, ErrUnavailable, "GNU gss compares the texts of names, and tells names of peers without their realm")
	}
	if !gss.Supports("gss_authorize_localname") {
		return lookup(ctx, n, op, "", func() (bool, error) { return n.thin().UserOK(user) })
	}
	u, err := ImportName(user, NTUserName)
	if err != nil {
		return false, err
	}
	return lookup(ctx, n, op, "", func() (bool, error) { return n.thin().AuthorizeLocalname(u.thin()) })
}

// UID returns the uid of the local user that LocalName tells. The error is
// ErrNoLocalUser if there is none. That the principal stands for the user does not
// say that he may log in: see MayLogIn.
//
// It asks the name service, and no KDC. It returns when ctx is done. MIT, Heimdal;
// ErrUnavailable on GNU gss and GSS.framework.
func (n *Name) UID(ctx context.Context, mech OID) (uint32, error) {
	return lookup(ctx, n, "UID", mech, func() (uint32, error) { return n.thin().PnameToUID(mech) })
}
