package gsstest

import (
	"os"
	"strings"
	"testing"
)

func TestNTLM(t *testing.T) {
	dir := t.TempDir()
	env, err := NTLM(dir, map[string]string{`DOM\dave`: "a b", `DOM\carol`: "secret"})
	must(t, err)
	files := map[string]string{}
	for _, kv := range env {
		k, file, _ := strings.Cut(kv, "=")
		b, err := os.ReadFile(file)
		must(t, err)
		files[k] = string(b)
		if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, fi, err)
		}
	}
	if files["NTLM_USER_FILE"] != "DOM:carol:secret\nDOM:dave:a b\n" {
		t.Errorf("%q", files["NTLM_USER_FILE"])
	}
	contains(t, files["GSS_MECH_CONFIG"], " 1.3.6.1.4.1.311.2.2.10 /", "/gssntlmssp.so\n")
	for _, user := range []string{"", "carol", `\carol`, `DOM\`, `D:M\carol`, `DOM\a\b`, "DOM\\a\nb"} {
		_, err := NTLM(dir, map[string]string{user: "secret"})
		isError(t, err, "DOMAIN")
	}
	_, err = NTLM(dir, map[string]string{`DOM\carol`: "geheim:1"})
	isError(t, err, "DOMAIN")
	if strings.Contains(err.Error(), "geheim") {
		t.Error("the password is in the error")
	}
	_, err = NTLM(dir+"/none", nil)
	isError(t, err, "none")
	t.Setenv("GSSTEST_NTLMSSP", dir)
	_, err = NTLM(dir, nil)
	isError(t, err, "no gssntlmssp.so below "+dir, "ci/install.sh", "gss-ntlmssp")
}
