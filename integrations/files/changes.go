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

// Told is told what changed, as it is found: a folder, then all that lies in it
// now, then the next. It keeps none of what it is given.
type Told struct {
	Folder func(path, etag string) error
	Entry  func(*Entry) error
}

// Changes tells of the folders at and below a path that changed since a cursor,
// and returns the next one. Where nothing did, it costs one request: a
// Nextcloud folder's ETag changes with anything below it. On a server whose
// folders do not tell, all of them are gone through, and those that changed
// twice. What is in memory are the folders, not the files in them.
//
// What changes while it runs comes now, or again at the next call, or both, but
// is never left out.
func (f *Files) Changes(ctx context.Context, p, cursor string, told Told) (next string, err error) {
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
	w := &watch{f: f, before: before, told: told, tells: top.ID != "" && top.ETag != ""}
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
	found  int // folders, in what was listed
	told   Told
}

// place is a folder within another.
type place struct{ path, etag string }

// look lists a folder, tells of it if it changed, and looks into those within
// that may have changed.
func (w *watch) look(ctx context.Context, at string, depth int) error {
	if len(w.now) >= maxFolders || depth > maxDepth {
		return errFolders
	}
	changed := w.tells || len(w.before.records) == 0
	version, within, err := w.list(ctx, at, changed)
	if err == nil && !changed && !w.before.has(at, version) {
		w.found -= len(within)
		version, within, err = w.list(ctx, at, true)
	}
	if err != nil {
		return err
	}
	w.now = append(w.now, recordOf(depth, at, version))
	return w.within(ctx, within, depth+1)
}

var errFolders = &integrations.Problem{Status: http.StatusUnprocessableEntity, Reason: integrations.ReasonTooLarge, Text: "There are too many folders to watch: name one of them."}

// list lists one folder, and tells of it or not. version is its ETag, or stands
// for one where that does not tell of what is in it.
func (w *watch) list(ctx context.Context, at string, tell bool) (version string, within []place, err error) {
	h := sha256.New()
	err = w.f.List(ctx, at, false, func(self *Entry) error {
		if version = self.ETag; tell {
			return w.told.Folder(at, self.ETag)
		}
		return nil
	}, func(e *Entry) error {
		if e.Folder {
			if w.found++; w.found > maxFolders {
				return errFolders
			}
			within = append(within, place{e.Path, e.ETag})
		}
		if !w.tells {
			fmt.Fprintf(h, "%q %q %d %d %t\n", e.Name, e.ETag, e.Size, e.Modified.Unix(), e.Folder)
		}
		if tell {
			return w.told.Entry(e)
		}
		return nil
	})
	if !w.tells {
		version = hex.EncodeToString(h.Sum(nil))
	}
	return version, within, err
}

// within looks into the folders that lie in one.
func (w *watch) within(ctx context.Context, folders []place, depth int) error {
	for _, e := range folders {
		if w.tells && w.before.has(e.path, e.etag) {
			known := w.before.below(e.path, e.etag)
			if len(w.now)+len(known) > maxFolders {
				return errFolders
			}
			w.now = append(w.now, known...)
			continue
		}
		err := w.look(ctx, e.path, depth)
		if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonNotFound {
			continue // deleted meanwhile: the folder above it has changed, and comes again
		}
		if err != nil {
			return err
		}
	}
	return nil
}
