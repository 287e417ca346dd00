package gss

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/internal/fakegss"
)

// What no real library does on demand. Each test runs in a child that uses the
// fake library; what that holds at the end, and what Live says, is checked for
// all of them.

// toldTo changes what the fake library is told to do.
func toldTo(t *testing.T, faults string) {
	t.Helper()
	check(t, os.Setenv("FAKEGSS", faults))
}

// fakePair is a context of the fake library.
func fakePair(t *testing.T) pair {
	t.Helper()
	i, a := establish(t, MechKrb5, allFlags)
	return pair{i, a}
}

func TestFakeExport(t *testing.T) {
	for _, tt := range []struct {
		fault string
		want  error
		texts []string
		kept  bool
	}{
		{"fail-keep", ErrFailure, nil, true},
		{"fail-null", ErrFailure, nil, false},
		{"unavailable", ErrUnavailable, nil, true},
		{"empty", ErrUnavailable, []string{"nothing that could be imported", "lost"}, false},
		{"oidonly", ErrUnavailable, []string{"nothing that could be imported", "lost"}, false},
		{"keep", nil, nil, false},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			child, log := inFake(t, "", nil)
			if !child {
				if n := len(log.calls("gss_export_sec_context")); n != 1 {
					t.Errorf("exported %d times", n)
				}
				// The other end, and this one if the library left it; what was imported is a third.
				want := map[string]int{"fail-keep": 2, "unavailable": 2, "keep": 3}[tt.fault]
				if want == 0 {
					want = 1
				}
				if n := len(log.calls("gss_delete_sec_context")); n != want {
					t.Errorf("%d contexts were deleted, want %d", n, want)
				}
				return
			}
			p := fakePair(t)
			toldTo(t, "export="+tt.fault)
			b, err := p.a.Export()
			toldTo(t, "")
			is(t, err, tt.want)
			if tt.want != nil {
				if b != nil {
					t.Error("a token with an error")
				}
				mention(t, err, append(tt.texts, "gss_export_sec_context")...)
			}
			if p.a.Gone() == tt.kept {
				t.Errorf("gone: %v", !tt.kept)
			}
			if tt.kept {
				p.send(t, []byte("it still works"), true)
			} else {
				noContext(t, p.a, "there is no context")
			}
			if err == nil {
				// The only holder is who imports it.
				x, err := ImportSecContext(b.Bytes())
				check(t, err)
				b.Release()
				pair{p.i, x}.send(t, []byte("from its token"), true)
				x.Delete()
				p.i.Delete()
				p.a.Delete()
				if Live() != 1 {
					t.Errorf("%d things are held, want the acceptor's name", Live())
				}
			}
		})
	}
}

func TestFakeImport(t *testing.T) {
	for _, tt := range []struct {
		fault, text string
	}{
		{"fail-handle", "failure"},
		{"null", "reported success and returned no context"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			child, log := inFake(t, "", nil)
			if !child {
				if n := len(log.calls("gss_import_sec_context")); n != 1 {
					t.Errorf("imported %d times", n)
				}
				return
			}
			p := fakePair(t)
			b, err := p.a.Export()
			check(t, err)
			toldTo(t, "import="+tt.fault)
			before := Live()
			x, err := ImportSecContext(b.Bytes())
			toldTo(t, "")
			is(t, err, ErrFailure)
			mention(t, err, "gss_import_sec_context", tt.text)
			if x != nil || Live() != before {
				t.Errorf("a context: %v; %d more things are held", x != nil, Live()-before)
			}
			b.Release()
		})
	}
}

