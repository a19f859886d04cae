package vezgo

// VerifiedHeaders implements provider.Provider.
func (*Provider) VerifiedHeaders() []string { return []string{clientHeader} }

// SecretHeaders implements provider.Provider: the secret of Vezgo is in the URL.
func (*Provider) SecretHeaders() []string { return nil }

// SecretHeaders returns the names of the headers that hold a required secret: none.
func (Config) SecretHeaders() []string { return nil }
