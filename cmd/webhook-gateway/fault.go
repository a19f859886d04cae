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
a test sees how they take it. It works with serve --ephemeral only, which prints the URL
that --control takes: no other gateway has faults. It returns when the fault has happened.

Without this command: POST to /faults/NAME below that URL, with the argument as ?keep= or
?subscription=.`,
		Example: `  webhook-gateway fault cut
  webhook-gateway fault expire 2 --control http://127.0.0.1:41234
  webhook-gateway fault redeliver billing`,
	}
	control := "http://" + defaultControlAddr
	c.PersistentFlags().StringVar(&control, "control", control, "the `URL` of the faults, as serve --ephemeral prints it")
	for _, f := range ephemeral.Faults() {
		c.AddCommand(newFaultNamed(std, f, &control))
	}
	return c
}

func newFaultNamed(std streams, f ephemeral.Fault, control *string) *cobra.Command {
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
			if err := askFault(ctx, *control, f.Name, query); err != nil {
				return err
			}
			_, err := fmt.Fprintln(std.out, f.Name+": done")
			return err
		},
	}
}

// askFault asks a gateway for tests for a fault.
func askFault(ctx context.Context, control, name string, query url.Values) error {
	if err := checkURL("--control", control); err != nil {
		return err
	}
	target := strings.TrimRight(control, "/") + "/faults/" + name + "?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, http.NoBody)
	if err != nil {
		return usageError{errors.New("--control: this is no URL: give the one that serve --ephemeral prints")}
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return fmt.Errorf("%s: no answer: %s: does a gateway with --ephemeral run? It prints what --control is", control, plainHTTPError(err))
	}
	defer func() { _ = response.Body.Close() }()                          // it was read, or is of no use
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusalBytes)) // as far as it came
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusBadRequest:
		return errors.New(clean(strings.TrimSpace(string(body))))
	}
	return fmt.Errorf("%s answers %s: these are not the faults of a gateway with --ephemeral, and no other has any", control, response.Status)
}
