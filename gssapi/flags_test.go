package gssapi

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
)

func TestFlagsAddToDefaults(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		for _, c := range []struct {
			flags, without Flags
			want, not      Flags
		}{
			{0, 0, DefaultFlags, FlagDeleg | FlagAnon | FlagDCEStyle},
			{FlagDeleg, 0, DefaultFlags | FlagDeleg, 0},
			{FlagDCEStyle, 0, DefaultFlags | FlagDCEStyle, FlagDeleg},
			{FlagDeleg, FlagSequence, DefaultFlags&^FlagSequence | FlagDeleg, FlagSequence},
			{0, FlagReplay | FlagSequence, FlagMutual | FlagConf | FlagInteg, FlagReplay | FlagSequence},
			{0, FlagMutual, DefaultFlags &^ FlagMutual, FlagMutual},
			{FlagDeleg, FlagDeleg, DefaultFlags, FlagDeleg},
			{FlagDelegPolicy, 0, DefaultFlags, 0},
		} {
			t.Run(fmt.Sprintf("%v without %v", c.flags, c.without), func(t *testing.T) {
				io, ao := &InitiatorOptions{Mech: mech, Flags: c.flags, Without: c.without}, &AcceptorOptions{Require: c.want}
				if c.want&(FlagReplay|FlagSequence) == FlagReplay && laterHeimdal() {
					// It takes messages twice then.
					i, a := contexts(t, io, ao)
					err := handshake(i, a, nil)
					wantErr(t, "replay without sequence", err, ErrUnauthorized)
					if !strings.Contains(err.Error(), "together with sequence only") {
						t.Error(err)
					}
					return
				}
				i, a := pair(t, io, ao)
				for _, x := range []*Context{i, a} {
					info, err := x.Info()
					if err != nil {
						t.Fatal(err)
					}
					if info.Flags&c.want != c.want || info.Flags&c.not != 0 {
						t.Errorf("%v has %v, want %v and not %v", x, info.Flags, c.want, c.not)
					}
				}
				if c.want&FlagMutual == 0 && kind() == gss.KindHeimdal {
					// Without a token from the acceptor, Heimdal 7.8 takes its
					// first message for its second.
					_, err := i.Unwrap(wrap(t, a, "first"))
					wantErr(t, "the acceptor's first message", err, ErrGapToken)
				}
				exchange(t, i, a)
			})
		}
	})
}

// What is asked for and not granted is an error, and the peer gets no token
// that says otherwise.
func TestNotGranted(t *testing.T) {
	needsHandshake(t)
	notForwardable, err := realm.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	forwardable := os.Getenv("KRB5CCNAME")
	eachMech(t, func(t *testing.T, mech OID) {
		for _, without := range []Flags{0, FlagMutual} {
			t.Run("initiator without "+without.String(), func(t *testing.T) {
				kept(t)
				t.Setenv("KRB5CCNAME", "FILE:"+notForwardable)
				i, a := contexts(t, &InitiatorOptions{Mech: mech, Flags: FlagDeleg, Without: without}, nil)
				err := handshake(i, a, nil)
				wantErr(t, "the handshake", err, ErrUnauthorized)
				var side *sideError
				if !errors.As(err, &side) || side.side != "initiator" || side.token != nil {
					t.Errorf("%+v", side)
				}
				if !strings.Contains(err.Error(), "deleg") {
					t.Errorf("%v does not say what is missing", err)
				}
				_, again := i.Step(t.Context(), nil)
				if again != side.err {
					t.Errorf("the next Step: %v, want the same as before, %v", again, side.err)
				}
				wantGone(t, i)
			})
		}
		t.Run("acceptor", func(t *testing.T) {
			kept(t)
			t.Setenv("KRB5CCNAME", forwardable)
			for _, require := range []Flags{FlagDeleg, FlagDCEStyle, FlagAnon | FlagMutual} {
				i, a := contexts(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Require: require})
				err := handshake(i, a, nil)
				wantErr(t, "the handshake", err, ErrUnauthorized)
				var side *sideError
				if !errors.As(err, &side) || side.side != "acceptor" || side.token != nil {
					t.Errorf("%+v", side)
				}
				wantGone(t, a)
				if i.Established() {
					t.Error("the initiator believes that all is well")
				}
			}
		})
	})
}

