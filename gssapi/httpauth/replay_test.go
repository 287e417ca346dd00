package httpauth

import (
	"encoding/binary"
	"testing"
	"time"
)

// What was seen is remembered for its time, and not much longer.
func TestReplaysForget(t *testing.T) {
	id := func(n int) (b [16]byte) {
		binary.BigEndian.PutUint64(b[:], uint64(n))
		return b
	}
	now := time.Now()
	for _, test := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {replayTime - 1, true}, {replayTime, true}, {2*replayTime - 1, true}, {2 * replayTime, false}, {100 * replayTime, false}} {
		r := replays{most: 10}
		if r.add(id(1), now) {
			t.Error("the first is a replay")
		}
		if test.after == 2*replayTime { // the generation after ends what is remembered
			r.add(id(2), now.Add(replayTime))
		}
		if got := r.add(id(1), now.Add(test.after)); got != test.want {
			t.Errorf("after %v: %v", test.after, got)
		}
	}
	r := replays{most: 1000}
	for n := range 1000 {
		if r.add(id(n), now) {
			t.Fatal("a new one is a replay")
		}
	}
	for n := range 1000 {
		if !r.add(id(n), now) {
			t.Fatalf("%d is forgotten", n)
		}
	}
	for n := range 1001 {
		r.add(id(1000+n), now)
	}
	if len(r.now)+len(r.before) > 2000 {
		t.Error("they do not become fewer")
	}
}
