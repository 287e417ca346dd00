package handoff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// ErrServerClosed is the error of Serve after Shutdown or Close.
var ErrServerClosed = errors.New("handoff: the server is closed")

// Server accepts connections, authenticates their clients, and hands each to a
// worker process, which goes on with it. It alone has the keytab, and never sees a
// message after the handshake. Its fields must not be changed once it serves.
//
// A client that was authenticated gets what the worker sends, or the end of the
// connection: a connection is never served by two workers.
type Server struct {
	// Command makes the command of a new worker of a group: see Group, Self and RunAs.
	// The Server adds a socket and a pipe to its ExtraFiles and GSS_HANDOFF to its
	// environment, and starts it. The environment is Env, or this process' if that is
	// nil, without KRB5_KTNAME and KRB5_CLIENT_KTNAME where they name this process'
	// keytabs. As another user the worker cannot read the keytab either. A signal to
	// this process' group, such as a terminal's, is for the workers too, unless
	// SysProcAttr gives them a group of their own. Their output goes nowhere if Stdout
	// and Stderr are nil. The program calls Worker.Run or Inherited. Nil: workers come
	// by AddWorker alone.
	Command func(group string) (*exec.Cmd, error)
	// Workers is how many workers a group has; 0 is one for each processor.
	Workers int
	// Group says which workers may have the connection: one user's, for instance. The
	// workers of a group are started when it is first needed. An error refuses the
	// connection. Nil: there is one group, whose name is empty, which is started by
	// Serve, and stays.
	Group func(*Handoff, *gssapi.ContextInfo) (string, error)
	// MaxGroups is how many groups there are at a time, so that clients cannot have
	// any number of processes started; 0 is DefaultMaxGroups. A new one takes the
	// place of the one that has had nothing to do for longest; if all have something,
	// its connection is refused.
	MaxGroups int
	// IdleTimeout is how long the workers of a group are kept that have no connection;
	// 0 is DefaultIdleTimeout. The group without Group, and one with a worker that
	// came by AddWorker, are kept.
	IdleTimeout time.Duration
	// Pick chooses one of the workers of the group that have a place, by its index.
	// Other numbers mean none, for now: it is called again when something has
	// changed. Nil takes the one with the fewest connections of those that answer.
	Pick func(*gssapi.ContextInfo, []WorkerInfo) int

	// Acceptor are the options of the handshakes. Its Credential should be set, once
	// acquired: it is shared by all of them.
	Acceptor *gssapi.AcceptorOptions
	// Conn are the options of the handshakes' stream; workers have to use the same.
	Conn *gssapi.ConnOptions
	// Handshake authenticates a client in another way than gssapi.Conn does: over HTTP,
	// for instance. It must return when ctx is done, and must not keep conn, which is
	// closed on an error. Handoff.Conn is to be conn.
	Handshake func(ctx context.Context, conn net.Conn) (*Handoff, error)
	// Prepare may set Handoff.Data and SendDelegated; an error refuses the
	// connection. ctx ends with HandshakeTimeout.
	Prepare func(context.Context, *Handoff, *gssapi.ContextInfo) error

	// MaxHandshakes is how many connections are in the handshake, or on their way to a
	// worker, at a time; more wait in the listener's queue. 0 is DefaultMaxHandshakes.
	// How many of them the C library is asked about at a time gssapi.SetLimits says.
	MaxHandshakes int
	// HandshakeTimeout is how long a client has for it, Group and Prepare included; 0 is
	// DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// MaxHandshakeBytes is how much a client may send for it, in bytes; 0 is
	// DefaultMaxHandshakeBytes.
	MaxHandshakeBytes int64
	// HandoverTimeout is how long a connection waits for a worker that has a place; 0
	// is DefaultHandoverTimeout.
	HandoverTimeout time.Duration
	// WorkerTimeout is how long a worker may take to start, to answer, or to end when
	// it was told to and has no connection left. After that it is killed. 0 is
	// DefaultWorkerTimeout. A connection that it has not answered for goes to another
	// worker if its context was not exported and HandoverTimeout permits it.
	WorkerTimeout time.Duration
	// Backoff is how long to wait before another worker is started in the place of one
	// that could not be started, has died, or wanted no more connections without having
	// had one; failures is how often in a row the group had to wait (0: this is the
	// first time). A worker that has finished a connection, or lived for a minute, ends
	// the row. Nil: 0, then 100 ms, twice as long each time, up to 30 s.
	Backoff func(failures int) time.Duration
	// Session are the options of the sessions with workers, but for Key and PeerUIDs,
	// which the Server knows.
	Session Options
	// Trace is told what happens.
	Trace *Trace

	after func(step string, d time.Duration, f func()) (stop func() bool) // for tests: in the place of time.AfterFunc

	once sync.Once
	stop context.CancelCauseFunc
	ctx  context.Context // ends with Close
	slot chan struct{}   // an item for each connection that no worker has yet

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced whenever a worker's state has changed
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{} // in handshake or delivery
	groups    map[string]*group
	workers   map[*worker]struct{} // all, until they have ended
	closing   bool                 // no more is accepted
	draining  bool                 // and all that was is with workers
	lastID    int
	stats     Stats // but for what live workers count
	tasks     sync.WaitGroup
}

