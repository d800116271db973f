package integrations

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/session"
)

// shelf is a store that tests look into and that can be away. Replicas share one.
type shelf struct {
	session.Memory

	mu      sync.Mutex
	now     time.Time         // guarded by mu
	away    bool              // guarded by mu
	full    bool              // guarded by mu: takes nothing more of what is new, but writes what it has anew
	frozen  bool              // guarded by mu: takes nothing at all, and can be read
	reads   int               // guarded by mu
	written map[string][]byte // guarded by mu: the last value of each key
	onGet   func()            // guarded by mu: called once, after the next read
}

var errShelf = errors.New("the shelf is away")

func newShelf() *shelf {
	s := &shelf{now: time.Unix(1_800_000_000, 0), written: map[string][]byte{}}
	s.Memory.Now = s.clock
	return s
}

func (s *shelf) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *shelf) set(f func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *shelf) pass(d time.Duration) { s.set(func(s *shelf) { s.now = s.now.Add(d) }) }

func (s *shelf) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	s.reads++
	away, then := s.away, s.onGet
	s.onGet = nil
	s.mu.Unlock()
	if away || ctx.Err() != nil {
		return nil, false, errShelf
	}
	v, found, err := s.Memory.Get(ctx, key)
	if then != nil {
		then()
	}
	return v, found, err
}

func (s *shelf) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.mu.Lock()
	_, had := s.written[key]
	if s.away || s.frozen || s.full && !had || ctx.Err() != nil {
		s.mu.Unlock()
		return errShelf
	}
	s.written[key] = bytes.Clone(value)
	s.mu.Unlock()
	return s.Memory.Put(ctx, key, value, ttl)
}

func (s *shelf) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away || ctx.Err() != nil {
		return errShelf
	}
	delete(s.written, key)
	return s.Memory.Delete(ctx, key)
}

// replica is one process's connections.
type replica struct {
	*Connections
	t    *testing.T
	log  *bytes.Buffer
	dead []string
}

const shelfKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func newReplica(t *testing.T, c *cloud, s *shelf) *replica {
	t.Helper()
	codec, err := session.NewCodec([]session.Secret{shelfKey})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, log: &bytes.Buffer{}}
	r.Connections = NewConnections(ConnectionsOptions{
		Flow: c.flow(t), Vault: session.NewVault(s, codec, "connections"), Now: s.clock, Grace: time.Hour,
		Log:  slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Dead: func(subject string) { r.dead = append(r.dead, subject) },
	})
	t.Cleanup(func() { r.noCanary(c, s) })
	return r
}

// noCanary checks that no secret is in the log, nor in anything the store has.
func (r *replica) noCanary(c *cloud, s *shelf) {
	all := r.log.String()
	s.set(func(s *shelf) {
		for k, v := range s.written {
			all += k + string(v)
		}
	})
	for _, secret := range c.secrets {
		if strings.Contains(all, secret) || strings.Contains(all, strings.ToUpper(secret)) {
			r.t.Errorf("%.20s… is written down", secret)
		}
	}
	if strings.Contains(all, "canary") {
		r.t.Error("some canary is written down")
	}
}

// want checks how far somebody has come.
func (r *replica) want(what, subject string, want State) Progress {
	r.t.Helper()
	p, err := r.Poll(r.t.Context(), subject, "sid-"+subject)
	if err != nil || p.State != want {
		r.t.Fatalf("%s: Poll(%s) = %s, %v, want %s", what, subject, p.State, err, want)
	}
	return p
}

func (r *replica) begin(subject string) Progress {
	r.t.Helper()
	p, err := r.Start(r.t.Context(), subject, "sid-"+subject)
	if err != nil || p.State != Pending || p.Login == "" {
		r.t.Fatalf("Start(%s) = %s, %v, want %s", subject, p.State, err, Pending)
	}
	return p
}

// has checks what somebody's requests go to Nextcloud with.
func (r *replica) has(what, subject string, want bool) session.Credential {
	r.t.Helper()
	cred, ok, err := r.Of(r.t.Context(), subject)
	if err != nil || ok != want || cred.IsZero() == want {
		r.t.Fatalf("%s: Of(%s) = %v, %t, %v, want one: %t", what, subject, cred, ok, err, want)
	}
	return cred
}

