package gsstest

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
)

func TestShishi(t *testing.T) {
	if err := ShishiAvailable(); err != nil {
		t.Skipf("there is nothing to make files for: %v", err)
	}
	isErr := func(o *Options, parts ...string) {
		t.Helper()
		_, err := New(t, o).Shishi(nil)
		isError(t, err, parts...)
	}
	isErr(nil, "port 88")

	l, err := net.Listen("tcp", "127.88.0.1:88")
	if err != nil {
		t.Skipf("Shishi finds a KDC at port 88 only, which this user may not have: %v", err)
	}
	l.Close()
	isErr(&Options{Port: 88}, "one of Options.Enctypes")

	home := t.TempDir()
	t.Setenv("HOME", home)
	r := New(t, &Options{Port: 88, Enctypes: []string{"aes256-cts-hmac-sha1-96"}, Passwords: map[string]string{"carol": "pass word"}})
	env, err := r.Shishi(&ShishiOptions{Principal: "carol", Password: "pass word", Services: []string{"host/server.test"}})
	must(t, err)
	vars := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		vars[k] = v
	}
	for _, k := range []string{"HOME", "SHISHI_HOME", "SHISHI_CONFIG", "SHISHI_TICKETS", "SHISHI_KEYS"} {
		if !strings.HasPrefix(vars[k], r.Dir()) {
			t.Errorf("%s is %q, not below %s", k, vars[k], r.Dir())
		}
		if _, err := os.Stat(vars[k]); err != nil {
			t.Error(err)
		}
	}
	shishi, _, err := shishiTools()
	must(t, err)
	contains(t, mustTool(t, env, shishi, "--list"), "carol@TEST.GSS", "krbtgt/TEST.GSS")
	if files, err := os.ReadDir(home); err != nil || len(files) > 0 {
		t.Errorf("the user's home has %v now, %v", files, err)
	}

	// Each is one of its own.
	again, err := r.Shishi(nil)
	must(t, err)
	if again[len(again)-1] == env[len(env)-1] {
		t.Error("a second directory is the first")
	}
	_, err = r.Shishi(&ShishiOptions{Principal: "carol", Password: "wrong"})
	isError(t, err, "shishi carol")
	_, err = r.Shishi(&ShishiOptions{Principal: "-x", Password: "y"})
	isError(t, err, "option")
	must(t, r.Close())
	if _, err = r.Shishi(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
