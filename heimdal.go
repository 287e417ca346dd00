package gss

import (
	"math"
	"runtime"
)

// laterHeimdal reports whether the library is a Heimdal after 7.8. The source of
// 2024-10-16 was seen; the functions that came with it tell.
func laterHeimdal() bool { return heimdal() && bound("gss_store_cred_into2") }

// What Heimdal does with tokens that are none, seen in 7.8.

// heimdalReply is an error for an initiator's token that Heimdal 7.8 crashes on:
// what it cannot take out of its frame it reads from uninitialised memory
// (lib/gssapi/krb5/init_sec_context.c, repl_mutual), also if it came inside of
// SPNEGO. Such a token needs no key: anybody on the way can send it.
func heimdalReply(op string, mech OID, flags Flags, token []byte) error {
	if !heimdal() || len(token) == 0 {
		return nil
	}
	bad := func(text string) error {
		return &Error{Op: op, Major: ErrDefectiveToken, Mech: mech, Text: "not called: " + text}
	}
	inner := token
	switch mech {
	case "", MechKrb5:
	case MechSPNEGO:
		r, ok := parseNegTokenResp(token)
		if !ok {
			return bad("the peer's token is no NegTokenResp")
		}
		if r.token == nil || r.mech == MechNTLM {
			return nil
		}
		inner = r.token
	default:
		return nil
	}
	if flags&FlagDCEStyle == 0 && !krb5Reply(inner) {
		return bad("the peer's token is neither an answer of Kerberos nor its error")
	}
	return nil
}

// heimdalCCache is the ccache of the credential that a initiates SPNEGO with; empty
// if there is nothing to make good. Heimdal 7.8 looks for mechanisms to offer
// with the default credential, whatever it is given (lib/gssapi/spnego,
// initiator_approved): where that is none there are none, and somebody else's
// gets a ticket for the target. So the credential's is made the default.
func (a *InitArgs) heimdalCCache() string {
	if a == nil || a.Cred == nil || a.Mech != MechSPNEGO || len(a.Token) > 0 || !heimdal() {
		return ""
	}
	parts, err := a.Cred.InquireByOID(CredCCache)
	if err != nil || len(parts) == 0 {
		return "" // it is to accept with, say: the call itself tells
	}
	return string(parts[0])
}

