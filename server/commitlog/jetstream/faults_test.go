package jetstream

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream/jetstreamtest"
)

// storm is a cluster under three writers.
type storm struct {
	*commitlogtest.Storm
	t       *testing.T
	cluster *jetstreamtest.Cluster
	js      natsjs.JetStream
	config  Config
}

func startStorm(t *testing.T) *storm {
	c := jetstreamtest.Start(t, 3, "")
	config := configFor(c)
	var logs []commitlog.Log
	for range 3 {
		logs = append(logs, mustOpen(t, config))
	}
	return &storm{commitlogtest.StartStorm(t, 5<<20, logs...), t, c, c.Connect(), config}
}

func (s *storm) leader() *jetstreamtest.Node { return s.cluster.Leader(s.js, s.config.Stream) }

// faults are what is done to the servers. At the end of each all of them run, and commits were settled.
func (s *storm) faults() map[string]func() {
	down := func(n *jetstreamtest.Node, end func()) {
		end()
		s.Progress(20)
		n.Start()
		s.Progress(20)
	}
	return map[string]func(){
		"the leader steps down":        func() { s.cluster.StepDown(s.js, s.config.Stream); s.Progress(50) },
		"the leader is shut down":      func() { n := s.leader(); down(n, n.Stop) },
		"the leader is killed":         func() { n := s.leader(); down(n, n.Kill) },
		"a server is killed":           func() { n := s.cluster.Nodes[rand.IntN(3)]; down(n, n.Kill) },
		"the leader is killed at once": func() { n := s.leader(); n.Kill(); n.Start(); s.Progress(20) },
		"all are killed": func() {
			s.cluster.Each((*jetstreamtest.Node).Kill)
			s.cluster.Each((*jetstreamtest.Node).Start)
			s.Progress(20)
		},
		"all are shut down": func() {
			s.cluster.Each((*jetstreamtest.Node).Stop)
			s.cluster.Each((*jetstreamtest.Node).Start)
			s.Progress(20)
		},
		"the leader hangs":              func() { n := s.leader(); n.Pause(); s.Progress(20); n.Resume(); s.Progress(20) },
		"another hangs, for a moment":   func() { n := s.follower(); n.Pause(); s.Progress(100); n.Resume(); s.Progress(20) },
		"all but one hang, for seconds": s.hang,
	}
}

func (s *storm) follower() *jetstreamtest.Node {
	leader := s.leader()
	return s.cluster.Nodes[slices.IndexFunc(s.cluster.Nodes, func(n *jetstreamtest.Node) bool { return n != leader })]
}

func (s *storm) hang() {
	leader := s.leader()
	for _, n := range s.cluster.Nodes {
		if n != leader {
			n.Pause()
		}
	}
	<-time.After(3 * time.Second) // how long the fault lasts
	s.cluster.Each((*jetstreamtest.Node).Resume)
	s.Progress(20)
}

// TestFaults: whatever is done to the servers, no commit is lost, doubled or torn, and all readers have
// read the same. COMMITLOG_FAULTS is how long to go on with faults by chance, such as 10m.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := startStorm(t)
	s.Progress(50)
	faults := s.faults()
	do := func(name string) {
		begin := time.Now()
		faults[name]()
		t.Logf("%s: %.1f s", name, time.Since(begin).Seconds())
	}
	for _, name := range []string{"the leader steps down", "the leader hangs", "the leader is killed", "all are killed"} {
		do(name)
	}
	if text := os.Getenv("COMMITLOG_FAULTS"); text != "" {
		campaign, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("COMMITLOG_FAULTS: %v", err)
		}
		var names []string
		for name := range faults {
			names = append(names, name)
		}
		for end := time.Now().Add(campaign); time.Now().Before(end); {
			do(names[rand.IntN(len(names))])
		}
	}
	t.Logf("%d commits", s.Finish(mustOpen(t, s.config)))
}

// TestServerWithANewDisk: a reader whose server has to get everything from the others concludes nothing from what
// it lacks.
func TestServerWithANewDisk(t *testing.T) {
	t.Parallel()
	c := jetstreamtest.Start(t, 3, "")
	js := c.Connect()
	config := configFor(c)
	log := mustOpen(t, config)
	const n = 40
	var after commitlog.Sequence
	for i := range n {
		after = mustSettle(t, log, after, string(large(200_000, byte(i))))
	}
	leader := c.Leader(js, config.Stream)
	fresh := c.Nodes[slices.IndexFunc(c.Nodes, func(n *jetstreamtest.Node) bool { return n != leader })]
	fresh.Kill()
	fresh.Wipe()
	fresh.Start()
	config.URLs = []string{fresh.URL}
	for range 5 {
		reader := mustOpen(t, config)
		found := false
		for next, err := range reader.Read(t.Context(), after-1) {
			if err != nil || next.Sequence != after {
				t.Errorf("Read() yields %d, %v", next.Sequence, err)
			}
			found = true
		}
		if !found {
			t.Error("the last commit is not there")
		}
	}
	if commits := readN(t, mustOpen(t, config), n); len(commits) != n {
		t.Errorf("%d commits", len(commits))
	}
}
