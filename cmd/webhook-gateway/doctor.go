package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/doctor"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

func newDoctor(std streams) *cobra.Command {
	var path, url string
	var output outputOptions
	var credentials clientCredentials
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with a configuration and the machine, and say what to do",
		Long: `doctor looks at what a gateway depends on, and says what to do about what is wrong:

  config    everything that is wrong with it, and who is not verified
  folder    who else can read or change the store
  disk      file system, how long fsync takes, room
  ports     free, or served by the gateway that runs
  running   whether the gateway that runs has this configuration in force
  clock     synchronised, and not behind the newest event
  secrets   length, and who can read their files
  tls       certificates: keys, dates, chain
  access    who may call: tokens that expire, keys of the issuer, operators
  limits    open files, and the connections they are enough for
  outside   with --url: whether providers reach the gateway, whether a proxy changes
            bodies or hides the source address, its certificate, exposed ports

Run it as the user of the gateway, with its environment, before it starts or while it
runs. It changes nothing, but that --url sends one signed ping (Finicity), which is
stored as an event of the first client.

Where access is configured, or client certificates are required, it needs credentials
to ask a running gateway for its newest event and for that ping (those of a caller
that may read events) and for its configuration (those of an operator). What it could not look at without them is SKIP, or said.

Each finding is OK, WARN, FAIL, or SKIP if it could not be looked at, with the reason.
It ends with 1 if one is FAIL.`,
		Example: `  webhook-gateway doctor --config gateway.yaml
  webhook-gateway doctor --config gateway.yaml --url https://hooks.example.com
  webhook-gateway doctor --config gateway.yaml --token-file operator.token
  webhook-gateway doctor -o json | jq 'select(.status != "OK")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := output.asJSON()
			if err != nil {
				return err
			}
			if url != "" {
				if err := checkURL("--url", url); err != nil {
					return err
				}
			}
			if _, _, err := credentials.forListener(defaultHTTPAddr, false); err != nil { // wrong use, and no finding
				return err
			}
			failed := 0
			var printing error
			options := doctor.Options{
				Load:       func() (server.Config, error) { return examinedConfig(path, std) },
				ConfigPath: configPath(path, std.environ),
				URL:        url,

				Credentials: credentials.forListener,
			}
			doctor.Run(cmd.Context(), options, func(f doctor.Finding) {
				if f.Status == doctor.Fail {
					failed++
				}
				printing = errors.Join(printing, printFinding(std.out, std.painter(), f, asJSON))
			})
			if failed > 0 {
				printing = errors.Join(printing, fmt.Errorf("%d failed: see above for what to do", failed))
			}
			return printing
		},
	}
	configFlag(c, &path)
	credentials.flags(c, std.environ)
	c.Flags().StringVar(&url, "url", "", "the public `URL` that providers call, without the path, such as https://hooks.example.com")
	output.flag(c)
	return c
}

// examinedConfig returns the configuration that `serve` would run with. It makes no secret.
func examinedConfig(path string, std streams) (server.Config, error) {
	config, dev, err := loadConfigWith(path, std.environ, func(path string) (secret.Secret, error) {
		s, err := secret.Resolve("file:"+path, nil)
		if errors.Is(err, fs.ErrNotExist) {
			return secret.New(rand.Text()), nil
		}
		return s, err
	})
	if dev != nil {
		note(std.err, "there is no configuration: this is about a gateway for development, as serve would run it here")
	}
	return config, err
}

func printFinding(w io.Writer, paint painter, f doctor.Finding, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(f)
	}
	shade := map[doctor.Status]color{doctor.OK: green, doctor.Warn: yellow, doctor.Fail: red, doctor.Skip: dim}[f.Status]
	_, err := fmt.Fprintf(w, "%s  %-8s  %s\n", paint.paint(shade, fmt.Sprintf("%-4s", f.Status)), f.Check, clean(f.Text))
	if err == nil && f.Do != "" {
		_, err = fmt.Fprintf(w, "%s  %s\n", strings.Repeat(" ", 14), f.Do)
	}
	return err
}
