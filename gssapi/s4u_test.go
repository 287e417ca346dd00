package gssapi

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// lacksS4U skips a test on a library without S4U2Self, after it has said so.
func lacksS4U(t *testing.T) {
	t.Helper()
	if gss.Supports("gss_acquire_cred_impersonate_name") {
		return
	}
	_, err := acquire(t, nil).Impersonate(t.Context(), importName(t, "bob", NTUserName), nil)
	wantErr(t, "Impersonate", err, ErrUnavailable, errors.ErrUnsupported)
	_, err = acquire(t, nil).Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, Name: importName(t, "bob", NTUserName), Impersonator: acquire(t, nil)})
	wantErr(t, "Add", err, ErrUnavailable)
	if !strings.Contains(err.Error(), "gss_add_cred_impersonate_name") {
		t.Errorf("%v does not name the function", err)
	}
	lacks(t, gss.KindHeimdal, "7.8 has no gss_acquire_cred_impersonate_name")
}

// peerOf is who a context with a service is of, that c initiates; empty if there
// is none.
func peerOf(t *testing.T, c *Credential, mech OID, service, host string) (string, error) {
	t.Helper()
	to, err := HostService(service, host)
	if err != nil {
		t.Fatal(err)
	}
	i, a := NewInitiator(to, &InitiatorOptions{Credential: c, Mech: mech}), NewAcceptor(nil)
	if err := handshake(i, a, nil); err != nil {
		return "", err
	}
	exchange(t, i, a)
	info, err := a.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Peer().String(), nil
}

// With the database of an MIT KDC: a service gets tickets to itself in the names of
// users, and none to others.
func TestImpersonate(t *testing.T) {
	needsHandshake(t)
	lacksS4U(t)
	kept(t)
	ccache, err := realm.Kinit(service, &gsstest.KinitOptions{Forwardable: true})
	if err != nil {
		t.Fatal(err)
	}
	front := acquire(t, &CredentialOptions{CCache: "FILE:" + ccache})
	bob := importName(t, "bob", NTUserName)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, o := range []*CredentialOptions{nil, {Mechs: []OID{mech}}} {
			c, err := front.Impersonate(t.Context(), bob, o)
			if err != nil {
				t.Fatal(err)
			}
			info, err := c.Info(t.Context())
			if err != nil || info.Name.String() != realm.Principal("bob") || info.Usage != Initiate || info.Expiry.IsZero() || !slices.Contains(info.Mechs, mech) {
				t.Errorf("%+v, %v", info, err)
			}
			if who, err := c.InquireByOID(t.Context(), gss.CredImpersonator); err != nil || len(who) == 0 || string(who[0]) != realm.Principal(service) {
				t.Errorf("impersonated by %q, %v", who, err)
			}
			if who, err := peerOf(t, c, mech, "host", "server.test"); err != nil || who != realm.Principal("bob") {
				t.Errorf("to itself: %q, %v", who, err)
			}
			if who, err := peerOf(t, c, mech, "HTTP", "other.test"); err == nil {
				t.Errorf("to another service as %s, although the KDC has not allowed it", who)
			}
		}
	})
	if who, err := peerOf(t, front, MechKrb5, "host", "server.test"); err != nil || who != realm.Principal(service) {
		t.Errorf("the service's credential is %q's now, %v", who, err)
	}

	// As one more element.
	own := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
	both, err := own.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechSPNEGO}, Name: bob, Impersonator: front})
	if err != nil {
		t.Fatal(err)
	}
	own.Close()
	for mech, want := range map[OID]string{MechKrb5: "alice", MechSPNEGO: "bob"} {
		if who, err := peerOf(t, both, mech, "host", "server.test"); err != nil || who != realm.Principal(want) {
			t.Errorf("%v: %q, %v, want %s", mech, who, err, want)
		}
	}

	_, err = front.Impersonate(t.Context(), importName(t, "nobody", NTUserName), nil)
	if err == nil || !strings.Contains(err.Error(), "database") {
		t.Errorf("somebody who does not exist: %v", err)
	}
	_, err = front.Impersonate(t.Context(), nil, nil)
	wantErr(t, "nobody", err, ErrBadName)
	_, err = (*Credential)(nil).Impersonate(t.Context(), bob, nil)
	wantErr(t, "with no credential", err, ErrNoCred)
	_, err = acquire(t, &CredentialOptions{Usage: Accept}).Impersonate(t.Context(), bob, nil)
	wantErr(t, "with one to accept with", err, ErrNoCred)
	for _, o := range []*CredentialOptions{{Name: bob}, {Usage: Accept}, {Usage: Both}, {Password: "x"}, {CCache: "x"}, {Store: map[string]string{}}, {Impersonator: front}} {
		_, err := front.Impersonate(t.Context(), bob, o)
		wantErr(t, o.redacted(), err, ErrFailure)
	}
}

