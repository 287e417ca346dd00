package main

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// ---- stub-twin ----

func stubTwin(t *tree) []finding {
	real, stub := map[string]*ast.FuncDecl{}, map[string]*ast.FuncDecl{}
	for _, f := range t.files {
		var into map[string]*ast.FuncDecl
		switch {
		case f.name == "cgo_stub.go":
			into = stub
		case isCrossingFile(f):
			into = real
		default:
			continue
		}
		for _, d := range f.ast.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil && !mentionsC(d.Type) {
				into[d.Name.Name] = d
			}
		}
	}
	var bad []finding
	for name, d := range real {
		if s := stub[name]; s == nil {
			bad = append(bad, t.found(d, "%s has no twin in cgo_stub.go", name))
		} else if a, b := signature(d), signature(s); a != b {
			bad = append(bad, t.found(s, "%s is %s here, and %s in cgo_unix*.go", name, b, a))
		}
	}
	for name, d := range stub {
		if real[name] == nil {
			bad = append(bad, t.found(d, "%s has no twin in cgo_unix*.go", name))
		}
	}
	return bad
}

func isCrossingFile(f *file) bool {
	return f.dir == "." && strings.HasPrefix(f.name, "cgo_unix") && !f.test
}

// mentionsC tells helpers of the cgo files, which need no twin.
func mentionsC(typ ast.Expr) (found bool) {
	ast.Inspect(typ, func(n ast.Node) bool {
		if n != nil && strings.HasPrefix(selector(n), "C.") {
			found = true
		}
		return !found
	})
	return found
}

// signature is the type of a function without the names of parameters.
func signature(d *ast.FuncDecl) string {
	list := func(l *ast.FieldList) string {
		var all []string
		if l != nil {
			for _, f := range l.List {
				for range max(1, len(f.Names)) {
					all = append(all, types.ExprString(f.Type))
				}
			}
		}
		return "(" + strings.Join(all, ", ") + ")"
	}
	return "func" + list(d.Type.Params) + list(d.Type.Results)
}

// ---- pinned-call ----

const pinnedDirective = "//gss:pinned"

// pinnedCall checks the callers of what makes GSS-API calls: they hold the thread and their handles.
// What does so is the functions of cgo_unix*.go that return a status, and every helper with the
// directive, whose callers hold the thread for it.
func pinnedCall(t *tree) []finding {
	p := &pinning{t: t, funcs: map[string]bool{}, methods: map[string]bool{}, holders: map[string]bool{}}
	statuses := p.statusTypes()
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || f.dir != "." || f.test {
				continue
			}
			if d.Body != nil && d.Recv == nil && p.holds(d.Body) {
				p.holders[d.Name.Name] = true
			}
			switch {
			case hasDirective(d) && d.Recv != nil:
				p.methods[d.Name.Name] = true
			case hasDirective(d), isCrossingFile(f) && d.Recv == nil && returns(d, statuses):
				p.funcs[d.Name.Name] = true
			}
		}
	}
	for _, f := range t.files {
		if f.dir != "." || f.test || isThin(f) {
			continue
		}
		for _, d := range f.ast.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				held := hasDirective(d) || p.holds(d.Body) || (d.Name.Name == "begin" || d.Name.Name == "beginWork") && callsDirectly(d.Body, "runtime.LockOSThread")
				p.walk(d.Name.Name, d.Body, held)
			}
		}
	}
	return p.bad
}

type pinning struct {
	t              *tree
	funcs, methods map[string]bool // what may be called only from where the thread is held
	holders        map[string]bool // functions that hold it, and call with it what they are given
	bad            []finding
}

// statusTypes are status and the structs of the root package that embed it.
func (p *pinning) statusTypes() map[string]bool {
	names := map[string]bool{"status": true}
	p.t.each(func(f *file) bool { return f.dir == "." && !f.test }, func(f *file, n ast.Node) []finding {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					if id, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 && id.Name == "status" {
						names[spec.Name.Name] = true
					}
				}
			}
		}
		return nil
	})
	return names
}

func returns(d *ast.FuncDecl, names map[string]bool) bool {
	if d.Type.Results == nil {
		return false
	}
	for _, r := range d.Type.Results.List {
		if id, ok := r.Type.(*ast.Ident); ok && names[id.Name] {
			return true
		}
	}
	return false
}

