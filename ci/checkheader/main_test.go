package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/ci/internal/clib"
)

const flagsFile = `package gss

type Flags uint32

const (
	FlagDelegate Flags = 1 << iota // GSS_C_DELEG_FLAG
	FlagMutual                     // GSS_C_MUTUAL_FLAG
)

const (
	flagMask = 0xffff0000 // GSS_IOV_BUFFER_FLAG_MASK, GSS_IOV_BUFFER_TYPE_FLAG_MASK: one name in MIT, another in Heimdal
	plain    = 7          // about nothing in C
)
`

// libraries returns what is installed, all three.
func libraries(t *testing.T) []*library {
	t.Helper()
	var libs []*library
	for _, kind := range clib.Kinds {
		l, err := clib.Installed(kind, "gcc")
		if err != nil {
			t.Skipf("the C compiler or headers to check against are not installed: %v", err)
		}
		libs = append(libs, &library{Library: l})
	}
	return libs
}

// checked runs the check on the real shim.h, the constants above and the real
// newer.txt without its constants, each changed.
func checked(t *testing.T, shimOld, shimNew, goOld, goNew, newer string) (faults []fault, libs []*library) {
	t.Helper()
	libs = libraries(t)
	newers, err := clib.Newers()
	if err != nil {
		t.Fatal(err)
	}
	newers = slices.DeleteFunc(newers, func(n clib.Newer) bool { return strings.HasPrefix(n.Name, "GSS_") })
	more, err := clib.ParseNewers(newer)
	if err != nil {
		t.Fatal(err)
	}
	newers = append(newers, more...)
	src, err := os.ReadFile("../../shim.h")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text, old, new string) {
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q any more: change this test", name, old)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(text, old, new, 1)), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("shim.h", string(src), shimOld, shimNew)
	write("flags.go", flagsFile, goOld, goNew)
	faults, err = check(libs, filepath.Join(dir, "shim.h"), dir, newers)
	if err != nil {
		t.Fatal(err)
	}
	return faults, libs
}

func TestUnchanged(t *testing.T) {
	faults, libs := checked(t, "", "", "", "", "")
	for _, f := range faults {
		t.Error(f)
	}
	if n := libs[1].newer; n == 0 {
		t.Error("no name of a newer Heimdal was checked")
	}
	for _, l := range libs {
		if l.prototypes < 34 || l.ctypes < 12 || l.constants < 2 {
			t.Errorf("%s: only %d prototypes, %d types and %d constants checked", l.Kind, l.prototypes, l.ctypes, l.constants)
		}
	}
}

