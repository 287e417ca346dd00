package gssapi

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// withNTLM runs the test in a process where MIT's library has the plugin for NTLM,
// and CORP\carol and CORP\dave may log in.
func withNTLM(t *testing.T) bool {
	t.Helper()
	needsHandshake(t)
	lacks(t, gss.KindHeimdal, "7.8 has an NTLM of its own, which asks a Kerberos server for each login; the plugin is MIT's")
	if inChildNow() {
		return true
	}
	env, err := gsstest.NTLM(t.TempDir(), map[string]string{`CORP\carol`: carolsPassword, `CORP\dave`: davesPassword})
	if err != nil {
		t.Fatal(err)
	}
	return inChild(t, env)
}

const davesPassword = "dave's own"

// notInNTLM is what NTLM does not have, and is asked for by default.
const notInNTLM = FlagMutual

// ntlmUser is a credential for NTLM, bare and in SPNEGO.
func ntlmUser(t *testing.T, name, password string) *Credential {
	t.Helper()
	return acquire(t, &CredentialOptions{Name: importName(t, name, NTUserName), Password: password, Mechs: []OID{MechNTLM, MechSPNEGO}, NegMechs: []OID{MechNTLM}})
}

// ntlmPair are both ends of a handshake with NTLM, bare or in SPNEGO, that is not
// begun.
func ntlmPair(t *testing.T, c *Credential, mech OID) (i, a *Context) {
	t.Helper()
	inside := []OID{mech}
	if mech == MechSPNEGO {
		inside = append(inside, MechNTLM)
	}
	return NewInitiator(target(t), &InitiatorOptions{Credential: c, Mech: mech, NegMechs: []OID{MechNTLM}, Without: notInNTLM}),
		NewAcceptor(&AcceptorOptions{Mechs: inside})
}

func eachNTLM(t *testing.T, f func(t *testing.T, mech OID)) {
	t.Helper()
	t.Run("bare", func(t *testing.T) { f(t, MechNTLM) })
	t.Run("SPNEGO", func(t *testing.T) { f(t, MechSPNEGO) })
}

func TestNTLM(t *testing.T) {
	if !withNTLM(t) {
		return
	}
	kept(t)
	mechs, err := Mechanisms()
	if err != nil || !slices.Contains(mechs, MechNTLM) {
		t.Fatalf("the mechanisms are %v, %v", mechs, err)
	}
	eachNTLM(t, func(t *testing.T, mech OID) {
		for _, c := range []*Credential{
			ntlmUser(t, "carol", carolsPassword),
			ntlmUser(t, `CORP\carol`, carolsPassword),
			ntlmUser(t, `CORP\carol`, ""), // whose password is in the file
		} {
			info, err := c.Info(t.Context())
			if err != nil || !strings.HasSuffix(info.Name.String(), "carol") || !slices.Contains(info.Mechs, MechNTLM) || info.Usage != Initiate {
				t.Errorf("the credential: %+v, %v", info, err)
			}
			i, a := ntlmPair(t, c, mech)
			if err := handshake(i, a, nil); err != nil {
				t.Fatal(err)
			}
			for _, x := range []*Context{i, a} {
				info, err := x.Info()
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Initiator.String(); got != "carol" && got != `CORP\carol` {
					t.Errorf("%v: the initiator is %q", x, got)
				}
				if x == i && info.Acceptor.String() != "host/server.test" || x == a && info.Acceptor != nil {
					t.Errorf("%v: the acceptor is %q", x, info.Acceptor)
				}
				if info.Mech != MechNTLM || info.Local != (x == i) {
					t.Errorf("%v: %+v", x, info)
				}
				if info.Flags&(FlagConf|FlagInteg) != FlagConf|FlagInteg || info.Flags&(FlagMutual|FlagDeleg|FlagTrans) != 0 {
					t.Errorf("%v: flags %v", x, info.Flags)
				}
				if left := time.Until(info.Expiry); left < time.Hour || left > 7*24*time.Hour {
					t.Errorf("%v: it expires in %v", x, left)
				}
				if x.Delegated() != nil {
					t.Errorf("%v: something was delegated", x)
				}
			}
			exchange(t, i, a)
			// Kept, and useful still: the context does not say that it may be exported.
			for _, x := range []*Context{i, a} {
				if token, err := x.Export(); len(token) > 0 || !errors.Is(err, ErrUnavailable) {
					t.Errorf("%v: Export: %d bytes, %v", x, len(token), err)
				}
			}
			exchange(t, i, a)
			// A changed message, and a message again.
			token := wrap(t, i, "something to be changed")
			bad := bytes.Clone(token)
			bad[len(bad)-1] ^= 1
			if _, err := a.Unwrap(bad); err == nil {
				t.Error("a message that was changed was unwrapped")
			}
		}
	})
}

