package mail

import (
	"mime"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// envelope is what is fetched of a message for a list.
type envelope struct {
	header
	*imapclient.FetchMessageBuffer
}

func (c *conn) envelopes(uids []imap.UID) (map[imap.UID]envelope, error) {
	c.guard.allow(int64(len(uids)+1) * 2 * maxHeader)
	cmd := c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{headerSection()}})
	defer cmd.Close()
	found := map[imap.UID]envelope{}
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		b, err := m.Collect()
		if err != nil {
			return nil, err
		}
		e := envelope{FetchMessageBuffer: b}
		if len(b.BodySection) > 0 {
			e.header = readHeader(b.BodySection[0].Bytes)
		}
		found[b.UID] = e
	}
	return found, cmd.Close()
}

func (e envelope) entry(at id) Summary {
	has := func(f imap.Flag) bool { return hasFlag(e.Flags, f) }
	return Summary{ID: at.String(), MessageID: e.id("Message-Id"), Subject: e.text("Subject"),
		From: e.addresses("From"), To: e.addresses("To"), CC: e.addresses("Cc"), Date: e.date(e.InternalDate), Size: e.RFC822Size,
		Seen: has(imap.FlagSeen), Answered: has(imap.FlagAnswered), Flagged: has(imap.FlagFlagged), HasAttachments: e.probably()}
}

func hasFlag(flags []imap.Flag, want imap.Flag) bool {
	return slices.ContainsFunc(flags, func(f imap.Flag) bool { return strings.EqualFold(string(f), string(want)) })
}

func (e envelope) multipart() bool {
	return strings.HasPrefix(strings.ToLower(e.header["Content-Type"]), "multipart/")
}

// probably reports whether there are attachments, as far as the header says.
func (e envelope) probably() bool {
	media, _, _ := mime.ParseMediaType(e.header["Content-Type"])
	disposition := strings.ToLower(e.header["Content-Disposition"])
	return strings.HasPrefix(disposition, "attachment") || media == "multipart/mixed" ||
		media != "" && !strings.HasPrefix(media, "text/") && !strings.HasPrefix(media, "multipart/")
}

// attached finds which messages have attachments, by their structure. That is
// given up once there is too much of it, or it cannot be read: then the header
// has to do, and the connection is not used again.
func (c *conn) attached(uids []imap.UID) map[imap.UID]bool {
	found := map[imap.UID]bool{}
	if len(uids) == 0 {
		return found
	}
	c.guard.allow(maxStructure)
	cmd := c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}})
	defer cmd.Close()
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		b, err := m.Collect()
		if err != nil {
			break
		}
		if b.BodyStructure != nil {
			found[b.UID] = len(partsOf(b.BodyStructure).attachments) > 0
		}
	}
	return found
}
