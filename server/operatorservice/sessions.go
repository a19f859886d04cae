package operatorservice

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	sensitivityv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/sensitivity/v1"
	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
	"github.com/webhook-gateway/webhook-gateway/server/fielderr"
	"github.com/webhook-gateway/webhook-gateway/server/filter"
	"github.com/webhook-gateway/webhook-gateway/server/logapi"
	"github.com/webhook-gateway/webhook-gateway/server/redact"
	"github.com/webhook-gateway/webhook-gateway/server/sessions"
)

const (
	// sessionsChunk is how many sessions are looked at at a time.
	sessionsChunk = 1024
	// sessionsTime is how long is looked for those of a page.
	sessionsTime = 500 * time.Millisecond
)

// ListSessions implements OperatorService.
//
// A session is shown to those who may read every event that a session of its customer can
// have, and to nobody else: if parts of sessions were shown, the state would tell of events
// that are not granted.
func (s *Service) ListSessions(ctx context.Context, req *webhookgatewayv1.ListSessionsRequest) (*webhookgatewayv1.ListSessionsResponse, error) {
	resp, err := s.listSessions(ctx, req)
	if err != nil {
		return nil, s.api().Fail(ctx, "list sessions", err)
	}
	return resp, nil
}

func (s *Service) listSessions(ctx context.Context, req *webhookgatewayv1.ListSessionsRequest) (*webhookgatewayv1.ListSessionsResponse, error) {
	reach, err := access.From(ctx).ReachInAnyView() // each shows what is shown here
	if err != nil {
		return nil, err
	}
	inForce, err := sessionsInForce(reach, req)
	if err != nil {
		return nil, err
	}
	if err := checkCount("states", len(req.GetStates())); err != nil {
		return nil, err
	}
	for i, state := range req.GetStates() {
		if webhookgatewayv1.SessionState_name[int32(state)] == "" || state == webhookgatewayv1.SessionState_SESSION_STATE_UNSPECIFIED {
			return nil, fielderr.New(fmt.Sprintf("states[%d]", i), "%v is not a state of sessions", state)
		}
	}
	size, err := logapi.PageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	// What is not in the token: the filters in force, which the grants decide.
	same := &webhookgatewayv1.ListEventsRequest{Filters: inForce.Normal(), PageToken: fmt.Sprint(req.GetStates())}
	before := eventlog.Position(math.MaxUint64)
	if req.GetPageToken() != "" {
		if before, err = logapi.ParsePageToken(s.Log.History(), req.GetPageToken(), same); err != nil {
			return nil, err
		}
	}
	completeSince, err := s.Sessions.Sync(ctx)
	if err != nil {
		return nil, err
	}
	history := s.Log.History()
	page := sessionPage{req: req, shown: newSessionAccess(reach), size: size, before: before}
	for deadline := time.Now().Add(sessionsTime); !page.full && time.Now().Before(deadline); {
		chunk := s.Sessions.Before(page.before, sessionsChunk)
		if len(chunk) == 0 {
			page.before = 0
			break
		}
		page.add(history, chunk)
	}
	resp := &webhookgatewayv1.ListSessionsResponse{Sessions: page.list, CompleteSince: timestamppb.New(completeSince)}
	if page.before > 0 {
		resp.NextPageToken = logapi.FormatPageToken(history, page.before, same)
	}
	return resp, nil
}

// sessionsInForce returns which events the sessions are to have that a request asks for, as
// far as the caller may read them.
func sessionsInForce(reach *access.Reach, req *webhookgatewayv1.ListSessionsRequest) (*filter.Filter, error) {
	asked, err := filter.Compile([]*webhookgatewayv1.EventFilter{sessionFilter(req.GetClientIds(), req.GetSubjects())})
	if err != nil {
		var errs []error
		for _, e := range fielderr.All(err) {
			errs = append(errs, fielderr.New(strings.TrimPrefix(e.Path, "filters[0]."), "%s", e.Message))
		}
		return nil, errors.Join(errs...)
	}
	return reach.NarrowFields(asked)
}

