package gssapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed2651813c/gss"
)

// ---- connections for tests ----

// connTCP is a connection over the loopback interface.
func connTCP(t testing.TB) (c, s net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if s, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

// connTap records what is written.
type connTap struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (x *connTap) Write(p []byte) (int, error) {
	n, err := x.Conn.Write(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent = append(x.sent, p[:n]...)
	return n, err
}

// take returns what was written since the last take.
func (x *connTap) take() []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	sent := x.sent
	x.sent = nil
	return sent
}

// connTape is a connection whose peer has sent everything that it will, and takes
// everything.
type connTape struct {
	net.Conn // nil: no other method is called
	io.Reader
	io.Writer
}

func newTape(stream []byte) *connTape { return &connTape{nil, bytes.NewReader(stream), io.Discard} }

func (x *connTape) Read(p []byte) (int, error)       { return x.Reader.Read(p) }
func (x *connTape) Write(p []byte) (int, error)      { return x.Writer.Write(p) }
func (x *connTape) Close() error                     { return nil }
func (x *connTape) SetDeadline(time.Time) error      { return nil }
func (x *connTape) SetReadDeadline(time.Time) error  { return nil }
func (x *connTape) SetWriteDeadline(time.Time) error { return nil }

// connFrame is a frame of a connection.
func connFrame(token []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)
}

// connFrames takes a stream apart; its frames begin with their lengths.
func connFrames(t testing.TB, stream []byte) (frames [][]byte) {
	t.Helper()
	for len(stream) > 0 {
		if len(stream) < 4 || len(stream)-4 < int(binary.BigEndian.Uint32(stream)) {
			t.Fatalf("the stream ends in a frame: %x", stream)
		}
		n := 4 + int(binary.BigEndian.Uint32(stream))
		frames, stream = append(frames, stream[:n]), stream[n:]
	}
	return frames
}

// newConns is both ends of a connection over TCP, before the handshake.
func newConns(t testing.TB, io *InitiatorOptions, ao *AcceptorOptions, o *ConnOptions) (c, s *Conn) {
	t.Helper()
	i, a := contexts(t, io, ao)
	x, y := connTCP(t)
	c, s = NewConn(&connTap{Conn: x}, i, o), NewConn(&connTap{Conn: y}, a, o)
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

// connected is both ends after the handshake.
func connected(t testing.TB, io *InitiatorOptions, ao *AcceptorOptions, o *ConnOptions) (c, s *Conn) {
	t.Helper()
	c, s = newConns(t, io, ao, o)
	connHandshake(t, c, s)
	return c, s
}

func connHandshake(t testing.TB, c, s *Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Conn{c, s} {
		if tap, ok := x.conn.(*connTap); ok {
			tap.take()
		}
	}
}

// establishedConn is a Conn over x with a context that is, and its peer's context.
func establishedConn(t testing.TB, x net.Conn, mech OID, o *ConnOptions) (*Conn, *Context) {
	t.Helper()
	i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
	c := NewConn(x, i, o)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, a
}

// pattern is n bytes that are not the same anywhere near.
func pattern(n, seed int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// eventually waits until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 30000 {
		if ok() {
			return
		}
		<-tick.C
	}
	t.Fatalf("never: %s", what)
}

// result is what a Read or Write returned.
type result struct {
	n   int
	err error
}

// begin calls f in a goroutine.
func begin(f func() (int, error)) chan result {
	done := make(chan result, 1)
	go func() {
		n, err := f()
		done <- result{n, err}
	}()
	return done
}

var long, longAgo = time.Now().Add(time.Hour), time.Unix(1, 0)

func wantTimeout(t testing.TB, what string, err error) {
	t.Helper()
	wantErr(t, what, err, os.ErrDeadlineExceeded)
	var e net.Error
	if !errors.As(err, &e) || !e.Timeout() {
		t.Fatalf("%s: %v (%T) says nothing of a timeout", what, err, err)
	}
}

// ---- streams ----

func TestConnStream(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, p := range []Protection{Private, Integrity} {
			t.Run(p.String(), func(t *testing.T) { testConnStream(t, &InitiatorOptions{Mech: mech}, &ConnOptions{Protection: p}) })
		}
		t.Run("small frames", func(t *testing.T) {
			testConnStream(t, &InitiatorOptions{Mech: mech}, &ConnOptions{MaxFrame: 150})
		})
	})
}

