//go:build unix

package gssapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A handshake that is in C when it ends, on either side: what C brings later is
// released.
func TestFakeConnHandshakeEnds(t *testing.T) {
	if !onFake(t) {
		return
	}
	blocked := 0
	for _, side := range []string{"initiator", "acceptor"} {
		for ending := range connEndings {
			t.Run(side+" "+ending, func(t *testing.T) {
				blocked++
				x, y := net.Pipe()
				c, function := Client(x, target(t), nil), "gss_init_sec_context"
				if side == "acceptor" {
					c, function = Server(x, nil), "gss_accept_sec_context"
				}
				faults(t, "block="+function)
				interrupt(t, c, y, ending, func() {
					if side == "acceptor" {
						writeFrame(t, y, frame(MechKrb5, "a token"))
					}
					awaitCall(t, "blocked", blocked)
				})
				if s := ReadStats(); s.Initiate.Abandoned+s.Accept.Abandoned != 1 {
					t.Errorf("%+v", s)
				}
				faults(t, "")
				openGate(t)
				eventually(t, "the call is back", func() bool { s := ReadStats(); return s.Initiate.Running+s.Accept.Running == 0 })
			})
		}
	}
	// A deadline that was set before, and passes while C is at work.
	faults(t, "block=gss_init_sec_context")
	x, _ := net.Pipe()
	c := Client(x, target(t), nil)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	err := c.Handshake()
	wantTimeout(t, "Handshake", err)
	wantSticky(t, c, err)
	if len(called(t, "blocked")) > blocked { // else it passed before the call
		openGate(t)
	}
	faults(t, "")
	eventually(t, "the call is back", func() bool { return ReadStats().Initiate.Running == 0 })
	c.Close()
}

// A handshake that does not end is ended.
func TestFakeConnEndlessHandshake(t *testing.T) {
	if !onFake(t) {
		return
	}
	for _, side := range []string{"initiator", "acceptor"} {
		x, y := net.Pipe()
		c := Client(x, target(t), nil)
		faults(t, "init=continue-forever")
		if side == "acceptor" {
			c = Server(x, nil)
			faults(t, "accept=continue-forever")
		}
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, y) })
		wg.Go(func() {
			for {
				if _, err := y.Write(connFrame(frame(MechKrb5, "go on"))); err != nil {
					return
				}
			}
		})
		err := c.Handshake()
		wantErr(t, side, err, ErrDefectiveToken)
		wantSticky(t, c, err)
		c.Close()
		wg.Wait()
		steps := len(called(t, "gss_init_sec_context")) + len(called(t, "gss_accept_sec_context"))
		if limit := 2 * (maxLegs + 1); steps > limit {
			t.Errorf("%d steps, at most %d for both sides", steps, limit)
		}
	}
}

