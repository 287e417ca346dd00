package handoff

import (
	"os"
	"os/exec"
	"os/user"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/internal/testexec"
)

func TestSelf(t *testing.T) {
	if testexec.Emulated() {
		t.Skip("the system does not start a program of another processor by itself")
	}
	cmd, err := Self("-test.list=^TestSelf$")
	check(t, err)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "TestSelf\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRunAs(t *testing.T) {
	cmd := exec.Command("id")
	if err := RunAs(cmd, "no such user"); err == nil || cmd.SysProcAttr != nil {
		t.Errorf("%v", err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root can run programs as somebody else")
	}
	nobody, err := user.Lookup("nobody")
	check(t, err)
	for _, name := range []string{"nobody", nobody.Uid} {
		for flag, want := range map[string]string{"-u": nobody.Uid, "-G": nobody.Gid} {
			cmd := exec.Command("id", flag)
			check(t, RunAs(cmd, name))
			out, err := cmd.Output()
			check(t, err)
			if got := strings.TrimSpace(string(out)); got != want {
				t.Errorf("id %s as %s: %q, want %q", flag, name, got, want)
			}
		}
	}
}
