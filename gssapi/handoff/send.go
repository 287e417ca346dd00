package handoff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
)

// Handoff is a connection to be handed over.
type Handoff struct {
	// Conn is the connection to the client: a socket, such as a *net.TCPConn, or what
	// Received.NetConn returned. (What a *tls.Conn knows stays in its process.)
	Conn net.Conn
	// Context is the established security context.
	Context *gssapi.Context
	// Received is what was read from Conn and not used: the receiver reads it first.
	Received []byte
	// Data is for the receiver, and known to it before it takes the connection.
	Data []byte
	// SendDelegated sends the credential that the client delegated as well. It is an
	// error if there is none. Without it a delegated credential stays here.
	SendDelegated bool
}

// FromConn is the Handoff of a connection after its handshake, which is taken
// apart: see gssapi's Conn.Hijack, also for the errors.
func FromConn(c *gssapi.Conn) (*Handoff, error) {
	conn, x, received, err := c.Hijack()
	if err != nil {
		return nil, err
	}
	return &Handoff{Conn: conn, Context: x, Received: received}, nil
}

// Close closes the connection and the context, of a Handoff that was not sent.
func (h *Handoff) Close() error {
	h.Context.Close()
	if h.Conn == nil {
		return nil
	}
	return h.Conn.Close()
}

// Sender is the end of a session that hands connections over to one receiver. It
// is safe for concurrent use; several Sends may be under way.
type Sender struct {
	link *link
	over chan struct{} // closed when the session is
	done func()        // told of each change of counts, without the lock; may be nil

	mu        sync.Mutex
	err       error // why it is over
	ended     bool  // nothing more comes from the receiver
	exporting int   // Sends that are
	exports   sync.Cond
	lastID    uint64
	pending   map[uint64]*exchange
	counts    Counts
	bye       bool // Finish was called, or the receiver wants no more
	said      bool // and the receiver told
}

// exchange is one handoff until its last answer.
type exchange struct {
	answer  chan *message // has room for one: the next comes when it was taken out
	phase   phase
	dropped bool // nobody waits for the answer to the offer
}

// phase is how far a handoff is.
type phase int

const (
	offered  phase = iota
	accepted       // a place is kept for it
	exported       // the context is gone here
)

// Counts are about one session, as its sender knows it.
type Counts struct {
	Offered  int64 // connections that the receiver was asked to take
	Refused  int64 // that it did not take, or that were not exported after all; nothing was lost
	Taken    int64 // that it has acknowledged
	Lost     int64 // that were exported and not acknowledged: the client's connection is closed
	Done     int64 // taken, and ended since
	Pending  int64 // offered or exported, and without a last answer
	Active   int64 // taken, and not ended: with the end of the session their fate is unknown
	Capacity int64 // how many may be pending or active at the receiver
}

// NewSender makes the sender's end of a session over c, for which the other end
// must call NewReceiver; ctx bounds the wait for that. It owns c, also with an
// error. Errors are ErrMessage (another key or protocol, another version of it, or
// both ends are senders), ErrPeer, ErrLibrary, those of ctx and of the connection.
func NewSender(ctx context.Context, c *net.UnixConn, o *Options) (*Sender, error) {
	mine, err := self()
	if err != nil {
		if c != nil {
			c.Close()
		}
		return nil, err
	}
	return newSender(ctx, c, mine, o, nil)
}

func newSender(ctx context.Context, c *net.UnixConn, mine ready, o *Options, done func()) (*Sender, error) {
	mine.PID = os.Getpid()
	l, err := connect(ctx, c, toReceiver, mine, o)
	if err != nil {
		return nil, err
	}
	s := &Sender{link: l, over: make(chan struct{}), pending: make(map[uint64]*exchange), done: done}
	s.exports.L = &s.mu
	s.counts.Capacity = int64(l.peer.Places)
	go s.read()
	return s, nil
}

// changed tells of a change of counts. The caller does not hold s.mu.
func (s *Sender) changed() {
	if s.done != nil {
		s.done()
	}
}

// PID is the receiver's process id, as it tells itself.
func (s *Sender) PID() int { return s.link.peer.PID }

// Counts returns the counts of the session.
func (s *Sender) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Over is closed when the session is over: see Err.
func (s *Sender) Over() <-chan struct{} { return s.over }

// Err tells why the session is over; nil while it is not, and after a Finish that
// the receiver has answered by ending it in order.
func (s *Sender) Err() error {
	if !s.isOver() {
		return nil
	}
	return s.err
}

