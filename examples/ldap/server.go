package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed2651813c/gss/examples/daemon"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// slapd is an LDAP server of OpenLDAP's on loopback, for the users of a realm, with
// Cyrus SASL. alice@TEST.GSS is cn=alice,dc=test in it.
type slapd struct {
	ldap, ldaps string // addresses
	cert        *x509.Certificate
	dir         string
	daemon      *daemon.Daemon
}

// Where ci/install.sh puts servers that do not start with the machine.
const (
	unpackedLDAP = "/usr/local/lib/gsstest/ldap"
	unpackedSASL = "/usr/local/lib/gsstest/sasl"
)

// startSlapd starts a server with more lines of configuration, such as sasl-secprops. It
// returns when that takes connections.
func startSlapd(r *gsstest.Realm, more ...string) (s *slapd, err error) {
	s = new(slapd)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("slapd: %w", err), s.close())
		}
	}()
	root := unpackedLDAP
	if _, err := os.Stat(root); err != nil {
		root = "/"
	}
	program := filepath.Join(root, "usr/sbin/slapd")
	if _, err := os.Stat(program); err != nil {
		return s, fmt.Errorf("the server is not there: run ci/install.sh (Debian and Ubuntu: it unpacks it below %s): %w", unpackedLDAP, err)
	}
	if s.dir, err = os.MkdirTemp("", "slapd"); err != nil {
		return s, err
	}
	if err := r.AddPrincipal("ldap/" + realm.Host); err != nil {
		return s, err
	}
	keytab, err := r.Keytab("ldap/" + realm.Host)
	if err != nil {
		return s, err
	}
	conf := append([]string{
		"include " + filepath.Join(root, "etc/ldap/schema/core.schema"),
		"modulepath " + filepath.Join(root, "usr/lib/ldap"),
		"moduleload back_mdb",
		"pidfile " + s.path("pid"),
		"TLSCertificateFile " + s.path("cert.pem"),
		"TLSCertificateKeyFile " + s.path("key.pem"),
		"sasl-host " + realm.Host,
		"authz-regexp uid=([^,]*),cn=gssapi,cn=auth cn=$1,dc=test",
		"authz-policy from", "sizelimit unlimited",
	}, more...)
	conf = append(conf, "database mdb", "suffix dc=test", "directory "+s.dir, "dbnosync", "access to * by users read by anonymous auth", "")
	if err := errors.Join(s.certify(),
		os.WriteFile(s.path("slapd.conf"), []byte(strings.Join(conf, "\n")), 0o600),
		os.WriteFile(s.path("entries"), []byte(entries()), 0o600)); err != nil {
		return s, err
	}
	libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-*-*"))
	modules, _ := filepath.Glob(filepath.Join(unpackedSASL, "usr/lib/*/sasl2"))
	env := append(os.Environ(), append(r.EnvFor("", keytab),
		"LD_LIBRARY_PATH="+strings.Join(libs, ":"), "SASL_PATH="+strings.Join(modules, ":"), "LDAPNOINIT=1")...)
	add := exec.Command(program, "-Ta", "-q", "-f", s.path("slapd.conf"), "-l", s.path("entries"))
	add.Env = env
	if out, err := add.CombinedOutput(); err != nil {
		return s, fmt.Errorf("slapadd: %w: %s", err, out)
	}
	if s.ldap, err = daemon.FreeAddr(); err != nil {
		return s, err
	}
	if s.ldaps, err = daemon.FreeAddr(); err != nil {
		return s, err
	}
	// -d: it stays in the foreground
	cmd := exec.Command(program, "-d", "stats", "-f", s.path("slapd.conf"), "-h", "ldap://"+s.ldap+" ldaps://"+s.ldaps)
	cmd.Env = env
	if s.daemon, err = daemon.Start(cmd, "slapd starting"); err != nil {
		return s, err
	}
	return s, errors.Join(daemon.Await(s.ldap), daemon.Await(s.ldaps)) // it listens after it has said so
}

func (s *slapd) path(name string) string { return filepath.Join(s.dir, name) }

// entries are alice, whom bob may act as, and three hundred others of half a kilobyte each.
func entries() string {
	var b strings.Builder
	b.WriteString("dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: test\n\n")
	b.WriteString("dn: cn=alice,dc=test\nobjectClass: person\ncn: alice\nsn: a\nauthzFrom: dn:cn=bob,dc=test\n\n")
	for i := range 300 {
		fmt.Fprintf(&b, "dn: cn=n%d,dc=test\nobjectClass: person\ncn: n%[1]d\nsn: n\ndescription: %s\n\n", i, strings.Repeat("x", 500))
	}
	return b.String()
}

// certify makes a certificate for the server.
func (s *slapd) certify() error {
	der, key, err := certificate()
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(s.path("cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(s.path("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// certificate signs itself.
func certificate() (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		DNSNames: []string{realm.Host}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err = x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	return der, key, err
}

// close ends the server and removes its files.
func (s *slapd) close() error {
	var err error
	if s.daemon != nil {
		err = s.daemon.Close()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
