package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	devClient     = "dev"
	devSecretFile = "dev-finicity-secret" //nolint:gosec // the name of a file
)

// development is what makes a configuration one for development.
type development struct {
	// SecretPath is the file with the Finicity secret of the client dev.
	secretPath string
}

// developmentConfig returns the configuration of a gateway that nobody
// configured, changed by the environment. The Finicity secret is in a file beside the
// events, so that it survives a restart and `trigger` finds it; secretIn returns it.
func developmentConfig(environ []string, secretIn func(path string) (secret.Secret, error)) (server.Config, *development, error) {
	config := localConfig()
	config.Webhooks.LogAccepted = true
	if err := config.Override("", environ); err != nil {
		return server.Config{}, nil, usageError{err}
	}
	dev := &development{secretPath: filepath.Join(config.Store.Pebble.Path, devSecretFile)}
	s, err := secretIn(dev.secretPath)
	if err != nil {
		return server.Config{}, nil, fmt.Errorf("keep a Finicity secret for development: %w", err)
	}
	acceptDevelopment(&config, s)
	if err := config.Validate(); err != nil {
		return server.Config{}, nil, usageError{err}
	}
	return config, dev, nil
}

// localConfig is the default configuration, out of reach of other machines. There is
// no load balancer that a shutdown would wait for.
func localConfig() server.Config {
	config := server.DefaultConfig()
	config.Shutdown.Delay = 0
	config.Listen = server.Listen{Webhooks: "localhost:8080", GRPC: "localhost:9090", InternalHTTP: "localhost:8081"}
	return config
}

// acceptDevelopment takes both providers: Finicity for the client dev with a
// secret, Vezgo from this machine.
func acceptDevelopment(config *server.Config, s secret.Secret) {
	config.Providers.Finicity.Enabled = true
	config.Providers.Finicity.Clients = map[string]finicity.ClientConfig{
		devClient: {Secrets: map[string]secret.Secret{devClient: s}},
	}
	config.Providers.Vezgo.Enabled = true
	config.Providers.Vezgo.AnyClient = true
	config.Providers.Vezgo.SourceAddresses = []string{"127.0.0.0/8", "::1"}
}

// keptSecret returns the secret in a file, which it makes if there is none.
func keptSecret(path string) (secret.Secret, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return secret.Secret{}, err
		}
		if err := os.WriteFile(path, []byte(rand.Text()+"\n"), 0o600); err != nil {
			return secret.Secret{}, err
		}
	}
	return secret.Resolve("file:"+path, nil)
}

// explain warns, and says how to use the gateway.
func (d *development) explain(w io.Writer, command string, addrs server.Addrs) {
	webhooks, grpc, internal := server.LocalAddr(addrs.Webhooks.String()), server.LocalAddr(addrs.GRPC.String()), server.LocalAddr(addrs.InternalHTTP.String())
	_, _ = fmt.Fprintf(w, `
!!  THIS GATEWAY RUNS FOR DEVELOPMENT, because it was given no configuration.
!!  Deliveries of Vezgo are taken from this machine only, not from Vezgo itself.
!!  Those of Finicity are signed with a secret that was generated here.
!!  For anything else: serve --config gateway.yaml

In a browser: http://%[3]s/console/

In another shell, in this folder:

  %[6]s tail --addr %[2]s
  %[6]s trigger --all --url http://%[1]s --secret file:%[4]s

Or by hand; the Finicity secret of the client %[5]q is in %[4]s:

  body='{"eventType":"ping","payload":{}}'
  signature=$(printf %%s "$body" | openssl dgst -sha256 -r -hmac "$(cat %[4]s)" | cut -d' ' -f1)
  curl -i http://%[1]s/v1/webhooks/finicity/%[5]s -H 'Content-Type: application/json' \
    -H "X-Finicity-Signature: $signature" -d "$body"
  curl 'http://%[3]s/v1/events?newestFirst=true'

`, webhooks, grpc, internal, d.secretPath, devClient, command) // a reader that is gone has no use for it
}
