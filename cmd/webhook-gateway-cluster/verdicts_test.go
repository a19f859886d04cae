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
		run  func(v *verdicts)
		want string // nothing is broken if empty
	}{
		"all is kept": {run: good},
		"an event is lost": {func(v *verdicts) { good(v); ok(v, 4) },
			"what was answered 200 is there"},
		"an event that was not answered is lost": {run: func(v *verdicts) { good(v); v.sends("k4"); v.answered(answer{key: "k4", code: 503, retryAfter: true}) }},
		"an event that was not answered is there": {run: func(v *verdicts) {
			v.sends("k1")
			v.answered(answer{key: "k1", code: 503, retryAfter: true})
			v.follows("r1", "c0", "c1", []entry{e(1)})
			v.follows("r2", "c0", "c1", []entry{e(1)})
		}},
		"an event is doubled": {func(v *verdicts) {
			good(v)
			for _, reader := range []string{"r1", "r2"} {
				v.follows(reader, "c3", "c4", []entry{{"id4", "c4", "k1"}})
			}
		}, "stored once"},
		"an id is used twice": {func(v *verdicts) {
			good(v)
			v.sends("k4")
			for _, reader := range []string{"r1", "r2"} {
				v.follows(reader, "c3", "c4", []entry{{"id1", "c4", "k4"}})
			}
		}, "an id for one event"},
		"a stream repeats": {func(v *verdicts) { good(v); v.follows("r1", "c2", "c3", []entry{e(3)}) }, "a stream without a hole"},
		"a stream leaves one out": {func(v *verdicts) {
			good(v)
			ok(v, 4)
			ok(v, 5)
			v.follows("r1", "c3", "c5", []entry{e(4), e(5)})
			v.follows("r2", "c4", "c5", []entry{e(5)})
		}, "a stream without a hole"},
		"a stream leaves one out and does not say so": {func(v *verdicts) {
			good(v)
			ok(v, 4)
			ok(v, 5)
			v.follows("r1", "c3", "c5", []entry{e(4), e(5)})
			v.follows("r2", "c3", "c5", []entry{e(5)})
		}, "one order everywhere"},
		"another order": {func(v *verdicts) {
			good(v)
			ok(v, 4)
			ok(v, 5)
			v.follows("r1", "c3", "c5", []entry{e(4), e(5)})
			v.follows("r2", "c3", "c4", []entry{e(5), e(4)})
		}, "one order everywhere"},
		"another id at a position": {func(v *verdicts) {
			good(v)
			ok(v, 4)
			v.follows("r1", "c3", "c4", []entry{e(4)})
			v.follows("r2", "c3", "c4", []entry{{"other", "c4", "k4"}})
		}, "one order everywhere"},
		"a copy that is behind": {func(v *verdicts) { good(v); ok(v, 4); v.follows("r1", "c3", "c4", []entry{e(4)}) }, "the same on all gateways"},
		"an event that nobody sent": {func(v *verdicts) {
			good(v)
			for _, reader := range []string{"r1", "r2"} {
				v.follows(reader, "c3", "c4", []entry{e(4)})
			}
		}, "nothing made up"},
		"refused": {func(v *verdicts) { good(v); v.sends("k4"); v.answered(answer{key: "k4", code: 400}) }, "200 or 503"},
		"503 without Retry-After": {func(v *verdicts) { good(v); v.sends("k4"); v.answered(answer{key: "k4", code: 503}) },
			"503 with Retry-After"},
		"200 without a quorum":          {func(v *verdicts) { v.outages = []*span{{from: at(0), to: at(3)}}; good(v) }, "503 without a quorum"},
		"200 at the edges of an outage": {run: func(v *verdicts) { v.outages = []*span{{from: at(1), to: at(2)}}; good(v) }},
		"200 for a retry while without quorum": {run: func(v *verdicts) {
			good(v)
			v.outages = []*span{{from: at(10), to: at(20)}}
			v.answered(answer{key: "k1", sent: at(12), answered: at(13), code: 200, first: v.sends("k1")})
		}},
		"no answer": {func(v *verdicts) {
			good(v)
			v.sends("k4")
			v.troubles["g2"] = []*span{{from: at(0)}}
			v.troubles["g1"] = []*span{{from: at(0), to: at(5)}, {from: at(20)}}
			v.answered(answer{key: "k4", gateway: "g1", sent: at(6), answered: at(19)})
		}, "an answer in time"},
		"no answer of one that was killed": {run: func(v *verdicts) {
			good(v)
			v.sends("k4")
			v.troubles["g1"] = []*span{{from: at(8), to: at(9)}}
			v.answered(answer{key: "k4", gateway: "g1", sent: at(7), answered: at(19)})
		}},
		"settled, and given out again": {func(v *verdicts) {
			good(v)
			v.delivered("w1", "k1", 1, at(0))
			v.settles("w1", "k1", 1)
			v.delivered("w2", "k1", 1, time.Now().Add(time.Second))
		}, "settled once and for all"},
		"settled, and tried again":                   {func(v *verdicts) { good(v); v.settles("w1", "k1", 1); v.delivered("w2", "k1", 2, at(0)) }, "settled once and for all"},
		"settled twice":                              {func(v *verdicts) { good(v); v.settles("w1", "k1", 1); v.settles("w2", "k1", 1) }, "settled once and for all"},
		"settled while it was on its way to another": {run: func(v *verdicts) { good(v); v.settles("w1", "k1", 2); v.delivered("w2", "k1", 1, at(0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerdicts()
			test.run(v)
			v.finish([]string{"r1", "r2"})
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
	for _, key := range []string{"a", "b"} {
		v.sends(key)
	}
	v.follows("r1", "c0", "c2", []entry{{"1", "c1", "a"}, {"2", "c2", "b"}})
	v.settles("w", "a", 1)
	if n := v.unsettled(); n != 1 {
		t.Errorf("%d events are not settled, want 1", n)
	}
}

func TestVerdictsOfAnUnfinishedOutage(t *testing.T) {
	s := span{from: time.Now()}
	later := s.from.Add(time.Second)
	if s.within(later, later) || !s.meets(later, later) {
		t.Error("nothing is certain of a time that is not over, but that it is not a good one")
	}
}
