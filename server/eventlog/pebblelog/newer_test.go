package pebblelog

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	commitlogv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/commitlog/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

// newerField is a field of a later version, encoded.
var newerField = protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)

// TestNewerCommitWhileRunning: a gateway that runs, and meets a commit of a later version, is not
// current any more, for its load balancer to see. It commits nothing, and serves what it has.
func TestNewerCommitWhileRunning(t *testing.T) {
	memory := commitlogtest.NewMemory()
	log := openShared(t, vfs.NewMem(), commitsOf(t, memory))
	appendMany(t, log, "event", 5)
	term, err := log.AcquireScope(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	id := log.ID()
	newer, err := proto.Marshal(&commitlogv1.Commit{Version: commitVersion + 1, Keyspace: keyspaceVersion, LogId: id[:]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := commitsOf(t, memory).Append(t.Context(), memory.Len(), newer); err != nil {
		t.Fatal(err)
	}
	at := memory.Len()
	for deadline := time.Now().Add(patience); ; <-time.After(time.Millisecond) {
		if _, current := log.CatchUp(); !current {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the copy is still said to be current")
		}
	}
	if err := log.Err(); err == nil || !strings.Contains(err.Error(), "upgrade this one") {
		t.Errorf("Err() = %v", err)
	}
	for what, do := range map[string]func(context.Context) error{
		"an event": func(ctx context.Context) error {
			_, err := log.Append(ctx, eventlogtest.Entry(t, "acme", "more", "more"))
			return err
		},
		"state": func(ctx context.Context) error {
			return log.CommitScope(ctx, "worker", term, []eventlog.StateMutation{{Key: []byte("key"), Value: []byte("value")}})
		},
		"a scope":       func(ctx context.Context) error { return second(log.AcquireScope(ctx, "other")) },
		"to be sure of": log.Sync,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := do(ctx); err == nil {
			t.Errorf("%s is taken", what)
		}
		cancel()
	}
	if n := memory.Len(); n != at {
		t.Errorf("it made %d commits", n-at)
	}
	if n := readsWhole(t, log); n != 5 {
		t.Errorf("%d events are served", n)
	}
	if n := log.failures.Load() + log.shared.rebuilt.Load(); n != 0 {
		t.Errorf("the copy was opened or made anew %d times", n)
	}
}

func second[T any](_ T, err error) error { return err }

// TestNewerFiles: a gateway does not open files that a later version of Pebble has written, says
// so, and touches nothing. That is so with a copy, too, although it could be made anew.
func TestNewerFiles(t *testing.T) {
	const marker = "marker.format-version."
	for name, shared := range map[string]bool{"one machine": false, "a copy": true} {
		t.Run(name, func(t *testing.T) {
			disk := vfs.NewMem()
			options := []Option{WithFS(disk)}
			if shared {
				options = append(options, WithCommits(t.Context(), commitsOf(t, commitlogtest.NewMemory())))
			}
			log := mustOpen(t, testConfig("log"), options...)
			if shared {
				<-log.Current()
			}
			appendMany(t, log, "event", 5)
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			for file := range filesOf(t, disk, "log") {
				number, isMarker := strings.CutPrefix(file, marker)
				if number, _, _ = strings.Cut(number, "."); !isMarker {
					continue
				}
				if err := disk.Rename("log/"+file, fmt.Sprintf("log/%s%s.999", marker, number)); err != nil {
					t.Fatal(err)
				}
			}
			before := filesOf(t, disk, "log")
			_, err := Open(testConfig("log"), testLogger(), options...)
			want := "a later version of the gateway"
			if err == nil || !strings.Contains(err.Error(), want) || shared != strings.Contains(err.Error(), "empty folder") {
				t.Errorf("Open() = %v, want %q, and what to do", err, want)
			}
			if after := filesOf(t, disk, "log"); !maps.Equal(before, after) {
				t.Errorf("the files were %v, and are %v", before, after)
			}
		})
	}
}

// filesOf returns the files of a folder with their sizes.
func filesOf(t *testing.T, disk vfs.FS, folder string) map[string]int64 {
	t.Helper()
	names, err := disk.List(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]int64)
	for _, name := range names {
		info, err := disk.Stat(disk.PathJoin(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = info.Size()
	}
	return files
}
