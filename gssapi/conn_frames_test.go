package gssapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// connRecord is a stream, in the frames in which it came, and the receiver's
// context in a token.
type connRecord struct {
	frames [][]byte // the last one is the end
	texts  []string
	token  []byte
}

// record writes a stream of a few messages. reply is a frame of the receiver's
// own.
func record(t testing.TB, from, to *Context, p Protection) (r connRecord, reply []byte) {
	t.Helper()
	r.texts = []string{"one", "the second message", "3", "and the last one"}
	var sent bytes.Buffer
	x := newTape(nil)
	x.Writer = &sent
	c := NewConn(x, from, &ConnOptions{Protection: p})
	for _, text := range r.texts {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	r.frames = connFrames(t, sent.Bytes())
	if len(r.frames) != len(r.texts)+1 {
		t.Fatalf("%d frames", len(r.frames))
	}
	reply = connFrame(wrap(t, to, "sent the other way"))
	r.token = export(t, to)
	return r, reply
}

// play gives a stream to a Conn over the receiver's context, and returns what it
// read until its error.
func (r connRecord) play(t testing.TB, stream io.Reader, p Protection) (string, error) {
	t.Helper()
	x := newTape(nil)
	x.Reader = stream
	ctx := importContextOf(t, r.token, nil)
	c := NewConn(x, ctx, &ConnOptions{Protection: p})
	defer ctx.Close() // (Close would send an end.)
	var got strings.Builder
	buf := make([]byte, 200)
	for {
		n, err := c.Read(buf[:100+len(r.texts[0])*n100(got.Len())])
		got.Write(buf[:n])
		if err == nil && n > 0 {
			continue
		}
		if err == nil || n > 0 {
			t.Fatalf("Read: %d, %v", n, err)
		}
		if again, err2 := c.Read(buf); again != 0 || err2 != err {
			t.Fatalf("Read: %v, then %d, %v", err, again, err2)
		}
		return got.String(), err
	}
}

// n100 lets the room for a message be larger and smaller than its frame.
func n100(n int) int { return n % 2 * 30 }

// check fails the test unless what was read of a stream that somebody changed is
// a part of what was sent, whole messages from the first on, and io.EOF comes
// after all of it alone.
func (r connRecord) check(t testing.TB, what, got string, err error) {
	t.Helper()
	whole, all := false, ""
	for n := 0; n <= len(r.texts); n++ {
		all = strings.Join(r.texts[:n], "")
		whole = whole || got == all
	}
	if !whole {
		t.Errorf("%s: it read %q", what, got)
	}
	if err == io.EOF && got != all {
		t.Errorf("%s: a good end after %q", what, got)
	}
}

func eachRecord(t *testing.T, f func(t *testing.T, r connRecord, reply []byte, p Protection)) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			for _, p := range []Protection{Private, Integrity} {
				if p == Integrity && !c.initiator {
					continue
				}
				t.Run(p.String(), func(t *testing.T) {
					i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
					if c.initiator {
						i, a = a, i
					}
					r, reply := record(t, i, a, p)
					f(t, r, reply, p)
				})
			}
		})
	})
}

