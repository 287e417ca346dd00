package gssapi

import (
	"fmt"
	"testing"

	"github.com/seed2651813c/gss"
)

// framed puts the frame of RFC 2743, 3.1, round a token of RFC 4121. MIT takes it
// as if it had none.
func framed(tok []byte) []byte {
	body := append(append([]byte{6, byte(len(MechKrb5))}, MechKrb5...), tok...)
	return append([]byte{0x60, 0x82, byte(len(body) >> 8), byte(len(body))}, body...)
}

// What is replayed after more than 64 messages MIT calls unsequenced, and the
// attacker can hide the messages' numbers in a frame.
func TestReplayAfterFraming(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindMIT {
		t.Skipf("%s: Order has an effect with MIT only", kind())
	}
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, &AcceptorOptions{Order: AllowReorder})
		var toks [][]byte
		for n := range 150 {
			toks = append(toks, wrap(t, i, fmt.Sprintf("msg %04d", n)))
		}
		for n := range toks {
			tok := toks[n]
			if n > 10 { // the attacker on the network puts a frame round each
				tok = framed(tok)
			}
			if m, err := a.Unwrap(tok); err != nil {
				t.Fatalf("%d: %q %v", n, m, err)
			}
		}
		if m, err := a.Unwrap(toks[5]); err == nil {
			t.Errorf("a replay is accepted: %q", m)
		}
		send(t, i, a, "next")
	}
}

func TestReplayAfterFramingMIC(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindMIT {
		t.Skipf("%s: Order has an effect with MIT only", kind())
	}
	i, a := pair(t, nil, &AcceptorOptions{Order: AllowReorder})
	msg := []byte("m")
	var toks [][]byte
	for range 150 {
		m, err := i.AppendMIC(nil, msg)
		if err != nil {
			t.Fatal(err)
		}
		toks = append(toks, m)
	}
	for n, tok := range toks {
		if n > 10 {
			tok = framed(tok)
		}
		if err := a.VerifyMIC(msg, tok); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.VerifyMIC(msg, toks[5]); err == nil {
		t.Errorf("a replay is accepted")
	}
}

// An imported context does not know how far the messages have come.
func TestReplayAfterImport(t *testing.T) {
	needsHandshake(t)
	if kind() != gss.KindMIT {
		t.Skipf("%s: Order has an effect with MIT only", kind())
	}
	i, a := pair(t, nil, nil)
	var toks [][]byte
	for n := range 200 {
		toks = append(toks, wrap(t, i, fmt.Sprintf("msg %04d", n)))
	}
	for n := range 150 {
		receive(t, a, toks[n], fmt.Sprintf("msg %04d", n))
	}
	tok, err := a.Export()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Import(tok, &ImportOptions{Order: AllowReorder})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{20, 20, 20, 19, 15, 0} {
		if m, err := b.Unwrap(toks[n]); err == nil {
			t.Errorf("the replay of %d is accepted: %q", n, m)
		}
	}
}
