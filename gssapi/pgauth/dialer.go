package pgauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// Mode says whether a connection is encrypted: libpq's gssencmode.
type Mode int

const (
	// Require encrypts, or fails. It is the zero value; libpq's is Prefer.
	Require Mode = iota
	// Prefer encrypts if there is a credential and the server does; else, and if that
	// fails, the connection is in the clear, with what TLS the driver adds. Who can change
	// what goes over the network decides then. A server that encrypts, and whose
	// pg_hba.conf has no line for that, is not tried again, as libpq does.
	Prefer
	// Disable does not encrypt.
	Disable
)

// Dialer connects to a server and encrypts the connection by GSS-API: RFC 2743, and
// PostgreSQL's documentation, "GSSAPI Session Encryption". It fits DialFunc of pgx, and
// Dialer of lib/pq. It may be used by many goroutines at once; its fields must not be
// changed then.
//
// In an encrypted connection there is no TLS: give the driver sslmode=disable, or
// prefer with Prefer. A request to cancel a query goes through the Dialer too: it
// remembers the name of the server that it found at an address, as pgx asks by that.
type Dialer struct {
	Options
	// Mode: Require, if it is not set.
	Mode Mode
	// Host is the server's name in its principal; empty is the host that is dialed,
	// which is no name but an address if pgx has looked it up: see KeepHost.
	Host string
	// Service is the first part of the principal; empty is "postgres" (libpq's krbsrvname).
	Service string
	// SPN is the whole principal, in the place of Host and Service.
	SPN string
	// Connect makes the connection that is encrypted; nil is net.Dialer.DialContext.
	Connect func(ctx context.Context, network, addr string) (net.Conn, error)

	names sync.Map // of hosts, by the address and port at which they were found
}

// KeepHost is a LookupFunc for pgx that leaves the names of hosts to the Dialer, so that each of
// several hosts is asked for by its own name. (The system's resolver is asked by
// net.Dialer then, which tries all addresses of a name.)
func KeepHost(ctx context.Context, host string) ([]string, error) { return []string{host}, nil }

// gssencRequest asks the server to encrypt: its length, and a number that is no
// version of the protocol.
const gssencRequest = "\x00\x00\x00\x08\x04\xd2\x16\x30"

// maxPacket is the longest token that PostgreSQL sends or takes, in bytes, when the
// handshake is done: 16 KiB with its length.
const maxPacket = 16<<10 - 4

// errNoEncryption is the server's "no".
var errNoEncryption = errors.New("the server does not encrypt by GSS-API: it was built without, or it is a proxy that does not know how, or somebody on the way has changed its answer")

// DialContext connects to addr and, by the Mode, encrypts. Errors are those of the
// dialer, of gssapi.Conn.HandshakeContext (no ticket, a service that the KDC does
// not know, ...), and of a server that does not encrypt.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.connect(ctx, network, addr)
	if err != nil || d.Mode == Disable {
		return conn, err
	}
	if d.Mode != Require && d.Mode != Prefer {
		conn.Close()
		return nil, fmt.Errorf("pgauth: %d is no Mode", d.Mode)
	}
	if strings.HasPrefix(network, "unix") {
		if d.Mode == Prefer {
			return conn, nil
		}
		conn.Close()
		return nil, errors.New("pgauth: PostgreSQL does not encrypt unix sockets: set Mode to Disable for them")
	}
	target, err := d.target(addr, conn.RemoteAddr())
	if err != nil {
		conn.Close()
		return nil, err
	}
	x, err := d.encrypt(ctx, conn, target)
	switch {
	case err == nil:
		return x, nil
	case d.Mode == Prefer && err == errNoEncryption:
		return conn, nil
	}
	conn.Close()
	if d.Mode == Prefer && ctx.Err() == nil {
		return d.connect(ctx, network, addr)
	}
	return nil, fmt.Errorf("pgauth: %s: %w", addr, err)
}

func (d *Dialer) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.Connect != nil {
		return d.Connect(ctx, network, addr)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// target is the name of the server that was dialed as addr, and found at remote.
func (d *Dialer) target(addr string, remote net.Addr) (*gssapi.Name, error) {
	if d.SPN != "" {
		return principal(d.SPN)
	}
	host := d.Host
	if host == "" {
		var err error
		if host, _, err = net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("pgauth: %w", err)
		}
		if net.ParseIP(host) == nil {
			d.names.Store(remote.String(), host)
		} else if name, ok := d.names.Load(addr); ok {
			host = name.(string)
		} else {
			return nil, fmt.Errorf("pgauth: the server's name is needed, and %s is an address: set Dialer.Host, or LookupFunc of pgx to KeepHost", host)
		}
	}
	return hostService(d.Service, host)
}

// encrypt asks for encryption and does the handshake.
func (d *Dialer) encrypt(ctx context.Context, conn net.Conn, target *gssapi.Name) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	var answer [1]byte
	_, err := io.WriteString(conn, gssencRequest)
	if err == nil {
		_, err = io.ReadFull(conn, answer[:])
	}
	if !stop() || ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("the server does not answer a request for encryption: %w", err)
	}
	switch answer[0] {
	case 'G':
	case 'N':
		return nil, errNoEncryption
	case 'E': // of PostgreSQL before 12; what follows is not authenticated, and so it is not shown
		return nil, errors.New("the server knows no encryption by GSS-API (PostgreSQL before 12)")
	default:
		return nil, fmt.Errorf("the server answers %q to a request for encryption: is it PostgreSQL?", answer)
	}
	x := gssapi.NewConn(conn, gssapi.NewInitiator(target, d.initiator()), &gssapi.ConnOptions{MaxFrame: maxPacket, PlainEnd: true})
	err = x.HandshakeContext(ctx)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// That is how PostgreSQL tells: the reason is for those who may read its log.
		err = fmt.Errorf("the server has refused %v, and its log says why: often it has no key for that name (krb_server_keyfile): %w", target, err)
	}
	if err != nil {
		return nil, err
	}
	return x, nil
}

// Dial is DialContext without an end. It is for lib/pq.
func (d *Dialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialTimeout is DialContext with a time limit. It is for lib/pq.
func (d *Dialer) DialTimeout(network, addr string, timeout time.Duration) (net.Conn, error) {
	if timeout <= 0 {
		return d.Dial(network, addr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, addr)
}
