package kafka

import (
	"bytes"
	"encoding/binary"
	"net"
	"strings"
	"testing"
)

// replayed is a connection to a broker that answers with these bytes, whatever it is asked.
type replayed struct {
	net.Conn // none: for the methods that are not called
	in       *bytes.Reader
}

func (r *replayed) Write(b []byte) (int, error) { return len(b), nil }
func (r *replayed) Read(b []byte) (int, error)  { return r.in.Read(b) }

// response is one to the first request.
func response(body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(append(b, 0, 0, 0, 1), body...)
}

func answer(b []byte) *broker { return &broker{conn: &replayed{in: bytes.NewReader(b)}, id: "test"} }

// What brokers answer, and what comes from others.
func TestResponses(t *testing.T) {
	for _, tt := range []struct {
		what string
		in   []byte
		want string // in the error
	}{
		{"right", response("\x00\x00\x00\x00\x00\x01\x00\x06GSSAPI"), ""},
		{"no mechanisms", response("\x00\x00\x00\x00\x00\x00"), ""},
		{"another mechanism", response("\x00\x21\x00\x00\x00\x01\x00\x05PLAIN"), `error 33), but the mechanisms ["PLAIN"]`},
		{"too short", response("\x00\x00\x00\x00\x00\x01\x00\x06GSS"), "too short"},
		{"very many mechanisms", response("\x00\x00\xff\xff\xff\xff"), "too short"},
		{"nothing", nil, "closed the connection"},
		{"a part", response("\x00\x00")[:9], "unexpected EOF"},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request"), "is it a broker"},
		{"another request", append([]byte{0, 0, 0, 4, 0, 0, 0, 2}, 0, 0), "response of 4 bytes to request 2"},
	} {
		err := answer(tt.in).handshake("GSSAPI")
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
	got, err := answer(response("\x00\x00\xff\xff\x00\x00\x00\x03abc")).authenticate([]byte("token"))
	if string(got) != "abc" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for in, want := range map[string]string{
		"\x00\x3a\x00\x02no\xff\xff\xff\xff":  `error 58): "no"`,
		"\x00\x00\xff\xff\x00\x00\x00\x04abc": "too short",
		"":                                    "too short",
	} {
		if got, err := answer(response(in)).authenticate(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x01\x00\x06GSSAPI"))
	f.Add([]byte("\x00\x00\xff\xff\x00\x00\x00\x03abc"))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := response(string(body))
		answer(in).handshake("GSSAPI")
		if got, err := answer(in).authenticate(nil); err == nil && !bytes.Contains(body, got) {
			t.Errorf("%q of %q", got, body)
		}
	})
}
