package gss

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// stranger is no user of any machine.
const stranger = "nosuchuser-gss"

// inRealmOfUsers is inChild with a krb5.conf of its own, which has rules for local
// names, and a directory in place of the .k5login files of homes: me's has bob. more
// is for [libdefaults]. No KDC is needed.
func inRealmOfUsers(t *testing.T, me, more string) bool {
	t.Helper()
	dir := t.TempDir()
	if !isChild() {
		check(t, os.Mkdir(filepath.Join(dir, "k5login"), 0o700))
		check(t, os.WriteFile(filepath.Join(dir, "k5login", me), []byte("bob@TEST.GSS\n"), 0o600))
		check(t, os.WriteFile(filepath.Join(dir, "krb5.conf"), fmt.Appendf(nil, `[libdefaults]
 default_realm = TEST.GSS
 dns_lookup_kdc = false
 dns_lookup_realm = false
 k5login_directory = %s
 kuserok = SYSTEM-K5LOGIN:%[1]s SIMPLE
 %s
[realms]
 TEST.GSS = {
  auth_to_local_names = {
   carol = dave
  }
  auth_to_local = RULE:[2:$1;$2](^.*;web$)s/;web$//
  auth_to_local = DEFAULT
 }
`, filepath.Join(dir, "k5login"), more), 0o600))
	}
	return inChild(t, "KRB5_CONFIG="+filepath.Join(dir, "krb5.conf"))
}

// authoritative: a .k5login is the last word. It is the default of MIT.
const authoritative = "k5login_authoritative = true"

func currentUser(t *testing.T) (name string, uid uint32) {
	t.Helper()
	u, err := user.Current()
	check(t, err)
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	check(t, err)
	return u.Username, uint32(n)
}

func TestLocalname(t *testing.T) {
	notGNU(t, "gss_localname and gss_pname_to_uid")
	me, _ := currentUser(t)
	if !inRealmOfUsers(t, me, authoritative) {
		return
	}
	_, uid := currentUser(t)
	const none = ""
	for principal, want := range map[string]struct {
		name string
		uid  uint32 // or no user
	}{
		me + "@TEST.GSS":       {me, uid},
		"root@TEST.GSS":        {"root", 0},
		stranger + "@TEST.GSS": {stranger, 1<<32 - 1},
		"carol@TEST.GSS":       {"dave", 1<<32 - 1},
		me + "@OTHER.GSS":      {none, 1<<32 - 1},
		me + "/admin@TEST.GSS": {none, 1<<32 - 1},
		me + "/web@TEST.GSS":   {me, uid}, // by the rule
		"0@TEST.GSS":           {"0", 1<<32 - 1},
		"@TEST.GSS":            {none, 1<<32 - 1},
	} {
		if strings.Contains(principal, "/web@") && kind() == KindHeimdal {
			want.name, want.uid = none, 1<<32-1 // 7.8 knows no RULE
		}
		imported := nameOf(t, principal, NTKrb5PrincipalName)
		for what, n := range map[string]*Name{"imported": imported, "mechanism's": mechName(t, principal)} {
			for _, mech := range []OID{"", MechKrb5} {
				b, err := n.Localname(mech)
				if want.name == none {
					is(t, err, ErrNoLocalUser)
					is(t, err, ErrFailure)
				} else if err != nil || string(b.Bytes()) != want.name {
					t.Errorf("%s, %s: %q, %v, want %q", principal, what, b.Bytes(), err, want.name)
				}
				b.Release()
				got, err := n.PnameToUID(mech)
				if want.uid == 1<<32-1 {
					is(t, err, ErrNoLocalUser)
				} else if err != nil || got != want.uid {
					t.Errorf("%s, %s: uid %d, %v, want %d", principal, what, got, err, want.uid)
				}
			}
		}
	}
	n := nameOf(t, "root", NTUserName)
	if b, err := n.Localname(MechKrb5); err != nil || string(b.Bytes()) != "root" {
		t.Errorf("the user root is %q, %v", b.Bytes(), err)
	} else {
		b.Release()
	}
	for _, mech := range []OID{"\x2a\x03", "\x80"} {
		_, err := n.Localname(mech)
		is(t, err, ErrBadMech)
		_, err = n.PnameToUID(mech)
		is(t, err, ErrBadMech)
	}
	b, err := n.Localname(MechSPNEGO)
	if kind() == KindHeimdal {
		is(t, err, ErrBadMech)
	} else if err != nil || string(b.Bytes()) != "root" {
		t.Errorf("with SPNEGO: %q, %v", b.Bytes(), err)
	}
	b.Release()
}

