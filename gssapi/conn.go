package gssapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits of what a Conn takes from its peer, if ConnOptions does not say
// otherwise.
const (
	DefaultMaxToken = 128 << 10
	DefaultMaxFrame = 64 << 10
)

// maxLegs bounds the frames that a handshake takes from a peer. Kerberos needs
// one, SPNEGO and IAKERB a few.
const maxLegs = 32

// closeTimeout is how long Close waits for room for its last frame.
const closeTimeout = 5 * time.Second

// ConnOptions are what a Conn does besides what its Context does. Nil and the
// zero value are safe.
type ConnOptions struct {
	// Protection of what is written, and the least for what is read. With the
	// zero value, Private, a context without FlagConf is refused.
	Protection Protection
	// MaxToken is the longest token that is read during the handshake, in bytes;
	// 0 is DefaultMaxToken. Big tickets (with the groups of Active Directory) and
	// delegated credentials need tens of thousands.
	MaxToken int
	// MaxFrame is the longest frame that is written or read after the
	// handshake, in bytes, its 4 bytes of length not counted; 0 is
	// DefaultMaxFrame. A peer must read what the other one writes: PostgreSQL
	// takes 16380.
	MaxFrame int
	// MaxWrite is the longest frame that is written, for peers that take less than
	// they may send; 0 is MaxFrame.
	MaxWrite int
	// PlainEnd is for protocols that know no end of stream, such as PostgreSQL's and the
	// security layers of SASL: none is sent, CloseWrite is ErrUnavailable, the end of
	// the connection between two frames is io.EOF, and empty messages are nothing. Who can cut the
	// connection can end the stream then: it is the protocol above that has to tell.
	PlainEnd bool
	// AllowExpired goes on when the context has expired. The libraries do; a Conn
	// does not unless told to.
	AllowExpired bool
}

// Conn is a net.Conn that a security context protects: Client, Server and
// NewConn make one. Reads and writes do the handshake first, if that was not
// done by Handshake or HandshakeContext.
//
// # Concurrency
//
// All methods may be called at once. Of several Reads at once each gets a part
// of the stream, of several Writes each is sent in one piece per frame.
//
// # Errors
//
// The handshake's error is that of every later call. A Write that fails because
// of a deadline has accepted the bytes that it counts; what is left of its last
// frame is sent by the next Write. After any other error of Write or CloseWrite,
// writing is over and the error stays; so it is with Read, deadlines excepted.
//
// # The end
//
// CloseWrite, and Close, send an end of stream that the peer can verify. A
// connection that ends without it was cut, by the peer's death or by an
// attacker, and Read returns io.ErrUnexpectedEOF. (Not so with PlainEnd.)
//
// # On the wire
//
// A frame is four bytes of length, the most significant first, and so many bytes
// of a token. First the tokens of the handshake (RFC 2743), of which the
// initiator sends the first one; an empty token is never sent. Then messages, each what
// gss_wrap made of a part of the stream (at least one byte); the frame of an
// empty message is the end of the stream in that direction. So PostgreSQL frames its encrypted
// connections, and so do the security layers of SASL, but for the end.
type Conn struct {
	conn         net.Conn
	ctx          *Context
	protection   Protection
	maxToken     int
	maxFrame     int
	maxWrite     int
	plainEnd     bool
	allowExpired bool

	handshake    chan struct{} // holds one item during the handshake; guards what follows
	handshakeErr error
	done         atomic.Bool // the handshake is complete; what follows does not change then
	info         ContextInfo
	payload      int // longest message that fits into a frame

	closed atomic.Bool

	deadlines struct {
		sync.Mutex
		read, write time.Time
		cancel      context.CancelCauseFunc // ends the handshake that is under way
		timer       *time.Timer             // at the earlier deadline of a handshake that is under way
	}

	in  input
	out output
}

// input is the reading side.
type input struct {
	sync.Mutex
	raw  []byte      // what was received
	r, w int         // raw[r:w] was not looked at yet
	msg  []byte      // received and not yet read; lies in raw[:r]
	err  error       // what every later Read returns
	bad  atomic.Bool // err is neither io.EOF nor net.ErrClosed
}

// fail makes err that of every later Read.
func (in *input) fail(err error) {
	in.err = err
	in.bad.Store(err != io.EOF && err != net.ErrClosed)
}

// output is the writing side.
type output struct {
	sync.Mutex
	frame []byte // is built here
	rest  []byte // of a frame that a deadline cut
	ended bool   // the end of stream was sent, or is in rest
	err   error  // what every later Write returns
}

