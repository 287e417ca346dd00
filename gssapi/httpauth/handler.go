package httpauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// ServerOptions are those of a Handler. Nil and the zero value are safe.
type ServerOptions struct {
	// Acceptor is how contexts are accepted: with which credential, mechanisms, required
	// flags, and Trace. Nil is the default keytab, Kerberos and SPNEGO. Its Bindings and
	// RequireBindings must not be set: see Bindings here.
	Acceptor *gssapi.AcceptorOptions
	// Bindings says what becomes of clients whose token is bound to a TLS connection.
	Bindings BindingsPolicy
	// Certificate, if not nil, tells the one that the client of a request sees, for servers
	// behind a proxy that ends TLS; no certificate and no error mean that the request
	// came without TLS. Nil: the one that was sent on the request's connection, which takes
	// Attach.
	Certificate func(*http.Request) (*x509.Certificate, error)
	// Optional lets requests without credentials through: FromContext is nil then. The
	// next handler asks for credentials with Handler.Demand. Wrong credentials are refused
	// even so. (What differs by who asks should say so to caches: Vary: Authorization, Cookie.)
	Optional bool
	// Session, if not nil, gives clients a cookie, so that they need no token for later
	// requests.
	Session *SessionOptions
	// Basic, if not nil, takes passwords from clients that have no ticket.
	Basic *BasicOptions
	// Authorize, if not nil, says who may come in, for each request: an error is answered
	// with 403. It is logged, and the client does not see it.
	Authorize func(*http.Request, *Identity) error
	// Refused, if not nil, writes the body of the answers 401, 403 and 503, and may set
	// headers before; the status is not its to choose. Nil writes a line of text. err says
	// why; it is nil where the client had no credentials, or is to send another token. The
	// client must not be told err.
	Refused func(w http.ResponseWriter, r *http.Request, status int, err error)
	// Logger gets a record for each login (Info), for each refusal (Warn), and for what is
	// wrong with the server (Error). Nil is none.
	Logger *slog.Logger
}

// BindingsPolicy says what becomes of clients whose token is bound to a TLS connection
// (tls-server-end-point, RFC 5929).
type BindingsPolicy int

// Policies.
const (
	// BindingsIfOffered refuses tokens that are bound to another server's
	// certificate, and takes those that are not bound. It is BindingsOff without TLS, and
	// with a certificate that has no bindings (Ed25519).
	BindingsIfOffered BindingsPolicy = iota
	// BindingsOff takes all.
	BindingsOff
	// BindingsRequired refuses tokens that are not bound to the server's certificate, and all
	// without TLS. It takes a library that tells (MIT 1.19 and later): on others every
	// token is refused, with ErrUnavailable in the log. Basic is not allowed with it. A
	// session is bound to nothing.
	BindingsRequired
)

// legTimeout is how long a client may take between two legs of an exchange.
const legTimeout = time.Minute

// Handler is an http.Handler that lets nobody through to the next one but who has
// authenticated himself with Negotiate, or as the options allow. FromContext tells the
// next handler who that is.
//
// Without credentials, and with wrong ones, the answer is 401 with the challenge, or
// challenges; 403 if Authorize says no, or the user has no name that can be told; 503 if the
// server is not in order: no library, no keytab, no KDC for a password. What is wrong stands
// in the log.
//
// A ticket takes one request. Some exchanges take more (the client's first token
// is of a mechanism that the server does not have, or it wants the negotiation signed): they
// go on in the next request of the same connection, or not at all, and within a
// minute. That takes Attach, and HTTP/1. HTTP/2 has no place for it; there such a client gets
// 401, and a server that has such clients does without HTTP/2 (http.Server.Protocols).
//
// Responses to who is known have Cache-Control: private, unless the next handler says
// otherwise. The request that it gets has the client's headers, Authorization and Cookie too. A
// Handler may be used by many goroutines at once.
//
// A recorded token is taken again by Heimdal 7.8, which has no replay cache by default:
// another reason for TLS.
type Handler struct {
	next  http.Handler
	o     ServerOptions
	log   *slog.Logger
	seals *seals // nil: no sessions

	connections sync.Map // net.Conn: *connection
	replays     replays
}

