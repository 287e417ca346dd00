package sasl

import (
	"context"
	"fmt"

	"github.com/seed2651813c/gss/gssapi"
)

// ServerOptions are those of a Server. Nil and the zero value are safe where TLS
// protects the connection.
type ServerOptions struct {
	// Mechanism is GSSAPI, GS2Krb5, GS2Krb5Plus or GSSSPNEGO; empty is GSSAPI.
	Mechanism string
	// Acceptor is how the context is accepted: with which credential, flags and bindings. Its
	// Mechs are those of the Mechanism: Kerberos, within SPNEGO for GSSSPNEGO. For GS2,
	// Bindings means that GS2Krb5Plus is offered too: a client that knows it and was
	// not told so is refused with GS2Krb5.
	Acceptor *gssapi.AcceptorOptions
	// Layers that are offered; 0 is LayerNone.
	Layers Layers
	// MaxFrame is the longest token that is read within a layer, in bytes; 0 is
	// DefaultMaxFrame. At least 256, at most 2^24-1.
	MaxFrame int
	// Authorize says whether peer may act as authzID, which is never empty: an error
	// refuses. Nil allows nobody but the one whose name it is, as alice@EXAMPLE.COM. It
	// is not asked if the client names none.
	Authorize func(peer *gssapi.ContextInfo, authzID string) error
	// Context ends the steps that wait; nil does not.
	Context context.Context
}

// Server is one authentication of a client, at the server's end. It is a Server of
// go-sasl. Its methods may be called at the same time, but the exchange has one
// order.
type Server struct {
	exchange
	o        ServerOptions
	settings settings
	acceptor gssapi.AcceptorOptions
	authzID  string
}

// NewServer waits for a client's first message. It makes no call; what is wrong with
// the options the first Next tells.
func NewServer(o *ServerOptions) *Server {
	if o == nil {
		o = new(ServerOptions)
	}
	s := &Server{o: *o, settings: settings{o.Mechanism, o.Layers, o.MaxFrame}}
	if o.Acceptor != nil {
		s.acceptor = *o.Acceptor
	}
	return s
}

// AuthzID is who the client acts as: what it asked for and was allowed, or its name.
// It is empty before the exchange is done.
func (s *Server) AuthzID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != done {
		return ""
	}
	return s.authzID
}

// Next takes the client's response and returns the next challenge, until done. A nil
// response is none: the client waits for a challenge, which is empty. Errors are
// those of gssapi.Context.Step and Unwrap, and ErrUnauthorized. After an error the
// exchange is over; a challenge that comes with it may be sent to tell the client.
func (s *Server) Next(response []byte) (challenge []byte, isDone bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case fresh:
		if len(response) == 0 { // the client waits for a challenge
			s.state = asked
			break
		}
		challenge, err = s.first(response)
	case asked:
		challenge, err = s.first(response)
	case stepping:
		challenge, err = s.step(response)
	case last:
		if len(response) > 0 {
			err = failed(gssapi.ErrDefectiveToken, "the client goes on after the end of the context's handshake")
		} else {
			challenge, err = s.next()
		}
	case offering:
		err = s.answered(response)
	case done:
		err = failed(gssapi.ErrNoContext, "Next after the end of the exchange")
		return nil, false, err
	case over:
		return nil, false, s.err
	}
	if err != nil {
		return challenge, false, s.fail(err)
	}
	if s.state == done {
		return nil, true, nil
	}
	if challenge == nil {
		challenge = []byte{}
	}
	return challenge, false, nil
}

