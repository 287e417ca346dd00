package gss

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
	n, b := int(b[1]), b[2:]
	if n >= 0x80 {
		k := n - 0x80
		if k < 1 || k > 4 || len(b) < k || b[0] == 0 {
			return nil, nil, false
		}
		n = 0
		for _, x := range b[:k] {
			n = n<<8 | int(x)
		}
		b = b[k:]
		if n < 0x80 || n < 0 {
			return nil, nil, false
		}
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