// A stream that is cut anywhere is never taken for a whole one.
func TestConnTruncated(t *testing.T) {
	kept(t)
	eachRecord(t, func(t *testing.T, r connRecord, _ []byte, p Protection) {
		stream := slices.Concat(r.frames...)
		for n := range stream {
			got, err := r.play(t, bytes.NewReader(stream[:n]), p)
			r.check(t, fmt.Sprintf("the first %d bytes", n), got, err)
			if err != io.ErrUnexpectedEOF {
				t.Errorf("the first %d of %d bytes: %v", n, len(stream), err)
			}
			want, end := "", 0
			for i, text := range r.texts {
				if end += len(r.frames[i]); end <= n {
					want += text
				}
			}
			if got != want {
				t.Errorf("the first %d bytes: %q, want %q", n, got, want)
			}
		}
		for name, in := range map[string]io.Reader{
			"whole":                  bytes.NewReader(stream),
			"byte by byte":           iotest.OneByteReader(bytes.NewReader(stream)),
			"with its error at once": iotest.DataErrReader(bytes.NewReader(stream)),
			"by halves":              iotest.HalfReader(bytes.NewReader(stream)),
		} {
			got, err := r.play(t, in, p)
			if got != strings.Join(r.texts, "") || err != io.EOF {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	})
}

// Whatever somebody does to a stream, it is not taken for another one.
func TestConnChanged(t *testing.T) {
	if !inJunkChild(t) {
		return
	}
	kept(t)
	eachRecord(t, func(t *testing.T, r connRecord, reply []byte, p Protection) {
		stream, all := slices.Concat(r.frames...), strings.Join(r.texts, "")
		played := func(what string, frames ...[]byte) (string, error) {
			t.Helper()
			got, err := r.play(t, bytes.NewReader(slices.Concat(frames...)), p)
			r.check(t, what, got, err)
			return got, err
		}
		end := len(r.frames) - 1
		for i := range r.frames {
			got, err := played(fmt.Sprintf("without frame %d", i), slices.Concat(r.frames[:i], r.frames[i+1:])...)
			if err == io.EOF || got != strings.Join(r.texts[:i], "") {
				t.Errorf("without frame %d: %q, %v", i, got, err)
			}
			for j := range r.frames {
				_, err := played(fmt.Sprintf("frame %d again before %d", i, j), slices.Insert(slices.Clone(r.frames), j, r.frames[i])...)
				if err == io.EOF && !(i == end && j == end) {
					t.Errorf("frame %d again before %d: %v", i, j, err)
				}
				if i == j {
					continue
				}
				swapped := slices.Clone(r.frames)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				if _, err := played(fmt.Sprintf("frames %d and %d swapped", i, j), swapped...); err == io.EOF {
					t.Errorf("frames %d and %d swapped: %v", i, j, err)
				}
			}
			for what, other := range map[string][]byte{"the other direction's": reply, "an empty": make([]byte, 4), "a frame of junk": connFrame([]byte("junk"))} {
				changed := slices.Clone(r.frames)
				changed[i] = other
				if got, err := played(what, changed...); err == io.EOF || got != strings.Join(r.texts[:i], "") {
					t.Errorf("%s frame for frame %d: %q, %v", what, i, got, err)
				}
			}
		}
		// What comes behind the end is not read.
		for _, more := range [][]byte{r.frames[0], r.frames[end], reply, []byte("junk")} {
			if got, err := played("more behind the end", append(slices.Clone(r.frames), more)...); got != all || err != io.EOF {
				t.Errorf("with %d bytes behind the end: %q, %v", len(more), got, err)
			}
		}
		bits := []byte{0x01, 0x80}
		if raceBuild || asanBuild {
			bits = bits[:1]
		}
		unnoticed := 0
		for n := range stream {
			for _, bit := range bits {
				changed := slices.Clone(stream)
				changed[n] ^= bit
				if _, err := played(fmt.Sprintf("bit %#x of byte %d of %d", bit, n, len(stream)), changed); err == io.EOF {
					unnoticed++
				}
			}
		}
		// RFC 4121, 4.2.5: RRC, two bytes of each token, is not protected.
		if limit := 2 * len(bits) * len(r.frames); unnoticed > limit {
			t.Errorf("%d changes were not noticed, at most %d can be", unnoticed, limit)
		}
	})
}

// inJunkChild is inChild for what would be run in this process only if it were
// sure not to crash C.
func inJunkChild(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childEnv) == "" {
		needsHandshake(t)
	}
	return inChild(t, nil)
}

// ---- memory ----

// connRoom is the memory that a Conn may hold for what it was announced, before it
// comes.
const connRoom = 8 << 10

// A length that is only announced takes no memory.
func TestConnMemory(t *testing.T) {
	kept(t)
	needsHandshake(t)
	_, a := pair(t, nil, nil)
	token := export(t, a)
	const max = 16 << 20
	o := &ConnOptions{MaxToken: max, MaxFrame: max}
	for _, before := range []bool{true, false} {
		begin := func(stream io.Reader) *Conn {
			x := newTape(nil)
			x.Reader = stream
			if before {
				return NewConn(x, NewAcceptor(nil), o)
			}
			c := NewConn(x, importContextOf(t, token, nil), o)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			return c
		}
		for _, announced := range []uint32{0xffffffff, 1 << 31, max + 1, max} {
			for _, sent := range []int{0, 1, 1000, 100_000} {
				if announced > max && sent > 0 {
					continue
				}
				c := begin(iotest.OneByteReader(bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, announced), make([]byte, sent)...))))
				_, err := c.Read(make([]byte, 10))
				if announced > max {
					wantErr(t, "Read", err, ErrDefectiveToken)
				} else if err != io.ErrUnexpectedEOF {
					t.Errorf("%d of %d bytes: %v", sent, announced, err)
				}
				if room := cap(c.in.raw); room > connRoom+2*sent {
					t.Errorf("room for %d bytes, after %d of %d that were announced", room, sent, announced)
				}
				c.ctx.Close()
			}
		}
	}
}

