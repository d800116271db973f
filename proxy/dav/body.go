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
	smallXML = 64 << 10 // up to which a body need not wait for others
	maxDepth = 64

	maxDocuments = 16 // larger ones at a time, a quarter of them one caller's: each is in memory, and read into more
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
		t := strings.ToLower(strings.Join(r.Header["Content-Type"], " "))
		return t == "" || strings.Contains(t, "xml") // as loosely as servers look
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
	for _, e := range r.Header["Content-Encoding"] {
		if !strings.EqualFold(e, "identity") {
			return nil, errEncoding
		}
	}
	if len(r.Header["Content-Type"]) > 1 {
		return nil, errEncoding
	}
	t, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == "MKCOL" && t != "" && !isXML(t) { // RFC 4918 §9.3
		return nil, errEncoding
	}
	if n := strings.Count(strings.ToLower(r.Header.Get("Content-Type")), "charset"); n > 1 || n == 1 && !isUTF8(params["charset"]) {
		return nil, errEncoding // some servers look for the word, wherever it stands
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
	x := rewriter{everywhere: !in.sets, replace: func(out, text []byte) ([]byte, bool, error) {
		seen = append(seen, string(unescapeXML(text)))
		return replace(out, text)
	}}
	mapped, _, err := x.feed(make([]byte, 0, len(body)+256), body, true)
	if err != nil {
		return nil, err
	}
	s := &scan{everywhere: !in.sets, scoped: in.entry.scope() != ""}
	return mapped, s.sound(body, seen)
}

// sound checks a document with another parser than the one that maps it: it
// has to be well-formed and in UTF-8, without a document type, within bounds;
// and both have to find the same hrefs, or somebody is being misled.
func (s *scan) sound(body []byte, seen []string) error {
	if wide(body) {
		return errEncoding
	}
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errEncoding }
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
			line, _ := d.InputPos()
			return fmt.Errorf("%w: in line %d", errXML, line) // the decoder's own words quote the body
		}
		if err := s.take(token); err != nil {
			return err
		}
	}
}
