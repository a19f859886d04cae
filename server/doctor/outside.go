package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/webhook"
)

// forged is an address that nobody has (RFC 5737): a sender who pretends to be somebody
// else.
const forged = "203.0.113.77"

// A ping is a delivery that the doctor sends itself.
type ping struct {
	client string
	target string
	header http.Header
	body   []byte
	id     string
}

// An arrival is how a ping was answered under a public URL.
type arrival struct {
	code          int
	reason        string // of a refusal by a gateway
	outcome       string // of a delivery that a gateway took
	local, remote netip.Addr
	tls           *tls.ConnectionState
}

// checkOutside looks whether providers reach the gateway under a URL, and what a proxy on
// the way makes of a delivery. It sends one signed ping, which is stored.
func checkOutside(ctx context.Context, config server.Config, g gateway, base string) []Finding {
	if base == "" {
		return one(Skip, "", "no URL was given: --url https://... tries what providers call")
	}
	p, err := newPing(config.Providers.Finicity)
	if err != nil {
		return one(Skip, "", "no ping can be sent: %v", err)
	}
	a, err := p.send(ctx, base)
	if err != nil {
		return one(Fail, "see to DNS, the firewall, the proxy and its certificate", "no answer from %s: %s", base, plain(err))
	}
	findings := []Finding{judgeConnection(base, a.tls, time.Now())}
	arrived := judgeArrival(a, func() (int, error) {
		code, _, err := g.webhooks.do(ctx, http.MethodPost, p.target, p.header, p.body)
		return code, err
	})
	findings = append(findings, arrived)
	if arrived.Status == OK {
		findings = append(findings, p.checkSource(ctx, config.Webhooks.TrustedProxies, g.internal, a))
	}
	return append(findings, checkInternalPorts(ctx, config, a.remote)...)
}

// newPing returns a ping that is signed as Finicity does, for the first client with a
// secret. It is JSON as nobody writes it: a proxy that writes it anew breaks the signature.
func newPing(config finicity.Config) (ping, error) {
	if !config.Enabled {
		return ping{}, errors.New("only Finicity signs, and it is not enabled")
	}
	id := "doctor-" + rand.Text()
	body := []byte("{ \"eventType\" : \"\\u0070ing\",\n\t\"eventId\":\"" + id + "\",  \"payload\":{} }\n")
	for _, clientID := range slices.Sorted(maps.Keys(config.Clients)) {
		client := config.Clients[clientID]
		for _, name := range slices.Sorted(maps.Keys(client.Secrets)) {
			target, header := finicity.Sender{}.Request(body, clientID, client.Secrets[name])
			if required := client.RequiredHeader; required != nil {
				header.Set(required.Name, required.Secret.Reveal())
			}
			return ping{client: clientID, target: target, header: header, body: body, id: id}, nil
		}
	}
	return ping{}, errors.New("no client of Finicity has a secret to sign with")
}

// send posts the ping under a URL, as a provider does: it follows no redirects.
func (p ping) send(ctx context.Context, base string) (arrival, error) {
	var a arrival
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		a.local, a.remote = addrOf(info.Conn.LocalAddr()), addrOf(info.Conn.RemoteAddr())
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+p.target, bytes.NewReader(p.body))
	if err != nil {
		return a, err
	}
	req.Header = p.header.Clone()
	req.Header.Set("X-Forwarded-For", forged)
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes)) // the status is there
	a.code, a.tls = resp.StatusCode, resp.TLS
	a.reason, a.outcome = reasonOf(answer), resp.Header.Get(webhook.OutcomeHeader)
	return a, nil
}

func addrOf(a net.Addr) netip.Addr {
	port, _ := netip.ParseAddrPort(a.String())
	return port.Addr().Unmap()
}

func judgeConnection(base string, state *tls.ConnectionState, now time.Time) Finding {
	if state == nil {
		return finding(Warn, "have providers call https://", "%s is not encrypted: who is on the way can read deliveries, and secrets in their headers and URLs", base)
	}
	expires := state.PeerCertificates[0].NotAfter
	until := expires.UTC().Format(time.RFC3339)
	if now.After(expires.Add(-soon)) {
		return finding(Warn, "renew it", "the certificate of %s expires at %s", base, until)
	}
	return finding(OK, "", "the certificate of %s is trusted, and valid until %s", base, until)
}

