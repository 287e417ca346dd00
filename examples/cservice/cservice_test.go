//go:build linux

package cservice

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

const alice = "alice@TEST.GSS"

// process is a server that runs.
type process struct {
	*exec.Cmd
	addr   string
	stdout io.Reader // all that it prints
	stderr bytes.Buffer
}

// start starts a server, which prints its port.
func start(t *testing.T, env []string, command ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), command[0], command[1:]...)}
	p.Env = append(os.Environ(), env...)
	p.Stderr = &p.stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatalf("%v (ci/install.sh installs what is needed)", err)
	}
	t.Cleanup(func() {
		if p.Wait(); t.Failed() {
			t.Logf("%s:\n%s", command[0], p.stderr.String())
		}
	})
	lines, head := bufio.NewReader(stdout), ""
	for p.addr == "" {
		line, err := lines.ReadString('\n')
		head += line
		if err != nil {
			t.Fatalf("%s: %v, before it told its port", command[0], err)
		}
		if port, ok := strings.CutPrefix(line, "port "); ok {
			p.addr = net.JoinHostPort("127.0.0.1", strings.TrimSpace(port))
		}
	}
	p.stdout = io.MultiReader(strings.NewReader(head), lines)
	return p
}

// end ends it with SIGTERM, and returns what it printed; it must end with that status.
func (p *process) end(t *testing.T, status int) (stdout string) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.stdout)
	if err != nil {
		t.Error(err)
	}
	p.Wait()
	t.Logf("%s%s", out, p.stderr.String())
	if got := p.ProcessState.ExitCode(); got != status {
		t.Errorf("the server: %v, want exit status %d", p.ProcessState, status)
	}
	return string(out)
}

// wants fails the test unless each line is there so often.
func wants(t *testing.T, out string, lines map[string]int) {
	t.Helper()
	for line, want := range lines {
		if n := len(regexp.MustCompile("(?m)^"+line+"$").FindAllString(out, -1)); n != want {
			t.Errorf("%q was printed %d times, want %d:\n%s", line, n, want, out)
		}
	}
}

// one are the lines of a process that has nothing but its own library.
func one(more map[string]int) map[string]int {
	file := map[string]string{"mit": `libgssapi_krb5\.so\.2`, "heimdal": `libgssapi\.so\.3`}[library]
	lines := map[string]int{"library .*": 1, "library .*/" + file + ".*": 1}
	for line, n := range more {
		lines[line] = n
	}
	return lines
}

// client talks to a server, token by token.
type client struct {
	conn net.Conn
	sec  *gssapi.Context
	sent [][]byte // tokens of messages
	last uint64   // number of the last message that came
}

