package gss

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var neededFile = regexp.MustCompile(`(?m)(?:=> |^\s*)(/\S+) \(0x`)

// otherRoot makes a file system that has this program, what it needs, and of the
// GSS-API libraries only those.
func otherRoot(t *testing.T, libraries ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "only root can change the root directory")
	}
	if asanBuild {
		skip(t, "the address sanitizer needs /proc, which the other root directory does not have")
	}
	root := t.TempDir()
	put := func(file, at string) {
		b, err := os.ReadFile(file)
		check(t, err)
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(root, at)), 0o755))
		check(t, os.WriteFile(filepath.Join(root, at), b, 0o755))
	}
	exe, err := os.Executable()
	check(t, err)
	put(exe, "/program")
	for _, file := range append([]string{exe}, libraries...) {
		out, err := exec.Command("ldd", file).CombinedOutput()
		if err != nil {
			skip(t, "ldd does not tell what a program needs: "+err.Error())
		}
		for _, m := range neededFile.FindAllStringSubmatch(string(out), -1) {
			put(m[1], m[1])
		}
		if file != exe {
			put(file, file)
			// By its soname, which is the name of the installed file up to the second dot after "so".
			base := filepath.Base(file)
			for _, c := range searchList {
				if strings.HasPrefix(base, c.file) && base != c.file {
					put(file, filepath.Join(filepath.Dir(file), c.file))
				}
			}
		}
	}
	check(t, os.MkdirAll(filepath.Join(root, "tmp"), 0o777))
	return root
}

func inRoot(t *testing.T, root string, env ...string) {
	t.Helper()
	cmd := childCommand(t, append([]string{chooseNone}, env...)...)
	cmd.Path, cmd.Dir = "/program", "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	passes(t, cmd)
}

func TestNoLibraryAtAll(t *testing.T) {
	needLoader(t)
	if !isChild() {
		inRoot(t, otherRoot(t))
		return
	}
	everyCallFails(t, []string{"no usable GSS-API library", "libgssapi_krb5.so.2: not installed", "libgssapi.so.3: not installed", "libgss.so.3: not installed", "apt install", libraryEnv})
	for _, name := range []string{"mit", "heimdal", "gnu"} {
		err := Load(name)
		is(t, err, ErrUnavailable)
		mention(t, err, "Load: lib", "not installed", "apt install")
	}
}

// What is not installed is passed over.
func TestOnlyOneInstalled(t *testing.T) {
	needLoader(t)
	if isChild() {
		k := os.Getenv(childEnv)
		t.Run(k[strings.LastIndex(k, "/")+1:], func(t *testing.T) {
			l, err := Library()
			check(t, err)
			if l.Path != os.Getenv("WANT") && !strings.HasPrefix(os.Getenv("WANT"), l.Path) {
				t.Errorf("%v, want %s", l, os.Getenv("WANT"))
			}
		})
		return
	}
	kinds, files := installed(t)
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			file, err := filepath.EvalSymlinks(files[k])
			check(t, err)
			inRoot(t, otherRoot(t, file), "WANT="+file)
		})
	}
}
