package gss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var routineErrors = []Major{
	ErrBadMech, ErrBadName, ErrBadNameType, ErrBadBindings, ErrBadStatus, ErrBadSig, ErrNoCred, ErrNoContext, ErrDefectiveToken, ErrDefectiveCred,
	ErrCredentialsExpired, ErrContextExpired, ErrFailure, ErrBadQOP, ErrUnauthorized, ErrUnavailable, ErrDuplicateElement, ErrNameNotMN, ErrBadMechAttr,
}

var callingErrors = []Major{ErrInaccessibleRead, ErrInaccessibleWrite, ErrBadStructure}

var supplementaryStatuses = []Major{ErrDuplicateToken, ErrOldToken, ErrUnseqToken, ErrGapToken}

// Every combination of a routine error, a calling error and supplementary bits
// is each of its parts, and nothing else.
func TestMajorIs(t *testing.T) {
	n := 0
	for _, r := range append([]Major{0}, routineErrors...) {
		for _, c := range append([]Major{0}, callingErrors...) {
			for bits := range 16 {
				var sup Major
				for i, s := range supplementaryStatuses {
					if bits&(1<<i) != 0 {
						sup |= s
					}
				}
				m := r | c | sup
				if m == 0 {
					continue
				}
				var err error = fmt.Errorf("wrapped: %w", &Error{Op: "op", Major: m})
				for _, x := range routineErrors {
					if errors.Is(err, x) != (x == r) {
						t.Fatalf("%08x is %08x: %v", uint32(m), uint32(x), x != r)
					}
				}
				for _, x := range callingErrors {
					if errors.Is(err, x) != (x == c) {
						t.Fatalf("%08x is %08x: %v", uint32(m), uint32(x), x != c)
					}
				}
				for _, x := range supplementaryStatuses {
					if errors.Is(err, x) != (x&sup != 0) {
						t.Fatalf("%08x is %08x: %v", uint32(m), uint32(x), x&sup == 0)
					}
				}
				if !errors.Is(err, m) || errors.Is(err, Major(0)) {
					t.Fatalf("%08x is not itself, or is complete", uint32(m))
				}
				if errors.Is(err, errors.ErrUnsupported) != (r == ErrUnavailable) {
					t.Fatalf("%08x is errors.ErrUnsupported: %v", uint32(m), r != ErrUnavailable)
				}
				n++
			}
		}
	}
	if n != 20*4*16-1 {
		t.Errorf("%d combinations", n)
	}
}

func TestMajorIsBoth(t *testing.T) {
	both := ErrNoContext | ErrInaccessibleRead
	if !both.Is(ErrNoContext|ErrInaccessibleRead) || ErrNoContext.Is(both) || ErrInaccessibleRead.Is(both) {
		t.Error("a target of two parts is both of them")
	}
	if errors.Is(ErrGapToken, ErrGapToken|ErrUnseqToken) || !errors.Is(ErrGapToken|ErrUnseqToken, ErrGapToken) {
		t.Error("a target of two bits is both of them")
	}
	if errors.Is(ErrNoCred, context.Canceled) || errors.Is(Major(0), ErrNoCred) {
		t.Error("an error of another kind")
	}
}

func TestMajorText(t *testing.T) {
	for m, want := range map[Major]string{
		0:                               "complete",
		1:                               "more tokens needed",
		ErrNoCred:                       "no credentials, or they are not accessible",
		ErrNoContext | ErrBadStructure:  "no context, a parameter is malformed",
		ErrDuplicateToken:               "duplicate of an earlier message",
		ErrGapToken | ErrUnseqToken:     "message is out of order, an earlier message is missing",
		ErrFailure | ErrOldToken:        "failure, message is too old to tell whether it is a duplicate",
		Major(200) << 16:                "unknown routine status 200",
		Major(77)<<24 | ErrBadName:      "invalid name, unknown calling status 77",
		1 << 9:                          "unknown supplementary status 9",
		ErrInaccessibleRead | ErrBadSig: "invalid signature, a parameter could not be read",
	} {
		if got := m.Error(); got != want {
			t.Errorf("%08x: %q, want %q", uint32(m), got, want)
		}
	}
	texts := map[string]Major{}
	for _, m := range append(append(append([]Major(nil), routineErrors...), callingErrors...), supplementaryStatuses...) {
		if other, ok := texts[m.Error()]; ok || strings.Contains(m.Error(), "unknown") {
			t.Errorf("%08x and %08x: %q", uint32(m), uint32(other), m.Error())
		}
		texts[m.Error()] = m
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Op: "gss_acquire_cred", Major: ErrNoCred, Minor: 12, Mech: MechKrb5, Text: "No credentials cache found"}
	if got, want := e.Error(), "gss_acquire_cred: no credentials, or they are not accessible: No credentials cache found"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Text = ""
	if got, want := e.Error(), "gss_acquire_cred: no credentials, or they are not accessible"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "err", e)
	for _, s := range []string{"err.op=gss_acquire_cred", "err.major=\"no credentials", "err.minor=12", "err.mech=1.2.840.113554.1.2.2"} {
		if !strings.Contains(b.String(), s) {
			t.Errorf("%s has no %s", b.String(), s)
		}
	}
}

