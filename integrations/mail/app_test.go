package mail

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
)

// theApp answers as Nextcloud's Mail app does.
func theApp(t *testing.T, answers map[string]string) (Box, *[]string) {
	t.Helper()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path := strings.TrimPrefix(r.URL.Path, "/nc/ocs/v2.php/apps/mail")
		q := r.URL.Query()
		if q.Get("format") != "json" || r.Header.Get("OCS-APIRequest") != "true" {
			t.Errorf("%s asks without OCS' words", r.URL)
		}
		q.Del("format")
		asked = append(asked, r.Method+" "+path+"?"+q.Encode()+" "+string(b))
		a, ok := answers[path]
		status := http.StatusOK
		switch {
		case !ok:
			status, a = http.StatusNotFound, `"Account not found."`
		case a == "silence":
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(a, "500"):
			status, a = http.StatusInternalServerError, `"SMTP error"`
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},"data":`+a+`}}`)
	}))
	t.Cleanup(s.Close)
	return OpenApp(integrations.Mail{AppURL: s.URL + "/nc/", Nextcloud: 3, Username: "voice", Password: "app-password"}, Options{}).Through(s.Client()), &asked
}

var appAnswers = map[string]string{
	"/account/list":          `[{"id":1,"email":"other@example.com"},{"id":3,"email":"voice@example.com","aliases":[]}]`,
	"/mailbox/list":          `[{"databaseId":11,"name":"Sent","specialUse":["sent"],"unread":0},{"databaseId":12,"name":"INBOX","specialUse":[],"unread":2}]`,
	"/mailbox/messages/list": `[{"databaseId":77,"uid":5,"subject":"Hi\r\nthere","dateInt":1772357400,"flags":{"seen":true,"flagged":false,"answered":false,"hasAttachments":true},"from":[{"label":"Ann","email":"ann@example.org"}],"to":[{"label":"voice@example.com","email":"voice@example.com"}],"cc":[],"messageId":"<one@example.org>"},{"databaseId":76,"flags":[],"dateInt":1772357300,"messageId":null,"from":[]}]`,
	"/message/77":            `{"uid":5,"messageId":"<one@example.org>","subject":"Hi","dateInt":1772357400,"flags":{"seen":true},"from":[{"label":"Ann","email":"ann@example.org"}],"to":[{"label":"T","email":"team@example.org"}],"replyTo":[],"hasHtmlBody":true,"body":"<p onclick=x>hello<script>x</script></p>","attachments":[],"rawUrl":"https://cloud.example.com/x"}`,
	"/message/send":          `""`,
}

func TestNextcloudMailApp(t *testing.T) {
	b, asked := theApp(t, appAnswers)
	ctx := context.Background()
	zero, two := int64(0), int64(2)
	folders, err := b.Folders(ctx)
	if diff := cmp.Diff([]Mailbox{{Name: "INBOX", Role: "inbox", Unseen: &two}, {Name: "Sent", Role: "sent", Unseen: &zero}}, folders); err != nil || diff != "" {
		t.Errorf("Folders() = %v (-want +got):\n%s", err, diff)
	}
	p, err := b.Messages(ctx, "INBOX", Query{Limit: 2})
	if err != nil || len(p.Items) != 2 || p.Cursor != "1772357300" {
		t.Fatalf("Messages() = %+v, %v, want two and a cursor", p, err)
	}
	e := p.Items[0]
	if e.Subject != "Hi  there" || !e.Seen || !e.HasAttachments || e.From[0] != (Correspondent{"Ann", "ann@example.org"}) || e.To[0].Name != "" || e.Date.Unix() != 1772357400 || e.MessageID != "one@example.org" {
		t.Errorf("first = %+v, want what the app said", e)
	}
	m, err := b.Message(ctx, "INBOX", e.ID)
	if err != nil || m.HTML != "<p>hello</p>" || m.Text != "hello" {
		t.Errorf("Message() = %+v, %v, want it inert", m, err)
	}
	*asked = nil
	if _, err := b.Reply(ctx, "INBOX", e.ID, Draft{Text: "thanks", Key: "k"}, true); err != nil {
		t.Fatal(err)
	}
	again, err := b.Reply(ctx, "INBOX", e.ID, Draft{Text: "thanks", Key: "k"}, true)
	if err != nil || !again.Repeated {
		t.Errorf("Reply(again) = %+v, %v, want it not sent again", again, err)
	}
	var sends []string
	for _, a := range *asked {
		if _, body, ok := strings.Cut(a, "POST /message/send? "); ok {
			sends = append(sends, body)
		}
	}
	var o outgoing
	if len(sends) != 1 || json.Unmarshal([]byte(sends[0]), &o) != nil {
		t.Fatalf("sent = %q, want one message", sends)
	}
	want := outgoing{Account: 3, From: "voice@example.com", Subject: "Re: Hi", Body: "thanks", To: []appAddress{{"Ann", "ann@example.org"}}, CC: []appAddress{{"T", "team@example.org"}}, BCC: []appAddress{}, References: "<one@example.org>"}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestNextcloudMailAppRefusals(t *testing.T) {
	ctx := context.Background()
	b, asked := theApp(t, appAnswers)
	for _, id := range []string{"77", "77.", "77.000000000000000000000000", "x", b.(*appBox).id(77) + "0", strings.Replace(b.(*appBox).id(77), "77.", "78.", 1)} {
		_, err := b.Message(ctx, "INBOX", id)
		wantProblem(t, "the message "+id+", which was not listed", err, http.StatusNotFound, integrations.ReasonNotFound)
	}
	if len(*asked) > 0 {
		t.Errorf("asked %q, want nothing: these could be of another account", *asked)
	}
	_, err := b.Messages(ctx, "Nowhere", Query{})
	wantProblem(t, "an unknown folder", err, http.StatusNotFound, integrations.ReasonNotFound)
	_, err = b.Messages(ctx, "INBOX", Query{Text: "x"})
	wantProblem(t, "a search", err, http.StatusNotFound, integrations.ReasonUnavailable)
	_, err = b.Messages(ctx, "INBOX", Query{Cursor: "1&limit=9"})
	wantProblem(t, "a cursor", err, http.StatusBadRequest, integrations.ReasonInvalid)
	_, err = b.Send(ctx, Draft{To: []string{"a@example.org"}, Attachments: []Upload{{Name: "a", Content: strings.NewReader("")}}})
	wantProblem(t, "an attachment", err, http.StatusNotFound, integrations.ReasonUnavailable)
	_, err = b.Send(ctx, Draft{To: []string{"a@example.org\r\nBcc: x"}})
	wantProblem(t, "an injection", err, http.StatusBadRequest, integrations.ReasonInvalid)
	_, err = b.Raw(ctx, "INBOX", "1")
	wantProblem(t, "a message as it is", err, http.StatusNotFound, integrations.ReasonUnavailable)

	for name, answers := range map[string]map[string]string{
		"trouble":       {"/message/send": "500", "/account/list": appAnswers["/account/list"]},
		"silence":       {"/message/send": "silence", "/account/list": appAnswers["/account/list"]},
		"another form":  {"/account/list": `{"a":1}`},
		"no such thing": {},
	} {
		b, _ := theApp(t, answers)
		_, err := b.Send(ctx, Draft{To: []string{"a@example.org"}})
		p, ok := integrations.ProblemOf(err)
		if !ok || p.Status < 400 || p.Status == 500 {
			t.Errorf("%s: %v, want a problem", name, err)
		}
		if name == "silence" && (!strings.Contains(p.Text, "may have been sent") || p.RetryAfter > 0) {
			t.Errorf("%s: %q after %v, want it to say that it may have been sent", name, p.Text, p.RetryAfter)
		}
	}
}
