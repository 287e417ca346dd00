package main

import (
	"fmt"
	"go/ast"
	goconst "go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"strings"
)

// A constant is a Go constant that says beside it which C constants it is.
type constant struct {
	file  string
	line  int
	name  string // the C name
	value int64
}

// The comment begins with the C names: "// GSS_C_MUTUAL_FLAG", "// GSS_C_A, GSS_C_B: the same in two libraries".
var cNames = regexp.MustCompile(`^//\s*(GSS_[A-Z0-9_]+(?:,\s*GSS_[A-Z0-9_]+)*)`)

// readConstants collects the integer constants of the package in dir that name a C constant.
func readConstants(dir string) ([]constant, []fault, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, nil, err
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, nil, err
		}
		parsed = append(parsed, f)
	}
	// The constants are plain literals and each other: what the package imports is not needed to know their values.
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: emptyPackages{}, FakeImportC: true, Error: func(error) {}}
	conf.Check("gss", fset, parsed, info) //nolint:errcheck // the errors are those of the empty imports

	var consts []constant
	var faults []fault
	for _, f := range parsed {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Comment == nil || len(spec.Names) != 1 {
				return true
			}
			m := cNames.FindStringSubmatch(spec.Comment.List[0].Text)
			c, ok := info.Defs[spec.Names[0]].(*types.Const)
			if m == nil || !ok {
				return true
			}
			pos := fset.Position(spec.Pos())
			for _, name := range strings.Split(m[1], ",") {
				name = strings.TrimSpace(name)
				v, exact := goconst.Int64Val(goconst.ToInt(c.Val()))
				if !exact {
					faults = append(faults, fault{filepath.Base(pos.Filename), pos.Line, name,
						fmt.Sprintf("the value of %s is not an integer that can be told", spec.Names[0].Name)})
					continue
				}
				consts = append(consts, constant{filepath.Base(pos.Filename), pos.Line, name, v})
			}
			return true
		})
	}
	return consts, faults, nil
}

// emptyPackages imports every package as one without contents.
type emptyPackages struct{}

func (emptyPackages) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}
