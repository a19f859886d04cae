package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
)

func newHealth(std streams) *cobra.Command {
	var path, addr string
	var requireLog bool
	var credentials clientCredentials
	timeout := 5 * time.Second
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a gateway whether it is ready",
		Long: `health asks /readyz of the gateway on this machine, prints the answer, and ends with
0 if the gateway is ready and 1 if it is not or does not answer. It is for images
that have no shell and no curl, such as HEALTHCHECK of a container.

It finds the gateway by the configuration that the gateway was started with
(listen and tls), even if something else in it has become wrong since, and does not
check its certificate, which has the names that others use. With --http-addr and
--tls-ca it checks that as every command does. Where tls.internal_http requires a client
certificate, --tls-cert shows one.`,
		Example: `  webhook-gateway health --config gateway.yaml
  webhook-gateway health --http-addr gateway.internal:8081 --tls-ca ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, doubt := likelyConfig(path, std.environ)
			var tlsConfig *tls.Config
			var err error
			if addr != "" {
				if addr, err = parseAddr("--http-addr", addr, "8081"); err != nil {
					return err
				}
				tlsConfig, err = credentials.tlsConfig()
			} else if addr = server.LocalAddr(config.Listen.InternalHTTP); addr == "" {
				return usageError{errors.Join(errors.New("listen.internal_http names no port: give --http-addr"), doubt)}
			}
			if tlsConfig == nil && err == nil && config.TLS.InternalHTTP.Enabled() {
				tlsConfig, err = unchecked(credentials)
			}
			if err != nil {
				return err
			}
			url := url.URL{Scheme: "http", Host: addr, Path: "/readyz"}
			if tlsConfig != nil {
				url.Scheme = "https"
			}
			if requireLog {
				url.RawQuery = "require=log"
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := askReady(ctx, url, tlsConfig, std.out); err != nil {
				return errors.Join(err, doubt)
			}
			return nil
		},
	}
	configFlag(c, &path)
	credentials.tlsFlags(c, std.environ)
	c.Flags().StringVar(&addr, "http-addr", "", "the internal HTTP `address` of the gateway (default: that of the configuration)")
	durationVar(c.Flags(), &timeout, "timeout", "how long to wait for the answer")
	c.Flags().BoolVar(&requireLog, "require-log", false, "fail also while the event log takes no events; not for what restarts the gateway, which answers pings all the same")
	return c
}

// likelyConfig returns the configuration that a gateway which was started with these
// runs with, and what is wrong with it. A gateway that runs does not mind what has
// become wrong since it started.
func likelyConfig(path string, environ []string) (server.Config, error) {
	config := server.DefaultConfig()
	doubt := config.Override(configPath(path, environ), environ)
	return config, doubt
}

// unchecked returns how TLS is spoken with the gateway of the configuration. Its certificate
// has the names that others know it by. Nothing secret is sent, and whoever could answer in
// its place could end it, too.
func unchecked(credentials clientCredentials) (*tls.Config, error) {
	credentials.ca = ""
	shown, err := credentials.tlsConfig()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see above
	if shown != nil {
		config.Certificates = shown.Certificates
	}
	return config, nil
}

// askReady asks a gateway whether it is ready, and prints what it says.
func askReady(ctx context.Context, url url.URL, tlsConfig *tls.Config, out io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url.String(), http.NoBody)
	if err != nil {
		return usageError{fmt.Errorf("--http-addr %s: %w", url.Host, err)}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: dialTLS(tlsConfig)}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask %s whether the gateway is ready: %s", url.Host, plainHTTPError(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("ask %s whether the gateway is ready: %s", url.Host, plainHTTPError(err))
	}
	var report struct {
		Status  string   `json:"status"`
		Reasons []string `json:"reasons"`
	}
	if err := json.Unmarshal(body, &report); err != nil || report.Status == "" {
		return notInternal(url.Host, response.Status, body)
	}
	if _, err := out.Write(body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		if len(report.Reasons) == 0 { // they are for operators
			return errors.New("the gateway is not ready: its log says why")
		}
		return fmt.Errorf("the gateway is not ready: %s", strings.Join(report.Reasons, "; "))
	}
	return nil
}
