package gssapi

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed2651813c/gss"
	"github.com/seed2651813c/gss/gssapi/gsstest"
)

// What one end of TestIOVPeers sends to the other.
type peerMessage struct {
	Token      []byte // of the handshake, or a message in one piece
	MIC        []byte
	Parts      []IOVBuffer
	Associated []byte
	What       string // empty: done
	N          int
	Protection Protection
	Complaint  string
}

// peerConn is a connection between the two processes of TestIOVPeers.
type peerConn struct {
	t *testing.T
	*gob.Encoder
	*gob.Decoder
}

func (c *peerConn) send(m peerMessage) {
	c.t.Helper()
	if err := c.Encode(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *peerConn) receive() (m peerMessage) {
	c.t.Helper()
	if err := c.Decode(&m); err != nil {
		c.t.Fatal(err)
	}
	return m
}

const roleEnv = "GSSAPI_TEST_ROLE"

const (
	camellia = "camellia256-cts-cmac"
	rc4      = "arcfour-hmac-md5" // the name that both libraries know
	des3     = "des3-cbc-sha1"
)

// Messages in parts of one library are unwrapped by the other, by parts and in one
// piece, under keys of every kind, and the other way round.
func TestIOVPeers(t *testing.T) {
	needsIOV(t)
	for _, enctype := range []string{"aes256-cts-hmac-sha1-96", "aes256-cts-hmac-sha384-192", camellia, rc4, des3} {
		t.Run(enctype, func(t *testing.T) {
			if role := os.Getenv(roleEnv); role != "" {
				runPeer(t, role, enctype)
				return
			}
			other := gss.KindHeimdal
			switch {
			case enctype == camellia:
				if kind() == gss.KindHeimdal {
					_, err := Acquire(t.Context(), &CredentialOptions{Enctypes: []int32{25, 26}})
					wantErr(t, "Camellia alone", err, ErrFailure)
				}
				lacks(t, gss.KindHeimdal, "7.8 has no Camellia (RFC 6803) among its enctypes")
				other = gss.KindMIT
			case enctype == des3: // Heimdal wraps no parts with DES3
				other = kind()
			case kind() == gss.KindHeimdal:
				other = gss.KindMIT
			}
			r := gsstest.New(t, &gsstest.Options{Principals: []string{"alice", service}, Enctypes: []string{enctype}})
			ccache, err := r.Kinit("alice", nil)
			if err != nil {
				t.Fatal(err)
			}
			keytab, err := r.Keytab(service)
			if err != nil {
				t.Fatal(err)
			}
			env := append(r.EnvFor(ccache, keytab), "KRB5RCACHENAME=none:")
			a := child(t, append(env, roleEnv+"=acceptor", "GSSAPI_LIBRARY="+string(other), "GSS_REQUIRE_LIBRARY="+string(other)))
			i := child(t, append(env, roleEnv+"=initiator"))
			there, here, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			back, away, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			a.ExtraFiles, i.ExtraFiles = []*os.File{there, away}, []*os.File{back, here}
			var aout, iout bytes.Buffer
			a.Stdout, a.Stderr, i.Stdout, i.Stderr = &aout, &aout, &iout, &iout
			err = errors.Join(a.Start(), i.Start())
			for _, f := range []*os.File{there, here, back, away} {
				f.Close()
			}
			if err == nil {
				err = errors.Join(a.Wait(), i.Wait())
			}
			if err != nil {
				t.Errorf("%v\ninitiator, %s:\n%s\nacceptor, %s:\n%s", err, kind(), &iout, other, &aout)
			}
		})
	}
}

// runPeer is one process of TestIOVPeers. The initiator also talks to itself.
func runPeer(t *testing.T, role, enctype string) {
	longest := 1 << 21
	if raceBuild || asanBuild {
		longest = 1 << 16 // for time's sake
	}
	conn := &peerConn{t, gob.NewEncoder(os.NewFile(4, "out")), gob.NewDecoder(os.NewFile(3, "in"))}
	for _, dce := range []bool{false, true} {
		io := &InitiatorOptions{Without: unordered}
		if dce {
			io.Flags = FlagDCEStyle
		}
		if role == "initiator" {
			i, a := pair(t, io, nil)
			eachMessage(t, i, 4096, dce, enctype, func(m peerMessage) {
				if complaint := judge(a, m); complaint != "" {
					t.Errorf("%s of itself: %d bytes, %v: %s", m.What, m.N, m.Protection, complaint)
				}
			})
		}
		c := NewAcceptor(nil)
		if role == "initiator" {
			c = NewInitiator(target(t), io)
			conn.send(peerMessage{Token: step(t, c, nil)})
		}
		for !c.Established() {
			out := step(t, c, conn.receive().Token)
			if len(out) > 0 {
				conn.send(peerMessage{Token: out})
			}
		}
		ask := func() {
			eachMessage(t, c, longest, dce, enctype, func(m peerMessage) {
				conn.send(m)
				if complaint := conn.receive().Complaint; complaint != "" {
					t.Errorf("%s: %d bytes, %v: %s", m.What, m.N, m.Protection, complaint)
				}
			})
			conn.send(peerMessage{})
		}
		answer := func() {
			for m := conn.receive(); m.What != ""; m = conn.receive() {
				conn.send(peerMessage{Complaint: judge(c, m)})
			}
		}
		if enctype == des3 && kind() == gss.KindHeimdal {
			return
		}
		if role == "initiator" {
			ask()
			answer()
		} else {
			answer()
			ask()
		}
	}
}

// eachMessage makes messages of all kinds and sizes up to longest.
func eachMessage(t *testing.T, c *Context, longest int, dce bool, enctype string, f func(peerMessage)) {
	t.Helper()
	must := func(what string, n int, p Protection, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %d bytes, %v: %v", what, n, p, err)
		}
	}
	heimdal := kind() == gss.KindHeimdal
	if enctype == des3 && heimdal {
		wantErr(t, "DES3", c.WrapIOVLength([]IOVBuffer{{Type: IOVHeader}, {Type: IOVData}}, Private), ErrUnavailable)
		_, err := c.UnwrapIOV([]IOVBuffer{{Type: IOVHeader, Data: make([]byte, 100)}, {Type: IOVData}})
		wantErr(t, "DES3", err, ErrUnavailable)
		return
	}
	for _, n := range iovSizes {
		if n > longest || n > 4096 && (dce || enctype == des3) {
			continue // for time's sake
		}
		for _, p := range []Protection{Private, Integrity} {
			msg := lorem(n)
			if dce {
				if p == Integrity && heimdal && enctype != rc4 {
					continue // it refuses to (7.8, lib/gssapi/krb5/cfx.c)
				}
				if enctype == des3 {
					msg = lorem(n &^ 7) // the caller pads
				}
				parts := []IOVBuffer{{Type: IOVSignOnly, Data: []byte("head")}, {Type: IOVData, Data: msg}, {Type: IOVSignOnly, Data: []byte("tail")}, {Type: IOVHeader}}
				must("WrapIOVLength", n, p, c.WrapIOVLength(parts, p))
				must("WrapIOV", n, p, c.WrapIOV(parts, p))
				f(peerMessage{What: "DCE", N: len(msg), Protection: p, Parts: parts})
				continue
			}
			mic, err := c.AppendMIC(nil, msg)
			must("AppendMIC", n, p, err)
			f(peerMessage{What: "MIC", N: n, Protection: p, MIC: mic})
			token, err := c.AppendWrap(nil, msg, p)
			must("AppendWrap", n, p, err)
			f(peerMessage{What: "plain", N: n, Protection: p, Token: token})
			token, iov := wrapParts(t, c, msg, p)
			if k := len(iov[2].Data) - 1; k > 0 { // of the padding one byte at most is padding
				iov = slices.Insert(iov, 2, IOVBuffer{Type: IOVData, Data: iov[2].Data[:k]})
				iov[3].Data = iov[3].Data[k:]
			}
			f(peerMessage{What: "parts", N: n, Protection: p, Token: token, Parts: iov})
			if n > 1<<15 {
				continue
			}
			before, after, err := c.MessageRoom(n, p)
			must("MessageRoom", n, p, err)
			buf := bytes.Join([][]byte{make([]byte, before), msg, make([]byte, after)}, nil)
			token, err = c.WrapInPlace(buf, before, before+n, p)
			must("WrapInPlace", n, p, err)
			f(peerMessage{What: "in place", N: n, Protection: p, Token: token})
			token, err = c.AppendWrapAEAD(nil, msg, []byte("associated"), p)
			must("AppendWrapAEAD", n, p, err)
			f(peerMessage{What: "AEAD", N: n, Protection: p, Token: token, Associated: []byte("associated")})
		}
	}
}

