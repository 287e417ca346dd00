//go:build unix

package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
)

// realWire is a Receiver of this process' library, and the sender's end, which has a
// genuine context to announce as something else.
func realWire(t testing.TB, pair socketPair, o *ReceiverOptions) (*wire, *Receiver) {
	t.Helper()
	c, d := pair(t)
	mine, err := self()
	check(t, err)
	key := NewKey()
	if o == nil {
		o = new(ReceiverOptions)
	}
	o.Key = key
	w := &wire{t: t}
	var r *Receiver
	at(t, func() (err error) {
		w.link, err = connect(context.Background(), c, toReceiver, mine, &Options{Key: key})
		return err
	}, func() (err error) {
		r, err = NewReceiver(context.Background(), d, o)
		return err
	})
	t.Cleanup(func() { w.dispose(); r.Close() })
	return w, r
}

// What came must be what was announced, or it is closed.
func TestAnnouncedAnother(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	root, err := gssapi.ImportName("root@"+realm.Name(), gssapi.NTUserName)
	check(t, err)
	root, err = root.Canonicalize(context.Background(), gssapi.MechKrb5)
	check(t, err)
	for what, c := range map[string]struct {
		change  func(o *offer, m *message)
		want    string
		imports int
	}{
		"what it is":       {func(*offer, *message) {}, "", 1},
		"another name":     {func(o *offer, m *message) { o.Initiator = principalOf(root) }, "its initiator is \"alice@", 1},
		"another text":     {func(o *offer, m *message) { o.Initiator.Text = "root" }, "its initiator is", 1},
		"other bytes":      {func(o *offer, m *message) { o.Initiator.Exported = principalOf(root).Exported }, "its initiator is", 1},
		"no name":          {func(o *offer, m *message) { o.Initiator = principal{} }, "its initiator is", 1},
		"another service":  {func(o *offer, m *message) { o.Acceptor = o.Initiator }, "its acceptor is", 1},
		"another mech":     {func(o *offer, m *message) { o.Mech = []byte(gssapi.MechSPNEGO) }, "its mechanism is 1.2.840.113554.1.2.2, announced was 1.3.6.1.5.5.2", 1},
		"no mech":          {func(o *offer, m *message) { o.Mech = nil }, "its mechanism is", 1},
		"fewer flags":      {func(o *offer, m *message) { o.Flags &^= uint32(gssapi.FlagConf) }, "its flags are", 1},
		"more flags":       {func(o *offer, m *message) { o.Flags |= uint32(gssapi.FlagDeleg) }, "its flags are", 1},
		"the other end":    {func(o *offer, m *message) { o.Local = !o.Local }, "it is the other end of the connection", 1},
		"a longer life":    {func(o *offer, m *message) { o.Expiry += int64(time.Minute) }, "it expires at", 1},
		"a shorter life":   {func(o *offer, m *message) { o.Expiry -= int64(time.Minute) }, "it expires at", 1},
		"no end":           {func(o *offer, m *message) { o.Expiry = 0 }, "it expires at", 1},
		"fewer bytes":      {func(o *offer, m *message) { o.Received-- }, "9 bytes of the client came with it, announced were 8", 0},
		"more bytes":       {func(o *offer, m *message) { o.Received++ }, "9 bytes of the client came with it, announced were 10", 0},
		"no bytes":         {func(o *offer, m *message) { m.blobs[blobReceived] = nil }, "0 bytes of the client", 0},
		"a credential":     {func(o *offer, m *message) { o.Delegated = true }, "a delegated credential was announced and did not come", 0},
		"none":             {func(o *offer, m *message) { m.blobs[blobCredential] = []byte("x") }, "came without", 0},
		"one that is none": {func(o *offer, m *message) { o.Delegated = true; m.blobs[blobCredential] = []byte("x") }, "", 1},
		"another socket":   {func(o *offer, m *message) { o.Socket[len(o.Socket)-1] ^= 1 }, "another connection", 0},
		"no socket":        {func(o *offer, m *message) { o.Socket = nil }, "another connection", 0},
		"no token":         {func(o *offer, m *message) { m.blobs[blobToken] = []byte("x") }, "import", 1},
		"another library's": {func(o *offer, m *message) {
			m.blobs[blobToken] = bytes.Repeat([]byte{0xff}, 16)
		}, "import", 1},
	} {
		eachSocket(t, func(t *testing.T, pair socketPair) {
			for _, mech := range []gssapi.OID{gssapi.MechKrb5, gssapi.MechSPNEGO} {
				t.Run(what+", "+mech.String(), func(t *testing.T) {
					good := what == "what it is"
					imports := 0
					failed := make(chan error, 1)
					w, r := realWire(t, pair, &ReceiverOptions{
						Places: 1,
						Trace:  &gssapi.Trace{Imported: func(gssapi.Event) { imports++ }},
						Failed: func(_ *Meta, err error) { failed <- err },
					})
					client, h := established(t, &gssapi.InitiatorOptions{Mech: mech}, nil)
					h.Received = []byte("received.")
					o, socket, received, err := h.offer(1 << 20)
					check(t, err)
					token, err := h.Context.Export()
					check(t, err)
					m := &message{Kind: isContext, ID: 7, blobs: [][]byte{token, received, nil}}
					c.change(o, m)

					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					result := make(chan error, 1)
					go func() {
						got, err := r.Receive(ctx)
						if got != nil {
							defer got.Close()
						}
						if (got != nil) != good {
							err = fmt.Errorf("%v, %w", got, err)
						}
						result <- err
					}()
					w.offer(7, o)
					check(t, socket.withFD(func(fd int) error { return w.write(m, fd) }))
					h.Conn.Close()
					if good {
						w.hear(isTaken)
						check(t, <-result)
						return
					}
					text := w.hear(isFailed).Text
					if err := <-failed; !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), text) || text == "" {
						t.Errorf("%v, the sender was told %q, want %q", err, text, c.want)
					}
					if imports != c.imports {
						t.Errorf("%d imports, want %d", imports, c.imports)
					}
					if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("the client: %v", err)
					}
					w.offer(8, o) // the session goes on, and the place is free
					cancel()
					if err := <-result; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
			}
		})
	}
}

