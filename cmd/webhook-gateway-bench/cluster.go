package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/jetstream"
	"github.com/webhook-gateway/webhook-gateway/server/commitlog/postgresql"
)

const maxGateways = 3

// sharedBy is an engine that gateways share their events by. A log of it has a name.
type sharedBy struct {
	key    string // for names of folders
	name   string
	config func(log string) string // of store.commit_log
	open   func(ctx context.Context, log string) (commitlog.Log, error)
}

// measureCluster measures what gateways that share their events take, on engines that run on
// the same cores.
func measureCluster(ctx context.Context, s *settings) error {
	return onEngines(ctx, s, sharedBy.measure)
}

// measureClusterReaders measures what their readers get.
func measureClusterReaders(ctx context.Context, s *settings) error {
	return onEngines(ctx, s, sharedBy.measureReaders)
}

func onEngines(ctx context.Context, s *settings, measure func(sharedBy, context.Context, *settings) error) error {
	nats, stop, err := startNATS(ctx, s)
	if err != nil {
		return err
	}
	defer stop()
	engines := []sharedBy{nats}
	if s.postgresql != "" {
		engines = append(engines, overPostgreSQL(s.postgresql))
	}
	for _, engine := range engines {
		fmt.Fprintf(s.out, "### %s\n\n", engine.name)
		if err := measure(engine, ctx, s); err != nil {
			return fmt.Errorf("%s: %w", engine.name, err)
		}
	}
	return nil
}

func (e sharedBy) measure(ctx context.Context, s *settings) error {
	fmt.Fprintf(s.out, "wrk, %d keep-alive connections to each gateway, Vezgo SyncAccount.\n\n", connections)
	fmt.Fprintln(s.out, "| gateways | deliveries/s | of one machine | events in a commit | the same commits alone, events/s | of these | p50 | p99 |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|---|---|---|")
	script, err := writeLoad(s, loads()[0])
	if err != nil {
		return err
	}
	alone, err := e.ingestAlone(ctx, s, script)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "| 1, without a commit log | %.0f | 1 | | | | %s | %s |\n", alone.rate, alone.p50, alone.p99)
	for n := 1; n <= maxGateways; n++ {
		if err := e.measureIngest(ctx, s, script, n, alone.rate); err != nil {
			return err
		}
	}
	return nil
}

func (e sharedBy) ingestAlone(ctx context.Context, s *settings, script string) (wrkResult, error) {
	g, err := startGateway(ctx, s, "alone")
	if err != nil {
		return wrkResult{}, err
	}
	defer g.stop()
	return runWrk(ctx, s, script, g)
}

// start starts gateways that share a log. The stop function ends them.
func (e sharedBy) start(ctx context.Context, s *settings, log string, n int) (gateways []*process, stop func(), err error) {
	stop = func() {
		for _, g := range gateways {
			g.stop()
		}
	}
	for i := range n {
		g, err := e.startOne(ctx, s, log, strconv.Itoa(i))
		if err != nil {
			stop()
			return nil, nil, err
		}
		gateways = append(gateways, g)
	}
	return gateways, stop, nil
}

func (e sharedBy) startOne(ctx context.Context, s *settings, log, name string) (*process, error) {
	// The other engine has logs of the same names: a gateway must not find a copy of those.
	return startProtected(ctx, s, e.key+"-"+log+"-"+name, protection{
		store:  ", commit_log: " + e.config(log),
		config: fmt.Sprintf("cluster: {listen: %q, secret: \"env:BENCH_CLUSTER_SECRET\"}\n", freeAddress()),
	})
}

