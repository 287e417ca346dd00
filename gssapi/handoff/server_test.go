//go:build unix

package handoff

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss/gssapi"
)

// served is a Server that serves. When its test ends it is closed, and nothing
// may be left of it.
type served struct {
	*Server
	*record
	l    net.Listener
	done chan error // what Serve returned
}

func serve(t *testing.T, s *Server) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	return serveOn(t, s, l)
}

func serveOn(t *testing.T, s *Server, l net.Listener) *served {
	t.Helper()
	needsExport(t)
	x := &served{Server: s, record: newRecord(), l: l, done: make(chan error, 1)}
	if s.Trace == nil {
		s.Trace = traceTo(x.add)
	}
	var counted countedTimers
	counted.count(s)
	goroutines, open := runtime.NumGoroutine(), descriptors(os.Getpid())-1 // the listener is the Server's
	t.Cleanup(func() {
		t.Helper()
		check(t, s.Close())
		if err := <-x.done; err != ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		x.reconcile(t)
		if left := counted.left(); len(left) > 0 {
			t.Errorf("these timers run still: %v", left)
		}
		for _, l := range x.all(is("WorkerStarted")) {
			if l.PID != 0 && l.PID != os.Getpid() && running(l.PID) {
				t.Errorf("process %d is still there", l.PID)
			}
		}
		eventually(t, fmt.Sprintf("%d goroutines and %d descriptors, as before", goroutines, open), func() bool {
			return runtime.NumGoroutine() <= goroutines && descriptors(os.Getpid()) <= open
		})
	})
	s.init() // tests look into it
	go func() { x.done <- s.Serve(l) }()
	return x
}

// countedTimers are those of a Server that have neither fired nor been stopped, but
// for those after a worker's end, which nobody stops.
type countedTimers struct {
	mu      sync.Mutex
	running map[*timer]bool
}

