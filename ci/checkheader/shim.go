package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/seed2651813c/gss/ci/internal/clib"
)

// A shim is what shim.h declares.
type shim struct {
	path      string
	file      string // as faults name it
	functions []function
	types     []ctype
	tags      []string // struct tags, which headers may use too
}

// A function is one line of the tables.
type function struct {
	required  bool
	krb5      bool // of libkrb5
	ret, name string
	args      string // with parentheses
	line      int
}

// A ctype is a typedef.
type ctype struct {
	name    string
	line    int
	pointer bool     // name is a pointer to what the typedef describes
	scalar  bool     // an arithmetic type
	fields  []string // of a struct with a body
}

var (
	shown      = regexp.MustCompile(`(?m)^@([ROKL])@(.*?)@(\w+)@(\(.*\))@$`)
	structBody = regexp.MustCompile(`(?s)typedef struct (\w+) \{(.*?)\}\s*([^;]*);`)
	structOnly = regexp.MustCompile(`typedef struct (\w+)\s+(\*?)(\w+);`)
	scalarType = regexp.MustCompile(`typedef ((?:unsigned )?\w+) (\w+);`)
	fieldName  = regexp.MustCompile(`(\w+);`)
	comment    = regexp.MustCompile(`(?s)/\*.*?\*/`)
)

// readShim has the compiler expand the tables, so that they are what the compiler takes them for.
func readShim(cc, file string) (*shim, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	// "$" keeps the entries apart: a macro cannot expand to more than one line.
	program := fmt.Sprintf("#define GSSGO_CHECKHEADER 1\n#include %q\n"+
		"#undef GSSGO_TIME\n#undef GSSGO_TKTFLAGS\n#undef GSSGO_KEYBLOCK\n"+ // each library puts in its own
		"#define SHOW_R(ret, name, args) $@R@ret@name@args@$\n#define SHOW_O(ret, name, args) $@O@ret@name@args@$\n"+
		"#define SHOW_K(ret, name, args) $@K@ret@name@args@$\n#define SHOW_L(ret, name, args) $@L@ret@name@args@$\n"+
		"GSSGO_REQUIRED(SHOW_R)\nGSSGO_OPTIONAL(SHOW_O)\nGSSGO_KRB5_TABLE(SHOW_K)\nGSSGO_KRB5_OPTIONAL(SHOW_L)\n", abs)
	out, err := clib.Compile(cc, []string{"-E", "-P"}, program)
	if err != nil {
		return nil, err
	}
	sh := &shim{path: file, file: filepath.Base(file)}
	text := blankComments(string(src))
	for _, m := range shown.FindAllStringSubmatch(strings.ReplaceAll(out, "$", "\n"), -1) {
		fn := function{required: m[1] == "R" || m[1] == "K", krb5: m[1] == "K" || m[1] == "L", ret: strings.TrimSpace(m[2]), name: m[3], args: m[4]}
		fn.line = lineOf(text, regexp.MustCompile(`,\s*`+fn.name+`,\s*\(`).FindStringIndex(text))
		sh.functions = append(sh.functions, fn)
	}
	if len(sh.functions) == 0 {
		return nil, fmt.Errorf("%s: the table is empty", file)
	}
	if i := strings.Index(text, "#ifndef GSSGO_CHECKHEADER"); i >= 0 {
		text = text[:i]
	}
	sh.readTypes(text)
	if len(sh.types) == 0 {
		return nil, fmt.Errorf("%s: no types found", file)
	}
	return sh, nil
}

func (sh *shim) readTypes(text string) {
	for _, m := range structBody.FindAllStringSubmatchIndex(text, -1) {
		sh.tags = append(sh.tags, text[m[2]:m[3]])
		var fields []string
		for _, f := range fieldName.FindAllStringSubmatch(text[m[4]:m[5]], -1) {
			fields = append(fields, f[1])
		}
		for _, name := range strings.Split(text[m[6]:m[7]], ",") {
			name = strings.TrimSpace(name)
			sh.types = append(sh.types, ctype{
				name: strings.TrimLeft(name, "*"), line: lineOf(text, m[:2]),
				pointer: strings.HasPrefix(name, "*"), fields: fields,
			})
		}
	}
	for _, m := range structOnly.FindAllStringSubmatchIndex(text, -1) {
		sh.tags = append(sh.tags, text[m[2]:m[3]])
		sh.types = append(sh.types, ctype{name: text[m[6]:m[7]], line: lineOf(text, m[:2]), pointer: m[4] < m[5]})
	}
	for _, m := range scalarType.FindAllStringSubmatchIndex(text, -1) {
		sh.types = append(sh.types, ctype{name: text[m[4]:m[5]], line: lineOf(text, m[:2]), scalar: true})
	}
}

// blankComments takes comments out and leaves the lines where they are.
func blankComments(s string) string {
	return comment.ReplaceAllStringFunc(s, func(c string) string { return strings.Repeat("\n", strings.Count(c, "\n")) })
}

func lineOf(text string, loc []int) int {
	if loc == nil {
		return 0
	}
	return 1 + strings.Count(text[:loc[0]], "\n")
}
