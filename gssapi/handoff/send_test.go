//go:build unix

package handoff

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// hold is a gate that holds who comes to a step, once.
type hold struct {
	step    string
	once    sync.Once
	reached chan struct{}
	on      chan struct{}
}

func newHold(step string) *hold {
	return &hold{step: step, reached: make(chan struct{}), on: make(chan struct{})}
}

func (h *hold) gate(step string) {
	if step == h.step {
		h.once.Do(func() {
			close(h.reached)
			<-h.on
		})
	}
}

// wantCounts waits until the counts of a session are so.
func wantCounts(t testing.TB, s *Sender, want Counts) {
	t.Helper()
	want.Capacity = s.link.peer.capacity()
	until(t, func() bool { return s.Counts() == want }, func() string { return fmt.Sprintf("%+v, want %+v", s.Counts(), want) })
}

func (r ready) capacity() int64 { return int64(r.Places) }

// wantUsable fails the test unless a Handoff that was not sent is as it was.
func wantUsable(t testing.TB, client *gssapi.Conn, h *Handoff) {
	t.Helper()
	server := gssapi.NewConn(h.Conn, h.Context, nil)
	converse(t, client, server)
	conn, x, early, err := server.Hijack()
	check(t, err)
	h.Conn, h.Context, h.Received = conn, x, early
}

// wantLost fails the test unless the client's connection was cut and the context
// is gone.
func wantLost(t testing.TB, client *gssapi.Conn, h *Handoff, err error) {
	t.Helper()
	if !errors.Is(err, ErrLost) {
		t.Fatalf("%v, want ErrLost", err)
	}
	if _, err := h.Context.Wrap([]byte("x")); !errors.Is(err, gssapi.ErrNoContext) {
		t.Errorf("the context: %v", err)
	}
	if err := h.Conn.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection: %v", err)
	}
	if client != nil {
		if n, err := client.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !isGone(err) {
			t.Errorf("the client: %d, %v", n, err)
		}
	}
}

// Both mechanisms, either end of the context, over either socket; at the other end
// everything is as it was announced.
func TestHandOver(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, mech := range []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO} {
			for _, local := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, local %v", mech, local), func(t *testing.T) {
					c, d := pair(t)
					var admitted *Meta
					s, r := sessionOver(t, c, d, nil, &ReceiverOptions{Admit: func(m *Meta) error { admitted = m; return nil }})
					peer, server := conns(t, &gssapi.InitiatorOptions{Mech: mech}, nil)
					if local {
						peer, server = server, peer
					}
					info, err := server.ConnectionState(), error(nil)
					h, err := FromConn(server)
					check(t, err)
					h.Data = []byte("data")
					before, err := h.Context.Info()
					check(t, err)
					got := pass(t, s, r, h)
					wantGoneHere(t, h)

					name := func(n *gssapi.Name) Principal { p := principalOf(n); return Principal{p.Text, string(p.Exported)} }
					want := Meta{
						Initiator: name(before.Initiator), Acceptor: name(before.Acceptor), Mech: gssapi.MechKrb5, Flags: info.Flags, Local: local,
						Expiry: got.Expiry, Data: []byte("data"),
					}
					if d := cmp.Diff(want, got.Meta); d != "" {
						t.Error(d)
					}
					if d := cmp.Diff(&got.Meta, admitted); d != "" {
						t.Errorf("Admit was told something else: %s", d)
					}
					if d := got.Expiry.Sub(before.Expiry).Abs(); d > 2*clockSlack || got.Expiry.IsZero() {
						t.Errorf("it expires at %v, before it was %v", got.Expiry, before.Expiry)
					}
					if got.Peer().Name == "" || got.Peer().Exported == "" || got.Delegated != nil {
						t.Errorf("%+v", got)
					}
					end := got.Conn(nil)
					converse(t, peer, end)
					check(t, end.Close())
					if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("%v, want the end of the stream", err)
					}
					wantCounts(t, s, Counts{Offered: 1, Taken: 1, Done: 1})
				})
			}
		}
	})
}

// wantGoneHere fails the test if this end has a hold on what was handed over.
func wantGoneHere(t testing.TB, h *Handoff) {
	t.Helper()
	if _, err := h.Context.Wrap([]byte("x")); !errors.Is(err, gssapi.ErrNoContext) {
		t.Errorf("the context: %v", err)
	}
	if err := h.Conn.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection: %v", err)
	}
}

// What was read from the client goes along, in as many packets as it takes.
func TestReceivedBytes(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, size := range []int{1, 20000, maxPart, 500000} {
			c, d := pair(t)
			s, r := sessionOver(t, c, d, nil, nil)
			client, h := established(t, nil, nil)
			h.Data = bytes.Repeat([]byte("d"), min(size, DefaultMaxMessage/2-size))
			text := bytes.Repeat([]byte("0123456789"), size/10+2)
			go func() {
				client.Write(text)
				client.CloseWrite()
			}()
			h.Received = make([]byte, size)
			_, err := io.ReadFull(h.Conn, h.Received)
			check(t, err)
			got := pass(t, s, r, h)
			if got.Received != size || len(got.Data) != len(h.Data) {
				t.Errorf("%d bytes received, %d of data, want %d, %d", got.Received, len(got.Data), size, len(h.Data))
			}
			back, err := io.ReadAll(got.Conn(nil))
			if err != nil || !bytes.Equal(back, text) {
				t.Errorf("%d bytes came of %d: %v", len(back), len(text), err)
			}
			got.Close()
		}
	})
}

