package gssapi

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// lacksS4U skips a test on a library without S4U2Self, after it has said so.
func lacksS4U(t *testing.T) {
	t.Helper()
	if gss.Supports("gss_add_cred_impersonate_name") {
		return // Heimdal after 7.8 has only the other one, and no mechanism that does it
	}
	_, err := acquire(t, nil).Impersonate(t.Context(), importName(t, "bob", NTUserName), nil)
	wantErr(t, "Impersonate", err, ErrUnavailable, errors.ErrUnsupported)
	_, err = acquire(t, nil).Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, Name: importName(t, "bob", NTUserName), Impersonator: acquire(t, nil)})
	wantErr(t, "Add", err, ErrUnavailable)
	if !strings.Contains(err.Error(), "gss_add_cred_impersonate_name") {
		t.Errorf("%v does not name the function", err)
	}
	lacks(t, gss.KindHeimdal, "7.8 has no gss_acquire_cred_impersonate_name, and later ones no mechanism that does it")
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

// delegating are the services of the realms of the tests below. All but the last
// may act for users to host/back.test, and to no other.
const (
	front = "host/front.test" // for any user, also without his ticket (ok_to_auth_as_delegate)
	plain = "host/plain.test" // for users who came with a ticket
	none  = "host/none.test"
)

// eachS4U runs a test in a realm whose KDC can be told who may delegate to whom,
// in a process of its own, where tickets of p are in the file named by S4U_p.
// alice may be acted for, bob may not.
func eachS4U(t *testing.T, f func(t *testing.T, k gsstest.KDC)) {
	t.Helper()
	needsHandshake(t)
	for _, k := range []gsstest.KDC{gsstest.MITLDAP, gsstest.Heimdal} {
		t.Run(k.String(), func(t *testing.T) {
			if !inChildNow() {
				inChild(t, delegationRealm(t, k))
				return
			}
			kept(t)
			f(t, k)
		})
	}
}

// ofS4U is a credential of a service or user of eachS4U.
func ofS4U(t *testing.T, p string, u Usage) *Credential {
	t.Helper()
	o := &CredentialOptions{Usage: u, CCache: "FILE:" + os.Getenv("S4U_"+p)}
	if u == Both {
		o.CCache, o.Store = "", map[string]string{"ccache": o.CCache, "keytab": "FILE:" + os.Getenv("S4U_KEYTAB")}
	}
	return acquire(t, o)
}

// impersonate is a credential of a service for a user who sent it no ticket.
func impersonate(t *testing.T, service, user string, mechs ...OID) *Credential {
	t.Helper()
	c, err := ofS4U(t, service, Initiate).Impersonate(t.Context(), importName(t, user, NTUserName), &CredentialOptions{Mechs: mechs})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// speaksTo fails the test unless c makes contexts of user with that host.
func speaksTo(t *testing.T, c *Credential, mech OID, host, user string) {
	t.Helper()
	if who, err := peerOf(t, c, mech, "host", host); err != nil || who != user+"@S4U.TEST" {
		t.Errorf("to %s: %q, %v", host, who, err)
	}
}

// refusedTo fails the test unless the KDC refuses c that host, and the error says
// so, and who wanted what.
func refusedTo(t *testing.T, c *Credential, mech OID, host, service string) {
	t.Helper()
	who, err := peerOf(t, c, mech, "host", host)
	if err == nil {
		t.Errorf("as %s to %s, although the KDC has not allowed it", who, host)
		return
	}
	wantErr(t, host, err, ErrFailure)
	for _, text := range []string{"KDC can't fulfill requested option", service + "@S4U.TEST for a user", "host@" + host} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not tell %q", err, text)
		}
	}
}

