// Package sshauth logs in over SSH by GSS-API (gssapi-with-mic, RFC 4462). Client
// and Server have the methods of GSSAPIClient and GSSAPIServer of
// golang.org/x/crypto/ssh, which this package does not import.
//
// A client:
//
//	config := &ssh.ClientConfig{
//		User: "alice",
//		Auth: []ssh.AuthMethod{ssh.GSSAPIWithMICAuthMethod(sshauth.NewClient(nil), "server.example.com")},
//		...
//	}
//
// A server: package ssh has one GSSAPIServer in a ServerConfig and does not tell it
// of which connection a token is, so every connection needs a copy of the
// configuration, which ForConn makes:
//
//	config, state := sshauth.ForConn(base, options, func(c *ssh.ServerConfig, s *sshauth.Server) {
//		c.GSSAPIWithMICConfig = &ssh.GSSAPIWithMICConfig{Server: s, AllowLogin: allow}
//	})
//	defer state.Close()
//	conn, channels, requests, err := ssh.NewServerConn(tcp, config)
//
// AllowLogin gets the user's name in the form alice@EXAMPLE.COM, with the name that
// he wants to log in as; Server.MayLogIn asks the library whether he may.
//
// Use golang.org/x/crypto 0.45 or later: before, a client could make a server
// allocate without bounds (CVE-2025-58181).
package sshauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/seed2651813c/gss/gssapi"
)

// ClientOptions are those of a client. Nil and the zero value are safe.
type ClientOptions struct {
	// Credential to log in with; nil is the user's default one.
	Credential *gssapi.Credential
	// Target is the service's name, in the place of host@ and the name that package
	// ssh was given.
	Target *gssapi.Name
	// Delegate gives the server a credential with which it can act for the user, if
	// that is forwardable. (Package ssh never asks for it.)
	Delegate bool
	// Context ends the steps that wait for a KDC; nil does not.
	Context context.Context
	// Trace is told what happens to the contexts.
	Trace *gssapi.Trace
}

// Client is a GSSAPIClient of golang.org/x/crypto/ssh. It serves one login at a
// time, and any number of them.
type Client struct {
	o ClientOptions

	mu   sync.Mutex
	c    *gssapi.Context // nil: no login is under way
	name *gssapi.Name    // of the service, if it was made here
	last []byte          // the server's token that was processed last
}

// NewClient makes a Client. It makes no call.
func NewClient(o *ClientOptions) *Client {
	if o == nil {
		o = new(ClientOptions)
	}
	return &Client{o: *o}
}

func ctxOf(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// InitSecContext takes the server's token and returns the next one to send to it.
// target is the service, such as host@server.example.com; delegate is what package
// ssh asks for, besides ClientOptions.Delegate. Errors are those of
// gssapi.Context.Step; ErrUnauthorized if the server does not authenticate itself or
// there is no integrity, without which there is no login.
func (c *Client) InitSecContext(target string, token []byte, delegate bool) (out []byte, more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.c == nil:
		if err := c.begin(target, delegate); err != nil {
			return nil, false, err
		}
	case len(token) == 0 || bytes.Equal(token, c.last):
		// Package ssh calls again, with the token before, when a message came that is
		// none of the exchange (a banner): the server's next one is still to come.
		return nil, true, nil
	}
	c.last = bytes.Clone(token)
	out, err = c.c.Step(ctxOf(c.o.Context), token)
	if err != nil {
		c.end()
		return out, false, fmt.Errorf("sshauth: %w", err)
	}
	return out, !c.c.Established(), nil
}

// begin begins a login. The caller holds c.mu.
func (c *Client) begin(target string, delegate bool) error {
	name := c.o.Target
	if name == nil {
		var err error
		if name, err = gssapi.ImportName(target, gssapi.NTHostBasedService); err != nil {
			return fmt.Errorf("sshauth: %w", err)
		}
		c.name = name
	}
	o := &gssapi.InitiatorOptions{Credential: c.o.Credential, Mech: gssapi.MechKrb5, Trace: c.o.Trace}
	if delegate || c.o.Delegate {
		o.Flags |= gssapi.FlagDeleg
	}
	c.c = gssapi.NewInitiator(name, o)
	return nil
}

// end ends a login. The caller holds c.mu.
func (c *Client) end() {
	if c.c != nil {
		c.c.Close()
	}
	if c.name != nil {
		c.name.Close()
	}
	c.c, c.name, c.last = nil, nil, nil
}

// errNoLogin is the error of a call out of turn.
var errNoLogin = fmt.Errorf("sshauth: no login is under way: %w", gssapi.ErrNoContext)

// GetMIC signs the login.
func (c *Client) GetMIC(field []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c == nil {
		return nil, errNoLogin
	}
	mic, err := c.c.AppendMIC(nil, field)
	if err != nil {
		return nil, fmt.Errorf("sshauth: %w", err)
	}
	return mic, nil
}