func (all *countedTimers) count(s *Server) {
	all.running = make(map[*timer]bool)
	after := s.after
	if after == nil {
		after = func(_ string, d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	s.after = func(step string, d time.Duration, f func()) func() bool {
		t := &timer{step: step}
		over := func() {
			all.mu.Lock()
			defer all.mu.Unlock()
			delete(all.running, t)
		}
		all.mu.Lock()
		all.running[t] = step != "last words"
		all.mu.Unlock()
		stop := after(step, d, func() {
			over()
			f()
		})
		return func() bool {
			over()
			return stop()
		}
	}
}

func (all *countedTimers) left() (steps []string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for t, counts := range all.running {
		if counts {
			steps = append(steps, t.step)
		}
	}
	return steps
}

// reconcile holds the counters, with nothing under way, to what Stats promises, and to what the
// Trace has told.
func (x *served) reconcile(t testing.TB) {
	t.Helper()
	got := x.Stats()
	if sum := got.HandshakeFailed + got.Refused + got.Lost + got.Done + got.Crashed; got.Accepted != sum {
		t.Errorf("%d were accepted, and %d are accounted for: %+v", got.Accepted, sum, got)
	}
	if got.Handshaking != 0 || got.Waiting != 0 || got.Active != 0 || got.Workers != 0 || got.Started != got.Ended {
		t.Errorf("something is left: %+v", got)
	}
	x.Server.mu.Lock()
	for name, g := range x.groups {
		if g.idle != nil || g.users != 0 || len(g.workers) != 0 {
			t.Errorf("group %q is left: an idle timer %v, %d users, %d workers", name, g.idle != nil, g.users, len(g.workers))
		}
	}
	if n, m, l := len(x.workers), len(x.conns), len(x.listeners); n != 0 || m != 0 || l != 0 {
		t.Errorf("%d workers, %d connections, %d listeners are left", n, m, l)
	}
	x.Server.mu.Unlock()
	x.record.mu.Lock()
	n := x.record.count
	x.record.mu.Unlock()
	if n["Accepted"] != got.Accepted || n["HandshakeFailed"] != got.HandshakeFailed || n["Refused"] != got.Refused || n["Lost"] != got.Lost ||
		n["HandedOver"] != got.Done+got.Crashed || n["WorkerStarted"] != got.Ended {
		t.Errorf("%+v, and the Trace told of %+v", got, n)
	}
}

// wantStats shuts the Server down, and compares its counters.
func (x *served) wantStats(t *testing.T, want Stats) {
	t.Helper()
	check(t, x.Shutdown(t.Context()))
	if got := x.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// dial is a client of the default user, before its handshake.
func dial(t testing.TB, a net.Addr) *gssapi.Conn {
	t.Helper()
	conn, err := net.Dial(a.Network(), a.String())
	check(t, err)
	t.Cleanup(func() { conn.Close() }) // and c is garbage when it is not used any more
	c, err := clientOf(conn)
	check(t, err)
	return c
}

// ask sends a line and returns the answer.
func ask(c *gssapi.Conn, text string) (string, error) {
	if _, err := fmt.Fprintln(c, text); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

// talk asks, and checks the answer of an echo.
func talk(t testing.TB, c *gssapi.Conn) {
	t.Helper()
	if got, err := ask(c, "hello"); err != nil || got != "alice@"+realm.Name()+": hello" {
		t.Fatalf("%q, %v", got, err)
	}
}

// leave ends the connection in order, from this end.
func leave(t testing.TB, c *gssapi.Conn) {
	t.Helper()
	check(t, c.CloseWrite())
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
	check(t, c.Close())
}

// client is one that is served, from its beginning to its end.
func (x *served) client(t testing.TB) {
	t.Helper()
	c := dial(t, x.l.Addr())
	talk(t, c)
	leave(t, c)
}

// quiet waits until the Server has no connection, and knows that the workers have
// none.
func (x *served) quiet(t testing.TB) {
	t.Helper()
	eventually(t, "the Server is quiet", func() bool {
		x.Server.mu.Lock()
		n := len(x.conns)
		x.Server.mu.Unlock()
		return n == 0 && x.Stats().Active == 0
	})
}

// cut holds that the connection ends, and not in order.
func cut(t testing.TB, c *gssapi.Conn) {
	t.Helper()
	if n, err := io.Copy(io.Discard, c); n > 0 || err == nil {
		t.Errorf("%d bytes came, then %v", n, err)
	}
}

// ready waits until n workers have started.
func (x *served) ready(t testing.TB, n int) (last line) {
	t.Helper()
	return x.expect(t, n, fmt.Sprintf("worker %d", n), func(l line) bool { return l.What == "WorkerStarted" && l.Err == "" })
}

func TestServer(t *testing.T) {
	x := serve(t, &Server{Command: command("echo"), Workers: 2})
	for range 10 {
		x.client(t)
	}
	check(t, x.Restart(t.Context()))
	for range 10 {
		x.client(t)
	}
	x.wantStats(t, Stats{Accepted: 20, Done: 20, Started: 4, Ended: 4})
	if err := x.Restart(t.Context()); err != ErrServerClosed {
		t.Errorf("Restart after Shutdown: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	if err := x.Serve(l); err != ErrServerClosed {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener: %v", err)
	}
}

// ---- who does not behave: clients ----

func TestSlowClient(t *testing.T) {
	x := serve(t, &Server{Command: command("echo"), Workers: 1, HandshakeTimeout: 300 * time.Millisecond})
	silent, err := net.Dial("tcp", x.l.Addr().String())
	check(t, err)
	defer silent.Close()
	half := dial(t, x.l.Addr())
	_, err = half.NetConn().Write([]byte{0, 0, 1})
	check(t, err)
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the silent client: %v", err)
	}
	if _, err := half.NetConn().Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client that sends a part: %v", err)
	}
	x.expect(t, 2, "the failures", func(l line) bool { return l.What == "HandshakeFailed" && errors.Is(l.err, errTooSlow) })
	eventually(t, "a client that is not slow is served", func() bool { // though the machine may be
		c := dial(t, x.l.Addr())
		_, err := ask(c, "hello")
		return err == nil && c.Close() == nil
	})
	check(t, x.Shutdown(t.Context()))
}

func TestTalkativeClient(t *testing.T) {
	x := serve(t, &Server{Command: command("echo"), Workers: 1, MaxHandshakeBytes: 100})
	conn, err := net.Dial("tcp", x.l.Addr().String())
	check(t, err)
	defer conn.Close()
	_, err = conn.Write(append([]byte{0, 0, 200, 0}, make([]byte, 500)...))
	check(t, err)
	if got := x.expect(t, 1, "the failure", is("HandshakeFailed")); !strings.Contains(got.Err, "MaxHandshakeBytes") {
		t.Errorf("%+v", got)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client: %v", err)
	}
	junk, err := net.Dial("tcp", x.l.Addr().String())
	check(t, err)
	defer junk.Close()
	_, err = junk.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	check(t, err)
	x.expect(t, 2, "the failure of what is none of ours", is("HandshakeFailed"))
	x.wantStats(t, Stats{Accepted: 2, HandshakeFailed: 2, Started: 1, Ended: 1})
}

// What a client may send before it is authenticated is bounded to the byte.
func TestMaxHandshakeBytes(t *testing.T) {
	needsExport(t)
	target, err := gssapi.HostService("host", "server.test")
	check(t, err)
	i := gssapi.NewInitiator(target, &gssapi.InitiatorOptions{Mech: gssapi.MechKrb5})
	defer i.Close()
	token, err := i.Step(t.Context(), nil)
	check(t, err)
	first := framed(token)
	x := serve(t, &Server{Command: command("echo"), Workers: 1, MaxHandshakeBytes: int64(len(first))})

	// So much is enough, and what comes after the handshake does not count.
	conn, err := net.Dial("tcp", x.l.Addr().String())
	check(t, err)
	defer conn.Close()
	_, err = conn.Write(first)
	check(t, err)
	answer := make([]byte, 4)
	_, err = io.ReadFull(conn, answer)
	check(t, err)
	answer = make([]byte, binary.BigEndian.Uint32(answer))
	_, err = io.ReadFull(conn, answer)
	check(t, err)
	_, err = i.Step(t.Context(), answer)
	check(t, err)
	c := gssapi.NewConn(conn, i, nil)
	talk(t, c)
	leave(t, c)

	// A frame that is a byte longer: one byte less than the limit is not too much;
	// once it is reached the server reads no more.
	for n, late := range []int{1, 0, -1} {
		conn, err := net.Dial("tcp", x.l.Addr().String())
		check(t, err)
		defer conn.Close()
		_, err = conn.Write(framed(append(slices.Clone(token), 0))[:len(first)-late])
		check(t, err)
		conn.(*net.TCPConn).CloseWrite() // if the server has not reset it
		l := x.expect(t, n+1, "the failure", is("HandshakeFailed"))
		if tooMuch := strings.Contains(l.Err, "MaxHandshakeBytes"); tooMuch != (late <= 0) {
			t.Errorf("%d bytes, with a limit of %d: %+v", len(first)-late, len(first), l)
		}
	}
	x.wantStats(t, Stats{Accepted: 4, HandshakeFailed: 3, Done: 1, Started: 1, Ended: 1})
}

// countedListener tells when Accept is called.
type countedListener struct {
	net.Listener
	called func()
}

func (l *countedListener) Accept() (net.Conn, error) {
	l.called()
	return l.Listener.Accept()
}

// More than MaxHandshakes clients wait in the backlog.
func TestMaxHandshakes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var x *served
	began := make(chan struct{})
	x = serveOn(t, &Server{Command: command("echo"), Workers: 1, MaxHandshakes: 2}, &countedListener{l, func() {
		<-began
		x.add(line{What: "Accept"})
	}})
	close(began)
	var silent []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		check(t, err)
		silent = append(silent, c)
	}
	x.expect(t, 2, "the second client", is("Accepted"))
	third := dial(t, l.Addr())
	answer := make(chan error, 1)
	go func() {
		_, err := ask(third, "hello")
		answer <- err
	}()
	if got := x.Stats(); got.Handshaking != 2 || got.Accepted != 2 {
		t.Errorf("%+v", got)
	}
	silent[0].Close()
	check(t, <-answer)
	order := x.all(func(l line) bool { return l.What == "Accept" || l.What == "HandshakeFailed" })
	if len(order) < 4 || order[2].What != "HandshakeFailed" {
		t.Errorf("Accept was called before there was a place: %+v", order)
	}
	silent[1].Close()
	leave(t, third)
	x.wantStats(t, Stats{Accepted: 3, HandshakeFailed: 2, Done: 1, Started: 1, Ended: 1})
}

