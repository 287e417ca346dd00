package gss

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/internal/fakegss"
)

// Functions that no library of Debian 12 has: the fake library has them. Those who
// run the tests on a newer one (GSSAPI_LIBRARY) see the real ones in TestLater.

var later = &fakegss.Options{Optional: fakegss.Later}

// laterFake is one that passes for a Heimdal after 7.8.
var laterFake = &fakegss.Options{Optional: append([]string{"gss_acquire_cred_from"}, fakegss.Later...), Heimdal: true}

func fakeCred(t *testing.T) *Cred {
	t.Helper()
	r, err := AcquireCred(nameOf(t, "alice", NTUserName), 0, nil, UsageInitiate)
	check(t, err)
	t.Cleanup(r.Cred.Release)
	return r.Cred
}

// faulty makes the fake library misbehave for the length of f.
func faulty(t *testing.T, fault string, f func()) {
	t.Helper()
	before := os.Getenv("FAKEGSS")
	defer os.Setenv("FAKEGSS", before)
	os.Setenv("FAKEGSS", fault)
	f()
}

// A library without them says which function it lacks.
func TestLaterUnavailable(t *testing.T) {
	needLibrary(t)
	for function, call := range map[string]func() error{
		"gss_store_cred_into2": func() error {
			_, err := new(Cred).StoreInto2(UsageInitiate, MechKrb5, 0, nil)
			return err
		},
		"gss_duplicate_cred":   func() error { _, err := new(Cred).Duplicate(); return err },
		"gss_destroy_cred":     func() error { return new(Cred).Destroy() },
		"gss_get_neg_mechs":    func() error { _, err := new(Cred).NegMechs(); return err },
		"gss_set_log_function": func() error { return SetLog(nil) },
	} {
		err := call()
		switch {
		case !Supports(function):
			is(t, err, ErrUnavailable)
			mention(t, err, "has no function "+function)
		case function == "gss_set_log_function":
			check(t, err)
		default: // of a credential that is none
			is(t, err, ErrNoCred)
		}
	}
	_, err := (*Cred)(nil).StoreInto2(UsageInitiate, MechKrb5, StoreSetProcess, nil)
	is(t, err, ErrUnavailable)
	mention(t, err, "not called")
}

func TestFakeStoreInto2(t *testing.T) {
	child, log := inFake(t, "", later)
	if !child {
		calls := log.calls("gss_store_cred_into2")
		want := []map[string]string{
			{"usage": "1", "mech": "1.2.840.113554.1.2.2", "flags": "3", "store": "appname:sshd,ccache:FILE:/tmp/a%20b"},
			{"usage": "0", "mech": "NULL", "flags": "0", "store": "NULL"},
			{"flags": "2"},
		}
		if len(calls) != len(want) {
			t.Fatalf("%d calls", len(calls))
		}
		for n, w := range want {
			for k, v := range w {
				if got := strings.ReplaceAll(calls[n].Args[k], " ", "%20"); got != v {
					t.Errorf("call %d: %s=%s, want %s", n, k, got, v)
				}
			}
		}
		if n := len(log.calls("gss_release_buffer_set")); n != len(want) {
			t.Errorf("%d environments released", n)
		}
		return
	}
	c := fakeCred(t)
	r, err := c.StoreInto2(UsageInitiate, MechKrb5, StoreDefault|StoreOverwrite, map[string]string{"ccache": "FILE:/tmp/a b", "appname": "sshd"})
	check(t, err)
	if !slices.Equal(r.Env, []string{"KRB5CCNAME=FILE:/tmp/fake", "EMPTY="}) || !slices.Equal(r.Mechs, []OID{MechKrb5}) || r.Usage != UsageInitiate {
		t.Errorf("%+v", r)
	}
	_, err = c.StoreInto2(UsageBoth, "", 0, nil)
	check(t, err)
	faulty(t, "store=fail-env", func() {
		r, err := c.StoreInto2(UsageInitiate, MechKrb5, StoreOverwrite, nil)
		is(t, err, ErrFailure)
		mention(t, err, "when all was stored")
		if r != nil {
			t.Errorf("%+v", r)
		}
	})
	// These do not reach C.
	_, err = c.StoreInto2(UsageInitiate, MechKrb5, StoreOverwrite|StoreSetProcess, nil)
	is(t, err, ErrUnavailable)
	_, err = c.StoreInto2(UsageInitiate, MechKrb5, 0, map[string]string{"ccache": "a\x00b"})
	is(t, err, ErrFailure)
	_, err = (*Cred)(nil).StoreInto2(UsageInitiate, MechKrb5, 0, nil)
	is(t, err, ErrNoCred)
}

