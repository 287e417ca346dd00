package examples

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The Go programs in the README are those of this directory, and they compile.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, file := range []string{"client/main.go", "server/main.go"} {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		shown[string(src)] = true
		if !strings.Contains(string(readme), "```go\n"+string(src)+"```\n") {
			t.Errorf("README.md does not show %s as it is: copy it again", file)
		}
	}
	_, rest, found := strings.Cut(string(readme), "```go\n")
	for found {
		var block string
		block, rest, found = strings.Cut(rest, "```\n")
		if !found {
			t.Fatal("a code block has no end")
		}
		if !shown[block] {
			t.Errorf("README.md has Go code that is in no file of examples/, so that nobody compiles it:\n%s", block)
		}
		_, rest, found = strings.Cut(rest, "```go\n")
	}
	if out, err := exec.Command("go", "vet", "./client", "./server").CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}
