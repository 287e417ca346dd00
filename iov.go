package gss

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// IOVType says what a part of a message is: GSS_IOV_BUFFER_TYPE.
type IOVType uint32

// Types of parts. The flags that a C program may add to them, to let the library
// allocate, are refused: parts are always the caller's memory.
const (
	IOVEmpty      IOVType = 0  // GSS_IOV_BUFFER_TYPE_EMPTY: ignored
	IOVData       IOVType = 1  // GSS_IOV_BUFFER_TYPE_DATA: encrypted or decrypted in place
	IOVHeader     IOVType = 2  // GSS_IOV_BUFFER_TYPE_HEADER: what comes before the data in a token
	IOVMechParams IOVType = 3  // GSS_IOV_BUFFER_TYPE_MECH_PARAMS: neither MIT nor Heimdal looks at it
	IOVTrailer    IOVType = 7  // GSS_IOV_BUFFER_TYPE_TRAILER: what comes after the data and the padding
	IOVPadding    IOVType = 9  // GSS_IOV_BUFFER_TYPE_PADDING: old enctypes need it, between data and trailer
	IOVStream     IOVType = 10 // GSS_IOV_BUFFER_TYPE_STREAM: a whole token, to be unwrapped
	IOVSignOnly   IOVType = 11 // GSS_IOV_BUFFER_TYPE_SIGN_ONLY: protected, but not encrypted and not in the token
	IOVMICToken   IOVType = 12 // GSS_IOV_BUFFER_TYPE_MIC_TOKEN: a MIC; MIT only
)

var iovNames = map[IOVType]string{
	IOVEmpty: "empty", IOVData: "data", IOVHeader: "header", IOVMechParams: "mech-params", IOVTrailer: "trailer",
	IOVPadding: "padding", IOVStream: "stream", IOVSignOnly: "sign-only", IOVMICToken: "mic-token",
}

// String returns data, header, sign-only and so on.
func (t IOVType) String() string {
	if s, ok := iovNames[t]; ok {
		return s
	}
	return "0x" + hexDigits(uint32(t))
}

// IOVBuffer is one part of a message: a gss_iov_buffer_desc.
type IOVBuffer struct {
	Type IOVType
	Data []byte // the caller's; the calls change its contents and its length, as Type says
}

// MaxIOV is how many parts a message may have; IOVStream counts as two.
const MaxIOV = maxIOV

const maxIOV = 8 // GSSGO_IOV_MAX, where the reason is

// iovResult is what came back from C.
type iovResult struct {
	status
	conf, odd bool
	qop       uint32
	n         [maxIOV]int // lengths
}

// badSize is the text of KRB5_BAD_MSIZE, which both libraries answer for parts that
// are too short. (The number is MIT's own where two mechanisms have used it.)
const badSize = "Message size is incompatible with encryption type"

// check is the error of a call; the caller has begun it.
//
//gss:pinned
func (r iovResult) check(op string) error {
	if r.failed() {
		e := r.error(op, "")
		if heimdal() && e.Major == ErrFailure && e.Minor == 0 {
			// Heimdal 7.8, lib/gssapi/krb5/aeap.c: what is left of it is RFC 4121 and RC4.
			e.Major, e.Text = ErrUnavailable, "this library takes no messages in parts under keys of this enctype"
		}
		if e.Text == badSize && op != "gss_unwrap_iov" && op != "gss_verify_mic_iov" {
			e.Text = "a part for the token or the MIC is too short: ask for the lengths first"
		}
		return e
	}
	if r.odd {
		return &Error{Op: op, Major: ErrFailure, Text: "the library returned memory that is not in the parts which it was given"}
	}
	return nil
}

// shrink gives the parts the lengths that the library set.
func (r iovResult) shrink(iov []IOVBuffer) {
	for i := range iov {
		iov[i].Data = iov[i].Data[:r.n[i]]
	}
}