// S4U2Self, and S4U2Proxy with what it brought: protocol transition.
func TestConstrainedDelegation(t *testing.T) {
	needsHandshake(t)
	lacksS4U(t)
	eachS4U(t, func(t *testing.T, _ gsstest.KDC) {
		eachMech(t, func(t *testing.T, mech OID) {
			c := impersonate(t, front, "alice")
			speaksTo(t, c, mech, "back.test", "alice")
			refusedTo(t, c, mech, "other.test", front)
			speaksTo(t, c, mech, "back.test", "alice") // as before
			speaksTo(t, c, mech, "front.test", "alice")

			for _, tt := range []struct{ service, user string }{
				{front, "bob"},   // who may not be acted for
				{plain, "alice"}, // who sent it no ticket
				{none, "alice"},
			} {
				c := impersonate(t, tt.service, tt.user)
				speaksTo(t, c, mech, strings.TrimPrefix(tt.service, "host/"), tt.user)
				refusedTo(t, c, mech, "back.test", tt.service)
			}
			_, err := peerOf(t, c, mech, "host", "nosuch.test")
			if err == nil || !strings.Contains(err.Error(), "not found in Kerberos database") || !strings.Contains(err.Error(), "host@nosuch.test") {
				t.Errorf("to a service that does not exist: %v", err)
			}
		})
		t.Run("exported", func(t *testing.T) {
			token, err := impersonate(t, front, "alice", MechKrb5).Export(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c, err := ImportCredential(token)
			if err != nil {
				t.Fatal(err)
			}
			speaksTo(t, c, MechKrb5, "back.test", "alice")
			refusedTo(t, c, MechKrb5, "other.test", front)
		})
		t.Run("added", func(t *testing.T) {
			_, err := ofS4U(t, none, Initiate).Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, Name: importName(t, "alice", NTUserName), Impersonator: ofS4U(t, front, Initiate)})
			wantErr(t, "an element that is there", err, ErrDuplicateElement)
			own := acquire(t, &CredentialOptions{Mechs: []OID{MechSPNEGO}, CCache: "FILE:" + os.Getenv("S4U_"+none)})
			c, err := own.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, Name: importName(t, "alice", NTUserName), Impersonator: ofS4U(t, front, Initiate)})
			if err != nil {
				t.Fatal(err)
			}
			speaksTo(t, c, MechKrb5, "back.test", "alice")
			speaksTo(t, c, MechSPNEGO, "back.test", none)
			refusedTo(t, c, MechKrb5, "other.test", front)
		})
	})
}

