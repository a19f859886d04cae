package finicity_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	signatureHeader = "X-Finicity-Signature"
	body            = `{"eventType":"ping","payload":{}}`
)

func sign(key, text string) string { return finicity.Sign(secret.New(key), []byte(text)) }

// TestSign pins the signature to a value that openssl computes.
func TestSign(t *testing.T) {
	const want = "7ec149337718838e9c6de81ac374bf36525ad8179d9fe0528d37d952996ab2b5"
	if got := sign(currentSecret, body); got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
}

func TestAuthenticate(t *testing.T) {
	current := sign(currentSecret, body)
	strict, reports := sign("strict-partner-secret", body), sign("reports-partner-secret", body)
	for _, test := range []struct {
		name   string
		client string
		header http.Header
		// reason of the refusal, or of what is reported.
		reason string
		keyID  string
		report bool
	}{
		{name: "current secret", client: "acme", header: http.Header{signatureHeader: {current}}, keyID: "current"},
		{name: "previous secret", client: "acme", header: http.Header{signatureHeader: {sign(previousSecret, body)}}, keyID: "previous"},
		{name: "upper case", client: "acme", header: http.Header{signatureHeader: {strings.ToUpper(current)}}, keyID: "current"},
		{name: "no header", client: "acme", reason: "SIGNATURE_MISSING"},
		{name: "empty header", client: "acme", header: http.Header{signatureHeader: {""}}, reason: "SIGNATURE_MISSING"},
		{name: "header of Australia", client: "acme", header: http.Header{"X-Signature": {current}}, reason: "SIGNATURE_MISSING"},
		{name: "two headers, both right", client: "acme", header: http.Header{signatureHeader: {current, current}}, reason: "SIGNATURE_MISMATCH"},
		{name: "with a prefix", client: "acme", header: http.Header{signatureHeader: {"sha256=" + current}}, reason: "SIGNATURE_MISMATCH"},
		{name: "cut off", client: "acme", header: http.Header{signatureHeader: {current[:62]}}, reason: "SIGNATURE_MISMATCH"},
		{name: "one digit more", client: "acme", header: http.Header{signatureHeader: {current + "0"}}, reason: "SIGNATURE_MISMATCH"},
		{name: "not hexadecimal", client: "acme", header: http.Header{signatureHeader: {strings.Repeat("z", 64)}}, reason: "SIGNATURE_MISMATCH"},
		{name: "of another body", client: "acme", header: http.Header{signatureHeader: {sign(currentSecret, body+" ")}}, reason: "SIGNATURE_MISMATCH"},
		{name: "of another client", client: "acme", header: http.Header{signatureHeader: {strict}}, reason: "SIGNATURE_MISMATCH"},
		{name: "of an empty secret", client: "acme", header: http.Header{signatureHeader: {sign("", body)}}, reason: "SIGNATURE_MISMATCH"},
		{name: "no client", header: http.Header{signatureHeader: {current}}, reason: "CLIENT_UNKNOWN"},
		{name: "unknown client", client: "Acme", header: http.Header{signatureHeader: {current}}, reason: "CLIENT_UNKNOWN"},
		{name: "required header", client: "strict", header: http.Header{signatureHeader: {strict}, headerName: {headerSecret}}, keyID: "only"},
		{name: "required header missing", client: "strict", header: http.Header{signatureHeader: {strict}}, reason: "SHARED_SECRET_MISMATCH"},
		{name: "required header wrong", client: "strict", header: http.Header{signatureHeader: {strict}, headerName: {"guess"}}, reason: "SHARED_SECRET_MISMATCH"},
		{name: "required header twice", client: "strict", header: http.Header{signatureHeader: {strict}, headerName: {headerSecret, headerSecret}}, reason: "SHARED_SECRET_MISMATCH"},
		{name: "required header alone", client: "strict", header: http.Header{headerName: {headerSecret}}, reason: "SIGNATURE_MISSING"},
		{name: "reported, right", client: "reports", header: http.Header{signatureHeader: {reports}, headerName: {headerSecret}}, keyID: "only", report: true},
		{name: "reported, unsigned", client: "reports", header: http.Header{headerName: {headerSecret}}, reason: "SIGNATURE_MISSING", report: true},
		{name: "reported, wrong", client: "reports", header: http.Header{signatureHeader: {current}, headerName: {headerSecret}}, reason: "SIGNATURE_MISMATCH", report: true},
		{name: "reported, without required header", client: "reports", header: http.Header{signatureHeader: {reports}}, reason: "SHARED_SECRET_MISMATCH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			identity, err := newProvider(t).Authenticate(&provider.Delivery{ClientID: test.client, Header: test.header, Body: []byte(body)})
			if test.reason != "" && !test.report {
				if got := reasonOf(t, err); got != test.reason {
					t.Errorf("the reason is %s, want %s", got, test.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := &webhookgatewayv1.Verification{
				Mode:    webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE,
				Method:  webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_HMAC_SHA256,
				Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
				KeyId:   test.keyID,
			}
			if test.report {
				want.Mode = webhookgatewayv1.VerificationMode_VERIFICATION_MODE_REPORT
			}
			if test.reason != "" {
				want.Verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
				want.Failure = webhookgatewayv1.VerificationFailure(webhookgatewayv1.VerificationFailure_value["VERIFICATION_FAILURE_"+test.reason])
				if got := reasonOf(t, identity.Failure); got != test.reason {
					t.Errorf("the failure is %s, want %s", got, test.reason)
				}
			} else if identity.Failure != nil {
				t.Errorf("the failure is %v, want none", identity.Failure)
			}
			if diff := cmp.Diff(want, identity.Verification, protocmp.Transform()); diff != "" {
				t.Errorf("the verification (-want +got):\n%s", diff)
			}
			if identity.ClientID != test.client {
				t.Errorf("the client is %q", identity.ClientID)
			}
		})
	}
}

func TestAuthenticateOff(t *testing.T) {
	identity, err := newProvider(t).Authenticate(&provider.Delivery{
		ClientID: "open", Body: []byte(body), Header: http.Header{signatureHeader: {"wrong"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &webhookgatewayv1.Verification{
		Mode:    webhookgatewayv1.VerificationMode_VERIFICATION_MODE_OFF,
		Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED,
	}
	if diff := cmp.Diff(want, identity.Verification, protocmp.Transform()); diff != "" {
		t.Errorf("the verification (-want +got):\n%s", diff)
	}
}

func reasonOf(t testing.TB, err error) string {
	t.Helper()
	var refusal *provider.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("the error is %v, want a refusal", err)
	}
	for _, value := range []string{currentSecret, previousSecret, headerSecret, "guess", body} {
		if strings.Contains(refusal.Message, value) {
			t.Errorf("the message %q holds a secret or the body", refusal.Message)
		}
	}
	return rpcerr.Name(refusal.Reason)
}

// FuzzAuthenticate checks that nothing is verified but with the signature of one
// of the client's secrets, and that no changed byte goes unnoticed.
func FuzzAuthenticate(f *testing.F) {
	p := newProvider(f)
	f.Add([]byte(body), sign(currentSecret, body), uint(3))
	f.Add([]byte(body), sign("another-secret", body), uint(64))
	f.Add([]byte(``), "", uint(0))
	f.Fuzz(func(t *testing.T, body []byte, signature string, position uint) {
		verified := func(body []byte, signature string) bool {
			header := http.Header{signatureHeader: {signature}}
			_, err := p.Authenticate(&provider.Delivery{ClientID: "acme", Header: header, Body: body})
			return err == nil
		}
		current := finicity.Sign(secret.New(currentSecret), body)
		previous := finicity.Sign(secret.New(previousSecret), body)
		right := strings.EqualFold(signature, current) || strings.EqualFold(signature, previous)
		if verified(body, signature) != right {
			t.Errorf("verified is %t with the signature %q", !right, signature)
		}
		if !verified(body, current) || !verified(body, previous) {
			t.Error("a right signature is refused")
		}
		flipped := []byte(current)
		flipped[position%64] ^= 1
		if verified(body, string(flipped)) {
			t.Errorf("verified with digit %d of the signature changed", position%64)
		}
		if len(body) > 0 {
			changed := append([]byte(nil), body...)
			changed[position%uint(len(body))] ^= 1
			if verified(changed, current) {
				t.Errorf("verified with byte %d of the body changed", position%uint(len(body)))
			}
		}
		if verified(append([]byte(" "), body...), current) || verified(append(append([]byte(nil), body...), '\n'), current) {
			t.Error("verified with a byte more")
		}
	})
}

func TestConfigValidate(t *testing.T) {
	off, broken := provider.ModeOff, map[string]secret.Secret{"current": {}}
	secrets := map[string]secret.Secret{"current": secret.New("long enough")}
	client := func(c finicity.ClientConfig) finicity.Config {
		return finicity.Config{Enabled: true, Clients: map[string]finicity.ClientConfig{"acme": c}}
	}
	for _, test := range []struct {
		name   string
		config finicity.Config
		want   string
	}{
		{"default", finicity.DefaultConfig(), ""},
		{"complete", testConfig(), ""},
		{"not enabled", finicity.Config{Clients: map[string]finicity.ClientConfig{"": {}}}, ""},
		{"no clients", finicity.Config{Enabled: true}, "clients: name at least one"},
		{"empty client id", finicity.Config{Enabled: true, Clients: map[string]finicity.ClientConfig{"": {}}}, `clients."": the client id is empty`},
		{"no secrets", client(finicity.ClientConfig{}), "clients.acme.secrets: give the Partner Secret"},
		{"no secrets with off", client(finicity.ClientConfig{Verification: &off}), ""},
		{"empty secret", client(finicity.ClientConfig{Secrets: broken}), "clients.acme.secrets.current: the secret is empty"},
		{"short secret", client(finicity.ClientConfig{Secrets: map[string]secret.Secret{"a": secret.New("1234567")}}), "clients.acme.secrets.a: the secret has less than 8 bytes"},
		{"short secret of a header", client(finicity.ClientConfig{Secrets: secrets, RequiredHeader: &finicity.RequiredHeader{Name: "X-Key", Secret: secret.New("1234567")}}), "clients.acme.required_header.secret: the secret has less than 8 bytes"},
		{"secret without a name", client(finicity.ClientConfig{Secrets: map[string]secret.Secret{"": secret.New("long enough")}}), "clients.acme.secrets: a secret has no name"},
		{"header without a name", client(finicity.ClientConfig{Secrets: secrets, RequiredHeader: &finicity.RequiredHeader{}}), "clients.acme.required_header.name"},
		{"header without a secret", client(finicity.ClientConfig{Secrets: secrets, RequiredHeader: &finicity.RequiredHeader{Name: "X-Key"}}), "clients.acme.required_header.secret"},
		{"header with a space", client(finicity.ClientConfig{Secrets: secrets, RequiredHeader: &finicity.RequiredHeader{Name: "X Key", Secret: secret.New("long enough")}}), `clients.acme.required_header.name: "X Key" is no name`},
		{"slash in a client id", finicity.Config{Enabled: true, Clients: map[string]finicity.ClientConfig{"a/b": {Secrets: secrets}}}, `clients."a/b": no webhook URL can name`},
		{"dot for a client id", finicity.Config{Enabled: true, Clients: map[string]finicity.ClientConfig{"..": {Secrets: secrets}}}, `clients."..": no webhook URL can name`},
		{"header of the signature", client(finicity.ClientConfig{Secrets: secrets, RequiredHeader: &finicity.RequiredHeader{Name: "x-finicity-signature", Secret: secret.New("long enough")}}), "clients.acme.required_header.name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := finicity.New(test.config)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}
