package demo

import (
	"crypto/md5"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// node is a file or a folder. The contents of a file are replaced, never
// changed: whoever holds them may read on.
type node struct {
	id       int
	name     string
	dir      bool
	data     []byte
	modified time.Time
	changes  int // folders: how often something below has changed
	kids     map[string]*node
	props    []element // set by people
	favorite bool
	checksum string // as it was said, unverified
}

func newFolder(id int, now time.Time) *node { return &node{id: id, dir: true, modified: now} }

// add puts a node into a folder in place of one of its name.
func (n *node) add(k *node) {
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	n.kids[k.name] = k
}

// at finds what a path leads to; nil for nothing.
func (n *node) at(p string) *node {
	for name := range strings.SplitSeq(p, "/") {
		if name != "" && n != nil {
			n = n.kids[name]
		}
	}
	return n
}

// list is what is in a folder, by name.
func (n *node) list() []*node {
	var all []*node
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		all = append(all, n.kids[name])
	}
	return all
}

// size is a file's, or of all that is in a folder.
func (n *node) size() int {
	sum := len(n.data)
	for _, k := range n.kids {
		sum += k.size()
	}
	return sum
}

// etag is made of time, size and id: a file that is written twice in a second
// and stays as long as it was keeps its own.
func (n *node) etag() string {
	if n.dir {
		return fmt.Sprintf("%q", fmt.Sprintf("%08x%05x", n.modified.Unix(), n.changes))
	}
	sum := md5.Sum(fmt.Append(nil, n.modified.Unix(), len(n.data), n.id))
	return fmt.Sprintf("%q", fmt.Sprintf("%x", sum))
}

// fileID is the id and the instance.
func (n *node) fileID() string { return fmt.Sprintf("%08d%s", n.id, sessionCookie) }

// touch says of a folder, and of every one above it, that something changed.
func (n *node) touch(p string, now time.Time) {
	n.modified, n.changes = now, n.changes+1
	for name := range strings.SplitSeq(p, "/") {
		if n = n.kids[name]; n == nil || !n.dir {
			return
		}
		n.modified, n.changes = now, n.changes+1
	}
}

// copied is a node and all below it, with ids of their own.
func (n *node) copied(nextID func() int) *node {
	c := *n
	c.id, c.props, c.kids = nextID(), slices.Clone(n.props), nil
	for _, k := range n.list() {
		c.add(k.copied(nextID))
	}
	return &c
}

// media is a file's type by its name alone. sent is as GET says it: what a
// browser would run is text there.
func (n *node) media(sent bool) string {
	types := map[string]string{".txt": "text/plain", ".md": "text/markdown", ".csv": "text/csv", ".html": "text/html", ".svg": "image/svg+xml",
		".js": "application/javascript", ".json": "application/json", ".xml": "application/xml", ".pdf": "application/pdf", ".png": "image/png",
		".jpg": "image/jpeg", ".mp4": "video/mp4", ".zip": "application/zip", ".ics": "text/calendar", ".vcf": "text/vcard", ".bin": "application/x-bin"}
	kind, ok := types[strings.ToLower(path.Ext(n.name))]
	if !ok {
		kind = "application/octet-stream"
	}
	if !sent {
		return kind
	}
	if slices.Contains([]string{"text/html", "image/svg+xml", "application/javascript", "text/markdown"}, kind) {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "text/") {
		kind += ";charset=UTF-8"
	}
	return kind
}
