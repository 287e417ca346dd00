package gssapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"sync"

	"github.com/seed2651813c/gss"
)

// Protection is how a message is protected.
type Protection uint8

// Protections. The zero value is the stronger one.
const (
	Private   Protection = iota // encrypted, and its integrity protected
	Integrity                   // integrity protected, readable by all
)

// String returns private or integrity.
func (p Protection) String() string {
	if p == Private {
		return "private"
	}
	return "integrity"
}

// overhead is room that a token needs beside its message, for one crossing into
// C: Kerberos takes 60 to 76 bytes, its old enctypes under SPNEGO some more.
const overhead = 128

// Wrap encrypts msg for the peer: AppendWrap with Private.
func (c *Context) Wrap(msg []byte) ([]byte, error) {
	token, err := c.AppendWrap(make([]byte, 0, len(msg)+overhead), msg, Private)
	if err != nil {
		return nil, err
	}
	return token, nil
}

// AppendWrap appends to dst the token that carries msg to the peer. msg is not
// changed; it may lie in the spare room of dst. On an error dst is returned as it
// was.
//
// With Private the error is ErrUnavailable if confidentiality was not
// negotiated, and ErrNotEncrypted if the library did not encrypt. The library
// goes on after the context has expired. RFC 2744, 5.34.
func (c *Context) AppendWrap(dst, msg []byte, p Protection) ([]byte, error) {
	const op = "Wrap"
	if err := c.usable(op); err != nil {
		return dst, err
	}
	if p > Integrity {
		return dst, c.refused(op, msg, refuse(op, ErrBadQOP, "%d is no protection: use Private or Integrity", p))
	}
	if p == Private && c.flags&FlagConf == 0 && !isKind(gss.KindGNU) { // GNU gss never has it, and gss.Ctx.Wrap says so
		return dst, c.refused(op, msg, refuse(op, ErrUnavailable, "confidentiality was not negotiated (flags: %v)", c.flags))
	}
	out, encrypted, err := c.ctx.Wrap(dst, msg, p == Private, 0)
	if err != nil {
		return dst, c.refused(op, msg, err)
	}
	if p == Private && !encrypted {
		clear(out[len(dst):])
		return dst, c.refused(op, msg, notEncrypted(op, "the library returned a token that is not encrypted"))
	}
	return out, nil
}

// Unwrap returns the message that the peer's token carries. token is not
// changed. The error is ErrNotEncrypted if the peer did not encrypt where
// confidentiality was negotiated, ErrBadSig or ErrDefectiveToken for what is
// forged or damaged, and see Order for messages that are not next in sequence. RFC 2744,
// 5.31.
func (c *Context) Unwrap(token []byte) ([]byte, error) {
	const op = "Unwrap"
	work := bytes.Clone(token)
	msg, p, err := c.AppendUnwrap(work[:0], work)
	if err != nil {
		return nil, err
	}
	if p != Private && c.flags&FlagConf != 0 {
		clear(msg)
		return nil, c.refused(op, token, notEncrypted(op, "the peer sent a message that is not encrypted"))
	}
	return msg, nil
}

// AppendUnwrap appends to dst the message that token carries, and tells how it
// was protected: it is the caller who must refuse what is not Private enough.
// The contents of token are scrambled. dst may begin where token does. On an
// error dst is returned as it was.
func (c *Context) AppendUnwrap(dst, token []byte) ([]byte, Protection, error) {
	const op = "Unwrap"
	if err := c.usable(op); err != nil {
		return dst, Integrity, err
	}
	if c.order != 0 {
		c.window.Lock()
	}
	seq := sequenceNumber(token) // now: the call scrambles it
	out, encrypted, _, err := c.ctx.Unwrap(dst, token)
	if err = c.inOrder(err, seq); err != nil {
		clear(out[len(dst):])
		return dst, Integrity, c.refused(op, token, err)
	}
	if !encrypted {
		return out, Integrity, nil
	}
	return out, Private, nil
}

