package gssapi

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// needsStores skips a test on a library without credential stores, after it has
// said so for these options.
func needsStores(t *testing.T, o *CredentialOptions) {
	t.Helper()
	needsHandshake(t)
	if gss.Supports("gss_acquire_cred_from") {
		return
	}
	_, err := Acquire(t.Context(), o)
	wantErr(t, "Acquire", err, ErrUnavailable, errors.ErrUnsupported)
	if !strings.Contains(err.Error(), "gss_acquire_cred_from") || strings.Contains(err.Error(), carolsPassword) {
		t.Errorf("%v does not name the function, or shows a password", err)
	}
	lacks(t, gss.KindHeimdal, "7.8 has no credential stores")
}

// noDefaults takes the default ccache and keytab away.
func noDefaults(t *testing.T) {
	t.Helper()
	t.Setenv("KRB5CCNAME", "FILE:/nowhere/default-ccache")
	t.Setenv("KRB5_KTNAME", "FILE:/nowhere/default-keytab")
}

// acceptor accepts as any service in the keytab of these tests.
func acceptor(t *testing.T) *AcceptorOptions {
	t.Helper()
	return &AcceptorOptions{Credential: acquire(t, &CredentialOptions{Usage: Accept, Store: realm.AcceptorStore(keytab)})}
}

// isOf fails the test unless contexts of c, whose default keytab is away, are of
// that user.
func isOf(t *testing.T, c *Credential, user string) {
	t.Helper()
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		i, a := pair(t, &InitiatorOptions{Credential: c, Mech: mech}, acceptor(t))
		exchange(t, i, a)
		info, err := a.Info()
		if err != nil || info.Peer().String() != realm.Principal(user) {
			t.Errorf("%v: the peer is %v, %v, want %s", mech, info.Peer(), err, user)
		}
	}
}

