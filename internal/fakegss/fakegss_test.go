package fakegss_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/internal/fakegss"
	"github.com/seed2651813c/gss/internal/testexec"
)

func build(t *testing.T, o *fakegss.Options) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil && os.Getenv("CC") == "" {
		t.Skip("no C compiler is installed to build the fake library with")
	}
	path, err := fakegss.Build(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// exports are the gss functions of a library.
func exports(t *testing.T, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Skipf("what a library exports is read from ELF files: %v", err)
	}
	defer f.Close()
	syms, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range syms {
		if s.Section != elf.SHN_UNDEF && strings.HasPrefix(s.Name, "gss_") {
			names = append(names, s.Name)
		}
	}
	return names
}

// required are the functions of shim.h's table that every library has.
func required(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("../../shim.h")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "#define GSSGO_REQUIRED(F)")
	table, _, _ = strings.Cut(table, "#define GSSGO_OPTIONAL(F)")
	var names []string
	for _, m := range regexp.MustCompile(`F\(\w+, (gss_\w+), \(`).FindAllStringSubmatch(table, -1) {
		names = append(names, m[1])
	}
	if len(names) < 34 {
		t.Fatalf("only %d required functions found", len(names))
	}
	return names
}

func TestExports(t *testing.T) {
	all := required(t)
	for _, tt := range []struct {
		name string
		o    *fakegss.Options
		want []string
	}{
		{"default", nil, all},
		{"broken", &fakegss.Options{Missing: "gss_wrap"}, slices.DeleteFunc(slices.Clone(all), func(f string) bool { return f == "gss_wrap" })},
		{"optional", &fakegss.Options{Optional: fakegss.Optional}, append(slices.Clone(all), fakegss.Optional...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := exports(t, build(t, tt.o))
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("exports %v, want %v", got, tt.want)
			}
		})
	}
}

func TestSONAME(t *testing.T) {
	path := build(t, &fakegss.Options{SONAME: "libfake.so.7"})
	f, err := elf.Open(path)
	if err != nil {
		t.Skipf("a soname is read from ELF files: %v", err)
	}
	defer f.Close()
	got, err := f.DynString(elf.DT_SONAME)
	if err != nil || !slices.Equal(got, []string{"libfake.so.7"}) {
		t.Errorf("soname %q, %v", got, err)
	}
}

func TestUnknownOptional(t *testing.T) {
	if _, err := fakegss.Build(t.TempDir(), &fakegss.Options{Optional: []string{"gss_wrapp"}}); err == nil {
		t.Error("a function that does not exist was built")
	}
}

// inChild runs this test again in a process that uses the fake library. It
// returns true there; in the parent, the child's output.
func inChild(t *testing.T, o *fakegss.Options, env ...string) (child bool, out string, err error) {
	t.Helper()
	if path := os.Getenv("FAKEGSS_TEST_LIBRARY"); path != "" {
		if err := gss.Load(path); err != nil {
			t.Fatal(err)
		}
		return true, "", nil
	}
	if fakegss.NoLoading != "" {
		t.Skip(fakegss.NoLoading)
	}
	path := build(t, o)
	if _, err := gss.Library(); errors.Is(err, gss.ErrUnavailable) && strings.Contains(err.Error(), "cgo") {
		t.Skip("this is a build without cgo: no library can be opened")
	}
	cmd, err := testexec.Self("-test.run=^"+t.Name()+"$", "-test.v")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), append(env, "FAKEGSS_TEST_LIBRARY="+path)...)
	b, err := cmd.CombinedOutput()
	return false, string(b), err
}

// pass is inChild for tests whose child passes.
func pass(t *testing.T, o *fakegss.Options, env ...string) (child bool) {
	t.Helper()
	child, out, err := inChild(t, o, env...)
	if !child && err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return child
}

