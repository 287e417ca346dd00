package gssapi

import (
	"errors"

	"github.com/seed2651813c/gss"
)

// Attributes of mechanisms: RFC 5587, 3.4. See [gss.MAMechConcrete] and the others
// there.
const (
	MAMechConcrete  = gss.MAMechConcrete
	MAMechPseudo    = gss.MAMechPseudo
	MAMechComposite = gss.MAMechComposite
	MAMechNego      = gss.MAMechNego
	MAMechGlue      = gss.MAMechGlue
	MANotMech       = gss.MANotMech
	MADeprecated    = gss.MADeprecated
	MANotDfltMech   = gss.MANotDfltMech
	MAItokFramed    = gss.MAItokFramed
	MAAuthInit      = gss.MAAuthInit
	MAAuthTarg      = gss.MAAuthTarg
	MAAuthInitInit  = gss.MAAuthInitInit
	MAAuthTargInit  = gss.MAAuthTargInit
	MAAuthInitAnon  = gss.MAAuthInitAnon
	MAAuthTargAnon  = gss.MAAuthTargAnon
	MADelegCred     = gss.MADelegCred
	MAIntegProt     = gss.MAIntegProt
	MAConfProt      = gss.MAConfProt
	MAMIC           = gss.MAMIC
	MAWrap          = gss.MAWrap
	MAProtReady     = gss.MAProtReady
	MAReplayDet     = gss.MAReplayDet
	MAOOSDet        = gss.MAOOSDet
	MACBindings     = gss.MACBindings
	MAPFS           = gss.MAPFS
	MACompress      = gss.MACompress
	MACtxTrans      = gss.MACtxTrans
)

// MechInfo tells what a mechanism is. What the library does not tell is empty.
type MechInfo struct {
	SASLName    string // in SASL, such as "GS2-KRB5"; made of the identifier if it has none of its own
	Name        string // such as "krb5"
	Description string // for people

	// Attributes are what the mechanism is and can do, such as MACtxTrans. What is
	// in Known and not here it is not, or cannot; of the others nothing is known.
	// Both are empty on GNU gss.
	Attributes, Known []OID
}

// DescribeMech tells what a mechanism is. ErrBadMech for one that the library does
// not have. It does not block. RFC 5587, 3.4.3, and RFC 5801, 11. MIT, Heimdal, GNU
// gss, GSS.framework.
func DescribeMech(mech OID) (*MechInfo, error) {
	sasl, name, description, err := gss.InquireSASLNameForMech(mech)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	attrs, known, aerr := gss.InquireAttrsForMech(mech)
	if aerr != nil && (err != nil || !errors.Is(aerr, ErrUnavailable)) {
		return nil, aerr
	}
	return &MechInfo{printable([]byte(sasl)), printable([]byte(name)), printable([]byte(description)), attrs, known}, nil
}

// MechForSASLName returns the mechanism with that name in SASL, such as
// "GS2-KRB5". ErrBadMech if there is none. It does not block. RFC 5801, 11. MIT,
// Heimdal, GNU gss, GSS.framework.
func MechForSASLName(name string) (OID, error) { return gss.InquireMechForSASLName(name) }

// MechanismsByAttributes returns the mechanisms that have all desired attributes
// and none of those in except, and that know all that are critical. Each may be
// nil. It does not block. RFC 5587, 3.4.2. MIT, Heimdal, GSS.framework;
// ErrUnavailable elsewhere.
//
// Heimdal 7.8 counts only attributes that a mechanism has as known to it.
func MechanismsByAttributes(desired, except, critical []OID) ([]OID, error) {
	return gss.IndicateMechsByAttrs(desired, except, critical)
}

// DescribeAttribute returns the name of an attribute of mechanisms, such as
// "GSS_C_MA_CTX_TRANS", and a short and a long description, which may be empty.
// ErrBadMechAttr for one that the library does not know. It does not block. RFC
// 5587, 3.4.4. MIT, Heimdal, GSS.framework; ErrUnavailable elsewhere.
func DescribeAttribute(attr OID) (name, short, long string, err error) {
	if name, short, long, err = gss.DisplayMechAttr(attr); err != nil {
		return "", "", "", err
	}
	return printable([]byte(name)), printable([]byte(short)), printable([]byte(long)), nil
}

// Encapsulate puts token into the frame of an initial context token, which names
// the mechanism. token is not changed. ErrBadMech for an identifier that is empty, or
// of more than 127 bytes. RFC 2743, 3.1. MIT, Heimdal, GNU gss, GSS.framework.
func Encapsulate(mech OID, token []byte) ([]byte, error) {
	return taken(gss.EncapsulateToken(token, mech))
}

// Decapsulate takes token out of the frame that Encapsulate makes.
// ErrDefectiveToken if it is not in one of that mechanism. What is returned is a
// copy. RFC 2743, 3.1. MIT, Heimdal, GNU gss, GSS.framework.
func Decapsulate(mech OID, token []byte) ([]byte, error) {
	return taken(gss.DecapsulateToken(token, mech))
}

// taken is the contents of a buffer that is released, or the error.
func taken(b *gss.Buffer, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer b.Release()
	return b.AppendTo(nil)
}
