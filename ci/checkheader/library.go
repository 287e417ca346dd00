package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/seed2651813c/gss/ci/internal/clib"
)

// A library is an installed one and what was checked of it.
type library struct {
	*clib.Library

	prototypes, absent, ctypes, constants int // checked
	newer                                 int // of its newer releases: proved to be not here
}

// prelude includes the real headers, and the shim with its types renamed to gssgo_check_*.
// Libraries disagree about const, which no calling convention knows: it is left out.
// intelMac asks for the packing that MIT's and Heimdal's headers and the shim have there.
func (l *library) prelude(sh *shim, intelMac bool) (string, error) {
	abs, err := filepath.Abs(sh.path)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(clib.SystemHeaders + "#define const\n")
	if intelMac {
		b.WriteString("#define __APPLE__ 1\n")
	}
	for _, h := range l.Headers {
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
	for n, t := range l.Types {
		fmt.Fprintf(&b, "#undef %s\n#define %s %s\n", n, n, t)
	}
	return b.String(), nil
}

// check compares this library with the shim and the constants. It marks in found what the library has, and what newer
// releases of it have.
func (l *library) check(sh *shim, consts []constant, newers []clib.Newer, found map[string]bool) ([]fault, error) {
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
		declared, exported := declared(), l.Exports[fn.name]
		if fn.krb5 {
			exported = l.Krb5[fn.name]
		}
		switch {
		case fn.krb5 && l.Krb5 == nil: // it has no Kerberos of this kind
		case declared && exported:
			at.text = l.Kind + " declares it otherwise than " + fn.ret + fn.args
			a.add(at, "__builtin_types_compatible_p(__typeof__(%s), %s %s)", fn.name, fn.ret, fn.args)
			l.prototypes++
			found[fn.name] = true
		case exported:
			at.text = l.Kind + " exports it, but no header has its prototype"
			faults = append(faults, at)
			found[fn.name] = true
		case fn.required:
			at.text = l.Kind + " does not export this required function"
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
	named := map[string]bool{} // by a constant; true if the header has it
	for _, c := range consts {
		named[c.name] = false
		if declared() {
			named[c.name] = true
			a.add(fault{c.file, c.line, c.name, fmt.Sprintf("%s does not define it as %d", l.Kind, c.value)}, "(long long)(%s) == %dLL", c.name, c.value)
			l.constants++
			found[c.name] = true
		}
	}
	for _, n := range newers {
		if n.Kind != l.Kind {
			continue
		}
		at := fault{file: clib.NewerFile, line: n.Line, name: n.Name}
		has, isConst := named[n.Name]
		switch {
		case l.Exports[n.Name] || has:
			at.text = "the " + l.Kind + " that is installed has it: take the line out"
			faults = append(faults, at)
		case !isConst && strings.HasPrefix(n.Name, "GSS_"):
			at.text = "no Go constant names it: take the line out"
			faults = append(faults, at)
		default:
			found[n.Name] = true
			l.newer++
		}
	}
	wrong, err := l.prove(prelude, &a)
	if err != nil {
		return nil, err
	}
	faults = append(faults, wrong...)
	if !l.Packs {
		return faults, nil
	}
	packed, err := l.checkPacking(sh, both)
	return append(faults, packed...), err
}

// compareTypes asserts that each of the shim's types is laid out as the library's type of that name.
func (l *library) compareTypes(types []ctype, file string, a *assertions) {
	for _, t := range types {
		at := fault{file, t.line, t.name, "another type in " + l.Kind}
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
		at.text = "another size in " + l.Kind
		a.add(at, "sizeof(%s) == sizeof(%s)", ours, theirs)
		for _, f := range t.fields {
			at := fault{file, t.line, t.name + "." + f, "another offset or type in " + l.Kind}
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
	flags := append([]string{"-std=gnu11", "-w", "-fsyntax-only", "-fmax-errors=0", "-fno-diagnostics-show-caret"}, l.CFlags...)
	_, err := clib.Compile(l.CC, flags, b.String())
	if err == nil {
		return nil, nil
	}
	failed, ok := err.(*clib.CompileError)
	if !ok {
		return nil, err
	}
	errs := map[int]string{}
	for _, m := range gccError.FindAllStringSubmatch(failed.Stderr, -1) {
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
