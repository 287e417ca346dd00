package gssapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// safeBuffer is a log that goroutines share.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// sink keeps the events that its trace gets.
type sink struct {
	mu     sync.Mutex
	hooks  []string
	events []Event
}

func (s *sink) hook(name string) func(Event) {
	return func(e Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hooks = append(s.hooks, name)
		s.events = append(s.events, e)
	}
}

func (s *sink) trace() *Trace {
	return &Trace{
		Acquired: s.hook("Acquired"), Stepped: s.hook("Stepped"), Established: s.hook("Established"), MessageFailed: s.hook("MessageFailed"),
		Exported: s.hook("Exported"), Imported: s.hook("Imported"), Blocked: s.hook("Blocked"), Abandoned: s.hook("Abandoned"), Returned: s.hook("Returned"),
	}
}

// take returns what came since the last take.
func (s *sink) take() (hooks []string, events []Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hooks, events = s.hooks, s.events
	s.hooks, s.events = nil, nil
	return hooks, events
}

// await waits for an event of a hook.
func (s *sink) await(t *testing.T, hook string) (found Event) {
	t.Helper()
	await(t, hook, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, h := range s.hooks {
			if h == hook {
				found = s.events[i]
				return true
			}
		}
		return false
	})
	return found
}

// tracedStep is a Step of which there must be one Stepped, and one Established
// if it was the last.
func tracedStep(t *testing.T, c *Context, events *sink, token []byte) []byte {
	t.Helper()
	out := step(t, c, token)
	hooks, es := events.take()
	want := []string{"Stepped"}
	if c.Established() {
		want = append(want, "Established")
	}
	if !slices.Equal(hooks, want) {
		t.Fatalf("%v of %v, want %v", hooks, c, want)
	}
	for _, e := range es {
		if e.Op != "Step" || e.Context != c || e.Err != nil || e.Duration <= 0 {
			t.Errorf("%v: %+v", c, e)
		}
	}
	if e := es[0]; e.Received != len(token) || e.Sent != len(out) || e.Flags != 0 {
		t.Errorf("a token of %d bytes was taken, one of %d bytes returned: %+v", len(token), len(out), e)
	}
	return out
}

func TestTraceOfHandshake(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		var of [2]sink
		i, a := contexts(t, &InitiatorOptions{Mech: mech, Trace: of[0].trace()}, &AcceptorOptions{Trace: of[1].trace()})
		var last [2]Event
		keep := func(n int) *Trace {
			tr := of[n].trace()
			tr.Established = func(e Event) {
				last[n] = e
				of[n].hook("Established")(e)
			}
			return tr
		}
		i.trace, a.trace = keep(0), keep(1)
		began := time.Now()
		for token := []byte(nil); !i.Established() || !a.Established(); {
			if !i.Established() {
				token = tracedStep(t, i, &of[0], token)
			}
			if !a.Established() {
				token = tracedStep(t, a, &of[1], token)
			}
		}
		took := time.Since(began)
		for n, c := range []*Context{i, a} {
			info, err := c.Info()
			if err != nil {
				t.Fatal(err)
			}
			e := last[n]
			if e.Mech != MechKrb5 || e.Flags != c.flags || e.Flags&DefaultFlags != DefaultFlags || e.Sent != 0 || e.Received != 0 || e.Duration > took {
				t.Errorf("%v: %+v", c, e)
			}
			if n == 0 && e.Name != i.target || n == 1 && e.Name.String() != info.Initiator.String() {
				t.Errorf("%v: the peer is %v", c, e.Name)
			}
		}
		// A Step that fails, and one that comes too late.
		_, late := a.Step(t.Context(), []byte("late"))
		hooks, es := of[1].take()
		if !slices.Equal(hooks, []string{"Stepped"}) || es[0].Err != late || late == nil || es[0].Received != 4 {
			t.Errorf("%v: %+v", hooks, es)
		}
		bad := NewAcceptor(&AcceptorOptions{Trace: of[1].trace()})
		out, err := bad.Step(t.Context(), frame(mech, "junk"))
		hooks, es = of[1].take()
		if !slices.Equal(hooks, []string{"Stepped"}) || es[0].Err != err || err == nil || es[0].Sent != len(out) || es[0].Context != bad || es[0].Name != nil {
			t.Errorf("%v: %+v, %v", hooks, es, err)
		}
	})
}

