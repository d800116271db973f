package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/proxy/authn"
	"anteroom/test/person"
)

// alarm is a webhook that keeps what it is sent.
type alarm struct {
	*httptest.Server
	mu   sync.Mutex
	text strings.Builder
	got  []told
}

type told struct {
	ID, Rule, Subject, Session string
	Network                    string `json:"client_network"`
	Service                    string `json:"service_account"`
	Count                      int
}

func newAlarm(t *testing.T) *alarm {
	a := new(alarm)
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *alarm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var one told
	if err := json.Unmarshal(body, &one); err != nil || r.Header.Get("Authorization") != "Bearer canary-hook" ||
		!strings.Contains(r.Header.Get("Signature-Input"), `"content-digest" "content-type" "authorization" "idempotency-key"`) || r.Header.Get("Signature") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.Write(body)
	a.got = append(a.got, one)
}

func (a *alarm) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// of is the first alert of a rule.
func (a *alarm) of(rule string) (told, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.got, func(one told) bool { return one.Rule == rule })
	if i < 0 {
		return told{}, false
	}
	return a.got[i], true
}

// alerted waits for an alert of a rule, for 5 s and doing something meanwhile,
// and looks for it in the audit log and the metrics.
func (w *town) alerted(a *alarm, rule string, meanwhile func()) told {
	w.Helper()
	begun := time.Now()
	one, ok := a.of(rule)
	for ; !ok && time.Since(begun) < 5*time.Second; one, ok = a.of(rule) {
		meanwhile()
		time.Sleep(20 * time.Millisecond)
	}
	if !ok {
		w.Errorf("no alert of %s in 5 s; got %s", rule, a)
		return one
	}
	w.await("written down", func() bool { return strings.Contains(w.audit.String(), `"request_id":"`+one.ID+`","alert":"`+rule) })
	if _, metrics := w.metrics(); !strings.Contains(metrics, `anteroom_alerts_total{rule="`+rule+`"} 1`) {
		w.Errorf("the alert of %s is not in the metrics", rule)
	}
	return one
}

func (w *town) metrics() (int, string) {
	w.Helper()
	resp, err := http.Get(w.admin + "/metrics")
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func (a *alarm) env() []string {
	return []string{"ANTEROOM_WATCH_WEBHOOK_URL=" + a.URL, "ANTEROOM_WATCH_WEBHOOK_TOKEN=canary-hook", "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.0/8,::1"}
}

func nothing() {}

// TestSprayIsNoticed: 50 accounts, each tried once, from 50 addresses; and
// people go on meanwhile.
func TestSprayIsNoticed(t *testing.T) {
	a := newAlarm(t)
	w := ownFiles(t, a.env()...)
	p, _ := w.testdoc("/hello")
	for i := range 50 {
		resp, _ := w.ask(nil, "PROPFIND", "/dav/", "", basic(fmt.Sprint("canary-account", i), "canary-password"), fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i))
		if resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("attempt %d = %d, want 401", i, resp.StatusCode)
		}
	}
	if one := w.alerted(a, "spray_wide", nothing); one.Count != 40 {
		t.Errorf("alert = %+v, want one about 40", one)
	}
	if resp, _ := w.ask(p, "PROPFIND", "/dav/files/testdoc/", "", "Depth: 0"); resp.StatusCode != http.StatusMultiStatus {
		t.Errorf("somebody who is signed in = %d, want 207", resp.StatusCode)
	}
	w.stop()
	if all := w.log.String() + w.audit.String() + a.String(); strings.Contains(all, "canary-") {
		t.Error("a name that was tried, or a secret, was written down")
	}
}

// TestSprayFromOneAddress: over 20 accounts; and 20 passwords for one account.
func TestSprayFromOneAddress(t *testing.T) {
	a := newAlarm(t)
	w := ownFiles(t, a.env()...)
	w.testdoc("/hello")
	for i := range 20 {
		w.ask(nil, "PROPFIND", "/dav/", "", basic(fmt.Sprint("account", i), "wrong"), "X-Forwarded-For: 203.0.113.7")
		w.ask(nil, "PROPFIND", "/dav/", "", basic("TestDoc", fmt.Sprint("wrong", i)), fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i))
	}
	if one := w.alerted(a, "spray", nothing); one.Network != "203.0.113.7" || one.Count != 15 {
		t.Errorf("alert = %+v, want one about 203.0.113.7", one)
	}
	if one := w.alerted(a, "guessing", nothing); one.Subject != "testdoc" || one.Count != 10 {
		t.Errorf("alert = %+v, want one about testdoc", one)
	}
}

