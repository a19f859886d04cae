package finicity

import (
	"net/http"
	"slices"
)

// VerifiedHeaders implements provider.Provider.
func (*Provider) VerifiedHeaders() []string { return []string{signatureHeader} }

// SecretHeaders implements provider.Provider.
func (p *Provider) SecretHeaders() []string { return p.secretHeaders }

// SecretHeaders returns the canonical names of the headers that hold a required
// secret, of all clients, in alphabetical order.
func (c Config) SecretHeaders() []string {
	var names []string
	for _, client := range c.Clients {
		if client.RequiredHeader != nil {
			names = append(names, http.CanonicalHeaderKey(client.RequiredHeader.Name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
