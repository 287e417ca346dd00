// Package examples holds programs that show how the module is used; here are
// their tests.
package examples

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// The client and the server of the README talk to each other.
func TestClientAndServer(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./client", "./server").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	realm := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", "host/server.test"}})
	keytab, err := realm.Keytab("host/server.test")
	if err != nil {
		t.Fatal(err)
	}
	ccache, err := realm.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			env := append(os.Environ(), realm.EnvFor(ccache, keytab)...)
			env = append(env, "GSSAPI_LIBRARY="+library)
			server := exec.CommandContext(t.Context(), filepath.Join(bin, "server"), "-addr=127.0.0.1:0")
			server.Env = env
			log, err := server.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer server.Wait()
			defer server.Process.Kill()
			lines := bufio.NewReader(log)
			first, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			_, addr, _ := strings.Cut(strings.TrimSpace(first), "listening on ")

			run := func(env []string, args ...string) (string, error) {
				client := exec.CommandContext(t.Context(), filepath.Join(bin, "client"), append([]string{"-addr=" + addr}, args...)...)
				client.Env = env
				out, err := client.CombinedOutput()
				return string(out), err
			}
			if out, err := run(env, "good", "morning"); err != nil || out != "hello, alice@TEST.GSS\n" {
				t.Errorf("client: %v, %q", err, out)
			}
			if said, err := lines.ReadString('\n'); err != nil || !strings.Contains(said, `alice@TEST.GSS says "good morning"`) {
				t.Errorf("server: %v, %q", err, said)
			}
			// Without tickets, and to a server that is another.
			if out, err := run(append(env, "KRB5CCNAME=FILE:/nonexistent"), "x"); err == nil || out == "" {
				t.Errorf("client without tickets: %v, %q", err, out)
			}
			if out, err := run(env, "-service=host@other.test", "x"); err == nil || out == "" {
				t.Errorf("client to another server: %v, %q", err, out)
			}
		})
	}
}