// junkFile is a file that is neither a ccache nor a keytab.
func junkFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(file, bytes.Repeat([]byte("junk"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// badStores fails the test if a store gives a credential, or an error that does
// not tell those texts and the store.
func badStores(t *testing.T, o CredentialOptions, key string, bad map[string]string) {
	t.Helper()
	for value, text := range bad {
		p := o
		p.Store = maps.Clone(o.Store)
		if p.Store == nil {
			p.Store = map[string]string{}
		}
		p.Store[key] = value
		_, err := Acquire(t.Context(), &p)
		if err == nil {
			t.Errorf("%s=%s: there is a credential", key, value)
			continue
		}
		t.Log(err)
		if !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: %v, want %q", key, value, err, text)
		}
		if errors.Is(err, ErrUnavailable) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
}

func TestStoreCCache(t *testing.T) {
	needsStores(t, &CredentialOptions{Store: map[string]string{"ccache": "FILE:" + ccache}})
	kept(t)
	const memory = "MEMORY:TestStoreCCache"
	if err := acquire(t, nil).CopyToCCache(t.Context(), memory); err != nil {
		t.Fatal(err)
	}
	noDefaults(t)
	alice, bob := importName(t, "alice", NTUserName), importName(t, "bob", NTUserName)
	for _, name := range []string{ccache, "FILE:" + ccache, memory} {
		isOf(t, acquire(t, &CredentialOptions{Store: map[string]string{"ccache": name}}), "alice")
		isOf(t, acquire(t, &CredentialOptions{Name: alice, Store: map[string]string{"ccache": name}}), "alice")
		_, err := Acquire(t.Context(), &CredentialOptions{Name: bob, Store: map[string]string{"ccache": name}})
		if err == nil || !strings.Contains(err.Error(), "does not match desired name") {
			t.Errorf("%s for bob: %v", name, err)
		}
	}
	junk, none := junkFile(t), filepath.Join(t.TempDir(), "none") // which MIT makes, for DIR
	badStores(t, CredentialOptions{}, "ccache", map[string]string{
		"FILE:/nowhere/ccache":       "No credentials cache found",
		"FILE:" + junk:               "format version number",
		"FILE:" + filepath.Dir(junk): "Bad format",
		"MEMORY:nothing":             "No credentials cache found",
		"DIR:" + none:                "No credentials cache found",
		"DIR::" + none + "/tkt":      "No credentials cache found",
		"NOSUCH:x":                   "Unknown credential cache type",
		"":                           "No credentials cache found",
	})
}

// collection makes a DIR ccache with alice's tickets and then bob's, which are the
// primary ones. The file of alice is "tkt".
func collection(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "collection")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"alice", "bob"} {
		kinit(t, "DIR:"+dir, who)
	}
	return dir
}

// kinit gets tickets into a ccache of any type, also of another process' (DIR, KCM).
func kinit(t *testing.T, ccache, who string) {
	t.Helper()
	keytab := os.Getenv("GSSAPI_TEST_KEYTAB") // in a child, which has no realm
	if keytab == "" {
		var err error
		if keytab, err = realm.Keytab("alice", "bob"); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("kinit", "-k", "-t", keytab, who)
	cmd.Env = append(os.Environ(), "KRB5CCNAME="+ccache)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kinit %s: %v\n%s", who, err, out)
	}
}

// Which ccache of a collection is taken: the primary one where the collection is
// named; by a Name, one of the environment's collection; by ~/.k5identity, only
// where no credential is given.
func TestCollection(t *testing.T) {
	needsHandshake(t)
	if !inChildNow() {
		home, dir := t.TempDir(), collection(t)
		// The other way round than what is primary.
		if err := os.WriteFile(filepath.Join(home, ".k5identity"), []byte("alice@TEST.GSS service=host\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		inChild(t, []string{"HOME=" + home, "KRB5CCNAME=DIR:" + dir, "GSSAPI_TEST_DIR=" + dir})
		return
	}
	kept(t)
	is := func(what, want string, c *Credential) {
		t.Helper()
		for _, mech := range []OID{MechKrb5, MechSPNEGO} {
			if who, err := peerOf(t, c, mech, "host", "server.test"); err != nil || who != want+"@TEST.GSS" {
				t.Errorf("%s, %v: %q, %v, want %s", what, mech, who, err, want)
			}
		}
	}
	dir := os.Getenv("GSSAPI_TEST_DIR")
	primary, subsidiary := "DIR:"+dir, "DIR::"+dir+"/tkt"
	alice, bob, carol := importName(t, "alice", NTUserName), importName(t, "bob", NTUserName), importName(t, "carol", NTUserName)
	chosen := map[gss.Kind]string{gss.KindMIT: "alice", gss.KindHeimdal: "bob"}[kind()] // Heimdal reads no .k5identity
	is("no credential", chosen, nil)
	is("the default credential", "bob", acquire(t, nil))
	is("the default credential of bob", "bob", acquire(t, &CredentialOptions{Name: bob}))
	is("the primary CCache", "bob", acquire(t, &CredentialOptions{CCache: primary}))
	is("the primary CCache of bob", "bob", acquire(t, &CredentialOptions{CCache: primary, Name: bob}))
	is("the CCache of alice", "alice", acquire(t, &CredentialOptions{CCache: subsidiary}))
	is("the CCache of alice, by name", "alice", acquire(t, &CredentialOptions{CCache: subsidiary, Name: alice}))

	is("a CCache of alice that is a file", "alice", acquire(t, &CredentialOptions{CCache: "FILE:" + dir + "/tkt", Name: alice}))

	// Heimdal 7.8 has crashed here.
	c, err := Acquire(t.Context(), &CredentialOptions{Name: alice})
	if kind() == gss.KindHeimdal {
		wantErr(t, "alice, who is not the primary", err, ErrNoCred)
	} else if err != nil {
		t.Error(err)
	} else {
		is("alice, who is not the primary", "alice", c)
	}
	for _, o := range []*CredentialOptions{{Name: carol}, {Name: alice, CCache: primary}, {Name: carol, CCache: primary}, {Name: bob, CCache: subsidiary}} {
		_, err := Acquire(t.Context(), o)
		wantErr(t, o.redacted(), err, ErrNoCred)
	}
	own := acquire(t, &CredentialOptions{Mechs: []OID{MechKrb5}})
	if _, err := own.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechNTLM}, Name: alice}); err == nil {
		t.Error("an element of a mechanism that is not there was added")
	}
	t.Run("store", func(t *testing.T) {
		needsStores(t, &CredentialOptions{Store: map[string]string{"ccache": primary}})
		is("the primary ccache", "bob", acquire(t, &CredentialOptions{Store: map[string]string{"ccache": primary}}))
		is("the ccache of alice", "alice", acquire(t, &CredentialOptions{Store: map[string]string{"ccache": subsidiary}}))
		_, err := Acquire(t.Context(), &CredentialOptions{Name: alice, Store: map[string]string{"ccache": primary}})
		wantErr(t, "alice in the primary one", err, ErrNoCred)
		// Stored into the collection, as a ccache of their own.
		file := acquire(t, &CredentialOptions{CCache: subsidiary})
		to := &StoreOptions{Store: map[string]string{"ccache": primary}}
		wantErr(t, "where alice's are", file.Store(t.Context(), to), ErrDuplicateElement)
		to.Overwrite, to.Default = true, true
		if err := file.Store(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		is("the primary ccache now", "alice", acquire(t, &CredentialOptions{Store: to.Store}))
		is("bob's by name", "bob", acquire(t, &CredentialOptions{Name: bob}))
	})
}

// kcmScript starts Heimdal's daemon, whose socket is in /run whatever it is told,
// in namespaces of its own, and then a test there. All ends with the test.
const kcmScript = `mount -t tmpfs none /run || exit 77
"$GSSAPI_TEST_KCM" & exec_pid=$!
"$@"
code=$?
kill "$exec_pid"
exit "$code"
`

// Tickets that a daemon keeps.
func TestKCM(t *testing.T) {
	needsHandshake(t)
	if !inChildNow() {
		root := os.Getenv("GSSTEST_HEIMDAL")
		if root == "" {
			root = "/usr/local/lib/gsstest/heimdal"
		}
		kcm := filepath.Join(root, "usr/sbin/kcm")
		if _, err := os.Stat(kcm); err != nil {
			t.Skipf("there is no KCM daemon: %v; run ci/install.sh", err)
		}
		libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-*-*"))
		both, err := realm.Keytab("alice", "bob")
		if err != nil {
			t.Fatal(err)
		}
		// The library under test is the system's.
		wrapper := filepath.Join(t.TempDir(), "kcm")
		if err := os.WriteFile(wrapper, []byte("#!/bin/sh\nLD_LIBRARY_PATH="+strings.Join(libs, ":")+" exec "+kcm+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		in := child(t, []string{"KRB5CCNAME=KCM:", "GSSAPI_TEST_KCM=" + wrapper, "GSSAPI_TEST_KEYTAB=" + both})
		args := []string{"--mount", "--pid", "--fork", "--kill-child"}
		if os.Getuid() != 0 {
			args = append(args, "--map-root-user")
		}
		cmd := exec.CommandContext(t.Context(), "unshare", append(append(args, "sh", "-c", kcmScript, "kcm"), in.Args...)...)
		cmd.Env = in.Env
		out, err := cmd.CombinedOutput()
		if err != nil && !bytes.Contains(out, []byte("=== RUN")) {
			t.Skipf("Heimdal's KCM daemon has its socket in /run, and there can be no other /run here: %v: %s", err, bytes.TrimSpace(out))
		}
		if err != nil {
			t.Fatalf("in namespaces of its own: %v\n%s", err, out)
		}
		return
	}
	kept(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("unix", "/var/run/.heim_org.h5l.kcm-socket")
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the KCM daemon is not there: %v", err)
		case <-tick.C:
		}
	}
	is := func(what, want string, c *Credential) {
		t.Helper()
		for _, mech := range []OID{MechKrb5, MechSPNEGO} {
			if who, err := peerOf(t, c, mech, "host", "server.test"); err != nil || who != want+"@TEST.GSS" {
				t.Errorf("%s, %v: %q, %v, want %s", what, mech, who, err, want)
			}
		}
	}
	_, err := Acquire(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}})
	if err == nil {
		t.Error("there is a credential before there are tickets")
	}
	first, second := "KCM:0:one", "KCM:0:two" // in here everybody is root
	kinit(t, first, "alice")
	kinit(t, second, "bob")
	is("the ccache of alice", "alice", acquire(t, &CredentialOptions{CCache: first}))
	is("the ccache of bob", "bob", acquire(t, &CredentialOptions{CCache: second}))
	for who, ccache := range map[string]string{"alice": first, "bob": second} {
		is(who+" by name", who, acquire(t, &CredentialOptions{Name: importName(t, who, NTUserName)}))
		if gss.Supports("gss_acquire_cred_from") {
			is(who+"'s store", who, acquire(t, &CredentialOptions{Store: map[string]string{"ccache": ccache}}))
		}
	}
	if err := acquire(t, &CredentialOptions{CCache: first}).CopyToCCache(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	is("a ccache that was copied into", "alice", acquire(t, &CredentialOptions{CCache: second}))
	_, err = Acquire(t.Context(), &CredentialOptions{CCache: first + "x", Mechs: []OID{MechKrb5}})
	if err == nil {
		t.Error("there is a credential of a ccache that is not there")
	}
}

func TestStoreClientKeytab(t *testing.T) {
	bobs, err := realm.Keytab("bob")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "filled")
	o := CredentialOptions{Store: map[string]string{"client_keytab": "FILE:" + bobs, "ccache": "FILE:" + file}}
	needsStores(t, &o)
	kept(t)
	noDefaults(t)
	none := filepath.Join(t.TempDir(), "default")
	t.Setenv("KRB5CCNAME", "FILE:"+none)
	bob, alice := importName(t, "bob", NTUserName), importName(t, "alice", NTUserName)
	for _, ccache := range []string{"FILE:" + file, "MEMORY:TestStoreClientKeytab"} {
		for _, name := range []*Name{nil, bob} {
			isOf(t, acquire(t, &CredentialOptions{Name: name, Store: map[string]string{"client_keytab": bobs, "ccache": ccache}}), "bob")
		}
	}
	isOf(t, acquire(t, &CredentialOptions{Store: map[string]string{"ccache": "FILE:" + file}}), "bob") // it was filled
	if _, err := os.Stat(none); err == nil {
		t.Error("the default ccache was made")
	}

	// Tickets that end within 30 seconds are renewed.
	short, err := realm.Kinit("bob", &gsstest.KinitOptions{Lifetime: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c := acquire(t, &CredentialOptions{Store: map[string]string{"client_keytab": bobs, "ccache": "FILE:" + short}})
	if info, err := c.Info(t.Context()); err != nil || time.Until(info.Expiry) < time.Hour {
		t.Errorf("the tickets were not renewed: %+v, %v", info, err)
	}

	o.Store["ccache"] = "MEMORY:nothing"
	badStores(t, o, "client_keytab", map[string]string{
		"FILE:/nowhere/keytab": "",
		"FILE:" + junkFile(t):  "",
		"NOSUCH:x":             "Unknown Key table type",
	})
	o.Name = alice
	_, err = Acquire(t.Context(), &o)
	if err == nil {
		t.Error("there are tickets of alice from bob's keys")
	} else {
		t.Log(err)
	}
	other := gsstest.New(t, &gsstest.Options{Principals: []string{"bob"}})
	wrong, err := other.Keytab("bob")
	if err != nil {
		t.Fatal(err)
	}
	o.Name = nil
	badStores(t, o, "client_keytab", map[string]string{"FILE:" + wrong: "integrity"})
	// What is in the ccache is what counts.
	o.Store = map[string]string{"ccache": "FILE:" + ccache, "client_keytab": bobs}
	isOf(t, acquire(t, &o), "alice")
}

func TestStoreKeytab(t *testing.T) {
	o := CredentialOptions{Usage: Accept, Store: map[string]string{"keytab": "FILE:" + keytab}}
	needsStores(t, &o)
	kept(t)
	t.Setenv("KRB5_KTNAME", "FILE:/nowhere/default-keytab")
	for _, name := range []*Name{nil, importName(t, service, NTKrb5PrincipalName), target(t)} {
		o.Name = name
		for _, mech := range []OID{MechKrb5, MechSPNEGO} {
			i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Credential: acquire(t, &o)})
			exchange(t, i, a)
		}
	}
	o.Name = nil
	badStores(t, o, "keytab", map[string]string{
		"FILE:/nowhere/keytab": "/nowhere/keytab",
		"NOSUCH:x":             "Unknown Key table type",
		"FILE:" + junkFile(t):  "nonexistent or empty",
	})
	// A key of that service, but not the one that the KDC has.
	o.Store["keytab"] = "FILE:" + wrongKeytab(t)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		i, a := contexts(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Credential: acquire(t, &o)})
		err := handshake(i, a, nil)
		if err == nil {
			t.Errorf("%v: a ticket was read with a wrong key", mech)
			continue
		}
		t.Log(err)
	}
}

