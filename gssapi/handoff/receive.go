package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
)

// errEOF is the end of the connection between two messages.
var errEOF = io.EOF

// DefaultPlaces is how many connections a receiver takes at a time.
const DefaultPlaces = 1024

// ReceiverOptions are those of a receiver's end.
type ReceiverOptions struct {
	Options
	// Places is how many connections the receiver has at a time, from the offer until
	// they are closed; 0 is DefaultPlaces. Each takes a descriptor: keep it below the
	// limit on open files.
	Places int
	// Admit looks at a connection before it comes; an error refuses it, and the first
	// part of its text goes to the sender. Nothing was exported then. It should be
	// quick: nothing else is received meanwhile. Nil takes all.
	Admit func(*Meta) error
	// Order is that of the contexts: see gssapi.ImportOptions.
	Order gssapi.Order
	// Trace is told what happens to the contexts.
	Trace *gssapi.Trace
	// Failed is told of a connection that came and could not be taken: it is closed.
	// The sender is told too. May be nil.
	Failed func(*Meta, error)
}

// Receiver is the end of a session that connections come to. Receive may be called
// by several goroutines, each connection goes to one of them.
type Receiver struct {
	link *link
	o    ReceiverOptions
	turn chan struct{} // holds one item while somebody receives

	reserved map[uint64]*place // guarded by turn
	err      error             // what every later Receive returns; guarded by turn

	mu      sync.Mutex
	places  int  // that are taken
	leaving bool // Leave was called
	ended   int  // connections, that the sender was not told of yet
	telling bool // a goroutine tells it
	bye     bool // no more will come
	over    bool // the session is
	idle    chan struct{}
}

// NewReceiver makes the receiver's end of a session over c, for which the other
// end must call NewSender; ctx bounds the wait for that. It owns c, also with an
// error. Errors are those of NewSender.
func NewReceiver(ctx context.Context, c *net.UnixConn, o *ReceiverOptions) (*Receiver, error) {
	mine, err := self()
	if err != nil {
		if c != nil {
			c.Close()
		}
		return nil, err
	}
	return newReceiver(ctx, c, mine, o)
}

func readyOf(l gss.LibraryInfo) ready {
	return ready{Kind: string(l.Kind), BuildID: l.BuildID, File: filepath.Base(l.Path), Version: l.Version}
}

func newReceiver(ctx context.Context, c *net.UnixConn, mine ready, o *ReceiverOptions) (*Receiver, error) {
	if o == nil {
		o = new(ReceiverOptions)
	}
	r := &Receiver{o: *o, turn: make(chan struct{}, 1), reserved: make(map[uint64]*place), idle: make(chan struct{})}
	if r.o.Places == 0 {
		r.o.Places = DefaultPlaces
	}
	if r.o.Places < 0 {
		if c != nil {
			c.Close()
		}
		return nil, fmt.Errorf("handoff: %d places: it must not be negative", o.Places)
	}
	mine.PID, mine.Places = os.Getpid(), r.o.Places
	l, err := connect(ctx, c, toSender, mine, &r.o.Options)
	if err != nil {
		return nil, err
	}
	r.link = l
	r.o.Key = Key{} // the session has keys of its own
	return r, nil
}

// SenderPID is the sender's process id, as it tells itself.
func (r *Receiver) SenderPID() int { return r.link.peer.PID }

// place is kept for a connection that was offered.
type place struct {
	*offer
	meta *Meta
}

// Receive waits for the next connection, until ctx is done, which loses nothing.
// The connection's context was imported, compared with what was announced, and
// acknowledged.
//
// It returns io.EOF when the sender has said that no more will come, and
// io.ErrUnexpectedEOF when it has died or closed the session. What was received
// before goes on in both cases. Other errors, ErrMessage and ErrPeer among them, are
// the end of the session too. Connections that fail on their way are not errors of
// Receive: see ReceiverOptions.Failed.
func (r *Receiver) Receive(ctx context.Context) (*Received, error) {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-r.turn }()
	if r.err != nil {
		return nil, r.err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	stop := r.link.interrupt(ctx)
	defer stop()
	for {
		m, fd, err := r.link.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, context.Cause(ctx)
		}
		var got *Received
		if err == nil {
			got, err = r.take(m, fd)
		}
		switch {
		case err != nil:
			r.end(err)
			return nil, r.err
		case got != nil:
			return got, nil
		}
	}
}