func testConnStream(t *testing.T, io *InitiatorOptions, o *ConnOptions) {
	c, s := connected(t, io, nil, o)
	echoed := make(chan error, 1)
	go func() { echoed <- echo(s) }()
	tap := c.conn.(*connTap)
	limit := 2<<20 + 7
	if o.MaxFrame != 0 {
		limit = 1000
	}
	for _, size := range []int{0, 1, 2, c.payload - 1, c.payload, c.payload + 1, 2*c.payload + 1, limit} {
		msg := pattern(size, size)
		for _, room := range []int{1, 7, 100, c.payload - 1, c.payload + 2*overhead, limit} {
			if size/room > 1<<16 || size > 1<<20 && room < limit {
				continue
			}
			before := bytes.Clone(msg)
			done := begin(func() (int, error) { return c.Write(msg) })
			got := make([]byte, 0, size)
			for len(got) < size {
				buf := make([]byte, room)
				n, err := c.Read(buf)
				if err != nil || n == 0 || !bytes.Equal(buf[n:], make([]byte, room-n)) && n < c.payload/2 && room < 50 {
					t.Fatalf("Read into %d bytes of room: %d, %v", room, n, err)
				}
				got = append(got, buf[:n]...)
			}
			if r := <-done; r.n != size || r.err != nil {
				t.Fatalf("Write of %d bytes: %d, %v", size, r.n, r.err)
			}
			if !bytes.Equal(got, msg) || !bytes.Equal(before, msg) {
				t.Fatalf("%d bytes came back as others", size)
			}
			frames := connFrames(t, tap.take())
			if want := (size + c.payload - 1) / c.payload; len(frames) != want {
				t.Errorf("%d bytes were sent in %d frames, want %d", size, len(frames), want)
			}
			for _, f := range frames {
				if len(f)-4 > c.maxFrame {
					t.Errorf("a frame of %d bytes, the longest is %d", len(f)-4, c.maxFrame)
				}
			}
		}
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("Read into no room: %d, %v", n, err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-echoed; err != nil {
		t.Errorf("the echo: %v", err)
	}
	if n, err := c.Read(make([]byte, 10)); n != 0 || err != errEOF {
		t.Errorf("Read at the end: %d, %v", n, err)
	}
}

var errEOF = io.EOF // for where the name io is taken

// echo sends back what comes until it ends.
func echo(s *Conn) error {
	if _, err := io.Copy(s, s); err != nil {
		return err
	}
	return s.CloseWrite()
}

// Many Reads and Writes at once: every piece arrives once and whole.
func TestConnConcurrently(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		const writers, each, size = 8, 30, 100
		c, s := newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
		var mu sync.Mutex
		count := map[string]int{}
		var reading, writing sync.WaitGroup
		for range 4 {
			reading.Go(func() {
				buf := make([]byte, size)
				for {
					n, err := s.Read(buf)
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					count[string(buf[:n])]++
					mu.Unlock()
				}
			})
		}
		for w := range writers {
			writing.Go(func() {
				for n := range each {
					if _, err := c.Write(pattern(size, w*each+n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		reading.Wait()
		for n := range writers * each {
			if count[string(pattern(size, n))] != 1 {
				t.Fatalf("piece %d came %d times", n, count[string(pattern(size, n))])
			}
		}
		if len(count) != writers*each {
			t.Errorf("%d pieces, want %d", len(count), writers*each)
		}
	})
}

// writerFunc and readerFunc are a Writer and a Reader and nothing else.
type (
	writerFunc func([]byte) (int, error)
	readerFunc func([]byte) (int, error)
)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
func (f readerFunc) Read(p []byte) (int, error)  { return f(p) }

func TestConnCopy(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		errTest := errors.New("of this test")
		msg := pattern(300_000, 1)
		t.Run("from", func(t *testing.T) {
			for name, end := range map[string]error{"its end": io.EOF, "its error": errTest} {
				c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, nil)
				got := make(chan []byte, 1)
				go func() {
					b, err := io.ReadAll(s)
					if err != nil {
						t.Error(err)
					}
					got <- b
				}()
				// The last piece comes together with the error.
				n, err := io.Copy(c, struct{ io.Reader }{io.MultiReader(bytes.NewReader(msg[:200_000]), iotest.DataErrReader(io.MultiReader(bytes.NewReader(msg[200_000:]), iotest.ErrReader(end))))})
				if end == io.EOF {
					end = nil
				}
				if n != int64(len(msg)) || err != end {
					t.Errorf("%s: %d, %v", name, n, err)
				}
				if n, err := c.ReadFrom(strings.NewReader("")); n != 0 || err != nil {
					t.Errorf("ReadFrom of nothing: %d, %v", n, err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Error(err)
				}
				if !bytes.Equal(<-got, msg) {
					t.Errorf("%s: other bytes came", name)
				}
				n, err = c.ReadFrom(strings.NewReader("more"))
				if n != 0 {
					t.Errorf("ReadFrom after CloseWrite: %d", n)
				}
				wantErr(t, "ReadFrom after CloseWrite", err, io.ErrClosedPipe)
			}
		})
		t.Run("to", func(t *testing.T) {
			c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, nil)
			done := begin(func() (int, error) {
				n, err := c.Write(msg)
				if err == nil {
					err = c.CloseWrite()
				}
				return n, err
			})
			var got []byte
			for name, w := range map[string]struct {
				write func([]byte) (int, error)
				n     int64
				err   error
			}{
				"an error":                 {func(p []byte) (int, error) { return 0, errTest }, 0, errTest},
				"an error after 10 bytes":  {func(p []byte) (int, error) { got = append(got, p[:10]...); return 10, errTest }, 10, errTest},
				"a short write":            {func(p []byte) (int, error) { got = append(got, p[:3]...); return 3, nil }, 3, io.ErrShortWrite},
				"no write":                 {func(p []byte) (int, error) { return 0, nil }, 0, io.ErrShortWrite},
				"a write of more than all": {func(p []byte) (int, error) { return len(p) + 1, nil }, 0, errInvalidWrite},
				"a negative write":         {func(p []byte) (int, error) { return -1, nil }, 0, errInvalidWrite},
			} {
				n, err := io.Copy(writerFunc(w.write), s)
				if n != w.n || err != w.err {
					t.Errorf("%s: %d, %v, want %d, %v", name, n, err, w.n, w.err)
				}
			}
			// Nothing is lost by them.
			var rest bytes.Buffer
			n, err := s.WriteTo(&rest)
			if err != nil || n != int64(len(msg)-len(got)) || !bytes.Equal(append(got, rest.Bytes()...), msg) {
				t.Errorf("the rest: %d, %v", n, err)
			}
			if r := <-done; r.err != nil {
				t.Error(r.err)
			}
			if n, err := s.WriteTo(&rest); n != 0 || err != nil {
				t.Errorf("WriteTo at the end: %d, %v", n, err)
			}
		})
	})
}

// ---- the end ----

func TestConnCloseWrite(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s := newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
		wantErr(t, "CloseWrite before the handshake", c.CloseWrite(), ErrNoContext)
		connHandshake(t, c, s)
		write := func(x *Conn, text string) {
			t.Helper()
			if n, err := x.Write([]byte(text)); n != len(text) || err != nil {
				t.Fatalf("Write: %d, %v", n, err)
			}
		}
		read := func(x *Conn, text string) {
			t.Helper()
			buf := make([]byte, len(text))
			if _, err := io.ReadFull(x, buf); err != nil || string(buf) != text {
				t.Fatalf("%q, %v", buf, err)
			}
		}
		write(c, "the last words")
		for range 3 {
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if frames := connFrames(t, c.conn.(*connTap).take()); len(frames) != 2 {
			t.Errorf("%d frames for a message and an end", len(frames))
		}
		for range 2 {
			n, err := c.Write([]byte("more"))
			wantErr(t, "Write after CloseWrite", err, io.ErrClosedPipe)
			if n != 0 {
				t.Errorf("%d bytes were sent after the end", n)
			}
		}
		if n, err := c.Write(nil); n != 0 || err != nil {
			t.Errorf("Write of nothing: %d, %v", n, err)
		}
		read(s, "the last words")
		for range 2 {
			if n, err := s.Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Fatalf("Read at the end: %d, %v", n, err)
			}
		}
		// The other direction goes on.
		for range 3 {
			write(s, "the answer")
			read(c, "the answer")
		}
		if err := s.Close(); err != nil { // is the end too
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			t.Errorf("Read after the peer's Close: %d, %v", n, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if sent := c.conn.(*connTap).take(); len(sent) > 0 {
			t.Errorf("Close after CloseWrite sent %x", sent)
		}
	})
}

// wantClosed fails the test unless every call is net.ErrClosed.
func wantClosed(t *testing.T, c *Conn) {
	t.Helper()
	buf := make([]byte, 10)
	for what, err := range map[string]error{
		"Read": second(c.Read(buf)), "Write": second(c.Write(buf)), "ReadFrom": second(c.ReadFrom(strings.NewReader("x"))),
		"WriteTo": second(c.WriteTo(io.Discard)), "CloseWrite": c.CloseWrite(), "Handshake": c.Handshake(), "Close": c.Close(),
		"an empty Write": second(c.Write(nil)),
	} {
		wantErr(t, what+" after Close", err, net.ErrClosed)
	}
}

func TestConnClose(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		o := &InitiatorOptions{Mech: mech}
		t.Run("before the handshake", func(t *testing.T) {
			c, s := newConns(t, o, nil, nil)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			wantClosed(t, c)
			wantErr(t, "the peer's handshake", s.Handshake(), io.ErrUnexpectedEOF)
		})
		t.Run("twice at once", func(t *testing.T) {
			c, s := connected(t, o, nil, nil)
			var wg sync.WaitGroup
			var mu sync.Mutex
			count := map[error]int{}
			for range 8 {
				wg.Go(func() {
					err := c.Close()
					mu.Lock()
					defer mu.Unlock()
					count[err]++
				})
			}
			wg.Wait()
			if count[nil] != 1 || count[net.ErrClosed] != 7 {
				t.Errorf("%v", count)
			}
			wantClosed(t, c)
			if _, err := s.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer's Read: %v", err)
			}
		})
		t.Run("with data not read", func(t *testing.T) {
			c, s := connected(t, o, nil, nil)
			if _, err := c.Write([]byte("not read to its end")); err != nil {
				t.Fatal(err)
			}
			if n, err := s.Read(make([]byte, 8)); n != 8 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			wantClosed(t, s)
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer's Read: %v", err)
			}
		})
		t.Run("blocked calls", func(t *testing.T) {
			x, y := net.Pipe()
			t.Cleanup(func() { y.Close() })
			c, _ := establishedConn(t, x, mech, nil)
			reading := begin(func() (int, error) { return c.Read(make([]byte, 10)) })
			writing := begin(func() (int, error) { return c.Write(pattern(1000, 1)) })
			second := begin(func() (int, error) {
				n, err := c.WriteTo(io.Discard)
				return int(n), err
			})
			if _, err := io.ReadFull(y, make([]byte, 10)); err != nil { // the Write is under way
				t.Fatal(err)
			}
			third := begin(func() (int, error) { return c.Write([]byte("behind it")) })
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			for what, done := range map[string]chan result{"Read": reading, "Write": writing, "WriteTo": second, "a second Write": third} {
				r := <-done
				wantErr(t, what, r.err, net.ErrClosed)
				if r.n != 0 {
					t.Errorf("%s: %d bytes", what, r.n)
				}
			}
			wantClosed(t, c)
		})
		t.Run("cut by the peer", func(t *testing.T) {
			c, s := connected(t, o, nil, nil)
			if _, err := s.Write([]byte("before it")); err != nil {
				t.Fatal(err)
			}
			s.NetConn().Close()
			b, err := io.ReadAll(c)
			if string(b) != "before it" || err != io.ErrUnexpectedEOF {
				t.Errorf("%q, %v", b, err)
			}
			if _, err := c.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
				t.Errorf("the next Read: %v", err)
			}
		})
	})
}

