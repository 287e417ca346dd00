package httpauth

import (
	"crypto/rand"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// curl runs curl with a user's tickets, and returns what it prints.
func curl(t *testing.T, tickets string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "curl", append([]string{"--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--insecure", "--write-out", "\n%{http_code} %{http_version}"}, args...)...)
	cmd.Env = append(os.Environ(), "KRB5CCNAME=FILE:"+tickets)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("curl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// A client that nobody here wrote.
func TestCurl(t *testing.T) {
	needsLibrary(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatalf("%v: see ci/install.sh", err)
	}
	dir := t.TempDir()
	body, jar := filepath.Join(dir, "body"), filepath.Join(dir, "jar")
	mebibyte := make([]byte, 1<<20)
	rand.Read(mebibyte)
	check(t, os.WriteFile(body, mebibyte, 0o600))
	for scheme, version := range map[string]string{"HTTP": "1.1", "HTTPS with HTTP/1.1": "1.1", "HTTPS with HTTP/2": "2"} {
		t.Run(scheme, func(t *testing.T) {
			curl := func(t *testing.T, tickets string, args ...string) string {
				return curl(t, tickets, append(args, "--http"+version)...)
			}
			o := &ServerOptions{Session: new(SessionOptions), Basic: new(BasicOptions)}
			var s *site
			if scheme == "HTTP" {
				s = serve(t, o)
			} else {
				h, log := handler(t, whoami, o)
				ts := httptest.NewUnstartedServer(h)
				ts.EnableHTTP2 = true
				check(t, h.Attach(ts.Config))
				ts.TLS = ts.Config.TLSConfig
				ts.StartTLS()
				defer ts.Close()
				s = &site{h, "", log, strings.Replace(ts.URL, "127.0.0.1", "localhost", 1)}
			}
			want := func(got, text string) {
				t.Helper()
				if !strings.Contains(got, text) {
					t.Errorf("%q has no %q\n%s", got, text, s.log.take())
				}
			}
			want(curl(t, aliceTickets, s.url), "401")
			got := curl(t, aliceTickets, "--negotiate", "-u", ":", "-c", jar, s.url)
			want(got, "alice@TEST.GSS Negotiate")
			want(got, "\n200 "+version)
			want(curl(t, bobTickets, "--negotiate", "-u", ":", s.url), "bob@TEST.GSS Negotiate")
			want(curl(t, bobTickets, "-b", jar, s.url), "alice@TEST.GSS Session")
			want(curl(t, aliceTickets, "--negotiate", "-u", ":", "--data-binary", "@"+body, s.url), "alice@TEST.GSS Negotiate none 1048576 <nil>")
			want(curl(t, aliceTickets, "--negotiate", "-u", ":", "--upload-file", body, s.url), "alice@TEST.GSS Negotiate none 1048576 <nil>")
			want(curl(t, aliceTickets, "--negotiate", "-u", ":", s.url, s.url, s.url), "alice@TEST.GSS Negotiate")
			want(curl(t, filepath.Join(dir, "none"), "--negotiate", "-u", ":", s.url), "\n401")
			if scheme != "HTTP" {
				want(curl(t, aliceTickets, "--basic", "-u", "carol:"+carolPassword, s.url), "carol@TEST.GSS Basic")
			}
		})
	}
}