// Finish tells the receiver that no more will come, once the Sends that are under
// way have ended. It does not wait. The receiver finishes what it has; the session
// is over when that has ended.
func (s *Sender) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bye = true
	s.sayBye()
}

// isOver reports whether the session is; then s.err does not change any more.
func (s *Sender) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// finishing reports whether no more is sent.
func (s *Sender) finishing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bye
}

// sayBye says that no more will come, if that is so. The caller holds s.mu.
func (s *Sender) sayBye() {
	if s.bye && !s.said && len(s.pending) == 0 {
		s.said = true
		go s.link.write(&message{Kind: isBye}, noFD) // who does not get it sees the end of the session
	}
}

// Close ends the session at once. What the receiver has taken it keeps.
func (s *Sender) Close() error {
	s.link.conn.Close()
	<-s.over
	return nil
}

// read takes what the receiver says, until the session is over.
func (s *Sender) read() {
	var err error
	for err == nil {
		var m *message
		var fd int
		if m, fd, err = s.link.read(); err == nil {
			if fd != noFD {
				closeAll([]int{fd})
				err = fmt.Errorf("%w: a receiver sends no descriptors", ErrMessage)
			} else {
				err = s.take(m)
			}
			s.changed()
		}
	}
	err = s.link.why(err)
	s.link.dispose()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for s.exporting > 0 { // what becomes of these is not known yet
		s.exports.Wait()
	}
	switch {
	case s.bye && len(s.pending) == 0 && s.counts.Active == 0 && err == errEOF:
		err = nil
	case errors.Is(err, net.ErrClosed):
		err = fmt.Errorf("%w: it was closed", ErrClosed)
	case err == errEOF:
		err = fmt.Errorf("%w: the receiver has closed it, or has died: %w", ErrClosed, err)
	default:
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	s.err = err
	for id, x := range s.pending {
		s.settle(id, x, false)
		close(x.answer)
	}
	close(s.over)
}

// settle counts the end of an exchange. The caller holds s.mu.
func (s *Sender) settle(id uint64, x *exchange, taken bool) {
	delete(s.pending, id)
	s.counts.Pending--
	switch {
	case taken:
		s.counts.Taken++
		s.counts.Active++
	case x.phase == exported:
		s.counts.Lost++
	default:
		s.counts.Refused++
	}
	s.sayBye()
}

// take is what a message from the receiver does.
func (s *Sender) take(m *message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Kind {
	case isDone:
		if int64(m.N) > s.counts.Active {
			return fmt.Errorf("%w: %d connections have ended of %d", ErrMessage, m.N, s.counts.Active)
		}
		s.counts.Active -= int64(m.N)
		s.counts.Done += int64(m.N)
		return nil
	case isLeave:
		s.bye = true
		s.sayBye()
		return nil
	}
	x := s.pending[m.ID]
	if x == nil {
		return fmt.Errorf("%w: an answer %q to nothing", ErrMessage, m.Kind)
	}
	switch {
	case m.Kind == isAccept && x.phase == offered:
		x.phase = accepted
		if x.dropped { // the cancel was sent
			s.settle(m.ID, x, false)
		}
	case m.Kind == isRefuse && x.phase == offered:
		s.settle(m.ID, x, false)
	case m.Kind == isTaken && x.phase == exported, m.Kind == isFailed && x.phase == exported:
		s.settle(m.ID, x, m.Kind == isTaken)
	default:
		return fmt.Errorf("%w: an answer %q out of turn", ErrMessage, m.Kind)
	}
	x.answer <- m
	return nil
}

// Send hands a connection over: it asks the receiver, exports the context, sends
// it with the connection, and waits until the receiver has imported it. Then the
// connection is closed at this end, and the receiver has the only hold on it.
//
// On an error that is not ErrLost the context and the connection are still the
// caller's: ErrRefused and ErrBusy if the receiver does not take it, those of
// Context.Export, ErrClosed if the session is over, and those of ctx. ErrLost means
// that the context has left this process, and nobody has acknowledged it; then the
// connection is closed here. If that is because ctx has ended, the receiver may take
// it still, and Counts tells when it has.
//
// A receiver that does not read holds Send up, whatever ctx says, for
// Options.WriteTimeout: then the session is over. Of several Sends of one context
// at once, one hands it over.
func (s *Sender) Send(ctx context.Context, h *Handoff) error {
	if err := s.send(ctx, h); err != nil {
		return fmt.Errorf("handoff: Send: %w", err)
	}
	return nil
}

func (s *Sender) send(ctx context.Context, h *Handoff) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	o, socket, received, err := h.offer(s.link.limit)
	if err != nil {
		return err
	}
	id, x, err := s.begin()
	if err != nil {
		return err
	}
	err = s.link.writeWithin(ctx, &message{Kind: isOffer, ID: id, Offer: o, blobs: [][]byte{h.Data}}, noFD)
	if errors.As(err, new(unsent)) {
		s.drop(id, x)
		return err
	}
	m, err := s.wait(ctx, x) // if the write has failed the session's end is the answer
	switch {
	case err != nil:
		go s.cancel(id, x) // which waits for the receiver to read
		return err
	case m.Kind == isRefuse && m.Busy:
		return ErrBusy
	case m.Kind == isRefuse:
		return fmt.Errorf("%w: it says %q", ErrRefused, m.Text)
	}
	gone, err := s.handOver(ctx, h, id, x, socket, received)
	if !gone {
		s.cancel(id, x)
		return err
	}
	defer h.Conn.Close()
	if err != nil {
		if errors.As(err, new(unsent)) {
			s.cancel(id, x)
		} else {
			err = s.reason()
		}
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	s.link.gate("sent")
	m, err = s.wait(ctx, x)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLost, err)
	case m.Kind == isFailed:
		return fmt.Errorf("%w: the receiver could not take it: it says %q", ErrLost, m.Text)
	}
	return nil
}

