package gssapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
)

// delegated is a credential that alice delegated to the service.
func delegated(t testing.TB) *Credential {
	t.Helper()
	_, a := pair(t, &InitiatorOptions{Flags: FlagDeleg}, nil)
	d := a.Delegated()
	if d == nil {
		t.Fatal("nothing was delegated")
	}
	return d
}

// speaksFor fails the test unless a context that is initiated with c is somebody's.
func speaksFor(t testing.TB, c *Credential, mech OID, who string) {
	t.Helper()
	i, a := pair(t, &InitiatorOptions{Credential: c, Mech: mech}, nil)
	exchange(t, i, a)
	info, err := a.Info()
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Peer().String(); got != realm.Principal(who) {
		t.Fatalf("the context is %s's, want %s's", got, who)
	}
}

// A delegated credential is stored into a file, and a new one, acquired from
// there, goes on to the next service.
func TestStoreDelegated(t *testing.T) {
	needsHandshake(t)
	kept(t)
	d := delegated(t)
	file := filepath.Join(t.TempDir(), "cc")
	t.Run("environment", func(t *testing.T) {
		t.Setenv("KRB5CCNAME", "FILE:"+file)
		err := d.Store(t.Context(), &StoreOptions{Default: true})
		if kind() == gss.KindHeimdal && !laterHeimdal() {
			wantErr(t, "Store", err, ErrUnavailable) // it would be into d itself
			err = d.CopyToCCache(t.Context(), "FILE:"+file)
		}
		if err != nil {
			t.Fatal(err)
		}
		speaksFor(t, acquire(t, nil), MechSPNEGO, "alice")
		wantErr(t, "a second time", d.Store(t.Context(), nil), ErrDuplicateElement)
		if err := d.Store(t.Context(), &StoreOptions{Mech: MechKrb5, Overwrite: true}); err != nil {
			t.Error(err)
		}
		speaksFor(t, acquire(t, nil), MechSPNEGO, "alice")
		speaksFor(t, d, MechKrb5, "alice")
		if laterHeimdal() {
			return // where bob's are, it would store into another ccache of its collection, outside of this realm
		}
		bob, err := realm.Kinit("bob", nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("KRB5CCNAME", "FILE:"+bob)
		want := error(ErrDuplicateElement)
		if kind() == gss.KindHeimdal {
			want = ErrUnavailable
		}
		wantErr(t, "where bob's are", d.Store(t.Context(), nil), want)
		speaksFor(t, d, MechKrb5, "alice")
	})
	t.Run("store", func(t *testing.T) {
		to := &StoreOptions{Store: map[string]string{"ccache": "FILE:" + file + "2"}}
		err := d.Store(t.Context(), to)
		if !gss.Supports("gss_store_cred_into") {
			wantErr(t, "Store", err, ErrUnavailable, errors.ErrUnsupported)
			if !strings.Contains(err.Error(), "gss_store_cred_into") {
				t.Errorf("%v does not name the function", err)
			}
			lacks(t, gss.KindHeimdal, "7.8 has no credential stores, and CopyToCCache in its place")
		}
		if err != nil {
			t.Fatal(err)
		}
		eachMech(t, func(t *testing.T, mech OID) {
			speaksFor(t, acquire(t, &CredentialOptions{Store: to.Store}), mech, "alice")
		})
		wantErr(t, "a second time", d.Store(t.Context(), to), ErrDuplicateElement)
		// Of a credential for two mechanisms, as of one.
		other := acquire(t, nil)
		to.Store["ccache"] += "3"
		if err := other.Store(t.Context(), to); err != nil {
			t.Error(err)
		}
	})
	for _, o := range []*StoreOptions{
		{Store: map[string]string{}},
		{Store: map[string]string{"keytab": "FILE:" + file}},
		{Store: map[string]string{"ccache": "FILE:" + file, "keytab": "x"}},
		{Usage: 7},
		{Usage: Accept},
	} {
		wantErr(t, fmt.Sprintf("Store(%+v)", o), d.Store(t.Context(), o), ErrFailure)
	}
	if err := d.Store(t.Context(), &StoreOptions{Mech: MechNTLM}); err == nil {
		t.Error("an element that is not there was stored")
	}
	if err := acquire(t, &CredentialOptions{Usage: Accept}).Store(t.Context(), &StoreOptions{Overwrite: true}); err == nil {
		t.Error("a credential to accept with was stored")
	}
	speaksFor(t, nil, MechKrb5, "alice") // what the process had is there yet
}

// What comes out of a token is the credential that went in, in another process
// too; and the token of one in a file has nothing of its contents.
func TestExportCredential(t *testing.T) {
	needsHandshake(t)
	if token := os.Getenv("GSSAPI_TEST_TOKEN"); inChildNow() {
		b, err := hex.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		// Without tickets of its own.
		os.Setenv("KRB5CCNAME", "FILE:/nowhere/ccache")
		c, err := ImportCredential(b)
		if err != nil {
			t.Fatal(err)
		}
		i, a := pair(t, &InitiatorOptions{Credential: c, Mech: MechKrb5}, nil)
		exchange(t, i, a)
		return
	}
	kept(t)
	d := delegated(t)
	token, err := d.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !inChild(t, []string{"GSSAPI_TEST_TOKEN=" + hex.EncodeToString(token)}) && t.Failed() {
		return
	}
	speaksFor(t, d, MechKrb5, "alice") // it stays as it was

	c := acquire(t, nil)
	file, err := c.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string][]byte{"in memory": token, "in a file": file} {
		named := bytes.Contains(token, []byte(filepath.Base(ccache)))
		if named != (what == "in a file") || named && len(token) > 600 {
			t.Errorf("the token of a credential %s, of %d bytes, names the file: %v", what, len(token), named)
		}
		c, err := ImportCredential(token)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		clear(token)
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if info.Name.String() != realm.Principal("alice") || info.Usage != Initiate || info.Expiry.IsZero() || time.Until(info.Expiry) > 24*time.Hour {
			t.Errorf("%s: %+v", what, info)
		}
		spnego := what == "in a file" && kind() != gss.KindHeimdal || laterHeimdal() // 7.8 forgets it, later ones add it to each
		if slices.Contains(info.Mechs, MechSPNEGO) != spnego || !slices.Contains(info.Mechs, MechKrb5) {
			t.Errorf("%s: for %v", what, info.Mechs)
		}
		speaksFor(t, c, MechKrb5, "alice")
		c.Close()
	}
	if c, err = c.ForSPNEGO(t.Context()); err != nil {
		t.Fatal(err)
	}
	if token, err = c.Export(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err = ImportCredential(token); err != nil {
		t.Fatal(err)
	}
	speaksFor(t, c, MechKrb5, "alice")

	gone, err := realm.Kinit("bob", nil)
	if err != nil {
		t.Fatal(err)
	}
	bob, err := AcquireKrb5(t.Context(), &Krb5Options{CCache: "FILE:" + gone})
	if err != nil {
		t.Fatal(err)
	}
	if token, err = bob.Export(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if c, err = ImportCredential(token); err == nil {
		_, err = NewInitiator(target(t), &InitiatorOptions{Credential: c}).Step(t.Context(), nil)
	}
	if err == nil {
		t.Error("a credential whose ccache is gone")
	}
}

// inChildNow reports whether this is a process that inChild started.
func inChildNow() bool { return os.Getenv(childEnv) != "" }

func TestExportAcceptor(t *testing.T) {
	needsHandshake(t)
	kept(t)
	token, err := acquire(t, &CredentialOptions{Usage: Accept}).Export(t.Context())
	if kind() == gss.KindHeimdal {
		wantErr(t, "Export", err, ErrUnavailable)
		lacks(t, gss.KindHeimdal, "7.8 exports credentials to initiate with only")
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(token, []byte(filepath.Base(keytab))) {
		t.Error("the token does not name the keytab")
	}
	c, err := ImportCredential(token)
	if err != nil {
		t.Fatal(err)
	}
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Credential: c})
		exchange(t, i, a)
	})
}