// A receiver may hand on what it has got, with what it has not read of it.
func TestHandOn(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	s, r := session(t, nil)
	next, last := session(t, nil)
	client, h := established(t, nil, nil)
	for range 3 {
		_, err := client.Write([]byte("hello "))
		check(t, err)
	}
	check(t, client.CloseWrite())
	h.Received = make([]byte, 100) // more than a frame and less than two
	_, err := io.ReadFull(h.Conn, h.Received)
	check(t, err)
	got := pass(t, s, r, h)
	conn := got.Conn(nil)
	_, err = io.ReadFull(conn, make([]byte, 6))
	check(t, err)
	h, err = FromConn(conn)
	check(t, err)
	if _, err := h.Conn.(*clientConn).Conn.(*net.TCPConn).SyscallConn(); err != nil {
		t.Fatal(err)
	}
	again := pass(t, next, last, h)
	wantCounts(t, s, Counts{Offered: 1, Taken: 1, Done: 1})
	rest, err := io.ReadAll(again.Conn(nil))
	if err != nil || string(rest) != "hello hello " {
		t.Errorf("%q, %v", rest, err)
	}
	again.Close()

	// And one who has read nothing of it.
	client, h = established(t, nil, nil)
	_, err = client.Write([]byte("hello"))
	check(t, err)
	check(t, client.CloseWrite())
	h.Received = make([]byte, 10)
	_, err = io.ReadFull(h.Conn, h.Received)
	check(t, err)
	got = pass(t, s, r, h)
	again = pass(t, next, last, &Handoff{Conn: got.NetConn(), Context: got.Context})
	if rest, err := io.ReadAll(again.Conn(nil)); err != nil || string(rest) != "hello" {
		t.Errorf("%q, %v", rest, err)
	}
	again.Close()
}

// A receiver that does not want the connection leaves it as it was.
func TestRefused(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for why, want := range map[string]string{
			"not on a Friday":              `"not on a Friday"`,
			"two\nlines":                   `"two\nlines"`,
			"\x1b[2J\xff":                  `"\x1b[2J` + "\ufffd" + `"`,
			strings.Repeat("long ", 1<<18): `"long long`,
			strings.Repeat("<", 1<<18):     `"<<<<<`,
			"":                             `it says ""`,
		} {
			c, d := pair(t)
			var times int
			s, r := sessionOver(t, c, d, nil, &ReceiverOptions{Places: 1, Admit: func(*Meta) error {
				if times++; times == 3 {
					return nil
				}
				return errors.New(why)
			}})
			client, h := established(t, nil, nil)
			received := make(chan *Received, 1)
			go func() {
				got, _ := r.Receive(context.Background())
				received <- got
			}()
			for range 2 {
				err := s.Send(context.Background(), h)
				if !errors.Is(err, ErrRefused) || errors.Is(err, ErrBusy) || errors.Is(err, ErrLost) || !strings.Contains(err.Error(), want) || len(err.Error()) > 2000 {
					t.Fatalf("%v, want %q", err, want)
				}
				wantUsable(t, client, h)
			}
			check(t, s.Send(context.Background(), h))
			got := <-received
			converse(t, client, got.Conn(nil))
			wantCounts(t, s, Counts{Offered: 3, Refused: 2, Taken: 1, Active: 1})
			got.Close()
		}
	})
}

// There are as many connections as places, from the offer on.
func TestBusy(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	s, r := session(t, &ReceiverOptions{Places: 2})
	var all []*Received
	for range 2 {
		_, h := established(t, nil, nil)
		all = append(all, pass(t, s, r, h))
	}
	client, h := established(t, nil, nil)
	received := make(chan *Received, 1)
	go func() {
		got, _ := r.Receive(context.Background())
		received <- got
	}()
	for range 2 {
		if err := s.Send(context.Background(), h); !errors.Is(err, ErrBusy) || !errors.Is(err, ErrRefused) {
			t.Fatalf("%v", err)
		}
		wantUsable(t, client, h)
	}
	wantCounts(t, s, Counts{Offered: 4, Refused: 2, Taken: 2, Active: 2})
	all[0].Close()
	all[0].Close() // gives back one place
	wantCounts(t, s, Counts{Offered: 4, Refused: 2, Taken: 2, Active: 1, Done: 1})
	check(t, s.Send(context.Background(), h))
	(<-received).Close()
	all[1].Close()
	wantCounts(t, s, Counts{Offered: 5, Refused: 2, Taken: 3, Done: 3})
}

var errEnough = errors.New("enough")

