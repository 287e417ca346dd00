package examples

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The Go programs in the README are those of this directory, and they compile.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, file := range []string{"client/main.go", "server/main.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(src))
	}
	whole := 0
	_, rest, found := strings.Cut(string(readme), "```go\n")
	for found {
		var block string
		block, rest, found = strings.Cut(rest, "```\n")
		if !found {
			t.Fatal("a code block has no end")
		}
		if !slices.ContainsFunc(sources, func(src string) bool { return strings.Contains(src, block) }) {
			t.Errorf("README.md has Go code that is in no file of examples/, so that nobody compiles it:\n%s", block)
		}
		if slices.Contains(sources, block) {
			whole++
		}
		_, rest, found = strings.Cut(rest, "```go\n")
	}
	if whole != 2 {
		t.Errorf("README.md shows %d programs of examples/ as they are, want 2: copy them again", whole)
	}
	if out, err := exec.Command("go", "vet", "./...").CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}
