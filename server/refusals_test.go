package server_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/servertest"
)

// refused sends a request to the listener for webhooks, which is to be refused.
func refused(t *testing.T, g *servertest.Gateway, method, path, body string, header ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.WebhookURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	if code, answer := do(t, req); code < http.StatusBadRequest {
		t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
}

func listRefusals(ctx context.Context, t *testing.T, g *servertest.Gateway, req *webhookgatewayv1.ListRefusalsRequest) *webhookgatewayv1.ListRefusalsResponse {
	t.Helper()
	page, err := webhookgatewayv1.NewOperatorServiceClient(g.Conn()).ListRefusals(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// An operator sees what was refused, and why, also after a restart. Nothing of it is what only
// the sender should know.
func TestRefusals(t *testing.T) {
	g, callers, config := controlled(t)
	operator := as(t, callers.operator)
	const secret = "a-secret-of-the-sender"
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	client := "/v1/webhooks/finicity/" + servertest.Client
	refused(t, g, http.MethodPost, client+"?key="+secret, `{"body":"`+secret+`"}`, "X-Finicity-Signature: "+secret, "Traceparent: "+trace, "Authorization: "+secret)
	refused(t, g, http.MethodPost, client, `{"body":"another"}`, "X-Finicity-Signature: "+secret)
	refused(t, g, http.MethodPost, "/v1/webhooks/finicity/made-up", `{}`)
	refused(t, g, http.MethodPost, "/v1/webhooks/nobody", `{}`)
	refused(t, g, http.MethodGet, client, "")
	refused(t, g, http.MethodPost, "/"+secret, "")

	all := listRefusals(operator, t, g, &webhookgatewayv1.ListRefusalsRequest{})
	want := []string{
		"PATH_UNKNOWN 404 PROVIDER_UNSPECIFIED  *1 0", "METHOD_NOT_ALLOWED 405 PROVIDER_FINICITY acme *1 0",
		"PROVIDER_UNKNOWN 404 PROVIDER_UNSPECIFIED  *1 2", "CLIENT_UNKNOWN 404 PROVIDER_FINICITY made-up *1 2",
		"SIGNATURE_MISMATCH 401 PROVIDER_FINICITY acme *2 18",
	}
	var got []string
	for _, one := range all.GetRefusals() {
		got = append(got, fmt.Sprintf("%s %d %v %s *%d %d", strings.TrimPrefix(one.GetReason().String(), "ERROR_REASON_"),
			one.GetHttpStatus(), one.GetProvider(), one.GetClientId(), one.GetCount(), one.GetBodyBytes()))
		if one.GetSourceAddress() != "127.0.0.1" || one.GetMessage() == "" || one.GetTraceContext() != nil ||
			time.Since(one.GetLastTime().AsTime()) > time.Minute || one.GetFirstTime().AsTime().After(one.GetLastTime().AsTime()) {
			t.Errorf("%v", one)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the refusals are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	refused(t, g, http.MethodPost, client, `{}`, "X-Finicity-Signature: "+secret, "Traceparent: "+trace)
	narrow := &webhookgatewayv1.ListRefusalsRequest{
		Providers: []webhookgatewayv1.Provider{webhookgatewayv1.Provider_PROVIDER_FINICITY}, ClientIds: []string{servertest.Client},
		Reasons: []webhookgatewayv1.ErrorReason{webhookgatewayv1.ErrorReason_ERROR_REASON_SIGNATURE_MISMATCH, webhookgatewayv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED}, PageSize: 1,
	}
	first := listRefusals(operator, t, g, narrow)
	if one := first.GetRefusals()[0]; one.GetCount() != 3 || one.GetTraceContext().GetTraceparent() != trace {
		t.Errorf("the newest is %v", one)
	}
	narrow.PageToken = first.GetNextPageToken()
	second := listRefusals(operator, t, g, narrow)
	if len(second.GetRefusals()) != 1 || second.GetRefusals()[0].GetHttpStatus() != http.StatusMethodNotAllowed || second.GetNextPageToken() != "" {
		t.Errorf("the second page is %v", second)
	}

	g.Restart(t)
	var after *webhookgatewayv1.ListRefusalsResponse
	eventually(t, "it serves again", func() bool {
		var err error
		after, err = webhookgatewayv1.NewOperatorServiceClient(g.Conn()).ListRefusals(operator, &webhookgatewayv1.ListRefusalsRequest{})
		return err == nil
	})
	if len(after.GetRefusals()) != len(want) || after.GetRefusals()[0].GetCount() != 3 {
		t.Errorf("after a restart there are %v", after)
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(config.Store.Pebble.Path, "gateway"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if strings.Contains(string(text), secret) {
			t.Errorf("%s has what only the sender should know", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Who is no operator, or asks for what cannot be, is told so.
func TestRefusalsRefused(t *testing.T) {
	g, callers, _ := controlled(t)
	client := webhookgatewayv1.NewOperatorServiceClient(g.Conn())
	for _, test := range []struct {
		token string
		req   *webhookgatewayv1.ListRefusalsRequest
		want  codes.Code
		names string
	}{
		{callers.reader, &webhookgatewayv1.ListRefusalsRequest{}, codes.PermissionDenied, "operator"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{PageSize: -1}, codes.InvalidArgument, "page_size"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{PageToken: "x"}, codes.InvalidArgument, "page token"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{Providers: []webhookgatewayv1.Provider{99}}, codes.InvalidArgument, "providers[0]"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{Reasons: []webhookgatewayv1.ErrorReason{0}}, codes.InvalidArgument, "reasons[0]"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{ClientIds: make([]string, 1001)}, codes.InvalidArgument, "client_ids: 1001 are given"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{Reasons: make([]webhookgatewayv1.ErrorReason, 1001)}, codes.InvalidArgument, "reasons: 1001 are given"},
		{callers.operator, &webhookgatewayv1.ListRefusalsRequest{Providers: []webhookgatewayv1.Provider{0}}, codes.OK, ""},
	} {
		_, err := client.ListRefusals(as(t, test.token), test.req)
		if status.Code(err) != test.want || !strings.Contains(fmt.Sprint(err), test.names) {
			t.Errorf("%v: %v, want %v", test.req, err, test.want)
		}
	}
}

// A folder that refusals cannot be stored in is no reason not to start, nor to forget them
// while the gateway runs: it says so.
func TestRefusalsThatCannotBeStored(t *testing.T) {
	g := servertest.Start(t, func(c *server.Config) {
		if err := os.MkdirAll(c.Store.Pebble.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Store.Pebble.Path, "gateway"), nil, 0o600); err != nil { // no folder
			t.Fatal(err)
		}
	})
	refused(t, g, http.MethodPost, "/v1/webhooks/nobody", `{}`)
	if all := listRefusals(t.Context(), t, g, &webhookgatewayv1.ListRefusalsRequest{}); len(all.GetRefusals()) != 1 {
		t.Errorf("there are %v", all)
	}
	eventually(t, "readyz warns", func() bool {
		code, body := get(t, g, "/readyz")
		return code == http.StatusOK && strings.Contains(body, "refused deliveries are kept in memory only")
	})
	g.Deliver(t, webhookgatewayv1.EventType_EVENT_TYPE_FINICITY_PING)
}