// Who does not know the password is refused, and so is what NTLM does not have.
func TestNTLMRefused(t *testing.T) {
	if !withNTLM(t) {
		return
	}
	kept(t)
	eachNTLM(t, func(t *testing.T, mech OID) {
		for what, c := range map[string]*Credential{
			"a wrong password":     ntlmUser(t, `CORP\carol`, davesPassword),
			"somebody unknown":     ntlmUser(t, `CORP\mallory`, davesPassword),
			"somebody of nowhere":  ntlmUser(t, `NOWHERE\carol`, davesPassword),
			"another one's secret": ntlmUser(t, `CORP\dave`, carolsPassword),
		} {
			i, a := ntlmPair(t, c, mech)
			err := handshake(i, a, nil)
			if err == nil || a.Established() {
				t.Errorf("%s: %v", what, err)
				continue
			}
			t.Log(what, err)
			if strings.Contains(err.Error(), carolsPassword) || strings.Contains(err.Error(), davesPassword) {
				t.Errorf("%s: a password is in %v", what, err)
			}
		}
		// All of the default flags; the plugin says that it has granted them.
		for _, o := range []InitiatorOptions{{}, {Without: FlagMutual, Flags: FlagDeleg}} {
			o.Credential, o.Mech, o.NegMechs = ntlmUser(t, `CORP\carol`, carolsPassword), mech, []OID{MechNTLM}
			_, a := ntlmPair(t, nil, mech)
			i := NewInitiator(target(t), &o)
			wantErr(t, "mutual authentication or delegation", handshake(i, a, nil), ErrUnauthorized)
			if i.Established() {
				t.Error("the initiator is established")
			}
		}
		// Tokens that are cut: at each length, at each of the three legs.
		carol := ntlmUser(t, `CORP\carol`, carolsPassword)
		begin := func() (i, a *Context, first, challenge []byte) {
			i, a = ntlmPair(t, carol, mech)
			first = step(t, i, nil)
			return i, a, first, step(t, a, first)
		}
		i, a, first, challenge := begin()
		last := step(t, i, challenge)
		if out := step(t, a, last); !a.Established() {
			t.Fatalf("the acceptor is not established, and answers %d bytes", len(out))
		}
		for n := range max(len(first), len(challenge), len(last)) {
			i, a, _, _ := begin()
			if n < len(first) {
				_, a := ntlmPair(t, carol, mech)
				a.Step(t.Context(), first[:n])
				if a.Established() {
					t.Errorf("%d bytes of the first token established the acceptor", n)
				}
			}
			if n < len(challenge) {
				i.Step(t.Context(), challenge[:n])
				if i.Established() {
					t.Errorf("%d bytes of the challenge established the initiator", n)
				}
			}
			if n < len(last) {
				if _, err := a.Step(t.Context(), last[:n]); err == nil && a.Established() {
					t.Errorf("%d bytes of the last token established the acceptor", n)
				}
			}
		}
	})
}

