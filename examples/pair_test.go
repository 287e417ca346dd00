// Package examples holds programs that show how the module is used; here are
// their tests.
package examples

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// build builds programs of this directory and returns where they are.
func build(t *testing.T, programs ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, program := range programs {
		args = append(args, "./"+program)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// logs are the lines that the server writes.
type logs struct{ *bufio.Reader }

// next returns the next line that has all of want.
func (l logs) next(t *testing.T, want ...string) string {
	t.Helper()
	var seen strings.Builder
	for {
		line, err := l.ReadString('\n')
		if err != nil {
			t.Fatalf("the server did not log %q: %v\n%s", want, err, seen.String())
		}
		seen.WriteString(line)
		found := true
		for _, w := range want {
			found = found && strings.Contains(line, w)
		}
		if found {
			return line
		}
	}
}

// startServer starts the server, and returns its address and what it logs. It ends
// with the test.
func startServer(t *testing.T, bin string, env []string) (server *exec.Cmd, addr string, log logs) {
	t.Helper()
	server = exec.CommandContext(t.Context(), filepath.Join(bin, "server"), "-addr=127.0.0.1:0")
	server.Env = env
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Wait() }) // t.Context has ended it
	log = logs{bufio.NewReader(stderr)}
	_, addr, _ = strings.Cut(strings.TrimSpace(log.next(t, "listening")), "addr=")
	return server, addr, log
}

// newRealm starts a realm with alice and the service host@server.test.
func newRealm(t *testing.T) (env []string) {
	t.Helper()
	realm := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", "host/server.test"}})
	keytab, err := realm.Keytab("host/server.test")
	if err != nil {
		t.Fatal(err)
	}
	ccache, err := realm.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), realm.EnvFor(ccache, keytab)...)
}

// The client and the server of the README talk to each other.
func TestClientAndServer(t *testing.T) {
	bin := build(t, "client", "server")
	realm := newRealm(t)
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			env := append(slices.Clone(realm), "GSSAPI_LIBRARY="+library)
			_, addr, log := startServer(t, bin, env)
			run := func(env []string, stdin []byte, args ...string) (stdout []byte, err error) {
				client := exec.CommandContext(t.Context(), filepath.Join(bin, "client"), append([]string{"-addr=" + addr}, args...)...)
				client.Env = env
				client.Stdin = bytes.NewReader(stdin)
				stdout, err = client.Output()
				var e *exec.ExitError
				if errors.As(err, &e) && len(e.Stderr) == 0 {
					t.Error("the client fails and does not say why")
				}
				return stdout, err
			}
			if out, err := run(env, nil, "good", "morning"); err != nil || string(out) != "good morning\n" {
				t.Errorf("client: %v, %q", err, out)
			}
			log.next(t, "alice@TEST.GSS", "conf")
			// More than fits into all buffers on the way.
			long := make([]byte, 8<<20)
			rand.NewChaCha8([32]byte{}).Read(long)
			if out, err := run(env, long); err != nil || !bytes.Equal(out, long) {
				t.Errorf("client with %d bytes on its standard input: %v, %d bytes", len(long), err, len(out))
			}
			if out, err := run(env, nil); err != nil || len(out) != 0 {
				t.Errorf("client with nothing to say: %v, %q", err, out)
			}
			// Without tickets, and to a server that is another.
			if out, err := run(append(env, "KRB5CCNAME=FILE:/nonexistent"), nil, "x"); err == nil || len(out) > 0 {
				t.Errorf("client without tickets: %v, %q", err, out)
			}
			if out, err := run(env, nil, "-service=host@other.test", "x"); err == nil || len(out) > 0 {
				t.Errorf("client to another server: %v, %q", err, out)
			}
			// One that speaks another protocol; the server goes on.
			other, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if _, err := other.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			log.next(t, "client failed", other.LocalAddr().String(), "another protocol")
			if out, err := run(env, nil, "still there?"); err != nil || string(out) != "still there?\n" {
				t.Errorf("client after all that: %v, %q", err, out)
			}
		})
	}
}

// A client whose answer was cut says so.
func TestCutAnswer(t *testing.T) {
	bin := build(t, "client", "server")
	env := newRealm(t)
	server, addr, _ := startServer(t, bin, env)
	client := exec.CommandContext(t.Context(), filepath.Join(bin, "client"), "-addr="+addr)
	client.Env = env
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	client.Stderr = &said
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(out)
	if line, err := answer.ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if line, err := answer.ReadString('\n'); err == nil {
		t.Errorf("after the end of the server: %q", line)
	}
	if err := client.Wait(); err == nil || said.Len() == 0 {
		t.Errorf("client: %v, %q; the server was killed", err, said.String())
	}
}
