package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/audit"
	"anteroom/session"
)

// hook is a webhook that answers as it is told, and keeps what it was sent.
type hook struct {
	mu     sync.Mutex
	answer func(n int) (status int, err error) // n from 0
	got    []Alert
	at     []time.Time
	heads  []http.Header
}

func (h *hook) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var a Alert
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		return nil, err
	}
	h.got, h.at, h.heads = append(h.got, a), append(h.at, time.Now()), append(h.heads, r.Header)
	status, err := h.answer(len(h.got) - 1)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

// posts are the alerts that came so far.
func (h *hook) posts() []Alert {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// running is a Watch that runs, and what came of it.
type running struct {
	*testing.T
	w        *Watch
	registry *prometheus.Registry
	lines    []audit.Event
	stop     func()
}

func run(t *testing.T, cfg Config, o Options) *running {
	r := &running{T: t, registry: prometheus.NewRegistry()}
	o.Registry = r.registry
	var mu sync.Mutex
	o.Audit = func(e audit.Event) error {
		mu.Lock()
		defer mu.Unlock()
		r.lines = append(r.lines, e)
		return nil
	}
	var err error
	if r.w, err = New(cfg, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { r.w.Run(ctx) })
	r.stop = func() { cancel(); work.Wait() }
	t.Cleanup(r.stop)
	return r
}

// count is a counter's value.
func (r *running) count(name, label string) int {
	all, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.Metric {
			if f.GetName() == name && m.Label[0].GetValue() == label {
				return int(m.Counter.GetValue())
			}
		}
	}
	return -1
}

func hooked() Config {
	c := defaults()
	c.Webhook.URL = "https://alerts.example.com/x"
	return c
}

func revoked(sid string) audit.Event {
	e := over(sid, session.EndRevoked)
	e.Time = time.Now()
	return e
}

// TestAlertIsToldEverywhere: the audit log, the metric and the webhook, under
// one id.
func TestAlertIsToldEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(int) (int, error) { return 204, nil }}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h}})
		r.w.See(revoked("a"))
		synctest.Wait()
		if len(h.posts()) != 1 || len(r.lines) != 1 {
			t.Fatalf("posts = %d, lines = %d, want one each", len(h.posts()), len(r.lines))
		}
		a, line := h.posts()[0], r.lines[0]
		if a.ID == "" || a.ID != line.RequestID || a.ID != h.heads[0].Get("Idempotency-Key") || a.Rule != revokedSession || line.Alert != a.Rule || line.Kind != audit.Alert {
			t.Errorf("alert = %+v, line = %+v, want one id and rule", a, line)
		}
		if a.Session != "a" || a.Network != "203.0.113.9" || line.Client != "203.0.113.9" || a.Ended != "revoked" || a.Count != 1 || !a.First.Equal(time.Now()) {
			t.Errorf("alert = %+v", a)
		}
		if n := r.count("anteroom_alerts_total", revokedSession); n != 1 {
			t.Errorf("anteroom_alerts_total = %d, want 1", n)
		}
		r.w.See(line) // comes by here, too
		synctest.Wait()
		if len(h.posts()) != 1 || r.count("anteroom_alert_deliveries_total", outcomeDelivered) != 1 {
			t.Errorf("posts = %d, want 1", len(h.posts()))
		}
	})
}

// TestAlertIsNotRepeated: within quiet nothing more comes, then how often it
// would have; and about somebody else at once.
func TestAlertIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(int) (int, error) { return 200, nil }}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h}})
		for range 8 {
			r.w.See(revoked("a"))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if len(h.posts()) != 1 {
			t.Fatalf("posts within quiet = %d, want 1", len(h.posts()))
		}
		r.w.See(revoked("b"))
		synctest.Wait()
		if len(h.posts()) != 2 || h.posts()[1].Session != "b" {
			t.Fatalf("posts = %+v, want one about each session", h.posts())
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(h.posts()) != 3 || h.posts()[2].Session != "a" || h.posts()[2].Repeats != 7 || h.posts()[2].Count != 7 || h.posts()[2].ID == h.posts()[0].ID {
			t.Fatalf("after quiet = %+v, want a summary of 7", h.posts()[2:])
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(h.posts()) != 3 || r.w.quiet.len() != 0 {
			t.Errorf("an hour later posts = %d, pauses = %d, want 3 and none", len(h.posts()), r.w.quiet.len())
		}
		r.w.See(revoked("a"))
		synctest.Wait()
		if len(h.posts()) != 4 || h.posts()[3].Repeats != 0 {
			t.Errorf("once more = %+v, want an alert of its own", h.posts()[3:])
		}
	})
}

