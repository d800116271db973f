package mail

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"anteroom/integrations"
	"anteroom/integrations/mail/mailtest"
	"anteroom/session"
	"anteroom/test/redistest"
)

// replicas are two accounts that share a Redis, and a clock that a test moves.
type replicas struct {
	*mailtest.Servers
	redis    *redistest.Server
	one, two *Account
	now      time.Time
}

func openReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{Servers: mailtest.Start(t, mailtest.Rich), redis: redistest.Start(t, redistest.Options{}), now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	share := func(_ *integrations.Mail, o *Options) {
		o.Now = func() time.Time { return r.now }
		o.Keys = ledger(t, r.redis)
	}
	r.one, r.two = open(t, r.Servers, share), open(t, r.Servers, share)
	return r
}

func ledger(t *testing.T, s *redistest.Server) *session.Ledger {
	t.Helper()
	shared, err := session.OpenRedis(session.RedisConfig{URL: session.Secret(s.URL())}, session.RedisOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shared.Close() })
	codec, err := session.NewCodec([]session.Secret{session.Secret(base64.StdEncoding.EncodeToString(make([]byte, session.KeyBytes)))})
	if err != nil {
		t.Fatal(err)
	}
	return session.NewLedger(shared, codec, "keys")
}

var keyedDraft = Draft{To: []string{"a@example.org"}, Text: "x", Key: "key"}

// TestSentOnceByReplicas: a key that one replica used, or uses, counts at another.
func TestSentOnceByReplicas(t *testing.T) {
	r, ctx, d := openReplicas(t), t.Context(), keyedDraft
	taking, goOn := make(chan struct{}), make(chan struct{})
	r.Data = func() error {
		close(taking)
		<-goOn
		return nil
	}
	over := make(chan Sent)
	go func() {
		sent, err := r.one.Send(ctx, d)
		if err != nil {
			t.Error(err)
		}
		over <- sent
	}()
	<-taking
	_, err := r.two.Send(ctx, d)
	if p := wantProblem(t, "meanwhile", err, http.StatusConflict, integrations.ReasonConflict); p.RetryAfter <= 0 {
		t.Error("nobody says when to ask again")
	}
	close(goOn)
	first := <-over
	again, err := r.two.Send(ctx, d)
	if err != nil || !again.Repeated || again.MessageID != first.MessageID || again.SavedTo != "Sent" || len(r.Delivered()) != 1 {
		t.Errorf("Send(at the other) = %+v, %v, want what the first had: %+v", again, err, first)
	}
	d.Text = "another"
	_, err = r.two.Send(ctx, d)
	wantProblem(t, "the key of another message", err, http.StatusConflict, integrations.ReasonConflict)
	if got, err := r.one.Send(ctx, keyedDraft); err != nil || !got.Repeated {
		t.Errorf("Send(again at the first) = %+v, %v, want nothing sent", got, err)
	}
}

// TestReplicasAtOnce sends with many keys through both at once.
func TestReplicasAtOnce(t *testing.T) {
	r := openReplicas(t)
	var wg sync.WaitGroup
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		for _, a := range []*Account{r.one, r.two, r.one, r.two} {
			wg.Go(func() {
				d := keyedDraft
				d.Key = key
				if _, err := a.Send(t.Context(), d); err != nil {
					wantProblem(t, "at once", err, http.StatusConflict, integrations.ReasonConflict)
				}
			})
		}
	}
	wg.Wait()
	if n := len(r.Delivered()); n != 5 {
		t.Errorf("delivered = %d, want each of 5 once", n)
	}
}

// TestUnsentByReplicas: where nothing was sent, any replica may send it.
func TestUnsentByReplicas(t *testing.T) {
	r := openReplicas(t)
	r.Data = func() error { return &smtp.SMTPError{Code: 452, Message: "full"} }
	_, err := r.one.Send(t.Context(), keyedDraft)
	wantProblem(t, "refused", err, http.StatusServiceUnavailable, integrations.ReasonBusy)
	r.Data = nil
	if sent, err := r.two.Send(t.Context(), keyedDraft); err != nil || sent.Repeated {
		t.Errorf("Send(at the other) = %+v, %v, want it sent", sent, err)
	}
}

