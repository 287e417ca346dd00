package gss

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/seed2651813c/gss/internal/fakegss"
	"github.com/seed2651813c/gss/internal/testexec"
)

// A process uses one library: most of these tests run in children.

// needLoading skips a test of another library than the one that this program was
// linked with.
func needLoading(t *testing.T) {
	t.Helper()
	if fakegss.NoLoading != "" {
		skip(t, fakegss.NoLoading)
	}
}

// needLoader skips where no library is opened at run time, or on another system
// than those. It opens none in a child.
func needLoader(t *testing.T, systems ...string) {
	t.Helper()
	if isChild() {
		return
	}
	needLoading(t)
	needSystem(t, systems...)
}

// needSystem skips where there is no library, or on another system than those.
func needSystem(t *testing.T, systems ...string) {
	t.Helper()
	if isChild() {
		return
	}
	needLibrary(t)
	if systems != nil && !slices.Contains(systems, runtime.GOOS) {
		skip(t, "what this does to the dynamic linker is known for "+strings.Join(systems, " and ")+" only")
	}
}

// chooseNone is the environment of a child that chooses no library.
const chooseNone = libraryEnv

func TestSmoke(t *testing.T) {
	// Read here, go test knows that the result depends on them.
	t.Logf("%s=%s %s=%s", libraryEnv, os.Getenv(libraryEnv), requireEnv, os.Getenv(requireEnv))
	l := needLibrary(t)
	t.Log(l)
	if want := os.Getenv(libraryEnv); slices.Contains(kinds(), want) && !linked && string(l.Kind) != want {
		t.Errorf("%s=%s, but the library is %v", libraryEnv, want, l)
	}
	mechs, err := IndicateMechs()
	check(t, err)
	if !slices.Contains(mechs, MechKrb5) {
		t.Errorf("no Kerberos among %v", mechs)
	}
	b, typ, err := nameOf(t, "host@server.test", NTHostBasedService).Display()
	check(t, err)
	if string(b.Bytes()) != "host@server.test" || typ != NTHostBasedService {
		t.Errorf("%q of type %v", b.Bytes(), typ)
	}
	b.Release()
}

func TestLibraryInfo(t *testing.T) {
	l := needLibrary(t)
	if !filepath.IsAbs(l.Path) || l.Kind == "" || l.SONAME == "" {
		t.Errorf("%+v", l)
	}
	if runtime.GOOS == "linux" && len(l.BuildID) != 40 {
		t.Errorf("build-id %q", l.BuildID)
	}
	if want := l.Kind == KindHeimdal || l.Kind == KindGNU; (l.Version != "") != want {
		t.Errorf("version %q", l.Version)
	}
	for _, part := range []string{string(l.Kind), l.Version, l.Path, l.BuildID} {
		if !strings.Contains(l.String(), part) {
			t.Errorf("%q lacks %q", l, part)
		}
	}
	if got := (LibraryInfo{Path: "/x"}).String(); got != "unknown GSS-API (/x)" {
		t.Errorf("%q", got)
	}
}

func TestSupports(t *testing.T) {
	l := needLibrary(t)
	all := map[string][]Kind{
		"gss_wrap":                       {KindMIT, KindHeimdal, KindGNU, KindApple},
		"gss_inquire_names_for_mech":     {KindMIT, KindHeimdal, KindGNU, KindApple},
		"gss_acquire_cred_from":          {KindMIT},
		"gss_acquire_cred_with_password": {KindMIT, KindHeimdal, KindApple},
		"gss_wrap_iov":                   {KindMIT, KindHeimdal, KindApple},
		"gss_unwrap_iov":                 {KindMIT, KindHeimdal, KindApple},
		"gss_check_version":              {KindGNU},
		"gss_no_such_function":           nil,
		"gss_wrap\x00":                   nil,
		"":                               nil,
		"printf":                         nil,
	}
	if l.Kind == KindHeimdal && hasSymbol("gss_acquire_cred_from") { // after 7.8
		all["gss_acquire_cred_from"] = []Kind{KindHeimdal}
	}
	for f, kinds := range all {
		if got := Supports(f); got != slices.Contains(kinds, l.Kind) && f != "gss_wrap\x00" {
			t.Errorf("%s: %v", f, got)
		}
	}
}

