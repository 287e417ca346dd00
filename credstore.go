package gss

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// Credentials beyond RFC 2744: stores, passwords, S4U, and the way of a credential
// into a store or into another process.

// available is an error if the library lacks that function.
func available(op string) error {
	l, err := lib()
	if err != nil {
		return err
	}
	if !bound(op) {
		return &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("%s has no function %s", l.Path, op)}
	}
	return nil
}

// need is begin for calls that cannot do without a credential.
func (c *Cred) need(op string) (use, error) {
	if c == nil {
		return use{}, &Error{Op: op, Major: ErrNoCred, Text: "no credential was given"}
	}
	return c.begin(op)
}

// storeBlock is a credential store as it goes to C: its keys and values, each
// with a NUL byte. The caller clears it.
func storeBlock(op string, store map[string]string) ([]byte, error) {
	n := 0
	for k, v := range store {
		if k == "" || strings.ContainsRune(k, 0) || strings.ContainsRune(v, 0) {
			return nil, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("credential store: the key %q is empty, or it or its value has a NUL byte", clip(k))}
		}
		n += len(k) + len(v) + 2
	}
	if err := checkSize(op, "credential store", n); err != nil {
		return nil, err
	}
	block := make([]byte, 0, n) // grown, it would leave copies
	for _, k := range slices.Sorted(maps.Keys(store)) {
		block = append(append(append(append(block, k...), 0), store[k]...), 0)
	}
	return block, nil
}

// addElement runs one of the calls that add an element to c.
func addElement(op string, c *Cred, name *Name, mech OID, call func(cred, name, mech unsafe.Pointer) credResult) (*CredResult, error) {
	if err := available(op); err != nil {
		return nil, err
	}
	if mech == "" {
		return nil, &Error{Op: op, Major: ErrBadMech, Text: "no mechanism was given"}
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
	v, err := name.begin(op)
	if err != nil {
		return nil, err
	}
	defer v.end()
	if err := c.addable(op, u.h, mech); err != nil {
		return nil, err
	}
	res, err := call(u.h, v.h, m).result(op, mech)
	if err == nil {
		res.Cred.named = name != nil && (c == nil || c.named)
	}
	return res, err
}

// lifetimeFor is the one lifetime of a call that takes one only, as MIT chooses it
// from two.
func lifetimeFor(usage CredUsage, initiator, acceptor uint32) uint32 {
	switch usage {
	case UsageInitiate:
		return initiator
	case UsageAccept:
		return acceptor
	}
	return max(initiator, acceptor)
}

// both gives the result of such a call both lifetimes.
func both(usage CredUsage) func(*CredResult, error) (*CredResult, error) {
	return func(r *CredResult, err error) (*CredResult, error) {
		if err == nil && usage != UsageInitiate {
			r.AcceptorLifetime = r.Lifetime
		}
		if err == nil && usage == UsageAccept {
			r.Lifetime = 0
		}
		return r, err
	}
}

// toAddTo returns what the calls add to with which MIT shares the elements of c
// between c and the result: a copy of c, in place. inPlace says that it is one.
//
//gss:pinned
func toAddTo(cred unsafe.Pointer) (s status, to unsafe.Pointer, inPlace bool) {
	if cred == nil || kind() != KindMIT {
		return status{}, cred, false
	}
	s, to = copyCred(cred)
	return s, to, true
}

// copyCred copies a credential, as MIT's gss_add_cred does.
//
//gss:pinned
func copyCred(cred unsafe.Pointer) (status, unsafe.Pointer) {
	s, buf := exportCred(cred)
	token := buf.buffer(true)
	defer token.Release()
	if s.failed() {
		return s, nil
	}
	return importCred(unsafe.Slice((*byte)(buf.p), buf.n))
}

// AddFrom calls gss_add_cred_from: Add with a credential store instead of the
// environment, see AcquireCredFrom. It may block on a KDC. MIT 1.11 and later; on
// Heimdal 7.8 and GNU gss it is ErrUnavailable.
func (c *Cred) AddFrom(name *Name, mech OID, usage CredUsage, initiatorLifetime, acceptorLifetime uint32, store map[string]string) (*CredResult, error) {
	const op = "gss_add_cred_from"
	block, err := storeBlock(op, store)
	if err != nil {
		return nil, err
	}
	defer clear(block) // it may hold a password
	return addElement(op, c, name, mech, func(cred, name, mech unsafe.Pointer) credResult {
		return addCredFrom(cred, name, mech, int32(usage), initiatorLifetime, acceptorLifetime, block, len(store))
	})
}

// AddWithPassword calls gss_add_cred_with_password: Add of initial credentials
// for name by its password, which the caller may clear afterwards. It may block
// on a KDC. Where c has an element for mech, Heimdal puts the new one in its place,
// and MIT answers ErrDuplicateElement. MIT and Heimdal; on Heimdal it is
// ErrUnavailable in the cases of Add.
func (c *Cred) AddWithPassword(name *Name, mech OID, password []byte, usage CredUsage, initiatorLifetime, acceptorLifetime uint32) (*CredResult, error) {
	const op = "gss_add_cred_with_password"
	if err := checkPassword(op, password); err != nil {
		return nil, err
	}
	if c == nil && mech != "" && kind() == KindMIT {
		// 1.20 loses memory when it starts from no credential; this does the same.
		return both(usage)(AcquireCredWithPassword(name, password, lifetimeFor(usage, initiatorLifetime, acceptorLifetime), []OID{mech}, usage))
	}
	return addElement(op, c, name, mech, func(cred, name, mech unsafe.Pointer) credResult {
		s, to, inPlace := toAddTo(cred)
		if s.failed() {
			return credResult{status: s}
		}
		r := addCredWithPassword(to, name, mech, password, int32(usage), initiatorLifetime, acceptorLifetime, inPlace)
		if r.failed() && inPlace {
			releaseCred(to)
		}
		return r
	})
}

func checkPassword(op string, password []byte) error {
	if len(password) > maxPassword {
		return &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("a password of %d bytes: at most %d are passed to the C library", len(password), maxPassword)}
	}
	return nil
}

