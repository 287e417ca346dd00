package handoff

import (
	"os"
	"os/exec"
)

// command starts workers of that role.
func command(role string) func(string) (*exec.Cmd, error) {
	return func(string) (*exec.Cmd, error) {
		cmd := process(role)
		cmd.Stderr = os.Stderr
		return cmd, nil
	}
}

// process is a process of that role, with env besides this one's.
func process(role string, env ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	return cmd
}
