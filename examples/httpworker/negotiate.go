package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/seed2651813c/gss/gssapi"
	"github.com/seed2651813c/gss/gssapi/handoff"
)

// maxHead bounds the line and header of a request; big tickets are in it.
const maxHead = 128 << 10

// negotiate answers the requests of a connection with 401 until one of them
// completes a context. That one is left to the worker, whole.
func negotiate(ctx context.Context, conn net.Conn, o *gssapi.AcceptorOptions) (_ *handoff.Handoff, err error) {
	x := gssapi.NewAcceptor(o)
	defer func() {
		if err != nil {
			x.Close()
		}
	}()
	var raw []byte // received and not answered
	for {
		head, err := readHead(conn, &raw)
		if err != nil {
			return nil, err
		}
		q, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return nil, errors.Join(err, reject(conn, http.StatusBadRequest, "", true))
		}
		token, err := tokenOf(q)
		if err != nil {
			return nil, errors.Join(err, reject(conn, http.StatusBadRequest, "", true))
		}
		challenge := "Negotiate"
		if token != nil {
			out, err := x.Step(ctx, token)
			if err != nil {
				return nil, errors.Join(err, reject(conn, http.StatusUnauthorized, challenge, true))
			}
			if x.Established() {
				return &handoff.Handoff{Conn: conn, Context: x, Received: raw, Data: out}, nil
			}
			challenge += " " + base64.StdEncoding.EncodeToString(out)
		}
		// A body would have to be read over; its sender may send it again on another
		// connection, with a token.
		body := q.ContentLength != 0
		if err := reject(conn, http.StatusUnauthorized, challenge, body || q.Close); err != nil {
			return nil, err
		}
		if body || q.Close {
			return nil, errors.New("a request without a token, and the connection ends after it")
		}
		raw = raw[len(head):]
	}
}

// tokenOf is the token of a request; nil if it has none.
func tokenOf(q *http.Request) ([]byte, error) {
	scheme, value, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Negotiate") {
		return nil, nil
	}
	token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err == nil && len(token) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("the token of Negotiate: %w", err)
	}
	return token, nil
}

// readHead reads until the end of a request's header, which it returns; what was
// read is in raw.
func readHead(conn net.Conn, raw *[]byte) ([]byte, error) {
	end := []byte("\r\n\r\n")
	buf := make([]byte, 4<<10)
	for {
		if n := bytes.Index(*raw, end); n >= 0 {
			return (*raw)[:n+len(end)], nil
		}
		if len(*raw) > maxHead {
			return nil, errors.Join(fmt.Errorf("a header of more than %d bytes", maxHead), reject(conn, http.StatusRequestHeaderFieldsTooLarge, "", true))
		}
		n, err := conn.Read(buf)
		*raw = append(*raw, buf[:n]...)
		if err != nil {
			return nil, err
		}
	}
}

// reject answers a request.
func reject(conn net.Conn, code int, challenge string, last bool) error {
	text := http.StatusText(code) + "\n"
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n", code, http.StatusText(code), len(text))
	if challenge != "" {
		fmt.Fprintf(&b, "WWW-Authenticate: %s\r\n", challenge)
	}
	if last {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n" + text)
	_, err := io.WriteString(conn, b.String())
	return err
}
