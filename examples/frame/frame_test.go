package frame_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/seed2651813c/gss/examples/frame"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	tokens := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte{7}, frame.Max)}
	for _, token := range tokens {
		if err := frame.Write(&b, token); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range tokens {
		if got, err := frame.Read(&b); err != nil || !bytes.Equal(got, token) {
			t.Errorf("%d bytes, %v; want %d", len(got), err, len(token))
		}
	}
	if _, err := frame.Read(&b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestRefused(t *testing.T) {
	var b bytes.Buffer
	if err := frame.Write(&b, make([]byte, frame.Max+1)); err == nil || b.Len() > 0 {
		t.Errorf("too long a token: %v, %d bytes", err, b.Len())
	}
	for in, want := range map[string]error{
		"\x00\x00":              io.ErrUnexpectedEOF,
		"\x00\x00\x00\x02":      io.ErrUnexpectedEOF,
		"\x00\x00\x00\x02a":     io.ErrUnexpectedEOF,
		"\xff\xff\xff\xffabcde": nil,
	} {
		if _, err := frame.Read(bytes.NewReader([]byte(in))); err == nil || want != nil && err != want {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}
