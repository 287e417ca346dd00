package gsstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if !supported {
		_, err := Start(nil)
		fmt.Println("nothing is tested here:", err)
		if !errors.Is(err, errors.ErrUnsupported) {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// eachKDC runs a test on both KDCs. Neither may be missing: ci/install.sh installs them.
func eachKDC(t *testing.T, f func(*testing.T, KDC)) {
	for _, k := range []KDC{MIT, Heimdal, MITLDAP} {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			f(t, k)
		})
	}
}

// tool runs one of MIT's client programs, as a user of the realm would.
func tool(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "TZ=UTC"), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustTool(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	out, err := tool(t, env, name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in\n%s", p, text)
		}
	}
}

func isError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	contains(t, err.Error(), parts...)
}

func TestRealm(t *testing.T) {
	eachKDC(t, func(t *testing.T, k KDC) {
		r := New(t, &Options{
			KDC:        k,
			Principals: []string{"alice", "host/server.test", "al ice", "root@TEST.GSS"},
			Passwords:  map[string]string{"carol": "pass word"},
		})
		if r.Name() != "TEST.GSS" || r.Principal("alice") != "alice@TEST.GSS" ||
			r.Principal(`a\@b`) != `a\@b@TEST.GSS` || r.Principal("x@OTHER") != "x@OTHER" {
			t.Error("Name or Principal is wrong")
		}

		keytab, err := r.Keytab("host/server.test", "HTTP/server.test", "carol", "al ice")
		must(t, err)
		contains(t, mustTool(t, nil, "klist", "-kte", keytab), "host/server.test@TEST.GSS",
			"HTTP/server.test@TEST.GSS", "carol@TEST.GSS", "al ice@TEST.GSS", "aes256-cts-hmac-sha1-96")

		for _, p := range []string{"alice", "root@TEST.GSS", "al ice", "carol"} {
			ccache, err := r.Kinit(p, nil)
			must(t, err)
			env := r.EnvFor(ccache, keytab)
			mustTool(t, env, "kvno", "-k", keytab, "host/server.test") // decrypts the ticket
			contains(t, mustTool(t, env, "klist"), "Default principal: "+r.Principal(p), "krbtgt/TEST.GSS@TEST.GSS")
		}

		_, err = r.Kinit("carol", &KinitOptions{Password: "pass word"})
		must(t, err)
		_, err = r.Kinit("carol", &KinitOptions{Password: "wrong"})
		isError(t, err, "kinit carol@TEST.GSS")
		isError(t, r.AddPassword("carol", "x"), "already exists")
		must(t, r.AddPassword("dave", "op q"))
		_, err = r.Kinit("dave", &KinitOptions{Password: "op q"})
		must(t, err)

		// A keytab taken later has the same keys.
		must(t, r.AddPrincipal("host/server.test", "alice"))
		second, err := r.Keytab("host/server.test", "HTTP/server.test", "carol", "al ice")
		must(t, err)
		keys := func(path string) string {
			_, list, _ := strings.Cut(mustTool(t, nil, "klist", "-keK", path), "\n")
			return list
		}
		if second == keytab || keys(second) != keys(keytab) {
			t.Error("the keys have changed")
		}

		list := "listprincs"
		if k == Heimdal {
			list = "list *"
		}
		out, err := r.Kadmin(list)
		must(t, err)
		contains(t, out, "alice", "dave")
		_, err = r.Kadmin("nonsense")
		isError(t, err, "kadmin")

		// Without a credential cache there is none, whatever this machine has.
		out, err = tool(t, r.Env(), "klist")
		isError(t, err)
		contains(t, out, r.Dir())
		if r.Logs() == "" {
			t.Error("no log")
		}
	})
}

