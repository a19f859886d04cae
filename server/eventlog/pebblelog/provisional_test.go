package pebblelog

import "testing"

// TestCursorsWhileReadAlone starts a damaged log on a full disk: cursors of events that wait
// for a recovery are not of a history that was lost.
func TestCursorsWhileReadAlone(t *testing.T) {
	s := storeEvents(t, 200, true)
	flipBit(t, s.disk)
	disk := &quotaFS{FS: s.disk, total: 1 << 40}
	disk.fill(0)
	log := mustOpen(t, testConfig("log"), WithFS(disk))
	if err := log.Err(); err == nil || log.Bounds().Head == 200 {
		t.Fatalf("Err() = %v, head %d", err, log.Bounds().Head)
	}
	for p, cursor := range s.cursors {
		wantParsed(t, log.History().ParseCursor, cursor, p, nil)
	}
	disk.setFree(-1)
	waitUntil(t, "the log works", func() bool { return log.Err() == nil })
	for p, cursor := range s.cursors {
		wantParsed(t, log.History().ParseCursor, cursor, p, nil)
	}
}
