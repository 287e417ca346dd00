package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Errors of sessions. Those that are about one connection say so; all others end
// the session.
var (
	// ErrRefused: the receiver would not take the connection. Nothing was exported:
	// context and connection are still the caller's, who may try another receiver.
	ErrRefused = errors.New("handoff: refused")
	// ErrBusy is an ErrRefused: the receiver has no place now.
	ErrBusy = fmt.Errorf("%w: the receiver has no place", ErrRefused)
	// ErrLost: the context was exported, and no receiver has acknowledged it. The
	// connection was closed at this end, for no token is ever sent twice.
	ErrLost = errors.New("handoff: the context was exported, and its receipt not acknowledged")
	// ErrMessage: what came is not the next message of this session: it was cut,
	// changed, repeated or reordered, or it is of another program. Nothing of it
	// reached the C library.
	ErrMessage = errors.New("handoff: message refused")
	// ErrPeer: what came was sent by a user whose messages are not to be taken.
	ErrPeer = errors.New("handoff: message of a stranger refused")
	// ErrLibrary: the ends use different GSS-API libraries.
	ErrLibrary = errors.New("handoff: different libraries")
	// ErrClosed: the session is over.
	ErrClosed = errors.New("handoff: the session is over")
)

// Options are those of a session. The zero value lacks a Key.
type Options struct {
	// Key is the secret that both ends share. Each receiver has one of its own, that
	// nobody else can read; those of a named socket share one, in a file.
	Key Key
	// PeerUIDs are the users (real uids) whose messages are taken, looked at with each
	// message on Linux; other systems do not tell. Nil is this process' own user. A
	// user who has no number in this process' user namespace is always refused.
	PeerUIDs []int
	// MaxMessage bounds what is sent or taken in one message, in bytes: the context's
	// token, the delegated credential and Handoff.Received together, or Handoff.Data
	// with what tells of the connection. 0 is DefaultMaxMessage. The smaller one of
	// both ends holds: each tells the other its own.
	MaxMessage int
	// WriteTimeout is for how long the peer may fail to read before the session is
	// over; 0 is DefaultWriteTimeout. Only it bounds the wait for a peer that does not
	// read: what was sent in part cannot be taken back.
	WriteTimeout time.Duration

	gate func(step string) // for tests: called before each step, and within a message
}

// Defaults of Options.
const (
	DefaultMaxMessage   = 1 << 20
	DefaultWriteTimeout = 10 * time.Second
)

// link is a session, at either end.
type link struct {
	sock    *socket
	conn    *net.UnixConn
	dir     direction // of what this end sends
	max     int       // of a message that is taken
	limit   int       // of one that is sent
	timeout time.Duration
	gate    func(step string)
	peer    ready
	broken  atomic.Pointer[error] // why a write has ended the session

	out struct {
		turn chan struct{} // holds one item while a message is written; guards what follows
		*sealer
		plain, packet []byte
	}
	in struct {
		*sealer
		packet []byte
		plain  []byte // of the message that is being received, or was returned last
		whole  bool   // the latter
		fd     int    // that came with it; -1 is none
	}
}

