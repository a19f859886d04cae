package alerts

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
)

// A prometheus scrapes real gateways and evaluates the rules, each minute of its own
// time, which passes at once.
type prometheus struct {
	engine *promql.Engine
	store  *teststorage.TestStorage
	groups groups
	now    time.Time
	// fired are the alerts that were firing since it was last asked.
	fired map[string]bool
}

func newPrometheus(t *testing.T) *prometheus {
	t.Helper()
	p := &prometheus{
		engine: promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000),
		store:  promqltest.NewBuiltinTestStorage(t),
		now:    time.Now(),
		fired:  make(map[string]bool),
	}
	p.groups = load(t, testFile{RuleFiles: []string{alertRules}, Interval: "1m"}, func(o *rules.ManagerOptions) {
		o.QueryFunc = rules.EngineQueryFunc(p.engine, p.store)
		o.AppendableV2 = p.store
		o.NotifyFunc = func(context.Context, string, ...*rules.Alert) {}
	})
	return p
}

// pass lets minutes pass. In each of them between is called, if there is such a function,
// the gateway scraped, unless it is nil, and the rules evaluated.
func (p *prometheus) pass(t *testing.T, g *gateway, minutes int, between func()) {
	t.Helper()
	for range minutes {
		if between != nil {
			between()
		}
		p.now = p.now.Add(time.Minute)
		if g != nil {
			p.keep(t, g.metrics())
		}
		for _, group := range p.groups {
			group.Eval(t.Context(), p.now)
			for _, rule := range group.AlertingRules() {
				if err := rule.LastError(); err != nil {
					t.Errorf("%s: %v", rule.Name(), err)
				}
				for _, active := range rule.ActiveAlerts() {
					if active.State == rules.StateFiring {
						p.fired[rule.Name()] = true
					}
				}
			}
		}
	}
}

// alerts returns the alerts that were firing since it was called last.
func (p *prometheus) alerts() []string {
	names := slices.Sorted(maps.Keys(p.fired))
	clear(p.fired)
	return names
}

// keep stores what a gateway served.
func (p *prometheus) keep(t *testing.T, text []byte) {
	t.Helper()
	parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	appender := p.store.AppenderV2(t.Context())
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var of labels.Labels
		parser.Labels(&of)
		of = labels.NewBuilder(of).Set("instance", "a").Labels()
		_, _, value := parser.Series()
		if _, err := appender.Append(0, of, 0, p.now.UnixMilli(), value, nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := appender.Commit(); err != nil {
		t.Fatal(err)
	}
}

// samples returns how many samples a query of the dashboard returns.
func (p *prometheus) samples(t *testing.T, expression string) int {
	t.Helper()
	expression = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".+").Replace(expression)
	query, err := p.engine.NewInstantQuery(t.Context(), p.store, nil, expression, p.now)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return len(vector)
}
