package session

import (
	"errors"
	"io/fs"
	"net/url"
	"strings"
)

// WithoutPath is the bare reason of a file error, such as "permission denied".
func WithoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// WithoutURL is an error of an HTTP client without the URL, in which people keep
// secrets, and WithoutQuotes.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return WithoutQuotes(err)
}

// WithoutQuotes is an error without what it quotes, and without what it says
// after that: Go's HTTP client shows so what it could not read of an answer, which
// may be anything. It wraps what err does.
func WithoutQuotes(err error) error {
	if err == nil {
		return nil
	}
	return unquoted{err}
}

type unquoted struct{ error }

func (u unquoted) Error() string { return WithoutQuoted(u.error.Error()) }
func (u unquoted) Unwrap() error { return u.error }

// WithoutQuoted is WithoutQuotes of a text.
func WithoutQuoted(text string) string {
	before, _, _ := strings.Cut(text, `"`)
	return strings.TrimRight(before, " :=")
}