// oddListener fails, and accepts what is no socket.
type oddListener struct {
	net.Listener
	failures int
	wrap     bool
}

func (l *oddListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, syscall.EMFILE
	}
	conn, err := l.Listener.Accept()
	if err == nil && l.wrap {
		conn = &onlyConn{conn}
	}
	return conn, err
}

// onlyConn is a connection that knows of no descriptor, as that of TLS.
type onlyConn struct{ net.Conn }

// What cannot be accepted now is tried again; what cannot be handed over is refused.
func TestOddListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	x := serveOn(t, &Server{Command: command("echo"), Workers: 1}, &oddListener{l, 3, false})
	x.client(t)
	if failed := x.all(is("AcceptFailed")); len(failed) != 3 || failed[0].err != syscall.EMFILE {
		t.Errorf("%+v", failed)
	}

	l, err = net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan error, 1)
	go func() { done <- x.Serve(&oddListener{l, 0, true}) }() // besides the other one
	c := dial(t, l.Addr())
	check(t, c.Handshake())
	cut(t, c)
	if refused := x.expect(t, 1, "the refusal", is("Refused")); !strings.Contains(refused.Err, "onlyConn") {
		t.Errorf("%+v", refused)
	}
	check(t, l.Close())
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve of a closed listener: %v", err)
	}
	x.client(t)
	x.wantStats(t, Stats{Accepted: 3, Refused: 1, Done: 2, Started: 1, Ended: 1})
}

// ---- who does not behave: workers ----

// roleAt starts workers of these roles, one after the other, and then of the last.
func roleAt(kinds ...string) func(string) (*exec.Cmd, error) {
	var n atomic.Int64
	return func(g string) (*exec.Cmd, error) {
		return command(kinds[min(int(n.Add(1)), len(kinds))-1])(g)
	}
}

// timers are those for a Server's workers: none of them takes too long before the
// test says so, however slow the machine is.
type timers struct {
	mu      sync.Mutex
	running []*timer
}

type timer struct {
	step string
	f    func()
}

func (all *timers) after(step string, _ time.Duration, f func()) (stop func() bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	t := &timer{step, f}
	all.running = append(all.running, t)
	return func() bool { return all.take(func(x *timer) bool { return x == t }) != nil }
}

// take takes the first of the running timers that matches; nil is none.
func (all *timers) take(match func(*timer) bool) *timer {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := slices.IndexFunc(all.running, match)
	if n < 0 {
		return nil
	}
	t := all.running[n]
	all.running = slices.Delete(all.running, n, n+1)
	return t
}

// expire waits until a timer of that step runs, and has it end.
func (all *timers) expire(t testing.TB, step string) {
	t.Helper()
	eventually(t, "there is a timer for the step "+step, func() bool {
		x := all.take(func(x *timer) bool { return x.step == step })
		if x != nil {
			x.f()
		}
		return x != nil
	})
}

// noPause starts workers again at once.
func noPause(int) time.Duration { return 0 }

// A worker that does not answer is killed, and its client is served by another,
// for nothing was exported. Others are served meanwhile.
func TestDeafWorker(t *testing.T) {
	var timers timers
	x := serve(t, &Server{Command: roleAt("deaf", "echo"), Workers: 1, after: timers.after})
	deaf := x.ready(t, 1)
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	timers.expire(t, "answer")
	talk(t, c) // with the second one
	leave(t, c)
	ended := x.expect(t, 1, "the end of the deaf worker", is("WorkerEnded"))
	if ended.PID != deaf.PID || !errors.Is(ended.err, errHung) {
		t.Errorf("%+v", ended)
	}
	x.wantStats(t, Stats{Accepted: 1, Done: 1, Started: 2, Ended: 2, Failed: 1})
}

