package imap

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gosasl "github.com/emersion/go-sasl"
	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/examples/daemon"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/gsstest"
	"github.com/seed2651813c/gss/gssapi/sasl"
)

var testRealm *gsstest.Realm

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	l, err := gss.Library()
	if want := os.Getenv("GSS_REQUIRE_LIBRARY"); err == nil && want != "" && want != string(l.Kind) {
		err = fmt.Errorf("GSS_REQUIRE_LIBRARY is %q, and the library is %v", want, l)
	}
	if err == nil {
		testRealm, err = realm.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer testRealm.Close()
	return m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unpackedDovecot is where ci/install.sh puts a server that does not start with the
// machine.
const unpackedDovecot = "/usr/local/lib/gsstest/dovecot"

// dovecot is a server on loopback; mail is where the mail of its users is.
func dovecot(t *testing.T) (addr, mail string) {
	t.Helper()
	program := filepath.Join(unpackedDovecot, "usr/sbin/dovecot")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("Dovecot is needed: run ci/install.sh: %v", err)
	}
	dir, err := os.MkdirTemp("", "dovecot") // its sockets have short names then
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	path := func(name string) string { return filepath.Join(dir, name) }
	out, err := exec.Command("cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", path("moved.so"), "testdata/moved.c", "-ldl").CombinedOutput()
	if err != nil {
		t.Fatalf("cc: %v: %s", err, out)
	}
	check(t, testRealm.AddPrincipal("imap/"+realm.Host, "imap/stranger.test"))
	keytab, err := testRealm.Keytab("imap/" + realm.Host)
	check(t, err)
	for from, to := range map[string]string{keytab: "keytab", testRealm.Krb5Conf(): "krb5.conf"} {
		b, err := os.ReadFile(from)
		check(t, err)
		check(t, os.WriteFile(path(to), b, 0o600))
		check(t, daemon.Give(path(to)))
	}
	for _, d := range []string{"run", "state", "mail"} {
		check(t, os.Mkdir(path(d), 0o700))
		check(t, daemon.Give(path(d)))
	}
	addr, err = daemon.FreeAddr()
	check(t, err)
	_, port, _ := net.SplitHostPort(addr)
	who, err := daemon.Unprivileged()
	check(t, err)
	user, group := name(t, "-un"), name(t, "-gn")
	uid, gid := name(t, "-u"), name(t, "-g")
	if who != nil {
		user, group, uid, gid = name(t, "-un", "nobody"), name(t, "-gn", "nobody"), fmt.Sprint(who.Uid), fmt.Sprint(who.Gid)
	}
	check(t, os.WriteFile(path("conf"), fmt.Appendf(nil, `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
libexec_dir = %[2]s/usr/lib/dovecot
protocols = imap
listen = 127.0.0.1
ssl = no
default_internal_user = %[3]s
default_internal_group = %[4]s
default_login_user = %[3]s
auth_mechanisms = gssapi
auth_krb5_keytab = %[1]s/keytab
auth_gssapi_hostname = "$ALL"
auth_username_format = %%n
auth_failure_delay = 0
auth_debug = yes
mail_location = maildir:%[1]s/mail/%%u
first_valid_uid = 0
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=%[5]s gid=%[6]s home=%[1]s/mail
}
service imap-login {
  chroot =
  inet_listener imap {
    address = 127.0.0.1
    port = %[7]s
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
import_environment = LD_PRELOAD LD_LIBRARY_PATH MOVED_ROOT KRB5_CONFIG KRB5RCACHENAME
`, dir, unpackedDovecot, user, group, uid, gid, port), 0o644))
	check(t, os.Chmod(dir, 0o755))
	cmd := exec.Command(program, "-F", "-c", path("conf"))
	cmd.SysProcAttr = daemon.As(who)
	cmd.Dir = dir
	libs := filepath.Join(unpackedDovecot, "usr/lib/dovecot")
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "LD_PRELOAD=" + path("moved.so"), "LD_LIBRARY_PATH=" + libs + ":" + libs + "/modules/old-stats",
		"MOVED_ROOT=" + unpackedDovecot, "KRB5_CONFIG=" + path("krb5.conf"), "KRB5RCACHENAME=none:",
	}
	d, err := daemon.Start(cmd, "starting up for imap")
	check(t, err)
	t.Cleanup(func() {
		check(t, d.Close())
		if t.Failed() {
			t.Logf("dovecot:\n%s", d.Log())
		}
	})
	check(t, daemon.Await(addr))
	return addr, path("mail")
}