// end is the end of receiving. The caller has the turn.
func (r *Receiver) end(err error) {
	switch err = r.link.why(err); {
	case err == errBye:
		r.err = io.EOF
	case err == errEOF:
		r.err = io.ErrUnexpectedEOF
	case errors.Is(err, net.ErrClosed):
		r.err = ErrClosed
	default:
		r.err = err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places -= len(r.reserved)
	r.bye = true
	if err != errBye {
		r.link.dispose()
		r.over = true
	}
	r.finish()
}

// errBye: the sender has said so.
var errBye = errors.New("bye")

// take is what a message from the sender does. It owns fd. An error ends the
// session.
func (r *Receiver) take(m *message, fd int) (*Received, error) {
	switch m.Kind {
	case isOffer:
		return nil, r.answer(m)
	case isCancel:
		if r.reserved[m.ID] != nil {
			delete(r.reserved, m.ID)
			r.giveBack()
		}
		return nil, nil
	case isContext:
		p := r.reserved[m.ID]
		if p == nil {
			closeAll([]int{fd})
			return nil, fmt.Errorf("%w: a context that no place was kept for", ErrMessage)
		}
		delete(r.reserved, m.ID)
		got, err := r.accept(p, m, fd)
		for _, b := range m.blobs {
			clear(b)
		}
		answer := &message{Kind: isTaken, ID: m.ID}
		if err != nil {
			r.giveBack()
			if r.o.Failed != nil {
				r.o.Failed(p.meta, err)
			}
			answer = &message{Kind: isFailed, ID: m.ID, Text: r.text(err)}
		}
		r.link.gate("acknowledge")
		// If the sender cannot be told it is gone, and the next read says so. The
		// connection is here, and nowhere else.
		r.link.write(answer, noFD)
		return got, nil
	case isBye:
		return nil, errBye
	}
	return nil, fmt.Errorf("%w: a message %q from the sender", ErrMessage, m.Kind)
}

// answer answers an offer.
func (r *Receiver) answer(m *message) error {
	r.link.gate("offer")
	if r.reserved[m.ID] != nil {
		return fmt.Errorf("%w: the same offer twice", ErrMessage)
	}
	answer := &message{Kind: isAccept, ID: m.ID}
	if !r.keep() {
		answer.Kind, answer.Busy, answer.Text = isRefuse, true, "no place"
	} else {
		p := &place{m.Offer, m.Offer.meta(slices.Clone(m.blobs[0]))}
		if err := r.admit(p); err != nil {
			r.giveBack()
			answer.Kind, answer.Text = isRefuse, r.text(err)
		} else {
			r.reserved[m.ID] = p
		}
	}
	return r.link.write(answer, noFD)
}

// keep takes a place, and reports whether there was one.
func (r *Receiver) keep() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places >= r.o.Places || r.leaving {
		return false
	}
	r.places++
	return true
}

// giveBack gives back a place that no connection has had.
func (r *Receiver) giveBack() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places--
}

// text is what the sender is told of an error: as much as is sure to fit.
func (r *Receiver) text(err error) string {
	s := err.Error()
	return s[:min(len(s), 512, r.link.limit/12)]
}

func (r *Receiver) admit(p *place) error {
	for _, name := range p.Config {
		if err := readable(name); err != nil {
			return fmt.Errorf("the receiver (uid %d) must be able to read the files of MIT's configuration that the sender uses, since the import reads them: %w", os.Geteuid(), err)
		}
	}
	if r.o.Admit != nil {
		return r.o.Admit(p.meta)
	}
	return nil
}

// accept makes a connection of what came. It owns fd.
func (r *Receiver) accept(o *place, m *message, fd int) (_ *Received, err error) {
	if fd == lostFD {
		return nil, errors.New("the system did not deliver the connection's descriptor: this process has as many open files as it may")
	}
	id, err := identify(fd)
	if err == nil && string(id) != string(o.Socket) {
		err = errors.New("it is another connection than the one that was announced")
	}
	if err == nil && len(m.blobs[blobReceived]) != o.Received {
		err = fmt.Errorf("%d bytes of the client came with it, announced were %d", len(m.blobs[blobReceived]), o.Received)
	}
	if err == nil && (len(m.blobs[blobCredential]) > 0) != o.Delegated {
		err = errors.New("a delegated credential was announced and did not come, or came without that")
	}
	if err != nil {
		closeAll([]int{fd})
		return nil, err
	}
	conn, err := connOf(fd)
	if err != nil {
		return nil, err
	}
	got := &Received{Meta: *o.meta}
	got.conn = &clientConn{Conn: conn, received: got, early: append([]byte(nil), m.blobs[blobReceived]...), closed: r.release}
	got.conn.buffered.Store(len(got.conn.early) > 0)
	fail := func(err error) (*Received, error) {
		got.closeSecrets()
		conn.Close()
		return nil, err
	}
	r.link.gate("import")
	got.Context, err = gssapi.Import(m.blobs[blobToken], &gssapi.ImportOptions{Order: r.o.Order, Trace: r.o.Trace})
	if err != nil {
		return fail(err)
	}
	i, err := got.Context.Info()
	if err != nil {
		return fail(err)
	}
	if d := o.differs(i); d != "" {
		return fail(fmt.Errorf("the context is not what was announced: %s", d))
	}
	if o.Delegated {
		if got.Delegated, err = gssapi.ImportCredential(m.blobs[blobCredential]); err != nil {
			return fail(err)
		}
	}
	return got, nil
}