// wrongKeytab has keys of the service that another KDC made, with the same version.
func wrongKeytab(t *testing.T) string {
	t.Helper()
	r := gsstest.New(t, &gsstest.Options{Principals: []string{service}})
	keytab, err := r.Keytab(service)
	if err != nil {
		t.Fatal(err)
	}
	return keytab
}

// withVerify is carol's password, verified with a keytab.
func withVerify(t *testing.T, verify, keytab string) *CredentialOptions {
	t.Helper()
	return &CredentialOptions{
		Name:  importName(t, "carol", NTUserName),
		Store: map[string]string{"password": carolsPassword, "keytab": keytab, "verify": verify},
	}
}

// What the KDC gave for a password is refused if the keytab's key says that it was
// another KDC, or if there is no such key; so is a credential to accept with.
func TestStoreWithoutKey(t *testing.T) {
	needsStores(t, withVerify(t, "", keytab))
	if !inChildNow() {
		// MIT 1.20 loses memory then: here is nobody who counts that.
		inChild(t, []string{"GSSAPI_TEST_KEYTAB=" + keytab, "GSSAPI_TEST_WRONG=" + wrongKeytab(t), "GSSAPI_TEST_JUNK=" + junkFile(t)})
		return
	}
	kept(t)
	right, wrong, junk := os.Getenv("GSSAPI_TEST_KEYTAB"), os.Getenv("GSSAPI_TEST_WRONG"), os.Getenv("GSSAPI_TEST_JUNK")
	acquire(t, withVerify(t, "", right)).Close()
	for _, tt := range []struct{ verify, keytab, text string }{
		{"", wrong, "Cannot decrypt ticket for host/server.test"},
		{service, wrong, "Cannot decrypt ticket for host/server.test"},
		{other, wrong, "No key table entry found for HTTP/other.test"},
		{"", "/nowhere/keytab", "/nowhere/keytab"},
		{service, "/nowhere/keytab", "/nowhere/keytab"},
		{"host/nosuch.test", right, "host/nosuch.test"},
		{"a@b@c", right, "Malformed"},
		{"", junk, "key table format"},
	} {
		_, err := Acquire(t.Context(), withVerify(t, tt.verify, "FILE:"+tt.keytab))
		if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), carolsPassword) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	_, err := Acquire(t.Context(), &CredentialOptions{
		Name: importName(t, "host/nosuch.test", NTKrb5PrincipalName), Usage: Accept, Store: map[string]string{"keytab": right},
	})
	if err == nil || !strings.Contains(err.Error(), "host/nosuch.test") {
		t.Errorf("to accept as a service that is not in the keytab: %v", err)
	}
}

