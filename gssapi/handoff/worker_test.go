//go:build unix

package handoff

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss/gssapi"
)

// A worker that wants no more finishes what it has; another one comes in its
// place, and it is no failure.
func TestLeavingWorker(t *testing.T) {
	x := serve(t, &Server{Command: command("term"), Workers: 1})
	first := x.ready(t, 1)
	held := dial(t, x.l.Addr())
	talk(t, held)
	check(t, syscall.Kill(first.PID, syscall.SIGTERM))
	second := x.ready(t, 2)
	c := dial(t, x.l.Addr())
	talk(t, c)
	talk(t, held)
	leave(t, held)
	if l := x.expect(t, 1, "the end of the first", is("WorkerEnded")); l.PID != first.PID || l.Err != "" {
		t.Errorf("%+v", l)
	}
	leave(t, c)
	x.wantStats(t, Stats{Accepted: 2, Done: 2, Started: 2, Ended: 2})
	for _, l := range x.all(is("HandedOver")) {
		want := first
		if l.Remote == c.LocalAddr().String() {
			want = second
		}
		if l.PID != want.PID {
			t.Errorf("a connection went to another worker: %+v", l)
		}
	}
}

// Run and Inherited are for processes that a Server has started.
func TestInherited(t *testing.T) {
	if IsWorker() {
		t.Error("this is a worker")
	}
	if err := (&Worker{Handler: echo}).Run(t.Context()); err != ErrNotWorker {
		t.Errorf("Run: %v", err)
	}
	for _, value := range []string{"x", "3,4", "3,4,5,6", "1,4,0", "3,2,0", "3,4,-1", "-3,4,0", "99999999999999999999,4,0"} {
		t.Setenv(workerEnv, value)
		if _, err := Inherited(t.Context(), nil); err == nil || !strings.Contains(err.Error(), workerEnv) {
			t.Errorf("%q: %v", value, err)
		}
		if IsWorker() {
			t.Errorf("%q: the variable is left", value)
		}
	}
	// Descriptors that are something else, in a process whose they are.
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	usual := 0 // descriptors of a process that has no stray
	for _, test := range []struct {
		strays []*os.File
		key    []byte
		want   string
	}{
		{nil, nil, "0 bytes"},
		{[]*os.File{null}, make([]byte, keySize), syscall.ENOTSOCK.Error()},
		{[]*os.File{null, null}, make([]byte, keySize-1), "31 bytes"},
		{nil, make([]byte, keySize+1), "more than the 32 bytes"},
	} {
		r, w, err := os.Pipe()
		check(t, err)
		_, err = w.Write(test.key)
		check(t, err)
		check(t, w.Close())
		cmd := process("echo", workerEnv+"=3,4,0", sayEnv+"=1")
		cmd.ExtraFiles = append([]*os.File{null, r}, test.strays...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err == nil {
			t.Errorf("%q: it ended well", test.want)
		}
		var got line
		check(t, json.Unmarshal(out, &got))
		if !strings.Contains(got.Err, test.want) || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%q: %+v, %s", test.want, got, &stderr)
		}
		if usual == 0 {
			usual = got.Descriptors
		}
		if got.Descriptors != usual && runtime.GOOS == "linux" {
			t.Errorf("%q: %d descriptors are open, usual are %d", test.want, got.Descriptors, usual)
		}
		check(t, r.Close())
	}
}

func TestWorkerWithoutHandler(t *testing.T) {
	needsExport(t)
	s, r := session(t, nil)
	if err := new(Worker).Serve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "Handler") {
		t.Errorf("%v", err)
	}
	<-s.Over()
}

