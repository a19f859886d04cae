package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server/ephemeral"
)

// faultTimeout bounds a fault: a restart ends streams in order.
const faultTimeout = time.Minute

func newFault(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "fault",
		Short: "Have something happen to the readers of a gateway for tests",
		Long: `fault has happen to the readers of a gateway what otherwise happens rarely, so that
a test sees how they take it. It works with ` + "`serve --ephemeral`" + ` only: no other gateway
listens at --control-addr. It returns when the fault has happened.

Without this command: POST to /faults/NAME at --control-addr, with the argument as
?keep= or ?subscription=.`,
	}
	addr := defaultControlAddr
	c.PersistentFlags().StringVar(&addr, "control-addr", addr, "the `address` of the faults, which serve --ephemeral prints, host:port")
	for _, f := range ephemeral.Faults() {
		c.AddCommand(newFaultNamed(std, f, &addr))
	}
	return c
}

func newFaultNamed(std streams, f ephemeral.Fault, addr *string) *cobra.Command {
	use, args := f.Name, cobra.NoArgs
	switch {
	case f.Optional:
		use, args = use+" ["+strings.ToUpper(f.Param)+"]", cobra.MaximumNArgs(1)
	case f.Param != "":
		use, args = use+" "+strings.ToUpper(f.Param), cobra.ExactArgs(1)
	}
	return &cobra.Command{
		Use: use, Short: strings.ToUpper(f.Help[:1]) + f.Help[1:], Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if len(args) == 1 {
				query.Set(f.Param, args[0])
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), faultTimeout)
			defer cancel()
			if err := askFault(ctx, *addr, f.Name, query); err != nil {
				return err
			}
			_, err := fmt.Fprintln(std.out, f.Name+": done")
			return err
		},
	}
}

// askFault asks a gateway for tests for a fault.
func askFault(ctx context.Context, addrText, name string, query url.Values) error {
	addr, err := parseAddr("--control-addr", addrText, "8082")
	if err != nil {
		return err
	}
	target := url.URL{Scheme: "http", Host: addr, Path: "/faults/" + name, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), http.NoBody)
	if err != nil {
		return usageError{fmt.Errorf("--control-addr %s: %w", addr, err)}
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return fmt.Errorf("%s: no answer: %s: does a gateway with --ephemeral run? It prints its control address", addr, plainHTTPError(err))
	}
	defer func() { _ = response.Body.Close() }()                          // it was read, or is of no use
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusalBytes)) // as far as it came
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusBadRequest:
		return errors.New(clean(strings.TrimSpace(string(body))))
	}
	return fmt.Errorf("%s answers %s: that is no gateway with --ephemeral, at its control address: only such a one has faults", addr, response.Status)
}