// Whatever the first leg or a later one does wrong, the context is deleted, and
// what came with it is released or delivered.
func TestFakeEstablish(t *testing.T) {
	for _, side := range []string{"init", "accept"} {
		for _, tt := range []struct {
			fault string
			want  error
			text  string
			token bool
		}{
			{"weird", ErrFailure, "the library returned 0x6eda3601, which is no major status", false},
			{"null", ErrFailure, "reported success and returned no context", false},
			{"fail-token", ErrFailure, "told to fail, with a token for the peer", true},
		} {
			t.Run(side+" "+tt.fault, func(t *testing.T) {
				if child, _ := inFake(t, "", nil); !child {
					return
				}
				target := server(t)
				bad := NewCtx()
				defer bad.Delete()
				var s *Step
				var err error
				if side == "init" {
					if tt.fault != "null" { // the library makes the context in the first leg
						s, err := bad.Init(&InitArgs{Target: target, Flags: allFlags})
						check(t, err)
						s.Token.Release()
					}
					toldTo(t, "init="+tt.fault)
					s, err = bad.Init(&InitArgs{Target: target, Flags: allFlags, Token: []byte("x")})
				} else {
					toldTo(t, "accept="+tt.fault)
					s, err = bad.Accept(&AcceptArgs{Token: []byte("x")})
				}
				is(t, err, tt.want)
				mention(t, err, "gss_"+side+"_sec_context", tt.text)
				if s == nil || s.Done || s.Source != nil || s.Delegated != nil {
					t.Fatalf("%+v", s)
				}
				if got := s.Token.Len() > 0; got != tt.token {
					t.Errorf("a token: %v", got)
				}
				s.Token.Release()
				if !bad.Gone() {
					t.Error("a context that failed is there")
				}
				noContext(t, bad, "there is no context")
				_, err = bad.Init(&InitArgs{Target: target})
				is(t, err, ErrNoContext)
				mention(t, err, "failed to establish")
			})
		}
	}
}

// The first leg passes GSS_C_NO_BUFFER, a later one its token even if that is
// empty; every leg the same arguments.
func TestFakeLegs(t *testing.T) {
	child, log := inFake(t, "init=continue-forever;accept=continue-forever", nil)
	if !child {
		inits := log.calls("gss_init_sec_context")
		if len(inits) != 4 {
			t.Fatalf("%d legs", len(inits))
		}
		for n, want := range []string{"NULL", "5", "empty", "1"} {
			got := inits[n].Args
			if got["input"] != want {
				t.Errorf("leg %d: input %s, want %s", n, got["input"], want)
			}
			if (got["context"] == "NULL") != (n == 0) {
				t.Errorf("leg %d: context %s", n, got["context"])
			}
			for k, want := range map[string]string{
				"cred": "given", "target": hostName, "mech": MechKrb5.String(), "flags": fmt.Sprintf("0x%x", uint32(allFlags|FlagDeleg)),
				"time_req": "12345", "bindings": "2:4,2:3,4",
			} {
				if got[k] != want {
					t.Errorf("leg %d: %s=%s, want %s", n, k, got[k], want)
				}
			}
		}
		accepts := log.calls("gss_accept_sec_context")
		if len(accepts) != 2 || accepts[0].Args["input"] != "empty" || accepts[1].Args["input"] != "3" {
			t.Errorf("%v", accepts)
		}
		for n, c := range accepts {
			if c.Args["cred"] != "given" || c.Args["bindings"] != "255:0,255:0,1" {
				t.Errorf("leg %d: %v", n, c)
			}
		}
		return
	}
	r, err := AcquireCred(nil, 0, nil, UsageBoth)
	check(t, err)
	defer r.Cred.Release()
	a := InitArgs{
		Cred: r.Cred, Target: server(t), Mech: MechKrb5, Flags: allFlags | FlagDeleg, Lifetime: 12345,
		Bindings: &ChannelBindings{AddrInet, []byte{1, 2, 3, 4}, AddrInet, []byte{5, 6, 7}, []byte("data")},
	}
	x := NewCtx()
	defer x.Delete()
	for _, token := range [][]byte{nil, []byte("token"), {}, {1}} {
		a.Token = token
		s, err := x.Init(&a)
		check(t, err)
		if s.Done || s.Token.Len() == 0 {
			t.Errorf("done %v, %v", s.Done, s.Token)
		}
		s.Token.Release()
	}
	y := NewCtx()
	defer y.Delete()
	for _, token := range [][]byte{nil, {1, 2, 3}} {
		s, err := y.Accept(&AcceptArgs{Cred: r.Cred, Token: token, Bindings: &ChannelBindings{AddrNull, nil, AddrNull, nil, []byte("x")}})
		check(t, err)
		s.Token.Release()
	}
}

