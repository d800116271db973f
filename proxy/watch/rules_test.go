package watch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"anteroom/proxy/audit"
	"anteroom/proxy/throttle"
	"anteroom/session"
)

// defaults are those of Config's tags.
func defaults() Config {
	limit := func(count int, window time.Duration) throttle.Rate {
		return throttle.Rate{Count: count, Window: window}
	}
	return Config{
		Spray: limit(15, 10*time.Minute), SprayWide: limit(40, 10*time.Minute), Guessing: limit(10, 10*time.Minute), Failures: limit(100, 10*time.Minute),
		TwoNetworks: limit(3, 5*time.Minute), ChangedAgent: limit(1, time.Hour), NewDevice: true, Learning: time.Hour, RevokedSession: limit(1, time.Hour),
		ServiceCredential: limit(1, 10*time.Minute), BulkDownload: limit(500, 10*time.Minute), BulkMiB: limit(4096, 10*time.Minute), BulkDelete: limit(100, 10*time.Minute),
		Quiet: 10 * time.Minute, Webhook: WebhookConfig{Timeout: 5 * time.Second},
	}
}

var eight = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// scene is a Watch, and a time that goes on.
type scene struct {
	*testing.T
	w   *Watch
	now time.Time
}

func newScene(t *testing.T, cfg Config) *scene {
	t.Helper()
	s := &scene{T: t, now: eight}
	w, err := New(cfg, Options{Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	return s
}

func (s *scene) see(events ...audit.Event) {
	for _, e := range events {
		e.Time = s.now
		s.w.See(e)
	}
}

func (s *scene) wait(d time.Duration) { s.now = s.now.Add(d) }

// alerts takes the rules that were raised since the last time.
func (s *scene) alerts() []string {
	var rules []string
	for _, a := range s.w.raised {
		rules = append(rules, a.Rule)
	}
	s.w.raised = nil
	return rules
}

func (s *scene) want(when string, rules ...string) {
	s.Helper()
	if got := s.alerts(); !slices.Equal(got, rules) {
		s.Errorf("alerts %s = %v, want %v", when, got, rules)
	}
}

// Events as the proxy makes them.

func refused(account string, proof uint64, client string) audit.Event {
	return audit.Event{Kind: audit.Refused, Status: 401, Reason: "credentials_refused", Client: client, Tried: audit.Tried{Account: account, Proof: proof}}
}

func signIn(who, sid, client, device string) audit.Event {
	return audit.Event{Kind: audit.SignIn, Status: 200, Subject: who, Session: sid, Client: client, Device: device, Means: session.ByOIDC}
}

func request(who, sid, client, device string) audit.Event {
	return audit.Event{Kind: audit.Request, Status: 200, Subject: who, Session: sid, Client: client, Device: device, Method: "GET", Path: "/", Means: session.ByOIDC}
}

func access(who, method, path string) audit.Event {
	return audit.Event{Kind: audit.Access, Status: 200, Subject: who, Client: "192.0.2.1", Method: method, Path: path, Sent: 1000, Means: session.ByAppPassword}
}

func over(sid string, why session.End) audit.Event {
	return audit.Event{Kind: audit.Refused, Status: 401, Reason: "sign_in_required", Session: sid, Client: "203.0.113.9", Tried: audit.Tried{Over: why}}
}

func name(i int) string    { return fmt.Sprintf("person%d", i) }
func address(i int) string { return fmt.Sprintf("198.51.%d.%d", i>>8&255, i&255) }

// TestRules: each fires at its threshold and not before, once, and not when as
// many are spread over more than its window.
func TestRules(t *testing.T) {
	cfg := defaults()
	for _, tt := range []struct {
		rule  string
		limit throttle.Rate
		begin func(s *scene)          // what goes before
		nth   func(i int) audit.Event // what is counted, from 0
	}{
		{spray, cfg.Spray, nil, func(i int) audit.Event { return refused(name(i), uint64(i+1), "203.0.113.7") }},
		{spray, cfg.Spray, nil, func(i int) audit.Event { // of one /64
			return refused(name(i), uint64(i+1), fmt.Sprintf("2001:db8:1:2:%x::1", i))
		}},
		{sprayWide, cfg.SprayWide, nil, func(i int) audit.Event { return refused(name(i), uint64(i+1), address(i)) }},
		{guessing, cfg.Guessing, nil, func(i int) audit.Event { return refused("testdoc", uint64(i+1), address(i)) }},
		{guessing, cfg.Guessing, nil, func(i int) audit.Event {
			return refused([]string{"testdoc", "TestDoc", " testdoc", "ｔｅｓｔｄｏｃ"}[i%4], uint64(i+1), "203.0.113.7")
		}},
		{guessing, cfg.Guessing, nil, func(i int) audit.Event {
			e := refused("testdoc", uint64(i+1), "203.0.113.7")
			e.Status, e.Reason = 429, "too_many_attempts"
			return e
		}},
		{failures, cfg.Failures, nil, func(i int) audit.Event { return refused("", uint64(i+1), "203.0.113.7") }},
		{failures, cfg.Failures, nil, func(int) audit.Event {
			return audit.Event{Kind: audit.SignInFailed, Status: 400, Reason: "sign_in_failed", Client: "203.0.113.7"}
		}},
		{twoNetworks, throttle.Rate{Count: 3, Window: 5 * time.Minute}, func(s *scene) {
			s.see(signIn("testdoc", "a", "192.0.2.1", ""), request("testdoc", "a", "203.0.113.9", ""))
		}, func(i int) audit.Event {
			return request("testdoc", "a", []string{"192.0.2.77", "203.0.113.9"}[i%2], "")
		}},
		{revokedSession, cfg.RevokedSession, nil, func(int) audit.Event { return over("a", session.EndRevoked) }},
		{revokedSession, throttle.Rate{Count: 4, Window: time.Minute}, nil, func(int) audit.Event { return over("a", session.EndSignedOut) }},
		{serviceCredential, cfg.ServiceCredential, nil, func(int) audit.Event {
			e := access("testdoc", "GET", "/dav/x")
			e.Status, e.Reason, e.As = 502, "service_credential_refused", "svc"
			return e
		}},
		{bulkDownload, cfg.BulkDownload, nil, func(i int) audit.Event { return access("testdoc", "GET", fmt.Sprint("/dav/", i)) }},
		{bulkDownload, cfg.BulkDownload, nil, func(i int) audit.Event {
			e := access("testdoc", "GET", "/api/v1/files/content")
			e.Operation, e.Object = "downloadFile", fmt.Sprint("/", i)
			return e
		}},
		{bulkDownload, cfg.BulkDownload, nil, func(i int) audit.Event {
			e := access("client:agent", "GET", "/api/v1/mail/messages")
			e.Operation, e.Object, e.Means = "getMessage", fmt.Sprint("INBOX/", i), session.ByClient
			return e
		}},
		{bulkDelete, cfg.BulkDelete, nil, func(i int) audit.Event { return access("testdoc", "DELETE", fmt.Sprint("/dav/", i)) }},
		{bulkDelete, cfg.BulkDelete, nil, func(i int) audit.Event {
			e := access("testdoc", "DELETE", "/api/v1/calendars/a/events/"+fmt.Sprint(i))
			e.Operation = "deleteEvent"
			return e
		}},
	} {
		c := cfg
		if tt.rule == revokedSession {
			c.RevokedSession = tt.limit
		}
		begun := func() *scene {
			s := newScene(t, c)
			if tt.begin != nil {
				tt.begin(s)
			}
			return s
		}
		s := begun()
		for i := range tt.limit.Count {
			s.want(fmt.Sprintf("of %s after %d", tt.rule, i))
			s.wait(time.Millisecond)
			s.see(tt.nth(i))
		}
		s.want(fmt.Sprintf("of %s after %d", tt.rule, tt.limit.Count), tt.rule)
		for i := range tt.limit.Count { // within quiet
			s.wait(time.Millisecond)
			s.see(tt.nth(i + tt.limit.Count))
		}
		s.want(fmt.Sprintf("of %s after twice as many", tt.rule))

		if tt.limit.Count == 1 {
			continue
		}
		s = begun()
		for i := range 2 * tt.limit.Count {
			s.see(tt.nth(i))
			s.wait(tt.limit.Window/time.Duration(tt.limit.Count-1) + time.Second)
		}
		s.want(fmt.Sprintf("of %s, spread over more than its window", tt.rule))
	}
}

// TestRulesThatAreOff find nothing.
func TestRulesThatAreOff(t *testing.T) {
	s := newScene(t, Config{Quiet: time.Minute})
	for i := range 1000 {
		s.see(refused(name(i), uint64(i+1), "203.0.113.7"), refused("testdoc", uint64(i+1), address(i)), refused("", uint64(i+1), "203.0.113.7"),
			access("testdoc", "GET", fmt.Sprint("/dav/", i)), access("testdoc", "DELETE", fmt.Sprint("/dav/", i)), over("a", session.EndRevoked),
			request("testdoc", "a", address(i<<8), []string{"Firefox on Linux", "Edge on Windows"}[i%2]))
	}
	s.want("with all rules off")
}

func TestBulkMiB(t *testing.T) {
	cfg := defaults()
	cfg.BulkMiB = throttle.Rate{Count: 10, Window: 10 * time.Minute}
	s := newScene(t, cfg)
	e := access("testdoc", "REPORT", "/caldav/x")
	e.Status, e.Sent = 207, 1<<20
	for range 9 {
		s.see(e)
	}
	s.want("after 9 MiB")
	s.wait(11 * time.Minute)
	for range 9 {
		s.see(e)
	}
	s.want("after 9 more, 11 minutes later")
	s.see(e)
	s.want("after 10 MiB", bulkMiB)
}

func TestBulkExempt(t *testing.T) {
	cfg := defaults()
	cfg.BulkExempt = []string{"client:rclone"}
	s := newScene(t, cfg)
	for i := range 5000 {
		s.see(access("client:rclone", "GET", fmt.Sprint("/dav/", i)), access("client:rclone", "DELETE", fmt.Sprint("/dav/", i)))
	}
	s.want("of a client that may")
}

// TestSameThingsAreOne: to read one file in 600 ranges, or to list folders, is
// no bulk download; what Nextcloud refuses is none either.
func TestSameThingsAreOne(t *testing.T) {
	s := newScene(t, defaults())
	for i := range 600 {
		part := access("testdoc", "GET", "/dav/film.mp4")
		part.Status = 206
		gone := access("testdoc", "GET", fmt.Sprint("/dav/", i))
		gone.Status = 404
		s.see(part, gone, access("testdoc", "PROPFIND", fmt.Sprint("/dav/", i)), access("testdoc", "PUT", fmt.Sprint("/dav/", i)))
	}
	s.want("of ranges, listings, uploads and files that are not there")
}

func TestNewDevice(t *testing.T) {
	s := newScene(t, defaults())
	s.see(signIn("testdoc", "a", "192.0.2.1", "Firefox on Linux"))
	s.wait(30 * time.Minute)
	s.see(signIn("testdoc", "b", "192.0.2.1", "Safari on iPhone"))
	s.want("while learning")
	s.wait(2 * time.Hour)
	s.see(signIn("testdoc", "c", "192.0.2.1", "Firefox on Linux"), signIn("testdoc", "d", "192.0.2.1", "Safari on iPhone"), signIn("nurse", "e", "192.0.2.1", "Edge on Windows"))
	s.want("of what is known, and of a first")
	s.see(signIn("TestDoc", "f", "192.0.2.1", "Edge on Windows"))
	s.want("of a new one", newDevice)
	s.wait(time.Hour)
	s.see(signIn("testdoc", "g", "192.0.2.1", "Edge on Windows"))
	s.want("of the same, later")
	e := access("testdoc", "GET", "/dav/x")
	e.Device = "rclone"
	s.see(e)
	s.want("of a program with a password", newDevice)
}

func TestChangedAgent(t *testing.T) {
	s := newScene(t, defaults())
	s.see(signIn("testdoc", "a", "192.0.2.1", "Firefox on Linux"), request("testdoc", "a", "192.0.2.1", "Firefox on Linux"), request("testdoc", "a", "192.0.2.1", ""))
	s.want("of one that stays")
	app := request("testdoc", "a", "10.0.0.7", "python-requests")
	app.Means = session.ByAssertion
	s.see(app, request("testdoc", "a", "192.0.2.1", "Firefox on Linux"))
	s.want("of the application's own requests")
	s.see(request("testdoc", "a", "192.0.2.1", "Edge on Windows"))
	s.want("of another", changedAgent)
	s.see(request("testdoc", "a", "192.0.2.1", "Firefox on Linux"))
	s.want("of the first, again")
}

// TestSessionsThatEndedByThemselves: their browsers still have the cookie.
func TestSessionsThatEndedByThemselves(t *testing.T) {
	s := newScene(t, defaults())
	for _, why := range []session.End{"", session.EndIdle, session.EndLifetime, session.EndGrantDead, session.EndNotAllowed, session.EndGone} {
		s.see(over("a", why))
	}
	s.want("of sessions that ended by themselves")
	for i, why := range []session.End{session.EndSignedOut, session.EndReplaced, session.EndRevoked, session.EndAtProvider} {
		s.see(over(fmt.Sprint(i), why))
	}
	s.want("of sessions that were ended", revokedSession, revokedSession, revokedSession, revokedSession)
}
