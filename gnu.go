package gss

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"
)

// What GNU gss does unlike the others, seen in 1.0.4 (with Shishi 1.0.3). It has
// Kerberos only, stubs for eight functions, and answers some questions wrongly.

// gnu reports whether the library is GNU gss.
func gnu() bool { return kind() == KindGNU }

// gnuName is "GNU gss" with its version, for texts.
func gnuName() string { return "GNU gss " + loaded.Load().Version }

// gnuMu is held during calls that use a Shishi handle. A handle is for one
// thread, and all contexts that were accepted with a credential use that of the
// credential; and whoever deletes an initiator's context writes the file of
// tickets anew, in place, while others may read it.
var gnuMu sync.Mutex

// turn is a hold on gnuMu; none with other libraries.
type turn bool

func takeTurn() turn {
	if !gnu() {
		return false
	}
	gnuMu.Lock()
	return true
}

func (t turn) end() {
	if t {
		gnuMu.Unlock()
	}
}

// inTurn calls f in its turn, but does not wait for it: f may run later, in a
// goroutine of its own.
func inTurn(f func()) {
	switch {
	case !gnu():
		f()
	case gnuMu.TryLock():
		defer gnuMu.Unlock()
		f()
	default:
		go func() {
			defer takeTurn().end()
			f()
		}()
	}
}

// explain makes of GNU gss' bare statuses what they mean, where only one thing
// can be meant. A stub sets no minor status.
func (e *Error) explain() {
	if !gnu() || e.Minor != 0 || e.Text != "" {
		return
	}
	switch e.Op {
	case "gss_export_sec_context", "gss_import_sec_context", "gss_add_cred", "gss_get_mic", "gss_verify_mic":
		if e.Major == ErrUnavailable {
			e.Text = gnuName() + " has only a stub of " + e.Op
		}
	case "gss_process_context_token", "gss_inquire_context", "gss_wrap_size_limit":
		if e.Major == ErrFailure {
			e.Major, e.Text = ErrUnavailable, gnuName()+" has only a stub of "+e.Op
		}
	case "gss_wrap":
		if e.Major == ErrFailure {
			e.Major, e.Text = ErrUnavailable, gnuName()+" can protect messages under the old DES3 keys only, and this context has another, such as AES"
		}
	case "gss_accept_sec_context":
		if e.Major == ErrNoCred {
			e.Text = gnuName() + " accepts with a credential that was acquired for a service only: give one"
		}
	}
}

// gnuMech is ErrBadMech for a mechanism that GNU gss does not have: it would take
// Kerberos in its place, and an initiator that wants SPNEGO would send a token
// of Kerberos.
func gnuMech(op string, mechs ...OID) error {
	if !gnu() || len(mechs) == 0 {
		return nil
	}
	have, err := IndicateMechs()
	if err != nil {
		return err
	}
	for _, m := range mechs {
		if m == "" || len(m) > maxOID || slices.Contains(have, m) {
			return nil // or refused elsewhere
		}
	}
	return &Error{Op: op, Major: ErrBadMech, Mech: mechs[0], Text: fmt.Sprintf("%s has %v only, not %v", gnuName(), have, mechs)}
}

// gnuPrincipal is an error for a name that makes no principal. With a service
// without a host gss_init_sec_context crashes, and gss_acquire_cred releases the
// caller's name.
//
//gss:pinned
func gnuPrincipal(op string, name unsafe.Pointer) error {
	if !gnu() || name == nil {
		return nil
	}
	mech, err := cOID(op, MechKrb5)
	if err != nil {
		return err
	}
	s, h := canonicalizeName(name, mech)
	n, err := named(op, s, h, MechKrb5, plain)
	n.Release()
	return err
}

// gnuAcquire is an error for what GNU gss cannot acquire. It looks for the key of
// a service, whatever the usage is; it initiates with the default tickets, and
// refuses every credential there.
func gnuAcquire(op string, name *Name, usage CredUsage) error {
	switch {
	case !gnu():
		return nil
	case usage != UsageAccept:
		return &Error{Op: op, Major: ErrUnavailable, Text: gnuName() + " acquires credentials to accept with only; it initiates with the default tickets, and without a credential"}
	case name == nil:
		return &Error{Op: op, Major: ErrUnavailable, Text: gnuName() + " cannot accept as any service: give the name of one"}
	}
	return nil
}

// gnuAccept is an error unless the program or its user asked for GNU gss. It has
// no replay cache and accepts expired tickets, which nobody should get only
// because no other library is installed.
func gnuAccept(op string) error {
	l := loaded.Load()
	if !gnu() || l.named || l.at {
		return nil
	}
	return &Error{Op: op, Major: ErrUnavailable, Text: gnuName() + " accepts expired and replayed tickets: install MIT or Heimdal, or ask for it with " + libraryEnv + "=gnu"}
}

// gnuImport takes an exported name apart: RFC 2743, 3.2. GNU gss 1.0.4 displays
// one with its frame, compares it unequal to the name it was made of, exports it
// in a second frame, and makes of it a principal that begins with its length.
func gnuImport(op string, exported []byte) ([]byte, error) {
	e, _ := parseExported(exported) // checkForm has
	if e.mech != MechKrb5 {
		return nil, &Error{Op: op, Major: ErrBadMech, Text: fmt.Sprintf("a name of mechanism %v", e.mech)}
	}
	return e.name, nil
}

// gnuExport is ErrNameNotMN for a name that is not a principal: GNU gss would
// export host@www.example.com as a principal host of the realm
// www.example.com.
//
//gss:pinned
func gnuExport(op string, name unsafe.Pointer) error {
	if !gnu() {
		return nil
	}
	s, buf, typ := displayName(name)
	buf.take()
	if s.failed() {
		return s.error(op, "")
	}
	if typ != NTKrb5PrincipalName {
		return &Error{Op: op, Major: ErrNameNotMN, Text: "canonicalize it first"}
	}
	return nil
}

// gnuUnreadable says why GNU gss cannot unwrap token; empty if it should.
func gnuUnreadable(token []byte) string {
	if len(token) >= 2 && token[0] == 5 && token[1] == 4 {
		return gnuName() + " cannot read the messages of AES keys (RFC 4121)"
	}
	const header = "\x06\x09" + string(MechKrb5) + "\x02\x01" // behind the frame, RFC 1964, 1.2.2
	if i := 2; len(token) > i && token[0] == 0x60 {
		if token[1] > 0x80 {
			i += int(token[1] - 0x80)
		}
		if len(token) >= i+len(header)+4 && string(token[i:i+len(header)]) == header {
			if seal := token[i+len(header)+2:]; seal[0] != 0xff || seal[1] != 0xff {
				return gnuName() + " cannot decrypt: let the peer wrap without confidentiality"
			}
		}
	}
	return ""
}
