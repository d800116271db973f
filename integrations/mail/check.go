package mail

import (
	"context"
	"errors"
	"fmt"

	"anteroom/integrations"
	"anteroom/session"
)

// Takes asks the servers whether they take another password for the account.
// integrations.ErrRefused means that one does not; any other error, that one
// gave no word on it.
func Takes(ctx context.Context, cfg integrations.Mail, password session.Secret) error {
	cfg.Password, cfg.File = password, nil
	a, err := Open(cfg, Options{})
	if err != nil {
		return err
	}
	defer a.Close()
	if a.imap != nil {
		err = a.CheckReading(ctx)
	}
	if a.smtp != nil && err == nil {
		err = a.CheckSending(ctx)
	}
	if errors.Is(err, errRefused) {
		return integrations.ErrRefused
	}
	return err
}

// CheckReading signs in at the IMAP server, and does nothing there.
func (a *Account) CheckReading(ctx context.Context) error {
	return a.do(ctx, func(*conn) error { return nil })
}

// CheckSending signs in at the SMTP server, and sends nothing.
func (a *Account) CheckSending(ctx context.Context) error {
	if a.smtp == nil {
		return unavailable("sending mail")
	}
	c, end, err := a.submission(ctx)
	if err != nil {
		return a.trouble(during(ctx, err))
	}
	defer end()
	if err := c.Quit(); err != nil {
		return a.trouble(fmt.Errorf("leaving: %w", err))
	}
	return nil
}