func TestLifetimeIsNotNegative(t *testing.T) {
	n, err := HostService("host", "server.test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewInitiator(n, &InitiatorOptions{Lifetime: -1}).Step(t.Context(), nil)
	wantErr(t, "Step", err, ErrFailure)
	if !strings.Contains(err.Error(), "negative") {
		t.Error(err)
	}
	_, err = Acquire(t.Context(), &CredentialOptions{Lifetime: -1})
	wantErr(t, "Acquire", err, ErrFailure)
}

func TestDelegation(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Flags: FlagDeleg}, &AcceptorOptions{Require: FlagDeleg})
		if i.Delegated() != nil {
			t.Error("the initiator has a delegated credential")
		}
		cred := a.Delegated()
		if cred == nil {
			t.Fatal("there is no delegated credential")
		}
		// It outlives its context, and works where there is no other.
		i.Close()
		a.Close()
		t.Setenv("KRB5CCNAME", "FILE:"+realm.Dir()+"/none")
		info, err := cred.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.Name.String() != realm.Principal("alice") || info.Usage == Accept {
			t.Errorf("it is %v's, to %v", info.Name, info.Usage)
		}
		further := importName(t, "HTTP@other.test", NTHostBasedService)
		x, y := NewInitiator(further, &InitiatorOptions{Credential: cred}), NewAcceptor(nil)
		if err := handshake(x, y, nil); err != nil {
			t.Fatal(err)
		}
		exchange(t, x, y)
		if got, err := y.Info(); err != nil || got.Peer().String() != realm.Principal("alice") {
			t.Errorf("the peer is %v, %v", got.Peer(), err)
		}
		cred.Close()
		_, err = NewInitiator(further, &InitiatorOptions{Credential: cred, Mech: mech}).Step(t.Context(), nil)
		wantErr(t, "a closed credential", err, ErrNoCred)
	})
}

// frame is a token of RFC 2743, 3.1.
func frame(mech OID, body string) []byte {
	inner := append([]byte{0x06, byte(len(mech))}, string(mech)+body...)
	b, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassApplication, Tag: 0, IsCompound: true, Bytes: inner})
	if err != nil {
		panic(err)
	}
	return b
}

