package handoff

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// knownKey is a key whose bytes would be seen wherever they are printed.
func knownKey(t testing.TB) (k Key, bytes []byte) {
	t.Helper()
	for i := range keySize {
		bytes = append(bytes, byte(0xa0+i))
	}
	k, err := ReadKey(strings.NewReader(string(bytes)))
	check(t, err)
	return k, bytes
}

func TestKey(t *testing.T) {
	k := NewKey()
	var b bytes.Buffer
	if n, err := k.WriteTo(&b); n != keySize || err != nil || b.Len() != keySize {
		t.Fatalf("%d, %v, %d bytes", n, err, b.Len())
	}
	again, err := ReadKey(&b)
	check(t, err)
	if *again.bytes() != *k.bytes() {
		t.Error("what was read is another key")
	}
	if other := NewKey(); *other.bytes() == *k.bytes() {
		t.Error("the same key twice")
	}
	if _, err := k.WriteTo(brokenWriter{}); err != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
	for _, none := range []Key{{}, keyOf(new([keySize]byte))} {
		if n, err := none.WriteTo(&b); n != 0 || err == nil || b.Len() != 0 {
			t.Errorf("%v: %d, %v, %d bytes written", none, n, err, b.Len())
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestReadKey(t *testing.T) {
	all := strings.Repeat("k", keySize+9)
	for n := range all {
		k, err := ReadKey(iotest.OneByteReader(strings.NewReader(all[:n])))
		if (err == nil) != (n == keySize) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err != nil && (k.bytes != nil || strings.Contains(err.Error(), "kk")) {
			t.Errorf("%d bytes: %v, %v", n, k, err)
		}
	}
	broken := errors.New("broken")
	if _, err := ReadKey(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// However it is printed, the key is not shown.
func TestKeyIsRedacted(t *testing.T) {
	k, secret := knownKey(t)
	type public struct{ K Key }
	type hidden struct{ k Key }
	r := &Receiver{o: ReceiverOptions{Options: Options{Key: k}}}
	var printed []string
	for _, v := range []any{
		k, &k, public{k}, &public{k}, hidden{k}, &hidden{k}, []Key{k}, map[string]Key{"k": k}, [1]any{k},
		Options{Key: k}, &Options{Key: k}, ReceiverOptions{Options: Options{Key: k}}, r,
		errors.Join(fmt.Errorf("%v", k)), struct{ error }{fmt.Errorf("%#v", hidden{k})},
	} {
		for verb := ' '; verb <= '~'; verb++ {
			for _, flag := range []string{"", "+", "#", "-", " ", "0", "#+", "40.3", "*"} {
				printed = append(printed, fmt.Sprintf("%"+flag+string(verb), v))
			}
		}
		printed = append(printed, fmt.Sprint(v), fmt.Sprintln(v))
		if j, err := json.Marshal(v); err == nil {
			printed = append(printed, string(j))
		}
		for _, h := range []func(io.Writer, *slog.HandlerOptions) slog.Handler{
			func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) },
			func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) },
		} {
			var b strings.Builder
			slog.New(h(&b, nil)).Info("key", "key", v)
			printed = append(printed, b.String())
		}
	}
	forms := []string{
		string(secret[:4]), hex.EncodeToString(secret[:4]), strings.ToUpper(hex.EncodeToString(secret[:4])), fmt.Sprint(secret[:4])[1:15],
		"a0 a1", "0xa0, 0xa1", "0xa0 0xa1", "0XA0, 0XA1", "0XA0 0XA1", "160, 161", "240 241", "10100000 10100001",
	}
	for _, s := range printed {
		for _, f := range forms {
			if strings.Contains(s, f) {
				t.Fatalf("the key is in %q", s)
			}
		}
	}
	if got := fmt.Sprint(k, Key{}, public{k}); got != "handoff.Key(redacted) handoff.Key(none) {handoff.Key(redacted)}" {
		t.Error(got)
	}
	if j, err := json.Marshal(public{k}); string(j) != `{"K":"handoff.Key(redacted)"}` || err != nil {
		t.Errorf("%s, %v", j, err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "key")
	k, err := WriteKeyFile(name)
	check(t, err)
	i, err := os.Stat(name)
	check(t, err)
	if i.Mode() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode %v", i.Mode())
	}
	got, err := ReadKeyFile(name)
	check(t, err)
	if *got.bytes() != *k.bytes() {
		t.Error("another key was read than was written")
	}
	text, err := os.ReadFile(name)
	check(t, err)
	if string(text) != hex.EncodeToString(k.bytes()[:])+"\n" {
		t.Error("the file has not the key in hexadecimal digits and a newline")
	}
	if _, err := WriteKeyFile(name); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file that exists: %v", err)
	}
	if again, err := os.ReadFile(name); err != nil || !bytes.Equal(again, text) {
		t.Errorf("the file was changed: %v", err)
	}
	if _, err := WriteKeyFile(filepath.Join(dir, "none", "key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := ReadKeyFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestKeyFileContents(t *testing.T) {
	digits := strings.Repeat("0123456789abcdEF", 4)
	for text, good := range map[string]bool{
		digits:                             true,
		digits + "\n":                      true,
		digits + "\r\n":                    true,
		"":                                 false,
		"\n":                               false,
		digits[1:]:                         false,
		digits[:63] + "\n":                 false,
		digits + "0":                       false,
		digits + digits:                    false,
		digits + "\nx":                     false,
		digits + " ":                       false,
		" " + digits:                       false,
		"g" + digits[1:]:                   false,
		digits[:32] + "\n" + digits[:31]:   false,
		digits[:62] + "\x00\x00":           false,
		strings.Repeat("\n", 64):           false,
		strings.Repeat("\xff", 64):         false,
		"0x" + digits[:62]:                 false,
		strings.Repeat(digits+"\n", 10000): false,
	} {
		name := filepath.Join(t.TempDir(), "key")
		check(t, os.WriteFile(name, []byte(text), 0o600))
		k, err := ReadKeyFile(name)
		if (err == nil) != good {
			t.Errorf("%.80q: %v", text, err)
		}
		if err != nil && (k.bytes != nil || strings.Contains(strings.ReplaceAll(err.Error(), name, ""), "456") || !strings.Contains(err.Error(), name)) {
			t.Errorf("%.80q: %v, %v: it must name the file, and show nothing of it", text, k, err)
		}
	}
	name := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(name, []byte(strings.Repeat("0", 64)), 0o600))
	k, err := ReadKeyFile(name)
	if err == nil {
		err = k.check()
	}
	if err == nil || !strings.Contains(err.Error(), "all zeros") {
		t.Errorf("a file with zeros: %v", err)
	}
}
