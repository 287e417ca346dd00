package gsstest

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ldapTools are what MITLDAP takes besides the programs of a KDC.
type ldapTools struct {
	slapd, modify string
	modules       string // directory of back_mdb
	core          string // slapd's own schema
	kerberos      string // that of krb5-kdc-ldap, compressed
}

// ldapRoot is where ci/install.sh unpacks OpenLDAP, which would start with the machine if it were installed.
const ldapRoot = "/usr/local/lib/gsstest/ldap"

// findLDAP looks for them as Debian's packages have them, and for the directories of their libraries; the
// error names what is missing and how to get it.
func findLDAP() (t ldapTools, libs string, err error) {
	below := roots("GSSTEST_LDAP", ldapRoot)
	var missing []string
	for _, root := range below {
		t, missing = ldapTools{}, nil
		for _, f := range []struct {
			to   *string
			path string
		}{
			{&t.slapd, "usr/sbin/slapd"},
			{&t.modify, "usr/bin/ldapmodify"},
			{&t.modules, "usr/lib/ldap/back_mdb.la"},
			{&t.core, "etc/ldap/schema/core.schema"},
			{&t.kerberos, "usr/share/doc/krb5-kdc-ldap/kerberos.schema.gz"},
		} {
			*f.to = filepath.Join(root, f.path)
			if _, err := os.Stat(*f.to); err != nil {
				missing = append(missing, f.path)
			}
		}
		if missing == nil {
			t.modules = filepath.Dir(t.modules)
			return t, libsBelow(root), nil
		}
	}
	return t, "", fmt.Errorf("gsstest: the LDAP server of an MIT KDC cannot be started: no %s below %s; "+
		"run ci/install.sh (Debian and Ubuntu: unpacks slapd and ldap-utils into %s), or install slapd, ldap-utils and krb5-kdc-ldap with its documentation (Debian, Ubuntu)",
		strings.Join(missing, ", "), strings.Join(below, " or "), ldapRoot)
}

// ldapBase is the entry that has all others below it.
const ldapBase = "cn=krb"

const ldapLog = "slapd.log"

func (r *Realm) ldapSocket() string { return r.path("ldapi") }

// ldapURL is the socket's. Config files of MIT's take a percent sign as it is.
func (r *Realm) ldapURL() string { return "ldapi://" + strings.ReplaceAll(r.ldapSocket(), "/", "%2F") }

// ldapModule is the section of kdc.conf that says where the realm is. slapd is told by the socket which user
// the KDC runs as, so that there are no passwords.
func (r *Realm) ldapModule() string {
	return fmt.Sprintf("[dbmodules]\n %s = {\n  db_library = kldap\n  ldap_kerberos_container_dn = %s\n"+
		"  ldap_kdc_sasl_mech = EXTERNAL\n  ldap_kadmind_sasl_mech = EXTERNAL\n  ldap_servers = %s\n }\n",
		r.opts.Realm, ldapBase, r.ldapURL())
}

// slapdConf lets the user of this process do everything and others nothing.
func (r *Realm) slapdConf(schema string) string {
	return strings.Join([]string{
		"include " + r.tools.ldap.core,
		"include " + schema,
		"pidfile " + r.path("slapd.pid"),
		"argsfile " + r.path("slapd.args"),
		"modulepath " + r.tools.ldap.modules,
		"moduleload back_mdb",
		"database mdb",
		"suffix " + ldapBase,
		fmt.Sprintf("rootdn gidNumber=%d+uidNumber=%d,cn=peercred,cn=external,cn=auth", os.Getgid(), os.Getuid()),
		"directory " + r.path("slapd"),
		"dbnosync",
		"index objectClass,krbPrincipalName eq",
		"access to * by * none",
		"",
	}, "\n")
}

// startLDAP starts slapd, with an empty database, and waits until it answers. Called with r.mu held.
func (r *Realm) startLDAP() error {
	fail := func(err error) error { return fmt.Errorf("gsstest: the LDAP server: %w", err) }
	if n := len(r.ldapSocket()); n > 100 {
		return fail(fmt.Errorf("the path of a socket is limited to 100 bytes, and %s has %d: set Options.Dir or TMPDIR", r.ldapSocket(), n))
	}
	schema := r.path("kerberos.schema")
	if err := errors.Join(
		gunzip(r.tools.ldap.kerberos, schema),
		os.WriteFile(r.path("slapd.conf"), []byte(r.slapdConf(schema)), 0o600),
		os.Mkdir(r.path("slapd"), 0o700),
	); err != nil {
		return fail(err)
	}
	// -d: it stays in the foreground
	args := []string{r.tools.ldap.slapd, "-d", "none", "-h", r.ldapURL(), "-f", r.path("slapd.conf")}
	p, err := r.guard.start(args, r.toolEnv(), r.dir, r.path(ldapLog))
	if err != nil {
		return fail(err)
	}
	r.slapd = p
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", r.ldapSocket())
		if err == nil {
			return c.Close() // it listens, and will answer when it has read its database
		}
		select {
		case <-p.done:
			out, _ := os.ReadFile(r.path(ldapLog))
			return fail(fmt.Errorf("it ended with %v: %s", p.status(), strings.TrimSpace(string(out))))
		case <-ctx.Done():
			return fail(fmt.Errorf("%s is not served after %v: %w", r.ldapSocket(), startTimeout, err))
		case <-tick.C:
		}
	}
}

func gunzip(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(to, text, 0o600)
}

// setTargets writes into the entry of the service whom it may delegate to: MIT's kadmin cannot.
func (r *Realm) setTargets(service string, targets []string) error {
	var ldif strings.Builder
	line := func(attribute, value string) {
		fmt.Fprintf(&ldif, "%s:: %s\n", attribute, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	line("dn", "krbPrincipalName="+escapeDN(r.Principal(service))+",cn="+escapeDN(r.opts.Realm)+","+ldapBase)
	ldif.WriteString("changetype: modify\nreplace: krbAllowedToDelegateTo\n")
	for _, t := range targets {
		line("krbAllowedToDelegateTo", r.Principal(t))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	_, stderr, err := r.run(ldif.String(), r.tools.ldap.modify, "-Q", "-Y", "EXTERNAL", "-H", r.ldapURL())
	if err != nil {
		return fmt.Errorf("gsstest: ldapmodify: %w: %s", err, strings.TrimSpace(stderr))
	}
	return nil
}

// escapeDN makes one value of a distinguished name of s (RFC 4514, 2.4).
func escapeDN(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/.@-_", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%02x`, c)
		}
	}
	return b.String()
}
