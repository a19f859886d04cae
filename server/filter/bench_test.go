package filter_test

import (
	"testing"
	"time"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
)

func BenchmarkMatch(b *testing.B) {
	entry, err := eventlog.NewEntry(&webhookgatewayv1.Event{
		Provider: finicity, Type: done, ClientId: "client-of-the-operator", Subject: "7000000001",
		Verification: &webhookgatewayv1.Verification{Verdict: verified},
	})
	if err != nil {
		b.Fatal(err)
	}
	r, err := eventlog.ParseRecord(1, entry.Complete(time.Now(), eventlog.Totals{}, false, 7), true)
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]*event{
		"nothing": {},
		"three conditions": {
			Providers: providers{finicity}, EventTypes: types{done, unknown}, ClientIds: []string{"another-client", "client-of-the-operator"},
		},
	} {
		compiled := compile(b, f)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if compiled.Match(r) != filter.Match {
					b.Fatal("no match")
				}
			}
		})
	}
}
