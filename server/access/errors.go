package access

import (
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

func errMissing() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING,
		"this call needs credentials: send a token as authorization: Bearer TOKEN, or use a client certificate")
}

func errInvalid() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
		"the gateway knows nobody with these credentials: check that they are whole, and that access in the configuration of the gateway has them")
}

func errExpired() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED,
		"the credentials have expired: get new ones")
}

func errChanged() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED,
		"the credentials of this stream, or what they allow, were changed: reconnect with valid ones and resume at the last cursor")
}

func errUnavailable() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_ISSUER_UNAVAILABLE,
		"the keys of the issuer of the token cannot be fetched at present: try again later")
}

func errNotOperator() error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED,
		"this is for operators: the caller needs a grant with operator: true")
}

func errUndecided(method string) error {
	return rpcerr.Error(webhookgatewayv1.ErrorReason_ERROR_REASON_NOT_GRANTED,
		"nobody may call "+method+": it is not decided who may")
}