// TestReplicaThatDied: once the one that was sending must be dead, one caller is
// told that nobody knows, and whoever asks again has it sent, by the same
// Message-ID.
func TestReplicaThatDied(t *testing.T) {
	r, ctx := openReplicas(t), t.Context()
	message := digestOf(t, r.one)
	if before, err := r.one.keys.begin(ctx, keyedDraft.Key, message, r.now); before != nil || err != nil {
		t.Fatalf("begin = %v, %v", before, err)
	}
	for range 2 {
		r.now = r.now.Add(claimTime/2 - 1)
		_, err := r.two.Send(ctx, keyedDraft)
		wantProblem(t, "while it may live", err, http.StatusConflict, integrations.ReasonConflict)
	}
	r.now = r.now.Add(time.Second)
	_, err := r.two.Send(ctx, keyedDraft)
	if p := wantProblem(t, "afterwards", err, http.StatusBadGateway, integrations.ReasonAway); !strings.Contains(p.Text, "may have been sent") || p.RetryAfter > 0 {
		t.Errorf("problem = %q after %v, want that it may have been sent", p.Text, p.RetryAfter)
	}
	sent, err := r.two.Send(ctx, keyedDraft)
	if err != nil || sent.Repeated || sent.MessageID != r.one.messageID(keyedDraft.Key) {
		t.Errorf("Send(again) = %+v, %v, want it sent with the same Message-ID", sent, err)
	}
	r.one.keys.end(ctx, keyedDraft.Key, nil) // it lives after all
	if got, err := r.two.Send(ctx, keyedDraft); err != nil || !got.Repeated {
		t.Errorf("Send(once more) = %+v, %v, want what the second did to count", got, err)
	}
}

func digestOf(t *testing.T, a *Account) [32]byte {
	t.Helper()
	d := keyedDraft
	l, err := d.checked()
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.compose(a.from, "id@example.com", a.o.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c.digest
}

// TestClaimLeftBehind: a claim of our own whose answer was lost is in nobody's
// way here.
func TestClaimLeftBehind(t *testing.T) {
	r, ctx := openReplicas(t), t.Context()
	k := r.one.keys
	left, err := json.Marshal(told{Owner: k.owner, Until: r.now.Add(claimTime), Digest: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if _, first, err := k.shared.Enter(ctx, k.name(keyedDraft.Key), left, keyTime); err != nil || !first {
		t.Fatalf("Enter = %v, %v", first, err)
	}
	if sent, err := r.one.Send(ctx, keyedDraft); err != nil || sent.Repeated {
		t.Errorf("Send = %+v, %v, want it sent", sent, err)
	}
	if sent, err := r.two.Send(ctx, keyedDraft); err != nil || !sent.Repeated {
		t.Errorf("Send(at the other) = %+v, %v, want nothing sent", sent, err)
	}
}

// TestKeysWithoutRedis: while Redis is away nothing is sent with a key, what this
// replica sent is known to it, and without a key mail goes out.
func TestKeysWithoutRedis(t *testing.T) {
	r, ctx := openReplicas(t), t.Context()
	r.Data = func() error {
		r.redis.Stop()
		return nil
	}
	if sent, err := r.one.Send(ctx, keyedDraft); err != nil || sent.Repeated {
		t.Fatalf("Send = %+v, %v, want it sent", sent, err)
	}
	r.Data = nil
	if sent, err := r.one.Send(ctx, keyedDraft); err != nil || !sent.Repeated {
		t.Errorf("Send(again) = %+v, %v, want nothing sent", sent, err)
	}
	_, err := r.two.Send(ctx, keyedDraft)
	if p := wantProblem(t, "at the other", err, http.StatusServiceUnavailable, integrations.ReasonBusy); p.RetryAfter <= 0 || !strings.Contains(p.Text, "Nothing was sent") {
		t.Errorf("problem = %q after %v, want when to ask again", p.Text, p.RetryAfter)
	}
	d := keyedDraft
	d.Key = ""
	if _, err := r.two.Send(ctx, d); err != nil {
		t.Errorf("Send(without a key) = %v, want it sent", err)
	}
	r.redis.Restart()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		_, err = r.two.Send(ctx, keyedDraft)
		if p, _ := integrations.ProblemOf(err); p == nil || p.Status != http.StatusServiceUnavailable {
			break
		}
	}
	wantProblem(t, "with Redis again, which nobody could tell", err, http.StatusConflict, integrations.ReasonConflict)
	if n := len(r.Delivered()); n != 2 {
		t.Errorf("delivered = %d, want 2", n)
	}
}

// TestAppByReplicas holds for Nextcloud's Mail app.
func TestAppByReplicas(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	var boxes []Box
	for range 2 {
		b, _ := theApp(t, appAnswers)
		b.(*appBox).keys.shared = ledger(t, s)
		boxes = append(boxes, b)
	}
	for i, want := range []bool{false, true} {
		if sent, err := boxes[i].Send(context.Background(), keyedDraft); err != nil || sent.Repeated != want {
			t.Errorf("Send(at %d) = %+v, %v, want repeated = %v", i, sent, err, want)
		}
	}
}
