//go:build unix

package handoff

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a socket refuses it says, and of what it refuses nothing stays open; a
// descriptor is closed once, for its number may be somebody else's by then.
func TestSocketRefuses(t *testing.T) {
	keepsFiles(t)
	for what, c := range map[string]struct {
		pair socketPair
		send func(w *wire, fd int)
		want string
	}{
		"nothing":          {packets, func(w *wire, fd int) { w.raw(nil) }, "a packet without a byte"},
		"too long":         {packets, func(w *wire, fd int) { w.raw(make([]byte, maxPacket+1), fd) }, "it is longer than"},
		"many descriptors": {packets, func(w *wire, fd int) { w.raw([]byte("x"), fd, fd, fd, fd, fd, fd, fd, fd, fd, fd) }, "too many descriptors"},
		"a length of 0":    {stream, func(w *wire, fd int) { w.raw(make([]byte, 4), fd) }, "a packet of 0 bytes: the peer does not speak"},
		"too long a one":   {stream, func(w *wire, fd int) { w.raw([]byte{255, 255, 255, 255}, fd) }, "a packet of 4294967295 bytes"},
		"a second one": {stream, func(w *wire, fd int) {
			w.raw([]byte{0, 0, 0, 2, 1}, fd)
			w.raw([]byte{2}, fd)
		}, "a descriptor in its midst"},
	} {
		if c.want == "a packet without a byte" && !checksUID {
			continue // it looks like the end
		}
		mine, theirs := c.pair(t)
		w, x := newWire(t, mine, toReceiver), newSent(t)
		s, err := newSocket(theirs, []int{os.Getuid()})
		check(t, err)
		c.send(w, x.fd())
		_, _, err = s.read(make([]byte, maxPacket))
		if !errors.Is(err, ErrMessage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		wantOnce(t, what, x, func() { s.drop(nil) })
		theirs.Close()
	}
}

// wantOnce fails the test if the descriptor that was sent is open, or if again closes
// one that is another file's now.
func wantOnce(t testing.TB, what string, x *sent, again func()) {
	t.Helper()
	x.wantClosed(t)
	var others []*os.File // they take all numbers that are free
	for range 20 {
		f, err := os.Open(os.DevNull)
		check(t, err)
		defer f.Close()
		others = append(others, f)
	}
	again()
	for _, f := range others {
		if _, err := f.Stat(); err != nil {
			t.Errorf("%s: a descriptor was closed twice: %v", what, err)
		}
	}
}

// A link that has the descriptor of a message in parts closes it once.
func TestDisposeOnce(t *testing.T) {
	keepsFiles(t)
	mine, theirs := packets(t)
	w, x := newWire(t, mine, toReceiver), newSent(t)
	l := newWire(t, theirs, toSender).link
	s, err := sealers(NewKey(), make([]byte, randomSize), make([]byte, randomSize))
	check(t, err)
	l.in.sealer = s[toReceiver]
	again := *s[toReceiver]
	w.put(again.seal(nil, []byte("a part"), packetMore, 1), x.fd())
	w.conn.Close()
	if _, _, err := l.read(); err != io.EOF {
		t.Fatal(err)
	}
	if l.in.fd < 0 {
		t.Fatal("no descriptor came")
	}
	l.dispose()
	wantOnce(t, "dispose", x, l.dispose)
}

// A stream takes what there is room for, and the rest is sent after that.
func TestShortWrites(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	c, d := stream(t)
	check(t, c.SetWriteBuffer(4<<10))
	s, r := sessionOver(t, c, d, nil, nil)
	_, h := established(t, nil, nil)
	h.Received = bytes.Repeat([]byte("0123456789"), 50000)
	got := pass(t, s, r, h)
	defer got.Close()
	back := make([]byte, len(h.Received))
	_, err := io.ReadFull(got.NetConn(), back)
	check(t, err)
	if !bytes.Equal(back, h.Received) {
		t.Error("other bytes came")
	}
}

// Sockets are told apart, and what is none is not taken for one.
func TestIdentity(t *testing.T) {
	one, other := newSent(t), newSent(t)
	file, err := os.Open(os.DevNull)
	check(t, err)
	defer file.Close()
	for what, id := range map[string]func(int) ([]byte, error){"identify": identify, "byInode": byInode} {
		a, err := id(one.fd())
		check(t, err)
		b, err := id(other.fd())
		check(t, err)
		dup, err := syscall.Dup(one.fd())
		check(t, err)
		c, err := id(dup)
		check(t, err)
		check(t, syscall.Close(dup))
		if bytes.Equal(a, b) || !bytes.Equal(a, c) || len(a) < 8 {
			t.Errorf("%s: %x, %x, %x", what, a, b, c)
		}
		if _, err := id(int(file.Fd())); err != syscall.ENOTSOCK {
			t.Errorf("%s of a file: %v", what, err)
		}
		if _, err := id(-1); err != syscall.EBADF {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
}

// cmsg is a control message.
func cmsg(level, typ int, data []byte) []byte {
	b := make([]byte, syscall.CmsgSpace(len(data)))
	words := syscall.CmsgLen(0) - 8 // the length, which has 4 or 8 bytes
	if length := syscall.CmsgLen(len(data)); words == 8 {
		binary.NativeEndian.PutUint64(b, uint64(length))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(length))
	}
	binary.NativeEndian.PutUint32(b[words:], uint32(level))
	binary.NativeEndian.PutUint32(b[words+4:], uint32(typ))
	copy(b[syscall.CmsgLen(0):], data)
	return b
}

// Of control messages those of descriptors and of the sender's user count, wherever
// they stand.
func TestControl(t *testing.T) {
	const other = 77
	rights := cmsg(syscall.SOL_SOCKET, syscall.SCM_RIGHTS, []byte{9: 0, 10: 0, 11: 0})
	foreign := cmsg(other, syscall.SCM_RIGHTS, make([]byte, 8))
	for what, c := range map[string]struct {
		oob  []byte
		fds  int
		fail bool
	}{
		"none":    {nil, 0, false},
		"three":   {rights, 3, false},
		"foreign": {foreign, 0, false},
		"both":    {append(bytes.Clone(foreign), rights...), 3, false},
		"cut":     {rights[:syscall.CmsgLen(0)+1], 0, true},
	} {
		fds, uid, err := control(c.oob)
		if len(fds) != c.fds || uid != noUID || (err != nil) != c.fail || c.fail && !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v, uid %d, %v", what, fds, uid, err)
		}
	}
}

// FromConn before the handshake has nothing, and Close of a Handoff closes all.
func TestHandoffClose(t *testing.T) {
	client, server := conns(t, nil, nil)
	h, err := FromConn(server)
	check(t, err)
	if again, err := FromConn(server); again != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("a Conn that was taken apart: %v, %v", again, err)
	}
	check(t, h.Close())
	if h.Context.Established() {
		t.Error("the context is open")
	}
	if err := second(client.Read(make([]byte, 1))); err == nil {
		t.Error("the connection is open")
	}
	_, server = conns(t, nil, nil)
	h, err = FromConn(server)
	check(t, err)
	defer h.Conn.Close()
	check(t, (&Handoff{Context: h.Context}).Close())
	if h.Context.Established() {
		t.Error("the context is open")
	}
}

func init() {
	roles["peer without"] = func() int { return bePeer(peerWithout) }
}

// peerWithout has no library.
func peerWithout(_ *peerOrder, c *net.UnixConn, key Key) error {
	for _, c := range []*net.UnixConn{c, nil} {
		_, sender := NewSender(context.Background(), c, &Options{Key: key})
		tell("sender", sender)
		_, receiver := NewReceiver(context.Background(), c, &ReceiverOptions{Options: Options{Key: key}})
		tell("receiver", receiver)
	}
	return nil
}

// Where there is no library the connection is closed all the same.
func TestNoLibrary(t *testing.T) {
	otherLibrary(t) // or a skip
	c, d := packets(t)
	defer c.Close()
	none := filepath.Join(t.TempDir(), "libnone.so")
	p := startPeer(t, "without", new(peerOrder), d, NewKey(), withEnv("GSSAPI_LIBRARY="+none))
	for range 2 {
		for _, end := range []string{"sender", "receiver"} {
			if said := p.hear(end); !strings.Contains(said, none) {
				t.Errorf("%s: %s", end, said)
			}
		}
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is open: %v", err)
	}
}
