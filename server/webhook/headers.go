package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// The most that is stored of the headers of a delivery: values, and bytes of names
// and values.
const (
	maxStoredHeaders     = 64
	maxStoredHeaderBytes = 8 << 10
)

// validateStoredHeaders returns which of the stored headers are no headers.
func (c Config) validateStoredHeaders() error {
	var errs []error
	for i, name := range c.StoredHeaders {
		if !isHeaderName(name) {
			errs = append(errs, fielderr.New(fmt.Sprintf("stored_headers[%d]", i),
				"%q is no name of an HTTP header: give letters, digits and hyphens", name))
		}
	}
	return errors.Join(errs...)
}

// isHeaderName reports whether a name is a token (RFC 9110, 5.6.2).
func isHeaderName(name string) bool {
	for _, c := range []byte(name) {
		letterOrDigit := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letterOrDigit && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

// CheckSecretHeaders returns which of the stored headers hold a required secret of
// a provider, given the canonical names of those that do.
func (c Config) CheckSecretHeaders(secrets []string) error {
	var errs []error
	for i, name := range c.StoredHeaders {
		if slices.Contains(secrets, http.CanonicalHeaderKey(name)) {
			errs = append(errs, fielderr.New(fmt.Sprintf("stored_headers[%d]", i),
				"%s holds a required secret of a provider, which must not be stored: take it out of the list", name))
		}
	}
	return errors.Join(errs...)
}

// storedHeaders are the canonical names of the headers that are stored of a
// provider's deliveries, the most important ones first.
type storedHeaders []string

func newStoredHeaders(p provider.Provider, configured []string) storedHeaders {
	var stored storedHeaders
	for _, name := range slices.Concat(p.VerifiedHeaders(), []string{"Content-Type", "User-Agent"}, configured) {
		name = http.CanonicalHeaderKey(name)
		// NOTE: A required secret is never stored, whatever list its header is in.
		if !slices.Contains(stored, name) && !slices.Contains(p.SecretHeaders(), name) {
			stored = append(stored, name)
		}
	}
	return stored
}

// of returns the headers of a delivery as they are stored, in alphabetical order,
// and how many values were left out because they are too many or too long.
func (s storedHeaders) of(header http.Header) (kept []*webhookgatewayv1.Header, dropped int) {
	total := 0
	for _, name := range s {
		total += len(header[name])
	}
	limit, room := min(total, maxStoredHeaders), maxStoredHeaderBytes
	kept = make([]*webhookgatewayv1.Header, 0, limit)
	messages := make([]webhookgatewayv1.Header, limit)
	for _, name := range s {
		for _, value := range header[name] {
			value = strings.ToValidUTF8(value, "\ufffd")
			size := len(name) + len(value)
			if len(kept) == limit || size > room {
				continue
			}
			room -= size
			message := &messages[len(kept)]
			message.Name, message.Value = name, value
			kept = append(kept, message)
		}
	}
	slices.SortStableFunc(kept, func(a, b *webhookgatewayv1.Header) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return kept, total - len(kept)
}