// Sets of types.
const (
	iovAnywhere = 1<<IOVEmpty | 1<<IOVData | 1<<IOVSignOnly | 1<<IOVMechParams
	iovInTokens = iovAnywhere | 1<<IOVHeader | 1<<IOVPadding | 1<<IOVTrailer
	iovOnce     = 1<<IOVHeader | 1<<IOVPadding | 1<<IOVTrailer | 1<<IOVStream | 1<<IOVMICToken
)

// checkIOV refuses what a library takes for something else or crashes on:
// unknown types and flags, two parts where one is meant, parts that lie on each
// other. One part of the types in need must be there. It returns the types that
// are.
func checkIOV(op string, iov []IOVBuffer, allow, need uint32) (types uint32, err error) {
	fail := func(format string, args ...any) (uint32, error) {
		return 0, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf(format, args...)}
	}
	total, count := 0, len(iov)
	for i := range iov {
		t := iov[i].Type
		if t > 31 || allow&(1<<t) == 0 {
			return fail("part %d is %v, which this call does not take", i, t)
		}
		if iovOnce&types&(1<<t) != 0 {
			return fail("part %d is a second %v", i, t)
		}
		types |= 1 << t
		if t == IOVStream {
			count++
		}
		n := len(iov[i].Data)
		if n > maxInput-total {
			return fail("the parts have more than %d bytes: send them in several messages", maxInput)
		}
		total += n
		for j := range i {
			if (t != IOVSignOnly || iov[j].Type != IOVSignOnly) && overlap(iov[i].Data, iov[j].Data) && types&(1<<IOVStream) == 0 {
				return fail("part %d (%v) lies on part %d (%v)", i, t, j, iov[j].Type)
			}
		}
	}
	if count > maxIOV {
		return fail("%d parts: there may be %d, of which a stream is two", len(iov), maxIOV)
	}
	if types&need == 0 {
		for _, t := range []IOVType{IOVHeader, IOVMICToken, IOVStream} {
			if need&(1<<t) != 0 {
				return fail("there is no %v among the parts", t)
			}
		}
	}
	return types, nil
}

func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	p, q := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return p < q+uintptr(len(b)) && q < p+uintptr(len(a))
}

// iovSize is how many bytes there are in all parts, which checkIOV has checked.
func iovSize(iov []IOVBuffer) (n int) {
	for i := range iov {
		n += len(iov[i].Data)
	}
	return n
}

// part is the one of that type, nil if there is none.
func part(iov []IOVBuffer, t IOVType) *IOVBuffer {
	for i := range iov {
		if iov[i].Type == t {
			return &iov[i]
		}
	}
	return nil
}

// WrapIOVLength calls gss_wrap_iov_length: the lengths that the parts of type
// IOVHeader, IOVPadding and IOVTrailer must have for WrapIOV, and those of the
// others, which are as they were. Of the parts only types and lengths matter.
// iov is not changed. The call does not block, and is counted by no sequence
// number. MIT 1.7, Heimdal 1.3.
func (x *Ctx) WrapIOVLength(conf bool, qop uint32, iov []IOVBuffer) (lengths [MaxIOV]int, err error) {
	const op = "gss_wrap_iov_length"
	types, err := checkIOV(op, iov, iovInTokens, 1<<IOVHeader)
	if err != nil {
		return lengths, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return lengths, err
	}
	defer u.end()
	if kind() == KindMIT && types&(1<<IOVPadding) == 0 {
		// Where MIT 1.20 (k5sealiov.c) needs one, it aborts without it.
		if r, err := x.measure(u, conf, nil); err == nil && r.padding > 0 {
			return lengths, &Error{Op: op, Major: ErrFailure, Text: "a part of type padding is needed under keys of this enctype"}
		}
	}
	r := wrapIOVLength(u.h, conf, qop, iov)
	if err := r.check(op); err != nil {
		return lengths, err
	}
	return r.n, nil
}