// ctx ends every wait. Until the export nothing is lost; after it what becomes of
// the connection is counted when it is known.
func TestSendContext(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		type setup struct {
			s      *Sender
			r      *Receiver
			client *gssapi.Conn
			h      *Handoff
			ctx    context.Context
			cancel context.CancelCauseFunc
			result chan error
			got    chan *Received
		}
		begin := func(t *testing.T, o *ReceiverOptions) *setup {
			c, d := pair(t)
			x := &setup{result: make(chan error, 1), got: make(chan *Received, 10)}
			x.s, x.r = sessionOver(t, c, d, nil, o)
			x.client, x.h = established(t, nil, nil)
			x.ctx, x.cancel = context.WithCancelCause(context.Background())
			return x
		}
		send := func(x *setup) { x.result <- x.s.Send(x.ctx, x.h) }
		receive := func(x *setup) {
			for {
				got, err := x.r.Receive(context.Background())
				if err != nil {
					return
				}
				x.got <- got
			}
		}
		t.Run("before", func(t *testing.T) {
			x := begin(t, nil)
			x.cancel(errEnough)
			send(x)
			if err := <-x.result; !errors.Is(err, errEnough) {
				t.Errorf("%v", err)
			}
			wantUsable(t, x.client, x.h)
			wantCounts(t, x.s, Counts{})
		})
		t.Run("others are sent", func(t *testing.T) {
			x := begin(t, nil)
			x.s.link.out.turn <- struct{}{}
			go send(x)
			until(t, func() bool { return x.s.Counts().Pending == 1 }, func() string { return "nothing is offered" })
			x.cancel(errEnough)
			if err := <-x.result; !errors.Is(err, errEnough) {
				t.Errorf("%v", err)
			}
			wantUsable(t, x.client, x.h)
			wantCounts(t, x.s, Counts{Offered: 1, Refused: 1})
			<-x.s.link.out.turn
		})
		t.Run("offered", func(t *testing.T) {
			hold := newHold("offer")
			x := begin(t, &ReceiverOptions{Places: 1, Options: Options{gate: hold.gate}})
			go send(x)
			go receive(x)
			<-hold.reached
			x.cancel(errEnough)
			if err := <-x.result; !errors.Is(err, errEnough) || errors.Is(err, ErrLost) {
				t.Errorf("%v", err)
			}
			wantUsable(t, x.client, x.h)
			wantCounts(t, x.s, Counts{Offered: 1, Pending: 1})
			close(hold.on) // it takes it, too late
			wantCounts(t, x.s, Counts{Offered: 1, Refused: 1})
			check(t, x.s.Send(context.Background(), x.h)) // the place was given back
			got := <-x.got
			converse(t, x.client, got.Conn(nil))
			got.Close()
			wantCounts(t, x.s, Counts{Offered: 2, Refused: 1, Taken: 1, Done: 1})
		})
		t.Run("accepted", func(t *testing.T) {
			x := begin(t, &ReceiverOptions{Places: 1})
			hold := newHold("export")
			x.s.link.gate = hold.gate
			go send(x)
			go receive(x)
			<-hold.reached
			x.cancel(errEnough)
			close(hold.on)
			if err := <-x.result; !errors.Is(err, errEnough) || errors.Is(err, ErrLost) {
				t.Errorf("%v", err)
			}
			wantUsable(t, x.client, x.h)
			wantCounts(t, x.s, Counts{Offered: 1, Refused: 1})
			check(t, x.s.Send(context.Background(), x.h))
			(<-x.got).Close()
		})
		for _, taken := range []bool{true, false} {
			t.Run(fmt.Sprintf("exported, taken %v", taken), func(t *testing.T) {
				hold := newHold("acknowledge")
				x := begin(t, &ReceiverOptions{Options: Options{gate: hold.gate}})
				if !taken {
					x.h.Conn = &changed{x.h.Conn.(*net.TCPConn), newSent(t)}
				}
				go send(x)
				go receive(x)
				<-hold.reached
				x.cancel(errEnough)
				err := <-x.result
				if !errors.Is(err, errEnough) || !errors.Is(err, ErrLost) {
					t.Errorf("%v", err)
				}
				wantGoneHere(t, x.h)
				wantCounts(t, x.s, Counts{Offered: 1, Pending: 1})
				close(hold.on)
				if !taken {
					wantCounts(t, x.s, Counts{Offered: 1, Lost: 1})
					return
				}
				wantCounts(t, x.s, Counts{Offered: 1, Taken: 1, Active: 1})
				got := <-x.got
				converse(t, x.client, got.Conn(nil)) // it is the receiver's, late as it is
				got.Close()
				wantCounts(t, x.s, Counts{Offered: 1, Taken: 1, Done: 1})
			})
		}
	})
}

// changed is a connection whose descriptor is another one the second time.
type changed struct {
	*net.TCPConn
	other *sent
}

func (c *changed) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.TCPConn.SyscallConn()
	return &changedRaw{raw, c.other, 0}, err
}

type changedRaw struct {
	syscall.RawConn
	other *sent
	calls int
}

func (c *changedRaw) Control(f func(uintptr)) error {
	if c.calls++; c.calls == 1 {
		return c.RawConn.Control(f)
	}
	f(uintptr(c.other.fd()))
	return nil
}

// The descriptor must be that of the connection that was announced.
func TestOtherSocket(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		c, d := pair(t)
		var failed error
		s, r := sessionOver(t, c, d, nil, &ReceiverOptions{Places: 1, Failed: func(m *Meta, err error) { failed = fmt.Errorf("%v: %w", m.Peer(), err) }})
		client, h := established(t, nil, nil)
		x := newSent(t)
		h.Conn = &changed{h.Conn.(*net.TCPConn), x}
		result := make(chan error, 1)
		go func() { result <- s.Send(context.Background(), h) }()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			wantLost(t, client, h, <-result)
			cancel()
		}()
		if got, err := r.Receive(ctx); got != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", got, err)
		}
		if failed == nil || !strings.Contains(failed.Error(), "alice") || !strings.Contains(failed.Error(), "another connection") {
			t.Errorf("%v", failed)
		}
		x.wantClosed(t)
		wantCounts(t, s, Counts{Offered: 1, Lost: 1})
		_, h = established(t, nil, nil)
		pass(t, s, r, h).Close() // the session goes on, and the place is free
	})
}