// first makes the context, for which GS2 needs what is in the first message.
func (s *Server) first(response []byte) ([]byte, error) {
	if err := s.settings.checked(); err != nil {
		return nil, err
	}
	if len(response) == 0 {
		return nil, failed(gssapi.ErrDefectiveToken, "the client was asked for its first message, and sent none")
	}
	s.acceptor.Mechs = []gssapi.OID{s.settings.mech()}
	if s.settings.gs2() {
		header, token, err := parseHeader(response)
		if err == nil {
			err = header.check(s.settings.mechanism == GS2Krb5Plus, s.acceptor.Bindings)
		}
		if err != nil {
			return nil, err
		}
		s.authzID, response = header.authzID, token
		s.acceptor.Bindings = header.bindings(s.acceptor.Bindings)
		// A token without bindings is of another protocol, and somebody has relayed it.
		s.acceptor.RequireBindings = gssapi.CanRequireBindings() == nil
	}
	s.ctx = gssapi.NewAcceptor(&s.acceptor)
	s.state = stepping
	return s.step(response)
}

func (s *Server) step(response []byte) ([]byte, error) {
	out, err := s.ctx.Step(contextOf(s.o.Context), response)
	if err != nil {
		return out, fmt.Errorf("sasl: %w", err)
	}
	if !s.ctx.Established() {
		return out, nil
	}
	if err := s.established(); err != nil {
		return nil, err
	}
	if len(out) > 0 {
		s.state = last
		return out, nil
	}
	return s.next()
}

// next goes on when the context is established and the client knows it.
func (s *Server) next() ([]byte, error) {
	switch s.settings.mechanism {
	case GSSAPI:
		return s.offer()
	case GSSSPNEGO:
		layer, err := spnegoLayer(s.info.Flags, s.settings.layers)
		if err != nil {
			return nil, err
		}
		return nil, s.finish(announcement{layer, DefaultMaxFrame, ""})
	}
	return nil, s.finish(announcement{LayerNone, 0, s.authzID})
}

// offered are the layers that the context can have and the options allow.
func (s *Server) offered() Layers { return s.settings.layers & possible(s.info.Flags) }

// offer is the message that says which layers there are. RFC 4752, 3.2.
func (s *Server) offer() ([]byte, error) {
	o := announcement{layers: s.offered()}
	if o.layers == 0 {
		return nil, failed(gssapi.ErrUnauthorized, "the client's context (%v) has none of the security layers %v", s.info.Flags, s.settings.layers)
	}
	if o.layers != LayerNone {
		o.max = s.settings.maxFrame
	}
	challenge, err := s.ctx.AppendWrap(nil, o.append(nil), gssapi.Integrity)
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	s.state = offering
	return challenge, nil
}

// answered takes the client's choice.
func (s *Server) answered(response []byte) error {
	b, _, err := s.ctx.AppendUnwrap(nil, append([]byte(nil), response...))
	if err != nil {
		return fmt.Errorf("sasl: the client's choice of a security layer: %w", err)
	}
	choice, err := parseAnnouncement(b)
	if err != nil {
		return err
	}
	switch l := choice.layers; {
	case l == 0 || l&(l-1) != 0 || l&s.offered() == 0:
		return failed(gssapi.ErrUnauthorized, "the client chose %v as its security layer, and %v were offered", l, s.offered())
	case l != LayerNone && choice.max == 0:
		return failed(gssapi.ErrDefectiveToken, "the client chose %v, and takes no message", l)
	}
	return s.finish(choice)
}

// finish authorizes the client and ends the exchange with its choice.
func (s *Server) finish(choice announcement) error {
	peer := ""
	if p := s.info.Peer(); p != nil {
		peer = p.String()
	}
	if id := choice.authzID; id != "" {
		if err := checkAuthzID(id); err != nil {
			return err
		}
		if s.o.Authorize != nil {
			if err := s.o.Authorize(s.info, id); err != nil {
				return fmt.Errorf("sasl: %s may not act as %q: %w", peer, id, err)
			}
		} else if id != peer {
			return failed(gssapi.ErrUnauthorized, "%s may not act as %q", peer, id)
		}
		s.authzID = id
	} else {
		s.authzID = peer
	}
	s.take(choice.layers, s.settings.maxFrame, min(choice.max, s.settings.maxFrame))
	return nil
}
