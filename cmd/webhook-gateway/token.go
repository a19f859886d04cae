package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
)

func newToken(std streams) *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make tokens to call the gateway with"}
	var name string
	create := &cobra.Command{
		Use:   "create",
		Short: "Make a bearer token",
		Long: `create makes a random token and prints it on standard output, and what the
configuration of the gateway needs to know it on standard error: a hash, from which
nobody can make the token. The token is not kept anywhere.

  (umask 077; webhook-gateway token create --name billing > billing.token)
  webhook-gateway tail --token-file billing.token`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			token, sum := access.NewToken()
			if _, err := fmt.Fprintln(std.out, token); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(std.err, `# Give the token to its owner: it is not shown again. For the configuration of the
# gateway, with the grants that it is to have:
access:
  tokens:
    %s:
      sha256: %s
      grants: []    # names of access.grants
`, fielderr.Key(name), sum) // without them there is nothing to do with the token
			return nil
		},
	}
	create.Flags().StringVar(&name, "name", "NAME", "how the logs of the gateway call whoever has the token")
	c.AddCommand(create)
	return c
}
