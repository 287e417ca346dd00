package gsstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// ShishiOptions say what [Realm.Shishi] writes.
type ShishiOptions struct {
	// Principal logs in with Password, both in the realm's Options.Passwords or from AddPassword: Shishi
	// cannot log in with a keytab. Empty: no tickets.
	Principal, Password string
	// Services are the principals whose keys acceptors find, such as "host/server.test". None: no keys.
	Services []string
}

// shishiTools are Shishi's programs; the error names what is missing and how to get it.
func shishiTools() (shishi, keytab2shishi string, err error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), binDirs...)
	shishi = firstProgram(inDirs(dirs, "shishi"))
	keytab2shishi = firstProgram(inDirs(dirs, "keytab2shishi"))
	if shishi == "" || keytab2shishi == "" {
		return "", "", errors.New("gsstest: no shishi and keytab2shishi on this machine; install shishi (Debian, Ubuntu)")
	}
	return shishi, keytab2shishi, nil
}

// ShishiAvailable returns nil if GNU Shishi's programs are on this machine, and otherwise an error that
// says which package has them. It runs nothing.
func ShishiAvailable() error {
	_, _, err := shishiTools()
	return err
}

// Shishi makes a directory for GNU Shishi, the Kerberos library of GNU gss, and returns the environment
// variables of a process that is to use it and the realm, Env's among them: HOME and others that keep it
// off the user's own ~/.shishi, which GNU gss would make at its first use. The realm owns the
// directory. A process with an initiator in it writes to the directory, so that each has its own.
//
// Shishi (1.0.3) cannot be told another port than 88, which takes root on most systems, and an
// acceptor's key is the first of its service in the file, so that the realm's Options are to have
// Port: 88 and one of the Enctypes that it knows: aes256-cts-hmac-sha1-96, aes128-cts-hmac-sha1-96,
// des3-cbc-sha1, arcfour-hmac. Shishi waits for the programs, and never longer than a minute for each.
func (r *Realm) Shishi(o *ShishiOptions) ([]string, error) {
	if o == nil {
		o = &ShishiOptions{}
	}
	shishi, keytab2shishi, err := shishiTools()
	if err != nil {
		return nil, err
	}
	if r.port != 88 {
		return nil, fmt.Errorf("gsstest: Shishi finds a KDC at port 88 only, and this one is at %d: set Options.Port", r.port)
	}
	if ip := net.ParseIP(r.ip); ip == nil || ip.To4() == nil {
		return nil, fmt.Errorf("gsstest: Shishi finds a KDC at an IPv4 address only, not at %s", r.ip)
	}
	if len(r.opts.Enctypes) != 1 {
		return nil, fmt.Errorf("gsstest: Shishi needs a realm with one of Options.Enctypes, not %d", len(r.opts.Enctypes))
	}
	keytab := ""
	if len(o.Services) > 0 {
		if keytab, err = r.Keytab(o.Services...); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	closed, home := r.closed, r.newFile("shishi")
	r.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, fmt.Errorf("gsstest: %w", err)
	}
	in := func(name string) string { return filepath.Join(home, name) }
	etype := r.opts.Enctypes[0]
	if etype == "des3-cbc-sha1" {
		etype += "-kd"
	}
	conf := []string{
		"default-realm=" + r.opts.Realm,
		"realm-kdc=" + r.opts.Realm + "," + r.ip,
		"client-kdc-etypes=" + etype,
		"stringprocess=none",
	}
	if o.Principal != "" {
		conf = append(conf, "default-principal="+o.Principal)
	}
	err = errors.Join(
		os.WriteFile(in("shishi.conf"), []byte(strings.Join(conf, "\n")+"\n"), 0o600),
		os.WriteFile(in("system.conf"), nil, 0o600), // instead of the machine's
	)
	if err != nil {
		return nil, fmt.Errorf("gsstest: %w", err)
	}
	env := append(r.Env(),
		"HOME="+home,
		"SHISHI_HOME="+home,
		"SHISHI_CONFIG="+in("system.conf"),
		"SHISHI_TICKETS="+in("tickets"),
		"SHISHI_KEYS="+in("keys"),
	)
	if keytab != "" {
		// It refuses to write to a file that exists.
		if _, stderr, err := r.runWith(env, "", keytab2shishi, keytab, in("keys")); err != nil {
			return nil, fmt.Errorf("gsstest: keytab2shishi: %w: %s", err, strings.TrimSpace(stderr))
		}
	}
	if o.Principal != "" {
		if err := errors.Join(checkPrincipal(r.opts.KDC, o.Principal), checkPassword(r.opts.KDC, o.Password)); err != nil {
			return nil, err
		}
		_, stderr, err := r.runWith(env, o.Password+"\n", shishi,
			"--system-configuration-file="+in("system.conf"), "--configuration-file="+in("shishi.conf"),
			"--ticket-file="+in("tickets"), r.Principal(o.Principal))
		if err == nil {
			_, err = os.Stat(in("tickets"))
		}
		if err != nil {
			return nil, fmt.Errorf("gsstest: shishi %s: %w: %s", o.Principal, err, strings.TrimSpace(stderr))
		}
	}
	return env, nil
}
