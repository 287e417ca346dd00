package gssapi

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed2651813c/gss"
)

// unordered are flags without which messages are taken in any order, any number
// of times: where a test is about what is in a message.
const unordered = FlagReplay | FlagSequence

func TestMessages(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		for _, n := range []int{0, 1, 15, 16, 17, 1000, 1 << 16, 1<<20 + 1} {
			for _, p := range []Protection{Private, Integrity} {
				msg := bytes.Repeat([]byte("message "), n/8+1)[:n]
				want := slices.Clone(msg)
				token, err := i.AppendWrap([]byte("prefix"), msg, p)
				if err != nil {
					t.Fatalf("%d bytes, %v: %v", n, p, err)
				}
				if !bytes.Equal(msg, want) {
					t.Fatalf("%d bytes, %v: AppendWrap changed the message", n, p)
				}
				token, ok := bytes.CutPrefix(token, []byte("prefix"))
				if !ok {
					t.Fatalf("%d bytes, %v: dst is not in front", n, p)
				}
				if readable := n > 8 && bytes.Contains(token, msg[:8]); readable != (n > 8 && p == Integrity) {
					t.Fatalf("%d bytes, %v: is it readable? %v", n, p, readable)
				}
				out, q, err := a.AppendUnwrap([]byte("prefix"), token)
				if err != nil || q != p || string(out) != "prefix"+string(want) {
					t.Fatalf("%d bytes, %v: got %d bytes, %v, %v", n, p, len(out), q, err)
				}
			}
		}
	})
}

func TestMessageOfNothing(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		for _, msg := range [][]byte{nil, {}} {
			token, err := i.Wrap(msg)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := a.Unwrap(token); err != nil || len(got) != 0 {
				t.Fatalf("%q, %v", got, err)
			}
			mic, err := i.AppendMIC(nil, msg)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.VerifyMIC(nil, mic); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Unwrap(msg); err == nil {
				t.Error("nothing was unwrapped")
			}
			if err := a.VerifyMIC([]byte("msg"), msg); err == nil {
				t.Error("nothing is a MIC")
			}
		}
		exchange(t, i, a)
	})
}

// A message that the peer only signed is refused where encryption was agreed on,
// unless the caller looks at the protection.
func TestNotEncrypted(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		for range 2 {
			token, err := i.AppendWrap(nil, []byte("readable by all"), Integrity)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(token, []byte("readable by all")) {
				t.Fatal("it is encrypted")
			}
			msg, err := a.Unwrap(token)
			wantErr(t, "Unwrap", err, ErrNotEncrypted)
			if msg != nil {
				t.Errorf("Unwrap returned %q with an error", msg)
			}
			token, _ = i.AppendWrap(nil, []byte("readable by all"), Integrity)
			msg, p, err := a.AppendUnwrap(nil, token)
			if err != nil || p != Integrity || string(msg) != "readable by all" {
				t.Errorf("AppendUnwrap: %q, %v, %v", msg, p, err)
			}
			msg, p, err = a.AppendUnwrap(nil, wrap(t, i, "secret"))
			if err != nil || p != Private || string(msg) != "secret" {
				t.Errorf("AppendUnwrap: %q, %v, %v", msg, p, err)
			}
		}
		exchange(t, i, a)
		_, err := i.AppendWrap(nil, []byte("msg"), Protection(2))
		wantErr(t, "a protection that is none", err, ErrBadQOP)
	})
}

// MIT and Heimdal grant confidentiality to who did not ask for it; for one who
// has not got it the flag is taken away here.
func TestWithoutConfidentiality(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Without: FlagConf}, nil)
		for _, c := range []*Context{i, a} {
			c.flags &^= FlagConf
			token, err := c.Wrap([]byte("secret"))
			wantErr(t, "Wrap", err, ErrUnavailable)
			if token != nil {
				t.Error("there is a token")
			}
		}
		token, err := i.AppendWrap(nil, []byte("readable"), Integrity)
		if err != nil {
			t.Fatal(err)
		}
		receive(t, a, token, "readable")
	})
}

