package mail

import (
	"context"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

// Mailbox is one of the account's.
type Mailbox struct {
	Name     string `json:"name" doc:"the whole name, as the other operations take it"`
	Role     string `json:"role,omitempty" doc:"inbox, sent, drafts, trash, junk, archive, all or flagged, where the server says or the name tells"`
	Messages *int64 `json:"messages,omitempty" doc:"missing for what only holds other folders"`
	Unseen   *int64 `json:"unseen,omitempty"`
}

var counts = &imap.StatusOptions{NumMessages: true, NumUnseen: true}

// Folders lists the account's folders, a thousand at most, the inbox first.
func (a *Account) Folders(ctx context.Context) (all []Mailbox, err error) {
	err = a.do(ctx, func(c *conn) error {
		var o *imap.ListOptions
		together := c.has(imap.CapListStatus)
		if c.has(imap.CapListExtended) || together {
			o = &imap.ListOptions{ReturnSpecialUse: c.has(imap.CapSpecialUse)}
			if together {
				o.ReturnStatus = counts
			}
		}
		listed, err := c.list(o)
		if err != nil {
			return err
		}
		all = make([]Mailbox, 0, len(listed))
		for _, l := range listed {
			f := Mailbox{Name: l.Mailbox, Role: roleOf(l)}
			if l.Status == nil && !together && selectable(l) {
				c.guard.allow(maxHeader)
				if l.Status, err = c.Status(l.Mailbox, counts).Wait(); err != nil && !answered(err) {
					return err
				}
			}
			if s := l.Status; s != nil && s.NumMessages != nil && selectable(l) {
				f.Messages, f.Unseen = count(s.NumMessages), count(s.NumUnseen)
			}
			all = append(all, f)
		}
		return nil
	})
	slices.SortStableFunc(all, inboxFirst)
	return all, err
}

func inboxFirst(x, y Mailbox) int {
	if (x.Role == "inbox") != (y.Role == "inbox") {
		if x.Role == "inbox" {
			return -1
		}
		return 1
	}
	return strings.Compare(x.Name, y.Name)
}

func count(n *uint32) *int64 {
	if n == nil {
		return nil
	}
	big := int64(*n)
	return &big
}

// list lists the folders, as far as their names can be said.
func (c *conn) list(o *imap.ListOptions) ([]*imap.ListData, error) {
	c.guard.allow(maxStructure)
	cmd := c.List("", "*", o)
	defer cmd.Close()
	var all []*imap.ListData
	for l := cmd.Next(); l != nil; l = cmd.Next() {
		if len(all) < maxFolders && folderName(l.Mailbox) == nil && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent) {
			all = append(all, l)
		}
	}
	return all, cmd.Close()
}

func selectable(l *imap.ListData) bool {
	return !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent)
}

// folderName refuses what is no name of a folder.
func folderName(name string) error {
	switch {
	case name == "" || len(name) > 1000:
		return integrations.Invalid("folder", "is empty, or longer than 1000 bytes.")
	case strings.ContainsFunc(name, unicode.IsControl):
		return integrations.Invalid("folder", "has control characters.")
	}
	return nil
}

var roles = map[imap.MailboxAttr]string{imap.MailboxAttrAll: "all", imap.MailboxAttrArchive: "archive", imap.MailboxAttrDrafts: "drafts",
	imap.MailboxAttrFlagged: "flagged", imap.MailboxAttrJunk: "junk", imap.MailboxAttrSent: "sent", imap.MailboxAttrTrash: "trash"}

var roleNames = map[string]string{"sent": "sent", "sent items": "sent", "sent messages": "sent", "drafts": "drafts",
	"trash": "trash", "deleted items": "trash", "deleted messages": "trash", "junk": "junk", "spam": "junk", "archive": "archive", "archives": "archive"}

// roleOf is what a folder is for: what the server says (RFC 6154), or else what
// its name is known for.
func roleOf(l *imap.ListData) string {
	if strings.EqualFold(l.Mailbox, "INBOX") {
		return "inbox"
	}
	for _, attr := range l.Attrs {
		for known, role := range roles {
			if strings.EqualFold(string(attr), string(known)) {
				return role
			}
		}
	}
	name := l.Mailbox
	if l.Delim != 0 {
		name = path.Base(strings.ReplaceAll(name, string(l.Delim), "/"))
	}
	return roleNames[strings.ToLower(name)]
}

// withRole is the folder for something; "" if there is none. One of which the
// server says so comes before one that is only called so.
func (c *conn) withRole(role string) (string, error) {
	var o *imap.ListOptions
	if c.has(imap.CapListExtended) && c.has(imap.CapSpecialUse) {
		o = &imap.ListOptions{ReturnSpecialUse: true}
	}
	listed, err := c.list(o)
	if err != nil {
		return "", err
	}
	named := ""
	for _, l := range listed {
		if !selectable(l) || roleOf(l) != role {
			continue
		}
		if slices.ContainsFunc(l.Attrs, func(a imap.MailboxAttr) bool { return roles[a] == role }) {
			return l.Mailbox, nil
		}
		if named == "" {
			named = l.Mailbox
		}
	}
	return named, nil
}
