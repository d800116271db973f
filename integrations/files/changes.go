package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"anteroom/integrations"
)

// Folder is a folder that changed, with all that lies in it now: what is known
// of it from before and is not among Items is there no more.
type Folder struct {
	Path  string  `json:"path"`
	ETag  string  `json:"etag,omitempty"`
	Items []Entry `json:"items" doc:"all that lies in it now; what is known of it from before and not among them is there no more"`
}

// Changes gives each the folders at and below a path that changed since a
// cursor, and returns the next one. Where nothing did, it costs one request: a
// Nextcloud folder's ETag changes with anything below it. On a server whose
// folders do not tell, all of them are gone through.
//
// What changes while it runs comes now, or again at the next call, or both, but
// is never left out.
func (f *Files) Changes(ctx context.Context, p, cursor string, each func(*Folder) error) (next string, err error) {
	before, err := readCursor(cursor)
	if err != nil {
		return "", err
	}
	top, err := f.Stat(ctx, p)
	switch {
	case err != nil:
		return "", err
	case !top.Folder:
		return "", integrations.Invalid("path", "is a file, not a folder.")
	}
	w := &watch{f: f, before: before, each: each, tells: top.ID != "" && top.ETag != ""}
	if w.tells && before.has(p, top.ETag) {
		return cursor, nil
	}
	if err := w.look(ctx, p, 0); err != nil {
		return "", err
	}
	return cursorOf(w.now), nil
}

// watch is one look for changes.
type watch struct {
	f      *Files
	tells  bool // folders' ETags change with what is below them
	before *memory
	now    []record
	each   func(*Folder) error
}

// look lists a folder, gives it on if it changed, and looks into those within
// that may have changed.
func (w *watch) look(ctx context.Context, at string, depth int) error {
	if len(w.now) >= maxFolders || depth > maxDepth {
		return &integrations.Problem{Status: http.StatusUnprocessableEntity, Reason: integrations.ReasonTooLarge, Text: "There are too many folders to watch: name one of them."}
	}
	folder := Folder{Path: at, Items: []Entry{}}
	err := w.f.List(ctx, at, false, func(self *Entry) error {
		folder.ETag = self.ETag
		return nil
	}, func(e *Entry) error {
		folder.Items = append(folder.Items, *e)
		return nil
	})
	if err != nil {
		return err
	}
	version := folder.ETag
	if !w.tells {
		version = folder.version()
	}
	w.now = append(w.now, recordOf(depth, at, version))
	if w.tells || !w.before.has(at, version) {
		if err := w.each(&folder); err != nil {
			return err
		}
	}
	return w.within(ctx, folder.folders(), depth+1)
}

// within looks into the folders that lie in one.
func (w *watch) within(ctx context.Context, folders []Entry, depth int) error {
	for _, e := range folders {
		if w.tells && w.before.has(e.Path, e.ETag) {
			w.now = append(w.now, w.before.below(e.Path, e.ETag)...)
			continue
		}
		err := w.look(ctx, e.Path, depth)
		if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonNotFound {
			continue // deleted meanwhile: the folder above it has changed, and comes again
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folders are those among a folder's items.
func (f *Folder) folders() (folders []Entry) {
	for _, e := range f.Items {
		if e.Folder {
			folders = append(folders, e)
		}
	}
	return folders
}

// version stands for an ETag where a folder's does not tell of what is in it.
func (f *Folder) version() string {
	h := sha256.New()
	for _, e := range f.Items {
		fmt.Fprintf(h, "%q %q %d %d %t\n", e.Name, e.ETag, e.Size, e.Modified.Unix(), e.Folder)
	}
	return hex.EncodeToString(h.Sum(nil))
}
