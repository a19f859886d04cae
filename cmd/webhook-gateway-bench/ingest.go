package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	vezgoBody = `{"hook":"SyncAccount","user":{"id":"65a000000000000000000001","loginName":"user-42"},` +
		`"account":{"id":"65a000000000000000000002","provider":"coinbase"}}`

	// %013d and %024x make each event id its own, at one length.
	finicitySmall = `{"customerId":"7000000001","eventType":"adding","eventId":"%013d-%024x",` +
		`"payload":{"institutionId":"100001","oauth":true}}`
	finicityLarge = `{"customerId":"7000000001","eventType":"added","eventId":"%013d-%024x",` +
		`"payload":{"institutionId":"100001","accounts":[{"id":"6000000001","number":"202020","name":"IRA","balance":-12.5,` +
		`"type":"ira","status":"active","customerId":"7000000001","institutionId":"100001","createdDate":1700000000,` +
		`"lastUpdatedDate":0,"currency":"USD","institutionLoginId":6000000002,"displayPosition":1}],"oauth":true}}`

	connections = 64
	wrkThreads  = 2
)

// load is a stream of HTTP requests for wrk: files of requests of one size, one
// file a thread. A thread that comes to the end of its file begins again.
type load struct {
	name    string
	perFile int
	request func(i int) string
}

func loads() []load {
	vezgo := rawRequest("/v1/webhooks/vezgo", "X-Client-Id: bench\r\n", vezgoBody)
	finicity := func(format string) func(int) string {
		return func(i int) string {
			body := fmt.Sprintf(format, 1_700_000_000_000+i, i)
			mac := hmac.New(sha256.New, []byte(finicitySecret))
			mac.Write([]byte(body))
			return rawRequest("/v1/webhooks/finicity/bench", "X-Finicity-Signature: "+hex.EncodeToString(mac.Sum(nil))+"\r\n", body)
		}
	}
	return []load{
		{"Vezgo SyncAccount", 1, func(int) string { return vezgo }},
		{"Finicity adding, HMAC", 200_000, finicity(finicitySmall)},
		{"Finicity added with one account, HMAC", 200_000, finicity(finicityLarge)},
	}
}

func rawRequest(path, headers, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		path, headers, len(body), body)
}

