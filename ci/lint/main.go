// Lint holds the tree to the rules of this project that no other tool knows:
// how C is called, which package may import which, and what every package owes
// its reader. Run it from the root of the module:
//
//	go run ./ci/lint
//
// Each violation is a line with file, line, rule and what is wrong; then the exit
// status is 1. The rules are the table in rules.go.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	root := flag.String("root", ".", "`directory` of the module")
	flag.Parse()
	t, err := load(os.DirFS(*root))
	if err != nil {
		fmt.Fprintf(os.Stderr, "lint: %v\n", err)
		os.Exit(2)
	}
	bad := 0
	for _, r := range rules {
		found := r.check(t)
		for _, f := range found {
			fmt.Printf("%s:%d: %s: %s\n", f.file, f.line, r.name, f.text)
		}
		if len(found) > 0 {
			fmt.Printf("\t%s: %s\n", r.name, r.why)
		}
		bad += len(found)
	}
	fmt.Printf("lint: %d rules, %d Go files, %d violations\n", len(rules), len(t.files), bad)
	if bad > 0 {
		os.Exit(1)
	}
}
