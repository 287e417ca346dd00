package gssapi

import (
	"bytes"
	"errors"
	"math"

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
		return dst, refuse(op, ErrBadQOP, "%d is no protection: use Private or Integrity", p)
	}
	if p == Private && c.flags&FlagConf == 0 && !isGNU() { // GNU gss never has it, and gss.Ctx.Wrap says so
		return dst, refuse(op, ErrUnavailable, "confidentiality was not negotiated (flags: %v)", c.flags)
	}
	out, encrypted, err := c.ctx.Wrap(dst, msg, p == Private, 0)
	if err != nil {
		return dst, err
	}
	if p == Private && !encrypted {
		clear(out[len(dst):])
		return dst, notEncrypted(op, "the library returned a token that is not encrypted")
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
		return nil, notEncrypted(op, "the peer sent a message that is not encrypted")
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
	out, encrypted, _, err := c.ctx.Unwrap(dst, token)
	if err != nil && !c.inOrder(err) {
		clear(out[len(dst):])
		return dst, Integrity, err
	}
	if !encrypted {
		return out, Integrity, nil
	}
	return out, Private, nil
}

// inOrder reports whether err is only about a message's place in the sequence,
// and that is to be overlooked. Only MIT has verified the message by then.
func (c *Context) inOrder(err error) bool {
	var e *Error
	if c.order == 0 || !errors.As(err, &e) || !c.order.tolerates(e.Major) {
		return false
	}
	l, err := gss.Library()
	return err == nil && l.Kind == gss.KindMIT
}

func notEncrypted(op, text string) error {
	return &Error{Op: op, Major: ErrBadQOP, Text: text, Err: ErrNotEncrypted}
}

// AppendMIC appends to dst a code by which the peer can verify msg. RFC 2744,
// 5.15.
func (c *Context) AppendMIC(dst, msg []byte) ([]byte, error) {
	if err := c.usable("AppendMIC"); err != nil {
		return dst, err
	}
	return c.ctx.GetMIC(dst, msg, 0)
}

// VerifyMIC verifies that the peer made mic for msg. ErrBadMIC if not; see Order
// for those that are not next in sequence. RFC 2744, 5.32.
func (c *Context) VerifyMIC(msg, mic []byte) error {
	if err := c.usable("VerifyMIC"); err != nil {
		return err
	}
	_, err := c.ctx.VerifyMIC(msg, mic)
	if err != nil && c.inOrder(err) {
		return nil
	}
	return err
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
