package gssapi

import (
	"errors"
	"time"
	"unsafe"

	"github.com/seed2651813c/gss"
)

//go:generate go run github.com/golang/mock/mockgen@v1.6.0 -source=transfer.go -destination=mock_transfer_test.go -package=gssapi

// transferCalls are the calls that move a context between processes; tests put
// faults in their place that no library will produce on demand.
type transferCalls interface {
	Export(x *gss.Ctx) (exportedToken, error)
	Import(token []byte) (*gss.Ctx, error)
	Time(x *gss.Ctx) (uint32, error)
	Gone(x *gss.Ctx) bool
	Delete(x *gss.Ctx)
}

// exportedToken is a token in the library's memory; Release overwrites it.
type exportedToken interface {
	Bytes() []byte
	Release()
}

// thinCalls are those of the thin layer.
type thinCalls struct{}

func (thinCalls) Export(x *gss.Ctx) (exportedToken, error) {
	b, err := x.Export()
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (thinCalls) Import(token []byte) (*gss.Ctx, error) { return gss.ImportSecContext(token) }
func (thinCalls) Time(x *gss.Ctx) (uint32, error)       { return x.Time() }
func (thinCalls) Gone(x *gss.Ctx) bool                  { return x.Gone() }
func (thinCalls) Delete(x *gss.Ctx)                     { x.Delete() }

// Export makes the context a token, with which another process on this host
// that uses the same library goes on: see Import. The context is gone here:
// every later use of it, from any goroutine, is ErrNoContext, and of several
// Exports at once one gets the token. RFC 2744, 5.14.
//
// The token holds the keys of the context in clear. Send it to nobody but the
// process that takes over, through a channel that nobody else can read or write,
// and clear it afterwards:
//
//	token, err := c.Export()
//	...
//	clear(token)
//
// On an error there is no token. The context is kept:
//
//   - ErrUnavailable: it is not established yet, or was established without
//     FlagTrans, or the library cannot export (GNU gss);
//   - ErrContextExpired: it has expired. (MIT would export an expired SPNEGO
//     context and could not import it.)
//
// It is ErrNoContext if nothing was exchanged yet, the handshake failed, or the
// context was exported or closed before. After any other error of the library
// it is as it was, unless the library deleted it: then the next use is
// ErrNoContext.
//
// Neither credentials nor a delegated credential travel with a context. An MIT
// token names the krb5.conf files of its exporter, and a process that cannot
// read them cannot import it.
func (c *Context) Export() ([]byte, error) {
	e := Event{Op: "Export", Context: c}
	if c.Established() {
		e = c.event(e.Op)
	}
	began := time.Now()
	token, err := c.export(thinCalls{})
	e.Sent, e.Duration, e.Err = len(token), time.Since(began), err
	fire(c.hooks().Exported, e)
	return token, err
}

func (c *Context) export(calls transferCalls) ([]byte, error) {
	const op = "Export"
	if c != nil && c.is() == partial {
		// MIT would export some of these, Heimdal 7.8 crashes.
		return nil, refuse(op, ErrUnavailable, "the context is not established yet: finish with Step first")
	}
	if err := c.usable(op); err != nil {
		return nil, err
	}
	if isKind(gss.KindGNU) {
		return nil, refuse(op, ErrUnavailable, "GNU gss cannot export contexts: use MIT or Heimdal (GSSAPI_LIBRARY)")
	}
	if c.flags&FlagTrans == 0 {
		return nil, refuse(op, ErrUnavailable, "the context was established without the right to be exported (flags: %v)", c.flags)
	}
	if _, err := calls.Time(c.ctx); err != nil {
		return nil, err
	}
	token, err := calls.Export(c.ctx)
	if err != nil {
		if calls.Gone(c.ctx) {
			c.become(gone)
		}
		return nil, err
	}
	c.become(gone)
	defer token.Release()
	return token.Bytes(), nil
}

// ImportOptions are what an imported or adopted context must be; what does not fit
// is an error.
type ImportOptions struct {
	// Require are flags that it must have.
	Require Flags
	// Peer is the name that its other end must have; nil is any.
	Peer *Name
	// Mech is the mechanism that it must be of; empty is any.
	Mech OID
	// Order of messages that is accepted.
	Order Order
	// Trace is told what happens to the context.
	Trace *Trace
}

// Import makes the context of a token that another process on this host made
// with Export, with the same library. It goes on where that one stopped,
// sequence numbers included. Import a token once: two contexts of one token have
// the same keys and numbers, and their peer takes one's messages for replays of
// the other's. RFC 2744, 5.17.
//
// Import trusts the token. The libraries do not check it: MIT 1.20 can crash
// on a changed one, Heimdal 7.8 on the first use of what it made of a cut one.
// Take tokens from trusted peers over trusted channels only.
//
// The caller clears the token. Errors are ErrDefectiveToken and others of the
// library for what it can tell, and those of ImportOptions: ErrUnauthorized.
func Import(token []byte, o *ImportOptions) (*Context, error) {
	return importContext(thinCalls{}, token, o)
}

func importContext(calls transferCalls, token []byte, o *ImportOptions) (*Context, error) {
	return o.traced("Import", len(token), func(op string) (*Context, error) {
		x, err := calls.Import(token)
		if err != nil {
			return nil, err
		}
		c, err := take(op, x, o)
		if err != nil {
			calls.Delete(x)
		}
		return c, err
	})
}

// traced tells the trace of what make returns.
func (o *ImportOptions) traced(op string, received int, make func(op string) (*Context, error)) (*Context, error) {
	began := time.Now()
	c, err := make(op)
	if o != nil && o.Trace != nil {
		e := Event{Op: op, Name: o.Peer, Mech: o.Mech}
		if err == nil {
			e = c.event(op)
			e.Flags = c.flags
		}
		e.Received, e.Duration, e.Err = received, time.Since(began), err
		fire(o.Trace.Imported, e)
	}
	return c, err
}

// Adopt takes ownership of an established gss_ctx_id_t of the loaded library
// that C code of this process made; from then on C must not use it. It goes on
// where C stopped, sequence numbers included, and Detach gives it back. It does not
// block.
//
// On an error the handle is still the caller's, and as it was. ErrUnavailable:
// there are two GSS-API libraries in the process (call gss.LoadAt first), or
// Heimdal cannot tell whether the context is established: 7.8 says so of an
// acceptor's with FlagDCEStyle one token early. ErrNoContext: it is NULL or not
// established. ErrUnauthorized: it is not what o requires.
func Adopt(h unsafe.Pointer, o *ImportOptions) (*Context, error) {
	return o.traced("Adopt", 0, func(op string) (*Context, error) {
		x, err := gss.AdoptCtx(h)
		if err != nil {
			return nil, err
		}
		c, err := take(op, x, o)
		if err == nil && c.flags&FlagDCEStyle != 0 && !c.initiator && isKind(gss.KindHeimdal) {
			err = refuse(op, ErrUnavailable, "Heimdal does not tell whether an acceptor's context in DCE's style is established")
		}
		if err != nil {
			x.Detach() // nobody else has it
			return nil, err
		}
		return c, nil
	})
}

// take makes a Context of what came from elsewhere.
func take(op string, x *gss.Ctx, o *ImportOptions) (*Context, error) {
	if o == nil {
		o = new(ImportOptions)
	}
	c := &Context{ctx: x, order: o.Order, trace: o.Trace, step: make(chan struct{}, 1)}
	i, err := x.Inquire()
	expired := errors.Is(err, ErrContextExpired)
	if err != nil && !expired {
		return nil, err
	}
	c.flags, c.agreed, c.initiator = i.Flags, i.Mech, i.Local
	c.source, c.target = peerName(i.Source, i.Mech), peerName(i.Target, i.Mech)
	if err := c.fits(op, o, i.Open, expired); err != nil {
		return nil, err
	}
	c.state.Store(uint32(established))
	return c, nil
}

func (c *Context) fits(op string, o *ImportOptions, open, expired bool) error {
	if !open {
		return refuse(op, ErrNoContext, "the context is not established")
	}
	if missing := o.Require &^ c.flags; missing != 0 {
		return refuse(op, ErrUnauthorized, "%v required, and the context has %v", missing, c.flags)
	}
	if o.Mech != "" && c.agreed != o.Mech {
		if expired && c.agreed == "" {
			return refuse(op, ErrContextExpired, "the context has expired, and its mechanism cannot be told")
		}
		return refuse(op, ErrUnauthorized, "the context is of mechanism %v, required is %v", c.agreed, o.Mech)
	}
	if o.Peer == nil {
		return nil
	}
	peer := (&ContextInfo{Initiator: c.source, Acceptor: c.target, Local: c.initiator}).Peer()
	if peer == nil && expired {
		return refuse(op, ErrContextExpired, "the context has expired, and its peer cannot be told")
	}
	if !o.Peer.Equal(peer) {
		return refuse(op, ErrUnauthorized, "the peer is %v, required is %v", peer, o.Peer)
	}
	return nil
}

// Detach gives the established gss_ctx_id_t to C code of this process, which
// deletes it. The context is gone here: every later use of it, from any goroutine,
// is ErrNoContext, and of several Detaches at once one gets the handle. It waits for
// a call that is under way. The error is ErrNoContext if there is no established
// context. A delegated credential stays here: see Delegated.
func (c *Context) Detach() (unsafe.Pointer, error) {
	if err := c.usable("Detach"); err != nil {
		return nil, err
	}
	h, err := c.ctx.Detach()
	if err != nil {
		return nil, err
	}
	c.become(gone)
	return h, nil
}
