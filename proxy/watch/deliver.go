package watch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"anteroom/session"
)

const (
	retryFirst  = time.Second
	retryMost   = 5 * time.Minute
	expireAfter = time.Hour       // then an alert is no news, and others wait behind it
	lastTime    = 3 * time.Second // for what is left when the program stops
	answerMost  = 64 << 10        // bytes of an answer that are read
)

// Run tells of alerts until ctx is done: the audit log at once, the webhook as
// it takes them. Then what is left is tried once more, for a moment.
func (w *Watch) Run(ctx context.Context) {
	var sending sync.WaitGroup
	sending.Go(func() { w.send(ctx) })
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

// take takes the alert out of the queue that is to be sent first; nil for none.
func (w *Watch) take() *Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.toSend) == 0 {
		return nil
	}
	a := w.toSend[0]
	w.toSend = append(w.toSend[:0], w.toSend[1:]...)
	return &a
}

// send gives alerts to the webhook, one after the other, until ctx is done. The
// one that it is at then goes back.
func (w *Watch) send(ctx context.Context) {
	for ctx.Err() == nil {
		a := w.take()
		if a == nil {
			select {
			case <-w.more:
			case <-ctx.Done():
			}
			continue
		}
		if !w.sendOne(ctx, a) {
			w.mu.Lock()
			w.toSend = append([]Alert{*a}, w.toSend...)
			w.mu.Unlock()
		}
	}
}

// sendOne tries until it is told what came of an alert, and reports whether
// something did before ctx was done.
func (w *Watch) sendOne(ctx context.Context, a *Alert) bool {
	begun := w.o.Now()
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		outcome := w.try(ctx, a)
		if outcome == outcomeFailed && ctx.Err() != nil {
			return false
		}
		if outcome == outcomeFailed && w.o.Now().Sub(begun) >= expireAfter {
			outcome = outcomeExpired
		}
		w.metrics.deliveries.WithLabelValues(outcome).Inc()
		if outcome != outcomeFailed {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// try posts an alert once, and says what came of it.
func (w *Watch) try(ctx context.Context, a *Alert) (outcome string) {
	status, err := w.post(ctx, a)
	switch {
	case err != nil:
		w.o.Log.Warn("the webhook did not take an alert", "id", a.ID, "error", withoutURL(err))
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

// RenewToken has the next posts carry another token.
func (w *Watch) RenewToken(token session.Secret) { w.token.Store(&token) }

// withoutURL is an error of an HTTP client without the URL, which may be secret.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

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
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Anteroom")
	r.Header.Set("Idempotency-Key", a.ID)
	if t := w.token.Load(); t != nil && *t != "" {
		r.Header.Set("Authorization", "Bearer "+t.Reveal())
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
func newClient(cfg WebhookConfig) (*http.Client, error) {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: cfg.Timeout,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: answerMost, ForceAttemptHTTP2: true}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("watch.webhook.ca_file: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("watch.webhook.ca_file: holds no certificate")
		}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
