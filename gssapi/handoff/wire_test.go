//go:build unix

package handoff

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// ---- sockets and descriptors ----

// socketPair makes connections of the unix domain.
type socketPair func(t testing.TB) (s, r *net.UnixConn)

// eachSocket runs a test over a sequence of packets and over a stream.
func eachSocket(t *testing.T, f func(t *testing.T, pair socketPair)) {
	t.Run("packets", func(t *testing.T) { f(t, packets) })
	t.Run("stream", func(t *testing.T) { f(t, stream) })
}

// packets is what Pair makes: a stream on systems other than Linux.
func packets(t testing.TB) (s, r *net.UnixConn) {
	t.Helper()
	s, f, err := Pair()
	check(t, err)
	defer f.Close()
	c, err := net.FileConn(f)
	check(t, err)
	return s, c.(*net.UnixConn)
}

func stream(t testing.TB) (s, r *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	check(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		c, err := connOf(fd)
		check(t, err)
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// openFiles are what this process has open, and how often; nil where the system
// does not tell. What the Go runtime has is left out.
func openFiles() map[string]int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	files := make(map[string]int)
	for _, e := range d {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			files[to]++
		}
	}
	return files
}

// keepsFiles fails the test if it ends with descriptors that it did not begin
// with.
func keepsFiles(t testing.TB) {
	t.Helper()
	before := openFiles()
	t.Cleanup(func() {
		var left []string
		until(t, func() bool {
			left = nil
			for to, n := range openFiles() {
				if n > before[to] {
					left = append(left, fmt.Sprintf("%s (%d)", to, n))
				}
			}
			return len(left) == 0
		}, func() string { return fmt.Sprintf("these descriptors were not closed: %v", left) })
	})
}

// until waits for what nothing tells of.
func until(t testing.TB, done func() bool, otherwise func() string) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Error(otherwise())
			return
		}
	}
}

// sent is a socket whose descriptor is passed, and its other end.
type sent struct {
	file *os.File
	peer *net.UnixConn
}

func newSent(t testing.TB) *sent {
	t.Helper()
	peer, file, err := Pair()
	check(t, err)
	t.Cleanup(func() { peer.Close(); file.Close() })
	return &sent{file, peer}
}

func (s *sent) fd() int { return int(s.file.Fd()) }

func (s *sent) identity(t testing.TB) []byte {
	t.Helper()
	id, err := identify(s.fd())
	check(t, err)
	return id
}

// wantClosed fails the test unless nobody has the descriptor but who has passed
// it.
func (s *sent) wantClosed(t testing.TB) {
	t.Helper()
	s.file.Close()
	s.peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := s.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("a descriptor that was refused is open still: %v", err)
	}
}

// ---- an end of a session that does as it is told ----

// wire is the attacker's end. It has the key, unless said otherwise.
type wire struct {
	*link
	t testing.TB
}

// at runs both at the same time.
func at(t testing.TB, one, other func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- other() }()
	check(t, one())
	check(t, <-done)
}

var anyLibrary = ready{Kind: "mit", File: "libgssapi_krb5.so.2", BuildID: "0123"}

// victim is a Receiver that receives until its session is over.
type victim struct {
	*Receiver
	t               testing.TB
	got             chan *Received
	over            chan error // what Receive returned last
	imports, failed atomic.Int64
}

// againstReceiver is a Receiver, and the sender's end of its session.
func againstReceiver(t testing.TB, pair socketPair, o *ReceiverOptions) (*wire, *victim) {
	t.Helper()
	if o == nil {
		o = new(ReceiverOptions)
	}
	v := &victim{t: t, got: make(chan *Received, 10), over: make(chan error, 1)}
	with := *o
	with.gate = func(step string) {
		if step == "import" {
			v.imports.Add(1)
		}
		if o.gate != nil {
			o.gate(step)
		}
	}
	with.Failed = func(*Meta, error) { v.failed.Add(1) }
	if with.Key.bytes == nil {
		with.Key = NewKey()
	}
	c, d := pair(t)
	w := &wire{t: t}
	at(t, func() (err error) {
		w.link, err = connect(context.Background(), c, toReceiver, anyLibrary, &Options{Key: with.Key})
		return err
	}, func() (err error) {
		v.Receiver, err = newReceiver(context.Background(), d, anyLibrary, &with)
		return err
	})
	go func() {
		for {
			got, err := v.Receive(context.Background())
			if err != nil {
				v.over <- err
				return
			}
			v.got <- got
		}
	}()
	t.Cleanup(func() { w.dispose(); v.Close() })
	return w, v
}

