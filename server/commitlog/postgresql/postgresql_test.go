package postgresql

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/commitlogtest"
)

func TestCommitLog(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	var logs atomic.Int32
	commitlogtest.Run(t, func(*testing.T) commitlogtest.Harness {
		config := configOf(server)
		config.Table = fmt.Sprint("log_", logs.Add(1))
		return commitlogtest.Harness{Open: func(t *testing.T) commitlog.Log { return openLog(t, config) }}
	})
}

// TestSeveralLogs: those with other tables or schemas have nothing to do with each other.
func TestSeveralLogs(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.exec("CREATE SCHEMA webhooks")
	first := configOf(server)
	second, third := first, first
	second.Table, third.Schema = "other", "webhooks"
	for i, config := range []Config{first, second, third} {
		log, reader := openLog(t, config), openLog(t, config)
		settle(t, log, 0, fmt.Sprint("of log ", i))
		if got := awaitRead(t, reader, 0, 1); !slices.Equal(got, []string{fmt.Sprint("of log ", i)}) {
			t.Errorf("log %d has %q", i, got)
		}
	}
}

// TestHugeCommits: of 40 MiB, by all limits of time; a reader takes them one at a time.
func TestHugeCommits(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log, reader := openLog(t, configOf(server)), openLog(t, configOf(server))
	huge := strings.Repeat("0123456789abcdef", 40<<20/16)
	after := settle(t, log, 0, "small")
	after = settle(t, log, after, huge)
	settle(t, log, after, "small again")
	if got := awaitRead(t, reader, 0, 3); !slices.Equal(got, []string{"small", huge, "small again"}) {
		t.Errorf("read %d commits", len(got))
	}
	if rows, err := reader.query(t.Context(), 0, 3); err != nil || len(rows) != 2 {
		t.Errorf("one query reads %d commits, %v", len(rows), err)
	}
}

// TestNotificationsLost: without them it is asked now and then.
func TestNotificationsLost(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openLog(t, configOf(server))
	after := settle(t, log, 0, "first")
	// A gateway that dies after its commit tells nobody.
	server.exec(`INSERT INTO webhook_gateway_commits VALUES (2, 7, 'second')`)
	if got := awaitRead(t, log, after, 1); got[0] != "second" {
		t.Errorf("read %q", got)
	}
}

// TestNotifications: what they tell is believed at once.
func TestNotifications(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := openLog(t, configOf(server))
	settle(t, log, 0, "first")
	eventually(t, "a notification is believed, until a poll shows that there is no such commit", func() bool {
		server.exec("NOTIFY \"public.webhook_gateway\", '5'")
		return log.known() == 5
	})
	eventually(t, "the poll shows it", func() bool { return log.known() == 1 && log.Err() == nil })
	server.exec(cutAll)
	eventually(t, "it listens again", func() bool {
		server.exec("NOTIFY \"public.webhook_gateway\", '5'")
		return log.known() == 5
	})
}
