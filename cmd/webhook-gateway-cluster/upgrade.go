package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// errNoRevision is for a clone that has no revision before its own.
var errNoRevision = errors.New("git has no revision before this one: fetch more of its history (git fetch --unshallow), or give FROM=<revision> or -from-binary")

// upgrade runs the cluster while its gateways are replaced, one after the other, by those of another
// version, and back, and killed while both run. It says what was not kept.
func (l *lab) upgrade(ctx context.Context, s settings) error {
	from, err := l.older(ctx, s)
	if errors.Is(err, errNoRevision) && s.from == "" {
		l.note("left out: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(l.out, "3 gateways on %s, %d deliveries/s, for %v, SEED=%d\n", l.engine.name(), s.rate, s.duration, s.seed)
	for _, g := range l.gateways {
		g.use(from)
	}
	defer l.stop(context.WithoutCancel(ctx))
	if err := l.start(ctx); err != nil {
		return err
	}
	l.note("all gateways are ready, of the version that comes before")
	if err := l.work(s.rate); err != nil {
		return err
	}
	took := make(map[string]*times)
	for end := time.Now().Add(s.duration); ; {
		for _, step := range l.replacements(from, s.duration == 0) {
			if err = l.suffer(ctx, step, took); err != nil {
				break
			}
			_ = pause(ctx, time.Second) // the loop sees that it ended
		}
		if err != nil || !time.Now().Before(end) || ctx.Err() != nil || isClosed(l.verdicts.first) {
			break
		}
	}
	l.rest(context.WithoutCancel(ctx), recovery)
	l.stop(context.WithoutCancel(ctx))
	l.tell(took)
	return errors.Join(err, l.conclude(s))
}

// replacements are what happens to gateways that are all of the version before: an upgrade, and a
// downgrade. While versions are mixed, in one of both, gateways die: each, or one if short. They
// end as they began.
func (l *lab) replacements(from string, short bool) (steps []fault) {
	deadly := l.random(2)
	for way, to := range []struct{ version, binary string }{{"next", l.binary}, {"former", from}} {
		for i, n := range l.rand.Perm(gateways) {
			steps = append(steps, l.replace(fmt.Sprintf("to the %s version, %d of %d", to.version, i+1, gateways), n, to.binary))
			if way != deadly || i == gateways-1 { // then there is no other version
				continue
			}
			die := l.rand.Perm(gateways)
			if short {
				die = die[:1]
			}
			for _, n := range die {
				steps = append(steps, fault{name: "kill -9 of a gateway while versions are mixed", run: func(ctx context.Context) error {
					return l.down(ctx, nil, l.gateways[n])
				}})
			}
		}
	}
	return steps
}

// replace ends a gateway in order, and starts it again from another binary.
func (l *lab) replace(name string, n int, binary string) fault {
	return fault{name: name, run: func(context.Context) error {
		g := l.gateways[n]
		calm := l.verdicts.disturbs(g.name, "replaced")
		g.stop(syscall.SIGTERM)
		g.use(binary)
		return l.begin(g, calm)
	}}
}

// use has the next start run another binary.
func (g *gateway) use(binary string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.args[0] = binary
}

// older returns the binary of the gateway that is upgraded.
func (l *lab) older(ctx context.Context, s settings) (string, error) {
	if s.fromBinary != "" {
		return s.fromBinary, nil
	}
	revision := s.from
	if revision == "" {
		revision = before(ctx)
	}
	if _, err := git(ctx, "rev-parse", "--verify", "--quiet", revision+"^{commit}"); err != nil {
		return "", fmt.Errorf("%q: %w", revision, errNoRevision)
	}
	commit, err := git(ctx, "log", "-1", "--format=%h %s", revision)
	if err != nil {
		return "", err
	}
	tree, binary := filepath.Join(l.dir, "before"), filepath.Join(l.dir, "webhook-gateway-before")
	if _, err := git(ctx, "worktree", "add", "--detach", tree, revision); err != nil {
		return "", err
	}
	defer func() {
		if _, err := git(context.WithoutCancel(ctx), "worktree", "remove", "--force", tree); err != nil {
			l.note("%v", err)
		}
	}()
	l.note("building the gateway of %s (%s), which is upgraded to %s", revision, commit, l.binary)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/webhook-gateway") //nolint:gosec // our own program
	build.Dir, build.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway of %s: %w\n%s", revision, err, out)
	}
	return binary, nil
}

// before names the revision that is upgraded unless another one is given: the newest release, if
// it is not this one, or else the commit before this one.
func before(ctx context.Context) string {
	if tag, err := git(ctx, "describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"); err == nil {
		return tag
	}
	return "HEAD^"
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := command(ctx, "git", args...)
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out))
	}
	return strings.TrimSpace(out), nil
}
