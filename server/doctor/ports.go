package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"sync"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// checkPorts looks whether each port is free, or who has it.
func checkPorts(ctx context.Context, listen server.Listen, g gateway) []Finding {
	findings := make([]Finding, 3)
	var asking sync.WaitGroup // one that hangs takes its time
	asking.Go(func() { findings[0] = checkPort(ctx, "listen.webhooks", listen.Webhooks, g.webhooks.isWebhooks) })
	asking.Go(func() { findings[1] = checkPort(ctx, "listen.grpc", listen.GRPC, g.grpc.isGRPC) })
	asking.Go(func() {
		findings[2] = checkPort(ctx, "listen.internal_http", listen.InternalHTTP, g.internal.isInternal)
	})
	asking.Wait()
	return findings
}

// checkPort looks at one port. isGateway asks who has it, if somebody has.
func checkPort(ctx context.Context, key, address string, isGateway func(context.Context) error) Finding {
	var config net.ListenConfig
	free, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = free.Close() // nobody has used it
		return finding(OK, "", "%s %s is free", key, address)
	case errors.Is(err, fs.ErrPermission):
		return finding(Fail, "choose a port from 1024 on, or give the gateway CAP_NET_BIND_SERVICE", "%s %s may not be listened on by this user", key, address)
	case !errors.Is(err, syscall.EADDRINUSE):
		return finding(Fail, "give an address of this machine", "%s %s cannot be listened on: %v", key, address, err)
	}
	err = isGateway(ctx)
	var unknown unknownError
	switch {
	case err == nil:
		return finding(OK, "", "%s %s is served by a running gateway", key, address)
	case errors.As(err, &unknown):
		return finding(Skip, "", "%s %s is taken, and whether by the gateway is not known: %v", key, address, unknown)
	case errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.DeadlineExceeded:
		return finding(Fail, "see with `ss -ltnp` who that is; if it is the gateway, see its log, and start it again", "%s %s is taken, and nobody answers there within %v: a gateway that hangs, or another process", key, address, askTimeout)
	default:
		return finding(Fail, "stop that process, or choose another port; `ss -ltnp` names it", "%s %s is taken by another process, not by a gateway of this configuration: %s", key, address, plain(err))
	}
}