func TestTraceOfMessages(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		var events sink
		tr := events.trace()
		i, a := pair(t, &InitiatorOptions{Mech: mech, Trace: tr}, &AcceptorOptions{Trace: tr})
		plain, _ := pair(t, &InitiatorOptions{Mech: mech, Trace: tr}, nil)
		plain.flags &^= FlagConf
		events.take()
		exchange(t, i, a)
		token := wrap(t, i, "once")
		receive(t, a, token, "once")
		mic, err := i.AppendMIC(nil, []byte("message"))
		if err != nil {
			t.Fatal(err)
		}
		if hooks, _ := events.take(); hooks != nil {
			t.Errorf("%v, and nothing failed", hooks)
		}
		forged, clear := bytes.Clone(token), []byte(nil)
		forged[len(forged)-1] ^= 1
		for _, c := range []struct {
			what, op string
			size     int
			x        *Context
			call     func() error
		}{
			{"replayed", "Unwrap", len(token), a, func() error { _, err := a.Unwrap(token); return err }},
			{"replayed, appended", "Unwrap", len(token), a, func() error { _, _, err := a.AppendUnwrap(nil, bytes.Clone(token)); return err }},
			{"forged", "Unwrap", len(forged), a, func() error { _, err := a.Unwrap(forged); return err }},
			{"junk", "Unwrap", 4, a, func() error { _, err := a.Unwrap([]byte("junk")); return err }},
			{"not encrypted", "Unwrap", 0, a, func() error {
				clear, err = i.AppendWrap(nil, []byte("readable"), Integrity)
				if err != nil {
					t.Fatal(err)
				}
				_, err := a.Unwrap(clear)
				return err
			}},
			{"of another message", "VerifyMIC", 5, a, func() error { return a.VerifyMIC([]byte("other"), mic) }},
			{"junk", "VerifyMIC", 7, a, func() error { return a.VerifyMIC([]byte("message"), []byte("junk")) }},
			{"no protection", "Wrap", 3, i, func() error { _, err := i.AppendWrap(nil, []byte("msg"), 7); return err }},
			{"without confidentiality", "Wrap", 3, plain, func() error { _, err := plain.Wrap([]byte("msg")); return err }},
		} {
			err := c.call()
			if err == nil {
				t.Fatalf("%s %s: no error", c.what, c.op)
			}
			if c.size == 0 {
				c.size = len(clear)
			}
			hooks, es := events.take()
			if !slices.Equal(hooks, []string{"MessageFailed"}) {
				t.Errorf("%s %s: %v", c.what, c.op, hooks)
				continue
			}
			e := es[0]
			if e.Op != c.op || e.Context != c.x || e.Received != c.size || e.Err != err || e.Mech != MechKrb5 || e.Name == nil {
				t.Errorf("%s %s: %+v, want %v, %d bytes", c.what, c.op, e, err, c.size)
			}
		}
	})
}