// wantOver fails the test unless the session has ended with want, and nothing
// came near C.
func (v *victim) wantOver(what string, want error) {
	v.t.Helper()
	if err := <-v.over; !errors.Is(err, want) {
		v.t.Fatalf("%s: %v, want %v", what, err, want)
	}
	if _, err := v.Receive(context.Background()); !errors.Is(err, want) {
		v.t.Fatalf("%s: then %v, want %v", what, err, want)
	}
	if n, m := v.imports.Load(), v.failed.Load(); n+m > 0 || len(v.got) > 0 {
		v.t.Fatalf("%s: %d imports, %d failed, %d received", what, n, m, len(v.got))
	}
	<-v.Idle()
}

// againstSender is a Sender, and the receiver's end of its session.
func againstSender(t testing.TB, pair socketPair, o *Options, done func()) (*Sender, *wire) {
	t.Helper()
	if o == nil {
		o = new(Options)
	}
	if o.Key.bytes == nil {
		o.Key = NewKey()
	}
	c, d := pair(t)
	w := &wire{t: t}
	var s *Sender
	at(t, func() (err error) {
		mine := anyLibrary
		mine.Places = 10
		w.link, err = connect(context.Background(), d, toSender, mine, &Options{Key: o.Key})
		return err
	}, func() (err error) {
		s, err = newSender(context.Background(), c, anyLibrary, o, done)
		return err
	})
	t.Cleanup(func() { s.Close(); w.dispose() })
	return s, w
}

// say sends a message.
func (w *wire) say(m *message, fd int) {
	w.t.Helper()
	check(w.t, w.write(m, fd))
}

// hear receives a message, which must be of that kind.
func (w *wire) hear(want kind) *message {
	w.t.Helper()
	w.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	m, fd, err := w.read()
	check(w.t, err)
	closeAll([]int{fd})
	if m.Kind != want {
		w.t.Fatalf("%q, want %q", m.Kind, want)
	}
	return m
}

// packet seals a message of one packet, and does not send it.
func (w *wire) packet(m *message, fds byte) []byte {
	w.t.Helper()
	plain, err := m.encode(nil)
	check(w.t, err)
	for _, b := range m.blobs {
		plain = append(plain, b...)
	}
	return w.out.seal(nil, plain, packetLast, fds)
}

// put sends a packet as it is, with its length in a stream.
func (w *wire) put(p []byte, fds ...int) {
	w.t.Helper()
	if w.sock.stream {
		p = framed(p)
	}
	w.raw(p, fds...)
}

func framed(p []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...) }

// raw sends bytes, as many of them as the other end wants to see.
func (w *wire) raw(p []byte, fds ...int) {
	w.t.Helper()
	if err := rawSend(w.conn, p, fds...); !isGone(err) && err != io.ErrShortWrite {
		check(w.t, err)
	}
}

