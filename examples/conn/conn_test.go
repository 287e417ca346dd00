package conn

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

// What golang.org/x/net expects of every net.Conn: deadlines, concurrency, Close.
func TestConn(t *testing.T) {
	target, err := gssapi.HostService("host", realm.Host)
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b, err := connect(t, network)
				if err != nil {
					return nil, nil, nil, err
				}
				client, server := gssapi.Client(a, target, nil), gssapi.Server(b, nil)
				stop = func() {
					client.Close()
					server.Close()
				}
				done := make(chan error, 1)
				go func() { done <- server.Handshake() }()
				if err := errors.Join(client.Handshake(), <-done); err != nil {
					stop()
					return nil, nil, nil, err
				}
				return client, server, stop, nil
			})
		})
	}
}

// connect makes a connection with little room on the way, so that writes block, and
// deadlines cut frames. (With less, TCP waits for its timers.)
func connect(t *testing.T, network string) (a, b net.Conn, err error) {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if b, err = l.Accept(); err != nil {
		a.Close()
		return nil, nil, err
	}
	for _, c := range []net.Conn{a, b} {
		c := c.(interface {
			SetReadBuffer(bytes int) error
			SetWriteBuffer(bytes int) error
		})
		err = errors.Join(err, c.SetReadBuffer(64<<10), c.SetWriteBuffer(64<<10))
	}
	return a, b, err
}
