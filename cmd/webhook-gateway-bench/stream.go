package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// measureLatency measures from just before a POST until its event is in the
// hands of a subscriber, at 1,000 deliveries a second.
func measureLatency(ctx context.Context, s *settings) error {
	fsync, err := fsyncTime(s.dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "One fsync of 4 KiB in the same run: %v (median).\n\n", fsync)
	return measureDelivery(ctx, s, 1000, 1)
}

// measureFanOut measures the same with 100 subscribers at 2,000 deliveries a
// second.
func measureFanOut(ctx context.Context, s *settings) error {
	return measureDelivery(ctx, s, 2000, 100)
}

func measureDelivery(ctx context.Context, s *settings, rate, subscribers int) error {
	g, err := startGateway(ctx, s, "delivery-"+strconv.Itoa(subscribers))
	if err != nil {
		return err
	}
	defer g.stop()
	return measureBetween(ctx, s, g, g, rate, subscribers)
}

// measureBetween delivers to a gateway, and reads from one, which may be another.
func measureBetween(ctx context.Context, s *settings, to, from *process, rate, subscribers int) error {
	total := int(s.duration.Seconds()) * rate
	sent := make([]time.Time, total) // by number, written before the POST
	latencies := make([][]time.Duration, subscribers)
	var streams sync.WaitGroup
	failed := make(chan error, subscribers+1)
	for i := range subscribers {
		conn, err := from.dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		stream, err := subscribed(ctx, conn, &webhookgatewayv1.SubscribeRequest{})
		if err != nil {
			return err
		}
		streams.Go(func() {
			var err error
			latencies[i], err = receiveLatencies(stream, sent)
			if err != nil {
				failed <- err
			}
		})
	}
	if err := postAtRate(ctx, to.webhooks, rate, sent); err != nil {
		return err
	}
	streams.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}

	all := slices.Concat(latencies...)
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(10 * time.Microsecond) }
	fmt.Fprintln(s.out, "| deliveries/s | subscribers | events received | p50 | p99 | p99.9 | max |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|---|---|")
	fmt.Fprintf(s.out, "| %d | %d | %d | **%v** | **%v** | %v | %v |\n",
		rate, subscribers, len(all), at(0.5), at(0.99), at(0.999), at(1))
	return nil
}

// subscribed opens a stream and waits for its first frame.
func subscribed(ctx context.Context, conn *grpc.ClientConn, req *webhookgatewayv1.SubscribeRequest) (
	grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse], error,
) {
	stream, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(ctx, req)
	if err != nil {
		return nil, err
	}
	_, err = stream.Recv()
	return stream, err
}

func receiveLatencies(stream grpc.ServerStreamingClient[webhookgatewayv1.SubscribeResponse], sent []time.Time) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, len(sent))
	for len(latencies) < len(sent) {
		frame, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		now := time.Now()
		for _, event := range frame.GetEvents().GetEvents() {
			n, err := strconv.Atoi(event.GetVezgo().GetAccount().GetId())
			if err != nil {
				return nil, err
			}
			latencies = append(latencies, now.Sub(sent[n]))
		}
	}
	return latencies, nil
}

// postAtRate posts len(sent) numbered deliveries at an even rate, however long
// each takes, and notes when each was sent.
func postAtRate(ctx context.Context, addr string, rate int, sent []time.Time) error {
	const senders = 64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	work := make(chan int, len(sent))
	failed := make(chan error, senders)
	var group sync.WaitGroup
	for range senders {
		group.Go(func() {
			for n := range work {
				if err := postNumbered(ctx, client, addr, n, sent); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for n := 0; n < len(sent); {
		<-tick.C
		for due := int(time.Since(start).Seconds() * float64(rate)); n < min(due, len(sent)); n++ {
			work <- n
		}
	}
	close(work)
	group.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func postNumbered(ctx context.Context, client *http.Client, addr string, n int, sent []time.Time) error {
	body := fmt.Sprintf(`{"hook":"SyncAccount","user":{"id":"65a000000000000000000001","loginName":"user-42"},"account":{"id":"%d","provider":"coinbase"}}`, n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/webhooks/vezgo", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Id", "bench")
	sent[n] = time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("delivery answered %s", resp.Status)
	}
	return nil
}

// measureCatchUp measures how fast one subscriber reads a stored log from its
// beginning, with a client that decodes every event and with one that only
// counts them, so that the cost of the client shows.
func measureCatchUp(ctx context.Context, s *settings) error {
	if err := fillStore(ctx, s, "catchup", s.events); err != nil {
		return err
	}
	g, err := startGateway(ctx, s, "catchup")
	if err != nil {
		return err
	}
	defer g.stop()
	fmt.Fprintln(s.out, "| client | view | events | time | events/s |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|")
	for _, c := range []struct {
		name    string
		options []grpc.DialOption
		view    webhookgatewayv1.EventView
	}{
		{"counts frames' events", counting(), webhookgatewayv1.EventView_EVENT_VIEW_FULL},
		{"decodes every event", nil, webhookgatewayv1.EventView_EVENT_VIEW_FULL},
		{"decodes every event", nil, webhookgatewayv1.EventView_EVENT_VIEW_METADATA},
	} {
		if err := catchUpOnce(ctx, s, g, c.name, c.options, c.view); err != nil {
			return err
		}
	}
	return nil
}

func catchUpOnce(ctx context.Context, s *settings, g *process, name string, options []grpc.DialOption, view webhookgatewayv1.EventView) error {
	start := time.Now()
	events, err := readAll(ctx, g, options, view)
	if err != nil {
		return err
	}
	if events != s.events {
		return fmt.Errorf("received %d of %d events", events, s.events)
	}
	took := time.Since(start)
	fmt.Fprintf(s.out, "| %s | %v | %d | %v | **%.0f** |\n", name, view, events, took.Round(time.Millisecond), float64(events)/took.Seconds())
	return nil
}

// readAll reads the log from its beginning to its head. With options its events are
// counted, and not decoded.
func readAll(ctx context.Context, g *process, options []grpc.DialOption, view webhookgatewayv1.EventView) (events int, err error) {
	conn, err := g.dial(options...)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(ctx, &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
		Stop:  &webhookgatewayv1.SubscribeRequest_StopAtHead{StopAtHead: true},
		View:  view,
	})
	if err != nil {
		return 0, err
	}
	for {
		var count counted
		if options != nil {
			err = stream.RecvMsg(&count)
		} else {
			var frame *webhookgatewayv1.SubscribeResponse
			frame, err = stream.Recv()
			count.events = len(frame.GetEvents().GetEvents())
		}
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events += count.events
	}
}
