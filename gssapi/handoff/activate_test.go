//go:build unix

package handoff

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// activated runs the role listeners with these descriptors, as systemd does.
func activated(t *testing.T, files []*os.File, env ...string) (*record, *exec.Cmd) {
	t.Helper()
	child := process("listeners", append(env, sayEnv+"=1")...)
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=${LISTEN_PID:-$$} exec "$0"`, child.Path)
	cmd.Env, cmd.Stderr, cmd.ExtraFiles = child.Env, os.Stderr, files
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	r := newRecord()
	go func() {
		readLines(out, r.add)
		r.finish()
	}()
	return r, cmd
}

// fileOf is the descriptor of a socket, which is closed here.
func fileOf(t *testing.T, s interface {
	File() (*os.File, error)
	Close() error
}) *os.File {
	t.Helper()
	f, err := s.File()
	check(t, err)
	t.Cleanup(func() { f.Close() })
	if u, ok := s.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	check(t, s.Close())
	return f
}

func TestActivationListeners(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	path := filepath.Join(t.TempDir(), "socket")
	unix, err := net.Listen("unix", path)
	check(t, err)
	files := []*os.File{fileOf(t, tcp.(*net.TCPListener)), fileOf(t, unix.(*net.UnixListener))}
	usual := 0 // descriptors of a process that gets none
	t.Run("none", func(t *testing.T) {
		r, cmd := activated(t, nil)
		usual = r.expect(t, 1, "the answer", is("listeners")).Descriptors
		r.end(t)
		check(t, cmd.Wait())
		if l := r.all(func(line) bool { return true }); len(l) != 1 || l[0].Err != "<nil> 0 <nil>" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("two", func(t *testing.T) {
		r, cmd := activated(t, files, "LISTEN_FDS=2", "LISTEN_FDNAMES=web:local", "LISTEN_PIDFDID=5")
		got := r.expect(t, 1, "the answer", is("listeners"))
		for n, want := range []string{tcp.Addr().String(), path} {
			if l := r.expect(t, n+1, "a socket", is("listener")); l.Addr != want {
				t.Errorf("socket %d is %s, want %s", n, l.Addr, want)
			}
		}
		for _, a := range []net.Addr{tcp.Addr(), unix.Addr()} {
			c, err := net.Dial(a.Network(), a.String())
			check(t, err)
			if text, err := io.ReadAll(c); err != nil || string(text) != "hello\n" {
				t.Errorf("%v: %q, %v", a, text, err)
			}
			c.Close()
		}
		r.end(t)
		check(t, cmd.Wait())
		if got.Err != "<nil> 0 <nil>" || len(r.all(is("left"))) != 0 {
			t.Errorf("%+v", r.all(func(line) bool { return true }))
		}
		if got.Descriptors != usual+2 && runtime.GOOS == "linux" {
			t.Errorf("%d descriptors are open, usual are %d", got.Descriptors, usual)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the socket is systemd's, and gone: %v", err)
		}
	})
	t.Run("another process'", func(t *testing.T) {
		r, cmd := activated(t, files, "LISTEN_FDS=2", "LISTEN_PID=1")
		got := r.expect(t, 1, "the answer", is("listeners"))
		r.end(t)
		check(t, cmd.Wait())
		if got.Err != "<nil> 0 <nil>" || len(r.all(is("left"))) != 0 {
			t.Errorf("%+v", got)
		}
	})

	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	client, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	defer client.Close()
	accepted, err := l.Accept()
	check(t, err)
	check(t, l.Close())
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	for _, test := range []struct {
		name  string
		files []*os.File
		count string
		want  []string
	}{
		{"datagrams", []*os.File{files[0], fileOf(t, packets.(*net.UDPConn))}, "2", []string{"descriptor 4"}},
		{"a connection", []*os.File{fileOf(t, accepted.(*net.TCPConn)), files[1]}, "2", []string{"descriptor 3", "does not listen"}},
		{"no socket", []*os.File{files[0], null, null}, "3", []string{"descriptor 4", "descriptor 5", "non-socket"}},
		{"fewer than said", files, "6", []string{"descriptor 8"}},
		{"junk", files, "two", []string{"LISTEN_FDS", "two"}},
		{"negative", files, "-1", []string{"LISTEN_FDS", "-1"}},
		{"too many", files, "1000000", []string{"LISTEN_FDS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, cmd := activated(t, test.files, "LISTEN_FDS="+test.count)
			got := r.expect(t, 1, "the answer", is("listeners"))
			r.end(t)
			check(t, cmd.Wait())
			if slices.ContainsFunc(test.want, func(w string) bool { return !strings.Contains(got.Err, w) }) || !strings.HasSuffix(got.Err, "0 <nil>") {
				t.Errorf("%+v", got)
			}
			if l := r.all(is("listener")); len(l) != 0 {
				t.Errorf("%+v", l)
			}
		})
	}
}
