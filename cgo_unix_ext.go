//go:build cgo && unix

package gss

/*
#include "shim.h"
*/
import "C"

import "unsafe"

// Calls beyond RFC 2744. A library that lacks one answers GSS_S_UNAVAILABLE
// from shim_ext.h.

// ---- sets of buffers ----

func releaseBufferSet(set unsafe.Pointer, wipe bool) status {
	r := C.gssgo_release_buffer_set(set, cbool(wipe))
	return status{uint32(r.major), uint32(r.minor)}
}

func bufferSetCount(set unsafe.Pointer) int { return int(C.gssgo_buffer_set_count(set)) }

func bufferSetAt(set unsafe.Pointer, i int) libBuffer {
	r := C.gssgo_buffer_set_at(set, C.size_t(i))
	return libBuffer{unsafe.Pointer(r.p), uintptr(r.n)}
}

// ---- mechanisms and object identifiers: RFC 5587, RFC 5801, RFC 2743 3.1 ----

// ---- names: RFC 6680 and local names ----

// ---- credentials: stores, passwords, RFC 5588, S4U, export, negotiation ----

// inText is in for text that ends in a NUL byte.
func inText(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

func acquireCredFrom(name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32, store []byte, pairs int) credResult {
	return goCred(C.gssgo_acquire_cred_from(name, C.OM_uint32(lifetime), mechs, C.int(usage), inText(store), C.OM_uint32(pairs)))
}

func addCredFrom(cred, name, mech unsafe.Pointer, usage int32, initiator, acceptor uint32, store []byte, pairs int) credResult {
	return goCred(C.gssgo_add_cred_from(cred, name, mech, C.int(usage), C.OM_uint32(initiator), C.OM_uint32(acceptor), inText(store), C.OM_uint32(pairs)))
}

func addCredWithPassword(cred, name, mech unsafe.Pointer, password []byte, usage int32, initiator, acceptor uint32, inPlace bool) credResult {
	p, n := in(password)
	return goCred(C.gssgo_add_cred_with_password(cred, name, mech, p, n, C.int(usage), C.OM_uint32(initiator), C.OM_uint32(acceptor), cbool(inPlace)))
}

func acquireCredImpersonateName(impersonator, name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	return goCred(C.gssgo_acquire_cred_impersonate_name(impersonator, name, C.OM_uint32(lifetime), mechs, C.int(usage)))
}

func addCredImpersonateName(cred, impersonator, name, mech unsafe.Pointer, usage int32, initiator, acceptor uint32, inPlace bool) credResult {
	return goCred(C.gssgo_add_cred_impersonate_name(cred, impersonator, name, mech, C.int(usage), C.OM_uint32(initiator), C.OM_uint32(acceptor), cbool(inPlace)))
}

func storeCred(cred unsafe.Pointer, usage int32, mech unsafe.Pointer, overwrite, byDefault bool) credResult {
	return goCred(C.gssgo_store_cred(cred, C.int(usage), mech, cbool(overwrite), cbool(byDefault)))
}

func storeCredInto(cred unsafe.Pointer, usage int32, mech unsafe.Pointer, overwrite, byDefault bool, store []byte, pairs int) credResult {
	return goCred(C.gssgo_store_cred_into(cred, C.int(usage), mech, cbool(overwrite), cbool(byDefault), inText(store), C.OM_uint32(pairs)))
}

func exportCred(cred unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_export_cred(cred)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func importCred(token []byte) (status, unsafe.Pointer) {
	t, n := in(token)
	r := C.gssgo_import_cred(t, n)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func setNegMechs(cred, mechs unsafe.Pointer) status {
	r := C.gssgo_set_neg_mechs(cred, mechs)
	return status{uint32(r.major), uint32(r.minor)}
}

func inquireCredByOID(cred, oid unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_inquire_cred_by_oid(cred, oid)
	return status{uint32(r.major), uint32(r.minor)}, r.set
}

func setCredOption(cred, oid unsafe.Pointer, value []byte) status {
	v, n := in(value)
	r := C.gssgo_set_cred_option(cred, oid, v, n)
	return status{uint32(r.major), uint32(r.minor)}
}

func acquireCredWithPassword(name unsafe.Pointer, password []byte, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	p, n := in(password)
	return goCred(C.gssgo_acquire_cred_with_password(name, p, n, C.OM_uint32(lifetime), mechs, C.int(usage)))
}

// ---- contexts: by object identifier, RFC 4401 ----

// ---- messages in parts ----

// ---- Kerberos' own ----

// -- credentials --

func goKrb5(r C.gssgo_krb5_result) krb5Result {
	missing := ""
	if r.missing != nil {
		missing = C.GoString(r.missing)
	}
	return krb5Result{status{uint32(r.major), uint32(r.minor)}, r.handle, missing, goString(r.text)}
}

func krb5CCacheName(name []byte) status {
	r := C.gssgo_krb5_ccache_name(inText(name))
	return status{uint32(r.major), uint32(r.minor)}
}

func krb5CopyCCache(cred unsafe.Pointer, name, principal []byte) krb5Result {
	return goKrb5(C.gssgo_krb5_copy_ccache(cred, inText(name), inText(principal)))
}

func krb5DestroyCCache(name []byte) krb5Result {
	return goKrb5(C.gssgo_krb5_destroy_ccache(inText(name)))
}

func krb5ImportCred(ccache, principal, keytab []byte) krb5Result {
	return goKrb5(C.gssgo_krb5_import_cred(inText(ccache), inText(principal), inText(keytab)))
}

func krb5SetAllowableEnctypes(cred unsafe.Pointer, types []int32) krb5Result {
	return goKrb5(C.gssgo_krb5_set_allowable_enctypes(cred, (*C.int32_t)(unsafe.SliceData(types)), C.OM_uint32(len(types))))
}

func krb5SetCredRCache(cred unsafe.Pointer, name []byte) krb5Result {
	return goKrb5(C.gssgo_krb5_set_cred_rcache(cred, inText(name)))
}

func registerAcceptorIdentity(keytab []byte) status {
	r := C.gssgo_register_acceptor_identity(inText(keytab))
	return status{uint32(r.major), uint32(r.minor)}
}