// NewHandler makes a Handler around next. Nil options are those of the zero value. It makes
// no call of the C library. The error says which option is wrong.
func NewHandler(next http.Handler, o *ServerOptions) (*Handler, error) {
	if o == nil {
		o = new(ServerOptions)
	}
	h := &Handler{next: next, o: *o, log: o.Logger, replays: replays{most: maxReplays}}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	switch {
	case next == nil:
		return nil, errors.New("httpauth: there is no next handler: give NewHandler the one to protect")
	case o.Bindings < BindingsIfOffered || o.Bindings > BindingsRequired:
		return nil, fmt.Errorf("httpauth: Bindings is %d: take BindingsIfOffered, BindingsOff or BindingsRequired", o.Bindings)
	case o.Acceptor != nil && (o.Acceptor.Bindings != nil || o.Acceptor.RequireBindings):
		return nil, errors.New("httpauth: Acceptor has Bindings or RequireBindings, which are each connection's own: set ServerOptions.Bindings")
	case o.Basic != nil && o.Bindings == BindingsRequired:
		return nil, errors.New("httpauth: Basic cannot go with BindingsRequired: a password is bound to no connection")
	}
	if o.Acceptor != nil {
		acceptor := *o.Acceptor
		h.o.Acceptor = &acceptor
	}
	if o.Basic != nil {
		basic, err := o.Basic.check()
		if err != nil {
			return nil, err
		}
		h.o.Basic = basic
	}
	if o.Session != nil {
		var err error
		if h.seals, err = newSeals(o.Session); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Attach makes a server tell h of its connections, as exchanges of more than one request
// need, and bindings of the certificate that was sent. Call it once, before the server
// serves, with everything else of the server set: ConnContext, ConnState and, unless Bindings
// is BindingsOff or Certificate is set, TLSConfig.GetConfigForClient are replaced by
// functions that call those that were there. The certificate is
// known however the server gets it: in TLSConfig, from GetCertificate or
// GetConfigForClient, or from files. A listener that was made by tls.NewListener, or by
// httptest, takes the server's TLSConfig as it is after Attach.
func (h *Handler) Attach(s *http.Server) error {
	if s == nil {
		return errors.New("httpauth: Attach takes the http.Server that the Handler is in")
	}
	connContext, connState := s.ConnContext, s.ConnState
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, conn)
		}
		c := new(connection)
		if reflect.ValueOf(conn).Comparable() { // else nothing tells of its requests, and keep refuses
			c.told = true
			h.connections.Store(conn, c)
		}
		return context.WithValue(ctx, connectionKey{h}, c)
	}
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		if reflect.ValueOf(conn).Comparable() {
			h.connState(conn, state)
		}
		if connState != nil {
			connState(conn, state)
		}
	}
	if h.o.Bindings == BindingsOff || h.o.Certificate != nil {
		return nil
	}
	if s.TLSConfig == nil {
		// As net/http has it where there is none: HTTP/2 if a listener has it.
		s.TLSConfig = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	}
	s.TLSConfig.GetConfigForClient = h.configForClient(s.TLSConfig.GetConfigForClient)
	return nil
}

// connectionKey is the key of a connection in the contexts of its requests.
type connectionKey struct{ h *Handler }

// connection is what a Handler knows of a connection.
type connection struct {
	told bool // connState is called; set when it is made

	mu sync.Mutex
	// An exchange that is not complete goes on in the request right after, or never: it
	// is next until that begins, then now.
	now, next *gssapi.Context
	timer     *time.Timer // ends the last one that was next
	sent      *leaf       // the certificate that was chosen last; nil: none was seen
	resumed   *leaf       // that of the ticket that was looked at last
}

// connection of requests and handshakes with that context; nil without Attach.
func (h *Handler) connection(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{h}).(*connection)
	return c
}

// connState is http.Server.ConnState.
func (h *Handler) connState(conn net.Conn, state http.ConnState) {
	value, ok := h.connections.Load(conn)
	if !ok {
		return
	}
	c := value.(*connection)
	switch state {
	case http.StateActive: // a request begins
		c.turn()
	case http.StateClosed, http.StateHijacked:
		h.connections.Delete(conn)
		c.turn()
		c.turn()
	}
}