// Many peers that announce much and send nothing, before and after they are
// authenticated.
func TestConnMemoryOfMany(t *testing.T) {
	kept(t)
	needsHandshake(t)
	many := 1000
	if raceBuild || asanBuild {
		many = 100 // the collector would need too long
	}
	_, a := pair(t, nil, nil)
	token := export(t, a)
	for name, context := range map[string]func() *Context{
		"before": func() *Context { return NewAcceptor(nil) },
		"after":  func() *Context { return importContextOf(t, token, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			used := func() uint64 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc + m.StackInuse
			}
			begin := used()
			var wg sync.WaitGroup
			var peers []net.Conn
			var conns []*Conn
			for range many {
				x, y := net.Pipe()
				c := NewConn(x, context(), nil)
				wg.Go(func() {
					if _, err := c.Read(make([]byte, 10)); err != io.ErrUnexpectedEOF {
						t.Error(err)
					}
				})
				// The last of these bytes is taken when those before it have been looked at.
				for _, b := range [][]byte{binary.BigEndian.AppendUint32(nil, DefaultMaxFrame), {1}, {2}} {
					if _, err := y.Write(b); err != nil {
						t.Fatal(err)
					}
				}
				peers, conns = append(peers, y), append(conns, c)
			}
			each := int(used()-begin) / many
			t.Logf("%d bytes for each of %d", each, many)
			if each > 3*connRoom {
				t.Errorf("%d bytes for each of %d peers that have announced %d and sent 2", each, many, DefaultMaxFrame)
			}
			for _, y := range peers {
				y.Close()
			}
			wg.Wait()
			for _, c := range conns {
				c.Close()
			}
		})
	}
}

// ---- options ----

func TestConnOptions(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		fresh := func(o *ConnOptions) *Conn {
			return NewConn(newTape(nil), NewInitiator(target(t), &InitiatorOptions{Mech: mech}), o)
		}
		var none net.Conn
		ordered := NewInitiator(target(t), &InitiatorOptions{Mech: mech, Order: AllowGap})
		unsequenced, _ := pair(t, &InitiatorOptions{Mech: mech, Without: FlagSequence | FlagReplay}, nil)
		ok, _ := pair(t, &InitiatorOptions{Mech: mech}, nil)
		lost, _ := pair(t, &InitiatorOptions{Mech: mech}, nil)
		export(t, lost)
		gone := NewAcceptor(nil)
		gone.Close()
		for name, c := range map[string]struct {
			c    *Conn
			want error
		}{
			"no connection":        {NewConn(none, NewInitiator(target(t), nil), nil), ErrNoContext},
			"no context":           {NewConn(newTape(nil), nil, nil), ErrNoContext},
			"a closed context":     {NewConn(newTape(nil), gone, nil), ErrNoContext},
			"an exported context":  {NewConn(newTape(nil), lost, nil), ErrNoContext},
			"no target":            {Client(newTape(nil), nil, nil), ErrBadName},
			"MaxToken -1":          {fresh(&ConnOptions{MaxToken: -1}), ErrFailure},
			"MaxFrame -1":          {fresh(&ConnOptions{MaxFrame: -1}), ErrFailure},
			"MaxWrite -1":          {fresh(&ConnOptions{MaxWrite: -1}), ErrFailure},
			"MaxWrite of 2 GiB":    {fresh(&ConnOptions{MaxWrite: maxFrameSize + 1}), ErrFailure},
			"MaxToken of 2 GiB":    {fresh(&ConnOptions{MaxToken: maxFrameSize + 1}), ErrFailure},
			"MaxFrame of 2 GiB":    {fresh(&ConnOptions{MaxFrame: maxFrameSize + 1}), ErrFailure},
			"a protection of none": {fresh(&ConnOptions{Protection: 2}), ErrBadQOP},
			"an Order":             {NewConn(newTape(nil), ordered, nil), ErrUnavailable},
			"no sequence":          {NewConn(newTape(nil), unsequenced, nil), ErrUnauthorized},
			"MaxFrame 1":           {NewConn(newTape(nil), ok, &ConnOptions{MaxFrame: 1}), ErrFailure},
		} {
			t.Run(name, func(t *testing.T) {
				err := c.c.Handshake()
				wantErr(t, "Handshake", err, c.want)
				wantSticky(t, c.c, err)
				if err := c.c.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				wantClosed(t, c.c)
			})
		}
	})
}

