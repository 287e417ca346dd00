package gss

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// CredUsage says what a credential is for: RFC 2744, 5.2.
type CredUsage int32

// Usages.
const (
	UsageBoth     CredUsage = 0 // GSS_C_BOTH
	UsageInitiate CredUsage = 1 // GSS_C_INITIATE
	UsageAccept   CredUsage = 2 // GSS_C_ACCEPT
)

// Indefinite is the lifetime, in seconds, of what does not expire.
const Indefinite uint32 = 0xffffffff // GSS_C_INDEFINITE

// Cred is a gss_cred_id_t. It may be used by many calls at once. A nil *Cred
// is GSS_C_NO_CREDENTIAL, the default credential; a released one never is.
type Cred struct {
	c     *cell
	named bool // it was acquired for a name: see nameless

	restricts atomic.Bool // it changes the thread: see SetAllowableEnctypes

	mu    sync.Mutex // guards what follows: see initiates
	asked bool
	mechs []OID
	usage CredUsage
}

func newCred(h unsafe.Pointer) *Cred {
	if h == nil {
		return nil
	}
	c := &Cred{c: newCell(h, func(h unsafe.Pointer) { releaseCred(h) })}
	runtime.AddCleanup(c, (*cell).close, c.c)
	return c
}

// begin takes hold of the credential for one call.
func (c *Cred) begin(op string) (use, error) {
	if c == nil {
		runtime.LockOSThread()
		return use{}, nil
	}
	if !c.c.hold() {
		return use{}, &Error{Op: op, Major: ErrNoCred, Text: "the credential was released"}
	}
	runtime.LockOSThread()
	return use{c: c.c, h: c.c.h}, nil
}

// initiates is an error unless the credential has what initiates with mech.
// MIT 1.20 does not mind: it takes the default credential of the process in
// place of an element that is missing, so that the peer would see somebody else
// than the one whose credential was given. Heimdal 7.8 answers ErrNoCred itself,
// and crashes on a credential that is to accept with.
//
//gss:pinned
func (c *Cred) initiates(op string, h unsafe.Pointer, mech OID) error {
	if c == nil || gnu() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked {
		r := inquiredCred(h, false)
		mechs := takeOIDSet(r.mechs)
		if r.failed() {
			return r.error("gss_inquire_cred", mech)
		}
		c.asked, c.mechs, c.usage = true, mechs, CredUsage(r.usage)
	}
	if c.usage == UsageAccept {
		return &Error{Op: op, Major: ErrNoCred, Mech: mech, Text: "the credential is to accept with: acquire one to initiate with"}
	}
	if mech == "" {
		mech = MechKrb5
	}
	if !heimdal() && !slices.Contains(c.mechs, mech) {
		return &Error{Op: op, Major: ErrNoCred, Mech: mech, Text: fmt.Sprintf("the credential is for mechanisms %v and not for %v: acquire it for that too", c.mechs, mech)}
	}
	return nil
}

// CredResult is what the calls that make a credential tell of it.
type CredResult struct {
	Cred             *Cred
	Mechs            []OID  // for which it has elements
	Lifetime         uint32 // seconds from now, or Indefinite; of an initiator's element for Add
	AcceptorLifetime uint32 // Add only
}

// credResult is what came back from C.
type credResult struct {
	status
	cred, name, mechs          unsafe.Pointer
	lifetime, acceptorLifetime uint32
	usage                      int32
}

// result takes ownership of what came back.
//
//gss:pinned
func (r credResult) result(op string, mech OID) (*CredResult, error) {
	mechs := takeOIDSet(r.mechs)
	if r.failed() {
		if r.cred != nil {
			releaseCred(r.cred)
		}
		return nil, r.error(op, mech)
	}
	if r.cred == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Mech: mech, Text: "the library reported success and returned no credential"}
	}
	return &CredResult{newCred(r.cred), mechs, r.lifetime, r.acceptorLifetime}, nil
}