func TestUnwrapKeepsItsInput(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech, Without: unordered}, func(t *testing.T, c, peer *Context) {
			for _, token := range [][]byte{wrap(t, peer, "hello"), wrap(t, peer, strings.Repeat("hello", 1000)), []byte("junk")} {
				// Spare room behind the token is not touched either.
				room := append(slices.Clone(token), "the caller's"...)
				c.Unwrap(room[:len(token)])
				if !bytes.Equal(room[:len(token)], token) || string(room[len(token):]) != "the caller's" {
					t.Errorf("Unwrap of %d bytes changed its token or what is behind it", len(token))
				}
			}
		})
	})
}

func TestAppendInPlace(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech}, nil)
		for range 3 {
			buf := append(make([]byte, 0, 200), "a message"...)
			// The message lies in dst's spare room.
			token, err := i.AppendWrap(buf[:0], buf, Private)
			if err != nil {
				t.Fatal(err)
			}
			if &token[0] != &buf[0] {
				t.Error("there was room, and it was not used")
			}
			// The message replaces its token.
			msg, _, err := a.AppendUnwrap(token[:0], token)
			if err != nil || string(msg) != "a message" {
				t.Fatalf("%q, %v", msg, err)
			}
			if &msg[0] != &buf[0] {
				t.Error("there was room, and it was not used")
			}
		}
	})
}

// On an error dst is as it was.
func TestAppendOnError(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
		dst := append(make([]byte, 0, 100), "dst"...)
		token := wrap(t, i, "hello")
		token[len(token)-1] ^= 1
		out, p, err := a.AppendUnwrap(dst, token)
		if err == nil || string(out) != "dst" || p != Integrity {
			t.Errorf("AppendUnwrap: %q, %v, %v", out, p, err)
		}
		a.Close()
		if out, err := a.AppendWrap(dst, []byte("msg"), Private); err == nil || string(out) != "dst" {
			t.Errorf("AppendWrap: %q, %v", out, err)
		}
		if out, err := a.AppendMIC(dst, []byte("msg")); err == nil || string(out) != "dst" {
			t.Errorf("AppendMIC: %q, %v", out, err)
		}
		if out, _, err := a.AppendUnwrap(dst, []byte("msg")); err == nil || string(out) != "dst" {
			t.Errorf("AppendUnwrap: %q, %v", out, err)
		}
	})
}

