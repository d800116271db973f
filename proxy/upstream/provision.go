package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"anteroom/session"
)

// ProvisionConfig is the section "identity.provision": the application is told
// who signs in, and says by which id it knows them.
type ProvisionConfig struct {
	URL       string        `yaml:"url" doc:"where the application is told who signs in, such as http://app:8001/internal/provision; empty: it is not"`
	Timeout   time.Duration `yaml:"timeout" default:"5s" doc:"how long telling it may take, with all its retries"`
	OnFailure string        `yaml:"on_failure" default:"refuse" oneof:"refuse,continue" doc:"when the application does not answer: refuse the sign-in, or continue it, with Nextcloud's id as the JWT's sub until the application answers"`
}

var (
	// ErrProvisionRefused: the application does not want the person.
	ErrProvisionRefused = errors.New("the application does not let this person in")
	// ErrProvision: the application could not be told, or what it answered is no
	// answer.
	ErrProvision = errors.New("the application could not be told who signs in")
)

const (
	provisionLife   = time.Minute // of the JWT
	provisionAnswer = 64 << 10
	provisionTries  = 4
	provisionWait   = 150 * time.Millisecond // before the second try; then twice as long each time
	maxAppID        = 255
)

// Provisioner tells the application who signs in. Safe for concurrent use.
type Provisioner struct {
	cfg    ProvisionConfig
	issuer string
	keys   *Ring
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	flights singleflight.Group
	told    *prometheus.CounterVec
	seconds prometheus.Histogram
}

// NewProvisioner makes one for a URL; nil where there is none.
func NewProvisioner(cfg Config, issuer string, keys *Ring, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) *Provisioner {
	if cfg.Provision.URL == "" {
		return nil
	}
	p := &Provisioner{cfg: cfg.Provision, issuer: issuer, keys: keys, now: now, log: log,
		client: &http.Client{Transport: newTransport(Options{DialTimeout: cfg.Provision.Timeout}), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		told:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_provision_total", Help: "People the application was told of, by outcome."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "anteroom_provision_seconds", Help: "Time of telling the application who signs in, with retries.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}})}
	if reg != nil {
		reg.MustRegister(p.told, p.seconds)
	}
	return p
}

// Traced has its requests told of. Call it before the first.
func (p *Provisioner) Traced(wrap func(http.RoundTripper) http.RoundTripper) {
	if p != nil {
		p.client.Transport = wrap(p.client.Transport)
	}
}

// Required reports whether a person may not come in without the application
// having been told.
func (p *Provisioner) Required() bool { return p.cfg.OnFailure != "continue" }

// provisioned is what the application is told.
type provisioned struct {
	ID       string    `json:"nextcloud_id"`
	Username string    `json:"preferred_username"`
	Name     string    `json:"name,omitempty"`
	Email    string    `json:"email,omitempty"`
	Groups   []string  `json:"groups"`
	KnownAs  string    `json:"id,omitempty"` // the application's own, of an earlier time
	SignedIn time.Time `json:"signed_in_at"`
}

// of is what is said of somebody, and what stands for all of it that lasts.
func of(who *session.Identity) (body []byte, lasting string, err error) {
	said := provisioned{who.Subject, who.Username, who.Name, who.Email, append([]string{}, who.Groups...), "", time.Time{}}
	same, err := json.Marshal(said)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrProvision, err)
	}
	sum := sha256.Sum256(same)
	said.KnownAs, said.SignedIn = who.AppID, who.AuthTime.UTC().Truncate(time.Second)
	if body, err = json.Marshal(said); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrProvision, err)
	}
	return body, base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

// Tell tells the application of a person and notes its own id for them. Two
// sign-ins of the same person at once are told as one. The error is
// ErrProvisionRefused or ErrProvision.
func (p *Provisioner) Tell(ctx context.Context, who *session.Identity) error {
	body, lasting, err := of(who)
	if err != nil {
		return err
	}
	id := ""
	start := p.now()
	flight := p.flights.DoChan(who.Subject+" "+lasting, func() (id any, err error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.Timeout)
		defer cancel()
		panicked := session.Contain(p.log, "telling the application who signs in", func() error { // DoChan would end the program
			id, err = p.tell(ctx, body)
			return nil
		})
		if panicked != nil {
			return "", fmt.Errorf("%w: %w", ErrProvision, panicked)
		}
		return id, err
	})
	select {
	case r := <-flight:
		id, _ = r.Val.(string)
		err = r.Err
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", ErrProvision, ctx.Err())
	}
	p.seconds.Observe(p.now().Sub(start).Seconds())
	outcome := "ok"
	switch {
	case errors.Is(err, ErrProvisionRefused):
		outcome = "refused"
	case err != nil:
		outcome = "failed"
		p.log.Error("the application could not be told who signs in (identity.provision)", "who", who, "error", err)
	}
	p.told.WithLabelValues(outcome).Inc()
	if err == nil {
		who.AppID, who.AppTold = id, lasting
	}
	return err
}

