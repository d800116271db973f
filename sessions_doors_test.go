package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/person"
)

// What two browsers and a telephone say of themselves.
const (
	onLinux   = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	onWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
	onPhone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
)

// from is a person signed in with a browser of their own.
func (w *town) from(user, password, agent string) *person.Person {
	w.Helper()
	p := person.New(map[string]string{"user": user, "password": password})
	p.Header = http.Header{"User-Agent": {agent}}
	if _, err := p.SignIn(w.site + "/"); err != nil {
		w.Fatalf("signing in: %v\n%s", err, w.log)
	}
	return p
}

// mine is what GET /auth/sessions answers a program.
type mine struct {
	ID, Device, Address string
	Current             bool
	Started, Ends       time.Time
	LastSeen            time.Time `json:"last_seen"`
}

func (w *town) sessionsOf(p *person.Person) (list []mine) {
	w.Helper()
	resp, body := w.ask(p, "GET", "/auth/sessions", "", asProgram)
	if err := json.Unmarshal([]byte(body), &list); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		w.Fatalf("GET /auth/sessions = %d %v\n%s", resp.StatusCode, resp.Header, body)
	}
	return list
}

// end posts a form to the door that ends sessions.
func (w *town) end(p *person.Person, form, how string) (*http.Response, string) {
	w.Helper()
	return w.ask(p, "POST", "/auth/sessions/end", form, how, "Origin: "+w.site, "Content-Type: application/x-www-form-urlencoded")
}

func (w *town) signedIn(p *person.Person) bool {
	resp, _ := w.ask(p, "GET", "/auth/me", "")
	return resp.StatusCode == http.StatusOK
}

func TestSessionsAreListed(t *testing.T) {
	w := found(t, demo.Options{})
	linux := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	w.from(demo.DefaultUser, demo.DefaultPassword, onPhone)
	w.from("nurse", "nurse123", onWindows)
	list := w.sessionsOf(linux)
	if len(list) != 2 || !list[0].Current || list[1].Current || list[0].Device != "Firefox on Linux" || list[1].Device != "Safari on iPhone" {
		t.Fatalf("sessions of one with two = %+v", list)
	}
	for _, s := range list {
		if s.ID == "" || s.Address != "127.0.0.1" || s.Started.IsZero() || s.LastSeen.Before(s.Started.Add(-time.Second)) || s.Ends.Sub(s.Started) != 12*time.Hour {
			t.Errorf("a session is listed as %+v", s)
		}
	}
	_, page := w.ask(linux, "GET", "/auth/", "", asBrowser)
	for _, want := range []string{"Your sessions", "Firefox on Linux", "This one", "Safari on iPhone", `aria-label="End: Safari on iPhone, 127.0.0.1"`, "After 1 hour without use"} {
		if !strings.Contains(page, want) {
			t.Errorf("the account page lacks %q", want)
		}
	}
	for _, no := range []string{"Edge on Windows", "others", `value="` + list[0].ID + `"`} {
		if strings.Contains(page, no) {
			t.Errorf("the account page has %q", no)
		}
	}
}

func TestSessionsAreEnded(t *testing.T) {
	w := found(t, demo.Options{})
	linux := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	phone := w.from(demo.DefaultUser, demo.DefaultPassword, onPhone)
	windows := w.from(demo.DefaultUser, demo.DefaultPassword, onWindows)
	again := w.from(demo.DefaultUser, demo.DefaultPassword, onWindows)
	nurse := w.from("nurse", "nurse123", onLinux)

	resp, _ := w.end(linux, "session="+w.sessionsOf(phone)[0].ID, asBrowser)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/auth/" || w.signedIn(phone) || !w.signedIn(linux) {
		t.Errorf("ending another session = %d to %q; it lives: %t", resp.StatusCode, resp.Header.Get("Location"), w.signedIn(phone))
	}
	if resp, body := w.end(linux, "others=1", asProgram); resp.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("ending all others = %d %s", resp.StatusCode, body)
	}
	if w.signedIn(windows) || w.signedIn(again) || !w.signedIn(linux) || !w.signedIn(nurse) {
		t.Error("others=1 did not end all others of the person, and those alone")
	}
	if list := w.sessionsOf(linux); len(list) != 1 || !list[0].Current {
		t.Errorf("sessions left = %+v", list)
	}
	if n := strings.Count(w.audit.String(), `"reason":"revoked"`); n != 3 || w.lines("session_ended") != 3 {
		t.Errorf("%d audit lines for three sessions revoked\n%s", n, w.audit)
	}
}

