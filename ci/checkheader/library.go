package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A library is one implementation of the GSS-API as it is installed here.
type library struct {
	kind    string
	cc      string
	cflags  []string
	headers []string
	packs   bool              // the headers pack structs on the Intel Mac, as the shim does
	types   map[string]string // its own types, where libraries differ under one name
	exports map[string]bool   // functions that the shared object offers

	prototypes, absent, ctypes, constants int // checked
}

// Where each implementation's headers and library are.
var known = map[string]struct {
	pkg, soname, debian string
	packs               bool
	types               map[string]string
	headers             []string
}{
	"mit": {"mit-krb5-gssapi", "libgssapi_krb5.so.2", "libkrb5-dev", true,
		map[string]string{"GSSGO_TIME": "krb5_timestamp", "GSSGO_TKTFLAGS": "krb5_flags"}, []string{"gssapi/gssapi.h", "gssapi/gssapi_ext.h", "gssapi/gssapi_krb5.h"}},
	"heimdal": {"heimdal-gssapi", "libgssapi.so.3", "heimdal-dev", true,
		map[string]string{"GSSGO_TIME": "time_t", "GSSGO_TKTFLAGS": "OM_uint32", "GSSGO_KEYBLOCK": "struct EncryptionKey"}, []string{"krb5.h", "gssapi/gssapi.h", "gssapi/gssapi_krb5.h", "gssapi/gssapi_spnego.h"}},
	"gnu": {"gss", "libgss.so.3", "libgss-dev", false, nil, []string{"gss.h"}},
}