func TestAcceptorMechs(t *testing.T) {
	const (
		microsoft OID = "\x2a\x86\x48\x82\xf7\x12\x01\x02\x02"
		unknown   OID = "\x2a\x03\x04"
	)
	ntlm := []byte("NTLMSSP\x00\x01\x00\x00\x00\x07\x82\x08\xa2" + strings.Repeat("\x00", 24))
	krb5Only, spnegoOnly, both := []OID{MechKrb5}, []OID{MechSPNEGO}, []OID{MechKrb5, MechSPNEGO}
	for _, c := range []struct {
		name  string
		mechs []OID
		token []byte
	}{
		{"raw NTLM, default", nil, ntlm},
		{"raw NTLM, both", both, ntlm},
		{"raw NTLM cut, default", nil, ntlm[:8]},
		{"framed NTLM, default", nil, frame(MechNTLM, string(ntlm))},
		{"framed NTLM, SPNEGO", spnegoOnly, frame(MechNTLM, string(ntlm))},
		{"SPNEGO, krb5", krb5Only, frame(MechSPNEGO, "\xa0\x02\x30\x00")},
		{"no token, krb5", krb5Only, nil},
		{"krb5, SPNEGO", spnegoOnly, frame(MechKrb5, "\x01\x00")},
		{"Microsoft's krb5, SPNEGO", spnegoOnly, frame(microsoft, "\x01\x00")},
		{"bare AP-REQ, SPNEGO", spnegoOnly, []byte("\x6e\x82\x01\x00")},
		{"IAKERB, default", nil, frame(MechIAKERB, "\x05\x01")},
		{"unknown, default", nil, frame(unknown, "junk")},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := NewAcceptor(&AcceptorOptions{Mechs: c.mechs})
			out, err := a.Step(t.Context(), c.token)
			wantErr(t, "Step", err, ErrBadMech)
			var e *Error
			if !errors.As(err, &e) || e.Op != "Step" {
				t.Errorf("%v came from C", err)
			}
			if out != nil {
				t.Error("there is a token for the peer")
			}
		})
	}
	// Tokens whose mechanism cannot be told do not slip through: C refuses them.
	for _, token := range []string{"\x60", "\x60\x80", "\x60\x03\x06\x81\x01", "\x60\x02\x06\x09", "\x05\x04\x00", "junk", "\x00", "\x60\x02\x06\x00"} {
		if _, err := NewAcceptor(nil).Step(t.Context(), []byte(token)); err == nil {
			t.Errorf("%q was accepted", token)
		}
	}
	eachMech(t, func(t *testing.T, mech OID) {
		for _, mechs := range [][]OID{nil, both, {mech}, {MechNTLM, MechKrb5, MechSPNEGO}} {
			if slices.Equal(mechs, spnegoOnly) || !slices.Contains(mechs, MechKrb5) && mechs != nil {
				mechs = spnegoOnly
			}
			i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Mechs: mechs})
			exchange(t, i, a)
		}
		// The same with lengths that firstMech does not read.
		first := step(t, NewInitiator(target(t), &InitiatorOptions{Mech: mech}), nil)
		at := bytes.Index(first, append([]byte{6, byte(len(mech))}, mech...))
		inner := slices.Concat([]byte{6, 0x81}, first[at+1:])
		for _, head := range []string{"\x60\x82", "\x60\x84\x00\x00"} {
			odd := slices.Concat([]byte(head), []byte{byte(len(inner) >> 8), byte(len(inner))}, inner)
			_, err := NewAcceptor(nil).Step(t.Context(), odd)
			wantErr(t, "an identifier of odd length", err, ErrDefectiveToken)
		}
		refused := spnegoOnly
		if mech == MechSPNEGO {
			refused = krb5Only
		}
		i, a := contexts(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Mechs: refused})
		err := handshake(i, a, nil)
		wantErr(t, "the handshake", err, ErrBadMech)
	})
}

// What is agreed on inside of SPNEGO is held to the same list.
func TestAgreedMech(t *testing.T) {
	i, a := contexts(t, &InitiatorOptions{Mech: MechSPNEGO}, &AcceptorOptions{Mechs: []OID{MechSPNEGO, MechNTLM}})
	err := handshake(i, a, nil)
	wantErr(t, "an acceptor that wants NTLM inside", err, ErrUnauthorized)
	i, a = contexts(t, &InitiatorOptions{Mech: MechSPNEGO, NegMechs: []OID{MechNTLM}}, nil)
	err = handshake(i, a, nil)
	wantErr(t, "an initiator that wants NTLM inside", err, ErrUnauthorized)
}