func rawSend(c *net.UnixConn, p []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(p, oob, nil)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// offer has a place kept.
func (w *wire) offer(id uint64, o *offer) {
	w.t.Helper()
	w.say(&message{Kind: isOffer, ID: id, Offer: o, blobs: [][]byte{nil}}, noFD)
	w.hear(isAccept)
}

// aContext is a context that is none: a library that is given it refuses it.
func aContext(id uint64) *message {
	return &message{Kind: isContext, ID: id, blobs: [][]byte{[]byte("x"), bytes.Repeat([]byte("r"), 100), nil}}
}

// ---- what is refused ----

// A message is taken as it was sent, or not at all.
func TestContextBroken(t *testing.T) {
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		var size int
		// try sends what spoil makes of a context's packet and its descriptor.
		try := func(what string, want error, spoil func(w *wire, p []byte, fd int)) {
			t.Helper()
			w, v := againstReceiver(t, pair, nil)
			x := newSent(t)
			w.offer(7, &offer{Socket: x.identity(t), Received: 100})
			p := w.packet(aContext(7), 1)
			size = len(p)
			spoil(w, p, x.fd())
			if want != nil {
				v.wantOver(what, want)
			}
			x.wantClosed(t)
			w.dispose()
			v.Close()
			x.peer.Close()
		}
		try("as it is", nil, func(w *wire, p []byte, fd int) {
			w.put(p, fd)
			w.hear(isFailed) // C has seen it
		})
		for n := range size {
			try(fmt.Sprintf("cut at %d", n), ErrMessage, func(w *wire, p []byte, fd int) { w.put(p[:n], fd) })
		}
		for n := range size {
			try(fmt.Sprintf("byte %d changed", n), ErrMessage, func(w *wire, p []byte, fd int) {
				p[n] ^= 1 << (n % 8)
				w.put(p, fd)
			})
		}
		for _, n := range []int{size + 1, maxPacket, maxPacket + 1, 2 * maxPacket} {
			try(fmt.Sprintf("%d bytes longer", n-size), ErrMessage, func(w *wire, p []byte, fd int) {
				w.put(append(p, make([]byte, n-len(p))...), fd)
			})
		}
		try("of a version to come", ErrMessage, func(w *wire, p []byte, fd int) {
			p[4]++
			w.put(p, fd)
		})
		if w, _ := againstReceiver(t, pair, nil); !w.sock.stream {
			return
		}
		for n := range size + 4 {
			try(fmt.Sprintf("a stream cut at %d", n), io.ErrUnexpectedEOF, func(w *wire, p []byte, fd int) {
				if n > 0 {
					w.raw(framed(p)[:n], fd)
				}
				w.conn.Close()
			})
		}
		for _, n := range []uint32{0, maxPacket + 1, 1 << 31, 1<<32 - 1} {
			try(fmt.Sprintf("a length of %d", n), ErrMessage, func(w *wire, p []byte, fd int) {
				w.raw(append(binary.BigEndian.AppendUint32(nil, n), p...), fd)
			})
		}
	})
}

// The next message of its session is taken, and no other.
func TestReplay(t *testing.T) {
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for what, try := range map[string]func(w *wire, x *sent){
			"repeated": func(w *wire, x *sent) {
				p := w.packet(&message{Kind: isCancel, ID: 99}, 0)
				w.put(p)
				w.put(p)
			},
			"a context repeated": func(w *wire, x *sent) {
				w.put(w.packet(&message{Kind: isCancel, ID: 7}, 0)) // it is not imported at all
				w.out.counter--
				w.put(w.packet(aContext(7), 1), x.fd())
			},
			"reordered": func(w *wire, x *sent) {
				first := w.packet(&message{Kind: isCancel, ID: 99}, 0)
				w.put(w.packet(&message{Kind: isCancel, ID: 99}, 0))
				w.put(first)
			},
			"left out": func(w *wire, x *sent) {
				w.packet(&message{Kind: isCancel, ID: 99}, 0)
				w.put(w.packet(aContext(7), 1), x.fd())
			},
			"of an older session": func(w *wire, x *sent) {
				other, _ := againstReceiver(w.t, pair, &ReceiverOptions{Options: Options{Key: NewKey()}})
				p := other.packet(aContext(7), 1)
				w.put(p, x.fd())
			},
			"sent back": func(w *wire, x *sent) {
				w.say(&message{Kind: isOffer, ID: 8, Offer: &offer{Socket: x.identity(w.t)}, blobs: [][]byte{nil}}, noFD)
				p, fds, err := w.sock.read(w.in.packet)
				if err != nil || len(fds) > 0 {
					w.t.Fatalf("%v, %v", fds, err)
				}
				w.put(p)
			},
			"sent back as one's own": func(w *wire, x *sent) {
				w.say(&message{Kind: isOffer, ID: 8, Offer: &offer{Socket: x.identity(w.t)}, blobs: [][]byte{nil}}, noFD)
				p, _, err := w.sock.read(w.in.packet)
				check(w.t, err)
				p[6] = byte(toReceiver)
				binary.BigEndian.PutUint64(p[24:], w.out.counter)
				w.put(p)
			},
			"a hello": func(w *wire, x *sent) { w.put(hello(toReceiver)) },
		} {
			t.Run(what, func(t *testing.T) {
				w, v := againstReceiver(t, pair, nil)
				x := newSent(t)
				w.offer(7, &offer{Socket: x.identity(t), Received: 100})
				try(w, x)
				v.wantOver(what, ErrMessage)
				x.wantClosed(t)
			})
		}
	})
}