// Lifetimes, usages, mechanisms and stores reach C as they were given.
func TestFakeAcquireArguments(t *testing.T) {
	child, log := inFake(t, "", &fakegss.Options{Optional: []string{"gss_acquire_cred_from", "gss_acquire_cred_with_password"}})
	if !child {
		for function, wants := range map[string][]map[string]string{
			"gss_acquire_cred": {
				{"desired_name": "NULL", "time_req": "0", "mechs": "NULL", "usage": "0"},
				{"desired_name": "alice", "time_req": "4294967295", "mechs": "1.2.840.113554.1.2.2,1.3.6.1.5.5.2", "usage": "1"},
				{"desired_name": "alice", "time_req": "1", "mechs": "1.3.6.1.5.5.2", "usage": "2"},
			},
			"gss_acquire_cred_from": {
				{"time_req": "77", "usage": "2", "store": "NULL"},
				{"time_req": "77", "usage": "2", "store": "ccache:FILE:/tmp/a%20b,keytab:,rcache:none:"},
			},
			"gss_acquire_cred_with_password": {
				{"desired_name": "alice", "password": "6", "time_req": "99", "usage": "1"},
				{"desired_name": "alice", "password": "empty", "time_req": "99", "usage": "1"},
			},
			"gss_add_cred": {
				{"cred": "NULL", "desired_name": "NULL", "time_req": "1", "acceptor_time_req": "2", "usage": "2"},
				{"cred": "given", "desired_name": "alice", "time_req": "4294967295", "acceptor_time_req": "0", "usage": "0"},
			},
		} {
			calls := log.calls(function)
			if len(calls) != len(wants) {
				t.Errorf("%s: %d calls", function, len(calls))
				continue
			}
			for n, want := range wants {
				for k, v := range want {
					if got := calls[n].Args[k]; strings.ReplaceAll(got, " ", "%20") != v {
						t.Errorf("%s %d: %s=%s, want %s", function, n, k, got, v)
					}
				}
			}
		}
		return
	}
	n := nameOf(t, "alice", NTUserName)
	done := func(r *CredResult, err error) {
		t.Helper()
		check(t, err)
		if r.Lifetime != 3600 || len(r.Mechs) != 2 {
			t.Errorf("%+v", r)
		}
		r.Cred.Release()
	}
	done(AcquireCred(nil, 0, nil, UsageBoth))
	done(AcquireCred(n, Indefinite, []OID{MechKrb5, MechSPNEGO}, UsageInitiate))
	done(AcquireCred(n, 1, []OID{MechSPNEGO}, UsageAccept))
	done(AcquireCredFrom(nil, 77, nil, UsageAccept, nil))
	done(AcquireCredFrom(nil, 77, nil, UsageAccept, map[string]string{"ccache": "FILE:/tmp/a b", "rcache": "none:", "keytab": ""}))
	done(AcquireCredWithPassword(n, []byte("secret"), 99, nil, UsageInitiate))
	done(AcquireCredWithPassword(n, nil, 99, nil, UsageInitiate))
	r, err := (*Cred)(nil).Add(nil, MechKrb5, UsageAccept, 1, 2)
	check(t, err)
	if r.AcceptorLifetime != 3600 {
		t.Errorf("%+v", r)
	}
	done(r.Cred.Add(n, MechKrb5, UsageBoth, Indefinite, 0))
	r.Cred.Release()
}

// What a library lacks is an error that names the function and the library.
func TestFakeLacks(t *testing.T) {
	if child, _ := inFake(t, "", nil); !child {
		return
	}
	for _, f := range []string{"gss_wrap_iov", "gss_wrap_iov_length", "gss_unwrap_iov", "gss_acquire_cred_from", "gss_acquire_cred_with_password", "gss_check_version"} {
		if Supports(f) {
			t.Errorf("it has %s", f)
		}
	}
	if !Supports("gss_wrap") {
		t.Error("it has no gss_wrap")
	}
	_, err := AcquireCredFrom(nil, 0, nil, UsageBoth, map[string]string{"a": "b"})
	is(t, err, ErrUnavailable)
	is(t, err, errors.ErrUnsupported)
	mention(t, err, "has no function gss_acquire_cred_from", os.Getenv(libraryEnv))
	_, err = AcquireCredWithPassword(nil, []byte("x"), 0, nil, UsageBoth)
	is(t, err, ErrUnavailable)
	mention(t, err, "has no function gss_acquire_cred_with_password", os.Getenv(libraryEnv))
	l, err := Library()
	check(t, err)
	if l.Kind != "" || l.Version != "" || l.Path != os.Getenv(libraryEnv) {
		t.Errorf("%+v", l)
	}
}