// TestHeimdalClient: the krb5.conf serves Heimdal's library too, with both KDCs.
func TestHeimdalClient(t *testing.T) {
	h, err := findTools(Heimdal)
	must(t, err)
	kinit := strings.TrimSuffix(h.kadmin, "kadmin.heimdal") + "kinit.heimdal"
	if _, err := os.Stat(kinit); err != nil {
		t.Skipf("Heimdal is installed without kinit.heimdal: %v", err)
	}
	eachKDC(t, func(t *testing.T, k KDC) {
		r := New(t, &Options{KDC: k})
		keytab, err := r.Keytab("alice")
		must(t, err)
		env := r.EnvFor(filepath.Join(r.Dir(), "mine"), "")
		if h.libs != "" {
			env = append(env, "LD_LIBRARY_PATH="+h.libs)
		}
		mustTool(t, env, kinit, "-k", "-t", keytab, "alice")
		contains(t, mustTool(t, env, "klist"), "alice@TEST.GSS")

		// Kinit can make do with Heimdal's kinit.
		tools := *r.tools
		tools.kinit, tools.libs = kinit, h.libs
		other := &Realm{opts: r.opts, tools: &tools, dir: r.dir, keytabs: map[string]string{}, serial: 100}
		ccache, err := other.Kinit("bob", &KinitOptions{Lifetime: time.Hour})
		must(t, err)
		if f := flags(t, ccache); strings.Contains(f, "F") {
			t.Errorf("flags %s: forwardable", f)
		}
		must(t, r.AddPassword("carol", "pw"))
		_, err = other.Kinit("carol", &KinitOptions{Password: "pw", Forwardable: true})
		must(t, err)
	})
}

var flagsLine = regexp.MustCompile(`Flags: (\w+)`)

func flags(t *testing.T, ccache string) string {
	t.Helper()
	out := mustTool(t, nil, "klist", "-f", ccache)
	m := flagsLine.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no flags in\n%s", out)
	}
	return m[1]
}

// life returns the life of the first ticket and its renewable life, as klist shows them.
func life(t *testing.T, ccache string) (d, renew time.Duration) {
	t.Helper()
	out := mustTool(t, nil, "klist", ccache)
	const layout = "01/02/06 15:04:05"
	times := regexp.MustCompile(`\d\d/\d\d/\d\d \d\d:\d\d:\d\d`).FindAllString(out, -1)
	if len(times) < 2 {
		t.Fatalf("no times in\n%s", out)
	}
	var at []time.Time
	for _, s := range times {
		v, err := time.Parse(layout, s)
		must(t, err)
		at = append(at, v)
	}
	if len(at) > 2 {
		renew = at[2].Sub(at[0])
	}
	return at[1].Sub(at[0]), renew
}

func TestLifetimeAndFlags(t *testing.T) {
	eachKDC(t, func(t *testing.T, k KDC) {
		r := New(t, &Options{KDC: k, TicketLifetime: time.Hour, RenewLifetime: 2 * time.Hour, Principals: []string{"alice"}})
		// The start is when the KDC answered, the end is reckoned from when kinit asked.
		check := func(o *KinitOptions, want, wantRenew time.Duration, with, without string) {
			t.Helper()
			ccache, err := r.Kinit("alice", o)
			must(t, err)
			d, renew := life(t, ccache)
			if (want-d).Abs() > 30*time.Second || (wantRenew-renew).Abs() > 30*time.Second {
				t.Errorf("%+v: life %v, renewable %v, want %v, %v", o, d, renew, want, wantRenew)
			}
			f := flags(t, ccache)
			if with != "" && !strings.Contains(f, with) || without != "" && strings.ContainsAny(f, without) {
				t.Errorf("%+v: flags %s, want %s and not %s", o, f, with, without)
			}
		}
		check(nil, time.Hour, 0, "I", "FPR")
		check(&KinitOptions{Lifetime: 10 * time.Minute, Forwardable: true}, 10*time.Minute, 0, "F", "PR")
		check(&KinitOptions{Lifetime: 20 * time.Hour, Proxiable: true}, time.Hour, 2*time.Hour, "P", "F")
		check(&KinitOptions{Renewable: 100 * time.Hour}, time.Hour, 2*time.Hour, "R", "FP")

		ccache, err := r.Kinit("alice", &KinitOptions{Service: r.Principal("host/a.test")})
		if err == nil {
			t.Errorf("a ticket for a service that does not exist: %s", ccache)
		}
		if _, err := r.Kinit("alice", &KinitOptions{Lifetime: -1}); err == nil {
			t.Error("negative lifetime accepted")
		}
	})
}