// TestReplayIsNoticed: a copied cookie that is used beside its owner, from
// elsewhere and with another browser, and after the owner signed out; likewise
// the token of the session.
func TestReplayIsNoticed(t *testing.T) {
	a := newAlarm(t)
	w := ownFiles(t, a.env()...)
	p := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	site, err := url.Parse(w.site)
	if err != nil {
		t.Fatal(err)
	}
	thief := person.New(nil)
	thief.Client.Jar, _ = cookiejar.New(nil)
	thief.Client.Jar.SetCookies(site, p.Client.Jar.Cookies(site))
	owner := func() { w.ask(p, "GET", "/hello", "", "User-Agent: "+onLinux, "X-Forwarded-For: 192.0.2.1") }
	stolen := func(agent string) int {
		resp, _ := w.ask(thief, "GET", "/hello", "", "User-Agent: "+agent, "X-Forwarded-For: 203.0.113.9")
		return resp.StatusCode
	}
	one := w.alerted(a, "two_networks", func() { owner(); stolen(onLinux) })
	if one.Subject != "testdoc" || one.Session == "" {
		t.Errorf("alert = %+v, want one about testdoc's session", one)
	}
	w.alerted(a, "changed_agent", func() { stolen(onPhone) })
	_, token := w.ask(p, "POST", "/auth/token", "", "Origin: "+w.site, asProgram, "User-Agent: "+onLinux)
	bearer := "Authorization: Bearer " + w.tokenIn(token)

	other := w.from("nurse", "nurse123", onPhone)
	if resp, _ := w.ask(p, "POST", "/auth/logout", "", "Origin: "+w.site, "User-Agent: "+onLinux); resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("signing out = %d", resp.StatusCode)
	}
	over := w.alerted(a, "revoked_session", func() {
		if status := stolen(onPhone); status == http.StatusOK {
			t.Errorf("a session that was signed out is let in")
		}
	})
	if over.Session != one.Session || over.Network != "203.0.113.9" {
		t.Errorf("alert = %+v, want one about session %s", over, one.Session)
	}
	w.ask(nil, "PROPFIND", "/dav/files/testdoc/", "", bearer, "Depth: 0")
	w.await("written down that the token was used", func() bool {
		lines := w.audited("refused")
		last := lines[len(lines)-1]
		return last["reason"] == "credentials_refused" && last["sid"] == one.Session
	})
	if !w.signedIn(other) {
		t.Error("somebody else was signed out")
	}
}

// TestBulkIsNoticed: many files that one person downloads, then deletes; the
// service account's credential that Nextcloud refuses.
func TestBulkIsNoticed(t *testing.T) {
	a := newAlarm(t)
	w := ownFiles(t, append(a.env(), "ANTEROOM_WATCH_BULK_DOWNLOAD=20 in 1m", "ANTEROOM_WATCH_BULK_DELETE=10 in 1m")...)
	p, _ := w.testdoc("/hello")
	for i := range 30 {
		w.ask(p, "PUT", fmt.Sprintf("/dav/files/testdoc/canary%d.txt", i), "finding")
	}
	for _, method := range []string{"GET", "DELETE"} {
		for i := range 30 {
			w.ask(p, method, fmt.Sprintf("/dav/files/testdoc/canary%d.txt", i), "")
		}
	}
	for rule, count := range map[string]int{"bulk_download": 20, "bulk_delete": 10} {
		if one := w.alerted(a, rule, nothing); one.Subject != "testdoc" || one.Count != count {
			t.Errorf("alert = %+v, want one about testdoc and %d", one, count)
		}
	}
	if strings.Contains(a.String(), "canary") {
		t.Errorf("the webhook was told names of files: %s", a)
	}
}

func TestRefusedServiceAccountIsNoticed(t *testing.T) {
	a := newAlarm(t)
	secret, hash := authn.NewSecret()
	w := found(t, demo.Options{}, append(a.env(), "NEXTCLOUD_WEBDAV_USERNAME=admin", "NEXTCLOUD_WEBDAV_PASSWORD=wrong",
		`ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "`+hash+`"}]`)...)
	if resp, body := w.ask(nil, "PROPFIND", "/dav/files/admin/", "", basic("indexer", secret.Reveal()), "Depth: 0"); resp.StatusCode != http.StatusBadGateway {
		t.Fatalf("with a wrong service password = %d %s, want 502", resp.StatusCode, body)
	}
	w.alerted(a, "service_credential", nothing)
}
