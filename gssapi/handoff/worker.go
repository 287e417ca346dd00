package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// group is the workers of one name. Guarded by Server.mu.
type group struct {
	name     string
	workers  []*worker // until they have ended
	users    int       // connections that want one of them
	idle     *idleness // while the group has nothing to do
	retired  bool      // it is none of the Server's groups any more
	failures int       // pauses in a row
	pause    int       // how many have been begun
	pausing  bool      // the last one is not over: no worker is started before
}

// idleness ends a group, unless it is stopped before.
type idleness struct {
	since time.Time
	stop  func() bool
}

// worker is a worker process as the Server sees it.
type worker struct {
	server *Server
	group  *group
	number int
	ours   bool // started here: it did not come by AddWorker
	began  time.Time
	exited chan struct{} // closed when the process has ended; nil before it is started, and for workers of others
	exit   error         // how it ended

	// Guarded by Server.mu.
	cmd      *exec.Cmd   // nil before it is started, and for workers of others
	sender   *Sender     // nil: it is starting
	sending  int         // Sends that are under way
	heard    time.Time   // when it has said something, or was asked while it owed no answer
	leaving  bool        // it gets no more
	replaced bool        // another is started in its place: see Restart
	overdue  func() bool // stops the timer that runs once it has to end; may be nil
	reason   error       // why it was killed
}

func (w *worker) pid() int {
	if w.cmd != nil && w.cmd.Process != nil {
		return w.cmd.Process.Pid
	}
	if w.sender != nil {
		return w.sender.PID()
	}
	return 0
}

// counts are those of its session, with those connections as pending that were
// not offered yet. The caller holds Server.mu, and w.sender is not nil.
func (w *worker) counts() Counts {
	c := w.sender.Counts()
	c.Pending = max(c.Pending, int64(w.sending))
	return c
}

// ready reports whether w takes connections. The caller holds Server.mu.
func (w *worker) ready() bool {
	return w.sender != nil && !w.leaving && !w.sender.finishing() && !w.sender.isOver()
}

// free reports whether w has a place for another connection. The caller holds
// Server.mu.
func (w *worker) free() bool {
	if !w.ready() {
		return false
	}
	c := w.counts()
	return c.Pending+c.Active < c.Capacity
}

// finish tells the worker that no more will come. The caller holds Server.mu.
func (w *worker) finish() {
	w.leaving = true
	if w.sender != nil {
		w.sender.Finish()
		w.server.look(w)
	}
}

// end is kill for those who do not hold Server.mu.
func (w *worker) end(reason error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.kill(reason)
}

// kill ends the worker at once, or the session with it if it is another's. The
// caller holds Server.mu.
func (w *worker) kill(reason error) {
	if w.reason == nil {
		w.reason = reason
	}
	if w.sender != nil {
		w.sender.link.conn.Close()
	}
	if w.cmd != nil && w.cmd.Process != nil {
		w.cmd.Process.Kill() // an error if it has ended
	}
}

// group returns the group of that name, which is made if there is none. The caller
// holds s.mu.
func (s *Server) group(name string) *group {
	g := s.groups[name]
	if g == nil {
		g = &group{name: name}
		s.groups[name] = g
	}
	return g
}

var errTooManyGroups = errors.New("handoff: there are MaxGroups groups of workers, and all have connections")

// use returns the group of that name, with its workers started, for one more
// connection.
func (s *Server) use(name string) (*group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups[name] == nil && len(s.groups) >= orDefault(s.MaxGroups, DefaultMaxGroups) {
		var longest *group
		for _, g := range s.groups {
			if g.idle != nil && (longest == nil || g.idle.since.Before(longest.idle.since)) {
				longest = g
			}
		}
		if longest == nil {
			return nil, errTooManyGroups
		}
		s.retire(longest)
	}
	g := s.group(name)
	g.users++
	s.rest(g)
	s.fill(g)
	return g, nil
}

