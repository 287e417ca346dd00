//go:build unix

package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair is both ends of a Unix socket, and a TCP connection to pass.
func pair(t *testing.T) (a, b *net.UnixConn, conn *net.TCPConn) {
	t.Helper()
	fa, fb, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, f := range []interface {
		Fd() uintptr
		Close() error
	}{fa, fb} {
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if ends[i], err = socket(uintptr(fd)); err != nil {
			t.Fatal(err)
		}
		ends[i].SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { ends[i].Close() })
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return ends[0], ends[1], conn
}

func TestPassAndTake(t *testing.T) {
	a, b, conn := pair(t)
	token := bytes.Repeat([]byte("key "), 20000) // more than a socket takes at once
	done := make(chan error)
	go func() { done <- pass(a, conn, []byte("alice"), token) }()
	h, err := take(b)
	if err != nil {
		t.Fatal(err)
	}
	defer h.conn.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if string(h.name) != "alice" || !bytes.Equal(h.token, token) {
		t.Errorf("got name %q and %d bytes", h.name, len(h.token))
	}
	if h.conn.RemoteAddr().String() != conn.RemoteAddr().String() {
		t.Errorf("got a connection to %v, passed was one to %v", h.conn.RemoteAddr(), conn.RemoteAddr())
	}
	h.wipe()
	if len(bytes.Trim(h.token, "\x00")) > 0 {
		t.Error("the token is not cleared")
	}
	a.Close()
	if _, err := take(b); err != io.EOF && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("after the end: %v", err)
	}
}

func TestTakeRefuses(t *testing.T) {
	message := func(n uint32, rest string) string {
		return string(binary.BigEndian.AppendUint32(nil, n)) + rest
	}
	for name, c := range map[string]struct {
		bytes string
		fds   int
		want  string
	}{
		"no descriptor":   {message(3, "\x00\x00x"), 0, "0 descriptors"},
		"two descriptors": {message(3, "\x00\x00x"), 2, ""}, // with or without room for both, by system
		"too long":        {message(maxHandoff+1, ""), 1, "a message of"},
		"too short":       {message(1, "x"), 1, "a message of 1 bytes"},
		"name too long":   {message(3, "\x00\x02x"), 1, "longer than its message"},
		"cut":             {message(30, "\x00\x00x"), 1, "unexpected EOF"},
		"head cut":        {"\x00\x00", 1, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, conn := pair(t)
			raw, err := conn.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				var oob []byte
				if c.fds > 0 {
					oob = syscall.UnixRights([]int{int(fd), int(fd)}[:c.fds]...)
				}
				_, _, err = a.WriteMsgUnix([]byte(c.bytes), oob, nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			a.Close()
			if h, err := take(b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("take: %v, %v; want %q", h, err, c.want)
			}
		})
	}
}
