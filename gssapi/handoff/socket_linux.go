package handoff

import (
	"encoding/binary"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// socketNetwork is the type of named sockets.
const socketNetwork = "unixpacket"

// checksUID: the system tells who sent a packet.
const checksUID = true

var controlSpace = syscall.CmsgSpace(4*maxFDs) + syscall.CmsgSpace(syscall.SizeofUcred)

// passCredentials has the kernel say with each packet, in both directions, who
// sent it: SO_PASSCRED at either end does.
func passCredentials(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var e error
	if err := raw.Control(func(fd uintptr) { e = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt SO_PASSCRED", e)
}

func credentials(m *syscall.SocketControlMessage) (uid int, ok bool) {
	u, err := syscall.ParseUnixCredentials(m) // an error if it is something else
	if err != nil || u.Pid == 0 && int(u.Uid) == overflowUID() {
		return noUID, false // of nobody, and not of the user nobody
	}
	return int(u.Uid), true
}

// overflowUID is what the kernel puts for a user who has no number here.
var overflowUID = sync.OnceValue(func() int {
	b, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if n, e := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && e == nil {
		return n
	}
	return 65534
})

// unmapped reports whether uid stands for all users who have no number in this
// process' user namespace. Where all have one it is a user like others: nobody, as
// a rule.
func unmapped(uid int) bool { return uid == overflowUID() && !allMapped() }

var allMapped = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && slices.Equal(strings.Fields(string(b)), []string{"0", "0", "4294967295"})
})

// soCookie is SO_COOKIE on all of Go's processors (Linux 4.12).
const soCookie = 57

// identify tells which socket fd is: by the number that the kernel gives each
// once, and that is the same in every process which has the socket. Sealed, it
// keeps who is between the ends from putting another connection in its place.
func identify(fd int) ([]byte, error) {
	// Package syscall has getsockopt for structures only; the kernel fills 8 bytes of this one.
	v, err := syscall.GetsockoptICMPv6Filter(fd, syscall.SOL_SOCKET, soCookie)
	if err != nil {
		return byInode(fd)
	}
	n := *(*[8]byte)(unsafe.Pointer(&v.Data))
	return append([]byte{'c'}, binary.NativeEndian.AppendUint64(nil, binary.NativeEndian.Uint64(n[:]))...), nil
}

// closeStrays closes the descriptors from first on that the process has inherited:
// Go marks its own to be closed on exec.
func closeStrays(first int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil { // there is no /proc
		for fd := first; fd < 1024; fd++ {
			closeStray(fd)
		}
		return
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			closeStray(fd)
		}
	}
}

func closeStray(fd int) {
	flags, _, e := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
	if e == 0 && flags&syscall.FD_CLOEXEC == 0 {
		syscall.Close(fd)
	}
}

func socketpair() ([2]int, error) {
	return syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
}
