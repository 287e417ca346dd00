package gssapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed2651813c/gss"
)

// DefaultFlags are what an initiator asks for if it is not told otherwise:
// mutual authentication, replay and sequence detection, confidentiality and
// integrity.
const DefaultFlags = FlagMutual | FlagReplay | FlagSequence | FlagConf | FlagInteg

// checkedFlags are those that, asked for and not granted, are an error. The
// others are requests that the library is free to ignore (FlagDelegPolicy) or
// that have no answer.
const checkedFlags = FlagDeleg | FlagMutual | FlagReplay | FlagSequence | FlagConf | FlagInteg | FlagAnon | FlagDCEStyle

// Order says which messages out of their sequence are taken nevertheless. The
// zero value takes none. Duplicates, and messages too old to tell, never are.
//
// It has an effect with MIT only, which verifies a message before it looks at
// its place. Heimdal 7.8 looks at the place first, and returns no message then.
// AllowReorder has none without FlagReplay, nor with enctypes older than AES.
type Order uint8

// What Order may allow.
const (
	AllowGap     Order = 1 << iota // messages before this one are missing (ErrGapToken)
	AllowReorder                   // messages after this one have come already (ErrUnseqToken)
)

// tolerates reports whether the supplementary statuses in m may be overlooked.
func (o Order) tolerates(m Major) bool {
	allowed := Major(0)
	if o&AllowGap != 0 {
		allowed |= ErrGapToken
	}
	if o&AllowReorder != 0 {
		allowed |= ErrUnseqToken
	}
	return m&^allowed == 0
}

// InitiatorOptions are how to establish a context. Every leg uses the same.
type InitiatorOptions struct {
	// Credential to authenticate with; nil is the default one.
	Credential *Credential
	// Mech is the mechanism; the zero value is Kerberos (MechKrb5), whatever the
	// library's default is. MechSPNEGO negotiates among NegMechs.
	Mech OID
	// NegMechs are the mechanisms that SPNEGO may end in. None means Kerberos
	// alone: no silent NTLM.
	NegMechs []OID
	// Flags are asked for besides DefaultFlags; Without are not asked for.
	Flags, Without Flags
	// Lifetime that is asked for, rounded up to seconds; 0 is the default.
	Lifetime time.Duration
	// Bindings of the channel that the tokens go over.
	Bindings *ChannelBindings
	// Order of messages that is accepted.
	Order Order
	// Trace is told what happens to the context.
	Trace *Trace
}

// AcceptorOptions are how to accept a context. Every leg uses the same.
type AcceptorOptions struct {
	// Credential to accept with; nil is the default one: any service in the
	// default keytab.
	Credential *Credential
	// Mechs that may come in. With MechSPNEGO among them, the others may come
	// inside of it; MechSPNEGO alone means Kerberos inside of it, and not bare.
	// None means Kerberos and SPNEGO: no NTLM.
	//
	// What SPNEGO chooses, of all that the library has and the initiator offers, is
	// refused at once if it is not among them. CredentialOptions.NegMechs of
	// Credential say what it chooses among.
	Mechs []OID
	// Require are flags without which a context is not accepted.
	Require Flags
	// Bindings of the channel that the tokens come over. An initiator that sends
	// other bindings is refused; one that sends none is only with RequireBindings.
	Bindings *ChannelBindings
	// RequireBindings refuses an initiator that sent no bindings. Heimdal 7.8 and
	// GNU gss do not tell: ErrUnavailable. MIT does since 1.19; before, all are
	// refused.
	RequireBindings bool
	// Order of messages that is accepted.
	Order Order
	// Trace is told what happens to the context.
	Trace *Trace
}

type state uint32

const (
	fresh       state = iota // no token yet
	partial                  // in the midst of its tokens
	established              //
	failed                   // by C or by policy; deleted
	gone                     // exported, detached or lost in an export
	abandoned                // its ctx ended in the midst of a call; deleted
	closed                   //
)

var stateText = [...]string{
	fresh:     "nothing was exchanged yet: call Step first",
	partial:   "the context is not established yet: go on with Step",
	failed:    "the context failed to establish",
	gone:      "the context has left this process: it was exported or detached",
	abandoned: "the context was abandoned when its ctx ended",
	closed:    "the context was closed",
}

