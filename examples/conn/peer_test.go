package conn

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

// peers are programs that speak the wire format, all with the same arguments.
var peers = []struct {
	name    string
	command func(t *testing.T) []string
}{
	{"Python", func(*testing.T) []string { return []string{python, "peer.py"} }},
	{"C-MIT", func(t *testing.T) []string { return compile(t, "mit-krb5-gssapi") }},
	{"C-Heimdal", func(t *testing.T) []string { return compile(t, "heimdal-gssapi") }},
}

// python is the system's, which python3-gssapi is for; there may be others.
const python = "/usr/bin/python3"

// compile compiles the peer in C.
func compile(t *testing.T, library string) []string {
	t.Helper()
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", library).Output()
	if err != nil {
		t.Fatalf("pkg-config %s: %v (ci/install.sh installs what the peers need)", library, err)
	}
	program := filepath.Join(t.TempDir(), "peer")
	args := append([]string{"-Wall", "-Werror", "-o", program, "peer.c"}, strings.Fields(string(flags))...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return []string{program}
}

// eachPeer runs a test with each.
func eachPeer(t *testing.T, f func(t *testing.T, command []string)) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) { f(t, p.command(t)) })
	}
}

// process is a peer that runs.
type process struct {
	*exec.Cmd
	stderr bytes.Buffer
}

func start(t *testing.T, command []string, stdin io.Reader, args ...string) (p *process, stdout io.Reader) {
	t.Helper()
	command = slices.Concat(command, args)
	p = &process{Cmd: exec.CommandContext(t.Context(), command[0], command[1:]...)}
	p.Stdin, p.Stderr = stdin, &p.stderr
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatalf("%v (ci/install.sh installs what the peers need)", err)
	}
	t.Cleanup(func() { p.Wait() })
	return p, stdout
}

// wait checks how a peer ends: well, if it is to know who it talked to, and else with
// a complaint.
func (p *process) wait(t *testing.T, peer string) {
	t.Helper()
	err := p.Wait()
	said := p.stderr.String()
	switch {
	case peer != "" && (err != nil || said != peer+"\n"):
		t.Errorf("the peer: %v, %q; it should have named %s", err, said, peer)
	case peer == "" && (err == nil || !strings.Contains(said, "cut")):
		t.Errorf("the peer: %v, %q; it should have complained of a cut stream", err, said)
	}
}

// long is more than a frame.
func long() []byte {
	b := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// accept waits for a peer that is a client.
func accept(t *testing.T, l net.Listener) *gssapi.Conn {
	t.Helper()
	tcp, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return within(t, gssapi.Server(tcp, nil))
}

// within bounds the time of all that a connection does.
func within(t *testing.T, c *gssapi.Conn) *gssapi.Conn {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func listen(t *testing.T) (l net.Listener, args []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l, []string{"client", host, port, "host@" + realm.Host}
}

// dial connects to a peer that is a server.
func dial(t *testing.T, stdout io.Reader) *gssapi.Conn {
	t.Helper()
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strings.TrimSpace(port)))
	if err != nil {
		t.Fatal(err)
	}
	target, err := gssapi.HostService("host", realm.Host)
	if err != nil {
		t.Fatal(err)
	}
	return within(t, gssapi.Client(tcp, target, nil))
}

// say sends what there is to say, and its end.
func say(t *testing.T, c *gssapi.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// hear fails the test unless the peer sends that, and then the end, or is cut.
func hear(t *testing.T, c *gssapi.Conn, want []byte, end error) {
	t.Helper()
	if got, err := io.ReadAll(c); !bytes.Equal(got, want) || !errors.Is(err, end) {
		t.Fatalf("%d bytes, %v; want %d bytes (the same: %v), %v", len(got), err, len(want), bytes.Equal(got, want), end)
	}
}

const (
	alice  = "alice@TEST.GSS"
	server = "host/" + realm.Host + "@TEST.GSS"
)

func TestInitiatingPeer(t *testing.T) {
	eachPeer(t, func(t *testing.T, command []string) {
		for name, text := range map[string][]byte{"long": long(), "nothing": nil} {
			t.Run(name, func(t *testing.T) {
				l, args := listen(t)
				p, stdout := start(t, command, bytes.NewReader(text), args...)
				c := accept(t, l)
				hear(t, c, text, nil)
				if peer := c.ConnectionState().Peer().String(); peer != alice {
					t.Errorf("the peer is %s", peer)
				}
				say(t, c, text)
				if got, err := io.ReadAll(stdout); err != nil || !bytes.Equal(got, text) {
					t.Errorf("the peer got %d bytes, %v", len(got), err)
				}
				p.wait(t, server)
			})
		}
	})
}

func TestAcceptingPeer(t *testing.T) {
	eachPeer(t, func(t *testing.T, command []string) {
		for name, text := range map[string][]byte{"long": long(), "nothing": nil} {
			t.Run(name, func(t *testing.T) {
				p, stdout := start(t, command, nil, "server")
				c := dial(t, stdout)
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				if peer := c.ConnectionState().Peer().String(); peer != server {
					t.Errorf("the peer is %s", peer)
				}
				say(t, c, text)
				hear(t, c, text, nil)
				p.wait(t, alice)
			})
		}
	})
}

// A stream that the peer does not end was cut.
func TestCutByPeer(t *testing.T) {
	eachPeer(t, func(t *testing.T, command []string) {
		t.Run("initiating", func(t *testing.T) {
			l, args := listen(t)
			start(t, command, strings.NewReader("some"), append(args, "cut")...)
			c := accept(t, l)
			say(t, c, nil)
			hear(t, c, []byte("some"), io.ErrUnexpectedEOF)
		})
		t.Run("accepting", func(t *testing.T) {
			_, stdout := start(t, command, nil, "server", "cut")
			c := dial(t, stdout)
			say(t, c, []byte("some"))
			hear(t, c, []byte("some"), io.ErrUnexpectedEOF)
		})
	})
}

// The peers find out that a stream was cut too: a Conn has sent the end above.
func TestCutHere(t *testing.T) {
	eachPeer(t, func(t *testing.T, command []string) {
		t.Run("initiating", func(t *testing.T) {
			l, args := listen(t)
			p, _ := start(t, command, nil, args...)
			c := accept(t, l)
			hear(t, c, nil, nil)
			if _, err := c.Write([]byte("some")); err != nil {
				t.Fatal(err)
			}
			c.NetConn().Close()
			p.wait(t, "")
		})
		t.Run("accepting", func(t *testing.T) {
			p, stdout := start(t, command, nil, "server")
			c := dial(t, stdout)
			if _, err := c.Write([]byte("some")); err != nil {
				t.Fatal(err)
			}
			c.NetConn().Close()
			p.wait(t, "")
		})
	})
}
