package gss

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode"
)

// Major is a GSS-API major status (RFC 2744, 3.9.1): a calling error, a routine
// error and supplementary bits in one number. It is an error, so that
// errors.Is(err, ErrNoCred) works on what this package returns.
type Major uint32

// Routine errors, RFC 2744, 3.9.1; ErrBadMechAttr is of RFC 5587.
const (
	ErrBadMech            Major = 1 << 16   // GSS_S_BAD_MECH
	ErrBadName            Major = 2 << 16   // GSS_S_BAD_NAME
	ErrBadNameType        Major = 3 << 16   // GSS_S_BAD_NAMETYPE
	ErrBadBindings        Major = 4 << 16   // GSS_S_BAD_BINDINGS
	ErrBadStatus          Major = 5 << 16   // GSS_S_BAD_STATUS
	ErrBadSig             Major = 6 << 16   // GSS_S_BAD_SIG
	ErrBadMIC             Major = ErrBadSig // GSS_S_BAD_MIC
	ErrNoCred             Major = 7 << 16   // GSS_S_NO_CRED
	ErrNoContext          Major = 8 << 16   // GSS_S_NO_CONTEXT
	ErrDefectiveToken     Major = 9 << 16   // GSS_S_DEFECTIVE_TOKEN
	ErrDefectiveCred      Major = 10 << 16  // GSS_S_DEFECTIVE_CREDENTIAL
	ErrCredentialsExpired Major = 11 << 16  // GSS_S_CREDENTIALS_EXPIRED
	ErrContextExpired     Major = 12 << 16  // GSS_S_CONTEXT_EXPIRED
	ErrFailure            Major = 13 << 16  // GSS_S_FAILURE
	ErrBadQOP             Major = 14 << 16  // GSS_S_BAD_QOP
	ErrUnauthorized       Major = 15 << 16  // GSS_S_UNAUTHORIZED
	ErrUnavailable        Major = 16 << 16  // GSS_S_UNAVAILABLE
	ErrDuplicateElement   Major = 17 << 16  // GSS_S_DUPLICATE_ELEMENT
	ErrNameNotMN          Major = 18 << 16  // GSS_S_NAME_NOT_MN
	ErrBadMechAttr        Major = 19 << 16  // GSS_S_BAD_MECH_ATTR
)

// Calling errors, RFC 2744, 3.9.1. This package makes no call that earns one;
// a library may still answer one.
const (
	ErrInaccessibleRead  Major = 1 << 24 // GSS_S_CALL_INACCESSIBLE_READ
	ErrInaccessibleWrite Major = 2 << 24 // GSS_S_CALL_INACCESSIBLE_WRITE
	ErrBadStructure      Major = 3 << 24 // GSS_S_CALL_BAD_STRUCTURE
)

// Supplementary statuses, RFC 2744, 3.9.1: what a message's sequence number
// says about it.
const (
	ErrDuplicateToken Major = 1 << 1 // GSS_S_DUPLICATE_TOKEN
	ErrOldToken       Major = 1 << 2 // GSS_S_OLD_TOKEN
	ErrUnseqToken     Major = 1 << 3 // GSS_S_UNSEQ_TOKEN
	ErrGapToken       Major = 1 << 4 // GSS_S_GAP_TOKEN
)

const (
	statusComplete       = 0      // GSS_S_COMPLETE
	statusContinueNeeded = 1 << 0 // GSS_S_CONTINUE_NEEDED

	callingMask       = 0xff000000
	routineMask       = 0x00ff0000
	supplementaryMask = 0x0000ffff
	errorMask         = callingMask | routineMask
)

var callingText = [...]string{1: "a parameter could not be read", 2: "a parameter could not be written", 3: "a parameter is malformed"}

var routineText = [...]string{
	1:  "mechanism not supported",
	2:  "invalid name",
	3:  "name type not supported",
	4:  "channel bindings do not match",
	5:  "invalid status code",
	6:  "invalid signature",
	7:  "no credentials, or they are not accessible",
	8:  "no context",
	9:  "defective token",
	10: "defective credential",
	11: "credentials expired",
	12: "context expired",
	13: "failure",
	14: "quality of protection not supported",
	15: "not authorized",
	16: "operation or option not available",
	17: "duplicate credential element",
	18: "name is not a mechanism name",
	19: "mechanism attribute not known",
}

var supplementaryText = [...]string{0: "more tokens needed", 1: "duplicate of an earlier message", 2: "message is too old to tell whether it is a duplicate", 3: "message is out of order", 4: "an earlier message is missing"}

// Error returns what the status says, in words of this package: the library's
// own text for it is less helpful and differs from one to the next.
func (m Major) Error() string {
	var parts []string
	add := func(table []string, i int, name string) {
		if i == 0 && name != "supplementary" {
			return
		}
		if i < len(table) && table[i] != "" {
			parts = append(parts, table[i])
			return
		}
		parts = append(parts, fmt.Sprintf("unknown %s status %d", name, i))
	}
	add(routineText[:], int(m&routineMask>>16), "routine")
	add(callingText[:], int(m&callingMask>>24), "calling")
	for i := range 16 {
		if m&(1<<i) != 0 {
			add(supplementaryText[:], i, "supplementary")
		}
	}
	if len(parts) == 0 {
		return "complete"
	}
	return strings.Join(parts, ", ")
}