// rest sees to the idleness of a group that has nothing to do, or has. The caller
// holds s.mu.
func (s *Server) rest(g *group) {
	idle := s.Group != nil && !s.closing && !g.retired && g.users == 0
	for _, w := range g.workers {
		if !w.ours {
			idle = false
		} else if w.sender != nil {
			c := w.counts()
			idle = idle && c.Pending+c.Active == 0
		}
	}
	switch {
	case idle && g.idle == nil:
		this := &idleness{since: time.Now()}
		this.stop = s.timer("idle", orDefault(s.IdleTimeout, DefaultIdleTimeout), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if g.idle == this {
				s.retire(g)
			}
		})
		g.idle = this
	case !idle && g.idle != nil:
		g.idle.stop()
		g.idle = nil
	}
}

// retire ends a group that has nothing to do. The caller holds s.mu.
func (s *Server) retire(g *group) {
	g.retired = true
	delete(s.groups, g.name)
	s.rest(g)
	for _, w := range g.workers {
		w.finish()
	}
}

// staying is how many workers of its own g has and keeps. The caller holds s.mu.
func (s *Server) staying(g *group) (n int) {
	for _, w := range g.workers {
		if w.ours && !w.leaving && !w.replaced {
			n++
		}
	}
	return n
}

// fill starts the workers that g lacks. The caller holds s.mu.
func (s *Server) fill(g *group) {
	if s.Command == nil || s.draining || s.ctx.Err() != nil || g.pausing || g.retired {
		return
	}
	for n := s.staying(g); n < s.workersPerGroup(); n++ {
		w := &worker{server: s, ours: true}
		s.enter(w, g)
		s.tasks.Add(1)
		go s.run(w)
	}
}

// enter enters a new worker of g into the books. The caller holds s.mu.
func (s *Server) enter(w *worker, g *group) {
	s.lastID++
	s.stats.Started++
	w.group, w.number, w.began = g, s.lastID, time.Now()
	g.workers = append(g.workers, w)
	s.workers[w] = struct{}{}
}

// usefulLife is what a worker has to live if it does nothing.
const usefulLife = time.Minute

// replace has another worker started in the place of w: at once if w was of use,
// else after a pause. The caller holds s.mu.
func (s *Server) replace(w *worker, useful bool) {
	g := w.group
	if useful || time.Since(w.began) >= usefulLife {
		g.failures = 0
		s.fill(g)
		return
	}
	if g.pausing || g.retired || s.Command == nil || s.draining || s.ctx.Err() != nil {
		return
	}
	failures := g.failures
	g.failures++
	g.pause++
	g.pausing = true
	this := g.pause
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		if !s.pause(s.backoff(failures)) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if g.pause == this {
			g.pausing = false
			s.fill(g)
		}
	}()
}

func (s *Server) backoff(failures int) time.Duration {
	switch {
	case s.Backoff != nil:
		return s.Backoff(failures)
	case failures == 0:
		return 0
	}
	return min(30*time.Second, 100*time.Millisecond<<min(failures-1, 10))
}

// run starts a worker process, and stays until it has ended.
func (s *Server) run(w *worker) {
	defer s.tasks.Done()
	sender, err := s.start(w)
	if err == nil {
		s.ready(w, sender)
		<-sender.Over()
	}
	if w.exited != nil {
		err = because(err, s.wait(w))
	}
	s.gone(w, err)
}

// lastWords is how long a worker may live on that has ended its session, and was
// not told to, so that it can log why. It is also how long after its end it may be
// heard, from its session and its output: a process that it has started may have
// them open for ever.
const lastWords = time.Second