// WrapIOV calls gss_wrap_iov: it encrypts the IOVData in place if conf, writes
// the rest of the token into the IOVHeader, the IOVPadding and the IOVTrailer, and
// shortens these to what was written. It returns whether the message was
// encrypted. MIT does not encrypt a message without an IOVData, although that may
// be empty. On an error the contents of the parts are undefined, but for those of
// type IOVSignOnly, and their lengths as they were.
//
// The data between header, padding and trailer are what Wrap would have made.
// Without an IOVTrailer its contents are in the header, as contexts with
// FlagDCEStyle have it: those take neither padding nor trailer. It does not block.
// MIT 1.7, Heimdal 1.3.
func (x *Ctx) WrapIOV(conf bool, qop uint32, iov []IOVBuffer) (encrypted bool, err error) {
	const op = "gss_wrap_iov"
	if _, err := checkIOV(op, iov, iovInTokens, 1<<IOVHeader); err != nil {
		return false, err
	}
	u, err := x.beginWork(op, true, iovSize(iov))
	if err != nil {
		return false, err
	}
	defer u.end()
	r := wrapIOV(u.h, conf, qop, iov)
	if err := r.check(op); err != nil {
		return false, err
	}
	r.shrink(iov)
	return r.conf, nil
}

// UnwrapIOV calls gss_unwrap_iov: it verifies and decrypts the IOVData in place.
// The parts are those of the token, one of type IOVHeader and the others as
// WrapIOV left them; or the whole token as IOVStream and one IOVData, which is set
// to the message, a part of the stream. Parts of type IOVSignOnly are what the
// peer gave, in the same order. The stream is scrambled.
//
// A stream is taken apart here, and not by the library: Heimdal 7.8 cannot, and MIT
// 1.20 crashes on a token of RFC 1964 under newer keys, and does not tell where
// the message is if it is out of order. It is not for contexts with
// FlagDCEStyle.
//
// A supplementary status is an error that comes with the message, as for Unwrap.
// On another error the data are overwritten. It does not block. MIT 1.7, Heimdal
// 1.3.
func (x *Ctx) UnwrapIOV(iov []IOVBuffer) (encrypted bool, qop uint32, err error) {
	const op = "gss_unwrap_iov"
	types, err := checkIOV(op, iov, iovInTokens|1<<IOVStream, 1<<IOVHeader|1<<IOVStream)
	if err != nil {
		return false, 0, err
	}
	u, err := x.beginWork(op, true, iovSize(iov))
	if err != nil {
		return false, 0, err
	}
	defer u.end()
	if types&(1<<IOVStream) == 0 {
		return x.unwrapParts(u, op, iov)
	}
	if types&(1<<IOVHeader|1<<IOVPadding|1<<IOVTrailer) != 0 {
		return false, 0, &Error{Op: op, Major: ErrFailure, Text: "a stream has header, padding and trailer in it"}
	}
	stream := part(iov, IOVStream).Data
	var data *IOVBuffer
	for i := range iov {
		switch b := &iov[i]; {
		case b.Type == IOVSignOnly && overlap(b.Data, stream):
			return false, 0, &Error{Op: op, Major: ErrFailure, Text: "a sign-only part lies on the stream"}
		case b.Type == IOVData && data != nil:
			return false, 0, &Error{Op: op, Major: ErrFailure, Text: "a stream has one part of data"}
		case b.Type == IOVData:
			data = b
		}
	}
	if data == nil {
		return false, 0, &Error{Op: op, Major: ErrFailure, Text: "a stream needs a part of type data, for the message"}
	}
	t, err := x.split(u, op, stream)
	if err != nil {
		return false, 0, err
	}
	// The header, what is signed around the data in its order, and the end.
	var room [maxIOV]IOVBuffer
	parts := append(room[:0], IOVBuffer{IOVHeader, t.header})
	at := 0
	for _, b := range iov {
		switch b.Type {
		case IOVData:
			at = len(parts)
			parts = append(parts, IOVBuffer{IOVData, t.data})
		case IOVSignOnly:
			parts = append(parts, b)
		}
	}
	parts = append(parts, IOVBuffer{t.end, t.tail})
	encrypted, qop, err = x.unwrapParts(u, op, parts)
	if e, ok := err.(*Error); !ok || e.Major&errorMask == 0 {
		m := parts[at].Data
		data.Data = m[:len(m):len(m)]
	}
	return encrypted, qop, err
}

