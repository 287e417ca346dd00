// Package gsstest starts a throwaway Kerberos realm for tests: a real KDC, MIT or Heimdal, in the
// foreground on a loopback address of its own, with its files in a temporary directory.
//
//	func TestLogin(t *testing.T) {
//		r := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", "host/server.test"}})
//		keytab, err := r.Keytab("host/server.test") // for the acceptor
//		ccache, err := r.Kinit("alice", nil)        // for the initiator
//		cmd.Env = append(os.Environ(), r.EnvFor(ccache, keytab)...)
//	}
//
// [New] is for tests and benchmarks, [Start] for anything else (TestMain, demo programs). The package
// runs the KDC's own programs (krb5kdc, kadmin.local, kinit, ...) and needs neither cgo nor root, nor
// DNS, nor a host name: services are called "host/server.test", and the names under .test and localhost
// belong to the realm. [Available] tells whether the programs are there, and what to install.
//
// The krb5.conf of a realm serves MIT's and Heimdal's client libraries alike. A realm never touches
// the environment of its process, unless [Realm.Setenv] is called. Both C libraries read KRB5_CONFIG from
// the environment, so one process uses one realm at a time; child processes have no such limit.
//
// A KDC does not outlive its realm: [Realm.Close] stops it, New closes the realm when the test ends,
// fails or panics, and if the process is killed, a small shell process that holds the other end of a
// pipe kills the KDC and removes the temporary directory.
//
// A [Realm] may be used by several goroutines at once. It runs on Linux, macOS and the BSDs; on other
// systems programs build, and Start returns an error that is [errors.ErrUnsupported].
package gsstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// KDC selects whose KDC a realm runs. The client libraries under test do not depend on it.
type KDC int

const (
	// MIT is krb5kdc, up in 25 to 100 ms. It is the default.
	MIT KDC = iota
	// Heimdal is Heimdal's kdc, up in 200 to 350 ms and 25 ms more for each principal. Debian's package
	// cannot be installed beside MIT's, so an unpacked one is used too: it is looked for below the
	// directory named by the environment variable GSSTEST_HEIMDAL if that is set, and otherwise
	// below /usr/local/lib/gsstest/heimdal and in the system's own directories.
	Heimdal
	// MITLDAP is krb5kdc with its database in an LDAP server of its own, OpenLDAP's slapd on a socket in
	// the realm's directory, up in twice MIT's time. Only there does MIT's KDC know who may delegate to whom:
	// see [Realm.AllowDelegation]. It takes Debian's krb5-kdc-ldap. For slapd and its tools, an
	// unpacked package will do: they are looked for below the directory named by the environment
	// variable GSSTEST_LDAP if that is set, and otherwise below /usr/local/lib/gsstest/ldap and in
	// the system's own directories.
	MITLDAP
)

// String returns "MIT", "Heimdal" or "MIT with LDAP".
func (k KDC) String() string {
	switch k {
	case MIT:
		return "MIT"
	case Heimdal:
		return "Heimdal"
	case MITLDAP:
		return "MIT with LDAP"
	}
	return fmt.Sprintf("KDC(%d)", int(k))
}

// known tells whether there is such a KDC.
func (k KDC) known() bool { return k == MIT || k == Heimdal || k == MITLDAP }

// ErrClosed is what methods return after [Realm.Close].
var ErrClosed = errors.New("gsstest: realm is closed")

