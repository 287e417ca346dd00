package gssapi

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// kinitAs makes tickets for a principal in a cache of its own.
func kinitAs(t *testing.T, principal string) (ccache string) {
	t.Helper()
	file, err := realm.Kinit(principal, &gsstest.KinitOptions{Forwardable: true})
	if err != nil {
		t.Fatal(err)
	}
	return "FILE:" + file
}

// neverDefault begins a handshake with a credential that does not fit: the
// default credential must not take its place.
func neverDefault(t *testing.T, what string, c *Credential, mech OID) {
	t.Helper()
	out, err := NewInitiator(target(t), &InitiatorOptions{Credential: c, Mech: mech}).Step(t.Context(), nil)
	wantErr(t, what, err, ErrNoCred)
	if len(out) > 0 {
		t.Errorf("%s: a token of %d bytes", what, len(out))
	}
}

// MIT's mechanism glue gives the process' default credential to a mechanism that
// the given credential has no element for.
func TestCredentialWithoutElement(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindMIT {
		t.Skipf("%s has no credential stores to make credentials of two users with", kind())
	}
	bob := kinitAs(t, "bob")
	store := map[string]string{"ccache": bob}
	neverDefault(t, "a credential of Kerberos for SPNEGO", acquire(t, &CredentialOptions{Store: store, Mechs: []OID{MechKrb5}}), MechSPNEGO)
	neverDefault(t, "a credential of SPNEGO for Kerberos", acquire(t, &CredentialOptions{Store: store, Mechs: []OID{MechSPNEGO}}), MechKrb5)
	// With both it is bob, and not alice, whose tickets are the default.
	both := acquire(t, &CredentialOptions{Store: store, Mechs: []OID{MechKrb5, MechSPNEGO}})
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		_, a := pair(t, &InitiatorOptions{Credential: both, Mech: mech}, nil)
		info, err := a.Info()
		if err != nil || info.Peer().String() != realm.Principal("bob") {
			t.Errorf("%v: the peer is %v, %v", mech, info.Peer(), err)
		}
	}
}

// A credential that came by delegation is its owner's with every mechanism, or
// of no use.
func TestDelegatedIsNeverDefault(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		_, a := pair(t, &InitiatorOptions{Flags: FlagDeleg, Mech: mech}, nil)
		d := a.Delegated()
		a.Close()
		if a.Delegated() != d || d == nil {
			t.Fatal("the delegated credential went away with its context")
		}
		was := os.Getenv("KRB5CCNAME")
		defer os.Setenv("KRB5CCNAME", was)
		os.Setenv("KRB5CCNAME", kinitAs(t, "bob"))
		for _, onward := range []OID{MechKrb5, MechSPNEGO} {
			i, a := contexts(t, &InitiatorOptions{Credential: d, Mech: onward}, nil)
			err := handshake(i, a, nil)
			if err != nil {
				wantErr(t, fmt.Sprint("onward with ", onward), err, ErrNoCred)
				continue
			}
			info, err := a.Info()
			if err != nil || info.Peer().String() != realm.Principal("alice") {
				t.Errorf("onward with %v the peer is %v, %v", onward, info.Peer(), err)
			}
		}
	})
}

// A password's credential is its owner's with SPNEGO too, though other tickets
// are the default.
func TestPasswordIsNeverDefault(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		carol := importName(t, "carol", NTUserName)
		i, a := contexts(t, &InitiatorOptions{Credential: acquire(t, &CredentialOptions{Name: carol, Password: carolsPassword}), Mech: mech}, nil)
		err := handshake(i, a, nil)
		if kind() == gss.KindHeimdal && mech == MechSPNEGO && !laterHeimdal() {
			wantErr(t, "a password for SPNEGO", err, ErrNoCred) // it has passwords for Kerberos alone
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := a.Info()
		if err != nil || info.Peer().String() != realm.Principal("carol") {
			t.Errorf("the peer is %v, %v", info.Peer(), err)
		}
	})
}

func TestAcceptorCredentialDoesNotInitiate(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		if !inChild(t, nil) { // Heimdal 7.8 and MIT's IAKERB crash
			return
		}
		neverDefault(t, "any service", acquire(t, &CredentialOptions{Usage: Accept}), mech)
		named := acquire(t, &CredentialOptions{Usage: Accept, Name: target(t), Mechs: []OID{mech}})
		neverDefault(t, "a service", named, mech)
		if kind() == gss.KindMIT {
			iakerb := acquire(t, &CredentialOptions{Usage: Accept, Mechs: []OID{MechIAKERB}})
			neverDefault(t, "IAKERB", iakerb, MechIAKERB)
		}
	})
}