// measureIngest loads gateways, and then the engine alone with commits of the same size.
func (e sharedBy) measureIngest(ctx context.Context, s *settings, script string, n int, alone float64) error {
	log := "bench_ingest_" + strconv.Itoa(n)
	gateways, stop, err := e.start(ctx, s, log, n)
	if err != nil {
		return err
	}
	results, errs := make([]wrkResult, n), make([]error, n)
	var group sync.WaitGroup
	for i, g := range gateways {
		group.Go(func() { results[i], errs[i] = runWrk(ctx, s, script, g) })
	}
	group.Wait()
	info, infoErr := logInfo(ctx, gateways[0])
	stop()
	if err := errors.Join(append(errs, infoErr)...); err != nil {
		return err
	}
	rate := 0.0
	for _, r := range results {
		rate += r.rate
	}
	commits, bytes, err := e.commits(ctx, log)
	if err != nil {
		return err
	}
	each := float64(info.GetEventCount()) / float64(commits)
	bare, err := e.commitsAlone(ctx, s, "bench_bare_"+strconv.Itoa(n), n, bytes/commits)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "| %d | **%.0f** | %.2f | %.0f | %.0f | **%.2f** | %s | %s |\n",
		n, rate, rate/alone, each, bare*each, rate/(bare*each), results[0].p50, results[0].p99)
	return nil
}

func logInfo(ctx context.Context, g *process) (*webhookgatewayv1.GetLogInfoResponse, error) {
	conn, err := g.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return webhookgatewayv1.NewEventServiceClient(conn).GetLogInfo(ctx, &webhookgatewayv1.GetLogInfoRequest{})
}

// commits returns how many commits a log has, and of how many bytes.
func (e sharedBy) commits(ctx context.Context, log string) (n, bytes int, err error) {
	commits, err := e.open(ctx, log)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, commits.Close()) }()
	for after, changed := commitlog.Sequence(0), commits.Changed(); ; changed = commits.Changed() {
		for commit, err := range commits.Read(ctx, after) {
			if err != nil {
				return 0, 0, err
			}
			n, bytes, after = n+1, bytes+len(commit.Bytes), commit.Sequence
		}
		if after >= commits.Newest() {
			break
		}
		<-changed
	}
	if n == 0 {
		return 0, 0, errors.New("the log has no commits")
	}
	return n, bytes, nil
}

// commitsAlone returns how many commits of a size are appended each second by some writers,
// each of which goes on when it knows what came after the last commit, as gateways do.
func (e sharedBy) commitsAlone(ctx context.Context, s *settings, log string, writers, size int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	var appended atomic.Int64
	failed := make(chan error, writers)
	var group sync.WaitGroup
	for w := range writers {
		commits, err := e.open(ctx, log)
		if err != nil {
			return 0, err
		}
		defer commits.Close()
		group.Go(func() {
			if err := appendAll(ctx, commits, w, size, &appended); ctx.Err() == nil {
				failed <- err
			}
		})
	}
	began := time.Now()
	group.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(appended.Load()) / time.Since(began).Seconds(), nil
	}
}

func appendAll(ctx context.Context, commits commitlog.Log, writer, size int, appended *atomic.Int64) error {
	after, bytes := commitlog.Sequence(0), make([]byte, size)
	for n := 0; ; n++ {
		for commit, err := range commits.Read(ctx, after) {
			if err != nil {
				return err
			}
			after = commit.Sequence
		}
		copy(bytes, fmt.Sprint(writer, " ", n, " "))
		at, err := commitlog.Settle(ctx, commits, after, bytes)
		if err != nil {
			return err
		}
		if at > 0 {
			after = at
			appended.Add(1)
		}
	}
}

// measureReaders measures latency from one gateway to another, workers, and a gateway that
// begins with nothing.
func (e sharedBy) measureReaders(ctx context.Context, s *settings) error {
	const log = "bench_readers"
	gateways, stop, err := e.start(ctx, s, log, maxGateways)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintln(s.out, "\nA POST to one gateway until its event is in the hands of a subscriber of another:")
	fmt.Fprintln(s.out)
	for range s.rounds {
		if err := measureBetween(ctx, s, gateways[0], gateways[1], 500, 1); err != nil {
			return err
		}
	}
	events := s.events / 5
	if err := e.fill(ctx, s, gateways, events); err != nil {
		return err
	}
	fresh, err := e.startOne(ctx, s, log, "fresh")
	if err != nil {
		return err
	}
	info, err := logInfo(ctx, fresh)
	fresh.stop()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nA gateway that begins with nothing is ready after %v: %d events, **%.0f events/s**.\n",
		fresh.ready.Round(time.Millisecond), info.GetEventCount(), float64(info.GetEventCount())/fresh.ready.Seconds())
	return e.measureWorkers(ctx, s, gateways, int(info.GetEventCount()))
}

