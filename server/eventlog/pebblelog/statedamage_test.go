package pebblelog

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

// TestDamagedStateOfOneScope damages the table with the state of subscriptions in every
// place: scopes that can be read are listed, and whoever looks for the others is told that
// they are damaged.
func TestDamagedStateOfOneScope(t *testing.T) {
	const scopes, pairs = 9, 40
	disk := vfs.NewMem()
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	mustAppend(t, log, "", "body")
	for i := range scopes {
		name := fmt.Sprint("scope-", i)
		term, err := log.AcquireScope(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var mutations []eventlog.StateMutation
		for j := range pairs {
			mutations = append(mutations, eventlog.StateMutation{Key: fmt.Appendf(nil, "%03d", j), Value: []byte(noise(uint64(i*pairs+j), 1500))})
		}
		if err := log.CommitScope(t.Context(), name, term, mutations); err != nil {
			t.Fatal(err)
		}
	}
	flushAll(t, log)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := listTables(disk, "log")
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	table := slices.MaxFunc(tables, func(a, b string) int { return len(readDisk(t, disk, a)) - len(readDisk(t, disk, b)) })
	good := readDisk(t, disk, table)
	for place := range 20 {
		bad := slices.Clone(good)
		bad[len(bad)*(2*place+1)/42] ^= 1 // the last of it is not a block of pairs
		t.Run(fmt.Sprint(place), func(t *testing.T) {
			disk := cloneDisk(t, disk)
			writeDisk(t, disk, table, bad)
			log := mustOpen(t, testConfig("log"), WithFS(disk))
			var listed []string
			var failure error
			for name, err := range log.ListScopes(t.Context(), "") {
				if err != nil {
					failure = err
					break
				}
				listed = append(listed, name)
			}
			if failure != nil && !errors.Is(failure, eventlog.ErrStateDamaged) {
				t.Errorf("ListScopes() = %v", failure)
			}
			if len(listed) < scopes-2 || len(listed) < scopes && failure == nil {
				t.Errorf("%v are listed, %v", listed, failure)
			}
			whole := 0
			for _, name := range listed {
				n := 0
				var failure error
				for _, err := range log.ReadScope(t.Context(), name, nil, nil) {
					if failure = err; err == nil {
						n++
					}
				}
				if failure == nil && n != pairs || failure != nil && !errors.Is(failure, eventlog.ErrStateDamaged) {
					t.Errorf("%d pairs of %s, %v", n, name, failure)
				}
				if failure == nil {
					whole++
				}
			}
			if whole < scopes-2 {
				t.Errorf("only %d of %d scopes can be read", whole, scopes)
			}
		})
	}
}

func cloneDisk(t *testing.T, disk *vfs.MemFS) *vfs.MemFS {
	t.Helper()
	clone := vfs.NewMem()
	if ok, err := vfs.Clone(disk, clone, "log", "log"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return clone
}