// One session, with the key that all have: the messages of one of them are of no
// use to the others.
func TestOneKey(t *testing.T) {
	key := NewKey()
	eachSocket(t, func(t *testing.T, pair socketPair) {
		o := &ReceiverOptions{Options: Options{Key: key}}
		w, v := againstReceiver(t, pair, o)
		other, u := againstReceiver(t, pair, o)
		x := newSent(t)
		about := &offer{Socket: x.identity(t), Received: 100}
		w.offer(7, about)
		other.offer(7, about)
		w.put(other.packet(aContext(7), 1), x.fd())
		v.wantOver("of another session with the same key", ErrMessage)
		other.dispose()
		u.wantOver("the other session", io.ErrUnexpectedEOF)
		x.wantClosed(t)
	})
}

// A descriptor comes with a context, one, and with nothing else.
func TestDescriptors(t *testing.T) {
	keepsFiles(t)
	bye := &message{Kind: isBye}
	long := func() *message {
		m := aContext(7)
		m.blobs[blobReceived] = make([]byte, 2*maxPart)
		return m
	}
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for what, try := range map[string]func(w *wire, fd int){
			"a context without one":        func(w *wire, fd int) { w.put(w.packet(aContext(7), 1)) },
			"and none is announced":        func(w *wire, fd int) { w.put(w.packet(aContext(7), 0)) },
			"one that is not announced":    func(w *wire, fd int) { w.put(w.packet(aContext(7), 0), fd) },
			"two":                          func(w *wire, fd int) { w.put(w.packet(aContext(7), 1), fd, fd) },
			"two, announced":               func(w *wire, fd int) { w.put(w.packet(aContext(7), 2), fd, fd) },
			"so many as there is room for": func(w *wire, fd int) { w.put(w.packet(aContext(7), 1), slices.Repeat([]int{fd}, maxFDs)...) },
			"one more":                     func(w *wire, fd int) { w.put(w.packet(aContext(7), 1), slices.Repeat([]int{fd}, maxFDs+1)...) },
			"as many as can be sent":       func(w *wire, fd int) { w.put(w.packet(aContext(7), 1), slices.Repeat([]int{fd}, 253)...) },
			"with another message":         func(w *wire, fd int) { w.put(w.packet(bye, 0), fd) },
			"announced with another":       func(w *wire, fd int) { w.put(w.packet(bye, 1), fd) },
			"many with another":            func(w *wire, fd int) { w.put(w.packet(bye, 0), slices.Repeat([]int{fd}, 100)...) },
			"with junk":                    func(w *wire, fd int) { w.put([]byte("junk"), slices.Repeat([]int{fd}, 100)...) },
			"with a second part": func(w *wire, fd int) {
				plain := encoded(w.t, long())
				w.put(w.out.seal(nil, plain[:maxPart], packetMore, 1), fd)
				w.put(w.out.seal(nil, plain[maxPart:2*maxPart], packetMore, 1), fd)
			},
			"with a second part alone": func(w *wire, fd int) {
				plain := encoded(w.t, long())
				w.put(w.out.seal(nil, plain[:maxPart], packetMore, 0))
				w.put(w.out.seal(nil, plain[maxPart:2*maxPart], packetMore, 1), fd)
			},
			"with a first part": func(w *wire, fd int) { // and then the sender has died
				w.put(w.out.seal(nil, encoded(w.t, long())[:maxPart], packetMore, 1), fd)
				w.put(nil)
			},
			"with an empty part": func(w *wire, fd int) {
				w.put(w.out.seal(nil, encoded(w.t, long())[:maxPart], packetMore, 1), fd)
				w.put(w.out.seal(nil, nil, packetMore, 0))
			},
		} {
			t.Run(what, func(t *testing.T) {
				w, v := againstReceiver(t, pair, nil)
				x := newSent(t)
				w.offer(7, &offer{Socket: x.identity(t), Received: 100})
				try(w, x.fd())
				want := ErrMessage
				v.wantOver(what, want)
				x.wantClosed(t)
			})
		}
	})
	for what, try := range map[string]func(w *wire, fd int){
		"in the midst of a packet": func(w *wire, fd int) {
			p := framed(w.packet(aContext(7), 1))
			w.raw(p[:50])
			w.raw(p[50:], fd)
		},
		"one for each byte": func(w *wire, fd int) {
			for _, c := range framed(w.packet(aContext(7), 1)) {
				w.raw([]byte{c}, fd)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			w, v := againstReceiver(t, stream, nil)
			x := newSent(t)
			w.offer(7, &offer{Socket: x.identity(t), Received: 100})
			try(w, x.fd())
			v.wantOver(what, ErrMessage)
			x.wantClosed(t)
		})
	}
}