func TestOptions(t *testing.T) {
	eachKDC(t, func(t *testing.T, k KDC) {
		dir := filepath.Join(t.TempDir(), "realm")
		o := &Options{
			KDC: k, Realm: "Other-Realm.example", Dir: dir, Addr: "127.0.0.1",
			Enctypes:      []string{"aes128-cts-hmac-sha1-96"},
			ClockSkew:     time.Second,
			LibDefaults:   map[string]string{"ignore_acceptor_hostname": "true", "rdns": "true"},
			ExtraKrb5Conf: "[appdefaults]\n x = {\n  y = z\n }",
			ExtraKDCConf:  "[logging]\n x = STDERR",
		}
		r := New(t, o)
		if r.Dir() != dir || filepath.Dir(r.Krb5Conf()) != dir || !strings.HasPrefix(r.Addr(), "127.0.0.1:") {
			t.Error(r.Dir(), r.Krb5Conf(), r.Addr())
		}
		ccache, err := r.Kinit("alice", nil)
		must(t, err)
		out := mustTool(t, r.EnvFor(ccache, ""), "klist", "-e")
		contains(t, out, "alice@Other-Realm.example", "skey", "aes128-cts-hmac-sha1-96")
		if strings.Contains(out, "aes256") {
			t.Errorf("other enctypes:\n%s", out)
		}
		conf, err := os.ReadFile(r.Krb5Conf())
		must(t, err)
		contains(t, string(conf), "\n clockskew = 1\n", "\n ignore_acceptor_hostname = true\n", "\n rdns = true\n", "[appdefaults]")
		if strings.Contains(string(conf), "rdns = false") {
			t.Error("LibDefaults does not replace a default")
		}

		_, err = Start(o)
		isError(t, err, "holds a realm already")
		must(t, r.Close())
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("Close has removed the caller's directory: %v", err)
		}
	})
}

// TestEnctypes starts a realm with every enctype the KDC is able to use for all of its keys.
func TestEnctypes(t *testing.T) {
	t.Parallel()
	for e := range enctypes {
		t.Run(e, func(t *testing.T) {
			r := New(t, &Options{Enctypes: []string{e}})
			_, err := r.Kinit("alice", nil)
			must(t, err)
		})
	}
}

func TestTwoRealms(t *testing.T) {
	t.Parallel()
	a := New(t, &Options{Realm: "A.GSS", Principals: []string{"alice", "host/server.test"}})
	b := New(t, &Options{Realm: "B.GSS", KDC: Heimdal, Principals: []string{"alice", "host/server.test"}})
	c := New(t, &Options{Realm: "A.GSS", Principals: []string{"alice", "host/server.test"}})
	for _, r := range []*Realm{a, b, c} {
		ccache, err := r.Kinit("alice", nil)
		must(t, err)
		mustTool(t, r.EnvFor(ccache, ""), "kvno", "host/server.test")
		for _, other := range []*Realm{a, b, c} {
			if other == r {
				continue
			}
			if out, err := tool(t, other.EnvFor(ccache, ""), "kvno", "HTTP/x.test"); err == nil {
				t.Errorf("a ticket of %s at %s is good at %s:\n%s", r.Name(), r.Addr(), other.Addr(), out)
			}
		}
	}
}