func TestFakeNegMechs(t *testing.T) {
	if child, _ := inFake(t, "", later); !child {
		return
	}
	c := fakeCred(t)
	mechs, err := c.NegMechs()
	if err != nil || mechs != nil {
		t.Errorf("none were set, and there are %v, %v", mechs, err)
	}
	want := []OID{MechNTLM, MechKrb5}
	check(t, c.SetNegMechs(want))
	if mechs, err = c.NegMechs(); err != nil || !slices.Equal(mechs, want) {
		t.Errorf("%v, %v, want %v", mechs, err, want)
	}
	faulty(t, "neg=fail-set", func() {
		mechs, err := c.NegMechs()
		is(t, err, ErrFailure)
		mention(t, err, "with a set")
		if mechs != nil {
			t.Error(mechs)
		}
	})
	_, err = (*Cred)(nil).NegMechs()
	is(t, err, ErrNoCred)
	c.Release()
	_, err = c.NegMechs()
	is(t, err, ErrNoCred)
}

func TestFakeDuplicateCred(t *testing.T) {
	if child, _ := inFake(t, "", later); !child {
		return
	}
	c := fakeCred(t)
	c.restricts.Store(true)
	d, err := c.Duplicate()
	check(t, err)
	if !d.named || !d.restricts.Load() {
		t.Error("the duplicate is not what the credential is")
	}
	c.Release()
	i, err := d.Inquire()
	check(t, err)
	if text(t, i.Name) != "alice" || i.Usage != UsageInitiate {
		t.Errorf("%+v", i)
	}
	i.Name.Release()
	for fault, words := range map[string]string{"duplicate=fail-handle": "after a credential was made", "duplicate=null": "returned no credential"} {
		faulty(t, fault, func() {
			_, err := d.Duplicate()
			is(t, err, ErrFailure)
			mention(t, err, words)
		})
	}
	d.Release()
	_, err = d.Duplicate()
	is(t, err, ErrNoCred)
	_, err = (*Cred)(nil).Duplicate()
	is(t, err, ErrNoCred)
}

func TestFakeDestroyCred(t *testing.T) {
	child, log := inFake(t, "", later)
	if !child {
		if d, r := len(log.calls("gss_destroy_cred")), len(log.calls("gss_release_cred")); d != 2 || r != 1 {
			t.Errorf("%d credentials destroyed and %d released, want 2 and the one of them that was left", d, r)
		}
		return
	}
	before := Live()
	c := fakeCred(t)
	after := 0
	c.c.after = func() { after++ }
	if !c.c.hold() {
		t.Fatal("it cannot be held")
	}
	destroyed := make(chan error)
	go func() { destroyed <- c.Destroy() }()
	for !c.c.closed() {
		runtime.Gosched()
	}
	select {
	case err := <-destroyed:
		t.Errorf("destroyed while it is in use: %v", err)
	default:
	}
	c.c.drop()
	check(t, <-destroyed)
	if after != 1 {
		t.Errorf("what is done once it is gone was done %d times", after)
	}
	is(t, c.Destroy(), ErrNoCred)
	_, err := c.Inquire()
	is(t, err, ErrNoCred)
	is(t, (*Cred)(nil).Destroy(), ErrNoCred)
	faulty(t, "destroy=fail", func() {
		c := fakeCred(t)
		err := c.Destroy()
		is(t, err, ErrFailure)
		mention(t, err, "keep the credential")
		_, err = c.Inquire()
		is(t, err, ErrNoCred)
	})
	if n := Live() - before; n > 2 { // alice's names, until the end of the test
		t.Errorf("%d more handles", n)
	}
}

