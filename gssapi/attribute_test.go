package gssapi

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// onlyMIT skips a test of what the mechanisms of MIT alone can do, or as it does it.
func onlyMIT(t *testing.T) {
	t.Helper()
	const why = "its mechanisms have no attributes of names; TestNoAttributes has what they answer"
	lacks(t, gss.KindHeimdal, why)
	lacks(t, gss.KindGNU, why)
}

// peer is the initiator of a new context, as its acceptor is told.
func peer(t *testing.T, mech OID) *Name {
	t.Helper()
	_, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
	return attributePeer(t, a)
}

func attributePeer(t *testing.T, c *Context) *Name {
	t.Helper()
	info, err := c.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info.Peer()
}

// The names of peers have the attributes of their tickets, after SPNEGO and in
// contexts that were moved too.
func TestPeerAttributes(t *testing.T) {
	onlyMIT(t)
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		_, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		here := attributePeer(t, a)
		moved := attributePeer(t, transfer(t, a))
		for what, n := range map[string]*Name{"here": here, "moved": moved} {
			attrs, err := n.Attributes()
			if err != nil {
				t.Fatal(err)
			}
			if !attrs.MechName || attrs.Mech != MechKrb5 || !slices.Contains(attrs.Names, "urn:mspac:client-info") {
				t.Fatalf("%s: %+v", what, attrs)
			}
			for _, name := range attrs.Names {
				values, err := n.Attribute(name)
				if err != nil || len(values) != 1 || !values[0].Authenticated || !values[0].Complete || len(values[0].Value) == 0 {
					t.Errorf("%s, %s: %v, %v", what, name, values, err)
				}
			}
			values, err := n.Attribute("urn:mspac:client-info")
			if err != nil || !strings.HasSuffix(string(values[0].Value), "\x0a\x00a\x00l\x00i\x00c\x00e\x00") {
				t.Errorf("%s: the client is %v, %v", what, values, err)
			}
			_, err = n.Attribute("urn:mspac:logon-info") // MIT's KDC has none
			wantErr(t, what, err, ErrUnavailable)
			if n.String() != realm.Principal("alice") {
				t.Errorf("%s it is %v", what, n)
			}
		}
	})
}

func TestExportComposite(t *testing.T) {
	onlyMIT(t)
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		n := peer(t, mech)
		b, err := n.ExportComposite()
		if err != nil {
			t.Fatal(err)
		}
		back := importName(t, string(b), NTCompositeExport)
		if !back.Equal(n) || back.String() != n.String() {
			t.Errorf("it comes back as %v", back)
		}
		one, err := n.Attribute("urn:mspac:")
		if err != nil {
			t.Fatal(err)
		}
		two, err := back.Attribute("urn:mspac:")
		if err != nil || len(two) != 1 || string(two[0].Value) != string(one[0].Value) {
			t.Errorf("it comes back with %v, %v", two, err)
		}
		plain, err := back.Export()
		if err != nil {
			t.Fatal(err)
		}
		if without := importName(t, string(plain), NTExportName); !without.Equal(n) {
			t.Errorf("without attributes it is %v", without)
		} else if attrs, err := without.Attributes(); err != nil || attrs.Names != nil {
			t.Errorf("Export had attributes: %+v, %v", attrs, err)
		}
		_, err = ImportName(string(b), NTExportName)
		wantErr(t, "as a name without attributes", err, ErrBadName)
		for i := range b {
			if _, err := ImportName(string(b[:i]), NTCompositeExport); err == nil {
				t.Errorf("taken, cut from %d bytes to %d", len(b), i)
			}
		}
	})
}

func TestWithAttribute(t *testing.T) {
	onlyMIT(t)
	kept(t)
	n := peer(t, MechKrb5)
	changed, err := n.WithAttribute("urn:mspac:77", []byte("value"), true)
	if err != nil {
		t.Fatal(err)
	}
	attrs, err := changed.Attributes()
	if err != nil || !slices.Contains(attrs.Names, "urn:mspac:77") {
		t.Errorf("it has %+v, %v", attrs, err)
	}
	// Now the PAC is not what the KDC signed.
	for _, name := range []string{"urn:mspac:77", "urn:mspac:client-info"} {
		_, err := changed.Attribute(name)
		wantErr(t, name, err, ErrUnavailable)
	}
	if !changed.Equal(n) {
		t.Errorf("it is %v", changed)
	}
	attrs, err = n.Attributes()
	if err != nil || slices.Contains(attrs.Names, "urn:mspac:77") {
		t.Errorf("the name itself has %+v, %v", attrs, err)
	}
	if _, err := n.Attribute("urn:mspac:client-info"); err != nil {
		t.Errorf("the name itself: %v", err)
	}
	_, err = n.WithAttribute("auth-indicators", []byte("value"), true)
	wantErr(t, "what the KDC alone can say", err, ErrUnavailable)
	_, err = n.WithoutAttribute("urn:mspac:")
	wantErr(t, "what cannot be taken off", err, ErrUnavailable)
}