// fill has gateways store so many events, about.
func (e sharedBy) fill(ctx context.Context, s *settings, gateways []*process, events int) error {
	script, err := writeLoad(s, loads()[0])
	if err != nil {
		return err
	}
	for {
		info, err := logInfo(ctx, gateways[0])
		if err != nil || info.GetEventCount() >= int64(events) {
			return err
		}
		if _, err := runWrk(ctx, s, script, gateways[0]); err != nil {
			return err
		}
	}
}

// measureWorkers settles events by workers on all gateways, while deliveries come in.
func (e sharedBy) measureWorkers(ctx context.Context, s *settings, gateways []*process, events int) error {
	loading, end := context.WithCancel(ctx)
	defer end()
	var group sync.WaitGroup
	group.Go(func() {
		for loading.Err() == nil {
			_ = postAtRate(loading, gateways[0].webhooks, 500, make([]time.Time, 500)) // its end is what ends it
		}
	})
	const workers, batch = 8, 1000
	took, err := settleAll(ctx, gateways, "bench", workers, batch, events)
	end()
	group.Wait()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n%d workers spread over %d gateways, beside 500 deliveries/s: **%.0f acknowledged events/s**.\n\n",
		workers, len(gateways), float64(events)/took.Seconds())
	return nil
}

// startNATS starts three servers, each a process.
func startNATS(ctx context.Context, s *settings) (engine sharedBy, stop func(), err error) {
	lab := filepath.Join(s.dir, "webhook-gateway-cluster")
	build := exec.CommandContext(ctx, "go", "build", "-o", lab, "./cmd/webhook-gateway-cluster") //nolint:gosec // fixed
	if out, err := build.CombinedOutput(); err != nil {
		return sharedBy{}, nil, fmt.Errorf("build what runs NATS: %w\n%s", err, out)
	}
	const servers = 3
	var clients, routes [servers]string
	var urls []string
	for i := range servers {
		clients[i], routes[i] = freeAddress(), freeAddress()
		urls = append(urls, "nats://"+clients[i])
	}
	var running []*exec.Cmd
	stop = func() {
		for _, cmd := range running {
			_ = cmd.Process.Kill() // it may have ended by itself
			_ = cmd.Wait()
		}
	}
	for i := range servers {
		cmd := exec.CommandContext(ctx, lab, "nats", "-name", "n"+strconv.Itoa(i), "-dir", filepath.Join(s.dir, "nats-"+strconv.Itoa(i)), //nolint:gosec // our own
			"-client", clients[i], "-cluster", routes[i], "-routes", strings.Join(others(routes[:], i), ","))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			stop()
			return sharedBy{}, nil, err
		}
		running = append(running, cmd)
	}
	return sharedBy{
		key: "nats", name: "NATS JetStream, 3 servers, sync_interval: always",
		config: func(log string) string {
			return fmt.Sprintf("{engine: jetstream, jetstream: {urls: [%s], stream: %s, sync_always: true}}", strings.Join(urls, ", "), log)
		},
		open: func(ctx context.Context, log string) (commitlog.Log, error) {
			config := jetstream.DefaultConfig()
			config.URLs, config.Stream, config.SyncAlways = urls, log, true
			return jetstream.Open(ctx, config, slog.New(slog.DiscardHandler))
		},
	}, stop, nil
}

func others(all []string, but int) (rest []string) {
	for i, a := range all {
		if i != but {
			rest = append(rest, a)
		}
	}
	return rest
}

func overPostgreSQL(url string) sharedBy {
	return sharedBy{
		key: "postgresql", name: "PostgreSQL",
		config: func(log string) string {
			return fmt.Sprintf("{engine: postgresql, postgresql: {url: %q, table: %s}}", url, log)
		},
		open: func(ctx context.Context, log string) (commitlog.Log, error) {
			config := postgresql.DefaultConfig()
			config.URL, config.Table = url, log
			return postgresql.Open(ctx, config, slog.New(slog.DiscardHandler))
		},
	}
}
