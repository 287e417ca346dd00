package gssapi

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed2651813c/gss"
)

// inquiries are the methods that ask a context by object identifier, or as
// Kerberos.
func inquiries(c *Context) map[string]error {
	m := map[string]error{}
	_, m["InquireByOID"] = c.InquireByOID(gss.InqSSPISessionKey)
	m["SetOption"] = c.SetOption(compatDES3MIC, []byte{1})
	_, m["StreamSizes"] = c.StreamSizes()
	m["CompleteAuthToken"] = c.CompleteAuthToken([]byte("msg"))
	_, m["PseudoRandom"] = c.PseudoRandom(PRFKeyFull, []byte("seed"), 16)
	_, m["PseudoRandom of nothing"] = c.PseudoRandom(PRFKeyFull, nil, 0)
	_, m["SessionKey"] = c.SessionKey()
	_, m["TicketFlags"] = c.TicketFlags()
	_, m["AuthTime"] = c.AuthTime()
	_, m["AuthorizationData"] = c.AuthorizationData(1)
	_, m["PAC"] = c.PAC()
	_, m["ServiceKey"] = c.ServiceKey()
	_, m["InitiatorSubkey"] = c.InitiatorSubkey()
	_, m["Lucid"] = c.Lucid()
	return m
}

const (
	heimdalOption     = "\x2a\x85\x70\x2b\x0d"    // 1.2.752.43.13
	compatDES3MIC OID = heimdalOption + "\x04"    // takes a byte
	getTimeOffset OID = heimdalOption + "\x12"    // answers in its value
	unknownObject OID = "\x2a\x03\x04"            // 1.2.3.4
	mitAuthzData  OID = MechKrb5 + "\x05\x0a"     // and the type
	mitLucid      OID = MechKrb5 + "\x05\x06\x01" // an address
)

// Partial contexts, on which Heimdal 7.8 crashes, do not reach C.
func TestInquiriesOfPartial(t *testing.T) {
	partials(t, func(t *testing.T, c, peer *Context, finish func()) {
		for what, err := range inquiries(c) {
			wantErr(t, what, err, ErrNoContext)
		}
		finish()
		exchange(t, c, peer)
	})
}

func prf(t testing.TB, c *Context, key PRFKey, seed string, n int) []byte {
	t.Helper()
	b, err := c.PseudoRandom(key, []byte(seed), n)
	if err != nil {
		t.Fatalf("PseudoRandom(%d, %q, %d) of %v: %v", key, seed, n, c, err)
	}
	if len(b) != n {
		t.Fatalf("PseudoRandom(%d, %q, %d) of %v: %d bytes", key, seed, n, c, len(b))
	}
	return b
}

// Both ends make the same bytes, which are those of RFC 4402 and RFC 3962.
func TestPseudoRandom(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, without := range []Flags{0, FlagMutual} {
			t.Run("without "+without.String(), func(t *testing.T) {
				i, a := pair(t, &InitiatorOptions{Mech: mech, Without: without}, nil)
				full, partial := sessionKey(t, i), initiatorSubkey(t, i)
				first(t, i, a)
				exchange(t, i, a)
				seen := map[string]string{}
				for key, k := range map[PRFKey]*Key{PRFKeyFull: full, PRFKeyPartial: partial} {
					for _, seed := range []string{"", "s", "a seed with a \x00 in it", strings.Repeat("long", 1000)} {
						long := prf(t, i, key, seed, 4096)
						if want := rfc4402(t, k, seed, 4096); !bytes.Equal(long, want) {
							t.Errorf("key %d, seed %.10q: %x..., want %x...", key, seed, long[:16], want[:16])
						}
						for _, n := range []int{0, 1, 16, 17, 63, 4096} {
							for _, c := range []*Context{i, a} {
								if got := prf(t, c, key, seed, n); !bytes.Equal(got, long[:n]) {
									t.Errorf("key %d, seed %.10q, %d bytes of %v: %x..., want %x...", key, seed, n, c, clip(got), clip(long))
								}
							}
						}
						what := fmt.Sprintf("key %d, seed %.10q", key, seed)
						if other, ok := seen[string(long)]; ok && without == 0 {
							t.Errorf("%s gives what %s gives", what, other)
						}
						seen[string(long)] = what
					}
				}
				// An acceptor that says nothing asserts no key: both are one then.
				if got := bytes.Equal(prf(t, a, PRFKeyFull, "s", 32), prf(t, a, PRFKeyPartial, "s", 32)); got != (without == FlagMutual) {
					t.Errorf("the keys are the same: %v", got)
				}
				exchange(t, i, a) // no message's number was taken
				want := prf(t, i, PRFKeyFull, "s", 32)
				if got := prf(t, transfer(t, a), PRFKeyFull, "s", 32); !bytes.Equal(got, want) {
					t.Errorf("after a transfer %x, want %x", got, want)
				}
			})
		}
	})
}

