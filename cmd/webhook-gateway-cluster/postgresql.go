package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// servers is how many PostgreSQL servers there are: a primary, and two standbys, one of which
// has each commit before it is acknowledged.
const servers = 3

// postgresEngine is PostgreSQL servers, with a proxy on each way of a gateway to one.
type postgresEngine struct {
	servers []*pgServer
	leading atomic.Int64 // which of them is the primary
	ways    [][]*proxy   // by gateway
}

func newPostgreSQL(dir string, gateways int) (*postgresEngine, error) {
	home := filepath.Join(dir, "postgresql")
	if err := os.Mkdir(home, 0o711); err != nil { //nolint:gosec // PostgreSQL is another user
		return nil, err
	}
	addresses, err := ports(servers)
	if err != nil {
		return nil, err
	}
	e := &postgresEngine{}
	for n := range servers {
		s, err := newPGServer(home, n, addresses)
		if err != nil {
			return nil, err
		}
		e.servers = append(e.servers, s)
	}
	e.ways, err = matrix(gateways, addresses)
	return e, err
}

func (e *postgresEngine) name() string {
	return "PostgreSQL, a primary and two standbys, one of them synchronous"
}

func (e *postgresEngine) primary() *pgServer { return e.servers[e.leading.Load()] }

// standbys are all but the primary.
func (e *postgresEngine) standbys() []*pgServer {
	leading := int(e.leading.Load())
	return slices.Delete(slices.Clone(e.servers), leading, leading+1)
}

func (e *postgresEngine) start(ctx context.Context, say func(format string, args ...any)) error {
	primary := e.primary()
	say("%s, the primary, gets an empty database (initdb), and is started", primary.name)
	if err := primary.create(ctx); err != nil {
		return err
	}
	if err := primary.start(); err != nil {
		return err
	}
	if err := primary.await(ctx, "SELECT true"); err != nil {
		return err
	}
	for _, s := range e.standbys() {
		say("%s, a standby, gets a copy of %s (pg_basebackup), and is started", s.name, primary.name)
		if err := s.imitate(ctx, primary); err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return err
		}
	}
	say("the standbys connect to %s, and a first commit waits for one of them", primary.name)
	return errors.Join(e.complete(ctx), e.usable(ctx))
}

// complete waits until both standbys follow the primary.
func (e *postgresEngine) complete(ctx context.Context) error {
	return e.primary().await(ctx, fmt.Sprintf("SELECT count(*) = %d FROM pg_stat_replication WHERE state = 'streaming'", servers-1))
}

func (e *postgresEngine) stop() {
	for _, s := range e.servers {
		s.kill() // in order a primary would wait for standbys
	}
	for _, ways := range e.ways {
		for _, p := range ways {
			p.close()
		}
	}
}

func (e *postgresEngine) config(gateway int) string {
	var hosts []string
	for _, way := range e.ways[gateway] {
		hosts = append(hosts, way.address())
	}
	return fmt.Sprintf("{engine: postgresql, postgresql: {url: \"postgres://gateway@%s/postgres\", synchronous_standby: required}}", strings.Join(hosts, ","))
}

// usable writes to a table of its own until that is committed.
func (e *postgresEngine) usable(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := e.primary().do(try, "CREATE TABLE IF NOT EXISTS probe (n int); INSERT INTO probe VALUES (1)")
		cancel()
		if err == nil {
			return nil
		}
		if ended, _ := e.primary().life(); isClosed(ended) {
			return fmt.Errorf("PostgreSQL has ended: %s", e.primary().tail(5))
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (e *postgresEngine) leads(context.Context) string { return e.primary().name }

func (e *postgresEngine) cutOff(gateway int) (mend func()) {
	return cutAll(slices.Values(e.ways[gateway]))
}

// promote makes a standby the primary, when nothing more comes from the former one: the one that
// has most, which has all that was acknowledged.
func (e *postgresEngine) promote(ctx context.Context) error {
	var most int64 = -1
	best := 0
	for i, s := range e.servers {
		if s == e.primary() {
			continue
		}
		if err := s.await(ctx, "SELECT count(*) = 0 FROM pg_stat_wal_receiver"); err != nil {
			return err
		}
		has, err := ask[int64](ctx, s, "SELECT (pg_last_wal_receive_lsn() - '0/0')::bigint")
		if err != nil {
			return err
		}
		if has > most {
			best, most = i, has
		}
	}
	if _, err := ask[bool](ctx, e.servers[best], "SELECT pg_promote()"); err != nil {
		return err
	}
	former := e.primary()
	e.leading.Store(int64(best))
	for _, s := range e.standbys() {
		if s != former {
			return s.follow(ctx, e.primary())
		}
	}
	return nil
}

// rejoin starts a former primary, which has ended, as a standby.
func (e *postgresEngine) rejoin(ctx context.Context, l *lab, former *pgServer) error {
	if err := former.rewind(ctx, e.primary()); err != nil {
		l.note("%s gets a new copy: %v", former.name, err)
		if err := former.imitate(ctx, e.primary()); err != nil {
			return err
		}
	}
	return errors.Join(former.start(), e.complete(ctx))
}

// acts kills the primary and promotes a standby, and brings the former primary back.
func (e *postgresEngine) acts(l *lab) [2]func() error {
	former := e.primary()
	return [2]func() error{
		func() error {
			l.note("--- kill -9 of %s, the primary: nothing is stored until a standby is promoted", former.name)
			former.kill()
			if err := pause(l.ctx, 2*time.Second); err != nil {
				return err
			}
			if err := e.promote(l.ctx); err != nil {
				return err
			}
			l.note("--- %s is promoted", e.primary().name)
			return nil
		},
		func() error {
			l.note("--- %s comes back as a standby", former.name)
			return e.rejoin(l.ctx, l, former)
		},
	}
}