// handOver exports and sends what was accepted. gone is whether the context has
// left this process. The descriptor is held meanwhile: a connection that was closed
// is found out before the export.
func (s *Sender) handOver(ctx context.Context, h *Handoff, id uint64, x *exchange, socket *clientSocket, received []byte) (gone bool, err error) {
	s.link.gate("export")
	blobs := make([][]byte, contextBlobs)
	blobs[blobReceived] = received
	if h.SendDelegated { // first: after it nothing is lost yet
		if blobs[blobCredential], err = h.Context.Delegated().Export(ctx); err != nil {
			return false, err
		}
		defer clear(blobs[blobCredential])
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	err = socket.withFD(func(fd int) error {
		var err error
		if blobs[blobToken], err = s.export(h.Context, x); err != nil {
			return err
		}
		gone = true
		defer clear(blobs[blobToken])
		s.link.gate("send")
		return s.link.write(&message{Kind: isContext, ID: id, blobs: blobs}, fd)
	})
	return gone, err
}

// export takes the context out of this process, unless the session is over: then
// its end has been counted as a refusal.
func (s *Sender) export(c *gssapi.Context, x *exchange) ([]byte, error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil, s.reason()
	}
	s.exporting++
	s.mu.Unlock()
	token, err := c.Export()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		x.phase = exported
	}
	s.exporting--
	s.exports.Broadcast()
	return token, err
}

// begin enters a handoff into the books.
func (s *Sender) begin() (uint64, *exchange, error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return 0, nil, s.reason()
	}
	defer s.mu.Unlock()
	if s.bye {
		return 0, nil, fmt.Errorf("%w: Finish was called, or the receiver wants no more", ErrClosed)
	}
	s.lastID++
	x := &exchange{answer: make(chan *message, 1)}
	s.pending[s.lastID] = x
	s.counts.Offered++
	s.counts.Pending++
	return s.lastID, x, nil
}

// reason waits for the end of the session, and tells why it has ended.
func (s *Sender) reason() error {
	<-s.over
	if s.err == nil {
		return ErrClosed
	}
	return s.err
}

// wait waits for the next answer.
func (s *Sender) wait(ctx context.Context, x *exchange) (m *message, err error) {
	var ok bool
	select {
	case m, ok = <-x.answer:
	case <-ctx.Done():
		select {
		case m, ok = <-x.answer: // at the same time
		default:
			return nil, context.Cause(ctx)
		}
	}
	if !ok {
		return nil, s.reason()
	}
	return m, nil
}