// Impersonate calls gss_acquire_cred_impersonate_name: with c, the credential of
// a service, a credential in the name of one of its clients (S4U2Self). The KDC
// is asked, so that it may block. MIT 1.8 and later.
func (c *Cred) Impersonate(name *Name, lifetime uint32, mechs []OID, usage CredUsage) (*CredResult, error) {
	const op = "gss_acquire_cred_impersonate_name"
	if err := available(op); err != nil {
		return nil, err
	}
	if name == nil {
		return nil, &Error{Op: op, Major: ErrBadName, Text: "no name was given"}
	}
	u, err := c.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	return acquire(op, name, mechs, func(name, mechs unsafe.Pointer) credResult {
		return acquireCredImpersonateName(u.h, name, lifetime, mechs, int32(usage))
	})
}

// AddImpersonate calls gss_add_cred_impersonate_name: the elements of c, and one
// for mech in the name of a client of the service whose credential impersonator
// is, see Impersonate. A nil c starts from none. MIT 1.8 and later.
func (c *Cred) AddImpersonate(impersonator *Cred, name *Name, mech OID, usage CredUsage, initiatorLifetime, acceptorLifetime uint32) (*CredResult, error) {
	const op = "gss_add_cred_impersonate_name"
	if err := available(op); err != nil {
		return nil, err
	}
	if name == nil {
		return nil, &Error{Op: op, Major: ErrBadName, Text: "no name was given"}
	}
	if c == nil && mech != "" && kind() == KindMIT { // as AddWithPassword
		return both(usage)(impersonator.Impersonate(name, lifetimeFor(usage, initiatorLifetime, acceptorLifetime), []OID{mech}, usage))
	}
	u, err := impersonator.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	return addElement(op, c, name, mech, func(cred, name, mech unsafe.Pointer) credResult {
		s, to, inPlace := toAddTo(cred)
		if s.failed() {
			return credResult{status: s}
		}
		r := addCredImpersonateName(to, u.h, name, mech, int32(usage), initiatorLifetime, acceptorLifetime, inPlace)
		if r.failed() && inPlace {
			releaseCred(to)
		}
		return r
	})
}

