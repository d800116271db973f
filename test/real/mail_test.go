//go:build real

package realtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/loopback"
)

const (
	mailUser   = "voice"
	mailSecret = "a-secret-of-voice-alone"
)

// mailServers are Dovecot and Postfix.
type mailServers struct {
	dir, cert                string
	imap, imaps, smtp, smtps string // ports
	dovecot                  *process
}

// startMail starts both, with the accounts voice and ann.
func startMail(t *testing.T) *mailServers {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Postfix and Dovecot give up their rights by themselves: run this suite as root")
	}
	cert, key := loopback.Certificate(t).Files(t)
	m := &mailServers{dir: davFolder(t, nil), cert: cert, imap: loopback.Port(t), imaps: loopback.Port(t), smtp: loopback.Port(t), smtps: loopback.Port(t)}
	r := strings.NewReplacer("@DIR@", m.dir, "@CERT@", cert, "@KEY@", key, "@AUTH@", loopback.Port(t), "@IMAP@", m.imap, "@IMAPS@", m.imaps, "@SMTP@", m.smtp, "@SMTPS@", m.smtps)
	for _, name := range []string{"dovecot.conf", "main.cf", "master.cf"} {
		b, err := os.ReadFile(filepath.Join(root, "test/mail", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(m.dir, "etc", name), r.Replace(string(b)))
	}
	writeFile(t, filepath.Join(m.dir, "users"), mailUser+":"+mailSecret+"\nann:"+mailSecret+"\n")
	for dir, owner := range map[string]string{"mail": "mail", "queue": "root", "postfix": "postfix"} {
		dir = filepath.Join(m.dir, dir)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		must(t, 5*time.Second, command{dir: m.dir, argv: []string{"chown", owner + ":", dir}}, "")
	}
	for _, box := range []string{mailUser, "ann"} {
		at := filepath.Join(m.dir, "mail", box)
		must(t, 5*time.Second, command{dir: m.dir, argv: []string{"install", "-d", "-o", "mail", "-g", "mail", at, at + "/new", at + "/cur", at + "/tmp"}}, "")
	}
	m.startDovecot(t)
	m.postfix(t, "start")
	t.Cleanup(func() { m.postfix(t, "stop") })
	t.Cleanup(func() {
		if t.Failed() {
			for _, log := range []string{"dovecot.log", "postfix.log"} {
				b, _ := os.ReadFile(filepath.Join(m.dir, log))
				t.Logf("%s:\n%s", log, lastOf(string(b), 30))
			}
		}
	})
	return m
}

func (m *mailServers) startDovecot(t *testing.T) {
	t.Helper()
	m.dovecot = launch(t, "dovecot", command{dir: m.dir, argv: []string{"/usr/sbin/dovecot", "-F", "-c", filepath.Join(m.dir, "etc/dovecot.conf")}})
	until(t, m.dovecot, "starting Dovecot", 10*time.Second, func() error { return listening(m.imaps) })
}

// stopDovecot ends Dovecot with its sessions, which it would wait for.
func (m *mailServers) stopDovecot(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("doveadm", "-c", filepath.Join(m.dir, "etc/dovecot.conf"), "kick", mailUser).CombinedOutput(); err != nil {
		t.Logf("doveadm kick: %v\n%s", err, out)
	}
	m.dovecot.interrupt(t)
}

// listening tells whether somebody answers at a port.
func listening(port string) error {
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func (m *mailServers) postfix(t *testing.T, what string) {
	t.Helper()
	if out, err := exec.Command("/usr/sbin/postfix", "-c", filepath.Join(m.dir, "etc"), what).CombinedOutput(); err != nil {
		t.Errorf("postfix %s: %v\n%s", what, err, out)
	}
}

// deliver puts a message into voice's inbox as it is.
func (m *mailServers) deliver(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(m.dir, "mail", mailUser, "new", name)
	writeFile(t, filepath.Join(m.dir, name), text)
	must(t, 5*time.Second, command{dir: m.dir, argv: []string{"install", "-o", "mail", "-g", "mail", filepath.Join(m.dir, name), file}}, "")
}

// post is Anteroom with a mail account, and a program that uses it.
type post struct {
	*site
	t *testing.T
}

func (m *mailServers) site(t *testing.T, imap, smtp, secret string) *post {
	t.Helper()
	s, app := newSite(t), newApplication(t)
	nc := startNextcloud(t, s, demo.Options{})
	s.start(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL), yaml: "clients:\n  - {name: " + davClient + ", secret_hash: '" + hashOf(davClientSecret) + "'}\n" +
		fmt.Sprintf("integrations:\n  mail: {imap_url: '%s', smtp_url: '%s', username: %s, password: %s, from: voice@example.test, ca_file: %s}\n", imap, smtp, mailUser, secret, m.cert)})
	return &post{s, t}
}

