package dav

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"anteroom/session"
)

// allocated is how many bytes f allocates for each that it is given.
func allocated(size int, f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(size)
}

// TestMemoryOfDocuments: to judge a document takes no more memory for one that is
// made of attributes than for one of elements.
func TestMemoryOfDocuments(t *testing.T) {
	const (
		size  = maxXML - 4096
		limit = 52 // what encoding/xml takes for the shortest tags; none of it stays
	)
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, body := range map[string]string{
		"attributes":            `<a ` + fill(`a="" `) + `/>`,
		"attributes, unquoted":  `<a ` + fill(`a `) + `/>`,
		"hrefs":                 `<d:x xmlns:d="DAV:">` + fill(`<d:href>m:</d:href>`) + `</d:x>`,
		"hrefs to map":          `<d:x xmlns:d="DAV:">` + fill(`<d:href>/dav/</d:href>`) + `</d:x>`,
		"an href":               `<d:x xmlns:d="DAV:"><d:href>/dav/` + fill(`x`) + `</d:href></d:x>`,
		"an href of relative":   `<d:x xmlns:d="DAV:"><d:href>` + fill(`x/`) + `</d:href></d:x>`,
		"references in an href": `<d:x xmlns:d="DAV:"><d:href>/dav/` + fill(`&amp;`) + `</d:href></d:x>`,
		"a name":                `<` + fill(`a`) + `/>`,
		"tags":                  `<a>` + fill(`<b/>`) + `</a>`,
		"CDATA in an href":      `<d:x xmlns:d="DAV:"><d:href>/dav/` + fill(`<![CDATA[x]]>`) + `</d:href></d:x>`,
		"comments in an href":   `<d:x xmlns:d="DAV:"><d:href>/dav/` + fill(`<!---->`) + `</d:href></d:x>`,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(services("http://127.0.0.1:1"), Options{Client: &http.Client{Transport: &http.Transport{}}})
			if err != nil {
				t.Fatal(err)
			}
			got := allocated(len(body), func() {
				in := &inward{table: s.mounts, who: &session.Identity{Subject: "x", Method: session.ByClient}, ours: func(string) bool { return true }, entry: s.mounts[len(s.mounts)-1]}
				r := httptest.NewRequest("REPORT", "/dav/", strings.NewReader(body))
				_, err = in.readXML(r)
			})
			t.Logf("%.1f bytes for each (%v)", got, err)
			if got > limit {
				t.Errorf("allocated %.0f bytes for each of %d, want %d at most", got, len(body), limit)
			}
		})
	}
}
