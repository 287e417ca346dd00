package gss

import (
	"runtime"
	"strings"
	"unsafe"
)

// Flags are the context flags of RFC 2744, 5.19 and its extensions.
type Flags uint32

// Context flags. Their values are the same in every library; what a library
// does not know it ignores.
const (
	FlagDeleg         Flags = 1 << 0  // GSS_C_DELEG_FLAG
	FlagMutual        Flags = 1 << 1  // GSS_C_MUTUAL_FLAG
	FlagReplay        Flags = 1 << 2  // GSS_C_REPLAY_FLAG
	FlagSequence      Flags = 1 << 3  // GSS_C_SEQUENCE_FLAG
	FlagConf          Flags = 1 << 4  // GSS_C_CONF_FLAG
	FlagInteg         Flags = 1 << 5  // GSS_C_INTEG_FLAG
	FlagAnon          Flags = 1 << 6  // GSS_C_ANON_FLAG
	FlagProtReady     Flags = 1 << 7  // GSS_C_PROT_READY_FLAG
	FlagTrans         Flags = 1 << 8  // GSS_C_TRANS_FLAG
	FlagChannelBound  Flags = 1 << 11 // GSS_C_CHANNEL_BOUND_FLAG
	FlagDCEStyle      Flags = 1 << 12 // GSS_C_DCE_STYLE
	FlagIdentify      Flags = 1 << 13 // GSS_C_IDENTIFY_FLAG
	FlagExtendedError Flags = 1 << 14 // GSS_C_EXTENDED_ERROR_FLAG
	FlagDelegPolicy   Flags = 1 << 15 // GSS_C_DELEG_POLICY_FLAG
)

var flagNames = map[Flags]string{
	FlagDeleg: "deleg", FlagMutual: "mutual", FlagReplay: "replay", FlagSequence: "sequence", FlagConf: "conf",
	FlagInteg: "integ", FlagAnon: "anon", FlagProtReady: "prot-ready", FlagTrans: "trans",
	FlagChannelBound: "channel-bound", FlagDCEStyle: "dce-style", FlagIdentify: "identify",
	FlagExtendedError: "extended-error", FlagDelegPolicy: "deleg-policy",
}

