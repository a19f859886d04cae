package filter

import (
	"errors"
	"fmt"
	"slices"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/unknownfields"
)

// check refuses what can match nothing: nobody should wait for it. It refuses conditions that this
// version of the gateway does not know, too.
func check(f *webhookgatewayv1.EventFilter) error {
	if err := unknownfields.Check(f); err != nil {
		// It would match what the condition is to keep out.
		return fielderr.New("", "%v: leave the condition out, or upgrade the gateway", err)
	}
	return errors.Join(
		checkProviders(f.GetProviders()),
		checkTypes(f.GetEventTypes(), f.GetProviders()),
		checkVerdicts(f.GetVerdicts()),
		checkTexts("client_ids", "a client id", f.GetClientIds(), eventlog.MaxClientIDLen),
		checkExcluded(f),
		checkTexts("subjects", "a subject", f.GetSubjects(), eventlog.MaxSubjectLen),
		checkTexts("provider_event_ids", "the id of an event", f.GetProviderEventIds(), eventlog.MaxProviderEventIDLen),
	)
}

func checkProviders(providers []webhookgatewayv1.Provider) error {
	var errs []error
	for i, p := range providers {
		if _, known := webhookgatewayv1.Provider_name[int32(p)]; !known || p == webhookgatewayv1.Provider_PROVIDER_UNSPECIFIED {
			errs = append(errs, fielderr.New(fmt.Sprintf("providers[%d]", i), "%v is not a provider that this gateway knows", p))
		}
	}
	return errors.Join(errs...)
}

func checkTypes(types []webhookgatewayv1.EventType, providers []webhookgatewayv1.Provider) error {
	var errs []error
	for i, t := range types {
		if _, known := webhookgatewayv1.EventType_name[int32(t)]; !known || t == webhookgatewayv1.EventType_EVENT_TYPE_UNSPECIFIED {
			errs = append(errs, fielderr.New(fmt.Sprintf("event_types[%d]", i),
				"%v is not an event type that this gateway knows: EVENT_TYPE_UNRECOGNIZED selects the types that it does not", t))
			continue
		}
		owner, owned := providerOf(t)
		if len(providers) > 0 && owned && !slices.Contains(providers, owner) {
			errs = append(errs, fielderr.New(fmt.Sprintf("event_types[%d]", i),
				"%v is a type of %v, which is not among the providers of this filter: add it, or leave the type out", t, owner))
		}
	}
	return errors.Join(errs...)
}

// providerOf returns the provider of a type, false for
// EVENT_TYPE_UNRECOGNIZED, which every provider may send. The numbers of the enum
// are by provider: 101 and up for PROVIDER_FINICITY, 201 and up for PROVIDER_VEZGO.
func providerOf(t webhookgatewayv1.EventType) (webhookgatewayv1.Provider, bool) {
	p := webhookgatewayv1.Provider(t / 100)
	return p, p != webhookgatewayv1.Provider_PROVIDER_UNSPECIFIED
}

func checkVerdicts(verdicts []webhookgatewayv1.VerificationVerdict) error {
	var errs []error
	for i, v := range verdicts {
		if _, known := webhookgatewayv1.VerificationVerdict_name[int32(v)]; !known || v == webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_UNSPECIFIED {
			errs = append(errs, fielderr.New(fmt.Sprintf("verdicts[%d]", i), "%v is not a verdict that this gateway knows", v))
		}
	}
	return errors.Join(errs...)
}

// checkExcluded lets one more id through if the canary's is among them, which every filter
// has that is shown: what is shown may be asked for.
func checkExcluded(f *webhookgatewayv1.EventFilter) error {
	const field = "exclude_client_ids"
	excluded := f.GetExcludeClientIds()
	if len(excluded) > 0 && len(f.GetClientIds()) > 0 {
		return fielderr.New(field, "client_ids names the clients already: leave one of the two out")
	}
	others := len(excluded)
	if slices.Contains(excluded, provider.CanaryClientID) {
		others--
	}
	if others > maxTexts {
		return fielderr.New(field, "%d are given: give at most %d", others, maxTexts)
	}
	return checkEach(field, "a client id", excluded, eventlog.MaxClientIDLen)
}

func checkTexts(field, what string, texts []string, limit int) error {
	if len(texts) > maxTexts {
		return fielderr.New(field, "%d are given: give at most %d, or none for all", len(texts), maxTexts)
	}
	return checkEach(field, what, texts, limit)
}

func checkEach(field, what string, texts []string, limit int) error {
	var errs []error
	for i, text := range texts {
		if text == "" || len(text) > limit {
			errs = append(errs, fielderr.New(fmt.Sprintf("%s[%d]", field, i), "%s has 1 to %d bytes, this has %d", what, limit, len(text)))
		}
	}
	return errors.Join(errs...)
}
