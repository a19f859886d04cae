package postgresql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// minVersion is the oldest server that has all that is used here, and is still kept.
const minVersion = 130000

// server is what is known of the server that commits go to.
type server struct {
	mu sync.Mutex
	// timeline is the newest that was seen: a standby that becomes the primary begins one.
	timeline uint64
	// alone says that it was told of a server without a synchronous standby.
	alone bool
	// silent are the hosts that did not answer when all were asked.
	silent []string
	// conns are the connections, also those that are in use.
	conns map[*pgx.Conn]struct{}
}

// keep notes a connection until forget.
func (s *server) keep(_ context.Context, conn *pgx.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[*pgx.Conn]struct{})
	}
	s.conns[conn] = struct{}{}
	return nil
}

func (s *server) forget(conn *pgx.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// check is called for each connection. It refuses a server that is not the primary, and one
// that would lose what it has acknowledged: then the next host is tried.
func (l *Log) check(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, `SELECT current_setting('server_version_num'), pg_is_in_recovery(), current_setting('transaction_read_only'),
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
		CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END`).ReadAll()
	if err != nil {
		return fmt.Errorf("ask PostgreSQL for its settings: %w", err)
	}
	row := results[0].Rows[0]
	version, _ := strconv.Atoi(string(row[0]))
	standby, readOnly, fsync, pages, synchronous, standbys := string(row[1]), string(row[2]), string(row[3]), string(row[4]), string(row[5]), string(row[6])
	switch {
	case version < minVersion:
		return refuse("PostgreSQL has version %d, and must have %d or later: upgrade it", version/10000, minVersion/10000)
	case standby != "f":
		return errors.New("the PostgreSQL server is a standby: name the primary, or all servers")
	case readOnly != "off":
		return refuse("the PostgreSQL server takes no writes: set default_transaction_read_only to off for it and for the user")
	case fsync != "on":
		return refuse("the PostgreSQL server would lose commits when its machine crashes: set fsync to on")
	case pages != "on":
		return refuse("the PostgreSQL server would lose commits when its machine crashes in the midst of writing a page: set full_page_writes to on")
	case synchronous != "on" && synchronous != "remote_apply":
		return refuse("synchronous_commit is %s although on was asked for: connect without what changes it, such as a pooler", synchronous)
	case standbys == "" && l.config.SynchronousStandby == StandbyRequired:
		return errNoStandby
	}
	timeline, err := strconv.ParseUint(string(row[7]), 16, 32)
	if err != nil {
		return fmt.Errorf("the timeline of the PostgreSQL server is not understood: %w", err)
	}
	return l.admit(ctx, timeline, standbys == "")
}

// refusal is why a server is refused until somebody changes it.
type refusal struct{ error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// mayPass reports whether what is wrong with the connections may pass by itself.
func mayPass(err error) bool {
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) {
		return false
	}
	if _, ok := errors.AsType[refusal](err); ok {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	answer, ok := errors.AsType[*pgconn.PgError](err)
	// Classes of errors: who one is, the database, and what one may.
	return !ok || !slices.Contains([]string{"28", "3D", "42"}, answer.Code[:2])
}

var errNoStandby = refuse("the PostgreSQL server has no synchronous standby, and synchronous_standby is required: name the standbys in synchronous_standby_names of the server")

// giveUp ends the connections to a former primary. What waits for its answer fails at once: one that
// hangs would be waited for as long as it may take.
func (l *Log) giveUp(conns []*pgx.Conn) {
	for _, conn := range conns {
		_ = conn.PgConn().Conn().Close() // whoever uses it is told
	}
	l.pool.Reset()
}

// admit refuses a former primary. When another server has become the primary, the
// connections to the former one are given up.
func (l *Log) admit(ctx context.Context, timeline uint64, alone bool) error {
	s := &l.server
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case timeline < s.timeline:
		return fmt.Errorf("the PostgreSQL server is a former primary: it is on timeline %d, and another one on %d: make it a standby of that, or stop it. "+
			"Was the database moved to a new server on purpose, restart the gateway", timeline, s.timeline)
	case timeline > s.timeline && s.timeline > 0:
		l.logger.WarnContext(ctx, "another PostgreSQL server is the primary now", "timeline", timeline)
		go l.giveUp(slices.Collect(maps.Keys(s.conns))) // it waits for connections, of which this is one
	}
	s.timeline = timeline
	if alone && !s.alone {
		l.logger.WarnContext(ctx, "the PostgreSQL server has no synchronous standby: what it has acknowledged is lost with its disk. "+
			"Set synchronous_standby_names on the server, and synchronous_standby of the gateway to required")
	}
	s.alone = alone
	return nil
}