// MIT's import reads the files of the sender's configuration: a receiver that
// cannot refuses before the export, and says what to do.
func TestConfig(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	check(t, os.WriteFile(there, nil, 0o600))
	w, r := realWire(t, packets, nil)
	go r.Receive(context.Background())
	for _, files := range [][]string{nil, {there}, {there, dir}} {
		w.offer(1, &offer{Config: files})
		w.say(&message{Kind: isCancel, ID: 1}, noFD)
	}
	gone := filepath.Join(dir, "gone")
	w.say(&message{Kind: isOffer, ID: 2, Offer: &offer{Config: []string{there, gone}}, blobs: [][]byte{nil}}, noFD)
	if m := w.hear(isRefuse); !strings.Contains(m.Text, gone) || !strings.Contains(m.Text, "must be able to read") || m.Busy {
		t.Errorf("%+v", m)
	}

	// What the sender says is what it can read itself.
	var config []string
	s, r := session(t, &ReceiverOptions{Admit: func(m *Meta) error { return errEnough }})
	go r.Receive(context.Background())
	_, h := established(t, nil, nil)
	t.Setenv("KRB5_CONFIG", strings.Join([]string{gone, realm.Krb5Conf(), realm.Krb5Conf(), "", there}, ":"))
	if err := s.Send(context.Background(), h); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), errEnough.Error()) {
		t.Errorf("%v", err)
	}
	o, _, _, err := h.offer(1 << 20)
	check(t, err)
	if l, _ := gss.Library(); l.Kind == gss.KindMIT {
		config = []string{realm.Krb5Conf(), there}
	}
	if fmt.Sprint(o.Config) != fmt.Sprint(config) {
		t.Errorf("%v, want %v", o.Config, config)
	}
}

// What a file of MIT's configuration includes, as MIT reads it.
func TestIncluded(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	check(t, os.Mkdir(at("d"), 0o700))
	for name, text := range map[string]string{
		"first":       "\ninclude " + at("second") + " \t\n[libdefaults]\n include = " + at("no") + "\ninclude=" + at("no") + "\ninclude\nincludedir\t" + at("d") + "\nincludes " + at("no"),
		"second":      "include " + at("first") + "\ninclude " + at("gone") + "\ninclude " + at("third") + "\n",
		"third":       "",
		"d/B-1_":      "include " + at("third"),
		"d/a.b.conf":  "",
		"d/.conf":     "include " + at("no"),
		"d/.c.conf":   "include " + at("no"),
		"d/a.conf~":   "include " + at("no"),
		"d/z.rpmsave": "include " + at("no"),
	} {
		check(t, os.WriteFile(at(name), []byte(text), 0o600))
	}
	want := []string{at("first"), at("second"), at("gone"), at("third"), at("d"), at("d/B-1_"), at("d/a.b.conf")}
	if d := cmp.Diff(want, withIncluded(nil, at("first"))); d != "" {
		t.Error(d)
	}
}

