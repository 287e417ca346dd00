package gss

import "fmt"

// maxInput is the longest message or token that is passed to C. MIT 1.20
// crashes in gss_wrap and gss_get_mic on inputs of more than 32 bits, and makes
// tokens of 2 GiB that its own gss_unwrap refuses.
const maxInput = 1<<31 - 1<<16

func checkSize(op, what string, n int) error {
	if n > maxInput {
		return &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("%s of %d bytes: at most %d are passed to the C library; send it in parts", what, n, maxInput)}
	}
	return nil
}

// msgResult is a message that came back from C: n bytes in the caller's room,
// or in a buffer of the library if there was too little.
type msgResult struct {
	status
	conf bool
	qop  uint32
	n    uintptr
	buf  libBuffer
}

// deliver appends the message to dst, in whose spare room it may be already.
func (r msgResult) deliver(dst []byte) ([]byte, error) {
	if r.buf.p == nil {
		return dst[:len(dst)+int(r.n)], nil
	}
	b := r.buf.buffer(false)
	defer b.Release()
	return b.AppendTo(dst)
}

// Wrap calls gss_wrap and appends the token to dst; it returns whether the
// message was encrypted. It takes one crossing if dst has room for the token:
// the message and 128 bytes are enough for Kerberos. msg may be dst's own spare
// room. RFC 2744, 5.34.
func (x *Ctx) Wrap(dst, msg []byte, conf bool, qop uint32) (token []byte, encrypted bool, err error) {
	const op = "gss_wrap"
	if err := checkSize(op, "message", len(msg)); err != nil {
		return dst, false, err
	}
	u, err := x.beginWork(op, true, len(msg))
	if err != nil {
		return dst, false, err
	}
	defer u.end()
	if conf && gnu() {
		// It would ignore conf, and count the message.
		return dst, false, &Error{Op: op, Major: ErrUnavailable, Text: gnuName() + " cannot encrypt"}
	}
	turn := takeTurn()
	r := wrap(u.h, conf, qop, msg, dst[len(dst):cap(dst)])
	turn.end()
	out, err := r.deliver(dst)
	if r.failed() {
		return dst, false, r.error(op, "")
	}
	return out, r.conf, err
}

// Unwrap calls gss_unwrap and appends the message to dst; it returns whether it
// was encrypted. The call may scramble token. A supplementary status
// (ErrDuplicateToken, ErrOldToken, ErrUnseqToken, ErrGapToken) is an error that
// comes with the message, where the library returned one: MIT does, Heimdal 7.8
// does not. dst may share token's memory. RFC 2744, 5.31.
func (x *Ctx) Unwrap(dst, token []byte) (msg []byte, encrypted bool, qop uint32, err error) {
	const op = "gss_unwrap"
	if err := checkSize(op, "token", len(token)); err != nil {
		return dst, false, 0, err
	}
	u, err := x.beginWork(op, true, len(token))
	if err != nil {
		return dst, false, 0, err
	}
	defer u.end()
	turn := takeTurn()
	r := unwrap(u.h, token, dst[len(dst):cap(dst)])
	turn.end()
	out, err := r.deliver(dst)
	if r.failed() {
		clear(out[len(dst):])
		e := r.error(op, "")
		if gnu() {
			if t := gnuUnreadable(token); t != "" {
				e.Major, e.Text = ErrUnavailable, t
			}
		}
		return dst, false, 0, e
	}
	if gnu() {
		r.conf = false // GNU gss 1.0.4 says that a message was encrypted when it was not; it cannot decrypt
	}
	if err == nil && r.major&supplementaryMask != 0 {
		err = r.error(op, "")
	}
	return out, r.conf, r.qop, err
}

// GetMIC calls gss_get_mic and appends the MIC of msg to dst. It takes one
// crossing if dst has room for the MIC: 64 bytes are enough for Kerberos. RFC
// 2744, 5.15.
func (x *Ctx) GetMIC(dst, msg []byte, qop uint32) ([]byte, error) {
	const op = "gss_get_mic"
	if err := checkSize(op, "message", len(msg)); err != nil {
		return dst, err
	}
	u, err := x.beginWork(op, true, len(msg))
	if err != nil {
		return dst, err
	}
	defer u.end()
	r := getMIC(u.h, qop, msg, dst[len(dst):cap(dst)])
	out, err := r.deliver(dst)
	if r.failed() {
		return dst, r.error(op, "")
	}
	return out, err
}

// VerifyMIC calls gss_verify_mic. A supplementary status is an error, as for
// Unwrap. RFC 2744, 5.32.
func (x *Ctx) VerifyMIC(msg, mic []byte) (qop uint32, err error) {
	const op = "gss_verify_mic"
	if err := checkSize(op, "message", len(msg)); err != nil {
		return 0, err
	}
	if err := checkSize(op, "MIC", len(mic)); err != nil {
		return 0, err
	}
	u, err := x.beginWork(op, true, len(msg))
	if err != nil {
		return 0, err
	}
	defer u.end()
	s, qop := verifyMIC(u.h, msg, mic)
	if s.failed() || s.major&supplementaryMask != 0 {
		return 0, s.error(op, "")
	}
	return qop, nil
}

// WrapSizeLimit calls gss_wrap_size_limit: the longest message whose token is
// not longer than size. GNU gss has a stub: ErrUnavailable. RFC 2744, 5.33.
func (x *Ctx) WrapSizeLimit(conf bool, qop, size uint32) (uint32, error) {
	const op = "gss_wrap_size_limit"
	u, err := x.begin(op, true)
	if err != nil {
		return 0, err
	}
	defer u.end()
	s, limit := wrapSizeLimit(u.h, conf, qop, size)
	if s.failed() {
		return 0, s.error(op, "")
	}
	return limit, nil
}