// DeleteSecContext ends a login, well or not. It never fails.
func (c *Client) DeleteSecContext() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
	return nil
}

// ServerOptions are those of a server. Nil and the zero value are safe.
type ServerOptions struct {
	// Credential to accept with; nil is the default one: any service in the default
	// keytab. One, once acquired, serves all connections.
	Credential *gssapi.Credential
	// Context ends the steps that wait; nil does not.
	Context context.Context
	// Trace is told what happens to the contexts.
	Trace *gssapi.Trace
}

// Server is a GSSAPIServer of golang.org/x/crypto/ssh, for one connection: see
// ForConn. A client may try to log in several times over it.
type Server struct {
	o ServerOptions

	mu    sync.Mutex
	c     *gssapi.Context // of the login that is under way
	taken bool            // c is somebody else's
}

// NewServer makes a Server for one connection. It makes no call.
func NewServer(o *ServerOptions) *Server {
	if o == nil {
		o = new(ServerOptions)
	}
	return &Server{o: *o}
}

// ForConn makes a Server for one connection and a copy of the configuration for it,
// in which set puts the Server. Config is ssh.ServerConfig; base is not changed.
func ForConn[Config any](base *Config, o *ServerOptions, set func(*Config, *Server)) (*Config, *Server) {
	c, s := *base, NewServer(o)
	set(&c, s)
	return &c, s
}

// AcceptSecContext takes the client's token and returns the next one to send to it.
// With the last one it returns the client's name, such as alice@EXAMPLE.COM. Errors are those of
// gssapi.Context.Step; ErrUnauthorized if there is no integrity, without which there
// is no login; ErrBadName for a name that could be taken for another.
func (s *Server) AcceptSecContext(token []byte) (out []byte, name string, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil && s.c.Established() {
		s.end()
		return nil, "", false, fmt.Errorf("sshauth: a token after the last one: %w", gssapi.ErrDefectiveToken)
	}
	if s.c == nil {
		s.c = gssapi.NewAcceptor(&gssapi.AcceptorOptions{
			Credential: s.o.Credential, Mechs: []gssapi.OID{gssapi.MechKrb5}, Require: gssapi.FlagInteg, Trace: s.o.Trace,
		})
	}
	out, err = s.c.Step(ctxOf(s.o.Context), token)
	if err == nil && !s.c.Established() {
		return out, "", true, nil
	}
	if err == nil {
		name, err = peer(s.c)
	}
	if err != nil {
		s.end()
		return out, "", false, fmt.Errorf("sshauth: %w", err)
	}
	return out, name, false, nil
}

// peer is the name of who logs in, for comparisons.
func peer(c *gssapi.Context) (string, error) {
	i, err := c.Info()
	if err != nil {
		return "", err
	}
	if i.Peer() == nil || i.Flags&gssapi.FlagAnon != 0 {
		return "", fmt.Errorf("the client has not said who he is: %w", gssapi.ErrBadName)
	}
	name := i.Peer().String()
	if strings.ContainsRune(name, '\uFFFD') {
		return "", fmt.Errorf("the client's name has characters that cannot be shown: %q: %w", name, gssapi.ErrBadName)
	}
	return name, nil
}

// VerifyMIC checks what the client has signed.
func (s *Server) VerifyMIC(field, mic []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return errNoLogin
	}
	if err := s.c.VerifyMIC(field, mic); err != nil {
		return fmt.Errorf("sshauth: %w", err)
	}
	return nil
}

// DeleteSecContext ends a login, well or not. It never fails.
func (s *Server) DeleteSecContext() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return nil
}

// Close is DeleteSecContext.
func (s *Server) Close() error { return s.DeleteSecContext() }

// end ends a login. The caller holds s.mu.
func (s *Server) end() {
	if s.c != nil && !s.taken {
		s.c.Close()
	}
	s.c, s.taken = nil, false
}

// Context is that of the login, in AllowLogin: package ssh ends it afterwards. It
// tells of flags, lifetime and the delegated credential.
func (s *Server) Context() *gssapi.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c
}

// Take gives the context to the caller, who closes it, in AllowLogin: with its
// delegated credential, or to hand it to another process. It is nil if no login is
// complete.
func (s *Server) Take() *gssapi.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil || !s.c.Established() {
		return nil
	}
	s.taken = true
	return s.c
}

// MayLogIn reports whether the library lets the client log in as that local user,
// by its rules (.k5login, auth_to_local), in AllowLogin. It may block: on files, and
// on the name service. Errors are those of gssapi.Name.MayLogIn.
func (s *Server) MayLogIn(ctx context.Context, user string) (bool, error) {
	c := s.Context()
	if c == nil {
		return false, errNoLogin
	}
	i, err := c.Info()
	if err != nil {
		return false, fmt.Errorf("sshauth: %w", err)
	}
	if i.Peer() == nil {
		return false, errors.New("sshauth: the client has not said who he is")
	}
	return i.Peer().MayLogIn(ctx, user)
}
