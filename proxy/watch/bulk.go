package watch

import (
	"net/http"
	"strings"

	"anteroom/proxy/audit"
)

// taken is what somebody reads and deletes.
type taken struct {
	read, deleted recent
	bytes         sum
}

func (t *taken) len() int { return t.read.len() + t.deleted.len() }

// takes looks at one use of Nextcloud.
func (w *Watch) takes(e *audit.Event, now int64) {
	if e.Status < 200 || e.Status > 299 || w.exempt[e.Subject] {
		return
	}
	reads, deletes := reading(e), deleting(e)
	if !reads && !deletes && e.Sent == 0 {
		return
	}
	who := w.hash(e.Subject)
	t := w.bulk.make(who)
	before := t.len()
	w.count(t, who, e, reads, deletes, now)
	w.held += t.len() - before
	for w.held > mostHeld && w.bulk.len() > 1 {
		key, _ := w.bulk.oldest()
		w.bulk.drop(key)
	}
}

func (w *Watch) count(t *taken, who uint64, e *audit.Event, reads, deletes bool, now int64) {
	if l := w.cfg.BulkMiB; l.Count > 0 && t.bytes.add(e.Sent, int64(l.Count)<<20, now, l.Window) {
		w.raise(bulkMiB, who, alertFrom(e), l, now-int64(l.Window), now)
	}
	if !reads && !deletes {
		return
	}
	thing := mix(w.hash(e.Path), w.hash(e.Object))
	if reads {
		if since, full := t.read.add(thing, now, w.cfg.BulkDownload); full {
			w.raise(bulkDownload, who, alertFrom(e), w.cfg.BulkDownload, since, now)
		}
		return
	}
	if since, full := t.deleted.add(thing, now, w.cfg.BulkDelete); full {
		w.raise(bulkDelete, who, alertFrom(e), w.cfg.BulkDelete, since, now)
	}
}

// reading reports whether one thing was read: by DAV (no operation), or by an
// operation of the JSON API that gives a thing and no list.
func reading(e *audit.Event) bool {
	if e.Operation == "" {
		return e.Method == http.MethodGet
	}
	switch e.Operation {
	case "downloadFile", "getMessage", "getRawMessage", "getAttachment", "getContact", "getEvent":
		return true
	}
	return false
}

func deleting(e *audit.Event) bool {
	return e.Operation == "" && e.Method == http.MethodDelete || strings.HasPrefix(e.Operation, "delete")
}
