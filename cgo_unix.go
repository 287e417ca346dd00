//go:build cgo && unix

package gss

/*
#cgo linux LDFLAGS: -ldl
#include "shim.h"

// What may not call back into Go and keeps no pointer; the calls that are made
// for each message.
#cgo noescape gssgo_wrap
#cgo nocallback gssgo_wrap
#cgo noescape gssgo_unwrap
#cgo nocallback gssgo_unwrap
#cgo noescape gssgo_get_mic
#cgo nocallback gssgo_get_mic
#cgo noescape gssgo_verify_mic
#cgo nocallback gssgo_verify_mic
*/
import "C"

import (
	"errors"
	"strings"
	"unsafe"
)

// ---- bytes ----

// in is how bytes go to C: a typed pointer and a length. The pointer check of
// cgo then has nothing to look at, even if b is part of a struct that holds Go
// pointers.
func in(b []byte) (*C.uchar, C.size_t) {
	return (*C.uchar)(unsafe.SliceData(b)), C.size_t(len(b))
}

func cbool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// goOID copies an OID that belongs to the library.
func goOID(p unsafe.Pointer, n C.size_t) OID {
	if p == nil || n == 0 || n > maxOID {
		return ""
	}
	return OID(unsafe.Slice((*byte)(p), int(n)))
}

// goString takes a string that shim.c allocated.
func goString(s *C.char) string {
	if s == nil {
		return ""
	}
	defer C.free(unsafe.Pointer(s))
	return C.GoString(s)
}

// allocate returns n bytes of C's memory. It does not fail: C.malloc ends the
// process instead.
func allocate(n int) []byte {
	return unsafe.Slice((*byte)(C.malloc(C.size_t(n))), n)
}

// deallocate overwrites what allocate returned, and frees it.
func deallocate(b []byte) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	C.gssgo_wipe(p, C.size_t(len(b)))
	C.free(p)
}

// ---- the loader ----

// openTable opens file and binds the table; it returns the file that it is.
func openTable(file string, noload bool) (path string, err error) {
	f := C.CString(file)
	defer C.free(unsafe.Pointer(f))
	r := C.gssgo_open(f, cbool(noload))
	if r.ok == 0 {
		return "", errors.New(goString(r.err))
	}
	libraryBase = r.base
	return goString(r.path), nil
}

// libraryBase is where the open library is mapped; guarded by loadMu.
var libraryBase unsafe.Pointer

func fileOf(addr unsafe.Pointer) string { return goString(C.gssgo_file_of(addr)) }

func globalWrap() unsafe.Pointer { return C.gssgo_global() }

func loadedAs(soname string) string {
	s := C.CString(soname)
	defer C.free(unsafe.Pointer(s))
	return goString(C.gssgo_loaded_as(s))
}

func secure() bool { return C.gssgo_secure() != 0 }

func unfit() error {
	if why := C.gssgo_unfit(); why != nil {
		return errors.New(C.GoString(why))
	}
	return nil
}

func symbol(name string) unsafe.Pointer {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	return C.gssgo_symbol(s)
}

func hasSymbol(name string) bool { return symbol(name) != nil }

// bound reports whether the table has a function of that name and the library
// too.
func bound(function string) bool {
	s := C.CString(function)
	defer C.free(unsafe.Pointer(s))
	return C.gssgo_bound(s) == 1
}

// libraryVersion is what the library says of itself: GNU gss by a function,
// Heimdal by a variable of its libkrb5, MIT not at all.
func libraryVersion() string {
	if bound("gss_check_version") {
		return C.GoString(C.gssgo_check_version())
	}
	if p := (**C.char)(symbol("heimdal_version")); p != nil && *p != nil {
		return C.GoString(*p)
	}
	return ""
}

func buildID() []byte {
	id := make([]byte, 64)
	n := C.gssgo_build_id(libraryBase, (*C.uchar)(unsafe.SliceData(id)), C.size_t(len(id)))
	return id[:n]
}

// librariesInProcess are the files in this process that are a GSS-API library;
// false if that cannot be told.
func librariesInProcess() ([]string, bool) {
	s := C.gssgo_libraries()
	if s == nil {
		return nil, false
	}
	return strings.FieldsFunc(goString(s), func(r rune) bool { return r == '\n' }), true
}