// Many who receive from one sender, and many senders that have one context: each
// context comes once.
func TestOneContext(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	const many = 50
	t.Run("receives", func(t *testing.T) {
		s, r := session(t, nil)
		client, h := established(t, nil, nil)
		got := make(chan *Received, many)
		var all sync.WaitGroup
		for range many {
			all.Go(func() {
				for {
					x, err := r.Receive(context.Background())
					if err != nil {
						if err != io.EOF {
							t.Error(err)
						}
						return
					}
					got <- x
				}
			})
		}
		check(t, s.Send(context.Background(), h))
		one := <-got
		converse(t, client, one.Conn(nil))
		one.Close()
		s.Finish()
		all.Wait()
		if len(got) > 0 {
			t.Errorf("%d more have got it", len(got))
		}
	})
	t.Run("sends", func(t *testing.T) {
		client, h := established(t, nil, nil)
		got := make(chan *Received, many)
		results := make(chan error, many)
		var senders []*Sender
		var all sync.WaitGroup
		for range many {
			s, r := session(t, nil)
			senders = append(senders, s)
			all.Go(func() {
				for {
					x, err := r.Receive(context.Background())
					if err != nil {
						return
					}
					got <- x
				}
			})
		}
		for _, s := range senders {
			all.Go(func() {
				results <- s.Send(context.Background(), h)
				s.Finish()
			})
		}
		one := <-got
		converse(t, client, one.Conn(nil))
		one.Close()
		all.Wait()
		sent := 0
		for range many {
			switch err := <-results; {
			case err == nil:
				sent++
			case errors.Is(err, ErrLost):
				t.Error(err)
			}
		}
		if sent != 1 || len(got) > 0 {
			t.Errorf("%d have sent it, %d more have got it", sent, len(got))
		}
		var c Counts
		for _, s := range senders {
			<-s.Over()
			n := s.Counts()
			c.Taken, c.Lost, c.Pending, c.Active = c.Taken+n.Taken, c.Lost+n.Lost, c.Pending+n.Pending, c.Active+n.Active
		}
		if c != (Counts{Taken: 1}) {
			t.Errorf("%+v", c)
		}
	})
	// All that the sender says is said to all, who have the same key.
	t.Run("copies", func(t *testing.T) {
		key := NewKey()
		mine, err := self()
		check(t, err)
		client, h := established(t, nil, nil)
		imports := make(chan string, many)
		got := make(chan *Received, many)
		errs := make(chan error, many)
		var ends []*wire
		for range many {
			c, d := packets(t)
			ends = append(ends, newWire(t, c, toReceiver))
			go func() {
				r, err := NewReceiver(context.Background(), d, &ReceiverOptions{
					Options: Options{Key: key},
					Trace:   &gssapi.Trace{Imported: func(e gssapi.Event) { imports <- e.Op }},
				})
				for err == nil {
					var x *Received
					if x, err = r.Receive(context.Background()); err == nil {
						got <- x
					}
				}
				errs <- err
			}()
		}
		c, d := packets(t)
		sender := make(chan error, 1)
		go func() {
			s, err := newSender(context.Background(), c, mine, &Options{Key: key}, nil)
			if err == nil {
				err = s.Send(context.Background(), h)
				s.Finish()
				<-s.Over()
			}
			sender <- err
		}()
		relay := newWire(t, d, toSender)
		back := make(chan struct{})
		go func() { // from one of them to the sender
			defer close(back)
			buf := make([]byte, maxPacket)
			for {
				p, _, err := ends[0].sock.read(buf)
				if err != nil {
					relay.conn.Close()
					return
				}
				relay.put(p)
			}
		}()
		for {
			p, fds, err := relay.sock.read(relay.in.packet)
			if err != nil {
				break
			}
			for _, w := range ends {
				w.put(p, fds...)
			}
			closeAll(fds)
			if len(fds) > 0 {
				one := <-got
				converse(t, client, one.Conn(nil))
				one.Close()
			}
		}
		<-back
		check(t, <-sender)
		for _, w := range ends {
			w.conn.Close()
		}
		refused := 0
		for range many {
			if err := <-errs; errors.Is(err, ErrMessage) {
				refused++
			} else if err != io.EOF {
				t.Error(err)
			}
		}
		if refused != many-1 || len(imports) != 1 || len(got) > 0 {
			t.Errorf("%d have refused it, %d imported, %d more received, want %d, 1, 0", refused, len(imports), len(got), many-1)
		}
	})
}