func TestPseudoRandomArguments(t *testing.T) {
	needsHandshake(t)
	i, a := pair(t, nil, nil)
	for _, c := range []struct {
		key PRFKey
		n   int
	}{{PRFKeyFull, -1}, {PRFKeyFull, gss.MaxPRF + 1}, {2, 16}, {-1, 16}} {
		b, err := i.PseudoRandom(c.key, []byte("seed"), c.n)
		wantErr(t, fmt.Sprintf("key %d, %d bytes", c.key, c.n), err, ErrFailure)
		if b != nil {
			t.Errorf("key %d, %d bytes: there is a result", c.key, c.n)
		}
	}
	prf(t, i, PRFKeyFull, "seed", gss.MaxPRF)
	exchange(t, i, a)
}

// The oracle's parts are those of RFC 3961, A.1.
func TestOracle(t *testing.T) {
	for _, v := range []struct {
		in   string
		bits int
		want string
	}{
		{"012345", 64, "be072631276b1955"},
		{"password", 56, "78a07b6caf85fa"},
		{"Rough Consensus, and Running Code", 64, "bb6ed30870b7f0e0"},
		{"password", 168, "59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"},
		{"MASSACHVSETTS INSTITVTE OF TECHNOLOGY", 192, "db3b0d8f0b061e603282b308a50841229ad798fab9540c1b"},
		{"Q", 168, "518a54a215a8452a518a54a215a8452a518a54a215"},
		{"kerberos", 128, "6b65726265726f737b9b5b2b93132b93"},
	} {
		if got := hex.EncodeToString(nfold([]byte(v.in), v.bits/8)); got != v.want {
			t.Errorf("%d-fold(%q) = %s, want %s", v.bits, v.in, got, v.want)
		}
	}
}

// rfc4402 is what RFC 4402, 2 makes of a key of AES with SHA-1: RFC 3961, 5.1 and
// 5.3, and RFC 3962, 6.
func rfc4402(t testing.TB, k *Key, seed string, n int) []byte {
	t.Helper()
	if k.Type != 17 && k.Type != 18 {
		t.Fatalf("enctype %d: this knows aes128-cts-hmac-sha1-96 and aes256-cts-hmac-sha1-96", k.Type)
	}
	encrypt := func(key, block []byte) []byte {
		c, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, aes.BlockSize)
		c.Encrypt(out, block)
		return out
	}
	var derived []byte
	for block := nfold([]byte("prf"), aes.BlockSize); len(derived) < len(k.Value); {
		block = encrypt(k.Value, block)
		derived = append(derived, block...)
	}
	derived = derived[:len(k.Value)]
	var out []byte
	for i := uint32(0); len(out) < n; i++ {
		h := sha1.Sum(append(binary.BigEndian.AppendUint32(nil, i), seed...))
		out = append(out, encrypt(derived, h[:aes.BlockSize])...)
	}
	return out[:n]
}