// Client is a connection to target over conn, as the initiator. It does no I/O.
// The Conn owns conn. Nil options are those of NewInitiator.
func Client(conn net.Conn, target *Name, o *InitiatorOptions) *Conn {
	return NewConn(conn, NewInitiator(target, o), nil)
}

// Server is the acceptor's end of a connection over conn. It does no I/O. The
// Conn owns conn. Nil options are those of NewAcceptor.
func Server(conn net.Conn, o *AcceptorOptions) *Conn {
	return NewConn(conn, NewAcceptor(o), nil)
}

// NewConn is a connection over conn with a context of any kind: one of
// NewInitiator or NewAcceptor, for which the handshake is to be done; or an
// established one, such as Import returned, which goes on at once. It does no I/O.
// The Conn owns conn and c: nothing else may exchange messages with them.
//
// The context needs FlagInteg and FlagSequence, or the stream could be changed,
// and no Order, or messages could be missing from it. What is wrong with the
// arguments the handshake tells.
func NewConn(conn net.Conn, c *Context, o *ConnOptions) *Conn {
	if o == nil {
		o = new(ConnOptions)
	}
	x := &Conn{
		conn: conn, ctx: c, protection: o.Protection, maxToken: o.MaxToken, maxFrame: o.MaxFrame, maxWrite: o.MaxWrite,
		plainEnd: o.PlainEnd, allowExpired: o.AllowExpired,
		handshake: make(chan struct{}, 1),
	}
	if x.maxToken == 0 {
		x.maxToken = DefaultMaxToken
	}
	if x.maxFrame == 0 {
		x.maxFrame = DefaultMaxFrame
	}
	if x.maxWrite == 0 {
		x.maxWrite = x.maxFrame
	}
	return x
}

// Handshake does the handshake, if that was not done yet. It is HandshakeContext
// without an end but those of the deadlines.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext exchanges tokens until the context is established. When ctx
// is done, a deadline passes, or the Conn is closed, it returns although the C
// library may still wait for a KDC, and the connection is closed: it can no
// longer be of use. ctx has no effect once the handshake is complete. Errors are those of
// Context.Step and of the connection; ErrUnauthorized and ErrUnavailable if the
// context lacks what a stream needs.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	const op = "Handshake"
	if c.closed.Load() {
		return net.ErrClosed
	}
	if c.done.Load() {
		return nil
	}
	if ctx == nil {
		return ended(ctx, op)
	}
	select {
	case c.handshake <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx, op)
	}
	defer func() { <-c.handshake }()
	if c.done.Load() || c.handshakeErr != nil {
		return c.handshakeErr
	}
	if err := ended(ctx, op); err != nil {
		return err
	}
	c.in.Lock()
	defer c.in.Unlock()
	c.out.Lock()
	defer c.out.Unlock()
	hctx, cancel := context.WithCancelCause(ctx)
	c.watch(cancel)
	// What waits for the peer ends with the connection.
	stop := context.AfterFunc(hctx, func() { c.conn.Close() })
	err := c.establish(hctx, op)
	c.watch(nil)
	if !stop() {
		err = c.interrupted(hctx, op, err)
	}
	cancel(nil)
	if err == nil {
		c.done.Store(true)
		return nil
	}
	if isTimeout(err) {
		c.conn.Close()
	}
	c.ctx.Close()
	c.handshakeErr = err
	return err
}

// interrupted is the error of a handshake whose ctx is done.
func (c *Conn) interrupted(ctx context.Context, op string, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case cause == net.ErrClosed:
		return net.ErrClosed
	}
	if err != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	return ended(ctx, op)
}

