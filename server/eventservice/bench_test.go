package eventservice_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/stream"
	"github.com/webhook-gateway/webhook-gateway/server/stream/streamtest"
)

// newTCPGateway is a gateway behind a TCP listener on the loopback interface.
func newTCPGateway(b *testing.B) *gateway {
	b.Helper()
	stored := newGateway(b, testConfig())
	return serveBy(streamtest.ServeTCP, b, stored.log, testConfig())
}

// countingCodec only counts the bytes of what it receives.
type countingCodec struct{ stream.Codec }

func (c countingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if n, ok := v.(*int); ok {
		*n = data.Len()
		return nil
	}
	return c.Codec.Unmarshal(data, v)
}

func (countingCodec) Name() string { return proto.Name }

// BenchmarkCatchUp streams a log from its beginning to its head. Half of the
// events are not in memory any more.
func BenchmarkCatchUp(b *testing.B) {
	const events = 1_000_000
	g := newTCPGateway(b)
	g.addMany(b, events, bytes.Repeat([]byte("x"), 400))
	for _, view := range []webhookgatewayv1.EventView{webhookgatewayv1.EventView_EVENT_VIEW_FULL, webhookgatewayv1.EventView_EVENT_VIEW_RAW} {
		req := &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead(), View: view}
		b.Run("decode/"+view.String(), func(b *testing.B) {
			for b.Loop() {
				stream, err := g.client.Subscribe(b.Context(), req)
				if err != nil {
					b.Fatal(err)
				}
				got := 0
				for {
					frame, err := stream.Recv()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					got += len(frame.GetEvents().GetEvents())
				}
				if got != events {
					b.Fatalf("%d events", got)
				}
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
		})
		b.Run("count/"+view.String(), func(b *testing.B) {
			size := 0
			for b.Loop() {
				size += countBytes(b.Context(), b, g, req)
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(size)/b.Elapsed().Seconds()/1e6, "MB/s")
		})
	}
	b.Run("filtered out", func(b *testing.B) {
		req := &webhookgatewayv1.SubscribeRequest{Start: fromEarliest(), Stop: toHead(), Filters: filters{{ClientIds: []string{"b"}}}}
		for b.Loop() {
			countBytes(b.Context(), b, g, req)
		}
		b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// countBytes reads a stream to its end without decoding it.
func countBytes(ctx context.Context, b *testing.B, g *gateway, req *webhookgatewayv1.SubscribeRequest) (size int) {
	b.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := g.conn.NewStream(ctx, &webhookgatewayv1.EventService_ServiceDesc.Streams[0],
		webhookgatewayv1.EventService_Subscribe_FullMethodName, grpc.ForceCodecV2(countingCodec{}))
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(req), stream.CloseSend()); err != nil {
		b.Fatal(err)
	}
	for {
		n := 0
		err := stream.RecvMsg(&n)
		if errors.Is(err, io.EOF) {
			return size
		}
		if err != nil {
			b.Fatal(err)
		}
		size += n
	}
}

// BenchmarkFanOut stores b.N events at 2,000 per second and reports how long
// each takes, from before it is stored until each of 100 subscribers has it.
func BenchmarkFanOut(b *testing.B) {
	const (
		subscribers = 100
		interval    = time.Second / 2000
	)
	g := newTCPGateway(b)
	sent := make([]time.Time, b.N)
	latencies := make([][]time.Duration, subscribers)
	var group sync.WaitGroup
	for i := range subscribers {
		s := g.subscribe(b, &webhookgatewayv1.SubscribeRequest{})
		s.expect("subscribed 0", "caught_up 0")
		group.Go(func() {
			for len(latencies[i]) < b.N {
				frame, err := s.stream.Recv()
				if err != nil {
					b.Error(err)
					return
				}
				now := time.Now()
				for _, e := range frame.GetEvents().GetEvents() {
					n, err := strconv.Atoi(e.GetClientId())
					if err != nil {
						b.Error(err)
						return
					}
					latencies[i] = append(latencies[i], now.Sub(sent[n]))
				}
			}
		})
	}
	b.ResetTimer()
	start := time.Now()
	for n := range b.N {
		<-time.After(time.Until(start.Add(time.Duration(n) * interval)))
		sent[n] = time.Now()
		group.Go(func() {
			entry, err := newEntry(vezgo, syncAccount, strconv.Itoa(n), []byte("{}"))
			if err == nil {
				_, err = g.log.Append(b.Context(), entry)
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	group.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(latencies...)))
	for _, q := range []float64{0.5, 0.99} {
		b.ReportMetric(float64(all[int(q*float64(len(all)-1))].Microseconds()), fmt.Sprintf("p%v-us", q*100))
	}
}
