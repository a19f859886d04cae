package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// keysMaxAge is how long fetched keys are used without looking whether the issuer
	// has taken one back.
	keysMaxAge = 10 * time.Minute
	// keysRetry is the least time between two fetches: whoever sends tokens with made-up
	// keys must not make the gateway a flood for the issuer.
	keysRetry    = 5 * time.Second
	fetchTimeout = 5 * time.Second
	// maxKeysBytes bounds an answer of the issuer.
	maxKeysBytes = 1 << 20
	maxRedirects = 3
)

// keySet is the keys of an issuer, cached. It differs from go-oidc's in that it forgets
// keys that the issuer does not have any more, asks the issuer only so often, and tells
// a token that is wrong from an issuer that does not answer.
type keySet struct {
	// load returns the keys, and none if they have not changed since loaded.
	load   func(ctx context.Context) ([]jose.JSONWebKey, error)
	maxAge time.Duration
	logger *slog.Logger

	// loading is held while keys are loaded.
	loading sync.Mutex
	tried   time.Time

	mu   sync.Mutex
	keys []jose.JSONWebKey
	// generation counts how often keys were loaded.
	generation int
	failed     error // of the last try
}

var _ oidc.KeySet = (*keySet)(nil)

func newKeySet(load func(context.Context) ([]jose.JSONWebKey, error), logger *slog.Logger) *keySet {
	return &keySet{load: load, maxAge: keysMaxAge, logger: logger}
}

// newFileKeySet returns the keys in a file, which is looked at again before each token:
// until it could be read, and when it has changed.
func newFileKeySet(path string, logger *slog.Logger) (*keySet, error) {
	k := &keySet{logger: logger, load: readKeys(path)}
	k.refresh(context.Background(), 0)
	_, failed := k.current()
	return k, failed
}

// readKeys returns a function that reads the keys in a file, and returns none if the file
// is the one that it read last.
func readKeys(path string) func(context.Context) ([]jose.JSONWebKey, error) {
	var last os.FileInfo
	return func(context.Context) ([]jose.JSONWebKey, error) {
		info, err := os.Stat(path)
		if err != nil || last != nil && os.SameFile(info, last) && info.ModTime().Equal(last.ModTime()) && info.Size() == last.Size() {
			return nil, err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			return nil, err
		}
		keys, err := parseKeys(text)
		if err == nil {
			last = info
		}
		return keys, err
	}
}

// unavailableKey is the key of a *bool in a context, which go-oidc would lose in a text.
type unavailableKey struct{}

// withUnavailable returns a context for a verification, which sets unavailable if the
// keys that it needs could not be loaded.
func withUnavailable(ctx context.Context, unavailable *bool) context.Context {
	return context.WithValue(ctx, unavailableKey{}, unavailable)
}

// VerifySignature implements oidc.KeySet. It comes after freshen.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	var accepted []jose.SignatureAlgorithm
	for _, a := range algorithms { // the verifier has checked which of them are configured
		accepted = append(accepted, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSigned(token, accepted)
	if err != nil {
		return nil, err
	}
	keys, _ := k.current()
	if payload, err := verifyWith(keys, signed); err == nil {
		return payload, nil
	}
	k.refresh(ctx, keysRetry) // it may have another key by now
	keys, failed := k.current()
	if failed != nil {
		if unavailable, ok := ctx.Value(unavailableKey{}).(*bool); ok {
			*unavailable = true
		}
		return nil, failed
	}
	return verifyWith(keys, signed)
}

func verifyWith(keys []jose.JSONWebKey, signed *jose.JSONWebSignature) ([]byte, error) {
	id := signed.Signatures[0].Header.KeyID
	for i := range keys {
		if id == "" || keys[i].KeyID == id {
			if payload, err := signed.Verify(&keys[i]); err == nil {
				return payload, nil
			}
		}
	}
	return nil, errors.New("no key of the issuer verifies the token")
}

// freshen loads the keys if they may have changed, and returns their generation.
func (k *keySet) freshen(ctx context.Context) int {
	if k.loading.TryLock() { // while somebody else does so, the old keys will do
		k.refreshLocked(ctx, k.maxAge)
		k.loading.Unlock()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.generation
}

func (k *keySet) current() ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys, k.failed
}

// refresh loads the keys if the last try is as old as maxAge. If that fails the old
// ones stay in force.
func (k *keySet) refresh(ctx context.Context, maxAge time.Duration) {
	k.loading.Lock()
	defer k.loading.Unlock()
	k.refreshLocked(ctx, maxAge)
}

func (k *keySet) refreshLocked(ctx context.Context, maxAge time.Duration) {
	if !k.tried.IsZero() && time.Since(k.tried) < maxAge {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout) // it is for others too
	defer cancel()
	keys, err := k.load(ctx)
	k.tried = time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && (k.failed == nil || k.failed.Error() != err.Error()) {
		k.logger.WarnContext(ctx, "the keys of the issuer of tokens could not be loaded: those known before stay in force", "error", err)
	}
	k.failed = err
	if keys != nil {
		k.keys = keys
		k.generation++
	}
}

// parseKeys returns the public keys of a JSON Web Key Set. Those of kinds that nobody
// here knows are passed over, as RFC 7517 has it.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := decode(text, &set); err != nil {
		return nil, fmt.Errorf("no JSON Web Key Set: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	if keys == nil {
		return nil, errors.New("the JSON Web Key Set has no public key for signatures")
	}
	return keys, nil
}

// fetchKeys returns a function that fetches the keys which an issuer publishes, and
// finds out first where that is.
func fetchKeys(issuer string) func(context.Context) ([]jose.JSONWebKey, error) {
	client := &http.Client{
		Timeout: fetchTimeout,
		Transport: bounded{&http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, // they are fetched every few minutes
		}},
		CheckRedirect: func(request *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return fmt.Errorf("it redirects more than %d times", maxRedirects)
			}
			return checkURL(request.URL.String())
		},
	}
	var keysURL string
	return func(ctx context.Context) ([]jose.JSONWebKey, error) {
		if keysURL == "" {
			provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
			if err != nil {
				return nil, fmt.Errorf("discover the issuer: %w", err)
			}
			var found struct {
				URL string `json:"jwks_uri"`
			}
			if err := provider.Claims(&found); err != nil {
				return nil, fmt.Errorf("discover the keys of the issuer: %w", err)
			}
			if err := checkURL(found.URL); err != nil {
				return nil, fmt.Errorf("the jwks_uri of the issuer: %w", err)
			}
			keysURL = found.URL
		}
		text, err := fetch(ctx, client, keysURL)
		if err != nil {
			return nil, err
		}
		return parseKeys(text)
	}
}

// fetch returns what is at a URL.
func fetch(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// bounded fails to read answers of more than maxKeysBytes.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(request)
	if err == nil {
		response.Body = http.MaxBytesReader(nil, response.Body, maxKeysBytes)
	}
	return response, err
}

// CheckKeys returns how many keys a gateway would verify tokens with, or why it would have
// none: it loads them as the gateway does.
func (c OIDC) CheckKeys(ctx context.Context) (int, error) {
	load := fetchKeys(c.Issuer)
	if c.JWKSFile != "" {
		load = readKeys(c.JWKSFile)
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	keys, err := load(ctx)
	return len(keys), err
}