func handshake(t *testing.T) (initiator, acceptor *gss.Ctx) {
	t.Helper()
	target, err := gss.ImportName([]byte("host@server"), gss.NTHostBasedService)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Release()
	initiator, acceptor = gss.NewCtx(), gss.NewCtx()
	flags := gss.FlagMutual | gss.FlagReplay | gss.FlagSequence | gss.FlagConf | gss.FlagInteg
	var token []byte
	for range 4 {
		s, err := initiator.Init(&gss.InitArgs{Target: target, Flags: flags, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		done := s.Done
		if s.Token == nil {
			return initiator, acceptor
		}
		a, err := acceptor.Accept(&gss.AcceptArgs{Token: s.Token.Bytes()})
		if err != nil {
			t.Fatal(err)
		}
		s.Token.Release()
		token = a.Token.Bytes()
		a.Token.Release()
		a.Source.Release()
		if done {
			break
		}
	}
	return initiator, acceptor
}

// The mechanism works, and everything is given back.
func TestToyMechanism(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if !pass(t, nil, "FAKEGSS_LOG="+log) {
		calls, err := fakegss.ReadLog(log)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(calls, func(c fakegss.Call) bool { return c.Function == "gss_init_sec_context" })
		if i < 0 || calls[i].Args["target"] != "host@server" || calls[i].Args["flags"] != "0x3e" || calls[i].Args["input"] != "NULL" {
			t.Errorf("the first leg is not in the log as it was: %v", calls)
		}
		live, err := fakegss.Live(log)
		if err != nil {
			t.Fatal(err)
		}
		for what, n := range live {
			if n != 0 {
				t.Errorf("%d %s left", n, what)
			}
		}
		return
	}
	initiator, acceptor := handshake(t)
	msg := []byte("attack at dawn")
	tok, encrypted, err := initiator.Wrap(nil, msg, true, 0)
	if err != nil || !encrypted || bytes.Contains(tok, msg) {
		t.Fatalf("Wrap: %q, %v, %v", tok, encrypted, err)
	}
	replay := bytes.Clone(tok)

	exported, err := acceptor.Export()
	if err != nil {
		t.Fatal(err)
	}
	acceptor, err = gss.ImportSecContext(exported.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	exported.Release()

	got, encrypted, _, err := acceptor.Unwrap(nil, tok)
	if err != nil || !encrypted || !bytes.Equal(got, msg) {
		t.Fatalf("Unwrap: %q, %v, %v", got, encrypted, err)
	}
	if _, _, _, err := acceptor.Unwrap(nil, bytes.Clone(replay)); !errors.Is(err, gss.ErrDuplicateToken) {
		t.Errorf("a replay: %v", err)
	}
	replay[len(replay)-1] ^= 1
	if _, _, _, err := acceptor.Unwrap(nil, replay); !errors.Is(err, gss.ErrBadMIC) {
		t.Errorf("a changed token: %v", err)
	}
	mic, err := acceptor.GetMIC(nil, msg, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := initiator.VerifyMIC(msg, mic); err != nil {
		t.Error(err)
	}
	if _, err := initiator.VerifyMIC(msg[1:], mic); !errors.Is(err, gss.ErrBadMIC) {
		t.Errorf("another message: %v", err)
	}
	initiator.Delete()
	acceptor.Delete()
}

func TestToldToFail(t *testing.T) {
	if !pass(t, nil, "FAKEGSS=fail=gss_indicate_mechs,gss_get_mic;acquire=fail") {
		return
	}
	if _, err := gss.IndicateMechs(); err == nil || !strings.Contains(err.Error(), "gss_indicate_mechs was told to fail") {
		t.Errorf("IndicateMechs: %v", err)
	}
	if _, err := gss.AcquireCred(nil, 0, nil, gss.UsageInitiate); !errors.Is(err, gss.ErrNoCred) {
		t.Errorf("AcquireCred: %v", err)
	}
	t.Setenv("FAKEGSS", "")
	if _, err := gss.IndicateMechs(); err != nil {
		t.Errorf("os.Setenv does not reach the library: %v", err)
	}
}

func TestMisspeltFaultAborts(t *testing.T) {
	for _, item := range []string{"export=fail-kept", "fail=gss_wrapp", "fail=gss_wrap,", "fail="} {
		child, out, err := inChild(t, nil, "FAKEGSS="+item)
		if child {
			gss.IndicateMechs()
			return
		}
		if err == nil || !strings.Contains(out, "fakegss: FAKEGSS has an unknown item "+item) {
			t.Errorf("%s: %v\n%s", item, err, out)
		}
	}
}