// judgeArrival judges how a ping was answered. locally sends it to the gateway without
// what is on the way, and returns the status.
func judgeArrival(a arrival, locally func() (int, error)) Finding {
	switch {
	case a.code == http.StatusOK && a.outcome == webhook.OutcomeProbeNotStored:
		return finding(Fail, "see /readyz of the gateway", "a signed ping arrives, and the gateway could not store it")
	case a.code == http.StatusOK && a.outcome != "":
		return finding(OK, "", "a signed ping arrives as it was sent, and is stored")
	case a.code == http.StatusOK:
		return finding(Warn, "see whether the URL leads to this gateway, and whether verification is enforce",
			"a ping is answered 200, but not as a gateway answers what it has verified")
	case a.code >= 300 && a.code < 400:
		return finding(Fail, "have providers call where it leads to", "the answer is a redirect (%d): providers do not follow", a.code)
	case a.reason == "":
		return finding(Fail, "have the URL lead to listen.webhooks, with its path as it is, and begin with https:// where TLS is spoken", "what answers (%d) is not the webhook listener of a gateway", a.code)
	case a.reason != "SIGNATURE_MISMATCH":
		return finding(Fail, "see the log of the gateway", "the ping is refused: %d %s", a.code, a.reason)
	}
	code, err := locally()
	switch {
	case err != nil:
		return finding(Fail, "have the proxy pass bodies on as they are; compare the secret with that of the running gateway",
			"the signature does not match, and the gateway does not answer here (%s): the body was changed on the way, or that gateway has another secret", plain(err))
	case code == http.StatusOK:
		return finding(Fail, "have the proxy pass bodies on as they are: no decompression, no re-encoding",
			"the body is changed on the way: here the gateway takes the same ping")
	}
	return finding(Fail, "compare the secret with that of the running gateway, and reload it", "the running gateway has another secret than this configuration: it does not take the ping here either")
}

// checkSource looks up where the gateway has seen the ping come from.
func (p ping) checkSource(ctx context.Context, trusted []string, internal listener, a arrival) Finding {
	var list struct {
		Events []struct {
			ProviderEventID string `json:"providerEventId"`
			Verification    struct{ SourceAddress string }
		}
	}
	// NOTE: with filters, so that who may not read the ping is told so.
	question, err := json.Marshal(map[string]any{
		"filters":     []any{map[string]any{"providers": []string{"PROVIDER_FINICITY"}, "eventTypes": []string{"EVENT_TYPE_FINICITY_PING"}, "clientIds": []string{p.client}}},
		"newestFirst": true, "pageSize": 1000, "view": "EVENT_VIEW_METADATA",
		"startTime": time.Now().Add(-5 * time.Minute).UTC().Format(time.RFC3339),
	})
	if err != nil {
		return finding(Skip, "", "the ping cannot be asked for: %v", err)
	}
	if err := internal.ask(ctx, "/v1/events:list", question, &list); err != nil {
		return finding(Skip, "", "the source address of the ping cannot be looked up at listen.internal_http %s: %s", internal.address, plain(err))
	}
	for _, event := range list.Events {
		if event.ProviderEventID == p.id {
			source, _ := netip.ParseAddr(event.Verification.SourceAddress) // empty: not known
			return judgeSource(source, a, trusted)
		}
	}
	return finding(Fail, "have the URL lead to the gateway of this configuration; with access, look with credentials that may read all events of the client", "the ping is not in the log of the gateway here: another gateway has it")
}

// judgeSource judges where the gateway saw a ping come from.
func judgeSource(source netip.Addr, a arrival, trusted []string) Finding {
	const do = "name the addresses of the proxy in webhooks.trusted_proxies, and nothing wider"
	private := func(addr netip.Addr) bool { return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() }
	switch {
	case source.String() == forged && isTrusted(a.local, trusted):
		return finding(Skip, "", "this machine, %v, is in webhooks.trusted_proxies, so the gateway believes it whatever it says: ask from another one", a.local)
	case source.String() == forged:
		return finding(Fail, "have the proxy replace X-Forwarded-For, or append to it, and name only its own addresses in webhooks.trusted_proxies",
			"a sender can choose its source address, and pass for Vezgo: the gateway believed an X-Forwarded-For that was made up")
	case !source.IsValid():
		return finding(Warn, "have the proxy append addresses to X-Forwarded-For", "the gateway does not know where the ping came from: X-Forwarded-For has something else than addresses")
	case source == a.local:
		return finding(OK, "", "the gateway sees the address of this machine, %v, and not one that was made up", source)
	case source == a.remote, private(source):
		return finding(Warn, do, "the gateway takes the proxy, %v, for the source of deliveries: Vezgo would be refused, and all senders look alike", source)
	}
	return finding(OK, "", "the gateway sees %v, and not an address that was made up: that must be the public address of this machine, and not that of a proxy", source)
}

// isTrusted reports whether an address is in webhooks.trusted_proxies.
func isTrusted(addr netip.Addr, trusted []string) bool {
	return slices.ContainsFunc(trusted, func(text string) bool {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			return prefix.Contains(addr)
		}
		return text == addr.String()
	})
}

// checkInternalPorts looks whether the internal ports can be reached where the public one
// is.
func checkInternalPorts(ctx context.Context, config server.Config, remote netip.Addr) []Finding {
	if !remote.IsGlobalUnicast() || remote.IsPrivate() {
		return one(Skip, "", "whether the internal ports are exposed is not known: the URL leads to %v, which is not a public address", remote)
	}
	var findings []Finding
	for key, address := range map[string]string{"listen.grpc": config.Listen.GRPC, "listen.internal_http": config.Listen.InternalHTTP} {
		_, port, _ := net.SplitHostPort(address) // the configuration is valid
		findings = append(findings, checkExposed(ctx, key, net.JoinHostPort(remote.String(), port)))
	}
	return findings
}

func checkExposed(ctx context.Context, key, address string) Finding {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return finding(OK, "", "%s is not reachable at %s", key, address)
	}
	_ = conn.Close() // nothing was said
	return finding(Warn, "close the port in the firewall, if others reach it too", "%s is reachable at the public address, %s, at least from here", key, address)
}