// ask asks for something below /integrations/mail and reads the answer.
func (p *post) ask(method, path string, body, into any) (int, string) {
	p.t.Helper()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		sent = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, p.URL+"/integrations/mail"+path, sent)
	if err != nil {
		p.t.Fatal(err)
	}
	r.SetBasicAuth(davClient, davClientSecret)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	if into != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(b, into); err != nil {
			p.t.Fatalf("%s %s = %s: %v", method, path, b, err)
		}
	}
	return resp.StatusCode, string(b)
}

// done is ask for what has to succeed.
func (p *post) done(method, path string, body, into any) string {
	p.t.Helper()
	status, text := p.ask(method, path, body, into)
	if status/100 != 2 {
		p.t.Fatalf("%s %s = %d %s, want it done", method, path, status, text)
	}
	return text
}

type letter struct {
	ID          string
	Message     string `json:"message_id"`
	From        []struct{ Name, Email string }
	Subject     string
	Text, HTML  string
	Seen        bool
	Answered    bool
	Flagged     bool
	Attached    bool     `json:"has_attachments"`
	InReplyTo   []string `json:"in_reply_to"`
	References  []string
	Attachments []struct {
		Part, Name, Type string
	}
}

type letters struct {
	Items  []letter
	Cursor string
}

// only waits for the one message that a search finds.
func (p *post) only(query string) letter {
	p.t.Helper()
	var found letters
	until(p.t, p.process, "waiting for a message", 20*time.Second, func() error {
		p.done("GET", "/messages?"+query, nil, &found)
		if len(found.Items) != 1 {
			return fmt.Errorf("%d messages, want one", len(found.Items))
		}
		return nil
	})
	return found.Items[0]
}

// TestMail sends and reads mail with Dovecot and Postfix, with TLS from the
// start and with STARTTLS.
func TestMail(t *testing.T) {
	m := startMail(t)
	for name, p := range map[string]*post{
		"TLS":      m.site(t, "imaps://localhost:"+m.imaps, "smtps://localhost:"+m.smtps, mailSecret),
		"STARTTLS": m.site(t, "imap://localhost:"+m.imap, "smtp://localhost:"+m.smtp, mailSecret),
	} {
		t.Run(name, func(t *testing.T) { p.t = t; p.exchange("Grüße über " + name) })
	}
}

