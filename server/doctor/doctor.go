// Package doctor looks at a configuration and the machine that a gateway runs on, and
// says what is wrong and what to do about it. It changes nothing, but for the one ping that
// it sends if it is told a URL.
package doctor

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server"
	"github.com/webhook-gateway/webhook-gateway/server/filemode"
	"github.com/webhook-gateway/webhook-gateway/server/provider"
)

// Status is how grave a finding is.
type Status string

// OK: nothing is to be done. Warn: somebody should look at it. Fail: the gateway does
// not start, or does not work. Skip: it could not be looked at, and the text says why.
const (
	OK   Status = "OK"
	Warn Status = "WARN"
	Fail Status = "FAIL"
	Skip Status = "SKIP"
)

// Finding is what a check has found.
type Finding struct {
	// Check is the name of the check, such as `disk`.
	Check string `json:"check"`
	// Status is how grave it is.
	Status Status `json:"status"`
	// Text is one line.
	Text string `json:"text"`
	// Do says what to do about it. Empty if nothing is to be done.
	Do string `json:"do,omitempty"`
}

// Options are what is looked at.
type Options struct {
	// Load loads the configuration, and returns all that is wrong with it.
	Load func() (server.Config, error)
	// ConfigPath is the file of it, empty for none.
	ConfigPath string
	// URL under which providers reach the gateway, without the path, such as
	// `https://hooks.example.com`. Empty: reachability from outside is not looked at.
	URL string
	// Credentials are what the internal listeners of a running gateway are shown. Nil: none.
	Credentials Credentials
}

// Run makes all checks, one after the other, and reports each finding at once.
func Run(ctx context.Context, o Options, report func(Finding)) {
	config, findings, ok := checkConfig(o)
	for _, f := range findings {
		f.Check = "config"
		report(f)
	}
	if !ok {
		f := finding(Skip, "", "the configuration cannot be loaded, so nothing else was looked at")
		f.Check = "others"
		report(f)
		return
	}
	running := newGateway(config, o.Credentials)
	for _, check := range []struct {
		name string
		run  func(context.Context) []Finding
	}{
		{"folder", func(context.Context) []Finding { return checkFolder(config.Store.Pebble.Path) }},
		{"disk", func(context.Context) []Finding { return checkDisk(config.Store) }},
		{"commits", func(ctx context.Context) []Finding { return checkCommitLog(ctx, config.Store.CommitLog) }},
		{"ports", func(ctx context.Context) []Finding {
			return append(checkPorts(ctx, config.Listen, running), checkClusterPort(ctx, config, running)...)
		}},
		{"running", func(ctx context.Context) []Finding { return checkRunning(ctx, config, running.internal) }},
		{"clock", func(ctx context.Context) []Finding { return checkClock(ctx, config.Store.Pebble.Path, running) }},
		{"secrets", func(context.Context) []Finding { return checkSecrets(config.Secrets()) }},
		{"tls", func(context.Context) []Finding { return checkTLS(config) }},
		{"access", func(ctx context.Context) []Finding { return checkAccess(ctx, config, time.Now()) }},
		{"limits", func(context.Context) []Finding { return checkLimits() }},
		{"outside", func(ctx context.Context) []Finding { return checkOutside(ctx, config, running, o.URL) }},
	} {
		for _, f := range check.run(ctx) {
			f.Check = check.name
			report(f)
		}
	}
}

// maxText bounds the text of a finding, in bytes: others have a say in it.
const maxText = 500

// finding returns a finding, whose text is one line. do is empty if nothing is to be done.
func finding(status Status, do, format string, args ...any) Finding {
	text := strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n", "; ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return Finding{Status: status, Text: text, Do: do}
}

func one(status Status, do, format string, args ...any) []Finding {
	return []Finding{finding(status, do, format, args...)}
}

// counted returns a number of things, such as `2 keys`.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// checkConfig loads the configuration. It reports whether there is one.
func checkConfig(o Options) (server.Config, []Finding, bool) {
	var findings []Finding
	if _, err := os.Stat(o.ConfigPath); o.ConfigPath != "" && err == nil { // loading says what is wrong otherwise
		if f, bad := checkMode(filemode.CheckWritable, o.ConfigPath); bad {
			findings = append(findings, f)
		}
	}
	config, err := o.Load()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			findings = append(findings, finding(Fail, "mend it: docs/configuration.md has all keys", "%s", strings.TrimSpace(line)))
		}
		return config, findings, false
	}
	for _, m := range config.Providers.Modes() {
		if m.Mode == provider.ModeEnforce {
			continue
		}
		who := m.Provider
		if m.ClientID != "" {
			who += ", client " + m.ClientID
		}
		findings = append(findings, finding(Warn, "set verification to enforce when deliveries are authentic", "%s: verification is %v, so what is not authentic is stored, too", who, m.Mode))
	}
	if len(findings) == 0 {
		findings = one(OK, "", "it is valid, and every delivery is verified")
	}
	return config, findings, true
}
