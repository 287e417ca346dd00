package gss

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"
)

// Kerberos' own calls on credentials. Names of caches and keytabs are those of the
// libkrb5 that the library uses, such as FILE:/tmp/cc or MEMORY:name. GNU gss has
// none of these calls.

// krb5Result is what came back from C, where libkrb5 was used too.
type krb5Result struct {
	status
	handle  unsafe.Pointer
	missing string // the function that libkrb5 has not
	text    string // why libkrb5 itself failed
}

// ccUnknownType is KRB5_CC_UNKNOWN_TYPE, -1765328244, as a minor status.
const ccUnknownType = 0x96c73a8c

// error is that of a call that failed.
//
//gss:pinned
func (r krb5Result) error(op string) error {
	switch {
	case r.missing != "":
		return &Error{Op: op, Major: ErrUnavailable, Mech: MechKrb5, Text: fmt.Sprintf("the Kerberos library of %s has no function %s", loaded.Load().Path, r.missing)}
	case r.text != "":
		return &Error{Op: op, Major: Major(r.major), Minor: r.minor, Mech: MechKrb5, Text: cleanText([]byte(r.text))}
	}
	return r.status.error(op, MechKrb5)
}

// terminated is s with a NUL byte.
func terminated(op, what, s string) ([]byte, error) {
	if strings.ContainsRune(s, 0) {
		return nil, &Error{Op: op, Major: ErrFailure, Text: fmt.Sprintf("the %s %q has a NUL byte", what, clip(s))}
	}
	return append([]byte(s), 0), checkSize(op, what, len(s))
}

// WithCCacheName calls f on a thread of its own, for which gss_krb5_ccache_name
// has made name the default ccache: credentials that f acquires are from there.
// The thread ends with f, and what it had as default with it: see OnOwnThread. It
// returns f's error. MIT and Heimdal.
func WithCCacheName(name string, f func() error) error {
	const op = "gss_krb5_ccache_name"
	if err := available(op); err != nil {
		return err
	}
	if name == "" {
		return &Error{Op: op, Major: ErrFailure, Text: "no ccache was given"}
	}
	b, err := terminated(op, "ccache", name)
	if err != nil {
		return err
	}
	if file := heimdalDIR(b); file != "" {
		b = append([]byte(file), 0)
	}
	if f == nil {
		return noFunction(op)
	}
	if err := heimdalCCache(op, name); err != nil {
		return err
	}
	return OnOwnThread(func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if s := krb5CCacheName(b); s.failed() {
			return s.error(op, MechKrb5)
		}
		return f()
	})
}