func TestBindings(t *testing.T) {
	bindings := func(s string) *ChannelBindings { return &ChannelBindings{ApplicationData: []byte(s)} }
	addresses := func(last byte) *ChannelBindings {
		return &ChannelBindings{
			InitiatorAddrType: gss.AddrInet, InitiatorAddress: []byte{127, 0, 0, last},
			AcceptorAddrType: gss.AddrInet, AcceptorAddress: []byte{127, 0, 0, 1}, ApplicationData: []byte("tls-unique"),
		}
	}
	eachMech(t, func(t *testing.T, mech OID) {
		for _, c := range []struct {
			name    string
			i, a    *ChannelBindings
			refused bool
		}{
			{"equal", bindings("tls-server-end-point:x"), bindings("tls-server-end-point:x"), false},
			{"different", bindings("tls-server-end-point:x"), bindings("tls-server-end-point:y"), true},
			{"initiator's alone", bindings("x"), nil, false},
			{"equal addresses", addresses(7), addresses(7), false},
			{"different addresses", addresses(7), addresses(8), true},
			{"acceptor's alone", nil, bindings("x"), false},
		} {
			t.Run(c.name, func(t *testing.T) {
				i, a := contexts(t, &InitiatorOptions{Mech: mech, Bindings: c.i}, &AcceptorOptions{Bindings: c.a})
				err := handshake(i, a, nil)
				if c.refused {
					wantErr(t, "the handshake", err, ErrBadBindings)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				exchange(t, i, a)
			})
		}
		t.Run("required", func(t *testing.T) {
			require := &AcceptorOptions{Bindings: bindings("x"), RequireBindings: true}
			if kind() == gss.KindHeimdal && !gss.Supports("gss_acquire_cred_from") {
				_, a := contexts(t, &InitiatorOptions{Mech: mech, Bindings: bindings("x")}, require)
				_, err := a.Step(t.Context(), step(t, NewInitiator(target(t), nil), nil))
				wantErr(t, "Step", err, ErrUnavailable, errors.ErrUnsupported)
				return
			}
			i, a := pair(t, &InitiatorOptions{Mech: mech, Bindings: bindings("x")}, require)
			if a.flags&FlagChannelBound == 0 {
				t.Errorf("%v", a.flags)
			}
			exchange(t, i, a)
			i, a = contexts(t, &InitiatorOptions{Mech: mech}, require)
			wantErr(t, "an initiator without", handshake(i, a, nil), ErrBadBindings)
			i, a = contexts(t, &InitiatorOptions{Mech: mech, Bindings: bindings("y")}, require)
			wantErr(t, "an initiator with others", handshake(i, a, nil), ErrBadBindings)
			_, err := NewAcceptor(&AcceptorOptions{RequireBindings: true}).Step(t.Context(), step(t, NewInitiator(target(t), nil), nil))
			wantErr(t, "required and not given", err, ErrBadBindings)
		})
	})
}

// Options are copied: a change after the call, or between two legs, has no
// effect.
func TestOptionsAreCopied(t *testing.T) {
	needsHandshake(t)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		for _, style := range []Flags{0, FlagDCEStyle} {
			data, more := []byte("the channel"), []byte("the channel")
			io := &InitiatorOptions{Mech: mech, Flags: style, Bindings: &ChannelBindings{ApplicationData: data}, NegMechs: []OID{MechKrb5}}
			ao := &AcceptorOptions{Mechs: []OID{MechKrb5, MechSPNEGO}, Require: FlagConf, Bindings: &ChannelBindings{ApplicationData: more}}
			i, a := contexts(t, io, ao)
			spoil := func() {
				data[0]++
				more[1]++
				io.Bindings.ApplicationData, ao.Bindings.ApplicationData = nil, []byte("another")
				io.Flags, io.Without, io.Mech, io.NegMechs[0], io.Lifetime = FlagAnon, FlagMutual, MechNTLM, MechNTLM, -1
				ao.Mechs[0], ao.Mechs[1], ao.Require, ao.RequireBindings = MechNTLM, MechNTLM, FlagAnon, true
				io.Credential, ao.Credential = &Credential{}, &Credential{}
			}
			spoil()
			var token []byte
			for range 5 {
				if !i.Established() {
					token = step(t, i, token)
					spoil()
				}
				if len(token) > 0 && !a.Established() {
					token = step(t, a, token)
					spoil()
				}
			}
			exchange(t, i, a)
		}
	}
}

func FuzzFirstMech(f *testing.F) {
	for _, mech := range []OID{MechKrb5, MechSPNEGO, MechNTLM, MechIAKERB} {
		f.Add(frame(mech, "body"), string(mech), "body")
		f.Add(frame(mech, strings.Repeat("body", 1000)), string(mech), strings.Repeat("body", 100))
	}
	for _, s := range []string{"", "\x60", "\x60\xff", "\x60\x82\x01", "\x6e", "NTLMSSP\x00", "\x60\x80\x06\x7f", "\x60\x00\x06\x80"} {
		f.Add([]byte(s), "", "")
	}
	f.Fuzz(func(t *testing.T, token []byte, oid, body string) {
		if mech := firstMech(token); len(mech) > 0 && len(token) > 0 && token[0] == 0x60 {
			if i := bytes.Index(token, append([]byte{0x06, byte(len(mech))}, mech...)); i < 2 || len(mech) > 127 {
				t.Errorf("%q of % x", mech, token)
			}
		}
		if len(oid) < 128 {
			if got := firstMech(frame(OID(oid), body)); got != OID(oid) {
				t.Errorf("%q, want %q", got, oid)
			}
		}
		for n := range token {
			firstMech(token[:n])
		}
	})
}
