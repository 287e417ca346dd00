package gss

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
// length must be the shortest form (DER); what libraries take besides is not sent
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