// nfold is RFC 3961, 5.1: copies of in, each turned right by 13 bits more, are
// added in parts of size bytes, in one's complement.
func nfold(in []byte, size int) []byte {
	bits := 8 * len(in)
	whole := len(in) * size // a common multiple
	copies := new(big.Int)
	turned := new(big.Int).SetBytes(in)
	mask := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(bits)), big.NewInt(1))
	for range whole / len(in) {
		copies.Lsh(copies, uint(bits)).Or(copies, turned)
		for range 13 {
			low := turned.Bit(0)
			turned.Rsh(turned, 1).SetBit(turned, bits-1, low)
		}
		turned.And(turned, mask)
	}
	part := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*size)), big.NewInt(1))
	sum := new(big.Int)
	// Only the first least common multiple counts: the rest repeats it.
	n := lcm(len(in), size)
	copies.Rsh(copies, uint(8*(whole-n)))
	for range n / size {
		sum.Add(sum, new(big.Int).And(copies, part))
		copies.Rsh(copies, uint(8*size))
	}
	for sum.Cmp(part) > 0 {
		carry := new(big.Int).Rsh(sum, uint(8*size))
		sum.And(sum, part).Add(sum, carry)
	}
	return sum.FillBytes(make([]byte, size))
}

func lcm(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}

func clip(b []byte) []byte { return b[:min(len(b), 16)] }

// first sends the first message of the acceptor. Without a token from that,
// Heimdal 7.8 takes it for the second.
func first(t testing.TB, i, a *Context) {
	t.Helper()
	token := wrap(t, a, "first")
	if kind() == gss.KindHeimdal && i.flags&FlagMutual == 0 {
		_, err := i.Unwrap(token)
		wantErr(t, "the acceptor's first message", err, ErrGapToken)
		return
	}
	receive(t, i, token, "first")
}

func sessionKey(t testing.TB, c *Context) *Key {
	t.Helper()
	k, err := c.SessionKey()
	if err != nil {
		t.Fatalf("SessionKey of %v: %v", c, err)
	}
	return k
}

func initiatorSubkey(t testing.TB, c *Context) *Key {
	t.Helper()
	k, err := c.InitiatorSubkey()
	if err != nil {
		t.Fatalf("InitiatorSubkey of %v: %v", c, err)
	}
	return k
}

func lucid(t testing.TB, c *Context) *LucidContext {
	t.Helper()
	l, err := c.Lucid()
	if err != nil {
		t.Fatalf("Lucid of %v: %v", c, err)
	}
	return l
}

// show is a key as a test compares it.
func show(k *Key) string {
	if k == nil {
		return "none"
	}
	return fmt.Sprintf("%d %x", k.Type, k.Value)
}

func TestKeys(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		for _, without := range []Flags{0, FlagMutual} {
			t.Run("without "+without.String(), func(t *testing.T) {
				i, a := pair(t, &InitiatorOptions{Mech: mech, Without: without}, nil)
				li, la := lucid(t, i), lucid(t, a)
				if !li.Initiate || la.Initiate || li.Protocol != 1 || la.Protocol != 1 {
					t.Errorf("%+v, %+v", li, la)
				}
				if li.EndTime != la.EndTime {
					t.Errorf("the ticket ends %v and %v", li.Expiry(), la.Expiry())
				}
				if li.SendSeq != la.RecvSeq || li.SendSeq == 0 {
					t.Errorf("the initiator sends %d, the acceptor receives %d", li.SendSeq, la.RecvSeq)
				}
				// Heimdal 7.8 has no number for the messages of an acceptor that said nothing.
				if la.SendSeq != li.RecvSeq && (without == 0 || kind() != gss.KindHeimdal) {
					t.Errorf("the acceptor sends %d, the initiator receives %d", la.SendSeq, li.RecvSeq)
				}
				if show(&li.Key) != show(&la.Key) || show(li.AcceptorSubkey) != show(la.AcceptorSubkey) {
					t.Error("the ends have not the same keys")
				}
				tokens := &li.Key
				if without == 0 {
					tokens = li.AcceptorSubkey
					if tokens == nil || show(tokens) == show(&li.Key) {
						t.Fatal("the acceptor has no subkey of its own")
					}
				} else if li.AcceptorSubkey != nil {
					t.Error("an acceptor that says nothing has a subkey")
				}
				for _, c := range []*Context{i, a} {
					k := sessionKey(t, c)
					if show(k) != show(tokens) || k.Type == 0 || len(k.Value) < 16 {
						t.Errorf("the session key of %v is not the key of its tokens: %v", c, k)
					}
					if show(initiatorSubkey(t, c)) != show(&li.Key) {
						t.Errorf("the initiator's subkey of %v is another than the lucid one", c)
					}
				}
				first(t, i, a)
				exchange(t, i, a) // the contexts are kept
				exchange(t, transfer(t, i), a)
			})
		}
	})
}

