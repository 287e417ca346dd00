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

func acquireCredFrom(name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32, store []byte, pairs int) credResult {
	return goCred(C.gssgo_acquire_cred_from(name, C.OM_uint32(lifetime), mechs, C.int(usage), (*C.char)(unsafe.Pointer(unsafe.SliceData(store))), C.OM_uint32(pairs)))
}

func acquireCredWithPassword(name unsafe.Pointer, password []byte, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	p, n := in(password)
	return goCred(C.gssgo_acquire_cred_with_password(name, p, n, C.OM_uint32(lifetime), mechs, C.int(usage)))
}

// ---- contexts: by object identifier, RFC 4401 ----

// ---- messages in parts ----

// ---- Kerberos' own ----
