//go:build unix

package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "transfer")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "transfer")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// transfer runs the program and returns what it wrote, and its exit status.
func transfer(t *testing.T, library string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "GSSAPI_LIBRARY="+library)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func TestTransfer(t *testing.T) {
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			stdout, stderr, status := transfer(t, library)
			t.Logf("%s%s", stdout, stderr)
			if status != 0 || stderr != "" {
				t.Fatalf("exit status %d, standard error %q", status, stderr)
			}
			// In this order, whoever speaks between.
			rest := stdout
			for _, want := range []string{
				"library  " + library,
				"alice    PID  is connected to host/server.test@TEST.GSS by krb5",
				`acceptor PID  alice@TEST.GSS: got "alice says 1"`,
				"acceptor PID  alice@TEST.GSS: exported the context",
				"acceptor PID  alice@TEST.GSS: Wrap and Export here: no context any more",
				"worker 1 PID  alice@TEST.GSS: imported the context",
				"alice    PID  its first message, sent again, was refused",
				`worker 1 PID  alice@TEST.GSS: got "alice says 2"`,
				"bob      PID  is connected to host/server.test@TEST.GSS by SPNEGO",
				"worker 2 PID  bob@TEST.GSS: imported the context",
				"worker 1 PID  carol@TEST.GSS: imported the context",
				"acceptor PID  has done its work",
				`worker 1 PID  carol@TEST.GSS: got "carol says 5"`,
				"ok: 3 contexts, 2 workers, 15 messages and answers, 3 replayed messages refused, 3 tokens refused the second time, ",
			} {
				line := regexp.MustCompile("(?m)^" + strings.Replace(regexp.QuoteMeta(want), " PID", ` +\d+`, 1))
				at := line.FindStringIndex(rest)
				if at == nil {
					t.Fatalf("%q is missing, or not in its place", want)
				}
				rest = rest[at[1]:]
			}
			for _, name := range []string{"alice", "bob", "carol"} {
				for _, want := range []string{": was given the same token again: refused", ": the client has left"} {
					if !strings.Contains(stdout, name+"@TEST.GSS"+want) {
						t.Errorf("nothing of %s%s", name, want)
					}
				}
			}
		})
	}
}

func TestGNUCannot(t *testing.T) {
	stdout, stderr, status := transfer(t, "gnu")
	if status == 0 || !strings.Contains(stderr, "GNU gss cannot export security contexts") || strings.Contains(stdout, "realm") {
		t.Fatalf("exit status %d\n%s%s", status, stdout, stderr)
	}
}

// The checks are there to fail: each broken promise is noticed. When two have one
// context, it is a matter of chance who notices it first, and by what.
func TestBroken(t *testing.T) {
	for fault, want := range map[string]*regexp.Regexp{
		"keep":     regexp.MustCompile("from the one that kept it"),
		"reimport": regexp.MustCompile("taken the same context twice|duplicate of an earlier|earlier message is missing|is out of order"),
	} {
		for _, library := range []string{"mit", "heimdal"} {
			t.Run(fault+"/"+library, func(t *testing.T) {
				stdout, stderr, status := transfer(t, library, "-break="+fault)
				if status == 0 || !want.MatchString(stderr) || strings.Contains(stdout, "ok:") {
					t.Fatalf("exit status %d, want %v\n%s%s", status, want, stdout, stderr)
				}
			})
		}
	}
}

func TestHangingWorker(t *testing.T) {
	stdout, stderr, status := transfer(t, "", "-break=hang", "-limit=2s")
	if status == 0 || strings.Contains(stdout, "ok:") || stderr == "" {
		t.Fatalf("exit status %d\n%s%s", status, stdout, stderr)
	}
}

// However the program ends, its processes do too.
func TestKilled(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			// All processes have the standard error of the first: it ends when the last of
			// them does.
			stderr, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			cmd := exec.CommandContext(t.Context(), program, "-break=hang")
			cmd.Stderr = w
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			lines := bufio.NewScanner(stdout)
			for lines.Scan() && !strings.Contains(lines.Text(), "exported the context") {
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, stdout); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("exit status 0")
			}
			if err := stderr.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(stderr)
			if err != nil {
				t.Errorf("processes are left: %v", err)
			}
			if sig != syscall.SIGKILL && !strings.Contains(string(text), "interrupted") {
				t.Errorf("standard error: %q", text)
			}
		})
	}
}