// tell asks until there is an answer, or no time.
func (p *Provisioner) tell(ctx context.Context, body []byte) (id string, err error) {
	sum := sha256.Sum256(body)
	key := base64.RawURLEncoding.EncodeToString(sum[:])
	wait := provisionWait
	for try := 1; ; try++ {
		var again bool
		if id, again, err = p.once(ctx, body, key); err == nil || !again || try == provisionTries {
			return id, err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// once asks once. again reports whether another answer may come of asking again.
func (p *Provisioner) once(ctx context.Context, body []byte, key string) (id string, again bool, err error) {
	token, err := p.sign(body, key)
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrProvision, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrProvision, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("User-Agent", "Anteroom")
	if err := NewSigner(p.keys, p.now).Sign(r, body); err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrProvision, err)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return "", true, fmt.Errorf("%w: %w", ErrProvision, session.WithoutURL(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, provisionAnswer+1))
	switch status := resp.StatusCode; {
	case status == http.StatusForbidden:
		return "", false, ErrProvisionRefused
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusConflict, status == http.StatusRequestTimeout:
		return "", true, fmt.Errorf("%w: it answers %d", ErrProvision, status)
	case status != http.StatusOK && status != http.StatusCreated:
		return "", false, fmt.Errorf("%w: it answers %d", ErrProvision, status)
	case err != nil:
		return "", true, fmt.Errorf("%w: its answer broke off", ErrProvision)
	}
	id, err = idIn(resp.Header.Get("Content-Type"), answer)
	return id, false, err
}

// idIn reads the application's answer: {"id": "…"}, or a whole number.
func idIn(media string, answer []byte) (string, error) {
	if m, _, err := mime.ParseMediaType(media); err != nil || m != "application/json" || len(answer) > provisionAnswer {
		return "", fmt.Errorf("%w: its answer is no JSON document of moderate size", ErrProvision)
	}
	var said struct {
		ID any `json:"id"`
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if err := d.Decode(&said); err != nil || d.More() {
		return "", fmt.Errorf("%w: its answer is no JSON object", ErrProvision)
	}
	id, ok := said.ID.(string)
	if n, isNumber := said.ID.(json.Number); isNumber {
		id, ok = n.String(), !strings.ContainsAny(n.String(), ".eE") // 1e2 and 100.0 would be other people than 100
	}
	if !ok || id == "" || len(id) > maxAppID || strings.TrimSpace(id) != id || strings.ContainsFunc(id, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
		return "", fmt.Errorf("%w: its answer has no id of 1 to %d characters", ErrProvision, maxAppID)
	}
	return id, nil
}

// sign makes the JWT that the application knows us by. Its audience is the
// address that it is for, which is that of no identity JWT; body is the hash of
// what comes with it.
func (p *Provisioner) sign(body []byte, hash string) (string, error) {
	keys := p.keys.held.Load()
	if keys.signer == nil {
		return "", errors.New("there is no key to sign with")
	}
	now := p.now()
	claims, err := json.Marshal(map[string]any{
		"iss": p.issuer, "aud": p.cfg.URL, "sub": "anteroom", "jti": newID(), "body_sha256": hash,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(provisionLife).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("encoding a JWT: %w", err)
	}
	signed, err := keys.signer.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return signed.CompactSerialize()
}

// renewalTime is how long telling the application may hold up a renewal, whose
// new tokens are not kept yet.
const renewalTime = 2 * time.Second

// Renewing is a renewer that tells the application of what a renewal changed,
// and of whom it was not told yet. That it fails is no reason to sign anybody
// out: it is tried again at the next renewal.
func (p *Provisioner) Renewing(next session.Renewer) session.Renewer {
	if p == nil {
		return next
	}
	return &renewing{p, next}
}

type renewing struct {
	p    *Provisioner
	next session.Renewer
}

// Renew implements session.Renewer.
func (r *renewing) Renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	before := g.Identity
	g, err := r.next.Renew(ctx, g)
	if err != nil || g.Identity.Subject != before.Subject {
		return g, err
	}
	g.Identity.AppID, g.Identity.AppTold, g.Identity.AuthTime = before.AppID, before.AppTold, before.AuthTime
	if _, lasting, err := of(&g.Identity); err != nil || before.AppID != "" && lasting == before.AppTold {
		return g, nil
	}
	ctx, cancel := context.WithTimeout(ctx, renewalTime)
	defer cancel()
	if err := r.p.Tell(ctx, &g.Identity); errors.Is(err, ErrProvisionRefused) {
		return g, session.ErrNotAllowed
	}
	return g, nil
}
