package handoff

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi"
)

// anOffer is one of each thing.
func anOffer() *offer {
	return &offer{
		Initiator: principal{"alice@TEST", []byte("\x04\x01alice")}, Acceptor: principal{"host/x@TEST", nil}, Mech: []byte(gssapi.MechKrb5),
		Flags: 0x1be, Expiry: 1, Local: true, Received: 3, Delegated: true, Socket: []byte("c1234"), Config: []string{"/etc/krb5.conf"},
	}
}

// messages is one of each kind.
func messages() []*message {
	return []*message{
		{Kind: isReady, Ready: &ready{Kind: "mit", File: "lib.so", BuildID: "0123", Version: "1.20", PID: 1, Places: 2, Max: 3}},
		{Kind: isOffer, ID: 1, Offer: anOffer(), blobs: [][]byte{[]byte("data")}},
		{Kind: isOffer, ID: 1<<64 - 1, Offer: new(offer), blobs: [][]byte{nil}},
		{Kind: isAccept, ID: 2},
		{Kind: isRefuse, ID: 3, Busy: true, Text: "no <place> \x00\u2028"},
		{Kind: isCancel},
		{Kind: isContext, ID: 4, blobs: [][]byte{[]byte("token"), []byte("received"), nil}},
		{Kind: isTaken},
		{Kind: isFailed, Text: "why"},
		{Kind: isDone, N: 5},
		{Kind: isLeave},
		{Kind: isBye},
	}
}

func encoded(t testing.TB, m *message) []byte {
	t.Helper()
	b, err := m.encode([]byte("before"))
	check(t, err)
	for _, blob := range m.blobs {
		b = append(b, blob...)
	}
	return b[6:]
}

var sameMessage = cmp.Options{cmp.AllowUnexported(message{}), cmpopts.EquateEmpty()}

func TestMessage(t *testing.T) {
	for _, m := range messages() {
		b := encoded(t, m)
		got, err := decode(b)
		if err != nil {
			t.Errorf("%s: %v", m.Kind, err)
		} else if d := cmp.Diff(m, got, sameMessage); d != "" {
			t.Error(d)
		}
		if m.Kind == isContext && bytes.Contains(b[:len(b)-m.size()], m.blobs[blobToken]) {
			t.Error("the token is in the JSON, which cannot be overwritten")
		}
		for n := range b {
			if got, err := decode(b[:n]); err == nil {
				t.Errorf("%s, cut at %d of %d: %+v", m.Kind, n, len(b), got)
			}
		}
		if got, err := decode(append(slices.Clone(b), 0)); err == nil {
			t.Errorf("%s, with a byte too many: %+v", m.Kind, got)
		}
	}
}

