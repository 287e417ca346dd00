package gss

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// exportedName is an exported name taken apart: RFC 2743, 3.2, and RFC 6680, 8.
type exportedName struct {
	mech      OID
	name      []byte
	composite bool
	attrs     []byte // of a composite name
}

// parseExported takes an exported name apart and checks that its lengths add up.
func parseExported(b []byte) (exportedName, bool) {
	if len(b) < 4 || b[0] != 4 || b[1] != 1 && b[1] != 2 {
		return exportedName{}, false
	}
	composite := b[1] == 2
	n := int(binary.BigEndian.Uint16(b[2:]))
	b = b[4:]
	if n < 2 || n > len(b) || b[0] != 6 || b[1] > 0x7f || int(b[1]) != n-2 {
		return exportedName{}, false
	}
	e := exportedName{mech: OID(b[2:n]), composite: composite}
	b = b[n:]
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return exportedName{}, false
	}
	n = int(binary.BigEndian.Uint32(b))
	e.name, b = b[4:4+n], b[4+n:]
	if composite && len(b) >= 4 && uint64(binary.BigEndian.Uint32(b)) == uint64(len(b)-4) {
		e.attrs, b = b[4:], nil
	}
	return e, len(b) == 0
}

// checkForm refuses names of a binary or numeric form that a library would take
// for another name, or read beyond, or end the process on.
func checkForm(op string, name []byte, typ OID) error {
	bad := func(format string, args ...any) error {
		return &Error{Op: op, Major: ErrBadName, Text: fmt.Sprintf(format, args...)}
	}
	switch typ {
	case NTExportName, NTCompositeExport:
		// MIT 1.20 aborts on lengths that do not add up (import_name.c, an assertion).
		e, ok := parseExported(name)
		if !ok {
			return bad("not an exported name (RFC 2743, 3.2)")
		}
		if e.composite && typ == NTExportName {
			return bad("an exported name with attributes, which would count as proven: import it as NTCompositeExport if it comes from where it was made")
		}
		if e.mech == MechKrb5 && !soundAttributes(e.attrs) {
			return bad("the attributes of the exported name are cut or changed")
		}
		// (Later Heimdals write ASN.1 there, [APPLICATION 48], if there are attributes.)
		if bytes.IndexByte(e.name, 0) >= 0 && e.mech == MechKrb5 && !(e.composite && e.name[0] == 0x7f && laterHeimdal()) {
			return bad("a NUL byte in the exported name: the library would end it there")
		}
	case NTMachineUID:
		// MIT 1.20 reads a uid_t, however many bytes there are.
		if len(name) != 4 {
			return bad("a uid of %d bytes: it has 4, in the byte order of this machine", len(name))
		}
	case NTStringUID:
		// MIT 1.20 takes strtoul's word: "0abc", " 0" and "4294967296" are root.
		n := uint64(0)
		for _, c := range name {
			if c < '0' || c > '9' || n > 1<<32 {
				return bad("%q is no uid: it is a decimal number", clip(string(name)))
			}
			n = 10*n + uint64(c-'0')
		}
		if len(name) == 0 || n >= 1<<32-1 {
			return bad("%q is no uid: it is a decimal number less than 4294967295", clip(string(name)))
		}
	default:
		// What asks the name service or the KDC ends at the first NUL.
		if bytes.IndexByte(name, 0) >= 0 {
			return bad("%q has a NUL byte", clip(string(name)))
		}
	}
	return nil
}
