package gss

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
)

// What Heimdal does with files that are no keytab and no ccache, seen in 7.8. What
// is named to it here is looked at before; its defaults are not.

// maxKeytab is the longest keytab that is looked at.
const maxKeytab = 64 << 20

// heimdalKeytab is an error for a keytab that Heimdal 7.8 crashes on: where an entry
// is cut it releases what it has not set (lib/krb5/keytab_file.c). A ccache in the
// place of a keytab does it. absent: the keytab is a file with no key in it, or
// that cannot be read.
func heimdalKeytab(op, name string) (absent bool, err error) {
	file, ok := fileOfName(name, "FILE", "WRFILE", "JAVA14")
	if !ok || !heimdal() {
		return false, nil
	}
	b, err := head(file, maxKeytab)
	if err != nil {
		return true, nil
	}
	keys, sound := keytabKeys(b)
	if !sound {
		return false, &Error{Op: op, Major: ErrNoCred, Mech: MechKrb5, Text: fmt.Sprintf("not called: the keytab %s is cut, or is none, and Heimdal crashes on it", clip(name))}
	}
	return keys == 0 && b != nil, nil
}

// heimdalCCache is an error for a ccache that Heimdal 7.8 ends the process on
// (lib/krb5/fcache.c, storage_set_flags): one of a version that it does not know.
func heimdalCCache(op, name string) error {
	file, ok := fileOfName(name, "FILE")
	if !ok || !heimdal() {
		return nil
	}
	if b, err := head(file, 2); err != nil || len(b) < 2 || b[0] != 5 || 1 <= b[1] && b[1] <= 4 {
		return nil
	}
	return &Error{Op: op, Major: ErrNoCred, Mech: MechKrb5, Text: fmt.Sprintf("not called: the ccache %s is of no version that there is, and Heimdal ends the process on it", clip(name))}
}

// fileOfName is the file in the name of a keytab or ccache that is of one of those
// types, the first of which is that of names without one.
func fileOfName(name string, types ...string) (file string, ok bool) {
	typ, rest, ok := strings.Cut(name, ":")
	if !ok || strings.HasPrefix(name, "/") {
		return name, true
	}
	for _, t := range types {
		if strings.EqualFold(typ, t) {
			return rest, true
		}
	}
	return "", false
}

// head is what a file begins with, n bytes at most; nil for what is neither a regular
// file nor a directory, and may never end.
func head(file string, n int64) ([]byte, error) {
	i, err := os.Stat(file)
	if err != nil || !i.Mode().IsRegular() && !i.IsDir() {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n))
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

// keytabKeys reads a keytab as Heimdal does: an entry is read on from its beginning,
// whatever length it has by the number before it. It is sound if no entry is cut.
func keytabKeys(b []byte) (keys int, sound bool) {
	switch {
	case len(b) < 2 || b[0] != 5:
		return 0, true // no keytab, which Heimdal sees
	case b[1] != 1 && b[1] != 2:
		return 0, false // taken for version 2
	}
	var order binary.ByteOrder = binary.BigEndian
	first := b[1] == 1 // version 1
	if first {
		order = binary.NativeEndian
	}
	at := 2
	skip := func(n int) bool {
		if n < 0 || n > len(b)-at {
			return false
		}
		at += n
		return true
	}
	number := func() (n int, ok bool) {
		if !skip(2) {
			return 0, false
		}
		return int(int16(order.Uint16(b[at-2:]))), true
	}
	counted := func() bool {
		n, ok := number()
		return ok && skip(n)
	}
	entry := func() bool {
		n, ok := number()
		if first {
			n-- // it counts the realm
		}
		if !ok || n < 0 || !counted() {
			return false
		}
		for range n {
			if !counted() {
				return false
			}
		}
		if !first && !skip(4) { // the type of the name
			return false
		}
		return skip(4+1+2) && counted() // time, version, enctype, key
	}
	for len(b)-at >= 4 {
		n := int64(int32(order.Uint32(b[at:])))
		at += 4
		next := int64(at) + n
		if n < 0 { // a hole
			next = int64(at) - n
		} else if !entry() {
			return keys, false
		} else {
			keys++
		}
		if next > int64(len(b)) {
			break
		}
		at = int(next)
	}
	return keys, true
}
