package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const module = "github.com/seed2651813c/gss"

// code tells by which Go names a C function is called: the exported ones that
// are the fewest calls away from it.
type code struct {
	thin map[string][]string // in package gss
	home map[string][]string // in package gssapi
}

// known are the homes that a call graph does not see, or of which it sees too
// many: what reference counting releases, and what every call does.
var known = map[string][2]string{
	"gss_display_status":     {"Error", "Error"},
	"gss_check_version":      {"Library", ""},
	"gss_release_name":       {"Name.Release", "Name.Close"},
	"gss_release_cred":       {"Cred.Release", "Credential.Close"},
	"gss_delete_sec_context": {"Ctx.Delete", "Context.Close"},
	"gss_release_buffer":     {"Buffer.Release", ""},
	"gss_release_iov_buffer": {"all methods of Ctx on parts", "all methods of Context on parts"},
}

// readCode follows the calls from the C functions up to what programs call.
func readCode(root string) (*code, error) {
	entries, err := readEntries(filepath.Join(root, "shim*.h"))
	if err != nil {
		return nil, err
	}
	labels, err := readLabels(filepath.Join(root, "shim*.h"))
	if err != nil {
		return nil, err
	}
	crossings, err := readCrossings(filepath.Join(root, "cgo_unix*.go"), entries, labels)
	if err != nil {
		return nil, err
	}
	g, err := readGraph(root)
	if err != nil {
		return nil, err
	}
	c := &code{map[string][]string{}, map[string][]string{}}
	for f, from := range crossings {
		c.thin[f], c.home[f] = g.nearest(f, from, module), g.nearest(f, from, module+"/gssapi")
		if names, ok := known[f]; ok {
			c.thin[f], c.home[f] = names[:1], slices.DeleteFunc(names[1:], func(s string) bool { return s == "" })
		}
	}
	return c, nil
}

var (
	entry   = regexp.MustCompile(`(?ms)^(?:static inline|extern) [^;{]*?\b(gssgo_\w+)\([^;{]*\) \{(\n.*?^\}|[^\n]*\}$)`)
	called  = regexp.MustCompile(`gssgo_fn\.(\w+)`)
	further = regexp.MustCompile(`\b(gssgo_\w+)\(`)
)

// readEntries returns the functions of the table that each entry point of the
// shim calls.
func readEntries(pattern string) (map[string][]string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	direct, calls := map[string][]string{}, map[string][]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range entry.FindAllStringSubmatch(string(b), -1) {
			for _, f := range called.FindAllStringSubmatch(m[2], -1) {
				direct[m[1]] = append(direct[m[1]], f[1])
			}
			for _, f := range further.FindAllStringSubmatch(m[2], -1) {
				calls[m[1]] = append(calls[m[1]], f[1])
			}
			if direct[m[1]] == nil {
				direct[m[1]] = []string{}
			}
		}
	}
	if len(direct) == 0 {
		return nil, fmt.Errorf("%s: no entry points found", pattern)
	}
	all := map[string][]string{}
	for e := range direct {
		seen := map[string]bool{}
		var add func(e string)
		add = func(e string) {
			if seen[e] {
				return
			}
			seen[e] = true
			for _, f := range direct[e] {
				seen["fn "+f] = true
			}
			for _, next := range calls[e] {
				add(next)
			}
		}
		add(e)
		for s := range seen {
			if f, ok := strings.CutPrefix(s, "fn "); ok {
				all[e] = append(all[e], f)
			}
		}
	}
	return all, nil
}

var labelled = regexp.MustCompile(`(?ms)^ +case (GSSGO_\w+):\n(.*?)^ +break;`)

// readLabels returns the functions of the table that an entry point calls for one
// value of an argument: those between a case and its break.
func readLabels(pattern string) (map[string][]string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	labels := map[string][]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range labelled.FindAllStringSubmatch(string(b), -1) {
			for _, f := range called.FindAllStringSubmatch(m[2], -1) {
				labels[m[1]] = append(labels[m[1]], f[1])
			}
		}
	}
	return labels, nil
}

// readCrossings returns the Go functions that cross to each function of the table.
// Where Go names the label of a function, those that name it do, and not those that
// pass it on.
func readCrossings(pattern string, entries, labels map[string][]string) (map[string][]string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	named := map[string]bool{} // functions of labels that Go names
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		ast.Inspect(f, func(n ast.Node) bool {
			for _, function := range labels[cName(n)] {
				named[function] = true
			}
			return true
		})
	}
	crossings, calls := map[string][]string{}, map[string][]string{} // the latter among the Go functions here
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				if c, ok := n.(*ast.CallExpr); ok {
					if id, ok := c.Fun.(*ast.Ident); ok {
						calls[id.Name] = append(calls[id.Name], fn.Name.Name)
					}
				}
				through := slices.DeleteFunc(slices.Clone(entries[cName(n)]), func(f string) bool { return named[f] })
				for _, f := range append(through, labels[cName(n)]...) {
					if !slices.Contains(crossings[f], fn.Name.Name) {
						crossings[f] = append(crossings[f], fn.Name.Name)
					}
				}
				return true
			})
		}
	}
	for f, names := range crossings {
		for i := 0; i < len(names); i++ { // names grows
			for _, caller := range calls[names[i]] {
				if !slices.Contains(names, caller) {
					names = append(names, caller)
				}
			}
		}
		crossings[f] = names
	}
	return crossings, nil
}

