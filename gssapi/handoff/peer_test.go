//go:build unix

package handoff

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/internal/fakegss"
)

// ---- the other end, in a process of its own ----

// peerEnv is what a peer is told: a peerOrder.
const peerEnv = "HANDOFF_TEST_PEER"

func init() {
	roles["peer sender"] = func() int { return bePeer(peerSender) }
	roles["peer receiver"] = func() int { return bePeer(peerReceiver) }
	roles["peer victim"] = func() int { return bePeer(peerVictim) }
	roles["peer full"] = func() int { return bePeer(peerFull) }
}

type peerOrder struct {
	UIDs    []int
	DieAt   string // step at which it kills itself
	Pretend *ready // library that it says it has
	Early   int    // bytes that the sender reads of the client
	Path    string // of the victim's socket
	Stream  bool   // which is one
}

// peerLine is what a peer tells.
type peerLine struct{ What, Text string }

func tell(what string, v any) {
	text := fmt.Sprint(v)
	if s, ok := v.(string); ok {
		text = s
	}
	b, _ := json.Marshal(peerLine{what, text})
	os.Stdout.Write(append(b, '\n'))
}

// bePeer tells what it returns.
func bePeer(f func(o *peerOrder, c *net.UnixConn, key Key) error) int {
	var o peerOrder
	err := json.Unmarshal([]byte(os.Getenv(peerEnv)), &o)
	var c *net.UnixConn
	if conn, e := connOf(3); e == nil {
		c = conn.(*net.UnixConn)
	}
	pipe := os.NewFile(4, "key")
	key, e := ReadKey(pipe)
	pipe.Close()
	if err = errors.Join(err, e); err == nil {
		err = f(&o, c, key)
	}
	tell("end", err)
	return 0
}

func (o *peerOrder) options(key Key) Options {
	return Options{Key: key, PeerUIDs: o.UIDs, gate: func(step string) {
		if step == o.DieAt {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}}
}

func (o *peerOrder) library() (ready, error) {
	if o.Pretend != nil {
		return *o.Pretend, nil
	}
	return self()
}

// peerReceiver sends back what the clients send that it gets.
func peerReceiver(o *peerOrder, c *net.UnixConn, key Key) error {
	mine, err := o.library()
	if err != nil {
		return err
	}
	r, err := newReceiver(context.Background(), c, mine, &ReceiverOptions{
		Options: o.options(key),
		Failed:  func(m *Meta, err error) { tell("failed", err) },
	})
	if err != nil {
		return err
	}
	tell("ready", "")
	for {
		got, err := r.Receive(context.Background())
		if err != nil {
			return err
		}
		tell("received", got.Peer())
		go func() {
			defer got.Close()
			conn := got.Conn(nil)
			io.Copy(conn, conn)
			conn.Close()
		}()
	}
}

// peerSender hands its first client over.
func peerSender(o *peerOrder, c *net.UnixConn, key Key) error {
	mine, err := o.library()
	if err != nil {
		return err
	}
	so := o.options(key)
	s, err := newSender(context.Background(), c, mine, &so, nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	tell("ready", l.Addr())
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	server := gssapi.Server(conn, nil)
	if err := server.Handshake(); err != nil {
		return err
	}
	h, err := FromConn(server)
	if err != nil {
		return err
	}
	if o.Early > 0 {
		h.Received = make([]byte, o.Early)
		if _, err := io.ReadFull(h.Conn, h.Received); err != nil {
			return err
		}
	}
	if err := s.Send(context.Background(), h); err != nil {
		return err
	}
	s.Finish()
	<-s.Over()
	return s.Err()
}

// peer is such a process.
type peer struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan peerLine
}

// startPeer starts one with the other end of a session, and the key.
func startPeer(t testing.TB, role string, o *peerOrder, conn *net.UnixConn, key Key, set func(*exec.Cmd)) *peer {
	t.Helper()
	cmd, err := Self()
	check(t, err)
	order, err := json.Marshal(o)
	check(t, err)
	cmd.Env = append(os.Environ(), roleEnv+"=peer "+role, peerEnv+"="+string(order))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	keyOut, keyIn, err := os.Pipe()
	check(t, err)
	theirs := keyOut // a descriptor has to be there
	if conn != nil {
		theirs, err = conn.File()
		check(t, err)
		conn.Close()
	}
	cmd.ExtraFiles = []*os.File{theirs, keyOut}
	if set != nil {
		set(cmd)
	}
	err = cmd.Start()
	theirs.Close()
	keyOut.Close()
	if err == nil {
		_, err = key.WriteTo(keyIn)
	}
	keyIn.Close()
	check(t, err)
	p := &peer{t, cmd, make(chan peerLine, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.lines)
		in := bufio.NewScanner(out)
		for in.Scan() {
			var l peerLine
			if json.Unmarshal(in.Bytes(), &l) == nil {
				p.lines <- l
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		cmd.Wait()
	})
	return p
}

// hear returns what the process says next, which must be about what; of one that
// has died that is "death".
func (p *peer) hear(what string) string {
	p.t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			l.What = "death"
		}
		if l.What != what {
			p.t.Fatalf("%s %q, want %s", l.What, l.Text, what)
		}
		return l.Text
	case <-time.After(30 * time.Second):
		p.t.Fatalf("the process says nothing, want %s", what)
		return ""
	}
}