// A library that fails to release is asked once, and nothing is counted as held.
func TestFakeReleaseFails(t *testing.T) {
	child, log := inFake(t, "release=fail", nil)
	if !child {
		for f, want := range map[string]int{"gss_release_cred": 1, "gss_delete_sec_context": 2} {
			if n := len(log.calls(f)); n != want {
				t.Errorf("%s: %d calls, want %d", f, n, want)
			}
		}
		return
	}
	n, err := ImportName([]byte("x"), NTUserName)
	check(t, err)
	r, err := AcquireCred(n, 0, []OID{MechKrb5}, UsageBoth)
	check(t, err)
	m, err := ImportName([]byte(hostName), NTHostBasedService)
	check(t, err)
	s1, x := (*Step)(nil), NewCtx()
	s1, err = x.Init(&InitArgs{Target: m, Cred: r.Cred})
	check(t, err)
	y := NewCtx()
	s2, err := y.Accept(&AcceptArgs{Token: s1.Token.Bytes()})
	check(t, err)
	h, err := s2.Source.Detach()
	check(t, err)
	releaseName(h)
	for range 2 {
		n.Release()
		r.Cred.Release()
		s1.Token.Release()
		s2.Token.Release()
		x.Delete()
		y.Delete()
	}
	m.c.close()
	if Live() != 0 {
		t.Errorf("%d things are held", Live())
	}
}

// gss_display_status that goes on for ever, or gives a mebibyte, or nothing.
func TestFakeDisplayStatus(t *testing.T) {
	for _, tt := range []struct {
		fault string
		calls int
		good  func(text string) bool
	}{
		{"endless", maxMessages, func(text string) bool { return text == "gss_indicate_mechs was told to fail" }},
		{"huge", 1, func(text string) bool { return text == strings.Repeat("x", maxText) }},
		{"fail", 1, func(text string) bool { return text == "" }},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			child, log := inFake(t, "fail=gss_indicate_mechs;display="+tt.fault, nil)
			if !child {
				calls := log.calls("gss_display_status")
				if len(calls) != tt.calls {
					t.Errorf("%d calls, want %d", len(calls), tt.calls)
				}
				for n, c := range calls {
					if c.Args["type"] != "2" || c.Args["context"] != fmt.Sprint(n) {
						t.Errorf("%v", c)
					}
				}
				return
			}
			_, err := IndicateMechs()
			var e *Error
			if !errors.As(err, &e) || !tt.good(e.Text) {
				t.Errorf("%v", clip(fmt.Sprint(err)))
			}
		})
	}
}