// installed finds a library of this machine. The exported functions are those of the
// machine's own shared object, whatever machine cc compiles for.
func installed(kind, cc string) (*library, error) {
	k, ok := known[kind]
	if !ok {
		return nil, fmt.Errorf("unknown library %q", kind)
	}
	out, err := exec.Command("pkg-config", "--cflags", k.pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: headers not found, install %s or heimdal-multidev: %s", kind, k.debian, bytes.TrimSpace(out))
	}
	// After a cross compiler's own directories: the GSS-API headers of this machine serve any other.
	l := &library{kind: kind, cc: cc, headers: k.headers, packs: k.packs, types: k.types, cflags: append(strings.Fields(string(out)), "-idirafter", "/usr/include")}
	out, err = exec.Command("gcc", "-print-file-name="+k.soname).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	l.exports, err = exported(strings.TrimSpace(string(out)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return l, nil
}

// exported lists the functions that a shared object defines.
func exported(path string) (map[string]bool, error) {
	f, err := elf.Open(path)
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

// What the GSS-API headers include: it comes first, while const is still a word of C.
const systemHeaders = `#include <sys/types.h>
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

// prelude includes the real headers, and the shim with its types renamed to gssgo_check_*.
// Libraries disagree about const, which no calling convention knows: it is left out.
// intelMac asks for the packing that MIT's and Heimdal's headers and the shim have there.
func (l *library) prelude(sh *shim, intelMac bool) (string, error) {
	abs, err := filepath.Abs(sh.path)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(systemHeaders + "#define const\n")
	if intelMac {
		b.WriteString("#define __APPLE__ 1\n")
	}
	for _, h := range l.headers {
		fmt.Fprintf(&b, "#include <%s>\n", h)
	}
	names := append([]string(nil), sh.tags...)
	for _, t := range sh.types {
		names = append(names, t.name)
	}
	for _, n := range names {
		fmt.Fprintf(&b, "#define %s gssgo_check_%s\n", n, n)
	}
	fmt.Fprintf(&b, "#define GSSGO_CHECKHEADER 1\n#include %q\n", abs)
	for _, n := range names {
		fmt.Fprintf(&b, "#undef %s\n", n)
	}
	for n, t := range l.types {
		fmt.Fprintf(&b, "#undef %s\n#define %s %s\n", n, n, t)
	}
	return b.String(), nil
}

// check compares this library with the shim and the constants. It marks in found what the library has.
func (l *library) check(sh *shim, consts []constant, found map[string]bool) ([]fault, error) {
	prelude, err := l.prelude(sh, false)
	if err != nil {
		return nil, err
	}

	// First what the headers have at all.
	var probes []string
	for _, fn := range sh.functions {
		probes = append(probes, fmt.Sprintf("typedef __typeof__(%s) gssgo_probe_%d;", fn.name, len(probes)))
	}
	for _, t := range sh.types {
		probes = append(probes, fmt.Sprintf("typedef %s gssgo_probe_%d;", t.name, len(probes)))
	}
	for _, c := range consts {
		probes = append(probes, fmt.Sprintf("_Static_assert((%s) == (%s), \"\");", c.name, c.name))
	}
	missing, err := l.failing(prelude, probes)
	if err != nil {
		return nil, err
	}

	// Then what they say about it.
	var faults []fault
	var a assertions
	next := -1
	declared := func() bool { next++; return missing[next] == "" }
	for _, fn := range sh.functions {
		at := fault{file: sh.file, line: fn.line, name: fn.name}
		switch declared, exported := declared(), l.exports[fn.name]; {
		case declared && exported:
			at.text = l.kind + " declares it otherwise than " + fn.ret + fn.args
			a.add(at, "__builtin_types_compatible_p(__typeof__(%s), %s %s)", fn.name, fn.ret, fn.args)
			l.prototypes++
			found[fn.name] = true
		case exported:
			at.text = l.kind + " exports it, but no header has its prototype"
			faults = append(faults, at)
			found[fn.name] = true
		case fn.required:
			at.text = l.kind + " does not export this required function"
			faults = append(faults, at)
		default:
			l.absent++
		}
	}
	var both []ctype
	for _, t := range sh.types {
		if declared() {
			both = append(both, t)
			l.ctypes++
		}
	}
	l.compareTypes(both, sh.file, &a)
	for _, c := range consts {
		if declared() {
			a.add(fault{c.file, c.line, c.name, fmt.Sprintf("%s does not define it as %d", l.kind, c.value)}, "(long long)(%s) == %dLL", c.name, c.value)
			l.constants++
			found[c.name] = true
		}
	}
	wrong, err := l.prove(prelude, &a)
	if err != nil {
		return nil, err
	}
	faults = append(faults, wrong...)
	if !l.packs {
		return faults, nil
	}
	packed, err := l.checkPacking(sh, both)
	return append(faults, packed...), err
}

// compareTypes asserts that each of the shim's types is laid out as the library's type of that name.
func (l *library) compareTypes(types []ctype, file string, a *assertions) {
	for _, t := range types {
		at := fault{file, t.line, t.name, "another type in " + l.kind}
		if t.scalar {
			a.add(at, "__builtin_types_compatible_p(gssgo_check_%s, %s)", t.name, t.name)
			continue
		}
		ours, theirs := "gssgo_check_"+t.name, t.name
		a.add(at, "sizeof(%s) == sizeof(%s)", ours, theirs)
		if t.fields == nil {
			continue
		}
		if t.pointer {
			ours, theirs = "__typeof__(*("+ours+")0)", "__typeof__(*("+theirs+")0)"
		}
		at.text = "another size in " + l.kind
		a.add(at, "sizeof(%s) == sizeof(%s)", ours, theirs)
		for _, f := range t.fields {
			at := fault{file, t.line, t.name + "." + f, "another offset or type in " + l.kind}
			a.add(at, "offsetof(%s, %s) == offsetof(%s, %s)", ours, f, theirs, f)
			o, t := fmt.Sprintf("((%s *)0)->%s", ours, f), fmt.Sprintf("((%s *)0)->%s", theirs, f)
			a.add(at, "sizeof(%s) == sizeof(%s) && __builtin_classify_type(%s) == __builtin_classify_type(%s)", o, t, o, t)
		}
	}
}

// checkPacking compares the layouts once more, packed as on the Intel Mac.
func (l *library) checkPacking(sh *shim, types []ctype) ([]fault, error) {
	prelude, err := l.prelude(sh, true)
	if err != nil {
		return nil, err
	}
	var a assertions
	l.compareTypes(types, sh.file, &a)
	faults, err := l.prove(prelude, &a)
	for i := range faults {
		faults[i].text += ", packed as on the Intel Mac"
	}
	return faults, err
}

// assertions are lines of C, and what it means if one does not hold.
type assertions struct {
	lines   []string
	ifFalse []fault
}

func (a *assertions) add(f fault, format string, args ...any) {
	a.lines = append(a.lines, fmt.Sprintf("_Static_assert(%s, \"\");", fmt.Sprintf(format, args...)))
	a.ifFalse = append(a.ifFalse, f)
}

// prove returns the faults of the assertions that do not hold.
func (l *library) prove(prelude string, a *assertions) ([]fault, error) {
	wrong, err := l.failing(prelude, a.lines)
	if err != nil {
		return nil, err
	}
	var faults []fault
	for i, f := range a.ifFalse {
		if msg := wrong[i]; msg != "" {
			if !strings.Contains(msg, "static assertion failed") {
				f.text += " (" + msg + ")"
			}
			faults = append(faults, f)
		}
	}
	return faults, nil
}

var gccError = regexp.MustCompile(`(?m)^([^\s:]+):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$`)

// failing compiles the lines after the prelude and returns the first error of each line that has one.
func (l *library) failing(prelude string, lines []string) (map[int]string, error) {
	var b strings.Builder
	b.WriteString(prelude)
	for i, line := range lines {
		fmt.Fprintf(&b, "#line %d \"assertion\"\n%s\n", i+1, line)
	}
	flags := append([]string{"-std=gnu11", "-w", "-fsyntax-only", "-fmax-errors=0", "-fno-diagnostics-show-caret"}, l.cflags...)
	_, err := compile(l.cc, flags, b.String())
	if err == nil {
		return nil, nil
	}
	failed, ok := err.(*compileError)
	if !ok {
		return nil, err
	}
	errs := map[int]string{}
	for _, m := range gccError.FindAllStringSubmatch(failed.stderr, -1) {
		if m[1] != "assertion" {
			return nil, err // the headers themselves do not compile
		}
		n, _ := strconv.Atoi(m[2])
		if errs[n-1] == "" {
			errs[n-1] = m[3]
		}
	}
	if len(errs) == 0 {
		return nil, err
	}
	return errs, nil
}

// A compileError is a program that the compiler refused.
type compileError struct{ cc, stderr string }

func (e *compileError) Error() string { return e.cc + ": " + strings.TrimSpace(e.stderr) }

// compile gives a C program to the compiler and returns its standard output.
func compile(cc string, flags []string, program string) (string, error) {
	cmd := exec.Command(cc, append(flags, "-x", "c", "-")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = strings.NewReader(program)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := err.(*exec.ExitError); ok {
		return "", &compileError{cc, stderr.String()}
	}
	return stdout.String(), err
}
