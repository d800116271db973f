package mail

import "context"

// Box is mail however it is had: an Account, or an account of Nextcloud's Mail
// app. What one cannot do it refuses.
type Box interface {
	Folders(ctx context.Context) ([]Mailbox, error)
	Messages(ctx context.Context, folder string, q Query) (Page, error)
	Message(ctx context.Context, folder, message string) (*Message, error)
	Attachment(ctx context.Context, folder, message, part string) (*Content, error)
	Raw(ctx context.Context, folder, message string) (*Content, error)
	Changes(ctx context.Context, folder, cursor string) (Changes, error)
	SetFlags(ctx context.Context, folder, message string, f Flags) error
	Move(ctx context.Context, folder, message, to string) (moved string, err error)
	Delete(ctx context.Context, folder, message string) error
	Send(ctx context.Context, d Draft) (Sent, error)
	Reply(ctx context.Context, folder, message string, d Draft, all bool) (Sent, error)
}

var _ Box = (*Account)(nil)
