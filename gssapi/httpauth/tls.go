package httpauth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"reflect"
	"strings"

	"github.com/seed2651813c/gss/gssapi"
)

// leaf is what the certificate that a server has sent means for bindings.
type leaf struct {
	data []byte // of the bindings of type tls-server-end-point
	err  error  // why there are none; a certificate that has none by RFC 5929 has neither
}

// bindings of a connection that the certificate was sent on. The error is
// ErrBadBindings if there are none.
func (l *leaf) bindings() (*gssapi.ChannelBindings, error) {
	switch {
	case l.err != nil:
		return nil, l.err
	case len(l.data) == 0:
		return nil, errNoBindings
	}
	return &gssapi.ChannelBindings{ApplicationData: l.data}, nil
}

// errNoBindings is the error of certificates such as those signed with Ed25519.
var errNoBindings = &gssapi.Error{Op: "bindings", Major: gssapi.ErrBadBindings, Text: "the signature of the server's certificate has no hash, for which RFC 5929 defines no bindings: take a certificate that is signed with RSA or ECDSA"}

// leafOf looks at what is sent, which need not be cert.Leaf.
func leafOf(cert *tls.Certificate) *leaf {
	if len(cert.Certificate) == 0 {
		return &leaf{err: errors.New("the certificate that was chosen is empty")}
	}
	x := cert.Leaf
	if x == nil || !bytes.Equal(x.Raw, cert.Certificate[0]) {
		var err error
		if x, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return &leaf{err: err}
		}
	}
	b, err := gssapi.TLSServerEndPoint(x)
	if err != nil {
		return new(leaf)
	}
	return &leaf{data: b.ApplicationData}
}

// ticketPrefix begins our part of a TLS session's state.
const ticketPrefix = "github.com/seed2651813c/gss/gssapi/httpauth 1 "

// configForClient is GetConfigForClient of a server: what theirs returns, or what
// the server has, watched for the certificate that is sent. A connection that cannot be
// watched goes on; its requests are refused if they need to know.
func (h *Handler) configForClient(theirs func(*tls.ClientHelloInfo) (*tls.Config, error)) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var their *tls.Config
		if theirs != nil {
			var err error
			if their, err = theirs(hello); err != nil {
				return nil, err
			}
		}
		c, original := h.connection(hello.Context()), configOf(hello)
		switch {
		case c == nil || original == nil:
			return their, nil
		case their == nil:
			return c.watch(original, original), nil
		case hasTicketKeys(their):
			return c.watch(their, their), nil
		}
		return c.watch(their, original), nil
	}
}

// configOf is the configuration of the connection that a hello came over. It is not
// that of the http.Server: ServeTLS, and httptest.Server too, make a copy and give
// that the certificates, which nothing else tells of.
func configOf(hello *tls.ClientHelloInfo) *tls.Config {
	config := reflect.ValueOf(hello).Elem().FieldByName("config")
	if !config.IsValid() || config.Type() != reflect.TypeFor[*tls.Config]() {
		return nil
	}
	return (*tls.Config)(config.UnsafePointer())
}

// hasTicketKeys reports whether a configuration that GetConfigForClient returned has
// keys of its own for tickets. Else those of the connection's configuration count.
func hasTicketKeys(config *tls.Config) bool {
	c := reflect.ValueOf(config.Clone()).Elem() // nobody else changes the clone
	keys := c.FieldByName("sessionTicketKeys")
	return !c.FieldByName("SessionTicketKey").IsZero() || keys.IsValid() && keys.Len() > 0
}

// watch returns a configuration that does what base does and tells c which
// certificate was sent. Tickets are sealed by keys; they take along which certificate
// the session began with, as a client that resumes it is sent none.
func (c *connection) watch(base, keys *tls.Config) *tls.Config {
	config := base.Clone()
	config.Certificates = nil
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(base, hello)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = leafOf(cert)
		return cert, nil
	}
	wrap, unwrap := base.WrapSession, base.UnwrapSession
	if wrap == nil {
		wrap = keys.EncryptTicket
	}
	if unwrap == nil {
		unwrap = keys.DecryptTicket
	}
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if l := c.leaf(state.DidResume); l != nil && l.err == nil {
			session.Extra = append(session.Extra, append([]byte(ticketPrefix), l.data...))
		}
		return wrap(state, session)
	}
	config.UnwrapSession = func(identity []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(identity, state)
		if session == nil || err != nil {
			return nil, err
		}
		for _, extra := range session.Extra {
			if data, ok := bytes.CutPrefix(extra, []byte(ticketPrefix)); ok {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.resumed = &leaf{data: data}
				return session, nil
			}
		}
		return nil, nil // from a time before: a full handshake
	}
	return config
}

// leaf is the certificate of the connection, as far as it is known: the last one
// that was chosen, or that of the last ticket that was looked at.
func (c *connection) leaf(resumed bool) *leaf {
	c.mu.Lock()
	defer c.mu.Unlock()
	if resumed {
		return c.resumed
	}
	return c.sent
}

// choose is the certificate that a server with config sends, by the rules of
// crypto/tls, which does not tell which one it took.
func choose(config *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	certs := config.Certificates
	if config.GetCertificate != nil && (len(certs) == 0 || hello.ServerName != "") {
		if cert, err := config.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(certs) == 0 {
		return nil, errors.New("httpauth: the server has no certificate: set TLSConfig.Certificates or GetCertificate, or name files")
	}
	//lint:ignore SA1019 who still sets it is served
	if byName := config.NameToCertificate; byName != nil && len(certs) > 1 {
		name := strings.ToLower(hello.ServerName)
		if cert := byName[name]; cert != nil {
			return cert, nil
		}
		if _, domain, _ := strings.Cut(name, "."); name != "" && domain != "" {
			if cert := byName["*."+domain]; cert != nil {
				return cert, nil
			}
		}
	}
	for n := range certs {
		if hello.SupportsCertificate(&certs[n]) == nil {
			return &certs[n], nil
		}
	}
	return &certs[0], nil
}
