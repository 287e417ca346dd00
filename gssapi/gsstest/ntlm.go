package gsstest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ntlmRoot is where ci/install.sh unpacks gss-ntlmssp, which every program would get if it were installed.
const ntlmRoot = "/usr/local/lib/gsstest/ntlmssp"

// NTLM writes files for gss-ntlmssp, the plugin that gives MIT's library the mechanism NTLM, into dir, and
// returns the environment variables of a process that is to have it. It is read once in a process, at
// the first call of the library, so that tests use one of its own. users are the passwords of those who may
// log in and be logged in, such as `DOMAIN\user`; no realm is needed. The files are the caller's, and
// hold the passwords.
//
// An unpacked plugin will do: it is looked for below the directory named by the environment variable
// GSSTEST_NTLMSSP if that is set, and otherwise below /usr/local/lib/gsstest/ntlmssp and in the
// system's own directories. The error says what is missing and how to get it.
func NTLM(dir string, users map[string]string) ([]string, error) {
	below := roots("GSSTEST_NTLMSSP", ntlmRoot)
	var plugin string
	for _, root := range below {
		for _, pattern := range []string{"usr/lib/*/gssntlmssp/gssntlmssp.so", "usr/lib*/gssntlmssp/gssntlmssp.so"} {
			if found, _ := filepath.Glob(filepath.Join(root, pattern)); len(found) > 0 && plugin == "" {
				plugin = found[0]
			}
		}
	}
	if plugin == "" {
		return nil, fmt.Errorf("gsstest: no gssntlmssp.so below %s; run ci/install.sh (Debian and Ubuntu: unpacks gss-ntlmssp into %s), or install gssntlmssp (Fedora)",
			strings.Join(below, " or "), ntlmRoot)
	}
	var lines strings.Builder
	for _, user := range slices.Sorted(maps.Keys(users)) {
		domain, name, ok := strings.Cut(user, `\`)
		for _, s := range []string{domain, name, users[user]} {
			if !ok || s == "" || strings.ContainsFunc(s, isControl) || strings.ContainsAny(s, `:\`) {
				return nil, fmt.Errorf(`gsstest: the user %q, or its password, cannot stand in gss-ntlmssp's file: it is to be DOMAIN\user, and neither has ':' or '\'`, user)
			}
		}
		fmt.Fprintf(&lines, "%s:%s:%s\n", domain, name, users[user])
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.WriteFile(in("mech.conf"), []byte("gssntlmssp_v1 1.3.6.1.4.1.311.2.2.10 "+plugin+"\n"), 0o600),
		os.WriteFile(in("ntlm-users"), []byte(lines.String()), 0o600),
	); err != nil {
		return nil, fmt.Errorf("gsstest: %w", err)
	}
	return []string{"GSS_MECH_CONFIG=" + in("mech.conf"), "NTLM_USER_FILE=" + in("ntlm-users")}, nil
}