// ctx ends the wait of Receive, and nothing is lost by it.
func TestReceiveContext(t *testing.T) {
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		mine, err := self()
		check(t, err)
		c, d := pair(t)
		key := NewKey()
		w := &wire{t: t}
		var r *Receiver
		at(t, func() (err error) {
			w.link, err = connect(context.Background(), c, toReceiver, mine, &Options{Key: key})
			return err
		}, func() (err error) {
			r, err = NewReceiver(context.Background(), d, &ReceiverOptions{Options: Options{Key: key}})
			return err
		})
		defer r.Close()
		defer w.dispose()
		ended, cancel := context.WithCancelCause(context.Background())
		cancel(errEnough)
		if _, err := r.Receive(ended); !errors.Is(err, errEnough) {
			t.Errorf("%v", err)
		}
		// receive waits, until enough is called.
		receive := func() (enough func()) {
			ctx, cancel := context.WithCancelCause(context.Background())
			result := make(chan error, 1)
			go func() {
				_, err := r.Receive(ctx)
				result <- err
			}()
			return func() {
				t.Helper()
				cancel(errEnough)
				if err := <-result; !errors.Is(err, errEnough) {
					t.Fatalf("%v", err)
				}
			}
		}
		for range 3 {
			receive()()
		}
		// A message in parts, with a descriptor, over several of them.
		x := newSent(t)
		enough := receive()
		w.offer(7, &offer{Socket: x.identity(t), Received: 3 * maxPart})
		enough()
		m := aContext(7)
		m.blobs[blobReceived] = make([]byte, 3*maxPart)
		plain := encoded(t, m)
		fds := []int{x.fd()}
		for len(plain) > maxPart {
			p := w.out.seal(nil, plain[:maxPart], packetMore, byte(len(fds)))
			plain = plain[maxPart:]
			n := len(p)
			if w.sock.stream {
				p = framed(p)
				n = len(p) / 2
			}
			enough := receive()
			w.raw(p[:n], fds...)
			fds = nil
			until(t, func() bool { return !unread(t, d) }, func() string { return "it is not read" })
			enough()
			if n < len(p) {
				w.raw(p[n:])
			}
		}
		enough = receive()
		w.put(w.out.seal(nil, plain, packetLast, 0))
		w.hear(isFailed) // it came to C, which has no use for it
		enough()
		x.wantClosed(t)
		// Who has given up gets nothing, though there is something.
		w.say(&message{Kind: isOffer, ID: 8, Offer: new(offer), blobs: [][]byte{nil}}, noFD)
		until(t, func() bool { return unread(t, d) }, func() string { return "it does not come" })
		for range 20 {
			if _, err := r.Receive(ended); !errors.Is(err, errEnough) || !unread(t, d) {
				t.Errorf("%v", err)
			}
		}
		enough = receive()
		w.hear(isAccept)
		enough()
		// Others wait for their turn as long as they like.
		r.turn <- struct{}{}
		receive()()
		<-r.turn
	})
}

