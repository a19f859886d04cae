package server

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
)

// overview returns how the gateway is.
func (s *Server) overview() *webhookgatewayv1.GetOverviewResponse {
	inForce := s.inForce.Load()
	return &webhookgatewayv1.GetOverviewResponse{
		Version: s.version, StartTime: timestamppb.New(s.started), ServerTime: timestamppb.Now(),
		Reasons: s.notReady(), Problems: s.problems(), Damage: damageLines(s.log.Damage()), Warnings: s.warnings(),
		ConfigFingerprint: inForce.fingerprint, ConfigTime: timestamppb.New(inForce.since),
		Providers: s.providersOverview(), Members: s.membersOverview(),
	}
}

// providersOverview returns the providers that are configured, in the order of their numbers.
func (s *Server) providersOverview() []*webhookgatewayv1.ProviderOverview {
	time := func(t time.Time) *timestamppb.Timestamp {
		if t.IsZero() {
			return nil
		}
		return timestamppb.New(t)
	}
	byName := make(map[string]*webhookgatewayv1.ProviderOverview)
	var all []*webhookgatewayv1.ProviderOverview
	for _, m := range s.modes() {
		one := byName[m.Provider]
		if one == nil {
			one = &webhookgatewayv1.ProviderOverview{
				Provider:        webhookgatewayv1.Provider(webhookgatewayv1.Provider_value["PROVIDER_"+strings.ToUpper(m.Provider)]),
				LastTakenTime:   time(s.history.Rose("deliveries", m.Provider)),
				LastRefusedTime: time(s.history.Rose("refusals", m.Provider)),
			}
			byName[m.Provider], all = one, append(all, one)
		}
		if mode := m.Mode.Proto(); !slices.Contains(one.Modes, mode) {
			one.Modes = append(one.Modes, mode)
		}
	}
	slices.SortFunc(all, func(a, b *webhookgatewayv1.ProviderOverview) int { return int(a.GetProvider() - b.GetProvider()) })
	return all
}

// membersOverview returns the gateways that share the event log, by their addresses.
func (s *Server) membersOverview() []*webhookgatewayv1.MemberOverview {
	if s.peers.cluster == nil {
		return nil
	}
	var all []*webhookgatewayv1.MemberOverview
	for _, m := range s.peers.cluster.View().Members {
		all = append(all, &webhookgatewayv1.MemberOverview{Address: m.Address, Self: m.ID == s.peers.cluster.ID()})
	}
	slices.SortFunc(all, func(a, b *webhookgatewayv1.MemberOverview) int {
		return strings.Compare(a.GetAddress(), b.GetAddress())
	})
	return all
}