// Messages that are only signed, where encryption is wanted and where it is not.
func TestConnProtection(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, text := range []string{"readable by all", ""} {
			c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, nil)
			s.protection = Integrity
			if text == "" {
				if err := s.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			} else if _, err := s.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if sent := s.conn.(*connTap).take(); !bytes.Contains(sent, []byte(text)) {
				t.Error("it is encrypted")
			}
			buf := make([]byte, 1000)
			n, err := c.Read(buf)
			wantErr(t, "Read", err, ErrNotEncrypted)
			if n != 0 || bytes.Contains(buf, []byte("readable")) {
				t.Errorf("%d bytes: %q", n, buf[:20])
			}
			if _, again := c.Read(buf); again != err {
				t.Errorf("the next Read: %v", again)
			}
			// The other way it is stronger than it must be.
			if _, err := c.Write([]byte("secret")); err != nil {
				t.Fatal(err)
			}
			if sent := c.conn.(*connTap).take(); bytes.Contains(sent, []byte("secret")) {
				t.Error("it is readable")
			}
			if n, err := s.Read(buf); string(buf[:n]) != "secret" || err != nil {
				t.Errorf("%q, %v", buf[:n], err)
			}
		}
	})
}

// No frame is longer than MaxFrame, whatever the enctype, and no MaxFrame makes
// trouble.
func TestConnMaxFrame(t *testing.T) {
	needsHandshake(t)
	kept(t)
	for _, enctype := range []string{"aes128-cts-hmac-sha1-96", "aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha256-128", "aes256-cts-hmac-sha384-192", "arcfour-hmac-md5", "des3-cbc-sha1"} {
		t.Run(enctype, func(t *testing.T) {
			if !inChild(t, nil) { // Heimdal reads KRB5_KTNAME once
				return
			}
			r := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", service}, Enctypes: []string{enctype}})
			cache, err := r.Kinit("alice", nil)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := r.Keytab(service)
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range r.EnvFor(cache, keys) {
				k, v, _ := strings.Cut(kv, "=")
				t.Setenv(k, v)
			}
			eachMech(t, func(t *testing.T, mech OID) { testConnMaxFrame(t, mech, strings.HasPrefix(enctype, "aes")) })
		})
	}
}