// Tokens that are cut or changed are refused or make a credential that can be
// used without a crash.
func TestImportCredentialJunk(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, nil) {
		return
	}
	kept(t)
	_, err := ImportCredential(nil)
	wantErr(t, "no token", err, ErrDefectiveToken)
	file, err := acquire(t, nil).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A credential in memory whose only ticket is good for nothing: no KDC is asked.
	memory, err := delegated(t).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var refused, taken int
	try := func(token []byte) {
		c, err := ImportCredential(token)
		if err != nil {
			refused++
			return
		}
		taken++
		c.Info(t.Context())
		if c, err := c.ForSPNEGO(t.Context()); err == nil {
			c.Close()
		}
		c.Export(t.Context())
		c.Close()
	}
	for _, token := range [][]byte{file, memory} {
		for i := range token {
			if i%3 == 0 && len(token) < 600 {
				try(token[:i])
			}
			changed := slices.Clone(token)
			changed[i] ^= [...]byte{0xff, 0x80, 0x01}[i%3]
			try(changed)
		}
		try(append(slices.Clone(token), token...))
		try(append(slices.Clone(token), "junk"...))
	}
	t.Logf("%d refused, %d taken", refused, taken)
	if refused == 0 || taken == 0 {
		t.Errorf("%d refused, %d taken", refused, taken)
	}
}

