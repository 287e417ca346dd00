package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed2651813c/gss/examples/realm"
	"github.com/seed2651813c/gss/gssapi"
)

// maxPacket is the longest that PostgreSQL sends and takes.
const maxPacket = 16<<10 - 4

// encryptedServer takes one connection as PostgreSQL does that encrypts, and answers
// every query with the client's name and padding. It is only as much of a server as psql needs.
func encryptedServer(t *testing.T, l net.Listener) (name string, err error) {
	t.Helper()
	tcp, err := l.Accept()
	if err != nil {
		return "", err
	}
	defer tcp.Close()
	request := make([]byte, 8)
	if _, err := io.ReadFull(tcp, request); err != nil || string(request) != "\x00\x00\x00\x08\x04\xd2\x16\x30" {
		return "", fmt.Errorf("%q is no request for encryption: %w", request, err)
	}
	if _, err := tcp.Write([]byte("G")); err != nil {
		return "", err
	}
	conn := gssapi.NewConn(tcp, gssapi.NewAcceptor(nil), &gssapi.ConnOptions{MaxFrame: maxPacket, PlainEnd: true})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		return "", err
	}
	name = conn.ConnectionState().Peer().String()
	if _, err := message(conn, false); err != nil { // startup
		return name, err
	}
	const ready = "Z\x00\x00\x00\x05I"
	if _, err := io.WriteString(conn, "R\x00\x00\x00\x08\x00\x00\x00\x00"+packet('S', "client_encoding\x00UTF8\x00")+packet('S', "server_version\x0015.0\x00")+ready); err != nil {
		return name, err
	}
	for {
		m, err := message(conn, true)
		if err != nil || m[0] == 'X' {
			return name, err
		}
		if m[0] != 'Q' {
			return name, fmt.Errorf("psql sent %q", m)
		}
		row := name + strings.Repeat(".", 100<<10) // several frames
		out := packet('T', "\x00\x01name\x00"+string(make([]byte, 6))+"\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00") +
			packet('D', "\x00\x01"+string(binary.BigEndian.AppendUint32(nil, uint32(len(row))))+row) + packet('C', "SELECT 1\x00") + ready
		if _, err := io.WriteString(conn, out); err != nil {
			return name, err
		}
	}
}

func packet(kind byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body)))) + body
}

// message reads one; the first of a connection has no kind.
func message(r io.Reader, kind bool) ([]byte, error) {
	head := make([]byte, 5)
	if !kind {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[len(head)-4:])
	if n < 4 || n > 1<<20 {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	body := make([]byte, n-4)
	_, err := io.ReadFull(r, body)
	return append(head, body...), err
}

// psql asks our server, which encrypts as PostgreSQL does.
func TestPSQL(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	psql := func(addr string) (string, error) {
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.CommandContext(t.Context(), filepath.Join(server.bin, "psql"), "-XAt", "-c", "SELECT 1",
			"host="+realm.Host+" hostaddr=127.0.0.1 port="+port+" user=alice dbname=any gssencmode=require sslmode=disable")
		cmd.Env = append(os.Environ(), "PGSYSCONFDIR=/nonexistent", "PGPASSFILE=/nonexistent")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	keytab, err := testRealm.Keytab("postgres/" + realm.Host)
	check(t, err)
	t.Setenv("KRB5_KTNAME", "FILE:"+keytab)
	type result struct {
		name string
		err  error
	}
	served := make(chan result, 1)
	serve := func() {
		name, err := encryptedServer(t, l)
		served <- result{name, err}
	}
	go serve()
	out, err := psql(l.Addr().String())
	if err != nil || out != "alice@TEST.GSS"+strings.Repeat(".", 100<<10)+"\n" {
		t.Errorf("%v, %.200s", err, out)
	}
	if r := <-served; r.err != nil || r.name != "alice@TEST.GSS" {
		t.Error(r)
	}

	// What somebody puts behind the request in the clear is not the client's.
	m, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer m.Close()
	for _, injected := range []string{"\x00", "\x00\x00\x00\x26\x00\x03\x00\x00user\x00bob\x00", "Q\x00\x00\x00\x0dDROP all\x00"} {
		go serve()
		go func() {
			client, err := m.Accept()
			if err != nil {
				return
			}
			defer client.Close()
			up, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			defer up.Close()
			request := make([]byte, 8)
			io.ReadFull(client, request)
			up.Write(append(request, injected...))
			pass(client, up)
		}()
		if out, err := psql(m.Addr().String()); err == nil {
			t.Errorf("%q injected: psql: %s", injected, out)
		}
		if r := <-served; r.name != "" || !errors.Is(r.err, gssapi.ErrDefectiveToken) && !errors.Is(r.err, io.ErrUnexpectedEOF) {
			t.Errorf("%q injected: %+v", injected, r)
		}
	}
}
