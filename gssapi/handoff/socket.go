package handoff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
)

// socket carries packets and descriptors over a socket of the unix domain: a
// sequence of packets (Linux), or a stream in which each has four bytes of length
// in front.
type socket struct {
	conn   *net.UnixConn
	stream bool
	uids   []int // whose packets are taken

	oob  []byte
	have []byte // of a stream: of the packet that is being received, its length included
	fds  []int  // that came with it
}

// Descriptors that are none.
const (
	noFD   = -1
	lostFD = -2 // sent, and not received: the process has as many as it may
)

// maxFDs is for how many descriptors there is room, so that one too many is
// seen and closed.
const maxFDs = 4

func newSocket(c *net.UnixConn, uids []int) (*socket, error) {
	s := &socket{conn: c, uids: uids, oob: make([]byte, controlSpace)}
	switch network := c.LocalAddr().Network(); network {
	case "unixpacket":
	case "unix":
		s.stream = true
	default:
		return nil, fmt.Errorf("handoff: a socket of type %q: it must be unix or unixpacket", network)
	}
	return s, passCredentials(c)
}

// write sends a packet, and a descriptor if fd is not noFD.
func (s *socket) write(p []byte, fd int) error {
	var oob []byte
	if fd >= 0 {
		oob = rights(fd)
	}
	if s.stream {
		p = append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(p)), uint32(len(p))), p...)
	}
	n, _, err := s.conn.WriteMsgUnix(p, oob, nil)
	for err == nil && n < len(p) { // of a stream
		var k int
		k, err = s.conn.Write(p[n:])
		n += k
	}
	return err
}

// read gets a packet into buf and the descriptors that came with it, which are
// the caller's; lostFD is for those that could not be received. A deadline that
// passes loses nothing. At the end of the connection it returns io.EOF.
func (s *socket) read(buf []byte) (p []byte, fds []int, err error) {
	if !s.stream {
		n, fds, err := s.recv(buf)
		return buf[:n], fds, err
	}
	if s.have == nil {
		s.have = make([]byte, 0, 4+len(buf))
	}
	for {
		want := 4
		if len(s.have) >= 4 {
			n := binary.BigEndian.Uint32(s.have)
			if uint64(n) > uint64(len(buf)) || n == 0 {
				return nil, nil, s.drop(fmt.Errorf("%w: a packet of %d bytes: the peer does not speak the handoff protocol", ErrMessage, n))
			}
			want += int(n)
		}
		if len(s.have) == want {
			p = buf[:copy(buf, s.have[4:])]
			fds, s.have, s.fds = s.fds, s.have[:0], nil
			return p, fds, nil
		}
		n, fds, err := s.recv(s.have[len(s.have):want])
		if len(fds) > 0 && len(s.have) > 0 {
			closeAll(fds)
			return nil, nil, s.drop(fmt.Errorf("%w: a descriptor in its midst", ErrMessage))
		}
		s.fds = append(s.fds, fds...)
		s.have = s.have[:len(s.have)+n]
		if err != nil {
			if err == io.EOF && len(s.have) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, nil, err
		}
	}
}

// drop closes the descriptors of a packet that is not taken.
func (s *socket) drop(err error) error {
	closeAll(s.fds)
	s.fds = nil
	return err
}

// recv is one recvmsg, with the peer checked.
func (s *socket) recv(buf []byte) (n int, fds []int, err error) {
	n, oobn, flags, _, rerr := s.conn.ReadMsgUnix(buf, s.oob)
	if isGone(rerr) {
		// Linux says that the peer has closed its end without having read all, and then
		// has what it sent before.
		n, oobn, flags, _, rerr = s.conn.ReadMsgUnix(buf, s.oob)
	}
	fds, uid, err := control(s.oob[:oobn])
	if flags&controlTruncated != 0 && len(fds) == 0 {
		fds = []int{lostFD}
	}
	switch {
	case rerr != nil:
		err = rerr
		switch {
		case errors.Is(rerr, io.EOF) && !s.stream && uid != noUID:
			err = fmt.Errorf("%w: a packet without a byte", ErrMessage) // which looks like the end
		case errors.Is(rerr, io.EOF), isGone(rerr):
			err = io.EOF
		}
	case err != nil:
	case flags&controlTruncated != 0 && fds[0] != lostFD:
		err = fmt.Errorf("%w: too many descriptors came with it", ErrMessage)
	case flags&packetTruncated != 0:
		err = fmt.Errorf("%w: it is longer than %d bytes", ErrMessage, len(buf))
	case uid == noUID && checksUID:
		err = fmt.Errorf("%w: the system did not tell who sent it", ErrPeer)
	case checksUID && unmapped(uid):
		err = fmt.Errorf("%w: uid %d stands for every user without a number in this user namespace: map the peer's user, or run it as another one", ErrPeer, uid)
	case checksUID && !slices.Contains(s.uids, uid):
		err = fmt.Errorf("%w: uid %d sent it, and it is to be one of %v", ErrPeer, uid, s.uids)
	}
	if err != nil {
		closeAll(fds)
		return 0, nil, err
	}
	return n, fds, nil
}

// noUID is the uid of a packet that has none.
const noUID = -1