// part is the first part of that type.
func part(iov []IOVBuffer, typ IOVType) []byte {
	return iov[slices.IndexFunc(iov, func(b IOVBuffer) bool { return b.Type == typ })].Data
}

// judge unwraps a message in every way that there is. The context takes it again
// and again.
func judge(c *Context, m peerMessage) string {
	var complaints []string
	check := func(how string, got []byte, p Protection, err error) {
		if err != nil || p != m.Protection || !bytes.Equal(got, lorem(m.N)) {
			complaints = append(complaints, fmt.Sprintf("%s by %s: %d bytes, %v, %v", how, kind(), len(got), p, err))
		}
	}
	if m.MIC != nil {
		check("VerifyMIC", lorem(m.N), m.Protection, c.VerifyMIC(lorem(m.N), m.MIC))
		if m.N > 0 {
			msg := lorem(m.N)
			msg[m.N-1] ^= 1
			if err := c.VerifyMIC(msg, m.MIC); !errors.Is(err, ErrBadMIC) {
				complaints = append(complaints, fmt.Sprintf("VerifyMIC of another message by %s: %v", kind(), err))
			}
		}
	}
	if m.Associated != nil {
		got, p, err := c.AppendUnwrapAEAD(nil, bytes.Clone(m.Token), m.Associated)
		check("AppendUnwrapAEAD", got, p, err)
	} else if m.Token != nil {
		got, p, err := c.AppendUnwrap(nil, bytes.Clone(m.Token))
		check("AppendUnwrap", got, p, err)
		got, p, err = c.UnwrapInPlace(bytes.Clone(m.Token))
		check("UnwrapInPlace", got, p, err)
	}
	if m.Parts != nil {
		parts := cloneIOV(m.Parts)
		p, err := c.UnwrapIOV(parts)
		if m.What == "DCE" && part(m.Parts, IOVHeader)[0] == 0x60 && kind() == gss.KindHeimdal && m.N > 0 && !laterHeimdal() {
			if !errors.Is(err, ErrUnavailable) {
				return fmt.Sprintf("Heimdal 7.8 unwraps RC4 with dce-style: %v", err)
			}
			return ""
		}
		check("UnwrapIOV", part(parts, IOVData), p, err)
	}
	return strings.Join(complaints, "; ")
}