// Options says how a realm is to be. A nil *Options and the zero value mean the same: an MIT realm
// with no principals. Start does not keep the Options or change them.
type Options struct {
	// KDC is the implementation; zero: MIT.
	KDC KDC
	// Realm is the realm's name; empty: "TEST.GSS". Several realms may have the same name.
	Realm string
	// Dir is the directory for all files; it is made if missing, must hold no other realm and is not
	// removed. Empty: a new temporary directory, removed by Close.
	Dir string
	// Addr is the IP address to listen on. Empty: on Linux one of 127.0.0.0/8 that no other realm
	// has, elsewhere 127.0.0.1.
	Addr string
	// Port is the port to listen on (TCP and UDP); 0: a free one.
	Port int

	// Principals are made with random keys. The realm may be left out: "alice", "host/server.test".
	Principals []string
	// Passwords are principals with a password each. MIT needs 40 ms for one, so that tests do better
	// with Principals and Realm.Kinit, which takes keys from the KDC's database.
	Passwords map[string]string

	// TicketLifetime is the longest life of a ticket at the KDC and what clients ask for if they do
	// not say; zero: 10 hours. It is rounded up to seconds.
	TicketLifetime time.Duration
	// RenewLifetime is the longest renewable life at the KDC; zero: 7 days. Clients get a renewable
	// ticket only if they ask for it.
	RenewLifetime time.Duration
	// Enctypes are the encryption types of the keys and of what clients permit, the preferred first.
	// Empty: aes256-cts-hmac-sha1-96, and aes128-cts-hmac-sha256-128 (MIT) or
	// aes128-cts-hmac-sha1-96 (Heimdal). Weak ones are allowed in the
	// configuration if they are named here; the library may still refuse them.
	Enctypes []string
	// ClockSkew is how far clocks may differ; zero: the library's default of 5 minutes.
	ClockSkew time.Duration
	// LibDefaults are more lines for [libdefaults] of krb5.conf, or others instead of the lines
	// that are there by default, for example "ignore_acceptor_hostname": "true".
	LibDefaults map[string]string
	// ExtraKrb5Conf is appended to krb5.conf, ExtraKDCConf to the KDC's own configuration file.
	// They are whole sections and are not checked.
	ExtraKrb5Conf, ExtraKDCConf string
}

// Realm is a running realm. It is made by New or Start and must be closed.
type Realm struct {
	opts  settings // checked and complete
	tools *tools
	dir   string // absolute; ours to remove if opts.Dir is empty
	ip    string
	port  int
	lock  *portLock // keeps other realms from this address and port
	guard *guard    // ends the KDC and slapd when this process dies

	mu      sync.Mutex // held while the KDC starts or stops and while kadmin runs
	proc    *process   // nil: stopped
	slapd   *process   // of MITLDAP
	keytabs map[string]string
	serial  int
	closed  bool
	err     error
}

// Start starts a realm and returns when its KDC answers: after 25 to 100 ms for MIT, 200 to 350 ms for
// Heimdal. It never waits longer than 30 seconds for the KDC, nor for the LDAP server. The caller must call
// Close.
//
// The error says what is missing on this machine (see [Available]), which option is wrong, or why the
// KDC did not start, with its log. Nothing is left behind then.
func Start(o *Options) (*Realm, error) {
	s, err := o.check()
	if err != nil {
		return nil, err
	}
	t, err := findTools(s.KDC)
	if err != nil {
		return nil, err
	}
	r := &Realm{opts: s, tools: t, keytabs: map[string]string{}}
	if err := r.start(); err != nil {
		if log := r.Logs(); log != "" {
			err = fmt.Errorf("%w\n%s", err, log)
		}
		r.Close()
		return nil, err
	}
	return r, nil
}

// New starts a realm for a test, a benchmark or a fuzz target and closes it when that ends. If the test
// failed, the KDC's log is added to the test's log. If the realm cannot be started, also because no
// KDC is installed, New calls tb.Fatal: a test that needs a realm is never skipped silently.
func New(tb testing.TB, o *Options) *Realm {
	tb.Helper()
	r, err := Start(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("log of the %s KDC of %s at %s:\n%s", r.opts.KDC, r.Name(), r.Addr(), r.Logs())
		}
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// Available returns nil if the programs of that KDC are on this machine, and otherwise an error that
// says which are missing and which packages have them. It runs nothing.
func Available(k KDC) error {
	if !k.known() {
		return fmt.Errorf("gsstest: no such KDC: %v", k)
	}
	_, err := findTools(k)
	return err
}

// start makes the files, the database and the principals, and starts the KDC.
func (r *Realm) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.makeDir(); err != nil {
		return err
	}
	// A port can be taken by a program that knows nothing of our locks between our probe and the
	// KDC's bind. That costs another attempt, unless the caller insists on the port.
	for attempt := 0; ; attempt++ {
		lock, ip, port, err := lockAddr(r.opts.Addr, r.opts.Port)
		if err != nil {
			return err
		}
		r.lock, r.ip, r.port = lock, ip, port
		if err := r.writeConfig(); err != nil {
			return err
		}
		if attempt == 0 {
			if r.opts.KDC == MITLDAP {
				if err := r.startLDAP(); err != nil {
					return err
				}
			}
			if err := r.createDatabase(); err != nil {
				return err
			}
		}
		err = r.startKDC()
		if err == nil {
			return nil
		}
		if !errors.Is(err, errPortInUse) || r.opts.Port != 0 || attempt == 4 {
			return err
		}
		r.lock.release()
		r.lock = nil
	}
}

