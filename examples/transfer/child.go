//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/seed2651813c/gss/examples/frame"
	"github.com/seed2651813c/gss/gssapi"
)

// kind says what an event proves; the director counts them.
type kind string

const (
	told         kind = "told"         // a line of the transcript, and no more
	listens      kind = "listens"      // Addr is where
	ready        kind = "ready"        // a worker can take contexts
	established  kind = "established"  // the acceptor knows who the client is
	exported     kind = "exported"     // the acceptor has given a context away
	dead         kind = "dead"         // and can do nothing with it any more
	imported     kind = "imported"     // a worker has it
	secondTime   kind = "second time"  // a token that came again was refused
	replay       kind = "replay"       // a message that came again was refused
	exchanged    kind = "exchanged"    // a message and its answer, both encrypted
	continued    kind = "continued"    // the worker's first message had the next number
	talked       kind = "talked"       // the client waits for the others
	left         kind = "left"         // a client has closed its connection
	roleComplete kind = "roleComplete" // a process has done all that it should
	failed       kind = "failed"
	exited       kind = "exited" // the director's own: a process has ended, What is how if not well
)

// event is what a process tells the director: a line of JSON on its standard
// output. All of them write to one pipe, a line in one piece, so that the lines
// come in the order in which things happened.
type event struct {
	Who  string
	PID  int
	Kind kind
	What string
	Addr string `json:",omitempty"`
}

// process is one of the acceptor, workers and clients.
type process struct {
	options
	end    time.Time // of all waiting
	orders chan string

	mu sync.Mutex // one event at a time
}

// child plays a role, and returns the exit status. Roles leave the connections that
// they fail with open.
func child(o options) int {
	p := &process{options: o, end: time.Now().Add(o.limit), orders: make(chan string)}
	go p.listen()
	roles := map[string]func(*process) error{"acceptor": acceptor, "worker": worker, "client": client}
	role, ok := roles[o.role]
	err := fmt.Errorf("no such role: %q", o.role)
	if ok {
		err = role(p)
	}
	if err != nil {
		// Told before the process ends and its connections with it: the others fail of that.
		p.tell(failed, "%v", err)
		return 1
	}
	p.tell(roleComplete, "has done its work and ends")
	return 0
}

// listen takes the director's orders from standard input. When that ends the
// director has died, and nobody is left to end this process.
func (p *process) listen() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		p.orders <- in.Text()
	}
	os.Exit(1)
}

func (p *process) tell(k kind, format string, args ...any) {
	p.event(event{Kind: k, What: fmt.Sprintf(format, args...)})
}

func (p *process) event(e event) {
	e.Who, e.PID = p.name, os.Getpid()
	if len(e.What) > 1000 { // a pipe takes 4096 bytes in one piece
		e.What = e.What[:1000] + "..."
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // it has nothing but strings
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		os.Exit(1)
	}
}

// socket is a socket that this process was started with.
func socket(fd uintptr) (*net.UnixConn, error) {
	f := os.NewFile(fd, "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("descriptor %d is no Unix socket", fd)
	}
	return u, nil
}

// link is a connection with its security context.
type link struct {
	conn net.Conn
	sec  *gssapi.Context
}

// seal encrypts text; it returns the token and its sequence number.
func (l *link) seal(text string) (token []byte, n uint64, err error) {
	token, err = l.sec.Wrap([]byte(text))
	return token, number(token), err
}

// receive returns the next message, and the token that it came in.
func (l *link) receive() (text string, token []byte, err error) {
	token, err = frame.Read(l.conn)
	if err != nil {
		return "", nil, err
	}
	b, err := l.sec.Unwrap(token)
	return string(b), token, err
}

// number is the sequence number of a token of Wrap, as RFC 4121, 4.2.6.2 has it;
// 0 for what is no such token. It is not secret. It is read here to be shown; the
// C library does its own checks.
func number(token []byte) uint64 {
	if len(token) < 16 || token[0] != 0x05 || token[1] != 0x04 {
		return 0
	}
	return binary.BigEndian.Uint64(token[8:])
}

// must returns an error unless err is want.
func must(what string, err, want error) error {
	if err == nil {
		return fmt.Errorf("%s: it was done, and should have been refused (%w)", what, want)
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: refused as it should be, but with another error than %q: %w", what, want, err)
	}
	return nil
}