// TestManyRealms: realms that start at the same time do not share a port, each answers for itself. Their
// names are the same, so that a KDC that answers in place of another is not noticed by the name.
func TestManyRealms(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1"} {
		t.Run("addr="+addr, func(t *testing.T) {
			const n = 20
			realms := make([]*Realm, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					me := fmt.Sprintf("user%d", i)
					r, err := Start(&Options{Addr: addr, Principals: []string{me}})
					if err != nil {
						t.Error(err)
						return
					}
					realms[i] = r
				})
			}
			wg.Wait()
			t.Cleanup(func() {
				for _, r := range realms {
					if r != nil {
						r.Close()
					}
				}
			})
			if t.Failed() {
				return
			}
			seen := map[string]bool{}
			for i, r := range realms {
				if seen[r.Addr()] {
					t.Errorf("two KDCs at %s", r.Addr())
				}
				seen[r.Addr()] = true
				// The kernel spreads connections over sockets that share a port: ask several times.
				for range 3 {
					_, err := r.Kinit(fmt.Sprintf("user%d", i), nil)
					must(t, err)
				}
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	eachKDC(t, func(t *testing.T, k KDC) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		o := &Options{KDC: k, Addr: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
		_, err = Start(o)
		isError(t, err, "cannot listen on "+l.Addr().String(), "in use")

		u, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(t, err)
		defer u.Close()
		o.Port = u.LocalAddr().(*net.UDPAddr).Port
		_, err = Start(o)
		isError(t, err, "cannot listen on "+u.LocalAddr().String(), "in use")

		// krb5kdc would share its port with another one.
		r := New(t, &Options{KDC: k, Addr: "127.0.0.1"})
		_, err = Start(&Options{KDC: k, Addr: "127.0.0.1", Port: r.port})
		isError(t, err, "locked by another realm")
		must(t, r.StopKDC())
		_, err = Start(&Options{KDC: k, Addr: "127.0.0.1", Port: r.port})
		isError(t, err, "locked by another realm")
		must(t, r.Close())
		New(t, &Options{KDC: k, Addr: "127.0.0.1", Port: r.port})
	})
}

// TestPortStolen: a program that takes the port between our look and the KDC's bind is noticed.
func TestPortStolen(t *testing.T) {
	eachKDC(t, func(t *testing.T, k KDC) {
		r := New(t, &Options{KDC: k})
		must(t, r.StopKDC())
		l, err := net.Listen("tcp", r.Addr())
		must(t, err)
		err = r.StartKDC()
		isError(t, err, "did not start")
		if !errors.Is(err, errPortInUse) {
			t.Errorf("not errPortInUse: %v", err)
		}
		l.Close()
		must(t, r.StartKDC())
	})
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{KDC: 7}, "no such KDC: KDC(7)"},
		{Options{Realm: "A B"}, "illegal realm name"},
		{Options{Realm: "A\nB"}, "illegal realm name"},
		{Options{Realm: "A}"}, "illegal realm name"},
		{Options{Realm: "-r"}, "illegal realm name"},
		{Options{Realm: "../x"}, "illegal realm name"},
		{Options{Addr: "localhost"}, "not an IP address"},
		{Options{Addr: "192.0.2.1"}, "192.0.2.1"},
		{Options{Addr: "192.0.2.1", Port: 12345}, "cannot listen on 192.0.2.1:12345"},
		{Options{Port: 70000}, "illegal port"},
		{Options{Port: -1}, "illegal port"},
		{Options{Dir: "/proc/nothing"}, "/proc/nothing"},
		{Options{Dir: filepath.Join(t.TempDir(), "a:b")}, "cannot stand in"},
		{Options{Dir: filepath.Join(t.TempDir(), "a\nb")}, "cannot stand in"},
		{Options{Dir: filepath.Join(t.TempDir(), "a b")}, "cannot stand in"},
		{Options{TicketLifetime: -1}, "TicketLifetime is negative"},
		{Options{RenewLifetime: -1}, "RenewLifetime is negative"},
		{Options{ClockSkew: -1}, "ClockSkew is negative"},
		{Options{TicketLifetime: 100 * 365 * 24 * time.Hour}, "longer than 31 bits"},
		{Options{Enctypes: []string{"aes512"}}, `unknown enctype "aes512"`},
		{Options{Enctypes: []string{"arcfour-hmac\n x = y"}}, "unknown enctype"},
		{Options{LibDefaults: map[string]string{"a b": "c"}}, "illegal key"},
		{Options{LibDefaults: map[string]string{"": "c"}}, "illegal key"},
		{Options{LibDefaults: map[string]string{"a": "b\nc = d"}}, "illegal value"},
		{Options{LibDefaults: map[string]string{"a": "{"}}, "illegal value"},
		{Options{ExtraKrb5Conf: "\x00"}, "NUL"},
		{Options{Principals: []string{"a\ndelprinc b"}}, "control character"},
		{Options{Principals: []string{""}}, "empty"},
		{Options{Principals: []string{"-randkey"}}, "option"},
		{Options{Principals: []string{"@X"}}, "illegal principal"},
		{Options{Principals: []string{"a@"}}, "illegal principal"},
		{Options{Principals: []string{" a"}}, "illegal principal"},
		{Options{Principals: []string{strings.Repeat("x", 2000)}}, "too long"},
		{Options{KDC: Heimdal, Principals: []string{`a"b`}}, "quote"},
		{Options{KDC: Heimdal, Principals: []string{`*`}}, "pattern"},
		{Options{Passwords: map[string]string{"a": ""}}, "empty password"},
		{Options{Passwords: map[string]string{"a": "b\nc"}}, "control character"},
		{Options{Passwords: map[string]string{"a\rb": "c"}}, "control character"},
		{Options{KDC: Heimdal, Passwords: map[string]string{"a": `b"c`}}, "password"},
	} {
		r, err := Start(&c.o)
		if err == nil {
			t.Errorf("%+v: no error", c.o)
			r.Close()
			continue
		}
		isError(t, err, "gsstest: ", c.want)
	}
}