// ---- deadlines after the handshake ----

// A deadline in the midst of a frame, wherever: the next Read goes on there.
// Who has refused what came does not end his own stream well: the peer would take
// an answer for complete that was broken off. A good end of the peer changes
// nothing.
func TestConnCloseAfterFailedRead(t *testing.T) {
	needsHandshake(t)
	for _, c := range []struct {
		name string
		send func(t *testing.T, from *Conn)
		want error
	}{
		{"refused", func(t *testing.T, from *Conn) {
			if _, err := from.NetConn().Write(connFrame([]byte("no message"))); err != nil {
				t.Fatal(err)
			}
		}, io.ErrUnexpectedEOF},
		{"ended", func(t *testing.T, from *Conn) {
			if err := from.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, y := connected(t, nil, nil, nil)
			c.send(t, x)
			if _, err := y.Read(make([]byte, 100)); err == nil {
				t.Fatal("there is something to read")
			}
			if err := y.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := x.Read(make([]byte, 100)); err != c.want {
				t.Errorf("the peer reads %v, want %v", err, c.want)
			}
		})
	}
}

func TestConnReadDeadline(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		x, y := net.Pipe()
		defer y.Close()
		c, peer := establishedConn(t, x, mech, nil)
		write := func(b []byte) {
			t.Helper()
			if _, err := y.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		read := func() (int, error) { return c.Read(make([]byte, 1000)) }
		const text = "a message"
		for cut := 0; ; cut++ {
			frame := connFrame(wrap(t, peer, text))
			if cut >= len(frame) {
				break
			}
			done := begin(read)
			write(frame[:cut])
			c.SetReadDeadline(longAgo)
			r := <-done
			wantTimeout(t, fmt.Sprintf("Read after %d of %d bytes", cut, len(frame)), r.err)
			n, err := read()
			wantTimeout(t, "the next Read", err)
			if r.n != 0 || n != 0 {
				t.Fatalf("%d bytes with a timeout", r.n+n)
			}
			c.SetReadDeadline(long)
			done = begin(read)
			write(frame[cut:])
			if r := <-done; r.n != len(text) || r.err != nil {
				t.Fatalf("cut after %d of %d bytes: %d, %v", cut, len(frame), r.n, r.err)
			}
		}
		// Writing has another deadline.
		c.SetReadDeadline(longAgo)
		done := begin(func() (int, error) { return c.Write([]byte(text)) })
		receive(t, peer, readFrame(t, y), text)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
	})
}