// connected goes through all of it.
func (r *replica) connected(c *cloud, subject string) session.Credential {
	r.t.Helper()
	c.grant(r.t, r.begin(subject).Login, subject, subject)
	r.want("granted", subject, Connected)
	return r.has("connected", subject, true)
}

func TestConnecting(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	r.want("at first", "ada", None)
	r.has("at first", "ada", false)
	p := r.begin("ada")
	if p.Ends.Sub(s.clock()) != FlowTime || !strings.HasPrefix(p.Login, c.URL) {
		t.Errorf("begun: %+v", p)
	}
	r.want("not granted", "ada", Pending)
	c.grant(t, p.Login, "ada", "ada@example.org")
	if p = r.want("granted", "ada", Connected); !p.New || p.Connection.Login != "ada@example.org" || !p.Connection.Since.Equal(s.clock()) {
		t.Errorf("granted: %+v", p)
	}
	for range 2 {
		if p = r.want("again", "ada", Connected); p.New {
			t.Errorf("looked again: %+v, want nothing new", p)
		}
	}
	if cred := r.has("connected", "ada", true); cred.User != "ada@example.org" {
		t.Errorf("Of = %v, want the name it was granted under", cred)
	}
	if p, err := r.Start(t.Context(), "ada", "sid-ada"); err != nil || p.State != Connected || c.left() != 1 {
		t.Errorf("Start when connected = %+v, %v", p, err)
	}
	r.want("somebody else", "bob", None)
	r.has("somebody else", "bob", false)
	if _, _, err := r.Of(t.Context(), ""); err != nil {
		t.Error(err)
	}
}

// TestAnotherSession: what one session began, no other sees.
func TestAnotherSession(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	for _, at := range [][2]string{{"ada", "sid-other"}, {"bob", "sid-ada"}, {"bob", "sid-bob"}} {
		if p, err := r.Poll(t.Context(), at[0], at[1]); err != nil || p.State != None {
			t.Errorf("Poll(%v) = %s, %v, want none", at, p.State, err)
		}
	}
	r.want("its own", "ada", Connected)
}

// TestGrantedAsAnother: an app password of somebody else's is deleted, and
// connects nobody.
func TestGrantedAsAnother(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "eve", "ada")
	c.set(func(c *cloud) { c.stubborn = true })
	if p := r.want("not deleted", "ada", Refused); !p.New || !p.Left || c.left() != 1 {
		t.Errorf("not deleted: %+v with %d left", p, c.left())
	}
	r.has("refused", "ada", false)
	r.has("refused", "eve", false)
	c.set(func(c *cloud) { c.stubborn = false })
	for range 2 {
		if p := r.want("deleted", "ada", Refused); p.New || p.Left || c.left() != 0 {
			t.Errorf("deleted: %+v with %d left", p, c.left())
		}
	}
	newReplica(t, c, s).want("at another replica", "ada", Refused)
	s.pass(FlowTime)
	r.want("afterwards", "ada", None)
	r.connected(c, "ada")
}

// TestStartAgainAfterRefusal: what cannot be deleted does not keep a person
// from trying again.
func TestStartAgainAfterRefusal(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "eve", "eve")
	c.set(func(c *cloud) { c.stubborn = true })
	r.want("not deleted", "ada", Refused)
	r.connected(c, "ada")
}

// TestAnswerLost: an answer that never came is not asked for again; the person
// starts anew.
func TestAnswerLost(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	c.set(func(c *cloud) { c.lose = true })
	if p := r.want("lost", "ada", Pending); !p.Away {
		t.Errorf("lost: %+v, want that Nextcloud did not answer", p)
	}
	r.want("later", "ada", Pending)
	r.connected(c, "ada")
}