// TestSessionsOfOthers: somebody else's session is answered like one that never was.
func TestSessionsOfOthers(t *testing.T) {
	w := found(t, demo.Options{})
	doc, nurse := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux), w.from("nurse", "nurse123", onPhone)
	theirs := w.sessionsOf(nurse)[0].ID
	id := regexp.MustCompile(`"request_id":"[^"]*"`)
	for _, how := range []string{asBrowser, asProgram} {
		r1, b1 := w.end(doc, "session="+theirs, how)
		r2, b2 := w.end(doc, "session=AAAAAAAAAAAAAAAAAAAAAA", how)
		if r1.StatusCode != r2.StatusCode || id.ReplaceAllString(b1, "") != id.ReplaceAllString(b2, "") || r1.Header.Get("Location") != r2.Header.Get("Location") {
			t.Errorf("%s: somebody else's = %d %s, nobody's = %d %s", how, r1.StatusCode, b1, r2.StatusCode, b2)
		}
		if want := map[string]int{asBrowser: 303, asProgram: 404}[how]; r1.StatusCode != want {
			t.Errorf("%s: = %d, want %d", how, r1.StatusCode, want)
		}
	}
	if !w.signedIn(nurse) {
		t.Error("somebody else's session was ended")
	}
}

func TestEndingTheCurrentSession(t *testing.T) {
	w := found(t, demo.Options{})
	browser, program := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux), w.from("nurse", "nurse123", onPhone)
	resp, body := w.end(browser, "session="+w.sessionsOf(browser)[0].ID, asBrowser)
	if resp.StatusCode == http.StatusSeeOther && resp.Header.Get("Location") == "/auth/" || resp.StatusCode >= 400 || w.signedIn(browser) || w.lines("sign_out") != 1 {
		t.Errorf("ending the current session = %d to %q, want signed out\n%s", resp.StatusCode, resp.Header.Get("Location"), body)
	}
	resp, _ = w.end(program, "session="+w.sessionsOf(program)[0].ID, asProgram)
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(resp.Header.Get("Set-Cookie"), "Max-Age=0") || w.signedIn(program) {
		t.Errorf("ending the current session = %d %v, want 204 and no cookie left", resp.StatusCode, resp.Header)
	}
}

func TestEndingSessionsIsGuarded(t *testing.T) {
	w := found(t, demo.Options{})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	other := w.from(demo.DefaultUser, demo.DefaultPassword, onPhone)
	good := "session=" + url.QueryEscape(w.sessionsOf(other)[0].ID)
	const form = "Content-Type: application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name   string
		who    *person.Person
		body   string
		header []string
		status int
	}{
		{"nothing", doc, "", []string{form}, 400},
		{"empty", doc, "session=", []string{form}, 400},
		{"both", doc, good + "&others=1", []string{form}, 400},
		{"two", doc, good + "&" + good, []string{form}, 400},
		{"others=0", doc, "others=0", []string{form}, 400},
		{"not a form", doc, good, []string{"Content-Type: text/plain"}, 400},
		{"JSON", doc, `{"others":1}`, []string{"Content-Type: application/json"}, 400},
		{"endless", doc, good + "&x=" + strings.Repeat("x", 8<<10), []string{form}, 400},
		{"as a page", doc, "", []string{form, asBrowser}, 400},
		{"foreign", doc, good, []string{form, "Origin: https://evil.example"}, 403},
		{"cross-site", doc, good, []string{form, "Sec-Fetch-Site: cross-site"}, 403},
		{"nobody", nil, good, []string{form, asProgram}, 401},
	} {
		if resp, body := w.ask(tt.who, "POST", "/auth/sessions/end", tt.body, tt.header...); resp.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d\n%s", tt.name, resp.StatusCode, tt.status, body)
		}
	}
	if resp, _ := w.ask(doc, "POST", "/auth/sessions/end?"+good, "", form); resp.StatusCode != 400 {
		t.Errorf("a session named in the query = %d, want 400", resp.StatusCode)
	}
	if resp, _ := w.ask(doc, "GET", "/auth/sessions/end?"+good, "", asBrowser); resp.StatusCode != 405 {
		t.Errorf("GET = %d, want 405", resp.StatusCode)
	}
	if resp, _ := w.ask(nil, "GET", "/auth/sessions", "", asBrowser); resp.StatusCode != 401 {
		t.Errorf("GET /auth/sessions as nobody = %d, want 401", resp.StatusCode)
	}
	if !w.signedIn(other) || !w.signedIn(doc) {
		t.Error("a refused form ended a session")
	}
}