func TestAuthorizeLocalname(t *testing.T) {
	notGNU(t, "gss_authorize_localname")
	me, _ := currentUser(t)
	if !inRealmOfUsers(t, me, authoritative) {
		return
	}
	early := map[string]*Name{}
	for _, user := range []string{me, me + "x", "daemon", stranger} {
		early[user] = nameOf(t, user, NTUserName)
	}
	for _, c := range []struct {
		principal, user string
		want            bool
	}{
		{"bob@TEST.GSS", me, true}, // by the file
		{me + "@TEST.GSS", me, false},
		{"alice@TEST.GSS", me, false},
		{"bob@OTHER.GSS", me, false},
		{"bob/admin@TEST.GSS", me, false},
		{"daemon@TEST.GSS", "daemon", true}, // by the name: there is no file
		{"daemon@OTHER.GSS", "daemon", false},
		{"bob@TEST.GSS", "daemon", false},
		{"bob@TEST.GSS", stranger, false},
		{stranger + "@TEST.GSS", stranger, false},
		{"bob@TEST.GSS", me + "x", false},
	} {
		if me == "daemon" && c.user == "daemon" {
			continue
		}
		if kind() == KindHeimdal && c.user == stranger {
			c.want = strings.HasPrefix(c.principal, stranger) // 7.8 goes by the name, without a look at the users
		}
		n := mechName(t, c.principal)
		// The handles are taken in the order of their addresses, whichever that is.
		late := nameOf(t, c.user, NTUserName)
		for _, u := range []*Name{early[c.user], late} {
			if got, err := n.AuthorizeLocalname(u); err != nil || got != c.want {
				t.Errorf("%s as %s: %v, %v, want %v", c.principal, c.user, got, err, c.want)
			}
		}
		if got, err := n.UserOK(c.user); err != nil || got != c.want {
			t.Errorf("%s as %s: gss_userok says %v, %v, want %v", c.principal, c.user, got, err, c.want)
		}
	}
	bob := mechName(t, "bob@TEST.GSS")
	_, err := bob.AuthorizeLocalname(nil)
	is(t, err, ErrBadName)
	_, err = bob.AuthorizeLocalname(bob)
	is(t, err, ErrBadName)
	_, err = (*Name)(nil).AuthorizeLocalname(bob)
	is(t, err, ErrBadName)
	_, err = bob.AuthorizeLocalname(nameOf(t, "host@server.test", NTHostBasedService))
	is(t, err, ErrBadNameType)
	if got, err := bob.AuthorizeLocalname(mechName(t, me+"@TEST.GSS")); err == nil && got {
		t.Error("a mechanism name was taken for a user")
	}
	got, err := nameOf(t, "bob@TEST.GSS", NTKrb5PrincipalName).AuthorizeLocalname(nameOf(t, me, NTUserName))
	if kind() == KindMIT {
		is(t, err, ErrNameNotMN)
	} else if err != nil || !got {
		t.Errorf("an imported name: %v, %v", got, err)
	}
}

