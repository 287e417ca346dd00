//go:build unix

package handoff

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed2651813c/gss/gssapi"
)

// What the processes of these tests are, and how they tell of themselves.

func init() {
	for role, o := range map[string]*Worker{
		"echo":   {Handler: echo},
		"one":    {Handler: echo, Options: ReceiverOptions{Places: 1}},
		"who":    {Handler: who},
		"stuck":  {Handler: echo, Options: ReceiverOptions{Options: Options{gate: stuckAt("acknowledge")}}},
		"strict": {Handler: echo, Options: ReceiverOptions{Admit: func(*Meta) error { return errors.New("not on a Friday") }}},
	} {
		roles[role] = func() int { return beWorker(context.Background(), o) }
	}
	roles["term"] = func() int { // leaves when it is asked to
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return beWorker(ctx, &Worker{Handler: echo})
	}
	roles["bored"] = func() int { // leaves at once
		ctx, cancel := context.WithCancel(context.Background())
		r, err := Inherited(ctx, nil)
		cancel()
		if err == nil {
			err = (&Worker{Handler: echo}).Serve(ctx, r)
		}
		return status(err)
	}
	roles["exit"] = func() int { return 3 }
	roles["asleep"] = func() int { return forever() } // never takes part
	roles["deaf"] = func() int {                      // starts, and never answers
		_, err := Inherited(context.Background(), nil)
		if err != nil {
			return status(err)
		}
		return forever()
	}
	roles["liar"] = func() int { // answers what was not asked
		r, err := Inherited(context.Background(), nil)
		if err == nil {
			_, _, err = r.link.read() // an offer
		}
		if err == nil {
			err = r.link.write(&message{Kind: isTaken, ID: 77}, -1)
		}
		if err != nil {
			return status(err)
		}
		return forever()
	}
	roles["full"] = func() int { // says that it has no place, whenever it is asked
		r, err := Inherited(context.Background(), nil)
		for err == nil {
			var m *message
			if m, _, err = r.link.read(); err == nil && m.Kind == isOffer {
				say(line{What: "asked"})
				err = r.link.write(&message{Kind: isRefuse, ID: m.ID, Busy: true}, -1)
			}
		}
		return status(err)
	}
	roles["dialer"] = func() int { // comes by itself
		k, err := ReadKeyFile(os.Getenv(keyEnv))
		if err != nil {
			return status(err)
		}
		r, err := Dial(context.Background(), os.Getenv(socketEnv), &ReceiverOptions{Options: Options{Key: k}})
		if err != nil {
			say(line{What: "no session", Err: err.Error()})
			return 1
		}
		return ended((&Worker{Handler: echo}).Serve(context.Background(), r))
	}
	roles["listeners"] = func() int { // tells which sockets it has got
		listeners, err := ActivationListeners()
		for _, l := range listeners {
			say(line{What: "listener", Addr: l.Addr().String()})
		}
		again, e := ActivationListeners()
		say(line{What: "listeners", Err: fmt.Sprint(err, len(again), e), Descriptors: descriptors(os.Getpid())})
		for _, kv := range os.Environ() {
			if strings.HasPrefix(kv, "LISTEN_") {
				say(line{What: "left", Err: kv})
			}
		}
		for _, l := range listeners { // it answers one client of each
			c, err := l.Accept()
			if err != nil {
				return status(err)
			}
			fmt.Fprintln(c, "hello")
			c.Close()
			l.Close()
		}
		return 0
	}
	roles["web"] = beWeb
	roles["acceptor"] = beAcceptor
	roles["client"] = beClient
	roles["asker"] = func() int { // prints what a worker of the role who answers
		conn, err := net.Dial("tcp", os.Getenv(askEnv))
		if err != nil {
			return status(err)
		}
		c, err := clientOf(conn)
		if err == nil {
			_, err = fmt.Fprintln(c, keytabOf(os.Getenv("KRB5_KTNAME")))
		}
		if err == nil {
			err = c.CloseWrite()
		}
		if err == nil {
			_, err = io.Copy(os.Stdout, c)
		}
		return status(err)
	}
}

// askEnv is the address that the role asker asks.
const askEnv = "HANDOFF_TEST_ASK"

// keytabOf is the file of a keytab's name.
func keytabOf(name string) string { return name[strings.Index(name, "/"):] }

func status(err error) int {
	if err != nil && err != io.EOF {
		fmt.Fprintln(os.Stderr, os.Getenv(roleEnv)+":", err)
		return 1
	}
	return 0
}

func forever() int {
	select {}
}

