package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/webhook-gateway/webhook-gateway/server/provider/finicity"
	"github.com/webhook-gateway/webhook-gateway/server/secret"
)

const (
	writers = 12
	// patience is how long an answer is waited for: the gateways promise one within
	// appendTimeout, and the machine may be busy.
	patience = 15 * time.Second
	// One in so many deliveries that was answered 200 is sent to another gateway too, one in
	// so many is sent to two at once, and one in so many is of Vezgo.
	retried, raced, ofVezgo = 20, 50, 3
	// onceOnly begins the keys of Vezgo's deliveries. They have no event id: what is sent
	// twice is stored twice, and so each is sent once.
	onceOnly = "once-"
)

// startWriters starts those who deliver: one for each gateway, which sends all to that one, and
// others that send anywhere, and everything again that was not answered 200.
func (l *lab) startWriters(ctx context.Context, perSecond int) {
	each := time.Second * (writers + gateways) / time.Duration(perSecond)
	for i := range writers + gateways {
		w := &writer{lab: l, name: fmt.Sprint("w", i), rand: rand.New(rand.NewPCG(l.rand.Uint64(), 0)), pinned: -1} //nolint:gosec // repeatable
		if i < gateways {
			w.pinned = i
		}
		l.writing.Go(func() { w.run(ctx, each) })
	}
}

type writer struct {
	lab  *lab
	name string
	rand *rand.Rand
	// pinned is the gateway that it delivers to, or -1 for any.
	pinned int
	n      int
}

func (w *writer) run(ctx context.Context, each time.Duration) {
	for ctx.Err() == nil {
		next := time.Now().Add(each)
		w.deliver(ctx)
		if pause(ctx, time.Until(next)) != nil {
			return
		}
	}
}

// deliver sends one event, or one again that was not answered 200.
func (w *writer) deliver(ctx context.Context) {
	if w.pinned >= 0 {
		key := w.fresh()
		if w.send(ctx, w.pinned, key) != http.StatusOK {
			w.lab.again <- key
		}
		return
	}
	if w.rand.IntN(ofVezgo) == 0 {
		w.send(ctx, w.rand.IntN(gateways), onceOnly+w.fresh())
		return
	}
	var key string
	select {
	case key = <-w.lab.again:
	default:
		key = w.fresh()
	}
	to := w.rand.IntN(gateways)
	other := (to + 1 + w.rand.IntN(gateways-1)) % gateways
	if w.rand.IntN(raced) == 0 {
		code := make(chan int)
		go func() { code <- w.send(ctx, other, key) }()
		if one := w.send(ctx, to, key); one != http.StatusOK && <-code != http.StatusOK {
			w.lab.again <- key
		} else if one == http.StatusOK {
			<-code
		}
		return
	}
	switch code := w.send(ctx, to, key); {
	case code != http.StatusOK:
		w.lab.again <- key
	case w.rand.IntN(retried) == 0:
		w.send(ctx, other, key)
	}
}

func (w *writer) fresh() string {
	w.n++
	return fmt.Sprintf("%s-%d", w.name, w.n)
}

// send sends an event to a gateway and returns the code of the answer, 0 for none.
func (w *writer) send(ctx context.Context, to int, key string) int {
	g := w.lab.gateways[to]
	a := answer{key: key, gateway: g.name, first: w.lab.verdicts.sends(key), sent: time.Now()}
	a.code, a.retryAfter = w.lab.post(ctx, g, key)
	a.answered = time.Now()
	if ctx.Err() != nil && a.code == 0 {
		return 0 // we have ended it
	}
	// A connection that was refused or broken off is no silence: the gateway is not there.
	if a.code != 0 || a.answered.Sub(a.sent) >= patience {
		w.lab.verdicts.answered(a)
	}
	if a.code == http.StatusOK {
		w.lab.lastOK[to].Store(a.sent.UnixNano())
	}
	return a.code
}

var partnerSecret = secret.New(labSecret)

func (l *lab) post(ctx context.Context, g *gateway, key string) (code int, retryAfter bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := g.request(ctx, key)
	if err != nil {
		return 0, false
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	return resp.StatusCode, resp.Header.Get("Retry-After") != ""
}

// request makes a delivery.
func (g *gateway) request(ctx context.Context, key string) (*http.Request, error) {
	url := "http://" + g.webhooks + "/v1/webhooks/"
	if strings.HasPrefix(key, onceOnly) {
		body := fmt.Appendf(nil, `{"hook":"SyncAccount","user":{"id":%q,"loginName":"lab"},"account":{"id":"a","provider":"coinbase"}}`, key)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"vezgo", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Client-Id", clientID)
		req.GetBody = nil // Go would send it twice if the connection breaks off
		return req, nil
	}
	body := fmt.Appendf(nil, `{"customerId":"7000000001","eventType":"added","eventId":%q,"payload":{"institutionId":"100001","accounts":[{"id":"6000000001","name":"IRA","balance":-12.5,"type":"ira"}]}}`, key)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"finicity/"+clientID, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Finicity-Signature", finicity.Sign(partnerSecret, body))
	return req, nil
}
