package provider

import (
	"fmt"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// Mode is what is done with a delivery that is not authentic.
type Mode int

const (
	// ModeEnforce refuses it. The default.
	ModeEnforce Mode = iota
	// ModeReport accepts it, and marks the event as failed.
	ModeReport
	// ModeOff checks nothing. For development only.
	ModeOff
)

// ModeOf is a verification mode that is in force.
type ModeOf struct {
	// Provider is the name of the provider.
	Provider string
	// ClientID is the client that it is in force for; empty for every client of the
	// provider.
	ClientID string
	Mode     Mode
}

// Proto returns the mode as events carry it.
func (m Mode) Proto() webhookgatewayv1.VerificationMode {
	switch m {
	case ModeEnforce:
		return webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE
	case ModeReport:
		return webhookgatewayv1.VerificationMode_VERIFICATION_MODE_REPORT
	case ModeOff:
		return webhookgatewayv1.VerificationMode_VERIFICATION_MODE_OFF
	}
	return webhookgatewayv1.VerificationMode_VERIFICATION_MODE_UNSPECIFIED
}

func (m Mode) String() string {
	switch m {
	case ModeEnforce:
		return "enforce"
	case ModeReport:
		return "report"
	case ModeOff:
		return "off"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// MarshalText returns the mode as it is configured.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText accepts `enforce`, `report` and `off`.
func (m *Mode) UnmarshalText(text []byte) error {
	for _, mode := range []Mode{ModeEnforce, ModeReport, ModeOff} {
		if string(text) == mode.String() {
			*m = mode
			return nil
		}
	}
	return fmt.Errorf("%q is no verification mode: choose enforce, report or off", text)
}

// Verification returns what an event says of a delivery that was checked by
// method in this mode. A nil failure is an authentic delivery. It returns the
// failure as an error when the mode refuses it, and when it is none that an event
// can carry.
func (m Mode) Verification(method webhookgatewayv1.VerificationMethod, keyID string, failure *Refusal) (*webhookgatewayv1.Verification, error) {
	v := &webhookgatewayv1.Verification{Mode: m.Proto()}
	switch {
	case m == ModeOff:
		v.Verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
	case failure == nil:
		v.Method = method
		v.Verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
		v.KeyId = keyID
	default:
		reason := failureOf(failure.Reason)
		if m != ModeReport || reason == webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_UNSPECIFIED {
			return nil, failure
		}
		v.Method = method
		v.Verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_FAILED
		v.KeyId = keyID
		v.Failure = reason
	}
	return v, nil
}

// failureOf returns the failure that an event carries for a refusal, and
// VERIFICATION_FAILURE_UNSPECIFIED for one that has nothing to do with whether the
// delivery is the provider's.
func failureOf(reason webhookgatewayv1.ErrorReason) webhookgatewayv1.VerificationFailure {
	switch reason {
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISSING:
		return webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_SIGNATURE_MISSING
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH:
		return webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_SIGNATURE_MISMATCH
	case webhookgatewayv1.ErrorReason_ERROR_REASON_SOURCE_NOT_ALLOWED:
		return webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_SOURCE_NOT_ALLOWED
	default:
		return webhookgatewayv1.VerificationFailure_VERIFICATION_FAILURE_UNSPECIFIED
	}
}
