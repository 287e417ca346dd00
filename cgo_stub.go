//go:build !cgo || !unix

package gss

import (
	"errors"
	"unsafe"
)

// Without cgo, and on systems that are not Unix, programs compile: no library is
// ever open, and every call answers ErrUnavailable. What is below the first few
// functions is not reached then: it takes a handle to get there.

var searchList []candidate

var errStub = errors.New("this program was built without cgo (CGO_ENABLED=0), or for a system that this package has no C binding for: build it with CGO_ENABLED=1 on a Unix system, where a C compiler is needed and no -dev package")

func unfit() error { return errStub }

func allocate(n int) []byte { return make([]byte, n) }

func deallocate(b []byte) { clear(b) }

func openTable(file string, noload bool) (path string, err error) { return "", errStub }

func fileOf(addr unsafe.Pointer) string { return "" }

func globalWrap() unsafe.Pointer { return nil }

func loadedAs(soname string) string { return "" }

func secure() bool { return false }

func symbol(name string) unsafe.Pointer { return nil }

func hasSymbol(name string) bool { return false }

func bound(function string) bool { return false }

func libraryVersion() string { return "" }

func buildID() []byte { return nil }

func librariesInProcess() ([]string, bool) { return nil, false }

func internOID(o OID) unsafe.Pointer { return nil }

func createEmptyOIDSet() (status, unsafe.Pointer) { return status{uint32(ErrUnavailable), 0}, nil }

