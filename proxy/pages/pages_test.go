package pages

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"anteroom/session"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// canary is what a hostile value looks like; no page may let it through.
const canary = `<script>alert(1)</script>"'{n}`

func newPages(t *testing.T) *Pages {
	t.Helper()
	p, err := New()
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	p.now = func() time.Time { return noon }
	return p
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func get(accept string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://anteroom.example/somewhere", nil)
	r.Header.Set("Accept-Language", accept)
	return r
}

func render(p *Pages, r *http.Request, page Page) *http.Response {
	w := httptest.NewRecorder()
	p.Render(w, r, http.StatusOK, page)
	return w.Result()
}

func TestEveryPageInEveryLanguage(t *testing.T) {
	p := newPages(t)
	for name, page := range samples() {
		for _, code := range spoken() {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := get(code)
				r.Method = method
				checkPage(t, code+" "+method+" "+name, code, render(p, r, page))
			}
		}
	}
}

// TestZeroPages: a page of which nothing is known still renders whole.
func TestZeroPages(t *testing.T) {
	p := newPages(t)
	for _, page := range kinds() {
		checkPage(t, "zero "+page.name(), "en", render(p, get("en"), page))
	}
}

func checkPage(t *testing.T, name, code string, res *http.Response) {
	t.Helper()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Language") != code {
		t.Fatalf("%s: status %d, Content-Language %q, want 200, %q", name, res.StatusCode, res.Header.Get("Content-Language"), code)
	}
	doc, err := html.Parse(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for element, want := range map[string]int{"h1": 1, "title": 1, "main": 1, "style": 0, "base": 0, "iframe": 0} {
		if got := len(all(doc, element)); got != want {
			t.Errorf("%s: %d <%s>, want %d", name, got, element, want)
		}
	}
	for _, element := range []string{"h1", "h2", "title", "button", "a", "dt", "summary"} {
		for _, n := range all(doc, element) {
			if strings.TrimSpace(words(n)) == "" {
				t.Errorf("%s: <%s> is empty", name, element)
			}
		}
	}
	if got := attr(all(doc, "html")[0], "lang"); got != code {
		t.Errorf("%s: lang = %q, want %q", name, got, code)
	}
	for n := range doc.Descendants() {
		checkNode(t, name, n)
	}
}

// checkNode holds one node against what no page may contain.
func checkNode(t *testing.T, name string, n *html.Node) {
	t.Helper()
	if n.Type == html.CommentNode {
		t.Errorf("%s: has a comment: %q", name, n.Data)
	}
	if n.Data == "script" && (!strings.HasPrefix(attr(n, "src"), assetsAt) || n.FirstChild != nil) {
		t.Errorf("%s: has a script that is not ours: %q %q", name, attr(n, "src"), words(n))
	}
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			t.Errorf("%s: <%s> has the inline attribute %s", name, n.Data, a.Key)
		}
		switch a.Key {
		case "href", "action", "src", "content":
			if strings.Contains(strings.ToLower(a.Val), "javascript:") || strings.Contains(a.Val, "ZgotmplZ") {
				t.Errorf("%s: <%s %s=%q> is live", name, n.Data, a.Key, a.Val)
			}
		}
	}
	if n.Type == html.TextNode && strings.Contains(strings.ReplaceAll(n.Data, canary, ""), "{") {
		t.Errorf("%s: a {name} was left in %q", name, n.Data)
	}
}

// TestNothingPassesUnescaped puts the canary into every string of every page.
func TestNothingPassesUnescaped(t *testing.T) {
	p := newPages(t)
	for name, page := range samples() {
		v := reflect.New(reflect.TypeOf(page)).Elem()
		v.Set(reflect.ValueOf(page))
		poison(v)
		r := get("en")
		w := httptest.NewRecorder()
		w.Header().Set("X-Request-Id", canary)
		p.Render(w, r, http.StatusOK, v.Interface().(Page))
		if body := w.Body.String(); strings.Contains(body, "<script>") || strings.Contains(body, "alert(1)</") {
			t.Errorf("%s: the canary came through: %s", name, body)
		}
		checkPage(t, "poisoned "+name, "en", w.Result())
	}
}

