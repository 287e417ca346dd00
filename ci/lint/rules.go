package main

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// A rule is one thing that holds for the whole tree.
type rule struct {
	name  string
	why   string
	check func(*tree) []finding
}

var rules = []rule{
	{"cgo-in-thin-layer", "one place in the tree crosses into C: cgo_*.go of the root package", cgoInThinLayer},
	{"no-truncating-copy", "C.GoBytes and its like take an int: they truncate or panic past 2 GiB", noTruncatingCopy},
	{"typed-pointer", "bytes go to C as a typed pointer: &x[0] panics on an empty slice, and cgo looks at all that an unsafe.Pointer can reach", typedPointer},
	{"pinned-call", "the text of a minor status belongs to the thread of the failing call, and the handle must live until it is back", pinnedCall},
	{"stub-twin", "a build without cgo has the same functions", stubTwin},
	{"doc-comment", "every exported name says what it is for", docComment},
	{"no-sleep", "a sleep is a guess about time: wait for what is meant", noSleep},
	{"skip-sentence", "a test that is skipped says why", skipSentence},
	{"std-only", "the library imports the standard library and this module", stdOnly},
	{"imports-go-down", "adapters -> gssapi -> gss, and never back", importsGoDown},
	{"no-init", "nothing runs before a program asks for it", noInit},
	{"nothing-left-to-do", "open ends are issues, not comments", nothingLeftToDo},
}

func cgoInThinLayer(t *tree) []finding {
	return t.each(func(f *file) bool { return !isThin(f) }, func(f *file, n ast.Node) []finding {
		if s, ok := n.(*ast.ImportSpec); ok && importPath(s) == "C" {
			return []finding{t.found(n, `import "C" outside of cgo_*.go of the root package`)}
		}
		return nil
	})
}

func noTruncatingCopy(t *tree) []finding {
	return t.each(everywhere, func(f *file, n ast.Node) []finding {
		switch s := selector(n); s {
		case "C.GoBytes", "C.GoStringN", "C.CBytes":
			if _, ok := n.(*ast.SelectorExpr); ok {
				return []finding{t.found(n, "%s: use unsafe.Slice and append, or unsafe.SliceData", s)}
			}
		}
		return nil
	})
}

func typedPointer(t *tree) []finding {
	return t.each(func(f *file) bool { return f.dir == "." && !f.test }, func(f *file, n ast.Node) []finding {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return nil
		}
		if selector(call) == "unsafe.Pointer" && len(call.Args) == 1 && isElementAddress(call.Args[0]) {
			return []finding{t.found(n, "unsafe.Pointer of a slice element: pass (*C.uchar)(unsafe.SliceData(b)) and the length")}
		}
		if !strings.HasPrefix(selector(call), "C.") {
			return nil
		}
		var bad []finding
		for _, arg := range call.Args {
			if isElementAddress(arg) || selector(arg) == "unsafe.Pointer" && len(arg.(*ast.CallExpr).Args) == 1 && selector(arg.(*ast.CallExpr).Args[0]) == "unsafe.SliceData" {
				bad = append(bad, t.found(arg, "Go bytes passed to C untyped: pass (*C.uchar)(unsafe.SliceData(b)) and the length"))
			}
		}
		return bad
	})
}

func isElementAddress(e ast.Expr) bool {
	u, ok := e.(*ast.UnaryExpr)
	if !ok || u.Op != token.AND {
		return false
	}
	_, ok = u.X.(*ast.IndexExpr)
	return ok
}

func docComment(t *tree) []finding {
	var bad []finding
	for _, f := range t.files {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiver(d))) {
					bad = append(bad, t.found(d, "%s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					for _, name := range undocumented(d, s) {
						bad = append(bad, t.found(s, "%s has no comment", name))
					}
				}
			}
		}
	}
	return bad
}

// undocumented returns the exported names of s that have no comment, nor a group that speaks for them.
func undocumented(group *ast.GenDecl, s ast.Spec) (names []string) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && (group.Doc == nil || group.Lparen.IsValid()) {
			names = append(names, s.Name.Name)
		}
	case *ast.ValueSpec:
		if s.Doc == nil && s.Comment == nil && group.Doc == nil {
			for _, n := range s.Names {
				if n.IsExported() {
					names = append(names, n.Name)
				}
			}
		}
	}
	return names
}