// connect makes a session over c: both ends send a hello, and then tell who they
// are. The link owns c, also with an error.
func connect(ctx context.Context, c *net.UnixConn, dir direction, mine ready, o *Options) (_ *link, err error) {
	if c == nil {
		return nil, errors.New("handoff: there is no connection: it is nil")
	}
	if o == nil {
		o = new(Options)
	}
	l := &link{conn: c, dir: dir, max: o.MaxMessage, timeout: o.WriteTimeout, gate: o.gate}
	defer func() {
		if err != nil {
			l.dispose()
		}
	}()
	if l.gate == nil {
		l.gate = func(string) {}
	}
	if l.max == 0 {
		l.max = DefaultMaxMessage
	}
	if l.timeout == 0 {
		l.timeout = DefaultWriteTimeout
	}
	if err := o.Key.check(); err != nil {
		return nil, err
	}
	if l.max < 0 || l.timeout < 0 {
		return nil, fmt.Errorf("handoff: MaxMessage %d, WriteTimeout %v: neither may be negative", o.MaxMessage, o.WriteTimeout)
	}
	uids := o.PeerUIDs
	if uids == nil {
		uids = []int{os.Getuid()}
	}
	if l.sock, err = newSocket(c, uids); err != nil {
		return nil, err
	}
	l.limit = l.max
	l.in.packet, l.in.fd = make([]byte, maxPacket), noFD
	l.out.turn = make(chan struct{}, 1)

	stop := l.interrupt(ctx)
	err = l.greet(o.Key, mine)
	if stop(); err != nil {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, errEOF), errors.Is(err, io.ErrUnexpectedEOF):
			err = fmt.Errorf("the peer has refused it, or has died: %w", err)
		}
		return nil, fmt.Errorf("handoff: no session: %w", err)
	}
	return l, nil
}

// interrupt has reading end when ctx is done, with os.ErrDeadlineExceeded, until
// the function it returns is called.
func (l *link) interrupt(ctx context.Context) (stop func()) {
	past := time.Unix(1, 0)
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		l.conn.SetReadDeadline(past)
		close(done)
	})
	return func() {
		if !cancel() {
			<-done
			l.conn.SetReadDeadline(time.Time{})
		}
	}
}

// greet makes the keys and tells both ends of each other. Neither waits for the
// other's hello before it sends its own, so two of a kind find that out.
func (l *link) greet(key Key, mine ready) error {
	my := hello(l.dir)
	if err := l.send(my, noFD); err != nil && !isGone(err) { // if it is, it may have said why
		return err
	}
	p, fds, err := l.sock.read(l.in.packet)
	if err != nil {
		return err
	}
	if len(fds) > 0 {
		closeAll(fds)
		return fmt.Errorf("%w: a descriptor came with the hello", ErrMessage)
	}
	theirs, err := parseHello(p, l.dir.other())
	if err != nil {
		return err
	}
	fromSender, fromReceiver := my[headerSize:], theirs
	if l.dir == toSender {
		fromSender, fromReceiver = fromReceiver, fromSender
	}
	s, err := sealers(key, fromSender, fromReceiver)
	if err != nil {
		return err
	}
	l.out.sealer, l.in.sealer = s[l.dir], s[l.dir.other()]
	mine.Max = l.max
	if err := l.write(&message{Kind: isReady, Ready: &mine}, noFD); err != nil && !isGone(err) {
		return err
	}
	m, fd, err := l.read()
	if err != nil {
		return err
	}
	closeAll([]int{fd})
	if m.Kind != isReady {
		return fmt.Errorf("%w: a message %q before the first one", ErrMessage, m.Kind)
	}
	l.peer, l.limit = *m.Ready, min(l.max, m.Ready.Max)
	return mine.fits(l.peer)
}

// send writes a packet.
func (l *link) send(p []byte, fd int) error {
	l.conn.SetWriteDeadline(time.Now().Add(l.timeout))
	err := l.sock.write(p, fd)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the peer has read nothing for %v: %w", l.timeout, err)
	}
	return err
}

// fail ends the session because a write has failed. If the peer is gone, what it
// has said last is there to be read still, and then the end.
func (l *link) fail(err error) error {
	if isGone(err) {
		if l.dir == toReceiver { // it reads without a ctx
			l.conn.SetReadDeadline(time.Now().Add(l.timeout))
		}
		return err
	}
	l.broken.CompareAndSwap(nil, &err)
	l.conn.Close()
	return err
}

// why is the reason of a read's error.
func (l *link) why(err error) error {
	if b := l.broken.Load(); b != nil && errors.Is(err, net.ErrClosed) {
		return *b
	}
	return err
}