// Which messages are taken out of their sequence.
func TestOrder(t *testing.T) {
	needsHandshake(t)
	ordered := kind() != gss.KindMIT // tolerates nothing
	for _, order := range []Order{0, AllowGap, AllowReorder, AllowGap | AllowReorder} {
		t.Run([...]string{"none", "gap", "reorder", "both"}[order], func(t *testing.T) {
			eachMech(t, func(t *testing.T, mech OID) {
				i, a := pair(t, &InitiatorOptions{Mech: mech, Order: order}, &AcceptorOptions{Order: order})
				for _, ends := range [][2]*Context{{i, a}, {a, i}} {
					from, to := ends[0], ends[1]
					check := func(what string, token []byte, msg string, allowed bool, want Major) {
						t.Helper()
						got, err := to.Unwrap(token)
						if allowed && !ordered {
							if err != nil || string(got) != msg {
								t.Errorf("%s: %q, %v", what, got, err)
							}
							return
						}
						if !errors.Is(err, want) || got != nil {
							t.Errorf("%s: %q, %v, want %v", what, got, err, want)
						}
					}
					// (Heimdal 7.8 does not know late ones from damaged ones when
					// it has had a single message.)
					send(t, from, to, "zeroth")
					send(t, from, to, "first")
					second, third := wrap(t, from, "second"), wrap(t, from, "third")
					check("a gap", third, "third", order&AllowGap != 0, ErrGapToken)
					check("late", second, "second", order&AllowReorder != 0, ErrUnseqToken)
					check("late again", second, "", false, ErrDuplicateToken)
					if laterHeimdal() {
						to.Unwrap(third) // it forgets that it refused it for the gap, and takes it: but once
					}
					check("a duplicate", third, "", false, ErrDuplicateToken)
					send(t, from, to, "next")

					// The same for MICs, which share the numbers.
					mic := func() []byte {
						m, err := from.AppendMIC(nil, []byte("msg"))
						if err != nil {
							t.Fatal(err)
						}
						return m
					}
					verify := func(what string, mic []byte, allowed bool, want Major) {
						t.Helper()
						err := to.VerifyMIC([]byte("msg"), mic)
						if allowed && !ordered {
							if err != nil {
								t.Errorf("%s: %v", what, err)
							}
						} else if !errors.Is(err, want) {
							t.Errorf("%s: %v, want %v", what, err, want)
						}
					}
					one, two := mic(), mic()
					verify("MIC with a gap", two, order&AllowGap != 0, ErrGapToken)
					verify("MIC late", one, order&AllowReorder != 0, ErrUnseqToken)
					if laterHeimdal() {
						to.VerifyMIC([]byte("msg"), two)
					}
					verify("MIC twice", two, false, ErrDuplicateToken)
					send(t, from, to, "after")

					// So late that nobody knows: MIT calls it late like any other.
					taken, old := wrap(t, from, "taken"), wrap(t, from, "old")
					receive(t, to, taken, "taken")
					to.Unwrap(wrap(t, from, "a gap before it"))
					for range 61 {
						send(t, from, to, "new")
					}
					if !ordered { // Heimdal 7.8 remembers 20
						check("a duplicate that is 63 late", taken, "", false, ErrDuplicateToken)
					}
					send(t, from, to, "new")
					for what, token := range map[string][]byte{"a duplicate that is 64 late": taken, "a message that is 63 late": old} {
						msg, err := to.Unwrap(token)
						allowed := what != "a duplicate that is 64 late" && order&AllowReorder != 0 && !ordered
						if allowed && (err != nil || string(msg) != "old") || !allowed && err == nil {
							t.Errorf("%s: %q, %v", what, msg, err)
						}
					}
					send(t, from, to, "new")
					_, err := to.Unwrap(taken)
					if err == nil || majorOf(err)&^(ErrOldToken|ErrUnseqToken|ErrDuplicateToken) != 0 {
						t.Errorf("an old duplicate: %v", err)
					}
				}
			})
		})
	}
}

// majorOf is the major status of an error.
func majorOf(err error) Major {
	var e *Error
	errors.As(err, &e)
	return e.Major
}

// Whoever asks for no order gets none.
func TestWithoutOrder(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
		if f := i.flags & unordered; f != 0 {
			t.Fatalf("granted and not asked for: %v", f)
		}
		one, two := wrap(t, i, "one"), wrap(t, i, "two")
		receive(t, a, two, "two")
		receive(t, a, one, "one")
		receive(t, a, one, "one")
	})
}

func TestForged(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			exchange(t, c, peer)
			genuine := wrap(t, peer, "genuine")
			forged := slices.Clone(genuine)
			forged[len(forged)-1] ^= 0x40
			msg, err := c.Unwrap(forged)
			if msg != nil || !errors.Is(err, ErrBadSig) && !errors.Is(err, ErrDefectiveToken) {
				t.Errorf("a forged message: %q, %v", msg, err)
			}
			msg, err = c.Unwrap(genuine)
			if kind() == gss.KindMIT || err == nil {
				if err != nil || string(msg) != "genuine" {
					t.Errorf("the genuine one: %q, %v", msg, err)
				}
			} else {
				// Heimdal 7.8 has counted the forged one.
				wantErr(t, "the genuine one", err, ErrDuplicateToken)
			}
			exchange(t, c, peer)
			if _, err := c.Unwrap(wrap(t, c, "reflected")); err == nil {
				t.Error("its own message was taken for the peer's")
			}
			x, _ := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
			_, y := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
			if msg, err := y.Unwrap(wrap(t, x, "of another context")); err == nil {
				t.Errorf("another context's message: %q", msg)
			}
		})
	})
}

