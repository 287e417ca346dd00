package gssapi

import (
	"time"

	"github.com/seed2651813c/gss"
)

// Key is a key of Kerberos, see [gss.Key]. It never prints its value.
type Key = gss.Key

// TicketFlags are the flags of a Kerberos ticket, see [gss.TicketFlags].
type TicketFlags = gss.TicketFlags

// Ticket flags: RFC 4120, 2. See [gss.TicketFlags].
const (
	TicketForwardable     = gss.TicketForwardable
	TicketForwarded       = gss.TicketForwarded
	TicketProxiable       = gss.TicketProxiable
	TicketProxy           = gss.TicketProxy
	TicketMayPostdate     = gss.TicketMayPostdate
	TicketPostdated       = gss.TicketPostdated
	TicketInvalid         = gss.TicketInvalid
	TicketRenewable       = gss.TicketRenewable
	TicketInitial         = gss.TicketInitial
	TicketPreauthent      = gss.TicketPreauthent
	TicketHWAuthent       = gss.TicketHWAuthent
	TicketTransitedPolicy = gss.TicketTransitedPolicy
	TicketOKAsDelegate    = gss.TicketOKAsDelegate
	TicketAnonymous       = gss.TicketAnonymous
)

// TicketFlags returns the flags of the ticket that the initiator came with. It
// does not block.
//
// The error is ErrUnavailable for a context of another mechanism than Kerberos, and
// on Heimdal 7.8 for an initiator's and for one that was imported, which have no
// ticket there. MIT and Heimdal.
func (c *Context) TicketFlags() (TicketFlags, error) {
	if err := c.usable("TicketFlags"); err != nil {
		return 0, err
	}
	return c.ctx.TicketFlags()
}

// AuthTime returns when the initiator's user authenticated to the KDC: not when
// this context was established. It does not block. Errors are those of TicketFlags.
// MIT and Heimdal.
func (c *Context) AuthTime() (time.Time, error) {
	if err := c.usable("AuthTime"); err != nil {
		return time.Time{}, err
	}
	s, err := c.ctx.AuthTime()
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(s, 0), nil
}

// AuthorizationData returns the authorization data of that type (RFC 4120,
// 7.5.4) that the initiator came with: for acceptors. It does not block.
//
// On MIT (1.20) this is not for deciding about rights: it has what the KDC put
// into the ticket, and, behind that, what the initiator put into its request
// itself. Of what is within an AD-IF-RELEVANT (type 1), as most is, it has the
// whole only. Heimdal looks into the ticket alone, and within.
//
// The copy is the caller's. The error is ErrUnavailable if there is none, as in a
// context of another mechanism than Kerberos, and ErrFailure if MIT has several:
// InquireByOID returns them, under 1.2.840.113554.1.2.2.5.10 and the type. MIT and
// Heimdal.
func (c *Context) AuthorizationData(adType int) ([]byte, error) {
	const op = "AuthorizationData"
	if err := c.usable(op); err != nil {
		return nil, err
	}
	if adType <= 0 || adType > 1<<31-1 {
		return nil, refuse(op, ErrUnavailable, "%d is no type that can be asked for", adType)
	}
	return c.ctx.AuthorizationData(int32(adType))
}

// PAC returns the privilege attribute certificate in the ticket that the
// initiator came with (MS-PAC), which Active Directory issues, and MIT's KDC
// since 1.20: for acceptors. It is one whose signature with the acceptor's key
// the library verified; else the error is ErrBadSig. (Heimdal verifies before it
// establishes the context, unless its configuration has check_pac off.) It does
// not block.
//
// The copy is the caller's. The error is ErrUnavailable if there is none, as in a
// context of another mechanism than Kerberos, and ErrContextExpired on an expired
// context of MIT. MIT and Heimdal.
func (c *Context) PAC() ([]byte, error) {
	if err := c.usable("PAC"); err != nil {
		return nil, err
	}
	if err := c.expired(); err != nil {
		return nil, err
	}
	return c.ctx.PAC()
}

// ServiceKey returns the acceptor's long-term key, which the ticket of this
// context was encrypted with. The key is the caller's, who calls Clear. It does
// not block. The error is ErrUnavailable for an initiator's context and for one
// that was imported. Heimdal only.
func (c *Context) ServiceKey() (*Key, error) {
	if err := c.usable("ServiceKey"); err != nil {
		return nil, err
	}
	return c.ctx.ServiceKey()
}