// StoreResult tells what a Store stored.
type StoreResult struct {
	Mechs []OID     // whose elements were stored
	Usage CredUsage // of what was stored; 0 on Heimdal, which does not tell
}

// Store calls gss_store_cred: it writes c into the current credential store of
// the process, a ccache for Kerberos, for later calls and other processes to
// find. No mech is all elements, but Kerberos on Heimdal. Without overwrite it is
// ErrDuplicateElement if credentials of that name are there (Heimdal: if they
// live as long). byDefault makes it the default credential of a store of several.
// RFC 5588, 4.
//
// Heimdal 7.8 stores into the first ccache that has the name of c, those in memory
// included, such as those of delegated credentials and c's own, which it empties.
// The default ccache comes before those if it is a FILE: the call is made only if
// that has the name of c already, and is ErrUnavailable else. CopyCCache writes
// into any. It would also empty a ccache that is stored over itself: there nothing
// is done.
func (c *Cred) Store(usage CredUsage, mech OID, overwrite, byDefault bool) (*StoreResult, error) {
	const op = "gss_store_cred"
	there, err := c.storable(op)
	if err != nil {
		return nil, err
	}
	if there && usage == UsageInitiate && (mech == "" || mech == MechKrb5) {
		if !overwrite {
			return nil, &Error{Op: op, Major: ErrDuplicateElement, Mech: mech, Text: "it is the default ccache that the credential is from"}
		}
		return &StoreResult{Mechs: []OID{MechKrb5}}, nil
	}
	return storeElements(op, c, mech, func(cred, mech unsafe.Pointer) credResult {
		return storeCred(cred, int32(usage), mech, overwrite, byDefault)
	})
}

// storable refuses what Heimdal would store into another credential. there: c is
// from the ccache that it would be stored into.
func (c *Cred) storable(op string) (there bool, err error) {
	if err := available(op); err != nil || !heimdal() || c == nil {
		return false, err
	}
	refused := &Error{Op: op, Major: ErrUnavailable, Mech: MechKrb5, Text: "not called: Heimdal would store into any ccache of that name in this process: it needs a default ccache that is a FILE and has the name already; or copy into a ccache that is named"}
	d, err := AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate)
	if err != nil {
		return false, refused
	}
	defer d.Cred.Release()
	file, err := d.Cred.InquireByOID(CredCCache)
	if err != nil || len(file) == 0 || !strings.HasPrefix(string(file[0]), "FILE:") {
		return false, refused
	}
	var names [2]string
	for i, x := range []*Cred{c, d.Cred} {
		info, err := x.Inquire()
		if err != nil {
			return false, err
		}
		if info.Name == nil || info.Usage == UsageAccept {
			info.Name.Release()
			return false, nil // Heimdal says so
		}
		text, _, err := info.Name.Display()
		info.Name.Release()
		if err != nil {
			return false, err
		}
		names[i] = string(text.Bytes())
		text.Release()
	}
	if names[0] != names[1] {
		return false, refused
	}
	own, err := c.InquireByOID(CredCCache)
	return err == nil && len(own) > 0 && string(own[0]) == string(file[0]), nil
}

// StoreInto calls gss_store_cred_into: Store into a store that is given, such as
// {"ccache": "FILE:/tmp/cc"}, which must not be empty. MIT 1.11 and later.
func (c *Cred) StoreInto(usage CredUsage, mech OID, overwrite, byDefault bool, store map[string]string) (*StoreResult, error) {
	const op = "gss_store_cred_into"
	block, err := storeBlock(op, store)
	if err != nil {
		return nil, err
	}
	return storeElements(op, c, mech, func(cred, mech unsafe.Pointer) credResult {
		return storeCredInto(cred, int32(usage), mech, overwrite, byDefault, block, len(store))
	})
}