// What cannot be handed over is found out before anybody is asked.
func TestNotToBeHandedOver(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	s, r := session(t, nil)
	go func() {
		for {
			if _, err := r.Receive(context.Background()); err != nil {
				return
			}
		}
	}()
	good := func(t *testing.T) (*gssapi.Conn, *Handoff) { return established(t, nil, nil) }
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	check(t, err)
	defer file.Close()
	pr, pw, err := os.Pipe()
	check(t, err)
	defer pr.Close()
	defer pw.Close()
	for what, c := range map[string]struct {
		change func(t *testing.T, h *Handoff) *Handoff
		want   error
		text   string
		gone   bool // nothing is left to be used
	}{
		"nothing":            {func(*testing.T, *Handoff) *Handoff { return nil }, nil, "nil", false},
		"no connection":      {func(_ *testing.T, h *Handoff) *Handoff { return &Handoff{Context: h.Context} }, nil, "are needed", false},
		"no context":         {func(_ *testing.T, h *Handoff) *Handoff { return &Handoff{Conn: h.Conn} }, nil, "nil", false},
		"a file":             {conn(func(h *Handoff) net.Conn { return &fileConn{h.Conn, file} }), syscall.ENOTSOCK, "no socket", false},
		"a pipe":             {conn(func(h *Handoff) net.Conn { return &fileConn{h.Conn, pw} }), syscall.ENOTSOCK, "no socket", false},
		"net.Pipe":           {conn(func(h *Handoff) net.Conn { p, _ := net.Pipe(); return p }), nil, "a *net.pipe is no socket", false},
		"TLS":                {conn(func(h *Handoff) net.Conn { return tls.Server(h.Conn, &tls.Config{}) }), nil, "a *tls.Conn is no socket: what it knows, such as the keys of TLS, cannot go", false},
		"its own connection": {conn(func(h *Handoff) net.Conn { return gssapi.NewConn(h.Conn, h.Context, nil) }), nil, "a *gssapi.Conn is no socket", false},
		"a closed one":       {conn(func(h *Handoff) net.Conn { h.Conn.Close(); return h.Conn }), net.ErrClosed, "", true},
		"too much received": {func(_ *testing.T, h *Handoff) *Handoff {
			h2 := *h
			h2.Received = make([]byte, DefaultMaxMessage)
			return &h2
		}, nil, "at most 524288 fit", false},
		"too much data": {func(_ *testing.T, h *Handoff) *Handoff {
			h2 := *h
			h2.Data = make([]byte, DefaultMaxMessage/2+1)
			return &h2
		}, nil, "MaxMessage", false},
		"no credential":           {func(_ *testing.T, h *Handoff) *Handoff { h2 := *h; h2.SendDelegated = true; return &h2 }, gssapi.ErrNoCred, "delegated no credential", false},
		"one that cannot be told": {conn(func(h *Handoff) net.Conn { return &mute{h.Conn} }), errEnough, "", false},
		"exported":                {func(t *testing.T, h *Handoff) *Handoff { _, err := h.Context.Export(); check(t, err); return h }, gssapi.ErrNoContext, "", true},
		"closed":                  {func(t *testing.T, h *Handoff) *Handoff { h.Context.Close(); return h }, gssapi.ErrNoContext, "", true},
		"fresh": {func(t *testing.T, h *Handoff) *Handoff {
			return &Handoff{Conn: h.Conn, Context: gssapi.NewAcceptor(nil)}
		}, gssapi.ErrNoContext, "", false},
		"partial": {func(t *testing.T, h *Handoff) *Handoff {
			target, err := gssapi.HostService("host", "server.test")
			check(t, err)
			x := gssapi.NewInitiator(target, nil)
			_, err = x.Step(context.Background(), nil)
			check(t, err)
			return &Handoff{Conn: h.Conn, Context: x}
		}, gssapi.ErrNoContext, "", false},
	} {
		t.Run(what, func(t *testing.T) {
			client, h := good(t)
			err := s.Send(context.Background(), c.change(t, h))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || errors.Is(err, ErrLost) {
				t.Fatalf("%v, want %v with %q", err, c.want, c.text)
			}
			if !c.gone {
				wantUsable(t, client, h)
			}
		})
	}
	if c := s.Counts(); c.Offered != 0 {
		t.Errorf("%+v", c)
	}
}

func conn(f func(h *Handoff) net.Conn) func(*testing.T, *Handoff) *Handoff {
	return func(_ *testing.T, h *Handoff) *Handoff { return &Handoff{Conn: f(h), Context: h.Context} }
}

// mute is a connection that does not tell its descriptor.
type mute struct{ net.Conn }

func (*mute) SyscallConn() (syscall.RawConn, error) { return nil, errEnough }

// fileConn is a connection that has the descriptor of a file.
type fileConn struct {
	net.Conn
	f *os.File
}

func (c *fileConn) SyscallConn() (syscall.RawConn, error) { return c.f.SyscallConn() }

// A context that has expired is not handed over, and stays.
func TestExpired(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	conf, err := os.ReadFile(realm.Krb5Conf())
	check(t, err)
	file := filepath.Join(t.TempDir(), "krb5.conf")
	conf = bytes.Replace(conf, []byte("[libdefaults]\n"), []byte("[libdefaults]\n clockskew = 1\n"), 1)
	check(t, os.WriteFile(file, conf, 0o600))
	t.Setenv("KRB5_CONFIG", file)
	// The ticket lives for as long as it takes to use it.
	handoffs := func() (all []*Handoff) {
		for life := time.Second; len(all) == 0; life *= 2 {
			short, err := realm.Kinit("alice", &gsstest.KinitOptions{Lifetime: life})
			check(t, err)
			t.Setenv("KRB5CCNAME", "FILE:"+short)
			for _, mech := range []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO} {
				x, err := acceptedContext(mech)
				if err == nil {
					t.Cleanup(func() { x.Close() })
					var i *gssapi.ContextInfo
					i, err = x.Info()
					check(t, err)
					if i.Peer().String() != realm.Principal("alice") { // Heimdal takes the keytab when the ticket has expired
						err = fmt.Errorf("a context of %v", i.Peer())
					}
				}
				if err != nil && life < time.Minute {
					all = nil
					break
				}
				check(t, err)
				all = append(all, &Handoff{Conn: newSent(t).peer, Context: x})
			}
		}
		return all
	}()
	s, r := session(t, nil)
	go r.Receive(context.Background())
	for n, h := range handoffs {
		until(t, func() bool {
			i, err := h.Context.Info()
			check(t, err)
			return !i.Expiry.After(time.Now())
		}, func() string { return "it does not expire" })
		if err := s.Send(context.Background(), h); !errors.Is(err, gssapi.ErrContextExpired) || errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		if !h.Context.Established() {
			t.Errorf("%v", h.Context)
		}
		wantCounts(t, s, Counts{Offered: int64(n) + 1, Refused: int64(n) + 1})
	}
}

