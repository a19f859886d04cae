package provider_test

import (
	"errors"
	"strings"
	"testing"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

func TestModeText(t *testing.T) {
	for _, mode := range []provider.Mode{provider.ModeEnforce, provider.ModeReport, provider.ModeOff} {
		text, err := mode.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back := provider.Mode(-1)
		if err := back.UnmarshalText(text); err != nil || back != mode {
			t.Errorf("%s comes back as %v, %v", text, back, err)
		}
		if want := "VERIFICATION_MODE_" + strings.ToUpper(mode.String()); mode.Proto().String() != want {
			t.Errorf("%s is %v in events, want %s", text, mode.Proto(), want)
		}
	}
	var mode provider.Mode
	if mode != provider.ModeEnforce {
		t.Errorf("the default is %v", mode)
	}
	for _, text := range []string{"", "Off", "none"} {
		if err := mode.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "choose enforce, report or off") {
			t.Errorf("%q gives the error %v", text, err)
		}
	}
}

func TestVerificationEnforced(t *testing.T) {
	failure := &provider.Refusal{Reason: webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING, Message: "no signature"}
	_, err := provider.ModeEnforce.Verification(0, "", failure)
	if !errors.Is(err, failure) {
		t.Errorf("the error is %v, want the failure", err)
	}
}

// TestVerificationReported has every reason of a refusal reported: an event says
// which, or the delivery is refused.
func TestVerificationReported(t *testing.T) {
	reported := make(map[string]bool)
	for number, name := range webhookgatewayv1.ErrorReason_name {
		failure := &provider.Refusal{Reason: webhookgatewayv1.ErrorReason(number), Message: "what to do: see vezgo.source_addresses"}
		got, err := provider.ModeReport.Verification(0, "", failure)
		if err != nil {
			if !errors.Is(err, failure) {
				t.Errorf("%s: the error is %v, want the failure", name, err)
			}
			continue
		}
		short := strings.TrimPrefix(name, "ERROR_REASON_")
		reported[short] = true
		if got.GetFailure().String() != "VERIFICATION_FAILURE_"+short || got.GetVerdict() != webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED {
			t.Errorf("%s: the verification is %v", name, got)
		}
	}
	for number, name := range webhookgatewayv1.VerificationFailure_name {
		if short := strings.TrimPrefix(name, "VERIFICATION_FAILURE_"); number != 0 && !reported[short] {
			t.Errorf("%s is never reported", name)
		}
	}
}

func TestCheckClientID(t *testing.T) {
	for id, ok := range map[string]bool{
		"app-1":                  true,
		"Größe 1/2":              true,
		strings.Repeat("x", 255): true,
		strings.Repeat("x", 256): false,
		"":                       false,
		"a\x00b":                 false,
		"a\nb":                   false,
		"a\u202eb":               false,
		"\xff":                   false,
		provider.CanaryClientID:  false,
	} {
		if err := provider.CheckClientID(id); (err == nil) != ok {
			t.Errorf("%q gives %v", id, err)
		}
	}
}
