package main

import (
	"os"
	"path/filepath"
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

// checked runs the check on the real shim.h and the constants above, each changed.
func checked(t *testing.T, shimOld, shimNew, goOld, goNew string) (faults []fault, libs []*library) {
	t.Helper()
	libs = libraries(t)
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
	faults, err = check(libs, filepath.Join(dir, "shim.h"), dir)
	if err != nil {
		t.Fatal(err)
	}
	return faults, libs
}

func TestUnchanged(t *testing.T) {
	faults, libs := checked(t, "", "", "", "")
	for _, f := range faults {
		t.Error(f)
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
			faults, _ := checked(t, tt.shimOld, tt.plant, tt.goOld, tt.goPlant)
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

func TestBrokenHeaderIsAnError(t *testing.T) {
	libs := libraries(t)
	libs[0].Headers = append([]string{"gssapi/nowhere.h"}, libs[0].Headers...)
	dir := t.TempDir()
	if _, err := check(libs, "../../shim.h", dir); err == nil {
		t.Error("a header that does not compile went unnoticed")
	}
}