// Defaults of Server.
const (
	DefaultMaxHandshakes     = 256
	DefaultHandshakeTimeout  = 10 * time.Second
	DefaultMaxHandshakeBytes = 1 << 20
	DefaultHandoverTimeout   = 30 * time.Second
	DefaultWorkerTimeout     = 15 * time.Second
	DefaultMaxGroups         = 256
	DefaultIdleTimeout       = 5 * time.Minute
)

// Stats are the counters of a Server. What was Accepted is, once nothing is under
// way, the sum of HandshakeFailed, Refused, Lost, Done and Crashed.
type Stats struct {
	Accepted        int64 `json:"accepted"`         // connections
	HandshakeFailed int64 `json:"handshake_failed"` // of those
	Refused         int64 `json:"refused"`          // authenticated, and no worker took it
	Lost            int64 `json:"lost"`             // exported, and its receipt not acknowledged
	Done            int64 `json:"done"`             // handed over, and ended by the worker
	Crashed         int64 `json:"crashed"`          // handed over, and its worker has died since
	Handshaking     int64 `json:"handshaking"`      // now
	Waiting         int64 `json:"waiting"`          // now, for a worker or its answer
	Active          int64 `json:"active"`           // now, with workers
	Workers         int64 `json:"workers"`          // now, ready or being told to end
	Started         int64 `json:"started"`          // workers
	Ended           int64 `json:"ended"`            // of those
	Failed          int64 `json:"failed"`           // of those, in another way than they were told to; or they could not be started
}

// WorkerInfo tells Pick of a worker.
type WorkerInfo struct {
	Worker int // its number
	PID    int // its process id; of one that came by AddWorker as it tells itself
	Counts
}

func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.stop = context.WithCancelCause(context.Background())
		s.slot = make(chan struct{}, orDefault(s.MaxHandshakes, DefaultMaxHandshakes))
		s.changed = make(chan struct{})
		s.listeners = make(map[net.Listener]struct{})
		s.conns = make(map[net.Conn]struct{})
		s.groups = make(map[string]*group)
		s.workers = make(map[*worker]struct{})
	})
}

func orDefault[T int | int64 | time.Duration](n, d T) T {
	if n <= 0 {
		return d
	}
	return n
}

func (s *Server) trace() *Trace {
	if s.Trace == nil {
		return noTrace
	}
	return s.Trace
}

// change tells all who wait that something has changed. The caller holds s.mu.
func (s *Server) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Serve accepts connections of l and hands them to workers, until Shutdown or
// Close: then the error is ErrServerClosed. It may be called for several listeners
// at once. It closes l.
func (s *Server) Serve(l net.Listener) error {
	s.init()
	defer l.Close()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.listeners[l] = struct{}{}
	if s.Group == nil {
		s.fill(s.group(""))
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
	}()
	failures := 0
	for {
		select {
		case s.slot <- struct{}{}:
		case <-s.ctx.Done():
			return ErrServerClosed
		}
		conn, err := l.Accept()
		if err != nil {
			<-s.slot
			s.mu.Lock()
			closing := s.closing
			s.mu.Unlock()
			if closing {
				return ErrServerClosed
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("handoff: Serve: %w", err)
			}
			// Out of descriptors, most often: others have to end first.
			fire(s.trace().AcceptFailed, Event{Err: err})
			if !s.pause(min(time.Second, 5*time.Millisecond<<min(failures, 10))) {
				return ErrServerClosed
			}
			failures++
			continue
		}
		failures = 0
		if !s.begin(conn) {
			<-s.slot
			conn.Close()
			return ErrServerClosed
		}
		go s.serve(conn)
	}
}

// pause waits, and reports whether the Server goes on.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// begin enters a connection into the books.
func (s *Server) begin(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.stats.Accepted++
	s.stats.Handshaking++
	s.conns[conn] = struct{}{}
	s.tasks.Add(1)
	return true
}

// count changes the counters.
func (s *Server) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
	s.change()
}

