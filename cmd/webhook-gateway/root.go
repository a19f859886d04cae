package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes, as the help of the root command lists them.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// streams is what a command knows of the process that it runs in.
type streams struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
	// Terminal is that out is one.
	terminal bool
	// Program is how the process was started.
	program string
}

// command is how a user starts another command in a shell beside this one: by the
// path, if it was started by one that holds there too.
func (s streams) command() string {
	if strings.Contains(s.program, "/") && !filepath.IsAbs(s.program) {
		return s.program
	}
	return "webhook-gateway"
}

// usageError is wrong use: of the command line or of the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage returns an error as one of wrong use, and nil for nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	root := newRoot(std)
	root.SetArgs(args)

	started := false
	onRun(root, func() { started = true })
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !started {
		err = plainFlagError(err)
	}
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		_, _ = fmt.Fprintf(std.err, "webhook-gateway: %s\n", strings.TrimSuffix(line, "\n"))
	}
	var usage usageError
	switch {
	case !started: // the command line did not parse
		_, _ = fmt.Fprintf(std.err, "webhook-gateway: `%s --help` shows how it is used\n", command.CommandPath())
		return exitUsage
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}

// onRun calls a function when a command begins to run: its command line is right
// then. Hooks of cobra run before the last checks.
func onRun(command *cobra.Command, hook func()) {
	if runE := command.RunE; runE != nil {
		command.RunE = func(c *cobra.Command, args []string) error {
			hook()
			return runE(c, args)
		}
	}
	for _, child := range command.Commands() {
		onRun(child, hook)
	}
}

func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "webhook-gateway",
		Short: "Receive the webhooks of Finicity Connect and Vezgo, stream them as typed events",
		Long: `webhook-gateway receives the webhooks of Finicity Connect and Vezgo over HTTP,
verifies each, turns it into a typed protobuf event, stores it durably, and streams
the events to internal services through one gRPC call, Subscribe.

  provider --HTTP :8080--> verify -> type -> event log --gRPC :9090--> subscribers
                                                       --HTTP :8081--> REST, metrics, health

Try it, each in a shell of its own:

  webhook-gateway demo               everything at once, ends by itself
  webhook-gateway serve              a gateway for development, store in ./data
  webhook-gateway tail               the events as they arrive
  webhook-gateway trigger --all      one realistic delivery of each of the 18 types

Exit codes: 0 all went well; 1 something failed; 2 the command line or the
configuration is wrong. SIGINT and SIGTERM end a command in order, a second one at
once.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetVersionTemplate(versionLine() + "\n")
	root.AddCommand(
		newServe(std),
		newTail(std),
		newTrigger(std),
		newFault(std),
		newEvents(std),
		newLog(std),
		newCall(std),
		newSubscriptions(std),
		newSessions(std),
		newRefusals(std),
		newOpenStreams(std),
		newParked(std),
		newBackup(std),
		newRestore(std),
		newToken(std),
		newDemo(std),
		newHealth(std),
		newConfig(std),
		newDoctor(std),
		newVersion(std),
	)
	root.SetHelpCommand(newHelp(root))
	root.InitDefaultHelpCmd()
	// It remembers where to print.
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}