// Workers come to a named socket, with the key of a file.
func TestServeWorkers(t *testing.T) {
	dir := t.TempDir()
	socket, keyFile, otherFile := filepath.Join(dir, "socket"), filepath.Join(dir, "key"), filepath.Join(dir, "other")
	key, err := WriteKeyFile(keyFile)
	check(t, err)
	_, err = WriteKeyFile(otherFile)
	check(t, err)
	x := serve(t, &Server{})
	l, err := Listen(socket, false)
	check(t, err)
	i, err := os.Stat(socket)
	check(t, err)
	if i.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v", i.Mode())
	}
	done := make(chan error, 1)
	go func() { done <- x.ServeWorkers(l, "", &Options{Key: key}) }()

	lines := newRecord()
	start := func(keyFile string) *exec.Cmd {
		cmd := process("dialer", sayEnv+"=1", socketEnv+"="+socket, keyEnv+"="+keyFile)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		go readLines(out, lines.add)
		return cmd
	}
	stranger := start(otherFile)
	if l := lines.expect(t, 1, "the refusal of a worker with another key", is("no session")); !strings.Contains(l.Err, ErrMessage.Error()) {
		t.Errorf("%+v", l)
	}
	stranger.Wait()
	x.expect(t, 1, "the refusal of a worker with another key", func(l line) bool { return l.What == "WorkerStarted" && l.err != nil })

	one, two := start(keyFile), start(keyFile)
	x.ready(t, 2)
	var clients []*gssapi.Conn
	for range 2 {
		c := dial(t, x.l.Addr())
		talk(t, c)
		clients = append(clients, c)
	}
	check(t, x.Restart(t.Context())) // they stay
	check(t, one.Process.Kill())
	one.Wait()
	if l := x.expect(t, 1, "the end of the first", is("WorkerEnded")); l.PID != one.Process.Pid || l.Err == "" {
		t.Errorf("%+v", l)
	}
	first := x.expect(t, 1, "who got the first", func(l line) bool {
		return l.What == "HandedOver" && l.Remote == clients[0].LocalAddr().String()
	})
	if first.PID != one.Process.Pid {
		clients[0], clients[1] = clients[1], clients[0]
	}
	cut(t, clients[0])
	talk(t, clients[1])
	leave(t, clients[1])
	x.client(t)
	check(t, x.Shutdown(t.Context()))
	check(t, two.Wait())
	if l := lines.expect(t, 1, "the end of the second", is("worker's end")); l.Err != "<nil>" || l.Live != 0 {
		t.Errorf("%+v", l)
	}
	if err := <-done; err != ErrServerClosed {
		t.Errorf("ServeWorkers: %v", err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	if got, want := x.Stats(), (Stats{Accepted: 3, Done: 2, Crashed: 1, Started: 2, Ended: 2, Failed: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	x.record.mu.Lock()
	x.record.count["WorkerStarted"]-- // who was refused is no worker
	x.record.mu.Unlock()
}

func TestListen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(socket, true)
	check(t, err)
	i, err := os.Stat(socket)
	check(t, err)
	if i.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %v", i.Mode())
	}
	if _, err := Listen(socket, false); err == nil {
		t.Error("two listen at one socket")
	}
	s := new(Server)
	done := make(chan error, 1)
	go func() { done <- s.ServeWorkers(l, "", nil) }()
	check(t, l.Close())
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ServeWorkers of a closed listener: %v", err)
	}
	check(t, s.Close())
	l, err = Listen(socket, false)
	check(t, err)
	if err := s.ServeWorkers(l, "", nil); err != ErrServerClosed {
		t.Errorf("ServeWorkers of a closed Server: %v", err)
	}
	if _, err := Dial(t.Context(), socket, &ReceiverOptions{}); err == nil {
		t.Error("somebody is there")
	}
}

// A worker is added that lives in this process.
func TestAddWorker(t *testing.T) {
	x := serve(t, &Server{})
	key := NewKey()
	add := func(group string, o *Options) (*Receiver, error) {
		c, f, err := Pair()
		check(t, err)
		peer, err := net.FileConn(f)
		check(t, err)
		check(t, f.Close())
		type result struct {
			r   *Receiver
			err error
		}
		received := make(chan result, 1)
		go func() {
			r, err := NewReceiver(t.Context(), peer.(*net.UnixConn), &ReceiverOptions{Options: Options{Key: key}})
			received <- result{r, err}
		}()
		err = x.AddWorker(t.Context(), c, group, o)
		got := <-received
		if err != nil && got.r != nil {
			got.r.Close()
		}
		return got.r, err
	}
	for _, o := range []*Options{nil, {}, {Key: NewKey()}, {Key: key, PeerUIDs: []int{os.Getuid() + 1}}} {
		if _, err := add("", o); err == nil {
			t.Errorf("%v: it is taken", o)
		}
	}
	r, err := add("", &Options{Key: key})
	check(t, err)
	served := make(chan error, 1)
	go func() { served <- (&Worker{Handler: echo}).Serve(t.Context(), r) }()
	x.client(t)
	x.wantStats(t, Stats{Accepted: 1, Done: 1, Started: 1, Ended: 1})
	check(t, <-served)
	if _, err := add("", &Options{Key: key}); err != ErrServerClosed {
		t.Errorf("after Shutdown: %v", err)
	}
	if l := x.all(is("WorkerStarted")); len(l) != 1 || l[0].PID != os.Getpid() {
		t.Errorf("%+v", l)
	}
}

