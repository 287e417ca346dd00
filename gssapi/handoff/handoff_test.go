package handoff

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
)

func TestSend(t *testing.T) {
	for _, mech := range []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO} {
		t.Run(mech.String(), func(t *testing.T) {
			s, r := session(t, nil)
			client, h := established(t, &gssapi.InitiatorOptions{Mech: mech}, nil)
			h.Data = []byte("for the worker")
			h.Received = []byte{}
			result := make(chan error, 1)
			go func() { result <- s.Send(context.Background(), h) }()
			got, err := r.Receive(context.Background())
			check(t, err)
			check(t, <-result)
			if got.Peer().Name != "alice@"+realm.Name() || string(got.Data) != "for the worker" {
				t.Errorf("%+v", got.Meta)
			}
			if _, err := h.Context.Wrap([]byte("x")); !errors.Is(err, gssapi.ErrNoContext) {
				t.Errorf("the sender's context: %v", err)
			}
			conn := got.Conn(nil)
			go func() {
				io.Copy(conn, conn)
				conn.Close()
			}()
			text := bytes.Repeat([]byte("hello "), 10000)
			go func() {
				client.Write(text)
				client.CloseWrite()
			}()
			back, err := io.ReadAll(client)
			check(t, err)
			if !bytes.Equal(back, text) {
				t.Errorf("%d bytes came back of %d", len(back), len(text))
			}
			s.Finish()
			if _, err := r.Receive(context.Background()); err != io.EOF {
				t.Errorf("after Finish: %v", err)
			}
			<-s.Over()
			check(t, s.Err())
			if c := s.Counts(); c != (Counts{Offered: 1, Taken: 1, Done: 1, Capacity: DefaultPlaces}) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// session is a session within this process.
func session(t testing.TB, o *ReceiverOptions) (*Sender, *Receiver) {
	t.Helper()
	c, f, err := Pair()
	check(t, err)
	peer, err := net.FileConn(f)
	f.Close()
	check(t, err)
	return sessionOver(t, c, peer.(*net.UnixConn), nil, o)
}

// sessionOver is a session over a pair of connections.
func sessionOver(t testing.TB, c, d *net.UnixConn, so *Options, ro *ReceiverOptions) (*Sender, *Receiver) {
	t.Helper()
	var from Options
	if so != nil {
		from = *so
	}
	var to ReceiverOptions
	if ro != nil {
		to = *ro
	}
	from.Key = NewKey()
	to.Key = from.Key
	var s *Sender
	result := make(chan error, 1)
	go func() {
		var err error
		s, err = NewSender(context.Background(), c, &from)
		result <- err
	}()
	r, err := NewReceiver(context.Background(), d, &to)
	check(t, err)
	check(t, <-result)
	t.Cleanup(func() {
		s.Close()
		r.Close()
	})
	return s, r
}

// conns is both ends of a connection whose context is established.
func conns(t testing.TB, io *gssapi.InitiatorOptions, ao *gssapi.AcceptorOptions) (client, server *gssapi.Conn) {
	t.Helper()
	needsExport(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	peer, err := l.Accept()
	check(t, err)
	target, err := gssapi.HostService("host", "server.test")
	check(t, err)
	client, server = gssapi.Client(conn, target, io), gssapi.Server(peer, ao)
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	result := make(chan error, 1)
	go func() {
		err := client.Handshake()
		if err != nil {
			client.Close()
		}
		result <- err
	}()
	err = server.Handshake()
	check(t, errors.Join(<-result, err))
	return client, server
}

// established is a client's connection, and the other end, ready to be handed over.
func established(t testing.TB, io *gssapi.InitiatorOptions, ao *gssapi.AcceptorOptions) (*gssapi.Conn, *Handoff) {
	t.Helper()
	client, server := conns(t, io, ao)
	h, err := FromConn(server)
	check(t, err)
	t.Cleanup(func() { h.Close() })
	return client, h
}

// pass hands a connection over.
func pass(t testing.TB, s *Sender, r *Receiver, h *Handoff) *Received {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- s.Send(context.Background(), h) }()
	got, err := r.Receive(context.Background())
	check(t, err)
	t.Cleanup(func() { got.Close() })
	check(t, <-result)
	return got
}

// converse exchanges messages between both ends of a connection.
func converse(t testing.TB, x, y *gssapi.Conn) {
	t.Helper()
	for _, c := range [][2]*gssapi.Conn{{x, y}, {y, x}, {x, y}} {
		text := []byte("hello from one end")
		_, err := c[0].Write(text)
		check(t, err)
		got := make([]byte, len(text))
		_, err = io.ReadFull(c[1], got)
		check(t, err)
		if !bytes.Equal(got, text) {
			t.Fatalf("%q", got)
		}
	}
}
