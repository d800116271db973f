package files

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"anteroom/integrations"
)

// Query is what is looked for: all that is said has to hold.
type Query struct {
	Within string // a clean path; "/" for everywhere
	Name   string // a part of the name, letter case aside; "" for any
	Type   string // a media type, or a kind such as image/*; "" for any
	From   Spot   // where to go on; the zero value is the beginning
	Limit  int    // how many to find; at least 1
}

// Spot is a place in what a search finds.
type Spot struct {
	Since int64 // matches that last changed before are left out; seconds since 1970
	Skip  int   // and so many of the rest
}

// match holds an entry against a query.
func (q *Query) match(e *Entry) bool {
	if q.Name != "" && !strings.Contains(lower(e.Name), lower(q.Name)) {
		return false
	}
	kind, isKind := strings.CutSuffix(q.Type, "*")
	return q.Type == "" || !e.Folder && (e.Type == q.Type || isKind && strings.HasPrefix(e.Type, kind))
}

// lower is the same for names that differ in letter case, or in how an accent is
// written.
func lower(s string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(s))) }

// Search finds files and folders by name and type, and gives each to a
// function. Nextcloud is asked to (RFC 5323), and what changed longest ago comes
// first; any other server's folders are gone through one by one. more reports
// that there may be more to find, from a spot on.
func (f *Files) Search(ctx context.Context, q Query, each func(*Entry) error) (next Spot, more bool, err error) {
	if f.dav == "" || !strings.HasPrefix(f.root+"/", f.dav+"/files/") {
		return f.walk(ctx, q, each)
	}
	var found []hit
	err = f.ask(ctx, "SEARCH", f.dav+"/", "", f.basicsearch(q), "folder", func(r *response) error {
		if len(found) == q.Limit+extra {
			return nil
		}
		h, last := hit{at: q.From.Since}, q.From.Since
		if len(found) > 0 {
			last = found[len(found)-1].at
			h.at = last
		}
		if t, err := http.ParseTime(r.Found().Modified); err == nil {
			h.at = t.Unix()
		}
		if h.at < last {
			return integrations.Unusable("Nextcloud", errors.New("a search that is not in the order that was asked for"))
		}
		h.ok = f.entry(r, &h.Entry) && q.match(&h.Entry) // LIKE takes more than was meant
		found = append(found, h)
		return nil
	})
	if err != nil {
		return Spot{}, false, err
	}
	n, next := q.page(found)
	for i := range found[:n] {
		if found[i].ok {
			if err := each(&found[i].Entry); err != nil {
				return Spot{}, false, err
			}
		}
	}
	return next, n < len(found), nil
}

// hit is what Nextcloud found.
type hit struct {
	Entry
	at int64 // when it last changed
	ok bool  // it is what was meant
}

// extra is how many more hits are asked for than are given: Nextcloud counts the
// folder that is searched among them, and then leaves it out.
const extra = 2

// page is how many of the hits are given now, and where to go on. Nextcloud can
// order by the time of the last change alone in a way that it can also go on
// from, and not those of one second; so a page ends, if it can, between two
// seconds.
func (q *Query) page(found []hit) (n int, next Spot) {
	if len(found) <= q.Limit {
		return len(found), Spot{}
	}
	for n := q.Limit; n > 0; n-- {
		if found[n-1].at < found[n].at {
			return n, Spot{Since: found[n].at}
		}
	}
	next = Spot{Since: found[0].at, Skip: q.Limit}
	if next.Since == q.From.Since {
		next.Skip += q.From.Skip
	}
	return q.Limit, next
}

