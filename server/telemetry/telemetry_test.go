package telemetry_test

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry"
	"github.com/webhook-gateway/webhook-gateway/server/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	theirTrace = "0af7651916cd43dd8448eb211c80319c"
	theirSpan  = "b7ad6b7169203331"
)

func newTracer(t *testing.T, endpoint string, ratio float64) (*telemetry.Tracer, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	config := telemetry.DefaultConfig()
	config.Endpoint, config.Insecure, config.SampleRatio = endpoint, true, ratio
	registry, logged := prometheus.NewPedanticRegistry(), &bytes.Buffer{}
	tracer, err := telemetry.New(t.Context(), config, slog.New(slog.NewTextHandler(logged, nil)), registry)
	if err != nil {
		t.Fatal(err)
	}
	return tracer, registry, logged
}

func counted(t *testing.T, registry *prometheus.Registry, result string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range families[0].GetMetric() {
		if metric.GetLabel()[0].GetValue() == result {
			return metric.GetCounter().GetValue()
		}
	}
	t.Fatalf("no spans are counted as %s", result)
	return 0
}

// A trace goes on where the sender's ends, if the sender records it, and what is stored
// leads to the gateway's own span.
func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	collector := telemetrytest.Start(t)
	tracer, registry, _ := newTracer(t, collector.Addr(), 1)

	recorded := tracer.Begin("recorded", &webhookgatewayv1.TraceContext{Traceparent: "00-" + theirTrace + "-" + theirSpan + "-01", Tracestate: "a=1"})
	step := recorded.Child("step")
	step.Fail("a reason")
	step.End()
	recorded.Set("text", "not UTF-8: \xff")
	recorded.SetInt("number", 7)
	stored := recorded.Context()
	recorded.End()
	other := tracer.Begin("not recorded", &webhookgatewayv1.TraceContext{Traceparent: "00-" + theirTrace + "-" + theirSpan + "-00"})
	other.End()
	alone := tracer.Begin("alone", nil)
	alone.End()
	// They are sent within five seconds. Close would send them at once, and wait no longer than two for that.
	for deadline := time.Now().Add(time.Minute); len(collector.Spans()) < 4 && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}

	byName := make(map[string]*tracepb.Span)
	for _, span := range collector.Spans() {
		byName[span.GetName()] = span
	}
	root := byName["recorded"]
	if len(byName) != 4 || root == nil {
		t.Fatalf("the collector has %v", collector.Spans())
	}
	if hex.EncodeToString(root.GetTraceId()) != theirTrace || hex.EncodeToString(root.GetParentSpanId()) != theirSpan || root.GetTraceState() != "a=1" ||
		root.GetKind() != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("%v does not hang on the sender's", root)
	}
	if attributes := root.GetAttributes(); len(attributes) != 2 || attributes[0].GetValue().GetStringValue() != "not UTF-8: \uFFFD" || attributes[1].GetValue().GetIntValue() != 7 {
		t.Errorf("attributes %v", attributes)
	}
	if want := "00-" + theirTrace + "-" + hex.EncodeToString(root.GetSpanId()) + "-01"; stored.GetTraceparent() != want || stored.GetTracestate() != "a=1" {
		t.Errorf("what is stored is %v, want %s", stored, want)
	}
	if child := byName["step"]; !bytes.Equal(child.GetParentSpanId(), root.GetSpanId()) || child.GetStatus().GetMessage() != "a reason" {
		t.Errorf("%v does not hang on %v", child, root)
	}
	if span := byName["not recorded"]; hex.EncodeToString(span.GetTraceId()) == theirTrace || len(span.GetParentSpanId()) > 0 ||
		len(span.GetLinks()) != 1 || hex.EncodeToString(span.GetLinks()[0].GetSpanId()) != theirSpan {
		t.Errorf("%v: want a trace of its own, with a link", span)
	}
	if span := byName["alone"]; len(span.GetParentSpanId()) > 0 || len(span.GetLinks()) > 0 {
		t.Errorf("%v hangs on something", span)
	}
	if collector.ServiceName() != "webhook-gateway" {
		t.Errorf("the service is %q", collector.ServiceName())
	}
	if counted(t, registry, "sent") != 4 || counted(t, registry, "lost") != 0 {
		t.Error("four spans were sent")
	}
}

// A sender that says that its trace is recorded has no more recorded here.
func TestTheRatioHoldsForSendersToo(t *testing.T) {
	t.Parallel()
	collector := telemetrytest.Start(t)
	tracer, _, _ := newTracer(t, collector.Addr(), 1e-9)
	span := tracer.Begin("recorded", &webhookgatewayv1.TraceContext{Traceparent: "00-" + theirTrace + "-" + theirSpan + "-01"})
	if span != nil || span.Child("step") != nil || span.Context() != nil {
		t.Errorf("%v is traced", span)
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
}

// Nobody waits for a collector that does not answer.
func TestACollectorThatHangs(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	tracer, _, _ := newTracer(t, listener.Addr().String(), 1)
	tracer.Begin("lost", nil).End()
	begun := time.Now()
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// What a collector does not take is lost, told and counted.
func TestACollectorThatRefuses(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.PermissionDenied, strings.Repeat("no", 1<<15)) // it says a lot
	}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tracer, registry, logged := newTracer(t, listener.Addr().String(), 1)
	for range 3 {
		tracer.Begin("lost", nil).End()
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if counted(t, registry, "lost") != 3 || counted(t, registry, "sent") != 0 || strings.Count(logged.String(), "traces are lost") != 1 {
		t.Errorf("lost %v, logged %s", counted(t, registry, "lost"), logged)
	}
	if logged.Len() > 1000 {
		t.Errorf("%d bytes are logged of what the collector says", logged.Len())
	}
}

// Without traces nothing is made: what is off costs nothing.
func TestOffAllocatesNothing(t *testing.T) {
	tracer, err := telemetry.New(t.Context(), telemetry.DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewPedanticRegistry())
	if err != nil || tracer != nil {
		t.Fatalf("New() = %v, %v", tracer, err)
	}
	allocations := testing.AllocsPerRun(100, func() {
		span := tracer.Begin("webhook", nil)
		step := span.Child("step")
		step.Fail("a reason")
		step.End()
		span.Set("key", "value")
		span.SetInt("key", 1)
		if span.Context() != nil || span.TraceID() != "" {
			t.Error("there is a trace")
		}
		span.End()
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

// Spans that find no room because the collector does not answer are lost at once, and
// counted.
func TestSpansWithoutRoom(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	tracer, registry, _ := newTracer(t, listener.Addr().String(), 1)
	for range 3000 {
		tracer.Begin("lost", nil).End()
	}
	if lost := counted(t, registry, "lost"); lost != 3000-2048 {
		t.Errorf("%v spans are lost, want all but 2048", lost)
	}
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
}
