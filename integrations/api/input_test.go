package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"anteroom/integrations"
	"anteroom/integrations/calendars"
	"anteroom/integrations/contacts"
)

// decodeJSON decodes a body as an operation does.
func decodeJSON(body string, into any) error {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	x := &exchange{a: &API{o: Options{Now: time.Now}}, w: httptest.NewRecorder(), r: r}
	return x.decodeBody(reflect.ValueOf(into).Elem(), 4<<20)
}

// TestDeepJSON: a body that is nested deeply is the caller's mistake, wherever
// in it that is.
func TestDeepJSON(t *testing.T) {
	const depth = 200_000
	deep := strings.Repeat("[", depth) + strings.Repeat("]", depth)
	objects := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	for name, body := range map[string]string{
		"all of it":        deep,
		"unclosed":         strings.Repeat("[", depth),
		"a member":         `{"name":` + deep + `}`,
		"an unknown one":   `{"x":` + objects + `}`,
		"within a list":    `{"list":[` + deep + `]}`,
		"after the object": `{"name":"a"}` + deep,
	} {
		var into struct {
			Name string   `json:"name"`
			List []string `json:"list"`
		}
		err := decodeJSON(body, &into)
		if p, ok := integrations.ProblemOf(err); !ok || p.Status != http.StatusBadRequest || len(p.Text) > 200 {
			t.Errorf("%s: %.200v, want 400", name, err)
		}
	}
}

// sample is a body with a member of each kind.
type sample struct {
	calendars.Fields
	Title   string           `json:"title" required:"true" max:"1024"`
	Emails  []contacts.Typed `json:"emails,omitempty" max:"2"`
	Count   int              `json:"count,omitempty"`
	At      time.Time        `json:"at,omitzero"`
	Content []byte           `json:"content,omitempty" max:"100"`
}

// TestMembers: a body is what the document says: members by their exact names,
// each once, each of its type, and a refusal names the one at fault as it is
// written.
func TestMembers(t *testing.T) {
	for _, c := range []struct{ body, field, says string }{
		{`{"title":"x","description":"a\ud83d\ude00\n\\ud800","free":true,"categories":["a"],"emails":[{"value":"v"}],"count":1,"at":"2026-03-01T09:30:00Z","content":"aGk="}`, "", ""},
		{`{"title":"\ufffd"}`, "", ""},
		{`{"title":"x","description":5}`, "description", "description has to be a string."},
		{`{"title":"x","description":null}`, "description", "has to be a string"},
		{`{"title":null}`, "title", "has to be a string"},
		{`{"title":"x","free":null}`, "free", "true or false"},
		{`{"title":"x","free":"true"}`, "free", "true or false"},
		{`{"title":"x","emails":null}`, "emails", "has to be a list"},
		{`{"title":"x","emails":[null]}`, "emails[0]", "has to be an object"},
		{`{"title":"x","emails":[{"value":"v"},{"value":5}]}`, "emails[1].value", "has to be a string"},
		{`{"title":"x","emails":[{"value":"v","kind":5}]}`, "emails[0].kind", "is no member"},
		{`{"title":"x","emails":[{"value":"v"},{"value":"v"},{"value":"v"}]}`, "emails", "has more than 2 entries"},
		{`{"title":"x","count":1.5}`, "count", "has to be a whole number"},
		{`{"title":"x","count":"1"}`, "count", "has to be a whole number"},
		{`{"title":"x","at":"2026-03-01"}`, "at", "is no time with a zone"},
		{`{"title":"x","content":"a"}`, "content", "base64"},
		{`{"title":"x","content":[1]}`, "content", "base64"},
		{`{"title":"x","Description":"y"}`, "Description", "is no member"},
		{`{"TITLE":"x"}`, "TITLE", "is no member"},
		{`{"title":"x","title":"y"}`, "title", "is there more than once"},
		{`{"title":"x","t\u0069tle":"y"}`, "title", "is there more than once"},
		{`{"title":"x","Fields":{}}`, "Fields", "is no member"},
		{`{"title":"\ud800"}`, "title", "surrogate"},
		{`{"title":"\ude00\ud83d"}`, "title", "surrogate"},
		{`{"title":"\ud83dx"}`, "title", "surrogate"},
		{`{"title":"\\\ud83d\\ude00"}`, "title", "surrogate"},
		{`{"title":"x",}`, "", "no JSON"},
		{`{"title" "x"}`, "", "no JSON"},
		{`{"title":"x"`, "", "no JSON"},
		{`{"title":"x"} {}`, "", "more than one"},
		{`null`, "", "JSON object"},
		{`["x"]`, "", "JSON object"},
		{``, "", "no JSON"},
	} {
		err := decodeJSON(c.body, &sample{})
		p, ok := integrations.ProblemOf(err)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", c.body, err)
			}
		} else if !ok || p.Status != http.StatusBadRequest || p.Field != c.field || !strings.Contains(p.Text, c.says) {
			t.Errorf("%s: %+v, want 400 about %q with %q", c.body, p, c.field, c.says)
		}
	}
}

// FuzzMembers: whatever a body is, what is taken is JSON that says the same to
// a reader who knows no Go.
func FuzzMembers(f *testing.F) {
	f.Add(`{"title":"x","emails":[{"value":"v"}],"count":1,"content":"aGk="}`)
	f.Add(`{"TITLE":"x","title":"\ud800","free":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		var into sample
		if err := decodeJSON(body, &into); err != nil {
			if _, ok := integrations.ProblemOf(err); !ok {
				t.Fatalf("%q: %v, want a problem", body, err)
			}
			return
		}
		var plain map[string]any
		if err := json.Unmarshal([]byte(body), &plain); err != nil || plain["title"] != into.Title {
			t.Errorf("%q: the title is %q, want %q (%v)", body, into.Title, plain["title"], err)
		}
	})
}
