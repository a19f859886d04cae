package pebblelog

import (
	"errors"
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
	for _, err := range log.ListScopes(t.Context()) {
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
