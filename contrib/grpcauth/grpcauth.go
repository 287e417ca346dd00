// Package grpcauth authenticates and encrypts gRPC by GSS-API: transport credentials
// for google.golang.org/grpc, in the place of TLS.
//
//	conn, err := grpc.NewClient("server.example.com:50051", grpc.WithTransportCredentials(grpcauth.NewClient(nil)))
//
//	s := grpc.NewServer(grpc.Creds(grpcauth.NewServer(nil)))
//
// and in a method of the server:
//
//	user := grpcauth.FromContext(ctx).Peer().String() // alice@EXAMPLE.COM
//
// No standard says how gRPC goes over GSS-API: both ends use this package. On the wire it
// is what gssapi.Conn says.
package grpcauth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/seed2651813c/gss/gssapi"
)

// DefaultService is the first part of a server's name, as in grpc@server.example.com.
const DefaultService = "grpc"

// ClientOptions are those of a client. Nil and the zero value are safe.
type ClientOptions struct {
	// Service is the first part of the server's name; empty is DefaultService.
	Service string
	// Initiator is how contexts are initiated: with which credential, mechanism, flags,
	// and Trace; nil is the user's default credential and the library's mechanism.
	Initiator *gssapi.InitiatorOptions
	// Conn is what each connection does besides; nil: everything is encrypted.
	Conn *gssapi.ConnOptions
}

// ServerOptions are those of a server. Nil and the zero value are safe. Who may call
// what is for an interceptor, which asks FromContext and can answer PermissionDenied.
type ServerOptions struct {
	// Acceptor is how contexts are accepted; nil is the default keytab.
	Acceptor *gssapi.AcceptorOptions
	// Conn is what each connection does besides; nil: everything is encrypted.
	Conn *gssapi.ConnOptions
}

// AuthInfo tells who is at the other end of a connection.
type AuthInfo struct {
	credentials.CommonAuthInfo // how well messages are protected
	gssapi.ConnectionState
}

// AuthType is gssapi.
func (AuthInfo) AuthType() string { return protocol }

const protocol = "gssapi"

// FromContext tells who called a method, or, with the peer of grpc.Peer, who answered;
// nil if that did not come over a connection of this package. The names are valid
// after the end of the connection.
func FromContext(ctx context.Context) *AuthInfo {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	return FromPeer(p)
}

// FromPeer is FromContext for a peer that grpc.Peer has filled.
func FromPeer(p *peer.Peer) *AuthInfo {
	info, ok := p.AuthInfo.(AuthInfo)
	if !ok {
		return nil
	}
	return &info
}

// transport is the credentials.TransportCredentials of both ends.
type transport struct {
	client *ClientOptions // nil: a server's
	server *ServerOptions // nil: a client's
	name   atomic.Pointer[string]
}

// NewClient makes the credentials of a client: for grpc.WithTransportCredentials. The
// server must be the service of the host that the target names, or that of
// grpc.WithAuthority. It makes no call.
func NewClient(o *ClientOptions) credentials.TransportCredentials {
	if o == nil {
		o = new(ClientOptions)
	}
	copied := *o
	return &transport{client: &copied}
}

// NewServer makes the credentials of a server: for grpc.Creds. A handshake has the time of
// grpc.ConnectionTimeout. It makes no call.
func NewServer(o *ServerOptions) credentials.TransportCredentials {
	if o == nil {
		o = new(ServerOptions)
	}
	copied := *o
	return &transport{server: &copied}
}

// handshakeError is an error of a handshake.
type handshakeError struct {
	error
	permanent bool
}

func (e *handshakeError) Unwrap() error { return e.error }

// Temporary tells grpc whether another attempt may do better: not with a name or
// options that are wrong, nor with a peer that refuses.
func (e *handshakeError) Temporary() bool { return !e.permanent }

func wrapped(err error) error {
	permanent := false
	for _, m := range []error{gssapi.ErrBadName, gssapi.ErrBadNameType, gssapi.ErrBadMech, gssapi.ErrBadBindings, gssapi.ErrUnavailable, gssapi.ErrUnauthorized} {
		permanent = permanent || errors.Is(err, m)
	}
	return &handshakeError{fmt.Errorf("grpcauth: %w", err), permanent}
}

// ClientHandshake authenticates to the host that authority names. It returns when ctx
// is done. Errors are those of gssapi.Conn.HandshakeContext.
func (t *transport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if t.client == nil {
		return nil, nil, errors.New("grpcauth: these are a server's credentials: use NewClient")
	}
	if name := t.name.Load(); name != nil {
		authority = *name
	}
	host, _, err := net.SplitHostPort(authority)
	if err != nil {
		host = authority // it has no port
	}
	service := t.client.Service
	if service == "" {
		service = DefaultService
	}
	target, err := gssapi.HostService(service, host)
	if err != nil {
		return nil, nil, wrapped(err)
	}
	c := gssapi.NewConn(conn, gssapi.NewInitiator(target, t.client.Initiator), t.client.Conn)
	if err := c.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, nil, wrapped(err)
	}
	return c, authInfo(c, t.client.Conn), nil
}

// ServerHandshake authenticates a client. grpc has set the connection's deadline.
func (t *transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if t.server == nil {
		return nil, nil, errors.New("grpcauth: these are a client's credentials: use NewServer")
	}
	c := gssapi.NewConn(conn, gssapi.NewAcceptor(t.server.Acceptor), t.server.Conn)
	if err := c.Handshake(); err != nil {
		c.Close()
		return nil, nil, wrapped(err)
	}
	return c, authInfo(c, t.server.Conn), nil
}

func authInfo(c *gssapi.Conn, o *gssapi.ConnOptions) AuthInfo {
	info := AuthInfo{ConnectionState: c.ConnectionState()}
	info.SecurityLevel = credentials.PrivacyAndIntegrity
	if o != nil && o.Protection == gssapi.Integrity {
		info.SecurityLevel = credentials.IntegrityOnly
	}
	return info
}

// Info tells what protects connections.
func (t *transport) Info() credentials.ProtocolInfo {
	info := credentials.ProtocolInfo{SecurityProtocol: protocol}
	if name := t.name.Load(); name != nil {
		info.ServerName = *name
	}
	return info
}

// Clone is a copy.
func (t *transport) Clone() credentials.TransportCredentials {
	c := &transport{client: t.client, server: t.server}
	c.name.Store(t.name.Load())
	return c
}

// OverrideServerName sets the host that the server must be, in the place of what the
// target names. Deprecated by grpc: use grpc.WithAuthority.
func (t *transport) OverrideServerName(name string) error {
	t.name.Store(&name)
	return nil
}
