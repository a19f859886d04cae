// Command webhook-gateway-bench measures the gateway as a whole: the real binary, its real HTTP
// and gRPC ports, its real store. `make bench` runs it; docs/performance.md says
// what came out on which machine.
//
// Only ratios measured in one run compare well: the load generator shares the
// cores with the gateway, and machines differ.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

type settings struct {
	duration time.Duration
	rounds   int
	events   int
	large    int
	// postgresql is the URL of a database; empty: it is not measured.
	postgresql string
	dir        string
	out        io.Writer
}

type measurement struct {
	name string
	run  func(context.Context, *settings) error
}

func measurements() []measurement {
	return []measurement{
		{"ingest", measureIngest},
		{"attack", measureAttack},
		{"protection", measureProtection},
		{"cluster", measureCluster},
		{"cluster-readers", measureClusterReaders},
		{"latency", measureLatency},
		{"catchup", measureCatchUp},
		{"fanout", measureFanOut},
		{"workers", measureWorkers},
		{"memory", measureMemory},
		{"start", measureStart},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		defer os.Exit(1) //nolint:forbidigo // main is where the process ends
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s := &settings{out: out}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("run", "ingest,latency,catchup,fanout,workers,memory,start", "what to measure; also: attack, protection, cluster, cluster-readers")
	attackName := flags.String("attack", "", "attack a gateway in this way (used by bench itself)")
	attackWebhooks := flags.String("attack-webhooks", "", "its public port (used by bench itself)")
	attackGRPC := flags.String("attack-grpc", "", "its gRPC port (used by bench itself)")
	flags.StringVar(&s.postgresql, "postgresql", "", "the URL of a database, which cluster measures besides NATS; it must be empty")
	limit := flags.String("limit", "", "serve what ingest is compared with at this address (used by bench itself)")
	limitStore := flags.String("limit-store", "", "where it writes each body; empty: nowhere (used by bench itself)")
	flags.DurationVar(&s.duration, "duration", 8*time.Second, "how long each load lasts")
	flags.IntVar(&s.rounds, "rounds", 3, "how often ingest and protection are measured, of which the median counts, and the latency of a cluster")
	flags.IntVar(&s.events, "events", 1_000_000, "how many stored events a catch-up reads")
	flags.IntVar(&s.large, "large", 10_000_000, "how many stored events the gateway is started on")
	flags.StringVar(&s.dir, "dir", "", "where the store is kept; default: the folder for temporary files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *attackName != "" {
		return serveAttack(ctx, *attackName, *attackWebhooks, *attackGRPC)
	}
	if *limit != "" {
		return serveLimit(*limit, *limitStore)
	}

	dir, err := os.MkdirTemp(s.dir, "webhook-gateway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.dir = dir
	if err := buildGateway(ctx, s); err != nil {
		return err
	}
	fsync, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, %d cores, %s; one fsync of 4 KiB: %v (median)\n", runtime.Version(), runtime.NumCPU(), cpuModel(), fsync)

	for _, m := range measurements() {
		if !strings.Contains(","+*only+",", ","+m.name+",") {
			continue
		}
		fmt.Fprintf(out, "\n## %s\n\n", m.name)
		if err := m.run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
