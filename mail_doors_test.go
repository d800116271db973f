package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"anteroom/integrations/mail/mailtest"
	"anteroom/test/redistest"
)

// mailbox has mail servers for a town, and what the town has to be told.
func mailbox(t *testing.T) (*mailtest.Servers, []string) {
	s := mailtest.Start(t, mailtest.Rich)
	s.Put(t, "INBOX", "From: Ann <ann@example.org>\nTo: voice@example.com\nSubject: canary-subject\nMessage-ID: <one@example.org>\nDate: Sun, 1 Mar 2026 10:30:00 +0100\n\ncanary-text\n")
	s.Put(t, "INBOX", "From: ann@example.org\nSubject: files\nMime-Version: 1.0\nContent-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: text/html\n\n<b onclick=x>hi</b><script>alert(1)</script>\n"+
		"--m\nContent-Type: text/html; charset=utf-8\nContent-Disposition: attachment; filename=\"..\\\\..\\\\evil.html\"\nContent-Transfer-Encoding: base64\n\nPHNjcmlwdD4=\n--m--\n")
	return s, []string{"NEXTCLOUD_IMAP_URL=imaps://" + s.Addr, "NEXTCLOUD_SMTP_URL=smtps://" + s.SMTP, "NEXTCLOUD_EMAIL_USERNAME=" + mailtest.User,
		"NEXTCLOUD_EMAIL_PASSWORD=" + mailtest.Password, "ANTEROOM_INTEGRATIONS_MAIL_CA_FILE=" + s.File}
}

// TestMailForPrograms: what a program does with mail, and that the log tells
// nobody of it.
func TestMailForPrograms(t *testing.T) {
	s, env := mailbox(t)
	w, secret := programs(t, env...)
	const at = "/integrations/mail"
	one, two := at+"/messages/1.1", at+"/messages/1.2"
	steps := []struct {
		method, path, body string
		want               int
		says               string
	}{
		{"GET", at + "/folders", "", 200, `{"name":"INBOX","role":"inbox","messages":2,"unseen":2}`},
		{"GET", at + "/messages?limit=1", "", 200, `"subject":"files"`},
		{"GET", at + "/messages?subject=canary", "", 200, `"from":[{"name":"Ann","email":"ann@example.org"}]`},
		{"GET", at + "/messages?since=2027-01-01T00:00:00Z", "", 200, `"items":[]`},
		{"GET", at + "/messages?folder=Nowhere", "", 404, "not_found"},
		{"GET", at + "/messages?folder=a%0d%0ab", "", 400, `"field":"folder"`},
		{"GET", at + "/messages?limit=101", "", 400, `"field":"limit"`},
		{"GET", one, "", 200, `"text":"canary-text"`},
		{"GET", two, "", 200, `"html":"\u003cb\u003ehi\u003c/b\u003e`},
		{"GET", two, "", 200, `"name":"evil.html","type":"text/html"`},
		{"GET", two + "/attachments/2", "", 200, "<script>"},
		{"GET", two + "/attachments/7", "", 404, "not_found"},
		{"GET", one + "/raw", "", 200, "Message-ID: <one@example.org>"},
		{"GET", at + "/messages/1.77", "", 404, "not_found"},
		{"GET", at + "/changes", "", 200, `"new":[]`},
		{"GET", at + "/changes?cursor=1.2.0", "", 200, `"new":["1.2"]`},
		{"PATCH", one, `{"seen":true}`, 204, ""},
		{"GET", at + "/messages?unseen=true", "", 200, `"id":"1.2"`},
		{"POST", one + "/reply", `{"text":"thanks"}`, 200, `"saved_to":"Sent"`},
		{"GET", one, "", 200, `"answered":true`},
		{"POST", one + "/move", `{"to":"Größe/Übersicht"}`, 200, `"id":"4.1"`},
		{"GET", at + "/messages/4.1?folder=Gr%C3%B6%C3%9Fe/%C3%9Cbersicht", "", 200, "canary-subject"},
		{"DELETE", two, "", 204, ""},
		{"POST", at + "/messages", `{"to":["Bob <bob@example.org>"],"subject":"a","text":"b","attachments":[{"name":"a.txt","content":"` + base64.StdEncoding.EncodeToString([]byte("hi")) + `"}],"idempotency_key":"k"}`, 200, "message_id"},
		{"POST", at + "/messages", `{"to":["Bob <bob@example.org>"],"subject":"a","text":"b","attachments":[{"name":"a.txt","content":"` + base64.StdEncoding.EncodeToString([]byte("hi")) + `"}],"idempotency_key":"k"}`, 200, `"repeated":true`},
		{"POST", at + "/messages", `{"to":["bob@example.org"],"subject":"a\r\nBcc: eve@example.org"}`, 400, `"field":"subject"`},
		{"POST", at + "/messages", `{"to":["bob@example.org\nBcc: eve@example.org"]}`, 400, `"field":"to[0]"`},
		{"POST", at + "/messages", `{"subject":"a"}`, 400, `"field":"to"`},
	}
	for _, step := range steps {
		resp, body := asClient(t, w, secret, step.method, step.path, step.body)
		if resp.StatusCode != step.want || !strings.Contains(body, step.says) {
			t.Errorf("%s %s = %d %s, want %d with %q", step.method, step.path, resp.StatusCode, body, step.want, step.says)
		}
		if strings.Contains(step.path, "/attachments/2") {
			if h := resp.Header; !strings.HasPrefix(h.Get("Content-Disposition"), "attachment; filename=evil.html") || h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("an attachment comes with %v, want it to run nowhere", h)
			}
		}
	}
	if got := s.Delivered(); len(got) != 2 {
		t.Errorf("delivered = %d, want an answer and one message", len(got))
	}
	p, _ := w.testdoc("/hello")
	if resp, body := w.ask(p, "GET", at+"/folders", ""); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "integrations.mail.allow") {
		t.Errorf("a person who is not named = %d %s, want 403 that says what to set", resp.StatusCode, body)
	}
	w.stop()
	if log := w.log.String(); strings.Contains(log, "canary") || strings.Contains(log, "example.org") {
		t.Errorf("the log tells of mail:\n%s", log)
	}
	var move map[string]any
	for _, line := range w.audited("access") {
		if line["operation"] == "moveMessage" {
			move = line
		}
	}
	if move["object"] != "INBOX/1.1" || move["to"] != "Größe/Übersicht" || move["as"] != mailtest.User {
		b, _ := json.Marshal(move)
		t.Errorf("the move is written down as %s", b)
	}
}