// serve sees to one connection until a worker has it. It has a slot.
func (s *Server) serve(conn net.Conn) {
	defer s.tasks.Done()
	began := time.Now()
	e := Event{Remote: conn.RemoteAddr().String()}
	fire(s.trace().Accepted, e)
	h, i, g, err := s.handshake(conn, &e)
	e.Duration = time.Since(began)
	outcome := s.trace().HandshakeFailed
	s.count(func(t *Stats) {
		t.Handshaking--
		switch {
		case i == nil:
			t.HandshakeFailed++
		case err != nil:
			t.Refused++
			outcome = s.trace().Refused
		default:
			t.Waiting++
		}
	})
	if err == nil {
		outcome = s.deliver(h, i, g, &e)
		err = e.Err
		e.Duration = time.Since(began)
	}
	if h != nil {
		h.Close() // what a worker has taken is none of ours any more
	}
	conn.Close()
	<-s.slot
	e.Err = err
	fire(outcome, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	if g != nil {
		g.users--
		s.rest(g)
	}
	s.change()
}

// handshake authenticates the client, and finds its group, whose user it becomes.
// The ContextInfo is nil if that failed; an error with it says why the client is
// refused.
func (s *Server) handshake(conn net.Conn, e *Event) (h *Handoff, i *gssapi.ContextInfo, g *group, err error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, orDefault(s.HandshakeTimeout, DefaultHandshakeTimeout), errTooSlow)
	defer cancel()
	limited := &limitedConn{Conn: conn, left: orDefault(s.MaxHandshakeBytes, DefaultMaxHandshakeBytes)}
	if s.Handshake != nil {
		stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
		h, err = s.Handshake(ctx, limited)
		// ctx may have ended although stop comes before what AfterFunc was to do.
		if stop(); err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = conn.SetDeadline(time.Time{})
		}
	} else {
		c := gssapi.NewConn(limited, gssapi.NewAcceptor(s.Acceptor), s.Conn)
		if err = c.HandshakeContext(ctx); err == nil {
			h, err = FromConn(c)
		}
		if err != nil {
			c.Close()
		}
	}
	if err != nil {
		return h, nil, nil, err
	}
	if h == nil || h.Conn == nil || !h.Context.Established() {
		return h, nil, nil, errors.New("handoff: Server.Handshake returned no established context, and no error")
	}
	if h.Conn == net.Conn(limited) {
		h.Conn = conn
	}
	info, err := h.Context.Info()
	if err != nil {
		return h, nil, nil, err
	}
	e.Peer = info.Peer().String()
	if s.Prepare != nil {
		if err := s.Prepare(ctx, h, info); err != nil {
			return h, info, nil, err
		}
	}
	if s.Group != nil {
		if e.Group, err = s.Group(h, info); err != nil {
			return h, info, nil, err
		}
	}
	g, err = s.use(e.Group)
	return h, info, g, err
}

var errTooSlow = errors.New("handoff: the handshake took longer than HandshakeTimeout")

// limitedConn is a connection during the handshake.
type limitedConn struct {
	net.Conn
	left int64
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if len(p) > 0 && c.left <= 0 {
		return 0, errors.New("handoff: the client has sent more than MaxHandshakeBytes before it was authenticated")
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// deliver hands the connection to a worker. It returns the hook that is to be
// told, with e.Err.
func (s *Server) deliver(h *Handoff, i *gssapi.ContextInfo, g *group, e *Event) func(Event) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, orDefault(s.HandoverTimeout, DefaultHandoverTimeout), errNoWorker)
	defer cancel()
	w, err := s.hand(ctx, h, i, g)
	if w != nil {
		e.Worker, e.PID = w.number, w.pid()
	}
	e.Err = err
	hook := s.trace().HandedOver
	s.count(func(t *Stats) {
		t.Waiting--
		switch {
		case errors.Is(err, ErrLost): // which the session counts
			hook = s.trace().Lost
		case err != nil:
			t.Refused++
			hook = s.trace().Refused
		}
	})
	return hook
}

var errNoWorker = errors.New("handoff: no worker had a place before HandoverTimeout")

