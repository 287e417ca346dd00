package gss

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed2651813c/gss/internal/fakegss"
	"github.com/seed2651813c/gss/internal/testexec"
)

var neededFile = regexp.MustCompile(`(?m)(?:=> |^\s*)(/\S+) \(0x`)

// otherRoot makes a file system that has this program, what it needs, and of the
// GSS-API libraries only those.
func otherRoot(t *testing.T, libraries ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "only root can change the root directory")
	}
	if testexec.Emulated() {
		skip(t, "the system does not start a program of another processor by itself")
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

// What is GSS.framework's own, on a fake that passes for it: functions that have
// private names alone are found, and a call that may ask a KDC is spared signals.
func TestFakeApple(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	if !isChild() {
		check(t, syscall.Mkfifo(gate, 0o600))
	}
	child, log := inFake(t, "", &fakegss.Options{Apple: true, Optional: []string{"gss_acquire_cred_with_password"}}, "FAKEGSS_GATE="+gate)
	if !child {
		if n := len(log.calls("gss_acquire_cred_with_password")); n != 1 {
			t.Errorf("%d calls of a function with a private name", n)
		}
		return
	}
	l, err := Library()
	check(t, err)
	if l.Kind != KindApple || !Supports("gss_acquire_cred_with_password") || Supports("gss_acquire_cred_from") {
		t.Errorf("%v has by password: %v; from a store: %v", l, Supports("gss_acquire_cred_with_password"), Supports("gss_acquire_cred_from"))
	}
	name := nameOf(t, "alice", NTUserName)
	toldTo(t, "block=gss_acquire_cred_with_password")
	thread, done := make(chan int), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- syscall.Gettid()
		r, err := AcquireCredWithPassword(name, []byte("secret"), 0, nil, UsageInitiate)
		if err == nil {
			r.Cred.Release()
		}
		done <- err
	}()
	status := fmt.Sprintf("/proc/self/task/%d/status", <-thread)
	calls := &callLog{t, os.Getenv("FAKEGSS_LOG")}
	for tick := time.NewTicker(time.Millisecond); len(calls.calls("blocked")) == 0; <-tick.C {
	}
	b, err := os.ReadFile(status)
	check(t, err)
	f, err := os.OpenFile(os.Getenv("FAKEGSS_GATE"), os.O_WRONLY, 0)
	check(t, err)
	f.Close()
	check(t, <-done)
	_, mask, _ := strings.Cut(string(b), "SigBlk:\t")
	mask, _, _ = strings.Cut(mask, "\n")
	if n, err := strconv.ParseUint(mask, 16, 64); err != nil || n&(1<<(syscall.SIGURG-1)) == 0 {
		t.Errorf("signals may interrupt the call: %q, %v", mask, err)
	}
}
