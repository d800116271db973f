package session

import (
	"errors"
	"log/slog"
)

// Secret is a credential that shows itself to nobody by accident: formatting,
// logging and marshalling give "[redacted]". The zero value is "no secret".
type Secret string

const redacted = "[redacted]"

// Reveal returns the credential itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text as the credential (configuration).
func (s *Secret) UnmarshalText(b []byte) error { *s = Secret(b); return nil }

// ErrUntried: who has to judge a new secret gave no word on it.
var ErrUntried = errors.New("it could not be tried yet")