// acquire runs one of the acquiring calls with a name and a set of mechanisms.
func acquire(op string, name *Name, mechs []OID, call func(name, mechs unsafe.Pointer) credResult) (*CredResult, error) {
	if _, err := lib(); err != nil {
		return nil, err
	}
	if err := gnuMech(op, mechs...); err != nil {
		return nil, err
	}
	u, err := name.begin(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if err := gnuPrincipal(op, u.h); err != nil {
		return nil, err
	}
	set, err := oidSet(mechs)
	if err != nil {
		return nil, err
	}
	turn := takeTurn()
	r := call(u.h, set)
	turn.end()
	var mech OID
	if len(mechs) == 1 {
		mech = mechs[0]
	}
	res, err := r.result(op, mech)
	if set != nil {
		releaseOIDSet(set)
	}
	if err == nil {
		res.Cred.named = name != nil
	}
	return res, err
}

// AcquireCred calls gss_acquire_cred. A nil name is the default identity, no
// mechs the library's default set; lifetime is in seconds, 0 for the default.
// It may block on a KDC. RFC 2744, 5.2.
func AcquireCred(name *Name, lifetime uint32, mechs []OID, usage CredUsage) (*CredResult, error) {
	const op = "gss_acquire_cred"
	if _, err := lib(); err != nil {
		return nil, err
	}
	if err := gnuAcquire(op, name, usage); err != nil {
		return nil, err
	}
	return ofName(name, usage, func() (*CredResult, error) {
		return acquire(op, name, mechs, func(name, mechs unsafe.Pointer) credResult {
			return acquireCred(name, lifetime, mechs, int32(usage))
		})
	})
}

// AcquireCredFrom calls gss_acquire_cred_from: AcquireCred with a credential
// store instead of the environment, such as {"ccache": "FILE:/tmp/cc"},
// {"keytab": "/etc/app.keytab"}. ErrUnavailable on Heimdal 7.8 and GNU gss. It
// may block on a KDC.
func AcquireCredFrom(name *Name, lifetime uint32, mechs []OID, usage CredUsage, store map[string]string) (*CredResult, error) {
	const op = "gss_acquire_cred_from"
	block, err := storeBlock(op, store)
	if err != nil {
		return nil, err
	}
	defer clear(block) // it may hold a password
	return acquire(op, name, mechs, func(name, mechs unsafe.Pointer) credResult {
		return acquireCredFrom(name, lifetime, mechs, int32(usage), block, len(store))
	})
}

// maxPassword bounds a password: Heimdal 7.8 works for a minute on one of 1 MiB.
const maxPassword = 4096

// AcquireCredWithPassword calls gss_acquire_cred_with_password: initial
// credentials for name by its password, which the caller may clear afterwards.
// MIT asks the KDC when the credential is first used, or here. It may block on a
// KDC.
func AcquireCredWithPassword(name *Name, password []byte, lifetime uint32, mechs []OID, usage CredUsage) (*CredResult, error) {
	const op = "gss_acquire_cred_with_password"
	if err := checkPassword(op, password); err != nil {
		return nil, err
	}
	return acquire(op, name, mechs, func(name, mechs unsafe.Pointer) credResult {
		return acquireCredWithPassword(name, password, lifetime, mechs, int32(usage))
	})
}

// Add calls gss_add_cred: a new credential that has the elements of c and one
// more, for mech. A nil c starts from none. c is not changed. It may block on a
// KDC. On Heimdal it answers ErrUnavailable for SPNEGO, and for an acceptor c that
// was not acquired for a name. ErrDuplicateElement if c has an element for mech;
// with Heimdal after 7.8 each one has that for SPNEGO. RFC 2744, 5.3.
func (c *Cred) Add(name *Name, mech OID, usage CredUsage, initiatorLifetime, acceptorLifetime uint32) (*CredResult, error) {
	return ofName(name, usage, func() (*CredResult, error) {
		return addElement("gss_add_cred", c, name, mech, func(cred, name, mech unsafe.Pointer) credResult {
			return addCred(cred, name, mech, int32(usage), initiatorLifetime, acceptorLifetime)
		})
	})
}

// addable refuses what crashes Heimdal in gss_add_cred: a mechanism that it has not,
// an acceptor of any name, whose elements it copies by their names, in 7.8 SPNEGO,
// whose gss_add_cred calls the library's and so itself, and in later ones NTLM, also
// as one of those that SPNEGO from none is.
//
//gss:pinned
func (c *Cred) addable(op string, h unsafe.Pointer, mech OID) error {
	if !heimdal() {
		return nil
	}
	_, set := indicateMechs()
	if !slices.Contains(takeOIDSet(set), mech) {
		return &Error{Op: op, Major: ErrBadMech, Mech: mech, Text: "not called: Heimdal crashes on a mechanism that it does not have"}
	}
	if mech == MechSPNEGO && (c == nil || !laterHeimdal()) {
		return &Error{Op: op, Major: ErrUnavailable, Mech: mech, Text: "not called: Heimdal crashes; acquire the credential for both mechanisms at once"}
	}
	if mech == MechNTLM && laterHeimdal() {
		return &Error{Op: op, Major: ErrUnavailable, Mech: mech, Text: "not called: Heimdal aborts where it has no credential for NTLM"}
	}
	if c == nil || c.named && !laterHeimdal() {
		return nil
	}
	r := inquiredCred(h, false)
	mechs := takeOIDSet(r.mechs)
	if !r.failed() && laterHeimdal() && slices.Contains(mechs, mech) {
		return &Error{Op: op, Major: ErrDuplicateElement, Mech: mech, Text: "not called: Heimdal would keep the element that is there, and report success"}
	}
	if !r.failed() && c.nameless(r.usage) {
		return &Error{Op: op, Major: ErrUnavailable, Mech: mech, Text: "not called: Heimdal crashes on an acceptor credential that was not acquired for a name"}
	}
	return nil
}

// CredInfo is what a credential tells of itself.
type CredInfo struct {
	Name             *Name // the caller's; nil for some acceptors of any name, and on Heimdal for one that was adopted
	Lifetime         uint32
	AcceptorLifetime uint32 // InquireByMech only
	Usage            CredUsage
	Mechs            []OID // Inquire only
}

// inquiredCred is what gss_inquire_cred tells. Later Heimdals give each credential
// that is for SPNEGO or for no mechanism in particular an element for SANON too,
// which anybody has and which is for both usages: the usage is that of Kerberos.
//
//gss:pinned
func inquiredCred(h unsafe.Pointer, name bool) credResult {
	r := inquireCred(h, name)
	if r.failed() || CredUsage(r.usage) != UsageBoth || !laterHeimdal() {
		return r
	}
	mech, err := cOID("gss_inquire_cred_by_mech", MechKrb5)
	if err != nil {
		return r
	}
	k := inquireCredByMech(h, mech, false)
	if !k.failed() {
		r.usage = k.usage
	}
	return r
}

// tellsName reports whether the library can be asked for the name of the credential,
// or of its element for mech. MIT asks the first element, and inside of SPNEGO the
// first one there. gss-ntlmssp 1.2.0, the plugin for NTLM, has no name for one
// that accepts and was acquired for none, and MIT crashes on that.
//
//gss:pinned
func (c *Cred) tellsName(h unsafe.Pointer, mech OID) bool {
	if c == nil || c.named || kind() != KindMIT || mech != "" && mech != MechNTLM {
		return true
	}
	var r credResult
	mechs := []OID{mech}
	if mech == "" {
		r = inquireCred(h, false)
		mechs = takeOIDSet(r.mechs)
	} else if m, err := cOID("gss_inquire_cred_by_mech", mech); err == nil {
		r = inquireCredByMech(h, m, false)
	}
	if r.failed() || CredUsage(r.usage) == UsageInitiate || len(mechs) == 0 {
		return true
	}
	switch mechs[0] {
	case MechNTLM:
		return false
	case MechSPNEGO: // it may have NTLM inside, alone if there is no keytab
		_, set := indicateMechs()
		return !slices.Contains(takeOIDSet(set), MechNTLM)
	}
	return true
}

// info takes ownership of what came back about c.
//
//gss:pinned
func (r credResult) info(op string, c *Cred, mech OID) (*CredInfo, error) {
	mechs := takeOIDSet(r.mechs)
	if r.failed() || c.nameless(r.usage) {
		if r.name != nil {
			releaseName(r.name)
		}
		r.name = nil
	}
	if r.failed() {
		return nil, r.error(op, mech)
	}
	if gnu() {
		r.usage = int32(UsageAccept) // GNU gss 1.0.4 says both, and initiates with none
	}
	return &CredInfo{mechanismName(r.name), r.lifetime, r.acceptorLifetime, CredUsage(r.usage), mechs}, nil
}

// nameless reports whether what the library tells as the credential's name must
// not be touched. For an acceptor of any name Heimdal 7.8 tells a name that has
// nothing in it, and crashes on everything that is done with that but releasing.
func (c *Cred) nameless(usage int32) bool {
	return heimdal() && CredUsage(usage) == UsageAccept && (c == nil || !c.named)
}

// Inquire calls gss_inquire_cred; a nil c is the default initiator credential.
// MIT may ask a KDC for it when a client keytab is configured. RFC 2744, 5.21.
func (c *Cred) Inquire() (*CredInfo, error) {
	const op = "gss_inquire_cred"
	if _, err := lib(); err != nil {
		return nil, err
	}
	u, err := c.begin(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if c == nil {
		if err := gnuAcquire(op, nil, UsageInitiate); err != nil {
			return nil, err
		}
	}
	tells := c.tellsName(u.h, "")
	r := inquiredCred(u.h, tells)
	if m, err := cOID(op, MechKrb5); !tells && err == nil {
		r.name = inquireCredByMech(u.h, m, true).name // none if there is no such element
	}
	return r.info(op, c, "")
}

// InquireByMech calls gss_inquire_cred_by_mech: what c tells of its element for
// mech. ErrUnavailable for SPNEGO with MIT. RFC 2744, 5.22.
func (c *Cred) InquireByMech(mech OID) (*CredInfo, error) {
	const op = "gss_inquire_cred_by_mech"
	if _, err := lib(); err != nil {
		return nil, err
	}
	if mech == "" {
		return nil, &Error{Op: op, Major: ErrBadMech, Text: "no mechanism was given"}
	}
	if err := gnuMech(op, mech); err != nil {
		return nil, err
	}
	m, err := cOID(op, mech)
	if err != nil {
		return nil, err
	}
	u, err := c.begin(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if c == nil {
		if err := gnuAcquire(op, nil, UsageInitiate); err != nil {
			return nil, err
		}
	}
	r := inquireCredByMech(u.h, m, c.tellsName(u.h, mech))
	if kind() == KindMIT && r.major == uint32(ErrBadBindings) {
		// MIT 1.20 says that of a mechanism that has no such call, as SPNEGO.
		return nil, &Error{Op: op, Major: ErrUnavailable, Mech: mech, Text: "MIT does not tell of this mechanism's element: ask about the credential, or about the mechanisms inside"}
	}
	return r.info(op, c, mech)
}

// Release drops the credential. It does not wait; calls that are using it go
// on. More calls do nothing.
func (c *Cred) Release() {
	if c != nil {
		c.c.close()
	}
}

// AdoptCred takes ownership of a gss_cred_id_t of the loaded library that C
// made. Errors are ErrUnavailable when it cannot be certain whose handle it is
// (see LoadAt), and ErrNoCred for nil; then the handle is still the caller's.
func AdoptCred(h unsafe.Pointer) (*Cred, error) {
	const op = "adopt credential"
	if err := adoptable(op); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrNoCred, Text: "the handle is NULL"}
	}
	return newCred(h), nil
}

// Detach gives up the credential without releasing it: the gss_cred_id_t is the
// caller's. From here on every call answers ErrNoCred; Detach waits for those
// that are under way, which may ask a KDC. The error is ErrNoCred if it was
// released or detached before, and with GNU gss while a context is there that was
// accepted with it.
func (c *Cred) Detach() (unsafe.Pointer, error) {
	const op = "detach credential"
	if c == nil {
		return nil, &Error{Op: op, Major: ErrNoCred, Text: "no credential was given"}
	}
	h, err := c.c.detach()
	if err != nil {
		return nil, &Error{Op: op, Major: ErrNoCred, Text: err.Error()}
	}
	return h, nil
}
