package gsstest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	startTimeout = 30 * time.Second // a machine can be very busy
	stopTimeout  = 5 * time.Second  // then the KDC is killed
)

var errPortInUse = errors.New("the port is in use")

// portLock keeps an address and port for one realm. krb5kdc sets SO_REUSEPORT and Heimdal's kdc shares
// UDP ports: a second KDC on the same port starts without an error, and clients reach one or the other.
// So a bind by the KDC proves nothing, and a test bind before it leaves a gap. The lock closes it among
// realms of this package, also those of other processes, and ends with the process.
type portLock struct{ l net.Listener }

func (l *portLock) release() { l.l.Close() }

// lockAddr chooses what is not given and locks it.
func lockAddr(addr string, port int) (*portLock, string, int, error) {
	if addr != "" && port != 0 {
		l, err := tryAddr(addr, port)
		if err != nil {
			return nil, "", 0, fmt.Errorf("gsstest: cannot listen on %s: %w", net.JoinHostPort(addr, strconv.Itoa(port)), err)
		}
		return l, addr, port, nil
	}
	var last error
	for range 200 {
		var b [5]byte
		rand.Read(b[:])
		ip, p := addr, port
		if ip == "" {
			ip = "127.0.0.1"
			if runtime.GOOS == "linux" { // elsewhere the others must be configured
				ip = net.IPv4(127, 1+b[0]%254, b[1], 1+b[2]%254).String()
			}
		}
		if p == 0 {
			// Below the ports that systems give to sockets without one, and odd for the
			// sake of systems where the lock is the port before.
			p = 16385 + 2*((int(b[3])<<8|int(b[4]))%8000)
		}
		l, err := tryAddr(ip, p)
		if err == nil {
			return l, ip, p, nil
		}
		last = err
	}
	return nil, "", 0, fmt.Errorf("gsstest: no free port: %w", last)
}

// tryAddr takes the lock and then binds TCP and UDP, without SO_REUSEPORT, to see that nobody else has them.
func tryAddr(ip string, port int) (_ *portLock, err error) {
	lock, err := listenLock(ip, port)
	if err != nil {
		return nil, fmt.Errorf("locked by another realm: %w", err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	addr := net.JoinHostPort(ip, strconv.Itoa(port))
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp.Close()
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, err
	}
	udp.Close()
	return &portLock{lock}, nil
}

// startKDC starts the KDC and waits until it takes connections. Called with r.mu held.
func (r *Realm) startKDC() error {
	var args []string
	switch r.opts.KDC {
	case MIT, MITLDAP:
		args = []string{r.tools.kdc, "-n", "-r", r.opts.Realm, "-P", r.path("kdc.pid")}
	case Heimdal:
		// --testing: one process instead of one for each CPU and one that watches them
		args = []string{r.tools.kdc, "-c", r.path("kdc.conf"), "--testing",
			"--addresses=" + r.ip, "--ports=" + strconv.Itoa(r.port)}
	}
	logged := len(r.log())
	p, err := r.guard.start(args, r.toolEnv(), r.dir, r.path(kdcLog))
	if err != nil {
		return fmt.Errorf("gsstest: starting the KDC: %w", err)
	}
	r.proc = p
	err = r.awaitKDC(p, logged)
	if strings.Contains(r.log()[logged:], "ddress already in use") { // Heimdal's kdc goes on without TCP
		err = errors.Join(errPortInUse, err)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("gsstest: the %s KDC did not start: %w", r.opts.KDC, err), r.stopKDC())
	}
	return nil
}

// awaitKDC waits until the KDC says that it is ready and its port answers, the KDC has ended, or the time
// is up. The port alone could be somebody else's. The log before the offset is of an earlier start.
func (r *Realm) awaitKDC(p *process, logged int) error {
	ready := "commencing operation"
	if r.opts.KDC == Heimdal {
		ready = "KDC started"
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := errors.New("it has not logged that it is ready")
		if strings.Contains(r.log()[logged:], ready) {
			var c net.Conn
			if c, err = (&net.Dialer{}).DialContext(ctx, "tcp", r.Addr()); err == nil {
				return c.Close()
			}
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended with %v", p.status())
		case <-ctx.Done():
			return fmt.Errorf("%s is not served after %v: %w", r.Addr(), startTimeout, err)
		case <-tick.C:
		}
	}
}

func (r *Realm) stopKDC() error {
	if r.proc == nil {
		return nil
	}
	err := r.guard.stop(r.proc, stopTimeout)
	r.proc = nil
	return err
}

// StopKDC stops the KDC and waits for its end; clients are refused their connections. The database, with its
// LDAP server, and the port are kept for StartKDC. It does nothing if the KDC is stopped.
func (r *Realm) StopKDC() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	return r.stopKDC()
}

// StartKDC starts the KDC again after StopKDC, or after it died, at the same address, and returns when it
// answers. It does nothing if the KDC is running.
func (r *Realm) StartKDC() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.proc != nil {
		select {
		case <-r.proc.done:
			if err := r.stopKDC(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return r.startKDC()
}

// SuspendKDC stops the KDC where it is (SIGSTOP): clients get their connection and wait for an answer, as
// with a KDC that is overloaded. ResumeKDC lets it go on, and it answers what has come in meanwhile. It is
// how to test a call that blocks without a clock.
func (r *Realm) SuspendKDC() error { return r.signal((*process).suspend) }

// ResumeKDC ends SuspendKDC.
func (r *Realm) ResumeKDC() error { return r.signal((*process).resume) }

func (r *Realm) signal(send func(*process) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.proc == nil {
		return errors.New("gsstest: the KDC is stopped")
	}
	if err := send(r.proc); err != nil {
		return fmt.Errorf("gsstest: %w", err)
	}
	return nil
}

// openOutput opens the file that takes what a KDC writes to its standard output and error.
func openOutput(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}
