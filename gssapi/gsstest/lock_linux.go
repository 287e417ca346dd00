package gsstest

import (
	"net"
	"strconv"
)

// listenLock takes the name of the address in the abstract namespace of Unix sockets: it belongs to the same
// network namespace as the port, to all users, and is gone with the process.
func listenLock(ip string, port int) (net.Listener, error) {
	return net.Listen("unix", "@gsstest/"+net.JoinHostPort(ip, strconv.Itoa(port)))
}
