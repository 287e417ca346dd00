package gss

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"time"

	"github.com/seed2651813c/gss/internal/fakegss"
)

// MIT writes an authentication time of 4 bytes, Heimdal a time_t; what is behind
// belongs to others.
func TestAuthTimeWidth(t *testing.T) {
	needKrb5(t)
	_, a := establish(t, MechKrb5, allFlags)
	got, err := a.AuthTime()
	check(t, err)
	if now := time.Now().Unix(); got > now || got < now-24*60*60 {
		t.Errorf("authenticated at %d, now is %d", got, now)
	}
	u, err := a.begin("test", true)
	check(t, err)
	defer u.end()
	s, room, width := krb5AuthTime(u.h)
	if s.failed() {
		t.Fatal(s.error("test", ""))
	}
	want := map[Kind]int{KindMIT: 4, KindHeimdal: bits.UintSize / 8}[kind()]
	if width != want {
		t.Errorf("%d bytes count, want %d", width, want)
	}
	untouched := bytes.Repeat([]byte{0xa5}, len(room))
	if !bytes.Equal(room[want:], untouched[want:]) {
		t.Errorf("written beyond %d bytes: %x", want, room)
	}
	if bytes.Contains(room[:want], untouched[:2]) {
		t.Errorf("not all of %d bytes were written: %x", want, room)
	}
}

func TestSeconds(t *testing.T) {
	four := func(n uint32) (room [16]byte) {
		copy(room[:], bytes.Repeat([]byte{0xa5}, len(room)))
		binary.NativeEndian.PutUint32(room[:], n)
		return room
	}
	eight := func(n int64) (room [16]byte) {
		copy(room[:], bytes.Repeat([]byte{0xa5}, len(room)))
		binary.NativeEndian.PutUint64(room[:], uint64(n))
		return room
	}
	for _, v := range []struct {
		room  [16]byte
		width int
		want  int64
	}{
		{four(1), 4, 1}, {four(1<<31 - 1), 4, 1<<31 - 1},
		{four(1 << 31), 4, 1 << 31}, // 2038
		{eight(1), 8, 1}, {eight(1 << 40), 8, 1 << 40},
		{eight(-1 << 31), 8, 1 << 31}, // as Heimdal 7.8 has 2038
	} {
		if got := seconds(v.room, v.width); got != v.want {
			t.Errorf("%x of %d bytes: %d, want %d", v.room, v.width, got, v.want)
		}
	}
}

// A context is open if C says 1, as MIT does, and if it says 2, as Heimdal does.
func TestOpen(t *testing.T) {
	needKrb5(t)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		i, a := establish(t, mech, allFlags)
		for _, x := range []*Ctx{i, a} {
			info, err := x.Inquire()
			check(t, err)
			info.Source.Release()
			info.Target.Release()
			if !info.Open || info.Local != (x == i) {
				t.Errorf("%v: open %v, local %v", mech, info.Open, info.Local)
			}
			// Which of them says that it can protect messages is left to chance: MIT
			// sets the flag on the acceptor alone, with mutual authentication.
			if ready := kind() == KindMIT && x == a; info.Flags&FlagProtReady != 0 != ready && mech == MechKrb5 {
				t.Errorf("%v, initiator %v: the flags are %v", mech, x == i, info.Flags)
			}
		}
		pair{i, a}.send(t, []byte("both can"), true)
		pair{a, i}.send(t, []byte("both can"), true)
	}
}

// A context lives as long as its ticket; to MIT's acceptors five minutes more,
// for clocks that differ. Both libraries tell in the context itself when the
// ticket ends.
func TestAcceptorLifetime(t *testing.T) {
	needKrb5(t)
	const skew = 300
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		i, a := establish(t, mech, allFlags)
		for _, x := range []*Ctx{i, a} {
			l, err := x.InquireLucid()
			check(t, err)
			l.Clear()
			end := l.Expiry().Unix()
			if x == a && kind() == KindMIT {
				end += skew
			}
			before := time.Now().Add(-100 * time.Millisecond).Unix() // C asks time(2), which lags by up to a tick
			left, err := x.Time()
			check(t, err)
			info, err := x.Inquire()
			check(t, err)
			info.Source.Release()
			info.Target.Release()
			after := time.Now().Unix()
			for _, left := range []uint32{left, info.Lifetime} {
				if n := int64(left); before+n > end || after+n < end {
					t.Errorf("%v, initiator %v: it lives for %d s, until %d or %d; its ticket ends at %d", mech, x == i, n, before+n, after+n, end)
				}
			}
		}
	}
}

