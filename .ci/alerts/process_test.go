package alerts

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const secret = "the secret of a test"

// token is that of an operator.
var token = "whg_" + strings.Repeat("0123456789abcdef", 4)

// A gateway is the real binary, with a folder of its own.
type gateway struct {
	t       *testing.T
	folder  string
	token   string
	process *exec.Cmd
	// webhooks and internal are the addresses of its listeners.
	webhooks, internal string
}

// start starts a gateway with a configuration beside what all have, and with environment
// variables.
func start(t *testing.T, config string, environment ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, folder: t.TempDir()}
	g.configure(config)
	g.run(environment...)
	return g
}

// configure writes the configuration.
func (g *gateway) configure(config string) {
	g.t.Helper()
	if strings.Contains(config, "tokens:") {
		g.token = token
	}
	text := fmt.Sprintf(`
listen: {webhooks: "127.0.0.1:0", grpc: "127.0.0.1:0", internal_http: "127.0.0.1:0"}
shutdown: {delay: 0s}
log: {format: json}
%s`, strings.ReplaceAll(config, "FOLDER", g.folder))
	if err := os.WriteFile(filepath.Join(g.folder, "gateway.yaml"), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// run starts the process, and returns when it serves.
func (g *gateway) run(environment ...string) {
	g.t.Helper()
	g.process = exec.CommandContext(context.WithoutCancel(g.t.Context()), os.Getenv("GATEWAY"), "serve", "--config", filepath.Join(g.folder, "gateway.yaml")) //nolint:gosec // of the test
	g.process.Env = append(os.Environ(), append(environment, "WEBHOOK_GATEWAY_STORE_PEBBLE_PATH="+filepath.Join(g.folder, "store"), "TEST_SECRET="+secret)...)
	logged, err := g.process.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.process.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(g.stop)
	lines := bufio.NewScanner(logged)
	var said strings.Builder
	for lines.Scan() {
		var line struct {
			Webhooks string `json:"webhooks"`
			Internal string `json:"internal_http"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Internal != "" {
			g.webhooks, g.internal = line.Webhooks, line.Internal
			go func() { _, _ = io.Copy(io.Discard, logged) }() // until it ends
			return
		}
		said.WriteString(lines.Text() + "\n")
	}
	g.t.Fatalf("the gateway does not serve:\n%s", said.String())
}

// stop ends the process, as a supervisor would.
func (g *gateway) stop() {
	if g.process.ProcessState != nil {
		return
	}
	if err := g.process.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Error(err)
	}
	_ = g.process.Wait() // how it ends is not the question here
}

// tokenSum is what a gateway is configured with of the operator's token.
func tokenSum() string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// call makes a request of the internal HTTP port, and returns its answer. The caller
// closes the body.
func (g *gateway) call(ctx context.Context, method, path, body string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+g.internal+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if g.token != "" {
		req.Header.Set("Authorization", "Bearer "+g.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp
}

// answer is call for what ends at once.
func (g *gateway) answer(method, path, body string) []byte {
	g.t.Helper()
	resp := g.call(context.WithoutCancel(g.t.Context()), method, path, body)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		g.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, text, err)
	}
	return text
}

func (g *gateway) metrics() []byte { g.t.Helper(); return g.answer(http.MethodGet, "/metrics", "") }

// number returns the value of a series, as it is named in what is served.
func (g *gateway) number(series string) float64 {
	g.t.Helper()
	for line := range strings.Lines(string(g.metrics())) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				g.t.Fatal(err)
			}
			return number
		}
	}
	g.t.Fatalf("there is no %s", series)
	return 0
}

// deliver sends a webhook of Finicity for a client, rightly signed or not, and checks how
// it is answered.
func (g *gateway) deliver(client, body string, signed bool, want int) {
	g.t.Helper()
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	signature := hex.EncodeToString(mac.Sum(nil))
	if !signed {
		signature = strings.Repeat("0", 64)
	}
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "http://"+g.webhooks+"/v1/webhooks/finicity/"+client, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Finicity-Signature", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if _ = resp.Body.Close(); err != nil || resp.StatusCode != want {
		g.t.Fatalf("a delivery is answered %s %s, %v", resp.Status, text, err)
	}
}

// consume works on a subscription, until the test or the function that it returns ends
// that: it settles each delivery by a call whose body has more beside the tokens.
func (g *gateway) consume(subscription, call, more string) (end func()) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	resp := g.call(ctx, http.MethodPost, "/v1/subscriptions/"+subscription+":consume", "{}")
	done := make(chan struct{})
	end = func() { cancel(); <-done }
	g.t.Cleanup(end)
	go func() {
		defer close(done)
		defer func() { _ = resp.Body.Close() }()
		frames := json.NewDecoder(resp.Body)
		for {
			var frame struct {
				Deliveries struct {
					Deliveries []struct {
						AckToken string `json:"ackToken"`
					} `json:"deliveries"`
				} `json:"deliveries"`
			}
			if frames.Decode(&frame) != nil {
				return // the stream has ended
			}
			var tokens []string
			for _, d := range frame.Deliveries.Deliveries {
				tokens = append(tokens, strconv.Quote(d.AckToken))
			}
			if len(tokens) > 0 {
				g.answer(http.MethodPost, "/v1/subscriptions/"+subscription+":"+call, fmt.Sprintf(`{"ackTokens":[%s]%s}`, strings.Join(tokens, ","), more))
			}
		}
	}()
	return end
}

// certificate writes a certificate that is valid for some days, with its key.
func certificate(t *testing.T, days int) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, days),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: privateDER}} {
		var b bytes.Buffer
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
