package gssapi

import (
	"errors"
	"slices"

	"github.com/seed2651813c/gss"
)

// Messages in parts, which are protected in place, in the caller's memory: the
// library allocates nothing.
type (
	// IOVBuffer is one part of a message, see [gss.IOVBuffer].
	IOVBuffer = gss.IOVBuffer
	// IOVType says what a part is, see [gss.IOVType].
	IOVType = gss.IOVType
)

// Types of parts.
const (
	IOVEmpty      = gss.IOVEmpty      // ignored
	IOVData       = gss.IOVData       // encrypted or decrypted in place
	IOVHeader     = gss.IOVHeader     // what comes before the data in a token
	IOVMechParams = gss.IOVMechParams // neither MIT nor Heimdal looks at it
	IOVTrailer    = gss.IOVTrailer    // what comes after data and padding
	IOVPadding    = gss.IOVPadding    // old enctypes need it, between data and trailer
	IOVStream     = gss.IOVStream     // a whole token, to be unwrapped
	IOVSignOnly   = gss.IOVSignOnly   // protected, but not encrypted and not in the token
	IOVMICToken   = gss.IOVMICToken   // a MIC; MIT only
)

// MaxIOV is how many parts a message may have; IOVStream counts as two.
const MaxIOV = gss.MaxIOV

// mayWrap refuses what WrapIOV and its like do not do with that protection.
func (c *Context) mayWrap(op string, p Protection) error {
	if p > Integrity {
		return refuse(op, ErrBadQOP, "%d is no protection: use Private or Integrity", p)
	}
	if p == Private && c.flags&FlagConf == 0 && !isKind(gss.KindGNU) { // GNU gss never has it, and lacks the calls
		return refuse(op, ErrUnavailable, "confidentiality was not negotiated (flags: %v)", c.flags)
	}
	return nil
}

// mayBeWhole refuses calls for tokens in one piece.
func (c *Context) mayBeWhole(op string) error {
	if c.flags&FlagDCEStyle != 0 {
		return refuse(op, ErrUnavailable, "a context with dce-style has no tokens in one piece: give header and data, and what is sign-only, to WrapIOV and UnwrapIOV")
	}
	return nil
}

// refusedIOV is refused, for a message in parts.
func (c *Context) refusedIOV(op string, iov []IOVBuffer, err error) error {
	if hook := c.hooks().MessageFailed; hook != nil {
		e := c.event(op)
		for i := range iov {
			e.Received += len(iov[i].Data)
		}
		e.Err = err
		hook(e)
	}
	return err
}

// outOfOrder reports whether err is about a message's place in the sequence
// alone, and so came with the message.
func outOfOrder(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Major != 0 && e.Major < 1<<16
}

func hasPart(iov []IOVBuffer, t IOVType) bool {
	return slices.ContainsFunc(iov, func(b IOVBuffer) bool { return b.Type == t })
}

// clearParts overwrites the parts of that type.
func clearParts(iov []IOVBuffer, types ...IOVType) {
	for i := range iov {
		if slices.Contains(types, iov[i].Type) {
			clear(iov[i].Data)
		}
	}
}

// fit gives the parts of those types their lengths, and memory if they have too
// little.
func fit(iov []IOVBuffer, lengths [MaxIOV]int, types ...IOVType) {
	for i := range iov {
		if b := &iov[i]; slices.Contains(types, b.Type) {
			b.Data = slices.Grow(b.Data[:0], lengths[i])[:lengths[i]]
		}
	}
}

// WrapIOVLength gives the parts of type IOVHeader, IOVPadding and IOVTrailer the
// lengths that they need for WrapIOV with the other parts, whose lengths alone
// matter. Memory is allocated for those whose capacity is too small. LayoutIOV
// does that for a token in one piece.
//
// Errors are those of WrapIOV. It does not block. MIT and Heimdal.
func (c *Context) WrapIOVLength(iov []IOVBuffer, p Protection) error {
	const op = "WrapIOVLength"
	if err := c.usable(op); err != nil {
		return err
	}
	if err := c.mayWrap(op, p); err != nil {
		return c.refusedIOV(op, iov, err)
	}
	lengths, err := c.ctx.WrapIOVLength(p == Private, 0, iov)
	if err != nil {
		return c.refusedIOV(op, iov, err)
	}
	fit(iov, lengths, IOVHeader, IOVPadding, IOVTrailer)
	return nil
}

