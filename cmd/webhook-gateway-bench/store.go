package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog/pebblelog"
	"github.com/webhook-gateway/webhook-gateway/server/provider/vezgo"
)

// fillStore makes a store with a number of Vezgo events, without a gateway.
func fillStore(ctx context.Context, s *settings, store string, events int) error {
	config := pebblelog.DefaultConfig()
	config.Path = filepath.Join(s.dir, store)
	log, err := pebblelog.Open(config, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	vezgoProvider, err := vezgo.New(vezgo.DefaultConfig())
	if err != nil {
		return err
	}
	decoded, err := vezgoProvider.Decode([]byte(vezgoBody))
	if err != nil {
		return err
	}
	event := decoded.Event
	event.Provider = webhookgatewayv1.Provider_PROVIDER_VEZGO
	event.Verification = &webhookgatewayv1.Verification{
		Mode:          webhookgatewayv1.VerificationMode_VERIFICATION_MODE_ENFORCE,
		Method:        webhookgatewayv1.VerificationMethod_VERIFICATION_METHOD_SOURCE_ADDRESS,
		Verdict:       webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED,
		SourceAddress: "127.0.0.1",
	}

	var next atomic.Int64
	var group sync.WaitGroup
	const writers = 256
	failed := make(chan error, writers)
	for w := range writers {
		group.Go(func() {
			event := proto.CloneOf(event)
			event.ClientId = "client-" + strconv.Itoa(w%8)
			event.RawBody = []byte(vezgoBody)
			for next.Add(1) <= int64(events) {
				entry, err := eventlog.NewEntry(event)
				if err == nil {
					_, err = log.Append(ctx, entry)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	if err := log.Close(); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// countingCodec receives frames without decoding the events in them.
type countingCodec struct{}

// counting makes a client receive so.
func counting() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.ForceCodecV2(countingCodec{}))}
}

type counted struct{ events int }

func (countingCodec) Name() string { return "proto" }

func (countingCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	b, err := proto.Marshal(m)
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (countingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	c, ok := v.(*counted)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	frame := data.Materialize()
	number, kind, n := protowire.ConsumeTag(frame)
	if n < 0 || number != 2 || kind != protowire.BytesType {
		return nil // not a batch
	}
	batch, n := protowire.ConsumeBytes(frame[n:])
	if n < 0 {
		return protowire.ParseError(n)
	}
	for len(batch) > 0 {
		number, _, n := protowire.ConsumeField(batch)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if number == 1 { // events; behind them is a cursor
			c.events++
		}
		batch = batch[n:]
	}
	return nil
}