// A hook may use the context, whatever order of its messages is taken.
func TestHooksCallBack(t *testing.T) {
	needsHandshake(t)
	var (
		i, a *Context
		told int
	)
	good := func(x, y *Context) func(Event) {
		return func(e Event) {
			told++
			if _, err := e.Context.Info(); err != nil {
				t.Errorf("Info: %v", err)
			}
			_ = e.Context.String() + slog.AnyValue(e).Resolve().String()
			if e.Op == "Unwrap" || e.Op == "VerifyMIC" { // of a
				receive(t, a, wrap(t, i, "in a hook"), "in a hook")
				mic, err := i.AppendMIC(nil, []byte("in a hook"))
				if err != nil {
					t.Error(err)
				}
				if err := a.VerifyMIC([]byte("in a hook"), mic); err != nil {
					t.Error(err)
				}
			}
		}
	}
	i, a = contexts(t, nil, nil)
	tr := &Trace{Established: good(i, a), MessageFailed: good(i, a)}
	i.trace, a.trace = tr, tr
	a.order = AllowGap
	if err := handshake(i, a, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Unwrap([]byte("junk")); err == nil {
		t.Error("junk is a message")
	}
	if err := a.VerifyMIC([]byte("message"), []byte("junk")); err == nil {
		t.Error("junk is a code")
	}
	if told != 4 {
		t.Errorf("%d events, want 4", told)
	}
	// One that closes the context.
	i, a = contexts(t, &InitiatorOptions{Trace: &Trace{Stepped: func(e Event) { e.Context.Close() }}}, nil)
	step(t, i, nil)
	if i.is() != closed {
		t.Errorf("%v", i)
	}
}

func TestTraceOfTransfer(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		var events sink
		one := func(hook string) Event {
			t.Helper()
			hooks, es := events.take()
			if !slices.Equal(hooks, []string{hook}) {
				t.Fatalf("%v, want %s", hooks, hook)
			}
			return es[0]
		}
		fresh := NewAcceptor(&AcceptorOptions{Trace: events.trace()})
		_, err := fresh.Export()
		if e := one("Exported"); e.Op != "Export" || e.Context != fresh || e.Err != err || err == nil || e.Sent != 0 {
			t.Errorf("%+v", e)
		}
		i, a := pair(t, &InitiatorOptions{Mech: mech, Trace: events.trace()}, nil)
		events.take()
		token := export(t, i)
		if e := one("Exported"); e.Op != "Export" || e.Context != i || e.Sent != len(token) || e.Err != nil || e.Duration <= 0 || e.Mech != MechKrb5 || e.Name != i.target {
			t.Errorf("%+v", e)
		}
		o := &ImportOptions{Trace: events.trace(), Require: DefaultFlags, Mech: MechKrb5}
		i = importContextOf(t, token, o)
		if e := one("Imported"); e.Op != "Import" || e.Context != i || e.Received != len(token) || e.Err != nil || e.Duration <= 0 || e.Mech != MechKrb5 || e.Flags != i.flags || e.Name != i.target {
			t.Errorf("%+v", e)
		}
		exchange(t, i, a)
		h, err := i.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if i, err = Adopt(h, o); err != nil {
			t.Fatal(err)
		}
		if e := one("Imported"); e.Op != "Adopt" || e.Context != i || e.Received != 0 || e.Err != nil || e.Flags != i.flags || e.Mech != MechKrb5 {
			t.Errorf("%+v", e)
		}
		exchange(t, i, a)
		if _, err := i.Unwrap([]byte("junk")); err == nil {
			t.Error("junk is a message")
		}
		if e := one("MessageFailed"); e.Context != i {
			t.Errorf("%+v", e)
		}
		token = export(t, i)
		events.take()
		o.Require, o.Peer = FlagDCEStyle, target(t)
		c, err := Import(token, o)
		if e := one("Imported"); c != nil || e.Op != "Import" || e.Context != nil || e.Err != err || err == nil || e.Received != len(token) || e.Name != o.Peer {
			t.Errorf("%v: %+v", err, e)
		}
	})
}

func TestTraceOfCredentials(t *testing.T) {
	needsHandshake(t)
	var events sink
	one := func() Event {
		t.Helper()
		hooks, es := events.take()
		if !slices.Equal(hooks, []string{"Acquired"}) {
			t.Fatalf("%v, want Acquired", hooks)
		}
		return es[0]
	}
	n := importName(t, "alice", NTUserName)
	c := acquire(t, &CredentialOptions{Name: n, Mechs: []OID{MechKrb5}, Trace: events.trace()})
	if e := one(); e.Op != "Acquire" || e.Name != n || e.Mech != MechKrb5 || e.Err != nil || e.Duration <= 0 || e.Context != nil {
		t.Errorf("%+v", e)
	}
	const none OID = "\x2a\x03\x04" // (MIT 1.20 loses memory where it finds no key or ticket of a name)
	_, err := Acquire(t.Context(), &CredentialOptions{Name: n, Mechs: []OID{none}, Trace: events.trace()})
	if e := one(); e.Op != "Acquire" || e.Name != n || e.Mech != none || e.Err != err || err == nil {
		t.Errorf("%v: %+v", err, e)
	}
	_, err = c.Add(t.Context(), &CredentialOptions{Mechs: []OID{MechKrb5}, Trace: events.trace()})
	if e := one(); e.Op != "Add" || e.Mech != MechKrb5 || e.Err != err {
		t.Errorf("%v: %+v", err, e)
	}
	if _, err := c.Info(t.Context()); err != nil {
		t.Error(err)
	}
	if hooks, _ := events.take(); hooks != nil {
		t.Errorf("%v of Info", hooks)
	}
}