// WrapIOV protects a message in parts, in place: the IOVData are encrypted if p is
// Private, and all IOVData and IOVSignOnly are signed, in their order. The
// IOVHeader, the IOVPadding and the IOVTrailer must have the lengths that
// WrapIOVLength gives them, or more; they become as long as what was written. The
// peer must get all parts but those of type IOVSignOnly; he knows these himself.
// Header, data, padding and trailer in this order are a token for Unwrap, if
// nothing was sign-only.
//
// A context with FlagDCEStyle (DCE/RPC) takes neither padding nor trailer; their
// contents are in the header then. Other contexts need an IOVPadding with old
// enctypes, and take an empty one with all.
//
// The data of the caller are gone afterwards, even after an error. No two parts
// may lie on each other. With Private there must be an IOVData, which may be
// empty; the error is ErrUnavailable if confidentiality was not negotiated, and
// ErrNotEncrypted if the library did not encrypt. ErrUnavailable is also that of a
// mechanism that has no messages in parts; ErrFailure that of parts which are too
// short or too many. It allocates nothing and does not block. MIT and Heimdal.
func (c *Context) WrapIOV(iov []IOVBuffer, p Protection) error {
	const op = "WrapIOV"
	if err := c.usable(op); err != nil {
		return err
	}
	if err := c.mayWrap(op, p); err != nil {
		return c.refusedIOV(op, iov, err)
	}
	if p == Private && !hasPart(iov, IOVData) {
		// MIT 1.20 would sign it only, and count it.
		return c.refusedIOV(op, iov, refuse(op, ErrFailure, "nothing to encrypt: give a part of type data, which may be empty"))
	}
	encrypted, err := c.ctx.WrapIOV(p == Private, 0, iov)
	if err != nil {
		return c.refusedIOV(op, iov, err)
	}
	if p == Private && !encrypted {
		clearParts(iov, IOVHeader, IOVTrailer)
		return c.refusedIOV(op, iov, notEncrypted(op, "the library did not encrypt"))
	}
	return nil
}

// UnwrapIOV verifies a message in parts, decrypts its IOVData in place, and tells
// how it was protected: it is the caller who must refuse what is not Private
// enough. The parts are either those of WrapIOV, as they came from the peer and in
// the same order, with what is IOVSignOnly added by the caller; or
//
//   - an IOVStream: the token in one piece, of Wrap or WrapIOV, and
//   - one IOVData: it is set to the message, which is a part of the stream, and
//   - IOVSignOnly, as many as the peer gave.
//
// Parts of type IOVPadding may have one byte at most; more of it belongs to the
// data. Parts that were rotated, as Wrap of Heimdal rotates them, are refused:
// such a token is for IOVStream.
//
// On an error the data, or those of the stream, are overwritten. Errors are those
// of Unwrap, and ErrUnavailable for a stream on a context with FlagDCEStyle, and of
// a mechanism that has no messages in parts. It allocates nothing and does not
// block. MIT and Heimdal.
func (c *Context) UnwrapIOV(iov []IOVBuffer) (Protection, error) {
	const op = "UnwrapIOV"
	if err := c.usable(op); err != nil {
		return Integrity, err
	}
	var token []byte // or its header
	for i := range iov {
		switch iov[i].Type {
		case IOVStream:
			if err := c.mayBeWhole(op); err != nil {
				return Integrity, c.refusedIOV(op, iov, err)
			}
			token = iov[i].Data
		case IOVHeader:
			token = iov[i].Data
		}
	}
	if c.order != 0 {
		c.window.Lock() // inOrder gives it back
	}
	seq := sequenceNumber(token)
	old := len(token) > 0 && token[0] == 0x60 // RFC 1964
	encrypted, _, err := c.ctx.UnwrapIOV(iov)
	if old && errors.Is(err, ErrDefectiveToken) && c.flags&FlagDCEStyle != 0 && isKind(gss.KindHeimdal) {
		// 7.8, lib/gssapi/krb5/arcfour.c: it asks the wrong object for the style, and counts the data.
		err = refuse(op, ErrUnavailable, "a defective token, or any: this library cannot unwrap RC4 with dce-style")
	}
	if ordered := c.inOrder(err, seq); ordered != nil {
		if outOfOrder(err) {
			clearParts(iov, IOVData)
		}
		return Integrity, c.refusedIOV(op, iov, ordered)
	}
	if !encrypted {
		return Integrity, nil
	}
	return Private, nil
}

