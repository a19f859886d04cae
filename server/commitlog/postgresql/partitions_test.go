package postgresql

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// openSmall opens a log whose partitions have ten commits.
func openSmall(t *testing.T, config Config) *Log {
	t.Helper()
	log, err := open(t.Context(), config, slog.New(slog.DiscardHandler), 10)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

const (
	partitionNames = "SELECT coalesce(string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid), '') FROM pg_inherits WHERE inhparent = 'webhook_gateway_commits'::regclass"
	sizeOfAll      = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'webhook_gateway_commits%'"
)

// TestTrimFreesSpace: partitions are made ahead, and dropped when all of theirs is trimmed.
func TestTrimFreesSpace(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log, reader := openSmall(t, configOf(server)), openSmall(t, configOf(server))
	commit := strings.Repeat("x", 100<<10)
	var after commitlog.Sequence
	for i := range 37 {
		after = settle(t, log, after, fmt.Sprint(i, commit))
	}
	eventually(t, "the next partition is made ahead", func() bool {
		return ask[string](server, partitionNames) == "webhook_gateway_commits_0 webhook_gateway_commits_1 webhook_gateway_commits_2 webhook_gateway_commits_3 webhook_gateway_commits_4"
	})
	before := ask[int](server, sizeOfAll)
	if before < 37*len(commit) {
		t.Fatalf("the tables have %d bytes", before)
	}
	// A partition waits for those who read it for a second. What a trim has not done the next one does.
	eventually(t, "it is trimmed", func() bool { return log.Trim(t.Context(), 29) == nil })
	if got := ask[string](server, partitionNames); got != "webhook_gateway_commits_3 webhook_gateway_commits_4" {
		t.Errorf("there are the partitions %s", got)
	}
	if now := ask[int](server, sizeOfAll); now > before/3 {
		t.Errorf("the tables have %d bytes of %d before", now, before)
	}
	if got := awaitRead(t, reader, 29, 8); len(got) != 8 {
		t.Errorf("it reads %d commits", len(got))
	}
	var trimmed *commitlog.TrimmedError
	if err := yields(t, reader, 28); !errors.As(err, &trimmed) || trimmed.Trimmed != 29 {
		t.Errorf("Read() yields %v", err)
	}
	settle(t, reader, after, "more")
	if err := log.Trim(t.Context(), after+100); err == nil || !strings.Contains(err.Error(), "the newest is") {
		t.Errorf("Trim() = %v of what is not there", err)
	}
}

// TestBackupMeanwhile: a long transaction that reads the tables, as a backup has, stops no
// commit; a trim gives up, and is done next time.
func TestBackupMeanwhile(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openSmall(t, configOf(server))
	after := settle(t, log, 0, "first")
	backup := server.connect()
	defer func() { _ = backup.Close(t.Context()) }()
	tx, err := backup.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT count(*) FROM webhook_gateway_commits; LOCK TABLE webhook_gateway_commits IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		after = settle(t, log, after, fmt.Sprint("commit ", i))
	}
	if err := log.Trim(t.Context(), after); err == nil || !strings.Contains(err.Error(), "drop the partition webhook_gateway_commits_0") {
		t.Errorf("Trim() = %v", err)
	}
	after = settle(t, log, after, "after the trim")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is trimmed", func() bool { return log.Trim(t.Context(), after-1) == nil })
	if got := ask[string](server, partitionNames); strings.Contains(got, "commits_0") {
		t.Errorf("there are the partitions %s", got)
	}
}

// TestTheTableLacksACommit: somebody has removed one.
func TestTheTableLacksACommit(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openLog(t, configOf(server))
	var after commitlog.Sequence
	for i := range 5 {
		after = settle(t, log, after, fmt.Sprint(i))
	}
	server.exec("DELETE FROM webhook_gateway_commits WHERE seq = 3")
	for _, from := range []commitlog.Sequence{0, 2} {
		if err := yields(t, log, from); err == nil || !strings.Contains(err.Error(), "commit 3 is missing in the table") {
			t.Errorf("Read(%d) yields %v", from, err)
		}
	}
	if got := readAll(t, log, 3); !slices.Equal(got, []string{"3", "4"}) {
		t.Errorf("it reads %q", got)
	}
}