// Context is a security context: one end of an authenticated connection. It is
// safe for concurrent use.
type Context struct {
	ctx   *gss.Ctx
	state atomic.Uint32

	// Set when it is made.
	initiator bool
	target    *Name
	cred      *Credential
	mech      OID
	first     []OID // that a first token may be of
	final     []OID // that the context may end in
	ask       Flags
	require   Flags
	lifetime  time.Duration
	bindings  *ChannelBindings
	bound     bool
	order     Order
	trace     *Trace

	step    chan struct{} // holds one item during a Step; guards what follows
	began   time.Time     // the first Step
	failure error

	// Written before state says established.
	flags     Flags
	agreed    OID
	source    *Name
	delegated atomic.Pointer[Credential]

	window window // used if there is an order
}

// NewInitiator begins a context with target. It does no I/O and makes no call;
// what is wrong with its arguments the first Step tells.
func NewInitiator(target *Name, o *InitiatorOptions) *Context {
	if o == nil {
		o = new(InitiatorOptions)
	}
	c := &Context{
		ctx: gss.NewCtx(), initiator: true, target: target, cred: o.Credential, mech: o.Mech, final: slices.Clone(o.NegMechs),
		ask: (DefaultFlags | o.Flags) &^ o.Without, lifetime: o.Lifetime, bindings: cloneBindings(o.Bindings), order: o.Order,
		trace: o.Trace, step: make(chan struct{}, 1),
	}
	if c.mech == "" {
		c.mech = MechKrb5
	}
	if c.mech != MechSPNEGO {
		c.final = []OID{c.mech}
	}
	if len(c.final) == 0 {
		c.final = []OID{MechKrb5}
	}
	c.require = c.ask & checkedFlags
	return c
}

// NewAcceptor waits for an initiator's first token. It does no I/O and makes no
// call.
//
// On GNU gss (1.0.4) it is for tests: that accepts expired tickets, and recorded
// tokens for ever; its names of peers lack the realm; and it refuses an initiator
// that sent bindings if Bindings is nil, and one that sent none if it is not.
func NewAcceptor(o *AcceptorOptions) *Context {
	if o == nil {
		o = new(AcceptorOptions)
	}
	c := &Context{
		ctx: gss.NewCtx(), cred: o.Credential, first: slices.Clone(o.Mechs),
		require: o.Require, bindings: cloneBindings(o.Bindings), bound: o.RequireBindings, order: o.Order,
		trace: o.Trace, step: make(chan struct{}, 1),
	}
	if len(c.first) == 0 {
		c.first = []OID{MechKrb5, MechSPNEGO}
	}
	for _, m := range c.first {
		if m != MechSPNEGO {
			c.final = append(c.final, m)
		}
	}
	if len(c.final) == 0 {
		c.final = []OID{MechKrb5}
	}
	return c
}

func cloneBindings(b *ChannelBindings) *ChannelBindings {
	if b == nil {
		return nil
	}
	n := *b
	n.InitiatorAddress, n.AcceptorAddress, n.ApplicationData = slices.Clone(b.InitiatorAddress), slices.Clone(b.AcceptorAddress), slices.Clone(b.ApplicationData)
	return &n
}

func (c *Context) is() state { return state(c.state.Load()) }

// become changes the state, unless the context was closed meanwhile.
func (c *Context) become(s state) bool {
	for {
		old := c.state.Load()
		if state(old) == closed {
			return false
		}
		if c.state.CompareAndSwap(old, uint32(s)) {
			return true
		}
	}
}

// usable returns an error unless the context is established.
func (c *Context) usable(op string) error {
	if c == nil {
		return refuse(op, ErrNoContext, "no context was given")
	}
	if s := c.is(); s != established {
		return refuse(op, ErrNoContext, "%s", stateText[s])
	}
	return nil
}

