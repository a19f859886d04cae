package providertest

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzDecode checks that any JSON object is decoded and everything else refused.
// What is JSON is said by another parser.
func FuzzDecode(f *testing.F, s Suite) {
	for _, sample := range s.Sender.Samples() {
		f.Add(sample.Body)
	}
	for _, body := range []string{`{}`, `[]`, `{"a":1}x`, "\ufeff{}", `{"a":"\ud800"}`, "{\"\xff\":0}", `{"eventType":"done","payload":[[1e999]]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if json.Valid(body) && bytes.TrimLeft(body, " \t\r\n")[0] == '{' {
			CheckDecode(t, s.Provider, body)
		} else {
			CheckNotAnObject(t, s.Provider, body)
		}
	})
}

// BenchmarkDelivery measures what the provider does for each sample.
func BenchmarkDelivery(b *testing.B, s Suite) {
	for _, sample := range s.Sender.Samples() {
		delivery := s.Delivery(b, sample.Body)
		b.Run(sample.TypeName+"/Authenticate", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Provider.Authenticate(delivery); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(sample.TypeName+"/Decode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Provider.Decode(sample.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
