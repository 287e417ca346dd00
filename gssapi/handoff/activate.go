package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// ActivationListeners returns the listening sockets that systemd, or what speaks
// its protocol (sd_listen_fds), has opened for this process, in their order; none
// if it has not. The environment variables are removed, so that workers do not take
// them for theirs: a second call returns none. Descriptors that are no listening
// sockets of streams are an error: datagrams, and connections (Accept=yes). Then the
// sockets are closed.
func ActivationListeners() ([]net.Listener, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) || count == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1024 {
		return nil, fmt.Errorf("handoff: LISTEN_FDS=%q is no number of sockets", count)
	}
	const first = 3
	var all []net.Listener
	for fd := first; fd < first+n; fd++ {
		l, e := listenerOf(fd)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("handoff: descriptor %d, which LISTEN_FDS names: %w", fd, e))
			continue
		}
		all = append(all, l)
	}
	if err != nil {
		for _, l := range all {
			l.Close()
		}
		return nil, err
	}
	return all, nil
}

// listenerOf makes a listener of a descriptor, which is closed if it is a listening
// socket. (What Go makes is not inherited by other programs.)
func listenerOf(fd int) (net.Listener, error) {
	if err := listening(fd); err != nil {
		return nil, err // it may be something of this process' own
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // systemd's
	}
	return l, err
}
