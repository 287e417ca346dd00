package gssapi

import (
	"context"
	"maps"
	"slices"

	"github.com/seed2651813c/gss"
)

// StoreOptions say how a credential is stored. The zero value stores the Kerberos
// tickets of a credential where the process has its own, if none are there.
type StoreOptions struct {
	// Usage of what is stored; the zero value is Initiate, which is all that MIT and
	// Heimdal can store.
	Usage Usage
	// Mech is whose element is stored; empty is Kerberos.
	Mech OID
	// Overwrite replaces what is there. Without it that is ErrDuplicateElement; on
	// Heimdal only if what is there lives as long, or is somebody else's, and else it
	// is replaced too.
	Overwrite bool
	// Default makes it the default credential, where a store has several (DIR, KCM,
	// KEYRING).
	Default bool
	// Store says where to, instead of the environment: the key ccache. On Heimdal
	// after 7.8 it may be unique_ccache_type instead, such as FILE, for a new ccache
	// whose name StoreEnv tells. ErrUnavailable on libraries that have no stores
	// (Heimdal 7.8); CopyToCCache works there.
	Store map[string]string
}

// Store writes the credential, such as a delegated one, into a credential store,
// where later calls and other processes find it: a ccache for Kerberos. Nil
// options are the zero ones. The caller removes what was stored, and sees to it that
// no two write into one ccache at the same time: the libraries fail then.
//
// On Heimdal 7.8 it renews the tickets in a default ccache that is a FILE and the
// credential's user has already; else the error is ErrUnavailable, because Heimdal
// would store into a ccache in memory, even that of another credential. There
// CopyToCCache says where to.
//
// It may ask a KDC, if MIT finds a client keytab to refresh the credential from,
// and returns when ctx is done; what it goes on to write stays. RFC 5588, 4.
func (c *Credential) Store(ctx context.Context, o *StoreOptions) error {
	s, err := o.check("Store")
	if err != nil {
		return err
	}
	return c.quietly(ctx, "Store", func(c *gss.Cred) error {
		if s.Store == nil {
			_, err := c.Store(s.Usage.thin(), s.Mech, s.Overwrite, s.Default)
			return err
		}
		_, err := c.StoreInto(s.Usage.thin(), s.Mech, s.Overwrite, s.Default, s.Store)
		return err
	})
}

// StoreEnv is Store, and tells the environment that a process needs to find what
// was stored, such as "KRB5CCNAME=FILE:/tmp/krb5cc_8vkCYk", for the Env of an
// exec.Cmd. The environment of this process stays as it is. Heimdal after 7.8;
// ErrUnavailable on MIT and Heimdal 7.8.
func (c *Credential) StoreEnv(ctx context.Context, o *StoreOptions) ([]string, error) {
	s, err := o.check("StoreEnv")
	if err != nil {
		return nil, err
	}
	var flags gss.StoreFlags
	if s.Overwrite {
		flags |= gss.StoreOverwrite
	}
	if s.Default {
		flags |= gss.StoreDefault
	}
	return answered(ctx, c, "StoreEnv", func(c *gss.Cred) ([]string, error) {
		r, err := c.StoreInto2(s.Usage.thin(), s.Mech, flags, s.Store)
		if err != nil {
			return nil, err
		}
		return r.Env, nil
	})
}

// check returns a copy of the options, with the defaults in it.
func (o *StoreOptions) check(op string) (*StoreOptions, error) {
	if o == nil {
		o = new(StoreOptions)
	}
	s := *o
	s.Store = maps.Clone(o.Store)
	if s.Usage > Both {
		return nil, refuse(op, ErrFailure, "%v is no usage: use Initiate, Accept or Both", s.Usage)
	}
	if s.Mech == "" {
		// Of all elements MIT would store those for Kerberos and SPNEGO, which are the
		// same, one over the other.
		s.Mech = MechKrb5
	}
	// Libraries overlook what they do not know, and store into the default ccache.
	if s.Store == nil || len(s.Store) == 1 && (s.Store["ccache"] != "" || s.Store["unique_ccache_type"] != "" && gss.Supports("gss_store_cred_into2")) {
		return &s, nil
	}
	return nil, refuse(op, ErrFailure, "the Store to write into has one key, ccache: it has %v", slices.Sorted(maps.Keys(s.Store)))
}