// beWorker is a worker process. It tells of its end.
func beWorker(ctx context.Context, w *Worker) int {
	if w.Options.gate == nil {
		w.Options.gate = gateOf("worker")
	}
	return ended(w.Run(ctx))
}

// ended tells of the end of a worker.
func ended(err error) int {
	say(line{What: "worker's end", Err: fmt.Sprint(err), Live: settle(), Descriptors: descriptors(os.Getpid())})
	if err == ErrAcceptorDied {
		return 0
	}
	return status(err)
}

// Environment variables of workers that come by themselves: the socket, and the
// file with the key.
const (
	socketEnv = "HANDOFF_TEST_SOCKET"
	keyEnv    = "HANDOFF_TEST_KEY"
)

// echo answers each line with the client's name and the line.
func echo(ctx context.Context, r *Received) {
	c := r.Conn(nil)
	defer c.Close()
	in := bufio.NewScanner(c)
	for in.Scan() {
		if _, err := fmt.Fprintf(c, "%s: %s\n", r.Peer(), in.Text()); err != nil {
			return
		}
	}
}

// who answers a line with what the worker is and has.
func who(ctx context.Context, r *Received) {
	c := r.Conn(nil)
	defer c.Close()
	in := bufio.NewScanner(c)
	for in.Scan() {
		_, denied := os.Open(in.Text()) // the keytab
		delegated := ""
		if r.Delegated != nil {
			i, err := r.Delegated.Info(ctx)
			delegated = fmt.Sprint(err)
			if err == nil {
				delegated = i.Name.String()
			}
		}
		var files []string
		fds, _ := os.ReadDir("/proc/self/fd")
		for _, fd := range fds {
			if n, _ := strconv.Atoi(fd.Name()); n <= 2 {
				continue // where the tests' output goes
			}
			if name, _ := os.Readlink("/proc/self/fd/" + fd.Name()); filepath.IsAbs(name) && name != os.DevNull && !strings.HasPrefix(name, "/sys/") { // Go's own

				files = append(files, name)
			}
		}
		json.NewEncoder(c).Encode(whoAnswer{
			Files: files,
			Peer:  r.Peer().Name, UID: os.Getuid(), PID: os.Getpid(), Keytab: fmt.Sprint(denied),
			Env: os.Environ(), Data: string(r.Data), Delegated: delegated,
		})
	}
}

type whoAnswer struct {
	Peer      string
	UID, PID  int
	Keytab    string // the error of opening it
	Env       []string
	Files     []string // that it has open, and that have a name
	Data      string
	Delegated string
}

// beWeb serves HTTP, in the clear, to the users that the acceptor has authenticated.
func beWeb() int {
	r, err := Inherited(context.Background(), nil)
	if err != nil {
		return status(err)
	}
	type key struct{}
	s := &http.Server{
		ErrorLog:    log.New(os.Stderr, "web: ", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			got, ok := FromNetConn(q.Context().Value(key{}).(net.Conn))
			if !ok {
				http.Error(w, "no connection of ours", http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "%s asks for %s", got.Peer(), q.URL.Path)
		}),
	}
	if err := s.Serve(NewListener(r)); !errors.Is(err, net.ErrClosed) {
		return status(err)
	}
	err = s.Shutdown(context.Background())
	<-r.Idle()
	say(line{What: "worker's end", Live: settle(), Descriptors: descriptors(os.Getpid())})
	return status(err)
}

// ---- lines ----

// line is what a process tells the test on its standard output, and what a Trace
// in the test's own process tells.
type line struct {
	What        string `json:",omitempty"` // name of a Trace's hook, or another
	Step        string `json:",omitempty"`
	PID         int    `json:",omitempty"` // of the worker that it is about, or of the process
	Worker      int    `json:",omitempty"`
	Group       string `json:",omitempty"`
	Remote      string `json:",omitempty"`
	Peer        string `json:",omitempty"`
	Err         string `json:",omitempty"`
	Live        int64  `json:",omitempty"` // handles
	Descriptors int    `json:",omitempty"`
	Addr        string `json:",omitempty"`
	Answers     int    `json:",omitempty"`
	Stats       *Stats `json:",omitempty"`

	err error // of a Trace in the test's own process
}

// sayEnv is set in processes whose standard output the test reads.
const sayEnv = "HANDOFF_TEST_SAY"

var sayMu sync.Mutex

func say(l line) {
	if os.Getenv(sayEnv) == "" {
		return
	}
	if l.PID == 0 {
		l.PID = os.Getpid()
	}
	b, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	sayMu.Lock()
	defer sayMu.Unlock()
	os.Stdout.Write(append(b, '\n')) // at once: others write there too
}