// A deadline in the midst of a Write, wherever: what it counted arrives, and
// nothing else.
func TestConnWriteDeadline(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		x, y := net.Pipe()
		defer y.Close()
		c, peer := establishedConn(t, x, mech, &ConnOptions{MaxFrame: 100})
		msg := pattern(3*c.payload-1, 1)
		read := func(b []byte) {
			t.Helper()
			if _, err := io.ReadFull(y, b); err != nil {
				t.Fatal(err)
			}
		}
		step := 1
		if raceBuild || asanBuild {
			step = 7
		}
		whole, total := false, 0
		done := begin(func() (int, error) { return c.Write(msg) })
		for range 3 {
			frame := readFrame(t, y)
			total += 4 + len(frame)
			if _, err := peer.Unwrap(frame); err != nil {
				t.Fatal(err)
			}
		}
		if r := <-done; r.err != nil {
			t.Fatal(r.err)
		}
		for cut := 0; !whole; cut = min(cut+step, total) {
			before := bytes.Clone(msg)
			done := begin(func() (int, error) { return c.Write(msg) })
			begun := make([]byte, cut)
			read(begun)
			c.SetWriteDeadline(longAgo)
			r := <-done
			if whole = r.err == nil; whole && r.n != len(msg) {
				t.Fatalf("%d bytes, and no error", r.n)
			} else if !whole {
				wantTimeout(t, "Write", r.err)
			}
			if n, err := c.Write([]byte("late")); n != 0 {
				t.Fatalf("Write after its deadline: %d, %v", n, err)
			} else {
				wantTimeout(t, "Write after its deadline", err)
			}
			if !bytes.Equal(msg, before) {
				t.Fatal("Write changed its message")
			}
			c.SetWriteDeadline(long)
			const tail = "what comes next"
			done = begin(func() (int, error) { return c.Write([]byte(tail)) })
			in, got := io.MultiReader(bytes.NewReader(begun), y), []byte(nil)
			for len(got) < r.n+len(tail) {
				m, err := peer.Unwrap(readFrame(t, in))
				if err != nil {
					t.Fatalf("cut after %d bytes: %v", cut, err)
				}
				got = append(got, m...)
			}
			if r := <-done; r.n != len(tail) || r.err != nil {
				t.Fatalf("the next Write: %d, %v", r.n, r.err)
			}
			if string(got) != string(msg[:r.n])+tail {
				t.Fatalf("cut after %d bytes, of which Write counted %d of the message: another one came", cut, r.n)
			}
		}
		// An end can be cut too.
		for cut := 1; cut < 20; cut += 9 {
			c.SetWriteDeadline(long)
			end := make(chan error, 1)
			go func() { end <- c.CloseWrite() }()
			read(make([]byte, 1))
			c.SetWriteDeadline(longAgo)
			wantTimeout(t, "CloseWrite", <-end)
		}
		n, err := c.Write([]byte("more"))
		wantTimeout(t, "Write after a CloseWrite that was cut", err)
		if n != 0 {
			t.Errorf("%d bytes", n)
		}
	})
}