// Who owes an answer for long gets no more connections while others answer.
func TestLeastBusy(t *testing.T) {
	now := time.Now()
	long := now.Add(-2 * silence)
	for _, test := range []struct {
		name    string
		workers []*worker
		infos   []Counts
		want    int
	}{
		{"the fewest", []*worker{{}, {}, {}}, []Counts{{Active: 3}, {Active: 1, Pending: 1}, {Active: 2, Pending: 1}}, 1},
		{"the first of equals", []*worker{{}, {}}, []Counts{{Active: 1}, {Pending: 1}}, 0},
		{"not the silent one", []*worker{{sending: 1, heard: long}, {}}, []Counts{{Pending: 1}, {Active: 100}}, 1},
		{"nor at the end", []*worker{{}, {sending: 1, heard: long}}, []Counts{{Active: 100}, {Pending: 1}}, 0},
		{"one that was asked just now is not silent", []*worker{{sending: 1, heard: now}, {}}, []Counts{{Pending: 1}, {Active: 100}}, 0},
		{"one that was asked nothing is not silent", []*worker{{heard: long}, {}}, []Counts{{}, {Active: 100}}, 0},
		{"all are silent", []*worker{{sending: 2, heard: long}, {sending: 1, heard: long}}, []Counts{{Pending: 2}, {Pending: 1}}, 1},
	} {
		var infos []WorkerInfo
		for _, c := range test.infos {
			infos = append(infos, WorkerInfo{Counts: c})
		}
		if got := leastBusy(test.workers, infos); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

// A worker that stops in the midst of its work is killed, and its clients are not
// held up longer than that.
func TestStoppedWorker(t *testing.T) {
	var timers timers
	x := serve(t, &Server{Command: command("echo"), Workers: 1, after: timers.after})
	stopped := x.ready(t, 1)
	held := dial(t, x.l.Addr())
	talk(t, held)
	x.expect(t, 1, "the delivery", is("HandedOver")) // the Server has stopped its timer
	check(t, syscall.Kill(stopped.PID, syscall.SIGSTOP))
	_, err := syscall.Wait4(stopped.PID, nil, syscall.WUNTRACED, nil) // until all its threads have stopped
	check(t, err)
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	timers.expire(t, "answer")
	talk(t, c) // with the next one
	leave(t, c)
	cut(t, held)
	if ended := x.expect(t, 1, "its end", is("WorkerEnded")); ended.PID != stopped.PID || !errors.Is(ended.err, errHung) {
		t.Errorf("%+v", ended)
	}
	x.wantStats(t, Stats{Accepted: 2, Done: 1, Crashed: 1, Started: 2, Ended: 2, Failed: 1})
}

// A worker that has a connection and does not say so is killed: the client is
// lost, for its context was exported.
func TestStuckWorker(t *testing.T) {
	var timers timers
	g := newGate("sent")
	g.armed <- struct{}{}
	x := serve(t, &Server{Command: roleAt("stuck", "echo"), Workers: 1, after: timers.after, Session: Options{gate: g.pass}})
	stuck := x.ready(t, 1)
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	<-g.reached
	timers.expire(t, "answer")
	close(g.opened)
	cut(t, c)
	lost := x.expect(t, 1, "the loss", is("Lost"))
	if lost.PID != stuck.PID || !errors.Is(lost.err, ErrLost) || !errors.Is(lost.err, errHung) {
		t.Errorf("%+v", lost)
	}
	x.client(t)
	x.wantStats(t, Stats{Accepted: 2, Lost: 1, Done: 1, Started: 2, Ended: 2, Failed: 1})
}

// A worker that answers what was not asked is ended; nothing is lost.
func TestLyingWorker(t *testing.T) {
	x := serve(t, &Server{Command: roleAt("liar", "echo"), Workers: 1})
	x.client(t)
	if ended := x.expect(t, 1, "the end of the liar", is("WorkerEnded")); !errors.Is(ended.err, ErrMessage) {
		t.Errorf("%+v", ended)
	}
	x.wantStats(t, Stats{Accepted: 1, Done: 1, Started: 2, Ended: 2, Failed: 1})
}

// saying starts workers of a role whose lines add is told.
func saying(t *testing.T, role string, add func(line)) func(string) (*exec.Cmd, error) {
	r, w, err := os.Pipe()
	check(t, err)
	read := make(chan struct{})
	go func() {
		defer close(read)
		readLines(r, add)
	}()
	t.Cleanup(func() {
		w.Close()
		<-read
		r.Close()
	})
	return func(g string) (*exec.Cmd, error) {
		cmd, err := command(role)(g)
		cmd.Env = append(cmd.Env, sayEnv+"=1")
		cmd.Stdout = w
		return cmd, err
	}
}

// A worker that says that it has no place, and has, is not asked again and again.
func TestFullWorker(t *testing.T) {
	var x *served
	x = serve(t, &Server{
		Command:         saying(t, "full", func(l line) { x.add(l) }),
		Workers:         1,
		HandoverTimeout: 50 * time.Millisecond,
	})
	x.ready(t, 1)
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	cut(t, c)
	if refused := x.expect(t, 1, "the refusal", is("Refused")); !errors.Is(refused.err, errNoWorker) {
		t.Errorf("%+v", refused)
	}
	if n := len(x.all(is("asked"))); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
	check(t, x.Close())
}

// A worker that refuses what it is offered decides.
func TestStrictWorker(t *testing.T) {
	x := serve(t, &Server{Command: command("strict"), Workers: 1})
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	cut(t, c)
	refused := x.expect(t, 1, "the refusal", is("Refused"))
	if !errors.Is(refused.err, ErrRefused) || !strings.Contains(refused.Err, "not on a Friday") || refused.Peer != "alice@"+realm.Name() {
		t.Errorf("%+v", refused)
	}
	x.wantStats(t, Stats{Accepted: 1, Refused: 1, Started: 1, Ended: 1})
}

// What cannot be started is tried again after a pause, and not before; Restart does not wait.
func TestNoWorker(t *testing.T) {
	none := errors.New("none today")
	for _, test := range []struct {
		name    string
		command func(string) (*exec.Cmd, error)
		failed  int64
		want    func(line) bool
	}{
		{"error", func(string) (*exec.Cmd, error) { return nil, none }, 4, func(l line) bool { return errors.Is(l.err, none) }},
		{"nil", func(string) (*exec.Cmd, error) { return nil, nil }, 4, func(l line) bool { return strings.Contains(l.Err, "Command") }},
		{"no such program", func(string) (*exec.Cmd, error) { return exec.Command("/nonexistent"), nil }, 4, func(l line) bool { return errors.Is(l.err, os.ErrNotExist) }},
		{"it exits", command("exit"), 4, func(l line) bool { return strings.Contains(l.Err, "exit status 3") }},
		{"it wants nothing", command("bored"), 0, func(l line) bool { return l.Err == "" && l.PID != 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var pauses []int
			var works atomic.Bool
			last := make(chan struct{})
			x := serve(t, &Server{
				Command: func(g string) (*exec.Cmd, error) {
					if works.Load() {
						return command("echo")(g)
					}
					return test.command(g)
				},
				Workers:         1,
				HandoverTimeout: 20 * time.Millisecond,
				Backoff: func(n int) time.Duration {
					if pauses = append(pauses, n); n < 3 {
						return time.Duration(n) * time.Millisecond
					}
					close(last)
					return time.Hour
				},
			})
			<-last
			c := dial(t, x.l.Addr())
			check(t, c.Handshake())
			cut(t, c)
			if refused := x.expect(t, 1, "the refusal", is("Refused")); !errors.Is(refused.err, errNoWorker) {
				t.Errorf("%+v", refused)
			}
			eventually(t, "four workers have been started, and have ended", func() bool {
				return x.Stats() == Stats{Accepted: 1, Refused: 1, Started: 4, Ended: 4, Failed: test.failed}
			})
			if !slices.Equal(pauses, []int{0, 1, 2, 3}) {
				t.Errorf("it waited for %v", pauses)
			}
			if l := x.expect(t, 4, "the failures", is("WorkerStarted")); !test.want(l) {
				t.Errorf("%+v", l)
			}
			works.Store(true)
			check(t, x.Restart(t.Context()))
			x.expect(t, 5, "a worker", is("WorkerStarted"))
			x.client(t)
			check(t, x.Shutdown(t.Context()))
		})
	}
}

// A worker that does not start to take connections is killed. One that was of use
// is started again at once.
func TestBackoff(t *testing.T) {
	var pauses atomic.Int64
	var timers timers
	x := serve(t, &Server{
		Command: roleAt("asleep", "echo"), Workers: 1, after: timers.after,
		Backoff: func(n int) time.Duration {
			if pauses.Add(1); n != 0 {
				t.Errorf("%d failures in a row", n)
			}
			return 0
		},
	})
	timers.expire(t, "start")
	timers.expire(t, "last words") // it does not end by itself
	if l := x.expect(t, 1, "the failure", is("WorkerStarted")); !errors.Is(l.err, errHung) || l.PID == 0 {
		t.Errorf("%+v", l)
	}
	for n := range 3 {
		x.expect(t, n+2, "a worker", is("WorkerStarted"))
		x.client(t)
		eventually(t, "the Server knows of the end", func() bool { return x.Stats().Done == int64(n+1) })
		x.killWorkers()
		if l := x.expect(t, n+1, "its end", is("WorkerEnded")); !strings.Contains(l.Err, "killed") {
			t.Errorf("%+v", l)
		}
	}
	if n := pauses.Load(); n != 1 {
		t.Errorf("it paused %d times", n)
	}
	for want, n := range map[time.Duration]int{0: 0, 100 * time.Millisecond: 1, 400 * time.Millisecond: 3, 30 * time.Second: 1000} {
		if got := new(Server).backoff(n); got != want {
			t.Errorf("after %d failures it pauses for %v, want %v", n, got, want)
		}
	}
}

// killWorkers kills all workers, as a crash does: the Server is not told.
func (x *served) killWorkers() {
	x.Server.mu.Lock()
	defer x.Server.mu.Unlock()
	for w := range x.workers {
		if w.cmd != nil {
			w.cmd.Process.Kill()
		}
	}
}

// A worker's end is seen, though a child of it has its output and its session open.
func TestOutputOfOthers(t *testing.T) {
	var output lockedBuffer
	var timers timers
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	x := serve(t, &Server{
		Command: func(string) (*exec.Cmd, error) {
			cmd := exec.Command("/bin/sh", "-c", "cat <&3 & echo last words >&2") // the child lives until w is closed
			cmd.ExtraFiles = []*os.File{r}
			cmd.Stderr = &output
			return cmd, nil
		},
		Workers: 1, after: timers.after,
		Backoff: func(int) time.Duration { return time.Hour },
	})
	timers.expire(t, "last words")
	x.expect(t, 1, "the end of the worker", is("WorkerStarted"))
	if got := output.String(); got != "last words\n" {
		t.Errorf("%q", got)
	}
	check(t, x.Close())
	check(t, w.Close())
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// ---- who gets what ----

// A connection waits for a place, and for HandoverTimeout at most.
func TestNoPlace(t *testing.T) {
	x := serve(t, &Server{Command: command("one"), Workers: 1, HandoverTimeout: patience})
	first, second := dial(t, x.l.Addr()), dial(t, x.l.Addr())
	talk(t, first)
	check(t, second.Handshake())
	eventually(t, "the second one waits", func() bool { return x.Stats().Waiting == 1 })
	leave(t, first)
	talk(t, second)
	leave(t, second)
	x.wantStats(t, Stats{Accepted: 2, Done: 2, Started: 1, Ended: 1})

	x = serve(t, &Server{Command: command("one"), Workers: 1, HandoverTimeout: 50 * time.Millisecond})
	x.ready(t, 1)
	first = dial(t, x.l.Addr())
	talk(t, first)
	second = dial(t, x.l.Addr())
	check(t, second.Handshake())
	cut(t, second)
	if refused := x.expect(t, 1, "the refusal", is("Refused")); !errors.Is(refused.err, errNoWorker) {
		t.Errorf("%+v", refused)
	}
	leave(t, first)
	x.wantStats(t, Stats{Accepted: 2, Refused: 1, Done: 1, Started: 1, Ended: 1})
}

func TestPick(t *testing.T) {
	var x *served
	var calls atomic.Int64
	x = serve(t, &Server{
		Command: command("one"), Workers: 3,
		Pick: func(i *gssapi.ContextInfo, workers []WorkerInfo) int {
			x.Stats() // may be asked
			if i.Peer().String() != "alice@"+realm.Name() {
				t.Errorf("it is about %v", i.Peer())
			}
			if calls.Add(1) == 1 {
				go x.Server.count(func(*Stats) {}) // something changes
				return -1
			}
			last := 0
			for n, w := range workers {
				if w.Capacity != 1 || w.Active != 0 || w.PID == 0 {
					t.Errorf("%+v is offered", w)
				}
				if w.Worker > workers[last].Worker {
					last = n
				}
			}
			return last
		},
	})
	x.ready(t, 3)
	var all []*gssapi.Conn
	for range 3 {
		c := dial(t, x.l.Addr())
		talk(t, c)
		all = append(all, c)
	}
	for n, c := range all {
		remote := c.LocalAddr().String()
		l := x.expect(t, 1, "the delivery", func(l line) bool { return l.What == "HandedOver" && l.Remote == remote })
		if l.Worker != 3-n {
			t.Errorf("connection %d went to worker %d", n, l.Worker)
		}
	}
	if n := calls.Load(); n != 4 {
		t.Errorf("Pick was called %d times", n)
	}
	for _, c := range all {
		leave(t, c)
	}
	x.wantStats(t, Stats{Accepted: 3, Done: 3, Started: 3, Ended: 3})
}

func TestPrepare(t *testing.T) {
	no := errors.New("not you")
	var x *served
	prepare := func(ctx context.Context, h *Handoff, i *gssapi.ContextInfo) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("it has no end")
		}
		h.Data = []byte("for " + i.Peer().String())
		h.SendDelegated = i.Flags&gssapi.FlagDeleg != 0
		if len(x.all(is("Accepted"))) == 3 {
			return no
		}
		return nil
	}
	x = serve(t, &Server{Command: command("who"), Workers: 1, Prepare: prepare})
	for _, test := range []struct {
		flags     gssapi.Flags
		delegated string
	}{{0, ""}, {gssapi.FlagDeleg, "alice@" + realm.Name()}} {
		conn, err := net.Dial("tcp", x.l.Addr().String())
		check(t, err)
		target, err := gssapi.HostService("host", "server.test")
		check(t, err)
		c := gssapi.Client(conn, target, &gssapi.InitiatorOptions{Flags: test.flags})
		answer, err := ask(c, keytabOf(os.Getenv("KRB5_KTNAME")))
		check(t, err)
		var got whoAnswer
		check(t, json.Unmarshal([]byte(answer), &got))
		if got.Peer != "alice@"+realm.Name() || got.Data != "for "+got.Peer || got.Delegated != test.delegated {
			t.Errorf("%+v", got)
		}
		leave(t, c)
	}
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	cut(t, c)
	if refused := x.expect(t, 1, "the refusal", is("Refused")); !errors.Is(refused.err, no) {
		t.Errorf("%+v", refused)
	}
	x.wantStats(t, Stats{Accepted: 3, Refused: 1, Done: 2, Started: 1, Ended: 1})
}

// A client may be authenticated in another way.
func TestHandshake(t *testing.T) {
	no := errors.New("no")
	handshake := func(ctx context.Context, conn net.Conn) (*Handoff, error) {
		b := make([]byte, 5)
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, err
		}
		c := gssapi.Server(conn, nil)
		switch string(b) {
		case "none\n":
			return nil, nil
		case "half\n":
			return &Handoff{Conn: conn, Context: gssapi.NewAcceptor(nil)}, nil
		case "fail\n":
			if err := c.HandshakeContext(ctx); err != nil {
				return nil, err
			}
			h, err := FromConn(c)
			return h, errors.Join(no, err)
		}
		if err := c.Handshake(); err != nil {
			return nil, err
		}
		return FromConn(c)
	}
	x := serve(t, &Server{Command: command("echo"), Workers: 1, Handshake: handshake, HandshakeTimeout: patience})
	for n, test := range []struct {
		text string
		want func(line) bool
	}{
		{"none\n", func(l line) bool { return strings.Contains(l.Err, "no established context") }},
		{"half\n", func(l line) bool { return strings.Contains(l.Err, "no established context") }},
		{"fail\n", func(l line) bool { return errors.Is(l.err, no) }},
	} {
		c := dial(t, x.l.Addr())
		_, err := io.WriteString(c.NetConn(), test.text)
		check(t, err)
		done := make(chan error, 1)
		go func() { done <- c.Handshake() }()
		if l := x.expect(t, n+1, "the failure of "+test.text, is("HandshakeFailed")); !test.want(l) {
			t.Errorf("%s: %+v", test.text, l)
		}
		<-done
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: it was served", test.text)
		}
	}
	c := dial(t, x.l.Addr())
	_, err := io.WriteString(c.NetConn(), "good\n")
	check(t, err)
	talk(t, c)
	leave(t, c)
	x.wantStats(t, Stats{Accepted: 4, HandshakeFailed: 3, Done: 1, Started: 1, Ended: 1})

	// What takes too long is not served, also if it has come to an end after all.
	for what, handshake := range map[string]func(ctx context.Context, conn net.Conn) (*Handoff, error){
		"too slow": func(ctx context.Context, conn net.Conn) (*Handoff, error) {
			if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection is to have a deadline: %v", err)
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
		"too late": func(ctx context.Context, conn net.Conn) (*Handoff, error) {
			client, h := established(t, nil, nil)
			client.Close()
			<-ctx.Done()
			return &Handoff{Conn: conn, Context: h.Context}, nil
		},
	} {
		x := serve(t, &Server{Handshake: handshake, HandshakeTimeout: 20 * time.Millisecond})
		c := dial(t, x.l.Addr())
		if l := x.expect(t, 1, what, is("HandshakeFailed")); !errors.Is(l.err, errTooSlow) {
			t.Errorf("%s: %+v", what, l)
		}
		if err := c.Handshake(); err == nil {
			t.Errorf("%s: it was served", what)
		}
		x.wantStats(t, Stats{Accepted: 1, HandshakeFailed: 1})
	}
}

