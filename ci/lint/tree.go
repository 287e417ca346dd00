package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// A tree is the module: every Go file whatever its build constraints, and the text of every source file.
type tree struct {
	module string
	fset   *token.FileSet
	files  []*file
	texts  map[string]string // Go, C and shell files by name
}

// A file is one Go file of the main module.
type file struct {
	name string // from the root, with slashes
	dir  string // "." is the root package
	test bool
	ast  *ast.File
}

// A finding is one violation.
type finding struct {
	file string
	line int
	text string
}

var moduleLine = regexp.MustCompile(`(?m)^module (\S+)$`)

// load reads the module at the root of fsys. Directories with a go.mod of their own are other modules.
func load(fsys fs.FS) (*tree, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	m := moduleLine.FindSubmatch(mod)
	if m == nil {
		return nil, fmt.Errorf("go.mod names no module")
	}
	t := &tree{module: string(m[1]), fset: token.NewFileSet(), texts: map[string]string{}}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		return t.read(fsys, name)
	})
	return t, err
}

func (t *tree) read(fsys fs.FS, name string) error {
	switch path.Ext(name) {
	case ".go", ".c", ".h", ".sh":
	default:
		return nil
	}
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	t.texts[name] = string(src)
	if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
		return nil
	}
	f, err := parser.ParseFile(t.fset, name, src, parser.ParseComments)
	if err != nil {
		return err
	}
	t.files = append(t.files, &file{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), f})
	return nil
}

// found makes a finding at a node.
func (t *tree) found(at ast.Node, format string, args ...any) finding {
	p := t.fset.Position(at.Pos())
	return finding{p.Filename, p.Line, fmt.Sprintf(format, args...)}
}

// each calls f for every node of every file that keep selects, and collects what it finds.
func (t *tree) each(keep func(*file) bool, f func(*file, ast.Node) []finding) []finding {
	var all []finding
	for _, fl := range t.files {
		if !keep(fl) {
			continue
		}
		ast.Inspect(fl.ast, func(n ast.Node) bool {
			if n != nil {
				all = append(all, f(fl, n)...)
			}
			return true
		})
	}
	return all
}

func everywhere(*file) bool { return true }

// inLibrary selects what programs link: the thin layer, gssapi and what they use.
func inLibrary(f *file) bool {
	return !f.test && (f.dir == "." || within(f.dir, "gssapi") || within(f.dir, "internal"))
}

func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

// isThin tells the files that may hold import "C".
func isThin(f *file) bool { return f.dir == "." && strings.HasPrefix(f.name, "cgo_") && !f.test }

// selector returns "x.Sel" of a call or expression x.Sel, or "".
func selector(n ast.Node) string {
	if call, ok := n.(*ast.CallExpr); ok {
		n = call.Fun
	}
	if s, ok := n.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

// method returns the name behind the dot of a call x.name(...), whatever x is, or "".
func method(n ast.Node) string {
	if call, ok := n.(*ast.CallExpr); ok {
		if s, ok := call.Fun.(*ast.SelectorExpr); ok {
			return s.Sel.Name
		}
	}
	return ""
}

func importPath(s *ast.ImportSpec) string {
	p, _ := strconv.Unquote(s.Path.Value) // the parser has seen to it
	return p
}
