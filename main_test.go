package gss

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/internal/fakegss"
	"github.com/seed2651813c/gss/internal/testexec"
)

// The suite runs on the library that GSSAPI_LIBRARY names. With
// GSS_REQUIRE_LIBRARY=kind it fails at once on another one.
const requireEnv = "GSS_REQUIRE_LIBRARY"

// childEnv holds the name of the test that a child process is to run: see inChild.
const childEnv = "GSS_TEST_CHILD"

// realm is where the tests get their tickets; nil if there is none. Its alice is
// the default initiator of this process, its host/server.test the default
// acceptor: Heimdal's client has no credential stores.
var realm *gsstest.Realm

// noRealm says why realm is nil.
var noRealm error

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if isChild() || fuzzWorker() {
		return checkLeft(m.Run())
	}
	if kind := os.Getenv(requireEnv); kind != "" {
		l, err := Library()
		if err != nil || string(l.Kind) != kind {
			fmt.Fprintf(os.Stderr, "%s=%s, but the library is %v: %v\n", requireEnv, kind, l, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "gss-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	fakeDir = filepath.Join(dir, "fake")
	if err := os.Mkdir(fakeDir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// GNU gss: or it makes ~/.shishi.
	os.Setenv("SHISHI_HOME", dir)
	if err := os.WriteFile(filepath.Join(dir, "shishi.conf"), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if noRealm = startRealm(); noRealm == nil {
		defer realm.Close()
	}
	return checkLeft(m.Run())
}

func isChild() bool { return os.Getenv(childEnv) != "" }

func fuzzWorker() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
}

// startRealm sets the environment for the whole run, before the library is used:
// Heimdal 7.8 keeps a configuration for each thread.
func startRealm() error {
	r, err := gsstest.Start(&gsstest.Options{Principals: []string{"alice", "host/server.test"}})
	if err != nil {
		return err
	}
	ccache, err := r.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	if err != nil {
		return errors.Join(err, r.Close())
	}
	keytab, err := r.Keytab("host/server.test")
	if err != nil {
		return errors.Join(err, r.Close())
	}
	for _, kv := range r.EnvFor(ccache, keytab) {
		k, v, _ := strings.Cut(kv, "=")
		os.Setenv(k, v)
	}
	realm = r
	return nil
}

// checkLeft fails the run if something of the library's is not released after
// the tests. The collections also let -asan see what leaked: memory of C that a
// dead Go object points to counts as reachable until then.
func checkLeft(code int) int {
	for i := 0; i < 5 || i < 500 && Live() != 0; i++ {
		runtime.GC()
		runtime.Gosched()
	}
	if n := Live(); n != 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d names, credentials, contexts or buffers are neither released nor unreachable after the tests:\n", n)
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%s\n", buf[:runtime.Stack(buf, true)])
		return 1
	}
	return code
}

// skip skips a test that cannot run here. The sentence says what is missing, for
// make test, which counts these lines.
func skip(tb testing.TB, sentence string) {
	tb.Helper()
	k := string(kind())
	if k == "" {
		k = "no library"
	}
	tb.Skipf("%s: %s", k, sentence)
}

// inChild runs the calling test again in a process of its own, with more
// environment variables, and returns true there. In the parent it returns false
// when the child is done, and the test has failed or was skipped as the child's
// was. What is "NAME" without "=" is taken out of the child's environment.
func inChild(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		return true
	}
	if isChild() {
		t.Fatalf("a child of %s must not run this", os.Getenv(childEnv))
	}
	passes(t, childCommand(t, env...))
	return false
}

func childCommand(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	var run []string
	for _, part := range strings.Split(t.Name(), "/") {
		run = append(run, "^"+part+"$")
	}
	cmd, err := testexec.Self("-test.run="+strings.Join(run, "/"), "-test.v", "-test.timeout=5m", fmt.Sprintf("-test.short=%v", testing.Short()))
	check(t, err)
	all := map[string]string{}
	for _, kv := range append(os.Environ(), append([]string{requireEnv, childEnv + "=" + t.Name(), "GORACE=atexit_sleep_ms=0 " + os.Getenv("GORACE")}, env...)...) {
		k, v, set := strings.Cut(kv, "=")
		if set {
			all[k] = v
		} else {
			delete(all, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		cmd.Env = append(cmd.Env, k+"="+all[k])
	}
	return cmd
}

// passes runs a child and does to t what the child did to itself.
func passes(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	b, err := cmd.CombinedOutput()
	out := string(b)
	if err != nil {
		t.Fatalf("the child: %v\n%s", err, out)
	}
	if _, after, ok := strings.Cut(out, "--- SKIP: "+t.Name()+" "); ok {
		t.Skip(strings.TrimSpace(strings.TrimPrefix(after, strings.SplitN(after, "\n", 2)[0])))
	}
	if !strings.Contains(out, "--- PASS: "+t.Name()+" ") {
		t.Fatalf("the child did not run the test:\n%s", out)
	}
}

// preload is the environment of a child whose process has files in its global
// scope from the start.
func preload(files ...string) []string {
	return []string{"LD_PRELOAD=" + strings.Join(files, " "), "ASAN_OPTIONS=verify_asan_link_order=0:" + os.Getenv("ASAN_OPTIONS")}
}

// fakeDir is for the fake libraries; each is built once.
var (
	fakeDir string
	fakes   = map[string]string{}
)

// buildFake builds the fake library.
func buildFake(t *testing.T, o *fakegss.Options) string {
	t.Helper()
	if o == nil {
		o = &fakegss.Options{}
	}
	key := fmt.Sprint(*o)
	if fakes[key] == "" {
		dir, err := os.MkdirTemp(fakeDir, "")
		check(t, err)
		check(t, os.Chmod(dir, 0o755))
		fakes[key] = buildFakeIn(t, dir, o)
	}
	return fakes[key]
}

func buildFakeIn(t *testing.T, dir string, o *fakegss.Options) string {
	t.Helper()
	needLoading(t)
	if err := unfit(); err != nil {
		skip(t, err.Error())
	}
	path, err := fakegss.Build(dir, o)
	if errors.Is(err, exec.ErrNotFound) {
		skip(t, "there is no C compiler to build the fake library with")
	}
	check(t, err)
	return path
}

// inFake is inChild with the fake library, which has the faults and keeps a log
// of its calls. In the child the log is nil.
func inFake(t *testing.T, faults string, o *fakegss.Options, env ...string) (child bool, log *callLog) {
	t.Helper()
	if os.Getenv(childEnv) == t.Name() {
		return true, nil
	}
	log = &callLog{t, filepath.Join(t.TempDir(), "calls")}
	inChild(t, append([]string{libraryEnv + "=" + buildFake(t, o), "FAKEGSS=" + faults, "FAKEGSS_LOG=" + log.file}, env...)...)
	if t.Failed() {
		t.FailNow()
	}
	for what, n := range log.live() {
		if n != 0 {
			t.Errorf("the library has %d %s that were not given back", n, what)
		}
	}
	return false, log
}

// callLog is what the fake library wrote.
type callLog struct {
	t    *testing.T
	file string
}

func (l *callLog) calls(function string) []fakegss.Call {
	l.t.Helper()
	all, err := fakegss.ReadLog(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	var calls []fakegss.Call
	for _, c := range all {
		if c.Function == function {
			calls = append(calls, c)
		}
	}
	return calls
}

func (l *callLog) live() map[string]int {
	l.t.Helper()
	if calls, err := fakegss.ReadLog(l.file); err == nil && !slices.ContainsFunc(calls, func(c fakegss.Call) bool { return c.Function == "live" }) {
		return nil // nothing was ever made
	}
	live, err := fakegss.Live(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	return live
}

// needLibrary skips where no library is installed.
func needLibrary(tb testing.TB) LibraryInfo {
	tb.Helper()
	l, err := Library()
	if err != nil {
		skip(tb, "no GSS-API library can be opened: "+err.Error())
	}
	return l
}

// needKrb5 skips where no Kerberos context can be established.
func needKrb5(tb testing.TB) {
	tb.Helper()
	switch l := needLibrary(tb); {
	case l.Kind == KindGNU:
		skip(tb, "GNU gss takes its tickets from Shishi, which this realm's kinit does not write")
	case realm == nil && !isChild():
		skip(tb, fmt.Sprintf("no realm could be started: %v", noRealm))
	}
}

const allFlags = FlagMutual | FlagReplay | FlagSequence | FlagConf | FlagInteg

// check fails the test on an error.
func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// is fails the test if err is not target.
func is(tb testing.TB, err error, target error) {
	tb.Helper()
	if !errors.Is(err, target) {
		tb.Errorf("error %v, want %v", err, target)
	}
}

// mention fails the test if err does not have these texts.
func mention(tb testing.TB, err error, texts ...string) {
	tb.Helper()
	if err == nil {
		tb.Errorf("no error, want one with %q", texts)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			tb.Errorf("error %q does not mention %q", err, s)
		}
	}
}

// nameOf makes a name that is released at the end of the test.
func nameOf(tb testing.TB, s string, typ OID) *Name {
	tb.Helper()
	n, err := ImportName([]byte(s), typ)
	check(tb, err)
	tb.Cleanup(n.Release)
	return n
}

// server is the acceptor's name.
func server(tb testing.TB) *Name {
	tb.Helper()
	return nameOf(tb, "host@server.test", NTHostBasedService)
}

// establish makes a context with the default credentials. Both ends are deleted
// at the end of the test.
func establish(tb testing.TB, mech OID, flags Flags) (initiator, acceptor *Ctx) {
	tb.Helper()
	initiator, acceptor, err := handshake(&InitArgs{Target: server(tb), Mech: mech, Flags: flags}, &AcceptArgs{})
	check(tb, err)
	tb.Cleanup(initiator.Delete)
	tb.Cleanup(acceptor.Delete)
	return initiator, acceptor
}

// handshake makes a context; on an error neither end is left.
func handshake(ia *InitArgs, aa *AcceptArgs) (initiator, acceptor *Ctx, err error) {
	i, a := *ia, *aa
	initiator, acceptor = NewCtx(), NewCtx()
	defer func() {
		if err != nil {
			initiator.Delete()
			acceptor.Delete()
		}
	}()
	var idone, adone bool
	for leg := 0; leg < 10 && !(idone && adone); leg++ {
		if !idone {
			s, err := initiator.Init(&i)
			if s != nil {
				a.Token = s.Token.Bytes()
				s.Token.Release()
			}
			if err != nil {
				return nil, nil, err
			}
			idone = s.Done
			if adone && len(a.Token) > 0 {
				return nil, nil, errors.New("a token for an established context")
			}
		}
		if !adone {
			s, err := acceptor.Accept(&a)
			if s != nil {
				i.Token = s.Token.Bytes()
				s.Token.Release()
				s.Source.Release()
				s.Delegated.Release()
			}
			if err != nil {
				return nil, nil, err
			}
			adone = s.Done
		}
	}
	if !idone || !adone {
		return nil, nil, errors.New("ten legs were not enough")
	}
	return initiator, acceptor, nil
}
