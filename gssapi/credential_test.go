package gssapi

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
)

const carolsPassword = "Tr0ub4dor and 3"

func acquire(t testing.TB, o *CredentialOptions) *Credential {
	t.Helper()
	c, err := Acquire(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaultCredential(t *testing.T) {
	needsHandshake(t)
	kept(t)
	for _, o := range []*CredentialOptions{nil, {}, {Mechs: []OID{MechKrb5}}, {Name: importName(t, "alice", NTUserName)}, {Lifetime: time.Hour}, {Lifetime: Indefinite}} {
		c := acquire(t, o)
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Name.String() != realm.Principal("alice") || info.Usage != Initiate || !slices.Contains(info.Mechs, MechKrb5) {
			t.Errorf("%v: %+v", o, info)
		}
		if left := time.Until(info.Expiry); left < time.Hour || left > 24*time.Hour {
			t.Errorf("%v: it expires at %v", o, info.Expiry)
		}
		i, a := pair(t, &InitiatorOptions{Credential: c}, nil)
		exchange(t, i, a)
	}
}

func TestAcceptorCredential(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		c := acquire(t, &CredentialOptions{Usage: Accept})
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Usage != Accept || !slices.Contains(info.Mechs, MechKrb5) {
			t.Errorf("%+v", info)
		}
		for range 3 { // one credential serves many
			i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Credential: c})
			exchange(t, i, a)
		}
		c = acquire(t, &CredentialOptions{Usage: Accept, Name: importName(t, other, NTKrb5PrincipalName)})
		i, a := contexts(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Credential: c})
		if err := handshake(i, a, nil); err == nil {
			t.Errorf("a context with %s was accepted as %s", service, other)
		} else {
			t.Log(err)
		}
	})
}

func TestUsage(t *testing.T) {
	needsHandshake(t)
	for _, u := range []Usage{Initiate, Accept, Both} {
		if u == Both && kind() == gss.KindHeimdal {
			// It looks for alice's key in the keytab.
			_, err := Acquire(t.Context(), &CredentialOptions{Usage: u, Mechs: []OID{MechKrb5}})
			if !errors.Is(err, ErrFailure) { // after 7.8
				wantErr(t, "Acquire of both", err, ErrNoCred)
			}
			continue
		}
		c := acquire(t, &CredentialOptions{Usage: u, Mechs: []OID{MechKrb5}})
		info, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Usage != u {
			t.Errorf("usage %v, want %v", info.Usage, u)
		}
		info, err = c.MechInfo(t.Context(), MechKrb5)
		if err != nil {
			t.Fatal(err)
		}
		if info.Usage != u || !slices.Equal(info.Mechs, []OID{MechKrb5}) {
			t.Errorf("of Kerberos: %+v, want usage %v", info, u)
		}
		i, a := contexts(t, &InitiatorOptions{Credential: c}, nil)
		if err := handshake(i, a, nil); (err == nil) != (u != Accept) {
			t.Errorf("initiating with one to %v: %v", u, err)
		}
		i, a = contexts(t, nil, &AcceptorOptions{Credential: c})
		if err := handshake(i, a, nil); (err == nil) != (u != Initiate) {
			t.Errorf("accepting with one to %v: %v", u, err)
		}
	}
	_, err := Acquire(t.Context(), &CredentialOptions{Usage: 3})
	wantErr(t, "a usage that is none", err, ErrFailure)
}