func TestServiceKey(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		k, err := a.ServiceKey()
		if kind() != gss.KindHeimdal {
			wantErr(t, "ServiceKey", err, ErrUnavailable)
			if !strings.Contains(err.Error(), "no function gsskrb5_extract_service_keyblock") {
				t.Errorf("%v does not name the function", err)
			}
			return
		}
		if err != nil || len(k.Value) == 0 || k.Type == 0 {
			t.Fatal(k, err)
		}
		file, err := os.ReadFile(keytab)
		if err != nil || !bytes.Contains(file, k.Value) {
			t.Errorf("%v is not in the keytab: %v", k, err)
		}
		_, err = i.ServiceKey()
		wantErr(t, "ServiceKey of an initiator", err, ErrUnavailable)
		_, err = transfer(t, a).ServiceKey()
		wantErr(t, "ServiceKey of an imported context", err, ErrUnavailable)
	})
}

// No way of printing shows a key.
func TestKeysDoNotPrint(t *testing.T) {
	needsHandshake(t)
	i, _ := pair(t, nil, nil)
	k, l := sessionKey(t, i), lucid(t, i)
	defer k.Clear()
	defer l.Clear()
	var log bytes.Buffer
	for _, logger := range []*slog.Logger{slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))} {
		logger.Info("key", "key", k, "value", *k, "lucid", l, "in", struct{ K *Key }{k})
	}
	for _, v := range []any{k, *k, l, *l, []Key{*k}, map[string]*Key{"k": k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		if err := json.NewEncoder(&log).Encode(v); err != nil {
			t.Error(err)
		}
	}
	out := strings.ToLower(log.String())
	if !strings.Contains(out, fmt.Sprintf("enctype %d", k.Type)) {
		t.Errorf("no enctype in %s", out)
	}
	for _, secret := range []*Key{k, &l.Key, l.AcceptorSubkey} {
		b, _ := json.Marshal(secret.Value)
		for what, form := range map[string]string{
			"hexadecimal": hex.EncodeToString(secret.Value[:6]), "decimal": strings.Trim(fmt.Sprint(secret.Value[:6]), "[]"),
			"base64": strings.ToLower(strings.Trim(string(b), `"`))[:8], "raw": strings.ToLower(string(secret.Value[:6])),
		} {
			if strings.Contains(out, form) {
				t.Errorf("a key was printed in %s", what)
			}
		}
	}
	value := k.Value
	k.Clear()
	if k.Value != nil || !bytes.Equal(value, make([]byte, len(value))) {
		t.Error("Clear left the key")
	}
	values := [][]byte{l.Key.Value, l.AcceptorSubkey.Value}
	l.Clear()
	for _, v := range values {
		if !bytes.Equal(v, make([]byte, len(v))) {
			t.Error("Clear left a key of the lucid context")
		}
	}
	(*Key)(nil).Clear()
	(*LucidContext)(nil).Clear()
}

