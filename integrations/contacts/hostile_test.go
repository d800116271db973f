package contacts

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"anteroom/integrations/collections"
)

// TestSearchesAreBounded: whatever is in an address book, a search takes little
// memory and time, and says that it did not look at all there is.
func TestSearchesAreBounded(t *testing.T) {
	one := func(w io.Writer, i int, more string) error {
		_, err := fmt.Fprintf(w, "<d:response><d:href>/book/%d.vcf</d:href><d:propstat><d:prop><d:getetag>\"1\"</d:getetag><c:address-data>BEGIN:VCARD\nVERSION:3.0\nFN:%d\n%s\nEND:VCARD\n</c:address-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>", i, i, more)
		return err
	}
	long := "NOTE:" + strings.Repeat("a", 1<<20)
	for name, tc := range map[string]struct {
		answer func(w io.Writer)
		cut    bool
	}{
		"some": {func(w io.Writer) {
			for i := range 1000 {
				one(w, i, "")
			}
		}, false},
		"one in disorder": {func(w io.Writer) {
			io.WriteString(w, `<d:response><d:href>/book/x</d:href><d:propstat><d:prop><c:address-data>no card</c:address-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`)
			one(w, 1, "")
		}, true},
		"long texts": {func(w io.Writer) {
			for i := range 50 {
				one(w, i, long)
			}
		}, true},
		"what never ends and is no card": {func(w io.Writer) {
			for i := 0; one(w, i, "END:VCALENDAR") == nil; i++ {
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusMultiStatus)
				io.WriteString(w, `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">`)
				tc.answer(w)
				io.WriteString(w, `</d:multistatus>`)
			}))
			defer s.Close()
			at, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Open(t.Context(), Options{Service: collections.Service{HTTP: s.Client(), URL: at}, Home: "/", Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			found, cut, err := c.Find(t.Context(), Book{place: "/book/"}, "")
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if err != nil || cut != tc.cut || len(found) > maxFound || m.HeapAlloc>>20 > 64 {
				t.Errorf("%d found, cut %v, %v; %d MiB held; want cut %v", len(found), cut, err, m.HeapAlloc>>20, tc.cut)
			}
			runtime.KeepAlive(found)
		})
	}
}
