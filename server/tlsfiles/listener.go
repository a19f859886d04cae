package tlsfiles

import (
	"crypto/tls"
	"net"
	"sync/atomic"
)

// Current is the TLS configuration that is in force. It is replaced while listeners use
// it: connections that are open stay as they are.
type Current struct{ loaded atomic.Pointer[tls.Config] }

// Replace puts a loaded configuration in force.
func (c *Current) Replace(loaded *tls.Config) { c.loaded.Store(loaded) }

// Get returns the configuration in force, nil before the first Replace.
func (c *Current) Get() *tls.Config { return c.loaded.Load() }

// Listener returns a listener whose connections speak TLS, by what is in force when
// they are accepted.
//
// A session that began under another configuration is resumed only if it could begin now:
// crypto/tls checks its certificates against the roots in force.
func (c *Current) Listener(inner net.Listener) net.Listener {
	return tls.NewListener(inner, &tls.Config{
		MinVersion: tls.VersionTLS12, // for linters: that of what is loaded is in force
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if loaded := c.Get(); loaded != nil {
				return loaded, nil
			}
			return nil, errNotLoaded
		},
	})
}
