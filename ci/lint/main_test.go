package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

// clean is a module in small that keeps every rule.
func clean() map[string]string {
	return map[string]string{
		"go.mod": "module example.org/m\n\ngo 1.25\n",
		"cgo_unix.go": `//go:build cgo && unix

package gss

import "C"
import "unsafe"

func in(b []byte) (*C.uchar, C.size_t) { return (*C.uchar)(unsafe.SliceData(b)), C.size_t(len(b)) }

func wrap(ctx unsafe.Pointer, msg []byte) (status, bool) { return status{}, false }

func getMIC(ctx unsafe.Pointer) micResult { return micResult{} }

func releaseName(n unsafe.Pointer) status { return status{} }

func bound(name string) bool { return false }
`,
		"cgo_stub.go": `//go:build !cgo || !unix

package gss

import "unsafe"

func wrap(handle unsafe.Pointer, b []byte) (status, bool) { return status{}, false }

func getMIC(ctx unsafe.Pointer) micResult { return micResult{} }

func releaseName(n unsafe.Pointer) status { return status{} }

func bound(string) bool { return false }
`,
		"message.go": `package gss

import (
	"runtime"
	"unsafe"
)

type status struct{}

type micResult struct {
	status
	n int
}

//gss:pinned
func (s status) error(op string) error { return nil }

type use struct{ h unsafe.Pointer }

func (u use) end() { runtime.UnlockOSThread() }

// Ctx is a context.
type Ctx struct{}

func (x *Ctx) begin(op string) (use, error) {
	runtime.LockOSThread()
	s := releaseName(nil)
	return use{}, s.error(op)
}

// Wrap seals.
func (x *Ctx) Wrap(msg []byte) error {
	u, err := x.begin("wrap")
	if err != nil {
		return err
	}
	defer u.end()
	s, _ := wrap(u.h, msg)
	return s.error("wrap")
}

// Sign signs.
func Sign() error {
	if !bound("gss_get_mic") {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return getMIC(nil).error("sign")
}

func pinned(f func() status) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f().error("pinned")
}

// Through calls what another function has pinned.
func Through() error {
	return pinned(func() status { return getMIC(nil).status })
}

func newName(h unsafe.Pointer) func() { return func() { releaseName(h) } }

// The colours of the library.
const (
	Red = 1 + iota
	Green
)
`,
		"message_test.go": `package gss

import (
	"testing"
	"time"

	"example.net/cmp"
)

func TestX(t *testing.T) {
	cmp.Diff()
	// sleep: the clock of the file system has whole seconds
	time.Sleep(1)
	t.Skip("this library has no messages")
}
`,
		"gssapi/gssapi.go":         "package gssapi\n\nimport _ \"example.org/m\"\n",
		"gssapi/sasl/sasl.go":      "package sasl\n\nimport _ \"example.org/m/gssapi\"\n",
		"gssapi/sasl/kafka/k.go":   "package kafka\n\nimport _ \"example.org/m/gssapi/sasl\"\n",
		"gssapi/ldapauth/ldap.go":  "package ldapauth\n\nimport _ \"example.org/m/gssapi/sasl\"\n",
		"gssapi/gsstest/realm.go":  "package gsstest\n\nimport _ \"os\"\n",
		"examples/go.mod":          "module example.org/m/examples\n",
		"examples/main.go":         "package examples\n\nimport \"C\"\n",
		"internal/x/testdata/a.go": "not Go at all",
	}
}

func findings(t *testing.T, files map[string]string) map[string][]finding {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tr, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]finding{}
	for _, r := range rules {
		if fs := r.check(tr); len(fs) > 0 {
			found[r.name] = fs
		}
	}
	return found
}

func TestCleanTree(t *testing.T) {
	if found := findings(t, clean()); len(found) != 0 {
		t.Errorf("a clean tree has findings: %v", found)
	}
}

