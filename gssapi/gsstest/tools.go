package gsstest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// tools are the programs of a KDC.
type tools struct {
	kdc    string
	kadmin string // kadmin.local, kadmin.heimdal
	dbutil string // kdb5_util, kdb5_ldap_util, kstash
	kinit  string // MIT's if there is one, else Heimdal's
	libs   string // for LD_LIBRARY_PATH of what is unpacked
	ldap   ldapTools
}

// heimdalRoot is where ci/install.sh unpacks Heimdal's KDC on systems that cannot install it.
const heimdalRoot = "/usr/local/lib/gsstest/heimdal"

// roots are the directories to look below for what may be unpacked: the one that the variable names, or
// the usual one and the system's.
func roots(variable, usual string) []string {
	if dir := os.Getenv(variable); dir != "" {
		return []string{dir}
	}
	return []string{usual, "/"}
}

// libsBelow are the directories of libraries of what is unpacked below root.
func libsBelow(root string) string {
	if root == "/" {
		return ""
	}
	libs, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-*-*"))
	return strings.Join(libs, string(filepath.ListSeparator))
}

var binDirs = []string{
	"/usr/sbin", "/usr/bin", "/sbin", "/usr/local/sbin", "/usr/local/bin",
	"/usr/lib/mit/sbin", "/usr/lib/mit/bin", // SUSE
	"/opt/local/sbin", "/opt/local/bin", // MacPorts
}

// Homebrew does not put these into PATH, and what is there is Apple's Heimdal.
var brewDirs = []string{
	"/opt/homebrew/opt/krb5/sbin", "/opt/homebrew/opt/krb5/bin",
	"/usr/local/opt/krb5/sbin", "/usr/local/opt/krb5/bin",
}

