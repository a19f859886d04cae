package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// systemCAs stands for the authorities that the machine trusts.
const systemCAs = "system"

// The variables that stand in for flags which were not given.
const (
	envTokenFile = "WHG_TOKEN_FILE" //nolint:gosec // the name of a variable
	envTLSCA     = "WHG_TLS_CA"
	envTLSCert   = "WHG_TLS_CERT"
	envTLSKey    = "WHG_TLS_KEY"
)

// clientCredentials are how a command shows to a gateway who it is, and knows the gateway.
type clientCredentials struct {
	tokenFile, ca, cert, key string
}

// credentialFlag is a flag that names a file, and the variable that stands in for it.
type credentialFlag struct {
	value          *string
	name, env, use string
}

// flags adds the flags, whose defaults are in the environment.
func (o *clientCredentials) flags(c *cobra.Command, environ []string) {
	addCredentialFlag(c, environ, credentialFlag{&o.tokenFile, "token-file", envTokenFile, "a `file` with the bearer token to call with; read again for each call"})
	o.tlsFlags(c, environ)
}

// tlsFlags adds the flags for a command that needs no token.
func (o *clientCredentials) tlsFlags(c *cobra.Command, environ []string) {
	for _, f := range []credentialFlag{
		{&o.ca, "tls-ca", envTLSCA, "use TLS, and trust the authorities in this PEM `file`; \"system\" for those of this machine"},
		{&o.cert, "tls-cert", envTLSCert, "use TLS, with the client certificate in this PEM `file`"},
		{&o.key, "tls-key", envTLSKey, "the PEM `file` with the key of --tls-cert"},
	} {
		addCredentialFlag(c, environ, f)
	}
}

func addCredentialFlag(c *cobra.Command, environ []string, f credentialFlag) {
	c.PersistentFlags().StringVar(f.value, f.name, "", f.use+" (default $"+f.env+")")
	_ = c.PersistentFlags().SetAnnotation(f.name, filesAnnotation, []string{"true"}) // fails only for a flag that does not exist
	*f.value = lookup(environ, f.env)
}

// tlsConfig returns how TLS is spoken, or nil for plain text.
func (o *clientCredentials) tlsConfig() (*tls.Config, error) {
	if o.ca == "" && o.cert == "" && o.key == "" {
		return nil, nil //nolint:nilnil // plain text
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ca != "" && o.ca != systemCAs {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, usageError{fmt.Errorf("--tls-ca: %w", err)}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, usageError{fmt.Errorf("--tls-ca: %s has no certificate in PEM", o.ca)}
		}
	}
	if (o.cert == "") != (o.key == "") {
		return nil, usageError{errors.New("--tls-cert and --tls-key: give both, or neither")}
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, usageError{fmt.Errorf("--tls-cert and --tls-key: %w", err)}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// token returns the token to call with, or "" for none.
func (o *clientCredentials) token() (string, error) {
	if o.tokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(o.tokenFile)
	if err != nil {
		return "", usageError{fmt.Errorf("--token-file: %w", err)}
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", usageError{fmt.Errorf("--token-file: %s has no token: it should be one word, as `webhook-gateway token create` prints it", o.tokenFile)}
	}
	return token, nil
}

// check loads everything, and refuses to send a token through a network where it can be
// read.
func (o *clientCredentials) check(addr string) (*tls.Config, error) {
	config, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	if token != "" && config == nil && !isLoopback(addr) {
		return nil, usageError{fmt.Errorf("--token-file: without TLS anybody on the way to %s could read the token: give --tls-ca, or ask on the gateway's own machine", addr)}
	}
	return config, nil
}

// forListener returns what a listener is shown of which the configuration tells whether it
// speaks TLS. What would let others read the token is refused.
func (o *clientCredentials) forListener(addr string, secured bool) (*tls.Config, string, error) {
	config, err := o.tlsConfig()
	if err != nil {
		return nil, "", err
	}
	token, err := o.token()
	if err != nil {
		return nil, "", err
	}
	if token != "" && !isLoopback(addr) {
		switch {
		case !secured:
			return nil, "", fmt.Errorf("the token is not sent to %s, which speaks plain text: anybody on the way could read it", addr)
		case config == nil:
			return nil, "", fmt.Errorf("the token is not sent to %s without --tls-ca: anybody could take its place", addr)
		}
	}
	return config, token, nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// dialOptions returns how gRPC calls a gateway at an address.
func (o *clientCredentials) dialOptions(addr string) ([]grpc.DialOption, error) {
	config, err := o.check(addr)
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	if config != nil {
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if o.tokenFile != "" {
		options = append(options, grpc.WithPerRPCCredentials(tokenOf{o}))
	}
	return options, nil
}

// tokenOf reads the token for each call, so that one that was renewed is used.
type tokenOf struct{ *clientCredentials }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t tokenOf) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := t.token()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. What it would ask
// for was checked, but for loopback.
func (t tokenOf) RequireTransportSecurity() bool { return false }

// request prepares a request to a gateway at an address: its URL gets a scheme, and it
// gets a token. The transport is the one to send it with.
func (o *clientCredentials) request(r *http.Request, transport *http.Transport) error {
	config, err := o.check(r.URL.Host)
	if err != nil {
		return err
	}
	r.URL.Scheme = "http"
	if config != nil {
		r.URL.Scheme, transport.DialTLSContext = "https", dialTLS(config)
	}
	token, err := o.token()
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return err
}
