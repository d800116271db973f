package mail

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

// Changes is what became of a folder since a cursor. What was deleted is not
// told.
type Changes struct {
	New     []string `json:"new" doc:"ids of messages that came, in their order"`
	Changed []Marked `json:"changed" doc:"messages whose marks may have changed, where the server keeps track of that"`
	Tracked bool     `json:"tracked" doc:"the server keeps track of marks"`
	Reset   bool     `json:"reset,omitempty" doc:"the folder is another one now, or too much changed: list it anew"`
	More    bool     `json:"more,omitempty" doc:"there are more: ask again with this cursor at once"`
	Cursor  string   `json:"cursor" doc:"to ask with the next time"`
}

// Marked is a message and its marks.
type Marked struct {
	ID       string `json:"id"`
	Seen     bool   `json:"seen"`
	Answered bool   `json:"answered"`
	Flagged  bool   `json:"flagged"`
}

// state is how a folder was when it was looked at.
type state struct {
	validity uint32
	next     imap.UID // UIDNEXT
	modSeq   uint64   // HIGHESTMODSEQ; zero if there is none (RFC 7162)
}

func (s state) String() string {
	return id{s.validity, s.next}.String() + "." + strconv.FormatUint(s.modSeq, 10)
}

func readState(text string) (s state, ok bool) {
	i := strings.LastIndexByte(text, '.')
	if i < 0 {
		return s, false
	}
	at, ok := readID(text[:i])
	modSeq, err := strconv.ParseUint(text[i+1:], 10, 63)
	s = state{at.validity, at.uid, modSeq}
	return s, ok && err == nil && s.String() == text
}

// Changes tells what changed since a cursor; without one, how things are now
// and nothing else. While nothing changes it costs the server one STATUS.
func (a *Account) Changes(ctx context.Context, folder, cursor string) (ch Changes, err error) {
	since, ok := readState(cursor)
	if cursor != "" && !ok {
		return ch, integrations.Invalid("cursor", "is none of ours.")
	}
	if err := folderName(folder); err != nil {
		return ch, err
	}
	err = a.do(ctx, func(c *conn) error {
		now, err := c.state(folder)
		if err != nil {
			return err
		}
		ch = Changes{New: []string{}, Changed: []Marked{}, Tracked: now.modSeq > 0, Cursor: now.String()}
		switch {
		case cursor == "", now == since:
			return nil
		case now.validity != since.validity, now.next < since.next:
			ch.Reset = true
			return nil
		}
		return c.changes(&ch, folder, since, now)
	})
	return ch, err
}

// state asks how a folder is. A folder that is open tells that not as it should
// (RFC 9051 §6.3.11).
func (c *conn) state(folder string) (state, error) {
	if c.State() == imap.ConnStateSelected && c.has(imap.CapUnselect) {
		c.guard.allow(maxHeader)
		if err := c.Unselect().Wait(); err != nil {
			return state{}, err
		}
	}
	c.guard.allow(maxHeader)
	s, err := c.Status(folder, &imap.StatusOptions{UIDNext: true, UIDValidity: true, HighestModSeq: c.has(imap.CapCondStore)}).Wait()
	var no *imap.Error
	switch {
	case errors.As(err, &no) && no.Type == imap.StatusResponseTypeNo && no.Code == "":
		return state{}, integrations.NotFound("folder")
	case err != nil:
		return state{}, err
	case s.UIDValidity == 0 || s.UIDNext == 0:
		return state{}, integrations.Unusable("The mail server", errors.New("a folder has no UIDVALIDITY or UIDNEXT"))
	}
	return state{s.UIDValidity, s.UIDNext, s.HighestModSeq}, nil
}

// changes looks what changed between two states.
func (c *conn) changes(ch *Changes, folder string, since, now state) error {
	data, err := c.selected(folder, false)
	if err != nil {
		return err
	}
	if data.UIDValidity != now.validity {
		ch.Reset = true
		return nil
	}
	if now.next > since.next {
		if err := c.arrivals(ch, since, &now); err != nil {
			return err
		}
	}
	if since.modSeq > 0 && now.modSeq > since.modSeq && since.next > 1 {
		err = c.marked(ch, since)
		if errors.Is(c.guard.why(), errTooMuch) {
			ch.Changed, ch.Reset, err = []Marked{}, true, nil
		}
	}
	ch.Cursor = now.String()
	return err
}

// arrivals names the messages that came, the oldest of them if there are many.
func (c *conn) arrivals(ch *Changes, since state, now *state) error {
	var set imap.UIDSet
	set.AddRange(since.next, now.next-1)
	found, err := c.search(&imap.SearchCriteria{UID: []imap.UIDSet{set}})
	if err != nil {
		return err
	}
	end := now.next
	for _, r := range found {
		for u := max(r.Start, since.next); u <= r.Stop && u < end; u++ {
			if len(ch.New) == maxChanged {
				ch.More = true
				now.next, now.modSeq = u, since.modSeq
				return nil
			}
			ch.New = append(ch.New, id{now.validity, u}.String())
		}
	}
	return nil
}

// marked names the messages whose marks changed, of those that were there. If
// there are too many, the folder has to be listed anew.
func (c *conn) marked(ch *Changes, since state) error {
	var set imap.UIDSet
	set.AddRange(1, since.next-1)
	c.guard.allow(maxStructure)
	cmd := c.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, ChangedSince: since.modSeq})
	defer cmd.Close()
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		b, err := m.Collect()
		if err != nil {
			return err
		}
		if len(ch.Changed) == maxChanged {
			ch.Changed, ch.Reset = []Marked{}, true
			break
		}
		ch.Changed = append(ch.Changed, Marked{ID: id{since.validity, b.UID}.String(), Seen: hasFlag(b.Flags, imap.FlagSeen),
			Answered: hasFlag(b.Flags, imap.FlagAnswered), Flagged: hasFlag(b.Flags, imap.FlagFlagged)})
	}
	return cmd.Close()
}
