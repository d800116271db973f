package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"anteroom/demo"
	"anteroom/proxy/authn"
)

// programs is a town in which the program indexer uses everything with service
// accounts.
func programs(t *testing.T, env ...string) (w *town, secret string) {
	s, hash := authn.NewSecret()
	w = found(t, demo.Options{}, append([]string{
		`ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "` + hash + `"}]`,
		"NEXTCLOUD_WEBDAV_USERNAME=testdoc", "NEXTCLOUD_WEBDAV_PASSWORD=" + demo.DefaultPassword,
		"NEXTCLOUD_CALDAV_USERNAME=testdoc", "NEXTCLOUD_CALDAV_PASSWORD=" + demo.DefaultPassword,
		"NEXTCLOUD_CARDDAV_USERNAME=testdoc", "NEXTCLOUD_CARDDAV_PASSWORD=" + demo.DefaultPassword,
		"ANTEROOM_INTEGRATIONS_DIRECTORY_USERNAME=admin", "ANTEROOM_INTEGRATIONS_DIRECTORY_PASSWORD=admin_dev_password",
	}, env...)...)
	return w, s.Reveal()
}

// document is an OpenAPI document, as far as requests are made of it.
type document struct {
	Paths      map[string]map[string]describedOperation
	Components struct{ Schemas map[string]schema }
}

type describedOperation struct {
	ID          string `json:"operationId"`
	Parameters  []parameter
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	}
}

type parameter struct {
	Name, In string
	Required bool
	Schema   schema
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type, Format         string
	Enum                 []string
	Properties           map[string]schema
	Required             []string
	Items                *schema
	Minimum, Maximum     *int64
	MinLength, MaxLength *int64
	MaxItems             *int64
	ContentEncoding      string
}

// sampler makes values that a schema allows, or, where wrong is set, that it
// does not, mostly.
type sampler struct {
	doc   *document
	r     *rand.Rand
	wrong bool
}

func (g *sampler) spoil(oneIn int) bool { return g.wrong && g.r.IntN(oneIn) == 0 }

// words lead somewhere now and then, and try what words can.
var words = []string{"/", "/Documents", "/Welcome.md", "/x/y", "personal", "contacts", "testdoc", "users", "a", "Besprechung", "text/*", "..", "/../", "%2e%2e%2f",
	"<script>alert(1)</script>", "a\r\nBcc: x@example.com", "ünïcödé", "\u202Egpj.exe", strings.Repeat("long", 40), "'; DROP TABLE", "\x00", "{}", "*", "%", "INBOX", "1"}

// hints are texts that lead somewhere, by the name of what takes them.
var hints = map[string][]string{
	"path": {"/", "/Documents", "/Welcome.md", "/new", "/Documents/a.txt"}, "from": {"/Welcome.md", "/Documents"}, "to": {"/b", "/c/d", "/Documents/e", "Trash", "bob@example.org", "bob@example.org"},
	"within": {"/", "/Documents"}, "id": {"testdoc", "admin", "users", "nobody", "1.2", "1.2", "1.9", "1.10", "1.11", "1.12", "1.13"}, "part": {"1", "2"}, "folder": {"INBOX", "Sent", "Trash"}, "cc": {"ann@example.org"}, "bcc": {"ann@example.org"}, "reply_to": {"ann@example.org"}, "content": {"aGk="}, "name": {"e", "Welcome"}, "type": {"text/*", "text/markdown"},
	"calendar": {"personal"}, "event": {"uid1.ics", "uid2.ics"}, "uid": {"uid1", "uid2"}, "card": {"uid1.vcf", "uid2.vcf"}, "text": {"e", "example.com"}, "birthday": {"1980-02-29", ""}, "time_zone": {"Europe/Berlin", "UTC", "Asia/Kathmandu"},
	"start": {"2026-03-28T09:00:00+01:00", "2026-03-28T09:00:00", "2026-03-28"}, "end": {"2026-03-29T09:00:00+02:00", "2026-03-29T02:30:00", "2026-03-29"},
	"recurrence": {"FREQ=DAILY;COUNT=3", "FREQ=WEEKLY;BYDAY=MO,SA", ""}, "occurrence": {"2026-03-29T09:00:00+02:00", "2026-03-29", ""}, "book": {"contacts"}, "cursor": {""}, "If-Match": {"*"}, "If-None-Match": {"*"},
}

func (g *sampler) text(name string, s schema) string {
	switch {
	case len(s.Enum) > 0 && !g.spoil(4):
		return s.Enum[g.r.IntN(len(s.Enum))]
	case s.Format == "date-time" && !g.spoil(4):
		return time.Date(2020+g.r.IntN(12), time.Month(1+g.r.IntN(12)), 1+g.r.IntN(28), g.r.IntN(24), g.r.IntN(60), 0, 0, time.UTC).Format(time.RFC3339)
	case s.Format == "date" && !g.spoil(4):
		return fmt.Sprintf("%d-%02d-%02d", 2020+g.r.IntN(12), 1+g.r.IntN(12), 1+g.r.IntN(28))
	case s.MaxLength != nil && g.spoil(6) && *s.MaxLength < 1<<17:
		return strings.Repeat("x", int(*s.MaxLength)+1)
	}
	if hint := hints[name]; hint != nil && !g.spoil(3) {
		return hint[g.r.IntN(len(hint))]
	}
	return words[g.r.IntN(len(words))]
}