// TestAnswerIsKeptFirst: an answer that the store does not take is not lost,
// and neither is one whose owner Nextcloud does not tell at once.
func TestAnswerIsKeptFirst(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	s.set(func(s *shelf) { s.full = true })
	for range 2 {
		if p, err := r.Poll(t.Context(), "ada", "sid-ada"); !errors.Is(err, ErrUnkept) {
			t.Fatalf("Poll with a store that takes nothing = %s, %v, want ErrUnkept", p.State, err)
		}
	}
	s.set(func(s *shelf) { s.full = false })
	c.set(func(c *cloud) { c.says = status(503, "") })
	r.want("not told whose", "ada", Checking)
	if p, err := r.Start(t.Context(), "ada", "sid-ada"); err != nil || p.State != Checking {
		t.Errorf("Start meanwhile = %s, %v, want that it is being checked", p.State, err)
	}
	other := newReplica(t, c, s)
	other.want("at another replica", "ada", Checking)
	c.set(func(c *cloud) { c.says = nil })
	other.want("told", "ada", Connected)
	r.has("told", "ada", true)
	if n := c.calls("/index.php/login/v2/poll"); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
}

// TestPersonLeaves: whoever closes the page while Nextcloud answers is
// connected all the same.
func TestPersonLeaves(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	c.set(func(c *cloud) {
		c.says = func(http.ResponseWriter, *http.Request) bool { leave(); return false }
	})
	r.Poll(ctx, "ada", "sid-ada")
	r.has("connected", "ada", true)
	again, leave2 := context.WithCancel(t.Context())
	defer leave2()
	c.set(func(c *cloud) {
		c.says = func(http.ResponseWriter, *http.Request) bool { leave2(); return false }
	})
	r.Revoke(again, "ada")
	if r.has("revoked", "ada", false); c.left() != 0 {
		t.Error("the app password stays at Nextcloud")
	}
}

// TestFlowComesBack: a replica that was late writes a flow anew that another
// has finished.
func TestFlowComesBack(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	p, at := r.begin("ada"), flow{"ada", "sid-ada"}
	var late pending
	if found, err := r.get(t.Context(), at.name(), &late); !found || err != nil {
		t.Fatalf("the flow = %t, %v", found, err)
	}
	c.grant(t, p.Login, "ada", "ada")
	r.want("granted", "ada", Connected)
	if err := r.put(t.Context(), at.name(), late, FlowTime); err != nil {
		t.Fatal(err)
	}
	r.want("come back", "ada", Connected)
}

// TestNothingIsFetchedThatCannotBeKept, for Nextcloud tells it once.
func TestNothingIsFetchedThatCannotBeKept(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	s.set(func(s *shelf) { s.frozen = true })
	if p, err := r.Poll(t.Context(), "ada", "sid-ada"); !errors.Is(err, ErrUnkept) || c.calls("/index.php/login/v2/poll") != 0 {
		t.Errorf("Poll with a store that takes nothing = %s, %v, having fetched %d times", p.State, err, c.calls("/index.php/login/v2/poll"))
	}
	s.set(func(s *shelf) { s.frozen = false })
	r.want("back", "ada", Connected)
}

// TestStoreAwayBeforeTheAnswer: nobody is told that there is nothing.
func TestStoreAwayBeforeTheAnswer(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	s.set(func(s *shelf) { s.away = true })
	if p, err := r.Poll(t.Context(), "ada", "sid-ada"); !errors.Is(err, ErrUnkept) || c.calls("/index.php/login/v2/poll") != 0 {
		t.Errorf("Poll with the store away = %s, %v", p.State, err)
	}
	if _, err := r.Start(t.Context(), "ada", "sid-ada"); !errors.Is(err, ErrUnkept) {
		t.Errorf("Start with the store away = %v, want ErrUnkept", err)
	}
	s.set(func(s *shelf) { s.away = false })
	r.want("back", "ada", Connected)
}

func TestNextcloudAway(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.set(func(c *cloud) { c.down = true })
	if p, err := r.Start(t.Context(), "ada", "sid-ada"); !errors.Is(err, ErrAway) {
		t.Errorf("Start = %s, %v, want ErrAway", p.State, err)
	}
	c.set(func(c *cloud) { c.down = false })
	p := r.begin("ada")
	c.set(func(c *cloud) { c.down = true })
	if p := r.want("away", "ada", Pending); !p.Away || p.Login == "" {
		t.Errorf("away: %+v", p)
	}
	c.set(func(c *cloud) { c.down = false })
	c.grant(t, p.Login, "ada", "ada")
	r.want("back", "ada", Connected)
}

