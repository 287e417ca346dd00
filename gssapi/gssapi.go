package gssapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/seed2651813c/gss"
)

// The words of the thin layer, which are this package's too.
type (
	// OID is an object identifier, see [gss.OID].
	OID = gss.OID
	// Major is a major status and an error, see [gss.Major].
	Major = gss.Major
	// Error is the failure of one call, see [gss.Error].
	Error = gss.Error
	// Flags are the flags of a context, see [gss.Flags].
	Flags = gss.Flags
	// ChannelBindings tie a context to its channel, see [gss.ChannelBindings].
	ChannelBindings = gss.ChannelBindings
)

// Routine errors of RFC 2744, 3.9.1.
const (
	ErrBadMech            = gss.ErrBadMech
	ErrBadName            = gss.ErrBadName
	ErrBadNameType        = gss.ErrBadNameType
	ErrBadBindings        = gss.ErrBadBindings
	ErrBadStatus          = gss.ErrBadStatus
	ErrBadSig             = gss.ErrBadSig
	ErrBadMIC             = gss.ErrBadMIC
	ErrNoCred             = gss.ErrNoCred
	ErrNoContext          = gss.ErrNoContext
	ErrDefectiveToken     = gss.ErrDefectiveToken
	ErrDefectiveCred      = gss.ErrDefectiveCred
	ErrCredentialsExpired = gss.ErrCredentialsExpired
	ErrContextExpired     = gss.ErrContextExpired
	ErrFailure            = gss.ErrFailure
	ErrBadQOP             = gss.ErrBadQOP
	ErrUnauthorized       = gss.ErrUnauthorized
	ErrUnavailable        = gss.ErrUnavailable
	ErrDuplicateElement   = gss.ErrDuplicateElement
	ErrNameNotMN          = gss.ErrNameNotMN
	ErrBadMechAttr        = gss.ErrBadMechAttr
)

// Supplementary statuses of RFC 2744, 3.9.1: what is wrong with a message's
// place in the sequence.
const (
	ErrDuplicateToken = gss.ErrDuplicateToken
	ErrOldToken       = gss.ErrOldToken
	ErrUnseqToken     = gss.ErrUnseqToken
	ErrGapToken       = gss.ErrGapToken
)

// ErrNotEncrypted is the error of a message that was only signed where it
// should have been encrypted.
var ErrNotEncrypted = errors.New("message is not encrypted")

// Mechanisms, see [gss.MechKrb5] and the others there.
const (
	MechKrb5   = gss.MechKrb5
	MechSPNEGO = gss.MechSPNEGO
	MechIAKERB = gss.MechIAKERB
	// MechNTLM is used only by who names it in Mech, NegMechs or Mechs. MIT has it
	// with the plugin gss-ntlmssp. It proves no acceptor's identity, so that its
	// initiators name FlagMutual in Without, and its contexts cannot be exported.
	MechNTLM = gss.MechNTLM
)

// Name types, see [gss.NTHostBasedService] and the others there.
const (
	NTHostBasedService   = gss.NTHostBasedService
	NTUserName           = gss.NTUserName
	NTMachineUID         = gss.NTMachineUID
	NTStringUID          = gss.NTStringUID
	NTAnonymous          = gss.NTAnonymous
	NTExportName         = gss.NTExportName
	NTCompositeExport    = gss.NTCompositeExport
	NTKrb5PrincipalName  = gss.NTKrb5PrincipalName
	NTKrb5EnterpriseName = gss.NTKrb5EnterpriseName
)

// Context flags, see [gss.Flags].
const (
	FlagDeleg         = gss.FlagDeleg
	FlagMutual        = gss.FlagMutual
	FlagReplay        = gss.FlagReplay
	FlagSequence      = gss.FlagSequence
	FlagConf          = gss.FlagConf
	FlagInteg         = gss.FlagInteg
	FlagAnon          = gss.FlagAnon
	FlagProtReady     = gss.FlagProtReady
	FlagTrans         = gss.FlagTrans
	FlagChannelBound  = gss.FlagChannelBound
	FlagDCEStyle      = gss.FlagDCEStyle
	FlagIdentify      = gss.FlagIdentify
	FlagExtendedError = gss.FlagExtendedError
	FlagDelegPolicy   = gss.FlagDelegPolicy
)

// ParseOID parses a dotted object identifier such as "1.2.840.113554.1.2.2".
func ParseOID(s string) (OID, error) { return gss.ParseOID(s) }

// Mechanisms returns the mechanisms that the library has.
func Mechanisms() ([]OID, error) { return gss.IndicateMechs() }

// NameTypes returns the name types that a mechanism takes.
func NameTypes(mech OID) ([]OID, error) { return gss.InquireNamesForMech(mech) }

// Indefinite, as a lifetime that is asked for, is the longest there is.
const Indefinite time.Duration = math.MaxInt64

// seconds is d as GSS-API takes it: rounded up, 0 for the default.
func seconds(op string, d time.Duration) (uint32, error) {
	if d < 0 {
		return 0, refuse(op, ErrFailure, "a lifetime of %v: it must not be negative", d)
	}
	s := int64(d / time.Second)
	if d%time.Second != 0 {
		s++
	}
	if s >= int64(gss.Indefinite) {
		return gss.Indefinite, nil
	}
	return uint32(s), nil
}

// expiry is the moment at which what lives for so many seconds from now ends;
// the zero time if it does not.
func expiry(seconds uint32) time.Time {
	if seconds == gss.Indefinite {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(seconds) * time.Second)
}

// refuse makes the error of a call that does not reach C.
func refuse(op string, major Major, format string, args ...any) *Error {
	return &Error{Op: op, Major: major, Text: shortened(fmt.Sprintf(format, args...))}
}

// shortened bounds what callers gave and goes into the text of an error.
func shortened(s string) string {
	const most = 1024
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// ended returns an error if ctx is nil or done: an *Error that is ctx.Err and its
// cause too.
func ended(ctx context.Context, op string) error {
	if ctx == nil {
		return refuse(op, ErrFailure, "no context.Context was given: context.Background() is one that does not end")
	}
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != err {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &Error{Op: op, Major: ErrFailure, Text: err.Error(), Err: err}
}
