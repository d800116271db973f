package mail

import (
	"context"
	"errors"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

// Flags are a message's marks; nil is one that stays as it is.
type Flags struct {
	Seen     *bool `json:"seen,omitempty"`
	Flagged  *bool `json:"flagged,omitempty"`
	Answered *bool `json:"answered,omitempty"`
}

func (f *Flags) sets(to bool) (flags []imap.Flag) {
	for _, of := range []struct {
		set  *bool
		flag imap.Flag
	}{{f.Seen, imap.FlagSeen}, {f.Flagged, imap.FlagFlagged}, {f.Answered, imap.FlagAnswered}} {
		if of.set != nil && *of.set == to {
			flags = append(flags, of.flag)
		}
	}
	return flags
}

// change opens the folder of a message that is there, to change it. What comes
// after is not tried twice.
func (c *conn) change(folder, message string) (id, error) {
	at, err := c.at(folder, message, true)
	if err != nil {
		return at, err
	}
	_, err = c.one(at, &imap.FetchOptions{UID: true}, maxHeader)
	c.touched = true
	return at, err
}

// SetFlags sets and takes away marks of a message.
func (a *Account) SetFlags(ctx context.Context, folder, message string, f Flags) error {
	return a.do(ctx, func(c *conn) error {
		at, err := c.change(folder, message)
		if err != nil {
			return err
		}
		if err := c.mark(at, imap.StoreFlagsAdd, f.sets(true)); err != nil {
			return err
		}
		return c.mark(at, imap.StoreFlagsDel, f.sets(false))
	})
}

func (c *conn) mark(at id, op imap.StoreFlagsOp, flags []imap.Flag) error {
	if len(flags) == 0 {
		return nil
	}
	c.guard.allow(maxStructure)
	return c.Store(imap.UIDSetNum(at.uid), &imap.StoreFlags{Op: op, Silent: true, Flags: flags}, nil).Close()
}

// Move moves a message to another folder. Its id there is "" where the server
// does not say it.
func (a *Account) Move(ctx context.Context, folder, message, to string) (moved string, err error) {
	if folderName(to) != nil {
		return "", integrations.Invalid("to", "is no name of a folder.")
	}
	err = a.do(ctx, func(c *conn) error {
		at, err := c.change(folder, message)
		if err != nil {
			return err
		}
		moved, err = c.move(at, to)
		return err
	})
	return moved, err
}

// move moves a message. Where the server cannot, it is copied and, once the copy
// is there, removed.
func (c *conn) move(at id, to string) (string, error) {
	c.guard.allow(maxStructure)
	uids := imap.UIDSetNum(at.uid)
	if c.has(imap.CapMove) {
		data, err := c.Client.Move(uids, to).Wait()
		if err != nil {
			return "", missingTarget(err)
		}
		return arrived(data.UIDValidity, data.DestUIDs), nil
	}
	data, err := c.Copy(uids, to).Wait()
	if err != nil {
		return "", missingTarget(err)
	}
	return arrived(data.UIDValidity, data.DestUIDs), c.remove(at)
}

// remove marks a message as deleted and, where that takes no other along that
// somebody else has marked, removes it (RFC 4315).
func (c *conn) remove(at id) error {
	if err := c.mark(at, imap.StoreFlagsAdd, []imap.Flag{imap.FlagDeleted}); err != nil || !c.has(imap.CapUIDPlus) {
		return err
	}
	c.guard.allow(maxStructure)
	return c.UIDExpunge(imap.UIDSetNum(at.uid)).Close()
}

// missingTarget names the folder that is not there.
func missingTarget(err error) error {
	var no *imap.Error
	if errors.As(err, &no) && (no.Code == imap.ResponseCodeTryCreate || no.Code == imap.ResponseCodeNonExistent) {
		p := integrations.NotFound("folder to move to")
		p.Field = "to"
		return p
	}
	return err
}

func arrived(validity uint32, set imap.NumSet) string {
	if uids, ok := set.(imap.UIDSet); ok && validity != 0 && len(uids) == 1 && uids[0].Start == uids[0].Stop {
		return id{validity, uids[0].Start}.String()
	}
	return ""
}

// Delete moves a message to the trash. From there, and where there is none, it
// is removed for good.
func (a *Account) Delete(ctx context.Context, folder, message string) error {
	return a.do(ctx, func(c *conn) error {
		trash, err := c.withRole("trash")
		if err != nil {
			return err
		}
		at, err := c.change(folder, message)
		if err != nil {
			return err
		}
		if trash != "" && trash != folder {
			_, err := c.move(at, trash)
			return err
		}
		return c.remove(at)
	})
}
