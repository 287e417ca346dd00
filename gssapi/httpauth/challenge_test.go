package httpauth

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenge(t *testing.T) {
	for _, test := range []struct {
		lines []string
		token string
		found bool
		err   string
	}{
		{nil, "", false, ""},
		{[]string{""}, "", false, ""},
		{[]string{"Negotiate"}, "", true, ""},
		{[]string{"negotiate"}, "", true, ""},
		{[]string{"Negotiate "}, "", true, ""},
		{[]string{"Negotiate aGVsbG8="}, "hello", true, ""},
		{[]string{"NEGOTIATE \t aGVsbG8="}, "hello", true, ""},
		{[]string{"Basic realm=\"Negotiate aGVsbG8=\""}, "", false, ""},
		{[]string{`Basic realm="a, Negotiate aGVsbG8="`}, "", false, ""},
		{[]string{`Basic realm="a\", Negotiate aGVsbG8="`}, "", false, ""},
		{[]string{`Basic realm = "a", charset=UTF-8, Negotiate aGVsbG8=`}, "hello", true, ""},
		{[]string{`Basic realm="a"`, "Negotiate"}, "", true, ""},
		{[]string{"NTLM, Negotiate, Digest nonce=x, qop=\"auth,auth-int\""}, "", true, ""},
		{[]string{"Negotiate aGVsbG8=, Basic realm=a"}, "hello", true, ""},
		{[]string{", ,Negotiate,,"}, "", true, ""},
		{[]string{"Negotiate", "Negotiate aGVsbG8="}, "hello", true, ""},
		{[]string{"NegotiateX aGVsbG8="}, "", false, ""},
		{[]string{"X Negotiate"}, "", false, ""},
		{[]string{"Negotiate aGVsbG8=", "Negotiate aGVsbG8="}, "", true, "more than one token"},
		{[]string{"Negotiate aGVsbG8"}, "", true, "not in base64"},
		{[]string{"Negotiate aGVsbG9="}, "", true, "not in base64"}, // bits that no encoder leaves
		{[]string{"Negotiate realm=x"}, "", true, "not in base64"},
		{[]string{"Negotiate, realm=x"}, "", true, "not in base64"},
		{[]string{"Negotiate " + strings.Repeat("A", maxToken+1)}, "", true, "longer than"},
	} {
		token, found, err := challenge(http.Header{"Www-Authenticate": test.lines}, "WWW-Authenticate")
		if string(token) != test.token || found != test.found || test.err == "" && err != nil ||
			test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%.80q: %q, %v, %v", test.lines, token, found, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	for _, test := range []struct {
		value, token string
		found        bool
		err          string
	}{
		{"", "", false, ""},
		{"Basic eDp5", "", false, ""},
		{"Negotiat aGVsbG8=", "", false, ""},
		{"negotiate aGVsbG8=", "hello", true, ""},
		{" Negotiate  aGVsbG8= ", "hello", true, ""},
		{"Negotiate", "", true, "empty"},
		{"Negotiate ====", "", true, "not in base64"},
		{"Negotiate aGVsbG8=, Basic eDp5", "", true, "not in base64"},
		{"Negotiate " + strings.Repeat("A", maxToken+1), "", true, "longer than"},
	} {
		token, found, err := credentials(test.value)
		if string(token) != test.token || found != test.found || test.err == "" && err != nil ||
			test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%.80q: %q, %v, %v", test.value, token, found, err)
		}
	}
}

// What is written is read again, and nothing panics.
func FuzzChallenge(f *testing.F) {
	f.Add("Negotiate aGVsbG8=, Basic realm=\"a,b\\\"\"", []byte("hello"))
	f.Add("a=b,=,\"", []byte{})
	f.Fuzz(func(t *testing.T, line string, token []byte) {
		challenge(http.Header{"Www-Authenticate": {line}}, "WWW-Authenticate")
		credentials(line)
		for s := range challenges(line) {
			if s == "" || strings.ContainsAny(s, " \t,=") {
				t.Errorf("%q: scheme %q", line, s)
			}
		}
		if len(token) > maxToken/2 {
			return
		}
		var got []string
		for s := range challenges(`Basic realm="x, y", ` + negotiate(token) + ", NTLM") {
			got = append(got, s)
		}
		if diff := cmp.Diff([]string{"Basic", "Negotiate", "NTLM"}, got); diff != "" {
			t.Error(diff)
		}
		h := http.Header{"Proxy-Authenticate": {`Basic realm="x, y", ` + negotiate(token) + ", NTLM"}}
		if b, found, err := challenge(h, "Proxy-Authenticate"); !bytes.Equal(b, token) || !found || err != nil {
			t.Errorf("%q, %v, %v", b, found, err)
		}
	})
}
