package gss

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Kind names an implementation of the GSS-API.
type Kind string

// The implementations that are known. Another one that has all functions of
// RFC 2744 works too; its Kind is empty.
const (
	KindMIT     Kind = "mit"
	KindHeimdal Kind = "heimdal"
	KindGNU     Kind = "gnu"
	KindApple   Kind = "apple"
)

// LibraryInfo tells which C library is in use.
type LibraryInfo struct {
	Kind    Kind   // empty if it is none of the known ones
	Path    string // the file that its gss_wrap is in
	SONAME  string // the name it was asked for by, such as libgssapi_krb5.so.2
	BuildID string // of the file, in hexadecimal; empty if it has none
	Version string // as the library tells it; empty if it does not (MIT)
}

// String returns a line for logs: kind, version, path and build-id.
func (l LibraryInfo) String() string {
	kind := string(l.Kind)
	if kind == "" {
		kind = "unknown GSS-API"
	}
	if l.Version != "" {
		kind += " " + l.Version
	}
	s := kind + " (" + l.Path
	if l.BuildID != "" {
		s += ", build-id " + l.BuildID
	}
	return s + ")"
}

// candidate is a file that a library of that kind is looked for in.
type candidate struct {
	kind Kind
	file string
}

type library struct {
	LibraryInfo
	file  string // as it was asked for; a Mac's system libraries are on disk neither there nor at Path
	at    bool   // chosen by LoadAt
	named bool   // chosen by name or path, or at link time; not just found
}

var (
	loadMu sync.Mutex
	loaded atomic.Pointer[library]
)

// libraryEnv is the environment variable that chooses the library.
const libraryEnv = "GSSAPI_LIBRARY"

// Load opens the GSS-API library of that name, "mit", "heimdal", "gnu" or
// "apple", or the one at that absolute path. Call it before anything else of
// this package; once a library is open it stays for the life of the process,
// and Load answers an error if it is another one.
//
// Without Load the library is, at the first call that needs one: what the
// environment variable GSSAPI_LIBRARY says (the same names; not read by set-uid
// programs); else the one that the process has in its global scope already;
// else one that it has loaded by its soname; else the first that is installed
// of MIT, Heimdal, GNU gss, or on macOS GSS.framework. One that is installed but
// cannot be used is an error: the next is not taken in its place. With the build
// tag gss_link it is the one that the program was linked with.
//
// A library is never closed. Load it before chroot, a seccomp filter or the
// dropping of privileges.
//
// Errors are ErrUnavailable and list all that was tried.
func Load(nameOrPath string) error {
	loadMu.Lock()
	defer loadMu.Unlock()
	if l := loaded.Load(); l != nil {
		if l.is(nameOrPath) {
			c := *l
			c.named = true
			loaded.Store(&c)
			return nil
		}
		return loadError(fmt.Sprintf("%q cannot be loaded: this process uses %s already; call Load before anything else", nameOrPath, l.Path))
	}
	_, err := loadNamed(nameOrPath, "Load")
	return err
}

// LoadAt takes the GSS-API library that addr is in, where addr is the address
// of gss_wrap as a C caller in this process sees it. It is the certain way for
// Go code inside a C service to use the library of that service, and so the way
// to exchange handles with it when there is more than one in the process.
// Call it before anything else of this package.
func LoadAt(addr unsafe.Pointer) error {
	loadMu.Lock()
	defer loadMu.Unlock()
	file := fileOf(addr)
	if file == "" {
		return loadError("LoadAt: the address is in no shared library; pass the address of gss_wrap")
	}
	if l := loaded.Load(); l != nil {
		if !sameFile(l.Path, file) {
			return loadError(fmt.Sprintf("LoadAt: the address is in %s, but this process uses %s already; call LoadAt before anything else", file, l.Path))
		}
		c := *l
		c.at = true
		loaded.Store(&c)
		return nil
	}
	if linked {
		_, err := openLinked("LoadAt", file, true)
		return err
	}
	l, err := open(file, true)
	if err != nil {
		return loadError("LoadAt: " + file + ": " + err.Error())
	}
	l.at = true
	loaded.Store(l)
	return nil
}

