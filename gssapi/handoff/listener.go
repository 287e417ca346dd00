package handoff

import (
	"context"
	"io"
	"net"
)

// NewListener makes a net.Listener of a Receiver, for servers that are made for
// one, such as http.Server: Accept returns the NetConn of what is received, and
// FromNetConn tells what it is. Who accepts closes the connection, which closes the
// context and the delegated credential as well. After the last connection, and
// after Close, Accept returns net.ErrClosed.
//
// Close tells the acceptor that this process wants no more connections. What is on
// its way then is closed.
func NewListener(r *Receiver) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	return &listener{r, ctx, cancel}
}

type listener struct {
	r      *Receiver
	ctx    context.Context
	cancel func()
}

func (l *listener) Accept() (net.Conn, error) {
	got, err := l.r.Receive(l.ctx)
	switch {
	case l.ctx.Err() != nil, err == io.EOF:
		if got != nil {
			got.Close()
		}
		return nil, net.ErrClosed
	case err != nil:
		return nil, err
	}
	got.conn.whole = true
	return got.conn, nil
}

func (l *listener) Close() error {
	l.cancel()
	if l.r.Leave() != nil {
		return nil // it knows: the session is over
	}
	go func() { // until the acceptor has heard of it
		for {
			got, err := l.r.Receive(context.Background())
			if err != nil {
				return
			}
			got.Close()
		}
	}()
	return nil
}

func (l *listener) Addr() net.Addr { return l.r.link.conn.LocalAddr() }

// FromNetConn returns what came with a connection that a listener of NewListener
// has accepted; false for others.
func FromNetConn(c net.Conn) (*Received, bool) {
	x, ok := c.(*clientConn)
	if !ok {
		return nil, false
	}
	return x.received, true
}
