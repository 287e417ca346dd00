package gss

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/bits"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

// TicketFlags are the flags of a Kerberos ticket: RFC 4120, 2 and 5.3. Flag 0 is
// the highest bit, as on the wire and in krb5.h.
type TicketFlags uint32

// Ticket flags.
const (
	TicketForwardable     TicketFlags = 1 << (31 - 1)
	TicketForwarded       TicketFlags = 1 << (31 - 2)
	TicketProxiable       TicketFlags = 1 << (31 - 3)
	TicketProxy           TicketFlags = 1 << (31 - 4)
	TicketMayPostdate     TicketFlags = 1 << (31 - 5)
	TicketPostdated       TicketFlags = 1 << (31 - 6)
	TicketInvalid         TicketFlags = 1 << (31 - 7)
	TicketRenewable       TicketFlags = 1 << (31 - 8)
	TicketInitial         TicketFlags = 1 << (31 - 9)  // issued by the authentication service
	TicketPreauthent      TicketFlags = 1 << (31 - 10) // its owner was authenticated before it was issued
	TicketHWAuthent       TicketFlags = 1 << (31 - 11) // with hardware
	TicketTransitedPolicy TicketFlags = 1 << (31 - 12) // the KDC checked the realms on the way
	TicketOKAsDelegate    TicketFlags = 1 << (31 - 13) // the service is trusted with credentials
	TicketAnonymous       TicketFlags = 1 << (31 - 16) // RFC 8062
)

var ticketFlagNames = [32]string{
	1: "forwardable", 2: "forwarded", 3: "proxiable", 4: "proxy", 5: "may-postdate", 6: "postdated", 7: "invalid", 8: "renewable",
	9: "initial", 10: "pre-authent", 11: "hw-authent", 12: "transited-policy-checked", 13: "ok-as-delegate", 15: "enc-pa-rep", 16: "anonymous",
}