func TestStore(t *testing.T) {
	needsHandshake(t)
	kept(t)
	if !gss.Supports("gss_acquire_cred_from") {
		_, err := Acquire(t.Context(), &CredentialOptions{Store: map[string]string{"ccache": ccache}})
		wantErr(t, "Acquire", err, ErrUnavailable, errors.ErrUnsupported)
		if !strings.Contains(err.Error(), "gss_acquire_cred_from") {
			t.Errorf("%v does not name the function", err)
		}
		return
	}
	none := realm.Dir() + "/none"
	t.Setenv("KRB5CCNAME", "FILE:"+none)
	t.Setenv("KRB5_KTNAME", "FILE:"+none)
	eachMech(t, func(t *testing.T, mech OID) {
		from := acquire(t, &CredentialOptions{Store: realm.InitiatorStore(ccache)})
		keys := realm.AcceptorStore(keytab)
		if kind() == gss.KindHeimdal {
			_, err := Acquire(t.Context(), &CredentialOptions{Usage: Accept, Store: keys})
			wantErr(t, "a replay cache, of which it takes no notice", err, ErrUnavailable)
			keys["rcache"] = "none:"
		}
		to := acquire(t, &CredentialOptions{Usage: Accept, Store: keys})
		i, a := pair(t, &InitiatorOptions{Credential: from, Mech: mech}, &AcceptorOptions{Credential: to})
		exchange(t, i, a)
	})
	for _, o := range []*CredentialOptions{
		{Store: map[string]string{"ccache": none}},
		{Store: map[string]string{"ccache": "FILE:" + none}, Mechs: []OID{MechKrb5}},
		{Store: map[string]string{"keytab": none}, Usage: Accept},
	} {
		_, err := Acquire(t.Context(), o)
		if err == nil {
			t.Fatalf("%v: there is a credential", o)
		}
		if !strings.Contains(err.Error(), none) {
			t.Errorf("%v: %v does not name the file", o, err)
		}
	}
	for _, store := range []map[string]string{{"ccache": "a\x00b"}, {"": "x"}, {"k\x00": "x"}} {
		_, err := Acquire(t.Context(), &CredentialOptions{Store: store})
		wantErr(t, fmt.Sprintf("%q", store), err, ErrFailure)
	}
	// A store without entries is the default credential, which is none here.
	if _, err := Acquire(t.Context(), &CredentialOptions{Store: map[string]string{}}); err == nil {
		t.Error("there is a credential of an empty store")
	}
}

func TestMissingFiles(t *testing.T) {
	if kind() == gss.KindGNU {
		needsHandshake(t)
	}
	// Heimdal reads KRB5_KTNAME once.
	if !inChild(t, []string{"KRB5_KTNAME=FILE:/nowhere/keytab", "KRB5CCNAME=FILE:/nowhere/ccache"}) {
		return
	}
	kept(t)
	for what, o := range map[string]*CredentialOptions{
		"/nowhere/ccache": {Mechs: []OID{MechKrb5}},
		"/nowhere/keytab": {Mechs: []OID{MechKrb5}, Usage: Accept},
	} {
		c, err := Acquire(t.Context(), o)
		if err == nil {
			// Heimdal looks for them when they are needed.
			_, err = c.Info(t.Context())
		}
		if err == nil {
			t.Logf("%s: %v neither fails to be acquired nor to be inquired about", what, o)
			continue
		}
		if !strings.Contains(err.Error(), what) && kind() != gss.KindHeimdal { // 7.8 has no text for it
			t.Errorf("%v does not name %s", err, what)
		}
	}
	_, err := NewInitiator(target(t), nil).Step(t.Context(), nil)
	t.Log(err)
	if err == nil || !strings.Contains(err.Error(), "/nowhere/ccache") && kind() != gss.KindHeimdal {
		t.Errorf("Step: %v, which does not name the file", err)
	}
}

func TestPassword(t *testing.T) {
	needsHandshake(t)
	kept(t)
	if !gss.Supports("gss_acquire_cred_with_password") {
		lacks(t, kind(), "it has no gss_acquire_cred_with_password")
	}
	t.Setenv("KRB5CCNAME", "FILE:"+realm.Dir()+"/none")
	carol := importName(t, "carol", NTUserName)
	eachMech(t, func(t *testing.T, mech OID) {
		if mech == MechSPNEGO {
			lacks(t, gss.KindHeimdal, "it has passwords for Kerberos alone")
		}
		c := acquire(t, &CredentialOptions{Name: carol, Password: carolsPassword, Mechs: []OID{mech}})
		i, a := pair(t, &InitiatorOptions{Mech: mech, Credential: c}, nil)
		exchange(t, i, a)
		info, err := a.Info()
		if err != nil || info.Peer().String() != realm.Principal("carol") {
			t.Errorf("the peer is %v, %v", info.Peer(), err)
		}
	})
	const wrong = "correct horse battery"
	c, err := Acquire(t.Context(), &CredentialOptions{Name: carol, Password: wrong, Mechs: []OID{MechKrb5}})
	if err == nil { // MIT asks the KDC when it is used
		_, err = NewInitiator(target(t), &InitiatorOptions{Credential: c}).Step(t.Context(), nil)
	}
	if err == nil {
		t.Fatal("a wrong password")
	}
	t.Log(err)
	for _, text := range []string{err.Error(), fmt.Sprintf("%#v", err), fmt.Sprintf("%+v", err)} {
		if strings.Contains(text, wrong) {
			t.Errorf("the password is in %s", text)
		}
	}
	_, err = Acquire(t.Context(), &CredentialOptions{Password: wrong})
	wantErr(t, "a password of nobody", err, ErrBadName)
	_, err = Acquire(t.Context(), &CredentialOptions{Name: carol, Password: carolsPassword + "\x00and more"})
	wantErr(t, "a password with a NUL", err, ErrFailure)
	_, err = acquire(t, &CredentialOptions{Usage: Accept, Name: target(t)}).Add(t.Context(), &CredentialOptions{Name: carol, Mechs: []OID{MechKrb5}, Password: carolsPassword + "\x00"})
	wantErr(t, "a password with a NUL, to add", err, ErrFailure)
	if gss.Supports("gss_acquire_cred_from") {
		_, err = Acquire(t.Context(), &CredentialOptions{Name: carol, Password: wrong, Store: map[string]string{"password": wrong}})
		wantErr(t, "two passwords", err, ErrFailure)
		_, refused := Acquire(t.Context(), &CredentialOptions{Name: carol, Password: wrong, Store: map[string]string{}, Mechs: []OID{MechKrb5}})
		_, alone := Acquire(t.Context(), &CredentialOptions{Name: carol, Store: map[string]string{"password": wrong}, Mechs: []OID{MechKrb5}})
		for _, err := range []error{err, refused, alone} {
			if err == nil || strings.Contains(err.Error(), wrong) {
				t.Errorf("no error, or the password is in it: %v", err)
			}
		}
		c := acquire(t, &CredentialOptions{Name: carol, Password: carolsPassword, Store: map[string]string{}})
		i, a := pair(t, &InitiatorOptions{Credential: c}, nil)
		exchange(t, i, a)
	}
}