// release counts the end of a connection. It never waits.
func (r *Receiver) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places--
	if r.ended++; !r.telling && !r.over {
		r.telling = true
		go r.tell()
	}
	r.finish()
}

// tell tells the sender of the connections that have ended.
func (r *Receiver) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.ended > 0 && !r.over {
		n := r.ended
		r.ended = 0
		r.mu.Unlock()
		err := r.link.write(&message{Kind: isDone, N: n}, noFD)
		r.mu.Lock()
		if err != nil {
			break
		}
	}
	r.telling = false
	r.finish()
}

// finish closes the session when all is said and done. The caller holds r.mu.
func (r *Receiver) finish() {
	if !r.bye || r.places > 0 || r.telling {
		return
	}
	if !r.over {
		r.over = true
		r.link.dispose()
	}
	select {
	case <-r.idle:
	default:
		close(r.idle)
	}
}

// Leave tells the sender that this process wants no more connections. What is on
// its way still comes: Receive goes on until io.EOF.
func (r *Receiver) Leave() error {
	r.mu.Lock()
	left := r.leaving
	r.leaving = true
	r.mu.Unlock()
	if left {
		return nil
	}
	if err := r.link.write(&message{Kind: isLeave}, noFD); err != nil {
		return fmt.Errorf("handoff: Leave: %w", err)
	}
	return nil
}

// Idle is closed when no more will come and all that came has ended.
func (r *Receiver) Idle() <-chan struct{} { return r.idle }

// Close ends the session at once. What was received goes on; what the sender was
// about to send is its own still, or lost if it was on its way. A Receive that is
// under way returns.
func (r *Receiver) Close() error {
	r.link.conn.Close()
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	if r.err == nil {
		r.end(ErrClosed)
	}
	return nil
}

// Received is a connection that has come, with its context.
type Received struct {
	Meta
	// Context is established, and this process' alone.
	Context *gssapi.Context
	// Delegated is the client's credential, if the sender has sent it.
	Delegated *gssapi.Credential

	conn *clientConn
}

// Conn is the protected stream over the connection: see gssapi.NewConn. Closing it
// gives the place back. The options are those that the sender's handshake had.
func (r *Received) Conn(o *gssapi.ConnOptions) *gssapi.Conn {
	return gssapi.NewConn(r.conn, r.Context, o)
}

// NetConn is the connection below, of which the bytes that the sender had received
// already are read first. Closing it gives the place back.
func (r *Received) NetConn() net.Conn { return r.conn }

// Close closes the connection, the context and the delegated credential. After a
// Close of Conn it closes the rest.
func (r *Received) Close() error {
	r.closeSecrets()
	err := r.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// closeSecrets closes what the C library holds.
func (r *Received) closeSecrets() {
	r.Context.Close()
	r.Delegated.Close()
}

// clientConn is a connection some of whose bytes have come already.
type clientConn struct {
	net.Conn
	received *Received
	whole    bool   // who closes it closes all of received
	closed   func() // called at the first Close
	once     sync.Once

	buffered atomic.Bool
	mu       sync.Mutex
	early    []byte
}

func (c *clientConn) Read(p []byte) (int, error) {
	if c.buffered.Load() {
		if n := c.readEarly(p); n > 0 {
			return n, nil
		}
	}
	return c.Conn.Read(p)
}

// readEarly reads what the sender had read.
func (c *clientConn) readEarly(p []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := copy(p, c.early)
	clear(c.early[:n])
	c.early = c.early[n:]
	c.buffered.Store(len(c.early) > 0)
	return n
}

func (c *clientConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		if c.whole {
			c.received.closeSecrets()
		}
		c.closed()
	})
	return err
}

// NetConn is the connection below.
func (c *clientConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the stream to the client, if the connection can.
func (c *clientConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}