// The status of a failed call, and what it may have left in its outputs.
func TestFakeFailures(t *testing.T) {
	if child, _ := inFake(t, "", nil); !child {
		return
	}
	for _, f := range []string{
		"gss_import_name", "gss_display_name", "gss_compare_name", "gss_duplicate_name", "gss_canonicalize_name", "gss_export_name", "gss_inquire_mechs_for_name",
		"gss_acquire_cred", "gss_add_cred", "gss_inquire_cred", "gss_inquire_cred_by_mech", "gss_indicate_mechs", "gss_inquire_names_for_mech",
		"gss_create_empty_oid_set", "gss_add_oid_set_member", "gss_test_oid_set_member",
		"gss_init_sec_context", "gss_accept_sec_context", "gss_process_context_token", "gss_context_time", "gss_inquire_context", "gss_wrap_size_limit",
		"gss_wrap", "gss_unwrap", "gss_get_mic", "gss_verify_mic", "gss_export_sec_context", "gss_import_sec_context",
	} {
		t.Run(f, func(t *testing.T) {
			n, m := nameOf(t, "x", NTUserName), nameOf(t, hostName, NTHostBasedService)
			r, err := AcquireCred(nil, 0, nil, UsageBoth)
			check(t, err)
			defer r.Cred.Release()
			p := fakePair(t)
			exp, err := fakePair(t).a.Export()
			check(t, err)
			defer exp.Release()
			toldTo(t, "fail="+f)
			before := Live()
			err = map[string]func() error{
				"gss_import_name":            func() error { _, err := ImportName([]byte("y"), ""); return err },
				"gss_display_name":           func() error { _, _, err := n.Display(); return err },
				"gss_compare_name":           func() error { _, err := n.Compare(m); return err },
				"gss_duplicate_name":         func() error { _, err := n.Duplicate(); return err },
				"gss_canonicalize_name":      func() error { _, err := n.Canonicalize(MechKrb5); return err },
				"gss_export_name":            func() error { _, err := n.Export(); return err },
				"gss_inquire_mechs_for_name": func() error { _, err := n.InquireMechs(); return err },
				"gss_acquire_cred":           func() error { _, err := AcquireCred(n, 0, []OID{MechKrb5}, UsageBoth); return err },
				"gss_add_cred":               func() error { _, err := r.Cred.Add(n, MechKrb5, UsageBoth, 0, 0); return err },
				"gss_inquire_cred":           func() error { _, err := r.Cred.Inquire(); return err },
				"gss_inquire_cred_by_mech":   func() error { _, err := r.Cred.InquireByMech(MechKrb5); return err },
				"gss_indicate_mechs":         func() error { _, err := IndicateMechs(); return err },
				"gss_inquire_names_for_mech": func() error { _, err := InquireNamesForMech(MechKrb5); return err },
				"gss_create_empty_oid_set":   func() error { _, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageBoth); return err },
				"gss_add_oid_set_member":     func() error { _, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageBoth); return err },
				"gss_test_oid_set_member":    func() error { _, err := TestOIDSetMember(MechKrb5, []OID{MechSPNEGO}); return err },
				"gss_init_sec_context":       func() error { _, err := NewCtx().Init(&InitArgs{Target: m}); return err },
				"gss_accept_sec_context":     func() error { _, err := NewCtx().Accept(&AcceptArgs{}); return err },
				"gss_process_context_token":  func() error { return p.i.ProcessToken(nil) },
				"gss_context_time":           func() error { _, err := p.i.Time(); return err },
				"gss_inquire_context":        func() error { _, err := p.i.Inquire(); return err },
				"gss_wrap_size_limit":        func() error { _, err := p.i.WrapSizeLimit(true, 0, 100); return err },
				"gss_wrap":                   func() error { _, _, err := p.i.Wrap(nil, []byte("m"), true, 0); return err },
				"gss_unwrap":                 func() error { _, _, _, err := p.i.Unwrap(nil, []byte("m")); return err },
				"gss_get_mic":                func() error { _, err := p.i.GetMIC(nil, []byte("m"), 0); return err },
				"gss_verify_mic":             func() error { _, err := p.i.VerifyMIC([]byte("m"), []byte("m")); return err },
				"gss_export_sec_context":     func() error { _, err := p.i.Export(); return err },
				"gss_import_sec_context":     func() error { _, err := ImportSecContext(exp.Bytes()); return err },
			}[f]()
			toldTo(t, "")
			is(t, err, ErrFailure)
			mention(t, err, f+": failure: "+f+" was told to fail")
			if Live() != before {
				t.Errorf("%d more things are held", Live()-before)
			}
			p.send(t, []byte("the context still works"), true)
		})
	}
}

