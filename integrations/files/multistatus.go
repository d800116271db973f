package files

import (
	"context"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"anteroom/integrations/multistatus"
)

type response = multistatus.Response[prop]

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

// entry reads a response; false for one about something else.
func (f *Files) entry(r *response, e *Entry) bool {
	if r.Status != "" && !multistatus.OK(r.Status) {
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
		f.left()
		return false // a name that could not be asked for
	}
	x := r.Found()
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

// propfind asks for properties and gives each response to a function, as they
// come. what names the thing in a refusal.
func (f *Files) propfind(ctx context.Context, place, depth, props, what string, each func(*response) error) error {
	body := `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop>` + props + `</d:prop></d:propfind>`
	return f.ask(ctx, "PROPFIND", place, depth, body, what, each)
}

func (f *Files) ask(ctx context.Context, method, place, depth, body, what string, each func(*response) error) error {
	_, err := multistatus.Ask(ctx, f.http, multistatus.Request{Method: method, URL: f.at(place), Depth: depth, Body: body, What: what}, each)
	return err
}