// The zero Credential and Name are none, and not the default ones.
func TestZeroValues(t *testing.T) {
	if _, err := gss.Library(); err != nil {
		t.Fatal(err)
	}
	o := &InitiatorOptions{Credential: new(Credential)}
	if kind() == gss.KindGNU {
		lacks(t, gss.KindGNU, "it takes no credential to initiate with, zero or not")
	}
	_, err := NewInitiator(target(t), o).Step(t.Context(), nil)
	wantErr(t, "the zero Credential initiates", err, ErrNoCred)
	_, err = NewAcceptor(&AcceptorOptions{Credential: new(Credential)}).Step(t.Context(), frame(MechKrb5, "x"))
	wantErr(t, "the zero Credential accepts", err, ErrNoCred)
	_, err = new(Credential).Info(t.Context())
	wantErr(t, "the zero Credential's Info", err, ErrNoCred)
	_, err = Acquire(t.Context(), &CredentialOptions{Name: new(Name)})
	wantErr(t, "a credential of the zero Name", err, ErrBadName)
	_, err = NewInitiator(new(Name), nil).Step(t.Context(), nil)
	wantErr(t, "the zero Name as target", err, ErrBadName)
	if n := new(Name); n.Equal(n) || !strings.HasPrefix(n.String(), "(") || n.Close() != nil {
		t.Errorf("the zero Name: %v", n)
	}
	if err := new(Credential).Close(); err != nil {
		t.Error(err)
	}
	if _, err := new(Credential).Detach(); err == nil {
		t.Error("the zero Credential was detached")
	}
	c := new(Context)
	_, err = c.Step(t.Context(), nil)
	if err == nil || c.Established() {
		t.Errorf("the zero Context: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// What a store does not say, or misspells, is not the default credential.
func TestStoreSaysWhere(t *testing.T) {
	for _, c := range []struct {
		store map[string]string
		usage Usage
		want  string
	}{
		{map[string]string{}, Initiate, "ccache"},
		{map[string]string{"cache": "FILE:/x"}, Initiate, `"cache"`},
		{map[string]string{"CCACHE": "FILE:/x"}, Initiate, `"CCACHE"`},
		{map[string]string{"ccache ": "FILE:/x"}, Initiate, `"ccache "`},
		{map[string]string{"keytab": "/x"}, Initiate, "ccache"},
		{map[string]string{"ccache": "FILE:/x"}, Accept, "keytab"},
		{map[string]string{"kt": "/x"}, Accept, `"kt"`},
		{map[string]string{"rcache": "none:"}, Accept, "keytab"},
		{map[string]string{"client_keytab": "/x"}, Initiate, "ccache"},
		{map[string]string{"verify": ""}, Initiate, "ccache or password"},
		{map[string]string{"ccache": "FILE:/x", "verify": ""}, Initiate, "give password"},
		{map[string]string{"ccache": "FILE:/x", "password": "x"}, Initiate, "neither"},
		{map[string]string{"client_keytab": "/x", "password": "x"}, Initiate, "neither"},
		{map[string]string{"password": "x", "keytab": "/x"}, Accept, "to initiate with"},
		{map[string]string{"password": "x"}, Initiate, "Name"},
		{map[string]string{"keytab": "/x"}, Both, "ccache"},
		{map[string]string{"ccache": "FILE:/x"}, Both, "keytab"},
	} {
		_, err := Acquire(t.Context(), &CredentialOptions{Store: c.store, Usage: c.usage})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v to %v: %v, want an error that says %s", c.store, c.usage, err, c.want)
		}
	}
}

// A missing cache of a store is not filled from the environment's keytab, and a
// keytab with a name is that name's.
func TestStoreIsNotTheEnvironment(t *testing.T) {
	needsHandshake(t)
	if !gss.Supports("gss_acquire_cred_from") {
		t.Skipf("%s has no credential stores", kind())
	}
	kt, err := realm.Keytab("bob")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CLIENT_KTNAME", kt)
	missing := map[string]string{"ccache": "FILE:" + t.TempDir() + "/none"}
	if c, err := Acquire(t.Context(), &CredentialOptions{Store: missing}); err == nil {
		info, err := c.Info(t.Context())
		t.Errorf("a missing cache is that of %v, %v", info.Name, err)
	}
	t.Setenv("KRB5_CLIENT_KTNAME", "FILE:/nonexistent")
	if kind() == gss.KindHeimdal {
		// It would take the keytab of the system for one that lacks the name.
		for _, o := range []*CredentialOptions{
			{Store: map[string]string{"client_keytab": kt}, Name: importName(t, "bob", NTUserName)},
			{Store: map[string]string{"keytab": kt, "rcache": "dfl:"}, Usage: Accept},
		} {
			_, err := Acquire(t.Context(), o)
			wantErr(t, fmt.Sprint(o), err, ErrUnavailable)
		}
		t.Setenv("KRB5_KTNAME", kt)
		bob := importName(t, "bob", NTUserName)
		for _, store := range []map[string]string{missing, {"ccache": "FILE:" + ccache}} {
			if c, err := Acquire(t.Context(), &CredentialOptions{Name: bob, Store: store}); err == nil {
				info, err := c.Info(t.Context())
				t.Errorf("bob of the keytab of the system: %v, %v", info.Name, err)
			}
		}
		return
	}
	bob := acquire(t, &CredentialOptions{Name: importName(t, "bob", NTUserName), Store: map[string]string{"client_keytab": kt, "ccache": "MEMORY:bob"}})
	if info, err := bob.Info(t.Context()); err != nil || info.Name.String() != realm.Principal("bob") {
		t.Errorf("a client keytab of bob: %v, %v", info, err)
	}
}

func TestStorePrintsNoPassword(t *testing.T) {
	for _, key := range []string{"password", "Password", "my_password"} {
		o := CredentialOptions{Store: map[string]string{key: "geheim"}}
		j, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s %s", o, &o, o, j, o.LogValue()); strings.Contains(s, "geheim") {
			t.Error(s)
		}
	}
}

// What is given and is wrong does not go into a log whole.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	for what, err := range map[string]error{
		"a Store":            second(Acquire(t.Context(), &CredentialOptions{Store: map[string]string{"ccache": long}})),
		"a key of a Store":   second(Acquire(t.Context(), &CredentialOptions{Store: map[string]string{long: "x"}})),
		"a place to store":   new(Credential).Store(t.Context(), &StoreOptions{Store: map[string]string{long: "x"}}),
		"a ccache to import": second(AcquireKrb5(t.Context(), &Krb5Options{CCache: long})),
		"a service":          second(HostService(long+"/", "server.test")),
	} {
		if err == nil || len(err.Error()) > 6000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: an error of %d bytes: %.100v", what, len(fmt.Sprint(err)), err)
		}
	}
}

