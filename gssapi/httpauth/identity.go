package httpauth

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// Method is how a request was authenticated.
type Method string

// Methods.
const (
	MethodNegotiate Method = "Negotiate" // a token
	MethodBasic     Method = "Basic"     // a password
	MethodSession   Method = "Session"   // a cookie, from an earlier request's token or password
)

// Identity is who sent a request.
type Identity struct {
	Name   string       // with the realm, such as alice@EXAMPLE.COM; compare it exactly
	Mech   gssapi.OID   // the mechanism that was agreed on
	Flags  gssapi.Flags // that the context was granted
	Expiry time.Time    // of the context, or of the session; zero: never
	Method Method       // how this request was authenticated
	// ChannelBound tells that the token of this request was bound to the TLS connection.
	// It is false with a session, and where the library does not tell (Heimdal 7.8).
	ChannelBound bool

	mu        sync.Mutex
	delegated *gssapi.Credential
}

// Delegated returns the credential that the client gave with this request to act for
// him; nil if he gave none, and with a session. It is closed when the request's
// handler returns: see TakeDelegated. It is for Kerberos alone: a Transport takes what
// its ForSPNEGO makes of it.
func (i *Identity) Delegated() *gssapi.Credential {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.delegated
}

// TakeDelegated is Delegated for who needs the credential after the request: it is
// the caller's then, who closes it, and nobody else gets it.
func (i *Identity) TakeDelegated() *gssapi.Credential {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.delegated
	i.delegated = nil
	return c
}

// release ends what ends with the request.
func (i *Identity) release() {
	if c := i.TakeDelegated(); c != nil {
		c.Close()
	}
}

// LogValue makes slog print it.
func (i *Identity) LogValue() slog.Value {
	if i == nil {
		return slog.StringValue("(nobody)")
	}
	attrs := []slog.Attr{
		slog.String("name", i.Name), slog.String("method", string(i.Method)), slog.String("mech", i.Mech.String()),
		slog.String("flags", i.Flags.String()), slog.Bool("channel_bound", i.ChannelBound), slog.Bool("delegated", i.Delegated() != nil),
	}
	if !i.Expiry.IsZero() {
		attrs = append(attrs, slog.Time("expiry", i.Expiry))
	}
	return slog.GroupValue(attrs...)
}

// identityKey is the key of an Identity in a request's context.
type identityKey struct{}

// FromContext returns who sent the request that ctx is of (Request.Context), or nil if
// that is not known: with ServerOptions.Optional, or where no Handler was passed.
func FromContext(ctx context.Context) *Identity {
	i, _ := ctx.Value(identityKey{}).(*Identity)
	return i
}