func dial(addr string, o *gssapi.InitiatorOptions) (*client, error) {
	target, err := gssapi.HostService("host", realm.Host)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &client{conn: conn, sec: gssapi.NewInitiator(target, o)}
	for token := []byte(nil); !c.sec.Established(); {
		out, err := c.sec.Step(context.Background(), token)
		if len(out) > 0 {
			err = errors.Join(err, frame.Write(conn, out))
		}
		if err == nil && !c.sec.Established() {
			token, err = frame.Read(conn)
		}
		if err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *client) close() {
	c.sec.Close()
	c.conn.Close()
}

func (c *client) say(text string) error {
	token, err := c.sec.Wrap([]byte(text))
	if err != nil {
		return err
	}
	c.sent = append(c.sent, token)
	return frame.Write(c.conn, token)
}

// hear receives what must be that message, with the number that follows on the last
// one's, whichever process or language it comes from.
func (c *client) hear(want string) error {
	token, err := frame.Read(c.conn)
	if err != nil {
		return fmt.Errorf("waiting for %q: %w", want, err)
	}
	n := number(token)
	text, err := c.sec.Unwrap(token)
	if err != nil {
		return fmt.Errorf("waiting for %q: %w", want, err)
	}
	if string(text) != want {
		return fmt.Errorf("got %q, want %q", text, want)
	}
	if c.last != 0 && n != c.last+1 {
		return fmt.Errorf("%q has number %d, the message before had %d", want, n, c.last)
	}
	c.last = n
	return nil
}

// number is the sequence number of a token of Wrap: RFC 4121, 4.2.6.2.
func number(token []byte) uint64 {
	if len(token) < 16 || token[0] != 0x05 || token[1] != 0x04 {
		return 0
	}
	return binary.BigEndian.Uint64(token[8:])
}

// script is a conversation: what is said, and what must be answered to it.
type script []struct{ say, hear string }

// whole is all that a client says. Of the server the first and the last words come from
// where the handshake was, and the others from elsewhere.
var whole = script{
	{"hello", "welcome"},
	{"one", "one"},
	{"two", "two"},
	{long, long},
	{"", "goodbye " + alice},
	{"bye", ""},
}

var long = strings.Repeat("long ", 5000)

func (s script) play(c *client) error {
	for _, turn := range s {
		if err := errors.Join(c.say(turn.say), c.hear(turn.hear)); err != nil {
			return err
		}
	}
	return nil
}

// playAll plays the whole script; then the server says no more.
func (c *client) playAll() error {
	if err := whole.play(c); err != nil {
		return err
	}
	if _, err := frame.Read(c.conn); err != io.EOF {
		return fmt.Errorf("after the end: %v", err)
	}
	return nil
}

// clients play the whole script at once, and fail the test if one does not go well.
func clients(t *testing.T, addr string, n int) (delegated int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		o := &gssapi.InitiatorOptions{Mech: []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO}[i%2]}
		if i%4 > 1 {
			o.Flags = gssapi.FlagDeleg
			delegated++
		}
		wg.Go(func() {
			c, err := dial(addr, o)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.close()
			if err := c.playAll(); err != nil {
				t.Errorf("%v, %v: %v", o.Mech, o.Flags, err)
			}
		})
	}
	wg.Wait()
	return delegated
}

// The sanitizers fail the process that they find something in. What the libraries lose by
// themselves is in the lists.
var (
	asan     = []string{"ASAN_OPTIONS=fast_unwind_on_malloc=0", "LSAN_OPTIONS=suppressions=../../ci/lsan.supp:print_suppressions=0"}
	memcheck = []string{"valgrind", "-q", "--error-exitcode=99", "--suppressions=valgrind.supp"}
	// (Leaks of a process with Go in it are AddressSanitizer's: the search for them ends memcheck,
	// because of how the runtime describes its memory.)
	memcheckGo = append(slices.Clone(memcheck), "--leak-check=no", "--fair-sched=yes")
	memcheckC  = append(slices.Clone(memcheck), "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite")
)

// builds are how a server in C can have its part in Go.
var builds = []struct {
	target  string
	command []string // that runs it
	env     []string
}{
	{"archive", nil, nil},
	{"shared", nil, nil},
	{"asan", nil, asan},
	// valgrind 3.19 runs one thread at a time, and does not know that waiting for the lock of
	// MIT's replay cache takes a while. Where Go interrupts a goroutine it sees a wrong stack.
	{"valgrind", memcheckGo, []string{"KRB5RCACHENAME=none:", "GODEBUG=asyncpreemptoff=1"}},
}

// eachBuild runs a test with each. The library that GSSAPI_LIBRARY names is one that
// the server is not linked with.
func eachBuild(t *testing.T, f func(t *testing.T, env, command []string)) {
	for _, b := range builds {
		t.Run(b.target, func(t *testing.T) {
			server := program(t, b.target, filepath.Join(b.target, "server"))
			f(t, append(slices.Clone(b.env), "GSSAPI_LIBRARY="+other), append(slices.Clone(b.command), server))
		})
	}
}