// ---- OIDs, buffers, statuses ----

func internOID(o OID) unsafe.Pointer {
	return C.gssgo_oid_intern((*C.uchar)(unsafe.StringData(string(o))), C.size_t(len(o)))
}

func createEmptyOIDSet() (status, unsafe.Pointer) {
	r := C.gssgo_create_empty_oid_set()
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func addOIDSetMember(oid, set unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_add_oid_set_member(oid, set)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func testOIDSetMember(oid, set unsafe.Pointer) (status, bool) {
	r := C.gssgo_test_oid_set_member(oid, set)
	return status{uint32(r.major), uint32(r.minor)}, r.value != 0
}

func releaseOIDSet(set unsafe.Pointer) status {
	r := C.gssgo_release_oid_set(set)
	return status{uint32(r.major), uint32(r.minor)}
}

func oidSetCount(set unsafe.Pointer) int { return int(C.gssgo_oid_set_count(set)) }

func oidSetAt(set unsafe.Pointer, i int) OID {
	r := C.gssgo_oid_set_at(set, C.size_t(i))
	return goOID(r.p, r.n)
}

func indicateMechs() (status, unsafe.Pointer) {
	r := C.gssgo_indicate_mechs()
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func inquireNamesForMech(mech unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_inquire_names_for_mech(mech)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func inquireMechsForName(name unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_inquire_mechs_for_name(name)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func releaseBuffer(b libBuffer, wipe bool) status {
	r := C.gssgo_release_buffer(b.p, C.size_t(b.n), cbool(wipe))
	return status{uint32(r.major), uint32(r.minor)}
}

func displayStatus(code uint32, kind int, mech unsafe.Pointer, context *uint32) (status, libBuffer) {
	c := C.OM_uint32(*context)
	r := C.gssgo_display_status(C.OM_uint32(code), C.int(kind), mech, &c)
	*context = uint32(c)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

// ---- names ----

func importName(name []byte, typ unsafe.Pointer) (status, unsafe.Pointer) {
	p, n := in(name)
	r := C.gssgo_import_name(p, n, typ)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func displayName(name unsafe.Pointer) (status, libBuffer, OID) {
	r := C.gssgo_display_name(name)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}, goOID(r.oid, r.oidlen)
}

func compareName(a, b unsafe.Pointer) (status, bool) {
	r := C.gssgo_compare_name(a, b)
	return status{uint32(r.major), uint32(r.minor)}, r.value != 0
}

func duplicateName(name unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_duplicate_name(name)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func canonicalizeName(name, mech unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_canonicalize_name(name, mech)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func exportName(name unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_export_name(name)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func releaseName(name unsafe.Pointer) status {
	r := C.gssgo_release_name(name)
	return status{uint32(r.major), uint32(r.minor)}
}

// ---- credentials ----

func goCred(r C.gssgo_cred) credResult {
	return credResult{status{uint32(r.major), uint32(r.minor)}, r.cred, r.name, r.mechs, uint32(r.lifetime), uint32(r.acceptor_lifetime), int32(r.usage)}
}

func acquireCred(name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	return goCred(C.gssgo_acquire_cred(name, C.OM_uint32(lifetime), mechs, C.int(usage)))
}

func addCred(cred, name, mech unsafe.Pointer, usage int32, initiator, acceptor uint32) credResult {
	return goCred(C.gssgo_add_cred(cred, name, mech, C.int(usage), C.OM_uint32(initiator), C.OM_uint32(acceptor)))
}

func inquireCred(cred unsafe.Pointer, name bool) credResult {
	return goCred(C.gssgo_inquire_cred(cred, cbool(name)))
}

func inquireCredByMech(cred, mech unsafe.Pointer, name bool) credResult {
	return goCred(C.gssgo_inquire_cred_by_mech(cred, mech, cbool(name)))
}

func releaseCred(cred unsafe.Pointer) status {
	r := C.gssgo_release_cred(cred)
	return status{uint32(r.major), uint32(r.minor)}
}

// ---- contexts ----

func goStep(r C.gssgo_step) stepResult {
	return stepResult{status{uint32(r.major), uint32(r.minor)}, r.ctx, libBuffer{r.buf, uintptr(r.len)}, r.source, r.delegated, goOID(r.mech, r.mechlen), uint32(r.flags), uint32(r.lifetime)}
}

func initSecContext(ctx, cred, target, mech unsafe.Pointer, flags, lifetime uint32, cb bindings, token []byte) stepResult {
	b, _ := in(cb.block)
	t, n := in(token)
	return goStep(C.gssgo_init_sec_context(ctx, cred, target, mech, C.OM_uint32(flags), C.OM_uint32(lifetime),
		cbool(cb.have), C.OM_uint32(cb.itype), C.OM_uint32(cb.atype), b, C.size_t(cb.ilen), C.size_t(cb.alen), C.size_t(cb.datalen),
		cbool(ctx == nil && n == 0), t, n))
}

func acceptSecContext(ctx, cred unsafe.Pointer, cb bindings, token []byte) stepResult {
	b, _ := in(cb.block)
	t, n := in(token)
	return goStep(C.gssgo_accept_sec_context(ctx, cred,
		cbool(cb.have), C.OM_uint32(cb.itype), C.OM_uint32(cb.atype), b, C.size_t(cb.ilen), C.size_t(cb.alen), C.size_t(cb.datalen),
		t, n))
}

func processContextToken(ctx unsafe.Pointer, token []byte) status {
	t, n := in(token)
	r := C.gssgo_process_context_token(ctx, t, n)
	return status{uint32(r.major), uint32(r.minor)}
}

func deleteSecContext(ctx unsafe.Pointer) status {
	r := C.gssgo_delete_sec_context(ctx)
	return status{uint32(r.major), uint32(r.minor)}
}

func contextTime(ctx unsafe.Pointer) (status, uint32) {
	r := C.gssgo_context_time(ctx)
	return status{uint32(r.major), uint32(r.minor)}, uint32(r.value)
}

func inquireContext(ctx unsafe.Pointer) ctxInfoResult {
	r := C.gssgo_inquire_context(ctx)
	return ctxInfoResult{status{uint32(r.major), uint32(r.minor)}, r.source, r.target, goOID(r.mech, r.mechlen), uint32(r.flags), uint32(r.lifetime), r.local != 0, r.open != 0}
}

func exportSecContext(ctx unsafe.Pointer) (s status, left unsafe.Pointer, token libBuffer) {
	r := C.gssgo_export_sec_context(ctx)
	return status{uint32(r.major), uint32(r.minor)}, r.handle, libBuffer{r.buf, uintptr(r.len)}
}

func importSecContext(token []byte) (status, unsafe.Pointer) {
	t, n := in(token)
	r := C.gssgo_import_sec_context(t, n)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

// ---- messages ----

func goMsg(r C.gssgo_msg) msgResult {
	return msgResult{status{uint32(r.major), uint32(r.minor)}, r.conf != 0, uint32(r.qop), uintptr(r.len), libBuffer{r.buf, uintptr(r.len)}}
}

func wrap(ctx unsafe.Pointer, conf bool, qop uint32, msg, room []byte) msgResult {
	m, n := in(msg)
	d, c := in(room)
	return goMsg(C.gssgo_wrap(ctx, cbool(conf), C.OM_uint32(qop), m, n, d, c))
}

func unwrap(ctx unsafe.Pointer, token, room []byte) msgResult {
	t, n := in(token)
	d, c := in(room)
	return goMsg(C.gssgo_unwrap(ctx, t, n, d, c))
}

func getMIC(ctx unsafe.Pointer, qop uint32, msg, room []byte) msgResult {
	m, n := in(msg)
	d, c := in(room)
	return goMsg(C.gssgo_get_mic(ctx, C.OM_uint32(qop), m, n, d, c))
}

func verifyMIC(ctx unsafe.Pointer, msg, mic []byte) (status, uint32) {
	m, n := in(msg)
	t, k := in(mic)
	r := C.gssgo_verify_mic(ctx, m, n, t, k)
	return status{uint32(r.major), uint32(r.minor)}, uint32(r.value)
}

func wrapSizeLimit(ctx unsafe.Pointer, conf bool, qop, size uint32) (status, uint32) {
	r := C.gssgo_wrap_size_limit(ctx, cbool(conf), C.OM_uint32(qop), C.OM_uint32(size))
	return status{uint32(r.major), uint32(r.minor)}, uint32(r.value)
}