// sessionFilter matches the events of the sessions of clients and subjects.
func sessionFilter(clients, subjects []string, verdicts ...webhookgatewayv1.VerificationVerdict) *webhookgatewayv1.EventFilter {
	return &webhookgatewayv1.EventFilter{
		Providers:  []webhookgatewayv1.Provider{webhookgatewayv1.Provider_PROVIDER_FINICITY},
		EventTypes: sessions.Types(), ClientIds: clients, Subjects: subjects, Verdicts: verdicts,
	}
}

// sessionPage is what is found for one call.
type sessionPage struct {
	req   *webhookgatewayv1.ListSessionsRequest
	shown *sessionAccess
	size  int
	list  []*webhookgatewayv1.ConnectSession
	bytes int
	// before is where the next page begins.
	before eventlog.Position
	full   bool
}

// add looks for sessions of the page among some.
func (p *sessionPage) add(history *eventlog.History, chunk []sessions.Session) {
	for _, session := range chunk {
		if one := p.show(history, session); one != nil {
			if p.bytes += proto.Size(one); len(p.list) > 0 && p.bytes > logapi.MaxPageBytes {
				p.full = true
				return
			}
			p.list = append(p.list, one)
		}
		p.before = session.First()
		if len(p.list) == p.size {
			p.full = true
			return
		}
	}
}

// show returns a session as the caller sees it, nil if it is not asked for or not granted.
func (p *sessionPage) show(history *eventlog.History, s sessions.Session) *webhookgatewayv1.ConnectSession {
	asked := func(list []string, one string) bool { return len(list) == 0 || slices.Contains(list, one) }
	if !asked(p.req.GetClientIds(), s.ClientID) || !asked(p.req.GetSubjects(), s.Subject) ||
		len(p.req.GetStates()) > 0 && !slices.Contains(p.req.GetStates(), s.State) {
		return nil
	}
	masked, allowed := p.shown.of(s)
	hidden := masked.Has(sensitivityv1.Sensitivity_SENSITIVITY_SUBJECT)
	if !allowed || hidden && len(p.req.GetSubjects()) > 0 {
		return nil
	}
	out := &webhookgatewayv1.ConnectSession{
		Id: history.FormatEventID(s.First()), ClientId: s.ClientID, Subject: s.Subject, State: s.State,
		StartTime:  timestamppb.New(time.Unix(0, s.Events[0].Received)),
		LastTime:   timestamppb.New(time.Unix(0, s.Newest.Received)),
		EventCount: s.Count, MissingEventTypes: s.Missing,
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, &webhookgatewayv1.SessionEvent{
			Id: history.FormatEventID(e.Position), Type: e.Type, ReceiveTime: timestamppb.New(time.Unix(0, e.Received)),
		})
	}
	if out.Masked = masked.List(); hidden {
		out.Subject = ""
	}
	return out
}

// sessionAccess decides which sessions a caller sees.
type sessionAccess struct {
	reach *access.Reach
	// byClient has what holds for all subjects of a client.
	byClient map[clientKey]verdict
	subjects bool
}

type clientKey struct {
	client   string
	verified bool
}

type verdict struct {
	masked  redact.Classes
	allowed bool
}

func newSessionAccess(reach *access.Reach) *sessionAccess {
	return &sessionAccess{reach: reach, byClient: make(map[clientKey]verdict), subjects: reach.DependsOnSubjects()}
}

// of returns whether a session is shown, and what is masked in it.
func (a *sessionAccess) of(s sessions.Session) (redact.Classes, bool) {
	key := clientKey{s.ClientID, s.Verified}
	v, known := a.byClient[key]
	if !known {
		v.masked, v.allowed = a.decide(s)
		a.byClient[key] = v
	}
	if a.subjects {
		return a.decide(s, s.Subject)
	}
	return v.masked, v.allowed
}

func (a *sessionAccess) decide(s sessions.Session, subjects ...string) (redact.Classes, bool) {
	verdict := webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_NOT_CHECKED
	if s.Verified {
		verdict = webhookgatewayv1.VerificationVerdict_VERIFICATION_VERDICT_VERIFIED
	}
	return a.reach.AllowsAll(sessionFilter([]string{s.ClientID}, subjects, verdict))
}
