package pebblelog

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/eventlogtest"
)

func TestStateConformance(t *testing.T) {
	eventlogtest.RunState(t, func(*testing.T) eventlogtest.StateHarness {
		disk := vfs.NewCrashableMem()
		return eventlogtest.StateHarness{
			Open: func(t *testing.T) eventlog.StateStore {
				return mustOpen(t, testConfig("log"), WithFS(disk))
			},
			Crash: func(*testing.T) { disk = disk.CrashClone(vfs.CrashCloneCfg{}) },
		}
	})
}

func TestStateClosed(t *testing.T) {
	log := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()))
	term, err := log.AcquireScope(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := log.AcquireScope(t.Context(), "a"); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("AcquireScope() = %v, want ErrClosed", err)
	}
	if err := log.CommitScope(t.Context(), "a", term, nil); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("CommitScope() = %v, want ErrClosed", err)
	}
	for _, err := range log.ListScopes(t.Context(), "") {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("ListScopes() = %v, want ErrClosed", err)
		}
	}
	for _, err := range log.ReadScope(t.Context(), "a", nil, nil) {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("ReadScope() = %v, want ErrClosed", err)
		}
	}
}

// Gateways list the members of a cluster ten times a second, however many subscriptions
// there are.
func TestListingAFewScopesOfManyIsCheap(t *testing.T) {
	log := mustOpen(t, testConfig("log"), WithFS(vfs.NewMem()))
	for i := range 600 {
		scope := fmt.Sprintf("%0*d", 4+i%3, i)
		if i%200 == 0 {
			scope = "wanted " + scope
		}
		term, err := log.AcquireScope(t.Context(), scope)
		if err == nil {
			err = log.CommitScope(t.Context(), scope, term, []eventlog.StateMutation{{Key: []byte("k")}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	listed := 0
	allocations := testing.AllocsPerRun(1, func() {
		listed = 0
		for _, err := range log.ListScopes(t.Context(), "wanted ") {
			if listed++; err != nil {
				t.Fatal(err)
			}
		}
	})
	if listed != 3 || allocations > 200 {
		t.Errorf("%d are listed, with %v allocations", listed, allocations)
	}
}
