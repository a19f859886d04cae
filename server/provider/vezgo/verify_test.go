package vezgo_test

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	clientHeader = "X-Client-Id"
	ownAddress   = "52.60.234.183"
	urlSecret    = "url-secret"
)

func TestAuthenticate(t *testing.T) {
	named := http.Header{clientHeader: {clientID}}
	right := url.Values{"secret": {urlSecret}}
	for _, test := range []struct {
		name   string
		path   string
		header http.Header
		query  url.Values
		source string
		mode   provider.Mode
		secret string
		any    bool // any client
		reason string
	}{
		{name: "first address", header: named, source: ownAddress},
		{name: "second address", header: named, source: "52.60.240.87"},
		{name: "third address", header: named, source: "52.60.241.79"},
		{name: "fourth address", header: named, source: "52.60.242.161"},
		{name: "a network", header: named, source: "2001:db8::1:2"},
		{name: "outside of the network", header: named, source: "2001:db8:1::1", reason: "SOURCE_NOT_ALLOWED"},
		{name: "a neighbour", header: named, source: "52.60.234.184", reason: "SOURCE_NOT_ALLOWED"},
		{name: "no address", header: named, reason: "SOURCE_NOT_ALLOWED"},
		{name: "path agrees", path: clientID, header: named, source: ownAddress},
		{name: "path differs", path: "app-2", header: named, source: ownAddress, reason: "CLIENT_ID_MISMATCH"},
		{name: "path differs, off", path: "app-2", header: named, source: ownAddress, mode: provider.ModeOff, reason: "CLIENT_ID_MISMATCH"},
		{name: "two clients", header: http.Header{clientHeader: {clientID, clientID}}, source: ownAddress, reason: "CLIENT_ID_MISMATCH"},
		{name: "no client", source: ownAddress, reason: "CLIENT_ID_MISSING"},
		{name: "no client, off", source: ownAddress, mode: provider.ModeOff, reason: "CLIENT_ID_MISSING"},
		{name: "empty client", header: http.Header{clientHeader: {""}}, source: ownAddress, reason: "CLIENT_ID_MISSING"},
		{name: "client in the path only", path: clientID, source: ownAddress, reason: "CLIENT_ID_MISSING"},
		{name: "another client", header: http.Header{clientHeader: {"app-2"}}, source: ownAddress, reason: "CLIENT_NOT_ALLOWED"},
		{name: "another client, off", header: http.Header{clientHeader: {"app-2"}}, source: ownAddress, mode: provider.ModeOff, reason: "CLIENT_NOT_ALLOWED"},
		{name: "any client", header: http.Header{clientHeader: {"app 2 ü"}}, source: ownAddress, any: true},
		{name: "a control character", header: http.Header{clientHeader: {"app\t2"}}, source: ownAddress, any: true, reason: "CLIENT_NOT_ALLOWED"},
		{name: "not UTF-8", header: http.Header{clientHeader: {"app\xff"}}, source: ownAddress, any: true, reason: "CLIENT_NOT_ALLOWED"},
		{name: "255 bytes", header: http.Header{clientHeader: {strings.Repeat("x", 255)}}, source: ownAddress, any: true},
		{name: "256 bytes", header: http.Header{clientHeader: {strings.Repeat("x", 256)}}, source: ownAddress, any: true, reason: "CLIENT_NOT_ALLOWED"},
		{name: "URL secret", header: named, source: ownAddress, secret: urlSecret, query: right},
		{name: "URL secret missing", header: named, source: ownAddress, secret: urlSecret, reason: "SHARED_SECRET_MISMATCH"},
		{name: "URL secret wrong", header: named, source: ownAddress, secret: urlSecret, query: url.Values{"secret": {"guess"}}, reason: "SHARED_SECRET_MISMATCH"},
		{name: "URL secret twice", header: named, source: ownAddress, secret: urlSecret, query: url.Values{"secret": {urlSecret, urlSecret}}, reason: "SHARED_SECRET_MISMATCH"},
		{name: "URL secret from elsewhere", header: named, source: "203.0.113.7", secret: urlSecret, query: right, reason: "SOURCE_NOT_ALLOWED"},
		{name: "reported, right", header: named, source: ownAddress, mode: provider.ModeReport},
		{name: "reported, from elsewhere", header: named, source: "203.0.113.7", mode: provider.ModeReport, reason: "SOURCE_NOT_ALLOWED"},
		{name: "reported, no address", header: named, mode: provider.ModeReport, reason: "SOURCE_NOT_ALLOWED"},
		{name: "reported, client in the path only", path: clientID, source: ownAddress, mode: provider.ModeReport, reason: "CLIENT_ID_MISSING"},
		{name: "reported, URL secret wrong", header: named, source: ownAddress, mode: provider.ModeReport, secret: urlSecret, reason: "SHARED_SECRET_MISMATCH"},
		{name: "off, from elsewhere", header: named, source: "203.0.113.7", mode: provider.ModeOff},
		{name: "off, client in the path only", path: clientID, mode: provider.ModeOff, secret: urlSecret},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := testConfig()
			config.Verification = test.mode
			config.URLSecret = secret.New(test.secret)
			if test.any {
				config.Clients, config.AnyClient = nil, true
			}
			delivery := &provider.Delivery{ClientID: test.path, Header: test.header, Query: test.query}
			if test.source != "" {
				delivery.Source = netip.MustParseAddr(test.source)
			}
			identity, err := newProvider(t, config).Authenticate(delivery)
			always := slices.Contains([]string{"CLIENT_NOT_ALLOWED", "CLIENT_ID_MISMATCH", "CLIENT_ID_MISSING", "SHARED_SECRET_MISMATCH"}, test.reason)
			if test.reason != "" && (test.mode != provider.ModeReport || always) {
				checkRefusal(t, err, test.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkVerification(t, identity.Verification, test.mode, test.reason != "")
			if (identity.Failure != nil) != (test.reason != "") {
				t.Errorf("the failure is %v", identity.Failure)
			} else if test.reason != "" {
				checkRefusal(t, identity.Failure, test.reason)
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, reason string) {
	t.Helper()
	var refusal *provider.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("the error is %v, want a refusal", err)
	}
	if got := rpcerr.Name(refusal.Reason); got != reason {
		t.Errorf("the reason is %s, want %s", got, reason)
	}
	if strings.Contains(refusal.Message, urlSecret) || strings.Contains(refusal.Message, "guess") {
		t.Errorf("the message %q holds a secret", refusal.Message)
	}
	if reason == "SOURCE_NOT_ALLOWED" && !strings.Contains(refusal.Message, "trusted_proxies") {
		t.Errorf("the message %q does not say what to do behind a proxy", refusal.Message)
	}
}

func checkVerification(t *testing.T, got *webhookgatewayv1.Verification, mode provider.Mode, failed bool) {
	t.Helper()
	want := &webhookgatewayv1.Verification{
		Mode:    mode.Proto(),
		Method:  webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_SOURCE_ADDRESS,
		Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
	}
	switch {
	case mode == provider.ModeOff:
		want.Method = webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_UNSPECIFIED
		want.Verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
	case failed:
		want.Verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
		want.Failure = webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_SOURCE_NOT_ALLOWED
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("the verification (-want +got):\n%s", diff)
	}
}

// FuzzAuthenticate checks that a delivery is accepted only from a configured
// address, for a configured client, that the path does not contradict.
func FuzzAuthenticate(f *testing.F) {
	config := testConfig()
	p := newProvider(f, config)
	var sources []netip.Prefix
	for _, text := range []string{"52.60.234.183/32", "52.60.240.87/32", "52.60.241.79/32", "52.60.242.161/32", "2001:db8::/64"} {
		sources = append(sources, netip.MustParsePrefix(text))
	}
	f.Add(netip.MustParseAddr(ownAddress).AsSlice(), clientID, "")
	f.Add(netip.MustParseAddr("2001:db8::1").AsSlice(), clientID, clientID)
	f.Add([]byte{1, 2, 3, 4}, "app-2", clientID)
	f.Fuzz(func(t *testing.T, address []byte, header, path string) {
		source, _ := netip.AddrFromSlice(address)
		source = source.Unmap()
		allowed := false
		for _, prefix := range sources {
			allowed = allowed || prefix.Contains(source)
		}
		want := allowed && header == clientID && (path == "" || path == clientID)
		identity, err := p.Authenticate(&provider.Delivery{ClientID: path, Header: http.Header{clientHeader: {header}}, Source: source})
		if (err == nil) != want {
			t.Errorf("from %v for %q, path %q: the error is %v", source, header, path, err)
		}
		if err == nil && identity.ClientID != clientID {
			t.Errorf("the client is %q", identity.ClientID)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*vezgo.Config)
		want   string
	}{
		{"default", func(*vezgo.Config) {}, ""},
		{"not enabled", func(c *vezgo.Config) { c.Enabled, c.SourceAddresses = false, []string{"x"} }, ""},
		{"empty client id", func(c *vezgo.Config) { c.Clients = []string{"a", ""} }, "clients[1]: the client id is empty"},
		{"no addresses", func(c *vezgo.Config) { c.SourceAddresses = nil }, "source_addresses: give"},
		{"no addresses with off", func(c *vezgo.Config) { c.SourceAddresses, c.Verification = nil, provider.ModeOff }, ""},
		{"a name", func(c *vezgo.Config) { c.SourceAddresses = []string{"vezgo.example"} }, `source_addresses[0]: "vezgo.example" is neither`},
		{"IPv4-mapped address", func(c *vezgo.Config) { c.SourceAddresses = []string{"::ffff:52.60.234.183"} }, ""},
		{"everybody", func(c *vezgo.Config) { c.SourceAddresses = []string{"0.0.0.0/0"} }, `source_addresses[0]: "0.0.0.0/0" is too wide`},
		{"everybody in two halves", func(c *vezgo.Config) { c.SourceAddresses = []string{"0.0.0.0/1", "128.0.0.0/1"} }, `source_addresses[1]: "128.0.0.0/1" is too wide`},
		{"everybody with IPv6", func(c *vezgo.Config) { c.SourceAddresses = []string{"::/0"} }, `source_addresses[0]: "::/0" is too wide`},
		{"the widest", func(c *vezgo.Config) { c.SourceAddresses = []string{"10.1.0.0/16", "2001:db8:1::/48"} }, ""},
		{"wider", func(c *vezgo.Config) { c.SourceAddresses = []string{"10.0.0.0/15", "2001:db8::/47"} }, "source_addresses[1]"},
		{"this machine", func(c *vezgo.Config) { c.SourceAddresses = []string{"127.0.0.0/8", "::1"} }, ""},
		{"wider than this machine", func(c *vezgo.Config) { c.SourceAddresses = []string{"127.0.0.0/7"} }, "too wide"},
		{"no clients", func(c *vezgo.Config) { c.Clients = nil }, "clients: give your client ids: Vezgo sends for all its customers from the same addresses"},
		{"no clients with report", func(c *vezgo.Config) { c.Clients, c.Verification = nil, provider.ModeReport }, ""},
		{"any client", func(c *vezgo.Config) { c.Clients, c.AnyClient = nil, true }, ""},
		{"any client and some", func(c *vezgo.Config) { c.AnyClient = true }, "any_client: has no meaning beside clients"},
		{"short secret", func(c *vezgo.Config) { c.URLSecret = secret.New("1234567") }, "url_secret: the secret has less than 8 bytes"},
		{"IPv4-mapped network", func(c *vezgo.Config) { c.SourceAddresses = []string{"::ffff:52.60.234.0/120"} }, "source_addresses[0]: write"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := vezgo.DefaultConfig()
			config.Enabled, config.Clients = true, []string{clientID}
			test.change(&config)
			err := config.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}
