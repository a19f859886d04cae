package postgresql

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
)

// probeInterval is how often all hosts are asked.
const probeInterval = 5 * time.Second

// keepProbing asks all hosts now and then.
func (l *Log) keepProbing(settings *pgxpool.Config) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.probe(l.ctx, settings)
		case <-l.ctx.Done():
			return
		}
	}
}

// probe connects to each host, if there are several. So a former primary is known as such
// though it is named first, or is the one that this gateway is connected to: see check.
func (l *Log) probe(ctx context.Context, settings *pgxpool.Config) {
	hosts := hostsOf(&settings.ConnConfig.Config)
	if len(hosts) < 2 {
		return
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var silent []string
	for name, host := range hosts {
		group.Go(func() {
			answered := false
			host.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
				answered = true
				return l.check(ctx, conn)
			}
			conn, err := pgconn.ConnectConfig(ctx, host)
			if err == nil {
				_ = conn.Close(ctx)
				return
			}
			if _, ok := errors.AsType[*pgconn.PgError](err); !ok && !answered {
				mu.Lock()
				defer mu.Unlock()
				silent = append(silent, name)
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return
	}
	slices.Sort(silent)
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.server.silent = silent
}

// hostsOf returns how to connect to each host alone.
func hostsOf(all *pgconn.Config) map[string]*pgconn.Config {
	hosts := make(map[string]*pgconn.Config)
	first := pgconn.FallbackConfig{Host: all.Host, Port: all.Port, TLSConfig: all.TLSConfig}
	for _, way := range append([]*pgconn.FallbackConfig{&first}, all.Fallbacks...) {
		name := net.JoinHostPort(way.Host, strconv.Itoa(int(way.Port)))
		one, ok := hosts[name]
		if ok { // another way to connect to it, without TLS for instance
			one.Fallbacks = append(one.Fallbacks, way)
			continue
		}
		one = all.Copy()
		one.Host, one.Port, one.TLSConfig, one.Fallbacks = way.Host, way.Port, way.TLSConfig, nil
		hosts[name] = one
	}
	return hosts
}

// mayBeAnother returns an error if a host did not answer: it may be the primary, and have a
// commit that this server lacks.
func (s *server) mayBeAnother(after commitlog.Sequence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.silent) == 0 {
		return nil
	}
	return fmt.Errorf("the PostgreSQL server lacks commit %d, which this gateway has, and may be a former primary: %s did not answer. "+
		"Start it as a standby of the primary, or take it out of the URL", after, strings.Join(s.silent, ", "))
}
