package providertest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
	"github.com/webhook-gateway/webhook-gateway/server/rpcerr"
)

func (s Suite) testCases(t *testing.T) {
	for _, name := range caseNames(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			got := s.outcome(t, readDelivery(t, dir))
			wantFile := filepath.Join(dir, "want.textproto")
			if *update {
				if err := os.WriteFile(wantFile, got.text(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(readOutcome(t, wantFile), got, protocmp.Transform(), cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("the outcome differs (-want +got):\n%s", diff)
			}
		})
	}
}

func caseNames(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != "fuzz" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// readDelivery reads the headers and the body of a case.
func readDelivery(t *testing.T, dir string) *provider.Delivery {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(dir, "body.json"))
	if err != nil {
		t.Fatal(err)
	}
	headers, err := os.ReadFile(filepath.Join(dir, "headers"))
	if err != nil {
		t.Fatal(err)
	}
	reader := textproto.NewReader(bufio.NewReader(strings.NewReader(string(headers) + "\n")))
	line, err := reader.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	var target, source string
	if _, err := fmt.Sscanf(line, "POST %s from %s", &target, &source); err != nil {
		t.Fatalf("the request line of %s: %v", dir, err)
	}
	header, err := reader.ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return newDelivery(t, target, http.Header(header), netip.MustParseAddr(source), body)
}

// outcome is what became of a delivery. Remarks are what the event does not say.
type outcome struct {
	remarks string
	event   *webhookgatewayv1.Event
}

func (s Suite) outcome(t *testing.T, d *provider.Delivery) outcome {
	t.Helper()
	identity, err := s.Provider.Authenticate(d)
	if err != nil {
		return refused(t, err)
	}
	decoded, err := s.Provider.Decode(d.Body)
	if err != nil {
		return refused(t, err)
	}
	event := decoded.Event
	event.Provider = s.Provider.ID()
	event.ClientId = identity.ClientID
	event.Verification = identity.Verification
	remarks := ""
	if decoded.Probe {
		remarks = "# probe\n"
	}
	return outcome{remarks: remarks, event: event}
}

func refused(t *testing.T, err error) outcome {
	t.Helper()
	var refusal *provider.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("the error %v is no *provider.Refusal", err)
	}
	return outcome{remarks: fmt.Sprintf("# refused: %s: %s\n", rpcerr.Name(refusal.Reason), refusal.Message), event: &webhookgatewayv1.Event{}}
}

// text renders an outcome. The library varies the space after a colon on
// purpose; a file that is checked in must not vary.
func (o outcome) text() []byte {
	text := prototext.MarshalOptions{Multiline: true, Indent: "  "}.Format(o.event)
	text = regexp.MustCompile(`(?m)^( *\w+:) +`).ReplaceAllString(text, "$1 ")
	return []byte(o.remarks + text)
}

func readOutcome(t *testing.T, file string) outcome {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{event: &webhookgatewayv1.Event{}}
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("#")) {
			break
		}
		o.remarks += string(line)
	}
	if err := prototext.Unmarshal(text, o.event); err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	return o
}
