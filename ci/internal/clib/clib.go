// Package clib finds the GSS-API libraries of this machine, with their headers,
// for the checks in ci.
package clib

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Kinds are the libraries that the checks are about.
var Kinds = []string{"mit", "heimdal", "gnu"}

// A Library is one implementation of the GSS-API as it is installed here.
type Library struct {
	Kind    string
	CC      string
	CFlags  []string
	Headers []string
	Packs   bool              // the headers pack structs on the Intel Mac, as the shim does
	Types   map[string]string // its own types, where libraries differ under one name
	Exports map[string]bool   // functions that the shared object offers
	Krb5    map[string]bool   // functions that its libkrb5 offers; nil if it has none
}

// Where each implementation's headers and library are.
var known = map[string]struct {
	pkg, soname, debian string
	krb5                string // soname of its libkrb5
	packs               bool
	types               map[string]string
	headers             []string
}{
	"mit": {"mit-krb5-gssapi", "libgssapi_krb5.so.2", "libkrb5-dev", "libkrb5.so.3", true,
		map[string]string{"GSSGO_TIME": "krb5_timestamp", "GSSGO_TKTFLAGS": "krb5_flags", "GSSGO_KEYBLOCK": "krb5_keyblock"}, []string{"krb5.h", "gssapi/gssapi.h", "gssapi/gssapi_ext.h", "gssapi/gssapi_krb5.h"}},
	"heimdal": {"heimdal-gssapi", "libgssapi.so.3", "heimdal-dev", "libkrb5.so.26", true,
		map[string]string{"GSSGO_TIME": "time_t", "GSSGO_TKTFLAGS": "OM_uint32", "GSSGO_KEYBLOCK": "struct EncryptionKey"}, []string{"krb5.h", "gssapi/gssapi.h", "gssapi/gssapi_krb5.h", "gssapi/gssapi_spnego.h"}},
	"gnu": {"gss", "libgss.so.3", "libgss-dev", "", false, nil, []string{"gss.h"}},
}

// Installed finds a library of this machine. The exported functions are those of the
// machine's own shared object, whatever machine cc compiles for.
func Installed(kind, cc string) (*Library, error) {
	k, ok := known[kind]
	if !ok {
		return nil, fmt.Errorf("unknown library %q", kind)
	}
	out, err := exec.Command("pkg-config", "--cflags", k.pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: headers not found, install %s or heimdal-multidev: %s", kind, k.debian, bytes.TrimSpace(out))
	}
	// After a cross compiler's own directories: the GSS-API headers of this machine serve any other.
	l := &Library{Kind: kind, CC: cc, Headers: k.headers, Packs: k.packs, Types: k.types, CFlags: append(strings.Fields(string(out)), "-idirafter", "/usr/include")}
	if l.Exports, err = exported(k.soname); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if k.krb5 != "" {
		if l.Krb5, err = exported(k.krb5); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
	}
	return l, nil
}

// exported lists the functions that the shared object of that soname defines.
func exported(soname string) (map[string]bool, error) {
	path, err := exec.Command("gcc", "-print-file-name="+soname).Output()
	if err != nil {
		return nil, err
	}
	f, err := elf.Open(strings.TrimSpace(string(path)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	syms, err := f.DynamicSymbols()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, s := range syms {
		if s.Section != elf.SHN_UNDEF && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			names[s.Name] = true
		}
	}
	return names, nil
}

// SystemHeaders are what the GSS-API headers include: it comes first, while const is still a word of C.
const SystemHeaders = `#include <sys/types.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
`

// A CompileError is a program that the compiler refused.
type CompileError struct{ CC, Stderr string }

// Error is what the compiler said.
func (e *CompileError) Error() string { return e.CC + ": " + strings.TrimSpace(e.Stderr) }

// Compile gives a C program to the compiler and returns its standard output.
func Compile(cc string, flags []string, program string) (string, error) {
	cmd := exec.Command(cc, append(flags, "-x", "c", "-")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(program)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); ok {
		return "", &CompileError{cc, stderr.String()}
	}
	return stdout.String(), err
}