// What the context lacks, and errors of C in the midst of a stream.
func TestFakeConnErrors(t *testing.T) {
	if !onFake(t) {
		return
	}
	faults(t, "")
	conns := func(t *testing.T, io *InitiatorOptions, o *ConnOptions) (c, s *Conn, err error) {
		i, a := contexts(t, io, nil)
		x, y := connTCP(t)
		c, s = NewConn(x, i, o), NewConn(y, a, o)
		t.Cleanup(func() { c.Close(); s.Close() })
		done := begin(func() (int, error) { return 0, s.Handshake() })
		err = c.Handshake()
		return c, s, errors.Join(err, (<-done).err)
	}
	for _, w := range []struct {
		without Flags
		p       Protection
		want    error
	}{
		{FlagConf, Private, ErrUnavailable},
		{FlagConf, Integrity, nil},
		{FlagSequence, Private, ErrUnauthorized},
		{FlagInteg, Private, ErrUnauthorized},
		{FlagReplay, Private, nil},
	} {
		t.Run(fmt.Sprintf("%v without %v", w.p, w.without), func(t *testing.T) {
			c, s, err := conns(t, &InitiatorOptions{Without: w.without}, &ConnOptions{Protection: w.p})
			if !errors.Is(err, w.want) {
				t.Errorf("%v, want %v", err, w.want)
			}
			for _, x := range []*Conn{c, s} {
				if complete := x.ConnectionState().HandshakeComplete; complete != (w.want == nil) {
					t.Errorf("complete: %v", complete)
				}
			}
		})
	}
	for fault, read := range map[string]bool{"fail=gss_wrap": false, "wrap=noconf": false, "fail=gss_unwrap": true, "unwrap=noconf": true, "unwrap=dup": true, "unwrap=old": true, "unwrap=gap": true, "unwrap=unseq": true} {
		t.Run(fault, func(t *testing.T) {
			faults(t, "")
			c, s, err := conns(t, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			faults(t, fault)
			n, werr := c.Write([]byte("secret"))
			buf := make([]byte, 500)
			if read {
				if werr != nil {
					t.Fatal(werr)
				}
				n, err = s.Read(buf)
				faults(t, "")
				if _, again := s.Read(buf); n != 0 || err == nil || again != err {
					t.Errorf("Read: %d, %v, then %v", n, err, again)
				}
				if bytes.Contains(buf, []byte("secret")) {
					t.Error("the message is in the caller's room")
				}
				return
			}
			faults(t, "")
			if _, again := c.Write([]byte("secret")); n != 0 || werr == nil || again != werr {
				t.Errorf("Write: %d, %v, then %v", n, werr, again)
			}
			// The peer does not take it for an end.
			c.Close()
			if n, err := s.Read(buf); n != 0 || err != io.ErrUnexpectedEOF {
				t.Errorf("the peer's Read: %d, %v", n, err)
			}
		})
	}
	t.Run("after the last token", func(t *testing.T) {
		for _, fault := range []string{"fail=gss_inquire_context", "fail=gss_wrap_size_limit"} {
			faults(t, fault)
			_, _, err := conns(t, nil, nil)
			wantErr(t, fault, err, ErrFailure)
		}
		faults(t, "inquire=expired")
		for _, allow := range []bool{false, true} {
			_, _, err := conns(t, nil, &ConnOptions{AllowExpired: allow})
			if allow != (err == nil) || !allow && !errors.Is(err, ErrContextExpired) {
				t.Errorf("AllowExpired %v: %v", allow, err)
			}
		}
		faults(t, "")
	})
}

// A Write that is in C when the Conn is closed.
func TestFakeConnCloseDuringCall(t *testing.T) {
	if !onFake(t) {
		return
	}
	for n, function := range []string{"gss_wrap", "gss_unwrap"} {
		i, a := fakePair(t)
		x, y := net.Pipe()
		c, peer := NewConn(x, i, nil), a
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		frame := connFrame(wrap(t, peer, "to be read"))
		faults(t, "block="+function)
		var done chan result
		if function == "gss_wrap" {
			done = begin(func() (int, error) { return c.Write([]byte("to be written")) })
		} else {
			done = begin(func() (int, error) { return c.Read(make([]byte, 100)) })
			if _, err := y.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
		awaitCall(t, "blocked", n+1)
		faults(t, "")
		if function == "gss_unwrap" {
			// Close sends an end: the context is busy, and so it waits for its turn.
			go io.Copy(io.Discard, y)
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		eventually(t, "Close has begun", c.closed.Load)
		if function == "gss_wrap" {
			if err := <-closed; err != nil { // while C is at work
				t.Error(err)
			}
		}
		openGate(t)
		r := <-done
		if function == "gss_wrap" {
			wantErr(t, "Write", r.err, net.ErrClosed)
		} else if err := <-closed; err != nil {
			t.Error(err)
		}
		wantClosed(t, c)
		y.Close()
	}
}

// Initiators' calls that block do not stop acceptors, nor connections that are
// established.
func TestFakeConnLimits(t *testing.T) {
	if !onFake(t) {
		return
	}
	const many = 5
	old := SetLimits(Limits{Initiate: 2})
	defer SetLimits(old)
	i, a := fakePair(t)
	faults(t, "block=gss_init_sec_context")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range many {
		x, y := net.Pipe()
		defer y.Close()
		wg.Go(func() {
			c := Client(x, target(t), nil)
			defer c.Close()
			if err := c.HandshakeContext(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	eventually(t, "two are at work and the others wait", func() bool {
		s := ReadStats().Initiate
		return s.Running == 2 && s.Waiting == many-2
	})
	awaitCall(t, "blocked", 2)
	x, y := connTCP(t)
	c, s := NewConn(x, i, nil), NewConn(y, a, nil)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if n, err := s.Read(make([]byte, 10)); n != 5 || err != nil {
		t.Error(n, err)
	}
	c.Close()
	s.Close()
	cancel()
	wg.Wait()
	if got := ReadStats().Initiate; got.Waiting != 0 || got.Abandoned != 2 {
		t.Errorf("%+v", got)
	}
	faults(t, "")
	openGate(t) // for both
	eventually(t, "they are back", func() bool { return ReadStats().Initiate.Running == 0 })
}
