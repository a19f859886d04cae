package commitlogtest

import (
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		memory := NewMemory()
		return Harness{Open: func(*testing.T) commitlog.Log { return memory.Open(nil) }}
	})
}

// TestMemoryWithFaults: Settle is right whatever the answers are.
func TestMemoryWithFaults(t *testing.T) {
	Run(t, func(*testing.T) Harness {
		memory := NewMemory()
		return Harness{Open: func(*testing.T) commitlog.Log { return memory.Open(NewBadAnswers(1)) }}
	})
}

// TestStorm: the storm itself finds nothing wrong where nothing is.
func TestStorm(t *testing.T) {
	memory := NewMemory()
	faults := NewBadAnswers(1)
	storm := StartStorm(t, 10_000, memory.Open(faults), memory.Open(faults), memory.Open(faults))
	storm.Progress(20)
	if n := storm.Finish(memory.Open(nil)); n < 20 {
		t.Errorf("%d commits", n)
	}
}

// TestStormNotices: the storm finds what it is there to find.
func TestStormNotices(t *testing.T) {
	read := func(names ...string) (commits []commitlog.Commit) {
		for i, name := range names {
			commits = append(commits, commitlog.Commit{Sequence: commitlog.Sequence(i + 1), Bytes: []byte(name)})
		}
		return commits
	}
	zero, one := "a\x00\x00\x00\x00\x00\x00\x00\x00", "a\x00\x00\x00\x00\x00\x00\x00\x01"
	for name, test := range map[string]struct {
		writer, other, fresh []commitlog.Commit
		base                 commitlog.Sequence
		wrong                bool
	}{
		"nothing":               {read(zero, one), read(zero), read(zero, one), 0, false},
		"a beginning trimmed":   {read(zero, one), read(zero), read(zero, one)[1:], 1, false},
		"a settled one missing": {read(zero), read(zero), read(zero), 0, true},
		"one that is elsewhere": {read(one, zero), read(one, zero), read(one, zero), 0, true},
		"one that is doubled":   {read(zero, one, zero), read(zero), read(zero, one, zero), 0, true},
		"readers that differ":   {read(zero, one), read(one), read(zero, one), 0, true},
		"a fresh one differing": {read(zero, one), read(zero), read(zero, zero), 0, true},
	} {
		s := &Storm{t: t, base: test.base, writers: []*stormWriter{
			{name: 'a', read: test.writer, mine: map[uint64]commitlog.Sequence{0: 1, 1: 2}}, {name: 'b', read: test.other},
		}}
		if err := s.check(&stormWriter{read: test.fresh}); (err != nil) != test.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}