func TestStorePassword(t *testing.T) {
	carol := importName(t, "carol", NTUserName)
	alone := &CredentialOptions{Name: carol, Store: map[string]string{"password": carolsPassword}}
	needsStores(t, alone)
	kept(t)
	noDefaults(t)
	isOf(t, acquire(t, alone), "carol")
	for _, verify := range []string{"", service, other} {
		isOf(t, acquire(t, withVerify(t, verify, "FILE:"+keytab)), "carol")
	}
	isOf(t, acquire(t, &CredentialOptions{Name: carol, Password: carolsPassword, Store: map[string]string{"verify": "", "keytab": keytab}}), "carol")
	for _, keytab := range []string{wrongKeytab(t), "/nowhere/keytab"} { // nobody asked for it
		isOf(t, acquire(t, &CredentialOptions{Name: carol, Store: map[string]string{"password": carolsPassword, "keytab": keytab}}), "carol")
	}
	const guess = "correct horse battery"
	for _, store := range []map[string]string{{"password": guess}, {"password": guess, "verify": "", "keytab": keytab}, {"password": "", "keytab": keytab}} {
		_, err := Acquire(t.Context(), &CredentialOptions{Name: carol, Store: store})
		if err == nil || strings.Contains(err.Error(), guess) {
			t.Errorf("with a wrong password: %v", err)
		}
	}
	_, err := Acquire(t.Context(), &CredentialOptions{Name: importName(t, "nobody", NTUserName), Store: map[string]string{"password": guess}})
	if err == nil || !strings.Contains(err.Error(), "nobody@TEST.GSS") || strings.Contains(err.Error(), guess) {
		t.Errorf("of somebody who does not exist: %v", err)
	}
	_, err = Acquire(t.Context(), &CredentialOptions{Store: map[string]string{"password": guess}})
	wantErr(t, "of nobody", err, ErrBadName)
}

