package gss

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// aliceCred is the default credential, for Kerberos.
func aliceCred(tb testing.TB) *Cred {
	tb.Helper()
	r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate)
	check(tb, err)
	tb.Cleanup(r.Cred.Release)
	return r.Cred
}

// The ccache of ForMechs is there as long as the credential, and no longer.
func TestForMechsCCache(t *testing.T) {
	needKrb5(t)
	const name = "MEMORY:gss-test"
	r, err := aliceCred(t).throughCCache(name, []OID{MechKrb5, MechSPNEGO})
	check(t, err)
	again, err := ImportKrb5Cred(name, "", "")
	check(t, err)
	again.Release()
	i, a, err := handshake(&InitArgs{Target: server(t), Cred: r.Cred, Mech: MechSPNEGO, Flags: allFlags}, &AcceptArgs{})
	check(t, err)
	i.Delete()
	a.Delete()
	r.Cred.Release()
	if c, err := ImportKrb5Cred(name, "", ""); err == nil {
		c.Release()
		t.Error("the ccache is there after its credential")
	}
	// What was not acquired leaves nothing either.
	if _, err := aliceCred(t).throughCCache(name, []OID{"\x2a\x03\x04"}); err == nil {
		t.Error("a credential of an unknown mechanism")
	}
	if c, err := ImportKrb5Cred(name, "", ""); err == nil {
		c.Release()
		t.Error("the ccache is there without a credential")
	}
}

func TestWithCCacheName(t *testing.T) {
	needKrb5(t)
	ran := errors.New("it ran")
	is(t, WithCCacheName("FILE:/nowhere/ccache", func() error {
		if _, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate); err == nil {
			t.Error("a credential of a ccache that is not there")
		}
		return ran
	}), ran)
	is(t, WithCCacheName("FILE:/nowhere/ccache", func() error { runtime.Goexit(); return nil }), ErrFailure)
	is(t, WithCCacheName("FILE:/nowhere/ccache", nil), ErrFailure)
	func() {
		defer func() {
			if p := recover(); p != ran {
				t.Errorf("a panic of the function comes out as %v", p)
			}
		}()
		WithCCacheName("FILE:/nowhere/ccache", func() error { panic(ran) })
	}()
	aliceCred(t)
	for _, bad := range []string{"", "a\x00b"} {
		is(t, WithCCacheName(bad, func() error { t.Error("it ran"); return nil }), ErrFailure)
	}
}

func TestStoreResult(t *testing.T) {
	needKrb5(t)
	c := aliceCred(t)
	r, err := c.Store(UsageInitiate, "", true, false)
	check(t, err)
	if !slices.Equal(r.Mechs, []OID{MechKrb5}) || kind() == KindMIT && r.Usage != UsageInitiate {
		t.Errorf("stored: %+v", r)
	}
	aliceCred(t) // is there yet
	_, err = c.Store(UsageInitiate, MechKrb5, false, false)
	is(t, err, ErrDuplicateElement)
	_, err = c.Store(UsageAccept, MechKrb5, true, false)
	is(t, err, ErrFailure)
	if !Supports("gss_store_cred_into") {
		_, err = c.StoreInto(UsageInitiate, "", true, false, map[string]string{"ccache": "x"})
		is(t, err, ErrUnavailable)
		mention(t, err, "has no function gss_store_cred_into")
		return
	}
	r, err = c.StoreInto(UsageInitiate, "", true, false, map[string]string{"ccache": "FILE:" + t.TempDir() + "/cc"})
	check(t, err)
	if !slices.Equal(r.Mechs, []OID{MechKrb5}) || kind() == KindMIT && r.Usage != UsageInitiate {
		t.Errorf("stored: %+v", r)
	}
	_, err = c.StoreInto(UsageInitiate, "", true, false, nil)
	is(t, err, ErrFailure)
}

// A credential and what was added to it are released each for itself.
func TestAddWithPasswordOwns(t *testing.T) {
	needKrb5(t)
	check(t, realm.AddPassword("dora", "a dora's password"))
	n := nameOf(t, "dora@TEST.GSS", NTUserName)
	mech := MechSPNEGO
	if heimdal() {
		mech = MechKrb5
		_, err := aliceCred(t).AddWithPassword(n, MechSPNEGO, []byte("x"), UsageInitiate, 0, 0)
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrDuplicateElement) {
			t.Error(err)
		}
	}
	for range 20 {
		if laterHeimdal() {
			_, err := aliceCred(t).AddWithPassword(n, mech, []byte("a dora's password"), UsageInitiate, 0, 0)
			is(t, err, ErrDuplicateElement)
			break
		}
		c := aliceCred(t)
		r, err := c.AddWithPassword(n, mech, []byte("a dora's password"), UsageInitiate, 0, 0)
		check(t, err)
		c.Release()
		if !slices.Contains(r.Mechs, mech) {
			t.Errorf("the result is for %v", r.Mechs)
		}
		r.Cred.Release()
	}
	r, err := (*Cred)(nil).AddWithPassword(n, MechKrb5, []byte("a dora's password"), UsageInitiate, 0, 0)
	check(t, err)
	if !slices.Contains(r.Mechs, MechKrb5) {
		t.Errorf("from none: for %v", r.Mechs)
	}
	r.Cred.Release()
	if _, err := aliceCred(t).AddWithPassword(n, "", nil, UsageInitiate, 0, 0); !errors.Is(err, ErrBadMech) {
		t.Error(err)
	}
}