func TestTicket(t *testing.T) {
	kept(t)
	needsHandshake(t)
	plain, err := realm.Kinit("alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	eachMech(t, func(t *testing.T, mech OID) {
		for _, forwardable := range []bool{true, false} {
			t.Run(fmt.Sprint("forwardable ", forwardable), func(t *testing.T) {
				if !forwardable {
					t.Setenv("KRB5CCNAME", "FILE:"+plain)
				}
				began := time.Now()
				i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
				_, moved := pair(t, &InitiatorOptions{Mech: mech}, nil)
				moved = transfer(t, moved)
				first, err := a.AuthTime()
				if err != nil {
					t.Fatal(err)
				}
				if first.After(began) || first.Before(began.Add(-24*time.Hour)) || !lucid(t, a).Expiry().After(first) {
					t.Errorf("authenticated at %v, now is %v, the ticket ends %v", first, began, lucid(t, a).Expiry())
				}
				for what, c := range map[string]*Context{"acceptor": a, "initiator": i, "imported": moved} {
					f, err := c.TicketFlags()
					at, err2 := c.AuthTime()
					if kind() == gss.KindHeimdal && what != "acceptor" {
						wantErr(t, "TicketFlags, "+what, err, ErrUnavailable)
						wantErr(t, "AuthTime, "+what, err2, ErrUnavailable)
						continue
					}
					if err != nil || err2 != nil {
						t.Fatal(what, err, err2)
					}
					if f&TicketForwardable != 0 != forwardable || f&(TicketInitial|TicketInvalid|TicketProxy|TicketAnonymous) != 0 {
						t.Errorf("%s: ticket flags %v", what, f)
					}
					if strings.Contains(f.String(), "forwardable") != forwardable {
						t.Errorf("%v does not say what it is", f)
					}
					if at != first {
						t.Errorf("%s: authenticated at %v, want %v", what, at, first)
					}
				}
			})
		}
	})
}

func TestTicketFlagsString(t *testing.T) {
	for f, want := range map[TicketFlags]string{
		0: "none", TicketForwardable: "forwardable", TicketForwardable | TicketAnonymous: "forwardable,anonymous",
		1 << 31: "flag 0", 1 | TicketInitial: "initial,flag 31",
	} {
		if f.String() != want {
			t.Errorf("%#x: %q, want %q", uint32(f), f, want)
		}
	}
}

func TestPAC(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		pac, err := a.PAC()
		if err != nil {
			t.Fatal(err)
		}
		// MS-PAC, 2.3: so many buffers, each with 16 bytes of header; version 0.
		if len(pac) < 8 {
			t.Fatalf("a PAC of %d bytes", len(pac))
		}
		if n, version := binary.LittleEndian.Uint32(pac), binary.LittleEndian.Uint32(pac[4:]); n == 0 || version != 0 || len(pac) < 8+16*int(n) {
			t.Errorf("a PAC of %d bytes with %d buffers, version %d", len(pac), n, version)
		}
		// As most it is within an AD-IF-RELEVANT.
		whole, err := a.AuthorizationData(1)
		if err != nil || !bytes.Contains(whole, pac) {
			t.Errorf("AD-IF-RELEVANT has %d bytes and not the PAC: %v", len(whole), err)
		}
		if kind() == gss.KindMIT {
			parts, err := a.InquireByOID(mitAuthzData + "\x01")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([][]byte{whole}, parts); diff != "" {
				t.Errorf("by its object identifier (- AuthorizationData):\n%s", diff)
			}
		} else {
			same, err := a.AuthorizationData(128)
			if err != nil || !bytes.Equal(same, pac) {
				t.Errorf("AuthorizationData has another PAC: %v", err)
			}
		}
		_, err = i.PAC()
		wantErr(t, "PAC of an initiator", err, ErrUnavailable)
		for _, typ := range ints(-1<<40, -1, 0, 2, 1<<31-1, 1<<31, 1<<40) {
			for _, c := range []*Context{i, a} {
				_, err = c.AuthorizationData(typ)
				wantErr(t, fmt.Sprintf("AuthorizationData(%d) of %v", typ, c), err, ErrUnavailable)
			}
		}
		exchange(t, i, a)
	})
}

