// Package frame sends tokens over a stream: four bytes of length, the most
// significant first, and then so many bytes. Establish makes a security context
// that way.
package frame

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/seed2651813c/gss/gssapi"
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

// Establish exchanges tokens with the peer until c is established. first says
// that this end begins: it is the initiator.
func Establish(ctx context.Context, stream io.ReadWriter, c *gssapi.Context, first bool) error {
	var token []byte
	for !c.Established() {
		if !first {
			var err error
			if token, err = Read(stream); err != nil {
				return err
			}
		}
		first = false
		out, err := c.Step(ctx, token)
		if len(out) > 0 { // even with an error: it tells the peer
			err = errors.Join(err, Write(stream, out))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
