package sasl

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed2651813c/gss/gssapi"
)

// ClientOptions are those of a Client. Nil and the zero value are safe where TLS
// protects the connection.
type ClientOptions struct {
	// Mechanism is GSSAPI, GS2Krb5, GS2Krb5Plus or GSSSPNEGO; empty is GSSAPI.
	Mechanism string
	// Credential to authenticate with; nil is the user's default one. For LayerNone where
	// a server refuses contexts with integrity on TLS (Active Directory), acquire it
	// with CredentialOptions.NoCIFlags.
	Credential *gssapi.Credential
	// AuthzID is who to act as; empty is who one is. How it is written is the
	// protocol's: "u:alice" or "dn:uid=alice,dc=example,dc=com" for LDAP.
	AuthzID string
	// Layers that the client takes: the strongest that the server offers is used. 0 is
	// LayerNone. Name LayerNone beside others only where it does not matter what the
	// server offers.
	Layers Layers
	// MaxFrame is the longest token that is read within a layer, in bytes; 0 is
	// DefaultMaxFrame. At least 256, at most 2^24-1.
	MaxFrame int
	// Bindings of the TLS connection. GS2Krb5Plus needs them, and a type that the server
	// knows. With GS2Krb5 they tell the server that the client would have used
	// GS2Krb5Plus had it been offered, so that nobody can take that out of the offer.
	Bindings *gssapi.ChannelBindings
	// Delegate gives the server a credential with which it can act for the user, if
	// that is forwardable.
	Delegate bool
	// Context ends the steps that wait for a KDC; nil does not.
	Context context.Context
	// Trace is told what happens to the context.
	Trace *gssapi.Trace
}

// Client is one authentication of a client. It is a Client of go-sasl. Its methods
// may be called at the same time, but the exchange has one order.
type Client struct {
	exchange
	o        ClientOptions
	settings settings
	target   *gssapi.Name
}

// NewClient begins to authenticate to target, a service such as imap@mail.example.com.
// It makes no call; what is wrong with its arguments Start tells.
func NewClient(target *gssapi.Name, o *ClientOptions) *Client {
	if o == nil {
		o = new(ClientOptions)
	}
	return &Client{o: *o, target: target, settings: settings{o.Mechanism, o.Layers, o.MaxFrame}}
}

// Start returns the mechanism's name and the first message to the server. Errors are
// those of gssapi.Context.Step, and what is wrong with the options.
func (c *Client) Start() (mech string, initial []byte, err error) {
	return c.start(contextOf(c.o.Context))
}

func (c *Client) start(ctx context.Context) (mech string, initial []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == over {
		return "", nil, c.err
	}
	if c.state != fresh {
		return "", nil, failed(gssapi.ErrFailure, "Start was called before: a Client is for one authentication")
	}
	if initial, err = c.first(ctx); err != nil {
		return "", nil, c.fail(err)
	}
	c.state = stepping
	return c.settings.mechanism, initial, nil
}

// first makes the first message.
func (c *Client) first(ctx context.Context) ([]byte, error) {
	if err := c.settings.checked(); err != nil {
		return nil, err
	}
	if err := checkAuthzID(c.o.AuthzID); err != nil {
		return nil, err
	}
	o := &gssapi.InitiatorOptions{
		Credential: c.o.Credential, Mech: c.settings.mech(), Bindings: c.o.Bindings, Trace: c.o.Trace,
		Without: gssapi.DefaultFlags &^ c.settings.layers.flags(),
	}
	switch {
	case c.settings.mechanism == GSSAPI:
		o.Without &^= gssapi.FlagInteg // what is offered is signed
	case c.settings.gs2():
		o.Without &^= gssapi.FlagSequence // Cyrus SASL refuses who does not ask for it (2.1.28)
	}
	if c.o.Delegate {
		o.Flags = gssapi.FlagDeleg
	}
	var header gs2Header
	if c.settings.gs2() {
		var err error
		if header, err = clientHeader(c.settings.mechanism == GS2Krb5Plus, c.o.Bindings, c.o.AuthzID); err != nil {
			return nil, err
		}
		o.Bindings = header.bindings(c.o.Bindings)
	} else if c.settings.mechanism == GSSSPNEGO && c.o.AuthzID != "" {
		return nil, failed(gssapi.ErrUnavailable, "GSS-SPNEGO has no place for an authorization identity")
	}
	c.ctx = gssapi.NewInitiator(c.target, o)
	token, err := c.ctx.Step(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	if c.settings.gs2() {
		return header.frame(token), nil
	}
	return token, nil
}

func checkAuthzID(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return failed(gssapi.ErrBadName, "the authorization identity %q is no UTF-8, or has a NUL", s)
	}
	return nil
}

