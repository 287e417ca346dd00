//go:build cgo && unix

package gss

/*
#include "shim.h"
*/
import "C"

import "unsafe"

// Calls beyond RFC 2744. A library that lacks one answers GSS_S_UNAVAILABLE
// from shim.h.

func acquireCredFrom(name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32, store []byte, pairs int) credResult {
	return goCred(C.gssgo_acquire_cred_from(name, C.OM_uint32(lifetime), mechs, C.int(usage), (*C.char)(unsafe.Pointer(unsafe.SliceData(store))), C.OM_uint32(pairs)))
}

func acquireCredWithPassword(name unsafe.Pointer, password []byte, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	p, n := in(password)
	return goCred(C.gssgo_acquire_cred_with_password(name, p, n, C.OM_uint32(lifetime), mechs, C.int(usage)))
}
