//go:build unix

package handoff

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
)

// What kill -9 leaves, at every step of a handoff. Whoever is at the step is held
// there; see the gates.

// killSteps are the steps, in their order. At which of them the connection has
// become the worker's, or nobody's, is what this is about.
var killSteps = []struct {
	name string
	side string // that is held; empty: nobody is, and the client has sent a part of a message
	step string
}{
	{"before the export", "acceptor", "export"},
	{"before it is sent", "acceptor", "send"},
	{"in the midst of what is sent", "acceptor", "part"},
	{"sent and not acknowledged", "worker", "import"},
	{"imported and not acknowledged", "worker", "acknowledge"},
	{"in the midst of a message of the client", "", ""},
}

// halves is a connection that can send the first half of what is written, and keep
// all else.
type halves struct {
	net.Conn
	mu   sync.Mutex
	keep bool
	rest []byte
}

func (h *halves) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.keep {
		return h.Conn.Write(p)
	}
	now := 0
	if h.rest == nil {
		now = len(p) / 2
	}
	h.rest = append(h.rest, p[now:]...)
	_, err := h.Conn.Write(p[:now])
	return len(p), err
}

// finish sends what was kept.
func (h *halves) finish() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep = false
	_, err := h.Conn.Write(h.rest)
	return err
}

// killClient is a client whose connection is at a step. It has sent more than the
// acceptor reads early.
type killClient struct {
	*gssapi.Conn
	halves *halves
	served chan error // nil: it got all its answers
}

func newKillClient(t testing.TB, a net.Addr) *killClient {
	t.Helper()
	conn, err := net.Dial(a.Network(), a.String())
	check(t, err)
	k := &killClient{halves: &halves{Conn: conn}, served: make(chan error, 1)}
	k.Conn, err = clientOf(k.halves)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return k
}

// talk sends lines and gets their answers, in the background.
func (k *killClient) talk() {
	text := strings.Repeat("x", 100)
	lines := 2 * earlyBytes / len(text)
	go func() {
		for range lines {
			if _, err := fmt.Fprintln(k, text); err != nil {
				return // which reading tells too
			}
		}
		k.CloseWrite()
	}()
	go func() {
		in := bufio.NewReader(k)
		for range lines {
			if answer, err := in.ReadString('\n'); err != nil || answer != "alice@"+realm.Name()+": "+text+"\n" {
				k.served <- fmt.Errorf("%q, %w", answer, err)
				return
			}
		}
		if _, err := in.ReadByte(); err != io.EOF {
			k.served <- fmt.Errorf("%v at the end", err)
			return
		}
		k.served <- nil
	}()
}

// A worker dies. Its clients end; the one that was under way is served by another
// worker if it was not exported; and so is the next one.
func TestKillWorker(t *testing.T) {
	for _, test := range killSteps {
		t.Run(test.name, func(t *testing.T) {
			armed := filepath.Join(t.TempDir(), "armed")
			g := newGate(test.step)
			var x *served
			echo := saying(t, "echo", func(l line) { x.add(l) })
			x = serve(t, &Server{
				Command: func(group string) (*exec.Cmd, error) {
					cmd, err := echo(group)
					cmd.Env = append(cmd.Env, gateEnv+"="+test.side+":"+test.step+":"+armed)
					return cmd, err
				},
				Workers: 1, Backoff: noPause, Session: Options{gate: g.pass},
				Handshake: early(func() bool { return test.step == "part" && len(g.armed) > 0 }),
			})
			worker := x.ready(t, 1)
			x.client(t)
			x.quiet(t)
			idle := descriptors(os.Getpid())
			held := dial(t, x.l.Addr())
			talk(t, held)

			var k *killClient
			x.Server.mu.Lock()
			var session *Sender
			for w := range x.workers {
				session = w.sender
			}
			x.Server.mu.Unlock()
			k = newKillClient(t, x.l.Addr())
			switch test.side {
			case "acceptor":
				g.armed <- struct{}{}
				k.talk()
				<-g.reached
			case "worker":
				check(t, os.WriteFile(armed, nil, 0o600))
				k.talk()
				x.expect(t, 1, "the step", is("gate"))
			default:
				talk(t, k.Conn)
				k.halves.keep = true
				k.talk()
			}
			x.killWorkers()
			<-session.Over() // the Server knows
			if test.side == "acceptor" {
				close(g.opened)
			}
			if k.halves.keep {
				k.halves.finish() // which may fail
			}
			cut(t, held)
			held.Close()

			want := Stats{Accepted: 4, Done: 2, Crashed: 1, Started: 2, Ended: 2, Failed: 1}
			err := <-k.served
			switch {
			case test.step == "export":
				check(t, err)
				want.Done++
			case err == nil:
				t.Error("the client was served")
			case test.side == "":
				want.Crashed++
			default:
				want.Lost++
				if l := x.expect(t, 1, "the loss", is("Lost")); l.PID != worker.PID || !errors.Is(l.err, ErrLost) {
					t.Errorf("%+v", l)
				}
			}
			check(t, k.Close())
			x.client(t) // with the next worker
			if running(worker.PID) {
				t.Error("the worker's process is still there")
			}
			if n := settle(); n != 0 {
				t.Errorf("%d contexts or other handles are left", n)
			}
			eventually(t, fmt.Sprintf("as many descriptors are open as before, %d", idle), func() bool { return descriptors(os.Getpid()) == idle })
			x.wantStats(t, want)
		})
	}
}

