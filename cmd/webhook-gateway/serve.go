package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

func newServe(std streams) *cobra.Command {
	var path string
	var throwaway ephemeralOptions
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a gateway",
		Long: `serve runs a gateway until SIGINT or SIGTERM. It then says goodbye to the
subscribers, finishes what is in flight and ends within shutdown.timeout.

The configuration is one YAML file; every key can also be set by the environment,
such as WEBHOOK_GATEWAY_STORE_PEBBLE_PATH for store.pebble.path. It is loaded again
at SIGHUP, and when it or a file that it names has changed: secrets, clients,
grants, certificates and limits are put in force without dropping anything. One that is
wrong is refused, and the old one stays in force.

Without a file, and without a WEBHOOK_GATEWAY_PROVIDERS_... variable, it runs FOR
DEVELOPMENT: it listens on localhost only, keeps its store in ./data, takes both
providers, makes a Finicity secret for the client "dev", and takes this machine
for Vezgo, so that "trigger" can play both.

With --ephemeral it runs FOR TESTS of programs that read from it: in memory, without a
configuration, on localhost. It prints where it is as a line of JSON when it is ready, and
"fault" has its readers' connections break, cursors expire, and more. Never use it for
anything else.`,
		Example: `  webhook-gateway serve --config gateway.yaml
  webhook-gateway serve
  webhook-gateway serve --ephemeral --free-ports --until-eof`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := throwaway.check(cmd, configPath(path, std.environ)); err != nil {
				return err
			}
			if throwaway.on {
				return serveEphemeral(cmd, std, &throwaway)
			}
			files := newConfigFiles(configPath(path, std.environ), std.environ)
			config, dev, err := loadConfig(path, std.environ)
			if err != nil {
				return err
			}
			// SIGHUP would end the process otherwise, also while a store is opened.
			hangup := make(chan os.Signal, 1)
			if dev == nil {
				signal.Notify(hangup, syscall.SIGHUP)
				defer signal.Stop(hangup)
			}
			level := &slog.LevelVar{}
			level.Set(config.Log.Level)
			gateway, err := server.New(cmd.Context(), config, newLogger(level, config.Log.Format, std.err), server.WithVersion(version()))
			if err != nil {
				return err
			}
			if dev != nil {
				dev.explain(std.err, std.command(), gateway.Addrs())
				return gateway.Run(cmd.Context())
			}
			ctx, ended := context.WithCancel(cmd.Context())
			var following sync.WaitGroup
			following.Go(func() { files.follow(ctx, gateway, hangup, level) })
			err = gateway.Run(ctx)
			ended()
			following.Wait()
			return err
		},
	}
	configFlag(c, &path)
	throwaway.flags(c)
	return c
}

func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", "", "the YAML `file` with the configuration (default $"+server.EnvConfig+")")
	isFile(c, "config")
}

// loadConfig returns the configuration in force, and how it was made one for
// development if it was.
func loadConfig(path string, environ []string) (server.Config, *development, error) {
	return loadConfigWith(path, environ, keptSecret)
}

// loadConfigWith is loadConfig with another way to the secret for development.
func loadConfigWith(path string, environ []string, secretIn func(path string) (secret.Secret, error)) (server.Config, *development, error) {
	if isUnconfigured(path, environ) {
		return developmentConfig(environ, secretIn)
	}
	config, err := load(path, environ)
	return config, nil, err
}

// isUnconfigured reports whether nobody has said what is to be received.
func isUnconfigured(path string, environ []string) bool {
	return configPath(path, environ) == "" && !hasPrefix(environ, server.EnvPrefix+"PROVIDERS_")
}

// configPath returns the path of the configuration file, empty for none.
func configPath(given string, environ []string) string {
	if given != "" {
		return given
	}
	return lookup(environ, server.EnvConfig)
}

func lookup(environ []string, name string) string {
	for _, variable := range environ {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

func hasPrefix(environ []string, prefix string) bool {
	for _, variable := range environ {
		if strings.HasPrefix(variable, prefix) {
			return true
		}
	}
	return false
}

func newLogger(level slog.Leveler, format string, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