// TestInjection: what is not refused stays one word of kadmin's command.
func TestInjection(t *testing.T) {
	t.Parallel()
	names := []string{`al"ice`, `a" -policy "b`, `a\@b`, `!touch x`, `a;b`, `$(id)`, `two  spaces`, `"`, `""`, `'`, "ünï", `*`, `{`, `#x`}
	r := New(t, &Options{Principals: names})
	must(t, r.AddPassword(`e"ve x`, `p"w "" w`))
	_, err := r.Kinit(`e"ve x`, &KinitOptions{Password: `p"w "" w`})
	must(t, err)
	for _, n := range names {
		ccache, err := r.Kinit(n, nil)
		if err != nil {
			t.Errorf("%s: %v", n, err)
			continue
		}
		contains(t, mustTool(t, nil, "klist", ccache), "Default principal: "+n+"@TEST.GSS\n")
	}
	out, err := r.Kadmin("listprincs")
	must(t, err)
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		name, isPrincipal := strings.CutSuffix(line, "@TEST.GSS")
		switch {
		case !isPrincipal, strings.HasPrefix(name, "K/"), strings.HasPrefix(name, "krbtgt/"), strings.HasPrefix(name, "kadmin/"), name == `e"ve x`:
		case !slices.Contains(names, name):
			t.Errorf("a principal that nobody asked for: %s", line)
		}
	}
	for _, n := range []string{"x\ndelprinc -force alice", "x\x00", "-x", ""} {
		isError(t, r.AddPrincipal(n), "principal name")
		_, err := r.Keytab(n)
		isError(t, err, "principal name")
		_, err = r.Kinit(n, nil)
		isError(t, err, "principal name")
		isError(t, r.AddPassword(n, "pw"), "principal name")
	}
	_, err = r.Kinit("x", &KinitOptions{Service: "-x"})
	isError(t, err, "principal name")
	_, err = r.Kinit("x", &KinitOptions{Password: "a\nb"})
	isError(t, err, "control character")
	_, err = r.Keytab()
	isError(t, err, "without a principal")
	_, err = r.Kadmin("listprincs\nlistprincs")
	isError(t, err, "control character")
	_, err = r.Kadmin(" !id")
	isError(t, err, "shell")
}

func TestStores(t *testing.T) {
	t.Parallel()
	r := &Realm{dir: "/d"}
	if s := r.InitiatorStore("/x"); len(s) != 1 || s["ccache"] != "FILE:/x" {
		t.Error(s)
	}
	if s := r.InitiatorStore("MEMORY:x"); s["ccache"] != "MEMORY:x" {
		t.Error(s)
	}
	if s := r.AcceptorStore("/k"); s["keytab"] != "FILE:/k" || s["rcache"] != "file2:/d/acceptor.rcache2" {
		t.Error(s)
	}
	for _, kv := range r.EnvFor("DIR:/c", "/k") {
		if strings.HasPrefix(kv, "KRB5CCNAME=") && kv != "KRB5CCNAME=DIR:/c" ||
			strings.HasPrefix(kv, "KRB5_KTNAME=") && kv != "KRB5_KTNAME=FILE:/k" {
			t.Error(kv)
		}
	}
}

func TestSetenv(t *testing.T) {
	r := New(t, nil)
	t.Run("", func(t *testing.T) {
		r.Setenv(t)
		if os.Getenv("KRB5_CONFIG") != r.Krb5Conf() {
			t.Error("not set")
		}
	})
	if os.Getenv("KRB5_CONFIG") == r.Krb5Conf() {
		t.Error("still set after the test")
	}
}

func TestAvailable(t *testing.T) {
	for _, k := range []KDC{MIT, Heimdal, MITLDAP} {
		must(t, Available(k))
	}
	isError(t, Available(7), "no such KDC")
	t.Setenv("GSSTEST_HEIMDAL", t.TempDir())
	isError(t, Available(Heimdal), "no kdc, kadmin.heimdal, kstash below", "ci/install.sh", "heimdal-kdc")
	_, err := Start(&Options{KDC: Heimdal})
	isError(t, err, "heimdal-kdc")
	t.Setenv("GSSTEST_LDAP", t.TempDir())
	isError(t, Available(MITLDAP), "no usr/sbin/slapd, usr/bin/ldapmodify", "ci/install.sh", "slapd")
	must(t, Available(MIT))
}
