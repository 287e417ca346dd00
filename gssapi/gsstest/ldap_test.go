package gsstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is in the way of the LDAP server is said, and nothing stays.
func TestLDAPFails(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	_, err := Start(&Options{KDC: MITLDAP, Dir: long})
	isError(t, err, "limited to 100 bytes", "set Options.Dir")

	root := t.TempDir()
	for _, f := range []string{"usr/sbin/slapd", "usr/bin/ldapmodify", "usr/lib/ldap/back_mdb.la", "etc/ldap/schema/core.schema", "usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz"} {
		must(t, os.MkdirAll(filepath.Join(root, filepath.Dir(f)), 0o700))
		must(t, os.WriteFile(filepath.Join(root, f), []byte("#!/bin/sh\necho out of order >&2\nexit 3\n"), 0o700))
	}
	t.Setenv("GSSTEST_LDAP", root)
	_, err = Start(&Options{KDC: MITLDAP})
	isError(t, err, "kerberos.schema.gz", "gzip")
	schema, err := os.ReadFile(filepath.Join(ldapRoot, "usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz"), schema, 0o600))
	_, err = Start(&Options{KDC: MITLDAP})
	isError(t, err, "exit status 3", "out of order")
}

// The names of principals in the directory, with what RFC 4514 escapes.
func TestEscapeDN(t *testing.T) {
	for in, want := range map[string]string{
		"host/front.test@TEST.GSS": "host/front.test@TEST.GSS",
		`a,b+c "d"`:                `a\2cb\2bc\20\22d\22`,
		"é#":                       `\c3\a9\23`,
	} {
		if got := escapeDN(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	// MIT's database takes no comma, quote or the like.
	const odd = `a b*(c)=d`
	r := New(t, &Options{KDC: MITLDAP, Principals: []string{odd, "host/back.test"}})
	must(t, r.AllowDelegation(odd, "host/back.test"))
}