// send and receive make the end of a session that is here.
func (p *peer) send(c *net.UnixConn, o Options) (*Sender, error) {
	s, err := NewSender(context.Background(), c, &o)
	if err == nil {
		p.t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func (p *peer) receive(c *net.UnixConn, o Options) (*Receiver, error) {
	r, err := NewReceiver(context.Background(), c, &ReceiverOptions{Options: o})
	if err == nil {
		p.t.Cleanup(func() { r.Close() })
	}
	return r, err
}

// wantEcho fails the test unless what the client sends comes back.
func wantEcho(t testing.TB, client *gssapi.Conn) {
	t.Helper()
	text := "hello there"
	_, err := client.Write([]byte(text))
	check(t, err)
	back := make([]byte, len(text))
	_, err = io.ReadFull(client, back)
	check(t, err)
	if string(back) != text {
		t.Fatalf("%q came back", back)
	}
}

func wantCut(t testing.TB, client *gssapi.Conn) {
	t.Helper()
	if n, err := client.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !isGone(err) {
		t.Errorf("the client: %d, %v", n, err)
	}
}

// otherLibrary names a library that is not this process'.
func otherLibrary(t testing.TB) string {
	t.Helper()
	if fakegss.NoLoading != "" {
		skip(t, fakegss.NoLoading)
	}
	l, err := gss.Library()
	check(t, err)
	if l.Kind == gss.KindMIT {
		return string(gss.KindHeimdal)
	}
	return string(gss.KindMIT)
}

func withEnv(kv string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, kv) }
}