// notLibraries are files and names that are no GSS-API library, with what their
// error says.
func notLibraries(t *testing.T) map[string][]string {
	dir := t.TempDir()
	file := func(name, contents string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(contents), 0o755))
		return path
	}
	not := map[string][]string{
		"":                    {`"" is not a GSS-API library`, "use mit, heimdal, gnu"},
		"nosuch":              {`"nosuch" is not a GSS-API library`, "absolute path"},
		"MIT":                 {"is not a GSS-API library"},
		"libgssapi_krb5.so.2": {"is not a GSS-API library"},
		"./libx.so":           {"is not a GSS-API library"},
		"../lib/libx.so":      {"is not a GSS-API library"},
		"mit\x00":             {"is not a GSS-API library"},
		"/nonexistent/lib.so": {"/nonexistent/lib.so", "not installed", "apt install"},
		file("text.so", "this is not a library, it is a text, and not a short one either: it has more bytes than a header of ELF"): {"text.so", "invalid ELF header"},
		file("empty.so", ""): {"empty.so", "too short"},
		dir:                  {dir},
	}
	if b, err := os.ReadFile("/proc/self/maps"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 6 && strings.Contains(f[5], "/libc.so") {
				not[f[5]] = []string{f[5], "not a complete GSS-API library", "it has no gss_"}
			}
		}
	}
	if runtime.GOOS != "linux" {
		for name, texts := range not {
			not[name] = texts[:1] // another linker, other words
		}
	}
	return not
}

func TestLoadRefuses(t *testing.T) {
	if needLoader(t); !inChild(t, chooseNone) {
		return
	}
	for name, texts := range notLibraries(t) {
		err := Load(name)
		is(t, err, ErrUnavailable)
		is(t, err, errors.ErrUnsupported)
		mention(t, err, append(texts, "load: ")...)
	}
	if loaded.Load() != nil {
		t.Fatal("something is loaded")
	}
	// None of them stands in the way of one that is good.
	if _, err := Library(); err != nil {
		t.Error(err)
	}
}

// What GSSAPI_LIBRARY says is not replaced by something else, and every call
// tells what is wrong.
func TestBadEnvironment(t *testing.T) {
	needLoader(t)
	for _, tt := range []struct {
		name, value string
		texts       []string
	}{
		{"missing", "/nonexistent", []string{"GSSAPI_LIBRARY: /nonexistent: not installed", "apt install"}},
		{"unknown", "nosuch", []string{`GSSAPI_LIBRARY: "nosuch" is not a GSS-API library`}},
		{"relative", "lib/libgssapi.so", []string{`GSSAPI_LIBRARY: "lib/libgssapi.so" is not`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if inChild(t, libraryEnv+"="+tt.value) {
				everyCallFails(t, tt.texts)
			}
		})
	}
}

