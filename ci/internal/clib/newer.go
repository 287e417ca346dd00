package clib

import (
	"bufio"
	_ "embed" // newer.txt
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Newer is a function or a constant of a newer library than those of this
// machine.
type Newer struct {
	Line   int    // of newer.txt
	Kind   string // of the library
	Name   string
	Since  string // such as "after 7.8"
	Source string // where it was seen
}

// NewerFile is where Newers come from, as faults name it.
const NewerFile = "newer.txt"

//go:embed newer.txt
var newerText string

// Newers are those of newer.txt.
func Newers() ([]Newer, error) { return ParseNewers(newerText) }

var newerLine = regexp.MustCompile(`^(\w+) (\w+): ([^;]+); (.+)$`)

// ParseNewers reads the lines of newer.txt; # begins a comment.
func ParseNewers(text string) ([]Newer, error) {
	var all []Newer
	n := 0
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		n++
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		m := newerLine.FindStringSubmatch(line)
		if m == nil || !slices.Contains(Kinds, m[1]) {
			return nil, fmt.Errorf("%s:%d: %q: want a library, a name, since when and a source: \"heimdal gss_wrap: after 7.8; source of 2024-10-16\"", NewerFile, n, line)
		}
		if slices.ContainsFunc(all, func(o Newer) bool { return o.Kind == m[1] && o.Name == m[2] }) {
			return nil, fmt.Errorf("%s:%d: %s of %s is there twice", NewerFile, n, m[2], m[1])
		}
		all = append(all, Newer{n, m[1], m[2], m[3], m[4]})
	}
	return all, nil
}