// Without k5login_authoritative the two differ: on Heimdal 7.8 a .k5login without the
// principal does not keep him out.
func TestK5loginNotAuthoritative(t *testing.T) {
	notGNU(t, "gss_authorize_localname")
	me, _ := currentUser(t)
	if !inRealmOfUsers(t, me, "") {
		return
	}
	for principal, want := range map[string]bool{"bob@TEST.GSS": true, me + "@TEST.GSS": kind() == KindHeimdal, "alice@TEST.GSS": false} {
		if got, err := mechName(t, principal).AuthorizeLocalname(nameOf(t, me, NTUserName)); err != nil || got != want {
			t.Errorf("%s as %s: %v, %v, want %v", principal, me, got, err, want)
		}
	}
}

// Adopted names are locked for a call: two that use the same two in both orders
// do not wait for each other.
func TestAuthorizeAdopted(t *testing.T) {
	notGNU(t, "gss_authorize_localname")
	adopt := func(s string, typ OID) *Name {
		n, err := ImportName([]byte(s), typ)
		check(t, err)
		h, err := n.Detach()
		check(t, err)
		if n, err = AdoptName(h); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Release)
		return n
	}
	a, b := adopt("alice", NTUserName), adopt("bob", NTUserName)
	done := make(chan error)
	for i := range 2 {
		go func() {
			for range 200 {
				if i == 0 {
					a.AuthorizeLocalname(b)
				} else {
					b.AuthorizeLocalname(a)
				}
			}
			done <- nil
		}()
	}
	<-done
	<-done
}

func TestUserOKRefuses(t *testing.T) {
	needLibrary(t)
	n := nameOf(t, "host@server.test", NTHostBasedService)
	for _, u := range []string{"", "root\x00", "\x00", strings.Repeat("x", maxText+1)} {
		_, err := n.UserOK(u)
		is(t, err, ErrBadName)
	}
	if ok, err := n.UserOK("root"); err != nil || ok {
		t.Errorf("the service may log in as root: %v, %v", ok, err)
	}
	if kind() == KindGNU {
		// It compares the texts.
		if ok, err := nameOf(t, "root@TEST.GSS", NTKrb5PrincipalName).UserOK("root@TEST.GSS"); err != nil || !ok {
			t.Errorf("the text of the name: %v, %v", ok, err)
		}
	}
}

func TestLocalnameJunk(t *testing.T) {
	needLibrary(t)
	if !inChild(t) {
		return
	}
	names := []*Name{nameOf(t, "host@server.test", NTHostBasedService), nameOf(t, "alice@TEST.GSS", NTKrb5PrincipalName)}
	for _, c := range []struct {
		s   string
		typ OID
	}{{"", NTAnonymous}, {"0", NTStringUID}, {"\x00\x00\x00\x00", NTMachineUID}, {"@", NTKrb5PrincipalName}, {"@TEST.GSS", NTKrb5PrincipalName}, {"a/b/c/d@TEST.GSS", NTKrb5PrincipalName},
		{strings.Repeat("x", 5000) + "@TEST.GSS", NTKrb5PrincipalName}, {strings.Repeat("x", 300), NTUserName}, {"../../etc/passwd", NTUserName}, {"a@b@c", NTUserName}, {string(exported(1, MechKrb5, "alice@TEST.GSS")), NTExportName}} {
		n, err := ImportName([]byte(c.s), c.typ)
		if err != nil {
			continue
		}
		names = append(names, n)
		if c, err := n.Canonicalize(MechKrb5); err == nil {
			names = append(names, c)
		}
	}
	for _, n := range names {
		for _, mech := range append(junkOIDs(), "") {
			if b, err := n.Localname(mech); err == nil {
				b.Release()
			} else if errors.Is(err, ErrNoLocalUser) == errors.Is(err, errors.ErrUnsupported) && errors.Is(err, ErrUnavailable) {
				t.Errorf("%v", err)
			}
			n.PnameToUID(mech)
		}
		for _, u := range []string{"root", "a/../b", "../k5login", strings.Repeat("x", maxText), "\xff", "%s%n"} {
			n.UserOK(u)
		}
		for _, user := range names {
			n.AuthorizeLocalname(user)
		}
	}
	for _, n := range names {
		n.Release()
	}
}
