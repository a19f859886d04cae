package pebblelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// TestSoakOfLostEnds: three or five gateways commit, own state, trim, are stopped, wiped and begun
// anew, while the commit log loses its end again and again and some of them do not notice. What
// is judged is in sharedsoakmodel_test.go. SOAK_LOST_ENDS is how long to go on, such as 30m; SOAK_SEED is
// the seed of a single history.
func TestSoakOfLostEnds(t *testing.T) {
	if text := os.Getenv("SOAK_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("SOAK_SEED: %v", err)
		}
		soakLostEnds(t, seed)
		return
	}
	campaign := time.Duration(0)
	if text := os.Getenv("SOAK_LOST_ENDS"); text != "" {
		var err error
		if campaign, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK_LOST_ENDS: %v", err)
		}
	}
	for n, end := 0, time.Now().Add(campaign); n < 2 || time.Now().Before(end); n++ {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { soakLostEnds(t, seed) })
	}
}

func soakLostEnds(t *testing.T, seed uint64) {
	s := &soak{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), memory: commitlogtest.NewMemory(),
		shadow: make(map[commitlog.Sequence][]byte), acked: make(map[string]eventlog.Position), terms: make(map[string]uint64),
	}
	copies := 3
	if s.r.IntN(4) == 0 {
		copies = 5
	}
	defer s.end()
	for range copies {
		s.copies = append(s.copies, s.begin())
	}
	for range 3 {
		s.readers = append(s.readers, &soakReader{seen: make(map[eventlog.Position]string)})
	}
	for round := range 4 {
		s.round = round
		for range 5 + s.r.IntN(20) {
			s.act()
		}
		s.settle()
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
	// Who is not told goes on for as long as it takes the others to make their copies, on a busy machine too.
	if s.void > 500 {
		t.Errorf("%d void commits", s.void)
	}
	t.Logf("%d events acknowledged, %d lost, %d void commits, %d ends lost, %d copies made anew", len(s.acked), s.lost, s.void, s.cuts, s.rebuilt)
}

// mayLose is how old a commit may be that the commit log loses with its end.
const mayLose = 300 * time.Millisecond

type soak struct {
	t       *testing.T
	r       *rand.Rand
	memory  *commitlogtest.Memory
	copies  []*soakCopy
	readers []*soakReader
	round   int
	bodies  int
	cut     bool               // since the last time that all was well
	floor   commitlog.Sequence // what comes before is not lost: somebody may have forgotten it, who alone knew it
	async   sync.WaitGroup
	history []string

	mu     sync.Mutex
	shadow map[commitlog.Sequence][]byte // all commits of the commit log, those too that were trimmed
	landed [][]byte                      // all that ever were in it
	acked  map[string]eventlog.Position
	terms  map[string]uint64 // the largest that was given, of each scope

	lengths  []soakLength
	problems []string

	lost, void, cuts, rebuilt int
}

// soakLines takes what gateways log into what was done.
type soakLines struct{ soak *soak }

func (l soakLines) Write(line []byte) (int, error) {
	_, said, _ := strings.Cut(string(line), "level=")
	l.soak.note("  %s", strings.TrimSpace(said))
	return len(line), nil
}

// A soakLength is how long the commit log was at a time.
type soakLength struct {
	at     time.Time
	newest commitlog.Sequence
}

func (s *soak) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, fmt.Sprintf("%5d %s", s.memory.Len(), fmt.Sprintf(format, args...)))
}

// A soakCopy is a gateway with its folder.
type soakCopy struct {
	soak   *soak
	number int
	disk   *vfs.MemFS
	log    *Log // nil while it is stopped
	engine *soakEngine
}

func (s *soak) begin() *soakCopy {
	c := &soakCopy{soak: s, number: len(s.copies), disk: vfs.NewCrashableMem()}
	c.open()
	return c
}

func (c *soakCopy) open() {
	c.engine = &soakEngine{Log: c.soak.memory.Open(soakFaults{c.soak}), soak: c.soak}
	logger := slog.New(slog.NewTextHandler(soakLines{c.soak}, &slog.HandlerOptions{Level: slog.LevelWarn})).With("gateway", c.number)
	log, err := Open(testConfig("log"), logger, WithFS(c.disk), WithCommits(context.Background(), c.engine), byHand(), impatient(),
		func(l *Log) { l.shared.pace.certainAfter, l.shared.pace.minBytes = 2*mayLose, 20_000 }, withSettlePatience(30*time.Millisecond), withPatience(time.Minute, 10*time.Second))
	if err != nil {
		c.soak.t.Fatalf("Open() = %v", err)
	}
	c.log = log
}

func (c *soakCopy) close() {
	if c.log == nil {
		return
	}
	c.soak.rebuilt += int(c.log.shared.rebuilt.Load())
	if err := errors.Join(c.log.Close(), c.engine.Close()); err != nil {
		c.soak.t.Errorf("Close() = %v", err)
	}
	c.log = nil
}

func (s *soak) end() {
	s.async.Wait()
	for _, c := range s.copies {
		c.close()
	}
	if s.t.Failed() {
		s.t.Logf("what was done:\n%s", strings.Join(s.history, "\n"))
	}
}

