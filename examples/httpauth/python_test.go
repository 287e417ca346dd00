package httpauth

import (
	"bufio"
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/httpauth"
)

// python is the system's, which python3-gssapi is for; there may be others.
const python = "/usr/bin/python3"

// A client in Python comes in, and verifies that it was us.
func TestPythonClient(t *testing.T) {
	s := serve(t, false, &httpauth.ServerOptions{}, tell)
	file, body := bigFile(t)
	run := func(host string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), python, append([]string{"peer.py", "client", host, s.port}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(www)
	if err != nil {
		t.Errorf("%v, %s", err, out)
	}
	has(t, out, "user: alice@TEST.GSS", "method: Negotiate")
	if out, err = run(www, file); err != nil {
		t.Errorf("%v, %s", err, out)
	}
	has(t, out, "user: alice@TEST.GSS", body)
	if out, err = run(other); err == nil || !strings.Contains(out, "the server refuses the token") {
		t.Errorf("a client that takes us for %s: %v, %s", other, err, out)
	}
}

// pythonServer starts one for the rest of the test, and returns its URL.
func pythonServer(t *testing.T, mode ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, append([]string{"peer.py", "server"}, mode...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { // t.Context has ended it
		cmd.Wait()
		if t.Failed() {
			t.Logf("server:\n%s", &log)
		}
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server in Python did not start: %v (ci/install.sh installs what it needs)", err)
	}
	return "http://" + www + ":" + strings.TrimSpace(port) + "/"
}

// A server in Python lets us in, and proves that it is the one.
func TestPythonServer(t *testing.T) {
	url := pythonServer(t)
	c := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: www, PlainHTTP: true}}})
	has(t, get(t, c, url), "user: alice@TEST.GSS")
	body, line := big(1 << 20)
	has(t, post(t, c, url, bytes.NewReader(body)), "user: alice@TEST.GSS", line)
}

// One that does not prove it, or only pretends to, is not believed.
func TestPythonImpostor(t *testing.T) {
	url := pythonServer(t, "silent")
	c := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: www, PlainHTTP: true}}})
	if resp, err := c.Get(url); err == nil {
		resp.Body.Close()
		t.Error("a server that does not prove who it is was believed")
	} else if !errors.Is(err, gssapi.ErrUnauthorized) {
		t.Error(err)
	}
	without := client(t, &httpauth.Transport{Hosts: []httpauth.Host{{Name: www, PlainHTTP: true, WithoutMutual: true}}})
	has(t, get(t, without, url), "user: alice@TEST.GSS")

	url = pythonServer(t, "replay")
	has(t, get(t, c, url), "user: alice@TEST.GSS") // the first is good
	if resp, err := c.Get(url); err == nil {
		resp.Body.Close()
		t.Error("a proof that another request has had was believed")
	}
}
