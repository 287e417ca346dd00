package gss

import (
	"errors"
	"slices"
	"testing"
)

// text is the printable form of a name, "" for none.
func text(t *testing.T, n *Name) string {
	t.Helper()
	if n == nil {
		return ""
	}
	b, _, err := n.Display()
	check(t, err)
	defer b.Release()
	return string(b.Bytes())
}

func TestDefaultInitiator(t *testing.T) {
	needKrb5(t)
	r, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate)
	check(t, err)
	defer r.Cred.Release()
	if !slices.Contains(r.Mechs, MechKrb5) || r.Lifetime == 0 {
		t.Errorf("%+v", r)
	}
	for what, inquire := range map[string]func() (*CredInfo, error){
		"Inquire":       r.Cred.Inquire,
		"InquireByMech": func() (*CredInfo, error) { return r.Cred.InquireByMech(MechKrb5) },
	} {
		i, err := inquire()
		check(t, err)
		if got := text(t, i.Name); got != "alice@TEST.GSS" || i.Usage != UsageInitiate || i.Lifetime == 0 || i.Lifetime > 36000 {
			t.Errorf("%s: %q, %+v", what, got, i)
		}
		i.Name.Release()
	}
	_, err = r.Cred.InquireByMech("")
	is(t, err, ErrBadMech)
}

// Of an acceptor of any name Heimdal tells a name that crashes it.
func TestAcceptorNames(t *testing.T) {
	needKrb5(t)
	for _, mechs := range [][]OID{{MechKrb5}, {MechSPNEGO}, {MechKrb5, MechSPNEGO}, nil} {
		for _, name := range []*Name{nil, server(t)} {
			r, err := AcquireCred(name, 0, mechs, UsageAccept)
			check(t, err)
			i, err := r.Cred.Inquire()
			check(t, err)
			got := text(t, i.Name)
			if i.Usage != UsageAccept || got != "host/server.test@TEST.GSS" && (name != nil || got != "") {
				t.Errorf("%v, named %v: usage %d, name %q", mechs, name != nil, i.Usage, got)
			}
			i.Name.Release()
			// MIT answers BAD_MECH, Heimdal NO_CRED, for a mechanism without an element.
			if i, err = r.Cred.InquireByMech(MechKrb5); err == nil {
				if got := text(t, i.Name); got != "host/server.test@TEST.GSS" && (name != nil || got != "") {
					t.Errorf("by mechanism, %v, named %v: %q", mechs, name != nil, got)
				}
				i.Name.Release()
			} else if slices.Contains(mechs, MechKrb5) {
				t.Error(err)
			}
			r.Cred.Release()
		}
	}
}

// Whatever is added to whatever, the library does not crash.
func TestAddCred(t *testing.T) {
	needKrb5(t)
	alice := nameOf(t, "alice", NTUserName)
	for _, usage := range []CredUsage{UsageInitiate, UsageAccept} {
		who := alice
		if usage == UsageAccept {
			who = server(t)
		}
		for _, from := range []*Name{nil, who} {
			r, err := AcquireCred(from, 0, []OID{MechKrb5}, usage)
			check(t, err)
			for _, to := range []*Cred{nil, r.Cred} {
				for _, name := range []*Name{nil, who} {
					for _, mech := range []OID{MechKrb5, MechSPNEGO, MechIAKERB, MechNTLM, "\x2a\x03\x04", ""} {
						sum, err := to.Add(name, mech, usage, 0, 0)
						if err != nil {
							if to == nil && mech == MechKrb5 {
								t.Errorf("from none, usage %d, named %v: %v", usage, name != nil, err)
							}
							continue
						}
						i, err := sum.Cred.Inquire()
						if err == nil {
							text(t, i.Name)
							i.Name.Release()
						}
						if mech == MechKrb5 && (err != nil || i.Usage != usage || !slices.Contains(i.Mechs, mech)) {
							t.Errorf("%v: %v, %+v", mech, err, i)
						}
						sum.Cred.Release()
					}
				}
			}
			// What was added to did not change.
			i, err := r.Cred.Inquire()
			check(t, err)
			if i.Usage != usage {
				t.Errorf("usage %d", i.Usage)
			}
			i.Name.Release()
			r.Cred.Release()
		}
	}
}