// acceptedContext is the acceptor's end of a context.
func acceptedContext(mech gssapi.OID) (*gssapi.Context, error) {
	target, err := gssapi.HostService("host", "server.test")
	if err != nil {
		return nil, err
	}
	i, a := gssapi.NewInitiator(target, &gssapi.InitiatorOptions{Mech: mech}), gssapi.NewAcceptor(nil)
	defer i.Close()
	var token []byte
	for err == nil && !(i.Established() && a.Established()) {
		if token, err = i.Step(context.Background(), token); err == nil && !a.Established() {
			token, err = a.Step(context.Background(), token)
		}
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// A message that is too long for either end is not sent: what was exported for it
// is lost, and the session goes on.
func TestMaxMessage(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	for name, ends := range map[string]func(n int) (*Options, *ReceiverOptions){
		"sender's": func(n int) (*Options, *ReceiverOptions) { return &Options{MaxMessage: n}, &ReceiverOptions{Places: 1} },
		"receiver's": func(n int) (*Options, *ReceiverOptions) {
			return nil, &ReceiverOptions{Places: 1, Options: Options{MaxMessage: n}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, h := established(t, nil, nil)
			o, _, _, err := h.offer(1 << 20)
			check(t, err)
			o.Received = 9999
			plain, err := (&message{Kind: isOffer, ID: 99, Offer: o, blobs: [][]byte{nil}}).encode(nil)
			check(t, err)
			limit := len(plain) + 10 // just enough to offer it
			so, ro := ends(limit)
			c, d := packets(t)
			s, r := sessionOver(t, c, d, so, ro)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			received := make(chan error, 1)
			go func() {
				_, err := r.Receive(ctx)
				received <- err
			}()

			h.Data = make([]byte, limit/2)
			err = s.Send(context.Background(), h)
			if want := fmt.Sprintf("allows %d", limit); err == nil || errors.Is(err, ErrLost) || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v, want %q", err, want)
			}
			wantCounts(t, s, Counts{Offered: 1, Refused: 1})
			wantUsable(t, client, h)

			h.Data, h.Received = nil, make([]byte, limit/2)
			err = s.Send(context.Background(), h)
			wantLost(t, client, h, err)
			if want := fmt.Sprintf("allows %d", limit); !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			wantCounts(t, s, Counts{Offered: 2, Refused: 1, Lost: 1})

			// It was taken back: there is a place, and the next one is refused for its length only.
			_, h = established(t, nil, nil)
			h.Received = make([]byte, limit/2)
			if err := s.Send(context.Background(), h); !errors.Is(err, ErrLost) {
				t.Errorf("%v", err)
			}
			cancel()
			if err := <-received; !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A receiver that does not read ends the session for all, and none of them is lost
// that was not exported.
func TestWriteTimeout(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		c, d := pair(t)
		s, r := sessionOver(t, c, d, &Options{WriteTimeout: time.Minute}, nil)
		if s.link.timeout != time.Minute {
			t.Errorf("WriteTimeout is %v", s.link.timeout)
		}
		s.link.timeout = 50 * time.Millisecond // once there is a session, however long that took
		client, h := established(t, nil, nil)
		h.Data = make([]byte, DefaultMaxMessage/2) // more than there is room for
		err := s.Send(context.Background(), h)
		if !errors.Is(err, ErrClosed) || !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "has read nothing for 50ms") {
			t.Errorf("%v", err)
		}
		wantUsable(t, client, h)
		<-s.Over()
		if again := s.Send(context.Background(), h); !errors.Is(again, s.Err()) || !errors.Is(again, ErrClosed) {
			t.Errorf("%v, %v", again, s.Err())
		}
		wantCounts(t, s, Counts{Offered: 1, Refused: 1})
		if _, err := r.Receive(context.Background()); err != io.ErrUnexpectedEOF {
			t.Errorf("%v", err)
		}
	})
}

// A receiver that is not read by its sender learns so.
func TestWriteTimeoutOfReceiver(t *testing.T) {
	keepsFiles(t)
	w, v := againstReceiver(t, packets, &ReceiverOptions{Options: Options{WriteTimeout: 50 * time.Millisecond}, Admit: func(*Meta) error { return errEnough }})
	for id := uint64(1); ; id++ { // and never hears an answer
		if w.write(&message{Kind: isOffer, ID: id, Offer: new(offer), blobs: [][]byte{nil}}, noFD) != nil {
			break
		}
	}
	v.wantOver("an end that does not read", os.ErrDeadlineExceeded)
}

// The client's credential goes along if it is asked for, and works there.
func TestDelegated(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, mech := range []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO} {
			for _, ask := range []bool{false, true} {
				c, d := pair(t)
				var told bool
				s, r := sessionOver(t, c, d, nil, &ReceiverOptions{Admit: func(m *Meta) error { told = m.Delegated; return nil }})
				client, h := established(t, &gssapi.InitiatorOptions{Mech: mech, Flags: gssapi.FlagDeleg}, nil)
				h.SendDelegated = ask
				here := h.Context.Delegated()
				got := pass(t, s, r, h)
				if told != ask || got.Meta.Delegated != ask || (got.Delegated != nil) != ask {
					t.Fatalf("%v: told %v, %+v", ask, told, got)
				}
				converse(t, client, got.Conn(nil))
				if _, err := here.Info(context.Background()); err != nil {
					t.Errorf("the credential here: %v", err)
				}
				here.Close()
				if ask {
					wantAlice(t, got.Delegated)
					got.Close()
					if _, err := got.Delegated.Info(context.Background()); err == nil {
						t.Error("the credential is there after Close")
					}
				}
				got.Close()
			}
		}
	})
}