// establish does the handshake. The caller holds all the locks.
func (c *Conn) establish(ctx context.Context, op string) error {
	switch {
	case c.conn == nil || c.ctx == nil:
		return refuse(op, ErrNoContext, "a connection and a context are needed: one of them is nil")
	case min(c.maxToken, c.maxFrame, c.maxWrite) < 0 || max(c.maxToken, c.maxFrame, c.maxWrite) > maxFrameSize:
		return refuse(op, ErrFailure, "MaxToken %d, MaxFrame %d, MaxWrite %d: all must be between 0 and %d", c.maxToken, c.maxFrame, c.maxWrite, maxFrameSize)
	case c.protection > Integrity:
		return refuse(op, ErrBadQOP, "%d is no protection: use Private or Integrity", c.protection)
	case c.ctx.order != 0:
		return refuse(op, ErrUnavailable, "a stream needs every message in its place: the context's Order must be zero")
	}
	var token []byte
	for legs := 0; !c.ctx.Established(); legs++ {
		if s := c.ctx.is(); s == partial || s == fresh && !c.ctx.initiator {
			if legs > maxLegs {
				return refuse(op, ErrDefectiveToken, "the handshake does not end: %d tokens came", legs)
			}
			var err error
			if token, err = c.nextFrame("handshake", c.maxToken); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			if len(token) == 0 {
				return refuse(op, ErrDefectiveToken, "the peer sent an empty token")
			}
		}
		out, err := c.ctx.Step(ctx, token)
		if len(out) > 0 { // even with an error: it tells the peer
			if werr := c.sendToken(op, out); err == nil {
				err = werr
			}
		}
		if err != nil {
			return err
		}
	}
	return c.admit(op)
}

const maxFrameSize = 1 << 29 // twice that is an int everywhere

// admit checks that the context is fit for a stream.
func (c *Conn) admit(op string) error {
	info, err := c.ctx.Info()
	if err != nil {
		return err
	}
	need := FlagInteg | FlagSequence
	if missing := need &^ info.Flags; missing != 0 {
		return refuse(op, ErrUnauthorized, "a stream needs %v, and %v were not granted (granted: %v)", need, missing, info.Flags)
	}
	if c.protection == Private && info.Flags&FlagConf == 0 {
		return refuse(op, ErrUnavailable, "confidentiality was not negotiated (flags: %v): who can do without sets Protection in ConnOptions to Integrity", info.Flags)
	}
	payload, err := c.ctx.MaxMessage(c.maxWrite, c.protection)
	if errors.Is(err, ErrUnavailable) {
		payload, err = c.maxWrite-2*overhead, nil // GNU gss has no gss_wrap_size_limit
	}
	if err != nil {
		return err
	}
	if payload <= 0 {
		return refuse(op, ErrFailure, "a frame of %d bytes has no room for a message", c.maxWrite)
	}
	info.Expiry = info.Expiry.Round(0) // by the wall clock: tickets expire while a machine sleeps
	c.info, c.payload = *info, payload
	return c.unexpired(op)
}

// unexpired is ErrContextExpired if the context has, and that matters.
func (c *Conn) unexpired(op string) error {
	if c.allowExpired || c.info.Expiry.IsZero() || time.Now().Before(c.info.Expiry) {
		return nil
	}
	return refuse(op, ErrContextExpired, "the context expired at %v", c.info.Expiry.Format(time.RFC3339))
}

func (c *Conn) sendToken(op string, token []byte) error {
	if len(token) > maxFrameSize {
		return refuse(op, ErrFailure, "a token of %d bytes is too long to be sent", len(token))
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(token)), uint32(len(token)))
	_, err := c.conn.Write(append(b, token...))
	return err
}

// ---- reading ----

