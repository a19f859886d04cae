package doctor

import (
	"context"
	"errors"
	"slices"
	"syscall"

	"github.com/webhook-gateway/webhook-gateway/server"
)

// checkRunning looks whether a running gateway has this configuration in force.
func checkRunning(ctx context.Context, config server.Config, internal listener) []Finding {
	printed, err := internal.answer(ctx, server.ConfigPath, nil, "an operator")
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return one(Skip, "", "no gateway runs at listen.internal_http %s", internal.address)
	case err != nil:
		return one(Skip, "", "whether a running gateway has this configuration is not known: %s", plain(err))
	}
	differences, err := server.Differences(printed, config)
	if err != nil {
		return one(Skip, "", "whether what answers at %s has this configuration is not known: %v", internal.address, err)
	}
	return []Finding{judgeDifferences(differences)}
}

func judgeDifferences(differences []server.Difference) Finding {
	if len(differences) == 0 {
		return finding(OK, "", "the running gateway has this configuration")
	}
	do, first := "reload it; `webhook-gateway config diff` shows all, and its log whether a reload was refused", differences[0]
	if i := slices.IndexFunc(differences, func(d server.Difference) bool { return d.Restart }); i >= 0 {
		do, first = "restart it; `webhook-gateway config diff` shows all", differences[i]
	}
	if len(differences) == 1 {
		return finding(Warn, do, "the running gateway has another value of %s", first.Path)
	}
	return finding(Warn, do, "the running gateway has another configuration: %d differences, such as %s", len(differences), first.Path)
}
