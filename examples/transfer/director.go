//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// clients are the clients, with their mechanisms, in the order in which they come.
var clients = []struct{ name, mech string }{{"alice", "krb5"}, {"bob", "SPNEGO"}, {"carol", "krb5"}}

const workers = 2

func workerName(i int) string { return fmt.Sprintf("worker %d", i+1) }

// expected is how often each thing must have happened in the end.
var expected = map[kind]int{
	ready:        workers,
	established:  len(clients),
	exported:     len(clients),
	dead:         len(clients),
	imported:     len(clients),
	secondTime:   len(clients),
	replay:       len(clients),
	continued:    len(clients),
	exchanged:    len(clients) * (1 + messages + 1),
	left:         len(clients),
	roleComplete: 1 + workers + len(clients),
	failed:       0,
}

// direct starts all that takes part, and ends it, whatever happens.
func direct(ctx context.Context, o options) (err error) {
	start := time.Now()
	library, err := gss.Library()
	if err != nil {
		return err
	}
	fmt.Printf("library  %v\n", library)
	if library.Kind == gss.KindGNU {
		return errors.New("GNU gss cannot export security contexts, so there is nothing to transfer: use MIT or Heimdal (GSSAPI_LIBRARY=mit or heimdal)")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done after %v", o.limit))
	defer cancel()

	principals := []string{principal}
	for _, c := range clients {
		principals = append(principals, c.name)
	}
	realm, err := gsstest.Start(&gsstest.Options{Principals: principals})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, realm.Close()) }()
	fmt.Printf("realm    %s at %s, with %s\n\n%-9s %7s  %s\n", realm.Name(), realm.Addr(), strings.Join(principals, ", "), "who", "pid", "what")

	d, err := newDirector(ctx, o)
	if err != nil {
		return err
	}
	err = d.perform(realm)
	if err != nil {
		cancel() // kills what still runs
	}
	d.finish()
	if err == nil {
		err = d.tally()
	}
	if err != nil {
		return err
	}
	fmt.Printf("\nok: %d contexts, %d workers, %d messages and answers, %d replayed messages refused, %d tokens refused the second time, %.2f s\n",
		d.count[imported], d.count[ready], d.count[exchanged], d.count[replay], d.count[secondTime], time.Since(start).Seconds())
	return nil
}

// director starts the processes and follows what they tell. Only the goroutine
// that called direct uses it.
type director struct {
	options
	kill    context.Context // ends the processes
	program string
	out     *os.File             // standard output of the processes
	events  chan event           // closed when out is, everywhere
	orders  map[string]io.Writer // of the processes that run
	count   map[kind]int
	addr    string // of the acceptor
}

func newDirector(ctx context.Context, o options) (*director, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	d := &director{
		options: o, kill: ctx, program: program, out: out,
		events: make(chan event), orders: map[string]io.Writer{}, count: map[kind]int{},
	}
	go func() {
		defer close(d.events)
		defer in.Close()
		for lines := json.NewDecoder(in); ; {
			var e event
			if err := lines.Decode(&e); err != nil {
				return
			}
			d.events <- e
		}
	}()
	return d, nil
}

// perform is the play.
func (d *director) perform(realm *gsstest.Realm) error {
	keytab, err := realm.Keytab(principal)
	if err != nil {
		return err
	}
	var ours, theirs []*os.File // the acceptor's ends, the workers'
	defer func() {
		for _, f := range append(ours, theirs...) {
			f.Close()
		}
	}()
	for range workers {
		a, b, err := socketPair()
		if err != nil {
			return err
		}
		ours, theirs = append(ours, a), append(theirs, b)
	}
	for i, f := range theirs {
		if err := d.start(options{role: "worker", name: workerName(i)}, realm.EnvFor("", ""), f); err != nil {
			return err
		}
	}
	if err := d.start(options{role: "acceptor", name: "acceptor"}, realm.EnvFor("", keytab), ours...); err != nil {
		return err
	}
	for _, f := range append(ours, theirs...) {
		f.Close() // a worker is to notice when the acceptor's end is closed
	}
	if err := d.await(func() bool { return d.addr != "" && d.count[ready] == workers }); err != nil {
		return err
	}
	for i, c := range clients {
		fmt.Println()
		ccache, err := realm.Kinit(c.name, nil)
		if err != nil {
			return err
		}
		if err := d.start(options{role: "client", name: c.name, mech: c.mech, addr: d.addr}, realm.EnvFor(ccache, "")); err != nil {
			return err
		}
		if err := d.await(func() bool { return d.count[talked] == i+1 && d.count[secondTime] == i+1 }); err != nil {
			return err
		}
	}
	// The acceptor ends, and the contexts that it made live on.
	if err := d.await(func() bool { return d.orders["acceptor"] == nil }); err != nil {
		return err
	}
	fmt.Println()
	for _, c := range clients {
		if _, err := io.WriteString(d.orders[c.name], "go on\n"); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return d.await(func() bool { return len(d.orders) == 0 })
}

// socketPair makes a pair of Unix sockets for two processes.
func socketPair() (a, b *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	for _, fd := range fds {
		syscall.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(fds[0]), "acceptor"), os.NewFile(uintptr(fds[1]), "worker"), nil
}

// start starts this program in another role.
func (d *director) start(o options, env []string, files ...*os.File) error {
	cmd := exec.CommandContext(d.kill, d.program,
		"-role="+o.role, "-name="+o.name, "-mech="+o.mech, "-addr="+o.addr, fmt.Sprintf("-count=%d", workers),
		"-limit="+d.limit.String(), "-break="+d.fault)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = d.out, os.Stderr, files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the director
	orders, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.orders[o.name] = orders
	go func() {
		e := event{Who: o.name, PID: cmd.Process.Pid, Kind: exited}
		if err := cmd.Wait(); err != nil {
			e.What = err.Error()
		}
		// The same way as its own words, so that those come first.
		json.NewEncoder(d.out).Encode(e)
	}()
	return nil
}

// await follows what happens until done, or until something is wrong.
func (d *director) await(done func() bool) error {
	for !done() {
		select {
		case e := <-d.events:
			d.note(e)
			if e.Kind == failed || e.Kind == exited && e.What != "" {
				return fmt.Errorf("%s: %s", e.Who, e.What)
			}
		case <-d.kill.Done():
			return context.Cause(d.kill)
		}
	}
	return nil
}

// note prints and counts an event.
func (d *director) note(e event) {
	d.count[e.Kind]++
	switch e.Kind {
	case exited:
		delete(d.orders, e.Who)
		return
	case listens:
		d.addr = e.Addr
	}
	fmt.Printf("%-9s %7d  %s\n", e.Who, e.PID, e.What)
}

// finish waits for the end of all processes, and prints what they still told.
func (d *director) finish() {
	for len(d.orders) > 0 {
		d.note(<-d.events)
	}
	d.out.Close()
	for e := range d.events {
		d.note(e)
	}
}

// tally compares what happened with what should have.
func (d *director) tally() error {
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(expected)) {
		if d.count[k] != expected[k] {
			errs = append(errs, fmt.Errorf("%q happened %d times, and should have %d times", k, d.count[k], expected[k]))
		}
	}
	return errors.Join(errs...)
}