// With Heimdal's KDC, which lets host/front.test delegate to host/back.test, and to
// no other.
func TestConstrainedDelegation(t *testing.T) {
	needsHandshake(t)
	lacksS4U(t)
	if !inChildNow() {
		if err := gsstest.Available(gsstest.Heimdal); err != nil {
			t.Skipf("an MIT KDC keeps in LDAP alone who may delegate to whom, and there is no Heimdal KDC: %v", err)
		}
		inChild(t, delegationRealm(t))
		return
	}
	kept(t)
	keys := "FILE:" + os.Getenv("S4U_KEYTAB")
	front := acquire(t, &CredentialOptions{Usage: Both, Store: map[string]string{"ccache": "FILE:" + os.Getenv("S4U_FRONT"), "keytab": keys}})
	plain := acquire(t, &CredentialOptions{CCache: "FILE:" + os.Getenv("S4U_PLAIN")})
	alice := importName(t, "alice", NTUserName)

	check := func(t *testing.T, c *Credential, mech OID) {
		t.Helper()
		if who, err := peerOf(t, c, mech, "host", "back.test"); err != nil || who != "alice@S4U.TEST" {
			t.Errorf("to the service that is allowed: %q, %v", who, err)
		}
		if who, err := peerOf(t, c, mech, "host", "other.test"); err == nil {
			t.Errorf("as %s to a service that is not allowed", who)
		}
	}
	t.Run("S4U2Self and S4U2Proxy", func(t *testing.T) {
		c, err := front.Impersonate(t.Context(), alice, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, mech := range []OID{MechKrb5, MechSPNEGO} {
			check(t, c, mech)
		}
	})
	t.Run("exported", func(t *testing.T) {
		c, err := front.Impersonate(t.Context(), alice, &CredentialOptions{Mechs: []OID{MechKrb5}})
		if err != nil {
			t.Fatal(err)
		}
		token, err := c.Export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c, err = ImportCredential(token); err != nil {
			t.Fatal(err)
		}
		check(t, c, MechKrb5)
	})
	t.Run("no protocol transition", func(t *testing.T) {
		// Of a service that the KDC does not trust the tickets are for itself.
		c, err := plain.Impersonate(t.Context(), alice, nil)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := peerOf(t, c, MechKrb5, "host", "plain.test"); err != nil || who != "alice@S4U.TEST" {
			t.Errorf("to itself: %q, %v", who, err)
		}
		if who, err := peerOf(t, c, MechKrb5, "host", "back.test"); err == nil {
			t.Errorf("as %s to another service, although the KDC trusts it not", who)
		}
	})
	t.Run("S4U2Proxy for a client that logged in", func(t *testing.T) {
		to, err := HostService("host", "front.test")
		if err != nil {
			t.Fatal(err)
		}
		i, a := NewInitiator(to, &InitiatorOptions{Mech: MechKrb5}), NewAcceptor(&AcceptorOptions{Credential: front})
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		d := a.Delegated()
		if d == nil {
			t.Fatal("there is no credential for the client")
		}
		info, err := d.Info(t.Context())
		if err != nil || info.Name.String() != "alice@S4U.TEST" {
			t.Errorf("%+v, %v", info, err)
		}
		if who, err := d.InquireByOID(t.Context(), gss.CredImpersonator); err != nil || len(who) != 1 || string(who[0]) != "host/front.test@S4U.TEST" {
			t.Errorf("acted for by %q, %v", who, err)
		}
		// (Heimdal's KDC 7.8 does not take the client's ticket as evidence: it finds
		// its own SignedPath in there wrong.)
		if who, err := peerOf(t, d, MechKrb5, "host", "other.test"); err == nil {
			t.Errorf("as %s to a service that is not allowed", who)
		}
		i, a = NewInitiator(to, &InitiatorOptions{Mech: MechKrb5}), NewAcceptor(nil)
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		if a.Delegated() != nil {
			t.Error("a credential to accept with alone acts for the client")
		}
	})
}

// delegationRealm is the environment of a process in a realm of Heimdal's KDC,
// whose default initiator is alice.
func delegationRealm(t *testing.T) []string {
	t.Helper()
	const front, plain, back, other = "host/front.test", "host/plain.test", "host/back.test", "host/other.test"
	r := gsstest.New(t, &gsstest.Options{KDC: gsstest.Heimdal, Realm: "S4U.TEST", Principals: []string{"alice", front, plain, back, other}})
	if err := r.AllowDelegation(front, back); err != nil {
		t.Fatal(err)
	}
	keytab, err := r.Keytab(front, plain, back, other)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, p := range []string{"alice", front, plain} {
		if files[p], err = r.Kinit(p, &gsstest.KinitOptions{Forwardable: true}); err != nil {
			t.Fatal(err)
		}
	}
	return append(r.EnvFor(files["alice"], keytab), "S4U_KEYTAB="+keytab, "S4U_FRONT="+files[front], "S4U_PLAIN="+files[plain])
}