// String lists the flags by the names of RFC 4120 with commas between them;
// "none" for none.
func (f TicketFlags) String() string {
	var names []string
	for i, name := range ticketFlagNames {
		if f&(1<<(31-i)) == 0 {
			continue
		}
		if name == "" {
			name = fmt.Sprintf("flag %d", i)
		}
		names = append(names, name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// Key is a key of Kerberos. It is a secret: it never prints its value, and its
// holder calls Clear when he is done with it.
type Key struct {
	Type  int32  // the enctype, RFC 3961 and its registry
	Value []byte // the caller's
}

// Clear overwrites the value.
func (k *Key) Clear() {
	if k != nil {
		clear(k.Value)
		k.Value = nil
	}
}

// String tells enctype and length, never the value.
func (k Key) String() string {
	return fmt.Sprintf("gss.Key(enctype %d, %d bytes)", k.Type, len(k.Value))
}

// GoString is String: %#v does not print the value either.
func (k Key) GoString() string { return k.String() }

// Format is String for every verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// MarshalText is String, for encodings such as JSON.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue is String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// LucidContext is a Kerberos context laid open, gss_krb5_lucid_context_v1_t: what
// it takes to make and read its messages without the library. Its keys are
// secrets: call Clear.
type LucidContext struct {
	Initiate bool   // this end is the initiator
	EndTime  uint32 // of the ticket, seconds since 1970
	SendSeq  uint64 // of the next message that this end sends
	RecvSeq  uint64 // of the first message that the peer sent
	Protocol uint32 // 0: RFC 1964; 1: RFC 4121

	SignAlg, SealAlg uint32 // RFC 1964, 1.2; with Protocol 0

	// Key is the initiator's subkey, or the session key if it has none. Heimdal
	// 7.8 has AcceptorSubkey here too if there is one.
	Key            Key
	AcceptorSubkey *Key // with Protocol 1: what messages are protected with, if it is there
}

// Expiry is EndTime.
func (l *LucidContext) Expiry() time.Time { return time.Unix(int64(l.EndTime), 0) }

// Clear overwrites the keys.
func (l *LucidContext) Clear() {
	if l != nil {
		l.Key.Clear()
		l.AcceptorSubkey.Clear()
	}
}

// TicketFlags calls gss_krb5_get_tkt_flags. Heimdal 7.8 counts the bits from the
// other end, which is made good here. It has no ticket in an initiator's context,
// nor in one that was imported: ErrUnavailable. MIT and Heimdal.
func (x *Ctx) TicketFlags() (TicketFlags, error) {
	const op = "gss_krb5_get_tkt_flags"
	u, err := x.begin(op, true)
	if err != nil {
		return 0, err
	}
	defer u.end()
	s, f := krb5TicketFlags(u.h)
	if s.failed() {
		return 0, notKerberos(s, op)
	}
	if heimdalLike() {
		f = bits.Reverse32(f)
	}
	return TicketFlags(f), nil
}

// noTicket makes one error of Heimdal's several for a context that has not the
// ticket.
//
//gss:pinned
func noTicket(s status, op string) *Error {
	e := s.error(op, "")
	if heimdalLike() && e.Minor == invalidArgument {
		e.Major = ErrUnavailable
	}
	return e
}

// notKerberos is noTicket for calls that are Kerberos' own: Heimdal 7.8 fails
// without a reason on contexts of NTLM, and MIT may on those of other modules.
//
//gss:pinned
func notKerberos(s status, op string) *Error {
	e := noTicket(s, op)
	if e.Major == ErrFailure && e.Minor == 0 {
		e.Major, e.Text = ErrUnavailable, "the context has nothing of the kind: it may be none of Kerberos"
	}
	return e
}

// AuthTime calls gsskrb5_extract_authtime_from_sec_context: when the initiator's
// user authenticated, in seconds since 1970. Up to 2106: the libraries count in
// 32 bits. Heimdal 7.8 has no ticket in an initiator's context, nor in one that
// was imported: ErrUnavailable. MIT and Heimdal.
func (x *Ctx) AuthTime() (int64, error) {
	const op = "gsskrb5_extract_authtime_from_sec_context"
	u, err := x.begin(op, true)
	if err != nil {
		return 0, err
	}
	defer u.end()
	s, room, width := krb5AuthTime(u.h)
	if s.failed() {
		return 0, notKerberos(s, op)
	}
	return seconds(room, width), nil
}

// seconds reads a time that has width bytes. Heimdal 7.8 makes its time_t of 32
// bits, and of those after 2038 a negative one.
func seconds(room [16]byte, width int) int64 {
	if width == 4 {
		return int64(binary.NativeEndian.Uint32(room[:]))
	}
	t := int64(binary.NativeEndian.Uint64(room[:]))
	if t < 0 {
		t = int64(uint32(t))
	}
	return t
}

// AuthorizationData calls gsskrb5_extract_authz_data_from_sec_context: the
// authorization data of that type (RFC 4120, 7.5.4) that the initiator came with.
// ErrUnavailable if there is none; initiators have none. ErrFailure if MIT has
// several: InquireByOID returns them all, under 1.2.840.113554.1.2.2.5.10 and the
// type. MIT and Heimdal.
//
// Heimdal looks into the ticket, also within AD-IF-RELEVANT (1). MIT 1.20 looks
// into the ticket and then into the authenticator, which the initiator makes
// itself, and not within AD-IF-RELEVANT: whom it gives rights to was not said by
// the KDC. See PAC.
func (x *Ctx) AuthorizationData(typ int32) ([]byte, error) {
	const op = "gsskrb5_extract_authz_data_from_sec_context"
	if typ <= 0 {
		// MIT 1.20 loops for ever on negative ones (oid_ops.c, generic_gss_oid_compose).
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("%d is no type that can be asked for", typ)}
	}
	object, err := cOID(op, objectAuthz+base128(typ))
	if err != nil {
		return nil, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	none := &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("the context has no authorization data of type %d", typ)}
	if kind() == KindMIT {
		// MIT 1.20 loses the memory of several, and does not say none.
		s, n := probeContext(u.h, object)
		switch {
		case s.failed():
			return nil, s.error(op, "")
		case n == 0:
			return nil, none
		case n > 1:
			return nil, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("the context has %d elements of type %d: InquireByOID returns them", n, typ)}
		}
	}
	s, buf := krb5AuthzData(u.h, typ)
	b := buf.buffer(true)
	defer b.Release()
	const noEntry = 2 // ENOENT
	if s.failed() {
		e := notKerberos(s, op)
		if heimdalLike() && (e.Minor == noEntry || e.Major == ErrUnavailable) {
			return nil, none
		}
		return nil, e
	}
	return b.AppendTo(nil)
}

// PAC returns the privilege attribute certificate of the initiator's ticket
// (MS-PAC) whose signature the library verified. With MIT it is the attribute
// urn:mspac: of the initiator's name (RFC 6680); else AuthorizationData of type
// 128, which Heimdal verifies unless its configuration has check_pac off.
// ErrUnavailable if there is none; initiators have none. ErrBadSig if there is one
// that was not verified. On MIT the context must not have expired.
func (x *Ctx) PAC() ([]byte, error) {
	const op = "gss_get_name_attribute"
	const win2k = 128 // AD-WIN2K-PAC
	if kind() != KindMIT {
		return x.AuthorizationData(win2k)
	}
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, buf, verified := krb5PAC(u.h)
	b := buf.buffer(true)
	defer b.Release()
	switch {
	case s.failed():
		return nil, s.error(op, "")
	case b.Len() == 0:
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: "the context has no PAC"}
	case !verified:
		return nil, &Error{Op: op, Major: ErrBadSig, Text: "the library did not verify the PAC"}
	}
	return b.AppendTo(nil)
}

// base128 is a number of an object identifier.
func base128(n int32) OID {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		out = append([]byte{byte(n&0x7f) | 0x80}, out...)
	}
	return OID(out)
}