// Finish, and what it waits for.
func TestFinish(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		c, d := pair(t)
		s, r := sessionOver(t, c, d, nil, nil)
		_, h := established(t, nil, nil)
		active := pass(t, s, r, h)

		hold := newHold("export")
		s.link.gate = hold.gate
		_, h = established(t, nil, nil)
		sent := make(chan error, 1)
		go func() { sent <- s.Send(context.Background(), h) }()
		received := make(chan *Received, 1)
		over := make(chan error, 1)
		go func() {
			for {
				got, err := r.Receive(context.Background())
				if err != nil {
					over <- err
					return
				}
				received <- got
			}
		}()
		<-hold.reached
		s.Finish()
		s.Finish()
		_, other := established(t, nil, nil)
		if err := s.Send(context.Background(), other); !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
			t.Errorf("Send after Finish: %v", err)
		}
		close(hold.on)
		check(t, <-sent) // what was under way goes on
		late := <-received
		if err := <-over; err != io.EOF {
			t.Errorf("%v", err)
		}
		if _, err := r.Receive(context.Background()); err != io.EOF {
			t.Errorf("%v", err)
		}
		open := func() bool {
			select {
			case <-s.Over():
			case <-r.Idle():
			default:
				return true
			}
			return false
		}
		if !open() || s.Err() != nil {
			t.Fatalf("the session is over before its connections: %v", s.Err())
		}
		active.Close()
		wantCounts(t, s, Counts{Offered: 2, Taken: 2, Done: 1, Active: 1})
		if !open() {
			t.Fatal("the session is over before its last connection")
		}
		late.Close()
		<-r.Idle()
		<-s.Over()
		if err := s.Err(); err != nil {
			t.Errorf("%v", err)
		}
		wantCounts(t, s, Counts{Offered: 2, Taken: 2, Done: 2})
		if err := s.Send(context.Background(), other); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		check(t, s.Close())
		check(t, r.Close())
	})
}

// The last connections end while the sender says that no more will come: their
// ends are told all the same.
func TestFinishRace(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	for range 50 {
		s, r := session(t, nil)
		_, h := established(t, nil, nil)
		got := pass(t, s, r, h)
		var all sync.WaitGroup
		all.Go(func() { got.Close() })
		all.Go(func() { s.Finish() })
		all.Go(func() {
			if _, err := r.Receive(context.Background()); err != io.EOF {
				t.Error(err)
			}
		})
		all.Wait()
		<-s.Over()
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		wantCounts(t, s, Counts{Offered: 1, Taken: 1, Done: 1})
		<-r.Idle()
	}
}

// Leave keeps what comes next away, and lets come what is on its way.
func TestLeave(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		c, d := pair(t)
		s, r := sessionOver(t, c, d, nil, nil)
		hold := newHold("export")
		s.link.gate = hold.gate
		_, h := established(t, nil, nil)
		sent := make(chan error, 1)
		go func() { sent <- s.Send(context.Background(), h) }()
		received := make(chan *Received, 1)
		over := make(chan error, 1)
		go func() {
			for {
				got, err := r.Receive(context.Background())
				if err != nil {
					over <- err
					return
				}
				received <- got
			}
		}()
		<-hold.reached
		check(t, r.Leave())
		check(t, r.Leave())
		until(t, s.finishing, func() string { return "the sender has not heard of it" })
		client, other := established(t, nil, nil)
		if err := s.Send(context.Background(), other); !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		wantUsable(t, client, other)
		close(hold.on)
		check(t, <-sent)
		if err := <-over; err != io.EOF {
			t.Errorf("%v", err)
		}
		(<-received).Close()
		<-s.Over()
		check(t, s.Err())
		<-r.Idle()
		wantCounts(t, s, Counts{Offered: 1, Taken: 1, Done: 1})
	})
	w, v := againstReceiver(t, packets, nil)
	check(t, v.Leave())
	w.hear(isLeave)
	w.say(&message{Kind: isOffer, ID: 1, Offer: new(offer), blobs: [][]byte{nil}}, noFD) // it has not heard of it
	if m := w.hear(isRefuse); !m.Busy {
		t.Errorf("%+v", m)
	}
	w.dispose()
	v.wantOver("the end", io.ErrUnexpectedEOF)
	if err := v.Leave(); err != nil {
		t.Error(err)
	}
	w, v = againstReceiver(t, packets, nil)
	w.dispose()
	v.wantOver("the end", io.ErrUnexpectedEOF)
	if err := v.Leave(); err == nil {
		t.Error("nobody heard of it")
	}
}

// unread reports whether there is something that c has not read.
func unread(t testing.TB, c *net.UnixConn) bool {
	t.Helper()
	raw, err := c.SyscallConn()
	check(t, err)
	var e error
	check(t, raw.Control(func(fd uintptr) {
		_, _, e = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}))
	return e == nil
}

