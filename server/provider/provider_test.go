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
	} {
		if err := provider.CheckClientID(id); (err == nil) != ok {
			t.Errorf("%q gives %v", id, err)
		}
	}
}
