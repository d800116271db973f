package files

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/studio-b12/gowebdav"

	"anteroom/integrations"
)

// told gives the library's requests a context and a condition, and says in our
// words what the server refuses, before the library makes up its own mind.
type told struct {
	ctx     context.Context
	rt      http.RoundTripper
	what    string
	ifMatch string // for the first request; "" for none

	err     error // of the last request; the library keeps no causes
	replied int   // status of the last answer
}

// RoundTrip implements http.RoundTripper.
func (t *told) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.WithContext(t.ctx)
	if t.ifMatch != "" {
		r.Header.Set("If-Match", t.ifMatch)
	}
	resp, err := t.rt.RoundTrip(r)
	if err != nil {
		t.err = integrations.Lost(err)
		return nil, err
	}
	p := integrations.Answered(resp, t.what)
	switch {
	case p == nil && resp.StatusCode == http.StatusMultiStatus:
		p = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "Some of what lies below could not be changed; the rest was."}
	case resp.StatusCode == http.StatusMethodNotAllowed && r.Method == "MKCOL":
		p = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonExists, Text: "There is a file or a folder at that path already."}
	case resp.StatusCode == http.StatusPreconditionFailed && t.ifMatch == "":
		p = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonExists, Text: "There is something at the destination already: say overwrite to replace it."}
	case resp.StatusCode == http.StatusNotFound && (r.Method == "MKCOL"):
		p = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "The folder that it would lie in does not exist."}
	}
	if p != nil {
		resp.Body.Close()
		t.err = p
		return nil, p
	}
	t.replied = resp.StatusCode
	return resp, nil
}

// does runs one of the library's calls.
func (f *Files) does(ctx context.Context, what, ifMatch string, call func(*gowebdav.Client) error) (*told, error) {
	t := &told{ctx: ctx, rt: f.http.Transport, what: what, ifMatch: ifMatch}
	root := *f.base
	root.Path = "/"
	c := gowebdav.NewAuthClient(root.String(), gowebdav.NewPreemptiveAuth(nobody{}))
	c.SetTransport(t)
	if err := call(c); err != nil && t.err == nil {
		t.err = integrations.Unusable("Nextcloud", fmt.Errorf("answering %d", t.replied)) // not the library's words: they have the path
	}
	return t, t.err
}

// nobody attaches no credential: the transport does.
type nobody struct{}

// Authorize implements gowebdav.Authenticator.
func (nobody) Authorize(*http.Client, *http.Request, string) error { return nil }

// Verify implements gowebdav.Authenticator.
func (nobody) Verify(*http.Client, *http.Response, string) (bool, error) { return false, nil }

// Close implements gowebdav.Authenticator.
func (nobody) Close() error { return nil }

// Clone implements gowebdav.Authenticator.
func (nobody) Clone() gowebdav.Authenticator { return nobody{} }

// MakeFolder makes a folder; with parents, those that are missing above it, too,
// and it is no error that it is there.
func (f *Files) MakeFolder(ctx context.Context, p string, parents bool) error {
	if !parents {
		_, err := f.does(ctx, "folder", "", func(c *gowebdav.Client) error { return c.Mkdir(f.Place(p), 0) })
		return err
	}
	var missing []string
	for at := p; at != "/" && at != ""; at = at[:strings.LastIndexByte(at, '/')] {
		e, err := f.Stat(ctx, at)
		if err == nil && !e.Folder {
			return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonExists, Text: "There is a file at that path, or above it."}
		}
		if err == nil {
			break
		}
		if no, ok := integrations.ProblemOf(err); !ok || no.Reason != integrations.ReasonNotFound {
			return err
		}
		missing = append(missing, at)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		err := f.MakeFolder(ctx, missing[i], false)
		if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonExists {
			continue // somebody else made it meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Move moves a file or a folder with all within it; replaced reports that there
// was something else before.
func (f *Files) Move(ctx context.Context, from, to string, overwrite bool, ifMatch string) (replaced bool, err error) {
	t, err := f.does(ctx, "file or folder", ifMatch, func(c *gowebdav.Client) error { return c.Rename(f.Place(from), f.Place(to), overwrite) })
	return t.replied == http.StatusNoContent, err
}

// Copy is Move that leaves what it copies.
func (f *Files) Copy(ctx context.Context, from, to string, overwrite bool) (replaced bool, err error) {
	t, err := f.does(ctx, "file or folder", "", func(c *gowebdav.Client) error { return c.Copy(f.Place(from), f.Place(to), overwrite) })
	return t.replied == http.StatusNoContent, err
}

// Delete deletes a file, or a folder with all within it.
func (f *Files) Delete(ctx context.Context, p, ifMatch string) error {
	_, err := f.does(ctx, "file or folder", ifMatch, func(c *gowebdav.Client) error { return c.Remove(f.Place(p)) })
	return err
}

// Escaped is a path on the server as it stands in a request line.
func Escaped(place string) string { return (&url.URL{Path: place}).EscapedPath() }