// exchange is a message's life, from its being sent to its being deleted.
func (p *post) exchange(subject string) {
	t := p.t
	var begin, ch struct {
		New     []string
		Changed []letter
		Tracked bool
		Cursor  string
	}
	p.done("GET", "/changes", nil, &begin)
	if !begin.Tracked {
		t.Error("changes of marks are not tracked, want them to be: Dovecot can")
	}
	file := bytes.Repeat([]byte("\x00\xffÄ\r\n.\r\n"), 50000)
	var sent struct {
		ID    string `json:"message_id"`
		Saved string `json:"saved_to"`
	}
	p.done("POST", "/messages", map[string]any{"to": []string{"Stimme <voice@example.test>"}, "bcc": []string{"ann@example.test"}, "subject": subject, "text": "Schöne Grüße\n.\nEnde",
		"html": "<p onclick=x>Schöne <b>Grüße</b></p><script>x</script>", "attachments": []map[string]any{{"name": "Übersicht.bin", "type": "application/zip", "content": file}}}, &sent)
	if sent.Saved != "Gesendet" {
		t.Errorf("saved to %q, want Gesendet", sent.Saved)
	}
	at := "subject=" + url.QueryEscape(subject)
	got := p.only(at)
	if got.Message != sent.ID || !got.Attached || got.Seen || got.From[0].Email != "voice@example.test" {
		t.Errorf("listed = %+v, want what was sent", got)
	}
	p.done("GET", "/changes?cursor="+begin.Cursor, nil, &ch)
	if len(ch.New) != 1 || ch.New[0] != got.ID {
		t.Errorf("new = %v, want %s", ch.New, got.ID)
	}
	one := "/messages/" + got.ID
	p.done("GET", one, nil, &got)
	if got.Text != "Schöne Grüße\n.\nEnde" || strings.TrimSpace(got.HTML) != "<p>Schöne <b>Grüße</b></p>" || got.Seen || len(got.Attachments) != 1 || got.Attachments[0].Name != "Übersicht.bin" {
		t.Fatalf("read = %+v, want what was sent, unseen", got)
	}
	if back := p.done("GET", one+"/attachments/"+got.Attachments[0].Part, nil, nil); back != string(file) {
		t.Errorf("attachment = %d bytes, want the %d that were sent", len(back), len(file))
	}
	raw := p.done("GET", one+"/raw", nil, nil)
	if strings.Contains(raw, "ann@") || !strings.Contains(raw, "Message-Id: <"+sent.ID+">") && !strings.Contains(raw, "Message-ID: <"+sent.ID+">") {
		t.Errorf("raw = %.2000s, want it whole, and nothing of who is in bcc", raw)
	}
	p.done("POST", one+"/reply", map[string]any{"text": "Danke", "to": []string{"voice@example.test"}}, nil)
	answer := p.only("subject=" + url.QueryEscape("Re: "+subject))
	p.done("GET", "/messages/"+answer.ID, nil, &answer)
	if len(answer.InReplyTo) != 1 || answer.InReplyTo[0] != sent.ID || len(answer.References) != 1 {
		t.Errorf("answer = %+v, want it to refer to %s", answer, sent.ID)
	}
	p.done("GET", "/changes", nil, &begin)
	p.done("PATCH", one, map[string]any{"seen": true, "flagged": true}, nil)
	p.done("GET", "/changes?cursor="+begin.Cursor, nil, &ch)
	if len(ch.Changed) != 1 || !ch.Changed[0].Seen || !ch.Changed[0].Flagged || !ch.Changed[0].Answered {
		t.Errorf("changed = %+v, want the one message, answered, seen and flagged", ch.Changed)
	}
	var moved letter
	p.done("POST", one+"/move", map[string]any{"to": "Größe"}, &moved)
	p.done("GET", "/messages/"+moved.ID+"?folder="+url.QueryEscape("Größe"), nil, &got)
	if got.Message != sent.ID || !got.Flagged {
		t.Errorf("moved = %+v, want the same message", got)
	}
	if status, _ := p.ask("GET", one, nil, nil); status != http.StatusNotFound {
		t.Errorf("where it was = %d, want 404", status)
	}
	p.done("DELETE", "/messages/"+moved.ID+"?folder="+url.QueryEscape("Größe"), nil, nil)
	trash := p.only("folder=Trash&" + at)
	p.done("DELETE", "/messages/"+trash.ID+"?folder=Trash", nil, nil)
	var left letters
	if p.done("GET", "/messages?folder=Trash&"+at, nil, &left); len(left.Items) != 0 {
		t.Errorf("trash = %d messages, want none", len(left.Items))
	}
}

