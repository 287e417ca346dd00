//go:build unix

package gsstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const supported = true

// guard is a shell that reads the pids of a realm's processes from a pipe whose only writer is this process.
// When the pipe ends without a "done", this process has died, even by SIGKILL, and the shell kills those and
// removes the directory. Unlike Linux's parent-death signal it works on every Unix and does not depend on
// the thread that started the process. It is our child, so that nothing is left to an init that does not
// reap, and in a process group of its own: an interrupt from the terminal reaches it through us.
type guard struct {
	cmd  *exec.Cmd
	pipe *os.File
}

const guardScript = `pids=
while read -r line; do
	case $line in
	done) exit 0 ;;
	-*)
		left=
		for pid in $pids; do test "-$pid" = "$line" || left="$left $pid"; done
		pids=$left
		;;
	*) pids="$pids $line" ;;
	esac
done
test -z "$pids" || kill -KILL $pids
test -z "$1" || rm -rf -- "$1"
`

// startScript becomes the program when it is told to, which is after the guard knows its pid.
const startScript = `read -r go || exit 1
exec "$@" </dev/null
`

func newGuard(removeDir string) (*guard, error) {
	r, w, err := os.Pipe() // both are closed on exec
	if err != nil {
		return nil, fmt.Errorf("gsstest: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "gsstest-guard", removeDir)
	cmd.Dir = "/"
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("gsstest: %w", err)
	}
	return &guard{cmd, w}, nil
}

// release ends the guard.
func (g *guard) release() error {
	g.pipe.WriteString("done\n")
	g.pipe.Close()
	return g.cmd.Wait()
}

// process is a running KDC or LDAP server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was reaped
	err  error         // of Wait; read after done
}

func (g *guard) start(args, env []string, dir, output string) (*process, error) {
	out, err := openOutput(output)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	defer r.Close()
	p := &process{done: make(chan struct{})}
	p.cmd = exec.Command("/bin/sh", append([]string{"-c", startScript, "gsstest-start"}, args...)...)
	p.cmd.Env = env
	p.cmd.Dir = dir
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = r, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	_, err = fmt.Fprintln(g.pipe, p.cmd.Process.Pid)
	if err == nil {
		_, err = w.WriteString("go\n")
	}
	if err != nil { // the guard or the shell was killed
		p.cmd.Process.Kill()
		<-p.done
		return nil, err
	}
	return p, nil
}

// stop asks the process to end and waits for it; after the timeout it kills it.
func (g *guard) stop(p *process, timeout time.Duration) error {
	// SIGTERM waits in a suspended process.
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.cmd.Process.Kill()
		<-p.done
	}
	fmt.Fprintf(g.pipe, "-%d\n", p.cmd.Process.Pid)
	return nil
}

func (p *process) status() string { return p.cmd.ProcessState.String() }
func (p *process) suspend() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error  { return p.cmd.Process.Signal(syscall.SIGCONT) }
