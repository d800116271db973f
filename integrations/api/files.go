package api

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"anteroom/integrations"
	"anteroom/integrations/files"
	"anteroom/session"
)

// files are the operations on files and folders.
func (a *API) files() []*operation {
	of := func(id, method, path, summary string) operation {
		return operation{ID: id, Method: method, Path: path, Summary: summary, Section: "webdav",
			Changes: method != http.MethodGet && id != "fileChanges"}
	}
	return []*operation{
		operate(of("listFiles", "GET", "/files", "What lies in a folder, in the server's order"), (*exchange).listFiles, jsonOf[filePage](http.StatusOK)),
		operate(of("getFile", "GET", "/files/entry", "One file or folder"), (*exchange).getFile, jsonOf[files.Entry](http.StatusOK, "ETag"), nothing(http.StatusNotModified)),
		operate(of("downloadFile", "GET", "/files/content", "A file's content, or ranges of it"), (*exchange).downloadFile,
			bytesOf(http.StatusOK, "*/*", "ETag", "Last-Modified", "Content-Disposition"), bytesOf(http.StatusPartialContent, "*/*", "ETag", "Content-Range"), nothing(http.StatusNotModified)),
		operate(of("uploadFile", "PUT", "/files/content", "Put a file there, of known length or not; the folder has to exist"), (*exchange).uploadFile,
			nothing(http.StatusCreated, "ETag"), nothing(http.StatusNoContent, "ETag")),
		operate(of("makeFolder", "POST", "/files/folders", "Make a folder"), (*exchange).makeFolder, jsonOf[files.Entry](http.StatusCreated)),
		operate(of("moveFile", "POST", "/files/move", "Move or rename a file, or a folder with all within it"), (*exchange).moveFile, jsonOf[files.Entry](http.StatusOK)),
		operate(of("copyFile", "POST", "/files/copy", "Copy a file, or a folder with all within it"), (*exchange).copyFile, jsonOf[files.Entry](http.StatusCreated)),
		operate(of("deleteFile", "DELETE", "/files", "Delete a file, or a folder with all within it; Nextcloud keeps it in the trash"), (*exchange).deleteFile, nothing(http.StatusNoContent)),
		operate(of("searchFiles", "GET", "/files/search", "Find files and folders by name and type"), (*exchange).searchFiles, jsonOf[filePage](http.StatusOK)),
		operate(of("fileChanges", "POST", "/files/changes", "The folders that changed since a cursor, each with all that lies in it now; without a cursor, all folders"), (*exchange).fileChanges, jsonOf[fileChanges](http.StatusOK)),
	}
}

// filePage is a part of a list.
type filePage struct {
	Items []files.Entry `json:"items"`
	next
}

// next goes on where a list ended.
type next struct {
	Cursor string `json:"cursor,omitempty" doc:"there is more: ask with this cursor; missing at the end"`
}

// open opens the caller's files.
func (x *exchange) open() (*files.Files, error) {
	client, to, scope, err := x.dav()
	if err != nil {
		return nil, err
	}
	user := x.user()
	f, err := files.Open(x.ctx(), files.Options{HTTP: client, URL: to, Scope: scope, User: user, LeftOut: func() { x.leftOut++ }})
	if err == nil && user == "" && f.User() != "" {
		x.a.accounts.learn(x.account(), f.User())
	}
	return f, err
}

// user is the id that the account has at Nextcloud, where it is known: a
// person's is what they are signed in as, that of the service account need not
// be its login name.
func (x *exchange) user() string {
	if x.grant.By != integrations.ByService && x.c.Who.Method != session.ByClient {
		return x.c.Who.Subject
	}
	return x.a.accounts.of(x.account())
}

// atPath is the part of a request that names a file or folder.
type atPath struct {
	Path string `query:"path" required:"true" min:"1" doc:"from the root, beginning with a slash"`
}

type listFiles struct {
	Path   string `query:"path" default:"/" min:"1" doc:"the folder"`
	Depth  string `query:"depth" enum:"1,infinity" default:"1" doc:"infinity: with all that is in folders below it"`
	Limit  int    `query:"limit" min:"1" max:"100000" default:"100000" doc:"how many at most"`
	Cursor string `query:"cursor" max:"512" doc:"from the answer before"`
}

