package gss

import (
	"fmt"
	"slices"
	"strings"
)

// Objects that InquireByOID asks a Kerberos context for.
const (
	// InqSSPISessionKey is the key that messages are protected with:
	// 1.2.840.113554.1.2.2.5.5. MIT adds the enctype, as the last number of an
	// object identifier.
	InqSSPISessionKey OID = krb5Object + "\x05"
	// InqSASLSSF is the strength of that key for SASL in 4 bytes, the highest
	// first: 1.2.840.113554.1.2.2.5.15. MIT only.
	InqSASLSSF OID = krb5Object + "\x0f"
)

const (
	krb5Object      = MechKrb5 + "\x05"                          // 1.2.840.113554.1.2.2.5: MIT's
	objectLucid     = krb5Object + "\x06"                        // its answer is an address
	objectAuthz     = krb5Object + "\x0a"                        // the type is added
	heimObject  OID = "\x2a\x85\x70\x2b\x0d"                     // 1.2.752.43.13: Heimdal's
	optPlugin       = heimObject + "\x13"                        // takes addresses
	attrSizes   OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x03" // 1.2.840.113554.1.2.1.3, GSS_C_ATTR_STREAM_SIZES
	updated     OID = "\x2b\x06\x01\x04\x01\xca\x29\x13\x05"     // 1.3.6.1.4.1.9513.19.5, answers with a status
)

// InquireByOID calls gss_inquire_sec_context_by_oid: what the context has for an
// object identifier, as buffers whose meaning is the mechanism's. What C returned
// is overwritten: it may be a key.
//
// ErrUnavailable: the library, or this context, has nothing under it. (Heimdal 7.8
// answers that in five ways, GSS_S_NO_CONTEXT among them.) An object whose answer
// is an address in C (1.2.840.113554.1.2.2.5.6) is ErrUnavailable too: see
// InquireLucid. MIT and Heimdal.
func (x *Ctx) InquireByOID(object OID) ([][]byte, error) {
	const op = "gss_inquire_sec_context_by_oid"
	// Heimdal 7.8 follows a GSS_C_NO_OID.
	if object == "" {
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: "no object identifier was given"}
	}
	if strings.HasPrefix(string(object), string(objectLucid)) {
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("%v answers with an address of C's: use InquireLucid", object)}
	}
	o, err := cOID(op, object)
	if err != nil {
		return nil, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, set := inquireSecContextByOID(u.h, o)
	parts, err := takeBufferSet(set, true)
	if s.failed() {
		e := noTicket(s, op)
		if e.Major == ErrFailure && e.Minor == 0 && object != updated && heimdalLike() {
			e.Major, e.Text = ErrUnavailable, fmt.Sprintf("the library has nothing under %v", object)
		}
		return nil, e
	}
	return parts, err
}

// SetOption calls gss_set_sec_context_option. What options there are and what
// value each takes is the mechanism's; MIT's Kerberos has none. value is not
// changed. The handle is read again: if the library took the context away, every
// later call answers ErrNoContext.
//
// What the library does not know is ErrUnavailable. Heimdal has options for its
// whole thread under the same call, see SetTimeOffset; its option that takes
// addresses (1.2.752.43.13.19) is ErrUnavailable. MIT and Heimdal.
func (x *Ctx) SetOption(option OID, value []byte) error {
	const op = "gss_set_sec_context_option"
	if option == "" || option == optPlugin {
		return &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("object identifier %v is no option that can be set from here", option)}
	}
	if err := checkSize(op, "value", len(value)); err != nil {
		return err
	}
	o, err := cOID(op, option)
	if err != nil {
		return err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return err
	}
	defer u.end()
	work := slices.Clone(value) // one option of Heimdal's answers in it
	defer clear(work)
	s, left := setSecContextOption(u.h, o, work)
	x.c.set(left)
	if s.failed() {
		e := s.error(op, "")
		if e.Major == ErrFailure && e.Minor == invalidArgument && heimdalLike() {
			// Its text is that of an earlier failure on this thread.
			e.Major, e.Text = ErrUnavailable, fmt.Sprintf("the library does not know option %v, or not with such a value", option)
		}
		if e.Major == ErrBadMech && heimdalLike() {
			e.Major, e.Text = ErrUnavailable, "the mechanism of the context has no options"
		}
		return e
	}
	return nil
}

