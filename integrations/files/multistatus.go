package files

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"anteroom/integrations"
)

// response is one of a multistatus (RFC 4918 §14.24), as far as it is read.
type response struct {
	Href     string     `xml:"DAV: href"`
	Propstat []propstat `xml:"DAV: propstat"`
	Status   string     `xml:"DAV: status"`
}

type propstat struct {
	Status string `xml:"DAV: status"`
	Prop   prop   `xml:"DAV: prop"`
}

type prop struct {
	Type struct {
		Collection *struct{} `xml:"DAV: collection"`
	} `xml:"DAV: resourcetype"`
	Length    *int64 `xml:"DAV: getcontentlength"`
	Content   string `xml:"DAV: getcontenttype"`
	ETag      string `xml:"DAV: getetag"`
	Modified  string `xml:"DAV: getlastmodified"`
	Used      *int64 `xml:"DAV: quota-used-bytes"`
	Free      *int64 `xml:"DAV: quota-available-bytes"`
	ID        string `xml:"http://owncloud.org/ns fileid"`
	Size      *int64 `xml:"http://owncloud.org/ns size"`
	Access    string `xml:"http://owncloud.org/ns permissions"`
	Principal struct {
		Href string `xml:"DAV: href"`
	} `xml:"DAV: current-user-principal"`
}

// entryProps are what an entry is made of.
const entryProps = `<d:resourcetype/><d:getcontentlength/><d:getcontenttype/><d:getetag/><d:getlastmodified/><oc:fileid/><oc:size/><oc:permissions/>`

// prop is what the server found; the zero value if it found nothing.
func (r *response) prop() *prop {
	for i := range r.Propstat {
		if ok(r.Propstat[i].Status) {
			return &r.Propstat[i].Prop
		}
	}
	return &prop{}
}

// ok reads a status line (RFC 9112 §4).
func ok(line string) bool {
	_, code, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.HasPrefix(code, "2")
}

// entry reads a response; false for one about something else.
func (f *Files) entry(r *response, e *Entry) bool {
	if r.Status != "" && !ok(r.Status) {
		return false
	}
	u, err := url.Parse(strings.TrimSpace(r.Href))
	if err != nil {
		return false
	}
	p, within := f.below(u.Path)
	if !within {
		return false
	}
	if _, err := Clean("path", p); err != nil {
		return false // a name that could not be asked for
	}
	x := r.prop()
	*e = Entry{Path: p, Name: path.Base(p), Folder: x.Type.Collection != nil, Size: -1, ETag: x.ETag, ID: x.ID, Access: x.Access}
	if size := x.Length; !e.Folder && size != nil {
		e.Size = *size
	} else if x.Size != nil {
		e.Size = *x.Size
	}
	if t, _, err := mime.ParseMediaType(x.Content); err == nil && !e.Folder {
		e.Type = t
	}
	if t, err := http.ParseTime(x.Modified); err == nil {
		e.Modified = t.UTC().Truncate(time.Second)
	}
	return true
}

const (
	maxResponse = 1 << 20 // of one response of a multistatus
	maxNesting  = 64
)

// propfind asks for properties and gives each response to a function, as they
// come. what names the thing in a refusal.
func (f *Files) propfind(ctx context.Context, place, depth, props, what string, each func(*response) error) error {
	body := `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop>` + props + `</d:prop></d:propfind>`
	return f.multistatus(ctx, "PROPFIND", place, depth, body, what, each)
}

func (f *Files) multistatus(ctx context.Context, method, place, depth, body, what string, each func(*response) error) error {
	r, err := http.NewRequestWithContext(ctx, method, f.at(place), strings.NewReader(body))
	if err != nil {
		return integrations.Invalid("path", "cannot be asked for.")
	}
	r.Header.Set("Content-Type", "application/xml; charset=utf-8")
	if depth != "" {
		r.Header.Set("Depth", depth)
	}
	resp, err := f.http.Do(r)
	if err != nil {
		return integrations.Lost(err)
	}
	defer resp.Body.Close()
	if p := integrations.Answered(resp, what); p != nil {
		return p
	}
	if resp.StatusCode != http.StatusMultiStatus {
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonNotDAV, Text: "What answers in Nextcloud's place is no DAV server."}
	}
	return read(resp.Body, each)
}

// metered ends when nobody has come by for too long: what is between two
// responses, or within one, is bounded.
type metered struct {
	r    io.Reader
	left int
}

var errLong = errors.New("a response of a multistatus is too long")

func (m *metered) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errLong
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// read takes a multistatus apart in constant memory. What each returns ends it.
func read(body io.Reader, each func(*response) error) error {
	m := &metered{r: body, left: maxResponse}
	d := xml.NewDecoder(m)
	unusable := func(err error) error { return integrations.Unusable("Nextcloud", err) }
	depth := 0
	for {
		token, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) && depth == 0 {
				err = errors.New("no multistatus in it")
			}
			return unusable(fmt.Errorf("reading a multistatus: %w", err))
		}
		switch t := token.(type) {
		case xml.Directive:
			return unusable(errors.New("a multistatus with a document type"))
		case xml.StartElement:
			switch {
			case depth == 0 && t.Name != xml.Name{Space: "DAV:", Local: "multistatus"}:
				return unusable(errors.New("an answer that is no multistatus"))
			case depth == 1 && t.Name == xml.Name{Space: "DAV:", Local: "response"}:
				var r response
				if err := d.DecodeElement(&r, &t); err != nil {
					return unusable(fmt.Errorf("reading a response: %w", err))
				}
				m.left = maxResponse
				if err := each(&r); err != nil {
					return err
				}
				continue
			}
			if depth++; depth > maxNesting {
				return unusable(errors.New("a multistatus that nests too deep"))
			}
		case xml.EndElement:
			if depth--; depth == 0 {
				return nil
			}
		}
	}
}