// badIntegrity is KRB5KRB_AP_ERR_BAD_INTEGRITY, -1765328353.
const badIntegrity = 1<<32 - 1765328353

// unwrapParts makes the call. The caller has checked the parts.
//
//gss:pinned
func (x *Ctx) unwrapParts(u use, op string, iov []IOVBuffer) (encrypted bool, qop uint32, err error) {
	if err := checkToken(op, iov); err != nil {
		return false, 0, err
	}
	r := unwrapIOV(u.h, iov)
	if err := r.check(op); err != nil {
		for i := range iov {
			if iov[i].Type == IOVData {
				clear(iov[i].Data)
			}
		}
		if e, ok := err.(*Error); ok && heimdal() && e.Major == ErrFailure && e.Minor == badIntegrity {
			e.Major = ErrBadMIC // Heimdal 7.8 says so of what Unwrap takes, and not of parts
		}
		return false, 0, err
	}
	r.shrink(iov)
	if r.major&supplementaryMask != 0 {
		err = r.error(op, "")
	}
	return r.conf, r.qop, err
}

// What the headers of Kerberos' tokens have at least.
const (
	cfxHeader  = 16 // RFC 4121, 4.2.6.2
	oldHeader  = 45 // RFC 1964, 1.2.2, in the frame of RFC 2743, 3.1
	oldFrame   = 13 // that frame, round a token of less than 128 bytes
	cfxSealed  = 2  // RFC 4121, 4.2.2
	cfxMaxSize = oldHeader - 1
)

func isCFX(token []byte) bool { return len(token) >= cfxHeader && token[0] == 5 && token[1] == 4 }

// checkToken refuses parts of a token beyond which a library would read or write.
func checkToken(op string, iov []IOVBuffer) error {
	defective := func(format string, args ...any) error {
		return &Error{Op: op, Major: ErrDefectiveToken, Text: fmt.Sprintf(format, args...)}
	}
	h := part(iov, IOVHeader).Data
	// Both read the frame of the header as if the data followed in the same memory.
	if len(h) < cfxHeader || h[0] == 0x60 && len(h) < oldHeader {
		return defective("a header of %d bytes is too short", len(h))
	}
	// MIT 1.20 aborts if the padding, by its last byte, is shorter than its part.
	if p := part(iov, IOVPadding); p != nil && len(p.Data) > 1 {
		return defective("a padding of %d bytes: give its last byte as padding, and the others as data", len(p.Data))
	}
	if !heimdal() || !isCFX(h) || h[2]&cfxSealed == 0 {
		return nil
	}
	// Heimdal 7.8 (lib/gssapi/krb5/cfx.c) believes the numbers in the header, which
	// are not encrypted: it reads and writes so far beyond the trailer, or, if there
	// is none, before the header.
	extra, rotated := binary.BigEndian.Uint16(h[4:]), binary.BigEndian.Uint16(h[6:])
	if part(iov, IOVTrailer) != nil && (extra != 0 || rotated != 0) || extra > cfxHeader {
		return defective("a token with %d extra bytes, rotated by %d: this library does not take it apart", extra, rotated)
	}
	return nil
}

// iovRooms are how many bytes a token has around its message.
type iovRooms struct{ header, padding, trailer int }

// newer reports whether the context's tokens are those of RFC 4121. They have the
// same rooms for every message.
func (r iovRooms) newer() bool { return 0 < r.header && r.header <= cfxMaxSize && r.padding == 0 }

// measure is the rooms around data. The caller has begun the call.
//
//gss:pinned
func (x *Ctx) measure(u use, conf bool, data []byte) (iovRooms, error) {
	const op = "gss_wrap_iov_length"
	known := &x.rooms[0]
	if conf {
		known = &x.rooms[1]
	}
	if known.newer() {
		return *known, nil
	}
	iov := [...]IOVBuffer{{Type: IOVHeader}, {IOVData, data}, {Type: IOVPadding}, {Type: IOVTrailer}}
	r := wrapIOVLength(u.h, conf, 0, iov[:])
	if err := r.check(op); err != nil {
		return iovRooms{}, err
	}
	rooms := iovRooms{r.n[0], r.n[2], r.n[3]}
	if rooms.newer() {
		*known = rooms
	}
	return rooms, nil
}