// TestManyAlertsAreOne: a rule that fires for very many is put together.
func TestManyAlertsAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(int) (int, error) { return 200, nil }}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h}})
		for i := range 2000 {
			r.w.See(revoked(fmt.Sprint(i)))
		}
		synctest.Wait()
		if last := h.posts()[len(h.posts())-1]; len(h.posts()) != mostPerMinute+1 || !last.Several || last.Session != "" {
			t.Fatalf("posts = %d, the last %+v, want %d and one for all others", len(h.posts()), last, mostPerMinute)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if last := h.posts()[len(h.posts())-1]; len(h.posts()) != mostPerMinute+2 || last.Repeats != 2000-mostPerMinute-1 {
			t.Errorf("posts = %d, the last %+v, want a summary of the rest", len(h.posts()), last)
		}
	})
}

// TestWebhookIsTriedAgain, with the same id, ever more slowly, until it takes
// the alert; the audit log need not wait.
func TestWebhookIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(n int) (int, error) {
			return []int{500, 503, 401, 302, 429, 200}[n], []error{nil, errors.New("away"), nil, nil, nil, nil}[n]
		}}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}})
		begun := time.Now()
		r.w.See(revoked("a"))
		synctest.Wait()
		if len(r.lines) != 1 {
			t.Errorf("audit lines = %d, want 1 at once", len(r.lines))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(h.posts()) != 6 || r.count("anteroom_alert_deliveries_total", outcomeFailed) != 5 || r.count("anteroom_alert_deliveries_total", outcomeDelivered) != 1 {
			t.Fatalf("tries = %d, want 5 that fail and 1", len(h.posts()))
		}
		for i, want := range []time.Duration{0, 1, 3, 7, 15, 31} {
			if got := h.at[i].Sub(begun); got != want*time.Second || h.posts()[i].ID != h.posts()[0].ID || h.heads[i].Get("Idempotency-Key") != h.posts()[i].ID {
				t.Errorf("try %d = after %s with id %s, want after %d s with the same", i, got, h.posts()[i].ID, want)
			}
		}
	})
}

// TestWebhookThatIsAway: alerts wait, bounded; what is too old is given up.
func TestWebhookThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := hooked()
		cfg.Quiet = time.Second
		h := &hook{answer: func(int) (int, error) { return 0, errors.New("away") }}
		r := run(t, cfg, Options{Client: &http.Client{Transport: h}})
		for i := range 2000 {
			r.w.See(revoked(fmt.Sprint(i)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		r.w.mu.Lock()
		waiting := len(r.w.toSend)
		r.w.mu.Unlock()
		if dropped := r.count("anteroom_alert_deliveries_total", outcomeDropped); waiting > mostWaiting || dropped < 0 {
			t.Errorf("waiting = %d, dropped = %d, want %d at most", waiting, dropped, mostWaiting)
		}
		time.Sleep(10 * 24 * time.Hour) // they take turns
		synctest.Wait()
		if n := r.count("anteroom_alert_deliveries_total", outcomeExpired); n < 1 {
			t.Errorf("expired = %d, want some", n)
		}
	})
}