// ServiceKey calls gsskrb5_extract_service_keyblock: the acceptor's long-term
// key, which the initiator's ticket was encrypted with. The key is the caller's,
// who clears it. ErrUnavailable on an initiator's context, and on one that was
// imported. Heimdal only.
func (x *Ctx) ServiceKey() (*Key, error) {
	return x.key("gsskrb5_extract_service_keyblock", krb5ServiceKey)
}

// InitiatorSubkey calls gsskrb5_get_initiator_subkey: the subkey that the
// initiator asserted, or the session key if it asserted none. The key is the
// caller's, who clears it. Heimdal only; see InquireLucid.
func (x *Ctx) InitiatorSubkey() (*Key, error) {
	return x.key("gsskrb5_get_initiator_subkey", krb5InitiatorSubkey)
}

// Subkey calls gsskrb5_get_subkey: the key that messages are protected with. The
// key is the caller's, who clears it. Heimdal only; see InqSSPISessionKey.
func (x *Ctx) Subkey() (*Key, error) {
	return x.key("gsskrb5_get_subkey", krb5Subkey)
}

func (x *Ctx) key(op string, get func(ctx unsafe.Pointer) (status, Key)) (*Key, error) {
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, key := get(u.h)
	if s.failed() {
		return nil, notKerberos(s, op)
	}
	if len(key.Value) == 0 {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the library reported success and returned no key"}
	}
	return &key, nil
}

// ExportLucid calls gss_krb5_export_lucid_sec_context: the context lies open.
// The copy is the caller's, who clears it. On MIT the context is gone then; on
// Heimdal it is kept, and nobody should use both: they would give two messages
// the same number. The handle is read again whatever the status is.
// MIT and Heimdal.
func (x *Ctx) ExportLucid() (*LucidContext, error) {
	const op = "gss_krb5_export_lucid_sec_context"
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, left, l := krb5ExportLucid(u.h)
	x.c.set(left)
	return lucid(s, op, l)
}

// InquireLucid is ExportLucid, but keeps the context on MIT too, for names,
// flags and lifetime. MIT answers it from gss_inquire_sec_context_by_oid.
func (x *Ctx) InquireLucid() (*LucidContext, error) {
	const op = "gss_inquire_sec_context_by_oid"
	if kind() != KindMIT {
		return x.ExportLucid()
	}
	object, err := cOID(op, objectLucid+"\x01")
	if err != nil {
		return nil, err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, l := krb5InquireLucid(u.h, object)
	return lucid(s, op, l)
}

//gss:pinned
func lucid(s status, op string, l *LucidContext) (*LucidContext, error) {
	if s.failed() {
		l.Clear()
		return nil, notKerberos(s, op)
	}
	if l == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the library reported success and returned no lucid context of version 1"}
	}
	return l, nil
}

// TimeOffset calls gsskrb5_get_time_offset: by how many seconds the time of
// Kerberos is ahead of the system's. See SetTimeOffset. Heimdal only.
func TimeOffset() (int32, error) {
	const op = "gsskrb5_get_time_offset"
	if _, err := lib(); err != nil {
		return 0, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, seconds := krb5TimeOffset()
	if s.failed() {
		return 0, s.error(op, "")
	}
	return seconds, nil
}

// SetTimeOffset calls gsskrb5_set_time_offset. Heimdal 7.8 keeps a Kerberos
// context for each thread, and this changes the one of the calling thread: it is
// of use only on a goroutine that has called runtime.LockOSThread, for the calls
// that this goroutine makes, and must not be done on a thread that goes back to
// others. OnOwnThread makes such a one. Heimdal only.
func SetTimeOffset(seconds int32) error {
	const op = "gsskrb5_set_time_offset"
	if _, err := lib(); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s := krb5SetTimeOffset(seconds); s.failed() {
		return s.error(op, "")
	}
	return nil
}

// SetDefaultRealm calls gsskrb5_set_default_realm, for the calling thread: see
// SetTimeOffset. There is no way back to the configured one. Heimdal only.
func SetDefaultRealm(realm string) error {
	const op = "gsskrb5_set_default_realm"
	if realm == "" || strings.ContainsRune(realm, 0) {
		return &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("%q is no realm", clip(realm))}
	}
	if _, err := lib(); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s := krb5SetDefaultRealm(realm); s.failed() {
		return s.error(op, "")
	}
	return nil
}

// SetDNSCanonicalize calls gsskrb5_set_dns_canonicalize, for the calling thread:
// see SetTimeOffset. It says whether the name service is asked for the canonical
// name of a service's host. The configuration's dns_canonicalize_hostname is the
// better place. Heimdal only.
func SetDNSCanonicalize(on bool) error {
	const op = "gsskrb5_set_dns_canonicalize"
	if _, err := lib(); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s := krb5SetDNSCanonicalize(on); s.failed() {
		return s.error(op, "")
	}
	return nil
}