func TestNegMechs(t *testing.T) {
	needsHandshake(t)
	kept(t)
	c, err := Acquire(t.Context(), &CredentialOptions{NegMechs: []OID{MechKrb5}})
	if !gss.Supports("gss_set_neg_mechs") {
		wantErr(t, "Acquire", err, ErrUnavailable, errors.ErrUnsupported)
		lacks(t, gss.KindHeimdal, "7.8 has no gss_set_neg_mechs")
	}
	if err != nil {
		t.Fatal(err)
	}
	speaksFor(t, c, MechSPNEGO, "alice")
	for _, u := range []Usage{Initiate, Accept} {
		none := acquire(t, &CredentialOptions{Usage: u, NegMechs: []OID{MechNTLM}})
		io, ao := &InitiatorOptions{Mech: MechSPNEGO, Credential: none}, (*AcceptorOptions)(nil)
		if u == Accept {
			io, ao = &InitiatorOptions{Mech: MechSPNEGO}, &AcceptorOptions{Credential: none}
		}
		i, a := contexts(t, io, ao)
		if err := handshake(i, a, nil); err == nil {
			t.Errorf("Kerberos was negotiated with a credential to %v that is for NTLM", u)
		}
	}
	_, err = Acquire(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, NegMechs: []OID{MechKrb5}})
	if !laterHeimdal() || err != nil { // where each is for SPNEGO too
		wantErr(t, "without SPNEGO", err, ErrUnavailable)
	}
	for _, mechs := range [][]OID{{MechSPNEGO}, {""}} {
		_, err = Acquire(t.Context(), &CredentialOptions{NegMechs: mechs})
		wantErr(t, fmt.Sprint(mechs), err, ErrBadMech)
	}
}

func TestInquireCredentialByOID(t *testing.T) {
	needsHandshake(t)
	kept(t)
	c := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
	want := error(ErrUnavailable)
	if kind() == gss.KindHeimdal {
		want = ErrFailure
		parts, err := c.InquireByOID(t.Context(), gss.CredCCache)
		if err != nil || len(parts) != 1 || string(parts[0]) != "FILE:"+ccache {
			t.Errorf("the ccache is %q, %v", parts, err)
		}
	}
	_, err := c.InquireByOID(t.Context(), "\x2a\x03\x04")
	wantErr(t, "an unknown question", err, want)
	_, err = c.InquireByOID(t.Context(), "")
	wantErr(t, "no question", err, ErrFailure)
}