// OnOwnThread calls f on a thread that ends with it, and returns f's error: what f
// leaves behind in the thread's part of the library goes too, see SetTimeOffset. It
// waits for f. A panic of f goes on in the caller; if f ends its goroutine the
// error is ErrFailure.
func OnOwnThread(f func() error) error {
	const op = "OnOwnThread"
	if f == nil {
		return noFunction(op)
	}
	var panicked any
	var err error = &Error{Op: op, Major: ErrFailure, Text: "the function ended its goroutine"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good
		defer func() { panicked = recover() }()
		err = f()
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

func noFunction(op string) error {
	return &Error{Op: op, Major: ErrFailure, Text: "no function was given"}
}

// CopyCCache calls gss_krb5_copy_ccache: it writes the tickets of c into a ccache,
// in place of what was in it. c must be one to initiate with. The tickets are read
// first, so that they may be copied to where they are. It may block: MIT may ask a
// KDC for a credential that was not used yet. MIT and Heimdal.
func (c *Cred) CopyCCache(name string) error {
	const op = "gss_krb5_copy_ccache"
	if err := available(op); err != nil {
		return err
	}
	if name == "" {
		return &Error{Op: op, Major: ErrFailure, Text: "no ccache was given"}
	}
	b, err := terminated(op, "ccache", name)
	if err != nil {
		return err
	}
	u, err := c.need(op)
	if err != nil {
		return err
	}
	defer u.end()
	// For the principal; and MIT picks the ccache of a credential when it is first
	// asked, and crashes here if it never was.
	mech, err := cOID(op, MechKrb5)
	if err != nil {
		return err
	}
	info, err := inquireCredByMech(u.h, mech, true).info(op, c, MechKrb5)
	if err != nil {
		return err
	}
	defer info.Name.Release()
	if info.Usage == UsageAccept || info.Name == nil {
		return &Error{Op: op, Major: ErrNoCred, Mech: MechKrb5, Text: "the credential is to accept with: it has no tickets"}
	}
	text, _, err := info.Name.Display()
	if err != nil {
		return err
	}
	defer text.Release()
	principal, err := terminated(op, "principal", string(text.Bytes()))
	if err != nil {
		return err
	}
	if r := krb5CopyCCache(u.h, b, principal); r.failed() {
		return r.error(op)
	}
	return nil
}

// ImportKrb5Cred calls gss_krb5_import_cred: a Kerberos credential of a ccache, to
// initiate with, or of a keytab, to accept with; principal is whose, and may be
// empty. Empty strings are none. Both at once make a credential for both usages,
// but are ErrUnavailable on Heimdal, whose result is for none. It is the way to
// name a ccache or a keytab to Heimdal 7.8. ErrNoCred if there is no key in the
// keytab; MIT looks for one of the principal. MIT and Heimdal.
func ImportKrb5Cred(ccache, principal, keytab string) (*Cred, error) {
	const op = "gss_krb5_import_cred"
	if err := available(op); err != nil {
		return nil, err
	}
	if ccache == "" && keytab == "" {
		return nil, &Error{Op: op, Major: ErrFailure, Text: "neither a ccache nor a keytab was given"}
	}
	if ccache != "" && keytab != "" && heimdal() {
		return nil, &Error{Op: op, Major: ErrUnavailable, Mech: MechKrb5, Text: "Heimdal makes a credential of no known usage of a ccache and a keytab: import one of them"}
	}
	var args [3][]byte
	for i, s := range [...]struct{ what, text string }{{"ccache", ccache}, {"principal", principal}, {"keytab", keytab}} {
		var err error
		if args[i], err = terminated(op, s.what, s.text); err != nil {
			return nil, err
		}
	}
	if ccache != "" {
		if err := heimdalCCache(op, ccache); err != nil {
			return nil, err
		}
	}
	if keytab != "" {
		absent, err := heimdalKeytab(op, keytab)
		if absent {
			err = &Error{Op: op, Major: ErrNoCred, Mech: MechKrb5, Text: noKeytab(keytab)} // 7.8 does not look
		}
		if err != nil {
			return nil, err
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := krb5ImportCred(args[0], args[1], args[2])
	if r.failed() {
		if r.handle != nil {
			releaseCred(r.handle)
		}
		return nil, r.error(op)
	}
	if r.handle == nil {
		return nil, &Error{Op: op, Major: ErrFailure, Mech: MechKrb5, Text: "the library reported success and returned no credential"}
	}
	c := newCred(r.handle)
	c.named = ccache != "" || principal != ""
	return c, nil
}

// heimdalImported makes a whole credential of h, which Heimdal 7.8 has imported
// from a token: h never expires, and crashes if its ccache is gone. It is kept
// with the new one, because it destroys a ccache in memory when it is released.
//
//gss:pinned
func heimdalImported(op string, h unsafe.Pointer) (*Cred, error) {
	o, err := cOID(op, CredCCache)
	if err != nil {
		releaseCred(h)
		return nil, err
	}
	s, set := inquireCredByOID(h, o)
	parts, err := takeBufferSet(set, false)
	if s.failed() || err != nil || len(parts) == 0 {
		releaseCred(h)
		return nil, &Error{Op: op, Major: ErrDefectiveToken, Mech: MechKrb5, Text: "the credential in the token has no ccache"}
	}
	if err := heimdalCCache(op, string(parts[0])); err != nil {
		releaseCred(h)
		return nil, err
	}
	r := krb5ImportCred(append(parts[0], 0), []byte{0}, []byte{0})
	if r.failed() || r.handle == nil {
		err := r.error(op)
		releaseCred(h)
		return nil, err
	}
	c := newCred(r.handle)
	c.named = true
	c.c.after = func() { releaseCred(h) }
	return c, nil
}

// SetAllowableEnctypes calls gss_krb5_set_allowable_enctypes: the encryption types,
// by their numbers (RFC 3961), that the keys of contexts which c initiates may
// have. It changes c for all who use it, and must not be called while somebody
// does. The libraries leave out those that they do not know; the error is
// ErrFailure if they know none. MIT and Heimdal.
//
// Heimdal 7.8 keeps the types for all that the thread does from then on: contexts
// are initiated with c on threads of their own.
func (c *Cred) SetAllowableEnctypes(types []int32) error {
	const op = "gss_krb5_set_allowable_enctypes"
	if err := available(op); err != nil {
		return err
	}
	if len(types) == 0 || slices.Contains(types, 0) {
		return &Error{Op: op, Major: ErrFailure, Text: "give at least one encryption type, and not 0"}
	}
	if err := checkSize(op, "list of encryption types", 4*len(types)); err != nil {
		return err
	}
	u, err := c.need(op)
	if err != nil {
		return err
	}
	defer u.end()
	c.restricts.Store(heimdal())
	if r := krb5SetAllowableEnctypes(u.h, types); r.failed() {
		return r.error(op)
	}
	return nil
}

// SetRCache calls gss_krb5_set_cred_rcache: the replay cache that c, which is to
// accept with and for Kerberos alone, looks into, such as "none:" or
// "file2:/var/tmp/app". It changes c for all who use it, and must not be called
// while somebody does. MIT 1.18 and later; the key rcache of a credential store
// does the same.
func (c *Cred) SetRCache(name string) error {
	const op = "gss_krb5_set_cred_rcache"
	if err := available(op); err != nil {
		return err
	}
	b, err := terminated(op, "replay cache", name)
	if err != nil {
		return err
	}
	u, err := c.need(op)
	if err != nil {
		return err
	}
	defer u.end()
	r := inquiredCred(u.h, false)
	mechs := takeOIDSet(r.mechs)
	if r.failed() {
		return r.status.error(op, "")
	}
	if len(mechs) != 1 || mechs[0] != MechKrb5 || CredUsage(r.usage) == UsageInitiate {
		// Each element would close the same replay cache when it is released.
		return &Error{Op: op, Major: ErrUnavailable, Mech: MechKrb5, Text: fmt.Sprintf("the credential must be to accept with, and for Kerberos alone: it is for %v", mechs)}
	}
	if r := krb5SetCredRCache(u.h, b); r.failed() {
		return r.error(op)
	}
	return nil
}

// RegisterAcceptorIdentity calls gsskrb5_register_acceptor_identity, which MIT has
// as krb5_gss_register_acceptor_identity: the keytab that this process accepts
// with by default, from now on; an empty one is the default again. It is for the
// whole process: a keytab in a credential store, or ImportKrb5Cred, are for one
// credential. ErrFailure if Heimdal finds no key there, and ErrNoCred if it would
// crash on what it finds; MIT does not look.
func RegisterAcceptorIdentity(keytab string) error {
	const op = "gsskrb5_register_acceptor_identity"
	l, err := lib()
	if err != nil {
		return err
	}
	if !bound(op) && !bound("krb5_gss_register_acceptor_identity") {
		return &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("%s has no function %s", l.Path, op)}
	}
	b, err := terminated(op, "keytab", keytab)
	if err != nil {
		return err
	}
	if _, err := heimdalKeytab(op, keytab); err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if s := registerAcceptorIdentity(b); s.failed() {
		e := s.error(op, MechKrb5)
		if e.Text == "" {
			e.Text = noKeytab(keytab)
		}
		return e
	}
	return nil
}

func noKeytab(name string) string {
	return fmt.Sprintf("there is no key in the keytab %s, or it cannot be read", clip(name))
}

// ForMechs returns a credential of the Kerberos tickets of c that has elements for
// these mechanisms too: a delegated credential of MIT and Heimdal is for Kerberos
// alone, and SPNEGO does not take it. The tickets are copied into a ccache in
// memory (CopyCCache), which is acquired from (WithCCacheName), and destroyed when
// the new credential is released. Tickets that c gets later are not in it. It may
// block on a KDC. MIT and Heimdal.
func (c *Cred) ForMechs(mechs []OID) (*CredResult, error) {
	return c.throughCCache("MEMORY:gss-"+rand.Text(), mechs)
}

// throughCCache is ForMechs with the name of a ccache that is not there yet.
func (c *Cred) throughCCache(name string, mechs []OID) (*CredResult, error) {
	b := append([]byte(name), 0)
	var res *CredResult
	err := c.CopyCCache(name)
	if err == nil {
		err = WithCCacheName(name, func() (err error) {
			res, err = AcquireCred(nil, 0, mechs, UsageInitiate)
			return err
		})
	}
	if err != nil {
		destroyCCache(b)
		return nil, err
	}
	res.Cred.c.after = func() { destroyCCache(b) }
	return res, nil
}

func destroyCCache(name []byte) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	krb5DestroyCCache(name)
}
