package httpauth

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apache is one that runs. It has the keys of www.test, localhost and proxy.test.
type apache struct {
	plain, tls  string // ports of the web server
	proxy, open string // of the proxy that demands Negotiate, and of the one that takes everybody
	dir         string
}

// startApache starts Apache for the rest of the test. As root it would not stay root:
// it is started as nobody, with copies of the files that it needs.
func startApache(t *testing.T) *apache {
	t.Helper()
	const program = "/usr/sbin/apache2"
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run ci/install.sh", err)
	}
	a := &apache{plain: port(t), tls: port(t), proxy: port(t), open: port(t), dir: t.TempDir()}
	keys, err := theRealm.Keytab("HTTP/"+www, "HTTP/"+proxy, "HTTP/localhost")
	check(t, err)
	for to, from := range map[string]string{
		"keytab": keys, "krb5.conf": theRealm.Krb5Conf(), "cert.pem": certificate.File,
	} {
		a.copy(t, to, from, 0o600)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(a.dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	check(t, os.Mkdir(filepath.Join(a.dir, "delegated"), 0o700))
	check(t, os.Mkdir(filepath.Join(a.dir, "program"), 0o755))
	for _, place := range []string{"auth", "session", "bound", "delegate"} {
		a.copy(t, "program/"+place, "program.sh", 0o755)
	}
	config, err := os.ReadFile("apache.conf")
	check(t, err)
	replace := strings.NewReplacer("@DIR@", a.dir, "@PLAIN@", a.plain, "@TLS@", a.tls, "@PROXY@", a.proxy, "@OPEN@", a.open)
	check(t, os.WriteFile(filepath.Join(a.dir, "apache.conf"), []byte(replace.Replace(string(config))), 0o644))

	cmd := exec.CommandContext(t.Context(), program, "-DFOREGROUND", "-f", filepath.Join(a.dir, "apache.conf"))
	cmd.Env = append(os.Environ(), theRealm.Env()...)
	cmd.Env = append(cmd.Env, "KRB5_CONFIG="+filepath.Join(a.dir, "krb5.conf"), "KRB5RCACHEDIR="+a.dir, "KRB5_KTNAME="+filepath.Join(a.dir, "keytab"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its children
	cmd.WaitDelay = 20 * time.Second
	var stderr bytes.Buffer // until it has opened its log
	cmd.Stderr = &stderr
	log := func() string {
		b, _ := os.ReadFile(filepath.Join(a.dir, "log"))
		return stderr.String() + string(b)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the group that it ends is its own
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = a.giveAway(t)
	}
	check(t, cmd.Start())
	// If this process is killed, its end of a pipe is closed, and that ends Apache.
	guard := exec.Command("sh", "-c", `read _; kill "$1"`, "sh", strconv.Itoa(cmd.Process.Pid))
	_, err = guard.StdinPipe()
	check(t, err)
	check(t, guard.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() { // t.Context has ended it
		<-ended
		guard.Process.Kill()
		guard.Wait()
		if t.Failed() {
			t.Logf("Apache:\n%s", log())
		}
	})
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+a.plain)
		if err == nil {
			c.Close()
			return a
		}
		select {
		case <-ended:
			t.Fatalf("Apache did not start:\n%s", log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (a *apache) copy(t *testing.T, to, from string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(a.dir, to), b, mode))
}

// giveAway gives the directory to nobody.
func (a *apache) giveAway(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	check(t, err)
	uid, err := strconv.Atoi(u.Uid)
	check(t, err)
	gid, err := strconv.Atoi(u.Gid)
	check(t, err)
	check(t, os.Chmod(filepath.Dir(a.dir), 0o755))
	check(t, filepath.WalkDir(a.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	}))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
