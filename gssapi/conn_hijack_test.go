package gssapi

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// hijackable is both ends of a connection, with a hook at one of them.
func hijackable(t *testing.T, mech OID) (c, s *Conn, hook *connHook) {
	t.Helper()
	i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
	x, y := connTCP(t)
	hook = &connHook{Conn: y}
	c, s = NewConn(x, i, nil), NewConn(hook, a, nil)
	connHandshake(t, c, s)
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s, hook
}

// connHook calls what is set of it.
type connHook struct {
	net.Conn
	read, write func(p []byte) (int, error)
	deadline    func(time.Time) error
}

func (x *connHook) Read(p []byte) (int, error) {
	if x.read != nil {
		return x.read(p)
	}
	return x.Conn.Read(p)
}

func (x *connHook) Write(p []byte) (int, error) {
	if x.write != nil {
		return x.write(p)
	}
	return x.Conn.Write(p)
}

func (x *connHook) SetDeadline(d time.Time) error {
	if x.deadline != nil {
		return x.deadline(d)
	}
	return x.Conn.SetDeadline(d)
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	net.Conn
	io.Reader
}

func (x prefixed) Read(p []byte) (int, error) { return x.Reader.Read(p) }

func wantStays(t *testing.T, c *Conn, why string) {
	t.Helper()
	conn, x, early, err := c.Hijack()
	wantErr(t, "Hijack", err, ErrFailure)
	if conn != nil || x != nil || early != nil {
		t.Error("something was returned with an error")
	}
	if !strings.Contains(err.Error(), why) {
		t.Errorf("%v does not say %q", err, why)
	}
}

// What was received goes on where it was, sequence numbers and all.
func TestHijack(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s, _ := hijackable(t, mech)
		for _, text := range []string{"one", "two", "three"} {
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		c.CloseWrite()
		buf := make([]byte, 3)
		if _, err := io.ReadFull(s, buf); err != nil || string(buf) != "one" {
			t.Fatalf("%q, %v", buf, err)
		}
		if _, err := s.Write([]byte("from here")); err != nil {
			t.Fatal(err)
		}
		state := s.ConnectionState()
		conn, x, early, err := s.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		if conn != s.NetConn() || !x.Established() {
			t.Fatalf("%v, %v", conn, x)
		}
		// The Conn has nothing any more, and its Close closes nothing.
		for what, err := range map[string]error{
			"Read":       second(s.Read(buf)),
			"Write":      second(s.Write(buf)),
			"CloseWrite": s.CloseWrite(),
			"Hijack":     fourth(s.Hijack()),
			"Close":      s.Close(),
		} {
			wantErr(t, what, err, net.ErrClosed)
		}
		if got := s.ConnectionState(); got.Peer().String() != state.Peer().String() || !got.HandshakeComplete {
			t.Errorf("%+v", got)
		}

		next := NewConn(prefixed{conn, io.MultiReader(bytes.NewReader(early), conn)}, transfer(t, x), nil)
		defer next.Close()
		rest, err := io.ReadAll(next)
		if err != nil || string(rest) != "twothree" {
			t.Errorf("%q, %v", rest, err)
		}
		if _, err := next.Write([]byte(" and there")); err != nil {
			t.Fatal(err)
		}
		next.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != "from here and there" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func fourth(_ net.Conn, _ *Context, _ []byte, err error) error { return err }

// All that came of the next frames is returned, wherever the last Read stopped.
func TestHijackUnread(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s, hook := hijackable(t, mech)
		c.conn = &connTap{Conn: c.conn}
		for _, text := range []string{"one", "two", "three"} {
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		sent := c.conn.(*connTap).take()
		hook.read = func(p []byte) (int, error) { // it comes in one piece
			hook.read = nil
			return io.ReadFull(hook.Conn, p[:len(sent)])
		}
		buf := make([]byte, 3)
		if _, err := io.ReadFull(s, buf[:2]); err != nil {
			t.Fatal(err)
		}
		wantStays(t, s, "1 bytes of a message were not read yet")
		if _, err := io.ReadFull(s, buf[2:]); err != nil || string(buf) != "one" {
			t.Fatalf("%q, %v", buf, err)
		}
		_, x, early, err := s.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Join(connFrames(t, sent)[1:], nil)
		if !bytes.Equal(early, want) {
			t.Fatalf("%d bytes were received and not read, want %d", len(early), len(want))
		}
		receive(t, x, connFrames(t, early)[0][4:], "two")
		receive(t, x, connFrames(t, early)[1][4:], "three")
	})
}

// Whoever is in the middle of something keeps the connection.
func TestHijackUnderWay(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s, hook := hijackable(t, mech)

		reading, read := make(chan struct{}), make(chan error, 1)
		hook.read = func(p []byte) (int, error) {
			hook.read = nil
			close(reading)
			return hook.Conn.Read(p)
		}
		go func() {
			_, err := io.ReadFull(s, make([]byte, 5))
			read <- err
		}()
		<-reading
		wantStays(t, s, "a Read is under way")
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}

		writing, gate, wrote := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		hook.write = func(p []byte) (int, error) {
			hook.write = nil
			close(writing)
			<-gate
			return hook.Conn.Write(p)
		}
		go func() {
			_, err := s.Write([]byte("one "))
			wrote <- err
		}()
		<-writing
		wantStays(t, s, "a Write is under way")
		close(gate)
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}

		hook.write = func(p []byte) (int, error) { // a deadline cuts a frame
			hook.write = nil
			n, _ := hook.Conn.Write(p[:7])
			return n, os.ErrDeadlineExceeded
		}
		if n, err := s.Write([]byte("two ")); n != 4 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d, %v", n, err)
		}
		wantStays(t, s, "of a frame were not sent yet")
		if _, err := s.Write([]byte("three")); err != nil {
			t.Fatal(err)
		}

		broken := errors.New("no deadlines today")
		hook.deadline = func(time.Time) error { return broken }
		if err := fourth(s.Hijack()); err != broken {
			t.Errorf("%v, want %v", err, broken)
		}
		hook.deadline = nil
		got := make([]byte, 13)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "one two three" {
			t.Errorf("%q, %v", got, err)
		}
		if err := fourth(s.Hijack()); err != nil {
			t.Error(err)
		}
	})
}