// A credential to accept NTLM with tells of itself, whatever it was acquired for and
// whichever element comes first; the plugin has a name only for one of a name.
func TestNTLMAcceptor(t *testing.T) {
	if !withNTLM(t) {
		return
	}
	kept(t)
	host := target(t)
	const principal, plain = "host/server.test@TEST.GSS", "host/server.test"
	for _, v := range []struct {
		mechs            []OID
		name             *Name
		want, krb5, ntlm string // "": no name, "-": no such element
	}{
		{[]OID{MechNTLM}, nil, "", "-", ""},
		{[]OID{MechNTLM}, host, plain, "-", plain},
		{[]OID{MechKrb5}, nil, principal, principal, "-"},
		{[]OID{MechKrb5, MechNTLM}, nil, principal, principal, ""},
		{[]OID{MechNTLM, MechKrb5}, nil, principal, principal, ""},
		{[]OID{MechNTLM, MechKrb5}, host, plain, principal, plain},
		{[]OID{MechSPNEGO, MechKrb5}, nil, principal, principal, "-"},
		{[]OID{MechSPNEGO, MechKrb5, MechNTLM}, host, principal, principal, plain},
		{[]OID{MechSPNEGO}, nil, "", "-", "-"}, // inside of it both
		{[]OID{MechSPNEGO}, host, principal, "-", "-"},
		{nil, nil, principal, principal, ""}, // all that there are
	} {
		for _, usage := range []Usage{Accept, Both} {
			if usage == Both && !slices.Equal(v.mechs, []OID{MechNTLM}) {
				continue // that is to initiate with tickets
			}
			c := acquire(t, &CredentialOptions{Usage: usage, Mechs: v.mechs, Name: v.name})
			i, err := c.Info(t.Context())
			if err != nil || i.Usage != Accept || i.Name.String() != orNoName(v.want) {
				t.Errorf("%v, name %v: %+v, %v", v.mechs, v.name, i, err)
			}
			for mech, want := range map[OID]string{MechKrb5: v.krb5, MechNTLM: v.ntlm} {
				i, err := c.MechInfo(t.Context(), mech)
				if want == "-" {
					wantErr(t, mech.String(), err, ErrNoCred)
				} else if err != nil || i.Usage != Accept || i.Name.String() != orNoName(want) {
					t.Errorf("%v, name %v, for %v: %+v, %v", v.mechs, v.name, mech, i, err)
				}
			}
			if slices.Contains(v.mechs, MechSPNEGO) {
				_, err := c.MechInfo(t.Context(), MechSPNEGO)
				wantErr(t, "SPNEGO's element", err, ErrUnavailable)
			}
		}
	}
	// One that was imported, which nobody knows the name of.
	token, err := acquire(t, &CredentialOptions{Usage: Accept, Mechs: []OID{MechNTLM}}).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ImportCredential(token)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := c.Info(t.Context()); err != nil || i.Usage != Accept || i.Name != nil {
		t.Errorf("imported: %+v, %v", i, err)
	}
	i, _ := ntlmPair(t, ntlmUser(t, "carol", carolsPassword), MechNTLM)
	if err := handshake(i, NewAcceptor(&AcceptorOptions{Mechs: []OID{MechNTLM}, Credential: c}), nil); err != nil {
		t.Error(err)
	}
}

// Without a keytab NTLM is all that there is inside of SPNEGO.
func TestNTLMAcceptorWithoutKeytab(t *testing.T) {
	if !withNTLM(t) {
		return
	}
	kept(t)
	t.Setenv("KRB5_KTNAME", "FILE:"+t.TempDir()+"/none")
	for _, mechs := range [][]OID{{MechSPNEGO}, {MechSPNEGO, MechNTLM}, nil} {
		i, err := acquire(t, &CredentialOptions{Usage: Accept, Mechs: mechs}).Info(t.Context())
		if err != nil || i.Usage != Accept || i.Name != nil || !slices.Contains(i.Mechs, MechSPNEGO) {
			t.Errorf("%v: %+v, %v", mechs, i, err)
		}
	}
}

func orNoName(s string) string {
	if s == "" {
		return (*Name)(nil).String()
	}
	return s
}

// The plugin can export, although it does not say so: what gssapi refuses the thin
// layer does, and the context is either kept, or a token that can be imported.
func TestNTLMExport(t *testing.T) {
	if !withNTLM(t) {
		return
	}
	kept(t)
	eachNTLM(t, func(t *testing.T, mech OID) {
		i, a := ntlmPair(t, ntlmUser(t, `CORP\carol`, carolsPassword), mech)
		if err := handshake(i, a, nil); err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Context{i, a} {
			token, err := x.ctx.Export()
			if err != nil {
				if x.ctx.Gone() {
					t.Fatalf("%v: Export failed, and the context is lost: %v", x, err)
				}
				t.Errorf("%v: Export: %v", x, err)
				continue
			}
			c, err := gss.ImportSecContext(token.Bytes())
			token.Release()
			if err != nil {
				t.Fatalf("%v: the context is lost in its export: %v", x, err)
			}
			info, err := c.Inquire()
			if err != nil {
				t.Fatal(err)
			}
			if info.Mech != MechNTLM || !info.Open || info.Local != (x == i) || info.Flags&FlagConf == 0 {
				t.Errorf("imported: %+v", info)
			}
			info.Source.Release()
			info.Target.Release()
			x.ctx = c
		}
		exchange(t, i, a)
	})
}

