//go:build !linux

package gsstest

import (
	"net"
	"strconv"
)

// listenLock takes the TCP port before: where there are no abstract Unix sockets, it is the lock that
// works for all users and is gone with the process.
func listenLock(ip string, port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(port-1)))
}