// quietly makes a call about a credential that may block and returns nothing.
func (c *Credential) quietly(ctx context.Context, op string, call func(*gss.Cred) error) error {
	_, err := answered(ctx, c, op, func(c *gss.Cred) (struct{}, error) { return struct{}{}, call(c) })
	return err
}

// answered makes a call about a credential that may block.
func answered[T any](ctx context.Context, c *Credential, op string, call func(*gss.Cred) (T, error)) (answer T, err error) {
	if c == nil {
		return answer, refuse(op, ErrNoCred, "no credential: Acquire one")
	}
	if err := ended(ctx, op); err != nil {
		return answer, err
	}
	b := blocking[T]{
		gate: acquiring, trace: c.trace.orNone(), event: Event{Op: op},
		call:    func([]byte) (T, error) { return call(c.thin()) },
		discard: func(T) {},
	}
	answer, _, err = b.run(ctx)
	return answer, err
}

// Export returns a token that ImportCredential makes a credential of, in this or
// another process with the same library. c stays as it is.
//
// The token is a secret: it holds session keys, and with MIT a password that the
// credential was acquired with. Call clear on it after use; C's copy is zeroed.
// Tickets and keys that are in a file are in the token by the file's name alone;
// what is in memory, such as a delegated credential, is in it whole with MIT, and
// of it the ticket-granting ticket with Heimdal 7.8.
//
// It may ask a KDC for an MIT credential that was not used yet. Errors are
// ErrUnavailable if the library or a mechanism of the credential cannot (GNU gss,
// NTLM), and on Heimdal 7.8 for a credential to accept with; what comes out there
// is for Kerberos, also if c was for SPNEGO too: ForSPNEGO helps.
func (c *Credential) Export(ctx context.Context) ([]byte, error) {
	const op = "Export"
	if c == nil {
		return nil, refuse(op, ErrNoCred, "no credential: Acquire one")
	}
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	b := blocking[*gss.Buffer]{
		gate: acquiring, trace: c.trace.orNone(), event: Event{Op: op},
		call:    func([]byte) (*gss.Buffer, error) { return c.thin().Export() },
		discard: func(b *gss.Buffer) { b.Release() },
	}
	buf, _, err := b.run(ctx)
	if err != nil {
		return nil, err
	}
	defer buf.Release()
	return buf.AppendTo(make([]byte, 0, buf.Len()))
}

// ImportCredential makes a credential of a token of Export. The caller clears the
// token. It does not ask a KDC.
//
// The C libraries trust the token: what was changed, or made by somebody else,
// may crash them or make the credential one of another file. Only pass a token
// that came from this program on a way that nobody else can write to.
func ImportCredential(token []byte) (*Credential, error) {
	c, err := gss.ImportCred(token)
	if err != nil {
		return nil, err
	}
	return wrapCred(c, nil), nil
}