// everyCallFails makes all calls that can be the first of a process.
func everyCallFails(t *testing.T, texts []string) {
	for name, call := range map[string]func() error{
		"Library":                 func() error { _, err := Library(); return err },
		"IndicateMechs":           func() error { _, err := IndicateMechs(); return err },
		"InquireNamesForMech":     func() error { _, err := InquireNamesForMech(MechKrb5); return err },
		"TestOIDSetMember":        func() error { _, err := TestOIDSetMember(MechKrb5, nil); return err },
		"ImportName":              func() error { _, err := ImportName([]byte("x"), NTUserName); return err },
		"AcquireCred":             func() error { _, err := AcquireCred(nil, 0, nil, UsageBoth); return err },
		"AcquireCredFrom":         func() error { _, err := AcquireCredFrom(nil, 0, nil, UsageBoth, nil); return err },
		"AcquireCredWithPassword": func() error { _, err := AcquireCredWithPassword(nil, nil, 0, nil, UsageBoth); return err },
		"Add":                     func() error { _, err := (*Cred)(nil).Add(nil, MechKrb5, UsageBoth, 0, 0); return err },
		"Cred.Inquire":            func() error { _, err := (*Cred)(nil).Inquire(); return err },
		"InquireByMech":           func() error { _, err := (*Cred)(nil).InquireByMech(MechKrb5); return err },
		"Init":                    func() error { _, err := NewCtx().Init(&InitArgs{}); return err },
		"Accept":                  func() error { _, err := NewCtx().Accept(&AcceptArgs{}); return err },
		"ImportSecContext":        func() error { _, err := ImportSecContext([]byte("x")); return err },
		"AdoptName":               func() error { _, err := AdoptName(nil); return err },
		"AdoptCred":               func() error { _, err := AdoptCred(nil); return err },
		"AdoptCtx":                func() error { _, err := AdoptCtx(nil); return err },
	} {
		err := call()
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		mention(t, err, texts...)
	}
	if Supports("gss_wrap") {
		t.Error("no library has gss_wrap")
	}
}

func TestIncompleteLibrary(t *testing.T) {
	for _, lacks := range []string{"gss_acquire_cred", "gss_wrap", "gss_duplicate_name"} {
		t.Run(lacks, func(t *testing.T) {
			if !isChild() {
				inChild(t, libraryEnv+"="+buildFake(t, &fakegss.Options{Missing: lacks}))
				return
			}
			everyCallFails(t, []string{os.Getenv(libraryEnv), "not a complete GSS-API library: it has no " + lacks})
		})
	}
}

func TestLoadTwice(t *testing.T) {
	if needLoader(t); !inChild(t) {
		return
	}
	name := os.Getenv(libraryEnv)
	if name == "" {
		name = string(needLibrary(t).Kind)
	}
	check(t, Load(name))
	l, err := Library()
	check(t, err)
	for _, same := range []string{name, string(l.Kind), l.Path} {
		if err := Load(same); err != nil {
			t.Errorf("%s again: %v", same, err)
		}
	}
	if !testexec.Emulated() {
		link := filepath.Join(t.TempDir(), "link.so")
		check(t, os.Symlink(l.Path, link))
		if err := Load(link); err != nil {
			t.Errorf("by a symbolic link: %v", err)
		}
	}
	for _, other := range []string{"mit", "heimdal", "gnu", "apple", "nosuch", "/nonexistent", ""} {
		if other == string(l.Kind) {
			continue
		}
		err := Load(other)
		is(t, err, ErrUnavailable)
		mention(t, err, fmt.Sprintf("%q cannot be loaded", other), l.Path)
	}
	if again, err := Library(); err != nil || again != l {
		t.Errorf("%v, %v; it was %v", again, err, l)
	}
}

// A file that is gone by now, as a Mac's system libraries are from the start, is
// known by the name that it was asked for.
func TestLoadAgainWithoutFile(t *testing.T) {
	needLoader(t, "linux")
	if testexec.Emulated() {
		skip(t, "the emulator does not find what a link to its libraries leads to")
	}
	if !isChild() {
		file := needLibrary(t).Path
		inChild(t, append(preload(file), chooseNone, "FILE="+file)...) // then it keeps that name
		return
	}
	link := filepath.Join(t.TempDir(), "link.so")
	check(t, os.Symlink(os.Getenv("FILE"), link))
	check(t, Load(link))
	check(t, os.Remove(link))
	check(t, Load(link))
}

// Load wins over GSSAPI_LIBRARY.
func TestLoadBeforeEnvironment(t *testing.T) {
	if needLoader(t); !inChild(t, libraryEnv+"=/nonexistent", "WANT="+string(kind())) {
		return
	}
	check(t, Load(os.Getenv("WANT")))
	if l, err := Library(); err != nil || string(l.Kind) != os.Getenv("WANT") {
		t.Errorf("%v, %v", l, err)
	}
}