// measureIngest compares the gateway with two limits under the same load, in turns,
// so that a change of the machine's speed meets all three.
func measureIngest(ctx context.Context, s *settings) error {
	if _, err := exec.LookPath("wrk"); err != nil {
		return fmt.Errorf("the load generator wrk is needed (on Debian: apt-get install wrk): %w", err)
	}
	fmt.Fprintf(s.out, "wrk, %d keep-alive connections, on the same cores; %d rounds of %v, medians.\n\n", connections, s.rounds, s.duration)
	fmt.Fprintln(s.out, "| load | bare, req/s | durable, req/s | gateway, req/s | of bare | of durable (lowest to highest) | p50 | p99 | CPU per request: bare | durable | gateway |")
	fmt.Fprintln(s.out, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, l := range loads() {
		script, err := writeLoad(s, l)
		if err != nil {
			return err
		}
		var bare, durable, gateway series
		var ofBare, ofDurable []float64
		for range s.rounds {
			if err := errors.Join(
				bare.add(ctx, s, script, func() (*process, error) { return startLimit(ctx, "") }),
				durable.add(ctx, s, script, func() (*process, error) { return startLimit(ctx, filepath.Join(s.dir, ingestStore)) }),
				gateway.add(ctx, s, script, func() (*process, error) { return startGateway(ctx, s, ingestStore) }),
			); err != nil {
				return err
			}
			ofBare = append(ofBare, gateway.last.rate/bare.last.rate)
			ofDurable = append(ofDurable, gateway.last.rate/durable.last.rate)
		}
		fmt.Fprintf(s.out, "| %s | %.0f | %.0f | %.0f | **%.2f** | **%.2f** (%.2f to %.2f) | %s | %s | %.1f µs | %.1f µs | %.1f µs |\n",
			l.name, median(bare.rates), median(durable.rates), median(gateway.rates), median(ofBare),
			median(ofDurable), slices.Min(ofDurable), slices.Max(ofDurable), gateway.last.p50, gateway.last.p99,
			median(bare.cpu), median(durable.cpu), median(gateway.cpu))
	}
	return nil
}

// ingestStore is the folder of what is written in one round. It is a new one each
// time, so that no event id is a duplicate.
const ingestStore = "ingest"

// series is what was measured of one program, round by round.
type series struct {
	rates []float64 // requests a second
	cpu   []float64 // microseconds a request
	last  wrkResult
}

func (m *series) add(ctx context.Context, s *settings, script string, start func() (*process, error)) error {
	p, err := start()
	if err != nil {
		return err
	}
	m.last, err = runWrk(ctx, s, script, p)
	p.stop()
	if err != nil {
		return err
	}
	m.rates = append(m.rates, m.last.rate)
	m.cpu = append(m.cpu, float64(p.cpu().Microseconds())/m.last.requests)
	return os.RemoveAll(filepath.Join(s.dir, ingestStore))
}

func writeLoad(s *settings, l load) (script string, err error) {
	size := len(l.request(0))
	for thread := range wrkThreads {
		f, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("requests-%d", thread)))
		if err != nil {
			return "", err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		for i := range l.perFile {
			if _, err := w.WriteString(l.request(thread*l.perFile + i)); err != nil {
				return "", err
			}
		}
		if err := w.Flush(); err != nil {
			return "", err
		}
		if err := f.Close(); err != nil {
			return "", err
		}
	}
	read := `function request()
  local r = file:read(size)
  if not r then file:seek("set"); r = file:read(size) end
  return r
end`
	if l.perFile == 1 {
		read = `function request() if not only then only = file:read(size) end return only end`
	}
	script = filepath.Join(s.dir, "load.lua")
	return script, os.WriteFile(script, fmt.Appendf(nil, `local threads = 0
size = %d
function setup(thread) thread:set("id", threads); threads = threads + 1 end
function init(args) file = io.open(%q .. id, "rb") end
%s
`, size, filepath.Join(s.dir, "requests-"), read), 0o600)
}

type wrkResult struct {
	rate     float64
	requests float64
	p50, p99 string
}

var (
	wrkCount   = regexp.MustCompile(`(\d+) requests in`)
	wrkRate    = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkPercent = regexp.MustCompile(`(?m)^\s+(50|99)%\s+(\S+)`)
	wrkErrors  = regexp.MustCompile(`(?m)^\s+(Socket errors|Non-2xx).*$`)
)

func runWrk(ctx context.Context, s *settings, script string, p *process) (wrkResult, error) {
	url := "http://" + p.webhooks + "/"
	if p.tls != nil {
		url = "https://" + p.webhooks + "/"
	}
	cmd := exec.CommandContext(ctx, "wrk", "-t", strconv.Itoa(wrkThreads), "-c", strconv.Itoa(connections), //nolint:gosec // fixed
		"-d", strconv.Itoa(int(s.duration.Seconds()))+"s", "--latency", "-s", script, url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	if bad := wrkErrors.Find(out); bad != nil {
		return wrkResult{}, fmt.Errorf("requests failed: %s", strings.TrimSpace(string(bad)))
	}
	rate, count := wrkRate.FindSubmatch(out), wrkCount.FindSubmatch(out)
	if rate == nil || count == nil {
		return wrkResult{}, fmt.Errorf("wrk printed no rate:\n%s", out)
	}
	result := wrkResult{}
	if result.rate, err = strconv.ParseFloat(string(rate[1]), 64); err != nil {
		return wrkResult{}, err
	}
	if result.requests, err = strconv.ParseFloat(string(count[1]), 64); err != nil {
		return wrkResult{}, err
	}
	for _, m := range wrkPercent.FindAllSubmatch(out, -1) {
		if string(m[1]) == "50" {
			result.p50 = string(m[2])
		} else {
			result.p99 = string(m[2])
		}
	}
	return result, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
