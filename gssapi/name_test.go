package gssapi

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss"
)

func TestImportName(t *testing.T) {
	kept(t)
	for _, c := range []struct {
		s    string
		typ  OID
		want string
	}{
		{"alice", NTUserName, "alice"},
		{"host@server.test", NTHostBasedService, "server.test"},
		{"alice@TEST.GSS", NTKrb5PrincipalName, "alice@TEST.GSS"},
		{"host/server.test@TEST.GSS", NTKrb5PrincipalName, "host/server.test@TEST.GSS"},
		{"alice", "", "alice"},
		{"ål/ice@TEST.GSS", NTKrb5PrincipalName, "ål"},
	} {
		if kind() == gss.KindGNU && (c.typ == "" || c.typ == NTUserName) {
			continue // GNU gss knows host based services and principals
		}
		n, err := ImportName(c.s, c.typ)
		if err != nil {
			t.Errorf("%q of type %v: %v", c.s, c.typ, err)
			continue
		}
		if got := n.String(); !strings.Contains(got, c.want) {
			t.Errorf("%q of type %v is %q", c.s, c.typ, got)
		}
		if got := fmt.Sprintf("%v %s", n, n); !strings.Contains(got, c.want) {
			t.Errorf("it prints as %q", got)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("peer", "name", n)
		if !strings.Contains(log.String(), c.want) {
			t.Errorf("slog: %s", &log)
		}
		if !n.Equal(n) {
			t.Errorf("%v is not equal to itself", n)
		}
	}
}

func TestImportNameRefuses(t *testing.T) {
	kept(t)
	for _, c := range []struct {
		s    string
		typ  OID
		want Major
	}{
		{"", NTUserName, ErrBadName},
		{"", "", ErrBadName},
		{"", NTHostBasedService, ErrBadName},
		{"alice\x00@EVIL", NTUserName, ErrBadName},
		{"alice\x00", NTKrb5PrincipalName, ErrBadName},
		{"\x00", "", ErrBadName},
		{"host@server.test\x00.evil", NTHostBasedService, ErrBadName},
	} {
		n, err := ImportName(c.s, c.typ)
		if err == nil {
			t.Errorf("%q of type %v is %v", c.s, c.typ, n)
			continue
		}
		wantErr(t, fmt.Sprintf("%q of type %v", c.s, c.typ), err, c.want)
	}
	if n, err := ImportName("alice", "\x2a\x03\x04"); err == nil && kind() == gss.KindMIT {
		_, err = n.Canonicalize(t.Context(), MechKrb5)
		wantErr(t, "a type that is none", err, ErrBadNameType)
	} else if err == nil && kind() != gss.KindGNU {
		t.Error("a type that is none")
	}
	for _, s := range []string{"", "junk", "\x04\x01\x00", "\x04\x01\x00\x0b\x06\x09" + string(MechKrb5) + "\x00\x00\x00\xff", "\x04\x01\xff\xff"} {
		n, err := ImportName(s, NTExportName)
		if err == nil && kind() != gss.KindGNU {
			t.Errorf("the exported name %q is %v", s, n)
		}
	}
}

func TestHostService(t *testing.T) {
	n, err := HostService("HTTP", "www.server.test")
	if err != nil {
		t.Fatal(err)
	}
	if got := n.String(); !strings.Contains(got, "HTTP") || !strings.Contains(got, "www.server.test") {
		t.Errorf("it is %v", got)
	}
	for _, c := range [][2]string{
		{"", "host"}, {"HTTP", ""}, {"", ""}, {"HTTP/x", "host"}, {"HTTP@x", "host"}, {"HTTP", "host@REALM"}, {"HTTP", "host/x"},
		{"HTTP", "@"}, {"HTTP\x00", "host"}, {"HTTP", "host\x00evil"}, {"HTTP", "http://host/"}, {"user@HTTP", "host"},
	} {
		_, err := HostService(c[0], c[1])
		wantErr(t, fmt.Sprintf("HostService(%q, %q)", c[0], c[1]), err, ErrBadName)
	}
}

func TestNameEqual(t *testing.T) {
	kept(t)
	lacks(t, gss.KindGNU, "it does not know principals in the realm of a krb5.conf")
	alice := importName(t, "alice@TEST.GSS", NTKrb5PrincipalName)
	for s, equal := range map[string]bool{"alice@TEST.GSS": true, "bob@TEST.GSS": false, "alice@OTHER.GSS": false, "alice/admin@TEST.GSS": false, "Alice@TEST.GSS": false} {
		n := importName(t, s, NTKrb5PrincipalName)
		if alice.Equal(n) != equal || n.Equal(alice) != equal {
			t.Errorf("alice and %s: equal is not %v", s, equal)
		}
	}
	if alice.Equal(nil) || (*Name)(nil).Equal(alice) || (*Name)(nil).Equal(nil) || alice.Equal(&Name{}) {
		t.Error("something is equal to nothing")
	}
	closed := importName(t, "alice@TEST.GSS", NTKrb5PrincipalName)
	closed.Close()
	if alice.Equal(closed) || closed.Equal(closed) {
		t.Error("a closed name is equal to something")
	}
}

// The names that contexts tell are equal to those that were imported, and
// export to the same bytes.
func TestPeerNames(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, _ *Context) {
			if c.initiator {
				c = transfer(t, c)
			}
			info, err := c.Info()
			if err != nil {
				t.Fatal(err)
			}
			for _, side := range []struct {
				told *Name
				name string
			}{{info.Initiator, "alice"}, {info.Acceptor, service}} {
				imported := importName(t, realm.Principal(side.name), NTKrb5PrincipalName)
				canonical, err := imported.Canonicalize(t.Context(), MechKrb5)
				if err != nil {
					t.Fatal(err)
				}
				for what, n := range map[string]*Name{"imported": imported, "canonical": canonical} {
					if !side.told.Equal(n) || !n.Equal(side.told) {
						t.Errorf("%v is not equal to the %s %v", side.told, what, n)
					}
				}
				if bob := importName(t, realm.Principal("bob"), NTKrb5PrincipalName); side.told.Equal(bob) || bob.Equal(side.told) {
					t.Errorf("%v is equal to bob", side.told)
				}
				one, err := side.told.Export()
				if err != nil {
					t.Fatal(err)
				}
				two, err := canonical.Export()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(one, two) {
					t.Errorf("%v exports to %q and %q", side.told, one, two)
				}
				back := importName(t, string(one), NTExportName)
				if !back.Equal(side.told) || back.String() != realm.Principal(side.name) {
					t.Errorf("back from its export: %v, want %v", back, side.told)
				}
			}
		})
	})
}

