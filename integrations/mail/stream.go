package mail

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"anteroom/integrations"
)

// Content is a part of a message, or all of it, as it comes from the server; it
// is never all in memory. It has to be closed; until then it has a connection
// to itself.
type Content struct {
	Name, Type string
	Size       int64 // in bytes; -1 if that is not known before the end

	a    *Account
	c    *conn
	cmd  *imapclient.FetchCommand
	raw  *counted
	body io.Reader
	stop func() bool
	by   string // whom it is for
}

// Attachment gives out a part of a message, decoded. Texts keep their charset.
func (a *Account) Attachment(ctx context.Context, folder, message, part string) (*Content, error) {
	s := &Content{a: a}
	return s.open(ctx, func(c *conn) error {
		at, err := c.at(folder, message, false)
		if err != nil {
			return err
		}
		e, err := c.whole(at)
		if err != nil {
			return err
		}
		p := partsOf(e.BodyStructure)
		all := slices.Concat(p.attachments, p.plain, p.html)
		i := slices.IndexFunc(all, func(l leaf) bool { return l.part() == part })
		if i < 0 {
			return integrations.NotFound("attachment")
		}
		l := all[i]
		s.Name, s.Type = l.name(), l.media()
		if err := s.begin(c, at, l.path); err != nil {
			return err
		}
		if s.body = decoder(l.encoding(), s.raw); s.body == io.Reader(s.raw) {
			s.Size = s.raw.left
		}
		return nil
	})
}

// Raw gives out a message as it is (RFC 5322).
func (a *Account) Raw(ctx context.Context, folder, message string) (*Content, error) {
	s := &Content{a: a, Name: "message.eml", Type: "message/rfc822"}
	return s.open(ctx, func(c *conn) error {
		at, err := c.at(folder, message, false)
		if err != nil {
			return err
		}
		if err := s.begin(c, at, nil); err != nil {
			return err
		}
		s.body, s.Size = s.raw, s.raw.left
		return nil
	})
}

// begin asks for a section and reads up to where its content begins.
func (s *Content) begin(c *conn, at id, path []int) error {
	s.Size = -1
	c.guard.allow(maxStream)
	s.cmd = c.Fetch(imap.UIDSetNum(at.uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Part: path, Peek: true}}})
	for m := s.cmd.Next(); m != nil; m = s.cmd.Next() {
		for item := m.Next(); item != nil; item = m.Next() {
			if b, ok := item.(imapclient.FetchItemDataBodySection); ok && b.Literal != nil {
				s.raw = &counted{r: b.Literal, left: b.Literal.Size()}
				return nil
			}
		}
	}
	if err := s.cmd.Close(); err != nil {
		return err
	}
	return integrations.NotFound("message")
}

// open is the content once it has begun and its connection is its own.
func (s *Content) open(ctx context.Context, begin func(*conn) error) (*Content, error) {
	s.by = callerOf(ctx)
	if err := s.a.streaming.Acquire(ctx, s.by, 0); err != nil {
		return nil, s.a.trouble(err)
	}
	defer func() { // also if that panics
		if s.c == nil {
			s.a.streaming.Release(s.by)
		}
	}()
	c, err := s.a.hold(ctx, begin)
	if err != nil {
		return nil, err
	}
	s.c = c
	s.stop = context.AfterFunc(ctx, func() { c.guard.abort(ctx.Err()) })
	return s, nil
}

// counted knows how much is still to come: less than was announced is an error.
type counted struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.left -= int64(n)
	if errors.Is(err, io.EOF) && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Read implements io.Reader.
func (s *Content) Read(b []byte) (int, error) {
	n, err := s.body.Read(b)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if why := s.c.guard.why(); why != nil {
		err = why
	}
	return n, s.a.trouble(err)
}

// Close implements io.Closer. Of what was read to its end the connection can be
// used again; any other is ended.
func (s *Content) Close() error {
	if s.c == nil {
		return nil
	}
	c := s.c
	s.c = nil
	if _, err := io.CopyN(io.Discard, s.raw, maxHeader); !errors.Is(err, io.EOF) {
		c.guard.abort(errEnded)
	}
	err := s.cmd.Close()
	usable := s.stop() && err == nil
	s.a.pool.put(c, usable)
	s.a.streaming.Release(s.by)
	return nil
}