// storeElements runs one of the calls that store c.
func storeElements(op string, c *Cred, mech OID, call func(cred, mech unsafe.Pointer) credResult) (*StoreResult, error) {
	if err := available(op); err != nil {
		return nil, err
	}
	if mech == "" && heimdal() {
		mech = MechKrb5 // 7.8 crashes when it is to tell what it stored without a mechanism
	}
	m, err := cOID(op, mech)
	if err != nil {
		return nil, err
	}
	u, err := c.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	r := call(u.h, m)
	mechs := takeOIDSet(r.mechs)
	if r.failed() {
		return nil, r.error(op, mech)
	}
	return &StoreResult{mechs, CredUsage(r.usage)}, nil
}

// Export calls gss_export_cred: a token that ImportCred of the same library makes
// a credential of, in another process too. The token holds session keys, and
// with MIT a password: the buffer is overwritten when it is released. What is in
// a file, a ccache or a keytab, is in the token by its name only; what is in
// memory is in it whole (MIT), or the ticket-granting ticket of it (Heimdal 7.8,
// for credentials to initiate with alone). c stays as it is. It may block: MIT
// may ask a KDC for a credential that was not used yet.
//
// Heimdal 7.8 forgets the element for SPNEGO on the way, so that Kerberos is what
// comes out.
func (c *Cred) Export() (*Buffer, error) {
	const op = "gss_export_cred"
	if err := available(op); err != nil {
		return nil, err
	}
	u, err := c.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	if heimdal() {
		r := inquireCred(u.h, false)
		releaseOIDSet(r.mechs)
		if !r.failed() && CredUsage(r.usage) == UsageAccept {
			return nil, &Error{Op: op, Major: ErrUnavailable, Text: "Heimdal exports credentials to initiate with only"}
		}
	}
	s, buf := exportCred(u.h)
	b := buf.buffer(true)
	if s.failed() {
		b.Release()
		return nil, s.error(op, "")
	}
	if b.Len() == 0 {
		b.Release()
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: "the library reported success and returned no token: the mechanism cannot export credentials"}
	}
	return b, nil
}

// wellFormed reports whether MIT can read a token of Export. Its parts, one for each
// mechanism, are JSON for Kerberos and tokens of their own for SPNEGO; 1.20 (and
// src/util/support/json.c of later ones) releases what it never set when the JSON
// is not complete, and crashes.
func wellFormed(token []byte, depth int) bool {
	part := func() ([]byte, bool) {
		if len(token) < 4 {
			return nil, false
		}
		n := uint64(binary.BigEndian.Uint32(token))
		if n > uint64(len(token)-4) {
			return nil, false
		}
		p := token[4 : 4+n]
		token = token[4+n:]
		return p, true
	}
	for len(token) > 0 {
		mech, ok := part()
		if !ok {
			return false
		}
		content, ok := part()
		if !ok {
			return false
		}
		switch OID(mech) {
		case MechSPNEGO:
			if depth == 0 || !wellFormed(content, depth-1) {
				return false
			}
		case MechNTLM: // the form is the plugin's
		default:
			if !json.Valid(content) {
				return false
			}
		}
	}
	return true
}

// ImportCred calls gss_import_cred: a credential of the token that Export of the
// same library returned, which the caller may clear afterwards. The C libraries
// trust the token: only pass one of this program's own. A token that names files
// needs them here too.
func ImportCred(token []byte) (*Cred, error) {
	const op = "gss_import_cred"
	if err := available(op); err != nil {
		return nil, err
	}
	if len(token) == 0 {
		return nil, &Error{Op: op, Major: ErrDefectiveToken, Text: "the token is empty"}
	}
	if err := checkSize(op, "token", len(token)); err != nil {
		return nil, err
	}
	if kind() == KindMIT && !wellFormed(token, 1) {
		return nil, &Error{Op: op, Major: ErrDefectiveToken, Text: "not called: MIT can crash on a token that is cut or damaged"}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, h := importCred(token)
	if s.failed() {
		if h != nil {
			releaseCred(h)
		}
		return nil, s.error(op, "")
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the library reported success and returned no credential"}
	}
	if kind() == KindHeimdal {
		return heimdalImported(op, h)
	}
	return newCred(h), nil
}
