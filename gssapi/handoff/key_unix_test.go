//go:build unix

package handoff

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whoever could have read or put the key there, other than its owner or a group of
// his choice, would have the connections.
func TestKeyFileMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	_, err := WriteKeyFile(name)
	check(t, err)
	for mode := range os.FileMode(0o1000) {
		check(t, os.Chmod(name, mode))
		_, err := ReadKeyFile(name)
		if mode&0o037 == 0 {
			if err != nil && (mode&0o400 != 0 || os.Getuid() == 0) {
				t.Errorf("mode %04o: %v", mode, err)
			}
			continue
		}
		if err == nil || mode&0o400 != 0 && !strings.Contains(err.Error(), "chmod") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestKeyFileOwner(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "only root can give files away")
	}
	name := filepath.Join(t.TempDir(), "key")
	_, err := WriteKeyFile(name)
	check(t, err)
	check(t, os.Chown(name, stranger, -1))
	if _, err := ReadKeyFile(name); err == nil || !strings.Contains(err.Error(), "belongs to uid") {
		t.Errorf("a file of another user: %v", err)
	}
	check(t, os.Chown(name, 0, stranger))
	check(t, os.Chmod(name, 0o640))
	if _, err := ReadKeyFile(name); err != nil {
		t.Errorf("a file of root for a group: %v", err)
	}
}

// What is no regular file is refused, and holds nobody up.
func TestKeyFileKind(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	check(t, syscall.Mkfifo(pipe, 0o600))
	for _, name := range []string{pipe, dir, "/dev/null", "/dev/zero"} {
		if _, err := ReadKeyFile(name); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	name, link := filepath.Join(dir, "key"), filepath.Join(dir, "link")
	k, err := WriteKeyFile(name)
	check(t, err)
	check(t, os.Symlink(name, link))
	if got, err := ReadKeyFile(link); err != nil || *got.bytes() != *k.bytes() {
		t.Errorf("a symbolic link to a key: %v", err)
	}
	if _, err := WriteKeyFile(link); err == nil {
		t.Error("a key was written through a symbolic link")
	}
	check(t, os.Chmod(name, 0o644))
	if _, err := ReadKeyFile(link); err == nil {
		t.Error("a symbolic link to a key that all can read was taken")
	}
	dangling := filepath.Join(dir, "dangling")
	check(t, os.Symlink(filepath.Join(dir, "elsewhere"), dangling))
	if _, err := WriteKeyFile(dangling); err == nil {
		t.Error("a key was written through a dangling symbolic link")
	}
}

// stranger is a user who has nothing to do with the tests.
const stranger = 12345