// The text of a failing call names who or what is at fault.
func TestErrorsName(t *testing.T) {
	needKrb5(t)
	r, err := AcquireCred(nameOf(t, "nobody@TEST.GSS", NTUserName), 0, []OID{MechKrb5}, UsageInitiate)
	if err == nil { // the library looks later
		_, err = NewCtx().Init(&InitArgs{Cred: r.Cred, Target: server(t), Mech: MechKrb5})
		r.Cred.Release()
	}
	if e := (*Error)(nil); heimdal() && errors.As(err, &e) && e.Minor == 0 {
		// Heimdal 7.8 (lib/gssapi/mech/gss_acquire_cred.c) forgets what its mechanisms say.
		is(t, err, ErrNoCred)
	} else {
		if !errors.Is(err, ErrNoCred) && !errors.Is(err, ErrFailure) { // Heimdal after 7.8
			t.Error(err)
		}
		mention(t, err, "nobody@TEST.GSS")
	}
	for _, mech := range []OID{MechKrb5, MechSPNEGO, ""} {
		x := NewCtx()
		s, err := x.Init(&InitArgs{Target: nameOf(t, "nosuch@service.test", NTHostBasedService), Mech: mech, Flags: allFlags})
		if s != nil {
			s.Token.Release()
		}
		x.Delete()
		if mech == MechSPNEGO && heimdal() && err != nil {
			continue // its SPNEGO forgets it
		}
		mention(t, err, "nosuch/service.test@TEST.GSS")
	}
}

func TestCredStore(t *testing.T) {
	needKrb5(t)
	if !Supports("gss_acquire_cred_from") {
		_, err := AcquireCredFrom(nil, 0, nil, UsageAccept, map[string]string{"keytab": "FILE:/x"})
		is(t, err, ErrUnavailable)
		is(t, err, errors.ErrUnsupported)
		mention(t, err, "has no function gss_acquire_cred_from", loaded.Load().Path)
		skip(t, "the library has no credential stores")
	}
	keytab, err := realm.Keytab("HTTP/other.test")
	check(t, err)
	ccache, err := realm.Kinit("bob", nil)
	check(t, err)
	a, err := AcquireCredFrom(nil, 0, []OID{MechKrb5}, UsageAccept, realm.AcceptorStore(keytab))
	check(t, err)
	defer a.Cred.Release()
	i, err := AcquireCredFrom(nil, 0, []OID{MechKrb5}, UsageInitiate, realm.InitiatorStore(ccache))
	check(t, err)
	defer i.Cred.Release()
	x, y, err := handshake(&InitArgs{Target: nameOf(t, "HTTP@other.test", NTHostBasedService), Cred: i.Cred, Flags: allFlags}, &AcceptArgs{Cred: a.Cred})
	check(t, err)
	defer x.Delete()
	defer y.Delete()
	info, err := y.Inquire()
	check(t, err)
	if s, d := text(t, info.Source), text(t, info.Target); s != "bob@TEST.GSS" || d != "HTTP/other.test@TEST.GSS" {
		t.Errorf("from %q to %q", s, d)
	}
	info.Source.Release()
	info.Target.Release()

	for _, bad := range []map[string]string{{"": "x"}, {"a\x00b": "x"}, {"ccache": "x\x00y"}} {
		_, err := AcquireCredFrom(nil, 0, nil, UsageInitiate, bad)
		is(t, err, ErrFailure)
		mention(t, err, "NUL")
	}
	// An empty store is none: the default.
	r, err := AcquireCredFrom(nil, 0, []OID{MechKrb5}, UsageInitiate, nil)
	check(t, err)
	r.Cred.Release()
}

func TestPassword(t *testing.T) {
	needKrb5(t)
	if !Supports("gss_acquire_cred_with_password") {
		skip(t, "the library has no gss_acquire_cred_with_password")
	}
	check(t, realm.AddPassword("carol", "a carol's password"))
	n := nameOf(t, "carol@TEST.GSS", NTUserName)
	use := func(password string) error {
		r, err := AcquireCredWithPassword(n, []byte(password), 0, []OID{MechKrb5}, UsageInitiate)
		if err != nil {
			return err
		}
		defer r.Cred.Release()
		i, a, err := handshake(&InitArgs{Target: server(t), Cred: r.Cred, Mech: MechKrb5, Flags: allFlags}, &AcceptArgs{})
		if err != nil {
			return err
		}
		i.Delete()
		a.Delete()
		return nil
	}
	check(t, use("a carol's password"))
	for _, wrong := range []string{"wrong", ""} {
		if err := use(wrong); err == nil {
			t.Errorf("the password %q is taken", wrong)
		} else if e := (*Error)(nil); !errors.As(err, &e) || e.Text == "" {
			t.Errorf("%q: no text: %v", wrong, err)
		}
	}
}