// hand asks one worker after the other.
func (s *Server) hand(ctx context.Context, h *Handoff, i *gssapi.ContextInfo, g *group) (*worker, error) {
	full := make(map[*worker]int64)
	for {
		w, changed := s.pick(g, i, full)
		if w == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		err := s.send(ctx, w, h)
		s.mu.Lock()
		w.sending--
		s.change()
		s.mu.Unlock()
		switch {
		case errors.Is(err, ErrLost):
			return w, err
		case errors.Is(err, ErrBusy): // who says so without need is not asked again before one of its connections has ended
			full[w] = w.sender.Counts().Done
		case !errors.Is(err, ErrClosed) && !errors.Is(err, errHung):
			return w, err
		}
		if ctx.Err() != nil {
			return w, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// send is Send, with a worker that does not answer killed.
func (s *Server) send(ctx context.Context, w *worker, h *Handoff) error {
	// From here on ctx does not count: what becomes of an exported context must be known.
	limit, cancel := s.limited(context.WithoutCancel(ctx), "answer")
	defer cancel()
	err := w.sender.Send(limit, h)
	if errors.Is(err, errHung) {
		w.end(errHung)
	}
	return err
}

var errHung = errors.New("handoff: the worker did nothing for WorkerTimeout")

// limited is a ctx for a step of a worker's, which ends with errHung if that takes
// longer than WorkerTimeout.
func (s *Server) limited(ctx context.Context, step string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := s.workerTimer(step, func() { cancel(errHung) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// workerTimer calls f after WorkerTimeout, unless stop is called before.
func (s *Server) workerTimer(step string, f func()) (stop func() bool) {
	return s.timer(step, orDefault(s.WorkerTimeout, DefaultWorkerTimeout), f)
}

func (s *Server) timer(step string, d time.Duration, f func()) (stop func() bool) {
	if s.after != nil {
		return s.after(step, d, f)
	}
	return time.AfterFunc(d, f).Stop
}

// pick chooses a worker of g that has a place, and counts the Send that follows. If
// there is none the channel tells when that may have changed.
func (s *Server) pick(g *group, i *gssapi.ContextInfo, full map[*worker]int64) (*worker, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		free, infos := s.free(g, full)
		best := -1
		switch changed := s.changed; {
		case len(free) == 0:
			return nil, changed
		case s.Pick == nil:
			best = leastBusy(free, infos)
		default:
			s.mu.Unlock()
			best = s.Pick(i, infos)
			s.mu.Lock()
			if best < 0 || best >= len(free) {
				return nil, changed
			}
		}
		if w := free[best]; w.free() { // still
			if w.sending++; w.sending == 1 {
				w.heard = time.Now()
			}
			return w, nil
		}
	}
}

// free are the workers of g that have a place. The caller holds s.mu.
func (s *Server) free(g *group, full map[*worker]int64) (free []*worker, infos []WorkerInfo) {
	for _, w := range g.workers {
		if !w.free() {
			continue
		}
		c := w.counts()
		if done, said := full[w]; said && done == c.Done {
			continue
		}
		free = append(free, w)
		infos = append(infos, WorkerInfo{w.number, w.pid(), c})
	}
	return free, infos
}

// silence is how long a worker may leave a question open before others are asked first.
const silence = time.Second

// leastBusy is the index of the worker with the fewest connections of those that answer.
func leastBusy(free []*worker, infos []WorkerInfo) (best int) {
	load := func(n int) (silent bool, connections int64) {
		return free[n].sending > 0 && time.Since(free[n].heard) > silence, infos[n].Pending + infos[n].Active
	}
	for n := range free {
		silent, connections := load(n)
		bestSilent, fewest := load(best)
		if silent == bestSilent && connections < fewest || bestSilent && !silent {
			best = n
		}
	}
	return best
}

// workersPerGroup is Workers or its default.
func (s *Server) workersPerGroup() int { return orDefault(s.Workers, runtime.GOMAXPROCS(0)) }

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.stats
	for w := range s.workers {
		if w.sender == nil {
			continue
		}
		c := w.sender.Counts()
		t.Workers++
		t.Lost += c.Lost
		t.Done += c.Done
		t.Active += c.Active
	}
	return t
}

// Shutdown closes the listeners, waits until the connections that were accepted are
// with workers, tells the workers that no more will come, and waits until they
// have finished theirs and ended. When ctx is done before, it is Close, and returns
// ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.mu.Lock()
	s.refuse()
	err := s.await(ctx, func() bool { return len(s.conns) == 0 })
	if err == nil {
		s.draining = true
		for w := range s.workers {
			w.finish()
		}
		err = s.await(ctx, func() bool { return len(s.workers) == 0 })
	}
	s.mu.Unlock()
	s.Close()
	return err
}

// refuse lets no more connections in. The caller holds s.mu.
func (s *Server) refuse() {
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for _, g := range s.groups {
		s.rest(g)
	}
	s.change()
}

// await waits until done says true. The caller holds s.mu.
func (s *Server) await(ctx context.Context, done func() bool) error {
	for !done() {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil && !done() {
			return context.Cause(ctx)
		}
	}
	return nil
}

// Close closes the listeners and the connections that no worker has, kills the
// workers that it has started, and ends the sessions with others, which keep the
// connections that they have. It waits until all that is done, so that functions and
// hooks of the Server must not call it, nor Shutdown. The error is nil.
func (s *Server) Close() error {
	s.init()
	s.mu.Lock()
	s.refuse()
	s.stop(ErrServerClosed)
	for c := range s.conns {
		c.Close()
	}
	for w := range s.workers {
		w.kill(ErrServerClosed)
	}
	s.await(context.Background(), func() bool { return len(s.workers) == 0 })
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}
