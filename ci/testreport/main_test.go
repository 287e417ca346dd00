package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const passing = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/one"}
{"Action":"pass","Package":"p","Test":"TestA/one"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: this library has no IOV\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p"}
{"Action":"start","Package":"empty"}
{"Action":"skip","Package":"empty"}
`

func TestReport(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(passing, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(passing, old, new, 1)
	}
	for _, tt := range []struct {
		name, in, require string
		out, err          string
	}{
		{"passing", passing, "", "mit: 1 passed, 0 failed, 1 skipped\n    1 skipped: this library has no IOV\n", ""},
		{"required", passing, "TestA/one", "mit: 1 passed", ""},
		{"required is skipped", passing, "TestB", "mit: 1 passed", "TestB did not pass"},
		{"required is not there", passing, "TestC", "mit: 1 passed", "TestC did not pass"},
		{"slash in a name", strings.ReplaceAll(passing, "/one", "/and/or"), "TestA/and/or", "mit: 1 passed, 0 failed", ""},
		{"no sentence", edit("    b_test.go:7: this library has no IOV", ""), "", "(no sentence)", "skipped without a sentence"},
		{"subtest fails", strings.ReplaceAll(edit(`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
			`{"Action":"output","Package":"p","Test":"TestA/one","Output":"    a_test.go:1: got 2\n"}`+"\n"+`{"Action":"fail","Package":"p","Test":"TestA/one"}`),
			`{"Action":"pass"`, `{"Action":"fail"`), "", "FAIL p TestA/one\n        a_test.go:1: got 2\n", "mit: failed"},
		{"subtest fails, count", strings.ReplaceAll(passing, `{"Action":"pass"`, `{"Action":"fail"`), "", "mit: 0 passed, 1 failed, 1 skipped", "mit: failed"},
		{"test does not end", edit(`{"Action":"pass","Package":"p","Test":"TestA/one"}`+"\n", ""), "", "FAIL p TestA/one (did not end)", "mit: failed"},
		{"package does not end", edit(`{"Action":"pass","Package":"p"}`+"\n", ""), "", "FAIL p (did not end)", "mit: failed"},
		{"package fails", edit(`{"Action":"pass","Package":"p"}`, `{"Action":"output","Package":"p","Output":"leak of 8 bytes\n"}`+"\n"+`{"Action":"fail","Package":"p"}`), "",
			"FAIL p\n    leak of 8 bytes\nmit: 1 passed, 1 failed, 1 skipped", "mit: failed"},
		{"build fails", passing + `{"ImportPath":"q [q.test]","Action":"build-output","Output":"q.go:1: undefined: x\n"}
{"ImportPath":"q [q.test]","Action":"build-fail"}
{"Action":"start","Package":"q"}
{"Action":"fail","Package":"q","FailedBuild":"q [q.test]"}
`, "", "q.go:1: undefined: x\nmit: 1 passed, 1 failed", "mit: failed"},
		{"test fails although its subtests pass", edit(`{"Action":"pass","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`), "", "1 passed, 1 failed", "mit: failed"},
		{"nothing ran", `{"Action":"start","Package":"p"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n", "", "0 passed", "no test passed"},
		{"empty", "", "", "0 passed", "no test passed"},
		{"not JSON", passing + "panic\n", "", "", "not a line of go test -json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := report(&out, strings.NewReader(tt.in), "mit", tt.require, false, "")
			if !strings.Contains(out.String(), tt.out) {
				t.Errorf("output %q, want %q", out.String(), tt.out)
			}
			if err == nil && tt.err != "" || err != nil && (tt.err == "" || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestSum(t *testing.T) {
	totals := filepath.Join(t.TempDir(), "totals")
	var out bytes.Buffer
	for range 3 {
		if err := report(&out, strings.NewReader(passing), "mit", "", false, totals); err != nil {
			t.Fatal(err)
		}
	}
	if err := report(&out, strings.NewReader(""), "none", "", true, totals); err != nil {
		t.Errorf("no tests, where there need be none: %v", err)
	}
	out.Reset()
	if err := printSum(&out, totals); err != nil || out.String() != "3 passed, 0 failed, 3 skipped\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := os.WriteFile(totals, []byte("three of them"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := printSum(&out, totals); err == nil {
		t.Error("a broken file has a sum")
	}
}