// Close ends the session; what was handed over before stays where it is.
func TestCloseSession(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for _, step := range []string{"export", "send"} {
			for _, side := range []string{"sender", "receiver"} {
				t.Run(side+" before "+step, func(t *testing.T) {
					c, d := pair(t)
					s, r := sessionOver(t, c, d, nil, nil)
					client, h := established(t, nil, nil)
					active := pass(t, s, r, h)
					hold := newHold(step)
					s.link.gate = hold.gate
					client2, h := established(t, nil, nil)
					sent := make(chan error, 1)
					go func() { sent <- s.Send(context.Background(), h) }()
					over := make(chan error, 1)
					go func() {
						_, err := r.Receive(context.Background())
						over <- err
					}()
					<-hold.reached
					wantEnd := io.ErrUnexpectedEOF
					if side == "sender" {
						check(t, s.Close())
					} else {
						check(t, r.Close())
						wantEnd = ErrClosed
						<-s.Over()
					}
					close(hold.on)
					err := <-sent
					if !errors.Is(err, ErrClosed) {
						t.Errorf("%v", err)
					}
					if step == "export" {
						if errors.Is(err, ErrLost) {
							t.Errorf("%v", err)
						}
						wantUsable(t, client2, h)
						wantCounts(t, s, Counts{Offered: 2, Taken: 1, Active: 1, Refused: 1})
					} else {
						wantLost(t, client2, h, err)
						wantCounts(t, s, Counts{Offered: 2, Taken: 1, Active: 1, Lost: 1})
					}
					if err := <-over; err != wantEnd {
						t.Errorf("%v, want %v", err, wantEnd)
					}
					if err := s.Err(); !errors.Is(err, ErrClosed) {
						t.Errorf("%v", err)
					}
					converse(t, client, active.Conn(nil))
					select {
					case <-r.Idle():
						t.Error("idle with a connection")
					default:
					}
					active.Close()
					<-r.Idle()
				})
			}
		}
		for _, side := range []string{"sender", "receiver"} {
			t.Run(side+" when it is on its way", func(t *testing.T) {
				c, d := pair(t)
				s, r := sessionOver(t, c, d, nil, nil)
				export, done := newHold("export"), newHold("sent")
				s.link.gate = func(step string) { export.gate(step); done.gate(step) }
				client, h := established(t, nil, nil)
				sent := make(chan error, 1)
				go func() { sent <- s.Send(context.Background(), h) }()
				ctx, cancel := context.WithCancel(context.Background())
				go func() {
					<-export.reached
					cancel()
				}()
				if _, err := r.Receive(ctx); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				close(export.on)
				<-done.reached
				if side == "sender" {
					check(t, s.Close())
				} else {
					check(t, r.Close())
				}
				close(done.on)
				err := <-sent
				if !errors.Is(err, ErrLost) || !errors.Is(err, ErrClosed) {
					t.Errorf("%v", err)
				}
				wantCounts(t, s, Counts{Offered: 1, Lost: 1})
				if side == "receiver" {
					wantLost(t, client, h, err)
					return
				}
				// Nobody has acknowledged it, but it is there.
				wantLost(t, nil, h, err)
				got, err := r.Receive(context.Background())
				check(t, err)
				converse(t, client, got.Conn(nil))
				if _, err := r.Receive(context.Background()); err != io.ErrUnexpectedEOF {
					t.Errorf("%v", err)
				}
				got.Close()
				<-r.Idle()
			})
		}
	})
}

// Of what a receiver said before it closed its end, nothing is lost, also if it
// has not read all that it was sent.
func TestLastWords(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		asleep := make(chan struct{}) // the sender's reader, after the first answer
		s, w := againstSender(t, pair, nil, func() { <-asleep })
		_, h := established(t, nil, nil)
		sent := make(chan error, 1)
		go func() { sent <- s.Send(context.Background(), h) }()
		id := w.hear(isOffer).ID
		w.say(&message{Kind: isAccept, ID: id}, noFD)
		w.hear(isContext)
		_, other := established(t, nil, nil)
		offered := make(chan error, 1)
		go func() { offered <- s.Send(context.Background(), other) }()
		until(t, func() bool { return unread(t, w.conn) }, func() string { return "the next one is not offered" })
		w.say(&message{Kind: isTaken, ID: id}, noFD)
		w.say(&message{Kind: isDone, N: 1}, noFD)
		w.conn.Close()
		close(asleep)
		if err := <-sent; err != nil {
			t.Errorf("%v", err)
		}
		if err := <-offered; !errors.Is(err, ErrClosed) || errors.Is(err, ErrLost) {
			t.Errorf("%v", err)
		}
		wantCounts(t, s, Counts{Offered: 2, Taken: 1, Done: 1, Refused: 1})
	})
}

