// Command webhook-gateway-cluster runs a whole cluster on this machine: three gateways, each a
// process of the real binary, and what they share their events by. `make cluster` shows it at
// work while parts of it are killed; `make faults` torments it, and judges from outside whether
// every promise is kept; `make upgrade` so judges while its gateways are replaced by others of
// another version.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "nats" {
		if err := serveNATS(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "nats:", err)
			defer os.Exit(1) //nolint:forbidigo // main is where the process ends
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "webhook-gateway-cluster:", err)
		defer os.Exit(1) //nolint:forbidigo // main is where the process ends
	}
}

type settings struct {
	command, engine, binary string
	from, fromBinary        string
	duration                time.Duration
	seed                    uint64
	rate                    int
	keep                    bool
}

var errUsage = errors.New("say what to do: watch (make cluster), faults (make faults) or upgrade (make upgrade)")

func run(ctx context.Context, args []string, out io.Writer) error {
	s := settings{}
	flags := flag.NewFlagSet("webhook-gateway-cluster", flag.ContinueOnError)
	flags.StringVar(&s.engine, "engine", "jetstream", "what the gateways share their events by: jetstream or postgresql")
	flags.StringVar(&s.binary, "gateway", "bin/webhook-gateway", "the binary of the gateway")
	flags.StringVar(&s.from, "from", "", "upgrade: the revision that is upgraded (the newest release, or else the commit before)")
	flags.StringVar(&s.fromBinary, "from-binary", "", "upgrade: the binary of the gateway that is upgraded, in place of a revision")
	flags.DurationVar(&s.duration, "duration", 10*time.Minute, "how long faults are made, or gateways are replaced (0: once, with few kills)")
	flags.Uint64Var(&s.seed, "seed", rand.Uint64(), "what decides on the faults, to try the same ones again") //nolint:gosec // not a secret
	flags.IntVar(&s.rate, "rate", 300, "how many deliveries are sent each second")
	flags.BoolVar(&s.keep, "keep", false, "keep the folder, also if nothing is wrong")
	if len(args) == 0 {
		return errUsage
	}
	s.command = args[0]
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 || !slices.Contains([]string{"watch", "faults", "upgrade"}, s.command) {
		return errUsage
	}
	dir, err := newFolder()
	if err != nil {
		return err
	}
	l, err := newLab(dir, s.binary, s.engine, s.seed, out)
	if err == nil {
		switch s.command {
		case "watch":
			err = l.show(ctx, s)
		case "upgrade":
			err = l.upgrade(ctx, s)
		default:
			err = l.judge(ctx, s)
		}
	}
	if err != nil || s.keep {
		_, _ = fmt.Fprintf(out, "\nThe logs and the stores are in %s.\n", dir)
		return err
	}
	return os.RemoveAll(dir)
}

// judge runs the cluster with faults, and says what was not kept.
func (l *lab) judge(ctx context.Context, s settings) (err error) {
	_, _ = fmt.Fprintf(l.out, "3 gateways on %s, %d deliveries/s, faults for %v, SEED=%d\n", l.engine.name(), s.rate, s.duration, s.seed)
	var full *fault
	if f, err := l.fullDisk(ctx); err != nil {
		_, _ = fmt.Fprintf(l.out, "Left out: a full disk, which only root can make: %v\n", err)
	} else {
		full = &f
	}
	defer l.stop(context.WithoutCancel(ctx))
	if err := l.start(ctx); err != nil {
		return err
	}
	l.note("all gateways are ready")
	if !l.gateways[0].machine.works() {
		_, _ = fmt.Fprintln(l.out, "Left out: slow disks, and clocks that jump: `make faults` builds what they need.")
	}
	if err := l.work(s.rate); err != nil {
		return err
	}
	took, err := l.torment(ctx, s.duration, full)
	// The search for an event that ends its workers, as some here do, has steps of up to 15 s.
	l.rest(context.WithoutCancel(ctx), 3*recovery)
	l.stop(context.WithoutCancel(ctx))
	l.tell(took)
	return errors.Join(err, l.conclude(s))
}

// conclude says whether every promise was kept.
func (l *lab) conclude(s settings) error {
	broken, judged := l.verdicts.report()
	_, _ = fmt.Fprintf(l.out, "\n%s.\n", judged)
	if len(broken) == 0 {
		_, _ = fmt.Fprintln(l.out, "Every promise was kept.")
		return nil
	}
	for _, line := range broken {
		_, _ = fmt.Fprintln(l.out, line)
	}
	again := fmt.Sprintf("make %s ENGINE=%s SEED=%d DURATION=%v", s.command, s.engine, s.seed, s.duration)
	if s.from != "" {
		again += " FROM=" + s.from
	}
	return fmt.Errorf("promises were not kept: %s tries the same faults again", again)
}