func TestStoreRCache(t *testing.T) {
	o := CredentialOptions{Usage: Accept, Store: map[string]string{"keytab": "FILE:" + keytab, "rcache": "file2:" + filepath.Join(t.TempDir(), "rc")}}
	needsStores(t, &o)
	kept(t)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		token := step(t, NewInitiator(target(t), &InitiatorOptions{Mech: mech}), nil)
		accept := func(o *CredentialOptions) error {
			return second(NewAcceptor(&AcceptorOptions{Credential: acquire(t, o)}).Step(t.Context(), token))
		}
		if err := accept(&o); err != nil {
			t.Fatal(err)
		}
		if err := accept(&o); err == nil || !strings.Contains(err.Error(), "replay") {
			t.Errorf("%v: the same token again: %v", mech, err)
		}
		none := CredentialOptions{Usage: Accept, Store: map[string]string{"keytab": "FILE:" + keytab, "rcache": "none:"}}
		if err := accept(&none); err != nil {
			t.Errorf("%v: without a replay cache: %v", mech, err)
		}
		// A file that cannot be written is found out by the first token.
		none.Store["rcache"] = "file2:" + keytab + "/rc"
		if err := accept(&none); err == nil || !strings.Contains(err.Error(), keytab+"/rc") {
			t.Errorf("%v: a replay cache that cannot be: %v", mech, err)
		}
	}
	badStores(t, o, "rcache", map[string]string{"nosuch:x": "", "file2": ""})
}