// No change of a token, however small, makes another message of it.
func TestDamaged(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		for _, without := range []Flags{0, unordered} {
			for _, p := range []Protection{Private, Integrity} {
				t.Run(fmt.Sprintf("%v without %v", p, without), func(t *testing.T) {
					i, a := pair(t, &InitiatorOptions{Mech: mech, Without: without}, nil)
					testDamaged(t, i, a, p, without != 0)
				})
			}
		}
	})
}

func testDamaged(t *testing.T, from, to *Context, p Protection, again bool) {
	const msg = "hi"
	token, err := from.AppendWrap(nil, []byte(msg), p)
	if err != nil {
		t.Fatal(err)
	}
	unwrap := func(what string, token []byte) {
		t.Helper()
		got, q, err := to.AppendUnwrap(nil, slices.Clone(token))
		if err == nil && (string(got) != msg || q != p) {
			t.Errorf("%s: %q, %v", what, got, q)
		}
		if err != nil && got != nil {
			t.Errorf("%s: %q with an error", what, got)
		}
	}
	accepted := func() bool {
		got, _, err := to.AppendUnwrap(nil, slices.Clone(token))
		return err == nil && string(got) == msg
	}
	if again && !accepted() {
		t.Fatal("the token is not accepted as it is")
	}
	for n := range token {
		unwrap(fmt.Sprintf("the first %d of %d bytes", n, len(token)), token[:n])
		unwrap(fmt.Sprintf("without the first %d bytes", n+1), token[n+1:])
		for bit := range 8 {
			damaged := slices.Clone(token)
			damaged[n] ^= 1 << bit
			unwrap(fmt.Sprintf("bit %d of byte %d of %d", bit, n, len(token)), damaged)
		}
	}
	for _, tail := range []string{"\x00", "x", string(token)} {
		unwrap("something behind it", append(slices.Clone(token), tail...))
	}
	if again && !accepted() {
		t.Error("the token is not accepted any more")
	}
	// MICs have nothing that may change.
	mic, err := from.AppendMIC(nil, []byte(msg))
	if err != nil {
		t.Fatal(err)
	}
	for n := range mic {
		if to.VerifyMIC([]byte(msg), mic[:n]) == nil {
			t.Errorf("the first %d of %d bytes of a MIC are one", n, len(mic))
		}
		for bit := range 8 {
			damaged := slices.Clone(mic)
			damaged[n] ^= 1 << bit
			if to.VerifyMIC([]byte(msg), damaged) == nil {
				t.Errorf("bit %d of byte %d of a MIC may change", bit, n)
			}
		}
	}
	if again {
		if err := to.VerifyMIC([]byte(msg), mic); err != nil {
			t.Error(err)
		}
	}
}

func TestMIC(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		eachSide(t, &InitiatorOptions{Mech: mech}, func(t *testing.T, c, peer *Context) {
			msg := []byte("a message")
			mic, err := c.AppendMIC([]byte("prefix"), msg)
			if err != nil || !bytes.HasPrefix(mic, []byte("prefix")) {
				t.Fatalf("%q, %v", mic, err)
			}
			mic = mic[len("prefix"):]
			kept := slices.Clone(mic)
			if err := peer.VerifyMIC(msg, mic); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mic, kept) {
				t.Error("VerifyMIC changed the MIC")
			}
			wantErr(t, "the same again", peer.VerifyMIC(msg, mic), ErrDuplicateToken)
			mic, _ = c.AppendMIC(nil, msg)
			wantErr(t, "another message", peer.VerifyMIC([]byte("a massage"), mic), ErrBadMIC)
			if c.VerifyMIC(msg, mic) == nil {
				t.Error("its own MIC was taken for the peer's")
			}
		})
	})
}