// size is how long a message is in all.
func (m *message) size() int {
	n := 0
	for _, b := range m.blobs {
		n += len(b)
	}
	return n
}

// unsent is the error of a message of which nothing was sent. The session goes on.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// write sends a message, and a descriptor if fd is not noFD. Errors but unsent end
// the session.
func (l *link) write(m *message, fd int) error {
	return l.writeWithin(context.Background(), m, fd)
}

// writeWithin is write; ctx bounds the wait for other messages to be sent first.
func (l *link) writeWithin(ctx context.Context, m *message, fd int) error {
	o := &l.out
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return unsent{context.Cause(ctx)}
	}
	plain, err := m.encode(o.plain[:0])
	if err != nil {
		return l.fail(err)
	}
	if n := len(plain) + m.size(); n > l.limit {
		return unsent{fmt.Errorf("the message is too long: %d bytes, and the MaxMessage of both ends allows %d", n, l.limit)}
	}
	for _, b := range m.blobs {
		plain = append(grow(plain, len(b)), b...)
	}
	o.plain = plain
	defer clear(plain)
	for first := true; first || len(plain) > 0; first = false {
		if !first {
			l.gate("part")
		}
		n, typ, fds := min(len(plain), maxPart), packetLast, byte(0)
		if n < len(plain) {
			typ = packetMore
		}
		if fd >= 0 {
			fds = 1
		}
		o.packet = o.seal(o.packet[:0], plain[:n], typ, fds)
		if err := l.send(o.packet, fd); err != nil {
			return l.fail(err)
		}
		fd, plain = noFD, plain[n:]
	}
	return nil
}

// grow is b with room for n more bytes. append would leave a copy of the secrets
// in b behind.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	bigger := append(make([]byte, 0, max(len(b)+n, 2*cap(b))), b...)
	clear(b)
	return bigger
}

// read returns the next message and the descriptor that came with it: noFD, or
// lostFD if the system could not deliver it. Its blobs are valid until the next
// read. A deadline that passes loses nothing; other errors end the session.
func (l *link) read() (*message, int, error) {
	i := &l.in
	if i.whole {
		clear(i.plain)
		i.plain, i.whole = i.plain[:0], false
	}
	for {
		p, fds, err := l.sock.read(i.packet)
		if err != nil {
			return nil, noFD, err
		}
		first := len(i.plain) == 0
		i.plain = grow(i.plain, len(p))
		h, plain, err := i.open(i.plain, p)
		switch {
		case err != nil:
		case int(h.fds) != len(fds):
			err = fmt.Errorf("%w: %d descriptors came with it, sent were %d", ErrMessage, len(fds), h.fds)
		case h.fds > 0 && !first:
			err = fmt.Errorf("%w: a descriptor in its midst", ErrMessage)
		case len(plain) > l.max:
			err = fmt.Errorf("%w: it is longer than %d bytes: see MaxMessage", ErrMessage, l.max)
		case len(plain) == len(i.plain):
			err = fmt.Errorf("%w: an empty part", ErrMessage)
		}
		if err != nil {
			closeAll(fds)
			return nil, noFD, err
		}
		i.plain = plain
		if len(fds) > 0 {
			i.fd = fds[0]
		}
		if h.typ == packetMore {
			continue
		}
		i.whole = true
		m, err := decode(i.plain)
		fd := i.fd
		i.fd = noFD
		if err == nil && (fd != noFD) != (m.Kind == isContext) {
			err = errors.New("a descriptor comes with a context, and with nothing else")
		}
		if err != nil {
			closeAll([]int{fd})
			return nil, noFD, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		return m, fd, nil
	}
}

// dispose closes what the reader holds. It is called by the reader, as its last act.
func (l *link) dispose() {
	l.conn.Close()
	if l.sock == nil {
		return
	}
	l.sock.drop(nil)
	closeAll([]int{l.in.fd})
	l.in.fd = noFD
	clear(l.in.plain[:cap(l.in.plain)])
}