// The end of a stream is sent once, however often deadlines interrupt it.
func TestConnCloseWriteDeadline(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		x, y := net.Pipe()
		defer y.Close()
		c, peer := establishedConn(t, x, mech, nil)
		c.SetWriteDeadline(longAgo)
		wantTimeout(t, "CloseWrite after its deadline", c.CloseWrite())
		var got []byte
		for range 5 {
			c.SetWriteDeadline(long)
			end := make(chan error, 1)
			go func() { end <- c.CloseWrite() }()
			b := make([]byte, 5)
			if _, err := io.ReadFull(y, b); err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
			c.SetWriteDeadline(longAgo)
			wantTimeout(t, "CloseWrite", <-end)
		}
		c.SetWriteDeadline(long)
		end := make(chan error, 1)
		go func() { end <- c.CloseWrite() }()
		receive(t, peer, readFrame(t, io.MultiReader(bytes.NewReader(got), y)), "")
		if err := <-end; err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := c.CloseWrite(); err != nil { // nobody reads any more
				t.Error(err)
			}
		}
	})
}

// A peer that does not read, over TCP: the buffers on the way are full somewhere.
func TestConnWriteDeadlineTCP(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, nil)
		c.NetConn().(*connTap).Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		s.NetConn().(*connTap).Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		msg := pattern(8<<20, 1)
		// Full is when no more is written for a while.
		done := begin(func() (int, error) { return c.Write(msg) })
		tap, last, same := c.NetConn().(*connTap), 0, 0
		eventually(t, "the buffers are full", func() bool {
			tap.mu.Lock()
			defer tap.mu.Unlock()
			if same++; len(tap.sent) != last {
				last, same = len(tap.sent), 0
			}
			return same > 50
		})
		c.SetWriteDeadline(longAgo)
		r := <-done
		wantTimeout(t, "Write", r.err)
		if r.n == 0 || r.n == len(msg) {
			t.Fatalf("%d bytes were counted", r.n)
		}
		c.SetWriteDeadline(time.Time{})
		got := make(chan []byte, 1)
		go func() {
			b, err := io.ReadAll(s)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		if n, err := c.Write(msg[r.n:]); n != len(msg)-r.n || err != nil {
			t.Errorf("the rest: %d, %v", n, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(<-got, msg) {
			t.Error("other bytes came")
		}
	})
}

