// Package fakegss builds a GSS-API library for tests of what no real library
// does on demand: exports that fail half way, statuses that are none, calls that
// block until they are told to go on.
//
// The library is a shared object with every function of RFC 2744 and a toy
// mechanism that works. A test opens it through GSSAPI_LIBRARY or gss.Load, in a
// process of its own, since a process uses one library. From then on three
// environment variables steer it, at each call:
//
//   - FAKEGSS lists faults, separated by ";": FAKEGSS="export=fail-keep;wrap=noconf".
//     The list of them is at the head of testdata/fake.c. What is not on it aborts.
//     Any function can be told to fail or to block: "fail=gss_get_mic",
//     "block=gss_init_sec_context,gss_accept_sec_context".
//   - FAKEGSS_LOG is a file that gets a line for every call; see ReadLog and Live.
//   - FAKEGSS_GATE is a FIFO. A call that blocks returns when somebody opens it
//     for writing, which in turn waits until a call blocks: no clock is needed.
package fakegss

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options are about what the library lacks and has. The zero value is a library
// of all the required functions and no optional one.
type Options struct {
	Optional []string // functions beyond RFC 2744 that it has: see Optional
	Missing  string   // a required function that it lacks: no library can do without
	SONAME   string   // empty: none
	GNU      bool     // it passes for GNU gss
	Apple    bool     // it passes for GSS.framework, and its optional functions have private names
	Heimdal  bool     // it passes for Heimdal; with gss_store_cred_into2 for a later one than 7.8
}

// IOV are the functions for messages in parts.
var IOV = []string{
	"gss_wrap_iov", "gss_wrap_iov_length", "gss_unwrap_iov", "gss_get_mic_iov", "gss_get_mic_iov_length", "gss_verify_mic_iov",
	"gss_release_iov_buffer",
}

// Optional are the functions beyond RFC 2744 that the library can have.
var Optional = append([]string{"gss_acquire_cred_from", "gss_acquire_cred_with_password", "gss_check_version", "gss_set_sec_context_option", "gss_inquire_name", "gss_release_oid"}, slices.Concat(IOV, Later)...)

// Later are those of them that came with Heimdal after 7.8, and what goes with them.
var Later = []string{"gss_store_cred_into2", "gss_release_buffer_set", "gss_duplicate_cred", "gss_destroy_cred", "gss_set_neg_mechs", "gss_get_neg_mechs", "gss_set_log_function"}

// Build compiles the library into dir with Compiler, and returns its file.
// Nil options are the zero Options.
func Build(dir string, o *Options) (path string, err error) {
	if o == nil {
		o = &Options{}
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "libfakegss.so")
	args := append(Compiler(), "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-I", root, "-o", path)
	// What a library lacks is there under another name, so that fake.c need not know.
	without := func(function string) { args = append(args, "-D"+function+"=fake_lacks_"+function) }
	for _, f := range o.Optional {
		if !slices.Contains(Optional, f) {
			return "", fmt.Errorf("the fake library has no function %s", f)
		}
	}
	for _, f := range Optional {
		if !slices.Contains(o.Optional, f) {
			without(f)
		} else if o.Apple {
			args = append(args, "-D"+f+"=__ApplePrivate_"+f)
		}
	}
	if o.Missing != "" {
		without(o.Missing)
	}
	if !o.Heimdal {
		without("gss_mo_set")
	}
	if !o.GNU {
		without("GSS_C_NT_ANONYMOUS_static")
	}
	if !o.Apple {
		without("gss_aapl_initial_cred")
	}
	if o.SONAME != "" {
		args = append(args, "-Wl,-soname,"+o.SONAME)
	}
	args = append(args, filepath.Join(root, source))
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the fake library: %w\n%s", err, out)
	}
	return path, nil
}

// Compiler is the C compiler and its arguments: what $CC says, or gcc.
func Compiler() []string {
	if cc := strings.Fields(os.Getenv("CC")); len(cc) > 0 {
		return cc
	}
	return []string{"gcc"}
}

const source = "internal/fakegss/testdata/fake.c"

// moduleRoot is above the directory that a test runs in.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, source)); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not above the working directory", source)
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// A Call is one line of the log.
type Call struct {
	Function string            // "blocked" and "live" are lines of their own
	Args     map[string]string // pointers are "NULL" or "given", buffers "NULL", "empty" or their length, mechanisms dotted
}

// ReadLog returns the calls that were made so far.
func ReadLog(file string) ([]Call, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no call was made
	}
	if err != nil {
		return nil, err
	}
	var calls []Call
	for line := range bytes.Lines(b) {
		words := strings.Fields(string(line))
		if len(words) == 0 {
			return nil, fmt.Errorf("%s: an empty line", file)
		}
		c := Call{words[0], map[string]string{}}
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			if c.Args[key], err = url.PathUnescape(value); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// Live returns how many "buffers", "contexts", "names", "creds" and "sets" the
// process held after the last call that gave one back.
func Live(file string) (map[string]int, error) {
	calls, err := ReadLog(file)
	if err != nil {
		return nil, err
	}
	for _, c := range slices.Backward(calls) {
		if c.Function != "live" {
			continue
		}
		live := map[string]int{}
		for k, v := range c.Args {
			if live[k], err = strconv.Atoi(v); err != nil {
				return nil, err
			}
		}
		return live, nil
	}
	return nil, fmt.Errorf("%s: nothing was given back yet", file)
}