// Library tells which library is in use. If none is open it opens one as
// described at Load. Errors are those of Load.
func Library() (LibraryInfo, error) {
	l, err := lib()
	if err != nil {
		return LibraryInfo{}, err
	}
	return l.LibraryInfo, nil
}

// Supports reports whether the library has the C function of that name, such as
// "gss_wrap_iov". It is false for names that this package does not know, and
// when there is no library. A function that a library has may still answer
// ErrUnavailable: GNU gss has stubs for eight.
func Supports(function string) bool {
	_, err := lib()
	return err == nil && bound(function)
}

// lib is the open library; it opens one if there is none.
func lib() (*library, error) {
	if l := loaded.Load(); l != nil {
		return l, nil
	}
	loadMu.Lock()
	defer loadMu.Unlock()
	if l := loaded.Load(); l != nil {
		return l, nil
	}
	return loadDefault()
}

// kind is the kind of the open library, for quirks.
func kind() Kind {
	if l := loaded.Load(); l != nil {
		return l.Kind
	}
	return ""
}

func (l *library) is(nameOrPath string) bool {
	if filepath.IsAbs(nameOrPath) {
		return nameOrPath == l.file || sameFile(l.Path, nameOrPath)
	}
	return l.Kind != "" && l.Kind == Kind(nameOrPath)
}

func loadNamed(nameOrPath, where string) (*library, error) {
	if linked {
		return openLinked(where, nameOrPath, false)
	}
	if err := unfit(); err != nil {
		return nil, loadError(err.Error())
	}
	var files []string
	if filepath.IsAbs(nameOrPath) {
		files = []string{nameOrPath}
	} else {
		for _, c := range searchList {
			if string(c.kind) == nameOrPath {
				files = append(files, c.file)
			}
		}
		if len(files) == 0 {
			return nil, loadError(fmt.Sprintf("%s: %q is not a GSS-API library: use %s or an absolute path", where, nameOrPath, strings.Join(kinds(), ", ")))
		}
	}
	var tried []string
	for _, file := range files {
		l, err := open(file, false)
		if err == nil {
			l.named = true
			loaded.Store(l)
			return l, nil
		}
		tried = append(tried, file+": "+err.Error())
		if !errors.Is(err, errNotInstalled) {
			break
		}
	}
	return nil, loadError(where + ": " + strings.Join(tried, "; ") + installHint)
}

// openLinked opens the library that this program was linked with. One that was
// asked for, where says by whom, must be that.
func openLinked(where, nameOrPath string, at bool) (*library, error) {
	if err := unfit(); err != nil {
		return nil, loadError(err.Error())
	}
	l, err := open("", false)
	if err != nil {
		return nil, loadError("build tag gss_link: " + err.Error())
	}
	if where != "" && !l.is(nameOrPath) {
		return nil, loadError(fmt.Sprintf("%s: %q was asked for, but this program was linked with %s (build tag gss_link)", where, nameOrPath, l.Path))
	}
	l.named, l.at = true, at
	loaded.Store(l)
	return l, nil
}

func loadDefault() (*library, error) {
	if linked {
		return openLinked("", "", false)
	}
	if v := os.Getenv(libraryEnv); v != "" && !secure() {
		return loadNamed(v, libraryEnv)
	}
	if err := unfit(); err != nil {
		return nil, loadError(err.Error())
	}
	var tried []string
	attempt := func(file string, noload bool) (*library, error) {
		l, err := open(file, noload)
		if err != nil {
			tried = append(tried, file+": "+err.Error())
			return nil, err
		}
		loaded.Store(l)
		return l, nil
	}
	// What the process has. An interposer that has some of the functions only
	// looks like the library: then the next rule applies.
	if file := fileOf(globalWrap()); file != "" {
		if l, err := attempt(file, true); err == nil {
			return l, nil
		}
	}
	for _, c := range searchList {
		if loadedAs(c.file) == "" {
			continue
		}
		if l, err := attempt(c.file, true); err == nil {
			return l, nil
		}
	}
	for _, c := range searchList {
		l, err := attempt(c.file, false)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, errNotInstalled) {
			break // a broken one is not replaced by another behind the user's back
		}
	}
	return nil, loadError("no usable GSS-API library: " + strings.Join(tried, "; ") + installHint)
}

