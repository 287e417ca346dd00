//go:build unix

package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
)

// Flags of recvmsg.
const (
	packetTruncated  = syscall.MSG_TRUNC
	controlTruncated = syscall.MSG_CTRUNC
)

// rights is the control message that carries fd.
func rights(fd int) []byte { return syscall.UnixRights(fd) }

// closeAll closes descriptors, but for those that are none.
func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}

// isGone reports whether an error says that the peer has closed its end.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// control takes the control messages of a packet apart. The descriptors are the
// caller's.
func control(oob []byte) (fds []int, uid int, err error) {
	uid = noUID
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, uid, fmt.Errorf("%w: its control messages: %w", ErrMessage, err)
	}
	for i := range messages {
		m := &messages[i]
		if m.Header.Level == syscall.SOL_SOCKET && m.Header.Type == syscall.SCM_RIGHTS {
			some, _ := syscall.ParseUnixRights(m) // an error if it is something else
			fds = append(fds, some...)
			continue
		}
		if u, ok := credentials(m); ok {
			uid = u
		}
	}
	return fds, uid, nil
}

// openKeyFile opens a file that may be something else: a pipe does not hold it up.
func openKeyFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// checkOwner returns an error if the file belongs to somebody who is neither root
// nor this user.
func checkOwner(i fs.FileInfo) error {
	s, ok := i.Sys().(*syscall.Stat_t)
	if !ok || s.Uid == 0 || int(s.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("belongs to uid %d, who is neither root nor this process' user", s.Uid)
}

// byInode is how a socket is told where it has no number of its own: two at the
// same time differ.
func byInode(fd int) ([]byte, error) {
	var s syscall.Stat_t
	if err := syscall.Fstat(fd, &s); err != nil {
		return nil, err
	}
	if s.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return nil, syscall.ENOTSOCK
	}
	b := binary.BigEndian.AppendUint64([]byte{'i'}, uint64(s.Dev))
	return binary.BigEndian.AppendUint64(b, uint64(s.Ino)), nil
}

// connOf makes a connection of a descriptor, which is closed.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "client")
	defer f.Close()
	return net.FileConn(f)
}

// Pair makes the two ends of a channel for one session: the sender's, and the
// receiver's for a process to be started (exec.Cmd.ExtraFiles), which the caller
// closes after Start. On Linux it is of type SOCK_SEQPACKET, elsewhere a stream.
func Pair() (*net.UnixConn, *os.File, error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "handoff")
	c, err := connOf(fds[0])
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}

// uidOf is the user that a command will run as.
func uidOf(cmd *exec.Cmd) int {
	if a := cmd.SysProcAttr; a != nil && a.Credential != nil {
		return int(a.Credential.Uid)
	}
	return os.Getuid()
}

func listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	l, err := net.ListenUnix(socketNetwork, &net.UnixAddr{Name: path, Net: socketNetwork})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// listening returns an error unless fd is a socket that connections come to.
func listening(fd int) error {
	yes, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err == nil && yes == 0 {
		err = errors.New("it does not listen")
	}
	return err
}
