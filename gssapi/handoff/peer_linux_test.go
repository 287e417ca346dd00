package handoff

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed2651813c/gss"
)

func init() {
	roles["peer intruder"] = func() int { return bePeer(peerIntruder) }
}

// asStranger has a process run as another user.
func asStranger(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
}

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "only root can run processes as somebody else")
	}
}

// Who has the socket and the key, and is not the user that is expected, is refused,
// at either end.
func TestOtherUser(t *testing.T) {
	needsRoot(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		for what, c := range map[string]struct {
			role     string
			mine     []int // whom this end takes
			theirs   []int
			here     string // error
			there    string // error
			refusing string // which of them
		}{
			"a receiver":             {"receiver", nil, []int{0}, "uid 12345 sent it, and it is to be one of [0]", "", "here"},
			"a sender":               {"sender", nil, []int{0}, "uid 12345 sent it, and it is to be one of [0]", "", "here"},
			"one of others":          {"receiver", []int{1, 0, 12346}, []int{0}, "uid 12345 sent it, and it is to be one of [1 0 12346]", "", "here"},
			"nobody is taken":        {"receiver", []int{}, []int{0}, "one of []", "", "here"},
			"whom a receiver takes":  {"receiver", []int{stranger}, nil, "", "uid 0 sent it, and it is to be one of [12345]", "there"},
			"whom a sender takes":    {"sender", []int{stranger}, []int{stranger}, "", "uid 0 sent it, and it is to be one of [12345]", "there"},
			"who is expected":        {"receiver", []int{stranger}, []int{0}, "", "", ""},
			"who is expected to be":  {"sender", []int{stranger, 0}, []int{7, 0}, "", "", ""},
			"nobody, and not anyone": {"receiver", []int{overflowUID()}, []int{0}, "uid 12345 sent it", "", "here"},
		} {
			t.Run(what, func(t *testing.T) {
				a, b := pair(t)
				key := NewKey()
				p := startPeer(t, c.role, &peerOrder{UIDs: c.theirs}, b, key, asStranger)
				var err error
				if c.role == "receiver" {
					_, err = p.send(a, Options{Key: key, PeerUIDs: c.mine})
				} else {
					_, err = p.receive(a, Options{Key: key, PeerUIDs: c.mine})
				}
				switch c.refusing {
				case "here":
					if !errors.Is(err, ErrPeer) || !strings.Contains(err.Error(), c.here) {
						t.Errorf("%v, want %q", err, c.here)
					}
				case "there":
					if said := p.hear("end"); err == nil || !strings.Contains(said, "message of a stranger refused: "+c.there) {
						t.Errorf("%v, there %q, want %q", err, said, c.there)
					}
				default:
					check(t, err)
					p.hear("ready")
				}
			})
		}
	})
}

// A context goes to a process of another user, which can read the configuration; or
// it is refused while it is still of use.
func TestToOtherUser(t *testing.T) {
	needsRoot(t)
	needsExport(t)
	keepsFiles(t)
	dir := t.TempDir()
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	l, err := gss.Library()
	check(t, err)
	conf, err := os.ReadFile(realm.Krb5Conf())
	check(t, err)
	write := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(name), 0o755))
		check(t, os.WriteFile(name, []byte(text), mode))
		return name
	}
	open, secret := write("open", "", 0o644), write("secret", "", 0o600)
	some := filepath.Dir(write("some/secret.conf", "", 0o600))
	hidden := filepath.Dir(write("hidden/open", "", 0o644))
	check(t, os.Chmod(hidden, 0o700))
	passed := filepath.Dir(write("passed/.secret", "", 0o600))
	write("passed/secret.old", "", 0o600)
	write("passed/open", "", 0o644)
	for what, test := range map[string]struct {
		first  string // lines of the configuration
		mode   os.FileMode
		secret string // what another user cannot read
	}{
		"readable":                     {"", 0o644, ""},
		"not readable":                 {"", 0o600, filepath.Join(dir, "not readable")},
		"includes a readable file":     {"include " + open + "\n", 0o644, ""},
		"includes another":             {"include " + secret + "\n", 0o644, secret},
		"includes one that does":       {"include " + write("includes", "include "+secret+"\n", 0o644) + "\n", 0o644, secret},
		"includes a directory":         {"includedir " + passed + "\n", 0o644, ""},
		"includes one with such files": {"includedir " + some + "\n", 0o644, filepath.Join(some, "secret.conf")},
		"includes one such":            {"includedir " + hidden + "\n", 0o644, hidden},
	} {
		file := write(what, test.first+string(conf), test.mode)
		t.Run(what, func(t *testing.T) {
			if test.first != "" && l.Kind != gss.KindMIT {
				skip(t, "its tokens name no files")
			}
			t.Setenv("KRB5_CONFIG", file)
			c, d := packets(t)
			key := NewKey()
			p := startPeer(t, "receiver", &peerOrder{UIDs: []int{0}}, d, key, asStranger)
			s, err := p.send(c, Options{Key: key, PeerUIDs: []int{stranger}})
			check(t, err)
			p.hear("ready")
			client, h := established(t, nil, nil)
			err = s.Send(context.Background(), h)
			if test.secret == "" || l.Kind != gss.KindMIT {
				check(t, err)
				p.hear("received")
				wantEcho(t, client)
				return
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.secret+":") || !strings.Contains(err.Error(), "the receiver (uid 12345) must be able to read") {
				t.Errorf("%v", err)
			}
			wantUsable(t, client, h)
			wantCounts(t, s, Counts{Offered: 1, Refused: 1})
		})
	}
}

