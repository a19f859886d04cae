package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/tlsfiles"
)

// Names of the listeners, which are also their keys in the configuration.
const (
	listenerWebhooks     = "webhooks"
	listenerGRPC         = "grpc"
	listenerInternalHTTP = "internal_http"
)

// certificates are the TLS configurations in force, of the listeners that have one.
type certificates map[string]*tlsfiles.Current

// loadedTLS are TLS configurations read from files, by listener.
type loadedTLS map[string]*tls.Config

// loadTLS reads all files, or returns all that is wrong with them.
func (c Config) loadTLS() (loadedTLS, error) {
	t := c.TLS
	loaded := make(loadedTLS)
	var errs []error
	for _, l := range []struct {
		name, key string
		config    tlsfiles.Config
		protocols []string
	}{
		// Nobody needs HTTP/2 to deliver: its streams would be one more thing to flood.
		{listenerWebhooks, "tls.webhooks", t.Webhooks, []string{"http/1.1"}},
		{listenerGRPC, "tls.grpc", t.GRPC, []string{"h2"}},
		{listenerInternalHTTP, "tls.internal_http", t.InternalHTTP, []string{"h2", "http/1.1"}},
		{listenerCluster, "cluster.tls", c.Cluster.TLS, []string{"h2"}},
	} {
		if !l.config.Enabled() {
			continue
		}
		config, err := l.config.Load(l.protocols...)
		if err != nil {
			errs = append(errs, fielderr.In(l.key, err))
			continue
		}
		loaded[l.name] = config
	}
	return loaded, errors.Join(errs...)
}

// newCertificates puts loaded configurations in force.
func newCertificates(loaded loadedTLS) certificates {
	c := make(certificates, len(loaded))
	for name, config := range loaded {
		c[name] = &tlsfiles.Current{}
		c[name].Replace(config)
	}
	return c
}

// replace puts other configurations in force.
func (c certificates) replace(loaded loadedTLS) {
	for name, current := range c {
		current.Replace(loaded[name])
	}
}

// roots returns who vouches for client certificates.
func (c certificates) roots() access.Roots {
	of := func(name string) func() *x509.CertPool {
		current, ok := c[name]
		if !ok {
			return nil
		}
		return func() *x509.CertPool { return current.Get().ClientCAs }
	}
	return access.Roots{GRPC: of(listenerGRPC), HTTP: of(listenerInternalHTTP)}
}

// listener returns a listener that speaks TLS if there is a certificate for it.
func (c certificates) listener(name string, inner net.Listener) net.Listener {
	if current, ok := c[name]; ok {
		return current.Listener(inner)
	}
	return inner
}

// expiryWarning is how long before a certificate expires somebody is told.
const expiryWarning = 14 * 24 * time.Hour

// warnings returns which certificates expire soon, or have, and which are not valid yet.
func (c certificates) warnings(now time.Time) []string {
	var warnings []string
	for _, name := range []string{listenerWebhooks, listenerGRPC, listenerInternalHTTP, listenerCluster} {
		current, ok := c[name]
		if !ok {
			continue
		}
		key := "listen." + name
		if name == listenerCluster {
			key = "cluster.listen"
		}
		begins, expires := tlsfiles.Begins(current.Get()), tlsfiles.Expires(current.Get())
		switch {
		case begins.After(now):
			warnings = append(warnings, fmt.Sprintf("the certificate of %s is valid only from %s on: correct the clock, or replace its file", key, begins.Format(time.RFC3339)))
		case expires.Before(now):
			warnings = append(warnings, fmt.Sprintf("the certificate of %s expired at %s: replace its file", key, expires.Format(time.RFC3339)))
		case expires.Before(now.Add(expiryWarning)):
			warnings = append(warnings, fmt.Sprintf("the certificate of %s expires at %s: replace its file", key, expires.Format(time.RFC3339)))
		}
	}
	return warnings
}

var certificateExpiry = prometheus.NewDesc("webhook_gateway_tls_certificate_expiry_timestamp_seconds",
	"When the certificate of a listener that speaks TLS expires.", []string{"listener"}, nil)

// Describe implements prometheus.Collector.
func (c certificates) Describe(descs chan<- *prometheus.Desc) { descs <- certificateExpiry }

// Collect implements prometheus.Collector.
func (c certificates) Collect(metrics chan<- prometheus.Metric) {
	for name, current := range c {
		metrics <- prometheus.MustNewConstMetric(certificateExpiry, prometheus.GaugeValue, float64(tlsfiles.Expires(current.Get()).Unix()), name)
	}
}

// below are the credentials of a gRPC server whose listener speaks TLS itself, if it
// does: what counts the frames of its clients stands between. The connection within the
// process has none.
type below struct {
	credentials.TransportCredentials
}

func newBelow() below { return below{insecure.NewCredentials()} }

// ServerHandshake implements credentials.TransportCredentials.
func (b below) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	outer, ok := conn.(interface{ NetConn() net.Conn })
	if !ok {
		return b.TransportCredentials.ServerHandshake(conn)
	}
	secured, ok := outer.NetConn().(*tls.Conn)
	if !ok {
		return b.TransportCredentials.ServerHandshake(conn)
	}
	if err := secured.HandshakeContext(context.Background()); err != nil { // the connection has a deadline
		return nil, nil, err
	}
	state := secured.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		return nil, nil, errors.New("the client does not speak HTTP/2")
	}
	return conn, credentials.TLSInfo{
		State:          state,
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// Clone implements credentials.TransportCredentials.
func (b below) Clone() credentials.TransportCredentials {
	return below{b.TransportCredentials.Clone()}
}
