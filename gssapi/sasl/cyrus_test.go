package sasl

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/gssapi"
)

// cyrus is a sample program of Cyrus SASL, which writes its messages as lines with a
// letter and base64, and reads ours so. It is a net.Conn of them.
type cyrus struct {
	net.Conn // none: for the methods that are not called
	t        *testing.T
	own      string // before its messages: S or C
	lines    *bufio.Scanner
	in       io.Writer
	log      bytes.Buffer
	got      []byte
}

// unpackedSASL is where ci/install.sh puts the programs and mechanisms.
const unpackedSASL = "/usr/local/lib/gsstest/sasl"

func startCyrus(t *testing.T, own, program string, args ...string) *cyrus {
	t.Helper()
	path := filepath.Join(unpackedSASL, program)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("Cyrus SASL's sample programs are needed: run ci/install.sh: %v", err)
	}
	modules, err := filepath.Glob(filepath.Join(unpackedSASL, "usr/lib/*/sasl2"))
	check(t, err)
	cmd := exec.CommandContext(t.Context(), "stdbuf", append([]string{"-oL", path, "-p", modules[0]}, args...)...) // or it keeps its lines
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(modules[0]))
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	cmd.Stderr = cmd.Stdout
	check(t, cmd.Start())
	c := &cyrus{t: t, own: own, lines: bufio.NewScanner(out), in: in}
	c.lines.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		in.Close()
		for c.line() != "" {
		}
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s %q:\n%s", program, args, &c.log)
		}
	})
	return c
}

// line is the next one, and empty at the end.
func (c *cyrus) line() string {
	for c.lines.Scan() {
		fmt.Fprintln(&c.log, c.lines.Text())
		if c.lines.Text() != "" {
			return c.lines.Text()
		}
	}
	return ""
}

// await reads until a line with that in it, or the end.
func (c *cyrus) await(what string) bool {
	for {
		line := c.line()
		if line == "" || strings.Contains(line, what) {
			return line != ""
		}
	}
}

// next is the next message; done is that the program calls the negotiation complete.
func (c *cyrus) next() (msg []byte, done bool, err error) {
	for {
		line := c.line()
		switch {
		case line == "":
			return nil, false, io.EOF
		case strings.Contains(line, "Negotiation complete"):
			return nil, true, nil
		}
		if _, text, ok := strings.Cut(line, c.own+": "); ok { // it may stand behind a prompt
			msg, err := base64.StdEncoding.DecodeString(text)
			return msg, false, err
		}
	}
}

func (c *cyrus) Write(b []byte) (int, error) {
	peer := map[string]string{"S": "C", "C": "S"}[c.own]
	_, err := fmt.Fprintf(c.in, "%s: %s\n", peer, base64.StdEncoding.EncodeToString(b))
	return len(b), err
}

func (c *cyrus) Read(b []byte) (n int, err error) {
	for len(c.got) == 0 {
		if c.got, _, err = c.next(); err != nil {
			return 0, err
		}
	}
	n = copy(b, c.got)
	c.got = c.got[n:]
	return n, nil
}

func (c *cyrus) Close() error { return nil }

// layersOfCyrus are how the sample programs are told which layers they take.
var layersOfCyrus = map[Layers]string{
	LayerNone:                             "max=0",
	LayerIntegrity:                        "min=1,max=1",
	LayerConfidentiality:                  "min=56",
	allLayers:                             "min=0",
	LayerNone | LayerIntegrity:            "max=1",
	LayerIntegrity | LayerConfidentiality: "min=1",
}

// cyrusTests are what either end takes and what they agree on; 0 is nothing.
var cyrusTests = []struct {
	mech              string
	ours, cyrus, want Layers
}{
	{GSSAPI, LayerNone, allLayers, LayerNone},
	{GSSAPI, LayerIntegrity, allLayers, LayerIntegrity},
	{GSSAPI, LayerConfidentiality, allLayers, LayerConfidentiality},
	{GSSAPI, allLayers, allLayers, LayerConfidentiality},
	{GSSAPI, allLayers, LayerNone, LayerNone},
	{GSSAPI, allLayers, LayerNone | LayerIntegrity, LayerIntegrity},
	{GSSAPI, LayerIntegrity | LayerConfidentiality, LayerIntegrity | LayerConfidentiality, LayerConfidentiality},
	{GSSAPI, LayerConfidentiality, LayerNone, 0},
	{GSSAPI, LayerConfidentiality, LayerNone | LayerIntegrity, 0},
	{GSSAPI, LayerNone, LayerConfidentiality, 0},
	{GSSAPI, LayerIntegrity, LayerConfidentiality, 0},
	{GS2Krb5, LayerNone, LayerNone, LayerNone},
	{GSSSPNEGO, LayerConfidentiality, allLayers, LayerConfidentiality},
}

