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
