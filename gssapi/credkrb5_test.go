package gssapi

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss"
)

// SPNEGO refuses a delegated credential, and takes what ForSPNEGO makes of it.
func TestForSPNEGO(t *testing.T) {
	needsHandshake(t)
	kept(t)
	d := delegated(t)
	i, a := contexts(t, &InitiatorOptions{Credential: d, Mech: MechSPNEGO}, nil)
	if err := handshake(i, a, nil); !laterHeimdal() || err != nil { // whose credentials for Kerberos are all for SPNEGO too
		wantErr(t, "SPNEGO with what was delegated", err, ErrNoCred)
	}
	both, err := d.ForSPNEGO(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	info, err := both.Info(t.Context())
	if err != nil || !slices.Contains(info.Mechs, MechKrb5) || !slices.Contains(info.Mechs, MechSPNEGO) || info.Usage != Initiate {
		t.Fatalf("%+v, %v", info, err)
	}
	eachMech(t, func(t *testing.T, mech OID) { speaksFor(t, both, mech, "alice") })
	speaksFor(t, nil, MechSPNEGO, "alice") // the process' own is what it was

	// Further on: what was delegated is delegated again.
	i, a = contexts(t, &InitiatorOptions{Credential: both, Mech: MechSPNEGO, Flags: FlagDeleg}, nil)
	if err := handshake(i, a, nil); err != nil {
		t.Fatal(err)
	}
	if a.Delegated() == nil {
		t.Error("it cannot be delegated further")
	}
	_, err = acquire(t, &CredentialOptions{Usage: Accept}).ForSPNEGO(t.Context())
	wantErr(t, "of one to accept with", err, ErrNoCred)
}

func TestCopyToCCache(t *testing.T) {
	needsHandshake(t)
	kept(t)
	name := "FILE:" + filepath.Join(t.TempDir(), "cc")
	for range 2 { // what is there goes
		if err := delegated(t).CopyToCCache(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	bob, err := realm.Kinit("bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	for who, ccache := range map[string]string{"alice": name, "bob": "FILE:" + bob} {
		c, err := AcquireKrb5(t.Context(), &Krb5Options{CCache: ccache})
		if err != nil {
			t.Fatal(err)
		}
		speaksFor(t, c, MechKrb5, who)
	}
	for _, bad := range []string{"", "a\x00b", "NOSUCH:x", "FILE:/nowhere/at/all"} {
		wantErr(t, bad, delegated(t).CopyToCCache(t.Context(), bad), ErrFailure)
	}
}

// Tickets that are copied to where they are stay, and so does what is there when
// there is nothing to copy.
func TestCopyToCCacheItself(t *testing.T) {
	needsHandshake(t)
	kept(t)
	alice, err := realm.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := acquire(t, &CredentialOptions{CCache: "FILE:" + alice})
	dir, file := filepath.Split(alice)
	for _, same := range []string{"FILE:" + alice, alice, "FILE:" + dir + "./" + file} {
		if err := c.CopyToCCache(t.Context(), same); err != nil {
			t.Fatal(err)
		}
		there, err := AcquireKrb5(t.Context(), &Krb5Options{CCache: "FILE:" + alice})
		if err != nil {
			t.Fatalf("after a copy to %s: %v", same, err)
		}
		speaksFor(t, there, MechKrb5, "alice")
		speaksFor(t, c, MechKrb5, "alice")
	}
	bob, err := realm.Kinit("bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(alice); err != nil {
		t.Fatal(err)
	}
	if err := c.CopyToCCache(t.Context(), "FILE:"+bob); err == nil {
		t.Error("tickets that are gone were copied")
	}
	speaksFor(t, acquire(t, &CredentialOptions{CCache: "FILE:" + bob}), MechKrb5, "bob")
}

// A CCache is for the credential, whatever the environment says, and leaves no
// trace on a thread.
func TestCCache(t *testing.T) {
	needsHandshake(t)
	kept(t)
	bob, err := realm.Kinit("bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				for _, o := range []*CredentialOptions{{CCache: "FILE:" + bob}, nil} {
					c, err := Acquire(t.Context(), o)
					if err != nil {
						t.Error(err)
						return
					}
					info, err := c.Info(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if got := info.Name.String(); got != realm.Principal("bob") && o != nil || got != realm.Principal("alice") && o == nil {
						t.Errorf("%v: the credential is %s's", o, got)
					}
				}
			}
		})
	}
	wg.Wait()
	eachMech(t, func(t *testing.T, mech OID) {
		speaksFor(t, acquire(t, &CredentialOptions{CCache: "FILE:" + bob}), mech, "bob")
	})
	_, err = Acquire(t.Context(), &CredentialOptions{CCache: "FILE:/nowhere/ccache", Mechs: []OID{MechKrb5}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/ccache") {
		t.Errorf("of a ccache that is not there: %v", err)
	}
	for _, o := range []*CredentialOptions{{CCache: "a\x00b"}, {CCache: "x", Usage: Accept}, {CCache: "x", Password: "y", Name: importName(t, "carol", NTUserName)}, {CCache: "x", Store: map[string]string{}}} {
		_, err := Acquire(t.Context(), o)
		wantErr(t, o.redacted(), err, ErrFailure)
	}
}

// SPNEGO with a credential of one's own takes nothing from the default one: it works
// where there is none, and somebody else's does not learn where one goes.
func TestCredentialAndDefault(t *testing.T) {
	needsHandshake(t)
	if !inChildNow() {
		bob, err := realm.Kinit("bob", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"/nowhere/ccache", bob} {
			before, _ := os.ReadFile(file)
			inChild(t, []string{"KRB5CCNAME=FILE:" + file, "GSSAPI_TEST_CCACHE=" + ccache})
			if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
				t.Errorf("%s, the default, has changed", file)
			}
		}
		return
	}
	kept(t)
	own := acquire(t, &CredentialOptions{CCache: "FILE:" + os.Getenv("GSSAPI_TEST_CCACHE")})
	is := func(t *testing.T, who string, err error) {
		t.Helper()
		if err != nil || who != "alice@TEST.GSS" {
			t.Fatalf("%q, %v", who, err)
		}
	}
	eachMech(t, func(t *testing.T, mech OID) {
		who, err := peerOf(t, own, mech, "host", "server.test")
		is(t, who, err)
		i, a := contexts(t, &InitiatorOptions{Credential: own, Mech: mech, Flags: FlagDeleg}, nil)
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		d, err := a.Delegated().ForSPNEGO(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		who, err = peerOf(t, d, mech, "HTTP", "other.test")
		is(t, who, err)
	})
}

func TestAcquireKrb5(t *testing.T) {
	needsHandshake(t)
	kept(t)
	file, keys := "FILE:"+ccache, "FILE:"+keytab
	for _, o := range []*Krb5Options{{CCache: file}, {CCache: file, Principal: "alice"}} {
		c, err := AcquireKrb5(t.Context(), o)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		info, err := c.Info(t.Context())
		if err != nil || info.Usage != Initiate || !slices.Contains(info.Mechs, MechKrb5) || slices.Contains(info.Mechs, MechSPNEGO) != laterHeimdal() || info.Expiry.IsZero() {
			t.Errorf("%+v: %+v, %v", o, info, err)
		}
		speaksFor(t, c, MechKrb5, "alice")
	}
	for _, o := range []*Krb5Options{{Keytab: keys}, {Keytab: keys, Principal: service}} {
		c, err := AcquireKrb5(t.Context(), o)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		info, err := c.Info(t.Context())
		if err != nil || info.Usage != Accept {
			t.Errorf("%+v: %+v, %v", o, info, err)
		}
		i, a := pair(t, nil, &AcceptorOptions{Credential: c})
		exchange(t, i, a)
	}
	c, err := AcquireKrb5(t.Context(), &Krb5Options{Keytab: keys, Principal: other})
	if err != nil {
		t.Fatal(err)
	}
	i, a := contexts(t, nil, &AcceptorOptions{Credential: c})
	if err := handshake(i, a, nil); err == nil {
		t.Error("a context with one service was accepted as the other")
	}
	both, err := AcquireKrb5(t.Context(), &Krb5Options{CCache: file, Keytab: keys})
	if kind() == gss.KindHeimdal {
		wantErr(t, "both usages", err, ErrUnavailable)
	} else if err != nil {
		t.Error(err)
	} else if info, err := both.Info(t.Context()); err != nil || info.Usage != Both {
		t.Errorf("both usages: %+v, %v", info, err)
	}
	for _, o := range []*Krb5Options{nil, {CCache: "a\x00b"}, {CCache: "NOSUCH:x"}, {Keytab: "NOSUCH:x"}, {CCache: file, Principal: "@@"}} {
		_, err := AcquireKrb5(t.Context(), o)
		wantErr(t, "", err, ErrFailure)
	}
	for _, o := range []*Krb5Options{{CCache: "FILE:/nowhere/ccache"}, {CCache: file, Principal: "bob"}} {
		_, err := AcquireKrb5(t.Context(), o)
		if err == nil || strings.Contains(err.Error(), "unknown") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// micLen is the length of a MIC, which tells whether the key is of SHA-1 or SHA-2.
func micLen(t testing.TB, c *Credential, mech OID) int {
	t.Helper()
	i, _ := pair(t, &InitiatorOptions{Credential: c, Mech: mech}, nil)
	mic, err := i.AppendMIC(nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	return len(mic)
}

func TestEnctypes(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		kept(t)
		const sha1, sha2 = 18, 19 // aes256-cts-hmac-sha1-96, aes128-cts-hmac-sha256-128
		for range 5 {             // other credentials have nothing of it, whatever thread they come to
			restricted := acquire(t, &CredentialOptions{Enctypes: []int32{sha2}})
			if n := micLen(t, restricted, mech); n != 16+16 {
				t.Errorf("a MIC of %d bytes with SHA-2", n)
			}
			if n := micLen(t, nil, mech); n != 16+12 {
				t.Errorf("a MIC of %d bytes with the default credential", n)
			}
		}
		if n := micLen(t, acquire(t, &CredentialOptions{Enctypes: []int32{sha1, 9999}}), mech); n != 16+12 {
			t.Errorf("a MIC of %d bytes with SHA-1", n)
		}
		for _, types := range [][]int32{{9999}, {0}, {3}} { // 3: DES
			_, err := Acquire(t.Context(), &CredentialOptions{Enctypes: types})
			wantErr(t, "no such type", err, ErrFailure)
		}
	})
}

// A replay cache of its own refuses a token that came before; this process has
// none by default.
func TestRCache(t *testing.T) {
	needsHandshake(t)
	kept(t)
	o := &CredentialOptions{Usage: Accept, Mechs: []OID{MechKrb5}, RCache: "file2:" + filepath.Join(t.TempDir(), "rc")}
	c, err := Acquire(t.Context(), o)
	if !gss.Supports("gss_krb5_set_cred_rcache") {
		wantErr(t, "Acquire", err, ErrUnavailable, errors.ErrUnsupported)
		lacks(t, gss.KindHeimdal, "it has no gss_krb5_set_cred_rcache")
	}
	if err != nil {
		t.Fatal(err)
	}
	token := step(t, NewInitiator(target(t), nil), nil)
	accept := func(c *Credential) error {
		return second(NewAcceptor(&AcceptorOptions{Credential: c}).Step(t.Context(), token))
	}
	if err := accept(c); err != nil {
		t.Fatal(err)
	}
	if err := accept(c); err == nil || !strings.Contains(err.Error(), "replay") {
		t.Errorf("the same token again: %v", err)
	}
	o.RCache = "none:"
	if err := accept(acquire(t, o)); err != nil {
		t.Errorf("without a replay cache: %v", err)
	}
	for _, name := range []string{"nosuch:", "file2", "a\x00b"} {
		o.RCache = name
		_, err := Acquire(t.Context(), o)
		wantErr(t, name, err, ErrFailure)
	}
	for _, o := range []*CredentialOptions{{Usage: Accept, RCache: "none:"}, {Mechs: []OID{MechKrb5}, RCache: "none:"}} {
		_, err := Acquire(t.Context(), o)
		wantErr(t, "of more than Kerberos, or to initiate with", err, ErrUnavailable)
	}
}

func TestRegisterAcceptorIdentity(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, []string{"GSSAPI_TEST_KEYTAB=" + keytab, "KRB5_KTNAME=FILE:/nowhere/keytab"}) {
		return
	}
	kept(t)
	accept := func() error {
		i, a := contexts(t, nil, nil)
		return handshake(i, a, nil)
	}
	if accept() == nil {
		t.Fatal("there is a key without a keytab")
	}
	if err := RegisterAcceptorIdentity("FILE:" + os.Getenv("GSSAPI_TEST_KEYTAB")); err != nil {
		t.Fatal(err)
	}
	if err := accept(); err != nil {
		t.Fatal(err)
	}
	err := RegisterAcceptorIdentity("FILE:/nowhere/else")
	if kind() == gss.KindHeimdal {
		wantErr(t, "a keytab that is not there", err, ErrFailure)
	} else if err != nil {
		t.Error(err)
	}
	if accept() == nil {
		t.Error("the keytab from before is used yet")
	}
	if err := RegisterAcceptorIdentity(""); err != nil {
		t.Fatal(err)
	}
	if accept() == nil {
		t.Error("the default keytab is not the default again")
	}
	wantErr(t, "a NUL", RegisterAcceptorIdentity("a\x00b"), ErrFailure)
}