// findTools looks for the programs; the error names what is missing and how to get it.
func findTools(k KDC) (*tools, error) {
	if !supported {
		return nil, fmt.Errorf("gsstest: no realm can be started on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	mitDirs := append(append(append([]string{}, brewDirs...), filepath.SplitList(os.Getenv("PATH"))...), binDirs...)
	var t tools
	var missing []string
	need := func(p *string, name string, paths ...string) {
		if *p = firstProgram(paths); *p == "" {
			missing = append(missing, name)
		}
	}
	kinit := firstProgram(inDirs(mitDirs, "kinit"))
	if k != Heimdal {
		need(&t.kdc, "krb5kdc", inDirs(mitDirs, "krb5kdc")...)
		dbutil := "kdb5_util"
		if k == MITLDAP {
			dbutil = "kdb5_ldap_util"
		}
		need(&t.dbutil, dbutil, inDirs(mitDirs, dbutil)...)
		need(&t.kadmin, "kadmin.local", inDirs(mitDirs, "kadmin.local")...)
		need(&t.kinit, "kinit", kinit)
		if missing != nil {
			return nil, fmt.Errorf("gsstest: the MIT KDC cannot be started: no %s on this machine; "+
				"install krb5-kdc, krb5-admin-server and krb5-user (Debian, Ubuntu), and krb5-kdc-ldap for MITLDAP, krb5-server and krb5-workstation (Fedora), or krb5 (Homebrew, FreeBSD)",
				strings.Join(missing, ", "))
		}
		if k == MITLDAP {
			var err error
			if t.ldap, t.libs, err = findLDAP(); err != nil {
				return nil, err
			}
		}
		return &t, nil
	}

	below := roots("GSSTEST_HEIMDAL", heimdalRoot)
	for _, root := range below {
		t, missing = tools{}, nil
		in := func(paths ...string) []string {
			for i := range paths {
				paths[i] = filepath.Join(root, paths[i])
			}
			return paths
		}
		need(&t.kdc, "kdc", in("usr/lib/heimdal-servers/kdc", "usr/libexec/kdc", "usr/local/libexec/kdc",
			"opt/homebrew/opt/heimdal/libexec/kdc", "usr/local/opt/heimdal/libexec/kdc", "libexec/kdc")...)
		need(&t.kadmin, "kadmin.heimdal", in("usr/bin/kadmin.heimdal", "usr/local/bin/kadmin.heimdal",
			"opt/homebrew/opt/heimdal/bin/kadmin", "usr/local/opt/heimdal/bin/kadmin", "bin/kadmin", "usr/sbin/kadmin", "usr/local/bin/kadmin")...)
		need(&t.dbutil, "kstash", in("usr/sbin/kstash", "usr/local/sbin/kstash",
			"opt/homebrew/opt/heimdal/sbin/kstash", "usr/local/opt/heimdal/sbin/kstash", "sbin/kstash", "usr/local/bin/kstash")...)
		if kinit == "" {
			need(&kinit, "kinit", in("usr/bin/kinit.heimdal", "usr/local/bin/kinit", "bin/kinit")...)
		}
		t.kinit = kinit
		if missing == nil {
			t.libs = libsBelow(root)
			return &t, nil
		}
	}
	return nil, fmt.Errorf("gsstest: the Heimdal KDC cannot be started: no %s below %s; "+
		"run ci/install.sh (Debian and Ubuntu: unpacks heimdal-kdc and heimdal-clients, which conflict with MIT's, into %s), "+
		"or install heimdal-kdc and heimdal-clients (Debian without MIT's KDC) or heimdal (Homebrew, FreeBSD)",
		strings.Join(missing, ", "), strings.Join(below, " or "), heimdalRoot)
}

func inDirs(dirs []string, name string) []string {
	var paths []string
	for _, d := range dirs {
		if filepath.IsAbs(d) {
			paths = append(paths, filepath.Join(d, name))
		}
	}
	return paths
}

func firstProgram(paths []string) string {
	for _, p := range paths {
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// toolEnv returns the environment of the KDC and its programs: ours, without what configures another
// Kerberos or changes the language of messages.
func (r *Realm) toolEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		k, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(k, "KRB5"), strings.HasPrefix(k, "GSS"), strings.HasPrefix(k, "LC_"),
			strings.HasPrefix(k, "LDAP"), k == "LANG", k == "LANGUAGE", r.tools.libs != "" && k == "LD_LIBRARY_PATH":
		default:
			env = append(env, kv)
		}
	}
	env = append(env, r.Env()...)
	// kadmin.local (its libss) reads commands with libreadline or libedit where one
	// is installed, and libedit loses what is not ASCII.
	env = append(env, "LC_ALL=C", "SS_READLINE_PATH=none", "KRB5_KDC_PROFILE="+r.path("kdc.conf"), "LDAPNOINIT=1")
	if r.tools.libs != "" {
		libs := r.tools.libs
		if old := os.Getenv("LD_LIBRARY_PATH"); old != "" {
			libs += string(filepath.ListSeparator) + old
		}
		env = append(env, "LD_LIBRARY_PATH="+libs)
	}
	return env
}

// toolTimeout ends a program that hangs, kinit for instance while the KDC is suspended.
const toolTimeout = time.Minute

// run runs a program to its end and returns what it wrote.
func (r *Realm) run(stdin, program string, args ...string) (stdout, stderr string, err error) {
	return r.runWith(nil, stdin, program, args...)
}

// runWith is run with more environment variables.
func (r *Realm) runWith(env []string, stdin, program string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(r.toolEnv(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no end after %v", toolTimeout)
	}
	return out.String(), errOut.String(), err
}

// createDatabase makes the KDC's database and the principals of the Options. Called with r.mu held.
func (r *Realm) createDatabase() error {
	var first []string
	switch r.opts.KDC {
	case MIT, MITLDAP:
		args := []string{"-r", r.opts.Realm, "create", "-s"}
		if r.opts.KDC == MITLDAP {
			args = []string{"create", "-r", r.opts.Realm, "-s"}
		}
		// The password comes twice, and by standard input: arguments are visible to all users.
		pw := rand.Text()
		_, stderr, err := r.run(pw+"\n"+pw+"\n", r.tools.dbutil, args...)
		if err != nil {
			return fmt.Errorf("gsstest: %s create: %w: %s", filepath.Base(r.tools.dbutil), err, strings.TrimSpace(stderr))
		}
	case Heimdal:
		_, stderr, err := r.run("", r.tools.dbutil, "--random-key", "--enctype="+r.opts.Enctypes[0], "-k", r.path("mkey"))
		if err != nil {
			return fmt.Errorf("gsstest: kstash: %w: %s", err, strings.TrimSpace(stderr))
		}
		first = append(first, fmt.Sprintf("init --realm-max-ticket-life=%ds --realm-max-renewable-life=%ds %s",
			r.opts.seconds, r.opts.renewSeconds, r.opts.Realm))
	}
	for _, p := range r.opts.Principals {
		first = append(first, r.addCommand(p, ""))
	}
	for p, pw := range r.opts.Passwords {
		first = append(first, r.addCommand(p, pw))
	}
	if first == nil {
		return nil
	}
	_, err := r.kadmin(first, true)
	return err
}

// addCommand returns kadmin's command for a new principal, with random keys if there is no password.
func (r *Realm) addCommand(name, password string) string {
	name = quote(r.Principal(name))
	if r.opts.KDC != Heimdal {
		if password == "" {
			return "addprinc -clearpolicy -randkey " + name
		}
		return "addprinc -clearpolicy -pw " + quote(password) + " " + name
	}
	key := "--random-key"
	if password != "" {
		key = quote("--password=" + password)
	}
	return fmt.Sprintf("add --use-defaults --max-ticket-life=%ds --max-renewable-life=%ds %s %s",
		r.opts.seconds, r.opts.renewSeconds, key, name)
}

// quote makes one word of s for both kadmins: in double quotes, and MIT's takes "" for one inside.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// prompts are what kadmin.local writes before it reads a command.
var prompts = regexp.MustCompile(`(?m)^(kadmin\.local:  )+`)

// kadmin runs commands in one process, which is several times faster than one each. MIT's program always
// exits with 0 and Heimdal's with the last status or so, hence an error is what they wrote to standard
// error. With again, it is none that a principal exists. Called with r.mu held.
func (r *Realm) kadmin(commands []string, again bool) (string, error) {
	args := []string{"-r", r.opts.Realm}
	if r.opts.KDC == Heimdal {
		args = append(args, "-l", "-c", r.path("kdc.conf"))
	}
	stdout, stderr, err := r.run(strings.Join(commands, "\n")+"\n", r.tools.kadmin, args...)
	stdout = prompts.ReplaceAllString(stdout, "")
	var bad []string
	excused := false
	for _, line := range strings.Split(stderr, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "", strings.HasPrefix(line, "WARNING: no policy"), strings.HasPrefix(line, "No policy specified"):
		case again && strings.Contains(line, "Principal or policy already exists"):
			excused = true
		default:
			bad = append(bad, line)
		}
	}
	if err != nil && bad == nil && !excused {
		bad = append(bad, err.Error())
	}
	if bad != nil {
		return stdout, fmt.Errorf("gsstest: kadmin: %s", strings.Join(bad, "; "))
	}
	return stdout, nil
}

// Kadmin runs commands of kadmin.local (MIT, MITLDAP) or kadmin -l (Heimdal) and returns their output, for what this
// package has no method for: Kadmin("modprinc +ok_as_delegate host/server.test"). Their language is that
// of the KDC in use; the quoting is the caller's. The error holds what kadmin wrote to standard error.
// Kadmin waits for the program, and never longer than a minute.
func (r *Realm) Kadmin(commands ...string) (string, error) {
	for _, c := range commands {
		if strings.ContainsFunc(c, isControl) {
			return "", fmt.Errorf("gsstest: control character in kadmin command %q", c)
		}
		if strings.HasPrefix(strings.TrimSpace(c), "!") {
			return "", fmt.Errorf("gsstest: kadmin would run %q in a shell", c)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return "", ErrClosed
	}
	clear(r.keytabs) // keys may change
	return r.kadmin(commands, false)
}

// AddPrincipal makes principals with random keys, all in one run of kadmin: 1 to 6 ms each (MIT) or 25 ms
// (Heimdal). The realm may be left out of the names. A principal that exists is left as it is.
func (r *Realm) AddPrincipal(names ...string) error {
	var commands []string
	for _, n := range names {
		if err := checkPrincipal(r.opts.KDC, n); err != nil {
			return err
		}
		commands = append(commands, r.addCommand(n, ""))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if commands == nil {
		return nil
	}
	_, err := r.kadmin(commands, true)
	return err
}

// AddPassword makes a principal with a password. It is an error if the principal exists. The password is
// given to kadmin by standard input.
func (r *Realm) AddPassword(name, password string) error {
	if err := errors.Join(checkPrincipal(r.opts.KDC, name), checkPassword(r.opts.KDC, password)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	_, err := r.kadmin([]string{r.addCommand(name, password)}, false)
	return err
}

// Keytab writes the keys of the principals into a new keytab file below Dir and returns its path. The
// realm owns the file. Principals that do not exist are made. The keys in the database stay as they are, so
// that earlier keytabs and tickets remain good, and principals with passwords can have a keytab too.
func (r *Realm) Keytab(principals ...string) (string, error) {
	if len(principals) == 0 {
		return "", errors.New("gsstest: Keytab without a principal")
	}
	for _, p := range principals {
		if err := checkPrincipal(r.opts.KDC, p); err != nil {
			return "", err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return "", ErrClosed
	}
	return r.keytab(principals)
}

func (r *Realm) keytab(principals []string) (string, error) {
	path := r.newFile("keytab")
	var commands []string
	for _, p := range principals {
		commands = append(commands, r.addCommand(p, ""))
	}
	for _, p := range principals {
		if r.opts.KDC != Heimdal {
			commands = append(commands, "ktadd -norandkey -k "+quote(path)+" "+quote(r.Principal(p)))
		} else {
			commands = append(commands, "ext_keytab -k "+quote(path)+" "+quote(r.Principal(p)))
		}
	}
	if _, err := r.kadmin(commands, true); err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("gsstest: kadmin wrote no keytab: %w", err)
	}
	return path, nil
}

// newFile returns a path that was not used before. Called with r.mu held.
func (r *Realm) newFile(kind string) string {
	r.serial++
	return r.path(fmt.Sprintf("%s.%d", kind, r.serial))
}

// KinitOptions says which ticket Kinit is to get. Nil and the zero value: a ticket-granting ticket with
// the realm's lifetime, not forwardable, not renewable.
type KinitOptions struct {
	// Password is the principal's password; empty: the key is taken from the KDC's database. The
	// principal is made then if it does not exist.
	Password string
	// Lifetime is the life to ask for; zero: Options.TicketLifetime. It is rounded up to seconds. If
	// it is longer than what the KDC allows, kinit accepts a renewable ticket instead.
	Lifetime time.Duration
	// Renewable is the renewable life to ask for; zero: not renewable.
	Renewable time.Duration
	// Forwardable and Proxiable ask for these flags. A ticket must be forwardable to be delegated.
	Forwardable, Proxiable bool
	// Service is the service to get the first ticket for, such as "kadmin/changepw"; empty: the
	// ticket-granting service.
	Service string
}

// Kinit runs kinit for the principal and returns the path of the new credential cache, a FILE ccache
// below Dir that the realm owns. It waits for the KDC, and never longer than a minute. The error holds
// kinit's message.
func (r *Realm) Kinit(principal string, o *KinitOptions) (string, error) {
	if o == nil {
		o = &KinitOptions{}
	}
	if err := checkPrincipal(r.opts.KDC, principal); err != nil {
		return "", err
	}
	principal = r.Principal(principal)
	heimdal := isHeimdalKinit(r.tools.kinit)

	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return "", ErrClosed
	}
	ccache := r.newFile("ccache")
	keytab := r.keytabs[principal]
	if o.Password == "" && keytab == "" {
		var err error
		if keytab, err = r.keytab([]string{principal}); err != nil {
			r.mu.Unlock()
			return "", err
		}
		r.keytabs[principal] = keytab
	}
	r.mu.Unlock()

	args := []string{"-c", "FILE:" + ccache}
	for _, l := range []struct {
		what, flag string
		d          time.Duration
	}{{"Lifetime", "-l", o.Lifetime}, {"Renewable", "-r", o.Renewable}} {
		n, err := seconds(l.what, l.d, 0)
		if err != nil {
			return "", err
		}
		if n > 0 {
			args = append(args, l.flag, fmt.Sprintf("%ds", n))
		}
	}
	switch {
	case heimdal && o.Forwardable:
		args = append(args, "--forwardable")
	case heimdal:
		args = append(args, "--no-forwardable")
	case o.Forwardable:
		args = append(args, "-f")
	default:
		args = append(args, "-F")
	}
	if o.Proxiable {
		args = append(args, "-p")
	}
	if o.Service != "" {
		if err := checkPrincipal(r.opts.KDC, o.Service); err != nil {
			return "", err
		}
		args = append(args, "-S", o.Service)
	}
	stdin := ""
	if o.Password != "" {
		if strings.ContainsFunc(o.Password, isControl) {
			return "", errors.New("gsstest: control character in a password")
		}
		stdin = o.Password + "\n"
		if heimdal {
			args = append(args, "--password-file=STDIN")
		}
	} else {
		args = append(args, "-k", "-t", "FILE:"+keytab)
	}
	_, stderr, err := r.run(stdin, r.tools.kinit, append(args, principal)...)
	if err != nil {
		os.Remove(ccache)
		return "", fmt.Errorf("gsstest: kinit %s: %w: %s", principal, err, strings.TrimSpace(stderr))
	}
	return ccache, nil
}

var kinitKinds sync.Map // path -> bool: is Heimdal's

// isHeimdalKinit tells whose kinit that is: Heimdal's says so, MIT's knows no --version.
func isHeimdalKinit(path string) bool {
	if v, ok := kinitKinds.Load(path); ok {
		return v.(bool)
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	is := bytes.Contains(out, []byte("Heimdal"))
	kinitKinds.Store(path, is)
	return is
}