// turn ends the exchange of the request before, and makes next the one of this request.
func (c *connection) turn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Close()
	c.now, c.next = c.next, nil
}

// take returns the exchange that this request may go on with, which is the caller's
// then; nil if there is none.
func (c *connection) take() *gssapi.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	half := c.now
	c.now = nil
	if half != nil && !c.timer.Stop() {
		return nil // it was too late, and is closed
	}
	return half
}

// keep keeps an exchange for the next request of the connection.
func (c *connection) keep(half *gssapi.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = half
	c.timer = time.AfterFunc(legTimeout, func() { half.Close() })
}

// refusal is an answer that is not the next handler's.
type refusal struct {
	status int
	token  []byte // for the client
	err    error  // nil: the client has no credentials yet, or is in the midst of an exchange
}

// unauthorized refuses bad credentials.
func unauthorized(token []byte, err error) *refusal {
	return &refusal{http.StatusUnauthorized, token, err}
}

// unavailable refuses because of the server.
func unavailable(err error) *refusal {
	return &refusal{http.StatusServiceUnavailable, nil, err}
}

// ServeHTTP answers a request without credentials, or passes it on with them. It blocks
// while the C library does, and no longer than the request's context lives.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := visit{h: h, w: w, r: r}
	defer v.end()
	if refused := v.identify(); refused != nil {
		h.refuse(w, r, refused)
		return
	}
	if v.id != nil {
		r = r.WithContext(context.WithValue(r.Context(), identityKey{}, v.id))
		if refused := v.admit(r); refused != nil {
			h.refuse(w, r, refused)
			return
		}
	}
	h.next.ServeHTTP(w, r)
}

// visit is one request.
type visit struct {
	h    *Handler
	w    http.ResponseWriter
	r    *http.Request
	id   *Identity       // who came; nil: nobody
	half *gssapi.Context // an exchange, unless it is complete
}

// end releases what does not outlive the request.
func (v *visit) end() {
	v.half.Close()
	if v.id != nil {
		v.id.release()
	}
}

// identify finds out who sends the request.
func (v *visit) identify() *refusal {
	if c := v.h.connection(v.r.Context()); c != nil && v.r.ProtoMajor == 1 {
		v.half = c.take()
	}
	lines := v.r.Header.Values("Authorization")
	if len(lines) > 1 {
		return unauthorized(nil, errors.New("httpauth: the request has more than one Authorization header"))
	}
	if len(lines) == 1 {
		token, found, err := credentials(lines[0])
		switch {
		case err != nil:
			return unauthorized(nil, fmt.Errorf("httpauth: Authorization: %w", err))
		case found:
			return v.negotiate(token)
		case v.h.o.Basic != nil && isBasic(lines[0]):
			return v.basic()
		}
	}
	if v.h.seals != nil {
		if v.id = v.h.resume(v.w, v.r); v.id != nil {
			return nil
		}
	}
	if v.h.o.Optional {
		return nil
	}
	return unauthorized(nil, nil)
}

// negotiate takes a token one step further.
func (v *visit) negotiate(token []byte) *refusal {
	h, ctx := v.h, v.r.Context()
	// A token in the framing of RFC 2743, or NTLM's of type 1, begins an exchange.
	begins := token[0] == 0x60 || strings.HasPrefix(string(token), ntlm+"\x01")
	if begins {
		v.half.Close()
		v.half = nil
	}
	goesOn := v.half != nil
	if !goesOn {
		bindings, refused := h.bindings(v.r)
		if refused != nil {
			return refused
		}
		v.half = h.acceptor(bindings)
	}
	out, err := v.half.Step(ctx, token)
	if err != nil {
		return h.blame(ctx, out, explain(token, begins || goesOn, h.why(ctx, token, err)))
	}
	if !v.half.Established() {
		return v.another(out)
	}
	c := v.half
	v.half = nil
	defer c.Close()
	switch seen, err := h.replays.seen(c); {
	case err != nil:
		return unavailable(fmt.Errorf("httpauth: %w", err))
	case seen:
		return unauthorized(nil, errReplay)
	}
	if len(out) > 0 {
		v.w.Header().Set("WWW-Authenticate", negotiate(out)) // of whatever response
	}
	var refused *refusal
	v.id, refused = identityOf(c, MethodNegotiate)
	return refused
}