// wait waits for the end of the process, whose session is over. If it does not end
// by itself it is killed.
func (s *Server) wait(w *worker) error {
	kill := func() { w.cmd.Process.Kill() } // an error if it has ended
	s.mu.Lock()
	leaving, silent := w.leaving, w.sender == nil || errors.Is(w.sender.Err(), errEOF)
	s.mu.Unlock()
	switch {
	case leaving:
		defer s.workerTimer("end", kill)()
	case silent:
		defer s.timer("last words", lastWords, kill)()
	default:
		kill()
	}
	<-w.exited
	return w.exit
}

// watch waits for the end of w's process, and then that of its session conn.
func (w *worker) watch(conn io.Closer) {
	w.exit = w.cmd.Wait()
	if errors.Is(w.exit, exec.ErrWaitDelay) {
		w.exit = nil // its output was cut: that is no failure
	}
	close(w.exited)
	w.server.timer("last words", lastWords, func() { conn.Close() })
}

// ready enters a worker that can take connections.
func (s *Server) ready(w *worker, sender *Sender) {
	e := w.event(nil)
	if !w.ours {
		e.PID = sender.PID()
	}
	fire(s.trace().WorkerStarted, e) // before it has one
	s.mu.Lock()
	defer s.mu.Unlock()
	w.sender = sender
	switch {
	case w.reason != nil:
		sender.link.conn.Close()
	case w.leaving:
		sender.Finish()
	}
	s.look(w)
	s.change()
}

// look sees to a worker whose counts have changed, or that has said something. The
// caller holds s.mu.
func (s *Server) look(w *worker) {
	if w.sender == nil {
		return
	}
	w.heard = time.Now()
	c := w.sender.Counts()
	if !w.leaving && w.sender.finishing() { // by itself
		w.leaving = true
		if w.ours && !w.replaced {
			s.replace(w, c.Taken > 0)
		}
	}
	if w.leaving && w.overdue == nil && c.Pending+c.Active == 0 {
		w.overdue = s.workerTimer("end", func() { w.end(errHung) })
	}
	s.rest(w.group)
}

func (w *worker) event(err error) Event {
	return Event{Worker: w.number, PID: w.pid(), Group: w.group.name, Duration: time.Since(w.began), Err: err}
}

// gone enters the end of a worker, and has another started in its place.
func (s *Server) gone(w *worker, err error) {
	s.mu.Lock()
	e := w.event(err)
	hook, useful := s.trace().WorkerStarted, false
	if w.sender != nil {
		hook = s.trace().WorkerEnded
		c := w.sender.Counts()
		s.stats.Lost += c.Lost
		s.stats.Done += c.Done
		s.stats.Crashed += c.Active
		useful = c.Done > 0
		e.Err = because(w.sender.Err(), err)
	}
	switch {
	case w.reason == ErrServerClosed && w.sender != nil:
		e.Err = nil
	case w.reason != nil:
		e.Err = w.reason
	}
	s.stats.Ended++
	if e.Err != nil && e.Err != ErrServerClosed {
		s.stats.Failed++
	}
	if w.overdue != nil {
		w.overdue()
	}
	delete(s.workers, w)
	s.change()
	s.mu.Unlock()
	fire(hook, e)

	s.mu.Lock()
	defer s.mu.Unlock()
	g := w.group
	g.workers = slices.DeleteFunc(g.workers, func(x *worker) bool { return x == w })
	if w.ours && !w.leaving && !w.replaced {
		s.replace(w, useful)
	}
	s.rest(g)
	s.change()
}

// because is an error with another one that may explain it; both may be nil.
func because(err, why error) error {
	switch {
	case err == nil:
		return why
	case why == nil:
		return err
	}
	return fmt.Errorf("%w (%w)", err, why)
}

// workerEnv is the environment variable that tells a worker its descriptors, and
// the uid of its acceptor: "3,4,0".
const workerEnv = "GSS_HANDOFF"

// keytabEnv are the variables that name this process' keytabs, and that a worker
// does not inherit.
var keytabEnv = []string{"KRB5_KTNAME", "KRB5_CLIENT_KTNAME"}