// peerIntruder writes into a session that is not its own: as itself, and as
// somebody else.
func peerIntruder(o *peerOrder, c *net.UnixConn, _ Key) error {
	forged := syscall.UnixCredentials(&syscall.Ucred{Pid: int32(os.Getpid()), Uid: 0, Gid: 0})
	if _, _, err := c.WriteMsgUnix([]byte("forged"), forged, nil); err == nil {
		return errors.New("it could say that it is root")
	}
	_, err := c.Write([]byte("junk"))
	return err
}

// Each message is looked at, and not the one alone that a session began with.
func TestIntruder(t *testing.T) {
	needsRoot(t)
	keepsFiles(t)
	eachSocket(t, func(t *testing.T, pair socketPair) {
		w, v := againstReceiver(t, pair, nil)
		f, err := w.conn.File()
		check(t, err)
		theirs, err := net.FileConn(f)
		f.Close()
		check(t, err)
		p := startPeer(t, "intruder", new(peerOrder), theirs.(*net.UnixConn), NewKey(), asStranger)
		if said := p.hear("end"); said != "<nil>" {
			t.Fatal(said)
		}
		v.wantOver("an intruder", ErrPeer)

		s, u := againstSender(t, pair, nil, nil)
		f, err = u.conn.File()
		check(t, err)
		theirs, err = net.FileConn(f)
		f.Close()
		check(t, err)
		p = startPeer(t, "intruder", new(peerOrder), theirs.(*net.UnixConn), NewKey(), asStranger)
		if said := p.hear("end"); said != "<nil>" {
			t.Fatal(said)
		}
		<-s.Over()
		if err := s.Err(); !errors.Is(err, ErrPeer) || !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// A user who has no number in a process' user namespace is nobody that it could
// expect.
func TestUserNamespace(t *testing.T) {
	needsRoot(t)
	keepsFiles(t)
	for _, expected := range [][]int{nil, {0}, {overflowUID()}, {stranger}} {
		c, d := packets(t)
		key := NewKey()
		cmd := exec.Command("/proc/self/exe", "-test.list=^$")
		apart := func(cmd *exec.Cmd) {
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: stranger, Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: stranger, Size: 1}},
				Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
			}
		}
		if apart(cmd); cmd.Run() != nil {
			c.Close()
			d.Close()
			skip(t, "there are no user namespaces here")
		}
		p := startPeer(t, "receiver", &peerOrder{UIDs: expected}, d, key, apart)
		_, err := p.send(c, Options{Key: key, PeerUIDs: []int{stranger}})
		said := p.hear("end")
		if err == nil || !strings.Contains(said, "stands for every user without a number") {
			t.Errorf("%v: %v, there %q", expected, err, said)
		}
	}
}

// The end of a stream comes with no user, and is not taken for one's message.
func TestEndIsNobodys(t *testing.T) {
	for _, pair := range []socketPair{packets, stream} {
		c, d := pair(t)
		s, err := newSocket(d, []int{os.Getuid()})
		check(t, err)
		c.Close()
		if _, _, err := s.read(make([]byte, maxPacket)); err != errEOF {
			t.Errorf("%v", err)
		}
		d.Close()
	}
}

// Who sent a packet is told by the credentials in it, wherever they stand; one of
// nobody has those of no process.
func TestCredentials(t *testing.T) {
	of := func(pid int32, uid int) []byte {
		return syscall.UnixCredentials(&syscall.Ucred{Pid: pid, Uid: uint32(uid)})
	}
	foreign := cmsg(77, syscall.SCM_CREDENTIALS, make([]byte, syscall.SizeofUcred))
	time := cmsg(syscall.SOL_SOCKET, syscall.SO_TIMESTAMP, make([]byte, 16))
	for what, c := range map[string]struct {
		oob []byte
		uid int
	}{
		"root":                           {of(7, 0), 0},
		"a user":                         {of(7, stranger), stranger},
		"the user nobody":                {of(7, overflowUID()), overflowUID()},
		"nobody":                         {of(0, overflowUID()), noUID},
		"a process of another namespace": {of(0, stranger), stranger},
		"another level's":                {foreign, noUID},
		"another type":                   {time, noUID},
		"before another":                 {append(of(7, stranger), time...), stranger},
	} {
		if _, uid, err := control(c.oob); uid != c.uid || err != nil {
			t.Errorf("%s: uid %d, %v, want %d", what, uid, err, c.uid)
		}
	}
}

// A packet of which the system does not tell who sent it is refused.
func TestNoCredentials(t *testing.T) {
	c, d := packets(t)
	defer c.Close()
	defer d.Close()
	s, err := newSocket(d, []int{os.Getuid()})
	check(t, err)
	raw, err := d.SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 0) }))
	check(t, err)
	_, err = c.Write([]byte("x"))
	check(t, err)
	if _, _, err := s.read(make([]byte, maxPacket)); !errors.Is(err, ErrPeer) || !strings.Contains(err.Error(), "did not tell") {
		t.Errorf("%v", err)
	}
}
