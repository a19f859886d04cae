package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/access"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// The callers of a controlled gateway, by their tokens.
type callers struct{ reader, operator, expired, stranger string }

// controlled starts a gateway with access control.
func controlled(t *testing.T) (*servertest.Gateway, callers, server.Config) {
	t.Helper()
	whole := servertest.Config(t)
	config := &whole.Access
	config.Tokens = make(map[string]access.Token)
	config.Grants = map[string]access.GrantConfig{
		"read": {
			Filters: []access.FilterConfig{{}}, Views: []string{"full", "raw", "metadata"},
			Subscriptions: []access.SubscriptionConfig{{Manage: true}},
		},
		"operate": {Operator: true},
	}
	add := func(name, grant string, expires time.Time) string {
		token, sum := access.NewToken()
		config.Tokens[name] = access.Token{SHA256: sum, Grants: []string{grant}, Expires: access.Time{Time: expires}}
		return token
	}
	c := callers{
		reader: add("reader", "read", time.Time{}), operator: add("operator", "operate", time.Now().Add(time.Hour)),
		expired: add("expired", "read", time.Now().Add(-time.Second)),
	}
	c.stranger, _ = access.NewToken()
	whole.Debug.Pprof = true
	whole.Log.Level = 12 // refusals are expected
	return servertest.Start(t, func(c *server.Config) { *c = whole }), c, whole
}

// reload puts another configuration in force.
func reload(g *servertest.Gateway, config server.Config) error {
	return g.Server().Reload(func() (server.Config, error) { return config, nil })
}

// as returns the context of the calls with a token.
func as(t *testing.T, token string) context.Context {
	t.Helper()
	if token == "" {
		return t.Context()
	}
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
}

// TestEveryMethodIsDecided: who adds a method decides here, and in access, who may call
// it. Until then nobody may.
func TestEveryMethodIsDecided(t *testing.T) {
	const open, credentials, operators = "open", "credentials", "operators"
	decided := map[string]string{
		"/grpc.health.v1.Health/Check":                                   open,
		"/grpc.health.v1.Health/List":                                    open,
		"/grpc.health.v1.Health/Watch":                                   open,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      credentials,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": credentials,
	}
	for service, methods := range map[string]string{
		"EventService": "Subscribe ListEvents GetEvent GetLogInfo",
		"SubscriptionService": "CreateSubscription GetSubscription ListSubscriptions UpdateSubscription DeleteSubscription SeekSubscription " +
			"Consume Acknowledge Reject ExtendDeadline CommitCursor ListParkedEvents ReplayParkedEvents DiscardParkedEvents",
		"OperatorService": "GetCaller ListSessions ListEventStates",
	} {
		for method := range strings.FieldsSeq(methods) {
			decided["/webhookgateway.v1."+service+"/"+method] = credentials
		}
	}
	for method := range strings.FieldsSeq("GetOverview GetHistory ListStreams ListRefusals") {
		decided["/webhookgateway.v1.OperatorService/"+method] = operators
	}
	g, callers, _ := controlled(t)
	for service, info := range g.Server().Services() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			rule, ok := decided[method]
			delete(decided, method)
			if !ok {
				t.Errorf("it is not decided who may call %s", method)
				continue
			}
			for token, want := range map[string]webhookgatewayv1.ErrorReason{
				"":               webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_MISSING,
				callers.stranger: webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_INVALID,
				callers.expired:  webhookgatewayv1.ErrorReason_ERROR_REASON_CREDENTIALS_EXPIRED,
				callers.reader:   webhookgatewayv1.ErrorReason_ERROR_REASON_UNSPECIFIED,
			} {
				err := callEmpty(as(t, token), g.Conn(), method, m.IsClientStream || m.IsServerStream)
				code := status.Code(err)
				admitted := code != codes.Unauthenticated && code != codes.PermissionDenied
				switch {
				case rule == operators && token == callers.reader:
					if code != codes.PermissionDenied {
						t.Errorf("%s by who is no operator: %v", method, err)
					}
					if err := callEmpty(as(t, callers.operator), g.Conn(), method, false); err != nil {
						t.Errorf("%s by an operator: %v", method, err)
					}
				case rule == open || token == callers.reader:
					if !admitted {
						t.Errorf("%s is refused: %v", method, err)
					}
				case code != codes.Unauthenticated || rpcerr.Reason(err) != want:
					t.Errorf("%s: %v, want %v", method, err, want)
				}
			}
		}
	}
	if len(decided) > 0 {
		t.Errorf("there are no such methods: %v", slices.Collect(maps.Keys(decided)))
	}
}