// A stream has no boundaries: a packet may come in pieces.
func TestStreamPieces(t *testing.T) {
	w, v := againstReceiver(t, stream, nil)
	x := newSent(t)
	w.offer(7, &offer{Socket: x.identity(t), Received: 100})
	p := framed(w.packet(aContext(7), 1))
	w.raw(p[:1], x.fd())
	for _, c := range p[1:] {
		w.raw([]byte{c})
	}
	w.hear(isFailed)
	if n := v.imports.Load(); n != 1 {
		t.Errorf("%d imports", n)
	}
	x.wantClosed(t)
}

// What comes from the sender must have its place in the course of a handoff.
func TestOutOfTurn(t *testing.T) {
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for what, try := range map[string]func(w *wire, x *sent){
			"a context that was not offered": func(w *wire, x *sent) { w.say(aContext(8), x.fd()) },
			"a context that was taken back": func(w *wire, x *sent) {
				w.say(&message{Kind: isCancel, ID: 7}, noFD)
				w.say(aContext(7), x.fd())
			},
			"the same offer twice": func(w *wire, x *sent) {
				w.say(&message{Kind: isOffer, ID: 7, Offer: new(offer), blobs: [][]byte{nil}}, noFD)
			},
			"a second ready": func(w *wire, x *sent) {
				w.say(&message{Kind: isReady, Ready: &ready{Max: 1}}, noFD)
			},
			"an answer":              func(w *wire, x *sent) { w.say(&message{Kind: isAccept, ID: 7}, noFD) },
			"an acknowledgement":     func(w *wire, x *sent) { w.say(&message{Kind: isTaken, ID: 7}, noFD) },
			"a receiver's leave":     func(w *wire, x *sent) { w.say(&message{Kind: isLeave}, noFD) },
			"a receiver's done":      func(w *wire, x *sent) { w.say(&message{Kind: isDone, N: 1}, noFD) },
			"another kind":           func(w *wire, x *sent) { w.say(&message{Kind: "please"}, noFD) },
			"no message":             func(w *wire, x *sent) { w.put(w.out.seal(nil, []byte("junk"), packetLast, 0)) },
			"a byte":                 func(w *wire, x *sent) { w.put(w.out.seal(nil, []byte("j"), packetLast, 0)) },
			"nothing":                func(w *wire, x *sent) { w.put(w.out.seal(nil, nil, packetLast, 0)) },
			"more than it may be":    func(w *wire, x *sent) { w.limit *= 2; w.say(tooLong(), noFD) },
			"more than it can be":    func(w *wire, x *sent) { w.endless() },
			"a context with one too": func(w *wire, x *sent) { w.say(&message{Kind: isBye, blobs: nil}, x.fd()) },
		} {
			t.Run(what, func(t *testing.T) {
				w, v := againstReceiver(t, pair, nil)
				x := newSent(t)
				w.offer(7, &offer{Socket: x.identity(t), Received: 100})
				try(w, x)
				v.wantOver(what, ErrMessage)
				x.wantClosed(t)
			})
		}
	})
}