func testConnMaxFrame(t *testing.T, mech OID, aes bool) {
	i, _ := pair(t, &InitiatorOptions{Mech: mech}, nil)
	token := export(t, i)
	var sizes []int
	for n := 1; n < 130; n++ {
		sizes = append(sizes, n)
	}
	sizes = append(sizes, 200, 255, 256, 257, 1000, 1023, 1024, 1025, 16380, 16384, DefaultMaxFrame, DefaultMaxFrame+1, 1<<20)
	if raceBuild || asanBuild {
		sizes = slices.DeleteFunc(sizes, func(n int) bool { return n < 130 && n%7 != 0 })
	}
	for _, p := range []Protection{Private, Integrity} {
		least := 0
		for _, size := range sizes {
			var sent bytes.Buffer
			x := newTape(nil)
			x.Writer = &sent
			ctx := importContextOf(t, token, nil)
			c := NewConn(x, ctx, &ConnOptions{MaxFrame: size, Protection: p})
			if err := c.Handshake(); err != nil {
				wantErr(t, fmt.Sprintf("a MaxFrame of %d", size), err, ErrFailure)
				if size > 150 || least > 0 && aes { // MIT counts in blocks with the older ones
					t.Errorf("a MaxFrame of %d is refused, %d is not: %v", size, least, err)
				}
				continue
			}
			if least == 0 {
				least = size
			}
			want := 1 // the end
			for _, n := range []int{3*c.payload - 1, 1, c.payload} {
				want += (n + c.payload - 1) / c.payload
				if _, err := c.Write(make([]byte, n)); err != nil {
					t.Fatalf("a MaxFrame of %d: %v", size, err)
				}
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			frames := connFrames(t, sent.Bytes())
			if len(frames) != want {
				t.Errorf("a MaxFrame of %d: %d frames, want %d", size, len(frames), want)
			}
			longest := 0
			for _, f := range frames {
				longest = max(longest, len(f)-4)
			}
			if longest > size || size > 300 && longest < size-64 {
				t.Errorf("%v, a MaxFrame of %d: the longest frame has %d bytes", p, size, longest)
			}
			ctx.Close()
		}
		t.Logf("%v: the least MaxFrame is %d", p, least)
	}
}

// With PlainEnd a connection may end between frames and nowhere else, and empty
// messages are none. With MaxWrite it writes shorter frames than it reads.
func TestConnPlainEnd(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		stream := func(peer *Context, text ...string) (b []byte) {
			for _, s := range text {
				token, err := peer.AppendWrap(nil, []byte(s), Private)
				if err != nil {
					t.Fatal(err)
				}
				b = append(b, connFrame(token)...)
			}
			return b
		}
		long := strings.Repeat("x", 4000)
		var in, sent bytes.Buffer
		x := &connTape{nil, &in, &sent}
		c, peer := establishedConn(t, x, mech, &ConnOptions{PlainEnd: true, MaxWrite: 1000})
		in.Write(stream(peer, "", "one", "", "", long, ""))
		got, err := io.ReadAll(struct{ io.Reader }{c})
		if string(got) != "one"+long || err != nil {
			t.Errorf("Read: %.20q (%d), %v", got, len(got), err)
		}
		if _, err := c.Write([]byte(long)); err != nil {
			t.Error(err)
		}
		wantErr(t, "CloseWrite", c.CloseWrite(), ErrUnavailable)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		var all string
		frames := connFrames(t, sent.Bytes())
		for _, f := range frames {
			if len(f) > 4+1000 {
				t.Errorf("a frame of %d bytes", len(f)-4)
			}
			msg, err := peer.Unwrap(f[4:])
			if err != nil || len(msg) == 0 {
				t.Errorf("%q, %v", msg, err)
			}
			all += string(msg)
		}
		if all != long || len(frames) < 5 {
			t.Errorf("%d bytes in %d frames", len(all), len(frames))
		}

		c, peer = establishedConn(t, x, mech, &ConnOptions{PlainEnd: true})
		in.Write(stream(peer, "", "two", ""))
		var out bytes.Buffer
		if n, err := io.Copy(&out, c); n != 3 || out.String() != "two" || err != nil {
			t.Errorf("WriteTo: %d, %q, %v", n, out.String(), err)
		}

		b := stream(peer, "cut")
		for _, n := range []int{1, 4, len(b) - 1} {
			c, peer = establishedConn(t, x, mech, &ConnOptions{PlainEnd: true})
			in.Write(append(stream(peer, "whole"), stream(peer, "cut")[:n]...))
			got, err := io.ReadAll(c)
			if string(got) != "whole" || err != io.ErrUnexpectedEOF {
				t.Errorf("cut at %d: %q, %v", n, got, err)
			}
			in.Reset()
		}
	})
}

// ---- expiry ----