// callEmpty calls any method with an empty request, up to its first answer.
func callEmpty(ctx context.Context, conn *grpc.ClientConn, method string, stream bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !stream {
		return conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(&emptypb.Empty{})
}

func TestEveryPathNeedsCredentials(t *testing.T) {
	g, callers, _ := controlled(t)
	g.Deliver(t, syncAccount)
	ask := func(method, path, token string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, g.InternalURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body), resp.Header
	}
	reasonIn := func(body string) string {
		var answer struct{ Error struct{ Reason string } }
		_ = json.Unmarshal([]byte(body), &answer) // it may be no JSON
		return answer.Error.Reason
	}
	const get, post = http.MethodGet, http.MethodPost
	for _, tc := range []struct {
		method, path     string
		reader, operator int
	}{
		{get, "/v1/events", 200, 403},
		{get, "/v1/log", 200, 200},
		{get, "/v1/subscriptions", 200, 403},
		{get, "/v1/events:subscribe?stopAtHead=true", 200, 403},
		{post, "/v1/subscriptions/none:seek", 400, 403},
		{get, "/openapi.json", 200, 200},
		{get, "/openapi-webhooks.json", 200, 200},
		{get, "/nothing/here", 404, 404},
		{get, "/metrics", 403, 200},
		{post, server.BackupPath, 403, 200},
		{get, server.ConfigPath, 403, 200},
		{get, "/debug/pprof/", 403, 200},
		{get, "/debug/pprof/cmdline", 403, 200},
		{get, "/debug/pprof/symbol", 403, 200},
		{get, "/debug/pprof/profile?seconds=1", 403, 0},
		{get, "/debug/pprof/trace?seconds=1", 403, 0},
	} {
		for token, want := range map[string]string{
			"": "CREDENTIALS_MISSING", callers.stranger: "CREDENTIALS_INVALID", callers.expired: "CREDENTIALS_EXPIRED",
		} {
			code, body, header := ask(tc.method, tc.path, token)
			if code != http.StatusUnauthorized || reasonIn(body) != want || !strings.HasPrefix(header.Get("WWW-Authenticate"), `Bearer realm="webhook-gateway"`) {
				t.Errorf("%s %s: %d %.200s %v, want 401 %s", tc.method, tc.path, code, body, header, want)
			}
		}
		for token, want := range map[string]int{callers.reader: tc.reader, callers.operator: tc.operator} {
			if want == 0 {
				continue // it would take a second
			}
			code, body, _ := ask(tc.method, tc.path, token)
			if code != want || want == http.StatusForbidden && reasonIn(body) != "NOT_GRANTED" {
				t.Errorf("%s %s with a token: %d %.200s, want %d", tc.method, tc.path, code, body, want)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body, _ := ask(get, path, ""); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	// Warnings have names of clients, and what is wrong with a configuration.
	for token, details := range map[string]bool{"": false, callers.stranger: false, callers.reader: false, callers.operator: true} {
		if code, body, _ := ask(get, "/readyz", token); code != http.StatusOK || strings.Contains(body, "fingerprint") != details {
			t.Errorf("/readyz tells %s, details %v", body, details)
		}
	}
	if _, metrics, _ := ask(get, "/metrics", callers.operator); !strings.Contains(metrics, `webhook_gateway_access_refused_total{reason="CREDENTIALS_MISSING"} 16`) {
		t.Error("the refusals are not counted")
	}
}

// dialAs returns a connection whose calls have a token.
func dialAs(t *testing.T, g *servertest.Gateway, token string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

// A frame is one of either service.
type frame interface {
	GetSubscribed() *webhookgatewayv1.Subscribed
	GetGoodbye() *webhookgatewayv1.Goodbye
}

// opened receives the first frame of a stream.
func opened[F frame](t *testing.T, stream interface{ Recv() (F, error) }, err error) func() (frame, error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetSubscribed() == nil {
		t.Fatalf("the stream begins with %v %v", first, err)
	}
	return func() (frame, error) { return stream.Recv() }
}

// endsWith checks that a stream says goodbye, and ends for a reason, within seconds after some time.
func endsWith(t *testing.T, after time.Duration, what string, recv func() (frame, error), want webhookgatewayv1.ErrorReason) {
	t.Helper()
	said := webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_UNSPECIFIED
	ended := make(chan error, 1)
	go func() {
		got, err := recv()
		for ; err == nil; got, err = recv() {
			if got.GetGoodbye() != nil {
				said = got.GetGoodbye().GetReason()
			}
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if said != webhookgatewayv1.GoodbyeReason_GOODBYE_REASON_ACCESS_ENDED || status.Code(err) != codes.Unauthenticated || rpcerr.Reason(err) != want {
			t.Errorf("%s ends with %v after the goodbye %v, want %v", what, err, said, want)
		}
	case <-time.After(after + 20*time.Second):
		t.Errorf("%s goes on, want %v", what, want)
	}
}

// TestRevokedStreamsEnd: when the configuration changes, the streams of those whose
// credentials or grants it changes say goodbye and end, over gRPC and over HTTP. All
// others go on.
func TestRevokedStreamsEnd(t *testing.T) {
	g, callers, whole := controlled(t)
	config := &whole.Access
	config.Tokens = maps.Clone(config.Tokens)
	stays, sum := access.NewToken()
	config.Tokens["stays"] = access.Token{SHA256: sum, Grants: []string{"read"}}
	if err := reload(g, whole); err != nil {
		t.Fatal(err)
	}
	open := func(token string) map[string]func() (frame, error) {
		conn := dialAs(t, g, token)
		workers := webhookgatewayv1.NewSubscriptionServiceClient(conn)
		if _, err := workers.CreateSubscription(t.Context(), &webhookgatewayv1.CreateSubscriptionRequest{Subscription: &webhookgatewayv1.Subscription{Name: "team"}}); err != nil {
			t.Fatal(err)
		}
		events, errEvents := webhookgatewayv1.NewEventServiceClient(conn).Subscribe(t.Context(), &webhookgatewayv1.SubscribeRequest{})
		deliveries, errDeliveries := workers.Consume(t.Context(), &webhookgatewayv1.ConsumeRequest{Subscription: "team"})
		return map[string]func() (frame, error){
			"Subscribe": opened(t, events, errEvents), "Consume": opened(t, deliveries, errDeliveries),
		}
	}
	revoked, kept := open(callers.reader), open(stays)
	lines := openREST(t, g, callers.reader)

	config.Tokens = maps.Clone(config.Tokens)
	delete(config.Tokens, "reader")
	if err := reload(g, whole); err != nil {
		t.Fatal(err)
	}
	for what, recv := range revoked {
		endsWith(t, 0, what, recv, webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED)
	}
	rest := readAll(t, lines)
	if !strings.Contains(rest, "GOODBYE_REASON_ACCESS_ENDED") || !strings.Contains(rest, `"reason":"ACCESS_CHANGED"`) {
		t.Errorf("the stream over HTTP ends with %s", rest)
	}
	if err := callEmpty(as(t, callers.reader), g.Conn(), webhookgatewayv1.EventService_GetLogInfo_FullMethodName, false); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a revoked token: %v", err)
	}
	g.Deliver(t, syncAccount)
	for what, recv := range kept {
		for {
			got, err := recv()
			if err != nil {
				t.Fatalf("%s of another caller: %v", what, err)
			}
			if r, ok := got.(*webhookgatewayv1.SubscribeResponse); ok && r.GetEvents() != nil {
				break
			}
			if r, ok := got.(*webhookgatewayv1.ConsumeResponse); ok && r.GetDeliveries() != nil {
				break
			}
		}
	}

	// A grant that changes ends the streams of who has it.
	config.Grants = maps.Clone(config.Grants)
	config.Grants["read"] = access.GrantConfig{Filters: []access.FilterConfig{{ClientIDs: []string{"other"}}}}
	if err := reload(g, whole); err != nil {
		t.Fatal(err)
	}
	for what, recv := range kept {
		endsWith(t, 0, what, recv, webhookgatewayv1.ErrorReason_ERROR_REASON_ACCESS_CHANGED)
	}
	// What is not valid changes nothing.
	config.Grants = nil
	if err := reload(g, whole); err == nil || !strings.Contains(err.Error(), `access.tokens.stays.grants[0]: "read" is no grant`) {
		t.Errorf("a configuration without its grants: %v", err)
	}
	if err := callEmpty(as(t, stays), g.Conn(), webhookgatewayv1.EventService_GetLogInfo_FullMethodName, false); err != nil {
		t.Errorf("after a configuration that is not valid: %v", err)
	}
}

func openREST(t *testing.T, g *servertest.Gateway, token string) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.InternalURL()+"/v1/events:subscribe", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", resp, err)
	}
	t.Cleanup(func() {
		_ = resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return resp.Body
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