// cancel takes back what was offered, or accepted, or exported and not sent.
func (s *Sender) cancel(id uint64, x *exchange) {
	s.link.write(&message{Kind: isCancel, ID: id}, noFD)
	s.mu.Lock()
	if x.phase == offered {
		x.dropped = true // the answer is on its way
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.drop(id, x)
}

// drop ends a handoff that the receiver does not know of, or no more.
func (s *Sender) drop(id uint64, x *exchange) {
	s.mu.Lock()
	if s.pending[id] == x {
		s.settle(id, x, false)
	}
	s.mu.Unlock()
	s.changed()
}

// offer checks the Handoff, and describes it. received are all the bytes of the
// client that are in this process.
func (h *Handoff) offer(limit int) (_ *offer, _ *clientSocket, received []byte, err error) {
	if h == nil || h.Conn == nil || h.Context == nil {
		return nil, nil, nil, errors.New("a connection and a context are needed: one of them is nil")
	}
	conn, received := h.Conn, h.Received
	if c, ok := conn.(*clientConn); ok { // it was handed to this process
		c.mu.Lock()
		received = slices.Concat(received, c.early)
		c.mu.Unlock()
		conn = c.Conn
	}
	socket, err := socketOf(conn)
	if err != nil {
		return nil, nil, nil, err
	}
	i, err := h.Context.Info()
	if err != nil {
		return nil, nil, nil, err
	}
	o := describe(i)
	if h.SendDelegated {
		if h.Context.Delegated() == nil {
			return nil, nil, nil, fmt.Errorf("SendDelegated, and the client has delegated no credential: %w", gssapi.ErrNoCred)
		}
		o.Delegated = true
	}
	// The token is not known yet: leave most of the room to it.
	if n := len(received) + len(h.Data); n > limit/2 {
		return nil, nil, nil, fmt.Errorf("%d bytes of Received and Data: with a MaxMessage of %d at most %d fit", n, limit, limit/2)
	}
	o.Received = len(received)
	o.Config = configFiles()
	if o.Socket, err = socket.identity(); err != nil {
		return nil, nil, nil, fmt.Errorf("the connection is no socket that can be handed over: %w", err)
	}
	return &o, socket, received, nil
}

// clientSocket is a connection whose descriptor can be had.
type clientSocket struct{ raw syscall.RawConn }

func socketOf(c net.Conn) (*clientSocket, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no socket: what it knows, such as the keys of TLS, cannot go with the descriptor; hand over the connection below if that is what the client speaks to", c)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &clientSocket{raw}, nil
}

// withFD calls f with the descriptor, which is not closed meanwhile. (File would
// make another one, and its Fd a blocking socket of both.)
func (s *clientSocket) withFD(f func(fd int) error) error {
	var e error
	if err := s.raw.Control(func(fd uintptr) { e = f(int(fd)) }); err != nil {
		return err
	}
	return e
}

func (s *clientSocket) identity() (id []byte, err error) {
	err = s.withFD(func(fd int) (err error) {
		id, err = identify(fd)
		return err
	})
	return id, err
}

// configFiles are the files that an import opens because the token names them:
// those of MIT's configuration that this process can read, and what they include.
// MIT 1.20 fails to import where one of them cannot be read.
func configFiles() []string {
	if l, err := gss.Library(); err != nil || l.Kind != gss.KindMIT {
		return nil
	}
	list := os.Getenv("KRB5_CONFIG")
	if list == "" {
		list = "/etc/krb5.conf"
	}
	var files []string
	for _, name := range strings.Split(list, ":") {
		if readable(name) == nil {
			files = withIncluded(files, name)
		}
	}
	return files
}

// withIncluded adds a file of MIT's configuration and what it includes, files and
// directories.
func withIncluded(files []string, name string) []string {
	if slices.Contains(files, name) {
		return files
	}
	files = append(files, name)
	f, err := openKeyFile(name)
	if err != nil {
		return files
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		end := strings.IndexFunc(line, unicode.IsSpace)
		if end < 0 {
			continue
		}
		switch arg := strings.TrimSpace(line[end:]); line[:end] {
		case "include":
			files = withIncluded(files, arg)
		case "includedir":
			files = append(files, arg)
			all, _ := os.ReadDir(arg)
			for _, e := range all {
				if isIncluded(e.Name()) {
					files = withIncluded(files, filepath.Join(arg, e.Name()))
				}
			}
		}
	}
	return files
}

// isIncluded reports whether MIT includes a file of that name with its directory.
func isIncluded(name string) bool {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".conf") || !strings.ContainsFunc(name, odd))
}

// readable reports why a file cannot be opened for reading.
func readable(name string) error {
	f, err := openKeyFile(name)
	if err != nil {
		return err
	}
	return f.Close()
}