func TestFlowEnds(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	r.begin("ada")
	s.pass(FlowTime - time.Second)
	r.want("just before", "ada", Pending)
	s.pass(time.Second)
	r.want("over", "ada", None)
	if n := c.calls("/index.php/login/v2/poll"); n != 1 {
		t.Errorf("asked %d times, want not once it is over", n)
	}
}

// TestDeadOnArrival: a password that Nextcloud does not accept connects nobody.
func TestDeadOnArrival(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	c.grant(t, r.begin("ada").Login, "ada", "ada")
	c.set(func(c *cloud) { clear(c.passwords) })
	if p := r.want("dead", "ada", Dead); !p.New {
		t.Errorf("dead: %+v", p)
	}
	if p := r.want("again", "ada", Dead); p.New {
		t.Errorf("again: %+v, want nothing new", p)
	}
	r.has("afterwards", "ada", false)
	r.connected(c, "ada")
}

func TestReplicas(t *testing.T) {
	c, s := newCloud(t), newShelf()
	a, b := newReplica(t, c, s), newReplica(t, c, s)
	p := a.begin("ada")
	if q := b.want("begun elsewhere", "ada", Pending); q.Login != p.Login {
		t.Errorf("the other replica sends to %q, want %q", q.Login, p.Login)
	}
	c.grant(t, p.Login, "ada", "ada")
	if p := b.want("granted", "ada", Connected); !p.New {
		t.Errorf("finished elsewhere: %+v", p)
	}
	if p := a.want("finished elsewhere", "ada", Connected); p.New {
		t.Errorf("finished elsewhere: %+v, want nothing new", p)
	}
	if x, y := a.has("both", "ada", true), b.has("both", "ada", true); x != y {
		t.Error("two replicas have two passwords")
	}
	if _, left, err := a.Revoke(t.Context(), "ada"); left || err != nil || c.left() != 0 {
		t.Errorf("Revoke = left %t, %v with %d left", left, err, c.left())
	}
	a.has("revoked here", "ada", false)
	if _, found, err := b.Status(t.Context(), "ada"); found || err != nil {
		t.Errorf("Status elsewhere = %t, %v, want none at once", found, err)
	}
	b.has("revoked elsewhere", "ada", false)
}

// TestManyAtOnce: however many look at once, one connection comes of it.
func TestManyAtOnce(t *testing.T) {
	c, s := newCloud(t), newShelf()
	replicas := []*replica{newReplica(t, c, s), newReplica(t, c, s), newReplica(t, c, s)}
	c.grant(t, replicas[0].begin("ada").Login, "ada", "ada")
	var wg sync.WaitGroup
	for i := range 30 {
		r := replicas[i%len(replicas)]
		wg.Go(func() {
			if _, err := r.Poll(t.Context(), "ada", "sid-ada"); err != nil {
				t.Errorf("Poll = %v", err)
			}
			r.Of(t.Context(), "ada")
		})
	}
	wg.Wait()
	for _, r := range replicas {
		r.want("afterwards", "ada", Connected)
	}
	if c.left() != 1 {
		t.Errorf("%d app passwords, want 1", c.left())
	}
}

// TestTwoFlows: of two sessions that connect, the later grant holds, and the
// other's app password is deleted.
func TestTwoFlows(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	first := r.begin("ada")
	second, err := r.Start(t.Context(), "ada", "sid-phone")
	if err != nil {
		t.Fatal(err)
	}
	c.grant(t, first.Login, "ada", "ada")
	c.grant(t, second.Login, "ada", "ada")
	s.pass(-time.Second) // the flows began after what the first look finds
	if p, err := r.Poll(t.Context(), "ada", "sid-phone"); err != nil || !p.New {
		t.Fatalf("Poll = %+v, %v", p, err)
	}
	old := r.has("first", "ada", true)
	if p := r.want("second", "ada", Connected); !p.New || c.left() != 1 || r.has("second", "ada", true) == old {
		t.Errorf("second: %+v with %d left, want the other one", p, c.left())
	}
}