func TestInquireByOID(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			for _, object := range []OID{unknownObject, "", mitLucid, mitLucid + "\x01", mitLucid[:len(mitLucid)-1], "\x80", OID(strings.Repeat("\xff", 200))} {
				parts, err := c.InquireByOID(object)
				wantErr(t, object.String(), err, ErrUnavailable)
				if parts != nil {
					t.Errorf("%v: there is a result", object)
				}
			}
			_, err := c.InquireByOID(OID(strings.Repeat("\x2a", 1000)))
			wantErr(t, "a long object identifier", err, ErrFailure)
			k := sessionKey(t, c)
			parts, err := c.InquireByOID(gss.InqSSPISessionKey)
			if err != nil || !bytes.Equal(parts[0], k.Value) {
				t.Errorf("%d parts, %v; want the session key", len(parts), err)
			}
			if want := map[gss.Kind]int{gss.KindMIT: 2, gss.KindHeimdal: 1}[kind()]; len(parts) != want {
				t.Errorf("%d parts, want %d", len(parts), want)
			}
			ssf, err := c.InquireByOID(gss.InqSASLSSF)
			if kind() == gss.KindMIT {
				if want := [][]byte{binary.BigEndian.AppendUint32(nil, uint32(8*len(k.Value)))}; err != nil || !slices.EqualFunc(ssf, want, bytes.Equal) {
					t.Errorf("strength %v, %v; want %v", ssf, err, want)
				}
			} else {
				wantErr(t, "the strength", err, ErrUnavailable)
			}
			exchange(t, c, peer)
		})
	})
}

func TestSetOption(t *testing.T) {
	kept(t)
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			plugin := OID(heimdalOption + "\x13")
			for _, option := range []OID{unknownObject, "", plugin} {
				wantErr(t, option.String(), c.SetOption(option, make([]byte, 24)), ErrUnavailable)
				wantErr(t, option.String()+" without a value", c.SetOption(option, nil), ErrUnavailable)
			}
			value := []byte{1, 2, 3, 4}
			for _, err := range []error{c.SetOption(compatDES3MIC, []byte{1}), c.SetOption(compatDES3MIC, []byte{0}), c.SetOption(getTimeOffset, value)} {
				if kind() == gss.KindHeimdal {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				wantErr(t, "an option of Heimdal", err, ErrUnavailable)
			}
			if !bytes.Equal(value, []byte{1, 2, 3, 4}) {
				t.Errorf("the value was changed to %v", value)
			}
			wantErr(t, "a value of another length", c.SetOption(compatDES3MIC, value), ErrUnavailable)
			// What is the thread's stays: on Heimdal this took bob's tickets for all that
			// came on the same thread.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for option, value := range map[string]string{"\x05": "FILE:/nowhere/keytab", "\x07": "\x01", "\x0f": "ELSEWHERE.TEST", "\x10": "FILE:/nowhere/ccache", "\x11": "\x00\x00\x0e\x10"} {
				wantErr(t, "an option of the thread", c.SetOption(OID(heimdalOption+option), []byte(value)), ErrUnavailable)
			}
			speaksFor(t, acquire(t, nil), mech, "alice")
			exchange(t, c, peer)
		})
	})
}

// The calls of one library.
func TestOwnCalls(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			_, err := c.StreamSizes()
			wantErr(t, "StreamSizes", err, ErrUnavailable)
			if named := strings.Contains(err.Error(), "no function gss_context_query_attributes"); named != (kind() == gss.KindMIT) {
				t.Errorf("StreamSizes: %v", err)
			}
			err = c.CompleteAuthToken([]byte("the first message"))
			if kind() == gss.KindMIT {
				if err != nil {
					t.Errorf("CompleteAuthToken: %v", err)
				}
			} else {
				wantErr(t, "CompleteAuthToken", err, ErrUnavailable)
				if !strings.Contains(err.Error(), "no function gss_complete_auth_token") {
					t.Errorf("%v does not name the function", err)
				}
			}
			exchange(t, c, peer)
		})
	})
}

