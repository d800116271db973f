package multistatus_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"anteroom/integrations"
	"anteroom/integrations/multistatus"
)

type prop struct {
	Name string `xml:"DAV: displayname"`
}

// TestRefusals: what is no multistatus, or has no end, is a refusal, whose words
// quote nothing of it.
func TestRefusals(t *testing.T) {
	const begin, end = `<d:multistatus xmlns:d="DAV:">`, `</d:multistatus>`
	one := func(text string) string {
		return begin + "<d:response><d:href>/a</d:href><d:propstat><d:prop><d:displayname>" + text + "</d:displayname></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>" + end
	}
	for name, body := range map[string]string{
		"an entity":                one("Tom &Topsecret; Jerry"),
		"an entity without an end": one("AT&Topsecret"),
		"markup in a text":         one("<Topsecret>"),
		"an attribute":             one("<b Topsecret>"),
		"an end of another":        one("</Topsecret>"),
		"a document type":          `<!DOCTYPE a [<!ENTITY b "Topsecret">]>` + one("&b;"),
		"another encoding":         `<?xml version="1.0" encoding="utf-16"?>` + one("Topsecret"),
		"bytes that are none":      one("Topsecret\xff"),
		"another document":         "<Topsecret/>",
		"deep":                     begin + strings.Repeat("<Topsecret>", 1000),
		"deep in a response":       begin + "<d:response>" + strings.Repeat("<Topsecret>", 100_000),
		"a long one":               one(strings.Repeat("Topsecret", 1<<20)),
		"many parts":               begin + "<d:response>" + strings.Repeat("<d:propstat/>", 1000) + "</d:response>" + end,
		"cut off":                  strings.TrimSuffix(one("Topsecret"), end),
		"nothing":                  "",
	} {
		_, err := multistatus.Read(strings.NewReader(body), func(*multistatus.Response[prop]) error { return nil })
		p, ok := integrations.ProblemOf(err)
		if !ok || p.Status != http.StatusBadGateway || strings.Contains(err.Error(), "Topsecret") || strings.Contains(p.Text, "Topsecret") {
			t.Errorf("%s: Read = %v, want a refusal that quotes nothing", name, err)
		}
	}
}

// TestMost: of an answer that is long no more is read than is wanted, however
// short its responses are.
func TestMost(t *testing.T) {
	for name, one := range map[string]string{"long": "<d:response><d:href>" + strings.Repeat("a", 1000) + "</d:href></d:response>", "short": "<d:response/>"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusMultiStatus)
			io.WriteString(w, `<d:multistatus xmlns:d="DAV:">`)
			for {
				if _, err := io.WriteString(w, one); err != nil {
					return
				}
			}
		}))
		n := 0
		_, err := multistatus.Ask(t.Context(), s.Client(), multistatus.Request{Method: "PROPFIND", URL: s.URL, Most: 1 << 20}, func(*multistatus.Response[prop]) error { n++; return nil })
		if _, ok := integrations.ProblemOf(err); !ok || n == 0 || n > 5000 {
			t.Errorf("%s: %d responses, %v; want a refusal after 1 MiB", name, n, err)
		}
		s.Close()
	}
}