// basicsearch is the query in DAV's words, of which Nextcloud knows some: it
// compares times and sizes, and can order by them and the name, but not by the
// file id. The scope is counted from the root of Nextcloud's DAV tree.
func (f *Files) basicsearch(q Query) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><d:searchrequest xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:ns="https://github.com/icewind1991/SearchDAV/ns"><d:basicsearch><d:select><d:prop>` + entryProps + `</d:prop></d:select>`)
	scope := strings.TrimSuffix(strings.TrimPrefix(f.Place(q.Within), f.dav), "/")
	fmt.Fprintf(&b, `<d:from><d:scope><d:href>%s</d:href><d:depth>infinity</d:depth></d:scope></d:from><d:where><d:and>`, escape(Escaped(scope)))
	name := "%" + norm.NFC.String(q.Name) + "%" // as Nextcloud has names
	if q.Name == "" {
		name = "%"
	}
	fmt.Fprintf(&b, `<d:like><d:prop><d:displayname/></d:prop><d:literal>%s</d:literal></d:like>`, escape(name))
	if q.Type != "" {
		fmt.Fprintf(&b, `<d:like><d:prop><d:getcontenttype/></d:prop><d:literal>%s</d:literal></d:like>`, escape(strings.ReplaceAll(q.Type, "*", "%")))
	}
	if q.From.Since > 0 {
		fmt.Fprintf(&b, `<d:gte><d:prop><d:getlastmodified/></d:prop><d:literal>%d</d:literal></d:gte>`, q.From.Since)
	}
	b.WriteString(`</d:and></d:where><d:orderby>`)
	for _, prop := range []string{"d:getlastmodified", "oc:size", "d:displayname"} {
		fmt.Fprintf(&b, `<d:order><d:prop><%s/></d:prop><d:ascending/></d:order>`, prop)
	}
	fmt.Fprintf(&b, `</d:orderby><d:limit><d:nresults>%d</d:nresults><ns:firstresult>%d</ns:firstresult></d:limit></d:basicsearch></d:searchrequest>`, q.Limit+extra, q.From.Skip)
	return b.String()
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // to memory: it does not fail
	return b.String()
}

// walk searches by going through all folders, one at a time, whatever depth the
// server is willing to list by itself. Servers list in any order, and not in the
// same twice: what counts is that of the names, or a page would begin elsewhere
// than the one before it ended.
func (f *Files) walk(ctx context.Context, q Query, each func(*Entry) error) (next Spot, more bool, err error) {
	next = Spot{Skip: q.From.Skip + q.Limit}
	queue, found := []string{q.Within}, 0
	for n := 0; len(queue) > 0; n++ {
		if n == maxFolders {
			return next, false, &integrations.Problem{Status: http.StatusUnprocessableEntity, Reason: integrations.ReasonTooLarge, Text: "There are too many folders to look through: name one of them."}
		}
		at := queue[0]
		hits, folders, err := f.look(ctx, at, &q)
		if no, ok := integrations.ProblemOf(err); ok && no.Reason == integrations.ReasonNotFound && at != q.Within {
			err = nil // deleted meanwhile
		}
		if err != nil {
			return next, false, err
		}
		queue = append(queue[1:], folders...)
		for i := range hits {
			switch found++; {
			case found <= q.From.Skip:
				continue
			case found > q.From.Skip+q.Limit:
				return next, true, nil
			}
			if err := each(&hits[i]); err != nil {
				return next, false, err
			}
		}
	}
	return next, false, nil
}

// maxHits is how much may be found in one folder: it is in memory.
const maxHits = 20_000

// look finds what is in one folder, and the folders in it, by their names.
func (f *Files) look(ctx context.Context, at string, q *Query) (hits []Entry, folders []string, err error) {
	err = f.List(ctx, at, false, func(*Entry) error { return nil }, func(e *Entry) error {
		if e.Folder {
			folders = append(folders, e.Path)
		}
		if !q.match(e) {
			return nil
		}
		if len(hits) == maxHits {
			return &integrations.Problem{Status: http.StatusUnprocessableEntity, Reason: integrations.ReasonTooLarge, Text: "Too much is found in one folder: say more of the name."}
		}
		hits = append(hits, *e)
		return nil
	})
	slices.Sort(folders)
	slices.SortFunc(hits, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return hits, folders, err
}