// A failing wrap that left a buffer, which is not the token.
func TestFakeWrapFailsWithBuffer(t *testing.T) {
	if child, _ := inFake(t, "", nil); !child {
		return
	}
	p := fakePair(t)
	toldTo(t, "wrap=empty-fail")
	for _, dst := range [][]byte{nil, make([]byte, 1, 100)} {
		tok, encrypted, err := p.i.Wrap(dst, []byte("m"), true, 0)
		is(t, err, ErrFailure)
		if len(tok) != len(dst) || encrypted {
			t.Errorf("%q, %v", tok, encrypted)
		}
	}
	toldTo(t, "wrap=noconf")
	if _, encrypted, err := p.i.Wrap(nil, []byte("m"), true, 0); err != nil || encrypted {
		t.Errorf("encrypted %v, %v", encrypted, err)
	}
	// Heimdal's duplicate: the status without the message.
	toldTo(t, "")
	tok, _, err := p.a.Wrap(nil, []byte("m"), true, 0)
	check(t, err)
	toldTo(t, "unwrap=dup-nodata")
	got, _, _, err := p.i.Unwrap([]byte("x"), tok)
	is(t, err, ErrDuplicateToken)
	if string(got) != "x" {
		t.Errorf("%q", got)
	}
}

// Secrets are overwritten before they go back to the library.
func TestFakeWipes(t *testing.T) {
	child, log := inFake(t, "", nil)
	if !child {
		var exported, other int
		for _, c := range log.calls("gss_release_buffer") {
			switch {
			case c.Args["len"] == "empty" || c.Args["len"] == "NULL":
			case c.Args["wiped"] == "yes":
				exported++
			default:
				other++
			}
		}
		if exported != 3 || other == 0 {
			t.Errorf("%d buffers were overwritten, want the 3 exported contexts; %d not", exported, other)
		}
		return
	}
	// Released, collected, and refused as a failure.
	b, err := fakePair(t).a.Export()
	check(t, err)
	b.Release()
	_, err = fakePair(t).a.Export()
	check(t, err)
	p := fakePair(t)
	toldTo(t, "export=oidonly")
	if _, err := p.a.Export(); err == nil {
		t.Error("an OID is a context")
	}
	toldTo(t, "")
	awaitLive(t, 6) // the three other ends, and three names
}

// An expired context: MIT answers an error with the flags, Heimdal a lifetime of 0.
func TestFakeExpired(t *testing.T) {
	if child, _ := inFake(t, "", nil); !child {
		return
	}
	p := fakePair(t)
	toldTo(t, "inquire=expired;time=expired")
	info, err := p.i.Inquire()
	is(t, err, ErrContextExpired)
	if info == nil || info.Source != nil || info.Target != nil || !info.Open || !info.Local || info.Flags&allFlags != allFlags {
		t.Errorf("%+v", info)
	}
	_, err = p.i.Time()
	is(t, err, ErrContextExpired)
	toldTo(t, "inquire=lifetime0")
	info, err = p.i.Inquire()
	check(t, err)
	if info.Lifetime != 0 {
		t.Errorf("%+v", info)
	}
	info.Source.Release()
	info.Target.Release()
}

// fakeIOV is a library with calls for messages in parts.
var fakeIOV = &fakegss.Options{Optional: fakegss.IOV}