// S4U2Proxy with the ticket that a client brought: it is what Delegated returns,
// where the client delegated nothing.
func TestDelegatedByProxy(t *testing.T) {
	needsHandshake(t)
	lacksS4U(t)
	eachS4U(t, func(t *testing.T, k gsstest.KDC) {
		// accepted is what a service has for a client that came with these tickets.
		accepted := func(t *testing.T, service, client string, mech OID, u Usage, flags Flags) *Credential {
			t.Helper()
			to, err := HostService("host", strings.TrimPrefix(service, "host/"))
			if err != nil {
				t.Fatal(err)
			}
			i := NewInitiator(to, &InitiatorOptions{Mech: mech, Credential: ofS4U(t, client, Initiate), Flags: flags})
			own := &AcceptorOptions{}
			if u == Both {
				own.Credential = ofS4U(t, service, Both)
			}
			a := NewAcceptor(own)
			if err := handshake(i, a, nil); err != nil {
				t.Fatal(err)
			}
			exchange(t, i, a)
			return a.Delegated()
		}
		eachMech(t, func(t *testing.T, mech OID) {
			for _, service := range []string{front, plain} {
				d := accepted(t, service, "alice", mech, Both, 0)
				if d == nil {
					t.Fatal("there is no credential for the client")
				}
				info, err := d.Info(t.Context())
				if err != nil || info.Name.String() != "alice@S4U.TEST" || info.Usage != Initiate || info.Expiry.IsZero() {
					t.Errorf("%+v, %v", info, err)
				}
				if who, err := d.InquireByOID(t.Context(), gss.CredImpersonator); err != nil || len(who) != 1 || string(who[0]) != service+"@S4U.TEST" {
					t.Errorf("acted for by %q, %v", who, err)
				}
				refusedTo(t, d, MechKrb5, "other.test", service)
				if k == gsstest.Heimdal {
					// 7.8 does not take the client's ticket as evidence: it finds its own
					// SignedPath in there wrong.
					refusedTo(t, d, MechKrb5, "back.test", service)
					continue
				}
				speaksTo(t, d, MechKrb5, "back.test", "alice")
				both, err := d.ForSPNEGO(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				speaksTo(t, both, MechSPNEGO, "back.test", "alice")
				refusedTo(t, both, MechSPNEGO, "other.test", service)
			}
			// A service that may not; a client who may not be acted for; one whose
			// tickets are not forwardable.
			for _, tt := range []struct{ service, client string }{{none, "alice"}, {front, "bob"}, {front, "alice, not forwardable"}} {
				d := accepted(t, tt.service, tt.client, mech, Both, 0)
				if d == nil {
					t.Fatalf("%v: there is no credential for the client", tt)
				}
				refusedTo(t, d, MechKrb5, "back.test", tt.service)
			}
			if accepted(t, front, "alice", mech, Accept, 0) != nil {
				t.Error("a credential to accept with alone acts for the client")
			}
			// What the client delegates is his own, and goes anywhere.
			d := accepted(t, none, "alice", mech, Both, FlagDeleg)
			if d == nil {
				t.Fatal("nothing was delegated")
			}
			if who, err := d.InquireByOID(t.Context(), gss.CredImpersonator); err != nil || len(who) != 0 {
				t.Errorf("what was delegated is acted for by %q, %v", who, err)
			}
			speaksTo(t, d, MechKrb5, "other.test", "alice")
		})
	})
}

// A library without S4U uses the tickets that a tool got by it, and accepts them.
func TestProxyTickets(t *testing.T) {
	eachS4U(t, func(t *testing.T, k gsstest.KDC) {
		eachMech(t, func(t *testing.T, mech OID) {
			c := acquire(t, &CredentialOptions{CCache: "FILE:" + os.Getenv("S4U_proxy")})
			speaksTo(t, c, mech, "back.test", "alice")
			if who, err := peerOf(t, c, mech, "host", "other.test"); err == nil {
				t.Errorf("as %s to another service", who)
			}
		})
	})
}

// delegationRealm starts a realm of that KDC, and returns the environment of a
// process in it.
func delegationRealm(t *testing.T, k gsstest.KDC) []string {
	t.Helper()
	const back = "host/back.test"
	services := []string{front, plain, none, back, "host/other.test"}
	r := gsstest.New(t, &gsstest.Options{KDC: k, Realm: "S4U.TEST", Principals: append([]string{"alice", "bob"}, services...)})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.AllowDelegation(front, back))
	must(r.AllowDelegation(plain, back))
	limits := []string{"modprinc -ok_to_auth_as_delegate " + plain, "modprinc -allow_forwardable bob"}
	if k == gsstest.Heimdal {
		limits = []string{"modify --attributes=-trusted-for-delegation " + plain, "modify --attributes=+disallow-forwardable bob"}
	}
	_, err := r.Kadmin(limits...)
	must(err)
	keytab, err := r.Keytab(services...)
	must(err)
	env := append(r.EnvFor("", keytab), "S4U_KEYTAB="+keytab)
	login := func(as, p string, forwardable bool) string {
		file, err := r.Kinit(p, &gsstest.KinitOptions{Forwardable: forwardable})
		must(err)
		env = append(env, "S4U_"+as+"="+file)
		return file
	}
	for _, p := range []string{"alice", plain, none} {
		login(p, p, true)
	}
	login("bob", "bob", false)
	login("alice, not forwardable", "alice", false)
	proxy := filepath.Join(r.Dir(), "proxy")
	kvno := exec.Command("kvno", "-U", "alice", "-P", "--out-cache", proxy, back)
	kvno.Env = append(os.Environ(), r.EnvFor(login(front, front, true), keytab)...)
	if out, err := kvno.CombinedOutput(); err != nil {
		t.Fatalf("kvno: %v\n%s", err, out)
	}
	return append(env, "S4U_proxy="+proxy)
}