func TestExportLucid(t *testing.T) {
	needKrb5(t)
	awaitLive(t, 0)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		p := pair{}
		p.i, p.a = establish(t, mech, allFlags)
		before := Live()
		kept, err := p.i.InquireLucid()
		check(t, err)
		if Live() != before {
			t.Errorf("%d things are held, want %d", Live(), before)
		}
		p.send(t, []byte("it still works"), true)
		l, err := p.i.ExportLucid()
		check(t, err)
		if fmt.Sprintf("%x %x", kept.Key.Value, kept.AcceptorSubkey.Value) != fmt.Sprintf("%x %x", l.Key.Value, l.AcceptorSubkey.Value) {
			t.Error("other keys than before")
		}
		if l.SendSeq <= kept.SendSeq || l.RecvSeq != kept.RecvSeq || l.EndTime != kept.EndTime || !l.Initiate || l.Protocol != 1 {
			t.Errorf("before and after a message: %+v, %+v", kept, l)
		}
		if len(l.Key.Value) == 0 || l.Key.Type == 0 || len(l.AcceptorSubkey.Value) == 0 {
			t.Errorf("no keys: %+v", l)
		}
		kept.Clear()
		l.Clear()
		// MIT takes the context away, Heimdal keeps it.
		if gone := kind() == KindMIT; p.i.Gone() != gone {
			t.Errorf("gone: %v", !gone)
		} else if gone {
			noContext(t, p.i, "there is no context")
			if Live() != before-1 {
				t.Errorf("%d things are held, want %d", Live(), before-1)
			}
		} else {
			p.send(t, []byte("it still works"), true)
		}
	}
}

// Which call answers on which library; what is missing is named.
func TestCallsOnContexts(t *testing.T) {
	needKrb5(t)
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		i, a := establish(t, mech, allFlags)
		for _, x := range []*Ctx{i, a} {
			for name, call := range map[string]struct {
				function string
				call     func() error
			}{
				"StreamSizes":       {"gss_context_query_attributes", func() error { _, err := x.StreamSizes(); return err }},
				"CompleteAuthToken": {"gss_complete_auth_token", func() error { return x.CompleteAuthToken([]byte("m")) }},
				"PseudoRandom":      {"gss_pseudo_random", func() error { _, err := x.PseudoRandom(nil, PRFKeyFull, nil, 1); return err }},
				"InquireByOID":      {"gss_inquire_sec_context_by_oid", func() error { _, err := x.InquireByOID(InqSSPISessionKey); return err }},
				"Subkey":            {"gsskrb5_get_subkey", func() error { _, err := x.Subkey(); return err }},
				"InitiatorSubkey":   {"gsskrb5_get_initiator_subkey", func() error { _, err := x.InitiatorSubkey(); return err }},
				"TimeOffset":        {"gsskrb5_get_time_offset", func() error { _, err := TimeOffset(); return err }},
			} {
				err := call.call()
				if Supports(call.function) {
					check(t, err)
					continue
				}
				is(t, err, ErrUnavailable)
				mention(t, err, "no function "+call.function)
				if !strings.HasPrefix(err.Error(), call.function) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestPseudoRandomAppends(t *testing.T) {
	needKrb5(t)
	i, a := establish(t, MechKrb5, allFlags)
	for _, n := range []int{0, 1, 100} {
		x, err := i.PseudoRandom([]byte("dst"), PRFKeyFull, []byte("seed"), n)
		check(t, err)
		y, err := a.PseudoRandom(make([]byte, 0, 200), PRFKeyFull, []byte("seed"), n)
		check(t, err)
		if string(x) != "dst"+string(y) || len(y) != n {
			t.Errorf("%d bytes: %x and %x", n, x, y)
		}
	}
	dst, err := i.PseudoRandom([]byte("dst"), PRFKeyFull, nil, -1)
	is(t, err, ErrFailure)
	if string(dst) != "dst" {
		t.Errorf("an error changed dst to %q", dst)
	}
}

// An option may take the context away.
func TestFakeSetOption(t *testing.T) {
	o := &fakegss.Options{Optional: []string{"gss_set_sec_context_option"}}
	for _, fault := range []string{"", "option=null", "option=fail-null", "fail=gss_set_sec_context_option"} {
		t.Run(fault, func(t *testing.T) {
			child, log := inFake(t, "", o)
			if !child {
				calls := log.calls("gss_set_sec_context_option")
				if len(calls) != 1 || calls[0].Args["value"] != "5" {
					t.Errorf("%v", calls)
				}
				return
			}
			p := fakePair(t)
			toldTo(t, fault)
			value := []byte("value")
			err := p.a.SetOption(MechKrb5, value)
			toldTo(t, "")
			if fails := strings.HasPrefix(strings.TrimPrefix(fault, "option="), "fail"); fails != (err != nil) {
				t.Errorf("%v", err)
			}
			if string(value) != "value" {
				t.Errorf("the value was changed to %q", value)
			}
			if p.a.Gone() != strings.HasPrefix(fault, "option=") {
				t.Errorf("gone: %v", p.a.Gone())
			}
			if p.a.Gone() {
				noContext(t, p.a, "there is no context")
			} else {
				p.send(t, []byte("it still works"), true)
			}
		})
	}
}
