package dav

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"anteroom/session"
)

// anybody is somebody with credentials of their own, whom every mount lets in.
var anybody = &session.Identity{Subject: "testdoc", Method: session.ByOIDC}

func testMounts() (table, *Mount) {
	to := &url.URL{Scheme: "https", Host: "cloud.example.com"}
	files := &Mount{Name: "webdav", Path: "/dav", to: to, base: "/remote.php/dav", raw: "/remote.php/dav"}
	calendars := &Mount{Name: "caldav", Path: "/calendar", to: to, base: "/remote.php/dav/calendars", raw: "/remote.php/dav/calendars"}
	contacts := &Mount{Name: "carddav", Path: "/contacts", to: to, base: "/remote.php/dav/addressbooks", raw: "/remote.php/dav/addressbooks"}
	return newTable([]*Mount{files, calendars, contacts}), files
}

func multistatus(n int, base string) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns">`)
	for i := range n {
		fmt.Fprintf(&b, `<d:response><d:href>%s/files/testdoc/Documents/report-%05d%%20final.pdf</d:href><d:propstat><d:prop><d:getlastmodified>Sun, 22 Nov 2026 20:29:37 GMT</d:getlastmodified><d:getcontentlength>%d</d:getcontentlength><d:resourcetype/><d:getetag>&quot;0123456789abcdef0123456789abcdef&quot;</d:getetag><d:getcontenttype>application/pdf</d:getcontenttype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat><d:propstat><d:prop><d:quota-used-bytes/><d:quota-available-bytes/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>`, base, i, i)
	}
	b.WriteString(`</d:multistatus>`)
	return b.Bytes()
}

func calendarData(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:cal="urn:ietf:params:xml:ns:caldav">`)
	for range n {
		fmt.Fprintf(&b, `<d:response><d:propstat><d:prop><d:getetag>&quot;0123&quot;</d:getetag><cal:calendar-data>%s</cal:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`,
			strings.Repeat("ATTENDEE;CN=Somebody;PARTSTAT=NEEDS-ACTION:mailto:somebody@example.com&#13;\n", 30))
	}
	b.WriteString(`</d:multistatus>`)
	return b.Bytes()
}

func BenchmarkRewrite(b *testing.B) {
	for _, c := range []struct {
		name string
		doc  []byte
	}{
		{"multistatus", multistatus(100_000, "/remote.php/dav")},
		{"nothing matches", multistatus(100_000, "/elsewhere")},
		{"calendar data", calendarData(40_000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			mounts, entry := testMounts()
			o := mounts.outwardFrom(entry, anybody, "https://voice.example.com")
			b.SetBytes(int64(len(c.doc)))
			b.ReportAllocs()
			for b.Loop() {
				r := newRewritten(io.NopCloser(bytes.NewReader(c.doc)), o.replace)
				if _, err := io.Copy(io.Discard, readerOnly{r}); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}

type readerOnly struct{ io.Reader }
