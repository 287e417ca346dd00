// Coverage proves which functions of the C libraries this module binds.
//
// It reads the headers and the exported symbols of MIT, Heimdal and GNU gss as
// they are installed, the list of what GSS.framework exports (apple.txt), the list
// of what newer libraries have (ci/internal/clib/newer.txt), the table in shim.h,
// and the Go code between these. A function is bound if an exported function or
// method of package gss calls it. Each one that is not must have a reason in
// ci/coverage/unbound.txt. Run it from the root of the module:
//
//	go run ./ci/coverage
//	go run ./ci/coverage -docs docs/functions.md
//
// Each fault is a line; then the exit status is 1. With -docs it writes the table
// that the documentation shows.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/seed2651813c/gss/ci/internal/clib"
)

func main() {
	root := flag.String("root", ".", "`directory` of the module")
	docs := flag.String("docs", "", "`file` for the table of functions; empty writes none")
	flag.Parse()
	ok, err := run(*root, *docs)
	if err != nil {
		fmt.Fprintf(os.Stderr, "coverage: %v\n", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(root, docs string) (ok bool, err error) {
	r, err := read(root)
	if err != nil {
		return false, err
	}
	for _, kind := range append(slices.Clone(clib.Kinds), apple) {
		n, bound := 0, 0
		for f, libs := range r.offered {
			if libs[kind] {
				n++
				if len(r.code.thin[f]) > 0 {
					bound++
				}
			}
		}
		name := kind
		if kind == apple {
			name = "GSS.framework (from its published list of exports, on no Mac)"
		}
		newer, newerBound := 0, 0
		for f, since := range r.newer {
			if since[kind] != "" {
				newer++
				if len(r.code.thin[f]) > 0 {
					newerBound++
				}
			}
		}
		fmt.Printf("%s: exported %d, bound %d", name, n, bound)
		if newer > 0 {
			fmt.Printf("; of what newer ones add %d, bound %d", newer, newerBound)
		}
		fmt.Println()
	}
	for _, f := range r.functions() {
		if why := r.reasons[f]; why != "" && len(r.code.thin[f]) == 0 {
			fmt.Printf("not bound: %s: %s\n", f, why)
		}
	}
	faults := r.faults()
	for _, f := range faults {
		fmt.Println(f)
	}
	if docs != "" {
		if err := os.WriteFile(docs, r.table(), 0o666); err != nil {
			return false, err
		}
	}
	return len(faults) == 0, nil
}

// A report is what there is, and what is bound of it.
type report struct {
	offered map[string]map[string]bool   // function, kind of library
	private map[string]bool              // offered by GSS.framework, under a private name
	newer   map[string]map[string]string // function, kind of library: since when, in newer ones than are here
	listed  map[string]bool              // in the table of shim.h
	needed  map[string]bool              // of these, what a library must have
	code    *code
	reasons map[string]string // why a function is not bound
}

// apple is the kind of GSS.framework.
const apple = "apple"

func read(root string) (*report, error) {
	r := &report{offered: map[string]map[string]bool{}, private: map[string]bool{}, newer: map[string]map[string]string{}, listed: map[string]bool{}, needed: map[string]bool{}}
	newers, err := clib.Newers()
	if err != nil {
		return nil, err
	}
	for _, n := range newers {
		if strings.HasPrefix(n.Name, "GSS_") {
			continue // a constant
		}
		if r.newer[n.Name] == nil {
			r.newer[n.Name] = map[string]string{}
		}
		r.newer[n.Name][n.Kind] = n.Since
	}
	for _, kind := range clib.Kinds {
		l, err := clib.Installed(kind, "gcc")
		if err != nil {
			return nil, err
		}
		names, err := offered(l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		for _, f := range names {
			r.offer(f, kind)
		}
	}
	if err := r.readApple(filepath.Join(root, "ci/coverage/apple.txt")); err != nil {
		return nil, err
	}
	shim, err := os.ReadFile(filepath.Join(root, "shim.h"))
	if err != nil {
		return nil, err
	}
	optional := bytes.Index(shim, []byte("#define GSSGO_OPTIONAL(F)"))
	for _, m := range regexp.MustCompile(`(?m)^\s+F\([^,]+, ((?:gss|krb5_gss)\w+), \(`).FindAllSubmatchIndex(shim, -1) {
		f := string(shim[m[2]:m[3]])
		r.listed[f], r.needed[f] = true, m[0] < optional
	}
	if r.code, err = readCode(root); err != nil {
		return nil, err
	}
	r.reasons, err = readReasons(filepath.Join(root, "ci/coverage/unbound.txt"))
	return r, err
}

func (r *report) offer(function, kind string) {
	if r.offered[function] == nil {
		r.offered[function] = map[string]bool{}
	}
	r.offered[function][kind] = true
}

// readApple reads lines of a function, and "private" behind it if its name is; #
// begins a comment.
func (r *report) readApple(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		f := words[0]
		if r.offered[f][apple] || len(words) > 2 || len(words) == 2 && words[1] != "private" {
			return fmt.Errorf("%s: %q: want a function that comes once, and private or nothing", file, line)
		}
		r.offer(f, apple)
		r.private[f] = len(words) == 2
	}
	return nil
}

var declared = regexp.MustCompile(`(?m)\b((?:gss|krb5_gss)\w*) \(`)

// offered returns the functions that l's headers declare and its file exports:
// what a program can use.
func offered(l *clib.Library) ([]string, error) {
	var program strings.Builder
	program.WriteString(clib.SystemHeaders)
	for _, h := range l.Headers {
		fmt.Fprintf(&program, "#include <%s>\n", h)
	}
	aux, err := os.CreateTemp("", "prototypes")
	if err != nil {
		return nil, err
	}
	defer os.Remove(aux.Name())
	defer aux.Close()
	flags := append([]string{"-w", "-fsyntax-only", "-aux-info", aux.Name()}, l.CFlags...)
	if _, err := clib.Compile(l.CC, flags, program.String()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(aux.Name())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range declared.FindAllSubmatch(text, -1) {
		if f := string(m[1]); l.Exports[f] {
			names = append(names, f)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) < 34 { // those of RFC 2744
		return nil, fmt.Errorf("only %d functions found in the headers", len(names))
	}
	return names, nil
}

// readReasons reads lines of a function, a colon and a reason; # begins a comment.
func readReasons(file string) (map[string]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reasons := map[string]string{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f, why, ok := strings.Cut(line, ": ")
		if !ok || why == "" || reasons[f] != "" {
			return nil, fmt.Errorf("%s: %q: want a function that comes once, a colon and a reason", file, line)
		}
		reasons[f] = why
	}
	return reasons, nil
}

// functions are all that there are, in order.
func (r *report) functions() []string {
	var names []string
	for f := range r.offered {
		names = append(names, f)
	}
	for f := range r.newer {
		names = append(names, f)
	}
	for f := range r.listed {
		names = append(names, f)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r *report) faults() []string {
	var faults []string
	for _, f := range r.functions() {
		bound := len(r.code.thin[f]) > 0
		switch {
		case bound && r.reasons[f] != "":
			faults = append(faults, f+": bound, and in unbound.txt: take it out there")
		case !bound && r.reasons[f] == "" && r.listed[f]:
			faults = append(faults, f+": in the table of shim.h, and no exported function of package gss calls it")
		case !bound && r.reasons[f] == "":
			faults = append(faults, f+": a library has it, and it is neither bound nor in unbound.txt")
		case !bound && r.listed[f]:
			faults = append(faults, f+": in the table of shim.h, and unbound: take it out there")
		}
	}
	for f, needed := range r.needed {
		if needed && (!r.offered[f][apple] || r.private[f]) {
			faults = append(faults, f+": required in shim.h, and GSS.framework does not have it under that name")
		}
	}
	for f := range r.reasons {
		if r.offered[f] == nil && r.newer[f] == nil {
			faults = append(faults, f+": in unbound.txt, and no library has it")
		}
	}
	slices.Sort(faults)
	return faults
}

// table is docs/functions.md.
func (r *report) table() []byte {
	var b bytes.Buffer
	b.WriteString("# Functions and libraries\n\nWritten by `go run ./ci/coverage` from the headers and libraries of Debian 12: MIT 1.20.1, Heimdal 7.8 and GNU gss 1.0.4, and from the list of what GSS.framework exports that Apple publishes (Heimdal-710.0.1): no Mac was asked. A dot: the library has the function; words: a newer one has it; private: under a name of Apple's own, which is found too.\n\n" +
		"| function | MIT | Heimdal | GNU | GSS.framework | package gss | package gssapi |\n|---|---|---|---|---|---|---|\n")
	for _, f := range r.functions() {
		mark := func(kind string) string {
			if r.offered[f][kind] {
				return "•"
			}
			return r.newer[f][kind]
		}
		thin, home := strings.Join(r.code.thin[f], ", "), strings.Join(r.code.home[f], ", ")
		if why := r.reasons[f]; why != "" {
			thin, home = "not bound: "+why, ""
		}
		mac := mark(apple)
		if r.private[f] {
			mac = "private"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", f, mark("mit"), mark("heimdal"), mark("gnu"), mac, thin, home)
	}
	return b.Bytes()
}