// withoutKeytabs is env, or this process' if it is nil, without those that name
// this process' keytabs.
func withoutKeytabs(env []string) []string {
	if env == nil {
		env = os.Environ()
	}
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		return slices.Contains(keytabEnv, name) && value == os.Getenv(name)
	})
}

// start starts a worker process and its session.
func (s *Server) start(w *worker) (*Sender, error) {
	fail := func(err error) (*Sender, error) {
		return nil, fmt.Errorf("handoff: a worker could not be started: %w", err)
	}
	cmd, err := s.Command(w.group.name)
	if err != nil {
		return fail(err)
	}
	if cmd == nil {
		return fail(errors.New("Server.Command returned none"))
	}
	conn, theirs, err := Pair()
	if err != nil {
		return fail(err)
	}
	defer theirs.Close()
	keyOut, keyIn, err := os.Pipe()
	if err != nil {
		conn.Close()
		return fail(err)
	}
	defer keyOut.Close()
	defer keyIn.Close()
	fd := 3 + len(cmd.ExtraFiles)
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs, keyOut)
	cmd.Env = append(withoutKeytabs(cmd.Env), fmt.Sprintf("%s=%d,%d,%d", workerEnv, fd, fd+1, os.Getuid()))
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = lastWords
	}
	o := s.Session
	o.Key, o.PeerUIDs = NewKey(), []int{uidOf(cmd)}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return fail(err)
	}
	theirs.Close() // or the end of the process would not be the end of the session
	s.mu.Lock()
	w.cmd, w.exited = cmd, make(chan struct{})
	go w.watch(conn)
	if w.reason != nil { // meanwhile
		w.kill(w.reason)
	}
	s.mu.Unlock()
	if _, err := o.Key.WriteTo(keyIn); err != nil {
		conn.Close()
		return fail(err)
	}
	keyIn.Close()
	ctx, cancel := s.limited(s.ctx, "start")
	defer cancel()
	sender, err := s.session(ctx, conn, w, &o)
	if err != nil {
		return fail(err)
	}
	return sender, nil
}

// session makes a session with a worker.
func (s *Server) session(ctx context.Context, conn *net.UnixConn, w *worker, o *Options) (*Sender, error) {
	mine, err := self()
	if err != nil {
		conn.Close()
		return nil, err
	}
	return newSender(ctx, conn, mine, o, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.look(w)
		s.change()
	})
}

// AddWorker takes a worker that this Server has not started, at the other end of
// conn, into a group: one that has connected to a named socket, for instance. The
// Options tell the key and the worker's uid. It returns when the worker is ready;
// the Server owns conn, also with an error: those of NewSender, and ErrServerClosed.
// Such a worker is neither killed nor started again; Close ends its session.
func (s *Server) AddWorker(ctx context.Context, conn *net.UnixConn, groupName string, o *Options) error {
	s.init()
	w := &worker{server: s}
	sender, err := s.session(ctx, conn, w, o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		sender.Close()
		return ErrServerClosed
	}
	s.enter(w, s.group(groupName))
	s.tasks.Add(1)
	s.mu.Unlock()
	s.ready(w, sender)
	go func() {
		defer s.tasks.Done()
		<-sender.Over()
		s.gone(w, nil)
	}()
	return nil
}

// Restart starts new workers in the place of all that run, which are told that no
// more will come and end when they have finished theirs: so a program or its
// configuration is replaced without losing a connection. It returns when each group
// has a new worker that is ready, so that no connection has to wait; or, with an
// error, when ctx is done: then the old workers stay. After Shutdown or Close it is
// ErrServerClosed. Workers that came by AddWorker stay.
func (s *Server) Restart(ctx context.Context) error {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.lastID
	var old []*worker
	for w := range s.workers {
		if w.ours && !w.leaving && !w.replaced {
			w.replaced = true
			old = append(old, w)
		}
	}
	for _, g := range s.groups {
		g.failures, g.pausing = 0, false
		g.pause++ // who waits for the end of the last one need not
		s.fill(g)
	}
	err := s.await(ctx, func() bool {
		return s.closing || !slices.ContainsFunc(old, func(w *worker) bool { return !w.group.renewed(last) })
	})
	if err == nil && s.closing {
		err = ErrServerClosed
	}
	for _, w := range old {
		if w.replaced = err == nil; w.replaced {
			w.finish()
		}
	}
	for _, g := range s.groups {
		s.trim(g)
		s.fill(g)
	}
	s.change()
	return err
}

