// Package frame sends tokens over a stream: four bytes of length, the most
// significant first, and then so many bytes. It is for programs that need each token
// for itself; gssapi.Conn frames its tokens in the same way.
package frame

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Max is the longest token that is sent or read. A peer that is not yet known
// cannot make Read take more memory than this.
const Max = 64 << 10

// Write sends token in one write.
func Write(w io.Writer, token []byte) error {
	if len(token) > Max {
		return fmt.Errorf("a token of %d bytes: at most %d are sent", len(token), Max)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(token)), uint32(len(token)))
	_, err := w.Write(append(b, token...))
	return err
}

// Read reads one token, and not a byte of what follows it. The error is io.EOF
// only if the stream ends before the token begins.
func Read(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > Max {
		return nil, fmt.Errorf("the peer announces a token of %d bytes: at most %d are read", n, Max)
	}
	token := make([]byte, n)
	if _, err := io.ReadFull(r, token); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return token, nil
}
