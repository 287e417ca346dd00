package gss

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
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
// on a KDC. Where c has an element for mech, Heimdal 7.8 puts the new one in its
// place, and others answer ErrDuplicateElement. MIT and Heimdal; on Heimdal it is
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

// checkPassword refuses what the libraries do not take as it is. They end a password
// at its first NUL, so that others than the right one would do.
func checkPassword(op string, password []byte) error {
	if len(password) > maxPassword {
		return &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("a password of %d bytes: at most %d are passed to the C library", len(password), maxPassword)}
	}
	if bytes.IndexByte(password, 0) >= 0 {
		return &Error{Op: op, Major: ErrFailure, Text: "the password has a NUL byte: the C libraries end it there"}
	}
	return nil
}

// Impersonate calls gss_acquire_cred_impersonate_name: with c, the credential of
// a service, a credential in the name of one of its clients (S4U2Self). The KDC
// is asked, so that it may block. MIT 1.8 and later; Heimdal after 7.8 has the
// function, and answers ErrUnavailable.
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
	r, err := acquire(op, name, mechs, func(name, mechs unsafe.Pointer) credResult {
		return acquireCredImpersonateName(u.h, name, lifetime, mechs, int32(usage))
	})
	if e := (*Error)(nil); errors.As(err, &e) && e.Major == ErrUnavailable && e.Text == "" {
		e.Text = "the library has the function, and no mechanism that does it" // Heimdal after 7.8
	}
	return r, err
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
	Env   []string  // StoreInto2 only: the environment that finds it, such as "KRB5CCNAME=FILE:/tmp/cc"
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
// is done. Later Heimdals store into the default ccache, or into that of the name
// of c in its collection.
func (c *Cred) Store(usage CredUsage, mech OID, overwrite, byDefault bool) (*StoreResult, error) {
	const op = "gss_store_cred"
	if done, err := c.storedAlready(op, usage, mech, overwrite, nil); done != nil || err != nil {
		return done, err
	}
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

// storedAlready is the result of storing c where its tickets are, on later Heimdals,
// which would empty a ccache in memory that is stored over itself; nil for any other
// place. Without overwrite they report success for what they do not store: here that
// is ErrDuplicateElement. An empty store is the default ccache.
func (c *Cred) storedAlready(op string, usage CredUsage, mech OID, overwrite bool, store map[string]string) (*StoreResult, error) {
	ccache, named := store["ccache"]
	if !laterHeimdal() || c == nil || usage != UsageInitiate || mech != "" && mech != MechKrb5 || len(store) > 0 && !named {
		return nil, nil
	}
	var d *Cred
	var err error
	if named {
		d, err = ImportKrb5Cred(ccache, "", "")
	} else {
		var r *CredResult
		if r, err = AcquireCred(nil, 0, []OID{MechKrb5}, UsageInitiate); err == nil {
			d = r.Cred
		}
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.Minor == ccUnknownType {
		return nil, err // the library would take it for a file
	}
	if err != nil {
		return nil, nil // nothing is there
	}
	defer d.Release()
	duplicate := &Error{Op: op, Major: ErrDuplicateElement, Mech: mech, Text: "not called: there are tickets in the ccache that would be kept"}
	own, err := c.InquireByOID(CredCCache)
	if err != nil {
		return nil, nil // the library says so
	}
	if there, err := d.InquireByOID(CredCCache); err == nil && slices.EqualFunc(own, there, bytes.Equal) && len(own) > 0 {
		if !overwrite {
			return nil, duplicate
		}
		return &StoreResult{Mechs: []OID{MechKrb5}, Env: []string{"KRB5CCNAME=" + string(bytes.TrimRight(own[0], "\x00"))}}, nil
	}
	if overwrite {
		return nil, nil
	}
	var infos [2]*CredInfo
	for n, x := range []*Cred{c, d} {
		if infos[n], err = x.Inquire(); err != nil {
			return nil, nil
		}
		defer infos[n].Name.Release()
	}
	same, err := infos[0].Name.Compare(infos[1].Name)
	if err == nil && (same && infos[1].Lifetime >= infos[0].Lifetime || !same && named) {
		return nil, duplicate
	}
	return nil, nil
}

// storable refuses what Heimdal 7.8 would store into another credential. there: c is
// from the ccache that it would be stored into.
func (c *Cred) storable(op string) (there bool, err error) {
	if err := available(op); err != nil || !heimdal() || laterHeimdal() || c == nil {
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
	if len(store) == 0 {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the credential store is empty"}
	}
	if done, err := c.storedAlready(op, usage, mech, overwrite, store); done != nil || err != nil {
		return done, err
	}
	block, err := storeBlock(op, store)
	if err != nil {
		return nil, err
	}
	return storeElements(op, c, mech, func(cred, mech unsafe.Pointer) credResult {
		return storeCredInto(cred, int32(usage), mech, overwrite, byDefault, block, len(store))
	})
}

// StoreFlags say how StoreInto2 stores.
type StoreFlags uint32

// Flags of StoreInto2.
const (
	StoreDefault    StoreFlags = 1 // GSS_C_STORE_CRED_DEFAULT: the default credential of a store of several
	StoreOverwrite  StoreFlags = 2 // GSS_C_STORE_CRED_OVERWRITE: in place of what is there
	StoreSetProcess StoreFlags = 4 // GSS_C_STORE_CRED_SET_PROCESS: refused, see StoreInto2
)

// StoreInto2 calls gss_store_cred_into2: StoreInto, which also tells in Env where
// the credential went. No store is the one that Heimdal chooses: the default
// ccache, or that of the name of c in its collection. Besides ccache there are the
// keys unique_ccache_type, of a new ccache, and username and appname, which have a
// part in the choice; others are overlooked.
//
// StoreSetProcess is ErrUnavailable: Heimdal (source of 2024) would leave memory
// that it has freed in the environment of the process, which other threads read.
// Env is what a child process needs. Heimdal after 7.8.
func (c *Cred) StoreInto2(usage CredUsage, mech OID, flags StoreFlags, store map[string]string) (*StoreResult, error) {
	const op = "gss_store_cred_into2"
	if flags&StoreSetProcess != 0 {
		return nil, &Error{Op: op, Major: ErrUnavailable, Text: "not called: the environment of the process would point to freed memory: give a child process what Env tells"}
	}
	if done, err := c.storedAlready(op, usage, mech, flags&StoreOverwrite != 0, store); done != nil || err != nil {
		return done, err
	}
	block, err := storeBlock(op, store)
	if err != nil {
		return nil, err
	}
	var env [][]byte
	r, err := storeElements(op, c, mech, func(cred, mech unsafe.Pointer) credResult {
		r, set := storeCredInto2(cred, int32(usage), mech, uint32(flags), block, len(store))
		env, _ = takeBufferSet(set, false)
		return r
	})
	if err != nil {
		return nil, err
	}
	for _, b := range env {
		r.Env = append(r.Env, string(bytes.TrimRight(b, "\x00")))
	}
	return r, nil
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
	return &StoreResult{Mechs: mechs, Usage: CredUsage(r.usage)}, nil
}

// Duplicate calls gss_duplicate_cred: a credential of its own that has the elements
// of c, such as for SetNegMechs or SetOption without changing c. What is in memory
// is copied; what is in a file is shared. Where there is no such function, Export
// and ImportCred do about the same. Heimdal after 7.8 declares it, and exports it
// where the linker takes no version script, as on macOS.
func (c *Cred) Duplicate() (*Cred, error) {
	const op = "gss_duplicate_cred"
	if err := available(op); err != nil {
		return nil, err
	}
	u, err := c.need(op)
	if err != nil {
		return nil, err
	}
	defer u.end()
	s, h := duplicateCred(u.h)
	if s.failed() {
		if h != nil {
			releaseCred(h)
		}
		return nil, s.error(op, "")
	}
	if h == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "the library reported success and returned no credential"}
	}
	d := newCred(h)
	d.named = c.named
	d.restricts.Store(c.restricts.Load())
	return d, nil
}

// Destroy calls gss_destroy_cred: it releases c, and removes what it is stored in,
// such as a ccache, where the mechanism can: that of Kerberos can in GSS.framework,
// and not in Heimdal. It waits for calls that use c, and then c is gone, whatever
// the error; ErrNoCred if it was released before. Where the function is, see
// Duplicate; GSS.framework has it too.
func (c *Cred) Destroy() error {
	const op = "gss_destroy_cred"
	if err := available(op); err != nil {
		return err
	}
	if c == nil {
		return &Error{Op: op, Major: ErrNoCred, Text: "no credential was given"}
	}
	h, err := c.c.detach()
	if err != nil {
		return &Error{Op: op, Major: ErrNoCred, Text: err.Error()}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, left := destroyCred(h)
	if s.failed() {
		err = s.error(op, "")
	}
	if left != nil {
		releaseCred(left)
	}
	if c.c.after != nil {
		c.c.after()
	}
	return err
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
		r := inquiredCred(u.h, false)
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
			if !soundKrb5(content) {
				return false
			}
		}
	}
	return true
}

