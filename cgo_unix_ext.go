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

func goTexts(r C.gssgo_texts) textsResult {
	t := textsResult{status: status{uint32(r.major), uint32(r.minor)}}
	for i := range t.texts {
		t.texts[i] = libBuffer{r.p[i], uintptr(r.n[i])}
	}
	return t
}

func indicateMechsByAttrs(desired, except, critical unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_indicate_mechs_by_attrs(desired, except, critical)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func inquireAttrsForMech(mech unsafe.Pointer) (s status, attrs, known unsafe.Pointer) {
	r := C.gssgo_inquire_attrs_for_mech(mech)
	return status{uint32(r.major), uint32(r.minor)}, r.first, r.second
}

func displayMechAttr(attr unsafe.Pointer) textsResult {
	return goTexts(C.gssgo_display_mech_attr(attr))
}

func inquireSASLNameForMech(mech unsafe.Pointer) textsResult {
	return goTexts(C.gssgo_inquire_saslname_for_mech(mech))
}

func inquireMechForSASLName(name []byte) (status, OID) {
	p, n := in(name)
	r := C.gssgo_inquire_mech_for_saslname(p, n)
	return status{uint32(r.major), uint32(r.minor)}, goOID(r.p, r.n)
}

func encapsulateToken(mech unsafe.Pointer, token []byte) (status, libBuffer) {
	p, n := in(token)
	r := C.gssgo_encapsulate_token(mech, p, n)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func decapsulateToken(mech unsafe.Pointer, token []byte) (status, libBuffer) {
	p, n := in(token)
	r := C.gssgo_decapsulate_token(mech, p, n)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func strToOID(s []byte) (st status, oid OID, handle unsafe.Pointer) {
	p, n := in(s)
	r := C.gssgo_str_to_oid(p, n)
	return status{uint32(r.major), uint32(r.minor)}, goOID(r.p, r.n), r.handle
}

func releaseOID(handle unsafe.Pointer) status {
	r := C.gssgo_release_oid(handle)
	return status{uint32(r.major), uint32(r.minor)}
}

func oidToStr(oid unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_oid_to_str(oid)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func oidToName(oid unsafe.Pointer) (status, string) {
	r := C.gssgo_oid_to_name(oid)
	return status{uint32(r.major), uint32(r.minor)}, string(unsafe.Slice((*byte)(r.p), int(r.n)))
}

// name ends with a NUL byte.
func nameToOID(name []byte) (status, OID) {
	r := C.gssgo_name_to_oid((*C.char)(unsafe.Pointer(unsafe.SliceData(name))))
	return status{uint32(r.major), uint32(r.minor)}, goOID(r.p, r.n)
}

// There is a NUL byte behind value, or it is empty.
func mechInvoke(mech, object unsafe.Pointer, value []byte) status {
	p, n := in(value)
	r := C.gssgo_mech_invoke(mech, object, p, n)
	return status{uint32(r.major), uint32(r.minor)}
}

func moSet(mech, option unsafe.Pointer, enable bool, value []byte) status {
	p, n := in(value)
	r := C.gssgo_mo_set(mech, option, cbool(enable), p, n)
	return status{uint32(r.major), uint32(r.minor)}
}

func moGet(mech, option unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_mo_get(mech, option)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func moList(mech unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_mo_list(mech)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

func moName(mech, option unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_mo_name(mech, option)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

// ---- names: RFC 6680 and local names ----

func displayNameExt(name, typ unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_display_name_ext(name, typ)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func inquireName(name unsafe.Pointer) nameInfoResult {
	r := C.gssgo_inquire_name(name)
	return nameInfoResult{status{uint32(r.major), uint32(r.minor)}, r.mn != 0, goOID(r.mech, r.mechlen), r.handle, r.attrs}
}

// There is a NUL byte behind attr, here and below.
func getNameAttribute(name unsafe.Pointer, attr []byte, more int32) attributeResult {
	p, n := in(attr)
	r := C.gssgo_get_name_attribute(name, p, n, C.int(more))
	return attributeResult{status{uint32(r.major), uint32(r.minor)}, r.authenticated != 0, r.complete != 0, int32(r.more),
		libBuffer{r.value, uintptr(r.valuelen)}, libBuffer{r.display, uintptr(r.displaylen)}}
}

func setNameAttribute(name unsafe.Pointer, complete bool, attr, value []byte) status {
	p, n := in(attr)
	v, k := in(value)
	r := C.gssgo_set_name_attribute(name, cbool(complete), p, n, v, k)
	return status{uint32(r.major), uint32(r.minor)}
}

func deleteNameAttribute(name unsafe.Pointer, attr []byte) status {
	p, n := in(attr)
	r := C.gssgo_delete_name_attribute(name, p, n)
	return status{uint32(r.major), uint32(r.minor)}
}

func exportNameComposite(name unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_export_name_composite(name)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

func localname(name, mech unsafe.Pointer) (status, libBuffer) {
	r := C.gssgo_localname(name, mech)
	return status{uint32(r.major), uint32(r.minor)}, libBuffer{r.buf, uintptr(r.len)}
}

// user ends with a NUL byte.
func userok(name unsafe.Pointer, user []byte) (status, bool) {
	r := C.gssgo_userok(name, (*C.char)(unsafe.Pointer(unsafe.SliceData(user))))
	return status{uint32(r.major), uint32(r.minor)}, r.value != 0
}

func authorizeLocalname(name, user unsafe.Pointer) status {
	r := C.gssgo_authorize_localname(name, user)
	return status{uint32(r.major), uint32(r.minor)}
}

func pnameToUID(name, mech unsafe.Pointer) (status, uint32) {
	r := C.gssgo_pname_to_uid(name, mech)
	return status{uint32(r.major), uint32(r.minor)}, uint32(r.value)
}

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

// storeCredInto2 returns a set of buffers too, to be released.
func storeCredInto2(cred unsafe.Pointer, usage int32, mech unsafe.Pointer, flags uint32, store []byte, pairs int) (r credResult, env unsafe.Pointer) {
	c := C.gssgo_store_cred_into2(cred, C.int(usage), mech, C.OM_uint32(flags), inText(store), C.OM_uint32(pairs))
	return goCred(c.cred), c.env
}

func duplicateCred(cred unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_duplicate_cred(cred)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
}

// destroyCred returns what is left of the credential.
func destroyCred(cred unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_destroy_cred(cred)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
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

func getNegMechs(cred unsafe.Pointer) (status, unsafe.Pointer) {
	r := C.gssgo_get_neg_mechs(cred)
	return status{uint32(r.major), uint32(r.minor)}, r.handle
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

// ---- Kerberos' own ----

// (of credentials)

func goKrb5(r C.gssgo_krb5_result) krb5Result {
	missing := ""
	if r.missing != nil {
		missing = C.GoString(r.missing)
	}
	return krb5Result{status{uint32(r.major), uint32(r.minor)}, r.handle, missing, goString(r.text)}
}

func krb5Explain(minor uint32) krb5Result {
	return goKrb5(C.gssgo_krb5_explain(C.OM_uint32(minor)))
}

func krb5CCacheName(name []byte) status {
	r := C.gssgo_krb5_ccache_name(inText(name))
	return status{uint32(r.major), uint32(r.minor)}
}

func krb5CopyCCache(cred unsafe.Pointer, name, principal []byte) krb5Result {
	return goKrb5(C.gssgo_krb5_copy_ccache(cred, inText(name), inText(principal)))
}

func krb5DIRFile(name []byte) krb5Result { return goKrb5(C.gssgo_krb5_dir_file(inText(name))) }

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

// (of contexts and the library)

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

func krb5ServiceKey(ctx unsafe.Pointer) (status, Key) {
	return crossKey(C.GSSGO_KEY_SERVICE, ctx)
}

func krb5InitiatorSubkey(ctx unsafe.Pointer) (status, Key) {
	return crossKey(C.GSSGO_KEY_INITIATOR, ctx)
}

func krb5Subkey(ctx unsafe.Pointer) (status, Key) {
	return crossKey(C.GSSGO_KEY_TOKEN, ctx)
}

// crossKey returns a copy of a key that the library released.
func crossKey(which C.gssgo_which_key, ctx unsafe.Pointer) (status, Key) {
	r := C.gssgo_krb5_key(ctx, which)
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

// setLogFunction has the library log to a copy of fd; -1 is nowhere. The minor
// status is an errno.
func setLogFunction(fd int) status {
	r := C.gssgo_set_log_function(C.int(fd))
	return status{uint32(r.major), uint32(r.minor)}
}
