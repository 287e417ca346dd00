package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/seed2651813c/gss/examples/daemon"
	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// postgres is a PostgreSQL server of its own, on loopback, for the users alice and
// bob of a realm. It has the keys of the services postgres on server.test and
// other.test, and db on third.test, and three databases: encrypted and clear, which take connections with
// GSS-API encryption only, and without only; and postgres, which takes both.
type postgres struct {
	addr   string
	dir    string
	bin    string // where its programs are
	daemon *daemon.Daemon
}

// unpackedPostgres is where ci/install.sh puts a server that does not start with the
// machine.
const unpackedPostgres = "/usr/local/lib/gsstest/postgresql"

// pgHBA says who comes in. The map of users is that alice@TEST.GSS is alice.
const pgHBA = `
hostgssenc   encrypted all 127.0.0.1/32 gss include_realm=0 krb_realm=TEST.GSS
hostnogssenc clear     all 127.0.0.1/32 gss include_realm=0 krb_realm=TEST.GSS
host         postgres  all 127.0.0.1/32 gss include_realm=0 krb_realm=TEST.GSS
`

// startPostgres returns when the server takes connections.
func startPostgres(r *gsstest.Realm) (p *postgres, err error) {
	p = new(postgres)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("PostgreSQL: %w", err), p.close())
		}
	}()
	if p.bin, err = findPostgres(); err != nil {
		return p, err
	}
	// The realm's files are this user's, and PostgreSQL is never root.
	if p.dir, err = os.MkdirTemp("", "postgres"); err != nil {
		return p, err
	}
	services := []string{"postgres/" + realm.Host, "postgres/other.test", "db/third.test"}
	err = r.AddPrincipal(append(services, "bob")...)
	keytab, e := r.Keytab(services...)
	if err = errors.Join(err, e, copyFile(r.Krb5Conf(), p.path("krb5.conf")), copyFile(keytab, p.path("keytab")),
		daemon.Give(p.dir, p.path("krb5.conf"), p.path("keytab"))); err != nil {
		return p, err
	}
	if err := p.run("", "initdb", "-D", p.path("data"), "-U", "postgres", "-A", "reject", "-E", "UTF8", "--no-locale", "--no-sync"); err != nil {
		return p, err
	}
	if err := p.run("CREATE ROLE alice LOGIN\nCREATE ROLE bob LOGIN\nCREATE DATABASE encrypted\nCREATE DATABASE clear\nGRANT pg_read_all_stats TO alice\n",
		"postgres", "--single", "-F", "-D", p.path("data"), "postgres"); err != nil {
		return p, err
	}
	if err := os.WriteFile(p.path("data/pg_hba.conf"), []byte(pgHBA), 0o600); err != nil {
		return p, err
	}
	if p.addr, err = daemon.FreeAddr(); err != nil {
		return p, err
	}
	return p, p.start()
}

// findPostgres returns the directory of the server's programs.
func findPostgres() (string, error) {
	for _, root := range []string{unpackedPostgres, "/"} {
		if found, _ := filepath.Glob(filepath.Join(root, "usr/lib/postgresql/*/bin/postgres")); len(found) > 0 {
			return filepath.Dir(found[len(found)-1]), nil
		}
	}
	return "", fmt.Errorf("the server is not there: run ci/install.sh (Debian and Ubuntu: it unpacks it below %s), or install postgresql", unpackedPostgres)
}

func (p *postgres) path(name string) string { return filepath.Join(p.dir, name) }

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// command is one of the server's programs, run as the server's user.
func (p *postgres) command(name string, args ...string) (*exec.Cmd, error) {
	c, err := daemon.Unprivileged()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = daemon.As(c)
	cmd.Dir = p.dir
	libs, _ := filepath.Glob(filepath.Join(p.bin, "../../../*-*-*"))
	cmd.Env = []string{
		"PATH=" + p.bin + ":/usr/bin:/bin", "HOME=" + p.dir, "TZ=UTC", "LC_ALL=C", "LD_LIBRARY_PATH=" + strings.Join(libs, ":"),
		"KRB5_CONFIG=" + p.path("krb5.conf"), "KRB5RCACHEDIR=" + p.dir,
	}
	return cmd, nil
}

// run runs a program to its end.
func (p *postgres) run(stdin, name string, args ...string) error {
	cmd, err := p.command(filepath.Join(p.bin, name), args...)
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("ERROR")) {
		return fmt.Errorf("%s: %v: %s", name, err, out)
	}
	return nil
}

// start starts the server.
func (p *postgres) start() error {
	host, port, _ := net.SplitHostPort(p.addr)
	cmd, err := p.command(filepath.Join(p.bin, "postgres"), "-D", p.path("data"), "-h", host, "-p", port, "-F",
		"-c", "unix_socket_directories=", "-c", "krb_server_keyfile=FILE:"+p.path("keytab"), "-c", "log_connections=on")
	if err != nil {
		return err
	}
	p.daemon, err = daemon.Start(cmd, "database system is ready to accept connections")
	return err
}

// close ends the server and removes its files.
func (p *postgres) close() error {
	var err error
	if p.daemon != nil {
		err = p.daemon.Close()
	}
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return err
}