// name is what id says.
func name(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("id", args...).Output()
	check(t, err)
	return strings.TrimSpace(string(out))
}

// errNo is that the server refused.
var errNo = errors.New("the server says no")

// login authenticates, and makes a mailbox, if that has a name.
func login(t *testing.T, addr string, c gosasl.Client, initial bool, mailbox string) error {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	check(t, err)
	defer conn.Close()
	in := bufio.NewReader(conn)
	line := func() string {
		s, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(s)
	}
	line() // greeting
	mech, response, err := c.Start()
	if err != nil {
		return err
	}
	if initial {
		fmt.Fprintf(conn, "a AUTHENTICATE %s %s\r\n", mech, base64.StdEncoding.EncodeToString(response))
	} else {
		fmt.Fprintf(conn, "a AUTHENTICATE %s\r\n", mech)
		if l := line(); !strings.HasPrefix(l, "+") {
			t.Fatal(l)
		}
		fmt.Fprintf(conn, "%s\r\n", base64.StdEncoding.EncodeToString(response))
	}
	for {
		l := line()
		text, more := strings.CutPrefix(l, "+")
		switch {
		case strings.HasPrefix(l, "a OK"):
			if mailbox == "" {
				return nil
			}
			fmt.Fprintf(conn, "b CREATE %s\r\n", mailbox)
			for !strings.HasPrefix(l, "b ") {
				l = line()
			}
			if !strings.HasPrefix(l, "b OK") {
				t.Error(l)
			}
			return nil
		case strings.HasPrefix(l, "a NO"):
			return fmt.Errorf("%w: %s", errNo, l)
		case !more:
			continue
		}
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		check(t, err)
		if response, err = c.Next(challenge); err != nil {
			fmt.Fprint(conn, "*\r\n")
			return err
		}
		fmt.Fprintf(conn, "%s\r\n", base64.StdEncoding.EncodeToString(response))
	}
}

func TestDovecot(t *testing.T) {
	addr, mail := dovecot(t)
	right, err := gssapi.HostService("imap", realm.Host)
	check(t, err)
	stranger, err := gssapi.HostService("imap", "stranger.test")
	check(t, err)
	for _, tt := range []struct {
		what    string
		target  *gssapi.Name
		o       *sasl.ClientOptions
		initial bool
		want    error
	}{
		{"initial", right, nil, true, nil},
		{"asked", right, nil, false, nil},
		{"authzid", right, &sasl.ClientOptions{AuthzID: "alice"}, true, nil},
		{"any", right, &sasl.ClientOptions{Layers: sasl.LayerNone | sasl.LayerIntegrity | sasl.LayerConfidentiality}, true, nil},
		{"bob", right, &sasl.ClientOptions{AuthzID: "bob"}, true, errNo},
		{"stranger", stranger, nil, true, errNo},
		{"layer", right, &sasl.ClientOptions{Layers: sasl.LayerConfidentiality}, true, gssapi.ErrUnauthorized},
	} {
		if err := login(t, addr, sasl.NewClient(tt.target, tt.o), tt.initial, tt.what); !errors.Is(err, tt.want) {
			t.Fatalf("%s: %v, want %v", tt.what, err, tt.want)
		}
		_, err := os.Stat(filepath.Join(mail, "alice", "."+tt.what))
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: alice's mailbox: %v", tt.what, err)
		}
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := login(t, addr, sasl.NewClient(right, nil), true, ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