// act does something.
func (s *soak) act() {
	s.lengths = append(s.lengths, soakLength{time.Now(), s.memory.Len()})
	c := s.copies[s.r.IntN(len(s.copies))]
	if c.log == nil {
		if s.r.IntN(3) == 0 {
			s.note("%d starts", c.number)
			c.open()
		}
		return
	}
	switch n := s.r.IntN(100); {
	case n < 40:
		s.append(c, 1+s.r.IntN(3), s.r.IntN(3) == 0)
	case n < 48:
		s.own(c)
	case n < 58:
		s.loseEnd()
	case n < 64:
		s.note("%d is blind", c.number)
		c.engine.blind()
	case n < 67:
		s.note("%d is cut off", c.number)
		c.engine.off.Store(true)
	case n < 70:
		s.note("%d cannot commit", c.number)
		c.engine.noAppends.Store(true)
	case n < 78:
		s.note("%d is well", c.number)
		c.engine.heal()
	case n < 82:
		s.note("%d stops", c.number)
		c.close()
	case n < 84 && !s.cut:
		s.note("%d is wiped", c.number)
		c.close()
		s.floor = s.memory.Len()
		c.disk = vfs.NewCrashableMem()
		c.open()
	case n < 86 && !s.cut:
		s.note("%d crashes", c.number)
		disk := c.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: s.r.IntN(100), RNG: s.r})
		c.close()
		s.floor = s.memory.Len()
		c.disk = disk
		c.open()
	case n < 88 && !s.cut:
		s.note("%d is damaged", c.number)
		s.floor = s.memory.Len()
		c.log.storeMu.RLock()
		c.log.store.fence.fail(&copyError{errCopy, false})
		c.log.storeMu.RUnlock()
	case n < 91:
		s.trim(c)
	case n < 95:
		s.shorten(c)
	default:
		s.readers[s.r.IntN(len(s.readers))].follow(s, c)
	}
}

func (s *soak) append(c *soakCopy, n int, async bool) {
	var bodies []string
	for range n {
		s.bodies++
		bodies = append(bodies, fmt.Sprint("event ", s.bodies))
	}
	s.note("%d appends %s, async %t", c.number, strings.Join(bodies, ", "), async)
	var entries []eventlog.Entry
	for _, body := range bodies {
		id := body
		if s.r.IntN(2) == 0 {
			id = ""
		}
		entries = append(entries, eventlogtest.Entry(s.t, "acme", id, body))
	}
	log := c.log
	do := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		for i, entry := range entries {
			receipt, err := log.Append(ctx, entry)
			if err != nil {
				s.note("%s is refused: %v", bodies[i], err)
				return
			}
			s.note("%s is at %d", bodies[i], receipt.Position)
			s.mu.Lock()
			s.acked[bodies[i]] = receipt.Position
			s.mu.Unlock()
		}
	}
	if async {
		s.async.Go(do)
		return
	}
	do()
}

func (s *soak) own(c *soakCopy) {
	scope := fmt.Sprint("scope ", s.r.IntN(3))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	term, err := c.log.AcquireScope(ctx, scope)
	s.note("%d acquires %s: %d, %v", c.number, scope, term, err)
	if err != nil {
		return
	}
	if !s.cut && term <= s.terms[scope] {
		s.t.Errorf("term %d of %s is given after %d", term, scope, s.terms[scope])
	}
	s.terms[scope] = max(s.terms[scope], term)
	for range 2 {
		key := fmt.Append(nil, "key ", s.r.IntN(5))
		_ = c.log.CommitScope(ctx, scope, term, []eventlog.StateMutation{{Key: key, Value: fmt.Append(nil, s.bodies)}})
	}
}

// loseEnd has the commit log lose its end.
func (s *soak) loseEnd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	newest, oldest := s.memory.Len(), max(s.memory.Trimmed(), s.floor, 1)
	for _, length := range s.lengths {
		if time.Since(length.at) > mayLose {
			oldest = max(oldest, min(length.newest, newest))
		}
	}
	if newest <= oldest {
		return // there is nothing that may be lost
	}
	lost := min(commitlog.Sequence(s.r.IntN(1+s.r.IntN(12))), newest-oldest)
	s.memory.Cut(newest - lost)
	for at := range s.shadow {
		if at > newest-lost {
			delete(s.shadow, at)
		}
	}
	s.history = append(s.history, fmt.Sprintf("the commit log ends at %d instead of %d", newest-lost, newest))
	if lost > 0 {
		s.cuts++
		s.cut = true
	}
}

func (s *soak) trim(c *soakCopy) {
	bounds := c.log.Bounds()
	if bounds.Len() < 3 {
		return
	}
	upTo := bounds.Trimmed + 1 + eventlog.Position(s.r.IntN(int(bounds.Len()-1)))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	s.note("%d trims up to %d: %v", c.number, upTo, c.log.Trim(ctx, upTo))
}

// shorten takes steps of a pass, and trims the commit log.
func (s *soak) shorten(c *soakCopy) {
	if c.engine.off.Load() || c.engine.noAppends.Load() || c.engine.stale.Load() != nil {
		return // it would wait
	}
	log := c.log
	s.async.Go(func() {
		for range 12 {
			more, err := log.shorten()
			if err != nil || !more {
				s.note("%d shortened: trimmed %d, %v", c.number, s.memory.Trimmed(), err)
				return
			}
		}
	})
}