// Step takes the peer's token and returns the one to send to it. An initiator
// begins with no token. Call it until Established:
//
//   - A token that is not empty is sent, even if it comes with an error: it
//     tells the peer what is wrong.
//   - After an error of the handshake the context is lost; more Steps return the
//     same error.
//   - Established and no error: done, once the token is sent.
//
// The error is ErrUnauthorized if what was required was not granted, or the
// mechanism is not one of those allowed; else the library's.
//
// An initiator may ask a KDC and so block, an acceptor a name service. Step
// returns when ctx is done, and its error is ctx's too. If the C library was not
// called yet, for want of a place (see Limits) or because another Step is under
// way, nothing is lost. Else the context is abandoned: what the call brings is
// released when it comes back, and all methods answer ErrNoContext. RFC 2744, 5.1
// and 5.19.
func (c *Context) Step(ctx context.Context, token []byte) ([]byte, error) {
	const op = "Step"
	if c == nil || c.step == nil {
		return nil, refuse(op, ErrNoContext, "no context was given")
	}
	if ctx == nil {
		return nil, ended(ctx, op)
	}
	began := time.Now()
	select {
	case c.step <- struct{}{}:
	default:
		select {
		case c.step <- struct{}{}:
		case <-ctx.Done():
			return nil, ended(ctx, op)
		}
	}
	var (
		e     Event
		done  bool
		total time.Duration
	)
	out, err := func() ([]byte, error) {
		defer func() { <-c.step }() // a hook may panic
		out, err := c.leg(ctx, op, token)
		done = err == nil && c.is() == established
		e, total = c.event(op), time.Since(c.began)
		return out, err
	}()
	e.Received, e.Sent, e.Duration, e.Err = len(token), len(out), time.Since(began), err
	fire(c.hooks().Stepped, e)
	if done {
		fire(c.hooks().Established, Event{Op: op, Context: c, Name: e.Name, Mech: e.Mech, Flags: c.flags, Duration: total})
	}
	return out, err
}

// event is what the events of the context have in common. The caller holds
// c.step, or the context is established.
func (c *Context) event(op string) Event {
	e := Event{Op: op, Context: c, Name: c.source, Mech: c.agreed}
	if c.initiator {
		e.Name = c.target
	}
	if e.Mech == "" {
		e.Mech = c.mech
	}
	return e
}

func (c *Context) hooks() *Trace {
	if c == nil {
		return noTrace
	}
	return c.trace.orNone()
}

// leg is one Step. The caller holds c.step.
func (c *Context) leg(ctx context.Context, op string, token []byte) ([]byte, error) {
	switch s := c.is(); s {
	case fresh, partial:
	case established:
		return nil, refuse(op, ErrFailure, "the context is established already")
	case failed:
		return nil, c.failure
	default:
		return nil, refuse(op, ErrNoContext, "%s", stateText[s])
	}
	if err := ended(ctx, op); err != nil {
		return nil, err
	}
	if c.began.IsZero() {
		c.began = time.Now()
	}
	call := blocking[*gss.Step]{
		gate: accepting, trace: c.hooks(), event: c.event(op), input: token, discard: discardStep,
		leave: func() {
			c.ctx.Delete()
			c.become(abandoned)
		},
	}
	var err error
	if c.initiator {
		call.gate = initiating
		call.call, err = c.initiate(op, token)
	} else {
		call.call, err = c.accept(op, token)
	}
	if err != nil {
		c.fail(err)
		return nil, err
	}
	s, fate, err := call.run(ctx)
	if fate != cameBack {
		return nil, err
	}
	var out []byte
	if s != nil {
		out = s.Token.Bytes()
		s.Token.Release()
	}
	if err != nil {
		c.fail(err)
		return out, err
	}
	if !s.Done {
		if !c.initiator && len(out) == 0 {
			// MIT 1.20 wants to go on after a token that is none of Kerberos', and
			// has nothing to say: both ends would wait for each other.
			err := refuse(op, ErrDefectiveToken, "the library took the token, wants another, and has none for the peer")
			c.fail(err)
			return nil, err
		}
		if s.Chosen != "" && !allowed(c.final, s.Chosen) {
			// admit would refuse it in the end; the initiator need not see its tokens.
			// gss_set_neg_mechs would have the library choose another, and is for the
			// caller to use: it changes his credential for all who use that, and where he
			// gives none it takes one, acquired for each context.
			err := refuse(op, ErrUnauthorized, "the library chose mechanism %v, which is not among those allowed; with a Credential that has NegMechs it chooses among those", s.Chosen)
			c.fail(err)
			return nil, err
		}
		if !c.become(partial) {
			return nil, refuse(op, ErrNoContext, "%s", stateText[closed])
		}
		return out, nil
	}
	if err := c.admit(op, s); err != nil {
		s.Source.Release()
		s.Delegated.Release()
		c.fail(err)
		return nil, err // no token: the peer must not believe that all is well
	}
	if !c.become(established) {
		// Nobody has been told of these.
		c.delegated.Swap(nil).Close()
		if c.source != nil {
			c.source.Close()
			c.source = nil
		}
		return nil, refuse(op, ErrNoContext, "%s", stateText[closed])
	}
	return out, nil
}

// discardStep releases what nobody waits for.
func discardStep(s *gss.Step) {
	if s != nil {
		s.Token.Release()
		s.Source.Release()
		s.Delegated.Release()
	}
}