// ---- ends and beginnings ----

// No connection is lost while workers are replaced.
func TestRestart(t *testing.T) {
	x := serve(t, &Server{Command: command("echo"), Workers: 2})
	x.ready(t, 2)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var count atomic.Int64
	for range 6 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", x.l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				c, _ := clientOf(conn)
				if answer, err := ask(c, "hello"); err != nil || answer != "alice@"+realm.Name()+": hello" {
					t.Errorf("%q, %v", answer, err)
				}
				c.Close()
				count.Add(1)
			}
		})
	}
	held := dial(t, x.l.Addr())
	talk(t, held)
	for n := range 3 {
		check(t, x.Restart(t.Context()))
		before := count.Load()
		eventually(t, "more are served", func() bool { return count.Load() > before+20 })
		if n == 2 {
			talk(t, held) // its worker is told to end, and goes on with it
			leave(t, held)
		}
	}
	close(stop)
	clients.Wait()
	all := count.Load() + 1
	x.wantStats(t, Stats{Accepted: all, Done: all, Started: 8, Ended: 8})
}

// Where no new worker comes, the old ones stay.
func TestRestartFails(t *testing.T) {
	var broken atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	x := serve(t, &Server{
		Command: func(g string) (*exec.Cmd, error) {
			if broken.Load() {
				return nil, errors.New("broken")
			}
			return command("echo")(g)
		},
		Workers: 2,
		Backoff: func(n int) time.Duration {
			if n < 2 {
				return 0
			}
			cancel()
			return time.Hour
		},
	})
	x.ready(t, 2)
	held := dial(t, x.l.Addr())
	talk(t, held)
	broken.Store(true)
	if err := x.Restart(ctx); err != context.Canceled {
		t.Errorf("Restart: %v", err)
	}
	x.client(t)
	talk(t, held)
	if got := x.Stats(); got.Workers != 2 || got.Ended != got.Failed {
		t.Errorf("%+v", got)
	}
	broken.Store(false)
	check(t, x.Restart(t.Context()))
	leave(t, held)
	x.client(t)
	check(t, x.Shutdown(t.Context()))
	if got := x.Stats(); got.Done != 3 || got.Accepted != 3 {
		t.Errorf("%+v", got)
	}
}