// A context goes to the very same library, and who has another is told before
// anything is exported.
func TestOtherLibrary(t *testing.T) {
	keepsFiles(t)
	l, err := gss.Library()
	check(t, err)
	other := otherLibrary(t)
	with := withEnv("GSSAPI_LIBRARY=" + other)
	for _, role := range []string{"receiver", "sender"} {
		t.Run(role, func(t *testing.T) {
			c, d := packets(t)
			key := NewKey()
			p := startPeer(t, role, new(peerOrder), d, key, with)
			var err error
			if role == "receiver" {
				_, err = p.send(c, Options{Key: key})
			} else {
				_, err = p.receive(c, Options{Key: key})
			}
			there := p.hear("end")
			if strings.Contains(there, "none of the GSS-API libraries") || strings.Contains(there, "no such file") {
				skip(t, "there is no other library here: "+there)
			}
			if !errors.Is(err, ErrLibrary) {
				t.Fatalf("%v, there: %s", err, there)
			}
			for _, text := range []string{err.Error(), there} {
				for _, want := range []string{string(l.Kind), other, l.BuildID, "the same library only", "GSSAPI_LIBRARY"} {
					if !strings.Contains(text, want) {
						t.Errorf("%q does not say %q", text, want)
					}
				}
			}
		})
	}
	// One that lies gets the token of another library, and has no use for it.
	t.Run("that says it is the same", func(t *testing.T) {
		needsExport(t)
		c, d := packets(t)
		key := NewKey()
		mine, err := self()
		check(t, err)
		mine.Places, mine.Max = 1, 1<<20
		p := startPeer(t, "receiver", &peerOrder{Pretend: &mine}, d, key, with)
		s, err := p.send(c, Options{Key: key})
		check(t, err)
		p.hear("ready")
		client, h := established(t, nil, nil)
		err = s.Send(context.Background(), h)
		if why := p.hear("failed"); err == nil || !strings.Contains(err.Error(), "could not take it") || why == "" {
			t.Errorf("%v, there: %s", err, why)
		}
		wantLost(t, client, h, err)
		wantCounts(t, s, Counts{Offered: 1, Lost: 1})
	})
}

// A receiver that dies takes nothing with it but what it had.
func TestReceiverDies(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, step := range []string{"offer", "import", "acknowledge", "later"} {
			t.Run(step, func(t *testing.T) {
				c, d := pair(t)
				key := NewKey()
				p := startPeer(t, "receiver", &peerOrder{DieAt: step}, d, key, nil)
				s, err := p.send(c, Options{Key: key})
				check(t, err)
				p.hear("ready")
				client, h := established(t, nil, nil)
				err = s.Send(context.Background(), h)
				switch step {
				case "offer":
					if !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
						t.Errorf("%v", err)
					}
					wantUsable(t, client, h)
					wantCounts(t, s, Counts{Offered: 1, Refused: 1})
				case "later":
					check(t, err)
					p.hear("received")
					wantEcho(t, client)
					check(t, p.cmd.Process.Kill())
					wantCut(t, client)
					<-s.Over()
					wantCounts(t, s, Counts{Offered: 1, Taken: 1, Active: 1})
				default:
					if !errors.Is(err, ErrClosed) {
						t.Errorf("%v", err)
					}
					wantLost(t, client, h, err)
					wantCounts(t, s, Counts{Offered: 1, Lost: 1})
				}
				p.hear("death")
				<-s.Over()
				if err := s.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "has died") {
					t.Errorf("%v", err)
				}
			})
		}
	})
}

// A sender that dies leaves the connection to the receiver, or to nobody.
func TestSenderDies(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	target, err := gssapi.HostService("host", "server.test")
	check(t, err)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, step := range []string{"export", "send", "part", "sent", "never"} {
			t.Run(step, func(t *testing.T) {
				c, d := pair(t)
				key := NewKey()
				o := &peerOrder{DieAt: step}
				if step == "part" {
					o.Early = 2 * maxPart
				}
				p := startPeer(t, "sender", o, d, key, nil)
				r, err := p.receive(c, Options{Key: key})
				check(t, err)
				conn, err := net.Dial("tcp", p.hear("ready"))
				check(t, err)
				client := gssapi.Client(conn, target, nil)
				defer client.Close()
				done := make(chan error, 1)
				go func() {
					err := client.Handshake()
					if err == nil && o.Early > 0 {
						_, err = client.Write(make([]byte, o.Early))
					}
					done <- err
				}()
				got, err := r.Receive(context.Background())
				switch step {
				case "sent", "never":
					check(t, err)
					check(t, <-done)
					converse(t, client, got.Conn(nil))
					if step == "never" { // it is told of the end
						check(t, got.Close())
						_, err = r.Receive(context.Background())
						if end := p.hear("end"); err != io.EOF || end != "<nil>" {
							t.Errorf("%v, there: %s", err, end)
						}
						return
					}
					if _, err := r.Receive(context.Background()); err != io.ErrUnexpectedEOF {
						t.Errorf("%v", err)
					}
					converse(t, client, got.Conn(nil)) // it has survived its sender
					got.Close()
				default:
					if got != nil || err != io.ErrUnexpectedEOF {
						t.Errorf("%v, %v", got, err)
					}
					<-done
					wantCut(t, client)
				}
				p.hear("death")
				<-r.Idle()
			})
		}
	})
}

