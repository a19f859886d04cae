package webhook

import (
	"strings"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// byVerdict makes one of something for each verdict. What is verified and what is
// not share no limit, no counter and no sample of log lines: neither must hide or
// delay the other.
func byVerdict[T any](newOne func(webhookgatewayv1.VerificationVerdict) T) map[webhookgatewayv1.VerificationVerdict]T {
	m := make(map[webhookgatewayv1.VerificationVerdict]T)
	for number := range webhookgatewayv1.VerificationVerdict_name {
		verdict := webhookgatewayv1.VerificationVerdict(number)
		m[verdict] = newOne(verdict)
	}
	return m
}

// verdictLabel returns how metrics name a verdict.
func verdictLabel(verdict webhookgatewayv1.VerificationVerdict) string {
	if verdict == webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_UNSPECIFIED {
		return "none"
	}
	return strings.ToLower(strings.TrimPrefix(verdict.String(), "VERIFICATION_VERDICT_"))
}
