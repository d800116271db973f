package mail

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

// Query says which messages of a folder are wanted. Its zero value is all.
type Query struct {
	Text, From, To, Subject string    // that they contain
	Since, Before           time.Time // of arrival; whole days, as the server sees them
	Unseen                  bool
	Limit                   int    // 1 to 100; zero: 50
	Cursor                  string // of the page before
}

// Page is a part of a folder's messages, newest first.
type Page struct {
	Items  []Summary
	Cursor string // for the next page; "" for the last
}

// Summary is a message as lists have it.
type Summary struct {
	ID             string          `json:"id" doc:"within its folder; it names another message never"`
	MessageID      string          `json:"message_id,omitempty"`
	From           []Correspondent `json:"from"`
	To             []Correspondent `json:"to"`
	CC             []Correspondent `json:"cc"`
	Subject        string          `json:"subject"`
	Date           time.Time       `json:"date" doc:"when it was written, as its sender says; if that cannot be read, when it arrived"`
	Size           int64           `json:"size" doc:"in bytes, all of it"`
	Seen           bool            `json:"seen"`
	Answered       bool            `json:"answered"`
	Flagged        bool            `json:"flagged"`
	HasAttachments bool            `json:"has_attachments"`
}

// id is what names a message: the folder's UIDVALIDITY and its UID there.
type id struct {
	validity uint32
	uid      imap.UID
}

func (i id) String() string {
	return strconv.FormatUint(uint64(i.validity), 10) + "." + strconv.FormatUint(uint64(i.uid), 10)
}

// readID reads an id; false for what is none.
func readID(s string) (id, bool) {
	v, u, _ := strings.Cut(s, ".")
	validity, err1 := strconv.ParseUint(v, 10, 32)
	uid, err2 := strconv.ParseUint(u, 10, 32)
	i := id{uint32(validity), imap.UID(uid)}
	return i, err1 == nil && err2 == nil && uid > 0 && i.String() == s
}

// selected opens a folder. To look only, the server is told so; then nothing
// that is fetched counts as seen.
func (c *conn) selected(folder string, change bool) (*imap.SelectData, error) {
	if err := folderName(folder); err != nil {
		return nil, err
	}
	c.guard.allow(maxStructure)
	data, err := c.Select(folder, &imap.SelectOptions{ReadOnly: !change}).Wait()
	var no *imap.Error
	switch {
	case errors.As(err, &no) && no.Type == imap.StatusResponseTypeNo && no.Code == "": // servers seldom say more
		return nil, integrations.NotFound("folder")
	case err != nil:
		return nil, err
	case data.UIDValidity == 0:
		return nil, integrations.Unusable("The mail server", errors.New("a folder has no UIDVALIDITY"))
	}
	return data, nil
}

// at opens the folder of a message; the message need not be there.
func (c *conn) at(folder, message string, change bool) (id, error) {
	i, ok := readID(message)
	if !ok {
		return i, integrations.NotFound("message")
	}
	data, err := c.selected(folder, change)
	if err == nil && data.UIDValidity != i.validity {
		err = integrations.NotFound("message")
	}
	return i, err
}

// Messages lists messages, newest first. A cursor stays good while others
// arrive or go.
func (a *Account) Messages(ctx context.Context, folder string, q Query) (page Page, err error) {
	if q.Limit = cmp.Or(q.Limit, 50); q.Limit < 1 || q.Limit > 100 {
		return page, integrations.Invalid("limit", "is %d, want 1 to 100.", q.Limit)
	}
	from, ok := readID(q.Cursor)
	if q.Cursor != "" && !ok {
		return page, integrations.Invalid("cursor", "is none of ours.")
	}
	err = a.do(ctx, func(c *conn) error {
		data, err := c.selected(folder, false)
		if err != nil {
			return err
		}
		if q.Cursor != "" && data.UIDValidity != from.validity {
			return &integrations.Problem{Status: http.StatusGone, Reason: integrations.ReasonCursor, Field: "cursor", Text: "The folder is another one now: begin again without a cursor."}
		}
		page, err = c.page(q, id{data.UIDValidity, from.uid}, data.NumMessages)
		return err
	})
	return page, err
}

// page fetches the newest messages that are wanted and older than one of them.
func (c *conn) page(q Query, older id, messages uint32) (Page, error) {
	page := Page{Items: []Summary{}}
	if messages == 0 || older.uid == 1 {
		return page, nil
	}
	found, err := c.search(q.criteria(older.uid))
	if err != nil {
		return page, err
	}
	uids := newest(found, q.Limit+1)
	if len(uids) > q.Limit {
		uids = uids[:q.Limit]
		page.Cursor = id{older.validity, uids[q.Limit-1]}.String()
	}
	if len(uids) > 0 {
		page.Items, err = c.entries(older.validity, uids)
	}
	return page, err
}

func (q *Query) criteria(older imap.UID) *imap.SearchCriteria {
	k := &imap.SearchCriteria{Since: q.Since, Before: q.Before}
	if older > 1 {
		var set imap.UIDSet
		set.AddRange(1, older-1)
		k.UID = []imap.UIDSet{set}
	}
	if q.Text != "" {
		k.Text = []string{q.Text}
	}
	for _, f := range []imap.SearchCriteriaHeaderField{{Key: "From", Value: q.From}, {Key: "To", Value: q.To}, {Key: "Subject", Value: q.Subject}} {
		if f.Value != "" {
			k.Header = append(k.Header, f)
		}
	}
	if q.Unseen {
		k.NotFlag = []imap.Flag{imap.FlagSeen}
	}
	return k
}

// search has the server look for messages. Where it can, it says ranges.
func (c *conn) search(k *imap.SearchCriteria) (imap.UIDSet, error) {
	var o *imap.SearchOptions
	if c.has(imap.CapESearch) {
		o = &imap.SearchOptions{ReturnAll: true}
	}
	c.guard.allow(maxAnswer)
	found, err := c.UIDSearch(k, o).Wait()
	if err != nil {
		return nil, err
	}
	set, _ := found.All.(imap.UIDSet)
	return set, nil
}

// newest are the highest of a set, the highest first.
func newest(set imap.UIDSet, most int) (uids []imap.UID) {
	for _, r := range slices.Backward(set) {
		for u := max(r.Start, r.Stop); u >= min(r.Start, r.Stop) && u > 0; u-- {
			if len(uids) == most {
				return uids
			}
			uids = append(uids, u)
		}
	}
	return uids
}

// entries fetches messages in the order of their ids here. One that is gone is
// left out.
func (c *conn) entries(validity uint32, uids []imap.UID) ([]Summary, error) {
	found, err := c.envelopes(uids)
	if err != nil {
		return nil, err
	}
	entries := make([]Summary, 0, len(uids))
	var unsure []imap.UID
	for _, uid := range uids {
		if e, ok := found[uid]; ok {
			entries = append(entries, e.entry(id{validity, uid}))
			if e.multipart() {
				unsure = append(unsure, uid)
			}
		}
	}
	with := c.attached(unsure)
	for i := range entries {
		m, _ := readID(entries[i].ID)
		if has, known := with[m.uid]; known {
			entries[i].HasAttachments = has
		}
	}
	return entries, nil
}