// listFiles streams a folder's entries: however many there are, few are in
// memory. A cursor is how many were given out, and of which version of the
// folder.
func (x *exchange) listFiles(in *listFiles) error {
	skip, version, err := readPlace(in.Cursor)
	if err != nil {
		return err
	}
	f, p, err := x.fileAt("path", in.Path)
	if err != nil {
		return err
	}
	out, more, n := x.listing(), next{}, 0
	err = f.List(x.ctx(), p, in.Depth == "infinity", func(folder *files.Entry) error {
		if in.Cursor != "" && folder.ETag != version {
			return &integrations.Problem{Status: http.StatusGone, Reason: integrations.ReasonCursor, Field: "cursor", Text: "The folder has changed since: begin again without a cursor."}
		}
		version = folder.ETag
		return nil
	}, func(e *files.Entry) error {
		switch n++; {
		case n <= skip:
			return nil
		case n > skip+in.Limit:
			more.Cursor = placeOf(skip+in.Limit, version)
			return errFull
		}
		return out.add(e)
	})
	if err != nil && !errors.Is(err, errFull) {
		return err
	}
	return out.end(more)
}

// errFull ends a listing of which as much as was asked for has been given.
var errFull = errors.New("the page is full")

// placeOf is a cursor of a list: how much was given out, and of which version.
func placeOf(n int, version string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(n) + " " + version))
}

func readPlace(cursor string) (n int, version string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	count, version, ok := strings.Cut(string(b), " ")
	n, errCount := strconv.Atoi(count)
	if err != nil || !ok || errCount != nil || n < 0 || n > 1<<30 {
		return 0, "", integrations.Invalid("cursor", "is none of this operation's.")
	}
	return n, version, nil
}

type getFile struct {
	atPath
	IfNoneMatch string `header:"If-None-Match" doc:"an ETag: 304 while it is this one's"`
}

func (x *exchange) getFile(in *getFile) error {
	f, p, err := x.fileAt("path", in.Path)
	if err != nil {
		return err
	}
	e, err := f.Stat(x.ctx(), p)
	if err != nil {
		return err
	}
	return x.versioned(http.StatusOK, e.ETag, e)
}

// fileAt opens the caller's files for one path.
func (x *exchange) fileAt(field, path string) (*files.Files, string, error) {
	p, err := files.Clean(field, path)
	if err != nil {
		return nil, "", err
	}
	x.c.Object = p
	f, err := x.open()
	return f, p, err
}

// changeable is fileAt for what changes or ends what is there: that is never
// the root.
func (x *exchange) changeable(field, path string) (*files.Files, string, error) {
	f, p, err := x.fileAt(field, path)
	if err == nil && p == "/" {
		return nil, "", integrations.Invalid(field, "is the root, which stays.")
	}
	return f, p, err
}

type makeFolder struct {
	Body struct {
		Path    string `json:"path" required:"true" doc:"the folder to make"`
		Parents bool   `json:"parents,omitempty" doc:"make those above it, too, where they are missing; it is no error then that it is there"`
	} `body:"json"`
}

func (x *exchange) makeFolder(in *makeFolder) error {
	f, p, err := x.changeable("path", in.Body.Path)
	if err != nil {
		return err
	}
	if err := f.MakeFolder(x.ctx(), p, in.Body.Parents); err != nil {
		return err
	}
	return x.entry(http.StatusCreated, f, p)
}

// entry answers with what lies at a path now.
func (x *exchange) entry(status int, f *files.Files, p string) error {
	e, err := f.Stat(x.ctx(), p)
	if err != nil {
		return err
	}
	return x.json(status, e)
}

type moveFile struct {
	IfMatch string `header:"If-Match" doc:"only while this is the file's ETag"`
	Body    fromTo `body:"json"`
}

type fromTo struct {
	From      string `json:"from" required:"true"`
	To        string `json:"to" required:"true"`
	Overwrite bool   `json:"overwrite,omitempty" doc:"replace a file that is there; without it that is refused; a folder never is"`
}

func (x *exchange) moveFile(in *moveFile) error {
	f, from, to, err := x.fromTo(&in.Body)
	if err != nil {
		return err
	}
	if _, err := f.Move(x.ctx(), from, to, in.Body.Overwrite, in.IfMatch); err != nil {
		return err
	}
	return x.entry(http.StatusOK, f, to)
}

type copyFile struct {
	IfMatch string `header:"If-Match" doc:"only while this is the file's ETag"`
	Body    fromTo `body:"json"`
}

func (x *exchange) copyFile(in *copyFile) error {
	f, from, to, err := x.fromTo(&in.Body)
	if err != nil {
		return err
	}
	if _, err := f.Copy(x.ctx(), from, to, in.Body.Overwrite, in.IfMatch); err != nil {
		return err
	}
	return x.entry(http.StatusCreated, f, to)
}