// Without a name, an element that is added is of the same identity.
func TestAddKeepsIdentity(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindMIT {
		t.Skipf("%s: gss_add_cred takes no second mechanism", kind())
	}
	c := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
	was := os.Getenv("KRB5CCNAME")
	defer os.Setenv("KRB5CCNAME", was)
	os.Setenv("KRB5CCNAME", kinitAs(t, "bob"))
	added, err := c.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechSPNEGO}})
	if err != nil {
		return // the tickets of another are not taken for alice's
	}
	_, a := pair(t, &InitiatorOptions{Credential: added, Mech: MechSPNEGO}, nil)
	info, err := a.Info()
	if err != nil || info.Peer().String() != realm.Principal("alice") {
		t.Errorf("the peer is %v, %v", info.Peer(), err)
	}
}

// Names of one principal are equal, export to the same bytes, and serve as
// target, whichever mechanism told them.
func TestPeerNamesAreMechanismNames(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		alice, err := importName(t, "alice", NTUserName).Canonicalize(t.Context(), MechKrb5)
		if err != nil {
			t.Fatal(err)
		}
		ai, err := a.Info()
		if err != nil {
			t.Fatal(err)
		}
		want, err := alice.Export()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ai.Peer().Export()
		if err != nil || string(got) != string(want) || !ai.Peer().Equal(alice) {
			t.Errorf("the peer %v exports to %q, %v; %v to %q", ai.Peer(), got, err, alice, want)
		}
		token, err := a.Export()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Import(token, &ImportOptions{Peer: alice}); err != nil {
			t.Errorf("Import with the peer's name: %v", err)
		}
		ii, err := i.Info()
		if err != nil {
			t.Fatal(err)
		}
		for _, onward := range []OID{MechKrb5, MechSPNEGO} {
			if err := handshakeTo(t, ii.Peer(), onward); err != nil {
				t.Errorf("a peer's name as target, %v: %v", onward, err)
			}
		}
	})
}

func handshakeTo(t *testing.T, target *Name, mech OID) error {
	t.Helper()
	return handshake(NewInitiator(target, &InitiatorOptions{Mech: mech}), NewAcceptor(nil), nil)
}

func TestUncanonicalNamesDoNotExport(t *testing.T) {
	_, err := target(t).Export()
	wantErr(t, "Export of a name as imported", err, ErrNameNotMN)
}

func TestCanonicalizeForSPNEGO(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, nil) { // Heimdal 7.8 makes a name that crashes
		return
	}
	n, err := target(t).Canonicalize(t.Context(), MechSPNEGO)
	if kind() == gss.KindHeimdal {
		wantErr(t, "Canonicalize for SPNEGO", err, ErrBadMech)
	} else if err != nil || n.String() == "" {
		t.Errorf("%v, %v", n, err)
	}
}

func TestNamesForLogs(t *testing.T) {
	needsHandshake(t)
	n := importName(t, "al\x1b[31mice\u2028x", NTKrb5PrincipalName)
	if s := n.String(); strings.ContainsAny(s, "\x1b\n\u2028") {
		t.Errorf("%q", s)
	}
}

// What a refused initiator brought is given back at once, a delegated credential
// above all.
func TestRefusedLeavesNothing(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i := NewInitiator(target(t), &InitiatorOptions{Flags: FlagDeleg, Mech: mech})
		token := step(t, i, nil)
		settle(0)
		before := gss.Live()
		a := NewAcceptor(&AcceptorOptions{Require: FlagAnon})
		out, err := a.Step(t.Context(), token)
		wantErr(t, "a flag that was not granted", err, ErrUnauthorized)
		if left := gss.Live() - before; left > 0 || len(out) > 0 || a.Delegated() != nil {
			t.Errorf("%d handles and %d bytes are left, delegated %v", left, len(out), a.Delegated())
		}
	})
}