func TestFakeLog(t *testing.T) {
	if child, _ := inFake(t, "", later); !child {
		return
	}
	dir := t.TempDir()
	one, err := os.Create(filepath.Join(dir, "one"))
	check(t, err)
	two, err := os.Create(filepath.Join(dir, "two"))
	check(t, err)
	ask := func() {
		_, err := IndicateMechs()
		check(t, err)
	}
	read := func(f *os.File) string {
		b, err := os.ReadFile(f.Name())
		check(t, err)
		return string(b)
	}
	ask()
	check(t, SetLog(one))
	check(t, one.Close()) // the library has a copy
	ask()
	check(t, SetLog(two))
	ask()
	check(t, SetLog(nil))
	ask()
	for _, f := range []*os.File{one, two} {
		if got, want := read(f), "1 called gss_indicate_mechs with  \n1 called gss_release_oid_set with  \n"; got != want {
			t.Errorf("%s: %q, want %q", filepath.Base(f.Name()), got, want)
		}
	}
	is(t, SetLog(one), ErrFailure) // it is closed

	// What a pipe does not take is lost, and blocks nobody.
	r, w, err := os.Pipe()
	check(t, err)
	defer r.Close()
	check(t, SetLog(w))
	check(t, w.Close())
	long := nameOf(t, strings.Repeat("x", 3000), NTUserName)
	for range 200 {
		res, err := AcquireCred(long, 0, nil, UsageInitiate) // its line is longer than any
		check(t, err)
		res.Cred.Release()
	}
	check(t, SetLog(nil))
	var got bytes.Buffer
	_, err = got.ReadFrom(r)
	check(t, err)
	lines := strings.SplitAfter(got.String(), "\n")
	if len(lines) < 10 || len(lines) > 400 || lines[len(lines)-1] != "" {
		t.Fatalf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	for _, l := range lines[:len(lines)-1] {
		if !strings.HasPrefix(l, "1 called gss_") && !strings.HasPrefix(l, "10 called gss_") || len(l) > 1024 {
			t.Fatalf("%d bytes: %.80q", len(l), l)
		}
	}
}

// What Heimdal does after 7.8, and what is made of it.
func TestFakeLaterHeimdal(t *testing.T) {
	child, log := inFake(t, "", laterFake)
	if !child {
		for _, function := range []string{"gss_import_sec_context", "gss_add_cred"} {
			if n := len(log.calls(function)); n != 0 {
				t.Errorf("%s was called %d times", function, n)
			}
		}
		if n := len(log.calls("gss_accept_sec_context")); n != 3 {
			t.Errorf("gss_accept_sec_context was called %d times, want once for each token that is whole", n)
		}
		return
	}
	if needLibrary(t); !laterHeimdal() {
		t.Fatal("it does not pass for one")
	}
	target := nameOf(t, "host@server", NTHostBasedService)
	for _, c := range []struct{ asked, granted Flags }{
		{FlagReplay, 0},
		{FlagReplay | FlagSequence, FlagReplay | FlagSequence},
		{FlagSequence, FlagSequence},
	} {
		i, a := NewCtx(), NewCtx()
		s, err := i.Init(&InitArgs{Target: target, Mech: MechKrb5, Flags: c.asked})
		check(t, err)
		token := s.Token.Bytes()
		s.Token.Release()
		r, err := a.Accept(&AcceptArgs{Token: token})
		check(t, err)
		r.Source.Release()
		for _, x := range []*Ctx{i, a} {
			info, err := x.Inquire()
			check(t, err)
			info.Source.Release()
			info.Target.Release()
			for _, f := range []Flags{s.Flags, r.Flags, info.Flags} {
				if f&(FlagReplay|FlagSequence) != c.granted {
					t.Errorf("asked for %v, and granted is %v", c.asked, f)
				}
			}
			x.Delete()
		}
		for n := 1; n < len(token); n++ { // parts
			y := NewCtx()
			r, err := y.Accept(&AcceptArgs{Token: token[:n]})
			is(t, err, ErrDefectiveToken)
			mention(t, err, "shorter than it says")
			if r == nil || r.Token != nil || r.Done {
				t.Errorf("%+v", r)
			}
			if _, err := y.Accept(&AcceptArgs{Token: token}); err == nil {
				t.Error("it goes on")
			}
		}
	}
	_, err := ImportSecContext([]byte("\x00\x00\x00\x01x"))
	is(t, err, ErrDefectiveToken)
	cred := fakeCred(t)
	_, err = cred.Add(nameOf(t, "bob", NTUserName), MechKrb5, UsageInitiate, 0, 0)
	is(t, err, ErrDuplicateElement)
	for _, mech := range []OID{MechSPNEGO, MechNTLM} {
		_, err := (*Cred)(nil).Add(nil, mech, UsageInitiate, 0, 0)
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBadMech) {
			t.Error(err)
		}
	}
}

