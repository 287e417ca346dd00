//go:build !unix

package handoff

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
)

var errNoSockets = fmt.Errorf("handoff: this system cannot pass descriptors over sockets: %w", errors.ErrUnsupported)

const (
	checksUID        = false
	packetTruncated  = 0
	controlTruncated = 0
)

var controlSpace = 0

func rights(int) []byte { return nil }

func closeAll([]int) {}

func isGone(error) bool { return false }

func control([]byte) ([]int, int, error) { return nil, noUID, errNoSockets }

func passCredentials(*net.UnixConn) error { return errNoSockets }

func unmapped(int) bool { return true }

func identify(int) ([]byte, error) { return nil, errNoSockets }

func connOf(int) (net.Conn, error) { return nil, errNoSockets }

func openKeyFile(name string) (*os.File, error) { return os.Open(name) }

func checkOwner(fs.FileInfo) error { return nil }

// Pair makes the two ends of a channel for one session. Not on this system.
func Pair() (*net.UnixConn, *os.File, error) { return nil, nil, errNoSockets }

const socketNetwork = "unix"

func uidOf(*exec.Cmd) int { return noUID }

func listen(string, fs.FileMode) (*net.UnixListener, error) { return nil, errNoSockets }

func listening(int) error { return errNoSockets }

func closeStrays(int) {}