// traceTo tells f of all events.
func traceTo(f func(line)) *Trace {
	hook := func(what string) func(Event) {
		return func(e Event) {
			l := line{What: what, PID: e.PID, Worker: e.Worker, Group: e.Group, Remote: e.Remote, Peer: e.Peer, err: e.Err}
			if e.Err != nil {
				l.Err = e.Err.Error()
			}
			f(l)
		}
	}
	return &Trace{
		WorkerStarted: hook("WorkerStarted"), WorkerEnded: hook("WorkerEnded"), Accepted: hook("Accepted"), HandshakeFailed: hook("HandshakeFailed"),
		HandedOver: hook("HandedOver"), Refused: hook("Refused"), Lost: hook("Lost"), AcceptFailed: hook("AcceptFailed"),
	}
}

// record is the lines that came, for those who wait for one.
type record struct {
	mu      sync.Mutex
	lines   []line
	count   map[string]int64 // of all that came, by What
	keep    func(line) bool  // which are kept in lines; nil is all
	changed chan struct{}
	ended   bool // no more will come
}

func newRecord() *record {
	return &record{count: make(map[string]int64), changed: make(chan struct{})}
}

func (r *record) add(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[l.What]++
	if r.keep == nil || r.keep(l) {
		r.lines = append(r.lines, l)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// readLines tells f of the lines of processes, until nobody can write more.
func readLines(from io.Reader, f func(line)) {
	in := json.NewDecoder(from)
	for {
		var l line
		if err := in.Decode(&l); err != nil {
			return
		}
		f(l)
	}
}

// finish tells those who wait that no more will come.
func (r *record) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	close(r.changed)
	r.changed = make(chan struct{})
}

func is(what string) func(line) bool { return func(l line) bool { return l.What == what } }

// all returns the lines that match.
func (r *record) all(match func(line) bool) []line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.lines), func(l line) bool { return !match(l) })
}

// patience is how long a test waits for what should come at once.
const patience = 30 * time.Second

// expect waits until n lines match, and returns the last of those.
func (r *record) expect(t testing.TB, n int, what string, match func(line) bool) line {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		changed, ended := r.changed, r.ended
		r.mu.Unlock()
		if found := r.all(match); len(found) >= n {
			return found[n-1]
		}
		if ended {
			t.Fatalf("%s: the processes have ended; said was: %+v", what, r.all(func(line) bool { return true }))
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s does not come; said was: %+v", what, r.all(func(line) bool { return true }))
		}
	}
}

// end waits until all who write have ended.
func (r *record) end(t testing.TB) {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		changed, ended := r.changed, r.ended
		r.mu.Unlock()
		if ended {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("there are processes left; said was: %+v", r.all(func(line) bool { return true }))
		}
	}
}

// ---- gates ----

// gateEnv is set in processes that are to stop at a step: "SIDE:STEP:FILE". Who
// removes FILE stops there, says so, and goes on when it gets SIGUSR1.
const gateEnv = "HANDOFF_TEST_GATE"

func gateOf(side string) func(string) {
	parts := strings.SplitN(os.Getenv(gateEnv), ":", 3)
	if parts[0] != side {
		return nil
	}
	resume := make(chan os.Signal, 1)
	signal.Notify(resume, syscall.SIGUSR1)
	return func(step string) {
		if step == parts[1] && os.Remove(parts[2]) == nil {
			say(line{What: "gate", Step: step})
			<-resume
		}
	}
}

// stuckAt is a gate that never opens.
func stuckAt(step string) func(string) {
	return func(s string) {
		if s == step {
			forever()
		}
	}
}

// gate is one of a Server in the test's own process: it holds the first who comes
// to the step, after it was armed, until it is opened.
type gate struct {
	step    string
	armed   chan struct{} // has an item if it is
	reached chan struct{}
	opened  chan struct{}
}

func newGate(step string) *gate {
	return &gate{step, make(chan struct{}, 1), make(chan struct{}), make(chan struct{})}
}

func (g *gate) pass(step string) {
	if step != g.step {
		return
	}
	select {
	case <-g.armed:
		close(g.reached)
		<-g.opened
	default:
	}
}

// ---- the acceptor ----

// earlyBytes is more than one packet has room for.
const earlyBytes = 2 * maxPart

