package subscription

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	webhookgatewayv1 "github.com/webhook-gateway/webhook-gateway/gen/webhookgateway/v1"
	"github.com/webhook-gateway/webhook-gateway/server/eventlog"
)

func TestEntrySize(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 64 {
		t.Errorf("an entry takes %d bytes, want at most 64", size)
	}
}

func TestBackoff(t *testing.T) {
	s := settings{minBackoff: time.Second, maxBackoff: 10 * time.Second}
	for attempts, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		if got := s.backoff(attempts); got != want {
			t.Errorf("backoff(%d) = %v, want %v", attempts, got, want)
		}
	}
	if got := (settings{maxBackoff: time.Hour}).backoff(1000); got != 0 {
		t.Errorf("backoff without a minimum = %v, want 0", got)
	}
}

// TestScripts runs commands one after the other. Streams are numbers, events are
// positions; each event is of the group of its letter in the log.
func TestScripts(t *testing.T) {
	for _, test := range []struct {
		name     string
		ordering webhookgatewayv1.Ordering
		log      string // a group per event, . for none
		script   string
	}{
		{
			"without order events go to anyone", webhookgatewayv1.Ordering_ORDERING_NONE, "aaaa",
			"1 gets 2: 1 2; 2 gets 2: 3 4; ack 4: OK; ack 1: OK; cursor: 1; ack 3: OK; ack 2: OK; cursor: 4; ack 2: SETTLED",
		},
		{
			"a group waits for its stream", webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, "aabab.",
			"1 gets 2: 1 2; 2 gets 9: 3 5 6; 1 gets 9: 4; ack 2: OK; ack 4: OK; ack 1: OK; cursor: 2",
		},
		{
			"a group is free once it is settled", webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, "aaa",
			"1 gets 1: 1; 2 gets 9:; ack 1: OK; 2 gets 9: 2 3",
		},
		{
			"what comes back fences what is later", webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, "aaba",
			"1 gets 9: 1 2 3 4; retry 2: OK; ack 4: FENCED; ack 3: OK; ack 1: OK; 2 gets 9: 2 4; ack 2: OK; ack 4: OK; cursor: 4",
		},
		{
			"parking frees the group", webhookgatewayv1.Ordering_ORDERING_STRICT, "..",
			"1 gets 1: 1; park 1: OK; 2 gets 1: 2; ack 2: OK; cursor: 2; ack 1: SETTLED",
		},
		{
			"a replay comes first, and fences its group", webhookgatewayv1.Ordering_ORDERING_BY_SUBJECT, "aab",
			"1 gets 1: 1; park 1: OK; 2 gets 9: 2 3; replay 1; ack 2: FENCED; 1 gets 9: 1 2; ack 1: OK; ack 2: OK; ack 3: OK; cursor: 3",
		},
		{
			"strict order serves one stream at a time", webhookgatewayv1.Ordering_ORDERING_STRICT, "....",
			"1 gets 2: 1 2; 2 gets 2:; 1 gets 1: 3; leave 1; 2 gets 9: 1 2 3 4; ack 2: OK; ack 1: OK; cursor: 2",
		},
		{
			"a trimmed event that is held may be acknowledged", webhookgatewayv1.Ordering_ORDERING_NONE, "....",
			"1 gets 2: 1 2; trim 3; gap: 0-3; ack 2: OK; retry 1: OK; gap: 0-3; cursor: 3; 1 gets 9: 4",
		},
		{
			"seek", webhookgatewayv1.Ordering_ORDERING_NONE, "....",
			"1 gets 3: 1 2 3; ack 2: OK; seek 1; cursor: 1; ack 3: FENCED; 1 gets 0:",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			runScript(t, test.ordering, test.log, test.script)
		})
	}
}

func runScript(t *testing.T, ordering webhookgatewayv1.Ordering, log, script string) {
	s := defaultSettings()
	s.ordering = ordering
	now := time.Now()
	m := newMachine(s, 0, 1, now)
	m.connect(1, 0)
	m.connect(2, 0)
	var offers []offer
	for i, c := range log {
		hash := uint64(c)
		if c == '.' {
			hash = 0
		}
		offers = append(offers, offer{eventlog.Position(i + 1), hash})
	}
	m.offer(offers, eventlog.Position(len(log)))
	leases := make(map[eventlog.Position]lease)
	var got []string
	steps := strings.Split(script, "; ")
	for _, step := range steps {
		command, _, _ := strings.Cut(step, ":")
		var stream uint32
		var n int
		var p eventlog.Position
		result := ""
		token := func(r webhookgatewayv1.TokenResult) { result = strings.TrimPrefix(r.String(), "TOKEN_RESULT_") }
		switch {
		case scan(command, "%d gets %d", &stream, &n):
			m.want(stream, n)
			w, share := m.next()
			if w == nil {
				m.want(stream, 0)
				got = append(got, command+":")
				continue
			}
			for _, d := range m.deliver(w, share, now) {
				leases[d.Position] = d.lease
				m.sending(d.lease, now)
				result += fmt.Sprintf(" %d", d.Position)
			}
			got = append(got, command+":"+result)
			continue
		case scan(command, "ack %d", &p):
			token(m.acknowledge(leases[p], now))
		case scan(command, "retry %d", &p):
			token(m.retry(leases[p], 0, "", now))
		case scan(command, "park %d", &p):
			token(m.park(leases[p], "", now))
		case scan(command, "replay %d", &p):
			m.replay(offers[p-1], true)
		case scan(command, "leave %d", &stream):
			m.disconnect(stream, false, now)
		case scan(command, "trim %d", &p):
			m.trim(p)
		case scan(command, "seek %d", &p):
			m.seek(p)
		case command == "cursor":
			result = fmt.Sprint(m.cursor)
		case command == "gap":
			for _, gap := range m.takeGaps(m.workers[2]) {
				result += fmt.Sprintf("%d-%d", gap.From, gap.To)
			}
		default:
			t.Fatalf("unknown command %q", command)
		}
		if result != "" {
			command += ": " + result
		}
		got = append(got, command)
	}
	if diff := cmp.Diff(steps, got); diff != "" {
		t.Errorf("script (-want +got):\n%s", diff)
	}
}

func scan(command, format string, args ...any) bool {
	n, err := fmt.Sscanf(command, format, args...)
	return err == nil && n == len(args)
}

func TestLoadMalformed(t *testing.T) {
	number := "\x00\x00\x00\x00\x00\x00\x00\x01"
	for name, pair := range map[string][2]string{
		"key":   {"s", ""},
		"kind":  {"x" + number, ""},
		"state": {"s" + number, "short"},
		"block": {"b" + number, "short"},
		"apart": {"w" + number, ""},
		"copy":  {"c" + number, ""},
	} {
		m := newMachine(defaultSettings(), 0, 1, time.Now())
		if err := m.loadPair([]byte(pair[0]), []byte(pair[1])); err == nil {
			t.Errorf("a malformed %s was loaded", name)
		}
	}
}

func FuzzToken(f *testing.F) {
	seal := newSeal(newSealKey())
	f.Add(string(seal.appendToken(nil, lease{position: 1, number: 2, slot: 3})))
	f.Fuzz(func(t *testing.T, s string) {
		l, ok := seal.parseToken(s)
		if ok && string(seal.appendToken(nil, l)) != s {
			t.Errorf("%q is taken for a token, and is not the text of one", s)
		}
	})
}