func TestOptionsPrintNoPassword(t *testing.T) {
	const secret = "s3cr3t"
	o := CredentialOptions{Name: importName(t, "alice", NTUserName), Password: secret, Store: map[string]string{"password": secret, "ccache": "FILE:/x"}}
	type outer struct {
		O CredentialOptions
		P *CredentialOptions
	}
	for _, v := range []any{o, &o, outer{o, &o}, []CredentialOptions{o}, map[string]*CredentialOptions{"o": &o}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%10v", "%T"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(strings.ToLower(text), secret) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", secret)) {
				t.Errorf("%s of a %T: %s", verb, v, text)
			}
		}
		if text := fmt.Sprint(v) + fmt.Sprintln(v); strings.Contains(text, secret) {
			t.Errorf("Sprint: %s", text)
		}
		b, err := json.Marshal(v)
		if err != nil || bytes.Contains(b, []byte(secret)) {
			t.Errorf("JSON: %s, %v", b, err)
		}
		if b, _ := xml.Marshal(v); bytes.Contains(b, []byte(secret)) {
			t.Errorf("XML: %s", b)
		}
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("acquire", "options", v)
		}
		if strings.Contains(log.String(), secret) {
			t.Errorf("slog: %s", &log)
		}
	}
	if text := o.redacted(); !strings.Contains(text, "FILE:/x") || !strings.Contains(text, "alice") || !strings.Contains(text, "redacted") {
		t.Errorf("what is no secret is missing in %s", text)
	}
}

func TestAddCredential(t *testing.T) {
	needsHandshake(t)
	kept(t)
	c := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
	both, err := c.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechSPNEGO}})
	if errors.Is(err, ErrUnavailable) {
		c.Close()
		lacks(t, gss.KindHeimdal, "its gss_add_cred crashes and is not called")
	}
	if laterHeimdal() {
		wantErr(t, "SPNEGO, which there is", err, ErrDuplicateElement)
		c.Close()
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := both.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(info.Mechs, MechKrb5) || !slices.Contains(info.Mechs, MechSPNEGO) {
		t.Errorf("it has %v", info.Mechs)
	}
	if info, err = c.Info(t.Context()); err != nil || slices.Contains(info.Mechs, MechSPNEGO) {
		t.Errorf("the first one has %v now, %v", info.Mechs, err)
	}
	c.Close()
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Credential: both, Mech: mech}, nil)
		exchange(t, i, a)
	})
	_, err = both.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}})
	wantErr(t, "an element that is there", err, ErrDuplicateElement)
	for _, o := range []*CredentialOptions{nil, {}, {Mechs: []OID{MechKrb5, MechSPNEGO}}, {Mechs: []OID{MechKrb5}, CCache: "FILE:/x"}, {Mechs: []OID{MechKrb5}, Store: map[string]string{}}} {
		_, err := both.Add(t.Context(), o)
		wantErr(t, fmt.Sprintf("Add(%v)", o), err, ErrFailure)
	}
	_, err = (*Credential)(nil).Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}})
	wantErr(t, "Add to nil", err, ErrFailure)
}

