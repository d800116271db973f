package files

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/studio-b12/gowebdav"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"anteroom/integrations"
)

// told gives the library's requests a context and a condition, and says in our
// words what the server refuses, before the library makes up its own mind.
type told struct {
	ctx     context.Context
	to      *url.URL // the server
	rt      http.RoundTripper
	what    string
	ifMatch string // for the first request; "" for none

	err     error // of the last request; the library keeps no causes
	replied int   // status of the last answer
}

// RoundTrip implements http.RoundTripper.
func (t *told) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(t.ctx)
	r.URL.Scheme, r.URL.Host, r.Host = t.to.Scheme, t.to.Host, t.to.Host
	if destination, ok := strings.CutPrefix(r.Header.Get("Destination"), anyServer); ok {
		r.Header.Set("Destination", t.to.String()+destination)
	}
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
		p = taken()
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

// anyServer is what the library takes for the server: it escapes what it is
// told, which an IPv6 address does not survive.
const anyServer = "http://nextcloud.invalid"

func taken() *integrations.Problem {
	return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonExists, Text: "There is something at the destination already: say overwrite to replace a file."}
}

// does runs one of the library's calls.
func (f *Files) does(ctx context.Context, what, ifMatch string, call func(*gowebdav.Client) error) (*told, error) {
	t := &told{ctx: ctx, to: f.base, rt: f.http.Transport, what: what, ifMatch: ifMatch}
	c := gowebdav.NewAuthClient(anyServer+"/", gowebdav.NewPreemptiveAuth(nobody{}))
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
	return f.moves(ctx, from, to, overwrite, ifMatch, (*gowebdav.Client).Rename)
}

// Copy is Move that leaves what it copies.
func (f *Files) Copy(ctx context.Context, from, to string, overwrite bool, ifMatch string) (replaced bool, err error) {
	return f.moves(ctx, from, to, overwrite, ifMatch, (*gowebdav.Client).Copy)
}

func (f *Files) moves(ctx context.Context, from, to string, overwrite bool, ifMatch string, call func(c *gowebdav.Client, from, to string, overwrite bool) error) (replaced bool, err error) {
	if overwrite {
		if err := f.apart(ctx, from, to); err != nil {
			return false, err
		}
	}
	t, err := f.does(ctx, "file or folder", ifMatch, func(c *gowebdav.Client) error { return call(c, f.Place(from), f.Place(to), overwrite) })
	if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonChanged && !overwrite {
		if _, miss := f.Stat(ctx, to); miss == nil { // that is a failed condition, too
			err = taken()
		}
	}
	return t.replied == http.StatusNoContent, err
}

// apart refuses what would be lost if the destination were replaced: servers
// delete that first, a folder with all within it. One path may be another's in
// other letters, too: Nextcloud takes a name in any Unicode normalization for the
// same, and a file system may do so with capitals.
func (f *Files) apart(ctx context.Context, from, to string) error {
	there, err := f.Stat(ctx, to)
	if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	n := strings.Count(to, "/")
	above := strings.Split(from, "/") // the folder above, or the source itself, that is as deep as the destination
	if source := strings.Join(above[:min(n+1, len(above))], "/"); alike(source) == alike(to) {
		here, err := f.Stat(ctx, source)
		if err != nil {
			return err
		}
		if here.ID == "" || here.ID == there.ID {
			return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "to", Text: "That is what is moved or copied, or holds it, in another spelling: it would be lost if it were replaced."}
		}
	}
	if there.Folder {
		return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonExists, Field: "to", Text: "There is a folder at the destination: a folder is not replaced."}
	}
	return nil
}

// alike is the same for paths that some server may take for the same.
func alike(p string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(p))) }

// Delete deletes a file, or a folder with all within it.
func (f *Files) Delete(ctx context.Context, p, ifMatch string) error {
	_, err := f.does(ctx, "file or folder", ifMatch, func(c *gowebdav.Client) error { return c.Remove(f.Place(p)) })
	return err
}

// Escaped is a path on the server as it stands in a request line.
func Escaped(place string) string { return (&url.URL{Path: place}).EscapedPath() }