func TestHijackClears(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s, _ := hijackable(t, mech)
		s.SetDeadline(time.Unix(1, 0))
		conn, x, early, err := s.Hijack()
		if err != nil || len(early) > 0 {
			t.Fatalf("%d bytes, %v", len(early), err)
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		next := NewConn(conn, x, nil)
		defer next.Close()
		if _, err := io.ReadFull(next, make([]byte, 5)); err != nil {
			t.Errorf("Read after the deadline of the Conn before: %v", err)
		}
		if _, err := next.Write([]byte("hello")); err != nil {
			t.Errorf("Write after the deadline of the Conn before: %v", err)
		}
	})
}

// A connection that is not open both ways is not handed on.
func TestHijackEnded(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s := newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
		wantErr(t, "before the handshake", fourth(s.Hijack()), ErrNoContext)
		connHandshake(t, c, s)

		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantStays(t, s, "CloseWrite")
		if _, err := c.Write([]byte("hello")); err != nil { // it stays as it is
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		if err := fourth(c.Hijack()); err != io.EOF {
			t.Errorf("after the peer's end of stream: %v, want EOF", err)
		}
		s.Close()
		wantErr(t, "after Close", fourth(s.Hijack()), net.ErrClosed)

		_, s = newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
		s.Close()
		wantErr(t, "closed before the handshake", fourth(s.Hijack()), net.ErrClosed)

		_, s, hook := hijackable(t, mech)
		broken := errors.New("broken")
		hook.write = func([]byte) (int, error) { return 0, broken }
		if _, err := s.Write([]byte("hello")); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		hook.write = nil
		if err := fourth(s.Hijack()); !errors.Is(err, broken) {
			t.Errorf("after a Write that failed: %v", err)
		}

		c, s = newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
		s.conn.Close()
		err := s.Handshake()
		if err == nil {
			t.Fatal("a handshake without a connection")
		}
		if got := fourth(s.Hijack()); got != err {
			t.Errorf("after a handshake that failed: %v, want %v", got, err)
		}
		c.Close()
	})
}

// Of all who take the connection or close it at once, one has it.
func TestHijackRace(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for range 10 {
			_, s, _ := hijackable(t, mech)
			var wg sync.WaitGroup
			results := make(chan error, 9)
			for n := range 9 {
				wg.Go(func() {
					if n == 0 {
						results <- s.Close()
						return
					}
					conn, _, _, err := s.Hijack()
					results <- err
					if err == nil {
						if err := conn.SetDeadline(time.Time{}); err != nil {
							t.Errorf("the connection that was taken is closed: %v", err)
						}
					}
				})
			}
			wg.Wait()
			close(results)
			won := 0
			for err := range results {
				switch {
				case err == nil:
					won++
				case !errors.Is(err, net.ErrClosed) && !errors.Is(err, ErrFailure):
					t.Error(err)
				}
			}
			if won != 1 {
				t.Fatalf("%d have closed or taken it, want 1", won)
			}
		}
	})
}

// Who waits to read or write while the connection is taken has none after that,
// though frames are there already.
func TestHijackWaiters(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s, hook := hijackable(t, mech)
		c.conn = &connTap{Conn: c.conn}
		for _, text := range []string{"one", "two"} {
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		sent := c.conn.(*connTap).take()
		hook.read = func(p []byte) (int, error) { // both come in one piece
			hook.read = nil
			return io.ReadFull(hook.Conn, p[:len(sent)])
		}
		if _, err := io.ReadFull(s, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		hook.deadline = func(d time.Time) error { // in the midst of Hijack
			hook.deadline = nil
			go func() { results <- second(s.Read(make([]byte, 3))) }()
			go func() { results <- second(s.Write([]byte("x"))) }()
			for _, method := range []string{"Read", "Write"} {
				for !waitsForLock("gssapi.(*Conn)." + method + "(") {
					runtime.Gosched()
				}
			}
			return hook.Conn.SetDeadline(d)
		}
		conn, x, early, err := s.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for range 2 {
			wantErr(t, "who has waited", <-results, net.ErrClosed)
		}
		receive(t, x, connFrames(t, early)[0][4:], "two")
		x.Close()
	})
}

// waitsForLock reports whether a goroutine waits for a lock in that function.
func waitsForLock(function string) bool {
	b := make([]byte, 1<<20)
	for _, g := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(g, "[sync.Mutex.Lock") && strings.Contains(g, function) {
			return true
		}
	}
	return false
}