func tooLong() *message {
	return &message{Kind: isOffer, ID: 8, Offer: new(offer), blobs: [][]byte{make([]byte, DefaultMaxMessage)}}
}

// endless sends a message that does not end.
func (w *wire) endless() {
	part := make([]byte, maxPart)
	w.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for w.sock.write(w.out.seal(nil, part, packetMore, 0), noFD) == nil {
	}
}

// newWire is an end without a session.
func newWire(t testing.TB, c *net.UnixConn, dir direction) *wire {
	t.Helper()
	w := &wire{&link{conn: c, dir: dir, timeout: 20 * time.Second, limit: DefaultMaxMessage, max: DefaultMaxMessage}, t}
	var err error
	w.sock, err = newSocket(c, []int{os.Getuid()})
	check(t, err)
	w.in.packet, w.in.fd = make([]byte, maxPacket), noFD
	w.out.turn = make(chan struct{}, 1)
	w.gate = func(string) {}
	t.Cleanup(w.dispose)
	return w
}

// greetWith is greet with a key and a first message.
func (w *wire) greetWith(key Key, m *message, fds ...int) {
	w.t.Helper()
	my := hello(w.dir)
	w.put(my)
	p, _, err := w.sock.read(w.in.packet)
	check(w.t, err)
	var random [2][]byte
	random[w.dir], random[w.dir.other()] = my[headerSize:], p[headerSize:]
	s, err := sealers(key, random[toReceiver], random[toSender])
	check(w.t, err)
	w.out.sealer = s[w.dir]
	w.put(w.packet(m, byte(len(fds))), fds...)
}