func addOIDSetMember(oid, set unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func testOIDSetMember(oid, set unsafe.Pointer) (status, bool) {
	return status{uint32(ErrUnavailable), 0}, false
}

func releaseOIDSet(set unsafe.Pointer) status { return status{uint32(ErrUnavailable), 0} }

func oidSetCount(set unsafe.Pointer) int { return 0 }

func oidSetAt(set unsafe.Pointer, i int) OID { return "" }

func indicateMechs() (status, unsafe.Pointer) { return status{uint32(ErrUnavailable), 0}, nil }

func inquireNamesForMech(mech unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func inquireMechsForName(name unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func releaseBuffer(b libBuffer, wipe bool) status { return status{uint32(ErrUnavailable), 0} }

func displayStatus(code uint32, kind int, mech unsafe.Pointer, context *uint32) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func importName(name []byte, typ unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func displayName(name unsafe.Pointer) (status, libBuffer, OID) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}, ""
}

func compareName(a, b unsafe.Pointer) (status, bool) { return status{uint32(ErrUnavailable), 0}, false }

func duplicateName(name unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func canonicalizeName(name, mech unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func exportName(name unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func releaseName(name unsafe.Pointer) status { return status{uint32(ErrUnavailable), 0} }

func acquireCred(name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func addCred(cred, name, mech unsafe.Pointer, usage int32, initiator, acceptor uint32) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func inquireCred(cred unsafe.Pointer, name bool) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func inquireCredByMech(cred, mech unsafe.Pointer, name bool) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func releaseCred(cred unsafe.Pointer) status { return status{uint32(ErrUnavailable), 0} }

func initSecContext(ctx, cred, target, mech unsafe.Pointer, flags, lifetime uint32, cb bindings, token []byte) stepResult {
	return stepResult{status: status{uint32(ErrUnavailable), 0}}
}

func acceptSecContext(ctx, cred unsafe.Pointer, cb bindings, token []byte) stepResult {
	return stepResult{status: status{uint32(ErrUnavailable), 0}}
}

func processContextToken(ctx unsafe.Pointer, token []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

func deleteSecContext(ctx unsafe.Pointer) status { return status{uint32(ErrUnavailable), 0} }

func contextTime(ctx unsafe.Pointer) (status, uint32) { return status{uint32(ErrUnavailable), 0}, 0 }

func inquireContext(ctx unsafe.Pointer) ctxInfoResult {
	return ctxInfoResult{status: status{uint32(ErrUnavailable), 0}}
}

func exportSecContext(ctx unsafe.Pointer) (s status, left unsafe.Pointer, token libBuffer) {
	return status{uint32(ErrUnavailable), 0}, nil, libBuffer{}
}

func importSecContext(token []byte) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func wrap(ctx unsafe.Pointer, conf bool, qop uint32, msg, room []byte) msgResult {
	return msgResult{status: status{uint32(ErrUnavailable), 0}}
}

func unwrap(ctx unsafe.Pointer, token, room []byte) msgResult {
	return msgResult{status: status{uint32(ErrUnavailable), 0}}
}

func getMIC(ctx unsafe.Pointer, qop uint32, msg, room []byte) msgResult {
	return msgResult{status: status{uint32(ErrUnavailable), 0}}
}

func verifyMIC(ctx unsafe.Pointer, msg, mic []byte) (status, uint32) {
	return status{uint32(ErrUnavailable), 0}, 0
}

func wrapSizeLimit(ctx unsafe.Pointer, conf bool, qop, size uint32) (status, uint32) {
	return status{uint32(ErrUnavailable), 0}, 0
}

// ---- sets of buffers ----

func releaseBufferSet(set unsafe.Pointer, wipe bool) status {
	return status{uint32(ErrUnavailable), 0}
}

func bufferSetCount(set unsafe.Pointer) int { return 0 }

func bufferSetAt(set unsafe.Pointer, i int) libBuffer { return libBuffer{} }

// ---- mechanisms and object identifiers: RFC 5587, RFC 5801, RFC 2743 3.1 ----

func indicateMechsByAttrs(desired, except, critical unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func inquireAttrsForMech(mech unsafe.Pointer) (s status, attrs, known unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil, nil
}

func displayMechAttr(attr unsafe.Pointer) textsResult {
	return textsResult{status: status{uint32(ErrUnavailable), 0}}
}

func inquireSASLNameForMech(mech unsafe.Pointer) textsResult {
	return textsResult{status: status{uint32(ErrUnavailable), 0}}
}

func inquireMechForSASLName(name []byte) (status, OID) {
	return status{uint32(ErrUnavailable), 0}, ""
}

func encapsulateToken(mech unsafe.Pointer, token []byte) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func decapsulateToken(mech unsafe.Pointer, token []byte) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func strToOID(s []byte) (st status, oid OID, handle unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, "", nil
}

func releaseOID(handle unsafe.Pointer) status {
	return status{uint32(ErrUnavailable), 0}
}

func oidToStr(oid unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func oidToName(oid unsafe.Pointer) (status, string) {
	return status{uint32(ErrUnavailable), 0}, ""
}

func nameToOID(name []byte) (status, OID) {
	return status{uint32(ErrUnavailable), 0}, ""
}

func mechInvoke(mech, object unsafe.Pointer, value []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

func moSet(mech, option unsafe.Pointer, enable bool, value []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

func moGet(mech, option unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func moList(mech unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func moName(mech, option unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

// ---- names: RFC 6680 and local names ----

func displayNameExt(name, typ unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func inquireName(name unsafe.Pointer) nameInfoResult {
	return nameInfoResult{status: status{uint32(ErrUnavailable), 0}}
}

func getNameAttribute(name unsafe.Pointer, attr []byte, more int32) attributeResult {
	return attributeResult{status: status{uint32(ErrUnavailable), 0}}
}

func setNameAttribute(name unsafe.Pointer, complete bool, attr, value []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

func deleteNameAttribute(name unsafe.Pointer, attr []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

func exportNameComposite(name unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func localname(name, mech unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func userok(name unsafe.Pointer, user []byte) (status, bool) {
	return status{uint32(ErrUnavailable), 0}, false
}

func authorizeLocalname(name, user unsafe.Pointer) status {
	return status{uint32(ErrUnavailable), 0}
}

func pnameToUID(name, mech unsafe.Pointer) (status, uint32) {
	return status{uint32(ErrUnavailable), 0}, 0
}

// ---- credentials: stores, passwords, RFC 5588, S4U, export, negotiation ----

func acquireCredFrom(name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32, store []byte, pairs int) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func acquireCredWithPassword(name unsafe.Pointer, password []byte, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func addCredFrom(cred, name, mech unsafe.Pointer, usage int32, initiator, acceptor uint32, store []byte, pairs int) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func addCredWithPassword(cred, name, mech unsafe.Pointer, password []byte, usage int32, initiator, acceptor uint32, inPlace bool) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func acquireCredImpersonateName(impersonator, name unsafe.Pointer, lifetime uint32, mechs unsafe.Pointer, usage int32) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func addCredImpersonateName(cred, impersonator, name, mech unsafe.Pointer, usage int32, initiator, acceptor uint32, inPlace bool) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func storeCred(cred unsafe.Pointer, usage int32, mech unsafe.Pointer, overwrite, byDefault bool) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func storeCredInto(cred unsafe.Pointer, usage int32, mech unsafe.Pointer, overwrite, byDefault bool, store []byte, pairs int) credResult {
	return credResult{status: status{uint32(ErrUnavailable), 0}}
}

func storeCredInto2(cred unsafe.Pointer, usage int32, mech unsafe.Pointer, flags uint32, store []byte, pairs int) (r credResult, env unsafe.Pointer) {
	return credResult{status: status{uint32(ErrUnavailable), 0}}, nil
}

func duplicateCred(cred unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func destroyCred(cred unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, cred
}

func exportCred(cred unsafe.Pointer) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func importCred(token []byte) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func setNegMechs(cred, mechs unsafe.Pointer) status { return status{uint32(ErrUnavailable), 0} }

func getNegMechs(cred unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func inquireCredByOID(cred, oid unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func setCredOption(cred, oid unsafe.Pointer, value []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

// ---- contexts: by object identifier, RFC 4401 ----

func inquireSecContextByOID(ctx, object unsafe.Pointer) (status, unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func probeContext(ctx, object unsafe.Pointer) (status, int) {
	return status{uint32(ErrUnavailable), 0}, 0
}

func setSecContextOption(ctx, option unsafe.Pointer, value []byte) (s status, left unsafe.Pointer) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func streamSizes(ctx, attribute unsafe.Pointer) (status, StreamSizes) {
	return status{uint32(ErrUnavailable), 0}, StreamSizes{}
}

func completeAuthToken(ctx unsafe.Pointer, msg []byte) status {
	return status{uint32(ErrUnavailable), 0}
}

func pseudoRandom(ctx unsafe.Pointer, key int, seed []byte, want int) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

// ---- messages in parts ----

func wrapIOV(ctx unsafe.Pointer, conf bool, qop uint32, iov []IOVBuffer) iovResult {
	return iovResult{status: status{uint32(ErrUnavailable), 0}}
}

func wrapIOVLength(ctx unsafe.Pointer, conf bool, qop uint32, iov []IOVBuffer) iovResult {
	return iovResult{status: status{uint32(ErrUnavailable), 0}}
}

func unwrapIOV(ctx unsafe.Pointer, iov []IOVBuffer) iovResult {
	return iovResult{status: status{uint32(ErrUnavailable), 0}}
}

func getMICIOV(ctx unsafe.Pointer, qop uint32, iov []IOVBuffer) iovResult {
	return iovResult{status: status{uint32(ErrUnavailable), 0}}
}

func getMICIOVLength(ctx unsafe.Pointer, qop uint32, iov []IOVBuffer) iovResult {
	return iovResult{status: status{uint32(ErrUnavailable), 0}}
}

func verifyMICIOV(ctx unsafe.Pointer, iov []IOVBuffer) iovResult {
	return iovResult{status: status{uint32(ErrUnavailable), 0}}
}

func wrapAEAD(ctx unsafe.Pointer, conf bool, qop uint32, associated, msg, room []byte) msgResult {
	return msgResult{status: status{uint32(ErrUnavailable), 0}}
}

func unwrapAEAD(ctx unsafe.Pointer, token, associated, room []byte) msgResult {
	return msgResult{status: status{uint32(ErrUnavailable), 0}}
}

// ---- Kerberos' own ----

// (of credentials)

func krb5Explain(minor uint32) krb5Result { return krb5Result{} }

func krb5CCacheName(name []byte) status { return status{uint32(ErrUnavailable), 0} }

func krb5CopyCCache(cred unsafe.Pointer, name, principal []byte) krb5Result {
	return krb5Result{status: status{uint32(ErrUnavailable), 0}}
}

func krb5DIRFile(name []byte) krb5Result {
	return krb5Result{status: status{uint32(ErrUnavailable), 0}}
}

func krb5DestroyCCache(name []byte) krb5Result {
	return krb5Result{status: status{uint32(ErrUnavailable), 0}}
}

func krb5ImportCred(ccache, principal, keytab []byte) krb5Result {
	return krb5Result{status: status{uint32(ErrUnavailable), 0}}
}

func krb5SetAllowableEnctypes(cred unsafe.Pointer, types []int32) krb5Result {
	return krb5Result{status: status{uint32(ErrUnavailable), 0}}
}

func krb5SetCredRCache(cred unsafe.Pointer, name []byte) krb5Result {
	return krb5Result{status: status{uint32(ErrUnavailable), 0}}
}

func registerAcceptorIdentity(keytab []byte) status { return status{uint32(ErrUnavailable), 0} }

// (of contexts and the library)

func krb5TicketFlags(ctx unsafe.Pointer) (status, uint32) {
	return status{uint32(ErrUnavailable), 0}, 0
}

func krb5AuthTime(ctx unsafe.Pointer) (s status, room [16]byte, width int) {
	return status{uint32(ErrUnavailable), 0}, room, 0
}

func krb5AuthzData(ctx unsafe.Pointer, typ int32) (status, libBuffer) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}
}

func krb5PAC(ctx unsafe.Pointer) (status, libBuffer, bool) {
	return status{uint32(ErrUnavailable), 0}, libBuffer{}, false
}

func krb5ServiceKey(ctx unsafe.Pointer) (status, Key) {
	return status{uint32(ErrUnavailable), 0}, Key{}
}

func krb5InitiatorSubkey(ctx unsafe.Pointer) (status, Key) {
	return status{uint32(ErrUnavailable), 0}, Key{}
}

func krb5Subkey(ctx unsafe.Pointer) (status, Key) {
	return status{uint32(ErrUnavailable), 0}, Key{}
}

func krb5ExportLucid(ctx unsafe.Pointer) (s status, left unsafe.Pointer, l *LucidContext) {
	return status{uint32(ErrUnavailable), 0}, nil, nil
}

func krb5InquireLucid(ctx, object unsafe.Pointer) (status, *LucidContext) {
	return status{uint32(ErrUnavailable), 0}, nil
}

func krb5TimeOffset() (status, int32) { return status{uint32(ErrUnavailable), 0}, 0 }

func krb5SetTimeOffset(seconds int32) status { return status{uint32(ErrUnavailable), 0} }

func krb5SetDefaultRealm(realm string) status { return status{uint32(ErrUnavailable), 0} }

func krb5SetDNSCanonicalize(on bool) status { return status{uint32(ErrUnavailable), 0} }

func setLogFunction(fd int) status { return status{uint32(ErrUnavailable), 0} }
