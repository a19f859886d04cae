package pebblelog

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/proto"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestForeignCommits: a gateway that finds something in the commit log that none has made
// says so, keeps its copy, and serves what it has.
func TestForeignCommits(t *testing.T) {
	set := func(key, value string) *commitlogv1.Operation {
		return &commitlogv1.Operation{Key: []byte(key), Value: []byte(value)}
	}
	remove := func(key, end string) *commitlogv1.Operation {
		return &commitlogv1.Operation{Key: []byte(key), End: []byte(end)}
	}
	meta := func(name, value string) *commitlogv1.Operation { return set(string(metaKey(name)), value) }
	of := func(operations ...*commitlogv1.Operation) func(*commitlogv1.Commit) {
		return func(c *commitlogv1.Commit) { c.Operations = operations }
	}
	for name, c := range map[string]struct {
		change func(*commitlogv1.Commit)
		want   string
	}{
		"garbage":          {nil, "decode a commit"},
		"another version":  {func(c *commitlogv1.Commit) { c.Version = 2 }, "upgrade this one"},
		"another keyspace": {func(c *commitlogv1.Commit) { c.Keyspace = 99 }, "upgrade this one"},
		"a newer field":    {func(c *commitlogv1.Commit) { c.ProtoReflect().SetUnknown(newerField) }, "upgrade this one"},
		"a newer operation": {func(c *commitlogv1.Commit) {
			c.Operations = []*commitlogv1.Operation{{Key: eventKey(5)}}
			c.Operations[0].ProtoReflect().SetUnknown(newerField)
		}, "upgrade this one"},
		"another log":           {func(c *commitlogv1.Commit) { c.LogId = []byte("?") }, "cannot share"},
		"no key":                {of(set("", "value")), "no key"},
		"an unknown key":        {of(set("?", "value")), "does not know"},
		"a key of copies":       {of(set(string(placeKey), "value")), "does not know"},
		"a range over all":      {of(remove("d", "z")), "range"},
		"a range backwards":     {of(remove("sz", "sa")), "range"},
		"a malformed event key": {of(set("e1", "value")), "event"},
		"a malformed event":     {of(set(string(eventKey(6)), "value")), "event"},
		"an event again":        {of(set(string(eventKey(5)), "the fifth")), "comes after"},
		"an event too far":      {of(set(string(eventKey(7)), "the fifth")), "comes after"},
		"a malformed event id":  {of(set("d1", "value")), "event id"},
		"a malformed epoch":     {of(set("h1", "value")), "epoch"},
		"an epoch before":       {of(set(epochKeyAndValue(eventlog.EpochStart{Epoch: eventlog.NewEpoch(), First: 1}))), "epoch"},
		"a malformed loss":      {of(set("l1", "value")), "loss"},
		"a malformed mark":      {of(meta(metaTrimmed, "value")), "trimmed"},
		"a malformed pass":      {of(meta(metaRestated, "value")), "restated"},
		"another keyspace set":  {of(meta(metaKeyspace, "9")), "keyspace"},
		"another id set":        {of(meta(metaLogID, "9")), "id"},
	} {
		t.Run(name, func(t *testing.T) {
			memory, disk := commitlogtest.NewMemory(), vfs.NewMem()
			log := openShared(t, disk, commitsOf(t, memory))
			appendMany(t, log, "event", 5)
			fifth := eventsOf(t, log)[4]
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			commits := commitsOf(t, memory)
			begun := log.shared.place.hash
			commit := &commitlogv1.Commit{
				Version: commitVersion, Keyspace: keyspaceVersion, LogId: log.shared.logID[:], PreviousHash: begun[:], Gateway: 1,
			}
			bytes := []byte("\xff\xff\xff")
			if c.change != nil {
				c.change(commit)
				for _, o := range commit.GetOperations() {
					if string(o.GetValue()) == "the fifth" {
						o.Value = []byte(fifth)
					}
				}
				var err error
				if bytes, err = proto.Marshal(commit); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := commits.Append(t.Context(), memory.Len(), bytes); err != nil {
				t.Fatal(err)
			}
			log = mustOpen(t, testConfig("log"), WithFS(disk), WithCommits(t.Context(), commits))
			t.Cleanup(func() { closeSoon(t, log) })
			for deadline := time.Now().Add(patience); log.Err() == nil || !strings.Contains(log.Err().Error(), c.want); <-time.After(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("Err() = %v, want %q", log.Err(), c.want)
				}
			}
			if n := readsWhole(t, log); n != 5 {
				t.Errorf("%d events are served", n)
			}
			if n := log.failures.Load() + log.shared.rebuilt.Load(); n != 0 {
				t.Errorf("the copy was opened or made anew %d times", n)
			}
		})
	}
}

func epochKeyAndValue(start eventlog.EpochStart) (key, value string) {
	k, v := epochPair(start)
	return string(k), string(v)
}