func TestErrorAs(t *testing.T) {
	err := fmt.Errorf("x: %w", error(&Error{Op: "gss_wrap", Major: ErrContextExpired, Minor: 7}))
	var e *Error
	if !errors.As(err, &e) || e.Op != "gss_wrap" || e.Minor != 7 {
		t.Errorf("As: %+v", e)
	}
	var m Major
	if errors.As(err, &m) {
		t.Error("an Error is its Major by Is, not by As")
	}
}

func TestErrorIsItsErrToo(t *testing.T) {
	err := &Error{Op: "step", Major: ErrNoContext, Err: context.Canceled}
	is(t, err, context.Canceled)
	is(t, err, ErrNoContext)
}

// Majors that no library may return do not come out as they are; the zero value
// and the CONTINUE_NEEDED bit in them are not success.
func TestJunkMajors(t *testing.T) {
	needLibrary(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, junk := range []uint32{0x6eda3601, 0x00140000, 0x00ff0000, 0x04000000, 0xff000000, 0xffffffff, 0x80000000} {
		s := status{major: junk}
		if !s.failed() || s.continueNeeded() {
			t.Errorf("%08x: failed %v, continue %v", junk, s.failed(), s.continueNeeded())
		}
		e := s.error("gss_display_name", "")
		if e.Major != ErrFailure || e.Minor != junk || !strings.HasPrefix(e.Text, fmt.Sprintf("the library returned 0x%08x, which is no major status", junk)) {
			t.Errorf("%08x: %+v", junk, e)
		}
		if e := (status{junk, 5}).error("gss_display_name", ""); e.Minor != 5 {
			t.Errorf("%08x: the minor status became %d", junk, e.Minor)
		}
	}
	for _, good := range append(append([]Major(nil), routineErrors...), callingErrors...) {
		if e := (status{major: uint32(good)}).error("gss_display_name", ""); e.Major != good || e.Text != "" || e.Minor != 0 {
			t.Errorf("%08x: %+v", uint32(good), e)
		}
	}
	for major, want := range map[uint32][2]bool{0: {false, false}, 1: {false, true}, 3: {false, true}, 2: {false, false}, 0x10000: {true, false}, 0x10001: {true, false}, 0x1000001: {true, false}} {
		s := status{major: major}
		if got := [2]bool{s.failed(), s.continueNeeded()}; got != want {
			t.Errorf("%08x: failed, continue = %v", major, got)
		}
	}
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"\x00":                           "",
		"  plain text\r\n\x00":           "plain text",
		"two\nlines":                     "two lines",
		"a\x00b\tc\x1b[31md\x7fe":        "a b c [31md e",
		"\u0085next line\u009b31m":       "next line 31m", // C1 controls, CSI among them
		"line\u2028separator\u2029":      "line separator",
		"caf\xc3\xa9":                    "café",
		"latin \xe9":                     "latin \uFFFD",
		"\xff\xfe":                       "\uFFFD",
		"名前@TEST.GSS":                    "名前@TEST.GSS",
		strings.Repeat("é", maxText):     strings.Repeat("é", maxText/2),
		"x" + strings.Repeat("é", 1<<20): "x" + strings.Repeat("é", maxText/2-1) + "\uFFFD",
		strings.Repeat(" ", 1<<20) + "x": "",
	} {
		if got := cleanText([]byte(in)); got != want {
			t.Errorf("%q became %q, want %q", clip(in), clip(got), clip(want))
		}
	}
}

func FuzzCleanText(f *testing.F) {
	f.Add([]byte("Server nosuch@TEST.GSS not found in Kerberos database\n"))
	f.Add([]byte("\xff\x00\x1b[2J"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := cleanText(b)
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) || strings.TrimSpace(s) != s || len(s) > 3*maxText {
			t.Fatalf("%q became %q", b, s)
		}
	})
}