// fail ends the context. The caller holds c.step.
func (c *Context) fail(err error) {
	c.failure = err
	c.ctx.Delete()
	c.become(failed)
}

// initiate checks what can be checked without C, and returns the call. The
// caller holds c.step.
func (c *Context) initiate(op string, token []byte) (func(token []byte) (*gss.Step, error), error) {
	if c.target == nil {
		return nil, refuse(op, ErrBadName, "there is no target: give NewInitiator a name")
	}
	if c.is() == fresh && len(token) > 0 {
		return nil, refuse(op, ErrDefectiveToken, "the initiator speaks first: its first Step takes no token")
	}
	lifetime, err := seconds(op, c.lifetime)
	if err != nil {
		return nil, err
	}
	return func(token []byte) (*gss.Step, error) {
		s, err := c.ctx.Init(&gss.InitArgs{Cred: c.cred.thin(), Target: c.target.thin(), Mech: c.mech, Flags: c.ask, Lifetime: lifetime, Bindings: c.bindings, Token: token})
		if e := (*Error)(nil); errors.As(err, &e) && c.cred != nil && isKind(gss.KindMIT) {
			// Of delegation that the KDC has not allowed MIT says that the KDC can't
			// fulfill the requested option, and neither whose nor to whom.
			if who, err := c.cred.thin().InquireByOID(gss.CredImpersonator); err == nil && len(who) > 0 {
				e.Text = strings.TrimPrefix(fmt.Sprintf("%s (%s for a user, to %v: the KDC knows for whom and to whom it may)", e.Text, who[0], c.target), " ")
			}
		}
		return s, err
	}, nil
}

// accept is the same for an acceptor.
func (c *Context) accept(op string, token []byte) (func(token []byte) (*gss.Step, error), error) {
	if c.is() == fresh {
		if c.bound {
			if err := c.requireBindings(op); err != nil {
				return nil, err
			}
		}
		switch mech := firstMech(token); {
		case mech == "":
			// MIT since 1.21 reads more than firstMech does, and Heimdal after 7.8
			// tries all that it has.
			return nil, refuse(op, ErrDefectiveToken, "the initiator's first token does not tell its mechanism")
		case !allowed(c.first, mech):
			return nil, refuse(op, ErrBadMech, "the initiator came with mechanism %v, which is not among those allowed", mech)
		}
	}
	return func(token []byte) (*gss.Step, error) {
		return c.ctx.Accept(&gss.AcceptArgs{Cred: c.cred.thin(), Bindings: c.bindings, Token: token})
	}, nil
}

// requireBindings checks that bindings can be required.
func (c *Context) requireBindings(op string) error {
	if c.bindings == nil {
		return refuse(op, ErrBadBindings, "bindings are required, and none were given: set Bindings")
	}
	return CanRequireBindings()
}

// CanRequireBindings is nil if the library tells an acceptor whether the initiator
// sent bindings, so that AcceptorOptions.RequireBindings works; else it is
// ErrUnavailable, or what is wrong with the library. MIT 1.19 and later, Heimdal after
// 7.8. (It is nil for older MIT too, where every initiator is refused then.)
func CanRequireBindings() error {
	l, err := gss.Library()
	if err != nil {
		return err
	}
	// Heimdal tells since the release after 7.8, which brought credential stores too.
	if l.Kind == gss.KindMIT || l.Kind == gss.KindHeimdal && gss.Supports("gss_acquire_cred_from") {
		return nil
	}
	return refuse("CanRequireBindings", ErrUnavailable, "%v does not tell whether the initiator sent bindings, so they cannot be required", l)
}

// admit checks what was granted.
func (c *Context) admit(op string, s *gss.Step) error {
	if missing := c.require &^ s.Flags; missing != 0 {
		text := "%v required and not granted (granted: %v)"
		if c.initiator {
			text += "; who can do without names them in InitiatorOptions.Without"
		}
		if missing == FlagReplay && s.Flags&FlagSequence == 0 && isKind(gss.KindHeimdal) {
			text += "; this library keeps to it together with sequence only"
		}
		return refuse(op, ErrUnauthorized, text, missing, s.Flags)
	}
	if c.bound && s.Flags&FlagChannelBound == 0 {
		return refuse(op, ErrBadBindings, "the initiator sent no channel bindings, and they are required")
	}
	mech := s.Mech
	switch {
	case isKind(gss.KindGNU):
		mech = MechKrb5 // it has no other, and need not say so
	case mech != MechKrb5:
		// Heimdal tells initiators SPNEGO; what is inside a call of its own tells.
		// MIT's IAKERB (1.20) can report success and have no context.
		i, err := c.ctx.Inquire()
		if err != nil {
			return err
		}
		i.Source.Release()
		i.Target.Release()
		if !i.Open {
			return refuse(op, ErrFailure, "the library reported success, and the context is not established")
		}
		if i.Mech != "" {
			mech = i.Mech
		}
	}
	if !allowed(c.final, mech) {
		return refuse(op, ErrUnauthorized, "the peers agreed on mechanism %v, which is not among those allowed", mech)
	}
	c.flags, c.agreed = s.Flags, mech
	c.source = peerName(s.Source, mech)
	c.delegated.Store(wrapCred(s.Delegated, c.trace))
	return nil
}