func TestConnExpired(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, allow := range []bool{false, true} {
			c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, &ConnOptions{AllowExpired: allow})
			talk := func() (wrote, read error) {
				buf := make([]byte, 10)
				n, wrote := c.Write([]byte("hello"))
				if wrote != nil {
					if n != 0 {
						t.Errorf("%d bytes were written", n)
					}
					return wrote, nil
				}
				n, read = s.Read(buf)
				if read == nil && string(buf[:n]) != "hello" || read != nil && n != 0 {
					t.Errorf("%q, %v", buf[:n], read)
				}
				return nil, read
			}
			if wrote, read := talk(); wrote != nil || read != nil {
				t.Fatal(wrote, read)
			}
			// The reader's context expires; then the writer's.
			s.info.Expiry = time.Now().Add(-time.Second)
			_, err := talk()
			if allow {
				if err != nil {
					t.Error(err)
				}
			} else {
				wantErr(t, "Read", err, ErrContextExpired)
				_, err = s.Read(make([]byte, 10))
				wantErr(t, "the next Read", err, ErrContextExpired)
			}
			c.info.Expiry = time.Now().Add(-time.Second)
			err, _ = talk()
			if allow {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			wantErr(t, "Write", err, ErrContextExpired)
			_, err = c.ReadFrom(strings.NewReader("hello"))
			wantErr(t, "ReadFrom", err, ErrContextExpired)
			// The end may be sent.
			c.conn.(*connTap).take()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if frames := connFrames(t, c.conn.(*connTap).take()); len(frames) != 1 {
				t.Errorf("Close sent %d frames", len(frames))
			}
		}
	})
}

// ---- contexts from elsewhere ----

// A Conn takes over a context in the midst of its stream, on either side.
func TestConnTakesOver(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, side := range []string{"initiator", "acceptor"} {
			t.Run(side, func(t *testing.T) {
				c, s := connected(t, &InitiatorOptions{Mech: mech}, nil, nil)
				x, y := c, s // x moves
				if side == "acceptor" {
					x, y = s, c
				}
				say := func(from, to *Conn, text string) {
					t.Helper()
					done := begin(func() (int, error) { return from.Write([]byte(text)) })
					buf := make([]byte, len(text))
					if _, err := io.ReadFull(to, buf); err != nil || string(buf) != text {
						t.Fatalf("%q, %v", buf, err)
					}
					if r := <-done; r.err != nil {
						t.Fatal(r.err)
					}
				}
				for range 3 {
					say(x, y, "before it")
					say(y, x, "and back")
					state := x.ConnectionState()
					ctx := importContextOf(t, export(t, x.ctx), &ImportOptions{Require: FlagSequence | FlagConf})
					old := x
					_, err := old.Write([]byte("from the old one"))
					wantErr(t, "Write after the export", err, ErrNoContext)
					x.conn.(*connTap).take()
					x = NewConn(x.conn, ctx, nil)
					defer x.Close()
					if err := x.Handshake(); err != nil {
						t.Fatal(err)
					}
					if sent := x.conn.(*connTap).take(); len(sent) > 0 {
						t.Errorf("a handshake of an established context sent %x", sent)
					}
					now := x.ConnectionState()
					if now.Local != state.Local || now.Mech != state.Mech || now.Peer().String() != state.Peer().String() || !now.HandshakeComplete {
						t.Errorf("%+v, was %+v", now, state)
					}
					say(x, y, "after it")
					say(y, x, "and back again")
				}
				x.Close()
				if _, err := y.Read(make([]byte, 1)); err != io.EOF {
					t.Error(err)
				}
			})
		}
		t.Run("by hand", func(t *testing.T) {
			i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
			exchange(t, i, a) // numbers go on
			x, y := connTCP(t)
			tap := &connTap{Conn: x}
			c, s := NewConn(tap, i, nil), NewConn(y, a, nil)
			defer c.Close()
			defer s.Close()
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if frames := connFrames(t, tap.take()); len(frames) != 1 {
				t.Errorf("%d frames for one message", len(frames))
			}
			buf := make([]byte, 10)
			if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
				t.Errorf("%q, %v", buf[:n], err)
			}
		})
		t.Run("in the midst of the handshake", func(t *testing.T) {
			i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
			token := step(t, i, nil)
			x, y := connTCP(t)
			c, s := NewConn(x, i, nil), NewConn(y, a, nil)
			defer c.Close()
			defer s.Close()
			writeFrame(t, x, token)
			connHandshake(t, c, s)
		})
	})
}

