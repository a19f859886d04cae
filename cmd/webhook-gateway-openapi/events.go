package main

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/provider/all"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
)

// addEvents gives the answer with one event an example of each type of event.
func (o operation) addEvents() error {
	content, err := object(o.document, "responses", "200", "content", contentJSON)
	if err != nil {
		return err
	}
	off := provider.ModeOff
	providers, err := all.New(all.Config{
		Finicity: finicity.Config{Enabled: true, Clients: map[string]finicity.ClientConfig{"dev": {Verification: &off}}},
		Vezgo:    vezgo.Config{Enabled: true, Verification: off, Clients: []string{"dev"}},
	})
	if err != nil {
		return fmt.Errorf("make the providers: %w", err)
	}
	examples := document{}
	for i, sender := range all.Senders() {
		for _, sample := range sender.Samples() {
			decoded, err := providers[i].Decode(sample.Body)
			if err != nil {
				return fmt.Errorf("decode the sample of %s: %w", sample.TypeName, err)
			}
			event := decoded.Event
			event.Id, event.Cursor = "…", "…"
			event.Provider, event.ClientId = sender.ID(), "dev"
			event.ReceiveTime = timestamppb.New(time.Date(2026, 11, 24, 16, 0, 0, 250_000_000, time.UTC))
			event.Verification = &webhookgatewayv1.Verification{
				Mode:    webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE,
				Verdict: webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
			}
			text, err := protojson.Marshal(&webhookgatewayv1.GetEventResponse{Event: event})
			if err != nil {
				return fmt.Errorf("write the event of %s: %w", sample.TypeName, err)
			}
			var value any
			if err := json.Unmarshal(text, &value); err != nil {
				return fmt.Errorf("read the event of %s: %w", sample.TypeName, err)
			}
			examples[sender.Name()+"."+sample.TypeName] = document{"value": value}
		}
	}
	content["examples"] = examples
	return nil
}
