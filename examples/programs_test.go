package examples

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
)

// run runs a program on a library.
func run(t *testing.T, library, program string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "GSSAPI_LIBRARY="+library)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	t.Logf("%s%s", out, stderr.String())
	if (err == nil) != (stderr.Len() == 0) {
		t.Errorf("%v, and on standard error: %q", err, stderr.String())
	}
	return string(out), err
}

// inOrder fails the test unless there is a match of each pattern after that of the
// one before.
func inOrder(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		at := regexp.MustCompile("(?m)" + p).FindStringIndex(text)
		if at == nil {
			t.Fatalf("%q is missing, or not in its place", p)
		}
		text = text[at[1]:]
	}
}

func TestCancel(t *testing.T) {
	program := filepath.Join(build(t, "cancel"), "cancel")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			out, err := run(t, library, program)
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, out,
				"^the KDC does not answer$",
				"^the handshake was given up: .*context deadline exceeded$",
				`C library: 1, abandoned: 1 \(since the start: 1\)`,
				"^the KDC answers$",
				"^Step came back, .* its error: <nil>$",
				`C library: 0, abandoned: 0 \(since the start: 1\)`,
				"^the next handshake is complete: the server talks to alice@TEST.GSS$",
			)
		})
	}
	t.Run("gnu", func(t *testing.T) {
		if out, err := run(t, "gnu", program); err == nil || out != "" {
			t.Errorf("%v, %q", err, out)
		}
	})
}

func TestTrace(t *testing.T) {
	program := filepath.Join(build(t, "trace"), "trace")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			out, err := run(t, library, program)
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, out,
				"level=DEBUG .*side=initiator .*name=host@server.test .*sent=[1-9]",
				"level=DEBUG .*side=acceptor .*name=alice@TEST.GSS .*received=[1-9]",
				"level=INFO .*established.*side=acceptor .*name=alice@TEST.GSS .*flags=.*conf",
				"level=INFO .*established.*side=initiator .*name=host@server.test .*flags=.*conf",
				"level=INFO .*answer=hello$",
				"level=WARN .*name=host@nobody.test .*error.*host/nobody.test@TEST.GSS",
			)
			for name, into := range map[string]any{"gssapi": new(gssapi.Stats), "contexts": new(map[string]int)} {
				line := regexp.MustCompile("(?m)^" + name + ": (.*)$").FindStringSubmatch(out)
				if line == nil {
					t.Fatalf("no line of %s", name)
				}
				if err := json.Unmarshal([]byte(line[1]), into); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				switch v := into.(type) {
				case *gssapi.Stats:
					if v.Initiate.Limit != gssapi.DefaultLimit || v.Initiate.Running != 0 || v.Handles == 0 {
						t.Errorf("%+v", v)
					}
				case *map[string]int:
					if m := *v; m["established"] != 2 || m["failed"] != 1 {
						t.Errorf("%v", m)
					}
				}
			}
		})
	}
}

func TestSSH(t *testing.T) {
	program := filepath.Join(build(t, "ssh"), "ssh")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			out, err := run(t, library, program)
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, out,
				"^client: the server says: you are alice@TEST.GSS, until .*, delegated a credential: false$",
				"(?s)client: as bob: ssh: handshake failed",
			)
			inOrder(t, out, "^server: .*alice@TEST.GSS may not log in as bob")
		})
	}
}

func TestPostgres(t *testing.T) {
	program := filepath.Join(build(t, "postgres"), "postgres")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			out, err := run(t, library, program, "-try")
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, out,
				"^pgx: user alice, authenticated as alice@TEST.GSS: true, encrypted: true$",
				"^lib/pq: user alice, authenticated as alice@TEST.GSS: true, encrypted: true$",
			)
		})
	}
}

func TestLDAP(t *testing.T) {
	program := filepath.Join(build(t, "ldap"), "ldap")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			out, err := run(t, library, program, "-try")
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, out, "^the server says that this is dn:cn=alice,dc=test, and the layer is confidentiality$")
		})
	}
}

func TestHTTPClient(t *testing.T) {
	program := filepath.Join(build(t, "httpclient"), "httpclient")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			out, err := run(t, library, program, "-try")
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, out,
				"^GET: you are alice@TEST.GSS, until .*, delegated a credential: false$",
				"^POST: you are alice@TEST.GSS, until .*$",
				"^you have sent: good morning$",
				"^as nobody.test: .*HTTP.nobody.test",
			)
		})
	}
	for _, wrong := range [][]string{{}, {"www.test"}, {"ftp://www.test/"}, {"http://www.test/", "-plain"}, {"-cacert=/nonexistent", "https://www.test/"}} {
		if out, err := run(t, "mit", program, wrong...); err == nil || out != "" {
			t.Errorf("%q: %v, %q", wrong, err, out)
		}
	}
}

// What the server prints can be done.
func TestWeb(t *testing.T) {
	program := filepath.Join(build(t, "web"), "web")
	for _, library := range []string{"mit", "heimdal"} {
		t.Run(library, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "-try", "-tls", "-password", "-addr", "127.0.0.1:0")
			cmd.Env = append(os.Environ(), "GSSAPI_LIBRARY="+library)
			var log strings.Builder
			cmd.Stderr = &log
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// The commands are those lines that are indented.
			var commands []string
			for lines := bufio.NewScanner(stdout); lines.Scan() && !strings.HasPrefix(lines.Text(), "Ctrl-C"); {
				if c, found := strings.CutPrefix(lines.Text(), "  "); found && !strings.HasPrefix(c, "chromium") {
					commands = append(commands, strings.Replace(c, "curl", "curl -q -sS", 1))
				}
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-e", "-c", strings.Join(commands, "\n")).CombinedOutput()
			if err != nil {
				t.Errorf("%q: %v", commands, err)
			}
			inOrder(t, string(out),
				"^<h1>alice@TEST.GSS</h1>$", "Negotiate", `<dd id="bound">`, // of httpclient
				"^<h1>alice@TEST.GSS</h1>$", "Negotiate", // of curl
				"^<h1>bob@TEST.GSS</h1>$", "Negotiate", "^<h1>bob@TEST.GSS</h1>$", "Negotiate",
				"^<h1>bob@TEST.GSS</h1>$", "Basic", // with a password
				"401", "^<h1>401 Unauthorized</h1>$", "kinit",
			)
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v, %s", err, &log)
			}
			if t.Failed() {
				t.Logf("%s\n%s", out, &log)
			}
		})
	}
	for _, wrong := range [][]string{{"x"}, {"-bound"}, {"-password"}, {"-tls", "-bound", "-password"}, {"-try", "-host=www.test"}, {"-addr=nowhere"}} {
		if out, err := run(t, "mit", program, wrong...); err == nil || out != "" {
			t.Errorf("%q: %v, %q", wrong, err, out)
		}
	}
}