// allowed reports whether mech is one of those. Microsoft's and the drafts'
// identifiers of Kerberos count as Kerberos.
func allowed(mechs []OID, mech OID) bool {
	const (
		microsoft OID = "\x2a\x86\x48\x82\xf7\x12\x01\x02\x02" // 1.2.840.48018.1.2.2
		draft     OID = "\x2b\x05\x01\x05\x02"                 // 1.3.5.1.5.2
	)
	if mech == microsoft || mech == draft {
		mech = MechKrb5
	}
	return slices.Contains(mechs, mech)
}

// firstMech is the mechanism that an initiator's first token is of: RFC 2743,
// 3.1, for those that are framed so. Empty if it cannot be told.
func firstMech(token []byte) OID {
	if len(token) == 0 {
		return MechSPNEGO // asks the acceptor to begin (MS-SPNG 3.3.5.1)
	}
	if len(token) >= 7 && string(token[:7]) == "NTLMSSP" {
		return MechNTLM
	}
	if token[0] == 0x6e { // a bare AP-REQ, as DCE has it
		return MechKrb5
	}
	if token[0] != 0x60 || len(token) < 2 {
		return ""
	}
	i := 2
	if n := int(token[1]); n > 0x80 {
		i += n - 0x80
	}
	if i+2 > len(token) || token[i] != 0x06 || token[i+1] > 0x7f || i+2+int(token[i+1]) > len(token) {
		return ""
	}
	return OID(token[i+2 : i+2+int(token[i+1])])
}

// Established reports whether the context is, and is still here.
func (c *Context) Established() bool { return c != nil && c.is() == established }

// ContextInfo describes an established context.
type ContextInfo struct {
	Initiator *Name     // nil if the library does not tell
	Acceptor  *Name     // nil if the library does not tell
	Mech      OID       // within SPNEGO: the one that was agreed on
	Flags     Flags     // granted
	Expiry    time.Time // zero: never, or GNU gss accepted and cannot tell; of an expired context: not after now
	Local     bool      // this end is the initiator
}

// Peer is the name of the other end; nil if it is not known.
func (i *ContextInfo) Peer() *Name {
	if i == nil {
		return nil
	}
	if i.Local {
		return i.Acceptor
	}
	return i.Initiator
}

// LogValue makes slog print it.
func (i ContextInfo) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("peer", i.Peer().String()), slog.String("mech", i.Mech.String()),
		slog.String("flags", i.Flags.String()), slog.Bool("initiator", i.Local),
	}
	if !i.Expiry.IsZero() {
		attrs = append(attrs, slog.Time("expiry", i.Expiry))
	}
	return slog.GroupValue(attrs...)
}

// Info tells about an established context; the names are the caller's. An
// expired context has an Expiry that is not after now; MIT does not tell the
// names of one that had expired when it was imported. RFC 2744, 5.20.
func (c *Context) Info() (*ContextInfo, error) {
	const op = "Info"
	if err := c.usable(op); err != nil {
		return nil, err
	}
	var i *gss.CtxInfo
	err := c.expired()
	if err == nil {
		i, err = c.ctx.Inquire()
	}
	if i == nil {
		i = new(gss.CtxInfo)
	}
	info := &ContextInfo{Mech: c.agreed, Flags: c.flags, Local: c.initiator}
	switch {
	case err == nil:
		info.Flags = i.Flags // (not i.Local: Heimdal 7.8 forgets it of NTLM)
		info.Expiry = expiry(i.Lifetime)
	case errors.Is(err, ErrContextExpired):
		info.Expiry = time.Now()
	case isKind(gss.KindGNU):
		// A stub. What the handshake told is kept here; the time has a call of its own.
		left, err := c.ctx.Time()
		switch {
		case err == nil:
			info.Expiry = expiry(left)
		case errors.Is(err, ErrContextExpired):
			info.Expiry = time.Now()
		case !errors.Is(err, ErrUnavailable):
			return nil, err
		}
	default:
		return nil, err
	}
	if i.Mech != "" {
		info.Mech = i.Mech
	}
	info.Initiator, info.Acceptor = either(i.Source, c.source, info.Mech), either(i.Target, c.target, info.Mech)
	return info, nil
}