// window is how far the peer's messages have come. MIT remembers which of the
// last 64 it has had; an older one is ErrUnseqToken too, although it may be a
// duplicate (1.20, util_seqstate.c). So AllowReorder needs to know how old, and
// takes nothing late while it does not: after an import, and after a message
// whose number cannot be read (RFC 1964, or a token of RFC 4121 in a frame of RFC
// 2743, which MIT takes too).
type window struct {
	sync.Mutex
	newest uint64 // sequence number; 0: not known
}

const windowSize = 64

// sequenceNumber is that of a token of RFC 4121, 4.2.6: 0 if it is none.
func sequenceNumber(token []byte) uint64 {
	if len(token) < 16 || token[1] != 4 || token[0] != 4 && token[0] != 5 {
		return 0
	}
	return binary.BigEndian.Uint64(token[8:])
}

// inOrder returns nil instead of an err that is only about a message's place in
// the sequence, if that is to be overlooked. Only MIT has verified the message by
// then. If there is an order the caller holds c.window, and inOrder gives it back.
func (c *Context) inOrder(err error, seq uint64) error {
	if c.order == 0 {
		return err
	}
	defer c.window.Unlock()
	newest := err == nil // the message is the newest that MIT has had
	if l, bad := gss.Library(); bad == nil && l.Kind == gss.KindMIT {
		var e *Error
		if errors.As(err, &e) && e.Major&^(ErrGapToken|ErrUnseqToken) == 0 {
			newest = e.Major&ErrUnseqToken == 0
			known := c.flags&FlagReplay != 0 && seq != 0 && c.window.newest != 0 && c.window.newest-seq < windowSize
			if c.order.tolerates(e.Major) && (newest || known) {
				err = nil
			}
		}
	}
	if newest {
		c.window.newest = seq // 0 if it cannot be read: nothing late is taken until the next
	}
	return err
}

// refused tells the trace of a message that failed, and returns err.
func (c *Context) refused(op string, msg []byte, err error) error {
	if hook := c.hooks().MessageFailed; hook != nil {
		e := c.event(op)
		e.Received, e.Err = len(msg), err
		hook(e)
	}
	return err
}

func notEncrypted(op, text string) error {
	return &Error{Op: op, Major: ErrBadQOP, Text: text, Err: ErrNotEncrypted}
}

// AppendMIC appends to dst a code by which the peer can verify msg. RFC 2744,
// 5.15.
func (c *Context) AppendMIC(dst, msg []byte) ([]byte, error) {
	const op = "AppendMIC"
	if err := c.usable(op); err != nil {
		return dst, err
	}
	out, err := c.ctx.GetMIC(dst, msg, 0)
	if err != nil {
		return dst, c.refused(op, msg, err)
	}
	return out, nil
}

// VerifyMIC verifies that the peer made mic for msg. ErrBadMIC if not; see Order
// for those that are not next in sequence. RFC 2744, 5.32.
func (c *Context) VerifyMIC(msg, mic []byte) error {
	const op = "VerifyMIC"
	if err := c.usable(op); err != nil {
		return err
	}
	if c.order != 0 {
		c.window.Lock()
	}
	_, err := c.ctx.VerifyMIC(msg, mic)
	if err = c.inOrder(err, sequenceNumber(mic)); err != nil {
		return c.refused(op, msg, err)
	}
	return nil
}

// MaxMessage returns the length of the longest message whose token, with that
// protection, is not longer than size. RFC 2744, 5.33.
func (c *Context) MaxMessage(size int, p Protection) (int, error) {
	const op = "MaxMessage"
	if err := c.usable(op); err != nil {
		return 0, err
	}
	if size < 0 || p > Integrity {
		return 0, refuse(op, ErrFailure, "a size of %d with protection %d: neither may be out of range", size, p)
	}
	limit, err := c.ctx.WrapSizeLimit(p == Private, 0, uint32(min(size, math.MaxInt32)))
	return int(limit), err
}
