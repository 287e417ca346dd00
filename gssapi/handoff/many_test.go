//go:build unix

package handoff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment variables of TestMany: how many clients, and which workers are killed
// when.
const (
	manyEnv = "GSSAPI_TEST_HANDOFF_CLIENTS"
	seedEnv = "GSSAPI_TEST_SEED"
)

// Many clients of several users, through workers that are killed at random. What
// arrives arrives at the right user's context, and of each connection is known what
// became of it. With manyEnv set to 10000 that takes half a minute of two processors.
func TestMany(t *testing.T) {
	needsExport(t)
	clients := 1000
	if raceBuild || asanBuild || testing.Short() {
		clients = 200
	}
	if s := os.Getenv(manyEnv); s != "" {
		var err error
		clients, err = strconv.Atoi(s)
		check(t, err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(seedEnv); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		check(t, err)
	}
	t.Logf("%d clients; %s=%d", clients, seedEnv, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	users := []string{"alice", "bob", "carol"}
	ccaches := []string{ccache, ccacheOf(t, "bob"), ccacheOf(t, "carol")}

	const workers, messages = 4, 2
	x := serve(t, &Server{Command: command("echo"), Workers: workers, Backoff: noPause, HandoverTimeout: patience, HandshakeTimeout: patience})
	told := make(map[string]*fates) // by the client's address, which several may have, one after the other
	fatesOf := func(addr string) *fates {
		if told[addr] == nil {
			told[addr] = new(fates)
		}
		return told[addr]
	}
	x.record.mu.Lock()
	x.record.keep = func(l line) bool { // and not all: the memory of this process is looked at
		switch f := fatesOf(l.Remote); l.What {
		case "Lost":
			f.lost++
		case "HandedOver":
			f.to = append(f.to, int32(l.Worker))
		}
		return l.Remote == ""
	}
	x.record.mu.Unlock()
	x.ready(t, workers)

	killed := make(map[int]bool) // by number
	spared := 0                  // one that lives on: what the death of the others leaves in it is looked at
	kill := func() {             // one of the workers that are there
		x.Server.mu.Lock()
		defer x.Server.mu.Unlock()
		var some []*worker
		for w := range x.workers {
			if w.sender != nil && !killed[w.number] && w.pid() != spared {
				some = append(some, w)
			}
		}
		if len(some) > 0 {
			slices.SortFunc(some, func(a, b *worker) int { return a.number - b.number })
			w := some[random.IntN(len(some))]
			w.cmd.Process.Kill()
			killed[w.number] = true
		}
	}

	// run runs some of the clients, and has workers killed meanwhile or not.
	served, cut := int64(0), int64(0)
	run := func(n int, killing bool) {
		var mu sync.Mutex
		next := random.IntN(50)
		ended := func(l line) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case strings.HasPrefix(l.Err, "wrong"):
				t.Error(l.Err)
			case l.Err == "":
				served++
				x.record.mu.Lock()
				fatesOf(l.Addr).served++
				x.record.mu.Unlock()
				if l.Answers != messages {
					t.Errorf("%+v", l)
				}
			default:
				cut++
				x.record.mu.Lock()
				fatesOf(l.Addr).cut++
				x.record.mu.Unlock()
			}
			if next--; killing && next <= 0 {
				next = 1 + random.IntN(50)
				kill()
			}
		}
		var all sync.WaitGroup
		for i, user := range users {
			order := clientOrder{Addr: x.l.Addr().String(), AtATime: 8, Messages: messages, Peer: user + "@" + realm.Name(), Clients: n / len(users)}
			if i < n%len(users) {
				order.Clients++
			}
			all.Go(func() {
				if err := runClients(order, ccaches[i], ended); err != nil {
					t.Errorf("the clients of %s: %v", user, err)
				}
			})
		}
		all.Wait()
		x.quiet(t)
	}
	some := clients / 10
	run(some, true)
	before := x.usage(t)
	spared = x.oldest()
	run(some, false)
	sparedBefore := x.usageOfWorkers()[spared]
	run(clients-5*some, true)
	after, sparedAfter := x.usage(t), x.usageOfWorkers()[spared]
	run(2*some, false) // so that all workers have been used
	workersBefore := x.usageOfWorkers()
	run(some, false)
	workersAfter := x.usageOfWorkers()
	check(t, x.Shutdown(t.Context()))

	// What the clients say, what the Trace told, and what was counted.
	got := x.Stats()
	t.Logf("%d workers were killed; %+v", len(killed), got)
	t.Logf("the acceptor: %v, and then %v; the worker that saw others die: %v, and then %v; workers: %v, and then %v", before, after, sparedBefore, sparedAfter, workersBefore, workersAfter)
	if got.Accepted != int64(clients) || got.Done+got.Lost+got.Crashed != int64(clients) {
		t.Errorf("of %d clients: %+v", clients, got)
	}
	for _, l := range x.all(is("WorkerEnded")) {
		if killed[l.Worker] != (l.Err != "") {
			t.Errorf("%+v, and killed were %v", l, killed)
		}
	}
	for addr, f := range told {
		crashed := 0
		for _, w := range f.to {
			if killed[int(w)] {
				crashed++
			}
		}
		if f.served+f.cut != f.lost+len(f.to) || f.cut > f.lost+crashed || f.served > len(f.to) {
			t.Errorf("the clients of %s: %+v", addr, *f)
		}
	}
	if served+cut != int64(clients) || cut > got.Lost+got.Crashed || served < got.Done {
		t.Errorf("%d were served, and %d were cut: %+v", served, cut, got)
	}
	if int64(len(killed)) != got.Failed || len(killed) == 0 {
		t.Errorf("%d workers were killed: %+v", len(killed), got)
	}
	if after.descriptors != before.descriptors || after.live != before.live || len(workersAfter) != workers {
		t.Errorf("before %v, after %v; workers %v, %v", before, after, workersBefore, workersAfter)
	}
	flat := func(who string, before, after usage) {
		// What a collection leaves varies by more than a connection takes.
		if grown := after.rss - before.rss; !raceBuild && !asanBuild && grown > 8<<20 || after.descriptors > before.descriptors {
			t.Errorf("%s has grown: %v, and then %v", who, before, after)
		}
	}
	flat("the acceptor", before, after)
	if sparedAfter.descriptors == 0 && runtime.GOOS == "linux" {
		t.Errorf("worker %d was not spared", spared)
	}
	flat("the worker that saw others die", sparedBefore, sparedAfter)
	for pid, u := range workersAfter {
		flat(fmt.Sprint("worker ", pid), workersBefore[pid], u)
	}
}