// Each case changes the clean tree in one place; only that rule finds it.
func TestPlantedViolations(t *testing.T) {
	cases := []struct {
		rule, name     string
		file, old, new string
		text           string
	}{
		{"cgo-in-thin-layer", "in another package", "gssapi/gssapi.go", `import _ "example.org/m"`, `import "C"`, "outside of cgo_*.go"},
		{"cgo-in-thin-layer", "in another file", "message.go", "import (", "import \"C\"\nimport (", "outside of cgo_*.go"},
		{"no-truncating-copy", "GoBytes", "cgo_unix.go", "{ return micResult{} }", "{ C.GoBytes(ctx, 1); return micResult{} }", "C.GoBytes"},
		{"no-truncating-copy", "CBytes", "cgo_unix.go", "{ return micResult{} }", "{ C.CBytes(nil); return micResult{} }", "C.CBytes"},
		{"no-truncating-copy", "GoStringN", "cgo_unix.go", "{ return micResult{} }", "{ C.GoStringN(nil, 1); return micResult{} }", "C.GoStringN"},
		{"typed-pointer", "element", "cgo_unix.go", "{ return status{}, false }", "{ return status{}, C.f(unsafe.Pointer(&msg[0])) }", "slice element"},
		{"typed-pointer", "untyped slice data", "cgo_unix.go", "{ return status{}, false }", "{ return status{}, C.f(unsafe.Pointer(unsafe.SliceData(msg))) }", "untyped"},
		{"pinned-call", "nothing held", "message.go", "runtime.LockOSThread()\n\tdefer runtime.UnlockOSThread()\n\treturn getMIC", "return getMIC", "Sign calls getMIC"},
		{"pinned-call", "thread not given back", "message.go", "runtime.LockOSThread()\n\tdefer runtime.UnlockOSThread()\n\treturn getMIC", "runtime.LockOSThread()\n\treturn getMIC", "Sign calls getMIC"},
		{"pinned-call", "no end", "message.go", "defer u.end()", "u.end()", "begins u without a defer"},
		{"pinned-call", "on another goroutine", "message.go", "s, _ := wrap(u.h, msg)", "var s status; go func() { s, _ = wrap(u.h, msg) }()", "Wrap calls wrap"},
		{"pinned-call", "go statement", "message.go", "s, _ := wrap(u.h, msg)", "var s status; go wrap(u.h, msg)", "Wrap calls wrap"},
		{"pinned-call", "in a closure for later", "message.go", "func() { releaseName(h) }", "func() { s := releaseName(h); _ = s }", "newName calls releaseName"},
		{"pinned-call", "given to a function that does not hold", "message.go", "\truntime.LockOSThread()\n\tdefer runtime.UnlockOSThread()\n\treturn f()", "\treturn f()", "Through calls getMIC"},
		{"pinned-call", "caller of a pinned helper", "message.go", "// The colours", "func text() error { return status{}.error(\"x\") }\n\n// The colours", "text calls error"},
		{"stub-twin", "no stub", "cgo_stub.go", "func bound(string) bool { return false }", "", "bound has no twin in cgo_stub.go"},
		{"stub-twin", "no real", "cgo_unix.go", "func bound(name string) bool { return false }", "", "bound has no twin in cgo_unix"},
		{"stub-twin", "other signature", "cgo_stub.go", "func bound(string) bool", "func bound([]byte) bool", "func([]byte)(bool) here"},
		{"doc-comment", "function", "message.go", "// Sign signs.\n", "", "Sign has no comment"},
		{"doc-comment", "method", "message.go", "// Wrap seals.\n", "", "Wrap has no comment"},
		{"doc-comment", "type", "message.go", "// Ctx is a context.\n", "", "Ctx has no comment"},
		{"doc-comment", "constants", "message.go", "// The colours of the library.\n", "", "Green has no comment"},
		{"no-sleep", "outside of tests", "message.go", "func (u use) end() {", "func (u use) end() { time.Sleep(1);", "outside of a test"},
		{"no-sleep", "without a reason", "message_test.go", "// sleep: the", "// the", "sleep: why"},
		{"skip-sentence", "no sentence", "message_test.go", `t.Skip("this library has no messages")`, "t.Skip()", "without a sentence"},
		{"skip-sentence", "empty sentence", "message_test.go", `"this library has no messages"`, `""`, "empty sentence"},
		{"skip-sentence", "SkipNow", "message_test.go", `t.Skip("this library has no messages")`, "t.SkipNow()", "SkipNow"},
		{"std-only", "third party", "gssapi/sasl/sasl.go", "example.org/m/gssapi", "example.net/scram", "neither std"},
		{"std-only", "name that begins alike", "gssapi/sasl/sasl.go", "example.org/m/gssapi", "example.org/more", "neither std"},
		{"imports-go-down", "gss to gssapi", "message.go", `"runtime"`, `"example.org/m/gssapi"`, "must not import"},
		{"imports-go-down", "gssapi to an adapter", "gssapi/gssapi.go", "example.org/m", "example.org/m/gssapi/sasl", "must not import"},
		{"imports-go-down", "adapter to adapter", "gssapi/sasl/sasl.go", "m/gssapi", "m/gssapi/ldapauth", "must not import"},
		{"imports-go-down", "adapter to what is below it", "gssapi/sasl/sasl.go", "m/gssapi", "m/gssapi/ldapauth/below", "must not import"},
		{"imports-go-down", "gsstest to gss", "gssapi/gsstest/realm.go", "os", "example.org/m", "must not import"},
		{"imports-go-down", "library to gsstest", "gssapi/sasl/sasl.go", "m/gssapi", "m/gssapi/gsstest", "must not import"},
		{"no-init", "init", "gssapi/gssapi.go", "import _ \"example.org/m\"\n", "func init() {}\n", "func init"},
		{"nothing-left-to-do", "Go", "message.go", "// The colours", "// TO" + "DO: more of the colours", "TO" + "DO"},
		{"nothing-left-to-do", "C", "shim.c", "", "/* FIX" + "ME */", "FIX" + "ME"},
	}
	tested := map[string]bool{}
	for _, tt := range cases {
		tested[tt.rule] = true
		t.Run(tt.rule+"/"+tt.name, func(t *testing.T) {
			files := clean()
			if !strings.Contains(files[tt.file], tt.old) {
				t.Fatalf("%s has no %q any more", tt.file, tt.old)
			}
			files[tt.file] = strings.Replace(files[tt.file], tt.old, tt.new, 1)
			found := findings(t, files)
			hit := false
			for _, f := range found[tt.rule] {
				hit = hit || strings.Contains(f.text, tt.text) && f.file != "" && f.line > 0
			}
			if !hit {
				t.Errorf("not found: want %q, got %v", tt.text, found)
			}
			delete(found, tt.rule)
			if len(found) > 0 {
				t.Errorf("other rules found %v", found)
			}
		})
	}
	for _, r := range rules {
		if !tested[r.name] {
			t.Errorf("no violation of %s is planted", r.name)
		}
	}
}