// Errors of the connection below stay, also those that are called timeouts and
// have no deadline.
func TestConnErrorsStay(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, below := range []error{
			errors.New("of this test"),
			&net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ETIMEDOUT)},
		} {
			writes, reads := 0, 0
			x := newTape(nil)
			x.Writer = writerFunc(func(p []byte) (int, error) { writes++; return 5, below })
			x.Reader = readerFunc(func(p []byte) (int, error) { reads++; return copy(p, "\x00\x00"), below })
			c, _ := establishedConn(t, x, mech, nil)
			for range 3 {
				if n, err := c.Write([]byte("hello")); n != 0 || err != below {
					t.Errorf("Write: %d, %v", n, err)
				}
				if n, err := c.Read(make([]byte, 10)); n != 0 || err != below {
					t.Errorf("Read: %d, %v", n, err)
				}
				if err := c.CloseWrite(); err != below {
					t.Errorf("CloseWrite: %v", err)
				}
			}
			if writes != 1 || reads != 1 {
				t.Errorf("%d writes and %d reads of the connection below, want one each", writes, reads)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if writes != 1 {
				t.Error("Close wrote after an error")
			}
		}
	})
}

// ---- the handshake ----

func TestConnHandshake(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		o := &InitiatorOptions{Mech: mech}
		t.Run("by Read and Write", func(t *testing.T) {
			c, s := newConns(t, o, nil, nil)
			if sent := c.conn.(*connTap).take(); sent != nil || c.ConnectionState().HandshakeComplete {
				t.Error("NewConn did a handshake")
			}
			done := begin(func() (int, error) { return s.Read(make([]byte, 10)) })
			if n, err := c.Write([]byte("hi")); n != 2 || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
			if r := <-done; r.n != 2 || r.err != nil {
				t.Errorf("Read: %d, %v", r.n, r.err)
			}
		})
		t.Run("by ReadFrom and WriteTo", func(t *testing.T) {
			c, s := newConns(t, o, nil, nil)
			var b bytes.Buffer
			done := begin(func() (int, error) { n, err := s.WriteTo(&b); return int(n), err })
			if n, err := c.ReadFrom(strings.NewReader("hi")); n != 2 || err != nil {
				t.Errorf("ReadFrom: %d, %v", n, err)
			}
			c.Close()
			if r := <-done; r.n != 2 || r.err != nil || b.String() != "hi" {
				t.Errorf("WriteTo: %d, %v", r.n, r.err)
			}
		})
		t.Run("by many", func(t *testing.T) {
			c, s := newConns(t, o, nil, nil)
			var wg sync.WaitGroup
			for range 10 {
				for _, x := range []*Conn{c, s} {
					wg.Go(func() {
						if err := x.Handshake(); err != nil {
							t.Error(err)
						}
					})
					wg.Go(func() {
						if err := x.HandshakeContext(t.Context()); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
			tokens := len(connFrames(t, c.conn.(*connTap).take()))
			if tokens != 1 {
				t.Errorf("the initiator sent %d tokens", tokens)
			}
			// It is over.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.HandshakeContext(ctx); err != nil {
				t.Error(err)
			}
			if sent := c.conn.(*connTap).take(); sent != nil {
				t.Error("a second handshake")
			}
		})
		t.Run("with a ctx that was done", func(t *testing.T) {
			c, s := newConns(t, o, nil, nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("of this test")
			cancel(why)
			wantErr(t, "HandshakeContext", c.HandshakeContext(ctx), context.Canceled, why)
			connHandshake(t, c, s) // nothing was lost
		})
	})
}

// wantSticky fails the test unless every call returns the handshake's error.
func wantSticky(t *testing.T, c *Conn, want error) {
	t.Helper()
	for what, err := range map[string]error{
		"Handshake": c.Handshake(), "Read": second(c.Read(make([]byte, 1))), "Write": second(c.Write([]byte("x"))), "Write of nothing": second(c.Write(nil)),
		"ReadFrom": second(c.ReadFrom(strings.NewReader("x"))), "WriteTo": second(c.WriteTo(io.Discard)), "CloseWrite": c.CloseWrite(),
	} {
		if err != want {
			t.Errorf("%s after the handshake: %v, want %v", what, err, want)
		}
	}
	if c.ConnectionState() != (ConnectionState{}) {
		t.Errorf("%+v", c.ConnectionState())
	}
}

func TestConnHandshakeFails(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		o := &InitiatorOptions{Mech: mech}
		t.Run("a flag is required", func(t *testing.T) {
			c, s := newConns(t, o, &AcceptorOptions{Require: FlagAnon}, nil)
			done := begin(func() (int, error) { return 0, c.Handshake() })
			err := s.Handshake()
			wantErr(t, "the acceptor", err, ErrUnauthorized)
			wantSticky(t, s, err)
			s.Close()
			r := <-done
			wantErr(t, "the initiator", r.err, io.ErrUnexpectedEOF)
			wantSticky(t, c, r.err)
			c.Close()
			wantClosed(t, c)
		})
		t.Run("no credential", func(t *testing.T) {
			t.Setenv("KRB5CCNAME", "FILE:"+realm.Dir()+"/none")
			c, s := newConns(t, o, nil, nil)
			err := c.Handshake()
			if err == nil {
				t.Fatal("no error")
			}
			wantSticky(t, c, err)
			c.Close()
			wantErr(t, "the acceptor", s.Handshake(), io.ErrUnexpectedEOF)
		})
		// What a peer may send instead of its token.
		i := NewInitiator(target(t), o)
		token := step(t, i, nil)
		good := connFrame(token)
		for name, c := range map[string]struct {
			stream []byte
			max    int // MaxToken
			want   error
		}{
			"nothing":          {nil, 0, io.ErrUnexpectedEOF},
			"half a length":    {good[:2], 0, io.ErrUnexpectedEOF},
			"a length":         {good[:4], 0, io.ErrUnexpectedEOF},
			"half a token":     {good[:100], 0, io.ErrUnexpectedEOF},
			"all but a byte":   {good[:len(good)-1], 0, io.ErrUnexpectedEOF},
			"an empty token":   {make([]byte, 4), 0, ErrDefectiveToken},
			"text":             {[]byte("GET / HTTP/1.1\r\n"), 0, ErrDefectiveToken},
			"4 GiB":            {[]byte("\xff\xff\xff\xff"), 0, ErrDefectiveToken},
			"more than it may": {good, len(token) - 1, ErrDefectiveToken},
			"one too many":     {binary.BigEndian.AppendUint32(nil, DefaultMaxToken+1), 0, ErrDefectiveToken},
			"a NegMech":        {connFrame(frame(MechNTLM, "junk")), 0, ErrBadMech},
		} {
			s := NewConn(newTape(c.stream), NewAcceptor(nil), &ConnOptions{MaxToken: c.max})
			err := s.Handshake()
			wantErr(t, name, err, c.want)
			wantSticky(t, s, err)
			s.Close()
		}
		s := NewConn(newTape(good), NewAcceptor(nil), &ConnOptions{MaxToken: len(token)})
		if err := s.Handshake(); err != nil {
			t.Errorf("a token as long as it may be: %v", err)
		}
		s.Close()
		x := NewConn(newTape(make([]byte, 4)), NewInitiator(target(t), o), nil)
		wantErr(t, "an initiator that gets an empty token", x.Handshake(), ErrDefectiveToken)
		x.Close()
	})
}

