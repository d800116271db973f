package signin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"anteroom/session"
)

const (
	// refreshTime is how long the provider may take over a refresh token. Nobody
	// waits for it, and to hang up early means not to know what it did.
	refreshTime = 2 * time.Minute
	// maxRefreshes is how many may be with the provider at once. A token that
	// waits for its turn is in no doubt.
	maxRefreshes = 64
)

// refreshTransport is made for presenting refresh tokens: each on a connection
// of its own, in HTTP/1.1, with no limit on how long the answer takes. On a
// fresh connection net/http never sends a request twice; on one that was idle,
// or in HTTP/2 after some errors, it may (shouldRetryRequest), and a provider
// that sees a refresh token twice takes it for stolen (RFC 9700 §4.14.2).
func refreshTransport(c *http.Client) http.RoundTripper {
	next := c.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	t := session.Derive(next, func(t *http.Transport) {
		t.DisableKeepAlives, t.MaxConnsPerHost, t.ResponseHeaderTimeout = true, maxRefreshes, 0
		t.ForceAttemptHTTP2, t.Protocols = false, new(http.Protocols)
		t.Protocols.SetHTTP1(true)
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		if t.TLSClientConfig != nil {
			t.TLSClientConfig.NextProtos = nil
		}
	})
	if t == nil {
		return next
	}
	return t
}

// refresh presents a refresh token, once. The error wraps session.ErrInDoubt
// where the provider was reached and what it did with the token is not known.
func (p *RelyingParty) refresh(ctx context.Context, conf func(session.Secret) *oauth2.Config, token session.Secret) (*oauth2.Token, error) {
	ctx, done := p.timed(ctx, "refresh")
	defer done()
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	call := new(presentation)
	var tok *oauth2.Token
	err := p.secret.Show(func(s session.Secret) (err error) {
		call = &presentation{next: p.refreshing}
		ctx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { call.reached.Store(true) }})
		client := &http.Client{Transport: bounded{call}, CheckRedirect: p.client.CheckRedirect}
		src := conf(s).TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client), &oauth2.Token{RefreshToken: token.Reveal()})
		tok, err = src.Token()
		return err
	}, isClientRefused)
	switch {
	case err == nil:
		return tok, nil
	case call.inDoubt():
		_, err = p.tokenError(err)
		return nil, fmt.Errorf("refreshing: %w: %w", session.ErrInDoubt, err)
	}
	return nil, p.refreshError(err)
}

// presentation notes how far one request came.
type presentation struct {
	next    http.RoundTripper
	reached atomic.Bool // there was a connection to write it to
	status  int         // 0: no answer
	cut     bool        // the answer's body ended early
}

// RoundTrip implements http.RoundTripper.
func (c *presentation) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.status = resp.StatusCode
	resp.Body = &answerBody{resp.Body, c}
	return resp, nil
}

// inDoubt reports whether a presentation that failed may have been a success at
// the provider: it gave no answer, or a gateway gave up waiting for one, or the
// answer was a good one that got lost on its way.
func (c *presentation) inDoubt() bool {
	switch {
	case c.status == 0:
		return c.reached.Load()
	case c.status == http.StatusGatewayTimeout:
		return true
	}
	return c.status/100 == 2 && c.cut
}

// answerBody notes a body that breaks off.
type answerBody struct {
	io.ReadCloser
	call *presentation
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.call.cut = true
	}
	return n, err
}
