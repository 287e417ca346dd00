package examples

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// The acceptor has the keytab; its workers serve the clients, and, if they are
// another user, cannot read it.
func TestPrefork(t *testing.T) {
	program := filepath.Join(build(t, "prefork"), "prefork")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "-try", "-workers=2")
			cmd.Env = append(os.Environ(), "GSSAPI_LIBRARY="+library)
			var out, log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &log
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s%s", err, &out, &log)
			}
			served := regexp.MustCompile(`(?m)^alice@TEST\.GSS, process (\d+) of user (\d+) has got: hello number \d$`).FindAllStringSubmatch(out.String(), -1)
			if len(served) != 8 {
				t.Errorf("%d clients of 8 were served", len(served))
			}
			keytab := regexp.MustCompile(`(?m)^process \d+ of user (\d+) reads the keytab: (.*)$`).FindAllStringSubmatch(out.String(), -1)
			for _, k := range keytab {
				root := os.Getuid() == 0
				if (k[1] == "0") || root != strings.HasSuffix(k[2], "permission denied") {
					t.Errorf("%q", k[0])
				}
			}
			if os.Getuid() != 0 && !strings.Contains(log.String(), "the workers are the same user") {
				t.Error("it does not say that there is one user only")
			}
			if len(keytab) == 0 || !strings.Contains(out.String(), "{Accepted:8 HandshakeFailed:0 Refused:0 Lost:0 Done:8 ") {
				t.Error("the counts are not right")
			}
			if t.Failed() {
				t.Logf("%s%s", &out, &log)
			}
		})
	}
}

// publicConf makes a configuration that other users can read, as /etc/krb5.conf is:
// a realm's own directory is its user's alone.
func publicConf(t *testing.T, realm *gsstest.Realm) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gss-examples")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(realm.Krb5Conf())
	file := filepath.Join(dir, "krb5.conf")
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(file, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	return file
}

// curl logs in at a web server whose workers take over the connections.
func TestHTTPWorker(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is needed: run ci/install.sh")
	}
	program := filepath.Join(build(t, "httpworker"), "httpworker")
	realm := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", "HTTP/server.test"}})
	keytab, err := realm.Keytab("HTTP/server.test")
	if err != nil {
		t.Fatal(err)
	}
	ccache, err := realm.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	conf := publicConf(t, realm)
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			env := append(os.Environ(), realm.EnvFor(ccache, keytab)...)
			env = append(env, "KRB5_CONFIG="+conf, "GSSAPI_LIBRARY="+library)
			server := exec.CommandContext(t.Context(), program, "-addr=127.0.0.1:0", "-workers=2")
			server.Env = env
			stderr, err := server.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			log := logs{bufio.NewReader(stderr)}
			_, addr, _ := strings.Cut(strings.TrimSpace(log.next(t, "listening")), "addr=")
			_, port, _ := strings.Cut(addr, ":")
			url := "http://server.test:" + port + "/page"
			get := func(args ...string) (string, error) {
				cmd := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "--noproxy", "*", "--resolve", "server.test:" + port + ":127.0.0.1"}, args...)...)
				cmd.Env = env
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := get("--negotiate", "-u", ":", url, url+"2")
			who := regexp.MustCompile(`(?m)^GET /page2?: you are alice@TEST\.GSS, until .*; process (\d+) of user (\d+)$`).FindAllStringSubmatch(out, -1)
			if err != nil || len(who) != 2 || who[0][1] != who[1][1] {
				t.Errorf("two requests over one connection: %v, %q", err, out)
			}
			if len(who) > 0 && (os.Getuid() == 0) == (who[0][2] == "0") {
				t.Errorf("the worker is user %s", who[0][2])
			}
			post, err := get("--negotiate", "-u", ":", "-d", "a=b", "-i", url)
			if err != nil || !strings.Contains(post, "POST /page: you are alice@TEST.GSS") || !strings.Contains(post, "Www-Authenticate: Negotiate ") {
				t.Errorf("POST: %v, %q", err, post)
			}
			if out, err := get("-i", url); err != nil || !strings.Contains(out, "401 Unauthorized") || strings.Contains(out, "you are") {
				t.Errorf("without a ticket: %v, %q", err, out)
			}
			if out, err := get("-i", "-H", "Authorization: Negotiate YII=", url); err != nil || !strings.Contains(out, "401 Unauthorized") {
				t.Errorf("with a token that is none: %v, %q", err, out)
			}
			req, err := http.Get("http://" + addr + "/")
			if err != nil || req.StatusCode != http.StatusUnauthorized {
				t.Errorf("%v, %v", req, err)
			} else {
				req.Body.Close()
			}
			server.Process.Signal(syscall.SIGTERM)
			go io.Copy(io.Discard, log)
			if err := server.Wait(); err != nil {
				t.Errorf("the server ends with %v", err)
			}
		})
	}
}