const installHint = ". Install one (Debian: apt install libgssapi-krb5-2; Fedora: dnf install krb5-libs; FreeBSD: pkg install krb5), or name one in " + libraryEnv

// errNotInstalled marks the error of a file that does not exist.
var errNotInstalled = errors.New("not installed")

// open opens and binds file, and finds out what it is. The caller holds loadMu.
func open(file string, noload bool) (*library, error) {
	if strings.ContainsRune(file, 0) {
		return nil, errors.New("the path has a NUL byte")
	}
	if err := secondCopy(file); err != nil {
		return nil, err
	}
	path, err := openTable(file, noload)
	if err != nil {
		if missing(file, err.Error()) {
			err = fmt.Errorf("%w (%s)", errNotInstalled, err)
		}
		return nil, err
	}
	if linked {
		file = path
	}
	l := &library{LibraryInfo: LibraryInfo{Path: path, SONAME: filepath.Base(file)}, file: file}
	for _, k := range []struct {
		kind   Kind
		symbol string
	}{
		{KindApple, "gss_aapl_initial_cred"},
		{KindHeimdal, "gss_mo_set"},
		{KindGNU, "GSS_C_NT_ANONYMOUS_static"},
		{KindMIT, "gssspi_mech_invoke"},
	} {
		if hasSymbol(k.symbol) {
			l.Kind = k.kind
			break
		}
	}
	if l.Kind == KindGNU && runtime.GOOS == "darwin" && runtime.GOARCH == "amd64" {
		// Its structs are not packed there, those of the others are: see shim.h.
		return nil, errors.New("GNU gss on the Intel Mac lays its structs out in another way than this program")
	}
	for _, c := range searchList {
		if c.kind == l.Kind && strings.HasPrefix(filepath.Base(path), c.file) {
			l.SONAME = c.file
		}
	}
	l.BuildID = hex.EncodeToString(buildID())
	l.Version = libraryVersion()
	return l, nil
}

// missing tells a library that is not there from one that does not work. Both
// glibc and musl name the file that could not be found.
func missing(file, message string) bool {
	if filepath.IsAbs(file) {
		_, err := os.Stat(file)
		return errors.Is(err, os.ErrNotExist)
	}
	return strings.Contains(message, file) && strings.Contains(message, "No such file") && !strings.Contains(message, "needed by") ||
		message == "not loaded"
}

// secondCopy refuses a library whose soname the process has from another file:
// a second copy of MIT's library aborts the process (krb5int_key_register).
func secondCopy(file string) error {
	if !filepath.IsAbs(file) {
		return nil
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nil // dlopen will say what is wrong
	}
	for _, c := range searchList {
		stem, _, _ := strings.Cut(c.file, ".so")
		if !strings.HasPrefix(filepath.Base(real), stem+".so") {
			continue
		}
		if have := loadedAs(c.file); have != "" && !sameFile(have, real) {
			return fmt.Errorf("the process has %s from %s already, and two copies cannot live together", c.file, have)
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func kinds() []string {
	var names []string
	seen := map[Kind]bool{}
	for _, c := range searchList {
		if !seen[c.kind] {
			seen[c.kind] = true
			names = append(names, string(c.kind))
		}
	}
	return names
}

func loadError(text string) error {
	return &Error{Op: "load", Major: ErrUnavailable, Text: text}
}

// adoptable says whether a handle that C made is one of the open library: it is
// when LoadAt chose the library, or when there is no other in the process.
func adoptable(op string) error {
	l, err := lib()
	if err != nil {
		return err
	}
	if l.at {
		return nil
	}
	files, known := librariesInProcess()
	if !known {
		return &Error{Op: op, Major: ErrUnavailable, Text: "this system does not tell which libraries the process has; call LoadAt with the address of gss_wrap first"}
	}
	for _, f := range files {
		if !sameFile(f, l.Path) {
			return &Error{Op: op, Major: ErrUnavailable, Text: fmt.Sprintf("the process has two GSS-API libraries, %s and %s, and the handle may be of either; call LoadAt with the address of gss_wrap first", l.Path, f)}
		}
	}
	return nil
}