// LayoutIOV appends to dst room for the token of msg in one piece, with a copy of
// msg at its place, and returns the parts of it, which are ready for WrapIOV:
// IOVHeader, IOVData, IOVPadding and IOVTrailer, or IOVHeader and IOVData with
// FlagDCEStyle. out is dst with the token, once that is wrapped. Add the parts that
// are IOVSignOnly to iov, where the peer will have them:
//
//	out, iov, err := c.LayoutIOV(nil, stub, gssapi.Private)
//	iov = slices.Insert(iov, 1, gssapi.IOVBuffer{Type: gssapi.IOVSignOnly, Data: head})
//	err = c.WrapIOV(iov, gssapi.Private)
//
// Errors are those of WrapIOV. It does not block. MIT and Heimdal.
func (c *Context) LayoutIOV(dst, msg []byte, p Protection) (out []byte, iov []IOVBuffer, err error) {
	const op = "LayoutIOV"
	if err := c.usable(op); err != nil {
		return dst, nil, err
	}
	if err := c.mayWrap(op, p); err != nil {
		return dst, nil, c.refused(op, msg, err)
	}
	iov = []IOVBuffer{{Type: IOVHeader}, {Type: IOVData, Data: msg}, {Type: IOVPadding}, {Type: IOVTrailer}}
	if c.flags&FlagDCEStyle != 0 {
		iov = iov[:2]
	}
	lengths, err := c.ctx.WrapIOVLength(p == Private, 0, iov)
	if err != nil {
		return dst, nil, c.refused(op, msg, err)
	}
	total := 0
	for i := range iov {
		total += lengths[i]
	}
	at := len(dst)
	out = slices.Grow(dst, total)[:at+total]
	copy(out[at+lengths[0]:], msg) // it may lie in the room of dst
	for i := range iov {
		iov[i].Data = out[at : at+lengths[i] : at+lengths[i]]
		at += lengths[i]
	}
	return out, iov, nil
}

// MessageRoom is how many bytes must be free before and after a message of n bytes
// for WrapInPlace: those of its token, or a few more with enctypes older than AES.
// No token of Kerberos needs more than 96 and 64. Errors are those of WrapInPlace.
// It does not block. MIT and Heimdal.
func (c *Context) MessageRoom(n int, p Protection) (before, after int, err error) {
	const op = "MessageRoom"
	if err := c.usable(op); err != nil {
		return 0, 0, err
	}
	if n < 0 {
		return 0, 0, refuse(op, ErrFailure, "a message of %d bytes", n)
	}
	if err := c.mayWrap(op, p); err != nil {
		return 0, 0, err
	}
	if err := c.mayBeWhole(op); err != nil {
		return 0, 0, err
	}
	return c.ctx.IOVRoom(n, p == Private)
}

// WrapInPlace makes the token of the message buf[start:end] around it, in place,
// and returns it: a part of buf, which is a token for Unwrap. There must be as much
// room before and after the message as MessageRoom says. The message is gone
// afterwards, even after an error.
//
// It spares what AppendWrap copies and the library allocates there. Errors are those
// of AppendWrap, ErrFailure if there is too little room, and ErrUnavailable on a
// context with FlagDCEStyle and of a mechanism that has no messages in parts. It
// does not block. MIT and Heimdal.
func (c *Context) WrapInPlace(buf []byte, start, end int, p Protection) ([]byte, error) {
	return c.wrapAround("WrapInPlace", buf, start, end, nil, p)
}

func (c *Context) wrapAround(op string, buf []byte, start, end int, associated []byte, p Protection) ([]byte, error) {
	if err := c.usable(op); err != nil {
		return nil, err
	}
	err := c.mayWrap(op, p)
	if err == nil {
		err = c.mayBeWhole(op)
	}
	if err != nil {
		return nil, c.refused(op, buf, err)
	}
	from, to, encrypted, err := c.ctx.WrapAround(buf, start, end, associated, p == Private, 0)
	if err != nil {
		return nil, c.refused(op, buf, err)
	}
	if p == Private && !encrypted {
		clear(buf[from:to])
		return nil, c.refused(op, buf, notEncrypted(op, "the library did not encrypt"))
	}
	return buf[from:to], nil
}

// UnwrapInPlace returns the message that the peer's token carries, a part of
// token, and tells how it was protected: it is the caller who must refuse what is
// not Private enough. It is UnwrapIOV with an IOVStream: nothing is copied or
// allocated, and on an error the message is overwritten. It does not block. MIT and
// Heimdal.
func (c *Context) UnwrapInPlace(token []byte) ([]byte, Protection, error) {
	return c.unwrapAssociated(token, nil)
}

