package gsstest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// settings are Options that were checked, with the defaults filled in.
type settings struct {
	Options
	seconds, renewSeconds int64
}

var (
	realmName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)
	confKey   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
)

// enctypes are the names that MIT, Heimdal or both know, each with the line of [libdefaults] that
// allows it where it is off by default.
var enctypes = map[string]string{
	"aes256-cts-hmac-sha1-96":    "",
	"aes128-cts-hmac-sha1-96":    "",
	"aes256-cts-hmac-sha384-192": "",
	"aes128-cts-hmac-sha256-128": "",
	"camellia256-cts-cmac":       "",
	"camellia128-cts-cmac":       "",
	"arcfour-hmac":               "allow_rc4",
	"arcfour-hmac-md5":           "allow_rc4",
	"des3-cbc-sha1":              "allow_des3",
}

// check validates o, which may be nil, and fills in the defaults.
func (o *Options) check() (settings, error) {
	var s settings
	if o != nil {
		s.Options = *o
	}
	fail := func(format string, args ...any) (settings, error) {
		return settings{}, fmt.Errorf("gsstest: "+format, args...)
	}
	if !s.KDC.known() {
		return fail("no such KDC: %v", s.KDC)
	}
	if s.Realm == "" {
		s.Realm = "TEST.GSS"
	}
	if !realmName.MatchString(s.Realm) {
		return fail("illegal realm name %q: letters, digits, '.', '-' and '_' are allowed", s.Realm)
	}
	if s.Addr != "" && net.ParseIP(s.Addr) == nil {
		return fail("Addr %q is not an IP address", s.Addr)
	}
	if s.Port < 0 || s.Port > 65535 {
		return fail("illegal port %d", s.Port)
	}
	if s.Dir != "" {
		dir, err := filepath.Abs(s.Dir)
		if err != nil {
			return fail("%v", err)
		}
		s.Dir = dir
	}
	var err error
	if s.seconds, err = seconds("TicketLifetime", s.TicketLifetime, 10*time.Hour); err != nil {
		return settings{}, err
	}
	if s.renewSeconds, err = seconds("RenewLifetime", s.RenewLifetime, 7*24*time.Hour); err != nil {
		return settings{}, err
	}
	if _, err = seconds("ClockSkew", s.ClockSkew, time.Second); err != nil {
		return settings{}, err
	}
	if len(s.Enctypes) == 0 {
		s.Enctypes = []string{"aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha256-128"}
		if s.KDC == Heimdal {
			// It derives even random keys from a random password first, which for the SHA-2
			// types doubles the time to start.
			s.Enctypes[1] = "aes128-cts-hmac-sha1-96"
		}
	}
	for _, e := range s.Enctypes {
		if _, ok := enctypes[e]; !ok {
			return fail("unknown enctype %q; known are %s", e,
				strings.Join(slices.Sorted(maps.Keys(enctypes)), ", "))
		}
	}
	for k, v := range s.LibDefaults {
		if !confKey.MatchString(k) {
			return fail("illegal key %q in LibDefaults", k)
		}
		if strings.ContainsFunc(v, isControl) || strings.HasPrefix(v, "{") || strings.HasPrefix(v, "}") {
			return fail("illegal value %q for %s in LibDefaults", v, k)
		}
	}
	if strings.ContainsRune(s.ExtraKrb5Conf+s.ExtraKDCConf, 0) {
		return fail("a NUL byte in ExtraKrb5Conf or ExtraKDCConf")
	}
	for _, p := range s.Principals {
		if err := checkPrincipal(s.KDC, p); err != nil {
			return settings{}, err
		}
	}
	for p, pw := range s.Passwords {
		if err := errors.Join(checkPrincipal(s.KDC, p), checkPassword(s.KDC, pw)); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

// seconds rounds d up to seconds, which is what the protocol and the programs know.
func seconds(what string, d, byDefault time.Duration) (int64, error) {
	if d < 0 {
		return 0, fmt.Errorf("gsstest: %s is negative: %v", what, d)
	}
	if d == 0 {
		d = byDefault
	}
	n := int64((d + time.Second - 1) / time.Second)
	if n > 1<<31-1 {
		return 0, fmt.Errorf("gsstest: %s is longer than 31 bits of seconds: %v", what, d)
	}
	return n, nil
}

// checkPrincipal refuses what is not a principal or could become more than one word of a kadmin command.
// Spaces are allowed. MIT's kadmin also takes quotes and backslashes, Heimdal's does not (7.8: "out of
// memory"), and expands patterns.
func checkPrincipal(k KDC, name string) error {
	switch {
	case name == "":
		return errors.New("gsstest: empty principal name")
	case len(name) > 1000:
		return fmt.Errorf("gsstest: principal name of %d bytes is too long", len(name))
	case strings.ContainsFunc(name, isControl):
		return fmt.Errorf("gsstest: control character in principal name %q", name)
	case strings.HasPrefix(name, "-"):
		return fmt.Errorf("gsstest: principal name %q would be taken for an option", name)
	case strings.HasPrefix(name, "@"), strings.HasSuffix(name, "@"), strings.TrimSpace(name) != name:
		return fmt.Errorf("gsstest: illegal principal name %q", name)
	case k == Heimdal && strings.ContainsAny(name, `"\*?[]`):
		return fmt.Errorf("gsstest: Heimdal's kadmin cannot handle a quote, backslash or pattern in principal name %q", name)
	}
	return nil
}

func checkPassword(k KDC, pw string) error {
	switch {
	case pw == "":
		return errors.New("gsstest: empty password")
	case len(pw) > 1000:
		return errors.New("gsstest: password longer than 1000 bytes")
	case strings.ContainsFunc(pw, isControl):
		return errors.New("gsstest: control character in a password")
	case k == Heimdal && strings.ContainsAny(pw, `"\`):
		return errors.New(`gsstest: Heimdal's kadmin cannot handle '"' or '\' in a password`)
	}
	return nil
}

// writeConfig writes krb5.conf and kdc.conf for r.ip and r.port.
func (r *Realm) writeConfig() error {
	if err := os.WriteFile(r.path("krb5.conf"), []byte(r.krb5Conf()), 0o600); err != nil {
		return fmt.Errorf("gsstest: %w", err)
	}
	text := r.mitConf()
	if r.opts.KDC == Heimdal {
		text = r.heimdalConf()
	}
	if err := os.WriteFile(r.path("kdc.conf"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("gsstest: %w", err)
	}
	return nil
}

// krb5Conf returns a krb5.conf for MIT's and Heimdal's libraries. Where they have different names for
// one thing, it has both.
func (r *Realm) krb5Conf() string {
	o := &r.opts
	etypes := strings.Join(o.Enctypes, " ")
	lines := map[string]string{
		"default_realm":              o.Realm,
		"dns_lookup_kdc":             "false",
		"dns_lookup_realm":           "false",
		"dns_canonicalize_hostname":  "false",
		"rdns":                       "false",
		"udp_preference_limit":       "1", // MIT: TCP only
		"default_ccache_name":        "FILE:" + r.path(noCcache),
		"default_cc_name":            "FILE:" + r.path(noCcache), // Heimdal
		"default_keytab_name":        "FILE:" + r.path(noKeytab),
		"default_client_keytab_name": "FILE:" + r.path(noClientKeytab),
		"ticket_lifetime":            fmt.Sprintf("%ds", o.seconds),
		"permitted_enctypes":         etypes,
		"default_tkt_enctypes":       etypes,
		"default_tgs_enctypes":       etypes,
		"default_etypes":             etypes, // Heimdal
	}
	if o.ClockSkew != 0 {
		n, _ := seconds("", o.ClockSkew, 0)
		lines["clockskew"] = fmt.Sprint(n)
	}
	for _, e := range o.Enctypes {
		if allow := enctypes[e]; allow != "" {
			lines[allow] = "true"
			lines["allow_weak_crypto"] = "true"
		}
	}
	maps.Copy(lines, o.LibDefaults)

	var b strings.Builder
	fmt.Fprintln(&b, "[libdefaults]")
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, " %s = %s\n", k, lines[k])
	}
	fmt.Fprintf(&b, "[realms]\n %s = {\n  kdc = %s\n }\n", o.Realm, r.Addr())
	fmt.Fprintf(&b, "[domain_realm]\n .test = %s\n test = %[1]s\n localhost = %[1]s\n", o.Realm)
	addText(&b, o.ExtraKrb5Conf)
	return b.String()
}

// mitConf returns the kdc.conf of krb5kdc and kadmin.local.
func (r *Realm) mitConf() string {
	o := &r.opts
	var b strings.Builder
	fmt.Fprintf(&b, "[kdcdefaults]\n kdc_listen = %s\n kdc_tcp_listen = %[1]s\n", r.Addr())
	fmt.Fprintf(&b, "[realms]\n %s = {\n", o.Realm)
	for _, l := range [][2]string{
		{"database_name", r.path("principal")},
		{"key_stash_file", r.path("stash")},
		{"acl_file", r.path("acl")},
		{"max_life", fmt.Sprintf("%ds", o.seconds)},
		{"max_renewable_life", fmt.Sprintf("%ds", o.renewSeconds)},
		{"supported_enctypes", strings.Join(o.Enctypes, ":normal ") + ":normal"},
		{"master_key_type", o.Enctypes[0]},
	} {
		fmt.Fprintf(&b, "  %s = %s\n", l[0], l[1])
	}
	b.WriteString(" }\n")
	if o.KDC == MITLDAP {
		b.WriteString(r.ldapModule())
	}
	fmt.Fprintf(&b, "[logging]\n kdc = FILE:%s\n default = FILE:%s\n", r.path(kdcLog), r.path("admin.log"))
	addText(&b, o.ExtraKDCConf)
	return b.String()
}

// heimdalConf returns the one file that Heimdal's kdc and kadmin read.
func (r *Realm) heimdalConf() string {
	o := &r.opts
	var b strings.Builder
	b.WriteString(r.krb5Conf())
	fmt.Fprintf(&b, "[kdc]\n database = {\n")
	for _, l := range [][2]string{
		{"dbname", r.path("heimdal")},
		{"realm", o.Realm},
		{"mkey_file", r.path("mkey")},
		{"acl_file", r.path("acl")},
		{"log_file", r.path("hdb.log")},
	} {
		fmt.Fprintf(&b, "  %s = %s\n", l[0], l[1])
	}
	fmt.Fprintf(&b, " }\n[kadmin]\n default_keys = %s:pw-salt\n", strings.Join(o.Enctypes, ":pw-salt "))
	fmt.Fprintf(&b, "[logging]\n kdc = 0-/FILE:%s\n default = FILE:%s\n", r.path(kdcLog), r.path("admin.log"))
	addText(&b, o.ExtraKDCConf)
	return b.String()
}

func addText(b *strings.Builder, text string) {
	if text != "" {
		b.WriteString(text)
		b.WriteString("\n")
	}
}