// another keeps the exchange for the next request.
func (v *visit) another(out []byte) *refusal {
	c := v.h.connection(v.r.Context())
	switch {
	case v.r.ProtoMajor != 1:
		return unauthorized(nil, fmt.Errorf("httpauth: the client's exchange takes another token, for which %s has no place: turn HTTP/2 off for this server (http.Server.Protocols), or have the client use a ticket at once", v.r.Proto))
	case c == nil:
		return unauthorized(nil, errors.New("httpauth: the client's exchange takes another token, on the same connection, of which the Handler is not told: call Handler.Attach with the http.Server"))
	case !c.told:
		return unauthorized(nil, errors.New("httpauth: the client's exchange takes another token, and the listener's connections cannot be told apart: let them be pointers"))
	}
	c.keep(v.half)
	v.half = nil
	return unauthorized(out, nil)
}

// acceptor begins a context.
func (h *Handler) acceptor(bindings *gssapi.ChannelBindings) *gssapi.Context {
	var o gssapi.AcceptorOptions
	if h.o.Acceptor != nil {
		o = *h.o.Acceptor
	}
	o.Bindings, o.RequireBindings = bindings, h.o.Bindings == BindingsRequired
	return gssapi.NewAcceptor(&o)
}

// bindings of the request's connection; nil if there are none to check.
func (h *Handler) bindings(r *http.Request) (*gssapi.ChannelBindings, *refusal) {
	if h.o.Bindings == BindingsOff {
		return nil, nil
	}
	l, secure, err := h.certificate(r)
	switch {
	case err != nil:
		return nil, unavailable(err)
	case !secure && h.o.Bindings == BindingsRequired:
		return nil, unauthorized(nil, errors.New("httpauth: the request came without TLS, and BindingsRequired takes TLS"))
	case !secure:
		return nil, nil
	}
	b, err := l.bindings()
	switch {
	case err == nil:
		return b, nil
	case err == errNoBindings && h.o.Bindings == BindingsIfOffered:
		return nil, nil
	}
	return nil, unavailable(fmt.Errorf("httpauth: the channel bindings are not known: %w", err))
}

// certificate is what the client of a request was sent, if it came over TLS.
func (h *Handler) certificate(r *http.Request) (l *leaf, secure bool, err error) {
	if h.o.Certificate != nil {
		cert, err := h.o.Certificate(r)
		switch {
		case err != nil:
			return nil, false, fmt.Errorf("httpauth: Certificate: %w", err)
		case cert == nil:
			return nil, false, nil
		}
		return leafOf(&tls.Certificate{Certificate: [][]byte{cert.Raw}, Leaf: cert}), true, nil
	}
	if r.TLS == nil {
		return nil, false, nil
	}
	c := h.connection(r.Context())
	if c == nil {
		return nil, true, errors.New("httpauth: the certificate that the client was sent is not known: call Handler.Attach with the http.Server, or set Bindings to BindingsOff")
	}
	if l = c.leaf(r.TLS.DidResume); l == nil {
		return nil, true, errors.New("httpauth: the certificate that the client was sent is not known: the listener does TLS without the http.Server's TLSConfig as it is after Attach")
	}
	return l, true, nil
}

// secure reports whether a request came over TLS.
func (h *Handler) secure(r *http.Request) bool {
	if h.o.Certificate == nil {
		return r.TLS != nil
	}
	_, secure, err := h.certificate(r)
	return secure && err == nil
}