// A closed credential is an error, never the default one.
func TestClosedCredential(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, u := range []Usage{Initiate, Accept} {
			c := acquire(t, &CredentialOptions{Usage: u})
			for range 2 {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			for what, err := range map[string]error{
				"Info":     second(c.Info(t.Context())),
				"MechInfo": second(c.MechInfo(t.Context(), mech)),
				"Add":      second(c.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}})),
				"Detach":   second(c.Detach()),
				"initiate": second(NewInitiator(target(t), &InitiatorOptions{Mech: mech, Credential: c}).Step(t.Context(), nil)),
				"accept":   second(NewAcceptor(&AcceptorOptions{Credential: c}).Step(t.Context(), step(t, NewInitiator(target(t), &InitiatorOptions{Mech: mech}), nil))),
			} {
				wantErr(t, what, err, ErrNoCred)
			}
		}
		// A context that is under way with a credential that is closed.
		c := acquire(t, nil)
		i, a := contexts(t, &InitiatorOptions{Mech: mech, Credential: c}, nil)
		first := step(t, i, nil)
		c.Close()
		wantErr(t, "the second leg", handshake(i, a, step(t, a, first)), ErrNoCred)
	})
	var none *Credential
	if err := none.Close(); err != nil {
		t.Error(err)
	}
	wantErr(t, "Info of nil", second(none.Info(t.Context())), ErrNoCred)
	wantErr(t, "Detach of nil", second(none.Detach()), ErrNoCred)
}

func second[T any](_ T, err error) error { return err }

func TestDetachCredential(t *testing.T) {
	needsHandshake(t)
	kept(t)
	c := acquire(t, nil)
	h, err := c.Detach()
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Info", second(c.Info(t.Context())), ErrNoCred)
	if c, err = AdoptCredential(h); err != nil {
		t.Fatal(err)
	}
	i, a := pair(t, &InitiatorOptions{Credential: c}, nil)
	exchange(t, i, a)
	_, err = AdoptCredential(nil)
	wantErr(t, "of nil", err, ErrNoCred)
}

func TestAcquireCancelled(t *testing.T) {
	kept(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := Acquire(ctx, nil)
	wantErr(t, "Acquire", err, context.Canceled, ErrFailure)
	if c != nil {
		t.Error("there is a credential")
	}
	needsHandshake(t)
	cred := acquire(t, nil)
	wantErr(t, "Info", second(cred.Info(ctx)), context.Canceled)
	wantErr(t, "MechInfo", second(cred.MechInfo(ctx, MechKrb5)), context.Canceled)
	wantErr(t, "Add", second(cred.Add(ctx, &CredentialOptions{Mechs: []OID{MechSPNEGO}})), context.Canceled)
	cred.Close()
}

// TestExportExpired has waited until alice's tickets have expired.
func testExpiredCredential(t *testing.T) {
	c, err := Acquire(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}})
	if err != nil {
		t.Logf("Acquire: %v", err)
		if !errors.Is(err, ErrCredentialsExpired) && !errors.Is(err, ErrNoCred) && !errors.Is(err, ErrFailure) {
			t.Errorf("Acquire: %v", err)
		}
		return
	}
	info, err := c.Info(t.Context())
	if err != nil {
		wantErr(t, "Info", err, ErrCredentialsExpired)
	} else if info.Expiry.IsZero() || info.Expiry.After(time.Now()) {
		t.Errorf("it expires at %v", info.Expiry)
	}
	i := NewInitiator(target(t), &InitiatorOptions{Credential: c})
	if _, err := i.Step(t.Context(), nil); err == nil {
		t.Error("a context with it")
	} else {
		t.Log(err)
	}
}

func TestUnknownMech(t *testing.T) {
	needsHandshake(t)
	const unknown OID = "\x2a\x03\x04"
	_, err := Acquire(t.Context(), &CredentialOptions{Mechs: []OID{unknown}})
	if err == nil {
		t.Error("a credential of an unknown mechanism")
	}
	_, err = NewInitiator(target(t), &InitiatorOptions{Mech: unknown}).Step(t.Context(), nil)
	wantErr(t, "Step", err, ErrBadMech)
	wantErr(t, "MechInfo", second(acquire(t, nil).MechInfo(t.Context(), "")), ErrBadMech)
}

// The realm's files are what the tests use, not this machine's.
func TestEnvironment(t *testing.T) {
	for _, k := range []string{"KRB5_CONFIG", "KRB5CCNAME", "KRB5_KTNAME", "HOME"} {
		if v := strings.TrimPrefix(os.Getenv(k), "FILE:"); !filepath.IsAbs(v) || !strings.HasPrefix(v, realm.Dir()) {
			t.Errorf("%s=%s", k, v)
		}
	}
}
