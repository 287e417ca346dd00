// Package mssqlauth logs in to SQL Server by GSS-API: an integrated authenticator for
// github.com/microsoft/go-mssqldb.
//
//	err := mssqlauth.Register("gss", nil) // once, before the first connection
//	db, err := sql.Open("sqlserver", "sqlserver://db.example.com?database=x&authenticator=gss")
//
// Name the authenticator in every data source: without, go-mssqldb takes NTLM, and if
// that fails logs in as a user with no name.
//
// The login is bound to the TLS connection (Extended Protection) with "epa
// enabled=true" in the data source. With TLS 1.3 go-mssqldb makes bindings of type
// tls-exporter, and with TLS 1.2 of tls-unique; SQL Server decides what it knows.
//
// This end asks the server to prove who it is, and refuses a wrong proof. It cannot refuse a
// server that sends none, as go-mssqldb does not ask the authenticator whether it is
// content: use TLS, and verify the certificate.
package mssqlauth

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/microsoft/go-mssqldb/integratedauth"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/seed2651813c/gss/gssapi"
)

// Options are how to log in. Nil and the zero value are safe.
type Options struct {
	// Credential to log in with; nil is the user's default one.
	Credential *gssapi.Credential
	// Mech is the mechanism; empty is SPNEGO, which SQL Server expects.
	Mech gssapi.OID
	// Delegate gives the server a credential with which it can act for the user
	// (linked servers), if that is forwardable.
	Delegate bool
	// Context ends the steps that wait for a KDC; nil does not. (go-mssqldb has no
	// context for an authenticator.)
	Context context.Context
	// Trace is told what happens to the contexts.
	Trace *gssapi.Trace
}

// Register makes name an authenticator, for "authenticator=name" in data sources. It
// is for the whole process, and not safe while connections are made.
func Register(name string, o *Options) error {
	return integratedauth.SetIntegratedAuthenticationProvider(name, NewProvider(o))
}

type provider struct{ o Options }

// NewProvider makes what Register registers.
func NewProvider(o *Options) integratedauth.Provider {
	if o == nil {
		o = new(Options)
	}
	return &provider{*o}
}

// GetIntegratedAuthenticator makes the authenticator of one connection, to the service
// that config.ServerSPN names: MSSQLSvc/host:port if the data source names none. It
// makes no call of a KDC.
func (p *provider) GetIntegratedAuthenticator(config msdsn.Config) (integratedauth.IntegratedAuthenticator, error) {
	if config.ServerSPN == "" {
		return nil, fmt.Errorf("mssqlauth: the server's principal is not known: set ServerSPN, as in MSSQLSvc/db.example.com:1433: %w", gssapi.ErrBadName)
	}
	if config.User != "" {
		return nil, errors.New("mssqlauth: the data source has a user, and who logs in is who has the ticket: leave user and password out")
	}
	target, err := gssapi.ImportName(config.ServerSPN, gssapi.NTKrb5PrincipalName)
	if err != nil {
		return nil, fmt.Errorf("mssqlauth: %w", err)
	}
	return &authenticator{o: p.o, target: target}, nil
}

// authenticator is one login.
type authenticator struct {
	o      Options
	target *gssapi.Name

	mu       sync.Mutex
	bindings *gssapi.ChannelBindings
	c        *gssapi.Context
}

// SetChannelBinding binds the login to the TLS connection. It comes before
// InitialBytes.
func (a *authenticator) SetChannelBinding(b *integratedauth.ChannelBindings) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b == nil || b.Type == integratedauth.ChannelBindingsTypeEmpty {
		a.bindings = nil
		return
	}
	a.bindings = &gssapi.ChannelBindings{
		InitiatorAddrType: b.InitiatorAddrType, InitiatorAddress: b.InitiatorAddress,
		AcceptorAddrType: b.AcceptorAddrType, AcceptorAddress: b.AcceptorAddress,
		ApplicationData: b.ApplicationData,
	}
}

// InitialBytes returns the first token. Errors are those of gssapi.Context.Step.
func (a *authenticator) InitialBytes() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := &gssapi.InitiatorOptions{Credential: a.o.Credential, Mech: a.o.Mech, Bindings: a.bindings, Trace: a.o.Trace}
	if o.Mech == "" {
		o.Mech = gssapi.MechSPNEGO
	}
	if a.o.Delegate {
		o.Flags = gssapi.FlagDeleg
	}
	a.c.Close()
	a.c = gssapi.NewInitiator(a.target, o)
	return a.step(nil)
}

// NextBytes takes the server's token and returns the next one; nil if there is
// nothing to send. Errors are those of gssapi.Context.Step.
func (a *authenticator) NextBytes(token []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.c == nil {
		return nil, fmt.Errorf("mssqlauth: the server sent a token before the client did: %w", gssapi.ErrNoContext)
	}
	return a.step(token)
}

// step makes one leg. The caller holds a.mu.
func (a *authenticator) step(token []byte) ([]byte, error) {
	ctx := a.o.Context
	if ctx == nil {
		ctx = context.Background()
	}
	out, err := a.c.Step(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("mssqlauth: logging in to %v: %w", a.target, err)
	}
	return out, nil
}

// Free releases what the login has used.
func (a *authenticator) Free() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.c.Close()
	a.target.Close()
}
