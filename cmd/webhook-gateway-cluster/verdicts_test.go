package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A checker that cannot fail is worth nothing: each promise is broken once, and nothing else
// is told of.
func TestVerdicts(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	e := func(n int) entry { return entry{fmt.Sprint("id", n), fmt.Sprint("c", n), fmt.Sprint("k", n)} }
	ok := func(v *verdicts, n int) {
		key := e(n).key
		v.answered(answer{key: key, gateway: "g1", sent: at(n), answered: at(n + 1), code: 200, first: v.sends(key)})
	}
	// good is a run in which all is kept: three events, two readers.
	good := func(v *verdicts) {
		for n := 1; n <= 3; n++ {
			ok(v, n)
		}
		for _, reader := range []string{"r1", "r2"} {
			v.follows(reader, "c0", "c0", nil)
			v.follows(reader, "c0", "c2", []entry{e(1), e(2)})
			v.follows(reader, "c2", "c3", []entry{e(3)})
			v.follows(reader, "c3", "c3", nil) // a heartbeat
		}
	}
	for name, test := range map[string]struct {
		run           func(v *verdicts)
		want          string // nothing is broken if empty
		subscriptions []string
	}{
		"all is kept": {run: good},
		"an event is lost": {
			run: func(v *verdicts) { good(v); ok(v, 4) }, want: "what was answered 200 is there",
		},
		"an event that was not answered is lost": {run: func(v *verdicts) { good(v); v.sends("k4"); v.answered(answer{key: "k4", code: 503, retryAfter: true}) }},
		"an event that was not answered is there": {run: func(v *verdicts) {
			v.sends("k1")
			v.answered(answer{key: "k1", code: 503, retryAfter: true})
			v.follows("r1", "c0", "c1", []entry{e(1)})
			v.follows("r2", "c0", "c1", []entry{e(1)})
		}},
		"an event is doubled": {run: func(v *verdicts) {
			good(v)
			for _, reader := range []string{"r1", "r2"} {
				v.follows(reader, "c3", "c4", []entry{{"id4", "c4", "k1"}})
			}
		}, want: "stored once"},
		"an id is used twice": {run: func(v *verdicts) {
			good(v)
			v.sends("k4")
			for _, reader := range []string{"r1", "r2"} {
				v.follows(reader, "c3", "c4", []entry{{"id1", "c4", "k4"}})
			}
		}, want: "an id for one event"},
		"a stream repeats": {run: func(v *verdicts) { good(v); v.follows("r1", "c2", "c3", []entry{e(3)}) }, want: "a stream without a hole"},
		"a stream leaves one out": {run: func(v *verdicts) {
			good(v)
			ok(v, 4)
			ok(v, 5)
			v.follows("r1", "c3", "c5", []entry{e(4), e(5)})
			v.follows("r2", "c4", "c5", []entry{e(5)})
		}, want: "a stream without a hole"},
		"a stream leaves one out and does not say so": {run: func(v *verdicts) {
			good(v)
			ok(v, 4)
			ok(v, 5)
			v.follows("r1", "c3", "c5", []entry{e(4), e(5)})
			v.follows("r2", "c3", "c5", []entry{e(5)})
		}, want: "one order everywhere"},
		"another order": {run: func(v *verdicts) {
			good(v)
			ok(v, 4)
			ok(v, 5)
			v.follows("r1", "c3", "c5", []entry{e(4), e(5)})
			v.follows("r2", "c3", "c4", []entry{e(5), e(4)})
		}, want: "one order everywhere"},
		"another id at a position": {run: func(v *verdicts) {
			good(v)
			ok(v, 4)
			v.follows("r1", "c3", "c4", []entry{e(4)})
			v.follows("r2", "c3", "c4", []entry{{"other", "c4", "k4"}})
		}, want: "one order everywhere"},
		"a copy that is behind": {run: func(v *verdicts) { good(v); ok(v, 4); v.follows("r1", "c3", "c4", []entry{e(4)}) }, want: "the same on all gateways"},
		"an event that nobody sent": {run: func(v *verdicts) {
			good(v)
			for _, reader := range []string{"r1", "r2"} {
				v.follows(reader, "c3", "c4", []entry{e(4)})
			}
		}, want: "nothing made up"},
		"refused": {run: func(v *verdicts) { good(v); v.sends("k4"); v.answered(answer{key: "k4", code: 400}) }, want: "200 or 503"},
		"503 without Retry-After": {
			run: func(v *verdicts) { good(v); v.sends("k4"); v.answered(answer{key: "k4", code: 503}) }, want: "503 with Retry-After",
		},
		"200 without a quorum":          {run: func(v *verdicts) { v.outages = []*span{{from: at(0), to: at(3)}}; good(v) }, want: "503 without a quorum"},
		"200 at the edges of an outage": {run: func(v *verdicts) { v.outages = []*span{{from: at(1), to: at(2)}}; good(v) }},
		"200 for a retry while without quorum": {run: func(v *verdicts) {
			good(v)
			v.outages = []*span{{from: at(10), to: at(20)}}
			v.answered(answer{key: "k1", sent: at(12), answered: at(13), code: 200, first: v.sends("k1")})
		}},
		"no answer": {run: func(v *verdicts) {
			good(v)
			v.sends("k4")
			v.troubles["g2"] = []*span{{from: at(0)}}
			v.troubles["g1"] = []*span{{from: at(0), to: at(5)}, {from: at(20)}}
			v.answered(answer{key: "k4", gateway: "g1", sent: at(6), answered: at(19)})
		}, want: "an answer in time"},
		"no answer of one that was killed": {run: func(v *verdicts) {
			good(v)
			v.sends("k4")
			v.troubles["g1"] = []*span{{from: at(8), to: at(9)}}
			v.answered(answer{key: "k4", gateway: "g1", sent: at(7), answered: at(19)})
		}},
		"settled, and given out again": {run: func(v *verdicts) {
			good(v)
			v.delivered("w1", "k1", 1, at(0))
			v.settles("w1", "k1", 1)
			v.delivered("w2", "k1", 1, time.Now().Add(time.Second))
		}, want: "settled once and for all"},
		"settled, and tried again": {run: func(v *verdicts) { good(v); v.settles("w1", "k1", 1); v.delivered("w2", "k1", 2, at(0)) }, want: "settled once and for all"},
		"settled twice":            {run: func(v *verdicts) { good(v); v.settles("w1", "k1", 1); v.settles("w2", "k1", 1) }, want: "settled once and for all"},
		"not given out":            {run: good, want: "given out until it is settled", subscriptions: []string{"mail"}},
		"all settled": {run: func(v *verdicts) {
			good(v)
			v.settles("w1", "mail/k1", 1)
			v.settles("w2", "mail/k2", 3)
			v.maySettle("mail/k3")
		}, subscriptions: []string{"mail"}},
		"removed before it is settled, which is told": {run: func(v *verdicts) {
			good(v)
			v.settles("w1", "mail/k2", 1)
			v.lacks("w2", "mail", "c0", "c3", at(100))
		}, subscriptions: []string{"mail"}},
		"less is told of than is removed": {run: func(v *verdicts) {
			good(v)
			v.lacks("w2", "mail", "c1", "c3", at(100))
		}, want: "given out until it is settled", subscriptions: []string{"mail"}},
		"removed early": {run: func(v *verdicts) {
			good(v)
			v.lacks("w2", "mail", "c0", "c3", at(10))
		}, want: "kept for its time", subscriptions: []string{"mail"}},
		"settled by nobody":                          {run: func(v *verdicts) { good(v); v.wasSettled("w1", "k1") }, want: "nothing is settled by itself"},
		"settled without an answer":                  {run: func(v *verdicts) { good(v); v.maySettle("k1"); v.wasSettled("w1", "k1") }},
		"settled while it was on its way to another": {run: func(v *verdicts) { good(v); v.settles("w1", "k1", 2); v.delivered("w2", "k1", 1, at(0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerdicts()
			test.run(v)
			v.finish([]string{"r1", "r2"})
			v.finishWork(test.subscriptions)
			broken, _ := v.report()
			var promises []string
			for _, line := range broken {
				if strings.HasPrefix(line, "BROKEN: ") {
					promises = append(promises, line)
				}
			}
			switch {
			case test.want == "" && len(promises) > 0:
				t.Errorf("nothing is wrong, and it says %q", broken)
			case test.want != "" && (len(promises) == 0 || !strings.Contains(strings.Join(promises, "\n"), "BROKEN: "+test.want)):
				t.Errorf("it says %q, want %q", broken, test.want)
			}
		})
	}
}

func TestUnsettled(t *testing.T) {
	v := newVerdicts()
	for _, key := range []string{"a", "b", "c"} {
		v.sends(key)
	}
	v.follows("r1", "c0", "c3", []entry{{"1", "c1", "a"}, {"2", "c2", "b"}, {"3", "c3", "c"}})
	v.delivered("w", "mail/a", 1, time.Now())
	v.settles("w", "mail/a", 1)
	v.maySettle("mail/b")
	if n, one := v.unsettled("mail"); n != 1 || one != "mail/c" {
		t.Errorf("%d events are not settled, such as %q, want mail/c", n, one)
	}
	if n, _ := v.unsettled("audit"); n != 3 {
		t.Errorf("%d events of another subscription are not settled, want 3", n)
	}
}

func TestVerdictsOfAnUnfinishedOutage(t *testing.T) {
	s := span{from: time.Now()}
	later := s.from.Add(time.Second)
	if s.within(later, later) || !s.meets(later, later) {
		t.Error("nothing is certain of a time that is not over, but that it is not a good one")
	}
}