// Before there are keys nothing is taken but a hello, and then a ready.
func TestNoSession(t *testing.T) {
	keepsFiles(t)
	key := NewKey()
	this := &message{Kind: isReady, Ready: &ready{Kind: anyLibrary.Kind, BuildID: anyLibrary.BuildID, File: anyLibrary.File, Max: 1 << 20}}
	heimdal := &message{Kind: isReady, Ready: &ready{Kind: "heimdal", Max: 1 << 20}}
	build := &message{Kind: isReady, Ready: &ready{Kind: anyLibrary.Kind, BuildID: "4567", Max: 1 << 20}}
	for what, c := range map[string]struct {
		want error
		text string
		try  func(w *wire, fd int)
	}{
		"junk":            {ErrMessage, "does not speak", func(w *wire, fd int) { w.put([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")) }},
		"no byte":         {ErrMessage, "", func(w *wire, fd int) { w.put(nil, fd) }},
		"another end":     {ErrMessage, "both ends are the ", func(w *wire, fd int) { w.put(hello(w.dir.other())) }},
		"a cut hello":     {ErrMessage, "no hello", func(w *wire, fd int) { w.put(hello(w.dir)[:40]) }},
		"a longer hello":  {ErrMessage, "no hello", func(w *wire, fd int) { w.put(append(hello(w.dir), 0)) }},
		"a later hello":   {ErrMessage, "version 2", func(w *wire, fd int) { h := hello(w.dir); h[4] = 2; w.put(h) }},
		"a descriptor":    {ErrMessage, "descriptor", func(w *wire, fd int) { w.put(hello(w.dir), fd) }},
		"descriptors":     {ErrMessage, "descriptors", func(w *wire, fd int) { w.put(hello(w.dir), slices.Repeat([]int{fd}, 20)...) }},
		"the end":         {io.EOF, "", func(w *wire, fd int) { w.conn.Close() }},
		"the end later":   {io.EOF, "", func(w *wire, fd int) { w.put(hello(w.dir)); w.conn.Close() }},
		"two hellos":      {ErrMessage, "a second hello", func(w *wire, fd int) { w.put(hello(w.dir)); w.put(hello(w.dir)) }},
		"another key":     {ErrMessage, "different keys", func(w *wire, fd int) { w.greetWith(NewKey(), this) }},
		"another message": {ErrMessage, "before the first", func(w *wire, fd int) { w.greetWith(key, &message{Kind: isBye}) }},
		"an empty ready":  {ErrMessage, "lacks", func(w *wire, fd int) { w.greetWith(key, &message{Kind: isReady}) }},
		"ready with one":  {ErrMessage, "descriptor", func(w *wire, fd int) { w.greetWith(key, this, fd) }},
		"a context":       {ErrMessage, "before the first", func(w *wire, fd int) { w.greetWith(key, aContext(1), fd) }},
		"another library": {ErrLibrary, "heimdal", func(w *wire, fd int) { w.greetWith(key, heimdal) }},
		"another build":   {ErrLibrary, "build-id 4567", func(w *wire, fd int) { w.greetWith(key, build) }},
		"what it must be": {nil, "", func(w *wire, fd int) { w.greetWith(key, this) }},
	} {
		eachSocket(t, func(t *testing.T, pair socketPair) {
			for _, dir := range []direction{toReceiver, toSender} {
				t.Run(what+" from the "+dir.String(), func(t *testing.T) {
					mine, theirs := pair(t)
					w, x := newWire(t, mine, dir), newSent(t)
					result := make(chan error, 1)
					go func() {
						o := Options{Key: key}
						if dir == toSender {
							s, err := newSender(context.Background(), theirs, anyLibrary, &o, nil)
							if err == nil {
								s.Close()
							}
							result <- err
							return
						}
						r, err := newReceiver(context.Background(), theirs, anyLibrary, &ReceiverOptions{Options: o})
						if err == nil {
							r.Close()
						}
						result <- err
					}()
					c.try(w, x.fd())
					err := <-result
					died := err != nil && strings.Contains(err.Error(), "has refused it, or has died")
					if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) || died != (c.want == io.EOF) {
						t.Errorf("%v, want %v with %q", err, c.want, c.text)
					}
					x.wantClosed(t)
				})
			}
		})
	}
}

// A packet cut in a stream leaves no descriptor either.
func TestNoSessionCut(t *testing.T) {
	keepsFiles(t)
	p := framed(hello(toReceiver))
	for n := 1; n < len(p); n++ {
		mine, theirs := stream(t)
		x := newSent(t)
		check(t, passCredentials(mine))
		check(t, rawSend(mine, p[:n], x.fd()))
		mine.Close()
		if _, err := newReceiver(context.Background(), theirs, anyLibrary, &ReceiverOptions{Options: Options{Key: NewKey()}}); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "has died") {
			t.Fatalf("cut at %d: %v", n, err)
		}
		x.wantClosed(t)
	}
}

// Two ends of a kind find that out, and so does one that speaks to itself.
func TestTwoOfAKind(t *testing.T) {
	keepsFiles(t)
	o := Options{Key: NewKey()}
	sender := func(c *net.UnixConn) error {
		_, err := newSender(context.Background(), c, anyLibrary, &o, nil)
		return err
	}
	receiver := func(c *net.UnixConn) error {
		_, err := newReceiver(context.Background(), c, anyLibrary, &ReceiverOptions{Options: o})
		return err
	}
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for dir, end := range []func(c *net.UnixConn) error{sender, receiver} {
			c, d := pair(t)
			result := make(chan error, 1)
			go func() { result <- end(c) }()
			for _, err := range []error{end(d), <-result} {
				// The first one to see it closes the connection, and the other may see that.
				if !errors.Is(err, ErrMessage) && !errors.Is(err, io.EOF) && !isGone(err) {
					t.Errorf("%v", err)
				}
				if want := "both ends are the " + direction(dir).String(); errors.Is(err, ErrMessage) && !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
			c, d = pair(t)
			defer d.Close()
			go io.Copy(d, d)
			if err := end(c); !errors.Is(err, ErrMessage) {
				t.Errorf("an echo: %v", err)
			}
		}
	})
}

// Nobody waits longer than he wants for the other end.
func TestNobodyThere(t *testing.T) {
	keepsFiles(t)
	why := errors.New("enough")
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for what, last := range map[string][]byte{"nothing": nil, "a hello": hello(toSender)} {
			c, d := pair(t)
			defer d.Close()
			ctx, cancel := context.WithCancelCause(context.Background())
			result := make(chan error, 1)
			go func() {
				_, err := newSender(ctx, c, anyLibrary, &Options{Key: NewKey()}, nil)
				result <- err
			}()
			other := newWire(t, d, toSender)
			if last != nil {
				other.put(last)
				if _, _, err := other.sock.read(other.in.packet); err != nil { // its hello
					t.Fatal(err)
				}
			}
			if _, _, err := other.sock.read(other.in.packet); err != nil { // its hello, or ready
				t.Fatal(err)
			}
			cancel(why)
			if err := <-result; !errors.Is(err, why) {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := d.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: the connection is open still: %v", what, err)
			}
		}
	})
	if _, err := newSender(context.Background(), nil, anyLibrary, &Options{Key: NewKey()}, nil); err == nil {
		t.Error("a sender over nothing")
	}
	if _, err := NewReceiver(context.Background(), nil, &ReceiverOptions{Places: -1}); err == nil {
		t.Error("a receiver over nothing")
	}
}

