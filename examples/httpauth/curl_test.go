package httpauth

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi/httpauth"
)

// curl runs it: all hosts are at 127.0.0.1, at these ports. The last line of what it
// prints is the status.
func curl(t *testing.T, ccache string, ports []string, args ...string) string {
	t.Helper()
	args = append([]string{"-q", "-sS", "--max-time", "60", "--noproxy", "", "--cacert", certificate.File, "-w", "\nstatus: %{http_code}\n"}, args...)
	for _, p := range ports {
		args = append(args, "--resolve", "*:"+p+":127.0.0.1")
	}
	cmd := exec.CommandContext(t.Context(), "curl", args...)
	cmd.Env = os.Environ()
	if ccache != "" {
		cmd.Env = append(cmd.Env, "KRB5CCNAME="+ccache)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("curl %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *server) ports() []string { return []string{s.port} }

func TestCurl(t *testing.T) {
	file, body := bigFile(t)
	for scheme, secure := range map[string]bool{"http": false, "https": true} {
		s := serve(t, secure, &httpauth.ServerOptions{}, tell)
		url := scheme + "://" + www + ":" + s.port + "/"
		for _, version := range []string{"--http1.1", "--http2"} { // the latter with TLS
			t.Run(scheme+version, func(t *testing.T) {
				send := func(args ...string) {
					t.Helper()
					out := curl(t, "", s.ports(), append(args, version, "-u", ":", url)...)
					has(t, out, "status: 200", "user: alice@TEST.GSS", "method: Negotiate", "delegated: false")
					if len(args) > 1 {
						has(t, out, body)
					}
				}
				// With --negotiate curl sends a token at once, with --anyauth when it is asked.
				send("--negotiate")
				send("--negotiate", "--data-binary", "@"+file)
				send("--negotiate", "-T", file, "-H", "Expect: 100-continue")
				send("--negotiate", "-T", file, "-H", "Expect:")
				send("--anyauth")
				if version == "--http1.1" {
					// Otherwise curl 7.88 may hang or fail when a server of net/http, whatever its handler,
					// refuses a body before all of it has come.
					send("--anyauth", "-T", file, "-H", "Expect: 100-continue")
				}
			})
		}
	}
}

// Nobody else than alice comes in as alice.
func TestCurlOthers(t *testing.T) {
	s := serve(t, false, &httpauth.ServerOptions{}, tell)
	bob, err := theRealm.Kinit("bob", nil)
	check(t, err)
	get := func(ccache, host string) string {
		t.Helper()
		return curl(t, ccache, s.ports(), "--negotiate", "-u", ":", "http://"+host+":"+s.port+"/")
	}
	has(t, get(bob, www), "status: 200", "user: bob@TEST.GSS")
	for _, c := range []struct{ name, ccache, host string }{
		{"no ticket", filepath.Join(t.TempDir(), "none"), www},
		{"an expired ticket", expired(t), www},
		{"a host that the KDC does not know", "", "nobody.test"},
		{"a host whose key we do not have", "", other},
	} {
		out := get(c.ccache, c.host)
		has(t, out, "status: 401")
		if strings.Contains(out, "user:") {
			t.Errorf("%s: %s", c.name, out)
		}
	}
	if log := s.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "host="+other) {
		t.Errorf("the log does not tell of the host whose key we do not have:\n%s", log)
	}
}

// A cookie is enough for the second request.
func TestCurlCookie(t *testing.T) {
	for scheme, secure := range map[string]bool{"http": false, "https": true} {
		s := serve(t, secure, &httpauth.ServerOptions{Session: new(httpauth.SessionOptions)}, tell)
		url := scheme + "://" + www + ":" + s.port + "/"
		jar := filepath.Join(t.TempDir(), "jar")
		has(t, curl(t, "", s.ports(), "--negotiate", "-u", ":", "-c", jar, url), "status: 200", "user: alice@TEST.GSS", "method: Negotiate")
		before := len(s.requests())
		has(t, curl(t, "", s.ports(), "-b", jar, url), "status: 200", "user: alice@TEST.GSS", "method: Session")
		if after := s.requests()[before:]; len(after) != 1 || after[0] {
			t.Errorf("the requests with the cookie had tokens: %v", after)
		}
		has(t, curl(t, "", s.ports(), url), "status: 401") // without
		other := strings.Replace(url, www, back, 1)        // the cookie is that of www.test
		b, err := os.ReadFile(jar)
		check(t, err)
		check(t, os.WriteFile(jar, []byte(strings.ReplaceAll(string(b), www, back)), 0o600))
		has(t, curl(t, "", s.ports(), "-b", jar, other), "status: 401")
	}
}

// Through proxies that others have written too, of which one demands Negotiate.
func TestCurlProxy(t *testing.T) {
	a := startApache(t)
	file, body := bigFile(t)
	for scheme, secure := range map[string]bool{"http": false, "https": true} {
		s := serve(t, secure, &httpauth.ServerOptions{}, tell)
		for _, p := range []struct {
			name string
			args []string
		}{
			{"open", []string{"--proxy", "http://" + proxy + ":" + a.open}},
			{"negotiate", []string{"--proxy", "http://" + proxy + ":" + a.proxy, "--proxy-negotiate", "--proxy-user", ":"}},
		} {
			t.Run(scheme+"/"+p.name, func(t *testing.T) {
				args := append(p.args, "--negotiate", "-u", ":", scheme+"://localhost:"+s.port+"/")
				out := curl(t, "", []string{a.open, a.proxy}, args...)
				has(t, out, "status: 200", "user: alice@TEST.GSS")
				out = curl(t, "", []string{a.open, a.proxy}, append(args, "--data-binary", "@"+file)...)
				has(t, out, "status: 200", "user: alice@TEST.GSS", body)
			})
		}
	}
}

// A handler goes on to another server as the client.
func TestDelegation(t *testing.T) {
	second := serve(t, true, &httpauth.ServerOptions{}, tell)
	first := serve(t, true, &httpauth.ServerOptions{}, func(w http.ResponseWriter, r *http.Request) {
		i := httpauth.FromContext(r.Context())
		if i.Delegated() == nil {
			fmt.Fprintln(w, "no credential")
			return
		}
		cred, err := i.Delegated().ForSPNEGO(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer cred.Close()
		c := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: back}}, Credential: cred})
		resp, err := c.Get("https://" + back + ":" + second.port + "/")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		fmt.Fprintln(w, "it says:")
		io.Copy(w, resp.Body)
	})
	bob, err := theRealm.Kinit("bob", nil) // not forwardable
	check(t, err)
	url := "https://" + www + ":" + first.port + "/"
	delegate := []string{"--negotiate", "-u", ":", url, "--delegation"}
	has(t, curl(t, "", first.ports(), append(delegate, "always")...), "status: 200", "it says:", "user: alice@TEST.GSS", "delegated: false")
	has(t, curl(t, "", first.ports(), append(delegate, "none")...), "status: 200", "no credential")
	has(t, curl(t, bob, first.ports(), append(delegate, "always")...), "status: 200", "no credential")
}
