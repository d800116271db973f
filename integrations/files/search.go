package files

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"anteroom/integrations"
)

// Query is what is looked for: all that is said has to hold.
type Query struct {
	Within string // a clean path; "/" for everywhere
	Name   string // a part of the name, letter case aside; "" for any
	Type   string // a media type, or a kind such as image/*; "" for any
	Skip   int    // how many matches to leave out
	Limit  int    // how many to find; at least 1
}

// match holds an entry against a query.
func (q *Query) match(e *Entry) bool {
	if q.Name != "" && !strings.Contains(strings.ToLower(e.Name), strings.ToLower(q.Name)) {
		return false
	}
	kind, isKind := strings.CutSuffix(q.Type, "*")
	return q.Type == "" || !e.Folder && (e.Type == q.Type || isKind && strings.HasPrefix(e.Type, kind))
}

// Search finds files and folders by name and type, and gives each to a
// function. Nextcloud is asked to (RFC 5323); any other server's folders are
// gone through one by one. more reports that there is more to find, after skip.
func (f *Files) Search(ctx context.Context, q Query, each func(*Entry) error) (skip int, more bool, err error) {
	if f.dav == "" || !strings.HasPrefix(f.root+"/", f.dav+"/files/") {
		return f.walk(ctx, q, each)
	}
	seen := 0
	var e Entry
	err = f.ask(ctx, "SEARCH", f.dav+"/", "", f.basicsearch(q), "folder", func(r *response) error {
		if seen++; seen > q.Limit {
			more = true
			return nil
		}
		if !f.entry(r, &e) || !q.match(&e) { // LIKE takes more than was meant
			return nil
		}
		return each(&e)
	})
	return q.Skip + min(seen, q.Limit), more, err
}

// basicsearch is the query in DAV's words. The scope is counted from the root
// of Nextcloud's DAV tree.
func (f *Files) basicsearch(q Query) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><d:searchrequest xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"><d:basicsearch><d:select><d:prop>` + entryProps + `</d:prop></d:select>`)
	scope := strings.TrimSuffix(strings.TrimPrefix(f.Place(q.Within), f.dav), "/")
	fmt.Fprintf(&b, `<d:from><d:scope><d:href>%s</d:href><d:depth>infinity</d:depth></d:scope></d:from><d:where><d:and>`, escape(Escaped(scope)))
	name := "%" + q.Name + "%"
	if q.Name == "" {
		name = "%"
	}
	fmt.Fprintf(&b, `<d:like><d:prop><d:displayname/></d:prop><d:literal>%s</d:literal></d:like>`, escape(name))
	if q.Type != "" {
		fmt.Fprintf(&b, `<d:like><d:prop><d:getcontenttype/></d:prop><d:literal>%s</d:literal></d:like>`, escape(strings.ReplaceAll(q.Type, "*", "%")))
	}
	fmt.Fprintf(&b, `</d:and></d:where><d:orderby><d:order><d:prop><oc:fileid/></d:prop><d:ascending/></d:order></d:orderby><d:limit><d:nresults>%d</d:nresults><nc:firstresult>%d</nc:firstresult></d:limit></d:basicsearch></d:searchrequest>`, q.Limit+1, q.Skip)
	return b.String()
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // to memory: it does not fail
	return b.String()
}

// walk searches by going through all folders, one at a time.
func (f *Files) walk(ctx context.Context, q Query, each func(*Entry) error) (skip int, more bool, err error) {
	found := 0
	err = f.everyFolder(ctx, q.Within, func(e *Entry) error {
		if !q.match(e) {
			return nil
		}
		switch found++; {
		case found <= q.Skip:
			return nil
		case found > q.Skip+q.Limit:
			more = true
			return errEnough
		}
		return each(e)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return q.Skip + q.Limit, more, err
}

// errEnough ends a walk.
var errEnough = errors.New("enough was found")

// everyFolder gives each what lies below a folder, whatever depth the server is
// willing to list by itself.
func (f *Files) everyFolder(ctx context.Context, p string, each func(*Entry) error) error {
	queue := []string{p}
	for n := 0; len(queue) > 0; n++ {
		if n == maxFolders {
			return &integrations.Problem{Status: http.StatusUnprocessableEntity, Reason: integrations.ReasonTooLarge, Text: "There are too many folders to look through: name one of them."}
		}
		at := queue[0]
		queue = queue[1:]
		err := f.List(ctx, at, false, func(*Entry) error { return nil }, func(e *Entry) error {
			if e.Folder {
				queue = append(queue, e.Path)
			}
			return each(e)
		})
		if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonNotFound && at != p {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}