// What a client is told comes from C, from Go, and from C again: it does not notice.
func TestServer(t *testing.T) {
	eachBuild(t, func(t *testing.T, env, command []string) {
		// Tickets are with the clients, the delegated ones with Go.
		p := start(t, append(env, "KRB5CCNAME=FILE:/nonexistent"), append(command, "serve")...)
		const n = 8
		delegated := clients(t, p.addr, n)
		// Asked to end, it serves the one that it has.
		last, err := dial(p.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer last.close()
		if err := whole[:2].play(last); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := whole[2:].play(last); err != nil {
			t.Error(err)
		}
		out := p.end(t, 0)
		wants(t, out, one(map[string]int{
			"service host@server.test": 1,
			"live 0":                   1, "failed 0": 1,
			"served " + alice + " delegated 0": n - delegated + 1,
			"served " + alice + " delegated 1": delegated,
		}))
	})
}

// Go refuses what is wrong with a client of C, and C has all back and goes on.
func TestServerGoesOn(t *testing.T) {
	eachBuild(t, func(t *testing.T, env, command []string) {
		p := start(t, env, append(command, "serve")...)
		for what, f := range map[string]func(c *client) error{
			"cut":        func(c *client) error { return c.conn.Close() },
			"not sealed": func(c *client) error { return frame.Write(c.conn, []byte("two")) },
			"replayed":   func(c *client) error { return frame.Write(c.conn, c.sent[0]) }, // what C had, to Go
			"missing": func(c *client) error {
				if _, err := c.sec.Wrap([]byte("lost")); err != nil {
					return err
				}
				return c.say("two")
			},
		} {
			c, err := dial(p.addr, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(whole[:2].play(c), f(c)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if b, err := frame.Read(c.conn); err == nil {
				t.Errorf("%s: the server answers %d bytes", what, len(b))
			}
			c.close()
		}
		clients(t, p.addr, 1)
		wants(t, p.end(t, 1), one(map[string]int{"live 0": 1, "failed 4": 1, "served .*": 1}))
		for _, why := range []string{"unexpected EOF", "defective token", "duplicate|failure", "missing"} {
			if !regexp.MustCompile("goserver_serve: .*(" + why + ")").MatchString(p.stderr.String()) {
				t.Errorf("C was not told of %s:\n%s", why, p.stderr.String())
			}
		}
	})
}

// What Go must refuse is an error to C, whose handles stay its own.
func TestRefuse(t *testing.T) {
	eachBuild(t, func(t *testing.T, env, command []string) {
		wants(t, output(t, env, append(command, "refuse")...), one(map[string]int{
			"live 0": 1, "refused .*": 14,
			"refused no context: .*NULL.*":                 1,
			"refused a panic: .*panics: as it was told to": 1,
		}))
	})
}

// With two libraries in the process, and not told whose a context is, Go does not
// touch it.
func TestUnsure(t *testing.T) {
	server := program(t, "archive", "archive/server")
	wants(t, output(t, []string{"GSSAPI_LIBRARY=" + other}, server, "unsure"), map[string]int{
		"refused .*two GSS-API libraries.*": 1, "library .*": 2, "live 0": 1,
	})
}

// output is what a program prints that ends well.
func output(t *testing.T, env []string, command ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	t.Logf("%s%s", out, stderr.String())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The same conversation, with the handshake in Go and what is between in a process of
// C, which imports what Go exported, and the other way round.
func TestWorker(t *testing.T) {
	for _, w := range []struct {
		target, name string
		command      []string
		env          []string
	}{
		{"worker", "worker", nil, nil},
		{"asan", "asan/worker", nil, asan},
		{"valgrind", "worker", memcheckC, nil},
	} {
		t.Run(w.target, func(t *testing.T) {
			worker := program(t, w.target, w.name)
			p := start(t, w.env, slices.Concat([]string{filepath.Join(dir, "front")}, w.command, []string{worker})...)
			clients(t, p.addr, 4)
			// One that leaves in the midst: the worker has no context to give back, and goes on.
			c, err := dial(p.addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := whole[:2].play(c); err != nil {
				t.Error(err)
			}
			c.close()
			clients(t, p.addr, 1)
			wants(t, p.end(t, 0), one(map[string]int{"worker " + alice + " [0-9a-f]+": 6, "failed 1": 1}))
		})
	}
}