// Messages in parts, by the library that has no faults.
func TestFakeIOV(t *testing.T) {
	child, log := inFake(t, "", fakeIOV)
	if !child {
		for _, f := range []string{"gss_wrap_iov", "gss_wrap_iov_length", "gss_unwrap_iov", "gss_get_mic_iov", "gss_get_mic_iov_length", "gss_verify_mic_iov"} {
			if len(log.calls(f)) == 0 {
				t.Errorf("%s was not called", f)
			}
		}
		if n := len(log.calls("gss_release_iov_buffer")); n != 0 {
			t.Errorf("%d parts that nobody allocated were released", n)
		}
		return
	}
	p := fakePair(t)
	iov := []IOVBuffer{{Type: IOVHeader}, {IOVSignOnly, []byte("signed")}, {IOVData, []byte("sealed")}, {Type: IOVPadding}, {Type: IOVTrailer}, {Type: IOVEmpty}, {IOVMechParams, []byte("x")}}
	n, err := p.i.WrapIOVLength(true, 0, iov)
	check(t, err)
	if n != [MaxIOV]int{20, 6, 6, 0, 0, 0, 1} {
		t.Errorf("lengths %d", n)
	}
	iov[0].Data = make([]byte, 25)
	encrypted, err := p.i.WrapIOV(true, 0, iov)
	check(t, err)
	if !encrypted || len(iov[0].Data) != 20 || string(iov[2].Data) == "sealed" || string(iov[1].Data) != "signed" {
		t.Errorf("encrypted %v: %q", encrypted, iov)
	}
	encrypted, _, err = p.a.UnwrapIOV(iov)
	check(t, err)
	if !encrypted || string(iov[2].Data) != "sealed" {
		t.Errorf("encrypted %v: %q", encrypted, iov)
	}
	mic := []IOVBuffer{{IOVData, []byte("a")}, {IOVMICToken, make([]byte, 20)}, {IOVSignOnly, []byte("b")}}
	n, err = p.a.GetMICIOVLength(0, mic)
	check(t, err)
	if n != [MaxIOV]int{1, 20, 1} {
		t.Errorf("lengths %d", n)
	}
	check(t, p.a.GetMICIOV(0, mic))
	_, err = p.i.VerifyMICIOV(mic)
	check(t, err)
	_, err = p.i.VerifyMIC([]byte("ab"), mic[1].Data)
	is(t, err, ErrDuplicateToken)
	mic[2].Data[0]++
	_, err = p.i.VerifyMICIOV(mic)
	is(t, err, ErrBadMIC)
}

// A library that reaches out of the parts that it was given, or gives memory that
// nobody asked for: nothing of it is used, what it allocated goes back, and what was
// not decrypted is not left for the message.
func TestFakeIOVOdd(t *testing.T) {
	const header = 20
	faults := []string{"longer", "huge", "64k", "elsewhere", "null", "allocated", "flag", "flag;iov=allocated", "fail-allocated"}
	child, log := inFake(t, "", fakeIOV)
	if !child {
		// Of each call that makes or takes a message, and where lengths alone were asked for.
		if n := len(log.calls("gss_release_iov_buffer")); n != 3*9 {
			t.Errorf("gss_release_iov_buffer: %d calls, want %d", n, 3*9)
		}
		return
	}
	for _, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			odd := func(what string, err error) {
				t.Helper()
				is(t, err, ErrFailure)
				text := "the library returned memory that is not in the parts which it was given"
				if fault == "fail-allocated" {
					text = "told to fail, with a part that was allocated"
				}
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v", what, err)
				}
			}
			p := fakePair(t)
			told := func() { toldTo(t, "iov="+fault) }
			message := func() []IOVBuffer {
				return []IOVBuffer{{IOVHeader, make([]byte, header)}, {IOVData, []byte("sealed")}}
			}
			lengths := func(iov []IOVBuffer, header, data int) {
				t.Helper()
				if len(iov[0].Data) != header || len(iov[1].Data) != data {
					t.Errorf("the parts have %d and %d bytes", len(iov[0].Data), len(iov[1].Data))
				}
			}
			q := fakePair(t) // is not measured before it goes wrong
			before := Live()

			iov := message()
			told()
			encrypted, err := p.i.WrapIOV(true, 0, iov)
			odd("WrapIOV", err)
			lengths(iov, header, len("sealed"))
			if encrypted {
				t.Error("a message that failed is encrypted")
			}

			toldTo(t, "")
			_, _, err = p.i.IOVRoom(10, true)
			check(t, err)
			buf := make([]byte, 64)
			told()
			_, _, _, err = p.i.WrapAround(buf, 30, 40, []byte("associated"), true, 0)
			odd("WrapAround", err)

			toldTo(t, "")
			iov = message()
			_, err = p.i.WrapIOV(true, 0, iov)
			check(t, err)
			told()
			_, _, err = p.a.UnwrapIOV(iov)
			odd("UnwrapIOV", err)
			lengths(iov, header, len("sealed"))
			if strings.Trim(string(iov[1].Data), "\x00") != "" {
				t.Errorf("the data are %q", iov[1].Data)
			}

			toldTo(t, "")
			mic := []IOVBuffer{{IOVMICToken, make([]byte, header)}, {IOVData, []byte("signed")}}
			check(t, p.i.GetMICIOV(0, mic))
			told()
			_, err = p.a.VerifyMICIOV(mic)
			odd("VerifyMICIOV", err)
			odd("GetMICIOV", p.i.GetMICIOV(0, mic))
			lengths(mic, header, len("signed"))

			// Where only lengths are asked for, where memory is does not matter, nor a
			// length that could be.
			_, err = p.i.WrapIOVLength(true, 0, message())
			_, micErr := p.i.GetMICIOVLength(0, mic)
			switch fault {
			case "64k", "elsewhere", "null", "longer":
				check(t, err)
				check(t, micErr)
			default:
				odd("WrapIOVLength", err)
				odd("GetMICIOVLength", micErr)
			}
			_, _, err = q.i.IOVRoom(10, true)
			_, _, _, aroundErr := q.i.WrapAround(buf, 30, 40, nil, true, 0)
			if fault != "64k" && fault != "elsewhere" && fault != "null" && fault != "longer" {
				odd("IOVRoom", err)
				odd("WrapAround, not measured", aroundErr)
			} else if aroundErr == nil && fault != "longer" { // which is what it had said
				t.Error("WrapAround made a token")
			}
			toldTo(t, "")
			if Live() != before {
				t.Errorf("%d more things are held", Live()-before)
			}
			tok, _, err := p.a.Wrap(nil, []byte("the context still works"), true, 0)
			check(t, err)
			_, _, _, err = p.i.Unwrap(nil, tok)
			check(t, err)
		})
	}
}

