// Testreport reads the output of go test -json and tells what matters: the
// output of what failed, one line of counts, and why tests were skipped.
//
//	go test -json ./... | go run ./ci/testreport -name mit -require TestRequiredLibrary -totals file
//	go run ./ci/testreport -sum file
//
// The exit status is 1 if a test or a package failed, if a test was skipped
// without a sentence, if no test passed (unless -none-ok), or if a required one did not.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	name := flag.String("name", "tests", "`name` of the run, before its counts")
	require := flag.String("require", "", "a `test` that must have passed, not just been skipped")
	noneOK := flag.Bool("none-ok", false, "having no tests is no failure")
	totals := flag.String("totals", "", "`file` to which the counts are appended")
	sum := flag.String("sum", "", "print the sum of the counts in this `file` instead")
	flag.Parse()
	var err error
	if *sum != "" {
		err = printSum(os.Stdout, *sum)
	} else {
		err = report(os.Stdout, os.Stdin, *name, *require, *noneOK, *totals)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// report reads one run and prints what it came to.
func report(w io.Writer, r io.Reader, name, require string, noneOK bool, totals string) error {
	run, err := read(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	run.print(w, name)
	if totals != "" {
		f, err := os.OpenFile(totals, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(f, run.passed, run.failed, run.skipped)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	switch {
	case run.failed > 0:
		return fmt.Errorf("%s: failed", name)
	case run.sentences[""] > 0:
		return fmt.Errorf("%s: %d tests were skipped without a sentence", name, run.sentences[""])
	case run.passed == 0 && !noneOK:
		return fmt.Errorf("%s: no test passed", name)
	case require != "" && !run.passedByName[require]:
		return fmt.Errorf("%s: %s did not pass", name, require)
	}
	return nil
}

func printSum(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var passed, failed, skipped int
	for {
		var p, x, s int
		if _, err := fmt.Fscan(f, &p, &x, &s); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		passed, failed, skipped = passed+p, failed+x, skipped+s
	}
	_, err = fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return err
}

// A run is one go test command. Of a test with subtests only these count.
type run struct {
	passed, failed, skipped int
	sentences               map[string]int  // why tests were skipped, and how many; "" is no sentence
	passedByName            map[string]bool // top-level tests
	failures                []*result
}

// A result is a test, or with no name a package or a build.
type result struct {
	pkg, test string
	output    []string
	outcome   string // pass, fail or skip; empty: it never ended
	parent    bool   // it has subtests
}

type event struct {
	Action, Package, ImportPath, Test, Output, FailedBuild string
}

// read follows the events of go test -json to their end.
func read(r io.Reader) (*run, error) {
	results := map[[2]string]*result{}
	var order []*result
	of := func(pkg, test string) *result {
		key := [2]string{pkg, test}
		if results[key] == nil {
			results[key] = &result{pkg: pkg, test: test}
			order = append(order, results[key])
		}
		return results[key]
	}
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
				return nil, fmt.Errorf("not a line of go test -json: %q", line)
			}
			switch e.Action {
			case "output":
				of(e.Package, e.Test).output = append(of(e.Package, e.Test).output, e.Output)
			case "build-output":
				of(e.ImportPath, "").output = append(of(e.ImportPath, "").output, e.Output)
			case "build-fail":
				of(e.ImportPath, "").outcome = "fail"
			case "pass", "fail", "skip":
				of(e.Package, e.Test).outcome = e.Action
				if e.FailedBuild != "" {
					of(e.Package, "").outcome = "skip" // the build has failed, and is counted
				}
			case "start", "run":
				of(e.Package, e.Test)
				for i := strings.LastIndexByte(e.Test, '/'); i > 0; i = strings.LastIndexByte(e.Test[:i], '/') {
					if parent := results[[2]string{e.Package, e.Test[:i]}]; parent != nil { // the slash may be of a subtest's own name
						parent.parent = true
					}
				}
			}
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return count(order), nil
}

func count(results []*result) *run {
	run := &run{sentences: map[string]int{}, passedByName: map[string]bool{}}
	failed := map[string]int{} // tests of a package that failed
	for _, r := range results {
		if r.test == "" {
			continue
		}
		switch {
		case r.outcome == "pass" && !r.parent:
			run.passed++
			run.passedByName[r.test] = true
		case r.outcome == "skip" && !r.parent:
			run.skipped++
			run.sentences[sentence(r.output)]++
		case r.outcome == "fail" || r.outcome == "":
			run.failures = append(run.failures, r)
			failed[r.pkg]++
			if !r.parent {
				run.failed++
			}
		}
	}
	for _, r := range results {
		if r.test != "" || r.outcome == "pass" || r.outcome == "skip" {
			continue
		}
		run.failures = append(run.failures, r)
		if failed[r.pkg] == 0 { // TestMain, a build or a sanitizer failed
			run.failed++
		}
	}
	run.failed = max(run.failed, min(1, len(run.failures))) // one that failed although its subtests had passed
	return run
}

var position = regexp.MustCompile(`^\s*\S+\.go:\d+: `)

// sentence is what a test said when it was skipped.
func sentence(output []string) string {
	var said []string
	for _, line := range output {
		line = strings.TrimSpace(position.ReplaceAllString(line, ""))
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// print writes what failed, the counts and the sentences.
func (run *run) print(w io.Writer, name string) {
	for _, r := range run.failures {
		what := strings.TrimSuffix(r.pkg+" "+r.test, " ")
		if r.outcome == "" {
			what += " (did not end)"
		}
		fmt.Fprintf(w, "\nFAIL %s\n", what)
		const most = 400 // lines: a sanitizer's report has fewer
		out := r.output
		if len(out) > most {
			fmt.Fprintf(w, "    ... %d lines\n", len(out)-most)
			out = out[len(out)-most:]
		}
		for _, line := range out {
			if !strings.HasPrefix(line, "=== ") {
				fmt.Fprintf(w, "    %s\n", strings.TrimRight(line, "\n"))
			}
		}
	}
	fmt.Fprintf(w, "%s: %d passed, %d failed, %d skipped\n", name, run.passed, run.failed, run.skipped)
	for _, s := range slices.Sorted(maps.Keys(run.sentences)) {
		text := s
		if text == "" {
			text = "(no sentence)"
		}
		fmt.Fprintf(w, "    %d skipped: %s\n", run.sentences[s], text)
	}
}