// installed are the libraries that can be opened here, each with its file, in
// the order of the search.
func installed(t *testing.T) (kinds []Kind, files map[Kind]string) {
	t.Helper()
	if found.files != nil {
		return found.kinds, found.files
	}
	defer func() { found.kinds, found.files = kinds, files }()
	files = map[Kind]string{}
	for _, c := range searchList {
		cmd := childCommand(t, libraryEnv+"="+string(c.kind), childEnv+"=TestSmoke", requireEnv)
		cmd.Args = append(cmd.Args, "-test.run=^TestSmoke$")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestSmoke ") || files[c.kind] != "" {
			continue
		}
		_, path, _ := strings.Cut(string(out), " (/")
		kinds = append(kinds, c.kind)
		files[c.kind] = "/" + path[:strings.IndexAny(path, ",)")]
	}
	return kinds, files
}

// found is what installed found.
var found struct {
	kinds []Kind
	files map[Kind]string
}

// need is the file of an installed library.
func need(t *testing.T, k Kind) string {
	t.Helper()
	_, files := installed(t)
	if files[k] == "" {
		skip(t, fmt.Sprintf("%s is not installed beside it", k))
	}
	return files[k]
}

func TestDefaultOrder(t *testing.T) {
	needLoader(t)
	if !isChild() {
		kinds, _ := installed(t)
		t.Logf("installed: %v", kinds)
		inChild(t, chooseNone, "WANT="+string(kinds[0]))
		return
	}
	l, err := Library()
	check(t, err)
	if string(l.Kind) != os.Getenv("WANT") {
		t.Errorf("%v, want %s", l, os.Getenv("WANT"))
	}
}

// A library in the process' global scope, as in a C program that links one, is
// the library, whatever else is installed.
func TestGlobalScope(t *testing.T) {
	needLoader(t)
	if isChild() {
		inGlobalScope(t)
		return
	}
	kinds, files := installed(t)
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			inChild(t, append(preload(files[k]), chooseNone, "WANT="+files[k])...)
		})
	}
	if len(kinds) < 2 {
		skip(t, "it is the only library that is installed: that another is preferred cannot be seen")
	}
}

func inGlobalScope(t *testing.T) {
	kind := os.Getenv(childEnv)
	t.Run(kind[strings.LastIndex(kind, "/")+1:], func(t *testing.T) {
		l, err := Library()
		check(t, err)
		if l.Path != os.Getenv("WANT") {
			t.Errorf("%v, want %s", l, os.Getenv("WANT"))
		}
		n, err := ImportName([]byte("host@server.test"), NTHostBasedService)
		check(t, err)
		h, err := n.Detach()
		check(t, err)
		adoptedName, err := AdoptName(h)
		check(t, err)
		adoptedName.Release()
	})
}

// An interposer that has a part of the functions is not the library.
func TestInterposer(t *testing.T) {
	needLoader(t)
	if !isChild() {
		kinds, _ := installed(t)
		path := buildFake(t, &fakegss.Options{Missing: "gss_unwrap"})
		inChild(t, append(preload(path), chooseNone, "WANT="+string(kinds[0]))...)
		return
	}
	if globalWrap() == nil {
		t.Fatal("the interposer is not there")
	}
	l, err := Library()
	check(t, err)
	if string(l.Kind) != os.Getenv("WANT") {
		t.Errorf("%v, want %s", l, os.Getenv("WANT"))
	}
}

// compile makes a shared object of C code.
func compile(t *testing.T, path, code string, args ...string) {
	t.Helper()
	cc := fakegss.Compiler()
	if _, err := exec.LookPath(cc[0]); err != nil {
		skip(t, "there is no C compiler to build a library with")
	}
	src := filepath.Join(t.TempDir(), "x.c")
	check(t, os.WriteFile(src, []byte(code), 0o600))
	cc = append(append(cc, "-shared", "-fPIC", "-o", path, src), args...)
	if out, err := exec.Command(cc[0], cc[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cc[0], err, out)
	}
}