// cName is the name in C that n is, such as of C.gssgo_wrap; else empty.
func cName(n ast.Node) string {
	if s, ok := n.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "C" {
			return s.Sel.Name
		}
	}
	return ""
}

// graph is who calls whom in packages gss and gssapi.
type graph struct {
	byName  map[string]*types.Func // the functions of package gss that are no methods
	callers map[*types.Func]map[*types.Func]bool
}

// readGraph type-checks both packages as they are without cgo: every crossing has
// a stub there.
func readGraph(root string) (*graph, error) {
	build.Default.CgoEnabled = false
	fset := token.NewFileSet()
	g := &graph{map[string]*types.Func{}, map[*types.Func]map[*types.Func]bool{}}
	std := importer.ForCompiler(fset, "source", nil)
	checked := map[string]*types.Package{}
	for _, dir := range []string{".", "gssapi"} {
		p, err := build.Default.ImportDir(filepath.Join(root, dir), 0)
		if err != nil {
			return nil, err
		}
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(root, dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
		info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
		path := strings.TrimSuffix(module+"/"+dir, "/.")
		conf := types.Config{Importer: importing(func(path string) (*types.Package, error) {
			if p := checked[path]; p != nil {
				return p, nil
			}
			return std.Import(path)
		})}
		pkg, err := conf.Check(path, fset, files, info)
		if err != nil {
			return nil, err
		}
		checked[path] = pkg
		g.add(files, info, path == module)
	}
	return g, nil
}

type importing func(path string) (*types.Package, error)

func (f importing) Import(path string) (*types.Package, error) { return f(path) }

func (g *graph) add(files []*ast.File, info *types.Info, thin bool) {
	methods := map[string][]*types.Func{} // by name: what a method of an interface may be
	each := func(f func(d *ast.FuncDecl, fn *types.Func)) {
		for _, file := range files {
			for _, d := range file.Decls {
				if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
					f(d, info.Defs[d.Name].(*types.Func))
				}
			}
		}
	}
	each(func(d *ast.FuncDecl, fn *types.Func) {
		if d.Recv != nil {
			methods[d.Name.Name] = append(methods[d.Name.Name], fn)
		} else if thin {
			g.byName[d.Name.Name] = fn
		}
	})
	edge := func(from, to *types.Func) {
		if g.callers[to] == nil {
			g.callers[to] = map[*types.Func]bool{}
		}
		g.callers[to][from] = true
	}
	each(func(d *ast.FuncDecl, fn *types.Func) {
		ast.Inspect(d.Body, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			to, ok := info.Uses[id].(*types.Func)
			if !ok {
				return true
			}
			to = to.Origin()
			edge(fn, to)
			if recv := to.Signature().Recv(); recv != nil && types.IsInterface(recv.Type()) {
				for _, m := range methods[to.Name()] {
					edge(fn, m)
				}
			}
			return true
		})
	})
}

// nearest returns the exported functions and methods of a package that are the
// fewest calls away from one of those of package gss: of all that are reached, the
// one that has the C function's own name, if there is one. (One crossing may serve
// several C functions.)
func (g *graph) nearest(function string, from []string, path string) []string {
	own := strings.ReplaceAll(strings.TrimPrefix(function, "gss"), "_", "")
	seen := map[*types.Func]bool{}
	var level []*types.Func
	for _, name := range from {
		if fn := g.byName[name]; fn != nil {
			level = append(level, fn)
			seen[fn] = true
		}
	}
	var first []string
	for len(level) > 0 {
		var names []string
		var next []*types.Func
		for _, fn := range level {
			if name := exportedName(fn); name != "" && fn.Pkg().Path() == path {
				if strings.EqualFold(fn.Name(), own) {
					return []string{name}
				}
				names = append(names, name)
			}
			for caller := range g.callers[fn] {
				if !seen[caller] {
					seen[caller] = true
					next = append(next, caller)
				}
			}
		}
		if first == nil {
			slices.Sort(names)
			first = names
		}
		level = next
	}
	return first
}

// exportedName is how a program writes it; empty if it cannot.
func exportedName(fn *types.Func) string {
	if !fn.Exported() {
		return ""
	}
	recv := fn.Signature().Recv()
	if recv == nil {
		return fn.Name()
	}
	t := recv.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok && n.Obj().Exported() {
		return n.Obj().Name() + "." + fn.Name()
	}
	return ""
}