// A KDC that is told to marks how a user logged in, with several words. The realm
// is another one: its tickets are got by password, with SPAKE.
func TestAuthIndicators(t *testing.T) {
	onlyMIT(t)
	if os.Getenv(childEnv) == "" {
		r := gsstest.New(t, &gsstest.Options{
			Principals: []string{service},
			ExtraKDCConf: "[libdefaults]\n spake_preauth_groups = edwards25519\n[realms]\n TEST.GSS = {\n" +
				"  default_principal_flags = +preauth\n  spake_preauth_indicator = one\n  spake_preauth_indicator = two\n  spake_preauth_indicator = three\n }\n",
			Passwords: map[string]string{"carol": carolsPassword},
		})
		cc, err := r.Kinit("carol", &gsstest.KinitOptions{Password: carolsPassword})
		if err != nil {
			t.Fatal(err)
		}
		kt, err := r.Keytab(service)
		if err != nil {
			t.Fatal(err)
		}
		inChild(t, r.EnvFor(cc, kt))
		return
	}
	eachMech(t, func(t *testing.T, mech OID) {
		n := peer(t, mech)
		attrs, err := n.Attributes()
		if err != nil || !slices.Contains(attrs.Names, "auth-indicators") {
			t.Fatalf("%v has %+v, %v", n, attrs, err)
		}
		values, err := n.Attribute("auth-indicators")
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, v := range values {
			words = append(words, string(v.Value))
			if !v.Authenticated || !v.Complete {
				t.Errorf("%q: %+v", v.Value, v)
			}
		}
		slices.Sort(words)
		if !slices.Equal(words, []string{"one", "three", "two"}) {
			t.Errorf("the indicators are %q", words)
		}
		b, err := n.ExportComposite()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := importName(t, string(b), NTCompositeExport).Attribute("auth-indicators"); err != nil || len(back) != 3 {
			t.Errorf("after export and import they are %v, %v", back, err)
		}
	})
}

// What a library goes on to tell without end ends.
func TestManyValues(t *testing.T) {
	for n, ok := range map[int]bool{1: true, 3: true, maxValues: true, maxValues + 1: false, 1 << 30: false} {
		i := int32(0)
		got, err := values("many", func(more int32) (*gss.Attribute, error) {
			if i == 0 && more != -1 || i != 0 && more != i {
				t.Fatalf("value %d is asked for with %d", i, more)
			}
			i++
			a := &gss.Attribute{More: i}
			if int(i) == n {
				a.More = 0
			}
			return a, nil
		})
		if ok && (err != nil || len(got) != n) {
			t.Errorf("%d of %d values, %v", len(got), n, err)
		}
		if !ok {
			wantErr(t, fmt.Sprintf("%d values", n), err, ErrFailure)
		}
	}
	broken := refuse("x", ErrFailure, "broken")
	got, err := values("broken", func(more int32) (*gss.Attribute, error) {
		if more != -1 {
			return nil, broken
		}
		return &gss.Attribute{More: 1}, nil
	})
	if err != broken || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// Names without attributes, on every library.
func TestNoAttributes(t *testing.T) {
	kept(t)
	names := map[string]*Name{"imported": target(t)}
	if kind() == gss.KindHeimdal {
		names["peer"] = peer(t, MechKrb5)
		names["SPNEGO peer"] = peer(t, MechSPNEGO)
	}
	if laterHeimdal() {
		// There each name has some, and peers have what their tickets have.
		for what, n := range names {
			attrs, err := n.Attributes()
			if err != nil || !attrs.MechName || !slices.Contains(attrs.Names, "urn:ietf:kerberos:nameattr-realm") {
				t.Errorf("%s: %+v, %v", what, attrs, err)
			}
			v, err := n.Attribute("urn:mspac:")
			if what == "imported" {
				wantErr(t, what, err, ErrUnavailable)
			} else if err != nil || len(v) != 1 || !v[0].Authenticated || len(v[0].Value) == 0 {
				t.Errorf("the PAC of %s: %+v, %v", what, v, err)
			}
		}
		clear(names)
	}
	for what, n := range names {
		attrs, err := n.Attributes()
		if kind() == gss.KindMIT {
			if err != nil || attrs.MechName || attrs.Mech != "" || attrs.Names != nil {
				t.Errorf("%s: %+v, %v", what, attrs, err)
			}
		} else {
			wantErr(t, what, err, ErrUnavailable)
		}
		_, err = n.Attribute("urn:mspac:")
		wantErr(t, what, err, ErrUnavailable)
		_, err = n.WithAttribute("urn:mspac:77", []byte("value"), true)
		wantErr(t, what, err, ErrUnavailable)
		_, err = n.WithoutAttribute("urn:mspac:")
		wantErr(t, what, err, ErrUnavailable)
		_, err = n.ExportComposite()
		wantErr(t, what, err, ErrUnavailable)
	}
	for what, n := range map[string]*Name{"nil": nil, "zero": {}} {
		_, err := n.Attributes()
		wantErr(t, what, err, ErrBadName)
		_, err = n.Attribute("a")
		wantErr(t, what, err, ErrBadName)
		_, err = n.WithAttribute("a", nil, true)
		wantErr(t, what, err, ErrBadName)
		_, err = n.WithoutAttribute("a")
		wantErr(t, what, err, ErrBadName)
		_, err = n.ExportComposite()
		wantErr(t, what, err, ErrBadName)
		_, err = n.DisplayAs(NTUserName)
		wantErr(t, what, err, ErrBadName)
	}
}

func TestDisplayAs(t *testing.T) {
	kept(t)
	n := importName(t, "host@server\x1b[0m.test", NTHostBasedService)
	s, err := n.DisplayAs(NTHostBasedService)
	if kind() == gss.KindMIT {
		if err != nil || s != "host@server\uFFFD[0m.test" {
			t.Errorf("as a service: %q, %v", s, err)
		}
	} else if !laterHeimdal() || err != nil {
		wantErr(t, "as a service", err, ErrUnavailable)
	}
	_, err = n.DisplayAs(NTKrb5PrincipalName)
	wantErr(t, "as a principal", err, ErrUnavailable)
	_, err = n.DisplayAs("")
	wantErr(t, "as nothing", err, ErrBadNameType)
	if kind() == gss.KindMIT {
		if s, err := peer(t, MechKrb5).DisplayAs(NTKrb5PrincipalName); err != nil || s != realm.Principal("alice") {
			t.Errorf("the peer as a principal: %q, %v", s, err)
		}
	}
}
