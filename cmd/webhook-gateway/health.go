package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func newHealth(std streams) *cobra.Command {
	var path, addr string
	var requireLog bool
	timeout := 5 * time.Second
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a gateway whether it is ready",
		Long: `health asks /readyz of the gateway on this machine, prints the answer, and ends with
0 if the gateway is ready and 1 if it is not or does not answer. It is for images
that have no shell and no curl, such as HEALTHCHECK of a container.

It finds the gateway by the configuration that the gateway was started with
(listen.internal_http), even if something else in it has become wrong since.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var doubt error
			if addr == "" {
				addr, doubt = internalAddr(path, std.environ)
			}
			if addr == "" {
				return usageError{errors.Join(errors.New("listen.internal_http names no port: give --http-addr"), doubt)}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := askReady(ctx, addr, requireLog, std.out); err != nil {
				return errors.Join(err, doubt)
			}
			return nil
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&addr, "http-addr", "", "the internal HTTP `address` of the gateway (default: that of the configuration)")
	durationVar(c.Flags(), &timeout, "timeout", "how long to wait for the answer")
	c.Flags().BoolVar(&requireLog, "require-log", false, "fail also while the event log takes no events; not for what restarts the gateway, which answers pings all the same")
	return c
}

// internalAddr returns where a gateway with this configuration is asked, or nothing if
// the configuration does not tell, and what is wrong with the configuration. A gateway
// that runs does not mind what has become wrong since it started.
func internalAddr(path string, environ []string) (string, error) {
	if path == "" {
		path = lookup(environ, server.EnvConfig)
	}
	config := server.DefaultConfig()
	doubt := config.Override(path, environ)
	host, port, err := net.SplitHostPort(config.Listen.InternalHTTP)
	if err != nil || port == "0" {
		return "", doubt
	}
	// NOTE: not localhost, a name that an image without /etc/hosts does not have.
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip == netip.IPv4Unspecified() {
		host = "127.0.0.1"
	} else if ip == netip.IPv6Unspecified() {
		host = "::1"
	}
	return net.JoinHostPort(host, port), doubt
}

// askReady asks a gateway whether it is ready, and prints what it says.
func askReady(ctx context.Context, addr string, requireLog bool, out io.Writer) error {
	url := "http://" + addr + "/readyz"
	if requireLog {
		url += "?require=log"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return usageError{fmt.Errorf("--http-addr %q is no address: give host:port, such as localhost:8081", addr)}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s whether the gateway is ready: %s", addr, plainHTTPError(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("ask %s whether the gateway is ready: %s", addr, plainHTTPError(err))
	}
	var report struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons"`
	}
	if err := json.Unmarshal(body, &report); err != nil || report.Status == "" {
		return fmt.Errorf("%s answers %s: is that the internal HTTP port of a gateway?", addr, response.Status)
	}
	if _, err := out.Write(body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway is not ready: %s", strings.Join(report.Reasons, "; "))
	}
	return nil
}