// TestWebhookThatRefuses: what it will never take does not hold up the next.
func TestWebhookThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(n int) (int, error) { return []int{422, 200}[n], nil }}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h}})
		r.w.See(revoked("a"))
		r.w.See(revoked("b"))
		time.Sleep(time.Second)
		synctest.Wait()
		if len(h.posts()) != 2 || h.posts()[1].Session != "b" || r.count("anteroom_alert_deliveries_total", outcomeRefused) != 1 {
			t.Errorf("posts = %+v, want the second after the first was refused", h.posts())
		}
	})
}

// TestOneAlertHoldsUpNoOther: those that break the receiver wait behind those
// that do not, and for a day in all.
func TestOneAlertHoldsUpNoOther(t *testing.T) {
	for bad := 1; bad <= 3; bad++ {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hook{}
				h.answer = func(n int) (int, error) {
					if strings.HasPrefix(h.got[n].Session, "bad") {
						return 500, nil
					}
					return 200, nil
				}
				cfg := hooked()
				cfg.Quiet = 48 * time.Hour
				r := run(t, cfg, Options{Client: &http.Client{Transport: h}})
				delivered := func(want int, within time.Duration) {
					t.Helper()
					time.Sleep(within)
					synctest.Wait()
					if n := r.count("anteroom_alert_deliveries_total", outcomeDelivered); n != want {
						t.Errorf("delivered within %s = %d, want %d", within, n, want)
					}
				}
				for i := range bad {
					r.w.See(revoked(fmt.Sprint("bad", i)))
				}
				for i := range 10 {
					r.w.See(revoked(fmt.Sprint(i)))
				}
				delivered(10, 10*time.Second)
				time.Sleep(time.Hour)
				r.w.See(revoked("later"))
				if bad == 1 { // nothing says that the receiver is away
					delivered(11, 0)
				}
				delivered(11, retryMost)
				time.Sleep(25 * time.Hour)
				synctest.Wait()
				if n := r.count("anteroom_alert_deliveries_total", outcomeExpired); n != bad || len(h.posts()) > 400 {
					t.Errorf("expired = %d after %d posts, want those that are not taken", n, len(h.posts()))
				}
			})
		})
	}
}

// TestStop: what waits is tried once more, and the time that takes is bounded.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(n int) (int, error) { return []int{500, 500, 200}[min(n, 2)], nil }}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h}})
		for _, sid := range []string{"a", "b", "c"} {
			r.w.See(revoked(sid))
		}
		synctest.Wait() // two failed, so the third waits, too
		begun := time.Now()
		r.stop()
		if len(h.posts()) != 5 || h.posts()[2].Session != "c" || time.Since(begun) > lastTime {
			t.Errorf("posts = %d after %s, want 5", len(h.posts()), time.Since(begun))
		}
	})
}

// TestNoMailAddressInWebhook: an id at Nextcloud may be one.
func TestNoMailAddressInWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hook{answer: func(int) (int, error) { return 200, nil }}
		r := run(t, hooked(), Options{Client: &http.Client{Transport: h}})
		cfg := r.w.cfg.BulkDelete
		for i := range cfg.Count {
			e := access("doc@example.com", "DELETE", fmt.Sprint("/dav/canary", i))
			e.Time = time.Now()
			r.w.See(e)
		}
		synctest.Wait()
		mail := access("testdoc", "GET", "/api/v1/mail")
		mail.Time, mail.Status, mail.Reason, mail.As = time.Now(), 502, "service_credential_refused", "doc@example.com"
		r.w.See(mail)
		synctest.Wait()
		if got := h.posts(); len(got) != 2 || got[1].Service != "" {
			t.Errorf("alerts = %+v, want one of a service account that is not named", got)
		}
		if h.posts()[0].Subject != "" || r.lines[0].Subject != "doc@example.com" {
			t.Errorf("alert = %+v, want one that names nobody", h.posts())
		}
	})
}