func TestConnState(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, flags := range []Flags{0, FlagDeleg} {
			c, s := newConns(t, &InitiatorOptions{Mech: mech, Flags: flags}, nil, nil)
			for _, x := range []*Conn{c, s} {
				if st := x.ConnectionState(); st != (ConnectionState{}) || st.Peer() != nil || st.LogValue().String() != "the handshake is not complete" {
					t.Errorf("before the handshake: %+v", st)
				}
			}
			connHandshake(t, c, s)
			for _, x := range []*Conn{c, s} {
				for _, when := range []string{"open", "closed"} {
					st := x.ConnectionState()
					peer := "host@server.test"
					if x == s {
						peer = realm.Principal("alice")
					} else if got := st.Peer().String(); strings.Contains(got, "/") {
						peer = realm.Principal(service)
					}
					if !st.HandshakeComplete || st.Local != (x == c) || st.Mech != MechKrb5 || st.Flags&(DefaultFlags|flags) != DefaultFlags|flags || st.Peer().String() != peer {
						t.Errorf("%s: %+v, the peer is %v", when, st, st.Peer())
					}
					if !st.Expiry.After(time.Now()) {
						t.Errorf("it expires at %v", st.Expiry)
					}
					if (st.Delegated != nil) != (x == s && flags == FlagDeleg) {
						t.Errorf("%s: delegated %v", when, st.Delegated)
					}
					if st.Delegated != nil {
						info, err := st.Delegated.Info(t.Context())
						if err != nil || info.Name.String() != realm.Principal("alice") {
							t.Errorf("%s: %v, %v", when, info, err)
						}
					}
					var log bytes.Buffer
					slog.New(slog.NewTextHandler(&log, nil)).Info("connected", "conn", st)
					for _, want := range []string{"conn.peer=" + peer, "conn.mech=" + MechKrb5.String(), fmt.Sprint("conn.delegated=", st.Delegated != nil), fmt.Sprint("conn.initiator=", x == c)} {
						if !strings.Contains(log.String(), want) {
							t.Errorf("%s is not in %s", want, &log)
						}
					}
					x.Close()
				}
			}
			if c.LocalAddr().String() != s.RemoteAddr().String() || s.LocalAddr().String() != c.RemoteAddr().String() || c.NetConn() != c.conn {
				t.Error("these are not the connection's addresses")
			}
		}
	})
}

// ---- many ----

const manyEnv = "GSSAPI_TEST_CONN_BYTES"