// fates are what became of the clients of one address: what they say, and what the
// Trace told.
type fates struct {
	served, cut, lost int
	to                []int32 // workers that they were handed over to
}

// usage is what a quiet acceptor holds.
type usage struct {
	descriptors int
	live        int64
	rss         int64 // 0 where the system does not tell
}

func (u usage) String() string {
	return fmt.Sprintf("%d descriptors, %d handles, %d KiB", u.descriptors, u.live, u.rss>>10)
}

// usage waits until all workers are there.
func (x *served) usage(t testing.TB) usage {
	t.Helper()
	var u usage
	eventually(t, "there are as many workers as are to be", func() bool { return x.Stats().Workers == int64(x.Workers) })
	u.live = settle()
	debug.FreeOSMemory()
	u.of(os.Getpid())
	return u
}

// of fills in what the system tells of a process.
func (u *usage) of(pid int) {
	u.descriptors = descriptors(pid)
	if b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "statm")); err == nil {
		var size, pages int64
		fmt.Sscan(string(b), &size, &pages)
		u.rss = pages * int64(os.Getpagesize())
	}
}

// oldest is the process of the worker that was started first of those that are
// there.
func (x *served) oldest() int {
	x.Server.mu.Lock()
	defer x.Server.mu.Unlock()
	var first *worker
	for w := range x.workers {
		if first == nil || w.number < first.number {
			first = w
		}
	}
	return first.pid()
}

// usageOfWorkers is that of all that are there, by their process.
func (x *served) usageOfWorkers() map[int]usage {
	x.Server.mu.Lock()
	defer x.Server.mu.Unlock()
	all := make(map[int]usage)
	for w := range x.workers {
		var u usage
		u.of(w.pid())
		all[w.pid()] = u
	}
	return all
}

// ccacheOf has a user log in.
func ccacheOf(t testing.TB, user string) string {
	t.Helper()
	check(t, realm.AddPrincipal(user))
	c, err := realm.Kinit(user, nil)
	check(t, err)
	return c
}

// runClients runs clients with that ccache, and tells f how each has fared.
func runClients(o clientOrder, ccache string, f func(line)) error {
	cmd := process("client", sayEnv+"=1", "KRB5CCNAME="+ccache)
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(b), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readLines(out, f)
	return cmd.Wait()
}
