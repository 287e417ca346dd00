package pgauth

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed2651813c/gss/gssapi"
)

// Options are how to authenticate. Nil and the zero value are safe.
type Options struct {
	// Credential to authenticate with; nil is the user's default one.
	Credential *gssapi.Credential
	// Delegate gives the server a credential with which it can act for the user
	// (PostgreSQL 16: postgres_fdw, dblink), if that is forwardable.
	Delegate bool
	// Trace is told what happens to the contexts.
	Trace *gssapi.Trace
}

func (o *Options) initiator() *gssapi.InitiatorOptions {
	i := &gssapi.InitiatorOptions{Credential: o.Credential, Mech: gssapi.MechKrb5, Trace: o.Trace}
	if o.Delegate {
		i.Flags = gssapi.FlagDeleg
	}
	return i
}

// Provider is one authentication: it is a GSS of pgconn and of lib/pq.
type Provider struct {
	o   Options
	ctx context.Context

	mu sync.Mutex
	c  *gssapi.Context
}

// New makes a Provider for one connection. It makes no call.
func New(o *Options) *Provider { return NewContext(context.Background(), o) }

// NewContext is New with a ctx that ends the steps that wait for a KDC.
func NewContext(ctx context.Context, o *Options) *Provider {
	if o == nil {
		o = new(Options)
	}
	return &Provider{o: *o, ctx: ctx}
}

// GetInitToken returns the first token for the service ("postgres" if it is empty) of a
// host, which must be the name in the service's principal, and no address. Errors are
// those of gssapi.Context.Step.
func (p *Provider) GetInitToken(host, service string) ([]byte, error) {
	target, err := hostService(service, host)
	if err != nil {
		return nil, err
	}
	return p.first(target)
}

// GetInitTokenFromSPN returns the first token for a principal, such as
// postgres/db.example.com@EXAMPLE.COM. It is for pgx.
func (p *Provider) GetInitTokenFromSPN(spn string) ([]byte, error) {
	target, err := principal(spn)
	if err != nil {
		return nil, err
	}
	return p.first(target)
}

// GetInitTokenFromSpn is GetInitTokenFromSPN, for lib/pq.
func (p *Provider) GetInitTokenFromSpn(spn string) ([]byte, error) { return p.GetInitTokenFromSPN(spn) }

// hostService is the name of a service, which is postgres if it is empty.
func hostService(service, host string) (*gssapi.Name, error) {
	if service == "" {
		service = "postgres"
	}
	name, err := gssapi.HostService(service, host)
	if err != nil {
		return nil, fmt.Errorf("pgauth: %w", err)
	}
	return name, nil
}

func principal(spn string) (*gssapi.Name, error) {
	name, err := gssapi.ImportName(spn, gssapi.NTKrb5PrincipalName)
	if err != nil {
		return nil, fmt.Errorf("pgauth: %w", err)
	}
	return name, nil
}

func (p *Provider) first(target *gssapi.Name) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.c.Close() // of an attempt before
	p.c = gssapi.NewInitiator(target, p.o.initiator())
	return p.step(nil)
}

// Continue takes the server's token; done means that the server has proved who it
// is. Errors are those of gssapi.Context.Step. lib/pq ignores them.
func (p *Provider) Continue(token []byte) (done bool, out []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c == nil {
		return false, nil, errors.New("pgauth: the server sent a token before this end did")
	}
	out, err = p.step(token)
	if err != nil {
		return false, nil, err
	}
	if done = p.c.Established(); done {
		p.c.Close()
	}
	return done, out, nil
}

func (p *Provider) step(token []byte) ([]byte, error) {
	out, err := p.c.Step(p.ctx, token)
	if err != nil {
		p.c.Close()
		return nil, fmt.Errorf("pgauth: %w", err)
	}
	return out, nil
}