// StreamSizes are what gss_context_query_attributes tells of the parts of a
// message, in bytes; see SSPI's SecPkgContext_StreamSizes.
type StreamSizes struct {
	Header, Trailer, MaxMessage, Buffers, BlockSize uint64
}

// StreamSizes calls gss_context_query_attributes for GSS_C_ATTR_STREAM_SIZES.
// Heimdal 7.8 does not look at the context and answers with zeros. Heimdal only.
func (x *Ctx) StreamSizes() (StreamSizes, error) {
	const op = "gss_context_query_attributes"
	attr, err := cOID(op, attrSizes)
	if err != nil {
		return StreamSizes{}, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return StreamSizes{}, err
	}
	defer u.end()
	s, sizes := streamSizes(u.h, attr)
	if s.failed() {
		return StreamSizes{}, s.error(op, "")
	}
	return sizes, nil
}

// CompleteAuthToken calls gss_complete_auth_token: some mechanisms outside of
// the libraries sign the first message of the application with the last token.
// For Kerberos and SPNEGO it does nothing. MIT only.
func (x *Ctx) CompleteAuthToken(msg []byte) error {
	const op = "gss_complete_auth_token"
	if err := checkSize(op, "message", len(msg)); err != nil {
		return err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return err
	}
	defer u.end()
	if s := completeAuthToken(u.h, msg); s.failed() {
		return s.error(op, "")
	}
	return nil
}

// PRFKey says which key of a context PseudoRandom uses: RFC 4401, 2.
type PRFKey int

// Keys of PseudoRandom.
const (
	PRFKeyFull    PRFKey = 0 // GSS_C_PRF_KEY_FULL: both ends took part in it
	PRFKeyPartial PRFKey = 1 // GSS_C_PRF_KEY_PARTIAL: it was there before the handshake ended
)

// MaxPRF is how many bytes PseudoRandom makes at most.
const MaxPRF = 1 << 20

// PseudoRandom calls gss_pseudo_random and appends n bytes to dst, which both
// ends of a context make of the same key and seed, and nobody else. Fewer bytes
// of the same key and seed are the beginning of more. It leaves the context's
// messages alone. RFC 4401; for Kerberos RFC 4402, for which MIT and Heimdal
// agree.
//
// Heimdal 7.8 has no full key where the acceptor asserted none, such as without
// mutual authentication; RFC 4402, 2 takes the partial key then, and so does
// this. n is at most MaxPRF: ErrFailure. MIT and Heimdal.
func (x *Ctx) PseudoRandom(dst []byte, key PRFKey, seed []byte, n int) ([]byte, error) {
	const op = "gss_pseudo_random"
	if n < 0 || n > MaxPRF {
		return dst, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("%d bytes: it makes at most %d; take another seed for more", n, MaxPRF)}
	}
	if key != PRFKeyFull && key != PRFKeyPartial {
		return dst, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("%d is no key: use PRFKeyFull or PRFKeyPartial", key)}
	}
	if err := checkSize(op, "seed", len(seed)); err != nil {
		return dst, err
	}
	u, err := x.beginWork(op, true, len(seed)+n)
	if err != nil {
		return dst, err
	}
	defer u.end()
	// Heimdal 7.8 makes no 0 bytes: one is asked for, which finds other faults.
	s, out := pseudoRandom(u.h, int(key), seed, max(n, 1))
	if s.failed() && key == PRFKeyFull && heimdalLike() && Major(s.major) == ErrFailure && s.minor == invalidArgument {
		out.buffer(true).Release()
		s, out = pseudoRandom(u.h, int(PRFKeyPartial), seed, max(n, 1))
	}
	b := out.buffer(true)
	defer b.Release()
	if s.failed() {
		return dst, s.error(op, "")
	}
	if b.Len() != max(n, 1) {
		return dst, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("the library made %d bytes and not %d", b.Len(), n)}
	}
	all, err := b.AppendTo(dst)
	return all[:len(dst)+n], err
}

// invalidArgument is EINVAL, with which Heimdal says what a context has not.
const invalidArgument = 22

// heimdalLike reports whether the library is Heimdal or made of it.
func heimdalLike() bool { return kind() == KindHeimdal || kind() == KindApple }