// tokenParts is a token that was taken apart.
type tokenParts struct {
	header, data, tail []byte
	end                IOVType // what tail is: IOVTrailer, or IOVPadding in RFC 1964
}

// split takes a token apart: that of RFC 4121, rotated back, or of RFC 1964. The
// caller has begun the call.
//
//gss:pinned
func (x *Ctx) split(u use, op string, token []byte) (tokenParts, error) {
	defective := func(text string) (tokenParts, error) {
		return tokenParts{}, &Error{Op: op, Major: ErrDefectiveToken, Text: text}
	}
	if !isCFX(token) {
		frame := frameLength(token)
		if frame == 0 {
			return defective("this is no token of Kerberos")
		}
		r, err := x.measure(u, true, nil)
		if err != nil {
			return tokenParts{}, err
		}
		if r.header < oldHeader {
			return defective("a token of RFC 1964 under keys that do not have them")
		}
		h := frame + r.header - oldFrame
		if len(token) < h+1 {
			return defective("the token is too short")
		}
		end := len(token) - 1
		return tokenParts{token[:h], token[h:end], token[end:], IOVPadding}, nil
	}
	sealed := token[2]&cfxSealed != 0
	r, err := x.measure(u, sealed, nil)
	if err != nil {
		return tokenParts{}, err
	}
	if !r.newer() {
		return defective("a token of RFC 4121 under keys that do not have them")
	}
	extra, rotated := int(binary.BigEndian.Uint16(token[4:])), int(binary.BigEndian.Uint16(token[6:]))
	trailer := r.trailer
	if sealed {
		trailer += extra
	} else if extra != trailer {
		return defective("the token has another checksum than those of its context")
	}
	if len(token) < r.header+trailer {
		return defective("the token is too short")
	}
	rotate(token[cfxHeader:], rotated)
	clear(token[6:8])
	end := len(token) - trailer
	return tokenParts{token[:r.header], token[r.header:end], token[end:], IOVTrailer}, nil
}

// frameLength is that of the frame of RFC 2743, 3.1, round a token; 0 if there is
// none that ends with the token.
func frameLength(token []byte) int {
	if len(token) < 4 || token[0] != 0x60 {
		return 0
	}
	n, at := int(token[1]), 2
	if n > 0x80 {
		k := n - 0x80
		if k > 4 || len(token) < at+k {
			return 0
		}
		n = 0
		for _, b := range token[at : at+k] {
			n = n<<8 | int(b)
		}
		at += k
	}
	if n != len(token)-at || n < 2 || token[at] != 6 || token[at+1] > 0x7f || n < 2+int(token[at+1]) {
		return 0
	}
	return at + 2 + int(token[at+1])
}

// rotate moves b to the left by n bytes, around its end.
func rotate(b []byte, n int) {
	if len(b) == 0 {
		return
	}
	if n %= len(b); n == 0 {
		return
	}
	var few [256]byte
	if n <= len(few) {
		k := copy(few[:], b[:n])
		copy(b, b[n:])
		copy(b[len(b)-n:], few[:k])
		return
	}
	slices.Reverse(b[:n])
	slices.Reverse(b[n:])
	slices.Reverse(b)
}