// Our Client authenticates to Cyrus SASL's server, and talks to it within the layer.
func TestCyrusServer(t *testing.T) {
	kind(t)
	for _, tt := range cyrusTests {
		t.Run(fmt.Sprintf("%s, %v to %v", tt.mech, tt.ours, tt.cyrus), func(t *testing.T) {
			s := startCyrus(t, "S", "usr/sbin/sasl-sample-server", "-s", "imap", "-d", "server.test", "-m", tt.mech, "-b", layersOfCyrus[tt.cyrus])
			c := NewClient(name(t, service), &ClientOptions{Mechanism: tt.mech, Layers: tt.ours})
			if list, _, err := s.next(); err != nil || !strings.Contains(string(list), tt.mech) {
				t.Fatalf("%q, %v", list, err)
			}
			mech, response, err := c.Start()
			check(t, err)
			s.Write([]byte(mech + "\x00" + string(response)))
			for {
				challenge, done, err := s.next()
				if err == nil && !done {
					if response, err = c.Next(challenge); err == nil {
						s.Write(response)
						continue
					}
				}
				if tt.want == 0 {
					if err == nil {
						t.Errorf("the layer is %v", c.Layer())
					} else {
						want(t, "Next", err, gssapi.ErrUnauthorized)
					}
					return
				}
				check(t, err)
				break
			}
			if c.Layer() != tt.want {
				t.Errorf("the layer is %v", c.Layer())
			}
			conn, err := c.Conn(s)
			check(t, err)
			b := make([]byte, 100)
			n, err := conn.Read(b)
			if err != nil || !strings.HasPrefix(string(b[:n]), "srv message 1") {
				t.Errorf("%q, %v", b[:n], err)
			}
			_, err = conn.Write([]byte("client message 1\x00"))
			check(t, err)
			if !s.await("decoded message 'client message 1'") {
				t.Error("the server has not got our message")
			}
		})
	}
}

// Cyrus SASL's client authenticates to our Server.
func TestCyrusClient(t *testing.T) {
	kind(t)
	for _, tt := range cyrusTests {
		t.Run(fmt.Sprintf("%s, %v to %v", tt.mech, tt.cyrus, tt.ours), func(t *testing.T) {
			c := startCyrus(t, "C", "usr/bin/sasl-sample-client", "-s", "imap", "-n", "server.test", "-m", tt.mech, "-u", "alice", "-a", "alice", "-b", layersOfCyrus[tt.cyrus])
			asked := ""
			s := NewServer(&ServerOptions{Mechanism: tt.mech, Layers: tt.ours, Authorize: func(peer *gssapi.ContextInfo, id string) error {
				asked = peer.Peer().String() + " as " + id
				return nil
			}})
			c.Write([]byte(tt.mech))
			first, _, err := c.next()
			check(t, err)
			mech, response, _ := strings.Cut(string(first), "\x00")
			if mech != tt.mech {
				t.Fatalf("%q", first)
			}
			in := []byte(response)
			for {
				challenge, done, err := s.Next(in)
				if err == nil && !done {
					c.Write(challenge)
					if in, done, err = c.next(); err == nil && !done {
						continue
					}
				}
				if tt.want == 0 {
					if err == nil || err != io.EOF && !errors.Is(err, gssapi.ErrUnauthorized) {
						t.Errorf("the layer is %v, %v", s.Layer(), err)
					}
					return
				}
				check(t, err)
				break
			}
			if s.Layer() != tt.want || asked != "" && asked != alice+" as alice" {
				t.Errorf("the layer is %v; %s", s.Layer(), asked)
			}
			if tt.mech == GSSAPI && asked == "" { // with the others Cyrus leaves out what is the user's own
				t.Error("nobody was asked")
			}
			conn, err := s.Conn(c)
			check(t, err)
			_, err = conn.Write([]byte("srv message 1\x00"))
			check(t, err)
			b := make([]byte, 100)
			n, err := conn.Read(b)
			if err != nil || !strings.HasPrefix(string(b[:n]), "client message 1") {
				t.Errorf("%q, %v", b[:n], err)
			}
		})
	}
}