func TestMaxMessage(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, _ := pair(t, &InitiatorOptions{Mech: mech}, nil)
		msg := make([]byte, 1<<17)
		for _, p := range []Protection{Private, Integrity} {
			none := 0
			for _, size := range append(seq(300), 1000, 1024, 4095, 4096, 1<<16-1, 1<<16) {
				n, err := i.MaxMessage(size, p)
				if err != nil {
					t.Fatalf("%v, %d: %v", p, size, err)
				}
				if n == 0 {
					none++
					continue
				}
				fits, err := i.AppendWrap(nil, msg[:n], p)
				if err != nil {
					t.Fatal(err)
				}
				more, err := i.AppendWrap(nil, msg[:n+1], p)
				if err != nil {
					t.Fatal(err)
				}
				if len(fits) > size || len(more) <= size {
					t.Errorf("%v: MaxMessage(%d) is %d; that many take %d bytes, one more %d", p, size, n, len(fits), len(more))
				}
			}
			if none > 100 {
				t.Errorf("%v: no message fits up to %d bytes", p, none)
			}
		}
		for _, size := range []int{-1, math.MinInt} {
			if _, err := i.MaxMessage(size, Private); err == nil {
				t.Errorf("a size of %d", size)
			}
		}
		if n, err := i.MaxMessage(math.MaxInt, Private); err != nil || n < 1<<30 || n > math.MaxInt32 {
			t.Errorf("of the longest token: %d, %v", n, err)
		}
		_, err := i.MaxMessage(100, Protection(2))
		if err == nil {
			t.Error("a protection that is none")
		}
	})
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

func TestMessagesConcurrently(t *testing.T) {
	eachMech(t, func(t *testing.T, mech OID) {
		i, a := pair(t, &InitiatorOptions{Mech: mech, Without: unordered}, nil)
		var wg sync.WaitGroup
		for n := range 16 {
			from, to := i, a
			if n%2 == 1 {
				from, to = a, i
			}
			wg.Go(func() {
				for k := range 100 {
					msg := fmt.Sprintf("message %d of %d", k, n)
					token, err := from.Wrap([]byte(msg))
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := to.Unwrap(token); err != nil || string(got) != msg {
						t.Errorf("%q, %v", got, err)
						return
					}
					mic, err := from.AppendMIC(nil, []byte(msg))
					if err != nil {
						t.Error(err)
						return
					}
					if err := to.VerifyMIC([]byte(msg), mic); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// FuzzUnwrap feeds junk to a context.
func FuzzUnwrap(f *testing.F) {
	if os.Getenv(childEnv) == "" {
		needsHandshake(f)
	}
	i, a := pair(f, &InitiatorOptions{Without: unordered}, nil)
	for _, p := range []Protection{Private, Integrity} {
		for _, msg := range []string{"", "hi", strings.Repeat("long ", 50)} {
			token, err := i.AppendWrap(nil, []byte(msg), p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(token)
		}
	}
	mic, err := i.AppendMIC(nil, []byte("msg"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(mic)
	f.Add([]byte("\x60\x1f\x06\x09" + string(MechKrb5) + "\x02\x01\x00\x00\xff\xff\xff\xff" + strings.Repeat("x", 20)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, token []byte) {
		before := slices.Clone(token)
		msg, err := a.Unwrap(token)
		if !bytes.Equal(token, before) {
			t.Error("the token was changed")
		}
		if err != nil && msg != nil {
			t.Error("a message with an error")
		}
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("error %v of type %T", err, err)
		}
		a.VerifyMIC([]byte("msg"), token)
		if err := a.VerifyMIC([]byte("another msg"), token); err == nil {
			t.Error("a MIC of another message")
		}
	})
}