// The first library of the search list is there and does not work: that is an
// error, and not a reason to take the second behind the user's back.
func TestBrokenIsNotReplaced(t *testing.T) {
	needLoader(t, "linux")
	const soname = "libgssapi_krb5.so.2"
	for _, tt := range []struct {
		name  string
		texts []string
		make  func(t *testing.T, path string)
	}{
		{"lacks", []string{"it has no gss_wrap"}, func(t *testing.T, path string) {
			check(t, os.Symlink(buildFake(t, &fakegss.Options{Missing: "gss_wrap", SONAME: soname}), path))
		}},
		{"text", []string{"invalid ELF header"}, func(t *testing.T, path string) {
			check(t, os.WriteFile(path, []byte(strings.Repeat("no library\n", 100)), 0o755))
		}},
		{"needs", []string{"libgone.so.9"}, func(t *testing.T, path string) {
			dir := t.TempDir()
			compile(t, filepath.Join(dir, "libgone.so"), "int gone;", "-Wl,-soname,libgone.so.9")
			compile(t, path, "int x;", "-Wl,--no-as-needed", "-L"+dir, "-lgone", "-Wl,-soname,"+soname)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !isChild() {
				dir := t.TempDir()
				tt.make(t, filepath.Join(dir, soname))
				inChild(t, chooseNone, "LD_LIBRARY_PATH="+dir)
				return
			}
			l, err := Library()
			is(t, err, ErrUnavailable)
			mention(t, err, append(tt.texts, soname)...)
			if err == nil {
				t.Errorf("%v was taken", l)
			}
			err = Load("mit")
			is(t, err, ErrUnavailable)
			mention(t, err, append(tt.texts, soname)...)
			for _, c := range searchList {
				if c.file != soname && loadedAs(c.file) != "" {
					t.Errorf("%s was opened", c.file)
				}
			}
		})
	}
}

// A second copy of MIT's library aborts the process.
func TestSecondCopy(t *testing.T) {
	needLoader(t, "linux")
	if !isChild() {
		file := need(t, KindMIT)
		b, err := os.ReadFile(file)
		check(t, err)
		second := filepath.Join(t.TempDir(), "libgssapi_krb5.so.2")
		check(t, os.WriteFile(second, b, 0o755))
		inChild(t, append(preload(file), libraryEnv+"="+second)...)
		return
	}
	_, err := Library()
	is(t, err, ErrUnavailable)
	mention(t, err, os.Getenv(libraryEnv), "two copies")
	// The one that is there is good.
	check(t, Load("mit"))
}

// With two libraries in the process a handle may be of either: LoadAt says which.
func TestTwoLibraries(t *testing.T) {
	needLoader(t, "linux")
	if !isChild() {
		inChild(t, append(preload(need(t, KindHeimdal)), libraryEnv+"="+need(t, KindMIT))...)
		return
	}
	n, err := ImportName([]byte("host@server.test"), NTHostBasedService)
	check(t, err)
	h, err := n.Detach()
	check(t, err)
	refused := func(why string) {
		t.Helper()
		for _, adopt := range []func(unsafe.Pointer) error{
			func(h unsafe.Pointer) error { _, err := AdoptName(h); return err },
			func(h unsafe.Pointer) error { _, err := AdoptCred(h); return err },
			func(h unsafe.Pointer) error { _, err := AdoptCtx(h); return err },
		} {
			err := adopt(h)
			is(t, err, ErrUnavailable)
			mention(t, err, "two GSS-API libraries", "libgssapi_krb5", "libgssapi.so.3", "LoadAt")
		}
	}
	refused("before LoadAt")

	other := globalWrap()
	if !strings.Contains(fileOf(other), "libgssapi.so.3") {
		t.Fatalf("gss_wrap of the global scope is in %s", fileOf(other))
	}
	err = LoadAt(other)
	is(t, err, ErrUnavailable)
	mention(t, err, "libgssapi.so.3", "uses", "libgssapi_krb5")
	refused("after a LoadAt that failed")

	check(t, LoadAt(symbol("gss_wrap")))
	n, err = AdoptName(h)
	check(t, err)
	b, _, err := n.Display()
	check(t, err)
	if string(b.Bytes()) != "host@server.test" {
		t.Errorf("%q", b.Bytes())
	}
	b.Release()
	n.Release()
	_, err = AdoptCtx(nil)
	is(t, err, ErrNoContext)
	_, err = AdoptCred(nil)
	is(t, err, ErrNoCred)
	_, err = AdoptName(nil)
	is(t, err, ErrBadName)
}

