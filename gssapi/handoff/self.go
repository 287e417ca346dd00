package handoff

import (
	"os/exec"
)

// Self is the command that runs this program again with other arguments, for
// Server.Command. On Linux that is the very file that runs now, also when another
// has been installed in its place since, and also where another user could not reach it by its
// name.
func Self(args ...string) (*exec.Cmd, error) {
	path, err := ownFile()
	if err != nil {
		return nil, err
	}
	return exec.Command(path, args...), nil
}

// RunAs has cmd run as that user, given by name or number, with the user's groups.
// This process must be root, or have CAP_SETUID and CAP_SETGID, unless it is that
// user already. It is an error on systems other than Unix.
func RunAs(cmd *exec.Cmd, user string) error { return runAs(cmd, user) }