// soundKrb5 reports whether the part of a token for Kerberos is what MIT 1.20 wrote
// (lib/gssapi/krb5/export_cred.c), or is of another form: it takes null for each
// string, and credentials that lack what they are for, and crashes when it uses
// them.
func soundKrb5(content []byte) bool {
	if !json.Valid(content) {
		return false
	}
	var parts jsonShape
	json.Unmarshal(content, &parts)
	if len(parts.list) != 2 || !parts.list[0].isK5C1 {
		return true
	}
	f := parts.list[1].list
	if len(f) != 14 {
		return true
	}
	text := func(v jsonShape, at int) bool { return at < len(v.list) && v.list[at].kind == '"' }
	const usageAt, nameAt, keytabAt, ccacheAt = 0, 1, 5, 7
	name, ccache := f[nameAt], f[ccacheAt]
	if name.kind != 'n' && !text(name, 0) {
		return false
	}
	if ccache.kind == '[' {
		if !text(ccache, 0) {
			return false
		}
		for _, t := range ccache.list[1:] {
			if !text(t, 0) || !text(t, 1) { // client, server
				return false
			}
		}
	}
	u := CredUsage(f[usageAt].number)
	return float64(u) == f[usageAt].number && UsageBoth <= u && u <= UsageAccept &&
		(u == UsageAccept || (name.kind == 'n') == (ccache.kind == 'n')) &&
		(u == UsageInitiate || text(parts.list[1], keytabAt))
}

// jsonShape is JSON without its texts, some of which are keys: Go's copies of them
// could not be overwritten.
type jsonShape struct {
	kind   byte // what it begins with: n is null
	list   []jsonShape
	number float64
	isK5C1 bool // the text is that, or may be
}

// UnmarshalJSON is called by package json.
func (s *jsonShape) UnmarshalJSON(b []byte) error {
	switch s.kind = b[0]; s.kind {
	case '[':
		return json.Unmarshal(b, &s.list)
	case '"':
		s.isK5C1 = string(b) == `"K5C1"` || bytes.IndexByte(b, '\\') >= 0
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return json.Unmarshal(b, &s.number)
	}
	return nil
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