// Impersonate returns a credential in the name of a user who did not log in with
// Kerberos (S4U2Self, MS-SFU): c is the credential of a service, to initiate with,
// and the KDC vouches that it may speak to itself for that user. With it
// NewInitiator makes contexts to other services, if the KDC lets c's service
// delegate to them (S4U2Proxy, constrained delegation), or else to c's own. The
// result holds c's tickets too, and lives as long as the ticket that the KDC gave.
//
// Constrained delegation needs no call of its own either for a user who did log
// in: a credential of both usages that accepts has what Delegated returns proxy
// for its client, where the initiator delegated nothing (MIT).
//
// Of o there are Mechs (none: Kerberos and SPNEGO), Lifetime and the options from
// NegMechs on. The KDC is asked, and ctx is as for Acquire. MIT 1.8 and later;
// ErrUnavailable on Heimdal 7.8 and GNU gss.
func (c *Credential) Impersonate(ctx context.Context, name *Name, o *CredentialOptions) (*Credential, error) {
	const op = "Impersonate"
	var p CredentialOptions
	if o != nil {
		p = *o
	}
	if c == nil {
		return nil, refuse(op, ErrNoCred, "no credential: Acquire one of the service")
	}
	if name == nil {
		return nil, refuse(op, ErrBadName, "no name: it says who is impersonated")
	}
	if p.Name != nil || p.Store != nil || p.Password != "" || p.CCache != "" || p.Usage != Initiate || p.Impersonator != nil {
		return nil, refuse(op, ErrFailure, "the options have a Name, Store, Password, CCache, Usage or Impersonator: the credential comes from the KDC, to initiate with")
	}
	p.Name = name
	lifetime, err := p.check(ctx, op)
	if err != nil {
		return nil, err
	}
	mechs := slices.Clone(p.Mechs)
	if len(mechs) == 0 {
		mechs = []OID{MechKrb5, MechSPNEGO} // by default MIT makes no element for SPNEGO
	}
	return p.acquire(ctx, acquiring, op, nil, func([]byte) (*gss.CredResult, error) {
		return c.thin().Impersonate(name.thin(), lifetime, mechs, gss.UsageInitiate)
	})
}

// NegMechs are the NegMechs that c was acquired with: the mechanisms that SPNEGO
// may negotiate with it; nil if none were given. Heimdal after 7.8; ErrUnavailable
// on MIT, which does not tell.
func (c *Credential) NegMechs() ([]OID, error) {
	if c == nil {
		return nil, refuse("NegMechs", ErrNoCred, "no credential: Acquire one")
	}
	return c.thin().NegMechs()
}

// Duplicate returns a credential of its own that has what c has. A Credential is
// safe to share, and what changes one is in the options of Acquire: it is for code
// that changes the handle in C (Detach). It may ask a KDC, and returns when ctx is
// done. ErrUnavailable where the library does not export gss_duplicate_cred: all
// but Heimdal after 7.8, and that too on ELF systems. Export and ImportCredential
// do about the same.
func (c *Credential) Duplicate(ctx context.Context) (*Credential, error) {
	const op = "Duplicate"
	if c == nil {
		return nil, refuse(op, ErrNoCred, "no credential: Acquire one")
	}
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	b := blocking[*gss.Cred]{
		gate: acquiring, trace: c.trace.orNone(), event: Event{Op: op},
		call:    func([]byte) (*gss.Cred, error) { return c.thin().Duplicate() },
		discard: func(d *gss.Cred) { d.Release() },
	}
	d, _, err := b.run(ctx)
	if err != nil {
		return nil, err
	}
	return wrapCred(d, c.trace), nil
}

// Destroy closes the credential, and removes the ccache or whatever it is stored
// in, if the mechanism can: that of Kerberos can in GSS.framework, and in Heimdal it
// leaves the ccache. ErrNoCred if c was closed already, or a call uses it now; in
// every other case it is closed. Heimdal after 7.8, but not on ELF systems, and
// GSS.framework.
func (c *Credential) Destroy() error {
	if c == nil {
		return refuse("Destroy", ErrNoCred, "no credential: Acquire one")
	}
	return c.thin().Destroy()
}

// InquireByOID asks the credential a question that a mechanism defines, such as
// gss.CredImpersonator, and returns the answers of its elements. The error is
// ErrUnavailable (MIT) or ErrFailure (Heimdal) if none knows the question. It may
// ask a KDC, and returns when ctx is done. MIT and Heimdal.
func (c *Credential) InquireByOID(ctx context.Context, oid OID) ([][]byte, error) {
	return answered(ctx, c, "InquireByOID", func(c *gss.Cred) ([][]byte, error) { return c.InquireByOID(oid) })
}
