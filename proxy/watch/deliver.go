package watch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"anteroom/session"
)

const (
	retryFirst  = time.Second
	retryMost   = 5 * time.Minute
	expireAfter = 24 * time.Hour  // then an alert is no news
	lastTime    = 3 * time.Second // for what is left when the program stops
	answerMost  = 64 << 10        // bytes of an answer that are read
)

// Run tells of alerts until ctx is done: the audit log at once, the webhook as
// it takes them. Then what is left is tried once more, for a moment.
func (w *Watch) Run(ctx context.Context) {
	var sending sync.WaitGroup
	sending.Go(func() { session.Persist(ctx, w.o.Log, "sending alerts", w.send) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(w.tell())
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	w.tell()
	sending.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	for ctx.Err() == nil {
		a := w.take()
		if a == nil {
			return
		}
		w.metrics.deliveries.WithLabelValues(w.try(ctx, a)).Inc()
	}
}

// tell writes down what was raised, hands it to the webhook's queue, and says
// after what time to look again.
func (w *Watch) tell() time.Duration {
	now := w.o.Now()
	w.mu.Lock()
	w.settle(now.UnixNano())
	raised := w.raised
	w.raised = nil
	again := w.cfg.Quiet
	if _, p := w.quiet.oldest(); p != nil {
		again = at(p.until).Sub(now)
	}
	for _, a := range raised {
		if w.cfg.Webhook.URL != "" {
			w.toSend = w.queue(w.toSend, a)
		}
	}
	w.mu.Unlock()
	if len(raised) > 0 {
		poke(w.more)
	}
	for _, a := range raised {
		w.o.Log.Warn("alert: "+a.Rule, "id", a.ID, "count", a.Count, "repeats", a.Repeats)
		if w.o.Audit == nil {
			continue
		}
		if err := w.o.Audit(a.event()); err != nil {
			w.o.Log.Error("an alert is not in the audit log", "rule", a.Rule, "id", a.ID, "error", err)
		}
	}
	return max(again, time.Millisecond)
}

// take takes the alert out of the queue that is to be sent first, nil for none:
// one that was not tried yet, or the one whose turn it is again.
func (w *Watch) take() *Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.toSend) == 0 {
		return nil
	}
	i := max(0, w.untriedLocked())
	a := w.toSend[i]
	w.toSend = slices.Delete(w.toSend, i, i+1)
	return &a
}

// send gives alerts to the webhook, one at a time, until ctx is done. One that it
// does not take goes back behind the others, so that none holds another up; the
// time between two tries grows until one is taken.
func (w *Watch) send(ctx context.Context) {
	wait := retryFirst
	away := trouble{}
	for ctx.Err() == nil {
		a := w.take()
		if a == nil {
			select {
			case <-w.more:
			case <-ctx.Done():
			}
			continue
		}
		if a.tried.IsZero() {
			a.tried = w.o.Now()
		}
		outcome := w.try(ctx, a)
		if outcome == outcomeFailed && ctx.Err() != nil {
			w.putBack(a)
			return
		}
		if outcome == outcomeFailed && w.o.Now().Sub(a.tried) >= expireAfter {
			outcome = outcomeExpired
		}
		w.metrics.deliveries.WithLabelValues(outcome).Inc()
		switch outcome {
		case outcomeDelivered:
			wait, away = retryFirst, trouble{}
		case outcomeFailed:
			w.putBack(a)
			away.with(a.ID)
			w.rest(ctx, wait, !away.several)
			wait = min(2*wait, retryMost)
		}
	}
}

// trouble is which alerts were not taken since one was.
type trouble struct {
	last    string // id
	several bool
}

func (t *trouble) with(id string) {
	t.several = t.several || t.last != "" && t.last != id
	t.last = id
}

// rest waits; where another alert might go, no longer than until there is one
// that was not tried.
func (w *Watch) rest(ctx context.Context, d time.Duration, another bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !another || w.untried() < 0 {
		select {
		case <-w.more:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// untried is where the first alert is in the queue that was not tried; -1: nowhere.
func (w *Watch) untried() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.untriedLocked()
}

func (w *Watch) untriedLocked() int {
	return slices.IndexFunc(w.toSend, func(a Alert) bool { return a.tried.IsZero() })
}

func (w *Watch) putBack(a *Alert) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.toSend = w.queue(w.toSend, *a)
}

// try posts an alert once, and says what came of it.
func (w *Watch) try(ctx context.Context, a *Alert) (outcome string) {
	status, err := w.post(ctx, a)
	switch {
	case err != nil:
		w.o.Log.Warn("the webhook did not take an alert", "id", a.ID, "error", session.WithoutURL(err))
		return outcomeFailed
	case status/100 == 2:
		return outcomeDelivered
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		w.o.Log.Error("the webhook refuses an alert", "id", a.ID, "status", status)
		return outcomeRefused
	}
	w.o.Log.Warn("the webhook did not take an alert", "id", a.ID, "status", status)
	return outcomeFailed
}

// RenewToken has the next posts carry another token. As long as the webhook does
// not take it, the one before is shown.
func (w *Watch) RenewToken(token session.Secret) { w.token.Renew(token) }

// RenewAuthorities has the webhook known by those of a text in PEM. The error says
// why that stays as it was.
func (w *Watch) RenewAuthorities(pem string) error { return w.roots.Renew(pem) }

// post posts an alert, and returns the status of the answer.
func (w *Watch) post(ctx context.Context, a *Alert) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Webhook.Timeout)
	defer cancel()
	told := *a
	for _, name := range []*string{&told.Subject, &told.Service} {
		if strings.Contains(*name, "@") { // ids can be mail addresses; the audit line has them
			*name = ""
		}
	}
	body, err := json.Marshal(told) // #nosec G117 -- Secret is the name of one
	if err != nil {
		return 0, fmt.Errorf("encoding an alert: %w", err)
	}
	err = w.token.Show(func(token session.Secret) (err error) {
		if status, err = w.postWith(ctx, a.ID, body, token); err == nil && status/100 != 2 {
			err = errStatus
		}
		return err
	}, func(err error) bool {
		return errors.Is(err, errStatus) && (status == http.StatusUnauthorized || status == http.StatusForbidden)
	})
	if errors.Is(err, errStatus) {
		err = nil
	}
	return status, err
}

// errStatus is an answer that is no yes.
var errStatus = errors.New("the webhook did not take it")

func (w *Watch) postWith(ctx context.Context, id string, body []byte, token session.Secret) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Anteroom")
	r.Header.Set("Idempotency-Key", id)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	if w.o.Sign != nil {
		if err := w.o.Sign.Sign(r, body); err != nil {
			return 0, fmt.Errorf("signing an alert: %w", err)
		}
	}
	resp, err := w.o.Client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, answerMost))
	return resp.StatusCode, nil
}

// newClient is a client that goes where the configuration says, and nowhere else.
func newClient(cfg WebhookConfig, roots *session.Authorities) *http.Client {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: cfg.Timeout,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: answerMost, ForceAttemptHTTP2: true}
	return &http.Client{Transport: session.NewTransport(t, roots), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
