package fakegss_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/internal/fakegss"
)

// Every fault on the list of fake.c has an effect that package gss sees.
func TestFaults(t *testing.T) {
	effects := map[string]func(*testing.T){
		"acquire=fail": func(t *testing.T) {
			_, err := gss.AcquireCred(nil, 0, nil, gss.UsageInitiate)
			wantErr(t, err, gss.ErrNoCred, "empty, as it was told")
		},
		"acquire=block": nil, // TestGate
		"store=fail-env": func(t *testing.T) {
			_, err := credential(t).StoreInto2(gss.UsageInitiate, gss.MechKrb5, 0, nil)
			wantErr(t, err, gss.ErrFailure, "when all was stored")
		},
		"duplicate=fail-handle": func(t *testing.T) {
			_, err := credential(t).Duplicate()
			wantErr(t, err, gss.ErrFailure, "after a credential was made")
		},
		"duplicate=null": func(t *testing.T) {
			_, err := credential(t).Duplicate()
			wantErr(t, err, gss.ErrFailure, "no credential")
		},
		"destroy=fail": func(t *testing.T) {
			wantErr(t, credential(t).Destroy(), gss.ErrFailure, "keep the credential")
		},
		"neg=fail-set": func(t *testing.T) {
			_, err := credential(t).NegMechs()
			wantErr(t, err, gss.ErrFailure, "with a set")
		},
		"init=weird":    initFails("0x6eda3601"),
		"init=null":     initFails("no context"),
		"init=dup":      wantStatus(true, gss.ErrDuplicateToken),
		"accept=dup":    wantStatus(false, gss.ErrDuplicateToken),
		"accept=old":    wantStatus(false, gss.ErrOldToken),
		"init=nomech":   wantNoMech(true),
		"accept=nomech": wantNoMech(false),
		"inquire=nomech": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			if info, err := i.Inquire(); err != nil || info.Mech != "" {
				t.Errorf("%+v, %v", info, err)
			}
		},
		"init=fail-token":         initFails("with a token"),
		"accept=weird":            acceptFails("0x6eda3601"),
		"accept=null":             acceptFails("no context"),
		"accept=fail-token":       acceptFails("with a token"),
		"init=notgranted":         func(t *testing.T) { wantNoFlag(t, true, gss.FlagMutual) },
		"init=notrans":            func(t *testing.T) { wantNoFlag(t, true, gss.FlagTrans) },
		"accept=notrans":          func(t *testing.T) { wantNoFlag(t, false, gss.FlagTrans) },
		"init=continue-forever":   func(t *testing.T) { wantNoEnd(t, true) },
		"accept=continue-forever": func(t *testing.T) { wantNoEnd(t, false) },
		"wrap=noconf": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			if _, encrypted, err := i.Wrap(nil, nil, true, 0); err != nil || encrypted {
				t.Errorf("encrypted: %v, %v", encrypted, err)
			}
		},
		"wrap=empty-fail": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			_, _, err := i.Wrap(nil, nil, true, 0)
			wantErr(t, err, gss.ErrFailure, "with a buffer")
		},
		"unwrap=unseq":      unwrap(gss.ErrUnseqToken),
		"unwrap=gap":        unwrap(gss.ErrGapToken),
		"unwrap=dup":        unwrap(gss.ErrDuplicateToken),
		"unwrap=old":        unwrap(gss.ErrOldToken),
		"unwrap=dup-nodata": unwrap(gss.ErrDuplicateToken),
		"unwrap=noconf":     unwrap(nil),
		"iov=noconf": func(t *testing.T) {
			if encrypted, iov, err := wrapIOV(t, 30); err != nil || encrypted || len(iov[0].Data) != 20 {
				t.Errorf("encrypted %v, %v, %v", encrypted, iov, err)
			}
		},
		"iov=untouched": func(t *testing.T) {
			if encrypted, iov, err := wrapIOV(t, 30); err != nil || encrypted || len(iov[0].Data) != 30 || string(iov[1].Data) != "message" {
				t.Errorf("encrypted %v, %v, %v", encrypted, iov, err)
			}
		},
		"iov=shorter": func(t *testing.T) {
			if encrypted, iov, err := wrapIOV(t, 30); err != nil || !encrypted || len(iov[0].Data) != 19 {
				t.Errorf("encrypted %v, %v, %v", encrypted, iov, err)
			}
		},
		"iov=64k": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			if n, err := i.WrapIOVLength(true, 0, []gss.IOVBuffer{{Type: gss.IOVHeader}}); err != nil || n[0] != 65536 {
				t.Errorf("%d, %v", n, err)
			}
		},
		"iov=64k+1": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			n, err := i.WrapIOVLength(true, 0, []gss.IOVBuffer{{Type: gss.IOVHeader}})
			wantErr(t, err, gss.ErrFailure, "memory that is not in the parts")
			if n[0] != 0 {
				t.Errorf("lengths %d with an error", n)
			}
		},
		"iov=longer":         oddIOV("memory that is not in the parts"),
		"iov=huge":           oddIOV("memory that is not in the parts"),
		"iov=elsewhere":      oddIOV("memory that is not in the parts"),
		"iov=null":           oddIOV("memory that is not in the parts"),
		"iov=allocated":      oddIOV("memory that is not in the parts"),
		"iov=flag":           oddIOV("memory that is not in the parts"),
		"iov=fail-allocated": oddIOV("with a part that was allocated"),

		"verify=unseq":     verify(gss.ErrUnseqToken),
		"verify=gap":       verify(gss.ErrGapToken),
		"verify=dup":       verify(gss.ErrDuplicateToken),
		"verify=old":       verify(gss.ErrOldToken),
		"export=fail-keep": export(gss.ErrFailure, "keep the context", true),
		"export=fail-null": export(nil, "", false),
		"export=empty":     export(nil, "", false),
		"export=oidonly":   export(nil, "", false),
		"export=unavailable": func(t *testing.T) {
			export(gss.ErrUnavailable, "", true)(t)
		},
		"export=keep": export(nil, "", false), // whatever package gss makes of it
		"import=fail-handle": func(t *testing.T) {
			_, err := gss.ImportSecContext(exported(t))
			wantErr(t, err, gss.ErrFailure, "after a context was made")
		},
		"import=null": func(t *testing.T) {
			_, err := gss.ImportSecContext(exported(t))
			wantErr(t, err, gss.ErrFailure, "no context")
		},
		"option=null":      option(nil, ""),
		"option=fail-null": option(gss.ErrFailure, "delete the context"),
		"inquire=expired": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			if info, err := i.Inquire(); err == nil && info.Source != nil {
				t.Error("an expired context has a name")
			}
		},
		"inquire=lifetime0": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			if info, err := i.Inquire(); err != nil || info.Lifetime != 0 {
				t.Errorf("%+v, %v", info, err)
			}
		},
		"time=expired": func(t *testing.T) {
			i, _ := handshakeUntold(t)
			_, err := i.Time()
			wantErr(t, err, gss.ErrContextExpired, "")
		},
		"release=fail": func(t *testing.T) {
			i, a := handshake(t) // every name and token of it is released, once
			i.Delete()
			a.Delete()
		},
		"display=endless": displayed(func(s string) bool { return strings.Contains(s, "told to fail") }),
		"display=huge":    displayed(func(s string) bool { return strings.Contains(s, "xxxx") && len(s) < 1<<20 }),
		"display=fail":    displayed(func(s string) bool { return !strings.Contains(s, "told") }),
	}
	if !pass(t, &fakegss.Options{Optional: append([]string{"gss_set_sec_context_option"}, append(fakegss.IOV, fakegss.Later...)...)}) {
		return
	}
	src, err := os.ReadFile("testdata/fake.c")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(src), "faults[] = {")
	list, _, _ = strings.Cut(list, "};")
	listed := regexp.MustCompile(`(?m)^    "(.*?)",`).FindAllStringSubmatch(list, -1)
	if len(listed) != len(effects) {
		t.Errorf("%d faults are listed, %d tested", len(listed), len(effects))
	}
	for _, m := range listed {
		effect, ok := effects[m[1]]
		if !ok {
			t.Errorf("%s is not tested", m[1])
		}
		if effect != nil {
			t.Run(m[1], func(t *testing.T) {
				t.Setenv("FAKEGSS", m[1])
				effect(t)
			})
		}
	}
}

