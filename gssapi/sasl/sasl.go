package sasl

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/seed2651813c/gss/gssapi"
)

// failed is an error of the exchange.
func failed(major gssapi.Major, format string, args ...any) error {
	return fmt.Errorf("sasl: "+format+": %w", append(args, major)...)
}

type state int

const (
	fresh    state = iota
	asked          // an acceptor that got no first message, and has asked for one
	stepping       // tokens of the context go to and fro
	last           // the acceptor has sent its last token
	offering       // the acceptor has sent what layers it takes
	done
	over // failed, or closed
)

// exchange is what both ends have.
type exchange struct {
	mu    sync.Mutex
	state state
	err   error // of state over
	ctx   *gssapi.Context
	info  *gssapi.ContextInfo
	agreed
}

// fail ends the exchange. Every later call returns err. The caller holds e.mu.
func (e *exchange) fail(err error) error {
	if e.state != over {
		e.state, e.err = over, err
		e.ctx.Close()
	}
	return e.err
}

// established looks at the context when its handshake is done.
func (e *exchange) established() (err error) {
	if e.info, err = e.ctx.Info(); err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	if e.info.Flags&gssapi.FlagMutual == 0 {
		return failed(gssapi.ErrUnauthorized, "there was no mutual authentication")
	}
	return nil
}

// take makes the layer the one that both ends go on with.
func (e *exchange) take(layer Layers, read, write int) {
	e.agreed = agreed{layer, read, write}
	e.state = done
}

// Layer is the security layer that both ends have agreed on; 0 before the exchange
// is done.
func (e *exchange) Layer() Layers {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.layer
}

// Info tells about the context: who the peer is, by which mechanism, until when; nil
// before it is established. The names are the caller's.
func (e *exchange) Info() *gssapi.ContextInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.info
}

// Context is the security context, for what else it can do (a delegated credential,
// PseudoRandom). Its messages are the layer's, where there is one.
func (e *exchange) Context() *gssapi.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ctx
}

// Conn returns the connection that goes on where the exchange ended: conn itself if
// the layer is LayerNone, else a gssapi.Conn that owns conn and the context. Nothing
// that belongs to the layer may have been read from conn before: see the protocol
// for what its last message in the clear is. ErrNoContext before the exchange is done,
// and after Close. It does no I/O. RFC 4422, 3.7.
func (e *exchange) Conn(conn net.Conn) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == over {
		return nil, e.err
	}
	return e.conn(e.ctx, conn)
}

// Close deletes the context, if no Conn has it. It is optional: what is unreachable
// is released.
func (e *exchange) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fail(failed(gssapi.ErrNoContext, "closed"))
	return nil
}

func contextOf(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// settings are what the options of both ends have in common.
type settings struct {
	mechanism string
	layers    Layers
	maxFrame  int
}

// checked puts the defaults in place of zero values, and refuses what makes no sense.
func (s *settings) checked() error {
	if s.mechanism == "" {
		s.mechanism = GSSAPI
	}
	if s.layers == 0 {
		s.layers = LayerNone
	}
	if s.maxFrame == 0 {
		s.maxFrame = DefaultMaxFrame
	}
	switch {
	case s.mechanism != GSSAPI && s.mechanism != GS2Krb5 && s.mechanism != GS2Krb5Plus && s.mechanism != GSSSPNEGO:
		return failed(gssapi.ErrBadMech, "the mechanism %q is not known: use GSSAPI, GS2-KRB5, GS2-KRB5-PLUS or GSS-SPNEGO", s.mechanism)
	case s.layers&^allLayers != 0:
		return failed(gssapi.ErrBadQOP, "%v are no security layers", s.layers)
	case s.gs2() && s.layers != LayerNone:
		return failed(gssapi.ErrUnavailable, "%s has no security layers (asked for: %v): use GSSAPI, or TLS", s.mechanism, s.layers)
	case s.maxFrame < 256 || s.maxFrame > maxMaxFrame:
		return failed(gssapi.ErrFailure, "a MaxFrame of %d is not between 256 and %d", s.maxFrame, maxMaxFrame)
	}
	return nil
}

func (s *settings) gs2() bool { return strings.HasPrefix(s.mechanism, "GS2-") }

// mech is that of the context.
func (s *settings) mech() gssapi.OID {
	if s.mechanism == GSSSPNEGO {
		return gssapi.MechSPNEGO
	}
	return gssapi.MechKrb5
}