// Workers of a user each. None sees the keytab.
func TestUsers(t *testing.T) {
	needsExport(t)
	ids := map[string]uint32{"alice": 12001, "bob": 12002}
	if os.Getuid() != 0 {
		t.Log("not root: the workers are the same user")
		ids = map[string]uint32{"alice": uint32(os.Getuid()), "bob": uint32(os.Getuid())}
	} else { // MIT's import reads the configuration
		check(t, os.Chmod(realm.Dir(), 0o711))
		check(t, os.Chmod(realm.Krb5Conf(), 0o644))
		defer os.Chmod(realm.Dir(), 0o700)
	}
	user := func(peer string) string { return strings.TrimSuffix(peer, "@"+realm.Name()) }
	x := serve(t, &Server{
		Workers: 1,
		Group:   func(_ *Handoff, i *gssapi.ContextInfo) (string, error) { return user(i.Peer().String()), nil },
		Command: func(group string) (*exec.Cmd, error) {
			cmd, err := Self()
			cmd.Env = append(os.Environ(), roleEnv+"=who")
			cmd.Stderr, cmd.Dir = os.Stderr, "/"
			if os.Getuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ids[group], Gid: ids[group]}}
			}
			return cmd, err
		},
	})
	stray, err := os.Open(keytabOf(os.Getenv("KRB5_KTNAME"))) // as the C libraries do
	check(t, err)
	defer stray.Close()
	inherited, err := syscall.Dup(int(stray.Fd()))
	check(t, err)
	defer syscall.Close(inherited)

	pids := make(map[string]int)
	for range 2 {
		for name, cc := range map[string]string{"alice": ccache, "bob": ccacheOf(t, "bob")} {
			cmd := process("asker", "KRB5CCNAME="+cc, askEnv+"="+x.l.Addr().String())
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			check(t, err)
			var got whoAnswer
			check(t, json.Unmarshal(out, &got))
			if user(got.Peer) != name || got.UID != int(ids[name]) || pids[name] != 0 && pids[name] != got.PID {
				t.Errorf("%s was served: %+v", name, got)
			}
			pids[name] = got.PID
			if os.Getuid() == 0 && !strings.Contains(got.Keytab, syscall.EACCES.Error()) {
				t.Errorf("%s's worker opens the keytab: %v", name, got.Keytab)
			}
			for _, kv := range got.Env {
				if strings.Contains(kv, keytab) || strings.HasPrefix(kv, "KRB5_KTNAME=") || strings.HasPrefix(kv, workerEnv+"=") {
					t.Errorf("%s's worker has %s", name, kv)
				}
			}
			if got.Files != nil && runtime.GOOS == "linux" {
				t.Errorf("%s's worker has these files open: %q", name, got.Files)
			}
		}
	}
	if pids["alice"] == pids["bob"] {
		t.Error("they have the same worker")
	}
	x.wantStats(t, Stats{Accepted: 4, Done: 4, Started: 2, Ended: 2})
}

func TestWithoutKeytabs(t *testing.T) {
	t.Setenv("KRB5_KTNAME", "FILE:/ours")
	t.Setenv("KRB5_CLIENT_KTNAME", "/client")
	for _, test := range []struct{ env, want []string }{
		{[]string{"A=b", "KRB5_KTNAME=FILE:/ours", "KRB5_CLIENT_KTNAME=/client"}, []string{"A=b"}},
		{[]string{"KRB5_KTNAME=/theirs", "KRB5_CLIENT_KTNAME=/own", "KRB5_KTNAMES=/ours"}, []string{"KRB5_KTNAME=/theirs", "KRB5_CLIENT_KTNAME=/own", "KRB5_KTNAMES=/ours"}},
		{[]string{}, []string{}},
	} {
		before := slices.Clone(test.env)
		if d := cmp.Diff(test.want, withoutKeytabs(test.env)); d != "" {
			t.Error(d)
		}
		if !slices.Equal(before, test.env) {
			t.Errorf("the caller's environment is changed: %q", test.env)
		}
	}
	env := withoutKeytabs(nil)
	if len(env) != len(os.Environ())-2 || slices.Contains(env, "KRB5_KTNAME=FILE:/ours") {
		t.Errorf("%q", env)
	}
}

// The worker is an HTTP server, which knows who asks.
func TestHTTPWorker(t *testing.T) {
	var x *served
	x = serve(t, &Server{Command: saying(t, "web", func(l line) { x.add(l) }), Workers: 1})
	c := dial(t, x.l.Addr())
	check(t, c.Handshake())
	conn, _, early, err := c.Hijack() // from here on in the clear
	check(t, err)
	in := bufio.NewReader(io.MultiReader(strings.NewReader(string(early)), conn))
	for _, path := range []string{"/one", "/two"} {
		q, err := http.NewRequest("GET", "http://server.test"+path, nil)
		check(t, err)
		check(t, q.Write(conn))
		answer, err := http.ReadResponse(in, q)
		check(t, err)
		text, err := io.ReadAll(answer.Body)
		check(t, err)
		if want := "alice@" + realm.Name() + " asks for " + path; string(text) != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
	check(t, conn.Close())
	x.wantStats(t, Stats{Accepted: 1, Done: 1, Started: 1, Ended: 1})
	if l := x.expect(t, 1, "the end of the worker", is("worker's end")); l.Live != 0 {
		t.Errorf("%+v", l)
	}
}

// ctx of Run is the handlers', too.
func TestHandlerContext(t *testing.T) {
	needsExport(t)
	s, r := session(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	done := make(chan error, 1)
	w := &Worker{Handler: func(ctx context.Context, r *Received) {
		close(began)
		<-ctx.Done() // and it leaves the connection open
	}}
	go func() { done <- w.Serve(ctx, r) }()
	client, h := established(t, nil, nil)
	check(t, s.Send(t.Context(), h))
	<-began
	cancel()
	check(t, <-done)
	<-s.Over()
	check(t, s.Err())
	if _, err := client.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
		t.Errorf("the client: %v", err)
	}
}
