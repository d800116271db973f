package proxy

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"

	"anteroom/proxy/pages"
)

// keptForm is the largest form that is kept for a person whose session ended.
const keptForm = 64 << 10

// lostForm tells a person that a form met an ended session. The form is not
// turned into a GET and not lost: up to 64 KiB of it go back to the browser
// within the page, which sends it again after signing in. A form that another
// site sent is not kept: sent again from here it would look like our own. One
// that a front proxy asks about did not come here at all.
func (s *Server) lostForm(x *exchange, no *refusal) {
	page := pages.LostForm{Action: s.here(x) + x.r.URL.RequestURI(), Method: x.r.Method, SignIn: s.signInURL(x)}
	if x.dialect == nil && s.sentFromHere(x) && x.r.Method == http.MethodPost {
		s.keepForm(x, &page)
	}
	s.render(x, no.status, page)
}

// sentFromHere reports whether the browser says that a page of this very
// origin sent the request.
func (s *Server) sentFromHere(x *exchange) bool {
	if site := x.r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(x.r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && canonicalHost(origin.Host, origin.Scheme) == x.origin.site
}

// keepForm reads the form into the page, all of it or nothing.
func (s *Server) keepForm(x *exchange, page *pages.LostForm) {
	body, err := io.ReadAll(io.LimitReader(x.r.Body, keptForm+1))
	if err != nil || len(body) > keptForm {
		return
	}
	kind, params := mediaType(x.r)
	switch kind {
	case "application/x-www-form-urlencoded":
		page.Kept = keepFields(body, page)
	case "multipart/form-data":
		page.Kept = keepParts(body, params["boundary"], page)
	}
	if page.Kept {
		page.Enctype = kind
	}
}

// keepFields keeps the fields in their order, which url.Values would lose.
func keepFields(body []byte, page *pages.LostForm) bool {
	for pair := range bytes.SplitSeq(body, []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		n, err1 := url.QueryUnescape(string(name))
		v, err2 := url.QueryUnescape(string(value))
		if err1 != nil || err2 != nil {
			return false
		}
		page.Fields = append(page.Fields, pages.Field{Name: n, Value: v})
	}
	return true
}

// keepParts keeps fields and files.
func keepParts(body []byte, boundary string, page *pages.LostForm) bool {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return false
		}
		if emptyFile(part) {
			continue // a file input that nobody filled: the page sends none either
		}
		if part.FileName() == "" {
			page.Fields = append(page.Fields, pages.Field{Name: part.FormName(), Value: string(content)})
			continue
		}
		page.Files = append(page.Files, pages.File{Name: part.FormName(), Filename: part.FileName(),
			ContentType: part.Header.Get("Content-Type"), Base64: base64.StdEncoding.EncodeToString(content)})
	}
}

// emptyFile reports whether a part is a file input without a file: it has a
// filename, and that is empty.
func emptyFile(part *multipart.Part) bool {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	name, is := params["filename"]
	return err == nil && is && name == ""
}
