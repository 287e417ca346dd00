//go:build unix

package gsstest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestStopStart(t *testing.T) {
	eachKDC(t, func(t *testing.T, k KDC) {
		r := New(t, &Options{KDC: k, Principals: []string{"alice", "host/server.test", "host/b.test"}})
		ccache, err := r.Kinit("alice", nil)
		must(t, err)
		must(t, r.StopKDC())
		must(t, r.StopKDC())
		if c, err := net.Dial("tcp", r.Addr()); err == nil {
			c.Close()
			t.Error("the KDC still takes connections")
		}
		if out, err := tool(t, r.EnvFor(ccache, ""), "kvno", "host/server.test"); err == nil {
			t.Errorf("kvno without a KDC:\n%s", out)
		}
		isError(t, r.SuspendKDC(), "stopped")
		must(t, r.AddPrincipal("bob"))
		must(t, r.StartKDC())
		must(t, r.StartKDC())
		mustTool(t, r.EnvFor(ccache, ""), "kvno", "host/server.test")
		_, err = r.Kinit("bob", nil)
		must(t, err)

		// A KDC that died is started again.
		must(t, r.proc.cmd.Process.Kill())
		<-r.proc.done
		must(t, r.StartKDC())

		// A suspended KDC takes the connection and says nothing until it is resumed.
		must(t, r.SuspendKDC())
		cmd := exec.Command("kvno", "host/b.test")
		cmd.Env = append(os.Environ(), r.EnvFor(ccache, "")...)
		must(t, cmd.Start())
		must(t, r.ResumeKDC())
		must(t, cmd.Wait())

		must(t, r.SuspendKDC())
		must(t, r.Close()) // does not wait for the suspended KDC
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	r := New(t, nil)
	pid := r.proc.cmd.Process
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { r.AddPrincipal("alice") })
		wg.Go(func() { r.StartKDC() })
	}
	wg.Wait()
	must(t, r.Close())
	if err := pid.Signal(os.Interrupt); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("the KDC is there: %v", err)
	}
	if _, err := os.Stat(r.Dir()); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
	_, errKeytab := r.Keytab("x")
	_, errKinit := r.Kinit("x", nil)
	_, errKadmin := r.Kadmin("x")
	for i, err := range []error{errKeytab, errKinit, errKadmin, r.AddPrincipal("x"), r.AddPassword("x", "y"),
		r.StopKDC(), r.StartKDC(), r.SuspendKDC(), r.ResumeKDC()} {
		if err != ErrClosed {
			t.Errorf("%d: %v", i, err)
		}
	}
	if r.Logs() != "" || r.Addr() == "" || len(r.Env()) == 0 {
		t.Error("accessors after Close")
	}
}

// TestChild is what the tests below run in a process of its own; how it ends is in the environment. It
// prints the KDC's address and directory, and then waits for its standard input.
func TestChild(t *testing.T) {
	how := os.Getenv("GSSTEST_CHILD")
	if how == "" {
		return // it is not a test
	}
	how, of, _ := strings.Cut(how, "-")
	k := map[string]KDC{"": MIT, "heimdal": Heimdal, "ldap": MITLDAP}[of]
	r := New(t, &Options{KDC: k})
	if how == "suspended" {
		must(t, r.SuspendKDC())
	}
	if how == "stopped" {
		must(t, r.StopKDC())
	}
	os.Stdout.WriteString("child " + r.Addr() + " " + r.Dir() + "\n")
	io.ReadAll(os.Stdin)
	switch how {
	case "fail":
		t.Error("failed on purpose")
	case "fatal":
		t.Fatal("failed on purpose")
	case "panic":
		panic("on purpose")
	case "goroutine":
		go panic("on purpose")
		select {}
	case "exit":
		os.Exit(3)
	default:
		select {} // to be killed
	}
}

// TestNoKDCStays: however the process ends, the KDC ends, and the directory is removed.
func TestNoKDCStays(t *testing.T) {
	for _, how := range []string{"fail", "fatal", "panic", "goroutine", "exit", "kill", "kill-heimdal", "kill-ldap",
		"suspended", "suspended-heimdal", "stopped", "stopped-ldap", "term", "group"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
			cmd.Env = append(os.Environ(), "GSSTEST_CHILD="+how)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			stdin, err := cmd.StdinPipe()
			must(t, err)
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			in := bufio.NewReader(stdout)
			line, err := in.ReadString('\n')
			f := strings.Fields(line)
			if err != nil || len(f) != 3 || f[0] != "child" {
				cmd.Process.Kill()
				cmd.Wait()
				t.Fatalf("the child wrote %q, %v", line, err)
			}
			addr, dir := f[1], f[2]
			how, of, _ := strings.Cut(how, "-")
			var slapd net.Conn
			if of == "ldap" {
				slapd, err = net.Dial("unix", filepath.Join(dir, "ldapi"))
				must(t, err)
				defer slapd.Close()
			}
			if how != "stopped" {
				c, err := net.Dial("tcp", addr) // the KDC is there, or this test proves nothing
				must(t, err)
				c.Close()
			}
			switch how {
			case "kill", "suspended", "stopped":
				must(t, cmd.Process.Kill())
			case "term":
				must(t, cmd.Process.Signal(syscall.SIGTERM))
			case "group": // as an interrupt from the terminal does
				must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
			default:
				stdin.Close()
			}
			rest, _ := io.ReadAll(in)
			if err := cmd.Wait(); err == nil {
				t.Error("the child has ended well")
			}
			switch how {
			case "fail", "fatal":
				contains(t, string(rest), "log of the MIT KDC of TEST.GSS")
			}
			await(t, "the KDC at "+addr+" is there", func() bool {
				c, err := net.Dial("tcp", addr)
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			if slapd != nil {
				must(t, slapd.SetReadDeadline(time.Now().Add(20*time.Second)))
				if _, err := slapd.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("slapd is there after 20 seconds")
				}
			}
			await(t, dir+" is there", func() bool {
				_, err := os.Stat(dir)
				return os.IsNotExist(err)
			})
		})
	}
}

// await polls for what no event of ours tells: the end of processes that are not our children.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatal("after 20 seconds, ", what)
		}
	}
}

// TestFatal: New fails a test whose KDC is missing; it does not skip it.
func TestFatal(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), "GSSTEST_CHILD=fail-heimdal", "GSSTEST_HEIMDAL=/nonexistent")
	out, err := cmd.CombinedOutput()
	isError(t, err)
	contains(t, string(out), "--- FAIL: TestChild", "ci/install.sh")
}

// TestUnprivileged runs the main tests as a user who may write to nothing but the temporary directory.
func TestUnprivileged(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the tests run as an ordinary user already")
	}
	t.Parallel()
	const nobody = 65534
	dir, err := os.MkdirTemp("", "gsstest-nobody-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	binary, err := os.ReadFile(os.Args[0])
	must(t, err)
	exe, tmp := filepath.Join(dir, "test"), filepath.Join(dir, "tmp")
	must(t, os.WriteFile(exe, binary, 0o755))
	must(t, os.Mkdir(tmp, 0o700))
	must(t, os.Chown(tmp, nobody, nobody))

	cmd := exec.Command(exe, "-test.run=^(TestRealm|TestStopStart|TestClose)$", "-test.v")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "HOME=/nonexistent")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, string(out), "--- PASS: TestRealm/MIT ", "--- PASS: TestRealm/Heimdal", "--- PASS: TestRealm/MIT_with_LDAP")
	left, err := os.ReadDir(tmp)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
