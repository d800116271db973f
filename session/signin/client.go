package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/oauth2"

	"anteroom/session"
)

// maxAnswer bounds every answer of a provider.
const maxAnswer = 1 << 20

// errAnswer: the provider answered with something that is no answer: an error
// of its own, a maintenance page. It says nothing about the person.
var errAnswer = errors.New("the provider's answer is no answer")

// boundedClient is the client for everything but discovery: no redirects, no
// cookies, no answer over maxAnswer.
func boundedClient(c *http.Client) *http.Client {
	next := http.DefaultTransport
	if c.Transport != nil {
		next = c.Transport
	}
	return &http.Client{
		Transport:     bounded{next},
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, session.WithoutQuotes(err) // of an answer with tokens, perhaps
	}
	if resp.ContentLength > maxAnswer {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: it is larger than %d bytes", errAnswer, maxAnswer)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// fetchJSON gets a JSON document. The status is returned whatever it is; v is
// filled only from a 200 that is JSON, and err is nil only then.
func fetchJSON(c *http.Client, r *http.Request, v any) (status int, err error) {
	r.Header.Set("Accept", "application/json")
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return resp.StatusCode, fmt.Errorf("reading %s: %w", r.URL.Path, err)
	case resp.StatusCode != http.StatusOK:
		return resp.StatusCode, fmt.Errorf("%w: %s: status %d", errAnswer, r.URL.Path, resp.StatusCode)
	case json.Unmarshal(body, v) != nil:
		return resp.StatusCode, fmt.Errorf("%w: %s is not JSON", errAnswer, r.URL.Path)
	}
	return resp.StatusCode, nil
}

// tokenError makes of x/oauth2's error one without the answer's body. The code
// is the provider's own (RFC 6749 §5.2), "" where it gave no such answer. A
// client that is not accepted is the operator's to mend, and logged as an error.
func (p *RelyingParty) tokenError(err error) (code string, _ error) {
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) || re.Response == nil {
		return "", fmt.Errorf("token endpoint: %w", err)
	}
	status, said := re.Response.StatusCode, printable(re.ErrorCode)
	if status == http.StatusBadRequest || status == http.StatusUnauthorized {
		code = said
	}
	if code == "invalid_client" || code == "unauthorized_client" {
		p.o.Log.Error("the provider does not accept signin.client_id with signin.client_secret", "code", code, "status", status)
	}
	return code, fmt.Errorf("%w: token endpoint: status %d, error %q", errAnswer, status, said)
}

// timed counts how long a call to the provider took. The call is made with the
// context that it returns, by whose name it is traced.
func (p *RelyingParty) timed(ctx context.Context, call string) (context.Context, func()) {
	start := p.o.Now()
	return p.leg(ctx, call), func() { p.metrics.seconds.WithLabelValues(call).Observe(p.o.Now().Sub(start).Seconds()) }
}

func (p *RelyingParty) leg(ctx context.Context, call string) context.Context {
	if p.o.Trace == nil {
		return ctx
	}
	return p.o.Trace.Leg(ctx, "provider "+call)
}

// withClient makes x/oauth2 and go-oidc use our client.
func (p *RelyingParty) withClient(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.client)
}

// metrics is what this package counts.
type metrics struct {
	signIns, renewals *prometheus.CounterVec
	ready             prometheus.Gauge
	seconds           *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		signIns:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_signin_total", Help: "Sign-ins that came back, by provider and result."}, []string{"provider", "result"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_signin_renewals_total", Help: "Renewals asked of the provider, by result."}, []string{"provider", "result"}),
		ready:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_provider_ready", Help: "1 once a provider was found and answers."}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "anteroom_provider_request_seconds", Help: "Time of calls to the provider.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"call"}),
	}
	if reg != nil {
		reg.MustRegister(m.signIns, m.renewals, m.ready, m.seconds)
	}
	return m
}

// clockLeeway is by how much the provider's clock may differ from ours.
const clockLeeway = time.Minute
