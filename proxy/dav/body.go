package dav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// What a body of XML may be. A multiget that asks for ten thousand resources by
// name takes about one MiB.
const (
	maxXML   = 8 << 20
	maxDepth = 64
)

var (
	errTooLarge = errors.New("a body of XML that is too large")
	errXML      = errors.New("a body that is no XML, or XML that is not accepted")
	errEncoding = errors.New("a body of XML that is not UTF-8")
)

// carriesXML reports whether the body of a request is XML that can say where
// something is to be read or changed, and not content to be stored.
func carriesXML(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch:
		return false
	case http.MethodPost: // to an outbox it is a calendar, to a calendar it is how to share it
		t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		return isXML(t) || t == ""
	}
	return true
}

// isXML knows a media type of XML (RFC 7303 §4.2).
func isXML(mediaType string) bool {
	return mediaType == "application/xml" || mediaType == "text/xml" || strings.HasSuffix(mediaType, "+xml")
}

// readXML reads the XML body of a request, checks it, and maps its hrefs; nil
// for an empty one. Nothing of it has been sent on by then, so that a refusal
// leaves nothing half done.
func (in *inward) readXML(r *http.Request) ([]byte, error) {
	if r.ContentLength > maxXML {
		return nil, errTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, errEncoding
	}
	t, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == "MKCOL" && t != "" && !isXML(t) { // RFC 4918 §9.3
		return nil, errEncoding
	}
	if c := params["charset"]; c != "" && !isUTF8(c) {
		return nil, errEncoding
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxXML+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the body: %w", err)
	case len(body) > maxXML:
		return nil, errTooLarge
	case len(bytes.TrimSpace(body)) == 0:
		return nil, nil
	}
	var seen []string
	replace := in.replace
	if r.Method == "LOCK" { // its href is what the owner calls themselves
		replace = func(out, _ []byte) ([]byte, bool, error) { return out, false, nil }
	}
	x := rewriter{replace: func(out, text []byte) ([]byte, bool, error) {
		seen = append(seen, string(unescapeXML(text)))
		return replace(out, text)
	}}
	mapped, _, err := x.feed(make([]byte, 0, len(body)+256), body, true)
	if err != nil {
		return nil, err
	}
	return mapped, sound(body, seen)
}

// sound checks a document with another parser than the one that maps it: it
// has to be well-formed and in UTF-8, without a document type, within bounds;
// and both have to find the same hrefs, or somebody is being misled.
func sound(body []byte, seen []string) error {
	if wide(body) {
		return errEncoding
	}
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errEncoding }
	s := &scan{}
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			if !s.root || len(s.open) > 0 || !s.agrees(seen) {
				return errXML
			}
			return nil
		case errors.Is(err, errEncoding):
			return errEncoding
		case err != nil:
			return fmt.Errorf("%w: %w", errXML, err)
		}
		if err := s.take(token); err != nil {
			return err
		}
	}
}

// scan goes through a document's tokens.
type scan struct {
	root  bool
	open  []xml.Name
	href  *strings.Builder // text of the href we are in
	plain bool             // it has no elements within
	hrefs []string
}

func (s *scan) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.Directive:
		return errXML
	case xml.ProcInst:
		if t.Target != "xml" || s.root {
			return errXML
		}
	case xml.StartElement:
		if len(s.open) == 0 && s.root || len(s.open) == maxDepth {
			return errXML
		}
		s.root = true
		s.start(t)
	case xml.EndElement:
		if n := len(s.open) - 1; s.href != nil && s.carries(s.open[n]) {
			if s.plain {
				s.hrefs = append(s.hrefs, s.href.String())
			}
			s.href = nil
		}
		s.open = s.open[:len(s.open)-1]
	case xml.CharData:
		if s.href != nil {
			s.href.Write(t)
		}
		if len(s.open) == 0 && len(bytes.TrimSpace(t)) > 0 {
			return errXML
		}
	}
	return nil
}

func (s *scan) start(t xml.StartElement) {
	if s.href != nil {
		s.plain = false
	}
	inSource := false
	for _, n := range s.open {
		inSource = inSource || n == xml.Name{Space: nsCS, Local: "source"}
	}
	if s.carries(t.Name) && !inSource && s.href == nil {
		s.href, s.plain = new(strings.Builder), true
	}
	s.open = append(s.open, t.Name)
}

// carries knows the elements whose text is a path or a URL.
func (s *scan) carries(n xml.Name) bool {
	return n.Local == "href" && n.Space == nsDAV || n.Local == "comments-href" && n.Space == nsOC
}

// agrees compares the hrefs that both parsers found. Of one that is empty, or
// written as an empty tag, either may not speak.
func (s *scan) agrees(seen []string) bool {
	a, b := withText(s.hrefs), withText(seen)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func withText(hrefs []string) (out []string) {
	for _, h := range hrefs {
		if h = strings.TrimSpace(strings.ReplaceAll(h, "\r\n", "\n")); h != "" {
			out = append(out, h)
		}
	}
	return out
}

func isUTF8(charset string) bool {
	return strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")
}