// The connection that came is one like others.
func TestReceived(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	s, r := session(t, nil)
	client, h := established(t, nil, nil)
	h.Received = []byte("early")
	got := pass(t, s, r, h)
	c := got.NetConn()
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	early := got.conn.early
	buf := make([]byte, 3)
	for _, want := range []string{"ear", "ly"} {
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v, want %q", buf[:n], err, want)
		}
	}
	if string(early) != "\x00\x00\x00\x00\x00" {
		t.Errorf("what was read is kept: %q", early)
	}
	if r.o.Key.bytes != nil {
		t.Error("the receiver keeps the key")
	}
	_, err := client.NetConn().Write([]byte("late"))
	check(t, err)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "lat" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	check(t, c.SetReadDeadline(time.Unix(1, 0)))
	if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if c.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("%v, want %v", c.RemoteAddr(), client.LocalAddr())
	}
	if _, ok := c.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn); !ok {
		t.Error("below is no TCP connection")
	}
	check(t, c.(interface{ CloseWrite() error }).CloseWrite())
	if n, err := client.NetConn().Read(buf); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if err := (&clientConn{Conn: client}).CloseWrite(); err != nil {
		t.Errorf("%v", err)
	}
	if err := (&clientConn{Conn: struct{ net.Conn }{client}}).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	check(t, c.Close())
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if !got.Context.Established() {
		t.Error("the context went with NetConn")
	}
	check(t, got.Close())
	check(t, got.Close())
	if got.Context.Established() {
		t.Error("the context stays after Close")
	}
	wantCounts(t, s, Counts{Offered: 1, Taken: 1, Done: 1})
	if s.PID() != os.Getpid() || r.SenderPID() != os.Getpid() {
		t.Errorf("%d, %d", s.PID(), r.SenderPID())
	}
}

// A listener is for servers that know nothing of handoffs.
func TestListener(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	s, r := session(t, nil)
	l := NewListener(r)
	if l.Addr().Network() != socketNetwork {
		t.Errorf("%v", l.Addr())
	}
	send := func() (*gssapi.Conn, *Handoff, chan error) {
		client, h := established(t, &gssapi.InitiatorOptions{Flags: gssapi.FlagDeleg}, nil)
		h.SendDelegated = true
		sent := make(chan error, 1)
		go func() { sent <- s.Send(context.Background(), h) }()
		return client, h, sent
	}
	client, _, sent := send()
	c, err := l.Accept()
	check(t, err)
	check(t, <-sent)
	got, ok := FromNetConn(c)
	if !ok || got.Peer().Name != realm.Principal("alice") {
		t.Fatalf("%v, %v", got, ok)
	}
	if _, ok := FromNetConn(client); ok {
		t.Error("that came from elsewhere")
	}
	converse(t, client, got.Conn(nil))
	check(t, c.Close())
	if got.Context.Established() {
		t.Error("the context is open after the connection")
	}
	if _, err := got.Delegated.Info(context.Background()); err == nil {
		t.Error("the credential is there after the connection")
	}

	// What is on its way when the listener is closed is closed.
	hold := newHold("export")
	s.link.gate = hold.gate
	client, h, sent := send()
	accepted := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if c != nil {
			c.Close()
		}
		accepted <- err
	}()
	<-hold.reached
	check(t, l.Close())
	if err := <-accepted; err != net.ErrClosed {
		t.Errorf("%v", err)
	}
	close(hold.on)
	check(t, <-sent)
	wantGoneHere(t, h)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !isGone(err) {
		t.Errorf("the client: %v", err)
	}
	<-s.Over()
	check(t, s.Err())
	wantCounts(t, s, Counts{Offered: 2, Taken: 2, Done: 2})
	check(t, l.Close())
	if _, err := l.Accept(); err != net.ErrClosed {
		t.Errorf("%v", err)
	}

	// And so is what comes to an Accept at that moment.
	ro := new(ReceiverOptions)
	s, r = session(t, &ReceiverOptions{Options: Options{gate: func(step string) { ro.gate(step) }}})
	l = NewListener(r)
	ro.gate = func(step string) {
		if step == "acknowledge" {
			l.Close()
		}
	}
	client, h, sent = send()
	if _, err := l.Accept(); err != net.ErrClosed {
		t.Errorf("%v", err)
	}
	check(t, <-sent)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) && !isGone(err) {
		t.Errorf("the client: %v", err)
	}
	wantGoneHere(t, h)
	<-s.Over()
	wantCounts(t, s, Counts{Offered: 1, Taken: 1, Done: 1})

	s, r = session(t, nil)
	l = NewListener(r)
	s.Finish()
	if _, err := l.Accept(); err != net.ErrClosed {
		t.Errorf("after the last connection: %v", err)
	}
	s, r = session(t, nil)
	l = NewListener(r)
	s.Close()
	if _, err := l.Accept(); err != io.ErrUnexpectedEOF {
		t.Errorf("after the sender's death: %v", err)
	}
	l.Close()
}