func TestRevoke(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	if _, left, err := r.Revoke(t.Context(), "ada"); left || err != nil {
		t.Errorf("Revoke of nothing = %t, %v", left, err)
	}
	for name, tt := range map[string]struct {
		before func(*cloud)
		left   bool
	}{
		"deleted":      {func(*cloud) {}, false},
		"gone already": {func(c *cloud) { clear(c.passwords) }, false},
		"away":         {func(c *cloud) { c.down = true }, true},
		"forbidden":    {func(c *cloud) { c.stubborn = true }, true},
	} {
		r.connected(c, "ada")
		c.set(tt.before)
		was, left, err := r.Revoke(t.Context(), "ada")
		if left != tt.left || err != nil || was.Login != "ada" {
			t.Errorf("%s: Revoke = %+v, %t, %v, want left %t", name, was, left, err, tt.left)
		}
		r.has(name, "ada", false)
		c.set(func(c *cloud) { c.down, c.stubborn = false, false; clear(c.passwords) })
		r.want(name, "ada", None)
	}
	r.connected(c, "ada")
	s.set(func(s *shelf) { s.away = true })
	if _, _, err := r.Revoke(t.Context(), "ada"); !errors.Is(err, ErrUnkept) || c.left() != 1 {
		t.Errorf("Revoke with the store away = %v with %d left, want ErrUnkept and nothing done", err, c.left())
	}
}

// TestForget: what Nextcloud refuses is forgotten, unless it is not what is
// there any more.
func TestForget(t *testing.T) {
	c, s := newCloud(t), newShelf()
	a, b := newReplica(t, c, s), newReplica(t, c, s)
	a.Forget(t.Context(), "ada", session.Credential{User: "ada", Secret: "never granted"})
	a.connected(c, "ada")
	b.has("elsewhere", "ada", true)
	first := a.gives("ada")
	gone, cancel := context.WithCancel(t.Context())
	cancel() // whoever found out is gone
	a.Forget(gone, "ada", first)
	a.has("forgotten", "ada", false)
	if len(a.dead) != 1 || a.dead[0] != "ada" {
		t.Errorf("told of %v, want ada", a.dead)
	}
	a.connected(c, "ada")
	b.Forget(t.Context(), "ada", first)
	if a.has("a newer one", "ada", true) != b.has("a newer one", "ada", true) || len(b.dead) != 0 {
		t.Errorf("a newer connection was forgotten for an older one's sake: %v", b.dead)
	}
	second := a.gives("ada")
	s.set(func(s *shelf) { s.away = true })
	a.Forget(t.Context(), "ada", second)
	s.set(func(s *shelf) { s.away = false })
	a.has("not forgotten while the store is away", "ada", true)
	a.Forget(t.Context(), "ada", second)
	a.has("forgotten", "ada", false)
}

// gives is the credential of somebody who is connected.
func (r *replica) gives(subject string) session.Credential {
	r.t.Helper()
	cred, ok, err := r.Of(r.t.Context(), subject)
	if err != nil || !ok {
		r.t.Fatalf("Of(%s) = %v, %v, want a credential", subject, ok, err)
	}
	return cred
}

// TestHotPath: the store is read once in half a minute, by one for all.
func TestHotPath(t *testing.T) {
	c, s := newCloud(t), newShelf()
	newReplica(t, c, s).connected(c, "ada")
	r := newReplica(t, c, s)
	reads := func() (n int) { s.set(func(s *shelf) { n, s.reads = s.reads, 0 }); return n }
	reads()
	hold, entered := make(chan struct{}), make(chan struct{})
	s.set(func(s *shelf) { s.onGet = func() { close(entered); <-hold } })
	var wg sync.WaitGroup
	wg.Go(func() { r.has("first", "ada", true) })
	<-entered
	for range 20 {
		wg.Go(func() { r.has("at once", "ada", true) })
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok, err := r.Of(impatient, "ada"); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("Of by somebody who left = %t, %v, want that they left", ok, err)
	}
	close(hold)
	wg.Wait()
	for range 100 {
		r.has("known", "ada", true)
	}
	if n := reads(); n > 21 { // those 20 may have come after the first was done, and found it known
		t.Errorf("%d reads", n)
	}
	s.pass(freshTime - time.Second)
	r.has("fresh", "ada", true)
	if n := reads(); n != 0 {
		t.Errorf("%d reads within %v, want none", n, freshTime)
	}
	s.pass(time.Second)
	r.has("not fresh", "ada", true)
	if n := reads(); n != 1 {
		t.Errorf("%d reads after %v, want 1", n, freshTime)
	}
}

