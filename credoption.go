package gss

import (
	"fmt"
	"slices"
	"strings"
)

// NoCIFlagsOption is GSS_KRB5_CRED_NO_CI_FLAGS_X, 1.2.752.43.13.29, an option of a
// credential to initiate with: contexts are made without confidentiality and
// integrity unless their initiator asks for them, as old servers want it. Its
// value is empty.
const NoCIFlagsOption OID = "\x2a\x85\x70\x2b\x0d\x1d"

// CredImpersonator is GSS_KRB5_GET_CRED_IMPERSONATOR, 1.2.840.113554.1.2.2.5.14, a
// question to a credential that came of S4U2Self or of constrained delegation:
// the principal of the service that acts for its client. MIT 1.14 and later.
const CredImpersonator OID = "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0e"

// CredCCache is GSS_KRB5_COPY_CCACHE_X, 1.2.752.43.13.1, a question to a credential
// that initiates: the name of its ccache. Heimdal alone.
const CredCCache OID = "\x2a\x85\x70\x2b\x0d\x01"

// enctypesOption is Heimdal's GSS_KRB5_SET_ALLOWABLE_ENCTYPES_X, 1.2.752.43.13.14.
const enctypesOption OID = "\x2a\x85\x70\x2b\x0d\x0e"

// InquireByOID calls gss_inquire_cred_by_oid: the answers of the elements of c to
// one question. ErrUnavailable (MIT) or ErrFailure (Heimdal) for a question that
// none of them knows. MIT and Heimdal.
func (c *Cred) InquireByOID(oid OID) ([][]byte, error) {
	const op = "gss_inquire_cred_by_oid"
	if err := available(op); err != nil {
		return nil, err
	}
	if oid == "" {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "no object identifier was given"}
	}
	o, err := cOID(op, oid)
	if err != nil {
		return nil, err
	}
	u, err := c.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, set := inquireCredByOID(u.h, o)
	parts, err := takeBufferSet(set, true)
	if s.failed() {
		return nil, s.error(op, "")
	}
	return parts, err
}

// pointerOptions are the options of MIT's Kerberos whose value is a pointer, or a
// struct with pointers: the beginnings of their identifiers, as MIT looks at
// those, and the method that there is for each.
var pointerOptions = map[OID]string{
	"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x02": "CopyCCache",
	"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x04": "SetAllowableEnctypes",
	"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0b": "SetRCache",
	"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x05\x0d": "ImportKrb5Cred",
}

// SetOption calls gss_set_cred_option, with a value whose form the option says.
// It changes c for all who use it, and must not be called while somebody does.
// Options whose value is a pointer are refused: they have methods of their own.
// MIT and Heimdal.
func (c *Cred) SetOption(oid OID, value []byte) error {
	const op = "gss_set_cred_option"
	if err := available(op); err != nil {
		return err
	}
	if oid == "" {
		return &Error{Op: op, Major: ErrFailure, Text: "no object identifier was given"}
	}
	for prefix, method := range pointerOptions {
		if strings.HasPrefix(string(oid), string(prefix)) {
			return &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("the value of option %v is a pointer: use %s", oid, method)}
		}
	}
	if err := checkSize(op, "value", len(value)); err != nil {
		return err
	}
	o, err := cOID(op, oid)
	if err != nil {
		return err
	}
	u, err := c.need(op)
	if err != nil {
		return err
	}
	defer u.end()
	if oid == enctypesOption {
		c.restricts.Store(heimdal())
	}
	if s := setCredOption(u.h, o, value); s.failed() {
		return s.error(op, "")
	}
	return nil
}

// SetNegMechs calls gss_set_neg_mechs: the mechanisms that SPNEGO may negotiate
// with c, in the order of preference. It changes c for all who use it, and must
// not be called while somebody does. ErrUnavailable for a credential without an
// element for SPNEGO. MIT 1.8 and later. RFC 4178, appendix B.
func (c *Cred) SetNegMechs(mechs []OID) error {
	const op = "gss_set_neg_mechs"
	if err := available(op); err != nil {
		return err
	}
	if len(mechs) == 0 || slices.Contains(mechs, MechSPNEGO) {
		return &Error{Op: op, Major: ErrBadMech, Text: "give at least one mechanism, and not SPNEGO itself"}
	}
	u, err := c.need(op)
	if err != nil {
		return err
	}
	defer u.end()
	set, err := oidSet(mechs)
	if err != nil {
		return err
	}
	s := setNegMechs(u.h, set)
	if s.failed() {
		e := s.error(op, "")
		releaseOIDSet(set)
		return e
	}
	releaseOIDSet(set)
	return nil
}

// NegMechs calls gss_get_neg_mechs: the list of SetNegMechs; nil if there was none,
// so that SPNEGO may negotiate whatever c has. Heimdal after 7.8.
func (c *Cred) NegMechs() ([]OID, error) {
	const op = "gss_get_neg_mechs"
	if err := available(op); err != nil {
		return nil, err
	}
	u, err := c.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, set := getNegMechs(u.h)
	mechs := takeOIDSet(set)
	if Major(s.major).Is(ErrUnavailable) { // there is no list
		return nil, nil
	}
	if s.failed() {
		return nil, s.error(op, "")
	}
	return mechs, nil
}
