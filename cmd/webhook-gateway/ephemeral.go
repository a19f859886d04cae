package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
)

// defaultControlAddr is where the faults of a gateway that is thrown away are.
const defaultControlAddr = "localhost:8082"

// controlTimeout bounds how long the end waits for a fault that is under way.
const controlTimeout = 10 * time.Second

// ephemeralOptions are the flags of serve for a gateway that is thrown away.
type ephemeralOptions struct {
	on          bool
	freePorts   bool
	controlAddr string
	untilEOF    bool
}

func (o *ephemeralOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.on, "ephemeral", false, "run a gateway for TESTS of programs that read from it: in memory, with secrets that everybody knows, and with faults")
	f.BoolVar(&o.freePorts, "free-ports", false, "with --ephemeral, listen on free ports")
	f.StringVar(&o.controlAddr, "control-addr", defaultControlAddr, "with --ephemeral, the `address` to listen on for faults")
	f.BoolVar(&o.untilEOF, "until-eof", false, "with --ephemeral, end when standard input does, as it does with the process that holds it")
}

// check refuses flags that do not go together.
func (o *ephemeralOptions) check(c *cobra.Command, configPath string) error {
	if o.on {
		if configPath != "" {
			return usageError{fmt.Errorf("--ephemeral takes no configuration, and %s is given: leave --config and $%s out, and set single keys by the environment",
				configPath, server.EnvConfig)}
		}
		return nil
	}
	for _, name := range []string{"free-ports", "control-addr", "until-eof"} {
		if c.Flags().Changed(name) {
			return usageError{fmt.Errorf("--%s is for --ephemeral only", name)}
		}
	}
	return nil
}

// config returns the configuration, changed by the environment.
func (o *ephemeralOptions) config(environ []string) (server.Config, error) {
	config := ephemeral.Config(devClient)
	if !o.freePorts {
		config.Listen = localConfig().Listen
	}
	if err := config.Override("", environ); err != nil {
		return server.Config{}, usageError{err}
	}
	switch {
	case config.Store.Pebble.Path != "":
		return server.Config{}, usageError{errors.New("--ephemeral keeps events in memory, and store.pebble.path is set: leave it out")}
	case config.Store.CommitLog.Enabled():
		return server.Config{}, usageError{errors.New("--ephemeral is a single gateway, and store.commit_log is set: leave it out")}
	}
	checked := config
	checked.Store.Pebble.Path = server.DefaultConfig().Store.Pebble.Path
	if err := checked.Validate(); err != nil {
		return server.Config{}, usageError{err}
	}
	return config, nil
}

// listen opens the listener of the faults.
func (o *ephemeralOptions) listen(ctx context.Context, c *cobra.Command, insecure bool) (net.Listener, error) {
	addr := o.controlAddr
	if o.freePorts && !c.Flags().Changed("control-addr") {
		addr = "127.0.0.1:0"
	}
	addr, err := parseAddr("--control-addr", addr, "8082")
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--control-addr %s: another process listens there: give another address, or --free-ports", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("--control-addr %s: %w", addr, err)
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !insecure && (!ok || !tcp.IP.IsLoopback()) {
		_ = listener.Close() // it was never used
		return nil, usageError{fmt.Errorf("--control-addr %s can be reached by other machines, and whoever reaches it stops the gateway and has events removed: "+
			"give an address of localhost, or set WEBHOOK_GATEWAY_ACCESS_INSECURE=true", addr)}
	}
	return listener, nil
}

// serveEphemeral runs a gateway that is thrown away, until ctx is done, or standard input
// ends if that was asked for.
func serveEphemeral(c *cobra.Command, std streams, o *ephemeralOptions) (err error) {
	ctx, end := context.WithCancel(c.Context())
	defer end()
	config, err := o.config(std.environ)
	if err != nil {
		return err
	}
	listener, err := o.listen(ctx, c, config.Access.Insecure)
	if err != nil {
		return err
	}
	level := &slog.LevelVar{}
	level.Set(config.Log.Level)
	gateway, err := ephemeral.New(ctx, config, newLogger(level, config.Log.Format, std.err))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { err = errors.Join(err, gateway.Stop()) }()
	description := gateway.Describe(devClient, listener.Addr().String())
	control := &http.Server{Handler: gateway.Control(description), ReadHeaderTimeout: controlTimeout}
	served := make(chan struct{}) // closed when serveErr is there
	var serveErr error
	go func() {
		defer close(served)
		serveErr = control.Serve(listener)
	}()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), controlTimeout)
		defer cancel()
		_ = errors.Join(control.Shutdown(ctx), control.Close()) // what is under way is cut off
		<-served
	}()
	warnEphemeral(std, description)
	if err := json.NewEncoder(std.out).Encode(description); err != nil {
		return fmt.Errorf("print where the gateway is: %w", err)
	}
	if o.untilEOF && std.in != nil {
		go func() {
			_, _ = io.Copy(io.Discard, std.in) // however it ends
			end()
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-gateway.Failed():
		return err
	case <-served:
		return fmt.Errorf("serve --control-addr: %w", serveErr)
	}
}

func warnEphemeral(std streams, d ephemeral.Description) {
	_, _ = fmt.Fprintf(std.err, `
!!  THIS GATEWAY IS FOR TESTS, AND IS THROWN AWAY: --ephemeral. Events are in memory
!!  and gone when it ends, everybody knows its secrets, and whoever reaches %[2]s
!!  has it fail. NEVER let a provider deliver to it.

  %[1]s tail --addr %[3]s
  %[1]s trigger --ephemeral --all --url %[4]s
  %[1]s fault cut --control %[2]s

`, std.command(), d.Control, d.GRPC, d.Webhooks) // a reader that is gone has no use for it
}