// renewed reports whether g has a worker that is ready and came after the one of
// that number, or needs none.
func (g *group) renewed(last int) bool {
	return g.retired || slices.ContainsFunc(g.workers, func(w *worker) bool { return w.number > last && w.ready() })
}

// trim ends the workers, the youngest first, that g has too many of. The caller
// holds s.mu.
func (s *Server) trim(g *group) {
	for n, i := s.staying(g), len(g.workers)-1; n > s.workersPerGroup() && i >= 0; i-- {
		if w := g.workers[i]; w.ours && !w.leaving && !w.replaced {
			w.finish()
			n--
		}
	}
}

// Worker is what a worker process does with the connections that its Server hands
// it.
type Worker struct {
	// Handler serves a connection, in a goroutine of its own; what it leaves open is
	// closed when it returns. ctx ends with that of Run. A panic ends the process, and
	// with it all its connections.
	Handler func(ctx context.Context, r *Received)
	// Options are those of the Receiver; Key and PeerUIDs are seen to.
	Options ReceiverOptions
}

// ErrNotWorker is the error of Run and Inherited in a process that no Server has
// started.
var ErrNotWorker = errors.New("handoff: this process was not started by a handoff.Server: " + workerEnv + " is not set")

// IsWorker reports whether a Server has started this process: programs that are
// acceptor and worker both begin with it.
func IsWorker() bool { return os.Getenv(workerEnv) != "" }

// Run serves the connections that come, until the acceptor says that no more will
// (then it returns nil) or has died (ErrAcceptorDied), and then until the handlers
// have returned. When ctx is done it tells the acceptor that it wants no more, which
// has the same end. It is called once in a process that a Server has started. Other
// errors are those of Inherited, and of Receiver.Receive.
func (w *Worker) Run(ctx context.Context) error {
	r, err := Inherited(ctx, &w.Options)
	if err != nil {
		return err
	}
	return w.Serve(ctx, r)
}

// ErrAcceptorDied is the error of Run when the acceptor has ended without a word.
var ErrAcceptorDied = errors.New("handoff: the acceptor has died")

// Serve is Run with a Receiver, such as that of Dial.
func (w *Worker) Serve(ctx context.Context, r *Receiver) error {
	if w.Handler == nil {
		r.Close()
		return errors.New("handoff: Worker.Handler is nil")
	}
	var handlers sync.WaitGroup
	defer handlers.Wait()
	until := ctx
	for {
		c, err := r.Receive(until)
		switch {
		case err == io.EOF:
			handlers.Wait()
			<-r.Idle() // the acceptor knows of all ends
			return nil
		case err == io.ErrUnexpectedEOF:
			return ErrAcceptorDied
		case err != nil && until.Err() != nil:
			until = context.WithoutCancel(ctx)
			r.Leave() // if it cannot be told, the next Receive says why
			continue
		case err != nil:
			r.Close()
			return err
		}
		handlers.Go(func() {
			defer c.Close()
			w.Handler(ctx, c)
		})
	}
}