// LoadAt takes the library of the address, not the one that comes first.
func TestLoadAt(t *testing.T) {
	needLoader(t, "linux")
	if !isChild() {
		inChild(t, append(preload(need(t, KindHeimdal)), libraryEnv+"=mit")...)
		return
	}
	var local int
	for what, addr := range map[string]unsafe.Pointer{
		"nil":       nil,
		"the stack": unsafe.Pointer(&local),
		"the heap":  unsafe.Pointer(new([4096]byte)),
	} {
		err := LoadAt(addr)
		is(t, err, ErrUnavailable)
		mention(t, err, "in no shared library")
		if t.Failed() {
			t.Fatal(what)
		}
	}
	err := LoadAt(reflect.ValueOf(TestLoadAt).UnsafePointer())
	is(t, err, ErrUnavailable)
	if loaded.Load() != nil {
		t.Fatal("something is loaded")
	}
	wrapOfHeimdal := globalWrap()
	check(t, LoadAt(wrapOfHeimdal))
	check(t, LoadAt(wrapOfHeimdal))
	l, err := Library()
	check(t, err)
	if l.Kind != KindHeimdal {
		t.Errorf("%v", l)
	}
}

// Paths have spaces.
func TestAdoptFromPathWithSpaces(t *testing.T) {
	if !isChild() {
		dir := filepath.Join(t.TempDir(), "a directory")
		check(t, os.Mkdir(dir, 0o755))
		inChild(t, libraryEnv+"="+buildFakeIn(t, dir, nil))
		return
	}
	n, err := ImportName([]byte("x"), "")
	check(t, err)
	h, err := n.Detach()
	check(t, err)
	n, err = AdoptName(h)
	check(t, err)
	n.Release()
}

