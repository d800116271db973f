package mail

import (
	"context"
	"fmt"
)

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