// Many connections at once; and one whose client does not read, which blocks
// nobody else. With manyEnv set to 1048576 each sends and gets that many bytes,
// which takes half a minute of two processors.
func TestConnMany(t *testing.T) {
	needsHandshake(t)
	kept(t)
	many, size := 1000, 1<<16
	if raceBuild || asanBuild || testing.Short() {
		many = 50
	}
	if s := os.Getenv(manyEnv); s != "" {
		var err error
		if size, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	goroutines := runtime.NumGoroutine()
	var servers, clients sync.WaitGroup
	servers.Go(func() {
		for {
			x, err := l.Accept()
			if err != nil {
				return
			}
			servers.Go(func() {
				s := Server(x, nil)
				defer s.Close()
				if err := echo(s); err != nil && !errors.Is(err, os.ErrClosed) && s.ConnectionState().HandshakeComplete && x.RemoteAddr().String() != stubborn.addr() {
					t.Errorf("server: %v", err)
				}
			})
		}
	})
	dial := func() *Conn {
		x, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return Client(x, target(t), nil)
	}
	// It writes until no more goes, and reads nothing.
	deaf := dial()
	stubborn.set(deaf.LocalAddr().String())
	deafDone := begin(func() (int, error) {
		for {
			if n, err := deaf.Write(make([]byte, 1<<16)); err != nil {
				return n, err
			}
		}
	})
	conns := make([]*Conn, many)
	for n := range conns {
		conns[n] = dial()
	}
	blocks := [][]byte{pattern(size/4+1, 1), pattern(size/4+1, 2), pattern(size/4+1, 3), pattern(size/4+1, 4), pattern(size/4+1, 5)}
	for n, c := range conns {
		clients.Go(func() {
			defer c.Close()
			done := begin(func() (int, error) {
				for m := range 4 {
					if n, err := c.Write(blocks[(n+m)%5][n%2 : n%2+size/4]); err != nil {
						return n, err
					}
				}
				return 0, c.CloseWrite()
			})
			buf := make([]byte, min(size/4, 16<<10))
			for m := range 4 {
				want := blocks[(n+m)%5][n%2 : n%2+size/4]
				for len(want) > 0 {
					k, err := io.ReadFull(c, buf[:min(len(buf), len(want))])
					if err != nil || !bytes.Equal(buf[:k], want[:k]) {
						t.Errorf("client %d: another block %d came back, %v", n, m, err)
						return
					}
					want = want[k:]
				}
			}
			if _, err := c.Read(buf); err != io.EOF {
				t.Errorf("client %d: %v at the end", n, err)
			}
			if r := <-done; r.err != nil {
				t.Errorf("client %d: %v", n, r.err)
			}
		})
	}
	clients.Wait()
	select {
	case r := <-deafDone:
		t.Errorf("the client that does not read: %v", r.err)
	default:
	}
	deaf.Close()
	wantErr(t, "its Write", (<-deafDone).err, net.ErrClosed)
	l.Close()
	servers.Wait()
	eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// stubborn is the address of a client whose connection ends in the midst.
var stubborn address

type address struct {
	sync.Mutex
	s string
}

func (a *address) set(s string) {
	a.Lock()
	defer a.Unlock()
	a.s = s
}

func (a *address) addr() string {
	a.Lock()
	defer a.Unlock()
	return a.s
}

// ---- junk ----

// FuzzConn gives a peer's bytes to a Conn, before the handshake and after it. Only
// the stream that the peer has sent comes to a good end.
func FuzzConn(f *testing.F) {
	if os.Getenv(childEnv) == "" {
		needsHandshake(f)
	}
	i, a := pair(f, nil, nil)
	r, reply := record(f, i, a, Private)
	stream := slices.Concat(r.frames...)
	fresh := step(f, NewInitiator(target(f), nil), nil)
	for _, seed := range [][]byte{stream, stream[:len(stream)-1], r.frames[1], reply, {}, {0, 0, 0}, {0, 0, 0, 0}, {255, 255, 255, 255}, connFrame(fresh), slices.Concat(connFrame(fresh), stream), connFrame([]byte("junk")), {0, 1, 0, 0, 1}} {
		for _, before := range []bool{true, false} {
			f.Add(seed, before, uint8(0), uint16(100))
			f.Add(seed, before, uint8(3), uint16(1))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, before bool, piece uint8, room uint16) {
		x := newTape(nil)
		in := bytes.NewReader(data)
		x.Reader = readerFunc(func(p []byte) (int, error) {
			if piece > 0 {
				p = p[:min(len(p), int(piece))]
			}
			return in.Read(p)
		})
		o := &ConnOptions{MaxToken: 2000, MaxFrame: 1000}
		var ctx *Context
		if before {
			ctx = NewAcceptor(nil)
		} else {
			ctx = importContextOf(t, r.token, nil)
		}
		c := NewConn(x, ctx, o)
		defer ctx.Close()
		if err := c.HandshakeContext(context.Background()); err != nil {
			if !before {
				t.Fatal(err)
			}
			if c.Handshake() != err {
				t.Error("another error")
			}
		}
		got, buf := []byte(nil), make([]byte, max(1, int(room)))
		for {
			n, err := c.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				if again, err2 := c.Read(buf); n > 0 || again > 0 || err2 != err {
					t.Errorf("%d bytes with %v, then %d, %v", n, err, again, err2)
				}
				if before && (len(got) > 0 || err == io.EOF) {
					t.Errorf("%q, %v without the keys", got, err)
				}
				if !before {
					r.check(t, "junk", string(got), err)
				}
				break
			}
			if n == 0 {
				t.Fatal("Read returned nothing")
			}
		}
		if have := cap(c.in.raw); have > 4<<10 && have > 2*len(data)+4<<10 {
			t.Errorf("room for %d bytes after %d", have, len(data))
		}
	})
}
