package dav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// piece is a part of a document as another parser finds it: bytes that are
// nobody's path, or the text of an element that carries one.
type piece struct {
	path bool
	text string // as written, or decoded of a path
}

// pieces takes a document apart with encoding/xml.
func pieces(doc []byte) ([]piece, error) {
	var out []piece
	var open []xml.Name
	var kept, from int64 // the document up to kept is in out; the path we are in begins at from
	var text *strings.Builder
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		before := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return append(out, piece{text: string(doc[kept:])}), nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			carries := t.Name == xml.Name{Space: "DAV:", Local: "href"} || t.Name == xml.Name{Space: "http://owncloud.org/ns", Local: "comments-href"}
			for _, n := range open {
				carries = carries && n != xml.Name{Space: "http://calendarserver.org/ns/", Local: "source"}
			}
			text = nil
			if carries {
				text, from = new(strings.Builder), d.InputOffset()
			}
			open = append(open, t.Name)
		case xml.CharData:
			if text != nil {
				text.Write(t)
			}
		case xml.EndElement:
			if text != nil && before >= from { // an empty tag ends where it began
				out = append(out, piece{text: string(doc[kept:from])}, piece{path: true, text: text.String()})
				kept = before
			}
			text, open = nil, open[:len(open)-1]
		}
	}
}

// mappedPath is what becomes of a path in the answers of the tests' server, for
// somebody who came by /dav: said simply.
func mappedPath(text string) string {
	lead := text[:len(text)-len(strings.TrimLeft(text, " \t\r\n"))]
	path := strings.TrimLeft(text, " \t\r\n")
	public := ""
	if rest, ok := strings.CutPrefix(path, "https://cloud.example.com/"); ok {
		path, public = "/"+rest, "https://voice.example.com"
	}
	rest, ok := strings.CutPrefix(path, "/remote.php/dav")
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], "/?# \t\r\n") {
		return text
	}
	return lead + public + "/dav" + rest
}

// rewriteIn rewrites a document in chunks of the given sizes, again and again.
func rewriteIn(doc []byte, sizes ...int) ([]byte, error) {
	return rewriteHurried(doc, worthIt, sizes...)
}

func rewriteHurried(doc []byte, hurried int, sizes ...int) ([]byte, error) {
	mounts, entry := testMounts()
	o := mounts.outwardFrom(entry, anybody, "https://voice.example.com")
	r := newRewritten(io.NopCloser(&chunked{doc: doc, sizes: sizes}), o.replace)
	r.x.hurried = hurried
	defer r.Close()
	return io.ReadAll(r)
}

// chunked reads a document in chunks of the given sizes.
type chunked struct {
	doc   []byte
	sizes []int
	n     int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.doc) == 0 {
		return 0, io.EOF
	}
	size := len(p)
	if len(c.sizes) > 0 {
		size = max(1, c.sizes[c.n%len(c.sizes)])
		c.n++
	}
	n := copy(p[:min(size, len(p))], c.doc)
	c.doc = c.doc[n:]
	return n, nil
}

// sameBut compares a rewritten document with the original: paths mapped, every
// other byte where it was.
func sameBut(t *testing.T, doc, got []byte) {
	t.Helper()
	want, err := pieces(doc)
	if err != nil {
		t.Skip() // nothing to hold it against
	}
	have, err := pieces(got)
	if err != nil {
		t.Fatalf("the rewritten document is broken: %v\nbefore %q\nafter  %q", err, doc, got)
	}
	if len(have) != len(want) {
		t.Fatalf("rewritten: %d pieces, want %d\nbefore %q\nafter  %q", len(have), len(want), doc, got)
	}
	for i := range want {
		if want[i].path {
			want[i].text = mappedPath(want[i].text)
		}
		if want[i] != have[i] {
			t.Errorf("piece %d = %q, want %q", i, have[i].text, want[i].text)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>/remote.php/dav/files/a%20b</d:href></d:response></d:multistatus>`), byte(3), byte(7))
	f.Add([]byte(`<a xmlns="DAV:"><href> /remote.php/dav<!-- x -->/y</href><href><![CDATA[/remote.php/dav/<&]]></href><b xmlns="x"><href>/remote.php/dav/</href></b></a>`), byte(1), byte(1))
	f.Add([]byte(`<D:x xmlns:D="DAV:" xmlns:s="http://calendarserver.org/ns/"><s:source><D:href>/remote.php/dav/</D:href></s:source><D:href>https://cloud.example.com/remote.php/dav/x</D:href></D:x>`), byte(2), byte(90))
	f.Add([]byte(`<x xmlns:o="http://owncloud.org/ns"><o:comments-href>/remote.php/dav/comments/1</o:comments-href><![CDATA[<d:href>]]><!--<o:comments-href>--><?pi <x ?></x>`), byte(5), byte(64))
	f.Add([]byte(`<e:href xmlns:e='DAV:' a="'>"  >/remote.php/dav&#x2f;x</e:href >`), byte(4), byte(9))
	f.Add([]byte(`<d:m xmlns:d="DAV:"><d:r><d:p><d:q/></d:p></d:r><d:r xmlns:d="x"><d:href>/remote.php/dav/</d:href></d:r><d:t>a=b?c!</d:t><d:href>/remote.php/dav/x</d:href></d:m>`), byte(7), byte(60))
	f.Add([]byte(`<a xmlns="DAV:"><b><c xmlns="y"><e></e></c><d></d></b><f><cs:source xmlns:cs="http://calendarserver.org/ns/"><href>/remote.php/dav/</href></cs:source></f><href>/remote.php/dav/x</href></a>`), byte(40), byte(200))
	f.Fuzz(func(t *testing.T, doc []byte, a, b byte) {
		whole, err := rewriteHurried(doc, 0)
		parts, errParts := rewriteHurried(doc, 0, int(a), int(b))
		if (err == nil) != (errParts == nil) || !bytes.Equal(whole, parts) {
			t.Fatalf("whole %q %v\nin chunks of %d and %d %q %v", whole, err, a, b, parts, errParts)
		}
		hurried, errHurried := rewriteHurried(doc, 1, int(b), int(a))
		if _, broken := pieces(doc); broken == nil && ((err == nil) != (errHurried == nil) || !bytes.Equal(whole, hurried)) {
			t.Fatalf("not hurried %q %v\nhurried %q %v", whole, err, hurried, errHurried)
		}
		if err == nil && !wide(doc) && !strings.ContainsAny(string(doc), "%") { // the reference knows one spelling
			sameBut(t, doc, whole)
		}
	})
}