func TestThreadSettings(t *testing.T) {
	if kind() != gss.KindHeimdal {
		called := false
		wantErr(t, "Run", (&ThreadSettings{}).Run(func() error { called = true; return nil }), ErrUnavailable)
		if called {
			t.Error("the function was called")
		}
		_, err := TimeOffset()
		wantErr(t, "TimeOffset", err, ErrUnavailable)
		return
	}
	kept(t)
	name := importName(t, "alice", NTUserName)
	realmOf := func() string {
		mn, err := name.Canonicalize(context.Background(), MechKrb5)
		if err != nil {
			return err.Error()
		}
		_, r, _ := strings.Cut(mn.String(), "@")
		return r
	}
	i, _ := pair(t, nil, nil)
	configured, left := realmOf(), timeLeft(t, i)
	fault := fmt.Errorf("what the function returned")
	err := (&ThreadSettings{DefaultRealm: "ELSEWHERE.TEST", TimeOffset: time.Hour}).Run(func() error {
		if o, err := TimeOffset(); err != nil || (o-time.Hour).Abs() > time.Second { // it drops the fraction
			t.Errorf("the time offset is %v, %v", o, err)
		}
		if r := realmOf(); r != "ELSEWHERE.TEST" {
			t.Errorf("the default realm is %s", r)
		}
		if now := timeLeft(t, i); now > left-time.Hour+time.Second {
			t.Errorf("the context lives for %v, before it was %v", now, left)
		}
		return fault
	})
	if err != fault {
		t.Errorf("Run returned %v", err)
	}
	// Nothing is left on any thread.
	var held, done sync.WaitGroup
	for range 50 {
		held.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			held.Done()
			held.Wait()
			if o, err := TimeOffset(); err != nil || o != 0 {
				t.Errorf("afterwards the time offset is %v, %v", o, err)
			}
			if r := realmOf(); r != configured {
				t.Errorf("afterwards the default realm is %s, want %s", r, configured)
			}
		}()
	}
	done.Wait()
	for _, s := range []*ThreadSettings{nil, {}} {
		if err := s.Run(func() error { return nil }); err != nil {
			t.Errorf("without settings: %v", err)
		}
	}
	never := func() error { t.Error("the function was called"); return nil }
	wantErr(t, "a long offset", (&ThreadSettings{TimeOffset: 1 << 62}).Run(never), ErrFailure)
	wantErr(t, "a realm with a NUL", (&ThreadSettings{DefaultRealm: "A\x00B"}).Run(never), ErrFailure)
	wantErr(t, "a function that ends its goroutine", (&ThreadSettings{}).Run(func() error { runtime.Goexit(); return nil }), ErrFailure)
	wantErr(t, "no function", (&ThreadSettings{}).Run(nil), ErrFailure)
	defer func() {
		if p := recover(); p != "a fault" {
			t.Errorf("a panic of the function comes out as %v", p)
		}
	}()
	(&ThreadSettings{}).Run(func() error { panic("a fault") })
}

// timeLeft is how long a context lives.
func timeLeft(t testing.TB, c *Context) time.Duration {
	t.Helper()
	s, err := c.ctx.Time()
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(s) * time.Second
}

// The libraries ask the name service for the canonical name of a host. What that
// is this machine's resolver says: it needs a host with two names.
func TestThreadSettingsCanonicalHosts(t *testing.T) {
	lacks(t, gss.KindMIT, "it has no settings for a thread")
	lacks(t, gss.KindGNU, "it has no settings for a thread")
	alias := "ip6-localhost"
	names, err := net.LookupAddr("::1")
	if err != nil || !slices.Contains(names, alias) || !slices.Contains(names, "localhost") {
		t.Skipf("%s is not an alias of localhost here: %q, %v", alias, names, err)
	}
	kept(t)
	for _, on := range []bool{true, false} {
		err := (&ThreadSettings{CanonicalHosts: &on}).Run(func() error {
			mn, err := importName(t, "host@"+alias, NTHostBasedService).Canonicalize(context.Background(), MechKrb5)
			if err != nil {
				return err
			}
			if strings.Contains(mn.String(), alias) == on {
				t.Errorf("CanonicalHosts %v makes %v", on, mn)
			}
			return nil
		})
		if err != nil {
			t.Errorf("CanonicalHosts %v: %v", on, err)
		}
	}
}