// String lists the flags by name with commas between them; "none" for none.
func (f Flags) String() string {
	var names []string
	for i := range 32 {
		if bit := Flags(1) << i; f&bit != 0 {
			name, ok := flagNames[bit]
			if !ok {
				name = "0x" + hexDigits(uint32(bit))
			}
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

func hexDigits(n uint32) string {
	const digits = "0123456789abcdef"
	s := ""
	for ; n > 0; n >>= 4 {
		s = string(digits[n&15]) + s
	}
	return s
}

// Address types of channel bindings: RFC 2744, 3.11.
const (
	AddrUnspec uint32 = 0   // GSS_C_AF_UNSPEC
	AddrInet   uint32 = 2   // GSS_C_AF_INET
	AddrNull   uint32 = 255 // GSS_C_AF_NULLADDR
)

// ChannelBindings tie a context to the channel it is established over: RFC
// 2744, 3.11. Both ends give the same; most protocols use the application data
// alone.
type ChannelBindings struct {
	InitiatorAddrType uint32
	InitiatorAddress  []byte
	AcceptorAddrType  uint32
	AcceptorAddress   []byte
	ApplicationData   []byte
}

// bindings are ChannelBindings as they cross: one block of bytes.
type bindings struct {
	have                bool
	itype, atype        uint32
	block               []byte
	ilen, alen, datalen int
}

// size is how many bytes cross.
func (b *ChannelBindings) size() int {
	if b == nil {
		return 0
	}
	return len(b.InitiatorAddress) + len(b.AcceptorAddress) + len(b.ApplicationData)
}

func (b *ChannelBindings) cross() bindings {
	if b == nil {
		return bindings{}
	}
	block := make([]byte, 0, b.size())
	block = append(append(append(block, b.InitiatorAddress...), b.AcceptorAddress...), b.ApplicationData...)
	return bindings{true, b.InitiatorAddrType, b.AcceptorAddrType, block, len(b.InitiatorAddress), len(b.AcceptorAddress), len(b.ApplicationData)}
}

// Ctx is a gss_ctx_id_t. Calls on it are made one after the other.
//
// A context that failed to establish is deleted at once: nothing else may be
// done with it (Heimdal 7.8 crashes on anything else). Until it is established
// only Init or Accept, and Delete, reach C: Heimdal 7.8 aborts on most others.
type Ctx struct {
	c *cell

	// Guarded by c.mu.
	open   bool        // was established
	failed bool        // never will be
	rooms  [2]iovRooms // that its tokens take, integrity first: see measure
}

// NewCtx returns an empty context, GSS_C_NO_CONTEXT, for Init or Accept. It
// makes no call.
func NewCtx() *Ctx { return newCtx(nil, false) }

func newCtx(h unsafe.Pointer, open bool) *Ctx {
	x := &Ctx{c: newCell(h, func(h unsafe.Pointer) { deleteSecContext(h) }), open: open}
	runtime.AddCleanup(x, (*cell).close, x.c)
	return x
}

// begin takes hold of the context for one call, and waits for the call that is
// under way. open: the call is for established contexts.
func (x *Ctx) begin(op string, open bool) (use, error) { return x.beginWork(op, open, 0) }

// beginWork is begin for a call on a message of so many bytes.
func (x *Ctx) beginWork(op string, open bool, size int) (use, error) {
	if x == nil {
		return use{}, &Error{Op: op, Major: ErrNoContext, Text: "no context was given"}
	}
	if !x.c.hold() {
		return use{}, &Error{Op: op, Major: ErrNoContext, Text: "the context was deleted"}
	}
	x.c.mu.Lock() // before the thread is taken: who waits here needs none
	u := use{c: x.c, h: x.c.h, locked: true}
	if size > shortWork {
		work <- struct{}{}
		u.works = true
	}
	runtime.LockOSThread()
	var text string
	switch {
	case x.c.closed():
		text = "the context was deleted"
	case !open && x.failed:
		text = "the context failed to establish"
	case !open && x.open:
		text = "the context is established already"
	case open && x.c.h == nil:
		text = "there is no context: it was not begun, failed, was exported or given away"
	case open && !x.open:
		text = "the context is not established yet"
	default:
		return u, nil
	}
	u.end()
	return use{}, &Error{Op: op, Major: ErrNoContext, Text: text}
}

// InitArgs are the arguments of gss_init_sec_context. Every leg gets the same,
// but for Token.
type InitArgs struct {
	Cred     *Cred // nil: the default
	Target   *Name
	Mech     OID // empty: the library's default
	Flags    Flags
	Lifetime uint32 // seconds; 0: the default
	Bindings *ChannelBindings
	Token    []byte // from the acceptor; not read on the first leg
}

// AcceptArgs are the arguments of gss_accept_sec_context. Every leg gets the
// same, but for Token.
type AcceptArgs struct {
	Cred     *Cred // nil: the default
	Bindings *ChannelBindings
	Token    []byte
}

// Step is what one leg returned. Its objects are the caller's.
type Step struct {
	Token     *Buffer // to be sent to the peer; nil if there is none. It may come with an error: it tells the peer about that
	Done      bool    // the context is established
	Mech      OID
	Chosen    OID    // Accept: the mechanism that Token tells the initiator to go on with inside of SPNEGO; RFC 4178, 4.2.2
	Flags     Flags  // final when Done
	Lifetime  uint32 // seconds from now
	Source    *Name  // Accept: the initiator. GNU gss 1.0.4 leaves out the realm, even that of another
	Delegated *Cred  // Accept: the initiator's credential, if it sent one
}

// stepResult is what came back from C.
type stepResult struct {
	status
	ctx               unsafe.Pointer
	token             libBuffer
	source, delegated unsafe.Pointer
	mech              OID
	flags, lifetime   uint32
}

// step takes ownership of what came back. The caller has begun x.
//
//gss:pinned
func (x *Ctx) step(op string, r stepResult, mech OID) (*Step, error) {
	x.c.set(r.ctx)
	s := &Step{Token: r.token.buffer(false), Mech: r.mech, Flags: ntlmFlags(r.mech, honest(r.flags)), Lifetime: r.lifetime}
	var err *Error
	// A supplementary status says that the token is an old or a repeated one,
	// which is fatal here (RFC 2744, 5.1 and 5.19), routine error or not.
	if r.failed() || r.major&supplementaryMask&^statusContinueNeeded != 0 {
		err = r.error(op, mech)
	} else if r.ctx == nil {
		err = &Error{Op: op, Major: ErrFailure, Mech: mech, Text: "the library reported success and returned no context"}
	}
	if err != nil {
		if r.source != nil {
			releaseName(r.source)
		}
		if r.delegated != nil {
			releaseCred(r.delegated)
		}
		x.c.release()
		x.failed = true
		return s, err
	}
	s.Source, s.Delegated = mechanismName(r.source), newCred(r.delegated)
	s.Done = !r.continueNeeded()
	x.open = s.Done
	return s, nil
}

// Init calls gss_init_sec_context. On an error the context is deleted; the Step
// that comes with it may have a token for the peer, and must be released by
// Release of its Token. It may block on a KDC; GNU gss (Shishi 1.0.3), if its
// tickets have expired, on a password that it asks for at the terminal. RFC 2744,
// 5.19.
func (x *Ctx) Init(a *InitArgs) (s *Step, err error) {
	if ccache := a.heimdalCCache(); ccache != "" {
		err = WithCCacheName(ccache, func() (err error) {
			s, err = x.initiate(a)
			return err
		})
		return s, err
	}
	if a != nil && a.Cred != nil && a.Cred.restricts.Load() {
		err = OnOwnThread(func() (err error) {
			s, err = x.initiate(a)
			return err
		})
		return s, err
	}
	return x.initiate(a)
}

func (x *Ctx) initiate(a *InitArgs) (*Step, error) {
	const op = "gss_init_sec_context"
	if a == nil {
		a = new(InitArgs)
	}
	if _, err := lib(); err != nil {
		return nil, err
	}
	if err := checkSize(op, "token", len(a.Token)); err != nil {
		return nil, err
	}
	if err := gnuMech(op, a.Mech); err != nil {
		return nil, err
	}
	if gnu() && a.Cred != nil {
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: gnuName() + " initiates with the default tickets only: give no credential"}
	}
	if err := checkSize(op, "channel bindings", a.Bindings.size()); err != nil {
		return nil, err
	}
	m, err := cOID(op, a.Mech)
	if err != nil {
		return nil, err
	}
	u, err := x.begin(op, false)
	if err != nil {
		return nil, err
	}
	defer u.end()
	target, err := a.Target.forMech(a.Mech)
	if err != nil {
		return nil, err
	}
	if target != a.Target {
		defer target.Release()
	}
	t, err := target.need(op)
	if err != nil {
		return nil, err
	}
	defer t.end()
	c, err := a.Cred.begin(op)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if err := gnuPrincipal(op, t.h); err != nil {
		return nil, err
	}
	if u.h == nil {
		if err := a.Cred.initiates(op, c.h, a.Mech); err != nil {
			return nil, err
		}
	}
	if err := heimdalReply(op, a.Mech, a.Flags, a.Token); err != nil {
		x.c.release()
		x.failed = true
		return new(Step), err
	}
	turn := takeTurn()
	r := initSecContext(u.h, c.h, t.h, m, uint32(a.Flags), a.Lifetime, a.Bindings.cross(), a.Token)
	turn.end()
	if gnu() {
		r.flags &^= uint32(FlagConf) // GNU gss 1.0.4 grants what it is asked for, and cannot encrypt
	}
	return x.step(op, r, a.Mech)
}

// Accept calls gss_accept_sec_context. On an error the context is deleted; the
// Step that comes with it may have a token for the peer. It does not ask a KDC.
//
// GNU gss (1.0.4, with Shishi 1.0.3) accepts tickets that have expired, and the
// same token again and again: nobody who can be recorded should log in to it.
// RFC 2744, 5.1.
func (x *Ctx) Accept(a *AcceptArgs) (*Step, error) {
	const op = "gss_accept_sec_context"
	if a == nil {
		a = new(AcceptArgs)
	}
	if _, err := lib(); err != nil {
		return nil, err
	}
	if err := checkSize(op, "token", len(a.Token)); err != nil {
		return nil, err
	}
	if err := checkSize(op, "channel bindings", a.Bindings.size()); err != nil {
		return nil, err
	}
	if err := gnuAccept(op); err != nil {
		return nil, err
	}
	u, err := x.begin(op, false)
	if err != nil {
		return nil, err
	}
	defer u.end()
	c, err := a.Cred.begin(op)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if err := heimdalPart(op, a.Token); err != nil {
		x.c.release()
		x.failed = true
		return new(Step), err
	}
	turn := takeTurn()
	r := acceptSecContext(u.h, c.h, a.Bindings.cross(), a.Token)
	turn.end()
	if gnu() {
		r.lifetime = Indefinite // GNU gss 1.0.4 does not know it
	}
	s, err := x.step(op, r, r.mech)
	if err == nil && !s.Done {
		answer, _ := parseNegTokenResp(s.Token.Bytes())
		s.Chosen = answer.mech
	}
	if gnu() && err == nil && a.Cred != nil && x.c.keep == nil {
		x.c.keep = a.Cred.c.lend() // a context of GNU gss 1.0.4 uses the memory of its credential
	}
	return s, err
}

// ProcessToken calls gss_process_context_token with a token that the peer sent
// outside of establishment (RFC 2744, 5.25). The context may be gone
// afterwards; the next call tells. RFC 2743 keeps it for old implementations.
//
// Heimdal (7.8, lib/gssapi/krb5/process_context_token.c) answers
// ErrDefectiveToken to every token: it takes the token for the message and
// verifies an empty MIC. GNU gss has a stub.
func (x *Ctx) ProcessToken(token []byte) error {
	const op = "gss_process_context_token"
	if err := checkSize(op, "token", len(token)); err != nil {
		return err
	}
	u, err := x.begin(op, true)
	if err != nil {
		return err
	}
	defer u.end()
	if s := processContextToken(u.h, token); s.failed() {
		return s.error(op, "")
	}
	return nil
}

// Delete calls gss_delete_sec_context, now or when the call that is under way
// is back; it does not wait for that. More calls do nothing. RFC 2744, 5.9.
func (x *Ctx) Delete() {
	if x != nil {
		x.c.close()
	}
}

// Time calls gss_context_time: seconds from now until the context expires,
// Indefinite if it does not. On an expired one the error is ErrContextExpired;
// ErrUnavailable on what GNU gss accepted.
// RFC 2744, 5.7.
func (x *Ctx) Time() (uint32, error) {
	const op = "gss_context_time"
	u, err := x.begin(op, true)
	if err != nil {
		return 0, err
	}
	defer u.end()
	if x.c.keep != nil {
		// It finds the end of the initiator's ticket only in an initiator's own, and says expired.
		return 0, &Error{Op: op, Major: ErrUnavailable, Text: gnuName() + " cannot tell when a context that it accepted expires"}
	}
	turn := takeTurn()
	s, seconds := contextTime(u.h)
	turn.end()
	if s.failed() {
		return 0, s.error(op, "")
	}
	if seconds == 0 {
		return 0, &Error{Op: op, Major: ErrContextExpired}
	}
	return seconds, nil
}

// CtxInfo is what a context tells of itself.
type CtxInfo struct {
	Source, Target *Name // the caller's; either may be nil
	Lifetime       uint32
	Mech           OID
	Flags          Flags
	Local          bool // this end is the initiator
	Open           bool
}

type ctxInfoResult struct {
	status
	source, target  unsafe.Pointer
	mech            OID
	flags, lifetime uint32
	local, open     bool
}

// Inquire calls gss_inquire_context. On an expired context MIT answers
// ErrContextExpired; the flags, Local and Open of the CtxInfo that comes with it
// are valid, its names are nil. Heimdal answers with a lifetime of 0. GNU gss has
// a stub: ErrUnavailable. RFC 2744, 5.20.
func (x *Ctx) Inquire() (*CtxInfo, error) {
	const op = "gss_inquire_context"
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	r := inquireContext(u.h)
	if kind() == KindHeimdal && r.mech == MechNTLM {
		// 7.8 (lib/gssapi/ntlm/inquire_context.c) tells names that have nothing in
		// them, and crashes on everything that is done with those, releasing included.
		r.source, r.target = nil, nil
	}
	info := &CtxInfo{mechanismName(r.source), mechanismName(r.target), r.lifetime, r.mech, ntlmFlags(r.mech, honest(r.flags)), r.local, r.open}
	if kind() == KindMIT && r.mech == MechNTLM && !r.failed() {
		_, info.Lifetime = contextTime(u.h) // gss-ntlmssp 1.2.0 tells 0 here until it expires
	}
	if r.failed() {
		return info, r.error(op, r.mech)
	}
	return info, nil
}

// Export calls gss_export_sec_context: the context leaves this process and
// becomes a token, which holds its keys in clear. Send it to nobody but the
// process that takes over. The Buffer is overwritten when it is released.
//
// On success the context is gone. On an error it is as it was, unless the
// library deleted it: the handle is read again whatever the status is, and
// every later call answers ErrNoContext if there is none.
//
// A library that reports success with nothing to import (Heimdal's NTLM) makes
// ErrUnavailable; the context is gone then. RFC 2744, 5.14.
func (x *Ctx) Export() (*Buffer, error) {
	const op = "gss_export_sec_context"
	u, err := x.begin(op, true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, left, token := exportSecContext(u.h)
	buf := token.buffer(true)
	x.c.set(left)
	if s.failed() {
		buf.Release()
		return nil, s.error(op, "")
	}
	// Only one may hold it: what an odd library left here is deleted.
	if h := x.c.take(); h != nil {
		deleteSecContext(h)
	}
	if buf.Len() <= 4+maxOID && emptyExport(buf.Bytes()) {
		buf.Release()
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: "the library reported success and returned nothing that could be imported; the context is lost"}
	}
	return buf, nil
}

// emptyExport reports whether a token has no more than the header that the
// library's dispatcher writes: nothing, or the mechanism's OID behind its length
// (4 bytes in MIT, 2 in Heimdal 7.8).
func emptyExport(token []byte) bool {
	defer clear(token)
	if laterHeimdal() {
		content, ok := heimdalContext(token)
		return !ok || len(content) == 0
	}
	for _, width := range []int{4, 2} {
		if len(token) < width {
			continue
		}
		n := 0
		for _, b := range token[:width] {
			n = n<<8 | int(b)
		}
		if n > 0 && n == len(token)-width {
			return true
		}
	}
	return len(token) == 0
}

// ImportSecContext calls gss_import_sec_context: it makes the context that
// another process exported. The token must come from a process that is trusted,
// over a channel that nobody else can write: the libraries do not check it, and
// one that was cut or changed crashes MIT 1.20 in the call and Heimdal 7.8 at the
// first use of the context. RFC 2744, 5.17.
func ImportSecContext(token []byte) (*Ctx, error) {
	const op = "gss_import_sec_context"
	if _, err := lib(); err != nil {
		return nil, err
	}
	if len(token) == 0 {
		return nil, &Error{Op: op, Major: ErrDefectiveToken, Text: "the token is empty"}
	}
	if err := checkSize(op, "token", len(token)); err != nil {
		return nil, err
	}
	if laterHeimdal() {
		if content, ok := heimdalContext(token); !ok || len(content) == 0 {
			return nil, &Error{Op: op, Major: ErrDefectiveToken, Text: "not called: there is no context in the token"}
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, h := importSecContext(token)
	if s.failed() {
		if h != nil {
			deleteSecContext(h)
		}
		return nil, s.error(op, "")
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the library reported success and returned no context"}
	}
	return newCtx(h, true), nil
}

// AdoptCtx takes ownership of an established gss_ctx_id_t of the loaded library
// that C made; that it is established Inquire tells. Errors are ErrUnavailable when
// it cannot be certain whose handle it is (see LoadAt), and ErrNoContext for nil;
// then the handle is still the caller's.
func AdoptCtx(h unsafe.Pointer) (*Ctx, error) {
	const op = "adopt context"
	if err := adoptable(op); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrNoContext, Text: "the handle is NULL"}
	}
	return newCtx(h, true), nil
}

// Gone reports whether there is no context of C behind x: it was not begun,
// failed, was exported, detached or deleted. Unless it was deleted, it waits for
// the call that is under way.
func (x *Ctx) Gone() bool {
	if x == nil || !x.c.hold() {
		return true
	}
	defer x.c.drop()
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	return x.c.h == nil || x.c.closed()
}

// Detach gives up an established context without deleting it: the gss_ctx_id_t
// is the caller's. It waits for the call that is under way. The error is
// ErrNoContext if there is none.
func (x *Ctx) Detach() (unsafe.Pointer, error) {
	u, err := x.begin("detach context", true)
	if err != nil {
		return nil, err
	}
	defer u.end()
	return x.c.take(), nil
}