// heimdalDIR is the file of a ccache, which ends with a NUL, if Heimdal has it in a
// collection in a directory (DIR); empty for others. Where such a one is the
// default, Heimdal 7.8 crashes when it looks for a name in its collections
// (lib/krb5/dcache.c, dcc_get_cache_first): the file has the same tickets.
func heimdalDIR(name []byte) string {
	if !heimdal() {
		return ""
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := krb5DIRFile(name)
	if r.failed() || r.missing != "" || r.text == "" {
		return "" // the call itself tells
	}
	return "FILE" + r.text
}

// ofName makes a call that looks for the tickets of a name, of the default ccache's
// file if that is what Heimdal must be given.
func ofName(name *Name, usage CredUsage, call func() (*CredResult, error)) (r *CredResult, err error) {
	file := ""
	if name != nil && usage != UsageAccept {
		file = heimdalDIR([]byte{0})
	}
	if file == "" {
		return call()
	}
	err = WithCCacheName(file, func() (err error) {
		r, err = call()
		return err
	})
	return r, err
}

// krb5Reply reports whether token is an AP-REP or a KRB-ERROR in its frame: RFC
// 4121, 4.1.
func krb5Reply(token []byte) bool {
	frame, rest, ok := der(token, 0x60)
	if !ok || len(rest) > 0 {
		return false
	}
	oid, body, ok := der(frame, 0x06)
	return ok && OID(oid) == MechKrb5 && len(body) > 2 && (body[0] == 2 || body[0] == 3) && body[1] == 0
}

// negTokenResp is an acceptor's token of SPNEGO: RFC 4178, 4.2.2.
type negTokenResp struct {
	mech  OID
	token []byte // of mech; nil if there is none
}

func parseNegTokenResp(b []byte) (r negTokenResp, ok bool) {
	b, rest, ok := der(b, 0xa1)
	if !ok || len(rest) > 0 {
		return r, false
	}
	b, rest, ok = der(b, 0x30)
	if !ok || len(rest) > 0 {
		return r, false
	}
	for last := byte(0); len(b) > 0; {
		tag := b[0]
		if tag <= last || tag < 0xa0 || tag > 0xa3 { // each once and in order: what we saw is what C will see
			return r, false
		}
		last = tag
		var field []byte
		if field, b, ok = der(b, tag); !ok {
			return r, false
		}
		switch tag {
		case 0xa1:
			oid, rest, ok := der(field, 0x06)
			if !ok || len(rest) > 0 {
				return r, false
			}
			r.mech = OID(oid)
		case 0xa2:
			if r.token, rest, ok = der(field, 0x04); !ok || len(rest) > 0 {
				return r, false
			}
			if r.token == nil {
				r.token = []byte{}
			}
		}
	}
	return r, true
}

// der takes an element with that tag off b: its contents, and what follows. The
// length must be the shortest form (DER); what Heimdal takes besides is not sent
// by anybody.
func der(b []byte, tag byte) (contents, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, b, ok := derLength(b[1:])
	if !ok || n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// derLength takes a length off b, in its shortest form.
func derLength(b []byte) (n int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	n, b = int(b[0]), b[1:]
	if n < 0x80 {
		return n, b, true
	}
	k := n - 0x80
	if k < 1 || k > 4 || len(b) < k || b[0] == 0 {
		return 0, nil, false
	}
	n = 0
	for _, x := range b[:k] {
		n = n<<8 | int(x)
	}
	return n, b[k:], n >= 0x80
}

// heimdalPart is an error for an acceptor's token that is a part of one by its own
// account. Later Heimdals get memory for all of it, however much that is, and ask
// for more tokens; 7.8 refuses it.
func heimdalPart(op string, token []byte) error {
	if !heimdal() || len(token) == 0 || token[0] != 0x60 {
		return nil
	}
	rest := token[1:]
	if len(rest) > 0 {
		n := uint64(rest[0])
		rest = rest[1:]
		if n >= 0x80 { // so many bytes of length, and not all of them need be needed
			k := int(n - 0x80)
			n = 0
			for ; k > 0 && len(rest) > 0 && n < 1<<32; k-- {
				n, rest = n<<8|uint64(rest[0]), rest[1:]
			}
			if k > 0 {
				n = math.MaxUint64
			}
		}
		if n <= uint64(len(rest)) {
			return nil
		}
	}
	return &Error{Op: op, Major: ErrDefectiveToken, Text: "not called: the token is shorter than it says itself"}
}

// honest are the flags of a context but FlagReplay where it is not kept: without
// FlagSequence later Heimdals (source of 2024-10-16, lib/gssapi/krb5/sequence.c)
// take a message once more after others, with success.
func honest(f uint32) Flags {
	flags := Flags(f)
	if flags&(FlagReplay|FlagSequence) == FlagReplay && laterHeimdal() {
		flags &^= FlagReplay
	}
	return flags
}

// heimdalContext is the mechanism's part of a context that a later Heimdal exported:
// behind flags there are the mechanism and that, each after its length. It is not
// ok without a mechanism, which those libraries import, and crash on.
func heimdalContext(token []byte) (content []byte, ok bool) {
	const version, accumulating, context = 0x03, 0x04, 0x08
	if len(token) == 0 || token[0]&(version|accumulating|context) != context {
		return nil, false
	}
	counted := func(b []byte) (part, rest []byte, ok bool) {
		n, b, ok := derLength(b)
		if !ok || n > len(b) {
			return nil, nil, false
		}
		return b[:n], b[n:], true
	}
	mech, rest, ok := counted(token[1:])
	if !ok || len(mech) == 0 {
		return nil, false
	}
	content, rest, ok = counted(rest)
	return content, ok && len(rest) == 0
}