func credential(t *testing.T) *gss.Cred {
	t.Helper()
	r, err := gss.AcquireCred(nil, 0, nil, gss.UsageInitiate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Cred.Release)
	return r.Cred
}

func wantErr(t *testing.T, err error, is error, text string) {
	t.Helper()
	if err == nil || !errors.Is(err, is) || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want %v with %q", err, is, text)
	}
}

// handshakeUntold establishes contexts without the fault of this test.
func handshakeUntold(t *testing.T) (initiator, acceptor *gss.Ctx) {
	t.Helper()
	fault := os.Getenv("FAKEGSS")
	os.Setenv("FAKEGSS", "")
	defer os.Setenv("FAKEGSS", fault)
	return handshake(t)
}

func firstLeg(t *testing.T) (*gss.Step, error) {
	t.Helper()
	target, err := gss.ImportName([]byte("host@server"), gss.NTHostBasedService)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Release()
	return gss.NewCtx().Init(&gss.InitArgs{Target: target, Flags: gss.FlagMutual})
}

func initFails(text string) func(*testing.T) {
	return func(t *testing.T) {
		_, err := firstLeg(t)
		wantErr(t, err, gss.ErrFailure, text)
	}
}

func acceptFails(text string) func(*testing.T) {
	return func(t *testing.T) {
		s, err := firstLeg(t)
		if err != nil {
			t.Fatal(err)
		}
		_, err = gss.NewCtx().Accept(&gss.AcceptArgs{Token: s.Token.Bytes()})
		wantErr(t, err, gss.ErrFailure, text)
	}
}

