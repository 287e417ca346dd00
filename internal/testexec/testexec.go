// Package testexec runs a test program again, in a process of its own, also where
// it was built for another processor and an emulator runs it.
package testexec

import (
	"os"
	"os/exec"
	"strings"
)

// env is the command that runs programs of this processor, and its arguments: what
// go test -exec was given. The system starts only its own.
const env = "GSS_TEST_EXEC"

// Self is the command that runs this program with other arguments.
func Self(args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := append(append(strings.Fields(os.Getenv(env)), self), args...)
	return exec.Command(all[0], all[1:]...), nil
}

// Emulated reports whether an emulator runs this program. Then the system does not
// start a copy of it, and a symbolic link to one of its libraries leads nowhere.
func Emulated() bool { return os.Getenv(env) != "" }