// TestMailOnceByReplicas: what is sent with one idempotency key through two
// replicas at once, that share Redis, arrives once.
func TestMailOnceByReplicas(t *testing.T) {
	s, env := mailbox(t)
	redis := redistest.Start(t, redistest.Options{})
	env = append(env, "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL="+redis.URL(), "ANTEROOM_SESSION_KEYS="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	const message = `{"to":["bob@example.org"],"subject":"a","text":"b","idempotency_key":"k"}`
	send := make([]func(string) (*http.Response, string), 2)
	for i := range send {
		w, secret := programs(t, env...)
		send[i] = func(body string) (*http.Response, string) {
			return asClient(t, w, secret, "POST", "/integrations/mail/messages", body)
		}
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			resp, body := send[i%2](message)
			if resp.StatusCode != http.StatusOK && (resp.StatusCode != http.StatusConflict || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, "is being sent")) {
				t.Errorf("at once = %d %s, want it sent, or told that it is being sent", resp.StatusCode, body)
			}
		})
	}
	wg.Wait()
	for _, ask := range send {
		if resp, body := ask(message); resp.StatusCode != http.StatusOK || !strings.Contains(body, `"repeated":true`) {
			t.Errorf("afterwards = %d %s, want it not sent again", resp.StatusCode, body)
		}
		if resp, body := ask(strings.Replace(message, `"b"`, `"c"`, 1)); resp.StatusCode != http.StatusConflict || !strings.Contains(body, "another message") {
			t.Errorf("another message = %d %s, want 409", resp.StatusCode, body)
		}
	}
	if n := len(s.Delivered()); n != 1 {
		t.Errorf("delivered = %d, want 1", n)
	}
}

func asClient(t *testing.T, w *town, secret, method, path, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, w.site+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("indexer", secret)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, string(b)
}