// Inherited is the Receiver of a process that a Server has started; nil options
// are the zero value. What tells of the descriptors is taken out of the environment:
// it works once, and should be called before goroutines use the C library, which
// reads the environment. Errors are ErrNotWorker and those of ReadKey and
// NewReceiver.
//
// On Linux it closes descriptors that came from the acceptor by accident: those
// above Command's ExtraFiles that are not marked to be closed on exec. MIT 1.20 and
// Heimdal 7.8 open keytabs and ccaches, and mark them a moment later; a worker that
// is started in that moment has the keytab open, whoever its user is. So a program
// calls it before C code of its own opens something without the mark.
func Inherited(ctx context.Context, o *ReceiverOptions) (*Receiver, error) {
	value := os.Getenv(workerEnv)
	if value == "" {
		return nil, ErrNotWorker
	}
	os.Unsetenv(workerEnv)
	if o == nil {
		o = new(ReceiverOptions)
	}
	var n [3]int
	parts := strings.Split(value, ",")
	bad := len(parts) != len(n)
	for i := 0; !bad && i < len(n); i++ {
		v, err := strconv.Atoi(parts[i])
		bad = err != nil || v < 0 || i < 2 && v < 3
		n[i] = v
	}
	if bad {
		return nil, fmt.Errorf("handoff: %s=%q: a Server sets it, and nobody else", workerEnv, value)
	}
	closeStrays(n[1] + 1)
	key := os.NewFile(uintptr(n[1]), "key")
	k, err := ReadKey(key)
	key.Close()
	if err != nil {
		closeAll([]int{n[0]})
		return nil, err
	}
	c, err := connOf(n[0])
	if err != nil {
		return nil, fmt.Errorf("handoff: descriptor %d, which %s names: %w", n[0], workerEnv, err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("handoff: descriptor %d, which %s names, is no socket of the unix domain", n[0], workerEnv)
	}
	with := *o
	with.Key, with.PeerUIDs = k, []int{n[2]}
	return NewReceiver(ctx, u, &with)
}

// Dial is the Receiver of a worker that connects to a named socket, on which the
// acceptor listens: see Listen.
func Dial(ctx context.Context, path string, o *ReceiverOptions) (*Receiver, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, socketNetwork, path)
	if err != nil {
		return nil, fmt.Errorf("handoff: %w", err)
	}
	return NewReceiver(ctx, c.(*net.UnixConn), o)
}

// Listen listens on a named socket that workers Dial, for Server.ServeWorkers. The
// file gets mode 0600, or 0660 with group: for workers that are other users of the
// file's group. Whoever can connect needs the key besides, and a uid that is taken.
func Listen(path string, group bool) (*net.UnixListener, error) {
	mode := fs.FileMode(0o600)
	if group {
		mode = 0o660
	}
	l, err := listen(path, mode)
	if err != nil {
		return nil, fmt.Errorf("handoff: Listen: %w", err)
	}
	return l, nil
}

// maxGreetings is how many workers of a named socket may be asked for their key at
// a time.
const maxGreetings = 16

// ServeWorkers takes the workers that connect to l into a group, as AddWorker
// does, with the key and uids that o tells, until l is closed or the Server is
// (ErrServerClosed). It closes l. Trace.WorkerStarted tells of those that were not
// taken.
func (s *Server) ServeWorkers(l *net.UnixListener, groupName string, o *Options) error {
	s.init()
	defer l.Close()
	defer context.AfterFunc(s.ctx, func() { l.Close() })()
	greetings := make(chan struct{}, maxGreetings)
	for {
		c, err := l.AcceptUnix()
		switch {
		case s.ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("handoff: ServeWorkers: %w", err)
		case err != nil:
			fire(s.trace().AcceptFailed, Event{Err: err})
			s.pause(100 * time.Millisecond)
			continue
		}
		greetings <- struct{}{} // each takes WorkerTimeout at most
		go func() {
			defer func() { <-greetings }()
			ctx, cancel := s.limited(s.ctx, "start")
			defer cancel()
			if err := s.AddWorker(ctx, c, groupName, o); err != nil {
				fire(s.trace().WorkerStarted, Event{Group: groupName, Err: err})
			}
		}()
	}
}
