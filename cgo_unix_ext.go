//go:build cgo && unix

package gss

/*
#include "shim.h"

// The calls that are made for each message.
#cgo noescape gssgo_message_iov
#cgo nocallback gssgo_message_iov
#cgo noescape gssgo_wrap_aead
#cgo nocallback gssgo_wrap_aead
#cgo noescape gssgo_unwrap_aead
#cgo nocallback gssgo_unwrap_aead
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

// crossIOV makes one of the calls; iov has at most maxIOV parts of known types.
func crossIOV(call C.gssgo_iov_call, ctx unsafe.Pointer, conf bool, qop uint32, iov []IOVBuffer) iovResult {
	var (
		p     [maxIOV]*C.uchar
		n     [maxIOV]C.size_t
		types C.uint64_t
	)
	for i := range iov {
		p[i], n[i] = in(iov[i].Data)
		types |= C.uint64_t(iov[i].Type) << (4 * i)
	}
	c := C.gssgo_message_iov(call, ctx, cbool(conf), C.OM_uint32(qop), C.int(len(iov)), types,
		p[0], n[0], p[1], n[1], p[2], n[2], p[3], n[3], p[4], n[4], p[5], n[5], p[6], n[6], p[7], n[7])
	r := iovResult{status: status{uint32(c.major), uint32(c.minor)}, conf: c.conf != 0, qop: uint32(c.qop), odd: c.odd != 0}
	for i := range iov {
		r.n[i] = int(c.len[i])
	}
	return r
}

func wrapIOV(ctx unsafe.Pointer, conf bool, qop uint32, iov []IOVBuffer) iovResult {
	return crossIOV(C.GSSGO_WRAP_IOV, ctx, conf, qop, iov)
}

func wrapIOVLength(ctx unsafe.Pointer, conf bool, qop uint32, iov []IOVBuffer) iovResult {
	return crossIOV(C.GSSGO_WRAP_IOV_LENGTH, ctx, conf, qop, iov)
}

func unwrapIOV(ctx unsafe.Pointer, iov []IOVBuffer) iovResult {
	return crossIOV(C.GSSGO_UNWRAP_IOV, ctx, false, 0, iov)
}

func getMICIOV(ctx unsafe.Pointer, qop uint32, iov []IOVBuffer) iovResult {
	return crossIOV(C.GSSGO_GET_MIC_IOV, ctx, false, qop, iov)
}

func getMICIOVLength(ctx unsafe.Pointer, qop uint32, iov []IOVBuffer) iovResult {
	return crossIOV(C.GSSGO_GET_MIC_IOV_LENGTH, ctx, false, qop, iov)
}

func verifyMICIOV(ctx unsafe.Pointer, iov []IOVBuffer) iovResult {
	return crossIOV(C.GSSGO_VERIFY_MIC_IOV, ctx, false, 0, iov)
}

func wrapAEAD(ctx unsafe.Pointer, conf bool, qop uint32, associated, msg, room []byte) msgResult {
	a, k := in(associated)
	m, n := in(msg)
	d, c := in(room)
	return goMsg(C.gssgo_wrap_aead(ctx, cbool(conf), C.OM_uint32(qop), a, k, m, n, d, c))
}

func unwrapAEAD(ctx unsafe.Pointer, token, associated, room []byte) msgResult {
	t, n := in(token)
	a, k := in(associated)
	d, c := in(room)
	return goMsg(C.gssgo_unwrap_aead(ctx, t, n, a, k, d, c))
}

func completeAuthToken(ctx unsafe.Pointer, token []byte) status {
	t, n := in(token)
	r := C.gssgo_complete_auth_token(ctx, t, n)
	return status{uint32(r.major), uint32(r.minor)}
}

// ---- Kerberos' own ----