func TestCredentialOption(t *testing.T) {
	needsHandshake(t)
	kept(t)
	// Both libraries force them, but for the option.
	without := FlagConf | FlagInteg
	for _, o := range []*CredentialOptions{nil, {NoCIFlags: true}, {Options: []CredentialOption{{OID: gss.NoCIFlagsOption}}}} {
		i, _ := pair(t, &InitiatorOptions{Credential: acquire(t, o), Mech: MechKrb5, Without: without}, nil)
		info, err := i.Info()
		if err != nil {
			t.Fatal(err)
		}
		want := without
		if o != nil {
			want = 0
		}
		if got := info.Flags & without; got != want {
			t.Errorf("%v: flags %v, want %v of %v", o, info.Flags, want, without)
		}
	}
	_, err := Acquire(t.Context(), &CredentialOptions{Options: []CredentialOption{{OID: "\x2a\x03\x04", Value: []byte("x")}}})
	if err == nil {
		t.Error("an unknown option was taken")
	}
	_, err = Acquire(t.Context(), &CredentialOptions{Options: []CredentialOption{{}}})
	wantErr(t, "no option", err, ErrFailure)
	for _, last := range []string{"\x02", "\x04", "\x04\x01", "\x0b", "\x0d"} {
		o := OID("\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05" + last)
		_, err := Acquire(t.Context(), &CredentialOptions{Options: []CredentialOption{{OID: o, Value: make([]byte, 8)}}})
		wantErr(t, o.String(), err, ErrUnavailable)
	}
	secret := CredentialOption{OID: MechKrb5, Value: []byte("s3cr3t")}
	o := &CredentialOptions{Options: []CredentialOption{secret}, CCache: "FILE:/x"}
	if text := fmt.Sprintf("%v %#v %+v %s %x %v", o, o, secret, secret, secret.String(), []any{secret}); strings.Contains(text, "s3cr3t") || strings.Contains(text, hex.EncodeToString(secret.Value)) || !strings.Contains(text, "FILE:/x") {
		t.Errorf("printed as %s", text)
	}
	text, _ := xml.Marshal(secret)
	for _, verb := range []string{"%d", "%x", "%o", "%q", "%t"} {
		text = fmt.Appendf(text, verb, secret)
	}
	for _, shown := range []string{"s3cr3t", "115 51", hex.EncodeToString(secret.Value)} {
		if bytes.Contains(text, []byte(shown)) {
			t.Errorf("printed as %s", text)
		}
	}
}

// Junk as the value of options that are known.
func TestCredentialOptionJunk(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, nil) {
		return
	}
	for arc := range 40 {
		o := OID("\x2a\x85\x70\x2b\x0d" + string([]byte{byte(arc)}))
		for _, value := range []string{"", "x", "\x00\x00\x00\x01", "\x00\x00\x00\xff\x00\x00\x00\x01", strings.Repeat("\xff", 64)} {
			for _, u := range []Usage{Initiate, Accept} {
				c, err := Acquire(t.Context(), &CredentialOptions{Usage: u, Options: []CredentialOption{{o, []byte(value)}}})
				if err == nil {
					c.Info(t.Context())
				}
				acquire(t, &CredentialOptions{Usage: u}).InquireByOID(t.Context(), o)
			}
		}
	}
}

func TestAddToCredential(t *testing.T) {
	needsHandshake(t)
	kept(t)
	carol := importName(t, "carol", NTUserName)
	t.Run("password", func(t *testing.T) {
		add := &CredentialOptions{Name: carol, Password: carolsPassword, Mechs: []OID{MechSPNEGO}}
		c := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
		both, err := c.Add(t.Context(), add)
		if kind() == gss.KindHeimdal {
			add.Mechs = []OID{MechKrb5}
			if laterHeimdal() { // which would keep what is there
				wantErr(t, "of SPNEGO", err, ErrDuplicateElement)
				_, err = c.Add(t.Context(), add)
				wantErr(t, "of Kerberos", err, ErrDuplicateElement)
				return
			}
			// It has passwords for Kerberos alone, and puts that in the place of what is there.
			wantErr(t, "of SPNEGO", err, ErrUnavailable)
			if both, err = c.Add(t.Context(), add); err != nil {
				t.Fatal(err)
			}
			speaksFor(t, both, MechKrb5, "carol")
		} else if err != nil {
			t.Fatal(err)
		} else {
			speaksFor(t, both, MechSPNEGO, "carol")
			speaksFor(t, both, MechKrb5, "alice")
		}
		speaksFor(t, c, MechKrb5, "alice")
		add.Password = "not hers"
		if both, err = c.Add(t.Context(), add); err == nil { // MIT asks the KDC when it is used
			_, err = NewInitiator(target(t), &InitiatorOptions{Credential: both, Mech: add.Mechs[0]}).Step(t.Context(), nil)
		}
		if err == nil || strings.Contains(err.Error(), add.Password) {
			t.Errorf("with a wrong password: %v", err)
		}
	})
	t.Run("store", func(t *testing.T) {
		c := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
		o := &CredentialOptions{Mechs: []OID{MechSPNEGO}, Store: realm.InitiatorStore(ccache)}
		both, err := c.Add(t.Context(), o)
		if !gss.Supports("gss_add_cred_from") {
			wantErr(t, "Add", err, ErrUnavailable)
			lacks(t, gss.KindHeimdal, "7.8 has no credential stores")
		}
		if laterHeimdal() {
			wantErr(t, "Add", err, ErrDuplicateElement)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		eachMech(t, func(t *testing.T, mech OID) { speaksFor(t, both, mech, "alice") })
		o.Store = map[string]string{"ccache": "FILE:/nowhere/ccache"}
		if _, err := c.Add(t.Context(), o); err == nil {
			t.Error("from a ccache that is not there")
		}
		o.Store = map[string]string{"keytab": "FILE:/x"}
		_, err = c.Add(t.Context(), o)
		wantErr(t, "from a keytab, to initiate with", err, ErrFailure)
	})
	c := acquire(t, nil)
	for what, o := range map[string]*CredentialOptions{
		"a CCache":                    {Mechs: []OID{MechKrb5}, CCache: "FILE:/x"},
		"a NUL":                       {Mechs: []OID{MechKrb5}, Store: map[string]string{"ccache": "a\x00b"}},
		"two passwords":               {Mechs: []OID{MechKrb5}, Password: "x", Store: map[string]string{"password": "y"}},
		"a password that is too long": {Mechs: []OID{MechKrb5}, Name: carol, Password: strings.Repeat("x", 5000)},
	} {
		_, err := c.Add(t.Context(), o)
		wantErr(t, what, err, ErrFailure)
	}
	_, err := c.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, Impersonator: c})
	wantErr(t, "an impersonator of nobody", err, ErrBadName)
	_, err = Acquire(t.Context(), &CredentialOptions{Impersonator: c})
	wantErr(t, "Acquire with an impersonator", err, ErrFailure)
}