func (c *Context) unwrapAssociated(token, associated []byte) ([]byte, Protection, error) {
	iov := [...]IOVBuffer{{Type: IOVStream, Data: token}, {Type: IOVSignOnly, Data: associated}, {Type: IOVData}}
	if len(associated) == 0 {
		iov[1].Type = IOVEmpty
	}
	p, err := c.UnwrapIOV(iov[:])
	if err != nil {
		return nil, p, err
	}
	return iov[2].Data, p, nil
}

// AppendWrapAEAD appends to dst the token that carries msg to the peer, and by
// which he can verify associated too: that is neither encrypted nor in the token.
// msg may lie in the spare room of dst, associated may not. On an error dst is
// returned as it was. The token is that of gss_wrap_aead.
//
// With no associated data the token is one for Unwrap. Errors are those of
// AppendWrap, and ErrUnavailable on a context with FlagDCEStyle and of a mechanism
// that has no messages in parts. It does not block. MIT and Heimdal.
// draft-howard-gssapi-aead-01.
func (c *Context) AppendWrapAEAD(dst, msg, associated []byte, p Protection) ([]byte, error) {
	const op = "AppendWrapAEAD"
	if err := c.usable(op); err != nil {
		return dst, err
	}
	before, after, err := c.MessageRoom(len(msg), p)
	if err != nil {
		return dst, c.refused(op, msg, err)
	}
	start := len(dst) + before
	out := slices.Grow(dst, before+len(msg)+after)[:start+len(msg)+after]
	copy(out[start:], msg)
	token, err := c.wrapAround(op, out, start, start+len(msg), associated, p)
	if err != nil {
		clear(out[len(dst):])
		return dst, err
	}
	// The room may have been more than the token.
	return out[:len(dst)+copy(out[len(dst):], token)], nil
}

// AppendUnwrapAEAD appends to dst the message that a token of AppendWrapAEAD, or
// gss_wrap_aead, carries, and tells how it was protected: it is the caller who must
// refuse what is not Private enough. associated is what the peer gave. The contents
// of token are scrambled. dst may begin where token does. On an error dst is
// returned as it was. Errors are those of UnwrapIOV. It does not block. MIT and
// Heimdal.
func (c *Context) AppendUnwrapAEAD(dst, token, associated []byte) ([]byte, Protection, error) {
	msg, p, err := c.unwrapAssociated(token, associated)
	if err != nil {
		return dst, p, err
	}
	return append(dst, msg...), p, nil
}

// MICIOVLength gives the part of type IOVMICToken the length that it needs for
// MICIOV, and memory if its capacity is too small. It does not block. MIT;
// ErrUnavailable elsewhere.
func (c *Context) MICIOVLength(iov []IOVBuffer) error {
	const op = "MICIOVLength"
	if err := c.usable(op); err != nil {
		return err
	}
	lengths, err := c.ctx.GetMICIOVLength(0, iov)
	if err != nil {
		return c.refusedIOV(op, iov, err)
	}
	fit(iov, lengths, IOVMICToken)
	return nil
}

// MICIOV writes a code by which the peer can verify all parts of type IOVData and
// IOVSignOnly, in their order, into the IOVMICToken, and shortens that to what was
// written. It is what AppendMIC makes of the parts in one piece, so that the peer
// may use VerifyMIC, and the other way round. ErrFailure if the IOVMICToken is too
// short. It allocates nothing and does not block. MIT; ErrUnavailable elsewhere.
func (c *Context) MICIOV(iov []IOVBuffer) error {
	const op = "MICIOV"
	if err := c.usable(op); err != nil {
		return err
	}
	if err := c.ctx.GetMICIOV(0, iov); err != nil {
		return c.refusedIOV(op, iov, err)
	}
	return nil
}

// VerifyMICIOV verifies that the peer made the IOVMICToken for all parts of type
// IOVData and IOVSignOnly. ErrBadMIC if not; see Order for those that are not next
// in sequence. It allocates nothing and does not block. MIT; ErrUnavailable
// elsewhere.
func (c *Context) VerifyMICIOV(iov []IOVBuffer) error {
	const op = "VerifyMICIOV"
	if err := c.usable(op); err != nil {
		return err
	}
	var mic []byte
	for i := range iov {
		if iov[i].Type == IOVMICToken {
			mic = iov[i].Data
		}
	}
	if c.order != 0 {
		c.window.Lock() // inOrder gives it back
	}
	_, err := c.ctx.VerifyMICIOV(iov)
	if err = c.inOrder(err, sequenceNumber(mic)); err != nil {
		return c.refusedIOV(op, iov, err)
	}
	return nil
}
