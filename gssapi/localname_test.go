package gssapi

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/seed2651813c/gss"
)

// stranger is no user of any machine.
const stranger = "nosuchuser-gss"

// inRealmOfUsers is inChild with a krb5.conf of its own, which has rules for local
// names, and a directory in place of the .k5login files of homes: me's has bob.
func inRealmOfUsers(t *testing.T, me string) bool {
	t.Helper()
	if os.Getenv(childEnv) != "" {
		return inChild(t, nil)
	}
	dir := t.TempDir()
	conf := fmt.Sprintf(`[libdefaults]
 default_realm = TEST.GSS
 dns_lookup_kdc = false
 dns_lookup_realm = false
 k5login_directory = %s
 kuserok = SYSTEM-K5LOGIN:%[1]s SIMPLE
 k5login_authoritative = true
[realms]
 TEST.GSS = {
  auth_to_local_names = {
   carol = dave
  }
  auth_to_local = DEFAULT
 }
`, dir)
	for name, text := range map[string]string{"krb5.conf": conf, me: "bob@TEST.GSS\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return inChild(t, []string{"KRB5_CONFIG=" + filepath.Join(dir, "krb5.conf")})
}

func mechName(t *testing.T, principal string) *Name {
	t.Helper()
	n, err := importName(t, principal, NTKrb5PrincipalName).Canonicalize(t.Context(), MechKrb5)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLocalUsers(t *testing.T) {
	lacks(t, gss.KindGNU, "it has none of these functions but gss_userok; TestLocalNamesLacking has what it answers")
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	me := u.Username
	if !inRealmOfUsers(t, me) {
		return
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	cancelable, cancel := context.WithCancel(t.Context())
	for _, ctx := range []context.Context{context.Background(), cancelable} {
		for _, c := range []struct {
			principal, local string // empty: none
			uid              uint32
			exists           bool
			mayLogIn         bool // as me
		}{
			{me + "@TEST.GSS", me, uint32(n), true, false},
			{"bob@TEST.GSS", "bob", 0, false, true},
			{"carol@TEST.GSS", "dave", 0, false, false},
			{"root@TEST.GSS", "root", 0, true, false},
			{stranger + "@TEST.GSS", stranger, 0, false, false},
			{"bob@OTHER.GSS", "", 0, false, false},
			{"bob/admin@TEST.GSS", "", 0, false, false},
		} {
			n := mechName(t, c.principal)
			local, err := n.LocalName(ctx, MechKrb5)
			if c.local == "" {
				wantErr(t, c.principal, err, ErrNoLocalUser, ErrFailure)
			} else if err != nil || local != c.local {
				t.Errorf("%v is %q, %v", n, local, err)
			}
			uid, err := n.UID(ctx, "")
			if !c.exists {
				if local != "bob" && local != "dave" { // such users may be
					wantErr(t, c.principal, err, ErrNoLocalUser)
				}
			} else if err != nil || uid != c.uid {
				t.Errorf("%v is %d, %v", n, uid, err)
			}
			if ok, err := n.MayLogIn(ctx, me); err != nil || ok != c.mayLogIn {
				t.Errorf("%v as %s: %v, %v", n, me, ok, err)
			}
		}
	}
	bob := mechName(t, "bob@TEST.GSS")
	for _, u := range []string{"", "root\x00"} {
		_, err := bob.MayLogIn(t.Context(), u)
		wantErr(t, fmt.Sprintf("as %q", u), err, ErrBadName)
	}
	_, err = bob.LocalName(t.Context(), "\x2a\x03")
	wantErr(t, "another mechanism", err, map[gss.Kind]Major{gss.KindMIT: ErrBadMech, gss.KindHeimdal: ErrBadName}[kind()])
	cancel()
	_, err = bob.LocalName(cancelable, "")
	wantErr(t, "LocalName, ctx ended", err, context.Canceled)
	_, err = bob.MayLogIn(cancelable, me)
	wantErr(t, "MayLogIn, ctx ended", err, context.Canceled)
	_, err = bob.UID(cancelable, "")
	wantErr(t, "UID, ctx ended", err, context.Canceled)
	if s := ReadStats(); s.Acquire.Running != 0 || s.Acquire.Abandoned != 0 {
		t.Errorf("calls are left: %+v", s.Acquire)
	}
}

// A peer that logged in is a local user.
func TestPeerLocalName(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		n := peer(t, mech)
		if local, err := n.LocalName(t.Context(), ""); err != nil || local != "alice" {
			t.Errorf("%v is %q, %v", n, local, err)
		}
		if ok, err := n.MayLogIn(t.Context(), "root"); err != nil || ok {
			t.Errorf("%v as root: %v, %v", n, ok, err)
		}
	})
}

func TestLocalNamesLacking(t *testing.T) {
	n := target(t)
	closed := target(t)
	closed.Close()
	_, err1 := n.LocalName(t.Context(), "")
	_, err2 := n.UID(t.Context(), "")
	_, err3 := n.MayLogIn(t.Context(), "root")
	if kind() == gss.KindGNU {
		for _, err := range []error{err1, err2, err3} {
			wantErr(t, "GNU gss", err, ErrUnavailable)
		}
		return
	}
	for what, n := range map[string]*Name{"nil": nil, "zero": {}, "closed": closed} {
		_, err := n.LocalName(t.Context(), "")
		wantErr(t, what, err, ErrBadName)
		_, err = n.UID(t.Context(), "")
		wantErr(t, what, err, ErrBadName)
		_, err = n.MayLogIn(t.Context(), "root")
		wantErr(t, what, err, ErrBadName)
	}
}
