// Checkheader proves what package gss says about C against the real headers.
//
// The library includes no GSS-API header: shim.h declares the types and the
// prototypes itself, and the Go files carry the constants as literals.
// Checkheader compiles static assertions about each of them together with the
// headers of MIT, Heimdal and GNU gss, and looks into the libraries for what
// they export; for the functions of libkrb5 into the one that they use. What only
// newer libraries have is listed in ci/internal/clib/newer.txt, and proved to be
// absent here. Run it from the root of the module:
//
//	go run ./ci/checkheader
//	go run ./ci/checkheader -cc aarch64-linux-gnu-gcc
//
// Each mismatch is a line with file, line and name; then the exit status is 1.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/seed2651813c/gss/ci/internal/clib"
)

func main() {
	cc := flag.String("cc", "gcc", "comma-separated `compilers`; a cross compiler proves the layouts of its machine")
	libs := flag.String("libs", "mit,heimdal,gnu", "comma-separated `libraries` to check against")
	root := flag.String("root", ".", "`directory` of shim.h and of the Go files with constants")
	flag.Parse()
	ok := true
	for _, compiler := range strings.Split(*cc, ",") {
		if !run(compiler, strings.Split(*libs, ","), *root) {
			ok = false
		}
	}
	if !ok {
		os.Exit(1)
	}
}

// run checks everything with one compiler and prints what it found.
func run(cc string, kinds []string, root string) bool {
	var libs []*library
	for _, kind := range kinds {
		l, err := clib.Installed(kind, cc)
		if err != nil {
			fmt.Fprintf(os.Stderr, "checkheader: %v\n", err)
			return false
		}
		libs = append(libs, &library{Library: l})
	}
	newers, err := clib.Newers()
	if err != nil {
		fmt.Fprintf(os.Stderr, "checkheader: %v\n", err)
		return false
	}
	faults, err := check(libs, filepath.Join(root, "shim.h"), root, newers)
	if err != nil {
		fmt.Fprintf(os.Stderr, "checkheader: %v\n", err)
		return false
	}
	for _, l := range libs {
		fmt.Printf("checkheader: %s, %s: %d prototypes, %d functions proved absent, %d types, %d constants; %d names of newer releases proved absent\n",
			cc, l.Kind, l.prototypes, l.absent, l.ctypes, l.constants, l.newer)
	}
	for _, f := range faults {
		fmt.Println(f)
	}
	return len(faults) == 0
}

// A fault is one thing that a header or a library contradicts.
type fault struct {
	file string
	line int
	name string
	text string
}

func (f fault) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.file, f.line, f.name, f.text) }

// check compares the shim and the constants of the Go files in dir with every library.
// It counts in the libraries what it has checked. What no library has must be one of newers.
func check(libs []*library, shimFile, dir string, newers []clib.Newer) ([]fault, error) {
	if len(libs) == 0 {
		return nil, fmt.Errorf("no library to check against")
	}
	sh, err := readShim(libs[0].CC, shimFile)
	if err != nil {
		return nil, err
	}
	consts, faults, err := readConstants(dir)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{} // functions and constants that at least one library has
	for _, l := range libs {
		fs, err := l.check(sh, consts, newers, found)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.Kind, err)
		}
		faults = append(faults, fs...)
	}
	for _, fn := range sh.functions {
		if !found[fn.name] {
			faults = append(faults, fault{sh.file, fn.line, fn.name, "no library has this function, and newer.txt does not list it"})
		}
	}
	for _, c := range consts {
		if !found[c.name] {
			faults = append(faults, fault{c.file, c.line, c.name, "no header defines this constant, and newer.txt does not list it"})
		}
	}
	sort.SliceStable(faults, func(i, j int) bool {
		a, b := faults[i], faults[j]
		return a.file < b.file || a.file == b.file && a.line < b.line
	})
	return faults, nil
}
