package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/gssapi/sshauth"
	"golang.org/x/crypto/ssh"
)

// That the types fit.
var (
	_ ssh.GSSAPIClient = (*sshauth.Client)(nil)
	_ ssh.GSSAPIServer = (*sshauth.Server)(nil)
)

// The realm of the tests. Alice's tickets are forwardable.
var (
	testRealm      *gsstest.Realm
	ccache, keytab string
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		err = startRealm()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer testRealm.Close()
	return m.Run()
}

func startRealm() (err error) {
	if testRealm, err = gsstest.Start(&gsstest.Options{Principals: []string{"alice", "bob", "host/" + realm.Host}}); err != nil {
		return err
	}
	ccache, err = testRealm.Kinit("alice", &gsstest.KinitOptions{Forwardable: true})
	keytab, e := testRealm.Keytab("host/" + realm.Host)
	if err = errors.Join(err, e); err != nil {
		return err
	}
	// Who may log in as whom, for OpenSSH and for MayLogIn: a file for each local user.
	logins := filepath.Join(testRealm.Dir(), "k5login")
	me, err := user.Current()
	if err != nil {
		return err
	}
	conf, err := os.ReadFile(testRealm.Krb5Conf())
	conf = append(conf, fmt.Sprintf("\n[libdefaults]\n\tk5login_directory = %s\n", logins)...)
	file := filepath.Join(testRealm.Dir(), "ssh-krb5.conf")
	if err := errors.Join(err, os.Mkdir(logins, 0o755), os.WriteFile(file, conf, 0o644),
		os.WriteFile(filepath.Join(logins, me.Username), []byte("alice@TEST.GSS\n"), 0o644)); err != nil {
		return err
	}
	for _, kv := range append(testRealm.EnvFor(ccache, keytab), "KRB5_CONFIG="+file, "KRB5RCACHENAME=none:") {
		k, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// OpenSSH's client logs in at our server.
func TestOpenSSHClient(t *testing.T) {
	s, err := newServer(t.Context())
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	go s.serve(l)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	login := func(user string, options ...string) (string, error) {
		args := []string{
			"-F", "none", "-o", "BatchMode=yes", "-o", "GSSAPIAuthentication=yes", "-o", "GSSAPIServerIdentity=" + realm.Host,
			"-o", "PreferredAuthentications=gssapi-with-mic", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-p", port,
		}
		cmd := exec.CommandContext(t.Context(), "ssh", slices.Concat(options, args, []string{user + "@127.0.0.1", "whoami"})...) // the first of an option counts
		cmd.Env = os.Environ()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for delegate, option := range map[bool]string{false: "GSSAPIDelegateCredentials=no", true: "GSSAPIDelegateCredentials=yes"} {
		out, err := login("alice", "-o", option)
		if err != nil || !strings.Contains(out, "you are alice@TEST.GSS") || !strings.Contains(out, fmt.Sprintf("delegated a credential: %t", delegate)) {
			t.Errorf("%s: %v, %s", option, err, out)
		}
	}
	if out, err := login("bob"); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("alice as bob: %v, %s", err, out)
	}
	if out, err := login("alice", "-o", "GSSAPIServerIdentity=nobody.test"); err == nil {
		t.Errorf("to another service: %s", out)
	}
}

// sshdProgram is the server of OpenSSH: the one that ci/install.sh unpacks, since an installed one would start with
// the machine.
func sshdProgram(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"/usr/local/lib/gsstest/sshd/usr/sbin/sshd", "/usr/sbin/sshd"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Fatal("sshd is needed: run ci/install.sh")
	return ""
}

// sshdEnv is the environment of sshd. As root it insists on a directory, and on a
// user, whom it gets from a file of the test's.
func sshdEnv(t *testing.T, dir string) []string {
	t.Helper()
	env := os.Environ()
	if os.Getuid() != 0 {
		return env
	}
	check(t, os.MkdirAll("/run/sshd", 0o755))
	if _, err := user.Lookup("sshd"); err == nil {
		return env
	}
	for _, file := range []string{"passwd", "group"} {
		b, err := os.ReadFile("/etc/" + file)
		check(t, err)
		if file == "passwd" {
			b = append(b, "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"...)
		}
		check(t, os.WriteFile(filepath.Join(dir, file), b, 0o644))
	}
	return append(env, "LD_PRELOAD=libnss_wrapper.so",
		"NSS_WRAPPER_PASSWD="+filepath.Join(dir, "passwd"), "NSS_WRAPPER_GROUP="+filepath.Join(dir, "group"))
}

// sshd is a real one, for the user who runs the tests.
func sshd(t *testing.T) (addr string, host ssh.PublicKey, me string) {
	t.Helper()
	program := sshdProgram(t)
	u, err := user.Current()
	check(t, err)
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	key := filepath.Join(dir, "key")
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v, %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	check(t, err)
	host, _, _, _, err = ssh.ParseAuthorizedKey(public)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a free port: sshd tells none that it took
	check(t, err)
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	config := filepath.Join(dir, "config")
	check(t, os.WriteFile(config, []byte(fmt.Sprintf(`
ListenAddress 127.0.0.1
Port %s
HostKey %s
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
PubkeyAuthentication no
KbdInteractiveAuthentication no
GSSAPIAuthentication yes
GSSAPIStrictAcceptorCheck no
LogLevel DEBUG1
`, port, key)), 0o644))
	cmd := exec.CommandContext(t.Context(), program, "-D", "-e", "-f", config)
	cmd.Env = sshdEnv(t, dir)
	stderr, err := cmd.StderrPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	var log bytes.Buffer
	listening := false
	for !listening && lines.Scan() {
		fmt.Fprintln(&log, lines.Text())
		listening = strings.Contains(lines.Text(), "Server listening")
	}
	if !listening {
		t.Fatalf("sshd did not start:\n%s", &log)
	}
	rest := make(chan struct{})
	go func() {
		defer close(rest)
		for lines.Scan() {
			fmt.Fprintln(&log, lines.Text())
		}
	}()
	t.Cleanup(func() { // t.Context has ended it
		<-rest
		cmd.Wait()
		if t.Failed() {
			t.Logf("sshd:\n%s", &log)
		}
	})
	return addr, host, u.Username
}

// Our client logs in at OpenSSH's server.
func TestOpenSSHServer(t *testing.T) {
	addr, host, me := sshd(t)
	login := func(ctx context.Context, user, service string, o *sshauth.ClientOptions) (string, error) {
		if o == nil {
			o = new(sshauth.ClientOptions)
		}
		o.Context = ctx
		c, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.GSSAPIWithMICAuthMethod(sshauth.NewClient(o), service)},
			HostKeyCallback: ssh.FixedHostKey(host), Timeout: time.Minute,
		})
		if err != nil {
			return "", err
		}
		defer c.Close()
		s, err := c.NewSession()
		if err != nil {
			return "", err
		}
		defer s.Close()
		out, err := s.Output(`echo in; test -s "${KRB5CCNAME#FILE:}" && echo delegated`)
		var status *ssh.ExitError
		if errors.As(err, &status) {
			err = nil // that of test
		}
		return string(out), err
	}
	for delegate, want := range map[bool]string{false: "in\n", true: "in\ndelegated\n"} {
		if out, err := login(t.Context(), me, realm.Host, &sshauth.ClientOptions{Delegate: delegate}); err != nil || out != want {
			t.Errorf("delegate %t: %v, %q", delegate, err, out)
		}
	}
	if out, err := login(t.Context(), me, "nobody.test", nil); err == nil {
		t.Errorf("to another service: %q", out)
	} else if !strings.Contains(err.Error(), "nobody.test") && !strings.Contains(err.Error(), "unable to authenticate") {
		t.Error(err)
	}
	other, err := testRealm.Kinit("bob", nil)
	check(t, err)
	cred, err := gssapi.Acquire(t.Context(), &gssapi.CredentialOptions{CCache: other, Usage: gssapi.Initiate})
	check(t, err)
	if out, err := login(t.Context(), me, realm.Host, &sshauth.ClientOptions{Credential: cred}); err == nil {
		t.Errorf("bob as %s: %q", me, out)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := login(ended, me, realm.Host, nil); err == nil {
		t.Error("with a ctx that has ended")
	}
}
