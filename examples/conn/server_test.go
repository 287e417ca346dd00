package conn

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

// The server of the README does not end a stream well that it gave up on.
func TestServerGivesUp(t *testing.T) {
	program := filepath.Join(t.TempDir(), "server")
	if out, err := exec.Command("go", "build", "-o", program, "../server").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	server := exec.CommandContext(t.Context(), program, "-addr=127.0.0.1:0")
	stderr, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Wait() })
	log := bufio.NewReader(stderr)
	line, err := log.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, log)
	tcp, err := net.Dial("tcp", regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line))
	if err != nil {
		t.Fatal(err)
	}
	target, err := gssapi.HostService("host", realm.Host)
	if err != nil {
		t.Fatal(err)
	}
	c := within(t, gssapi.Client(tcp, target, nil))
	if _, err := c.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len("one"))); err != nil {
		t.Fatal(err)
	}
	if _, err := tcp.Write([]byte("\x00\x00\x00\x04junk")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c); n > 0 || err == nil {
		t.Errorf("%d bytes, %v; the stream has no end", n, err)
	}
}