// receiver returns the type name of a method's receiver.
func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func noSleep(t *tree) []finding {
	return t.each(everywhere, func(f *file, n ast.Node) []finding {
		if _, ok := n.(*ast.SelectorExpr); !ok || selector(n) != "time.Sleep" {
			return nil
		}
		if !f.test {
			return []finding{t.found(n, "time.Sleep outside of a test")}
		}
		if !t.hasReason(f, n) {
			return []finding{t.found(n, `time.Sleep without a "// sleep: why" on its line or the one above`)}
		}
		return nil
	})
}

func (t *tree) hasReason(f *file, n ast.Node) bool {
	line := t.fset.Position(n.Pos()).Line
	for _, g := range f.ast.Comments {
		for _, c := range g.List {
			at := t.fset.Position(c.Pos()).Line
			if (at == line || at == line-1) && strings.HasPrefix(c.Text, "// sleep: ") {
				return true
			}
		}
	}
	return false
}

func skipSentence(t *tree) []finding {
	return t.each(func(f *file) bool { return f.test }, func(f *file, n ast.Node) []finding {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return nil
		}
		switch method(call) {
		case "SkipNow":
			return []finding{t.found(n, "SkipNow says nothing: use Skip with a sentence")}
		case "Skip", "Skipf":
			if len(call.Args) == 0 {
				return []finding{t.found(n, "a skip without a sentence")}
			}
			if lit, ok := call.Args[0].(*ast.BasicLit); ok && (lit.Value == `""` || lit.Value == "``") {
				return []finding{t.found(n, "a skip with an empty sentence")}
			}
		}
		return nil
	})
}

func stdOnly(t *tree) []finding {
	return t.each(inLibrary, func(f *file, n ast.Node) []finding {
		s, ok := n.(*ast.ImportSpec)
		if !ok {
			return nil
		}
		p := importPath(s)
		first, _, _ := strings.Cut(p, "/")
		if strings.Contains(first, ".") && !within(p, t.module) {
			return []finding{t.found(n, "%s is neither std nor of this module", p)}
		}
		return nil
	})
}

func importsGoDown(t *tree) []finding {
	return t.each(inLibrary, func(f *file, n ast.Node) []finding {
		s, ok := n.(*ast.ImportSpec)
		if !ok || !within(importPath(s), t.module) {
			return nil
		}
		to := strings.TrimPrefix(strings.TrimPrefix(importPath(s), t.module), "/")
		if to == "" {
			to = "."
		}
		if !mayImport(f.dir, to) {
			return []finding{t.found(n, "package %s must not import %s", f.dir, importPath(s))}
		}
		return nil
	})
}

// mayImport tells which package of the module may import which; both are directories.
func mayImport(from, to string) bool {
	switch {
	case to == "gssapi/gsstest" || within(to, "cmd") || within(to, "ci"):
		return false // for tests only
	case within(from, "internal") || from == "gssapi/gsstest":
		return within(to, "internal")
	case from == ".":
		return within(to, "internal")
	case from == "gssapi":
		return to == "." || within(to, "internal")
	case from == "gssapi/ldapauth" && to == "gssapi/sasl":
		return true // the one adapter that uses another
	case within(from, "gssapi/sasl") && to == "gssapi/sasl":
		return true // what is below an adapter uses it
	}
	return to == "." || to == "gssapi" || within(to, "internal") || within(to, from)
}

func noInit(t *tree) []finding {
	return t.each(inLibrary, func(f *file, n ast.Node) []finding {
		if d, ok := n.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
			return []finding{t.found(n, "func init in the library")}
		}
		return nil
	})
}

var leftToDo = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)

func nothingLeftToDo(t *tree) []finding {
	var bad []finding
	for name, text := range t.texts {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			if m := leftToDo.FindString(line); m != "" {
				bad = append(bad, finding{name, i + 1, m})
			}
		}
	}
	return bad
}
