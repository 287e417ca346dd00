package gssapi

import (
	"context"

	"github.com/seed2651813c/gss"
)

// Krb5Options say which Kerberos credential is made of a ccache or a keytab.
type Krb5Options struct {
	// CCache to initiate with, such as "FILE:/tmp/cc". Empty: none.
	CCache string
	// Keytab to accept with, such as "FILE:/etc/app.keytab". Empty: none. With a
	// CCache too the credential is for both usages, which Heimdal cannot do.
	Keytab string
	// Principal whose credential it is, such as "host/server.example.com". Empty: that
	// of the CCache, and any of the Keytab.
	Principal string
	// Trace is told how it was acquired, and of its calls that block.
	Trace *Trace
}

// AcquireKrb5 makes a credential, for Kerberos alone, of a ccache or a keytab that
// is named. It is the way to name a keytab on Heimdal 7.8, which has no
// credential stores; elsewhere Acquire with a Store does the same, for SPNEGO too.
// It may block on a KDC; ctx is as for Acquire. ErrNoCred if there is no key in the
// Keytab; MIT looks for one of the Principal. MIT 1.9 and later, and Heimdal.
func AcquireKrb5(ctx context.Context, o *Krb5Options) (*Credential, error) {
	const op = "AcquireKrb5"
	if o == nil {
		o = new(Krb5Options)
	}
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	ccache, principal, keytab := o.CCache, o.Principal, o.Keytab
	p := &CredentialOptions{Mechs: []OID{MechKrb5}, Trace: o.Trace}
	return p.acquire(ctx, acquiring, op, nil, func([]byte) (*gss.CredResult, error) {
		c, err := gss.ImportKrb5Cred(ccache, principal, keytab)
		if err != nil {
			return nil, err
		}
		return &gss.CredResult{Cred: c}, nil
	})
}

// CopyToCCache writes the Kerberos tickets of a credential to initiate with, such
// as a delegated one, into a ccache such as "FILE:/tmp/cc", in place of what is
// there; onto themselves too. The caller removes it, and sees to it that no two
// write into one at the same time: the libraries fail then.
//
// It may ask a KDC, if MIT finds a client keytab to refresh the credential from,
// and returns when ctx is done; what it goes on to write stays. ErrNoCred for a
// credential to accept with. MIT and Heimdal.
func (c *Credential) CopyToCCache(ctx context.Context, ccache string) error {
	return c.quietly(ctx, "CopyToCCache", func(c *gss.Cred) error { return c.CopyCCache(ccache) })
}

// ForSPNEGO returns a credential that has the Kerberos tickets of c and initiates
// with SPNEGO too. A delegated credential of MIT and Heimdal is for Kerberos alone,
// and SPNEGO answers ErrNoCred to it.
//
// The tickets are copied into a ccache in memory, which goes when the new
// credential is closed; what c gets afterwards is not in there. It may ask a KDC,
// and ctx is as for Acquire. MIT and Heimdal.
func (c *Credential) ForSPNEGO(ctx context.Context) (*Credential, error) {
	const op = "ForSPNEGO"
	if c == nil {
		return nil, refuse(op, ErrNoCred, "no credential: Acquire one")
	}
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	p := &CredentialOptions{Trace: c.trace}
	return p.acquire(ctx, acquiring, op, nil, func([]byte) (*gss.CredResult, error) {
		return c.thin().ForMechs([]OID{MechKrb5, MechSPNEGO})
	})
}

// RegisterAcceptorIdentity makes a keytab, such as "FILE:/etc/app.keytab", the one
// that this process accepts with by default, from now on; an empty one is the
// default of the configuration again. It is for all of the process: better name
// the keytab to one credential, by a Store or AcquireKrb5. ErrFailure if Heimdal
// finds no key there, and ErrNoCred if it would crash on what it finds; MIT does not
// look. It does not block. MIT and Heimdal.
func RegisterAcceptorIdentity(keytab string) error { return gss.RegisterAcceptorIdentity(keytab) }
