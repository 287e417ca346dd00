// Package ldapauth binds to LDAP servers by GSS-API (SASL mechanism GSSAPI, RFC 4752)
// with github.com/go-ldap/ldap/v3, which it does not import, and protects the
// connection after that:
//
//	raw, err := net.Dial("tcp", "ldap.example.com:389")
//	client := ldapauth.NewClient(nil)
//	l := ldap.NewConn(client.Conn(raw), false)
//	l.Start()
//	defer l.Close()
//	err = l.GSSAPIBind(client, "ldap/ldap.example.com", "")
//
// From the bind on everything is encrypted by Kerberos. A connection with TLS (ldaps,
// or StartTLS) needs no Conn; bind it to the Kerberos authentication, so that nobody
// can relay that:
//
//	l, err := ldap.DialURL("ldaps://ldap.example.com")
//	state, ok := l.TLSConnectionState()
//	bindings, err := gssapi.TLSServerEndPoint(state.PeerCertificates[0])
//	client := ldapauth.NewClient(&ldapauth.Options{Bindings: bindings})
//	err = l.GSSAPIBind(client, "ldap/ldap.example.com", "")
package ldapauth

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/sasl"
)

// Options are those of a Client. Nil and the zero value are safe, with a connection
// of Conn or with TLS.
type Options struct {
	// Credential to bind with; nil is the user's default one. Active Directory refuses
	// contexts with integrity on TLS: acquire it with CredentialOptions.NoCIFlags there.
	Credential *gssapi.Credential
	// Layers that may protect the connection, of which the strongest that the server offers is
	// used; 0 is LayerConfidentiality with a connection of Conn, and else LayerNone.
	Layers sasl.Layers
	// MaxFrame is the longest token that is read within a layer, in bytes; 0 is
	// sasl.DefaultMaxFrame.
	MaxFrame int
	// Bindings of the TLS connection, if there is one.
	Bindings *gssapi.ChannelBindings
	// Delegate gives the server a credential with which it can act for the user, if
	// that is forwardable.
	Delegate bool
	// Context ends the steps that wait for a KDC; nil does not.
	Context context.Context
	// Trace is told what happens to the context.
	Trace *gssapi.Trace
}

// Client is a GSSAPIClient of go-ldap, for one bind.
type Client struct {
	o Options

	mu   sync.Mutex
	s    *sasl.Client // nil: before the bind
	conn *conn        // nil: Conn was not called
	over bool         // DeleteSecContext was called
}

// NewClient makes a Client. It makes no call.
func NewClient(o *Options) *Client {
	if o == nil {
		o = new(Options)
	}
	return &Client{o: *o}
}

// Conn returns the connection for ldap.NewConn over raw, which it owns: it passes on
// everything as it is until the bind is done, and from then on protects it. It is
// not for connections with TLS, nor for StartTLS over it. If the bind fails the connection is
// dead: dial anew.
func (c *Client) Conn(raw net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = newConn(raw)
	return c.conn
}

// InitSecContext takes the server's token and returns the next one for it. target is
// the service, such as ldap/ldap.example.com, or a principal if it has a realm. Errors are those
// of gssapi.Context.Step.
func (c *Client) InitSecContext(target string, token []byte) (out []byte, more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil, false, fmt.Errorf("ldapauth: a Client is for one bind: make another one, and a Conn of it if it is to have a layer: %w", gssapi.ErrNoContext)
	}
	if c.s == nil {
		if err := c.begin(target); err != nil {
			return nil, false, err
		}
		_, out, err = c.s.Start()
	} else {
		out, err = c.s.Next(token)
	}
	if err != nil {
		return nil, false, fmt.Errorf("ldapauth: %w", err)
	}
	return out, c.s.Info() == nil, nil
}

// InitSecContextWithOptions is InitSecContext: the options, of Kerberos requests, are
// not looked at, as mutual authentication is always asked for.
func (c *Client) InitSecContextWithOptions(target string, token []byte, options []int) (out []byte, more bool, err error) {
	return c.InitSecContext(target, token)
}

// begin makes the client. The caller holds c.mu.
func (c *Client) begin(target string) error {
	name, err := service(target)
	if err != nil {
		return fmt.Errorf("ldapauth: %w", err)
	}
	layers := c.o.Layers
	switch {
	case layers == 0 && c.conn != nil:
		layers = sasl.LayerConfidentiality
	case layers == 0:
		layers = sasl.LayerNone
	case layers != sasl.LayerNone && c.conn == nil:
		return fmt.Errorf("ldapauth: the layers %v need a connection of Client.Conn: %w", layers, gssapi.ErrUnavailable)
	}
	c.s = sasl.NewClient(name, &sasl.ClientOptions{
		Credential: c.o.Credential, Layers: layers, MaxFrame: c.o.MaxFrame, Bindings: c.o.Bindings, Delegate: c.o.Delegate, Context: c.o.Context, Trace: c.o.Trace,
	})
	return nil
}

// service is the name for what go-ldap calls a service principal.
func service(target string) (*gssapi.Name, error) {
	if strings.Contains(target, "@") {
		return gssapi.ImportName(target, gssapi.NTKrb5PrincipalName)
	}
	service, host, ok := strings.Cut(target, "/")
	if !ok || service == "" || host == "" {
		return nil, fmt.Errorf("the service is %q, and should be like ldap/ldap.example.com: %w", target, gssapi.ErrBadName)
	}
	return gssapi.HostService(service, host)
}

// NegotiateSaslAuth takes the server's offer of layers and returns what is chosen.
// authzid is who to act as, such as u:alice or dn:uid=alice,dc=example,dc=com; empty
// is who one is. Errors are those of sasl.Client.Next: ErrUnauthorized if the server
// does not offer what is required.
func (c *Client) NegotiateSaslAuth(token []byte, authzid string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s == nil || c.s.Info() == nil {
		return nil, fmt.Errorf("ldapauth: NegotiateSaslAuth before the context is established: %w", gssapi.ErrNoContext)
	}
	err := c.s.SetAuthzID(authzid)
	var response []byte
	if err == nil {
		response, err = c.s.Next(token)
	}
	if err == nil && c.conn != nil {
		err = c.conn.arm(c.s, response)
	}
	if err != nil {
		return nil, fmt.Errorf("ldapauth: %w", err)
	}
	return response, nil
}

// DeleteSecContext ends the bind: go-ldap calls it when that is done. A context that
// protects the connection is kept by that; a connection of Conn that is not protected
// then, and should be, is closed.
func (c *Client) DeleteSecContext() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return nil
	}
	c.over = true
	if c.conn != nil && c.conn.finish() || c.s == nil {
		return nil
	}
	return c.s.Close()
}

// Layer is the security layer that protects the connection; 0 before the bind is
// done.
func (c *Client) Layer() sasl.Layers {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s == nil {
		return 0
	}
	return c.s.Layer()
}