// early is a Server's Handshake that reads so much of what the client sends after
// the handshake, when it is to.
func early(when func() bool) func(context.Context, net.Conn) (*Handoff, error) {
	return func(ctx context.Context, conn net.Conn) (*Handoff, error) {
		c := gssapi.Server(conn, nil)
		if err := c.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		h, err := FromConn(c)
		if err != nil || !when() {
			return h, err
		}
		b := make([]byte, earlyBytes)
		n, err := io.ReadFull(conn, b)
		if h.Received = append(h.Received, b[:n]...); err != nil {
			h.Close()
			return nil, err
		}
		return h, nil
	}
}

// beAcceptor is an acceptor process, on the socket that it inherits. Its workers
// write to its standard output too. It does what it reads from its standard input.
func beAcceptor() int {
	listeners, err := ActivationListeners()
	if err != nil || len(listeners) != 1 {
		return status(fmt.Errorf("%d listeners, %v", len(listeners), err))
	}
	s := &Server{
		Command: func(string) (*exec.Cmd, error) {
			cmd := process("echo")
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			return cmd, nil
		},
		Workers: 1,
		Session: Options{gate: gateOf("acceptor")},
		Trace:   traceTo(say),
	}
	if gate := os.Getenv(gateEnv); strings.Contains(gate, ":part:") {
		s.Handshake = early(func() bool {
			_, err := os.Stat(gate[strings.LastIndex(gate, ":")+1:])
			return err == nil
		})
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listeners[0]) }()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "stats":
			t := s.Stats()
			say(line{What: "stats", Stats: &t, Live: settle(), Descriptors: descriptors(os.Getpid())})
		case "shutdown":
			err := s.Shutdown(context.Background())
			if e := <-served; err == nil && e != ErrServerClosed {
				err = e
			}
			t := s.Stats()
			say(line{What: "stats", Stats: &t, Live: settle(), Descriptors: descriptors(os.Getpid())})
			return status(err)
		}
	}
	return status(errors.New("nobody told the acceptor to end"))
}

// ---- clients ----

// beClient is many clients, one user: see clientOrder. It says how each has fared.
func beClient() int {
	var o clientOrder
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return status(err)
	}
	var all sync.WaitGroup
	places := make(chan struct{}, o.AtATime)
	for n := range o.Clients {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			say(o.one(n))
		})
	}
	all.Wait()
	return 0
}

// clientOrder is what clients are to do.
type clientOrder struct {
	Addr     string
	Clients  int
	AtATime  int
	Messages int    // that each sends, and gets an answer to
	Peer     string // as whom they are to be answered
}

// one is one client. Err is "" if all was served, "wrong: ..." if something came
// that must not; else it was cut.
func (o *clientOrder) one(n int) line {
	l := line{What: "client"}
	conn, err := net.Dial("tcp", o.Addr)
	if err != nil {
		l.Err = "wrong: " + err.Error()
		return l
	}
	defer conn.Close()
	l.Addr = conn.LocalAddr().String()
	c, err := clientOf(conn)
	if err != nil {
		l.Err = "wrong: " + err.Error()
		return l
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for m := range o.Messages {
		text := fmt.Sprintf("%d of client %d of %s", m, n, l.Addr)
		if _, err := fmt.Fprintln(c, text); err != nil {
			l.Err = "cut: " + err.Error()
			return l
		}
		answer, err := in.ReadString('\n')
		if err != nil {
			l.Err = "cut: " + err.Error()
			return l
		}
		if answer != o.Peer+": "+text+"\n" {
			l.Err = fmt.Sprintf("wrong: the answer to %q of %s is %q", text, o.Peer, answer)
			return l
		}
		l.Answers++
	}
	if err := c.CloseWrite(); err != nil {
		l.Err = "cut: " + err.Error()
		return l
	}
	if _, err := in.ReadByte(); err != io.EOF {
		l.Err = fmt.Sprintf("cut: %v at the end", err)
	}
	return l
}

// clientOf is a client over conn.
func clientOf(conn net.Conn) (*gssapi.Conn, error) {
	target, err := gssapi.HostService("host", "server.test")
	if err != nil {
		return nil, err
	}
	return gssapi.Client(conn, target, nil), nil
}

// ---- what is left ----

// descriptors is how many a process has open, but for those that Go opens when it
// first waits for something; 0 where the system does not tell.
func descriptors(pid int) (n int) {
	dir := filepath.Join("/proc", fmt.Sprint(pid), "fd")
	all, _ := os.ReadDir(dir)
	for _, fd := range all {
		name, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err == nil && name != dir && name != "anon_inode:[eventpoll]" && name != "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

// running reports whether there is a process of that number that has not ended.
func running(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		return !os.IsNotExist(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") // nobody has asked how it ended
}

// eventually waits for what nothing tells of.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not so", what)
		}
	}
}