func wantNoFlag(t *testing.T, initiator bool, flag gss.Flags) {
	t.Helper()
	i, a := handshake(t)
	if !initiator {
		i = a
	}
	info, err := i.Inquire()
	if err != nil || info.Flags&flag != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// last is the last leg of the initiator or of the acceptor.
func last(t *testing.T, initiator bool) (*gss.Step, error) {
	t.Helper()
	target, err := gss.ImportName([]byte("host@server"), gss.NTHostBasedService)
	if err != nil {
		t.Fatal(err)
	}
	i, a := gss.NewCtx(), gss.NewCtx()
	args := &gss.InitArgs{Target: target, Mech: gss.MechKrb5, Flags: gss.FlagMutual}
	s, err := i.Init(args)
	if err != nil {
		t.Fatal(err)
	}
	s, err = a.Accept(&gss.AcceptArgs{Token: s.Token.Bytes()})
	if !initiator {
		return s, err
	}
	if err != nil {
		t.Fatal(err)
	}
	args.Token = s.Token.Bytes()
	return i.Init(args)
}

func wantStatus(initiator bool, status gss.Major) func(*testing.T) {
	return func(t *testing.T) {
		if _, err := last(t, initiator); !errors.Is(err, status) {
			t.Errorf("%v, want %v: RFC 2744 has it fatal to a handshake", err, status)
		}
	}
}

func wantNoMech(initiator bool) func(*testing.T) {
	return func(t *testing.T) {
		if s, err := last(t, initiator); err != nil || s.Mech != "" {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

func wantNoEnd(t *testing.T, initiator bool) {
	t.Helper()
	s, err := firstLeg(t)
	if !initiator {
		s, err = gss.NewCtx().Accept(&gss.AcceptArgs{Token: []byte("any")})
	}
	if err != nil || s.Done || s.Token.Len() == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func unwrap(want error) func(*testing.T) {
	return func(t *testing.T) {
		i, a := handshakeUntold(t)
		tok, _, err := i.Wrap(nil, []byte("message"), true, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, encrypted, _, err := a.Unwrap(nil, tok)
		if want == nil && (err != nil || encrypted) || want != nil && !errors.Is(err, want) {
			t.Errorf("encrypted %v, error %v, want %v", encrypted, err, want)
		}
	}
}

// wrapIOV wraps a message in two parts, with that room for the header, which takes
// 20 bytes.
func wrapIOV(t *testing.T, room int) (encrypted bool, iov []gss.IOVBuffer, err error) {
	t.Helper()
	i, _ := handshakeUntold(t)
	iov = []gss.IOVBuffer{{Type: gss.IOVHeader, Data: make([]byte, room)}, {Type: gss.IOVData, Data: []byte("message")}}
	encrypted, err = i.WrapIOV(true, 0, iov)
	return encrypted, iov, err
}

func oddIOV(text string) func(*testing.T) {
	return func(t *testing.T) {
		_, iov, err := wrapIOV(t, 20)
		wantErr(t, err, gss.ErrFailure, text)
		if len(iov[0].Data) != 20 || len(iov[1].Data) != 7 {
			t.Errorf("the parts have %d and %d bytes", len(iov[0].Data), len(iov[1].Data))
		}
	}
}

func verify(want error) func(*testing.T) {
	return func(t *testing.T) {
		i, a := handshakeUntold(t)
		mic, err := i.GetMIC(nil, []byte("message"), 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.VerifyMIC([]byte("message"), mic)
		wantErr(t, err, want, "")
	}
}

// export checks what is left of a context. What Export itself answers is up to package gss where want is nil.
func export(want error, text string, kept bool) func(*testing.T) {
	return func(t *testing.T) {
		i, _ := handshakeUntold(t)
		b, err := i.Export()
		b.Release()
		if want != nil {
			wantErr(t, err, want, text)
		}
		_, err = i.Time()
		if kept && err != nil || !kept && !errors.Is(err, gss.ErrNoContext) {
			t.Errorf("after the export: %v", err)
		}
	}
}

// option sets an option, after which the context is gone.
func option(want error, text string) func(*testing.T) {
	return func(t *testing.T) {
		i, _ := handshakeUntold(t)
		err := i.SetOption(gss.MechKrb5, []byte("value"))
		if want == nil && err != nil {
			t.Error(err)
		} else if want != nil {
			wantErr(t, err, want, text)
		}
		if !i.Gone() {
			t.Error("the context is there")
		}
	}
}

func exported(t *testing.T) []byte {
	t.Helper()
	i, _ := handshakeUntold(t)
	b, err := i.Export()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	token, _ := b.AppendTo(nil)
	return token
}

func displayed(good func(string) bool) func(*testing.T) {
	return func(t *testing.T) {
		t.Setenv("FAKEGSS", os.Getenv("FAKEGSS")+";fail=gss_indicate_mechs")
		_, err := gss.IndicateMechs()
		if err == nil || !good(err.Error()) {
			t.Errorf("error %.200v", err)
		}
	}
}