// InitiatorSubkey returns the key that the initiator chose, or the session key
// of its ticket if it chose none. Messages are protected with it only where the
// acceptor chose none, see SessionKey. The key is the caller's, who calls Clear.
// It does not block. ErrUnavailable for a context of another mechanism than
// Kerberos. MIT and Heimdal.
func (c *Context) InitiatorSubkey() (*Key, error) {
	if err := c.usable("InitiatorSubkey"); err != nil {
		return nil, err
	}
	if !isKind(gss.KindMIT) {
		return c.ctx.InitiatorSubkey()
	}
	l, err := c.ctx.InquireLucid()
	if err != nil {
		return nil, err
	}
	l.AcceptorSubkey.Clear()
	return &l.Key, nil
}

// LucidContext is a Kerberos context laid open, see [gss.LucidContext].
type LucidContext = gss.LucidContext

// Lucid returns the keys and sequence numbers of the context, for code that
// makes and reads its messages without the library: RFC 4121, 4.2. The keys are
// the caller's, who calls Clear. It does not block.
//
// The context is kept, for its names, flags and lifetime. It must not protect
// messages beside that code: two would get the same number. Call Lucid before
// the first message is received: the libraries tell the number that the peer
// began with.
//
// ErrUnavailable for a context of another mechanism than Kerberos. MIT and Heimdal.
func (c *Context) Lucid() (*LucidContext, error) {
	if err := c.usable("Lucid"); err != nil {
		return nil, err
	}
	l, err := c.ctx.InquireLucid()
	if err != nil {
		return nil, err
	}
	if l.AcceptorSubkey != nil && !isKind(gss.KindMIT) {
		// Heimdal 7.8 has the acceptor's key in both places.
		k, err := c.ctx.InitiatorSubkey()
		if err != nil {
			l.Clear()
			return nil, err
		}
		l.Key.Clear()
		l.Key = *k
	}
	return l, nil
}

// ThreadSettings change Kerberos for the calls of one function. Heimdal 7.8
// keeps a Kerberos context for each thread, and has calls that change the one of
// the thread that they are made on. Heimdal only. The zero value changes
// nothing.
type ThreadSettings struct {
	// DefaultRealm is the realm of names that have none.
	DefaultRealm string
	// TimeOffset is by how much Kerberos is ahead of the system's time; whole
	// seconds count.
	TimeOffset time.Duration
	// CanonicalHosts says whether the name service is asked for the canonical name
	// of a service's host; nil is as configured.
	CanonicalHosts *bool
}

// Run calls f with these settings, on a thread of its own that ends with it:
// nothing of them reaches other calls. Methods that take a context.Context have
// them only if that cannot end, such as context.Background; else their calls are
// made elsewhere, as those are that take a CCache. Goroutines that f starts do not
// have them. A panic of f goes on in the caller.
//
// The error is f's, or ErrUnavailable, without f being called, on other
// libraries than Heimdal.
func (s *ThreadSettings) Run(f func() error) error {
	if f == nil {
		return refuse("ThreadSettings", ErrFailure, "no function was given")
	}
	return gss.OnOwnThread(func() error {
		if err := s.set(); err != nil {
			return err
		}
		return f()
	})
}

// set sets them for this thread.
func (s *ThreadSettings) set() error {
	if s == nil {
		s = new(ThreadSettings)
	}
	if o := s.TimeOffset / time.Second; o != time.Duration(int32(o)) {
		return refuse("ThreadSettings", ErrFailure, "a time offset of %v is too long", s.TimeOffset)
	}
	if _, err := gss.TimeOffset(); err != nil {
		return err // not Heimdal
	}
	if s.DefaultRealm != "" {
		if err := gss.SetDefaultRealm(s.DefaultRealm); err != nil {
			return err
		}
	}
	if s.CanonicalHosts != nil {
		if err := gss.SetDNSCanonicalize(*s.CanonicalHosts); err != nil {
			return err
		}
	}
	if s.TimeOffset != 0 {
		return gss.SetTimeOffset(int32(s.TimeOffset / time.Second))
	}
	return nil
}

// TimeOffset tells by how much the time of Kerberos is ahead of the system's, on
// this thread: see ThreadSettings. It does not block. Heimdal only;
// ErrUnavailable elsewhere.
func TimeOffset() (time.Duration, error) {
	s, err := gss.TimeOffset()
	return time.Duration(s) * time.Second, err
}