// Nobody gets in with NTLM, or tries to, who was not told to: neither bare nor in
// SPNEGO, whoever offers it and whatever credentials there are.
func TestNTLMIsNotTheDefault(t *testing.T) {
	if !withNTLM(t) {
		return
	}
	kept(t)
	carol := ntlmUser(t, `CORP\carol`, carolsPassword)
	all := acquire(t, &CredentialOptions{Usage: Accept, Mechs: []OID{MechKrb5, MechSPNEGO, MechNTLM}})
	eachNTLM(t, func(t *testing.T, mech OID) {
		for _, o := range []*AcceptorOptions{nil, {}, {Credential: all}, {Mechs: []OID{MechSPNEGO}}, {Mechs: []OID{MechSPNEGO, MechKrb5}, Credential: all}, {Mechs: []OID{MechKrb5}, Credential: all}} {
			i, _ := ntlmPair(t, carol, mech)
			a := NewAcceptor(o)
			first := step(t, i, nil)
			// At once: before the challenge, which tells of this host.
			if answer, err := a.Step(t.Context(), first); len(answer) > 0 || !errors.Is(err, ErrBadMech) && !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%+v: %q, %v", o, answer, err)
			}
		}
		// One that takes NTLM inside of SPNEGO does not take it bare, nor the other way round.
		i, _ := ntlmPair(t, carol, mech)
		only := map[OID][]OID{MechNTLM: {MechSPNEGO}, MechSPNEGO: {MechNTLM}}[mech]
		if a := NewAcceptor(&AcceptorOptions{Mechs: only}); handshake(i, a, nil) == nil || a.Established() {
			t.Errorf("%v was accepted as %v", mech, only)
		}
	})
	// Who would rather have NTLM gets it from the library, unless a credential says
	// what may be negotiated.
	for _, neg := range [][]OID{nil, {MechKrb5}} {
		either := acquire(t, &CredentialOptions{Mechs: []OID{MechSPNEGO}, NegMechs: []OID{MechNTLM, MechKrb5}})
		i := NewInitiator(target(t), &InitiatorOptions{Mech: MechSPNEGO, Credential: either, NegMechs: []OID{MechNTLM, MechKrb5}, Without: notInNTLM})
		a := NewAcceptor(&AcceptorOptions{Credential: acquire(t, &CredentialOptions{Usage: Accept, Mechs: []OID{MechSPNEGO}, NegMechs: neg})})
		err := handshake(i, a, nil)
		if neg == nil {
			wantErr(t, "NTLM, then Kerberos", err, ErrUnauthorized)
		} else if info, e := a.Info(); err != nil || e != nil || info.Mech != MechKrb5 {
			t.Errorf("a credential with Kerberos inside of SPNEGO: %v, %+v, %v", err, info, e)
		}
	}
	// An initiator that was not told to: with tickets it takes Kerberos, without it fails.
	i, a := NewInitiator(target(t), &InitiatorOptions{Mech: MechSPNEGO}), NewAcceptor(&AcceptorOptions{Mechs: []OID{MechSPNEGO, MechNTLM, MechKrb5}})
	if err := handshake(i, a, nil); err != nil {
		t.Fatal(err)
	}
	if info, err := a.Info(); err != nil || info.Mech != MechKrb5 {
		t.Errorf("%+v, %v", info, err)
	}
	i = NewInitiator(target(t), &InitiatorOptions{Mech: MechSPNEGO, Credential: carol, Without: notInNTLM})
	a = NewAcceptor(&AcceptorOptions{Mechs: []OID{MechSPNEGO, MechNTLM}})
	if err := handshake(i, a, nil); err == nil || i.Established() {
		t.Errorf("an initiator ended in NTLM that was not told to: %v", err)
	} else {
		t.Log(err)
	}
}