// The acceptor's error token reaches the initiator.
func TestConnErrorToken(t *testing.T) {
	needsHandshake(t)
	var env []string
	if os.Getenv(childEnv) == "" {
		only, err := realm.Keytab(other)
		if err != nil {
			t.Fatal(err)
		}
		env = []string{"KRB5_KTNAME=FILE:" + only}
	}
	if !inChild(t, env) { // Heimdal reads KRB5_KTNAME once
		return
	}
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		c, s := newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
		done := begin(func() (int, error) { return 0, c.Handshake() })
		err := s.Handshake()
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("the acceptor has no key: %v", err)
		}
		wantSticky(t, s, err)
		sent := s.conn.(*connTap).take()
		s.Close()
		r := <-done
		if len(sent) == 0 {
			if kind() == gss.KindMIT {
				t.Error("MIT made no token")
			}
			wantErr(t, "the initiator", r.err, io.ErrUnexpectedEOF)
		} else if !errors.As(r.err, &e) {
			t.Errorf("the initiator got a token: %v", r.err)
		}
		wantSticky(t, c, r.err)
	})
}

// How a handshake that is under way is ended, and its error.
var connEndings = map[string]struct {
	end     func(c *Conn, cancel context.CancelFunc)
	want    error
	timeout bool
}{
	"cancelled":      {func(c *Conn, cancel context.CancelFunc) { cancel() }, context.Canceled, false},
	"deadline":       {func(c *Conn, cancel context.CancelFunc) { c.SetDeadline(longAgo) }, os.ErrDeadlineExceeded, true},
	"soon":           {func(c *Conn, cancel context.CancelFunc) { c.SetDeadline(time.Now().Add(10 * time.Millisecond)) }, os.ErrDeadlineExceeded, true},
	"read deadline":  {func(c *Conn, cancel context.CancelFunc) { c.SetReadDeadline(longAgo) }, os.ErrDeadlineExceeded, true},
	"write deadline": {func(c *Conn, cancel context.CancelFunc) { c.SetWriteDeadline(longAgo) }, os.ErrDeadlineExceeded, true},
	"closed":         {func(c *Conn, cancel context.CancelFunc) { c.Close() }, net.ErrClosed, false},
}

