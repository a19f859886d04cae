package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// maxConfigBytes is far more than a configuration has.
const maxConfigBytes = 64 << 20

func newConfigDiff(std streams) *cobra.Command {
	var path, addr string
	var output outputOptions
	var credentials clientCredentials
	c := &cobra.Command{
		Use:   "diff",
		Short: "Say what a configuration would change in a running gateway",
		Long: `diff compares a configuration, as "serve" would load it in this shell, with the one
in force in a running gateway (GET /admin/config). That is the gateway at its
listen.internal_http; if just this address is what changes, give --http-addr.

It prints a line for each value that differs: "reload" for what a reload puts in force
without dropping anything, "restart" for what only a restart does. It changes nothing,
and ends with 0 whether there are differences or not.

Secrets are compared by reference: their values never leave the gateway. A secret
whose variable or file has another value is not shown, and a reload reads it all
the same.`,
		Example: `  webhook-gateway config diff --config new.yaml
  webhook-gateway config diff --config new.yaml -o json | jq -r 'select(.needs == "restart").key'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := output.asJSON()
			if err != nil {
				return err
			}
			config, err := load(path, std.environ)
			if err != nil {
				return err
			}
			if addr == "" {
				if addr = server.LocalAddr(config.Listen.InternalHTTP); addr == "" {
					return usageError{errors.New("listen.internal_http names no port: give --http-addr")}
				}
			}
			printed, err := configInForce(cmd.Context(), addr, &credentials)
			if err != nil {
				return err
			}
			differences, err := server.Differences(printed, config)
			if err != nil {
				return err
			}
			return printDifferences(std.out, std.painter(), differences, asJSON)
		},
	}
	configFlag(c, &path)
	credentials.flags(c, std.environ)
	c.Flags().StringVar(&addr, "http-addr", "", "the internal HTTP `address` of the gateway (default: that of the configuration)")
	output.flag(c)
	return c
}

// configInForce asks a gateway for its configuration.
func configInForce(ctx context.Context, addr string, credentials *clientCredentials) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	response, err := askInternal(ctx, http.MethodGet, addr, server.ConfigPath, "application/yaml", credentials)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read to its end, or is of no use
	printed, err := io.ReadAll(io.LimitReader(response.Body, maxConfigBytes))
	if err != nil {
		return nil, fmt.Errorf("read the configuration in force: %s", plainHTTPError(err))
	}
	return printed, nil
}

func printDifferences(w io.Writer, paint painter, differences []server.Difference, asJSON bool) error {
	if len(differences) == 0 && !asJSON {
		_, err := fmt.Fprintln(w, "no difference: a reload would only read secrets and certificates again")
		return err
	}
	for _, d := range differences {
		needs, shade := "reload", green
		if d.Restart {
			needs, shade = "restart", yellow
		}
		if asJSON {
			err := json.NewEncoder(w).Encode(struct {
				Key   string `json:"key"`
				From  string `json:"from"`
				To    string `json:"to"`
				Needs string `json:"needs"`
			}{d.Path, d.From, d.To, needs})
			if err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(w, "%s  %s: %s -> %s\n", paint.paint(shade, fmt.Sprintf("%-7s", needs)), d.Path, orNone(d.From), orNone(d.To)); err != nil {
			return err
		}
	}
	return nil
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}