// A static program can open a library, works for a while, and crashes. One that
// was linked with the library cannot tell which it is.
func TestStaticProgram(t *testing.T) {
	needSystem(t, "linux")
	if testing.Short() {
		skip(t, "a program is built, which is long for -short")
	}
	root, err := os.Getwd()
	check(t, err)
	dir := t.TempDir()
	write := func(name, text string) { check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	write("go.mod", "module static\n\ngo 1.25\n\nrequire github.com/seed2651813c/gss v0.0.0\n\nreplace github.com/seed2651813c/gss => "+root+"\n")
	write("main.go", `package main

import (
	"fmt"

	"github.com/seed2651813c/gss"
)

func main() {
	_, err := gss.Library()
	fmt.Println(err)
	fmt.Println(gss.Load("mit"))
}
`)
	exe := filepath.Join(dir, "static")
	args, ldflags := []string{"build", "-o", exe}, "-static"
	if linked {
		// Of what the library needs in its turn, nothing is called.
		args, ldflags = append(args, "-tags=gss_link,gss_"+string(kind())), "'-static -Wl,--unresolved-symbols=ignore-all'"
	}
	cmd := exec.Command("go", append(args, "-ldflags=-linkmode external -extldflags "+ldflags, ".")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); strings.Contains(string(out), "cannot find -lgssapi") {
		skip(t, "a static program cannot be built: the library has no archive here")
	} else if err != nil {
		skip(t, fmt.Sprintf("a static program cannot be built: %v\n%s", err, out))
	}
	out, err := exec.Command(exe).CombinedOutput()
	check(t, err)
	if n := strings.Count(string(out), "this program is linked statically"); n != 2 {
		t.Errorf("%s", out)
	}
}

// needLinked skips a test of build tag gss_link.
func needLinked(t *testing.T, systems ...string) {
	t.Helper()
	if !linked {
		skip(t, "this build has no gss_link: the step linked of ci/test.sh makes one that has")
	}
	needSystem(t, systems...)
}

// With build tag gss_link the library is the one that the linker wrote into this
// program, whatever GSSAPI_LIBRARY says, and no other can be had.
func TestLinked(t *testing.T) {
	needLinked(t)
	if !isChild() {
		l := needLibrary(t)
		check(t, Load(string(l.Kind)))
		check(t, Load(l.Path))
		inChild(t, libraryEnv+"=/nonexistent", "WANT="+l.Path)
		return
	}
	for _, other := range []string{"nosuch", "/nonexistent", ""} {
		err := Load(other)
		is(t, err, ErrUnavailable)
		mention(t, err, fmt.Sprintf("Load: %q was asked for", other), "linked with "+os.Getenv("WANT"), "gss_link")
	}
	if loaded.Load() != nil {
		t.Fatal("something is loaded")
	}
	check(t, LoadAt(globalWrap()))
	l, err := Library()
	check(t, err)
	if runtime.GOOS == "linux" {
		exe, err := os.Executable()
		check(t, err)
		f, err := elf.Open(exe)
		check(t, err)
		defer f.Close()
		needed, err := f.ImportedLibraries()
		check(t, err)
		if !slices.Contains(needed, l.SONAME) {
			t.Errorf("%v has the soname %s, and the program was linked with %v", l, l.SONAME, needed)
		}
	}
	n, err := ImportName([]byte("x"), NTUserName)
	check(t, err)
	h, err := n.Detach()
	check(t, err)
	n, err = AdoptName(h)
	check(t, err)
	n.Release()
}

// What the library that was linked lacks is not taken from another that the
// process has too, and LoadAt does not take that for the one that was linked.
func TestLinkedBesideAnother(t *testing.T) {
	needLinked(t, "linux")
	if !isChild() {
		other, has := "libgssapi.so.3", "gsskrb5_get_subkey"
		if kind() == KindHeimdal {
			other, has = "libgssapi_krb5.so.2", "gss_acquire_cred_from"
		}
		inChild(t, append(preload(other), "OTHER="+other, "HAS="+has, "WANT="+string(kind()))...)
		return
	}
	other := loadedAs(os.Getenv("OTHER"))
	if other == "" {
		skip(t, os.Getenv("OTHER")+" is not installed beside it")
	}
	wrap := globalWrap()
	if fileOf(wrap) != other {
		t.Fatalf("gss_wrap of the global scope is in %s, and not in %s", fileOf(wrap), other)
	}
	err := LoadAt(wrap)
	is(t, err, ErrUnavailable)
	mention(t, err, "LoadAt: ", other, "linked with", "gss_link")
	l, err := Library()
	check(t, err)
	if string(l.Kind) != os.Getenv("WANT") || sameFile(l.Path, other) {
		t.Errorf("%v, want the one that was linked, %s", l, os.Getenv("WANT"))
	}
	if has := os.Getenv("HAS"); Supports(has) {
		t.Errorf("%s of %s is taken for one of %v", has, other, l)
	}
	n := nameOf(t, "x", NTUserName)
	h, err := n.Detach()
	check(t, err)
	_, err = AdoptName(h)
	mention(t, err, "two GSS-API libraries", other, "LoadAt")
	check(t, LoadAt(symbol("gss_wrap")))
	n, err = AdoptName(h)
	check(t, err)
	n.Release()
}