// Is reports whether m has the routine error, the calling error or the
// supplementary bits of target; ErrUnavailable is errors.ErrUnsupported too.
func (m Major) Is(target error) bool {
	if target == errors.ErrUnsupported {
		return m&routineMask == ErrUnavailable
	}
	t, ok := target.(Major)
	if !ok || t == 0 {
		return ok && m == t
	}
	if r := t & routineMask; r != 0 && m&routineMask != r {
		return false
	}
	if c := t & callingMask; c != 0 && m&callingMask != c {
		return false
	}
	return m&t&supplementaryMask == t&supplementaryMask
}

// Error is the failure of one call. It is complete when it is made: no text is
// fetched later, on another thread, where the library would not know it.
//
// It holds names of principals and files, which the library puts into its
// texts, and never a password, a key or a token.
type Error struct {
	Op    string // the C function, or the method that refused
	Major Major  // as the library returned it
	Minor uint32 // the mechanism's code; of use only beside the text, and only in this process
	Mech  OID    // the mechanism that the minor status is of, as far as known
	Text  string // the mechanism's message, or this package's; may be empty
	Err   error  // a further error that it is, for a few: context.Canceled, gssapi.ErrNotEncrypted
}

// Error returns the function, what its major status means, and the
// mechanism's message.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Major.Error()
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Is matches Major values, see [Major.Is].
func (e *Error) Is(target error) bool { return e.Major.Is(target) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// LogValue makes slog print the parts.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(slog.String("op", e.Op), slog.String("major", e.Major.Error()), slog.Uint64("minor", uint64(e.Minor)), slog.Any("mech", e.Mech), slog.String("text", e.Text))
}

// status is what a C call returned.
type status struct{ major, minor uint32 }

// failed is GSS_ERROR. It is asked before CONTINUE_NEEDED: Heimdal 7.8 has
// returned an ASN.1 error code as major status, with that bit set.
func (s status) failed() bool { return s.major&errorMask != 0 }

func (s status) continueNeeded() bool { return !s.failed() && s.major&statusContinueNeeded != 0 }

// error makes the Error of a failed call. The minor status' text belongs to the
// thread that made the call: the caller has it pinned.
//
//gss:pinned
func (s status) error(op string, mech OID) *Error {
	e := &Error{Op: op, Major: Major(s.major), Minor: s.minor, Mech: mech}
	routine, calling := s.major&routineMask>>16, s.major&callingMask>>24
	if routine >= uint32(len(routineText)) || calling >= uint32(len(callingText)) {
		e.Text = fmt.Sprintf("the library returned 0x%08x, which is no major status", s.major)
		e.Major = ErrFailure
		if e.Minor == 0 {
			e.Minor = s.major
		}
	}
	if Major(s.major).Is(ErrUnavailable) && s.minor == 0 && !bound(op) {
		l := loaded.Load()
		e.Text = fmt.Sprintf("%s has no function %s", l.Path, op)
		return e
	}
	if t := minorText(e.Minor, mech); t != "" {
		if e.Text != "" {
			e.Text += ": "
		}
		e.Text += t
	}
	e.explain()
	return e
}

// maxMessages bounds gss_display_status, which a library could continue for ever.
const maxMessages = 8

// minorText is the mechanism's text of a minor status, all of its messages.
// Minor 0 has none: MIT calls it "Unknown error", Heimdal "unknown mech-code 0".
//
//gss:pinned
func minorText(minor uint32, mech OID) string {
	if minor == 0 {
		return ""
	}
	m, err := cOID("gss_display_status", mech)
	if err != nil {
		return ""
	}
	const typeMech = 2 // GSS_C_MECH_CODE
	var texts []string
	var context uint32
	for range maxMessages {
		s, buf := displayStatus(minor, typeMech, m, &context)
		t := cleanText(buf.take())
		if s.failed() {
			break
		}
		if heimdalLike() && strings.HasPrefix(t, "unknown mech-code ") {
			t = knownText(minor, t)
		}
		if t != "" && t != "Success" && (len(texts) == 0 || texts[len(texts)-1] != t) {
			texts = append(texts, t)
		}
		if context == 0 {
			break
		}
	}
	return strings.Join(texts, "; ")
}

// knownText is what libkrb5 calls a minor status that Heimdal 7.8 has no text for:
// it has those only that its mechanisms have told of on this thread. It is unknown
// if libkrb5 does not know it either.
//
//gss:pinned
func knownText(minor uint32, unknown string) string {
	t := cleanText([]byte(krb5Explain(minor).text))
	if t == "" || strings.HasPrefix(t, "<unknown") || strings.HasPrefix(t, "Unknown") {
		return unknown
	}
	return t
}

// maxText bounds one message of a library.
const maxText = 4096

// cleanText trims what a library wrote: NULs, spaces and line ends at both ends;
// control characters and line separators within become spaces, so that a
// principal's name cannot forge a line in a log or steer a terminal.
func cleanText(b []byte) string {
	if len(b) > maxText {
		b = b[:maxText]
	}
	s := strings.ToValidUTF8(string(b), "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}