// One that does nothing, too little, or not what was asked for.
func TestFakeIOVUntouched(t *testing.T) {
	if child, _ := inFake(t, "", fakeIOV); !child {
		return
	}
	p := fakePair(t)
	for _, fault := range []string{"untouched", "noconf"} {
		iov := []IOVBuffer{{IOVHeader, make([]byte, 20)}, {IOVData, []byte("sealed")}}
		toldTo(t, "iov="+fault)
		encrypted, err := p.i.WrapIOV(true, 0, iov)
		check(t, err)
		if encrypted || string(iov[1].Data) != "sealed" {
			t.Errorf("%s: encrypted %v, %q", fault, encrypted, iov[1].Data)
		}
		toldTo(t, "")
		encrypted, _, err = p.a.UnwrapIOV(iov)
		if fault == "untouched" {
			is(t, err, ErrDefectiveToken) // of zeros
		} else if err != nil || encrypted {
			t.Errorf("%s: encrypted %v, %v", fault, encrypted, err)
		}
	}
	// Nothing that was not verified is said to be encrypted.
	iov := []IOVBuffer{{IOVHeader, make([]byte, 20)}, {IOVData, []byte("sealed")}}
	_, err := p.i.WrapIOV(true, 0, iov)
	check(t, err)
	toldTo(t, "iov=untouched")
	if encrypted, _, err := p.a.UnwrapIOV(iov); err != nil || encrypted {
		t.Errorf("encrypted %v, %v", encrypted, err)
	}
	// A header that is shorter than was said.
	toldTo(t, "")
	before, after, err := p.i.IOVRoom(6, true)
	check(t, err)
	if before != 20 || after != 0 {
		t.Errorf("room for %d and %d bytes", before, after)
	}
	toldTo(t, "iov=shorter")
	_, _, _, err = p.i.WrapAround(make([]byte, 26), 20, 26, nil, true, 0)
	is(t, err, ErrFailure)
	mention(t, err, "parts of other lengths")
	// With a status of its sequence the message comes, and the error.
	toldTo(t, "")
	for fault, want := range map[string]Major{"gap": ErrGapToken, "unseq": ErrUnseqToken, "dup": ErrDuplicateToken, "old": ErrOldToken} {
		iov := []IOVBuffer{{IOVHeader, make([]byte, 20)}, {IOVData, []byte("sealed")}}
		_, err := p.a.WrapIOV(true, 0, iov)
		check(t, err)
		toldTo(t, "unwrap="+fault)
		_, _, err = p.i.UnwrapIOV(iov)
		toldTo(t, "")
		is(t, err, want)
		if string(iov[1].Data) != "sealed" {
			t.Errorf("%s: %q", fault, iov[1].Data)
		}
	}
}