// makeDir makes the directory and starts the guard, which will remove it if we cannot.
func (r *Realm) makeDir() error {
	temp := r.opts.Dir == ""
	if temp {
		dir, err := os.MkdirTemp("", "gsstest-")
		if err != nil {
			return fmt.Errorf("gsstest: %w", err)
		}
		r.dir = dir
	} else if err := os.MkdirAll(r.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("gsstest: %w", err)
	} else {
		r.dir = r.opts.Dir
	}
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return fmt.Errorf("gsstest: %w", err)
	}
	r.dir = dir
	if i := strings.IndexFunc(dir, badInPath); i >= 0 {
		// KRB5_CONFIG is a list with colons, %{...} is expanded in krb5.conf, Heimdal splits at spaces.
		return fmt.Errorf("gsstest: the directory %q has a space or another character that cannot stand in a krb5.conf or in KRB5_CONFIG; set Options.Dir or TMPDIR", dir)
	}
	remove := ""
	if temp {
		remove = dir
	} else if _, err := os.Stat(r.path("krb5.conf")); err == nil {
		return fmt.Errorf("gsstest: %s holds a realm already", dir)
	}
	r.guard, err = newGuard(remove)
	return err
}

func badInPath(c rune) bool {
	return c <= ' ' || c == 0x7f || strings.ContainsRune(`:%"'{};,#*\`, c)
}

// Close stops the KDC, waits for it, and removes the directory unless the caller chose it. It returns
// at once if the realm is closed already. If another goroutine is in AddPrincipal or another method that
// changes the database, Close waits for it. The error says what could not be stopped or removed.
func (r *Realm) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.err
	}
	r.closed = true
	var errs []error
	errs = append(errs, r.stopKDC())
	if r.slapd != nil {
		errs = append(errs, r.guard.stop(r.slapd, stopTimeout))
	}
	if r.dir != "" && r.opts.Dir == "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	if r.guard != nil {
		errs = append(errs, r.guard.release())
	}
	if r.lock != nil {
		r.lock.release()
	}
	if err := errors.Join(errs...); err != nil {
		r.err = fmt.Errorf("gsstest: closing %s: %w", r.Name(), err)
	}
	return r.err
}

// Name returns the realm's name, "TEST.GSS".
func (r *Realm) Name() string { return r.opts.Realm }

// Dir returns the realm's directory, an absolute path. Callers may put files of their own into it, and
// with a temporary directory they are gone after Close. Only the user who runs the test can read it.
func (r *Realm) Dir() string { return r.dir }

// Addr returns the KDC's address as "ip:port". It answers TCP and UDP.
func (r *Realm) Addr() string { return net.JoinHostPort(r.ip, fmt.Sprint(r.port)) }

// Krb5Conf returns the path of the realm's krb5.conf.
func (r *Realm) Krb5Conf() string { return r.path("krb5.conf") }

// Principal returns the name with the realm: "alice" becomes "alice@TEST.GSS". A name that has a realm
// is returned unchanged.
func (r *Realm) Principal(name string) string {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '@':
			return name
		}
	}
	return name + "@" + r.opts.Realm
}

// Logs returns what the KDC has logged, for a look at why a test failed. It also works while the realm
// is starting up or its KDC has died, but not after Close.
func (r *Realm) Logs() string {
	return strings.TrimSpace(r.log())
}

// kdcLog is the KDC's log and also takes its standard output and error. Both are appended.
const kdcLog = "kdc.log"

func (r *Realm) log() string {
	if r.dir == "" {
		return ""
	}
	text, err := os.ReadFile(r.path(kdcLog))
	if err != nil {
		return "" // it has not been started
	}
	return string(text)
}

func (r *Realm) path(elem string) string { return filepath.Join(r.dir, elem) }