// ---- junk ----

// peerVictim makes a session of each connection to its socket, as one end and the
// other in turn, and takes all that comes. It says in the end what is left.
func peerVictim(o *peerOrder, c *net.UnixConn, key Key) error {
	network := "unixpacket"
	if o.Stream {
		network = "unix"
	}
	l, err := net.ListenUnix(network, &net.UnixAddr{Name: o.Path, Net: network})
	if err != nil {
		return err
	}
	tell("ready", "")
	var imports, sessions atomic.Int64
	before := openFiles()
	for n := 0; ; n++ {
		c, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		mine := anyLibrary
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if n%2 == 1 {
			s, err := newSender(ctx, c, mine, &Options{Key: key}, nil)
			if err == nil {
				sessions.Add(1)
				<-s.Over()
			}
		} else {
			r, err := newReceiver(ctx, c, mine, &ReceiverOptions{
				Options: Options{Key: key},
				Trace:   &gssapi.Trace{Imported: func(gssapi.Event) { imports.Add(1) }},
			})
			for err == nil {
				sessions.Add(1)
				_, err = r.Receive(ctx)
			}
			if errors.Is(err, io.EOF) && r != nil {
				r.Close()
			}
		}
		cancel()
		if n%100 == 99 {
			left := openFiles()
			for to, n := range before {
				if left[to] -= n; left[to] <= 0 {
					delete(left, to)
				}
			}
			tell("alive", fmt.Sprintf("%d imports, %d descriptors, %d handles", imports.Load(), len(left), gss.Live()))
			tell("sessions", fmt.Sprint(sessions.Load()))
		}
	}
}

// What anybody sends, with the key or without, harms neither end.
func TestJunk(t *testing.T) {
	keepsFiles(t)
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream %v", stream), func(t *testing.T) {
			if !stream && socketNetwork == "unix" {
				skip(t, "this system has no packets in the unix domain")
			}
			o := &peerOrder{Path: filepath.Join(t.TempDir(), "socket"), Stream: stream}
			key := NewKey()
			p := startPeer(t, "victim", o, nil, key, nil)
			p.hear("ready")
			seed := time.Now().UnixNano()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewSource(seed))
			network := "unixpacket"
			if stream {
				network = "unix"
			}
			const rounds = 600
			for n := range rounds {
				c, err := net.DialUnix(network, nil, &net.UnixAddr{Name: o.Path, Net: network})
				check(t, err)
				dir := toReceiver
				if n%2 == 1 {
					dir = toSender
				}
				junk(newWire(t, c, dir), key, rnd)
				c.Close()
				if n%100 == 99 {
					if said := p.hear("alive"); said != "0 imports, 0 descriptors, 0 handles" {
						t.Fatalf("after %d: %s", n+1, said)
					}
					if p.hear("sessions") == "0" {
						t.Error("nobody has come to a session")
					}
				}
			}
		})
	}
}