// WrapAround calls gss_wrap_iov with a message that lies at buf[start:end]: the
// token is made around it, in place, and is buf[from:to] then. associated is
// protected with it as IOVSignOnly before the data, if it is not empty; it is not
// in the token. Enough room before and after the message is what IOVRoom says; the
// error is ErrFailure if there is less. It is not for contexts with FlagDCEStyle.
// On an error after the call the contents of buf are undefined.
//
// It spares what Wrap copies and the library allocates there, and there is one
// crossing into C (two for the first message, and with enctypes older than AES).
func (x *Ctx) WrapAround(buf []byte, start, end int, associated []byte, conf bool, qop uint32) (from, to int, encrypted bool, err error) {
	const op = "gss_wrap_iov"
	fail := func(format string, args ...any) (int, int, bool, error) {
		return 0, 0, false, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf(format, args...)}
	}
	if start < 0 || end < start || end > len(buf) {
		return fail("a message from %d to %d in %d bytes", start, end, len(buf))
	}
	if len(associated) > maxInput-(end-start) {
		return fail("the message and what is associated have more than %d bytes: send it in parts", maxInput)
	}
	u, err := x.beginWork(op, true, end-start+len(associated))
	if err != nil {
		return 0, 0, false, err
	}
	defer u.end()
	data := buf[start:end]
	r, err := x.measure(u, conf, data)
	if err != nil {
		return 0, 0, false, err
	}
	if start < r.header || len(buf)-end < r.padding+r.trailer {
		return fail("there must be room for %d bytes before the message and for %d after it; there are %d and %d", r.header, r.padding+r.trailer, start, len(buf)-end)
	}
	from, to = start-r.header, end+r.padding+r.trailer
	if overlap(associated, buf[from:to]) {
		return fail("what is associated lies on the token")
	}
	iov := [...]IOVBuffer{
		{IOVHeader, buf[from:start]}, {IOVSignOnly, associated}, {IOVData, data},
		{IOVPadding, buf[end : end+r.padding]}, {IOVTrailer, buf[end+r.padding : to]},
	}
	if len(associated) == 0 {
		iov[1].Type = IOVEmpty
	}
	s := wrapIOV(u.h, conf, qop, iov[:])
	if err := s.check(op); err != nil {
		return 0, 0, false, err
	}
	if s.n[0] != r.header || s.n[2] != len(data) || s.n[3] != r.padding || s.n[4] != r.trailer {
		return fail("the library made parts of other lengths than it had said")
	}
	return from, to, s.conf, nil
}

// IOVRoom is how many bytes there must be before and after a message of n bytes
// for WrapAround: exactly those of its token for AES and Camellia, some more for
// older enctypes.
func (x *Ctx) IOVRoom(n int, conf bool) (before, after int, err error) {
	const op = "gss_wrap_iov_length"
	if err := checkSize(op, "message", n); err != nil {
		return 0, 0, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return 0, 0, err
	}
	defer u.end()
	r, err := x.measure(u, conf, nil)
	if err != nil {
		return 0, 0, err
	}
	if !r.newer() {
		r.header += 4  // the frame has the length of what is in it
		r.padding += 8 // to a multiple of 8, in DES3
	}
	return r.header, r.padding + r.trailer, nil
}

// GetMICIOVLength calls gss_get_mic_iov_length: the length that the part of type
// IOVMICToken must have, and those of the others, which are as they were. iov is
// not changed. It does not block. MIT 1.12; ErrUnavailable elsewhere.
func (x *Ctx) GetMICIOVLength(qop uint32, iov []IOVBuffer) (lengths [MaxIOV]int, err error) {
	const op = "gss_get_mic_iov_length"
	if _, err := checkIOV(op, iov, iovAnywhere|1<<IOVMICToken, 1<<IOVMICToken); err != nil {
		return lengths, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return lengths, err
	}
	defer u.end()
	r := getMICIOVLength(u.h, qop, iov)
	if err := r.check(op); err != nil {
		return lengths, err
	}
	return r.n, nil
}

// GetMICIOV calls gss_get_mic_iov: it writes the MIC of all parts of type IOVData
// and IOVSignOnly, in their order, into the IOVMICToken, and shortens that to what
// was written. It is the MIC that GetMIC makes of them as one message. It does not
// block. MIT 1.12; ErrUnavailable elsewhere.
func (x *Ctx) GetMICIOV(qop uint32, iov []IOVBuffer) error {
	const op = "gss_get_mic_iov"
	if _, err := checkIOV(op, iov, iovAnywhere|1<<IOVMICToken, 1<<IOVMICToken); err != nil {
		return err
	}
	u, err := x.beginWork(op, true, iovSize(iov))
	if err != nil {
		return err
	}
	defer u.end()
	r := getMICIOV(u.h, qop, iov)
	if err := r.check(op); err != nil {
		return err
	}
	r.shrink(iov)
	return nil
}