func hasDirective(d *ast.FuncDecl) bool {
	if d.Doc == nil {
		return false
	}
	for _, c := range d.Doc.List {
		if c.Text == pinnedDirective {
			return true
		}
	}
	return false
}

// holds tells whether a function body itself takes hold of the thread and gives it back by defer.
func (p *pinning) holds(body *ast.BlockStmt) bool {
	if callsDirectly(body, "runtime.LockOSThread") && defersDirectly(body, "runtime.UnlockOSThread") {
		return true
	}
	begun := false
	inspectDirectly(body, func(n ast.Node) {
		if name := begins(n); name != "" && defersDirectly(body, name+".end") {
			begun = true
		}
	})
	return begun
}

// begins returns u of "u, err := x.begin(...)", or of need, which is begin for what must be given.
func begins(n ast.Node) string {
	a, ok := n.(*ast.AssignStmt)
	if !ok || len(a.Rhs) != 1 || !slices.Contains([]string{"begin", "beginWork", "need"}, method(a.Rhs[0])) {
		return ""
	}
	id, _ := a.Lhs[0].(*ast.Ident)
	if id == nil {
		return ""
	}
	return id.Name
}

// walk reports the calls in body that need the thread where it is not held, and what is begun and not ended.
// A function literal holds what its surroundings hold only if it is called on the spot, and the thread
// if it is given to a function that holds it.
func (p *pinning) walk(name string, body *ast.BlockStmt, held bool) {
	literals := map[*ast.FuncLit]bool{} // held or not
	thrownAway := map[*ast.CallExpr]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if lit, ok := n.Call.Fun.(*ast.FuncLit); ok {
				p.walk(name, lit.Body, p.holds(lit.Body))
				return false
			}
			p.call(name, n.Call, false)
			return false
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok {
				thrownAway[call] = true
			}
		case *ast.CallExpr:
			if lit, ok := n.Fun.(*ast.FuncLit); ok {
				literals[lit] = held
			}
			if id, ok := n.Fun.(*ast.Ident); ok && p.holders[id.Name] {
				for _, arg := range n.Args {
					if lit, ok := arg.(*ast.FuncLit); ok {
						literals[lit] = true
					}
				}
			}
			if !thrownAway[n] || !isRelease(n) {
				p.call(name, n, held)
			}
		case *ast.AssignStmt:
			if u := begins(n); u != "" && !defersDirectly(body, u+".end") {
				p.bad = append(p.bad, p.t.found(n, "%s begins %s without a defer %s.end()", name, u, u))
			}
		case *ast.FuncLit:
			p.walk(name, n.Body, literals[n] || p.holds(n.Body))
			return false
		}
		return true
	})
}

// isRelease tells the calls that give something back: with their status thrown away no text is asked for.
func isRelease(call *ast.CallExpr) bool {
	id, ok := call.Fun.(*ast.Ident)
	return ok && (strings.HasPrefix(id.Name, "release") || strings.HasPrefix(id.Name, "delete"))
}

func (p *pinning) call(in string, call *ast.CallExpr, held bool) {
	if held {
		return
	}
	if id, ok := call.Fun.(*ast.Ident); ok && p.funcs[id.Name] {
		p.bad = append(p.bad, p.t.found(call, "%s calls %s without begin or runtime.LockOSThread and their defers", in, id.Name))
	}
	if m := method(call); p.methods[m] {
		p.bad = append(p.bad, p.t.found(call, "%s calls %s, which is %s, without begin or runtime.LockOSThread and their defers", in, m, pinnedDirective))
	}
}

// inspectDirectly visits the nodes of a body, but not those of function literals in it.
func inspectDirectly(body *ast.BlockStmt, f func(ast.Node)) {
	ast.Inspect(body, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok || n == nil {
			return false
		}
		f(n)
		return true
	})
}

func callsDirectly(body *ast.BlockStmt, name string) (found bool) {
	inspectDirectly(body, func(n ast.Node) {
		if s, ok := n.(*ast.ExprStmt); ok && selector(s.X) == name {
			found = true
		}
	})
	return found
}

func defersDirectly(body *ast.BlockStmt, name string) (found bool) {
	inspectDirectly(body, func(n ast.Node) {
		if d, ok := n.(*ast.DeferStmt); ok && selector(d.Call) == name {
			found = true
		}
	})
	return found
}