// TestNamesThatAreNone: a name that was tried is told only where somebody of
// that name was here: people type passwords there.
func TestNamesThatAreNone(t *testing.T) {
	s := newScene(t, defaults())
	s.see(signIn("Testdoc", "a", "192.0.2.1", ""), access("client:indexer", "GET", "/dav/x"))
	for i := range 10 {
		s.see(refused("TESTDOC", uint64(i+1), "192.0.2.7"), refused("canary-password", uint64(i+1), "192.0.2.8"), refused("indexer", uint64(i+1), "192.0.2.9"))
	}
	for _, a := range s.w.raised {
		if want := map[string]string{"192.0.2.7": "testdoc", "192.0.2.8": "", "192.0.2.9": "client:indexer"}[a.Network]; a.Subject != want {
			t.Errorf("subject of %s = %q, want %q", a.Network, a.Subject, want)
		}
	}
	s.want("of three names", guessing, guessing, guessing)
}

// words signs with one.
type words struct{}

func (words) Sign(r *http.Request, body []byte) error {
	r.Header.Set("Signature", fmt.Sprint("over ", len(body)))
	return nil
}

// TestWebhookOverSockets: it is sent the token and a signature, its redirect is
// not followed, and of an endless answer only so much is read.
func TestWebhookOverSockets(t *testing.T) {
	posts := make(chan *http.Request, 10)
	var elsewhere int
	mux := http.NewServeMux()
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Length", fmt.Sprint("over ", len(body)))
		posts <- r
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, want := range map[string]string{"/endless": outcomeDelivered, "/redirect": outcomeFailed, "/slow": outcomeFailed, "/none": outcomeFailed} {
		cfg := defaults()
		cfg.Webhook = WebhookConfig{URL: server.URL + path, Token: "canary-token", Timeout: 300 * time.Millisecond}
		w, err := New(cfg, Options{Sign: words{}})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.try(t.Context(), &Alert{ID: "1", Rule: spray}); got != want {
			t.Errorf("try(%s) = %s, want %s", path, got, want)
		}
	}
	cfg := defaults()
	cfg.Webhook = WebhookConfig{URL: server.URL + "/endless", Token: "canary-token", Timeout: 300 * time.Millisecond}
	w, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.RenewToken("canary-renewed")
	w.try(t.Context(), &Alert{ID: "2"})
	r := <-posts
	if renewed := <-posts; renewed.Header.Get("Authorization") != "Bearer canary-renewed" || renewed.Header.Get("Signature") != "" {
		t.Errorf("headers with a new token and no key = %v", renewed.Header)
	}
	if r.Header.Get("Authorization") != "Bearer canary-token" || r.Header.Get("Signature") == "" || r.Header.Get("Signature") != r.Header.Get("Length") || elsewhere != 0 {
		t.Errorf("headers = %v, redirects followed = %d", r.Header, elsewhere)
	}
}

// TestTokenExchange: an alert is delivered whichever side learns of a new token
// first.
func TestTokenExchange(t *testing.T) {
	takes, shown := "one", 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown++; r.Header.Get("Authorization") != "Bearer "+takes {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	cfg := defaults()
	cfg.Webhook = WebhookConfig{URL: server.URL, Token: "one", Timeout: time.Second}
	w, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	try := func(when, want string, requests int) {
		t.Helper()
		shown = 0
		if got := w.try(t.Context(), &Alert{ID: "1", Rule: spray}); got != want || shown != requests {
			t.Errorf("%s: %s after %d requests, want %s after %d", when, got, shown, want, requests)
		}
	}
	w.RenewToken("two")
	try("before the webhook knows it", outcomeDelivered, 2)
	takes = "two"
	try("once it does", outcomeDelivered, 2)
	try("from then on", outcomeDelivered, 1)
	takes = "three"
	try("with no good one", outcomeFailed, 1)
}

func TestCAFile(t *testing.T) {
	for _, file := range []string{"no-such-file", "deliver_test.go"} {
		if _, err := New(Config{Webhook: WebhookConfig{CAFile: file}}, Options{}); err == nil || !strings.HasPrefix(err.Error(), "watch.webhook.ca_file: ") {
			t.Errorf("New(ca_file %s) = %v, want an error", file, err)
		}
	}
}