// VerifyMICIOV calls gss_verify_mic_iov: it verifies the IOVMICToken for all parts
// of type IOVData and IOVSignOnly. A supplementary status is an error, as for
// Unwrap. It does not block. MIT 1.12; ErrUnavailable elsewhere.
func (x *Ctx) VerifyMICIOV(iov []IOVBuffer) (qop uint32, err error) {
	const op = "gss_verify_mic_iov"
	if _, err := checkIOV(op, iov, iovAnywhere|1<<IOVMICToken, 1<<IOVMICToken); err != nil {
		return 0, err
	}
	// MIT 1.20 aborts on one that has a header and no checksum.
	if mic := part(iov, IOVMICToken).Data; len(mic) <= cfxHeader {
		return 0, &Error{Op: op, Major: ErrDefectiveToken, Text: fmt.Sprintf("a MIC of %d bytes is too short", len(mic))}
	}
	u, err := x.beginWork(op, true, iovSize(iov))
	if err != nil {
		return 0, err
	}
	defer u.end()
	r := verifyMICIOV(u.h, iov)
	if err := r.check(op); err != nil {
		return 0, err
	}
	if r.major&supplementaryMask != 0 {
		return 0, r.error(op, "")
	}
	return r.qop, nil
}

// WrapAEAD calls gss_wrap_aead, the form of gss_wrap_iov for a message in one
// piece, and appends the token to dst; associated is protected with it, and is not
// in the token. It copies more than WrapAround. It does not block. MIT 1.7, Heimdal
// 7.1. draft-howard-gssapi-aead-01.
func (x *Ctx) WrapAEAD(dst, msg, associated []byte, conf bool, qop uint32) (token []byte, encrypted bool, err error) {
	const op = "gss_wrap_aead"
	if err := checkSize(op, "message", len(msg)); err != nil {
		return dst, false, err
	}
	if err := checkSize(op, "associated data", len(associated)); err != nil {
		return dst, false, err
	}
	u, err := x.beginWork(op, true, len(msg)+len(associated))
	if err != nil {
		return dst, false, err
	}
	defer u.end()
	r := wrapAEAD(u.h, conf, qop, associated, msg, dst[len(dst):cap(dst)])
	out, err := r.deliver(dst)
	if r.failed() {
		return dst, false, r.error(op, "")
	}
	return out, r.conf, err
}

// UnwrapAEAD calls gss_unwrap_aead and appends the message to dst. The token is
// scrambled. A supplementary status is an error, and there is no message with it.
// Heimdal 7.8 has the function, which always fails: it makes a part of type
// IOVStream, which Heimdal does not know. UnwrapIOV does. It does not block. MIT 1.7,
// Heimdal 7.1. draft-howard-gssapi-aead-01.
func (x *Ctx) UnwrapAEAD(dst, token, associated []byte) (msg []byte, encrypted bool, qop uint32, err error) {
	const op = "gss_unwrap_aead"
	if err := checkSize(op, "token", len(token)); err != nil {
		return dst, false, 0, err
	}
	if err := checkSize(op, "associated data", len(associated)); err != nil {
		return dst, false, 0, err
	}
	u, err := x.beginWork(op, true, len(token)+len(associated))
	if err != nil {
		return dst, false, 0, err
	}
	defer u.end()
	if !isCFX(token) && bound(op) {
		// MIT 1.20 crashes on a token of RFC 1964 under newer keys.
		rooms, err := x.measure(u, true, nil)
		if err != nil {
			return dst, false, 0, err
		}
		if rooms.newer() {
			return dst, false, 0, &Error{Op: op, Major: ErrDefectiveToken, Text: "this is no token of RFC 4121, as the keys of the context want it"}
		}
	}
	r := unwrapAEAD(u.h, token, associated, dst[len(dst):cap(dst)])
	out, err := r.deliver(dst)
	if r.failed() {
		clear(out[len(dst):])
		return dst, false, 0, r.error(op, "")
	}
	if err == nil && r.major&supplementaryMask != 0 {
		err = r.error(op, "")
	}
	return out, r.conf, r.qop, err
}
