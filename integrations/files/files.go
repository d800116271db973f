// Package files is the files of one Nextcloud account, or of any WebDAV server
// (RFC 4918), for programs: listed, searched, watched for changes, and put
// about. Paths are slash-separated, begin at what the account may see, and
// cannot lead out of it. It trusts no answer to be small or well-formed.
package files

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"anteroom/integrations"
)

// Options is what Files are made of.
type Options struct {
	HTTP    *http.Client // attaches the credential; see [integrations.Access.Wire]
	URL     *url.URL     // of the service, as it is configured
	Scope   []string     // segments below URL that everything stays within; nil: all there is
	User    string       // the account's id at Nextcloud; "": it is asked for, where it is needed
	LeftOut func()       // learns of each entry that is left out, for its name could not be asked for; nil: nobody does
}

// Files is one account's. Safe for concurrent use.
type Files struct {
	http *http.Client
	base *url.URL // no path
	dav  string   // path of Nextcloud's DAV root, decoded, without a slash at its end; "" if it is another server's
	user string   // that was given or found out; "" for none
	root string   // path of the folder that is "/" here, likewise
	left func()
}

// davRoot is where Nextcloud's DAV tree begins.
const davRoot = "/remote.php/dav"

// Open finds out which folder is the root. It asks the server only where the
// URL is that of Nextcloud's whole DAV tree, no scope is set, and the user is
// not known.
func Open(ctx context.Context, o Options) (*Files, error) {
	base := strings.TrimSuffix(o.URL.Path, "/")
	f := &Files{http: o.HTTP, base: &url.URL{Scheme: o.URL.Scheme, Host: o.URL.Host}, root: base, left: o.LeftOut}
	if f.left == nil {
		f.left = func() {}
	}
	if before, _, ok := strings.Cut(base+"/", davRoot+"/"); ok {
		f.dav = before + davRoot
	}
	switch {
	case len(o.Scope) > 0:
		f.root += "/" + strings.Join(o.Scope, "/")
	case f.dav != "" && base == f.dav:
		if o.User == "" {
			var err error
			if o.User, err = f.whose(ctx); err != nil {
				return nil, err
			}
		}
		f.user = o.User
		f.root += "/files/" + o.User
	}
	return f, nil
}

// User is the account's id, where it was needed; else "".
func (f *Files) User() string { return f.user }

// whose asks whose account it is (RFC 5397).
func (f *Files) whose(ctx context.Context) (string, error) {
	user := ""
	err := f.propfind(ctx, f.dav+"/", "0", `<d:current-user-principal/>`, "service", func(r *response) error {
		user = path.Base(strings.TrimSuffix(r.Found().Principal.Href, "/"))
		return nil
	})
	if err != nil {
		return "", err
	}
	if user, err = url.PathUnescape(user); err != nil || user == "" || user == "." || strings.ContainsAny(user, `/\`) {
		return "", integrations.Unusable("Nextcloud", errors.New("it does not say whose account it is"))
	}
	return user, nil
}

// Entry is a file or a folder.
type Entry struct {
	Path     string    `json:"path" doc:"from the root; a folder's has no slash at its end"`
	Name     string    `json:"name"`
	Folder   bool      `json:"folder"`
	Size     int64     `json:"size" doc:"bytes; of a folder: of all within, -1 if the server does not say"`
	Type     string    `json:"content_type,omitempty" doc:"a file's media type"`
	ETag     string    `json:"etag,omitempty" doc:"changes with the content; a Nextcloud folder's with anything below it"`
	Modified time.Time `json:"modified,omitzero" doc:"when the content last changed"`
	ID       string    `json:"id,omitempty" doc:"Nextcloud's file id: it stays when the file is moved or renamed"`
	Access   string    `json:"permissions,omitempty" doc:"Nextcloud's letters: G read, W write, D delete, N rename, V move, C create files, K create folders, R share, S shared, M mounted"`
	Used     *int64    `json:"quota_used,omitempty" doc:"bytes; of a folder that was asked for by itself"`
	Free     *int64    `json:"quota_available,omitempty" doc:"bytes; -1 not computed, -2 unknown, -3 unlimited"`
}

// Clean is a path in the form that the server is asked for; an error is a
// *integrations.Problem that names the field.
func Clean(field, p string) (string, error) {
	if !strings.HasPrefix(p, "/") {
		return "", integrations.Invalid(field, "has to begin with a slash.")
	}
	p = strings.TrimSuffix(p, "/")
	if p == "" {
		return "/", nil
	}
	_, clean, err := integrations.CleanPath((&url.URL{Path: p}).EscapedPath())
	if err != nil || clean != p {
		return "", integrations.Invalid(field, "has empty or dot segments, backslashes or control characters, in some spelling.")
	}
	return p, nil
}

// Place is the path on the server of a path here, decoded. p is clean.
func (f *Files) Place(p string) string {
	if p == "/" {
		return f.root + "/"
	}
	return f.root + p
}

// below is the path here of a path on the server, decoded; false for what lies
// elsewhere.
func (f *Files) below(place string) (string, bool) {
	p, ok := strings.CutPrefix(place, f.root)
	if p = strings.TrimSuffix(p, "/"); !ok || p != "" && p[0] != '/' {
		return "", false
	}
	if p == "" {
		p = "/"
	}
	return p, true
}

func (f *Files) at(place string) string {
	u := *f.base
	u.Path = place
	return u.String()
}

// Stat is one entry.
func (f *Files) Stat(ctx context.Context, p string) (Entry, error) {
	var e Entry
	found := false
	err := f.propfind(ctx, f.Place(p), "0", entryProps+`<d:quota-used-bytes/><d:quota-available-bytes/>`, "file or folder", func(r *response) error {
		if f.entry(r, &e) {
			found = true
			e.Used, e.Free = r.Found().Used, r.Found().Free
		}
		return nil
	})
	if err == nil && !found {
		err = integrations.Unusable("Nextcloud", errors.New("an answer about another file"))
	}
	if !e.Folder {
		e.Used, e.Free = nil, nil
	}
	return e, err
}

// List gives each what lies in a folder, in the server's order; deep: and in
// all folders below it. The folder itself comes as self first of all.
func (f *Files) List(ctx context.Context, p string, deep bool, self, each func(*Entry) error) error {
	depth := "1"
	if deep {
		depth = "infinity"
	}
	var e Entry
	first := true
	return f.propfind(ctx, f.Place(p), depth, entryProps, "folder", func(r *response) error {
		if !f.entry(r, &e) {
			return nil
		}
		if !first {
			return each(&e)
		}
		if first = false; norm.NFC.String(e.Path) != norm.NFC.String(p) { // Nextcloud has it in that form, however it was asked for
			return integrations.Unusable("Nextcloud", errors.New("a listing that does not begin with its folder"))
		}
		if !e.Folder {
			return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "That is a file, not a folder."}
		}
		return self(&e)
	})
}