// Traces without hooks, none at all, and one that many share.
func TestTracesShared(t *testing.T) {
	needsHandshake(t)
	for _, tr := range []*Trace{nil, {}} {
		i, a := pair(t, &InitiatorOptions{Trace: tr, Credential: acquire(t, &CredentialOptions{Trace: tr})}, &AcceptorOptions{Trace: tr})
		exchange(t, i, a)
		if _, err := a.Unwrap([]byte("junk")); err == nil {
			t.Error("junk is a message")
		}
		i = importContextOf(t, export(t, i), &ImportOptions{Trace: tr})
		exchange(t, i, a)
	}
	var (
		events sink
		wg     sync.WaitGroup
	)
	const n = 16
	tr := events.trace()
	for range n {
		wg.Go(func() {
			i, a := NewInitiator(target(t), &InitiatorOptions{Trace: tr}), NewAcceptor(&AcceptorOptions{Trace: tr})
			if err := handshake(i, a, nil); err != nil {
				t.Error(err)
				return
			}
			if _, err := a.Unwrap([]byte("junk")); err == nil {
				t.Error("junk is a message")
			}
		})
	}
	wg.Wait()
	count := map[string]int{}
	hooks, _ := events.take()
	for _, h := range hooks {
		count[h]++
	}
	if count["Established"] != 2*n || count["MessageFailed"] != n || count["Stepped"] < 2*n {
		t.Errorf("%v", count)
	}
}

// secrets are what must not be in a log.
type secrets [][]byte

func (s *secrets) add(b []byte) []byte {
	*s = append(*s, bytes.Clone(b))
	return b
}

// notIn fails the test if a piece of a secret is in the text, in one of the
// forms that bytes are printed in.
func (s secrets) notIn(t *testing.T, text string) {
	t.Helper()
	for _, b := range s {
		if len(b) < 6 {
			t.Fatalf("a secret of %d bytes: it may be anywhere", len(b))
		}
		b = b[:min(len(b), 12)]
		for form, piece := range map[string]string{
			"as it is": string(b), "hex": hex.EncodeToString(b), "base64": base64.StdEncoding.EncodeToString(b[:len(b)/3*3]),
			"numbers": strings.Trim(fmt.Sprint(b), "[]"), "quoted": strings.Trim(fmt.Sprintf("%q", b), `"`),
		} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(piece)) {
				t.Errorf("%s (%s) is in the log:\n%s", piece, form, text)
			}
		}
	}
}

