//go:build unix

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// How a context and its connection go from the acceptor to a worker: one message
// on a Unix stream socket, with the descriptor of the connection,
//
//	4 bytes  length of what follows
//	2 bytes  length of the client's name
//	         the client's name, as Name.Export returns it
//	         the context, as Context.Export returns it
//
// and an answer, a frame: empty if the context was imported, else why not.
//
// The socket is a pair that only these two processes hold, made before they were
// started, and both are of one program. That is what makes it safe to hand what
// comes out of it to the C library, which does not check tokens. It is not the
// whole of a handoff protocol: nothing here is encrypted, authenticated or bound
// to a session, bytes of the client that were read already do not travel, and
// neither side outlives the other's crash. Package gssapi/handoff (planned) will
// do that.

// maxHandoff is the longest message that a worker reads. Tokens of Kerberos
// contexts have about 1 KiB, more if tickets hold much authorization data.
const maxHandoff = 128 << 10

// pass sends a client's context and connection to the worker behind u. What it
// has copied of the token it clears; the kernel does not.
func pass(u *net.UnixConn, conn *net.TCPConn, name, token []byte) error {
	n := 2 + len(name) + len(token)
	if len(name) > 1<<16-1 || n > maxHandoff {
		return fmt.Errorf("a name of %d bytes and a context of %d are too long to pass", len(name), len(token))
	}
	b := make([]byte, 0, 4+n) // so that append leaves no copies behind
	defer func() { clear(b) }()
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(append(b, name...), token...)

	raw, err := conn.SyscallConn() // and not File, which makes the connection blocking
	if err != nil {
		return err
	}
	var sent int
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		sent, _, sendErr = u.WriteMsgUnix(b, syscall.UnixRights(int(fd)), nil)
	})
	if err = errors.Join(err, sendErr); err != nil {
		return err
	}
	_, err = u.Write(b[sent:]) // a stream may take a part
	return err
}

// handedOver is what pass sent.
type handedOver struct {
	conn        net.Conn
	name, token []byte
	message     []byte // has both
}

// wipe clears the token wherever this process has it.
func (h *handedOver) wipe() { clear(h.message) }

// take receives what pass sent. The error is io.EOF if the acceptor has closed
// the socket before a message began.
func take(u *net.UnixConn) (*handedOver, error) {
	var head [4]byte
	oob := make([]byte, syscall.CmsgSpace(4))
	n, oobn, flags, _, err := u.ReadMsgUnix(head[:], oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	conn, err := connection(oob[:oobn])
	if err != nil {
		return nil, err
	}
	h := &handedOver{conn: conn}
	if err := h.read(u, head, n, flags); err != nil {
		h.wipe()
		conn.Close()
		return nil, err
	}
	return h, nil
}

func (h *handedOver) read(u *net.UnixConn, head [4]byte, n, flags int) error {
	if flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 {
		return errors.New("there is more with the message than one descriptor")
	}
	if _, err := io.ReadFull(u, head[n:]); err != nil {
		return cut(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 2 || size > maxHandoff {
		return fmt.Errorf("a message of %d bytes", size)
	}
	h.message = make([]byte, size)
	if _, err := io.ReadFull(u, h.message); err != nil {
		return cut(err)
	}
	name := int(binary.BigEndian.Uint16(h.message))
	if name > len(h.message)-2 {
		return errors.New("a name that is longer than its message")
	}
	h.name, h.token = h.message[2:2+name], h.message[2+name:]
	return nil
}

func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// connection is the one descriptor that came with a message.
func connection(oob []byte) (net.Conn, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var fds []int
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		if err == nil {
			fds = append(fds, got...)
		}
	}
	if len(fds) != 1 {
		for _, fd := range fds {
			syscall.Close(fd)
		}
		return nil, fmt.Errorf("%d descriptors came with a message that should have one", len(fds))
	}
	f := os.NewFile(uintptr(fds[0]), "connection")
	defer f.Close()
	return net.FileConn(f)
}
