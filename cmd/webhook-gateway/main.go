// Command webhook-gateway receives the webhooks of Finicity Connect and Vezgo
// and streams them as typed events. `webhook-gateway --help` tells the rest.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc/grpclog"
)

func main() {
	silence()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the command in order, the second one at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ(), terminal: isTerminal(os.Stdout), program: os.Args[0],
	}))
}

// silence keeps libraries from writing to stderr by themselves: gRPC a line for each
// connection that went away, net/http one for a server that speaks first. What matters is
// returned to those who called.
func silence() {
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") == "" {
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
	log.SetOutput(io.Discard)
}

// isTerminal reports whether a file is a terminal, or another device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