// interrupt begins the handshake of c, whose peer is peer, ends it once it is
// under way, and checks what is left. underWay waits for that.
func interrupt(t *testing.T, c *Conn, peer net.Conn, ending string, underWay func()) {
	t.Helper()
	e := connEndings[ending]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.SetDeadline(long) // does not matter
	done := begin(func() (int, error) { return 0, c.HandshakeContext(ctx) })
	underWay()
	eventually(t, "the handshake is under way", func() bool {
		c.deadlines.Lock()
		defer c.deadlines.Unlock()
		return c.deadlines.cancel != nil
	})
	waiting := begin(func() (int, error) { return c.Read(make([]byte, 1)) })
	e.end(c, cancel)
	r := <-done
	wantErr(t, "HandshakeContext", r.err, e.want)
	if e.timeout {
		wantTimeout(t, "HandshakeContext", r.err)
	}
	if r := <-waiting; !errors.Is(r.err, e.want) {
		t.Errorf("Read: %v, want %v", r.err, e.want)
	}
	c.SetDeadline(time.Time{}) // too late
	if ending != "closed" {
		wantSticky(t, c, r.err)
	}
	if rest, err := io.ReadAll(peer); err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection is not closed: %q, %v", rest, err)
	}
	if ending != "closed" {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	wantClosed(t, c)
}

// A handshake that waits for the peer.
func TestConnHandshakeEnds(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for ending := range connEndings {
			t.Run(ending, func(t *testing.T) {
				for _, network := range []func() (x, y net.Conn){net.Pipe, func() (x, y net.Conn) { return connTCP(t) }} {
					i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
					x, y := network()
					interrupt(t, NewConn(x, i, nil), y, ending, func() { readFrame(t, y) })
					x, y = network()
					interrupt(t, NewConn(x, a, nil), y, ending, func() {
						if _, err := y.Write(make([]byte, 2)); err != nil {
							t.Error(err)
						}
					})
				}
				// Nobody takes the token.
				i, _ := contexts(t, &InitiatorOptions{Mech: mech}, nil)
				x, y := net.Pipe()
				interrupt(t, NewConn(x, i, nil), y, ending, func() {
					if _, err := io.ReadFull(y, make([]byte, 10)); err != nil {
						t.Error(err)
					}
				})
			})
		}
		t.Run("deadline before", func(t *testing.T) {
			c, _ := newConns(t, &InitiatorOptions{Mech: mech}, nil, nil)
			c.SetDeadline(longAgo)
			err := c.Handshake()
			wantTimeout(t, "Handshake", err)
			wantSticky(t, c, err)
		})
	})
}

// A handshake that waits for the KDC.
func TestConnHandshakeWaitsForKDC(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		cache, err := realm.Kinit("alice", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("KRB5CCNAME", "FILE:"+cache) // no ticket for the service yet
		if err := realm.SuspendKDC(); err != nil {
			t.Fatal(err)
		}
		defer realm.ResumeKDC()
		for _, ending := range []string{"cancelled", "deadline", "closed"} {
			x, y := connTCP(t)
			before := ReadStats().Initiate
			interrupt(t, Client(x, target(t), &InitiatorOptions{Mech: mech}), y, ending, func() {
				eventually(t, "C is called", func() bool { return ReadStats().Initiate.Running > before.Running })
			})
			if after := ReadStats().Initiate; after.TotalAbandoned != before.TotalAbandoned+1 {
				t.Errorf("%s: %+v", ending, after)
			}
		}
		if err := realm.ResumeKDC(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the calls come back", func() bool { return ReadStats().Initiate.Running == 0 })
		c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, nil)
		c.Close()
		s.Close()
	})
}