func TestLogTrace(t *testing.T) {
	needsHandshake(t)
	for name, handler := range map[string]func(b *safeBuffer, o *slog.HandlerOptions) slog.Handler{
		"text": func(b *safeBuffer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(b, o) },
		"JSON": func(b *safeBuffer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(b, o) },
	} {
		t.Run(name, func(t *testing.T) {
			var b safeBuffer
			tr := LogTrace(slog.New(handler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
			var s secrets
			s.add([]byte(carolsPassword))
			cred := acquire(t, &CredentialOptions{Name: importName(t, "carol", NTUserName), Password: carolsPassword, Mechs: []OID{MechKrb5}, Trace: tr})
			i, a := contexts(t, &InitiatorOptions{Credential: cred, Trace: tr}, &AcceptorOptions{Trace: tr})
			first := s.add(step(t, i, nil))
			second := s.add(step(t, a, first))
			step(t, i, second)
			const msg = "the message that nobody reads"
			s.add([]byte(msg))
			token := s.add(wrap(t, i, msg))
			token[len(token)-1] ^= 1
			if _, err := a.Unwrap(token); err == nil {
				t.Error("a forged message is taken")
			}
			if err := a.VerifyMIC([]byte(msg), s.add([]byte("junk of a code"))); err == nil {
				t.Error("a forged code is taken")
			}
			bad := NewAcceptor(&AcceptorOptions{Trace: tr})
			if _, err := bad.Step(t.Context(), s.add(first[:len(first)-20])); err == nil {
				t.Error("a cut token is taken")
			}
			exported := s.add(export(t, i))
			importContextOf(t, exported, &ImportOptions{Trace: tr})
			text := b.String()
			s.notIn(t, text)
			for _, line := range []string{
				"DEBUG credential acquired", "DEBUG step of a handshake", "WARN step of a handshake", "INFO security context established", "WARN message refused",
				"DEBUG security context exported", "DEBUG security context imported",
			} {
				level, msg, _ := strings.Cut(line, " ")
				want := fmt.Sprintf("level=%s msg=%q", level, msg)
				if name == "JSON" {
					want = fmt.Sprintf("\"level\":%q,\"msg\":%q", level, msg)
				}
				if !strings.Contains(text, want) {
					t.Errorf("no %s in the log:\n%s", want, text)
				}
			}
			if !strings.Contains(text, realm.Principal("carol")) || !strings.Contains(text, "host@server.test") {
				t.Errorf("the names are not in the log:\n%s", text)
			}
			if name == "JSON" {
				for line := range strings.Lines(text) {
					if !json.Valid([]byte(line)) {
						t.Errorf("no JSON: %s", line)
					}
				}
			}
		})
	}
}

// The levels of what a KDC that does not answer brings about.
func TestLogTraceLevels(t *testing.T) {
	var b safeBuffer
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	tr := LogTrace(nil)
	slog.SetDefault(was)
	hooks := reflect.ValueOf(tr).Elem()
	for _, c := range []struct{ hook, well, failed string }{
		{"Acquired", "DEBUG", "WARN"},
		{"Stepped", "DEBUG", "WARN"},
		{"Established", "INFO", "WARN"},
		{"MessageFailed", "WARN", "WARN"},
		{"Exported", "DEBUG", "WARN"},
		{"Imported", "DEBUG", "WARN"},
		{"Blocked", "WARN", "WARN"},
		{"Abandoned", "WARN", "WARN"},
		{"Returned", "WARN", "WARN"},
	} {
		for _, err := range []error{nil, context.Canceled} {
			was := len(b.String())
			hooks.FieldByName(c.hook).Interface().(func(Event))(Event{Op: "Step", Err: err})
			want := c.well
			if err != nil {
				want = c.failed
			}
			if line := b.String()[was:]; strings.Count(line, "\n") != 1 || !strings.Contains(line, "level="+want+" ") || !strings.Contains(line, "gssapi.op=Step") || strings.Contains(line, "gssapi.error") != (err != nil) {
				t.Errorf("%s, %v: %s, want level %s", c.hook, err, line, want)
			}
		}
	}
	if hooks.NumField() != 9 {
		t.Errorf("a Trace has %d hooks: a new one belongs into this test", hooks.NumField())
	}
}

// logged is v as slog's JSON has it.
func logged(t *testing.T, v any) any {
	t.Helper()
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("", "v", v)
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	return line["v"]
}

// What is logged has these keys, and no others.
func TestLogValues(t *testing.T) {
	name := &Name{text: "alice@TEST.GSS"}
	name.once.Do(func() {})
	info := ContextInfo{Acceptor: name, Mech: MechKrb5, Flags: FlagMutual | FlagConf, Expiry: time.Unix(1e9, 0), Local: true}
	forever := info
	forever.Expiry = time.Time{}
	context := map[string]any{"peer": "alice@TEST.GSS", "mech": "1.2.840.113554.1.2.2", "flags": "mutual,conf", "initiator": true}
	with := func(m map[string]any, more ...any) map[string]any {
		m = maps.Clone(m)
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	expiry := logged(t, time.Unix(1e9, 0))
	for _, c := range []struct {
		v    any
		want any
	}{
		{info, with(context, "expiry", expiry)},
		{forever, context},
		{ContextInfo{}, map[string]any{"peer": "(no name)", "mech": "none", "flags": "none", "initiator": false}},
		{CredentialInfo{Name: name, Usage: Accept, Mechs: []OID{MechKrb5, MechSPNEGO}, Expiry: time.Unix(1e9, 0)}, map[string]any{
			"name": "alice@TEST.GSS", "usage": "accept", "mechs": "[1.2.840.113554.1.2.2 1.3.6.1.5.5.2]", "expiry": expiry,
		}},
		{CredentialInfo{}, map[string]any{"name": "(no name)", "usage": "initiate", "mechs": "[]"}},
		{ConnectionState{}, "the handshake is not complete"},
		{ConnectionState{HandshakeComplete: true, ContextInfo: forever}, with(context, "delegated", false)},
		{ConnectionState{HandshakeComplete: true, ContextInfo: info, Delegated: new(Credential)}, with(context, "delegated", true, "expiry", expiry)},
		{Event{Op: "Step"}, map[string]any{"op": "Step"}},
		{Event{Op: "Step", Context: NewAcceptor(nil), Name: name, Mech: MechKrb5, Flags: FlagInteg, Received: 1, Sent: 2, Duration: 3, Err: errors.New("why")}, map[string]any{
			"op": "Step", "side": "acceptor", "name": "alice@TEST.GSS", "mech": "1.2.840.113554.1.2.2", "flags": "integ",
			"received": 1.0, "sent": 2.0, "duration": 3.0, "error": "why",
		}},
	} {
		if got := logged(t, c.v); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%T is logged as %v, want %v", c.v, got, c.want)
		}
	}
}
