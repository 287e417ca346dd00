package handoff

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// keySize is the size of a Key in bytes.
const keySize = 32

// Key is the secret that both ends of a session share: 256 random bits. It prints
// redacted. The zero Key is none, and refused. Copies are the same key.
type Key struct {
	// A function, for what prints fields without calling methods looks into pointers,
	// and not into functions: fmt with an unexported field, or with %p.
	bytes func() *[keySize]byte
}

func keyOf(b *[keySize]byte) Key { return Key{func() *[keySize]byte { return b }} }

// NewKey makes a random key.
func NewKey() Key {
	b := new([keySize]byte)
	rand.Read(b[:])
	return keyOf(b)
}

// check refuses what is no key, and one that is nothing but zeros: a placeholder,
// which everybody knows.
func (k Key) check() error {
	if k.bytes == nil {
		return errNoKey
	}
	if subtle.ConstantTimeCompare(k.bytes()[:], make([]byte, keySize)) == 1 {
		return errors.New("handoff: the key is all zeros: make one with NewKey or WriteKeyFile")
	}
	return nil
}

// ReadKey reads a key of 32 bytes from r, up to its end, as a pipe carries it from
// the process that made it: see Key.WriteTo.
func ReadKey(r io.Reader) (Key, error) {
	b := make([]byte, keySize+1)
	defer clear(b)
	n, err := io.ReadFull(r, b)
	switch {
	case err == nil:
		return Key{}, fmt.Errorf("handoff: ReadKey: more than the %d bytes of a key came", keySize)
	case err != io.ErrUnexpectedEOF && err != io.EOF:
		return Key{}, fmt.Errorf("handoff: ReadKey: %w", err)
	case n != keySize:
		return Key{}, fmt.Errorf("handoff: ReadKey: %d bytes came, a key has %d", n, keySize)
	}
	return keyOf((*[keySize]byte)(bytes.Clone(b[:n]))), nil
}

// WriteTo writes the 32 bytes of the key to w, in one Write.
func (k Key) WriteTo(w io.Writer) (int64, error) {
	if err := k.check(); err != nil {
		return 0, err
	}
	b := *k.bytes() // the writer may keep what it gets: Go cannot hold it back
	defer clear(b[:])
	n, err := w.Write(b[:])
	return int64(n), err
}

var errNoKey = errors.New("handoff: there is no key: make one with NewKey, or read one with ReadKey or ReadKeyFile")

// ReadKeyFile reads a key that WriteKeyFile or
//
//	(umask 077; openssl rand -hex 32 > FILE)
//
// made: 64 hexadecimal digits. Both ends of a named socket use the same file. It
// must be a regular file that nobody but its owner can write and others cannot read: mode
// 0600, or 0640 where acceptor and workers are different users with a group in
// common. Its owner must be this process' user or root. A symbolic link is followed.
func ReadKeyFile(name string) (Key, error) {
	fail := func(err error) (Key, error) { return Key{}, fmt.Errorf("handoff: ReadKeyFile: %w", err) }
	f, err := openKeyFile(name)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	switch {
	case !i.Mode().IsRegular():
		return fail(fmt.Errorf("%s is no regular file", name))
	case i.Mode().Perm()&0o037 != 0:
		return fail(fmt.Errorf("%s has mode %04o, and whoever reads the key can take over connections: chmod 0600, or 0640 for a group of acceptor and workers alone", name, i.Mode().Perm()))
	}
	if err := checkOwner(i); err != nil {
		return fail(fmt.Errorf("%s %w", name, err))
	}
	b := make([]byte, 2*keySize+3)
	defer clear(b)
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return fail(err)
	}
	digits := b[:n]
	for len(digits) > 0 && (digits[len(digits)-1] == '\n' || digits[len(digits)-1] == '\r') {
		digits = digits[:len(digits)-1]
	}
	k := new([keySize]byte)
	if len(digits) != 2*keySize {
		return fail(fmt.Errorf("%s has not the %d hexadecimal digits of a key", name, 2*keySize))
	}
	if _, err := hex.Decode(k[:], digits); err != nil {
		clear(k[:])
		return fail(fmt.Errorf("%s has something else than hexadecimal digits in it", name)) // err would show a digit
	}
	return keyOf(k), nil
}

// WriteKeyFile makes a key and a new file of mode 0600 that it is in. A file of
// that name that exists already is an error.
func WriteKeyFile(name string) (Key, error) {
	f, err := os.OpenFile(filepath.Clean(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Key{}, fmt.Errorf("handoff: WriteKeyFile: %w", err)
	}
	k := NewKey()
	b := append(hex.AppendEncode(make([]byte, 0, 2*keySize+1), k.bytes()[:]), '\n')
	defer clear(b)
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(name)
		return Key{}, fmt.Errorf("handoff: WriteKeyFile: %w", err)
	}
	return k, nil
}

// String says that there is a key, and not which.
func (k Key) String() string {
	if k.bytes == nil {
		return "handoff.Key(none)"
	}
	return "handoff.Key(redacted)"
}

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Format prints String, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { io.Copy(f, strings.NewReader(k.String())) }

// MarshalText is String: a Key in JSON or a log is redacted.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue makes slog print String.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