// junk is what somebody may send.
func junk(w *wire, key Key, rnd *rand.Rand) {
	x := newSent(w.t)
	defer x.file.Close()
	defer x.peer.Close()
	w.conn.SetDeadline(time.Now().Add(20 * time.Second))
	fds := func() (fds []int) {
		for rnd.Intn(3) == 0 {
			fds = append(fds, x.fd())
		}
		return fds
	}
	spoil := func(b []byte) []byte {
		b = slices.Clone(b)
		for range rnd.Intn(4) {
			switch n := rnd.Intn(len(b) + 1); rnd.Intn(4) {
			case 0:
				b = b[:n]
			case 1:
				b = slices.Insert(b, n, byte(rnd.Int()))
			default:
				if n < len(b) {
					b[n] = byte(rnd.Int())
				}
			}
		}
		return b
	}
	noise := func(n int) []byte {
		b := make([]byte, rnd.Intn(n))
		rnd.Read(b)
		return b
	}
	switch rnd.Intn(4) {
	case 0: // without a hello
		for range rnd.Intn(3) {
			w.raw(noise(2*maxPacket), fds()...)
		}
		return
	case 1:
		w.put(spoil(hello(w.dir)), fds()...)
		w.put(noise(maxPacket), fds()...)
		return
	}
	places := anyLibrary
	places.Max, places.Places = 1<<20, 1
	w.greetWith(key, &message{Kind: isReady, Ready: &places})
	for range 1 + rnd.Intn(5) {
		all := messages() // its contexts are of no connection that was offered
		m := all[rnd.Intn(len(all))]
		m.ID = uint64(rnd.Intn(3))
		plain := encoded(w.t, m)
		if rnd.Intn(3) > 0 {
			plain = spoil(plain)
		}
		typ := packetLast
		if rnd.Intn(5) == 0 {
			typ = packetMore
		}
		f := fds()
		p := w.out.seal(nil, plain, typ, byte(min(len(f), 1)))
		if rnd.Intn(5) == 0 {
			p = spoil(p)
		}
		w.put(p, f...)
	}
}

// ---- out of descriptors ----

// peerFull is a receiver that has as many descriptors as it may when a connection
// comes: that one fails, and the session goes on.
func peerFull(*peerOrder, *net.UnixConn, Key) error {
	t := &fakeT{}
	defer t.cleanup()
	w, v := againstReceiver(t, packets, nil)
	x := newSent(t)
	o := &offer{Socket: x.identity(t), Received: 100}
	w.offer(7, o)
	w.offer(8, o)
	p := w.packet(aContext(7), 1)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	var fill []int
	for {
		fd, err := syscall.Dup(x.fd())
		if err != nil {
			break
		}
		if fill = append(fill, fd); len(fill) > 20 {
			limit := old
			setNumber(&limit.Cur, slices.Max(fill))
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				return err
			}
		}
	}
	w.put(p, x.fd())
	text := w.hear(isFailed).Text
	closeAll(fill)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	tell("failed", text)
	w.say(aContext(8), x.fd())
	w.hear(isFailed) // for another reason
	tell("imports", fmt.Sprint(v.imports.Load()))
	w.dispose()
	return <-v.over
}

// setNumber sets one whose type is the system's.
func setNumber[T int64 | uint64](to *T, n int) { *to = T(n) }

// fakeT is a testing.TB in a process that runs no tests.
type fakeT struct {
	testing.TB
	after []func()
}

func (t *fakeT) Helper()           {}
func (t *fakeT) Cleanup(f func())  { t.after = append(t.after, f) }
func (t *fakeT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (t *fakeT) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func (t *fakeT) cleanup() {
	for _, f := range slices.Backward(t.after) {
		f()
	}
}

func TestOutOfDescriptors(t *testing.T) {
	p := startPeer(t, "full", new(peerOrder), nil, NewKey(), nil)
	if said := p.hear("failed"); !strings.Contains(said, "as many open files as it may") {
		t.Errorf("%q", said)
	}
	if n := p.hear("imports"); n != "1" {
		t.Errorf("%s imports", n)
	}
	if end := p.hear("end"); end != io.ErrUnexpectedEOF.Error() {
		t.Errorf("%s", end)
	}
}
