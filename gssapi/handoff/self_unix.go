//go:build unix

package handoff

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
)

func ownFile() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil // which the child looks up
	}
	return os.Executable()
}

func runAs(cmd *exec.Cmd, name string) error {
	u, err := user.Lookup(name)
	if _, unknown := err.(user.UnknownUserError); unknown {
		if _, e := strconv.ParseUint(name, 10, 32); e == nil {
			u, err = user.LookupId(name)
		}
	}
	if err != nil {
		return fmt.Errorf("handoff: RunAs: %w", err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("handoff: RunAs: %w", err)
	}
	c := new(syscall.Credential)
	for _, id := range append([]string{u.Uid, u.Gid}, ids...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return fmt.Errorf("handoff: RunAs: user %s has the id %q", name, id)
		}
		c.Groups = append(c.Groups, uint32(n))
	}
	c.Uid, c.Gid, c.Groups = c.Groups[0], c.Groups[1], c.Groups[2:]
	if int(c.Uid) == os.Getuid() && os.Getuid() != 0 {
		return nil // already, and setgroups would be refused
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Credential = c
	return nil
}