// calls are those on a credential beyond RFC 2744.
func calls(t *testing.T, ctx context.Context, c *Credential) map[string]error {
	t.Helper()
	alice := importName(t, "alice", NTUserName)
	return map[string]error{
		"Store":         c.Store(ctx, nil),
		"Export":        second(c.Export(ctx)),
		"Impersonate":   second(c.Impersonate(ctx, alice, nil)),
		"InquireByOID":  second(c.InquireByOID(ctx, "\x2a\x03\x04")),
		"CopyToCCache":  c.CopyToCCache(ctx, "FILE:"+filepath.Join(t.TempDir(), "cc")),
		"ForSPNEGO":     second(c.ForSPNEGO(ctx)),
		"add password":  second(c.Add(ctx, &CredentialOptions{Mechs: []OID{MechKrb5}, Name: alice, Password: "x"})),
		"add store":     second(c.Add(ctx, &CredentialOptions{Mechs: []OID{MechKrb5}, Name: alice, Store: map[string]string{"ccache": "FILE:/x"}})),
		"add an S4U":    second(c.Add(ctx, &CredentialOptions{Mechs: []OID{MechKrb5}, Name: alice, Impersonator: c})),
		"AcquireKrb5":   second(AcquireKrb5(ctx, &Krb5Options{CCache: "FILE:/nowhere/ccache"})),
		"Acquire there": second(Acquire(ctx, &CredentialOptions{CCache: "FILE:/nowhere/ccache"})),
	}
}

func TestCredentialCallsRefuse(t *testing.T) {
	kept(t)
	if kind() == gss.KindGNU {
		for what, err := range calls(t, t.Context(), new(Credential)) {
			wantErr(t, what, err, ErrUnavailable, errors.ErrUnsupported)
		}
		_, err := ImportCredential([]byte("x"))
		wantErr(t, "ImportCredential", err, ErrUnavailable)
		wantErr(t, "RegisterAcceptorIdentity", RegisterAcceptorIdentity("FILE:/x"), ErrUnavailable)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range calls(t, ctx, acquire(t, nil)) {
		wantErr(t, what+", cancelled", err, context.Canceled)
	}
	closed := acquire(t, nil)
	closed.Close()
	for _, c := range []*Credential{closed, nil, new(Credential)} {
		for what, err := range calls(t, t.Context(), c) {
			switch {
			case err == nil:
				t.Errorf("%s of %v: no error", what, c)
			case c == nil || strings.HasPrefix(what, "A"):
			case !errors.Is(err, ErrNoCred) && !errors.Is(err, ErrUnavailable):
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}