func (x *exchange) fromTo(in *fromTo) (f *files.Files, from, to string, err error) {
	if to, err = files.Clean("to", in.To); err != nil {
		return nil, "", "", err
	}
	x.c.To = to
	f, from, err = x.changeable("from", in.From)
	source, there := norm.NFC.String(from), norm.NFC.String(to) // as Nextcloud takes them
	switch {
	case err != nil:
	case to == "/":
		err = integrations.Invalid("to", "is the root, which stays.")
	case to == from, strings.HasPrefix(there, source+"/"):
		err = integrations.Invalid("to", "lies within what is moved or copied.")
	case strings.HasPrefix(source, there+"/"):
		err = integrations.Invalid("to", "holds what is moved or copied.")
	}
	return f, from, to, err
}

type deleteFile struct {
	atPath
	IfMatch string `header:"If-Match" doc:"only while this is the file's ETag"`
}

func (x *exchange) deleteFile(in *deleteFile) error {
	f, p, err := x.changeable("path", in.Path)
	if err != nil {
		return err
	}
	if err := f.Delete(x.ctx(), p, in.IfMatch); err != nil {
		return err
	}
	return x.nothing(http.StatusNoContent)
}

type searchFiles struct {
	Within string `query:"within" default:"/" min:"1" doc:"the folder to look in, and below"`
	Name   string `query:"name" max:"255" doc:"a part of the name, letter case aside; name or type is needed"`
	Type   string `query:"type" max:"255" doc:"a media type, or a kind such as image/*; name or type is needed"`
	Limit  int    `query:"limit" min:"1" max:"1000" default:"100" doc:"how many at most; fewer may come with a cursor"`
	Cursor string `query:"cursor" max:"512" doc:"from the answer before"`
}

func (x *exchange) searchFiles(in *searchFiles) error {
	if in.Name == "" && in.Type == "" {
		return integrations.Invalid("name", "or type is needed.")
	}
	if in.Type != "" && !kindOfMedia.MatchString(in.Type) {
		return integrations.Invalid("type", "is no media type, nor a kind such as image/*.")
	}
	skip, since, err := readPlace(in.Cursor)
	if err != nil {
		return err
	}
	spot := files.Spot{Skip: skip}
	if since != "" {
		if spot.Since, err = strconv.ParseInt(since, 10, 64); err != nil || spot.Since < 0 {
			return integrations.Invalid("cursor", "is none of this operation's.")
		}
	}
	f, p, err := x.fileAt("within", in.Within)
	if err != nil {
		return err
	}
	out := x.listing()
	spot, more, err := f.Search(x.ctx(), files.Query{Within: p, Name: in.Name, Type: in.Type, From: spot, Limit: in.Limit}, func(e *files.Entry) error { return out.add(e) })
	if err != nil {
		return err
	}
	end := next{}
	if more {
		end.Cursor = placeOf(spot.Skip, strconv.FormatInt(spot.Since, 10))
	}
	return out.end(end)
}

// kindOfMedia is a media type (RFC 9110 §8.3.1) without parameters, or all of
// a kind.
var kindOfMedia = regexp.MustCompile(`^[a-zA-Z0-9!#$&^_.+-]+/(\*|[a-zA-Z0-9!#$&^_.+-]+)$`)

type changesOf struct {
	Body struct {
		Path   string `json:"path,omitempty" default:"/" min:"1" doc:"the folder to watch, with all below it"`
		Cursor string `json:"cursor,omitempty" max:"1300000" doc:"from the answer before; it grows with the number of folders"`
	} `body:"json" max:"1400000"`
}

// fileChanges is what changed.
type fileChanges struct {
	Items  []files.Folder `json:"items" doc:"the folders that changed"`
	Cursor string         `json:"cursor" doc:"for the next time"`
}

func (x *exchange) fileChanges(in *changesOf) error {
	f, p, err := x.fileAt("path", in.Body.Path)
	if err != nil {
		return err
	}
	out := x.listing()
	type folder struct { // the rest of which follows: files.Folder
		Path string `json:"path"`
		ETag string `json:"etag,omitempty"`
	}
	cursor, err := f.Changes(x.ctx(), p, in.Body.Cursor, files.Told{
		Folder: func(path, etag string) error { return out.within(folder{path, etag}) },
		Entry:  func(e *files.Entry) error { return out.add(e) },
	})
	if err != nil {
		return err
	}
	return out.end(next{cursor})
}
