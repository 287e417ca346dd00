package sasl

import (
	"bytes"
	"strings"

	"github.com/seed2651813c/gss/gssapi"
)

// gs2Header is what stands before the first token of GS2: RFC 5801, 4.
type gs2Header struct {
	bare    bool   // the token comes as it is, with no frame taken off: gs2-nonstd-flag
	flag    string // n, y, or p= and the type of the bindings
	authzID string
}

const plus = "p="

// clientHeader is that of a client with these bindings, which may be nil.
func clientHeader(withPlus bool, b *gssapi.ChannelBindings, authzID string) (gs2Header, error) {
	h := gs2Header{flag: "n", authzID: authzID}
	switch {
	case withPlus:
		name, _, err := splitBindings(b)
		if err != nil {
			return h, err
		}
		h.flag = plus + name
	case b != nil:
		h.flag = "y"
	}
	return h, nil
}

// splitBindings takes apart the data of bindings that begin with the name of their
// type, as RFC 5056 has it: GS2 has the name in its header, and the rest as data.
func splitBindings(b *gssapi.ChannelBindings) (name string, data []byte, err error) {
	if b == nil {
		return "", nil, failed(gssapi.ErrBadBindings, "GS2-KRB5-PLUS needs Bindings")
	}
	before, data, found := bytes.Cut(b.ApplicationData, []byte(":"))
	if !found || !isBindingName(string(before)) {
		return "", nil, failed(gssapi.ErrBadBindings, "the Bindings do not begin with the name of their type and a colon, such as tls-exporter:")
	}
	return string(before), data, nil
}

// isBindingName reports whether s is a cb-name of RFC 5801, 4.
func isBindingName(s string) bool {
	return s != "" && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.-") == ""
}

var (
	saslName   = strings.NewReplacer("=", "=3D", ",", "=2C")
	unSaslName = strings.NewReplacer("=3D", "=", "=2C", ",")
)

// String is the header, without what says that the token has no frame.
func (h gs2Header) String() string {
	s := h.flag + ","
	if h.authzID != "" {
		s += "a=" + saslName.Replace(h.authzID)
	}
	return s + ","
}

// frame puts the header before token, whose own frame is taken off if it has one.
func (h gs2Header) frame(token []byte) []byte {
	inner, err := gssapi.Decapsulate(gssapi.MechKrb5, token)
	if err != nil {
		return append([]byte("F,"+h.String()), token...)
	}
	return append([]byte(h.String()), inner...)
}

// bindings are those of the context: the header, and b with GS2-KRB5-PLUS.
func (h gs2Header) bindings(b *gssapi.ChannelBindings) *gssapi.ChannelBindings {
	data := []byte(h.String())
	if strings.HasPrefix(h.flag, plus) {
		_, more, _ := splitBindings(b)
		data = append(data, more...)
	}
	return &gssapi.ChannelBindings{ApplicationData: data}
}

// parseHeader takes a client's first message apart, and puts the frame around the
// token again.
func parseHeader(msg []byte) (h gs2Header, token []byte, err error) {
	bad := func(what string) (gs2Header, []byte, error) {
		return gs2Header{}, nil, failed(gssapi.ErrDefectiveToken, "the client's message has no right GS2 header: %s", what)
	}
	if rest, ok := bytes.CutPrefix(msg, []byte("F,")); ok {
		h.bare, msg = true, rest
	}
	flag, msg, ok := bytes.Cut(msg, []byte(","))
	if !ok {
		return bad("no comma")
	}
	h.flag = string(flag)
	if name, isPlus := strings.CutPrefix(h.flag, plus); h.flag != "n" && h.flag != "y" && !(isPlus && isBindingName(name)) {
		return bad("it begins with none of n, y, p=")
	}
	id, msg, ok := bytes.Cut(msg, []byte(","))
	if !ok {
		return bad("only one comma")
	}
	if len(id) > 0 {
		name, ok := strings.CutPrefix(string(id), "a=")
		h.authzID = unSaslName.Replace(name)
		if !ok || name == "" || saslName.Replace(h.authzID) != name {
			return bad("what stands for the authorization identity is none")
		}
		if err := checkAuthzID(h.authzID); err != nil {
			return gs2Header{}, nil, err
		}
	}
	if h.bare {
		if _, err := gssapi.Decapsulate(gssapi.MechKrb5, msg); err == nil {
			return bad("it says that the token has no frame, and it has one")
		}
		return h, msg, nil
	}
	token, err = gssapi.Encapsulate(gssapi.MechKrb5, msg)
	return h, token, err
}

// check refuses a header that does not fit the mechanism, and one that says that
// somebody has taken GS2-KRB5-PLUS out of the offer. RFC 5801, 5.
func (h gs2Header) check(withPlus bool, b *gssapi.ChannelBindings) error {
	name, isPlus := strings.CutPrefix(h.flag, plus)
	switch {
	case withPlus && !isPlus:
		return failed(gssapi.ErrBadBindings, "the client sent no channel bindings with GS2-KRB5-PLUS")
	case !withPlus && isPlus:
		return failed(gssapi.ErrBadBindings, "the client sent channel bindings with GS2-KRB5")
	case !withPlus && h.flag == "y" && b != nil:
		return failed(gssapi.ErrBadBindings, "the client knows GS2-KRB5-PLUS and believes that it was not offered: somebody has changed the offer")
	case withPlus:
		own, _, err := splitBindings(b)
		if err != nil {
			return err
		}
		if own != name {
			return failed(gssapi.ErrBadBindings, "the client's channel bindings are of type %s, and the server's of %s", name, own)
		}
	}
	return nil
}