// poison overwrites the strings within a value, but for those that choose the
// text (closed sets, which callers take from constants).
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() != reflect.TypeFor[Reason]() && v.Type() != reflect.TypeFor[Why]() {
			v.SetString(canary)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			poison(v.Field(i))
		}
	case reflect.Slice:
		fresh := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			fresh.Index(i).Set(v.Index(i))
			poison(fresh.Index(i))
		}
		v.Set(fresh)
	case reflect.Pointer:
		if !v.IsNil() {
			fresh := reflect.New(v.Type().Elem())
			fresh.Elem().Set(v.Elem())
			poison(fresh.Elem())
			v.Set(fresh)
		}
	}
}

// TestSamplesAreComplete: a page that is added is also tested.
func TestSamplesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, page := range samples() {
		seen[page.name()] = true
	}
	for _, page := range kinds() {
		if !seen[page.name()] {
			t.Errorf("samples() has no %s", page.name())
		}
	}
}

func TestHeaders(t *testing.T) {
	p := newPages(t)
	for _, page := range kinds() {
		h := render(p, get("en"), page).Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors ", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %q", page.name(), csp, want)
			}
		}
		if h.Get("Permissions-Policy") == "" || strings.Contains(csp, "frame-ancestors 'none'") && (h.Get("Cross-Origin-Opener-Policy") != "same-origin" || h.Get("Cross-Origin-Resource-Policy") != "same-origin") {
			t.Errorf("%s: headers %v, want Permissions-Policy, Cross-Origin-Opener-Policy and -Resource-Policy", page.name(), h)
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q has an unsafe source", page.name(), csp)
		}
		got := map[string]string{}
		for _, k := range []string{"Content-Type", "Cache-Control", "Referrer-Policy", "X-Content-Type-Options"} {
			got[k] = h.Get(k)
		}
		want := map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store",
			"Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", page.name(), diff)
		}
	}
}

func TestWhoMayFrame(t *testing.T) {
	p := newPages(t)
	for _, tt := range []struct {
		page            Page
		options, policy string
	}{
		{Account{}, "DENY", "frame-ancestors 'none'"},
		{SignOutAsk{}, "DENY", "frame-ancestors 'none'"},
		{LostForm{}, "SAMEORIGIN", "frame-ancestors 'self'"},
		{FrameSignIn{}, "", "frame-ancestors *"},
	} {
		h := render(p, get("en"), tt.page).Header
		if h.Get("X-Frame-Options") != tt.options || !strings.Contains(h.Get("Content-Security-Policy"), tt.policy) {
			t.Errorf("Render(%s): X-Frame-Options %q, policy %q, want %q, %q", tt.page.name(),
				h.Get("X-Frame-Options"), h.Get("Content-Security-Policy"), tt.options, tt.policy)
		}
	}
}

func TestHead(t *testing.T) {
	p := newPages(t)
	r := get("en")
	r.Method = http.MethodHead
	w := httptest.NewRecorder()
	p.Render(w, r, http.StatusNotFound, Error{Status: http.StatusNotFound})
	if w.Code != http.StatusNotFound || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "" {
		t.Errorf("Render(HEAD) = %d with %d bytes, Content-Length %q; want 404, none, set", w.Code, w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestRetryAfter(t *testing.T) {
	p := newPages(t)
	if got := render(p, get("en"), Unavailable{RetryAfter: 1500 * time.Millisecond}).Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After = %q, want 2 (rounded up)", got)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Retry-After", "30")
	p.Render(w, get("en"), http.StatusServiceUnavailable, Unavailable{RetryAfter: time.Second})
	if got := w.Header().Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After = %q, want the caller's 30", got)
	}
}

func TestPersonNames(t *testing.T) {
	for _, tt := range []struct {
		who  session.Identity
		want Person
	}{
		{session.Identity{Subject: "u1", Username: "ada", Name: "Ada Lovelace", Email: "ada@example.org"},
			Person{Initial: "A", Name: "Ada Lovelace", Also: []string{"ada", "ada@example.org"}}},
		{session.Identity{Subject: "u1"}, Person{Initial: "U", Name: "u1"}},
		{session.Identity{Subject: "u1", Username: "élodie", Name: "  "}, Person{Initial: "É", Name: "élodie"}},
		{session.Identity{Subject: "u1", Name: "\u200eX"}, Person{Name: "\u200eX", Also: []string{"u1"}}},
	} {
		if diff := cmp.Diff(&tt.want, (&view{}).Person(&tt.who)); diff != "" {
			t.Errorf("Person(%v) (-want +got):\n%s", tt.who.Name, diff)
		}
	}
}

// all lists the elements of one name.
func all(doc *html.Node, name string) []*html.Node {
	var out []*html.Node
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			out = append(out, n)
		}
	}
	return out
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func words(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}