// identityOf tells who is at the other end of an established context. The delegated
// credential is the Identity's then.
func identityOf(c *gssapi.Context, m Method) (*Identity, *refusal) {
	id := &Identity{Method: m, delegated: c.Delegated()}
	info, err := c.Info()
	if err != nil {
		id.release()
		return nil, unavailable(fmt.Errorf("httpauth: %w", err))
	}
	defer info.Acceptor.Close()
	defer info.Initiator.Close()
	id.Name, id.Mech, id.Flags, id.Expiry = info.Initiator.String(), info.Mech, info.Flags, info.Expiry
	id.ChannelBound = info.Flags&gssapi.FlagChannelBound != 0
	status := http.StatusForbidden
	switch {
	case !id.Expiry.IsZero() && !time.Now().Before(id.Expiry):
		// Heimdal 7.8 takes tickets that expired within the clock skew, 5 minutes.
		status, err = http.StatusUnauthorized, fmt.Errorf("httpauth: the ticket of %s has expired", id.Name)
	case info.Flags&gssapi.FlagAnon != 0:
		err = errors.New("httpauth: the user is anonymous")
	case info.Initiator == nil:
		err = errors.New("httpauth: the library does not tell who the user is")
	case strings.ContainsRune(id.Name, '\uFFFD'):
		// Others may have the same name to look at.
		err = fmt.Errorf("httpauth: the user's name, %q, has characters that cannot be printed", id.Name)
	default:
		return id, nil
	}
	id.release()
	return nil, &refusal{status, nil, err}
}

// ntlm begins tokens of NTLM, which SPNEGO may have inside.
const ntlm = "NTLMSSP\x00"

// explain adds to an error what people make of it.
func explain(token []byte, inTurn bool, err error) error {
	switch {
	case strings.Contains(string(token), ntlm):
		return fmt.Errorf("httpauth: the client sent NTLM, so it has no ticket for this server: it must have logged in to Kerberos, take this server for one of its own network, and call it by a name that the KDC knows as HTTP/name, not by an address: %w", err)
	case !inTurn:
		return fmt.Errorf("httpauth: the client goes on with an exchange that this connection has not, or not any more: %w", err)
	}
	return fmt.Errorf("httpauth: %w", err)
}

// why finds out what was wrong with a token of SPNEGO where the library does not say
// (Heimdal 7.8): it is asked again, about the token of Kerberos inside.
func (h *Handler) why(ctx context.Context, token []byte, err error) error {
	inner := mechToken(token)
	if e := (*gssapi.Error)(nil); inner == nil || !errors.As(err, &e) || e.Text != "" {
		return err
	}
	var o gssapi.AcceptorOptions
	if h.o.Acceptor != nil {
		o.Credential = h.o.Acceptor.Credential
	}
	c := gssapi.NewAcceptor(&o)
	defer c.Close()
	_, again := c.Step(ctx, inner)
	if again == nil {
		if d := c.Delegated(); d != nil {
			d.Close()
		}
		return err
	}
	return fmt.Errorf("%w (in SPNEGO: %w)", again, err)
}

// mechToken is the token inside of SPNEGO's first one; nil if there is none. RFC 4178, 4.2.1.
func mechToken(token []byte) []byte {
	var frame asn1.RawValue
	var mech asn1.ObjectIdentifier
	var init struct {
		Mechs []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		Flags asn1.BitString          `asn1:"explicit,optional,tag:1"`
		Token []byte                  `asn1:"explicit,optional,tag:2"`
	}
	if _, err := asn1.Unmarshal(token, &frame); err != nil {
		return nil
	}
	rest, err := asn1.Unmarshal(frame.Bytes, &mech)
	if err != nil {
		return nil
	}
	if _, err := asn1.UnmarshalWithParams(rest, &init, "explicit,tag:0"); err != nil {
		return nil
	}
	return init.Token
}

// blame tells clients' errors from those of the server, and of its KDC: those have a code or
// text that no client can bring about, or an acceptor that cannot accept anything.
func (h *Handler) blame(ctx context.Context, token []byte, err error) *refusal {
	if ctx.Err() != nil {
		return unavailable(err)
	}
	if broken := h.cannotAccept(ctx); errors.Is(broken, gssapi.ErrUnavailable) {
		return unavailable(fmt.Errorf("httpauth: %w", broken)) // there is no library
	} else if broken != nil {
		return unavailable(fmt.Errorf("%w; the server has no credential to accept with: is the keytab there (KRB5_KTNAME), and may this process read it? %w", err, broken))
	}
	if ofServer(err) || errors.Is(err, gssapi.ErrUnavailable) && h.o.Bindings == BindingsRequired {
		return unavailable(err)
	}
	return unauthorized(token, err)
}