func TestMessageRefused(t *testing.T) {
	raw := func(j string, blobs string) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(j))), j...), blobs...)
	}
	for what, b := range map[string][]byte{
		"nothing":                   nil,
		"no JSON":                   raw("", ""),
		"null":                      raw("null", ""),
		"a list":                    raw("[]", ""),
		"an endless length":         {0xff, 0xff, 0xff, 0xff},
		"no kind":                   raw(`{}`, ""),
		"another kind":              raw(`{"kind":"please"}`, ""),
		"two messages":              raw(`{"kind":"bye"}{"kind":"bye"}`, ""),
		"an unknown field":          raw(`{"kind":"bye","x":1}`, ""),
		"an ID that is none":        raw(`{"kind":"accept","id":-1}`, ""),
		"a blob that is missing":    raw(`{"kind":"context","blobs":[4,0,0]}`, "tok"),
		"a blob that is not told":   raw(`{"kind":"context","blobs":[3,0,0]}`, "token"),
		"a blob of negative length": raw(`{"kind":"context","blobs":[4,-1,1]}`, "toke"),
		"a blob of endless length":  raw(`{"kind":"context","blobs":[9223372036854775807,0,0]}`, "tok"),
		"lengths that overflow":     raw(`{"kind":"context","blobs":[9223372036854775807,9223372036854775807,5]}`, "tok"),
		"more blobs":                raw(`{"kind":"context","blobs":[1,1,1,1]}`, "toke"),
		"many blobs":                raw(`{"kind":"context","blobs":[`+strings.Repeat("0,", 9999)+`0]}`, ""),
		"a context of no token":     raw(`{"kind":"context","blobs":[0,3,0]}`, "tok"),
		"a context of two blobs":    raw(`{"kind":"context","blobs":[3,0]}`, "tok"),
		"a blob with a bye":         raw(`{"kind":"bye","blobs":[3]}`, "tok"),
		"an offer of nothing":       raw(`{"kind":"offer","blobs":[0]}`, ""),
		"an offer without data":     raw(`{"kind":"offer","offer":{}}`, ""),
		"an offer of two blobs":     raw(`{"kind":"offer","offer":{},"blobs":[0,0]}`, ""),
		"fewer bytes than none":     raw(`{"kind":"offer","offer":{"received":-1},"blobs":[0]}`, ""),
		"an expiry before 1970":     raw(`{"kind":"offer","offer":{"expiry":-1},"blobs":[0]}`, ""),
		"a name with a newline":     raw(`{"kind":"offer","offer":{"initiator":{"text":"alice\nroot"}},"blobs":[0]}`, ""),
		"a name with an escape":     raw(`{"kind":"offer","offer":{"acceptor":{"text":"\u001b[2J"}},"blobs":[0]}`, ""),
		"a name with a line's end":  raw(`{"kind":"offer","offer":{"acceptor":{"text":"\u2028"}},"blobs":[0]}`, ""),
		"a ready of nothing":        raw(`{"kind":"ready"}`, ""),
		"a ready that takes none":   raw(`{"kind":"ready","ready":{"max":0}}`, ""),
		"fewer places than none":    raw(`{"kind":"ready","ready":{"max":1,"places":-1}}`, ""),
		"a library with a newline":  raw(`{"kind":"ready","ready":{"max":1,"kind":"m\nit"}}`, ""),
		"no connections that ended": raw(`{"kind":"done"}`, ""),
		"fewer ended than none":     raw(`{"kind":"done","n":-1}`, ""),
	} {
		if m, err := decode(b); err == nil {
			t.Errorf("%s: %+v", what, m)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range messages() {
		f.Add(encoded(f, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := decode(encoded(t, m))
		if err != nil {
			t.Fatalf("%+v cannot be sent on: %v", m, err)
		}
		if d := cmp.Diff(m, again, sameMessage); d != "" {
			t.Fatal(d)
		}
		if m.Offer == nil {
			return
		}
		meta := m.Offer.meta(nil)
		for _, s := range []string{meta.Initiator.String(), meta.Acceptor.String(), meta.Peer().String(), meta.Mech.String(), meta.Flags.String()} {
			if !allPrint(s) {
				t.Fatalf("%q", s)
			}
		}
	})
}

func TestMeta(t *testing.T) {
	m := anOffer().meta([]byte("data"))
	want := &Meta{
		Initiator: Principal{"alice@TEST", "\x04\x01alice"}, Acceptor: Principal{"host/x@TEST", ""}, Mech: gssapi.MechKrb5, Flags: 0x1be,
		Expiry: time.Unix(0, 1), Local: true, Data: []byte("data"), Received: 3, Delegated: true,
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if m.Peer() != m.Acceptor {
		t.Errorf("the peer of the initiator's end is %v", m.Peer())
	}
	m.Local = false
	if m.Peer() != m.Initiator {
		t.Errorf("the peer of the acceptor's end is %v", m.Peer())
	}
	if o := (&offer{}).meta(nil); !o.Expiry.IsZero() || o.Peer().String() != "(no name)" {
		t.Errorf("%+v, %v", o, o.Peer())
	}
	if s := (Principal{Name: "alice@TEST", Exported: "\x04\x01"}).String(); s != "alice@TEST" {
		t.Error(s)
	}
}

// An anonymous initiator has Kerberos' name for nobody, or none, and the flag says
// so: nothing of it looks like a user, and it cannot come in a user's place.
func TestAnonymous(t *testing.T) {
	needsExport(t)
	const nobody = "WELLKNOWN/ANONYMOUS@WELLKNOWN:ANONYMOUS"
	name := func(s string) *gssapi.Name {
		n, err := gssapi.ImportName(s, gssapi.NTKrb5PrincipalName)
		check(t, err)
		n, err = n.Canonicalize(t.Context(), gssapi.MechKrb5)
		check(t, err)
		return n
	}
	about := func(n *gssapi.Name, f gssapi.Flags) *gssapi.ContextInfo {
		return &gssapi.ContextInfo{Initiator: n, Mech: gssapi.MechKrb5, Flags: gssapi.DefaultFlags | f}
	}
	alice := describe(about(name("alice@"+realm.Name()), 0))
	for what, test := range map[string]struct {
		name *gssapi.Name
		want string
	}{"no name": {nil, "(no name)"}, "Kerberos'": {name(nobody), nobody}} {
		i := about(test.name, gssapi.FlagAnon)
		o := describe(i)
		m := o.meta(nil)
		if m.Peer().String() != test.want || m.Flags&gssapi.FlagAnon == 0 || (m.Peer().Exported == "") != (test.name == nil) || m.Peer() == alice.meta(nil).Peer() {
			t.Errorf("%s: %+v", what, m)
		}
		if d := o.differs(i); d != "" {
			t.Errorf("%s: %s", what, d)
		}
		if d := alice.differs(i); !strings.Contains(d, "its initiator is") {
			t.Errorf("%s, announced as alice: %q", what, d)
		}
		if d := o.differs(about(test.name, 0)); !strings.Contains(d, "its flags are") {
			t.Errorf("%s, without the flag: %q", what, d)
		}
	}
}

// Each thing that is announced counts.
func TestDiffers(t *testing.T) {
	now := time.Now()
	info := &gssapi.ContextInfo{Mech: gssapi.MechKrb5, Flags: gssapi.DefaultFlags, Expiry: now}
	is := describe(info)
	if d := is.differs(info); d != "" {
		t.Errorf("the same: %s", d)
	}
	for want, change := range map[string]func(o *offer){
		"initiator":           func(o *offer) { o.Initiator.Text = "root" },
		"its initiator":       func(o *offer) { o.Initiator.Exported = []byte("root") },
		"acceptor":            func(o *offer) { o.Acceptor.Text = "host" },
		"its acceptor":        func(o *offer) { o.Acceptor.Exported = []byte("host") },
		"mechanism":           func(o *offer) { o.Mech = []byte(gssapi.MechSPNEGO) },
		"its mechanism":       func(o *offer) { o.Mech = nil },
		"flags":               func(o *offer) { o.Flags &^= 1 << 4 },
		"its flags":           func(o *offer) { o.Flags |= 1 << 20 },
		"the other end":       func(o *offer) { o.Local = true },
		"it expires at":       func(o *offer) { o.Expiry += int64(clockSlack) + 1 },
		"it expires":          func(o *offer) { o.Expiry -= int64(clockSlack) + 1 },
		"it expires at 2":     func(o *offer) { o.Expiry = 0 },
		"announced was":       func(o *offer) { o.Expiry = 1 },
		"announced was 2262-": func(o *offer) { o.Expiry = 1<<63 - 1 },
	} {
		o := describe(info)
		change(&o)
		if d := o.differs(info); !strings.Contains(d, want) {
			t.Errorf("%q, want %q", d, want)
		}
	}
	is.Expiry += int64(clockSlack) / 2
	if d := is.differs(info); d != "" {
		t.Errorf("read a second later: %s", d)
	}
	never := &gssapi.ContextInfo{}
	o := describe(never)
	if d := o.differs(never); d != "" {
		t.Error(d)
	}
	if d := o.differs(&gssapi.ContextInfo{Expiry: now}); d == "" {
		t.Error("announced was one that never expires")
	}
}

// Only the very library takes a token.
func TestFits(t *testing.T) {
	mit := ready{Kind: "mit", BuildID: "01", File: "libgssapi_krb5.so.2", Version: "1.20"}
	for what, c := range map[string]struct {
		change func(r *ready)
		fits   bool
	}{
		"itself":                {func(*ready) {}, true},
		"another process":       {func(r *ready) { r.PID, r.Places, r.Max = 1, 2, 3 }, true},
		"the same elsewhere":    {func(r *ready) { r.File = "libgssapi_krb5.so" }, true},
		"another kind":          {func(r *ready) { r.Kind = "heimdal" }, false},
		"another build":         {func(r *ready) { r.BuildID = "02" }, false},
		"no build-id":           {func(r *ready) { r.BuildID = "" }, true},
		"no build-id, a kind":   {func(r *ready) { r.BuildID, r.Kind = "", "heimdal" }, false},
		"no build-id, a file":   {func(r *ready) { r.BuildID, r.File = "", "libgssapi_krb5.so.3" }, false},
		"no build-id, a number": {func(r *ready) { r.BuildID, r.Version = "", "1.21" }, false},
	} {
		other := mit
		c.change(&other)
		for _, err := range []error{mit.fits(other), other.fits(mit)} {
			if (err == nil) != c.fits {
				t.Errorf("%s: %v", what, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "GSSAPI_LIBRARY") || !strings.Contains(err.Error(), mit.String()) || !strings.Contains(err.Error(), other.String())) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if s := mit.String(); s != "mit 1.20 (libgssapi_krb5.so.2, build-id 01)" {
		t.Error(s)
	}
	l, err := gss.Library()
	check(t, err)
	self := readyOf(l)
	if j, err := json.Marshal(self); err != nil || strings.Contains(string(j), "/") {
		t.Errorf("%s, %v", j, err)
	}
}

// What a buffer outgrows is overwritten.
func TestGrow(t *testing.T) {
	b := append(make([]byte, 0, 20), "a secret"...)
	same := grow(b, 12)
	if &same[0] != &b[0] {
		t.Error("moved without need")
	}
	bigger := grow(b, 13)
	if string(bigger) != "a secret" || cap(bigger) < 21 {
		t.Errorf("%q, room for %d", bigger, cap(bigger))
	}
	if !bytes.Equal(b, make([]byte, 8)) {
		t.Errorf("%q was left behind", b)
	}
}