// wantAlice fails the test unless alice's credential logs her in.
func wantAlice(t testing.TB, c *gssapi.Credential) {
	t.Helper()
	target, err := gssapi.HostService("host", "server.test")
	check(t, err)
	i, a := gssapi.NewInitiator(target, &gssapi.InitiatorOptions{Credential: c, Mech: gssapi.MechKrb5}), gssapi.NewAcceptor(nil)
	defer i.Close()
	defer a.Close()
	token, err := i.Step(context.Background(), nil)
	check(t, err)
	_, err = a.Step(context.Background(), token)
	check(t, err)
	info, err := a.Info()
	check(t, err)
	if got := info.Initiator.String(); got != realm.Principal("alice") {
		t.Errorf("it is %s's", got)
	}
}

// The buffers of a session keep nothing of a token or credential: not at either
// end, and whether they were taken or not.
func TestSecrets(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	zeros := func(t *testing.T, end string, b []byte) {
		t.Helper()
		if cap(b) == 0 {
			t.Errorf("the %s buffer was not used", end)
		}
		if !bytes.Equal(b[:cap(b)], make([]byte, cap(b))) {
			t.Errorf("there is something in the %s buffer still", end)
		}
	}
	blobs := func(r *Receiver) []byte { // behind the JSON
		b := r.link.in.plain
		if len(b) == 0 { // the next message has been waited for
			return b
		}
		return b[4+binary.BigEndian.Uint32(b):]
	}
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, taken := range []bool{true, false} {
			t.Run(fmt.Sprintf("taken %v", taken), func(t *testing.T) {
				c, d := pair(t)
				var secret []byte
				var r *Receiver
				gate := func(step string) {
					if step == "import" {
						secret = bytes.Clone(blobs(r))
					}
				}
				s, r0 := sessionOver(t, c, d, nil, &ReceiverOptions{Options: Options{gate: gate}})
				r = r0
				_, h := established(t, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg}, nil)
				h.SendDelegated, h.Received = true, make([]byte, 3*maxPart)
				if !taken {
					h.Conn = &changed{h.Conn.(*net.TCPConn), newSent(t)}
				}
				ctx, cancel := context.WithCancel(context.Background())
				result := make(chan error, 1)
				go func() {
					result <- s.Send(context.Background(), h)
					cancel()
				}()
				got, err := r.Receive(ctx)
				if (err == nil) != taken {
					t.Fatal(err)
				}
				if err := <-result; (err == nil) != taken {
					t.Fatal(err)
				}
				zeros(t, "sender's", s.link.out.plain)
				zeros(t, "receiver's", blobs(r))
				if taken {
					got.Close()
					if bytes.Count(secret, []byte{0}) > len(secret)-500 || len(secret) < 3*maxPart+500 {
						t.Errorf("there were no secrets in %d bytes", len(secret))
					}
				}
			})
		}
		t.Run("sent in part", func(t *testing.T) {
			s, w := againstSender(t, pair, nil, nil)
			client, h := established(t, nil, nil)
			h.Received = make([]byte, DefaultMaxMessage/2)
			result := make(chan error, 1)
			go func() { result <- s.Send(context.Background(), h) }()
			m := w.hear(isOffer)
			s.link.out.turn <- struct{}{} // and nothing is written now
			s.link.timeout = 50 * time.Millisecond
			<-s.link.out.turn
			w.say(&message{Kind: isAccept, ID: m.ID}, noFD)
			err := <-result // nobody reads it
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v", err)
			}
			wantLost(t, nil, h, err)
			zeros(t, "sender's", s.link.out.plain)
			w.dispose() // the descriptor was in the connection
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !isGone(err) {
				t.Errorf("the client: %v", err)
			}
		})
		t.Run("received in part", func(t *testing.T) {
			w, v := againstReceiver(t, pair, nil)
			x := newSent(t)
			w.offer(7, &offer{Socket: x.identity(t), Received: 2 * maxPart})
			m := aContext(7)
			m.blobs[blobReceived] = bytes.Repeat([]byte("secret"), maxPart/3)
			w.put(w.out.seal(nil, encoded(t, m)[:maxPart], packetMore, 1), x.fd())
			w.conn.Close()
			v.wantOver("cut", io.ErrUnexpectedEOF)
			x.wantClosed(t)
			zeros(t, "receiver's", v.link.in.plain)
		})
	})
}

// Go's memory has neither the token nor the credential any more: no slice was
// forgotten, at either end.
func TestSecretsInMemory(t *testing.T) {
	needsExport(t)
	fresh, err := realm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true}) // with keys that no other test has left
	check(t, err)
	t.Setenv("KRB5CCNAME", "FILE:"+fresh)
	var r *Receiver
	const mask = 0x5a
	var masked []byte // what must not be found, and this is not it
	gate := func(step string) {
		if step == "import" {
			for _, c := range r.link.in.plain[4+binary.BigEndian.Uint32(r.link.in.plain):] {
				masked = append(masked, c^mask)
			}
		}
	}
	s, r0 := session(t, &ReceiverOptions{Options: Options{gate: gate}})
	r = r0
	_, h := established(t, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg}, nil)
	h.SendDelegated, h.Received = true, make([]byte, 3*maxPart) // so that buffers grow
	defer debug.SetGCPercent(debug.SetGCPercent(-1))            // what is not reachable is looked at too
	pass(t, s, r, h)
	if n := inHeap(t, masked, mask); n != 0 {
		t.Errorf("Go's memory has %d parts of a token or credential", n)
	}
	for i := range masked {
		masked[i] ^= mask
	}
	if n := inHeap(t, masked, 0); n == 0 { // here they are
		t.Error("this test finds nothing")
	}
}

