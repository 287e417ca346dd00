//go:build unix && !linux

package handoff

import (
	"net"
	"syscall"
)

// socketNetwork is the type of named sockets.
const socketNetwork = "unix"

// checksUID: the system does not tell who sent a packet; the key does.
const checksUID = false

var controlSpace = syscall.CmsgSpace(4 * maxFDs)

func passCredentials(*net.UnixConn) error { return nil }

func credentials(*syscall.SocketControlMessage) (uid int, ok bool) { return noUID, false }

func unmapped(int) bool { return false }

func identify(fd int) ([]byte, error) { return byInode(fd) }

// closeStrays is for Linux, where this was seen.
func closeStrays(int) {}

// socketpair makes a stream: macOS has no packets in the unix domain.
func socketpair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	return fds, err
}