// nextFrame returns the contents of the next frame, which are valid until the
// next call. The error is io.EOF if the connection ends before it, and
// io.ErrUnexpectedEOF if it ends in it. The caller holds c.in.
func (c *Conn) nextFrame(what string, limit int) ([]byte, error) {
	if err := c.fill(4); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(c.in.raw[c.in.r:])
	if uint64(n) > uint64(limit) {
		return nil, refuse("Read", ErrDefectiveToken, "the peer announces a %s frame of %d bytes, and at most %d are read: it speaks another protocol, or its frames are too long", what, n, limit)
	}
	if err := c.fill(4 + int(n)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	begin := c.in.r + 4
	c.in.r = begin + int(n)
	return c.in.raw[begin:c.in.r:c.in.r], nil
}

// fill reads until n bytes are there. The room for them grows as they come: a
// length that is only announced takes no memory. The error is io.EOF if there are
// none.
func (c *Conn) fill(n int) error {
	const first = 4 << 10
	in := &c.in
	for in.w-in.r < n {
		if in.r > 0 {
			in.w = copy(in.raw, in.raw[in.r:in.w])
			in.r = 0
		}
		if in.w == len(in.raw) {
			raw := make([]byte, max(first, min(2*len(in.raw), n+first)))
			copy(raw, in.raw)
			in.raw = raw
		}
		k, err := c.conn.Read(in.raw[in.w:])
		in.w += k
		if err != nil && in.w-in.r < n {
			if err == io.EOF && in.w > in.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// receive gets the next message: into p if that is sure to have room for it, else
// c.in.msg. It returns the number of bytes in p. With plainEnd the message may be
// empty. The caller holds c.in.
func (c *Conn) receive(p []byte) (int, error) {
	const op = "Read"
	if c.in.err != nil {
		return 0, c.in.err
	}
	token, err := c.nextFrame("message", c.maxFrame)
	if err == nil {
		err = c.unexpired(op)
	}
	if err != nil {
		switch {
		case c.closed.Load():
			err = net.ErrClosed
		case err == io.EOF && !c.plainEnd: // without the end of stream
			err = io.ErrUnexpectedEOF
		}
		if !isTimeout(err) {
			c.in.fail(err)
		}
		return 0, err
	}
	dst := token[:0]
	if len(p) >= len(token) {
		dst = p[:0:len(token)]
	}
	msg, protection, err := c.ctx.AppendUnwrap(dst, token)
	if err == nil && protection == Integrity && c.protection == Private {
		clear(msg)
		err = c.ctx.refused(op, token, notEncrypted(op, "the peer sent a message that is not encrypted"))
	}
	if err == nil && len(msg) == 0 {
		if c.plainEnd {
			return 0, nil
		}
		err = io.EOF
	}
	switch {
	case err != nil:
		if c.closed.Load() {
			err = net.ErrClosed
		}
		c.in.fail(err)
		return 0, err
	case len(p) >= len(token) && len(msg) <= len(token):
		return len(msg), nil // they are in p
	}
	c.in.msg = msg
	return 0, nil
}

// isTimeout reports whether a deadline has passed. The error of a connection that
// the system has given up calls itself a timeout too, and stays.
func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}

// Read reads from the peer's stream. It returns io.EOF at the end that the peer
// sent, and io.ErrUnexpectedEOF if the connection ends without one.
// ErrContextExpired comes once the context has expired, ErrNotEncrypted if the
// peer did not encrypt, other errors of Unwrap if somebody changed the stream.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	c.in.Lock()
	defer c.in.Unlock()
	for len(c.in.msg) == 0 {
		n, err := c.receive(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
	n := copy(p, c.in.msg)
	c.in.msg = c.in.msg[n:]
	return n, nil
}

// errInvalidWrite is the error of WriteTo if Write of w breaks its contract.
var errInvalidWrite = errors.New("gssapi: the Writer returned an impossible count from Write")

// WriteTo writes the peer's stream to w until its end, which is no error.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.in.Lock()
	defer c.in.Unlock()
	for {
		if len(c.in.msg) == 0 {
			if _, err := c.receive(nil); err != nil {
				if err == io.EOF {
					err = nil
				}
				return n, err
			}
			continue
		}
		k, err := w.Write(c.in.msg)
		if k < 0 || k > len(c.in.msg) {
			return n, errInvalidWrite
		}
		n += int64(k)
		c.in.msg = c.in.msg[k:]
		if err == nil && len(c.in.msg) > 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
}

// ---- writing ----

// errEnded is the error of a Write after CloseWrite.
var errEnded = fmt.Errorf("gssapi: Write after CloseWrite: %w", io.ErrClosedPipe)

// flush sends what a deadline has left. The caller holds c.out.
func (c *Conn) flush() error {
	n, err := c.conn.Write(c.out.rest)
	c.out.rest = c.out.rest[n:]
	if err == nil {
		return nil
	}
	if c.closed.Load() {
		err = net.ErrClosed
	}
	if !isTimeout(err) {
		c.out.err, c.out.rest = err, nil
	}
	return err
}

// send sends a message, or an end of stream if it is empty. accepted is whether
// it is on its way, which it may be with an error too. The caller holds c.out.
func (c *Conn) send(op string, msg []byte) (accepted bool, err error) {
	if c.out.err != nil {
		return false, c.out.err
	}
	if len(c.out.rest) > 0 {
		if err := c.flush(); err != nil {
			return false, err
		}
	}
	if c.out.ended {
		return false, errEnded
	}
	// A message that is wrapped must be sent, or the next one is a gap.
	if c.late() {
		return false, os.ErrDeadlineExceeded
	}
	if len(msg) > 0 {
		if err := c.unexpired(op); err != nil {
			return false, err
		}
	}
	if need := 4 + len(msg) + 2*overhead; cap(c.out.frame) < need {
		c.out.frame = make([]byte, 0, need)
	}
	frame, err := c.ctx.AppendWrap(append(c.out.frame[:0], 0, 0, 0, 0), msg, c.protection)
	if err != nil {
		if c.closed.Load() {
			err = net.ErrClosed
		}
		c.out.err = err
		return false, err
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	c.out.frame, c.out.rest = frame, frame
	c.out.ended = len(msg) == 0
	err = c.flush()
	return err == nil || isTimeout(err), err
}

// late reports whether the deadline of writing has passed.
func (c *Conn) late() bool {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	return passed(c.deadlines.write)
}

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// Write sends p to the peer, in frames of at most MaxFrame bytes. It returns how
// many bytes of p were sent, or will be by the next Write: see the errors of
// Conn.
func (c *Conn) Write(p []byte) (n int, err error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.out.Lock()
	defer c.out.Unlock()
	return c.write(p)
}

func (c *Conn) write(p []byte) (n int, err error) {
	for len(p) > 0 {
		k := min(len(p), c.payload)
		accepted, err := c.send("Write", p[:k])
		if accepted {
			n += k
		}
		if err != nil {
			return n, err
		}
		p = p[k:]
	}
	return n, nil
}

// ReadFrom sends what r has to the peer until it ends, each piece as it comes.
func (c *Conn) ReadFrom(r io.Reader) (n int64, err error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	buf := make([]byte, min(c.payload, DefaultMaxFrame))
	for {
		k, rerr := r.Read(buf)
		if k > 0 {
			k, err := c.Write(buf[:k])
			n += int64(k)
			if err != nil {
				return n, err
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
}

// CloseWrite sends the end of stream: the peer's Read returns io.EOF. Reading
// goes on. The handshake must be complete. More calls do nothing, but finish what
// a deadline interrupted. With PlainEnd it is ErrUnavailable.
func (c *Conn) CloseWrite() error {
	const op = "CloseWrite"
	switch {
	case c.closed.Load():
		return net.ErrClosed
	case !c.done.Load():
		return c.unfinished(op)
	case c.plainEnd:
		return refuse(op, ErrUnavailable, "this protocol has no end of stream in one direction (PlainEnd): Close ends both")
	}
	c.out.Lock()
	defer c.out.Unlock()
	_, err := c.send(op, nil)
	if err == errEnded {
		return nil
	}
	return err
}

// unfinished is the error of a call that does no handshake.
func (c *Conn) unfinished(op string) error {
	select {
	case c.handshake <- struct{}{}:
		defer func() { <-c.handshake }()
		if c.handshakeErr != nil {
			return c.handshakeErr
		}
	default:
	}
	return refuse(op, ErrNoContext, "the handshake is not complete")
}

// Close closes the connection. If nothing is wrong with it, and no Write is under
// way, it sends the end of stream first, and waits up to 5 seconds for room for
// it. It sends none after a Read or Write that failed (deadlines of Read
// excepted): the peer must not take for complete what was broken off. Who breaks
// off for other reasons closes NetConn first. Calls that are under way return.
// Later calls are net.ErrClosed.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.deadlines.Lock()
	if c.deadlines.cancel != nil {
		c.deadlines.cancel(net.ErrClosed)
	}
	c.deadlines.Unlock()
	if c.done.Load() && c.out.TryLock() {
		if !c.plainEnd && c.out.err == nil && len(c.out.rest) == 0 && !c.out.ended && !c.in.bad.Load() {
			c.SetWriteDeadline(time.Now().Add(closeTimeout))
			stuck := time.AfterFunc(2*closeTimeout, func() { c.conn.Close() }) // if it has no deadlines
			c.send("Close", nil)                                               // who does not get it takes the stream for cut, which is what it is then
			stuck.Stop()
		}
		c.out.err, c.out.rest = net.ErrClosed, nil
		c.out.Unlock()
	}
	c.ctx.Close()
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // by the end of the handshake
	}
	return err
}

// Hijack takes the connection apart, for one that another process goes on with
// (package handoff) or that goes on in the clear: it returns the connection
// below, without deadlines, the context, and the bytes that were received and
// belong to the peer's next frames. They are the caller's; the Conn is closed, and
// sends no end of stream.
//
// It is ErrNoContext before the end of the handshake, net.ErrClosed after Close,
// and what a Read or Write failed with after that: io.EOF after the peer's end of
// stream. It is ErrFailure, and the Conn stays as it is, while a Read or Write is
// under way, if a part of a message was not read yet or a part of a frame not sent,
// and after CloseWrite. So it does with an error of the connection below, whose
// deadlines are the only thing that it changes first.
func (c *Conn) Hijack() (net.Conn, *Context, []byte, error) {
	const op = "Hijack"
	switch {
	case c.closed.Load():
		return nil, nil, nil, net.ErrClosed
	case !c.done.Load():
		return nil, nil, nil, c.unfinished(op)
	}
	if !c.in.TryLock() {
		return nil, nil, nil, refuse(op, ErrFailure, "a Read is under way")
	}
	defer c.in.Unlock()
	if !c.out.TryLock() {
		return nil, nil, nil, refuse(op, ErrFailure, "a Write is under way")
	}
	defer c.out.Unlock()
	switch {
	case c.in.err != nil:
		return nil, nil, nil, c.in.err
	case c.out.err != nil:
		return nil, nil, nil, c.out.err
	case len(c.in.msg) > 0:
		return nil, nil, nil, refuse(op, ErrFailure, "%d bytes of a message were not read yet: Read them first", len(c.in.msg))
	case len(c.out.rest) > 0:
		return nil, nil, nil, refuse(op, ErrFailure, "%d bytes of a frame were not sent yet: Write again", len(c.out.rest))
	case c.out.ended:
		return nil, nil, nil, refuse(op, ErrFailure, "the stream was ended by CloseWrite")
	}
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, nil, err
	}
	if c.closed.Swap(true) {
		return nil, nil, nil, net.ErrClosed
	}
	c.in.err, c.out.err = net.ErrClosed, net.ErrClosed
	return c.conn, c.ctx, slices.Clone(c.in.raw[c.in.r:c.in.w]), nil
}

// ---- deadlines ----

// SetDeadline sets both deadlines; see net.Conn. A deadline that passes during
// the handshake ends it, and the connection.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadline(c.conn.SetDeadline, t, true, true)
}

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(c.conn.SetReadDeadline, t, true, false)
}

// SetWriteDeadline sets the deadline of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(c.conn.SetWriteDeadline, t, false, true)
}

func (c *Conn) setDeadline(set func(time.Time) error, t time.Time, read, write bool) error {
	d := &c.deadlines
	d.Lock()
	defer d.Unlock()
	if err := set(t); err != nil {
		return err
	}
	if read {
		d.read = t
	}
	if write {
		d.write = t
	}
	c.arm()
	return nil
}

// watch lets deadlines, and Close, end the handshake by cancel; nil ends that.
func (c *Conn) watch(cancel context.CancelCauseFunc) {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	c.deadlines.cancel = cancel
	c.arm()
}

// arm sets the timer of a handshake that is under way. The caller holds
// c.deadlines.
func (c *Conn) arm() {
	d := &c.deadlines
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.cancel == nil {
		return
	}
	cancel, first := d.cancel, d.read
	if first.IsZero() || !d.write.IsZero() && d.write.Before(first) {
		first = d.write
	}
	switch {
	case c.closed.Load():
		cancel(net.ErrClosed)
	case passed(first):
		cancel(os.ErrDeadlineExceeded)
	case !first.IsZero():
		d.timer = time.AfterFunc(time.Until(first), func() { cancel(os.ErrDeadlineExceeded) })
	}
}

// ---- what it is ----

// ConnectionState describes a Conn.
type ConnectionState struct {
	HandshakeComplete bool // if not, the rest is zero
	ContextInfo
	Delegated *Credential // that the initiator delegated; nil if it did not
}

// Peer is the name of the other end; nil if it is not known, or the handshake is
// not complete.
func (s ConnectionState) Peer() *Name { return s.ContextInfo.Peer() }

// LogValue makes slog print it.
func (s ConnectionState) LogValue() slog.Value {
	if !s.HandshakeComplete {
		return slog.StringValue("the handshake is not complete")
	}
	return slog.GroupValue(append(s.ContextInfo.LogValue().Group(), slog.Bool("delegated", s.Delegated != nil))...)
}

// ConnectionState tells with whom the Conn speaks and how; Peer is whom. Its
// values are those at the end of the handshake; they stay valid after Close.
func (c *Conn) ConnectionState() ConnectionState {
	if !c.done.Load() {
		return ConnectionState{}
	}
	return ConnectionState{true, c.info, c.ctx.Delegated()}
}

// NetConn is the connection below. Who reads from it or writes to it breaks the
// stream.
func (c *Conn) NetConn() net.Conn { return c.conn }

// LocalAddr is that of the connection below.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr is that of the connection below. Who the peer is ConnectionState
// tells.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }
