package mail

import (
	"bytes"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"unicode"
	"unicode/utf8"

	"encoding/base64"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
)

// decoder undoes a transfer encoding (RFC 2045 §6). One that is not known is
// left as it is; what is broken is passed on as far as it can be read.
func decoder(encoding string, r io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &sixBits{r: r})
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}

// sixBits passes on what base64 is made of, and pads the end where that is
// missing.
type sixBits struct {
	r     io.Reader
	n     int // characters passed on, but for padding
	ended bool
}

// Read implements io.Reader.
func (s *sixBits) Read(b []byte) (int, error) {
	for !s.ended {
		n, err := s.r.Read(b)
		kept := 0
		for _, c := range b[:n] {
			if c == '=' {
				s.ended = true
				break
			}
			if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' {
				b[kept] = c
				kept++
			}
		}
		s.n += kept
		if errors.Is(err, io.EOF) {
			s.ended = true
		} else if err != nil {
			return kept, err
		}
		if kept > 0 {
			return kept, nil
		}
	}
	if pad := (4 - s.n%4) % 4; pad > 0 && pad < 3 && len(b) >= pad {
		s.n += pad
		return copy(b, "=="[:pad]), nil
	}
	_, err := io.Copy(io.Discard, s.r) // what comes after the padding is nothing
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

// decoded is a text as UTF-8. Where its charset is not known, or said wrongly,
// it is UTF-8 if it can be, and else what such mail mostly is.
func decoded(set, s string) string {
	set = strings.ToLower(strings.TrimSpace(set))
	switch set {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
	default:
		if r, err := charset.Reader(set, strings.NewReader(s)); err == nil {
			if b, err := io.ReadAll(io.LimitReader(r, 4*int64(len(s))+64)); err == nil {
				return strings.ToValidUTF8(string(b), "\uFFFD")
			}
		}
	}
	if !utf8.ValidString(s) && set != "utf-8" && set != "utf8" {
		if w, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
			return w
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// text decodes what came of a part of a message; cut says that there is more,
// or that it is broken.
func text(raw []byte, l leaf) (s string, isCut bool) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(decoder(l.encoding(), bytes.NewReader(raw)), maxText+1))
	isCut = err != nil || n > maxText || len(raw) >= maxRaw
	s = decoded(l.Params["charset"], b.String())
	if len(s) > maxText {
		s, isCut = cut(s, maxText), true
	}
	return s, isCut
}

// plainText is a text as it may be shown, with its lines.
func plainText(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\r':
			return '\n'
		case c == '\n', c == '\t':
			return c
		case unicode.IsControl(c):
			return -1
		}
		return c
	}, s)
}
