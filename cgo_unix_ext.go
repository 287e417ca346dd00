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

func inquireSecContextByOID(ctx, object unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_inquire_sec_context_by_oid(ctx, object)
	return status{uint32(r.major), uint32(r.minor)}, r.set
}

// probeContext returns how many buffers the answer has.
func probeContext(ctx, object unsafe.Pointer) (status, int) {
	r := C.gssgo_probe_context(ctx, object)
	return status{uint32(r.major), uint32(r.minor)}, int(r.count)
}

func setSecContextOption(ctx, option unsafe.Pointer, value []byte) (s status, left unsafe.Pointer) {
	v, n := in(value)
	r := C.gssgo_set_sec_context_option(ctx, option, v, n)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func streamSizes(ctx, attribute unsafe.Pointer) (status, StreamSizes) {
	r := C.gssgo_stream_sizes(ctx, attribute)
	z := r.sizes
	return status{uint32(r.major), uint32(r.minor)}, StreamSizes{uint64(z.header), uint64(z.trailer), uint64(z.max_msg_size), uint64(z.buffers), uint64(z.blocksize)}
}

func completeAuthToken(ctx unsafe.Pointer, msg []byte) status {
	m, n := in(msg)
	r := C.gssgo_complete_auth_token(ctx, m, n)
	return status{uint32(r.major), uint32(r.minor)}
}

func pseudoRandom(ctx unsafe.Pointer, key int, seed []byte, want int) (status, libBuffer) {
	p, n := in(seed)
	r := C.gssgo_pseudo_random(ctx, C.int(key), p, n, C.size_t(want))
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

// ---- messages in parts ----

// ---- Kerberos' own ----

// ---- Kerberos' own: contexts and the library ----

func krb5TicketFlags(ctx unsafe.Pointer) (status, uint32) {
	r := C.gssgo_krb5_get_tkt_flags(ctx)
	return status{uint32(r.major), uint32(r.minor)}, uint32(r.value)
}

// krb5AuthTime returns the room that the library wrote the time to, and how many
// bytes of it count.
func krb5AuthTime(ctx unsafe.Pointer) (s status, room [16]byte, width int) {
	r := C.gssgo_krb5_authtime(ctx)
	return status{uint32(r.major), uint32(r.minor)}, r.room, int(r.width)
}

func krb5AuthzData(ctx unsafe.Pointer, typ int32) (status, libBuffer) {
	r := C.gssgo_krb5_authz_data(ctx, C.int(typ))
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

// krb5PAC returns a PAC, and whether it was verified.
func krb5PAC(ctx unsafe.Pointer) (status, libBuffer, bool) {
	r := C.gssgo_krb5_pac(ctx)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}, r.conf != 0
}

// Which key: see gssgo_krb5_key.
const (
	keyOfService   = C.GSSGO_KEY_SERVICE
	keyOfInitiator = C.GSSGO_KEY_INITIATOR
	keyOfTokens    = C.GSSGO_KEY_TOKEN
)

// krb5Key returns a copy of a key that the library released.
func krb5Key(ctx unsafe.Pointer, which int) (status, Key) {
	r := C.gssgo_krb5_key(ctx, C.int(which))
	defer C.gssgo_krb5_free_keyblock(r.key)
	value, _ := libBuffer{unsafe.Pointer(r.value.p), uintptr(r.value.n)}.appendTo(nil)
	return status{uint32(r.major), uint32(r.minor)}, Key{int32(r._type), value}
}

// krb5ExportLucid may delete the context: left is what is left of it.
func krb5ExportLucid(ctx unsafe.Pointer) (s status, left unsafe.Pointer, l *LucidContext) {
	r := C.gssgo_krb5_export_lucid(ctx)
	return status{uint32(r.major), uint32(r.minor)}, r.handle, goLucid(r)
}

func krb5InquireLucid(ctx, object unsafe.Pointer) (status, *LucidContext) {
	r := C.gssgo_krb5_inquire_lucid(ctx, object)
	return status{uint32(r.major), uint32(r.minor)}, goLucid(r)
}

// goLucid copies what C gave, and releases it; nil for none.
func goLucid(r C.gssgo_lucid) *LucidContext {
	c := r.lucid
	if c == nil {
		return nil
	}
	defer C.gssgo_krb5_free_lucid(c)
	if c.version != 1 {
		return nil
	}
	l := &LucidContext{Initiate: c.initiate != 0, EndTime: uint32(c.endtime), SendSeq: uint64(c.send_seq), RecvSeq: uint64(c.recv_seq), Protocol: uint32(c.protocol)}
	if l.Protocol == 0 {
		l.SignAlg, l.SealAlg = uint32(c.rfc1964_kd.sign_alg), uint32(c.rfc1964_kd.seal_alg)
		l.Key = goLucidKey(c.rfc1964_kd.ctx_key)
		return l
	}
	l.Key = goLucidKey(c.cfx_kd.ctx_key)
	if c.cfx_kd.have_acceptor_subkey != 0 {
		k := goLucidKey(c.cfx_kd.acceptor_subkey)
		l.AcceptorSubkey = &k
	}
	return l
}

func goLucidKey(k C.gss_krb5_lucid_key_t) Key {
	value, _ := libBuffer{k.data, uintptr(k.length)}.appendTo(nil)
	return Key{int32(k._type), value}
}

func krb5TimeOffset() (status, int32) {
	r := C.gssgo_krb5_get_time_offset()
	return status{uint32(r.major), uint32(r.minor)}, int32(r.value)
}

func krb5SetTimeOffset(seconds int32) status {
	r := C.gssgo_krb5_set_time_offset(C.int(seconds))
	return status{uint32(r.major), uint32(r.minor)}
}

func krb5SetDefaultRealm(realm string) status {
	s := C.CString(realm)
	defer C.free(unsafe.Pointer(s))
	r := C.gssgo_krb5_set_default_realm(s)
	return status{uint32(r.major), uint32(r.minor)}
}

func krb5SetDNSCanonicalize(on bool) status {
	r := C.gssgo_krb5_set_dns_canonicalize(cbool(on))
	return status{uint32(r.major), uint32(r.minor)}
}