func TestWellFormed(t *testing.T) {
	part := func(s string) string {
		return string([]byte{0, 0, byte(len(s) >> 8), byte(len(s))}) + s
	}
	krb5 := part(string(MechKrb5)) + part(`["K5C1",[1,["alice@TEST.GSS",null,null]]]`)
	cred := func(usage, name, keytab, ccache string) string {
		return part(string(MechKrb5)) + part(`["K5C1",[`+usage+`,`+name+`,null,false,false,`+keytab+`,null,`+ccache+`,null,true,1,0,null,null]]`)
	}
	const alice, file, tickets = `["alice@TEST.GSS",null,null]`, `"FILE:/x"`, `["alice@TEST.GSS",["alice@TEST.GSS","krbtgt/TEST.GSS@TEST.GSS",[18,"a2V5"]]]`
	for token, want := range map[string]bool{
		krb5: true,
		krb5 + part(string(MechSPNEGO)) + part(krb5):                         true,
		part(string(MechNTLM)) + part("\x00\x01"):                            true,
		krb5[:len(krb5)-1]:                                                   false,
		krb5 + "x":                                                           false,
		part(string(MechKrb5)):                                               false,
		strings.Replace(krb5, `"alice`, `@alice`, 1):                         false,
		part(string(MechSPNEGO)) + part(krb5[:20]):                           false,
		part(string(MechSPNEGO)) + part(part(string(MechSPNEGO))+part(krb5)): false,
		"\xff\xff\xff\xff" + krb5:                                            false,
		cred("1", alice, "null", file):                                       true,
		cred("1", alice, "null", tickets):                                    true,
		cred("1", "null", "null", "null"):                                    true, // it looks when it is used
		cred("0", alice, file, file):                                         true,
		cred("2", "null", file, "null"):                                      true,
		cred("2", alice, file, "null"):                                       true,
		cred("1", "[null,null,null]", "null", file):                          false,
		cred("1", "[]", "null", file):                                        false,
		cred("1", alice, "null", "null"):                                     false,
		cred("1", "null", "null", file):                                      false,
		cred("-0", alice, "null", file):                                      false,
		cred("0", alice, file, "null"):                                       false,
		cred("2", "null", "null", "null"):                                    false,
		cred("-1", alice, file, file):                                        false,
		cred("3", alice, file, file):                                         false,
		cred("1.5", alice, file, file):                                       false,
		cred("null", alice, "null", file):                                    false,
		cred("1", alice, "null", "[]"):                                       false,
		cred("1", alice, "null", strings.Replace(tickets, `"alice@TEST.GSS"`, "null", 1)):           false,
		cred("1", alice, "null", strings.Replace(tickets, `["alice@TEST.GSS"`, "[1", 1)):            false,
		cred("1", alice, "null", strings.Replace(tickets, `"krbtgt/TEST.GSS@TEST.GSS"`, "null", 1)): false,
	} {
		if got := wellFormed([]byte(token), 1); got != want {
			t.Errorf("%q: %v", token, got)
		}
	}
}

// Without a credential, or with one that was released.
func TestNoCred(t *testing.T) {
	needKrb5(t)
	released, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate)
	check(t, err)
	released.Cred.Release()
	n := nameOf(t, "alice", NTUserName)
	for _, c := range []*Cred{nil, released.Cred, new(Cred)} {
		for what, call := range map[string]func() error{
			"Export": func() error { _, err := c.Export(); return err },
			"Store":  func() error { _, err := c.Store(UsageInitiate, MechKrb5, true, false); return err },
			"StoreInto": func() error {
				_, err := c.StoreInto(UsageInitiate, MechKrb5, true, false, map[string]string{"ccache": "x"})
				return err
			},
			"Impersonate":          func() error { _, err := c.Impersonate(n, 0, nil, UsageInitiate); return err },
			"AddImpersonate":       func() error { _, err := (*Cred)(nil).AddImpersonate(c, n, MechKrb5, UsageInitiate, 0, 0); return err },
			"InquireByOID":         func() error { _, err := c.InquireByOID(CredCCache); return err },
			"SetOption":            func() error { return c.SetOption(NoCIFlagsOption, nil) },
			"SetNegMechs":          func() error { return c.SetNegMechs([]OID{MechKrb5}) },
			"CopyCCache":           func() error { return c.CopyCCache("MEMORY:x") },
			"SetAllowableEnctypes": func() error { return c.SetAllowableEnctypes([]int32{18}) },
			"SetRCache":            func() error { return c.SetRCache("none:") },
			"ForMechs":             func() error { _, err := c.ForMechs(nil); return err },
		} {
			if err := call(); !errors.Is(err, ErrNoCred) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}