// TestMailRefusals: whom the servers refuse, and why, is told in our words.
func TestMailRefusals(t *testing.T) {
	m := startMail(t)
	imap, smtp := "imaps://localhost:"+m.imaps, "smtps://localhost:"+m.smtps
	p, wrong := m.site(t, imap, smtp, mailSecret), m.site(t, imap, smtp, "wrong")
	send := map[string]any{"to": []string{"voice@example.test", "nobody@example.test"}, "text": "x"}
	for name, tc := range map[string]struct {
		p            *post
		method, path string
		body         any
		status       int
		says         string
	}{
		"a wrong password, reading": {wrong, "GET", "/messages", nil, 502, "service_credential_refused"},
		"a wrong password, sending": {wrong, "POST", "/messages", send, 502, "service_credential_refused"},
		"an unknown recipient":      {p, "POST", "/messages", send, 422, `"field":"to[1]"`},
		"somebody elsewhere":        {p, "POST", "/messages", map[string]any{"to": []string{"x@elsewhere.test"}, "idempotency_key": "k"}, 422, `"field":"to[0]"`},
		"an unknown folder":         {p, "GET", "/messages?folder=Nirgends", nil, 404, "not_found"},
		"an unknown message":        {p, "GET", "/messages/1.1", nil, 404, "not_found"},
		"a search with quotes":      {p, "GET", "/messages?subject=" + url.QueryEscape(`") ALL "{3}`), nil, 200, `"items":[]`},
		"a search in UTF-8":         {p, "GET", "/messages?text=" + url.QueryEscape("漢字"), nil, 200, `"items":[]`},
	} {
		if status, body := tc.p.ask(tc.method, tc.path, tc.body, nil); status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s, want %d with %s", name, status, body, tc.status, tc.says)
		}
	}
	if out := wrong.process.out.String(); strings.Contains(out, "wrong\"") || strings.Contains(p.process.out.String(), "nobody@") {
		t.Errorf("the log tells of a password or an address:\n%s", out)
	}
}

// TestMailRestart stops Dovecot between two calls.
func TestMailRestart(t *testing.T) {
	t.Parallel()
	m := startMail(t)
	p := m.site(t, "imaps://localhost:"+m.imaps, "smtps://localhost:"+m.smtps, mailSecret)
	m.deliver(t, "1.test", "From: ann@example.test\r\nSubject: stays\r\n\r\ntext\r\n")
	got := p.only("subject=stays")
	for range 3 {
		m.stopDovecot(t)
		m.startDovecot(t)
		p.done("PATCH", "/messages/"+got.ID, map[string]any{"flagged": true}, nil)
		m.stopDovecot(t)
		if status, body := p.ask("GET", "/messages", nil, nil); status != http.StatusBadGateway || !strings.Contains(body, "nextcloud_unreachable") {
			t.Errorf("while Dovecot is away: %d %s, want 502", status, body)
		}
		m.startDovecot(t)
		p.done("GET", "/messages/"+got.ID, nil, &got)
	}
	m.stopDovecot(t)
	if !got.Flagged || got.Text != "text" {
		t.Errorf("after restarts = %+v, want it flagged", got)
	}
}

// TestMailBombs has Dovecot describe mail that is made to be too much.
func TestMailBombs(t *testing.T) {
	m := startMail(t)
	p := m.site(t, "imaps://localhost:"+m.imaps, "smtps://localhost:"+m.smtps, mailSecret)
	var nested, within strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		within.WriteString("Content-Type: message/rfc822\r\n\r\n")
	}
	for name, text := range map[string]string{
		"nested":  nested.String() + "\r\nx",
		"within":  within.String() + "\r\nx",
		"parts":   "Content-Type: multipart/mixed; boundary=m\r\n\r\n" + strings.Repeat("--m\r\n\r\nx\r\n", 10000) + "--m--\r\n",
		"empty":   "Content-Type: multipart/mixed; boundary=m\r\n\r\n",
		"to many": "To: " + strings.Repeat("someone@example.test,\r\n ", 100000) + "last@example.test\r\n\r\nx",
		"nothing": "",
		"zeros":   "\x00\x00\x00\r\n\x00",
	} {
		m.deliver(t, strings.ReplaceAll(name, " ", "")+".test", "Subject: bomb "+name+"\r\n"+text)
	}
	m.deliver(t, "good.test", "From: ann@example.test\r\nSubject: good\r\n\r\ntext\r\n")
	p.only("subject=good")
	var all letters
	if p.done("GET", "/messages", nil, &all); len(all.Items) != 8 {
		t.Fatalf("listed = %d, want 8: no mail spoils a list", len(all.Items))
	}
	for _, l := range all.Items {
		status, body := p.ask("GET", "/messages/"+l.ID, nil, nil)
		if status != http.StatusOK && status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s = %d %.300s, want it read, or refused as too large", l.Subject, status, body)
		}
		t.Logf("%s: %d, %d bytes", l.Subject, status, len(body))
		p.done("GET", "/messages/"+l.ID+"/raw", nil, nil)
	}
}