func TestExportName(t *testing.T) {
	lacks(t, gss.KindGNU, "its names do not know the realm of a krb5.conf")
	n := importName(t, "alice", NTUserName)
	_, err := n.Export()
	if kind() == gss.KindMIT {
		wantErr(t, "Export of a name that is no mechanism's", err, ErrNameNotMN)
	}
	c, err := n.Canonicalize(t.Context(), MechKrb5)
	if err != nil {
		t.Fatal(err)
	}
	if c.String() != realm.Principal("alice") {
		t.Errorf("it is %v", c)
	}
	b, err := c.Export()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("\x04\x01")) || !bytes.Contains(b, []byte(MechKrb5)) || !bytes.HasSuffix(b, []byte(realm.Principal("alice"))) {
		t.Errorf("exported: %q", b)
	}
	if mechs, err := n.Mechs(); err != nil || !slices.Contains(mechs, MechKrb5) {
		t.Errorf("its mechanisms are %v, %v", mechs, err)
	}
}

func TestCanonicalize(t *testing.T) {
	lacks(t, gss.KindGNU, "it crashes or knows no realm")
	n := importName(t, "host@server.test", NTHostBasedService)
	c, err := n.Canonicalize(t.Context(), MechKrb5)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.String(); !strings.HasPrefix(got, service+"@") {
		t.Errorf("it is %v", got)
	}
	_, err = n.Canonicalize(t.Context(), "")
	wantErr(t, "without a mechanism", err, ErrBadMech)
	_, err = n.Canonicalize(t.Context(), "\x2a\x03\x04")
	if err == nil {
		t.Error("with an unknown mechanism")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = n.Canonicalize(ctx, MechKrb5)
	wantErr(t, "with a ctx that ended", err, context.Canceled)
}

func TestNoName(t *testing.T) {
	closed := importName(t, "host@server.test", NTHostBasedService)
	closed.Close()
	closed.Close()
	for what, n := range map[string]*Name{"nil": nil, "closed": closed} {
		_, err := n.Export()
		wantErr(t, what+": Export", err, ErrBadName)
		_, err = n.Canonicalize(t.Context(), MechKrb5)
		wantErr(t, what+": Canonicalize", err, ErrBadName)
		_, err = n.Mechs()
		wantErr(t, what+": Mechs", err, ErrBadName)
		_, err = n.Detach()
		wantErr(t, what+": Detach", err, ErrBadName)
		if got := n.String(); !strings.HasPrefix(got, "(") {
			t.Errorf("%s prints as %q", what, got)
		}
		if n.Type() != "" {
			t.Errorf("%s has type %v", what, n.Type())
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err := AdoptName(nil)
	wantErr(t, "AdoptName(nil)", err, ErrBadName)
}

func TestDetachName(t *testing.T) {
	kept(t)
	n := importName(t, "host@server.test", NTHostBasedService)
	want := n.String()
	h, err := n.Detach()
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Mechs()
	wantErr(t, "Mechs", err, ErrBadName)
	if n, err = AdoptName(h); err != nil {
		t.Fatal(err)
	}
	if n.String() != want {
		t.Errorf("%v, was %v", n, want)
	}
}

// One name serves many handshakes, comparisons and prints at once.
func TestNamesConcurrently(t *testing.T) {
	needsHandshake(t)
	kept(t)
	host := target(t)
	alice := importName(t, "alice", NTUserName)
	_, a := pair(t, &InitiatorOptions{Mech: MechSPNEGO}, nil)
	info, err := a.Info()
	if err != nil {
		t.Fatal(err)
	}
	peer := info.Peer()
	var wg sync.WaitGroup
	for n := range 1000 {
		wg.Go(func() {
			switch n % 5 {
			case 0:
				i, a := NewInitiator(host, nil), NewAcceptor(nil)
				if err := handshake(i, a, nil); err != nil {
					t.Error(err)
				}
			case 1:
				if !peer.Equal(peer) || peer.Equal(host) {
					t.Error("Equal is wrong")
				}
			case 2:
				c, err := alice.Canonicalize(context.Background(), MechKrb5)
				if err != nil {
					t.Error(err)
					return
				}
				if !c.Equal(peer) || !peer.Equal(c) || !alice.Equal(peer) {
					t.Error("alice is not the peer")
				}
				if _, err := c.Export(); err != nil {
					t.Error(err)
				}
			case 3:
				if host.String() == "" || peer.String() != realm.Principal("alice") || peer.Type() == "" {
					t.Errorf("%v, %v", host, peer)
				}
			case 4:
				if _, err := host.Mechs(); err != nil {
					t.Error(err)
				}
				if got, err := Import(nil, &ImportOptions{Peer: peer}); err == nil {
					t.Error(got)
				}
			}
		})
	}
	wg.Wait()
}

// A host's principal keeps its realm, or is refused: Heimdal 7.8 would take that
// of the host.
func TestHostPrincipalRealm(t *testing.T) {
	lacks(t, gss.KindGNU, "it does not know the realm, and keeps what it is given")
	for _, typ := range []OID{NTKrb5PrincipalName, NTUserName, ""} {
		if _, err := importName(t, "host/server.test", typ).Canonicalize(t.Context(), MechKrb5); err != nil {
			t.Errorf("without a realm: %v", err)
		}
		for _, s := range []string{"host/server.test@TEST.GSS", "host/server.test@ELSEWHERE.GSS", "HTTP/server.test@ELSEWHERE.GSS"} {
			n := importName(t, s, typ)
			if got := n.String(); got != s {
				t.Errorf("%s is shown as %s", s, got)
			}
			c, err := n.Canonicalize(t.Context(), MechKrb5)
			if kind() == gss.KindHeimdal && s == "host/server.test@ELSEWHERE.GSS" {
				wantErr(t, "Canonicalize", err, ErrBadName)
				copied, err := n.thin().Duplicate()
				if err != nil {
					t.Fatal(err)
				}
				_, err = copied.Canonicalize(MechKrb5)
				wantErr(t, "of its copy", err, ErrBadName)
				_, err = NewInitiator(n, nil).Step(t.Context(), nil)
				wantErr(t, "Step", err, ErrBadName)
				_, err = Acquire(t.Context(), &CredentialOptions{Name: n, Usage: Accept})
				wantErr(t, "Acquire", err, ErrBadName)
				if n.Equal(importName(t, "host/server.test@TEST.GSS", typ)) {
					t.Error("it equals that of another realm")
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			if got := c.String(); got != s {
				t.Errorf("%s became %s", s, got)
			}
		}
	}
}