func TestPlantedFaults(t *testing.T) {
	for _, tt := range []struct {
		name           string
		shimOld, plant string
		goOld, goPlant string
		newer          string
		fault, text    string
	}{
		{
			name:    "argument type",
			shimOld: "gss_get_mic, (OM_uint32 *, gss_ctx_id_t, gss_qop_t,", plant: "gss_get_mic, (OM_uint32 *, gss_ctx_id_t, size_t,",
			fault: "gss_get_mic", text: "declares it otherwise",
		},
		{
			name:    "argument left out",
			shimOld: "gss_context_time, (OM_uint32 *, gss_ctx_id_t, OM_uint32 *)", plant: "gss_context_time, (OM_uint32 *, gss_ctx_id_t)",
			fault: "gss_context_time", text: "declares it otherwise",
		},
		{
			name:    "result type",
			shimOld: "F(const char *, gss_check_version,", plant: "F(OM_uint32, gss_check_version,",
			fault: "gss_check_version", text: "gnu declares it otherwise",
		},
		{
			name:    "argument of a type that the library lacks",
			shimOld: "gss_wrap_iov, (OM_uint32 *,", plant: "gss_wrap_iov, (gss_nothing_t *,",
			fault: "gss_wrap_iov", text: "gss_nothing_t",
		},
		{
			name:    "swapped fields",
			shimOld: "    size_t length;\n    void *value;\n", plant: "    void *value;\n    size_t length;\n",
			fault: "gss_buffer_desc.length", text: "another offset",
		},
		{
			name:    "field type of the same size",
			shimOld: "    size_t length;\n", plant: "    void *length;\n",
			fault: "gss_buffer_desc.length", text: "another offset or type",
		},
		{
			name:    "field left out",
			shimOld: "    gss_buffer_desc application_data;\n", plant: "",
			fault: "gss_channel_bindings_t", text: "another size",
		},
		{
			name:    "scalar type",
			shimOld: "typedef int gss_cred_usage_t;", plant: "typedef unsigned int gss_cred_usage_t;",
			fault: "gss_cred_usage_t", text: "another type",
		},
		{
			name:    "packing on the Intel Mac",
			shimOld: "#pragma pack(push, 2)", plant: "#pragma pack(push, 8)",
			fault: "gss_OID_desc", text: "packed as on the Intel Mac",
		},
		{
			name:    "required function that a library lacks",
			shimOld: "#define GSSGO_REQUIRED(F) \\\n",
			plant:   "#define GSSGO_REQUIRED(F) \\\n    F(OM_uint32, gss_pseudo_random, (OM_uint32 *, gss_ctx_id_t, int, gss_buffer_t, ssize_t, gss_buffer_t)) \\\n",
			fault:   "gss_pseudo_random", text: "gnu does not export",
		},
		{
			name:    "optional function that no library has",
			shimOld: "#define GSSGO_OPTIONAL(F) \\\n",
			plant:   "#define GSSGO_OPTIONAL(F) \\\n    F(OM_uint32, gss_wrapp, (OM_uint32 *)) \\\n",
			fault:   "gss_wrapp", text: "no library has this function",
		},
		{
			name:    "argument type of a function of libkrb5",
			shimOld: "krb5_cc_close, (krb5_context, krb5_ccache)", plant: "krb5_cc_close, (krb5_context, krb5_keytab)",
			fault: "krb5_cc_close", text: "mit declares it otherwise",
		},
		{
			name:    "function of libkrb5 that a library lacks",
			shimOld: "#define GSSGO_KRB5_TABLE(F) \\\n",
			plant:   "#define GSSGO_KRB5_TABLE(F) \\\n    F(krb5_error_code, krb5_enctype_valid, (krb5_context, krb5_enctype)) \\\n",
			fault:   "krb5_enctype_valid", text: "mit does not export",
		},
		{
			name:  "function of a newer release that is here",
			newer: "heimdal gss_wrap: after 7.8; nowhere",
			fault: "gss_wrap", text: "take the line out",
		},
		{
			name:  "constant of a newer release that is here",
			newer: "mit GSS_C_MUTUAL_FLAG: 1.21; nowhere",
			fault: "GSS_C_MUTUAL_FLAG", text: "take the line out",
		},
		{
			name:  "constant of a newer release that Go does not name",
			newer: "mit GSS_C_NOWHERE: 1.21; nowhere",
			fault: "GSS_C_NOWHERE", text: "no Go constant names it",
		},
		{
			name:  "constant",
			goOld: "1 << iota", goPlant: "2 << iota",
			fault: "GSS_C_MUTUAL_FLAG", text: "does not define it as 4",
		},
		{
			name:  "constant of another name in one library",
			goOld: "0xffff0000", goPlant: "0xffff",
			fault: "GSS_IOV_BUFFER_TYPE_FLAG_MASK", text: "heimdal does not define it as 65535",
		},
		{
			name:  "constant that no header defines",
			goOld: "GSS_C_MUTUAL_FLAG", goPlant: "GSS_C_MUTUALLY_FLAG",
			fault: "GSS_C_MUTUALLY_FLAG", text: "no header defines",
		},
		{
			name:  "constant that cannot be told",
			goOld: "0xffff0000", goPlant: "len(other)",
			fault: "GSS_IOV_BUFFER_FLAG_MASK", text: "not an integer",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			faults, _ := checked(t, tt.shimOld, tt.plant, tt.goOld, tt.goPlant, tt.newer)
			for _, f := range faults {
				if f.name == tt.fault && strings.Contains(f.text, tt.text) {
					if f.line == 0 || f.file == "" {
						t.Errorf("%v: without its place", f)
					}
					return
				}
			}
			t.Errorf("not caught: want a fault of %s with %q, got %v", tt.fault, tt.text, faults)
		})
	}
}

// What a newer release has is no fault, and what its list does not have is one.
func TestNewer(t *testing.T) {
	const table, entry = "#define GSSGO_OPTIONAL(F) \\\n", "    F(OM_uint32, gss_newer, (OM_uint32 *)) \\\n"
	const named = "\tnewer = 7 // GSS_C_NEWER\n"
	faults, _ := checked(t, table, table+entry, "\tplain ", named+"\tplain ", "mit gss_newer: 9.9; nowhere\nmit GSS_C_NEWER: 9.9; nowhere")
	for _, f := range faults {
		t.Error(f)
	}
	for _, text := range []string{"mit gss_newer", "mit gss_newer: 9.9", "sun gss_newer: 9.9; nowhere", "mit gss_newer: 9.9; a\nmit gss_newer: 9.9; b"} {
		if _, err := clib.ParseNewers(text); err == nil {
			t.Errorf("%q is a list", text)
		}
	}
}

func TestBrokenHeaderIsAnError(t *testing.T) {
	libs := libraries(t)
	libs[0].Headers = append([]string{"gssapi/nowhere.h"}, libs[0].Headers...)
	dir := t.TempDir()
	if _, err := check(libs, "../../shim.h", dir, nil); err == nil {
		t.Error("a header that does not compile went unnoticed")
	}
}