// TestStoreAway: known connections go on for the grace, nobody is told that
// they are not connected.
func TestStoreAway(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	r.connected(c, "ada")
	s.set(func(s *shelf) { s.away = true })
	s.pass(freshTime + time.Hour - time.Second)
	r.has("within the grace", "ada", true)
	s.pass(time.Second)
	for _, subject := range []string{"ada", "bob"} {
		if _, ok, err := r.Of(t.Context(), subject); ok || !errors.Is(err, ErrUnkept) {
			t.Errorf("Of(%s) with the store away = %t, %v, want ErrUnkept", subject, ok, err)
		}
		if _, found, err := r.Status(t.Context(), subject); found || !errors.Is(err, ErrUnkept) {
			t.Errorf("Status(%s) with the store away = %t, %v, want ErrUnkept", subject, found, err)
		}
	}
}

// TestUse: a connection lasts for as long as it is used, and half a year.
func TestUse(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	since := s.clock()
	r.connected(c, "ada")
	for range 5 {
		s.pass(unusedTime - 24*time.Hour)
		r.has("used", "ada", true)
	}
	if at, _, err := r.Status(t.Context(), "ada"); err != nil || !at.Since.Equal(since) {
		t.Errorf("Status = %+v, %v, want since %v", at, err, since)
	}
	s.pass(unusedTime)
	r.has("unused", "ada", false)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) != 0 {
		t.Errorf("%d connections in memory, want none", len(r.known))
	}
}

// TestEndDuringUse: a connection that ends while it is read and written anew
// stays ended.
func TestEndDuringUse(t *testing.T) {
	for name, end := range map[string]func(*replica){
		"revoked":   func(r *replica) { r.Revoke(r.t.Context(), "ada") },
		"forgotten": func(r *replica) { r.Forget(r.t.Context(), "ada", r.gives("ada")) },
	} {
		c, s := newCloud(t), newShelf()
		a, b := newReplica(t, c, s), newReplica(t, c, s)
		a.connected(c, "ada")
		s.pass(renewTime) // it is written anew with the next use
		b.has("elsewhere", "ada", true)
		s.pass(renewTime)
		s.set(func(s *shelf) { s.onGet = func() { end(b) } })
		a.Of(t.Context(), "ada")
		a.has(name, "ada", false)
		newReplica(t, c, s).has(name, "ada", false)
	}
}

// TestEndDuringRead: what was read before an end is not remembered after it.
func TestEndDuringRead(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	r.connected(c, "ada")
	s.pass(freshTime)
	s.set(func(s *shelf) { s.onGet = func() { r.Revoke(t.Context(), "ada") } })
	r.Of(t.Context(), "ada")
	r.has("revoked", "ada", false)
}

// TestStoreIsSealed: neither who is connected nor with what can be read there,
// and records do not open under another's name.
func TestStoreIsSealed(t *testing.T) {
	c, s := newCloud(t), newShelf()
	r := newReplica(t, c, s)
	r.connected(c, "canary-ada")
	r.begin("canary-bob")
	var records map[string][]byte
	s.set(func(s *shelf) { records = maps.Clone(s.written) })
	if len(records) != 2 {
		t.Errorf("%d records of a connection and a flow, want 2", len(records))
	}
	for k := range records {
		for other, v := range records {
			if k != other {
				s.Memory.Put(t.Context(), k, v, time.Hour)
			}
		}
	}
	newReplica(t, c, s).has("swapped", "canary-ada", false)
	r.log.Reset() // names of people may be there
}

// brittle is a store that panics when it is read.
type brittle struct{ Vault }

func (brittle) Get(context.Context, string) ([]byte, bool, error) { panic("a canary") }

// TestReadingPanics: whoever waits for a connection that is being read hears of
// a panic as of a vault that is away.
func TestReadingPanics(t *testing.T) {
	var said bytes.Buffer
	c := NewConnections(ConnectionsOptions{Vault: brittle{}, Log: slog.New(slog.NewJSONHandler(&said, nil))})
	_, found, err := c.Of(t.Context(), "testdoc")
	if found || !errors.Is(err, ErrUnkept) || strings.Contains(said.String()+err.Error(), "canary") {
		t.Errorf("Of = %v, %v, log %s, want ErrUnkept and no value", found, err, &said)
	}
}