func TestHeimdalContext(t *testing.T) {
	oid := append([]byte{byte(len(MechKrb5))}, MechKrb5...)
	long := append([]byte{0x81, 200}, make([]byte, 200)...)
	for what, c := range map[string]struct {
		token []byte
		n     int // of the mechanism's part; -1: not ok
	}{
		"whole":            {slices.Concat([]byte{8}, oid, []byte{3, 'a', 'b', 'c'}), 3},
		"long":             {slices.Concat([]byte{8}, oid, long), 200},
		"empty":            {slices.Concat([]byte{8}, oid, []byte{0}), 0},
		"nothing":          {nil, -1},
		"no context":       {[]byte{0}, -1},
		"7.8":              {slices.Concat([]byte{0}, oid, []byte{3, 'a', 'b', 'c'}), -1},
		"a part":           {slices.Concat([]byte{12}, oid, []byte{3, 'a', 'b', 'c'}), -1},
		"a version":        {slices.Concat([]byte{9}, oid, []byte{3, 'a', 'b', 'c'}), -1},
		"no mechanism":     {[]byte{8, 0, 3, 'a', 'b', 'c'}, -1},
		"more":             {slices.Concat([]byte{8}, oid, []byte{3, 'a', 'b', 'c', 'd'}), -1},
		"less":             {slices.Concat([]byte{8}, oid, []byte{3, 'a', 'b'}), -1},
		"cut":              {slices.Concat([]byte{8}, oid), -1},
		"a long mechanism": {[]byte{8, 0x84, 0xff, 0xff, 0xff, 0xff, 1}, -1},
	} {
		content, ok := heimdalContext(c.token)
		if ok != (c.n >= 0) || ok && len(content) != c.n {
			t.Errorf("%s: %q, %v", what, content, ok)
		}
	}
}

// The real ones.
func TestLater(t *testing.T) {
	needKrb5(t)
	if !Supports("gss_store_cred_into2") {
		skip(t, "the functions of Heimdal after 7.8 are not here; the fake library has them")
	}
	c := aliceCred(t)
	for _, ccache := range []string{"FILE:" + filepath.Join(t.TempDir(), "cc"), "MEMORY:later"} {
		store := map[string]string{"ccache": ccache}
		r, err := c.StoreInto2(UsageInitiate, MechKrb5, 0, store)
		check(t, err)
		if !slices.Equal(r.Env, []string{"KRB5CCNAME=" + ccache}) {
			t.Errorf("%q", r.Env)
		}
		there, err := AcquireCredFrom(nil, 0, []OID{MechKrb5}, UsageInitiate, store)
		check(t, err)
		// Without overwrite it stays, over itself too.
		for _, x := range []*Cred{c, there.Cred} {
			_, err = x.StoreInto2(UsageInitiate, MechKrb5, 0, store)
			is(t, err, ErrDuplicateElement)
			_, err = x.StoreInto(UsageInitiate, MechKrb5, false, false, store)
			is(t, err, ErrDuplicateElement)
		}
		// A ccache that is stored over itself has its tickets yet.
		for range 2 {
			r, err = there.Cred.StoreInto2(UsageInitiate, MechKrb5, StoreOverwrite, store)
			check(t, err)
			if !slices.Equal(r.Env, []string{"KRB5CCNAME=" + ccache}) {
				t.Errorf("%q", r.Env)
			}
			_, err = there.Cred.StoreInto(UsageInitiate, MechKrb5, true, false, store)
			check(t, err)
			x := NewCtx()
			s, err := x.Init(&InitArgs{Cred: there.Cred, Target: server(t), Mech: MechKrb5})
			check(t, err)
			s.Token.Release()
			x.Delete()
		}
		there.Cred.Release()
	}
	r, err := c.StoreInto2(UsageInitiate, MechKrb5, 0, map[string]string{"unique_ccache_type": "MEMORY"})
	check(t, err)
	if len(r.Env) != 1 || !strings.HasPrefix(r.Env[0], "KRB5CCNAME=MEMORY:") {
		t.Errorf("%q", r.Env)
	}
	mechs, err := c.NegMechs()
	if err != nil || mechs != nil {
		t.Errorf("%v, %v", mechs, err)
	}
	check(t, c.SetNegMechs([]OID{MechKrb5}))
	if mechs, err = c.NegMechs(); err != nil || !slices.Equal(mechs, []OID{MechKrb5}) {
		t.Errorf("%v, %v", mechs, err)
	}
}