// Minor statuses of Kerberos that are no client's fault.
const (
	krb5Base        = 0x96c73a00 // of the errors of RFC 4120 in the libraries' numbers
	kdcUnavailable  = krb5Base + 29
	realmUnknown    = krb5Base + 153
	realmNotFound   = krb5Base + 154
	kdcUnreachable  = krb5Base + 156
	serviceNotKnown = krb5Base + 7
)

// ofServer reports whether an error tells that the KDC, or a file, cannot be used.
func ofServer(err error) bool {
	e := (*gssapi.Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Minor {
	case kdcUnavailable, realmUnknown, realmNotFound, kdcUnreachable:
		return true
	}
	for _, errno := range []syscall.Errno{syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EISDIR, syscall.EROFS, syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EIO} {
		// Within SPNEGO MIT has other numbers, but the text.
		if e.Minor == uint32(errno) || strings.HasPrefix(strings.ToLower(e.Text), strings.ToLower(errno.Error())) {
			return true
		}
	}
	return false
}

// cannotAccept tells why no client can be accepted; nil if that is not known.
func (h *Handler) cannotAccept(ctx context.Context) error {
	if h.o.Acceptor != nil && h.o.Acceptor.Credential != nil {
		info, err := h.o.Acceptor.Credential.Info(ctx)
		if err == nil {
			info.Name.Close()
		}
		return err
	}
	credential, err := gssapi.Acquire(ctx, &gssapi.CredentialOptions{Usage: gssapi.Accept, Mechs: []gssapi.OID{gssapi.MechKrb5}})
	if err == nil {
		credential.Close()
	}
	return err
}

// admit asks whether who came may come in, and prepares the response.
func (v *visit) admit(r *http.Request) *refusal {
	h := v.h
	login := v.id.Method != MethodSession
	if h.o.Authorize != nil {
		if err := h.o.Authorize(r, v.id); err != nil {
			return &refusal{http.StatusForbidden, nil, fmt.Errorf("httpauth: %s may not come in: %w", v.id.Name, err)}
		}
	}
	v.w.Header().Set("Cache-Control", "private")
	if login {
		h.log.LogAttrs(r.Context(), slog.LevelInfo, "login", slog.Any("user", v.id), slog.String("remote", r.RemoteAddr))
		if h.seals != nil {
			h.begin(v.w, r, v.id)
		}
	}
	return nil
}

// Demand answers with 401 and the challenges, for a next handler that lets requests
// through without credentials (ServerOptions.Optional) and wants them for this one.
func (h *Handler) Demand(w http.ResponseWriter, r *http.Request) {
	h.refuse(w, r, unauthorized(nil, nil))
}

// refuse answers a request.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	status, err := refused.status, refused.err
	if status == http.StatusUnauthorized {
		header := w.Header()
		header.Set("WWW-Authenticate", negotiate(refused.token))
		if h.o.Basic != nil && len(refused.token) == 0 && (h.o.Basic.PlainHTTP || h.secure(r)) {
			header.Add("WWW-Authenticate", h.o.Basic.challenge())
		}
	}
	if err != nil {
		level := slog.LevelWarn
		if status == http.StatusServiceUnavailable {
			level = slog.LevelError
		}
		h.log.LogAttrs(r.Context(), level, "refused", slog.Int("status", status), slog.String("remote", r.RemoteAddr), slog.String("host", brief(r.Host)), slog.String("error", brief(err.Error())))
	}
	answer := &answer{ResponseWriter: w, status: status}
	if h.o.Refused != nil {
		h.o.Refused(answer, r, status, err)
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		io.WriteString(answer, http.StatusText(status)+"\n")
	}
	answer.WriteHeader(status)
}

// brief is a text for the log, of which clients have chosen parts.
func brief(s string) string {
	const most = 2048
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// answer is a response whose status is settled.
type answer struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader sends the headers, with the status that was settled.
func (a *answer) WriteHeader(int) {
	if !a.begun {
		a.begun = true
		a.ResponseWriter.WriteHeader(a.status)
	}
}

// Write sends a part of the body.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(a.status)
	return a.ResponseWriter.Write(b)
}
