package gss

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/internal/fakegss"
)

// What looks alike in the libraries and is not. (What their headers say,
// ci/checkheader compares.)

// The object identifiers that are written down here are the library's own, whose
// globals no program of several libraries can use: they are variables that point to
// descriptors in MIT and GNU gss, and descriptors in Heimdal, and some are missing.
func TestOIDGlobals(t *testing.T) {
	k := needLibrary(t).Kind
	globals := map[string]OID{
		"GSS_C_NT_HOSTBASED_SERVICE": NTHostBasedService,
		"GSS_C_NT_USER_NAME":         NTUserName,
		"GSS_C_NT_MACHINE_UID_NAME":  NTMachineUID,
		"GSS_C_NT_STRING_UID_NAME":   NTStringUID,
		"GSS_C_NT_ANONYMOUS":         NTAnonymous,
		"GSS_C_NT_EXPORT_NAME":       NTExportName,
	}
	for name, oid := range map[Kind]map[string]OID{
		KindMIT: {
			"gss_mech_krb5": MechKrb5, "GSS_C_NT_COMPOSITE_EXPORT": NTCompositeExport,
			"GSS_KRB5_NT_PRINCIPAL_NAME": NTKrb5PrincipalName, "GSS_KRB5_NT_ENTERPRISE_NAME": NTKrb5EnterpriseName,
		},
		KindHeimdal: {
			"GSS_KRB5_MECHANISM": MechKrb5, "GSS_SPNEGO_MECHANISM": MechSPNEGO, "GSS_NTLM_MECHANISM": MechNTLM,
			"GSS_KRB5_NT_PRINCIPAL_NAME": NTKrb5PrincipalName,
		},
		KindGNU: {"GSS_KRB5": MechKrb5, "GSS_KRB5_NT_PRINCIPAL_NAME": NTKrb5PrincipalName},
	}[k] {
		globals[name] = oid
	}
	for name, oid := range globals {
		if have := librarysOID(t, name); have != oid {
			t.Errorf("%s is %v in the library and %v here", name, have, oid)
		}
	}
}

// Which object identifier a library returns is told by its bytes: the pointers are
// never those of the globals.
func TestOIDsAreCompared(t *testing.T) {
	needLibrary(t)
	for name, typ := range map[string]OID{"host@server.test": NTHostBasedService, "alice": NTUserName} {
		b, got, err := nameOf(t, name, typ).Display()
		check(t, err)
		b.Release()
		if got != typ {
			t.Errorf("the type of %s is %v, want %v", name, got, typ)
		}
	}
	mechs, err := IndicateMechs()
	check(t, err)
	if !slices.Contains(mechs, MechKrb5) {
		t.Errorf("the mechanisms are %v", mechs)
	}
}

// Kerberos' own calls take objects of the libkrb5 that the library uses, also where
// the other library and its libkrb5, of the same function names, come first in the
// process.
func TestOtherKrb5InTheProcess(t *testing.T) {
	needKrb5(t)
	needLoader(t, "linux")
	if !isChild() {
		other := map[Kind]Kind{KindMIT: KindHeimdal, KindHeimdal: KindMIT}[kind()]
		inChild(t, append(preload(need(t, other)), libraryEnv+"="+need(t, kind()), "FIRST="+need(t, other))...)
		return
	}
	if first := fileOf(globalWrap()); filepath.Base(first) != filepath.Base(os.Getenv("FIRST")) {
		t.Fatalf("gss_wrap of the global scope is in %s, not in %s", first, os.Getenv("FIRST"))
	}
	maps, err := os.ReadFile("/proc/self/maps")
	check(t, err)
	own := filepath.Base(fileOf(symbol("krb5_init_context")))
	for _, lib := range []string{"libkrb5.so.3", "libkrb5.so.26"} { // MIT's, Heimdal's
		if !strings.Contains(string(maps), "/"+lib) {
			t.Fatalf("%s is not in the process", lib)
		}
	}
	if want := map[Kind]string{KindMIT: "libkrb5.so.3", KindHeimdal: "libkrb5.so.26"}[kind()]; !strings.HasPrefix(own, want) {
		t.Errorf("the libkrb5 is %s, want %s", own, want)
	}
	file := "FILE:" + t.TempDir() + "/cc"
	check(t, aliceCred(t).CopyCCache(file))
	c, err := ImportKrb5Cred(file, "alice@TEST.GSS", "")
	check(t, err)
	defer c.Release()
	check(t, c.SetAllowableEnctypes([]int32{18}))
	a, err := ImportKrb5Cred("", "", os.Getenv("KRB5_KTNAME"))
	check(t, err)
	defer a.Release()
	if kind() == KindMIT {
		check(t, a.SetRCache("none:"))
	}
	x, y, err := handshake(&InitArgs{Target: server(t), Cred: c, Mech: MechKrb5, Flags: allFlags}, &AcceptArgs{Cred: a})
	check(t, err)
	defer x.Delete()
	defer y.Delete()
	pair{x, y}.send(t, []byte("with the right libkrb5"), true)
	r, err := c.ForMechs([]OID{MechKrb5, MechSPNEGO})
	check(t, err)
	r.Cred.Release()
}

// An object identifier that is the library's own is not released: Heimdal frees
// whatever gss_release_oid gets.
func TestFakeReleaseOID(t *testing.T) {
	child, log := inFake(t, "", &fakegss.Options{Optional: []string{"gss_inquire_name", "gss_release_oid"}})
	if !child {
		if len(log.calls("gss_inquire_name")) != 1 {
			t.Error("gss_inquire_name was not called once")
		}
		return
	}
	info, err := nameOf(t, "alice", NTUserName).Inquire()
	check(t, err)
	if info.Mech != MechKrb5 {
		t.Errorf("%+v", info)
	}
}
