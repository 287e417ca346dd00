package gssapi

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"unicode"
	"unsafe"

	"github.com/seed2651813c/gss"
)

// Name is the name of a principal. It does not change, and is safe for
// concurrent use.
type Name struct {
	n *gss.Name

	once sync.Once
	text string
	typ  OID
}

func wrapName(n *gss.Name) *Name {
	if n == nil {
		return nil
	}
	return &Name{n: n}
}

// thin is the name for C; nil for nil. The zero Name is none, and not that of
// the default identity.
func (n *Name) thin() *gss.Name {
	if n == nil {
		return nil
	}
	if n.n == nil {
		return new(gss.Name)
	}
	return n.n
}

// ImportName makes a name from s, a text of type typ; an empty typ is the
// library's default, for Kerberos a principal. For NTExportName s is what Export
// returned. The errors are ErrBadName for a text that is none, ErrBadNameType for
// a type that is none (MIT and GNU gss say so when the name is used). It does not
// ask a KDC. RFC 2744, 5.16.
func ImportName(s string, typ OID) (*Name, error) {
	const op = "ImportName"
	if s == "" && typ != NTAnonymous {
		return nil, refuse(op, ErrBadName, "the name is empty")
	}
	n, err := gss.ImportName([]byte(s), typ)
	if err != nil {
		return nil, err
	}
	return wrapName(n), nil
}

// HostService makes the name of a service on a host, such as HostService("HTTP",
// "www.example.com"). RFC 2743, 4.1.
func HostService(service, host string) (*Name, error) {
	const op = "HostService"
	if service == "" || host == "" {
		return nil, refuse(op, ErrBadName, "the service %q or the host %q is empty", service, host)
	}
	if strings.ContainsAny(service, "@/") || strings.ContainsAny(host, "@/") {
		return nil, refuse(op, ErrBadName, "neither the service %q nor the host %q may have @ or /: give a service such as HTTP, and a host name without a port", service, host)
	}
	return ImportName(service+"@"+host, NTHostBasedService)
}

func (n *Name) display() {
	n.once.Do(func() {
		buf, typ, err := n.thin().Display()
		if err != nil {
			n.text = "(" + err.Error() + ")"
			return
		}
		n.text, n.typ = printable(buf.Bytes()), typ
		buf.Release()
	})
}

// printable is a name without what could forge a line of a log or steer a
// terminal: control characters and what is no UTF-8 become U+FFFD.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}

// String returns the name as the library prints it, such as alice@EXAMPLE.COM,
// for people and logs; in parentheses why it cannot be printed. Control
// characters are replaced. Access is decided by Equal or Export.
func (n *Name) String() string {
	if n == nil {
		return "(no name)"
	}
	n.display()
	return n.text
}

// Type returns the type of what String returns; empty if it is not known.
func (n *Name) Type() OID {
	if n == nil {
		return ""
	}
	n.display()
	return n.typ
}

// LogValue makes slog print String.
func (n *Name) LogValue() slog.Value { return slog.StringValue(n.String()) }

// Equal reports whether both names denote the same principal. It is false if
// either is nil or closed, or the library cannot tell. Names that were imported
// and not canonicalized may be unequal although they denote the same. RFC 2744,
// 5.5.
func (n *Name) Equal(other *Name) bool {
	if n == nil || other == nil {
		return false
	}
	equal, err := n.thin().Compare(other.thin())
	return err == nil && equal
}

// Canonicalize returns the name as the mechanism has it. It may ask the name
// service. It returns when ctx is done; what the C library goes on to bring is
// released. RFC 2744, 5.4.
func (n *Name) Canonicalize(ctx context.Context, mech OID) (*Name, error) {
	const op = "Canonicalize"
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	call := blocking[*gss.Name]{
		gate: acquiring, trace: noTrace, event: Event{Op: op, Name: n, Mech: mech},
		call:    func([]byte) (*gss.Name, error) { return n.thin().Canonicalize(mech) },
		discard: (*gss.Name).Release,
	}
	c, _, err := call.run(ctx)
	if err != nil {
		return nil, err
	}
	return wrapName(c), nil
}

// Export returns the canonical bytes of a name that is a mechanism's, such as
// that of a peer or what Canonicalize returned: equal names have equal bytes, so
// they are fit for access control lists. ErrNameNotMN for other names. RFC
// 2743, 3.2.
func (n *Name) Export() ([]byte, error) {
	buf, err := n.thin().Export()
	if err != nil {
		return nil, err
	}
	defer buf.Release()
	return buf.Bytes(), nil
}

// Mechs returns the mechanisms that may be able to process the name. RFC 2744,
// 5.23.
func (n *Name) Mechs() ([]OID, error) { return n.thin().InquireMechs() }

// Close releases the name. It is optional. What uses the name goes on.
func (n *Name) Close() error {
	n.thin().Release()
	return nil
}

// AdoptName takes ownership of a gss_name_t of the loaded library that C code of
// this process made. The error is ErrUnavailable if there are two GSS-API
// libraries in the process (call gss.LoadAt first), ErrBadName for nil; then the
// handle is still the caller's.
//
// What a context of SPNEGO told C may be unequal to the same name from elsewhere (MIT
// 1.20, Heimdal 7.8) and export to other bytes (MIT). Adopt the context too, and ask its
// Info.
func AdoptName(h unsafe.Pointer) (*Name, error) {
	n, err := gss.AdoptName(h)
	if err != nil {
		return nil, err
	}
	name := wrapName(n)
	name.display() // now: with Heimdal a call has an adopted name to itself, and a log would wait for one that blocks
	return name, nil
}

// Detach gives the gss_name_t to the caller, who releases it in C. Every use of
// the Name from here on is ErrBadName; Detach waits for those that are under way,
// abandoned ones too, which may ask a KDC. The error is ErrBadName if it was closed
// or detached before.
func (n *Name) Detach() (unsafe.Pointer, error) { return n.thin().Detach() }
