//go:build !cgo || !unix

package gss

import "testing"

// A program that was built without cgo runs, and every call says how to build it.
func TestStub(t *testing.T) {
	everyCallFails(t, []string{"CGO_ENABLED=1"})
	for _, name := range []string{"mit", "/usr/lib/libgssapi_krb5.so.2", ""} {
		err := Load(name)
		is(t, err, ErrUnavailable)
		mention(t, err, "CGO_ENABLED=1")
	}
	is(t, LoadAt(nil), ErrUnavailable)
	if p, err := cOID("test", MechKrb5); p != nil || err == nil {
		t.Errorf("an OID for C: %v, %v", p, err)
	}
}