// inHeap is how many parts of a secret, which is masked, are in this process' heap.
func inHeap(t testing.TB, masked []byte, mask byte) (found int) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	check(t, err)
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	i, err := f.Stat()
	check(t, err)
	heap, err := syscall.Mmap(int(f.Fd()), 0, int(i.Size()), syscall.PROT_READ, syscall.MAP_PRIVATE) // not in the heap
	check(t, err)
	defer syscall.Munmap(heap)
	const size = 24
	part := make([]byte, size)
	for n := 0; n+size <= len(masked); n += size / 4 {
		seen, high, upper, lower := make(map[byte]bool), 0, 0, 0
		for i, c := range masked[n : n+size] {
			part[i] = c ^ mask
			seen[part[i]] = true
			switch c := part[i]; {
			case c >= 0x80:
				high++
			case c >= 'A' && c <= 'Z':
				upper++
			case c >= 'a' && c <= 'z':
				lower++
			}
		}
		random := len(seen) > 18 && (high > 6 || upper > 6 && lower > 6) // a key, or what is sealed, or Base64 of it; no name
		if random && bytes.Contains(heap, part) {
			found++
		}
	}
	clear(part)
	return found
}

// What the receiver says must have its place in the course of a handoff. Nobody
// waits for one that lies, and nothing is taken for acknowledged that was not.
func TestLyingReceiver(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	say := func(k kind) func(w *wire, id uint64) {
		return func(w *wire, id uint64) { w.say(&message{Kind: k, ID: id, N: 1}, noFD) }
	}
	type lie struct {
		what string
		say  func(w *wire, id uint64)
	}
	lies := []lie{
		{"taken", say(isTaken)},
		{"failed", say(isFailed)},
		{"done", say(isDone)},
		{"more done than there are", func(w *wire, id uint64) { w.say(&message{Kind: isDone, N: 1 << 30}, noFD) }},
		{"an answer to nothing", func(w *wire, id uint64) { w.say(&message{Kind: isAccept, ID: id + 1}, noFD) }},
		{"a refusal of nothing", func(w *wire, id uint64) { w.say(&message{Kind: isRefuse, ID: id + 1}, noFD) }},
		{"an offer", func(w *wire, id uint64) {
			w.say(&message{Kind: isOffer, ID: id, Offer: new(offer), blobs: [][]byte{nil}}, noFD)
		}},
		{"a bye", say(isBye)},
		{"a cancel", say(isCancel)},
		{"a second ready", func(w *wire, id uint64) { w.say(&message{Kind: isReady, Ready: &ready{Max: 1}}, noFD) }},
		{"a context", func(w *wire, id uint64) {
			x := newSent(w.t)
			w.say(aContext(id), x.fd())
			defer x.wantClosed(w.t)
		}},
		{"junk", func(w *wire, id uint64) { w.put([]byte("junk")) }},
		{"nothing", func(w *wire, id uint64) { w.put(nil) }},
		{"a changed message", func(w *wire, id uint64) {
			p := w.packet(&message{Kind: isAccept, ID: id}, 0)
			p[40] ^= 1
			w.put(p)
		}},
	}
	answered := []lie{{"a second accept", say(isAccept)}, {"a refusal", say(isRefuse)}}
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, lie := range lies {
			t.Run(lie.what+" to an offer", func(t *testing.T) {
				s, w := againstSender(t, pair, nil, nil)
				client, h := established(t, nil, nil)
				result := make(chan error, 1)
				go func() { result <- s.Send(context.Background(), h) }()
				lie.say(w, w.hear(isOffer).ID)
				if err := <-result; !errors.Is(err, ErrMessage) || !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
					t.Errorf("%v", err)
				}
				wantUsable(t, client, h)
				wantCounts(t, s, Counts{Offered: 1, Refused: 1})
			})
		}
		for _, lie := range append(answered, lies...) {
			t.Run(lie.what+" before the export", func(t *testing.T) {
				s, w := againstSender(t, pair, nil, nil)
				hold := newHold("export")
				s.link.gate = hold.gate
				client, h := established(t, nil, nil)
				result := make(chan error, 1)
				go func() { result <- s.Send(context.Background(), h) }()
				id := w.hear(isOffer).ID
				w.say(&message{Kind: isAccept, ID: id}, noFD)
				<-hold.reached
				lie.say(w, id)
				<-s.Over()
				close(hold.on)
				if err := <-result; !errors.Is(err, ErrMessage) || !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
					t.Errorf("%v", err)
				}
				wantUsable(t, client, h)
				wantCounts(t, s, Counts{Offered: 1, Refused: 1})
			})
			if lie.what == "taken" || lie.what == "failed" {
				continue // which is the truth, as far as the sender knows
			}
			t.Run(lie.what+" after it", func(t *testing.T) {
				s, w := againstSender(t, pair, nil, nil)
				client, h := established(t, nil, nil)
				result := make(chan error, 1)
				go func() { result <- s.Send(context.Background(), h) }()
				id := w.hear(isOffer).ID
				w.say(&message{Kind: isAccept, ID: id}, noFD)
				w.hear(isContext)
				lie.say(w, id)
				err := <-result
				if !errors.Is(err, ErrMessage) || !errors.Is(err, ErrClosed) {
					t.Errorf("%v", err)
				}
				wantLost(t, client, h, err)
				wantCounts(t, s, Counts{Offered: 1, Lost: 1})
			})
		}
		t.Run("two accepts at once", func(t *testing.T) {
			s, w := againstSender(t, pair, nil, nil)
			_, h := established(t, nil, nil)
			result := make(chan error, 1)
			go func() { result <- s.Send(context.Background(), h) }()
			id := w.hear(isOffer).ID
			w.put(w.packet(&message{Kind: isAccept, ID: id}, 0))
			w.put(w.packet(&message{Kind: isAccept, ID: id}, 0))
			if err := <-result; !errors.Is(err, ErrMessage) { // lost or not
				t.Errorf("%v", err)
			}
			c := s.Counts()
			if c.Pending != 0 || c.Lost+c.Refused != 1 {
				t.Errorf("%+v", c)
			}
		})
	})
}

