package ldapauth

import (
	"strings"
	"testing"
)

// responses to a bind, whole and cut.
func TestBindResponse(t *testing.T) {
	const (
		success = "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
		refused = "\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x31\x04\x00\x04\x00"
		long    = "\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00" // as Active Directory writes
	)
	for _, whole := range []string{success, refused, long} {
		for n := range len(whole) {
			if got, ok, err := bindResponse([]byte(whole[:n])); got != 0 || ok || err != nil {
				t.Errorf("%x: %d, %v, %v", whole[:n], got, ok, err)
			}
		}
		got, ok, err := bindResponse([]byte(whole + "more"))
		if got != len(whole) || ok != (whole != refused) || err != nil {
			t.Errorf("%x: %d, %v, %v", whole, got, ok, err)
		}
	}
	for _, bad := range []string{
		"\x31", "\x30\x80", "\x30\x85\x00", "\x30\x84\x00\x01\x00\x01", "\x30\x84\xff\xff\xff\xff",
		"\x30\x00", "\x30\x03\x02\x01\x01", "\x30\x05\x02\x01\x01\x60\x00", "\x30\x05\x02\x01\x01\x61\x00",
		strings.Replace(success, "\x0a\x01", "\x0a\x05", 1), strings.Replace(success, "\x0a\x01\x00", "\x0a\x00\x00", 1),
	} {
		if got, ok, err := bindResponse([]byte(bad)); ok || err == nil {
			t.Errorf("%x: %d, %v, %v", bad, got, ok, err)
		}
	}
}

func FuzzBindResponse(f *testing.F) {
	f.Add([]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok, err := bindResponse(b); n < 0 || n > len(b) || ok && (n == 0 || err != nil) {
			t.Errorf("%x: %d, %v, %v", b, n, ok, err)
		}
	})
}
