package gssapi

import (
	"bytes"
	"encoding/asn1"
	"math/rand/v2"
	"testing"

	"github.com/seed2651813c/gss"
)

// An initiator's second token may come from anybody: what is none is refused.
// Heimdal 7.8 would crash on some.
func TestInitiatorReply(t *testing.T) {
	needsHandshake(t)
	if !inChild(t, nil) {
		return
	}
	kept(t)
	frame := func(tag byte, contents []byte) []byte {
		b, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: tag&0x20 != 0, Bytes: contents})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	krb5 := func(id string, body []byte) []byte {
		return frame(0x60, append(append(frame(6, []byte(MechKrb5)), id...), body...))
	}
	negotiated := func(token []byte) []byte {
		return frame(0xa1, frame(0x30, append(frame(0xa0, []byte{10, 1, 1}), frame(0xa2, frame(4, token))...)))
	}
	junk := [][]byte{
		[]byte("junk"), {0}, {0x60}, {0x60, 0}, bytes.Repeat([]byte{0xff}, 100), make([]byte, 1000),
		krb5("\x02\x00", nil), krb5("\x02\x00", []byte("junk")), krb5("\x03\x00", []byte("junk")), krb5("\x01\x00", []byte("junk")),
		krb5("\x02\x00", []byte{0x6f, 0x80}), krb5("\x02\x00", []byte{0x6f, 0x84, 0xff, 0xff, 0xff, 0xff}), krb5("\x03\x00", []byte{0x7e, 0x30}),
		frame(0x60, frame(6, []byte(MechKrb5))), frame(0x60, frame(6, []byte(MechSPNEGO))), frame(0x60, []byte("junk")),
		append(krb5("\x02\x00", []byte("junk")), 0),
	}
	for _, mech := range []OID{MechKrb5, MechSPNEGO} {
		refused := func(token []byte) {
			t.Helper()
			i, _ := contexts(t, &InitiatorOptions{Mech: mech}, nil)
			step(t, i, nil)
			if out, err := i.Step(t.Context(), token); err == nil && i.Established() {
				t.Errorf("%v: established by %x", mech, token)
			} else if err == nil && len(out) == 0 {
				t.Errorf("%v: %x is taken, and nothing is answered", mech, token)
			}
			i.Close()
		}
		for range 20 { // what memory holds is another each time
			for _, token := range junk {
				refused(token)
				refused(negotiated(token))
				refused(frame(0xa1, frame(0x30, frame(0xa2, frame(4, token)))))
			}
			refused(frame(0xa1, frame(0x30, append(frame(0xa2, frame(4, []byte("junk"))), frame(0xa2, frame(4, krb5("\x02\x00", []byte("x"))))...))))
		}
		// A real answer, damaged. (Where it is only negotiated, a change can be without effect.)
		for range 300 {
			i, a := contexts(t, &InitiatorOptions{Mech: mech}, nil)
			token := step(t, a, step(t, i, nil))
			for range 1 + rand.IntN(3) {
				token[rand.IntN(len(token))] ^= byte(1 + rand.IntN(255))
			}
			i.Step(t.Context(), token[:1+rand.IntN(len(token))])
			i.Close()
			a.Close()
		}
	}
	if kind() != gss.KindHeimdal {
		return
	}
	for _, token := range [][]byte{[]byte("junk"), krb5("\x01\x00", []byte("junk"))} {
		i, _ := contexts(t, nil, nil)
		step(t, i, nil)
		_, err := i.Step(t.Context(), token)
		wantErr(t, "junk", err, ErrDefectiveToken)
		_, again := i.Step(t.Context(), token)
		if again != err {
			t.Errorf("%v, and then %v", err, again)
		}
	}
}