// shutting starts a Shutdown, and returns when no more is accepted.
func (x *served) shutting(t *testing.T, ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- x.Shutdown(ctx) }()
	eventually(t, "the listener is closed", func() bool {
		conn, err := net.Dial("tcp", x.l.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	return done
}

// Shutdown waits for all that was accepted.
func TestShutdown(t *testing.T) {
	x := serve(t, &Server{Command: command("echo"), Workers: 1})
	held, early := dial(t, x.l.Addr()), dial(t, x.l.Addr())
	talk(t, held)
	x.expect(t, 2, "the second client", is("Accepted"))
	done := x.shutting(t, t.Context())
	talk(t, early) // whose handshake only begins
	talk(t, held)
	leave(t, held)
	select {
	case err := <-done:
		t.Errorf("Shutdown does not wait: %v", err)
	default:
	}
	leave(t, early)
	check(t, <-done)
	if got := x.Stats(); got.Done != 2 || got.Crashed != 0 || got.Failed != 0 {
		t.Errorf("%+v", got)
	}
}

// When its time is over Shutdown is Close.
func TestShutdownEnds(t *testing.T) {
	x := serve(t, &Server{Command: command("echo"), Workers: 1})
	held := dial(t, x.l.Addr())
	talk(t, held)
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := x.shutting(t, ctx)
	cancel(over)
	if err := <-done; err != over {
		t.Errorf("Shutdown: %v", err)
	}
	cut(t, held)
	if got := x.Stats(); got.Crashed != 1 || got.Workers != 0 {
		t.Errorf("%+v", got)
	}
}

// A worker that was told to end, has nothing left, and does not is killed.
func TestShutdownOfDeaf(t *testing.T) {
	var timers timers
	x := serve(t, &Server{Command: command("deaf"), Workers: 1, after: timers.after})
	x.ready(t, 1)
	done := make(chan error, 1)
	go func() { done <- x.Shutdown(t.Context()) }()
	timers.expire(t, "end")
	check(t, <-done)
	if ended := x.expect(t, 1, "its end", is("WorkerEnded")); !errors.Is(ended.err, errHung) {
		t.Errorf("%+v", ended)
	}
}

// Close at any moment leaves nothing: see serve.
func TestClose(t *testing.T) {
	t.Run("before Serve", func(t *testing.T) {
		s := new(Server)
		check(t, s.Close())
		x := serve(t, s)
		check(t, x.Shutdown(t.Context()))
	})
	t.Run("during a handshake", func(t *testing.T) {
		x := serve(t, &Server{Command: command("echo"), Workers: 1})
		c := dial(t, x.l.Addr())
		x.expect(t, 1, "the client", is("Accepted"))
		check(t, x.Close())
		if err := c.Handshake(); err == nil {
			t.Error("the client is served")
		}
		if l := x.expect(t, 1, "its failure", is("HandshakeFailed")); !errors.Is(l.err, ErrServerClosed) {
			t.Errorf("%+v", l)
		}
	})
	t.Run("while a worker starts", func(t *testing.T) {
		x := serve(t, &Server{Command: command("asleep"), Workers: 2})
		eventually(t, "the processes are there", func() bool {
			x.Server.mu.Lock()
			defer x.Server.mu.Unlock()
			n := 0
			for w := range x.workers {
				if w.cmd != nil {
					n++
				}
			}
			return n == 2
		})
		c := dial(t, x.l.Addr())
		check(t, c.Handshake())
		eventually(t, "the client waits", func() bool { return x.Stats().Waiting == 1 })
		check(t, x.Close())
		cut(t, c)
		if got, want := x.Stats(), (Stats{Accepted: 1, Refused: 1, Started: 2, Ended: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
	t.Run("while a command is made", func(t *testing.T) {
		called, made := make(chan struct{}), make(chan struct{})
		x := serve(t, &Server{Workers: 1, Command: func(g string) (*exec.Cmd, error) {
			close(called)
			<-made
			return command("asleep")(g)
		}})
		<-called
		done := make(chan error, 1)
		go func() { done <- x.Close() }()
		<-x.ctx.Done()
		close(made)
		check(t, <-done)
	})
	for _, step := range []string{"export", "send"} {
		t.Run("at step "+step, func(t *testing.T) {
			g := newGate(step)
			g.armed <- struct{}{}
			x := serve(t, &Server{Command: command("echo"), Workers: 1, Session: Options{gate: g.pass}})
			c := dial(t, x.l.Addr())
			check(t, c.Handshake())
			<-g.reached
			done := make(chan error, 1)
			go func() { done <- x.Close() }()
			<-x.ctx.Done()
			close(g.opened)
			check(t, <-done)
			cut(t, c)
		})
	}
	t.Run("before the acknowledgement", func(t *testing.T) {
		g := newGate("sent")
		g.armed <- struct{}{}
		x := serve(t, &Server{Command: command("stuck"), Workers: 1, Session: Options{gate: g.pass}})
		c := dial(t, x.l.Addr())
		check(t, c.Handshake())
		<-g.reached
		close(g.opened)
		check(t, x.Close())
		cut(t, c)
		if got, want := x.Stats(), (Stats{Accepted: 1, Lost: 1, Started: 1, Ended: 1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
	t.Run("during a pause", func(t *testing.T) {
		paused := make(chan struct{})
		x := serve(t, &Server{Command: command("exit"), Workers: 1, Backoff: func(int) time.Duration {
			close(paused)
			return time.Hour
		}})
		<-paused
		check(t, x.Close())
	})
	t.Run("several times at once", func(t *testing.T) {
		x := serve(t, &Server{Command: command("echo"), Workers: 2})
		c := dial(t, x.l.Addr())
		talk(t, c)
		var all sync.WaitGroup
		for n := range 6 {
			all.Go(func() {
				if n%2 == 0 {
					x.Shutdown(t.Context())
				} else if err := x.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		cut(t, c)
	})
}

// ---- groups ----

// Groups come when they are needed, and go when they are not.
func TestGroups(t *testing.T) {
	var group atomic.Value
	no := errors.New("no group for you")
	o := &Server{Command: command("echo"), Workers: 1, MaxGroups: 2, Group: func(h *Handoff, i *gssapi.ContextInfo) (string, error) {
		if i.Peer().String() != "alice@"+realm.Name() || !h.Context.Established() {
			t.Errorf("it is about %v", i.Peer())
		}
		if g := group.Load().(string); g != "" {
			return g, nil
		}
		return "", no
	}}
	x := serve(t, o)
	client := func(g string) *gssapi.Conn {
		group.Store(g)
		c := dial(t, x.l.Addr())
		check(t, c.Handshake())
		return c
	}
	one, two := client("one"), client("one")
	talk(t, one)
	talk(t, two)
	other := client("other")
	talk(t, other)
	cut(t, client("third"))
	if l := x.expect(t, 1, "the refusal", is("Refused")); l.err != errTooManyGroups || l.Group != "third" {
		t.Errorf("%+v", l)
	}
	cut(t, client(""))
	if l := x.expect(t, 2, "the refusal", is("Refused")); l.err != no {
		t.Errorf("%+v", l)
	}
	leave(t, one)
	leave(t, two)
	eventually(t, "the group is idle", func() bool {
		x.Server.mu.Lock()
		defer x.Server.mu.Unlock()
		return x.groups["one"].idle != nil && x.groups["other"].idle == nil
	})
	third := client("third") // in the place of one
	talk(t, third)
	if l := x.expect(t, 1, "the end of the first group's worker", is("WorkerEnded")); l.Group != "one" || l.Err != "" {
		t.Errorf("%+v", l)
	}
	talk(t, other)
	leave(t, other)
	leave(t, third)
	x.wantStats(t, Stats{Accepted: 6, Refused: 2, Done: 4, Started: 3, Ended: 3})
	for _, l := range x.all(is("HandedOver")) {
		if w := x.expect(t, 1, "its worker", func(w line) bool { return w.What == "WorkerStarted" && w.PID == l.PID }); w.Group != l.Group {
			t.Errorf("%+v was handed to %+v", l, w)
		}
	}

	// What is not needed for IdleTimeout ends, though it has just been started.
	o = &Server{Command: command("echo"), Workers: 2, IdleTimeout: time.Millisecond, Group: o.Group}
	x = serve(t, o)
	one = client("one")
	talk(t, one)
	leave(t, one)
	for range 2 {
		if l := x.expect(t, 1, "the end of the group's worker", is("WorkerEnded")); l.Err != "" {
			t.Errorf("%+v", l)
		}
	}
	eventually(t, "the group is gone", func() bool { return x.Stats().Workers == 0 })
	one = client("one")
	talk(t, one)
	leave(t, one)
	x.wantStats(t, Stats{Accepted: 2, Done: 2, Started: 4, Ended: 4})

	// So does what was of no use.
	x = serve(t, &Server{Command: command("strict"), Workers: 1, IdleTimeout: time.Millisecond, Group: o.Group})
	cut(t, client("one"))
	x.expect(t, 1, "the end of a worker that takes nothing", is("WorkerEnded"))

	// A group that has no worker is idle, too, until the Server is closed.
	x = serve(t, &Server{Command: func(string) (*exec.Cmd, error) { return nil, errors.New("none today") }, Workers: 1, Group: o.Group,
		HandoverTimeout: time.Millisecond, Backoff: func(int) time.Duration { return time.Hour }})
	cut(t, client("one"))
	eventually(t, "the group is idle", func() bool {
		x.Server.mu.Lock()
		defer x.Server.mu.Unlock()
		return x.groups["one"].idle != nil
	})
}

// ---- what is told ----

// Each connection's and each worker's events come in their order, and hold no
// secrets.
func TestTrace(t *testing.T) {
	var output lockedBuffer
	logger := LogTrace(slog.New(slog.NewJSONHandler(&output, &slog.HandlerOptions{Level: slog.LevelDebug})))
	g := newGate("send")
	s := &Server{Command: roleAt("echo", "echo"), Workers: 1, Trace: logger, Session: Options{gate: g.pass}}
	s.Prepare = func(_ context.Context, h *Handoff, _ *gssapi.ContextInfo) error {
		h.Data = []byte("the-secret-of-the-application")
		return nil
	}
	needsExport(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := dial(t, l.Addr())
	talk(t, c)
	leave(t, c)
	silent := dial(t, l.Addr())
	check(t, silent.NetConn().Close())
	g.armed <- struct{}{}
	lost := dial(t, l.Addr())
	check(t, lost.Handshake())
	<-g.reached
	(&served{Server: s}).killWorkers()
	close(g.opened)
	cut(t, lost)
	eventually(t, "there is another worker", func() bool { return s.Stats().Workers == 1 && s.Stats().Ended == 1 })
	check(t, s.Shutdown(t.Context()))
	if err := <-done; err != ErrServerClosed {
		t.Error(err)
	}

	told := make(map[string][]string) // of each client, and of the worker
	in := json.NewDecoder(strings.NewReader(output.String()))
	in.DisallowUnknownFields()
	for in.More() {
		var r struct {
			Time       time.Time
			Level, Msg string
			Handoff    struct {
				Worker, PID         int
				Group, Remote, Peer string
				Error               json.RawMessage
				Duration            time.Duration
			}
		}
		check(t, in.Decode(&r))
		told[r.Handoff.Remote] = append(told[r.Handoff.Remote], strings.TrimSpace(r.Level+" "+r.Msg+" "+r.Handoff.Peer))
		if (r.Level == "WARN") != (r.Handoff.Error != nil) {
			t.Errorf("%+v", r)
		}
		if (r.Handoff.Peer == "" && r.Handoff.Remote != "") != (r.Handoff.PID == 0) {
			t.Errorf("%+v", r)
		}
	}
	peer := " alice@" + realm.Name()
	want := map[string][]string{
		c.LocalAddr().String():      {"DEBUG connection accepted", "DEBUG connection handed over" + peer},
		silent.LocalAddr().String(): {"DEBUG connection accepted", "WARN handshake failed"},
		lost.LocalAddr().String():   {"DEBUG connection accepted", "WARN connection lost on its way to a worker" + peer},
		"":                          {"INFO worker started", "WARN worker ended", "INFO worker started", "INFO worker ended"},
	}
	if d := cmp.Diff(want, told); d != "" {
		t.Error(d)
	}
	if text := output.String(); strings.Contains(text, "secret") || regexp.MustCompile(`[0-9a-zA-Z+/]{64}`).MatchString(text) {
		t.Errorf("there is something in it that looks like a secret: %s", text)
	}
}