// SetAuthzID sets who to act as, in the place of ClientOptions.AuthzID, for callers
// that learn it after Start. It has an effect before the response in which it is
// sent, the last one, and for GSSAPI alone.
func (c *Client) SetAuthzID(id string) error {
	if err := checkAuthzID(id); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settings.gs2() || c.state == done {
		return failed(gssapi.ErrFailure, "the authorization identity was sent already")
	}
	c.o.AuthzID = id
	return nil
}

// Next takes the server's challenge and returns the response, which may be empty but
// is never nil without an error. Errors are those of gssapi.Context.Step and Unwrap,
// and ErrUnauthorized if the server offers none of the Layers. After an error the
// exchange is over; a token that comes with it may be sent to tell the server.
func (c *Client) Next(challenge []byte) (response []byte, err error) {
	return c.next(contextOf(c.o.Context), challenge)
}

func (c *Client) next(ctx context.Context, challenge []byte) (response []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case fresh:
		return nil, failed(gssapi.ErrNoContext, "Next before Start")
	case stepping:
		response, err = c.step(ctx, challenge)
	case offering:
		response, err = c.answer(challenge)
	case done:
		if len(challenge) > 0 {
			err = failed(gssapi.ErrDefectiveToken, "the server goes on after the end of the exchange")
		}
	case over:
		return nil, c.err
	}
	if err != nil {
		return response, c.fail(err)
	}
	if response == nil {
		response = []byte{}
	}
	return response, nil
}

func (c *Client) step(ctx context.Context, challenge []byte) ([]byte, error) {
	out, err := c.ctx.Step(ctx, challenge)
	if err != nil {
		return out, fmt.Errorf("sasl: %w", err)
	}
	if !c.ctx.Established() {
		return out, nil
	}
	if err := c.established(); err != nil {
		return nil, err
	}
	switch {
	case c.settings.mechanism == GSSAPI:
		c.state = offering
	case c.settings.mechanism == GSSSPNEGO:
		layer, err := spnegoLayer(c.info.Flags, c.settings.layers)
		if err != nil {
			return nil, err
		}
		c.take(layer, c.settings.maxFrame, DefaultMaxFrame)
	default:
		c.take(LayerNone, 0, 0)
	}
	return out, nil
}

// answer takes what the server offers and says what is used. RFC 4752, 3.1.
func (c *Client) answer(challenge []byte) ([]byte, error) {
	b, _, err := c.ctx.AppendUnwrap(nil, append([]byte(nil), challenge...))
	if err != nil {
		return nil, fmt.Errorf("sasl: the server's offer of security layers: %w", err)
	}
	offer, err := parseAnnouncement(b)
	if err != nil {
		return nil, err
	}
	if offer.authzID != "" {
		return nil, failed(gssapi.ErrDefectiveToken, "the server's offer of security layers has %d bytes, and 4 are right", len(b))
	}
	both := offer.layers & c.settings.layers
	layer := (both & possible(c.info.Flags)).strongest()
	switch {
	case both == 0:
		return nil, failed(gssapi.ErrUnauthorized, "the server offers the security layers %v, and here %v are wanted", offer.layers, c.settings.layers)
	case layer == 0:
		return nil, failed(gssapi.ErrUnauthorized, "the context (%v) has none of the security layers %v", c.info.Flags, both)
	case layer == LayerNone:
		c.take(layer, 0, 0)
	default:
		if offer.max == 0 {
			return nil, failed(gssapi.ErrDefectiveToken, "the server offers %v, and takes no message", offer.layers)
		}
		c.take(layer, c.settings.maxFrame, min(offer.max, c.settings.maxFrame))
	}
	reply := announcement{layer, c.read, c.o.AuthzID}.append(nil)
	response, err := c.ctx.AppendWrap(nil, reply, gssapi.Integrity)
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	return response, nil
}

// spnegoLayer is the layer of GSS-SPNEGO: the strongest that the flags stand for.
// There is no negotiation but theirs.
func spnegoLayer(flags gssapi.Flags, wanted Layers) (Layers, error) {
	layer := LayerNone
	if flags&gssapi.FlagInteg != 0 {
		layer = LayerIntegrity
	}
	if flags&gssapi.FlagConf != 0 {
		layer = LayerConfidentiality
	}
	if layer&wanted == 0 {
		return 0, failed(gssapi.ErrUnauthorized, "the flags of the context (%v) stand for the security layer %v, and %v are wanted here; for none, acquire the credential with NoCIFlags", flags, layer, wanted)
	}
	return layer, nil
}