// What the receiver itself has ended stays so, and what had ended before does too.
func TestCloseReceiver(t *testing.T) {
	keepsFiles(t)
	w, v := againstReceiver(t, packets, nil)
	w.say(&message{Kind: isBye}, noFD)
	v.wantOver("bye", io.EOF)
	check(t, v.Close())
	if _, err := v.Receive(context.Background()); err != io.EOF {
		t.Errorf("closed after the end: %v", err)
	}
	_, r := realWire(t, packets, nil)
	check(t, r.Close())
	select {
	case <-r.Idle():
	default:
		t.Error("it is not idle after Close")
	}
	if _, err := r.Receive(context.Background()); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

// A session that ends with an error is closed at once, though connections go on.
func TestEndsWithConnection(t *testing.T) {
	needsExport(t)
	keepsFiles(t)
	c, d := packets(t)
	s, r := sessionOver(t, c, d, nil, nil)
	client, h := established(t, nil, nil)
	got := pass(t, s, r, h)
	s.link.out.counter++ // a message is lost
	s.Finish()
	if _, err := r.Receive(context.Background()); !errors.Is(err, ErrMessage) {
		t.Errorf("%v", err)
	}
	<-s.Over()
	converse(t, client, got.Conn(nil))
	check(t, got.Close())
	<-r.Idle()
}

// What is taken back and was not offered gives back no place.
func TestCancelOfNothing(t *testing.T) {
	keepsFiles(t)
	w, _ := againstReceiver(t, packets, &ReceiverOptions{Places: 1})
	w.say(&message{Kind: isCancel, ID: 99}, noFD)
	w.offer(1, new(offer))
	w.say(&message{Kind: isOffer, ID: 2, Offer: new(offer), blobs: [][]byte{nil}}, noFD)
	if m := w.hear(isRefuse); !m.Busy {
		t.Errorf("%+v", m)
	}
}

// Connections that end while the sender is told of others are told, too.
func TestTell(t *testing.T) {
	needsExport(t)
	s, r := session(t, nil)
	var all []*Received
	for range 2 {
		_, h := established(t, nil, nil)
		all = append(all, pass(t, s, r, h))
	}
	r.link.out.turn <- struct{}{} // nothing can be said now
	check(t, all[0].Close())
	until(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.ended == 0
	}, func() string { return "nobody tells" })
	check(t, all[1].Close())
	<-r.link.out.turn
	wantCounts(t, s, Counts{Offered: 2, Taken: 2, Done: 2})
}

// interrupt leaves nothing behind, also if it comes too late.
func TestInterrupt(t *testing.T) {
	w, v := againstReceiver(t, packets, nil)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 {
		w.interrupt(ended)()
	}
	w.say(&message{Kind: isOffer, ID: 1, Offer: new(offer), blobs: [][]byte{nil}}, noFD)
	if _, _, err := w.read(); err != nil {
		t.Error(err)
	}
	w.dispose()
	v.wantOver("the end", io.ErrUnexpectedEOF)

	broken := errors.New("it has read nothing")
	l := new(link)
	if err := l.why(io.EOF); err != io.EOF {
		t.Errorf("%v", err)
	}
	l.broken.Store(&broken)
	if err := l.why(net.ErrClosed); err != broken {
		t.Errorf("%v", err)
	}
	if err := l.why(io.EOF); err != io.EOF {
		t.Errorf("%v", err)
	}
}