// What the options say cannot be is an error, and the connection is closed.
func TestBadOptions(t *testing.T) {
	keepsFiles(t)
	key := NewKey()
	for want, o := range map[string]*ReceiverOptions{
		"there is no key: make one": nil,
		"there is no key":           {},
		"all zeros":                 {Options: Options{Key: keyOf(new([keySize]byte))}},
		"MaxMessage -1":             {Options: Options{Key: key, MaxMessage: -1}},
		"WriteTimeout -1s":          {Options: Options{Key: key, WriteTimeout: -time.Second}},
		"MaxMessage of both":        {Options: Options{Key: key, MaxMessage: 10}},
		"-1 places":                 {Options: Options{Key: key}, Places: -1},
	} {
		c, d := packets(t)
		check(t, passCredentials(d))
		check(t, rawSend(d, hello(toReceiver)))
		_, err := NewReceiver(context.Background(), c, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if err := second(c.Write([]byte("x"))); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the connection is open still: %v", want, err)
		}
		d.Close()
		if o != nil && o.Places == 0 && o.MaxMessage != 10 {
			c, d := packets(t)
			defer d.Close()
			if _, err := NewSender(context.Background(), c, &o.Options); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	c, d := packets(t)
	if _, err := NewSender(context.Background(), c, nil); err == nil || !strings.Contains(err.Error(), "there is no key") {
		t.Errorf("no options: %v", err)
	}
	d.Close()
	u, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "socket"), Net: "unixgram"})
	check(t, err)
	if _, err := NewSender(context.Background(), u, &Options{Key: key}); err == nil || !strings.Contains(err.Error(), "unixgram") {
		t.Errorf("over datagrams: %v", err)
	}
	if err := u.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is open still: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
