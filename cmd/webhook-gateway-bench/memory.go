package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// measureMemory measures what idle streams, and readers that stop reading, add to
// the resident memory of the gateway.
func measureMemory(ctx context.Context, s *settings) error {
	if err := fillStore(ctx, s, "memory", min(s.events, 200_000)); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "| streams | connections | process before | added | per stream |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|")
	latest := &webhookgatewayv1.SubscribeRequest{}
	earliest := &webhookgatewayv1.SubscribeRequest{
		Start: &webhookgatewayv1.SubscribeRequest_StartPosition{StartPosition: webhookgatewayv1.StartPosition_START_POSITION_EARLIEST},
	}
	for _, c := range []struct {
		name    string
		streams int
		conns   int
		request *webhookgatewayv1.SubscribeRequest
	}{
		{"1,000 idle", 1000, 1000, latest},
		{"1,000 idle", 1000, 10, latest},
		{"100 that stopped reading a backlog", 100, 100, earliest},
	} {
		added, before, err := memoryOfStreams(ctx, s, c.streams, c.conns, c.request)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "| %s | %d | %.1f MB | **%.1f MB** | %.0f kB |\n",
			c.name, c.conns, float64(before)/1e6, float64(added)/1e6, float64(added)/1e3/float64(c.streams))
	}
	return nil
}

func memoryOfStreams(ctx context.Context, s *settings, streams, conns int, req *webhookgatewayv1.SubscribeRequest) (added, before int64, err error) {
	g, err := startGateway(ctx, s, "memory")
	if err != nil {
		return 0, 0, err
	}
	defer g.stop()
	if before, err = settledMemory(g); err != nil {
		return 0, 0, err
	}
	clients := make([]*grpc.ClientConn, conns)
	for i := range clients {
		if clients[i], err = g.dial(); err != nil {
			return 0, 0, err
		}
		defer clients[i].Close()
	}
	for i := range streams {
		// Only the first frame is read; then the stream is left alone.
		if _, err := subscribed(ctx, clients[i%conns], req); err != nil {
			return 0, 0, err
		}
	}
	after, err := settledMemory(g)
	return after - before, before, err
}

// settledMemory waits until the resident memory no longer grows.
func settledMemory(p *process) (int64, error) {
	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	highest, quiet := int64(0), 0
	for quiet < 4 {
		<-poll.C
		now, err := p.residentBytes()
		if err != nil {
			return 0, err
		}
		if quiet++; now > highest+highest/200 {
			quiet = 0
		}
		highest = max(highest, now)
	}
	return highest, nil
}

// measureStart measures how long a start on a large store takes.
func measureStart(ctx context.Context, s *settings) error {
	if err := fillStore(ctx, s, "start", s.large); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "| events in the store | store on disk | start until ready |")
	fmt.Fprintln(s.out, "|---|---|---|")
	for range 3 {
		g, err := startGateway(ctx, s, "start")
		if err != nil {
			return err
		}
		g.stop()
		var size int64
		err = filepath.WalkDir(filepath.Join(s.dir, "start"), func(_ string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(s.out, "| %d | %.0f MB | **%v** |\n", s.large, float64(size)/1e6, g.ready.Round(time.Millisecond))
	}
	return nil
}