// value is a JSON value.
func (g *sampler) value(name string, s schema) any {
	if s.Ref != "" {
		s = g.doc.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	if g.spoil(12) {
		return []any{nil, 1.5, "x", true, []any{}, map[string]any{"a": 1}, -1}[g.r.IntN(7)]
	}
	switch s.Type {
	case "object":
		o := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if slices.Contains(s.Required, name) && !g.spoil(8) || g.r.IntN(2) == 0 {
				o[name] = g.value(name, s.Properties[name])
			}
		}
		if g.spoil(8) {
			o["unheard_of"] = 1
		}
		return o
	case "array":
		list := []any{}
		for range g.r.IntN(3) {
			list = append(list, g.value(name, *s.Items))
		}
		return list
	case "integer":
		return g.number(s)
	case "boolean":
		return g.r.IntN(2) == 0
	}
	return g.text(name, s)
}

func (g *sampler) number(s schema) int64 {
	low, high := int64(0), int64(1000)
	if s.Minimum != nil {
		low = *s.Minimum
	}
	if s.Maximum != nil {
		high = *s.Maximum
	}
	if g.spoil(4) {
		return []int64{low - 1, high + 1, -1 << 62}[g.r.IntN(3)]
	}
	return low + g.r.Int64N(min(high-low+1, 1000))
}

// request makes one for an operation.
func (g *sampler) request(site, path, method string, op describedOperation) *http.Request {
	query, header := url.Values{}, http.Header{}
	for _, p := range op.Parameters {
		if !p.Required && g.r.IntN(2) == 0 || p.Required && p.In != "path" && g.spoil(8) {
			continue
		}
		text := fmt.Sprint(g.value(p.Name, p.Schema))
		switch p.In {
		case "query":
			query.Add(p.Name, text)
		case "header":
			header.Set(p.Name, strings.Map(func(c rune) rune {
				if c < ' ' {
					return '_'
				}
				return c
			}, text))
		case "path":
			if text == "" {
				text = "x"
			}
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(text))
		}
	}
	if g.spoil(10) {
		query.Set("unheard_of", "1")
	}
	var body io.Reader
	if content, ok := op.RequestBody.Content["application/json"]; ok {
		b, _ := json.Marshal(g.value("", content.Schema))
		if g.spoil(10) {
			b = b[:len(b)/2]
		}
		body = bytes.NewReader(b)
		header.Set("Content-Type", "application/json")
		if g.spoil(10) {
			header.Set("Content-Type", "text/plain")
		}
	} else if op.RequestBody.Content != nil {
		body = strings.NewReader("content")
	}
	if q := query.Encode(); q != "" {
		path += "?" + q
	}
	r, err := http.NewRequest(strings.ToUpper(method), site+path, body)
	if err != nil {
		return nil
	}
	r.Header = header
	return r
}

// TestAPIConformance: whatever is asked for, the answer is as the document says
// and never a fault of ours.
func TestAPIConformance(t *testing.T) {
	servers, mail := mailbox(t)
	for range 40 {
		servers.Put(t, "INBOX", "From: ann@example.org\nSubject: another\n\ntext\n")
	}
	w, secret := programs(t, mail...)
	ask := func(r *http.Request) (*http.Response, []byte) {
		r.SetBasicAuth("indexer", secret)
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s %s: %v", r.Method, r.URL, err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%s %s: reading the answer: %v", r.Method, r.URL, err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(b))
		return resp, b
	}
	r, _ := http.NewRequest("GET", w.site+"/integrations/openapi.json", nil)
	_, raw := ask(r)
	parsed, err := libopenapi.NewDocument(raw)
	if err != nil {
		t.Fatalf("the document: %v\n%s", err, raw)
	}
	v, errs := validator.NewValidator(parsed)
	if len(errs) > 0 {
		t.Fatalf("the document: %v", errs)
	}
	if ok, errs := v.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Errorf("the document is not OpenAPI 3.1: %s: %s %v", e.Message, e.Reason, e.SchemaValidationErrors)
		}
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]map[int]int{}
	seed := uint64(time.Now().UnixNano())
	g := &sampler{doc: &doc, r: rand.New(rand.NewPCG(seed, 0))}
	for round := range 100 {
		g.wrong = round%2 == 1
		for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
			for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
				op := doc.Paths[path][method]
				r := g.request(w.site, path, method, op)
				if r == nil {
					continue
				}
				resp, body := ask(r)
				if statuses[op.ID] == nil {
					statuses[op.ID] = map[int]int{}
				}
				statuses[op.ID][resp.StatusCode]++
				if resp.StatusCode >= 500 && resp.StatusCode != http.StatusInsufficientStorage {
					t.Errorf("seed %d: %s %s = %d %s", seed, r.Method, r.URL, resp.StatusCode, body)
				}
				if m := resp.Header.Get("Content-Type"); resp.StatusCode >= 400 && m != "application/problem+json" {
					t.Errorf("seed %d: %s %s = %d %s, want a problem document: %s", seed, r.Method, r.URL, resp.StatusCode, m, body)
				}
				r.Body = http.NoBody
				if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusNotModified {
					continue
				}
				if ok, errs := v.ValidateHttpResponse(r, resp); !ok && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/") && op.ID != "downloadFile" && op.ID != "getAttachment" {
					for _, e := range errs {
						t.Errorf("seed %d: %s %s = %d %s: %s %s %v", seed, r.Method, r.URL, resp.StatusCode, body, e.Message, e.Reason, e.SchemaValidationErrors)
					}
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(statuses)) {
		t.Logf("%s: %v", id, statuses[id])
	}
}