// A credential that cannot be exported keeps the connection here.
func TestNoDelegated(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	s, r := session(t, &ReceiverOptions{Places: 1})
	go r.Receive(context.Background())
	client, h := established(t, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg}, nil)
	h.SendDelegated = true
	h.Context.Delegated().Close()
	for range 2 { // the place is given back
		if err := s.Send(context.Background(), h); err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrRefused) {
			t.Errorf("%v", err)
		}
	}
	wantUsable(t, client, h)
	wantCounts(t, s, Counts{Offered: 2, Refused: 2})
}

// What is exported while the session ends is known to be lost before it is over.
func TestExportAtTheEnd(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	reached, on := make(chan struct{}), make(chan struct{})
	client, h := established(t, nil, &gssapi.AcceptorOptions{Trace: &gssapi.Trace{Exported: func(gssapi.Event) {
		close(reached)
		<-on
	}}})
	s, r := session(t, nil)
	go r.Receive(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.Send(context.Background(), h) }()
	<-reached
	r.Close()
	until(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ended
	}, func() string { return "the session does not end" })
	if s.isOver() {
		t.Error("it is over before it is known what becomes of the context")
	}
	close(on)
	err := <-result
	if !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	wantLost(t, client, h, err)
	wantCounts(t, s, Counts{Offered: 1, Lost: 1})
}

// A session that ends in order has no error; one that ends otherwise says why.
func TestEnds(t *testing.T) {
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		over := func(s *Sender, want string) {
			t.Helper()
			<-s.Over()
			err := s.Err()
			if want == "" && err != nil || want != "" && (!errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q", err, want)
			}
			if died := "has closed it, or has died"; want != died && err != nil && strings.Contains(err.Error(), died) {
				t.Errorf("%v", err)
			}
		}
		s, w := againstSender(t, pair, nil, nil)
		w.conn.Close()
		over(s, "has closed it, or has died")

		s, w = againstSender(t, pair, nil, nil)
		for range 20 {
			s.Finish()
		}
		w.hear(isBye)
		w.conn.Close()
		over(s, "")

		s, w = againstSender(t, pair, nil, nil)
		s.Finish()
		w.hear(isBye)
		w.put([]byte("junk"))
		over(s, ErrMessage.Error())

		s, w = againstSender(t, pair, nil, nil)
		s.Finish()
		w.hear(isBye)
		check(t, s.Close())
		if !s.isOver() {
			t.Error("it is not over after Close")
		}
		over(s, "it was closed")

		s, w = againstSender(t, pair, nil, nil)
		w.say(&message{Kind: isLeave}, noFD)
		w.hear(isBye)
		w.conn.Close()
		over(s, "")
	})
}

// A session that ends while something is under way, or with a connection, is not
// one that ends in order, also after Finish. That no more comes is said once.
func TestEndsEarly(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	for _, taken := range []bool{false, true} {
		s, w := againstSender(t, packets, nil, nil)
		_, h := established(t, nil, nil)
		result := make(chan error, 1)
		go func() { result <- s.Send(context.Background(), h) }()
		id := w.hear(isOffer).ID
		if taken {
			w.say(&message{Kind: isAccept, ID: id, Busy: true}, noFD) // which is for refusals
			w.hear(isContext)
			w.say(&message{Kind: isTaken, ID: id}, noFD)
			check(t, <-result)
		}
		for range 20 {
			s.Finish()
		}
		if taken {
			w.hear(isBye)
			w.say(&message{Kind: isAccept, ID: id + 1}, noFD) // and is refused: nothing is sent after this
			if m, _, err := w.read(); err == nil {
				t.Errorf("%q was said, too", m.Kind)
			}
		} else {
			w.conn.Close()
			if err := <-result; !errors.Is(err, ErrClosed) {
				t.Errorf("%v", err)
			}
		}
		<-s.Over()
		if err := s.Err(); !errors.Is(err, ErrClosed) {
			t.Errorf("taken %v: %v", taken, err)
		}
	}
}

// A receiver that hears nothing any more, and does not end, ends the session all
// the same.
func TestHalfClosed(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		s, w := againstSender(t, pair, nil, nil)
		s.link.timeout = 50 * time.Millisecond
		check(t, w.conn.CloseRead())
		client, h := established(t, nil, nil)
		if err := s.Send(context.Background(), h); !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		wantUsable(t, client, h)
		wantCounts(t, s, Counts{Offered: 1, Refused: 1})
	})
}

// Who waits for a change of counts is told of one that no message has made.
func TestChanged(t *testing.T) {
	needsExport(t)
	var told atomic.Int64
	s, _ := againstSender(t, packets, nil, func() { told.Add(1) })
	_, h := established(t, nil, nil)
	s.link.limit = 100 // less than an offer takes
	if err := s.Send(context.Background(), h); err == nil || told.Load() != 1 {
		t.Errorf("%v; told %d times", err, told.Load())
	}
}