// acceptor is an acceptor's process, and its workers'.
type acceptor struct {
	*record
	*exec.Cmd
	in io.WriteCloser
}

// startAcceptor starts one on a listening socket.
func startAcceptor(t *testing.T, l *os.File, env ...string) *acceptor {
	t.Helper()
	child := process("acceptor", append(env, sayEnv+"=1", "LISTEN_FDS=1")...)
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, child.Path)
	cmd.Env, cmd.Stderr, cmd.ExtraFiles = child.Env, os.Stderr, []*os.File{l}
	in, err := cmd.StdinPipe()
	check(t, err)
	r, w, err := os.Pipe()
	check(t, err)
	cmd.Stdout = w
	check(t, cmd.Start())
	check(t, w.Close())
	a := &acceptor{newRecord(), cmd, in}
	go func() {
		readLines(r, a.add) // until all who write there have ended
		r.Close()
		a.finish()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill() // if it is still there; its workers end then
		cmd.Wait()
		a.end(t)
	})
	return a
}

// tell tells the acceptor to do something.
func (a *acceptor) tell(t testing.TB, what string) {
	t.Helper()
	_, err := fmt.Fprintln(a.in, what)
	check(t, err)
}

// stop shuts the acceptor down, and returns what it and its workers are at the end.
func (a *acceptor) stop(t testing.TB) (stats line, workers []line) {
	t.Helper()
	a.tell(t, "shutdown")
	a.end(t)
	check(t, a.Wait())
	return a.expect(t, 1, "the counts", is("stats")), a.all(is("worker's end"))
}

// An acceptor dies. Its workers finish what they hold, and the connection that was
// sent, and end. The next acceptor serves the next client, from the same socket.
func TestKillAcceptor(t *testing.T) {
	needsExport(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	socket, err := l.(*net.TCPListener).File()
	check(t, err)
	defer socket.Close()
	addr := l.Addr()
	check(t, l.Close())
	client := func(t *testing.T) {
		c := dial(t, addr)
		talk(t, c)
		leave(t, c)
	}

	// How it is when nothing goes wrong.
	a := startAcceptor(t, socket)
	client(t)
	stats, workers := a.stop(t)
	if want := (Stats{Accepted: 1, Done: 1, Started: 1, Ended: 1}); *stats.Stats != want || stats.Live != 0 {
		t.Errorf("%+v", stats)
	}
	if len(workers) != 1 || workers[0].Live != 0 || workers[0].Err != "<nil>" {
		t.Fatalf("%+v", workers)
	}
	usual := workers[0].Descriptors

	for _, test := range killSteps {
		t.Run(test.name, func(t *testing.T) {
			armed := filepath.Join(t.TempDir(), "armed")
			a := startAcceptor(t, socket, gateEnv+"="+test.side+":"+test.step+":"+armed)
			worker := a.expect(t, 1, "a worker", is("WorkerStarted"))
			held := dial(t, addr)
			talk(t, held)
			k := newKillClient(t, addr)
			if test.side != "" {
				check(t, os.WriteFile(armed, nil, 0o600))
				k.talk()
				a.expect(t, 1, "the step", is("gate"))
			} else {
				talk(t, k.Conn)
				k.halves.keep = true
				k.talk()
			}
			check(t, a.Process.Kill())
			a.Wait()
			next := startAcceptor(t, socket)
			client(t) // with the next one, while the worker of the other goes on
			talk(t, held)
			switch test.side {
			case "acceptor":
				if err := <-k.served; err == nil {
					t.Error("the client was served")
				}
			case "worker":
				check(t, syscall.Kill(worker.PID, syscall.SIGUSR1))
				check(t, <-k.served)
			default:
				check(t, k.halves.finish())
				check(t, <-k.served)
			}
			leave(t, held)
			a.end(t)
			ends := a.all(is("worker's end"))
			if len(ends) != 1 || ends[0].PID != worker.PID || ends[0].Err != ErrAcceptorDied.Error() {
				t.Fatalf("%+v", ends)
			}
			if ends[0].Live != 0 || ends[0].Descriptors != usual {
				t.Errorf("the worker ended with %d handles and %d descriptors, usual are %d", ends[0].Live, ends[0].Descriptors, usual)
			}
			eventually(t, "the processes are gone", func() bool { return !running(worker.PID) && !running(a.Process.Pid) })
			stats, _ := next.stop(t)
			if want := (Stats{Accepted: 1, Done: 1, Started: 1, Ended: 1}); *stats.Stats != want || stats.Live != 0 {
				t.Errorf("%+v", stats)
			}
		})
	}
}