// expired asks MIT for the time first: MIT 1.20's gss_inquire_context answers
// ErrContextExpired on an expired context, and loses the names' memory.
func (c *Context) expired() error {
	if l, err := gss.Library(); err != nil || l.Kind != gss.KindMIT {
		return err
	}
	_, err := c.ctx.Time()
	return err
}

// either is the name that the library told, or a copy of the one kept here.
func either(told *gss.Name, kept *Name, mech OID) *Name {
	if told == nil && kept != nil {
		told, _ = kept.thin().Duplicate()
	}
	return peerName(told, mech)
}

// peerName is a name that a context of mech told. A SPNEGO context of MIT tells
// names of SPNEGO's own, which are unequal to the same names of mech and export
// to other bytes. (Heimdal's are seen to by package gss.)
func peerName(n *gss.Name, mech OID) *Name {
	if n == nil || mech == "" || mech == MechSPNEGO {
		return wrapName(n)
	}
	b, err := n.Export()
	defer b.Release()
	if err == nil && strings.HasPrefix(string(b.Bytes()), exportedSPNEGO) && !isNTLMHost(n, mech) {
		if inner, err := innerName(n, mech); err == nil {
			n.Release()
			n = inner
		}
	}
	return wrapName(n)
}

// isNTLMHost reports whether n is a host's in NTLM, which the plugin (gss-ntlmssp
// 1.2.0) would take for that of a service of this machine.
func isNTLMHost(n *gss.Name, mech OID) bool {
	if mech != MechNTLM {
		return false
	}
	text, typ, err := n.Display()
	text.Release()
	return err == nil && typ == NTHostBasedService
}

// innerName is the name of mech in one of SPNEGO's, with its attributes: what
// SPNEGO exports with attributes is that of the mechanism inside.
func innerName(n *gss.Name, mech OID) (*gss.Name, error) {
	if b, err := taken(n.ExportComposite()); err == nil {
		if inner, err := gss.ImportName(b, NTCompositeExport); err == nil {
			return inner, nil
		}
	}
	return n.Canonicalize(mech) // without them
}

// exportedSPNEGO begins the exported form of SPNEGO's names: RFC 2743, 3.2.
const exportedSPNEGO = "\x04\x01\x00\x08\x06\x06" + string(MechSPNEGO)

// isKind reports whether the library is of that kind.
func isKind(k gss.Kind) bool {
	l, err := gss.Library()
	return err == nil && l.Kind == k
}

// Delegated returns the credential that the initiator delegated, or nil. It
// outlives the context, and is here after Close and Export too. It has an
// element for Kerberos alone, after SPNEGO too: initiate with it with MechKrb5.
// With MechSPNEGO it is ErrNoCred.
func (c *Context) Delegated() *Credential {
	if c == nil {
		return nil
	}
	return c.delegated.Load()
}

// ProcessToken gives the library a token that the peer sent outside of Step and
// that is no message. Modern mechanisms send none. Heimdal 7.8 answers
// ErrDefectiveToken to all. RFC 2744, 5.25.
func (c *Context) ProcessToken(token []byte) error {
	if err := c.usable("ProcessToken"); err != nil {
		return err
	}
	return c.ctx.ProcessToken(token)
}

// Close deletes the context. It is optional, and never waits: a call that is
// under way goes on. Close more than once does nothing.
func (c *Context) Close() error {
	if c == nil {
		return nil
	}
	c.state.Store(uint32(closed))
	c.ctx.Delete()
	return nil
}

// String tells the state of the context, for logs. It holds no secret.
func (c *Context) String() string {
	if c == nil {
		return "gssapi.Context(nil)"
	}
	names := [...]string{"fresh", "partial", "established", "failed", "gone", "abandoned", "closed"}
	return fmt.Sprintf("gssapi.Context(%s, %s)", c.side(), names[c.is()])
}

func (c *Context) side() string {
	if c.initiator {
		return "initiator"
	}
	return "acceptor"
}
