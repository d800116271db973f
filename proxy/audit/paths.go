package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/url"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Paths hides names. A path becomes as many hashes as it has segments, each
// keyed, and over all of the path up to its segment: whoever has the key finds
// the lines about a path, and about what lies below it, and nobody else learns
// more than how deep it is.
type Paths struct{ key []byte }

const (
	hashMark  = '~' // begins each hashed segment
	hashBytes = 9   // of HMAC-SHA-256: 12 characters of base64
)

// hide hashes the segments of an escaped path behind its first plain bytes.
func (p *Paths) hide(path string, plain int) string {
	if p == nil || path == "" {
		return path
	}
	plain = min(max(plain, 0), len(path))
	return path[:plain] + p.hashed(path[plain:])
}

// hashed hashes the segments of a path. Slashes stay where they are. It goes no
// further than a line does.
func (p *Paths) hashed(path string) string {
	mac := hmac.New(sha256.New, p.key)
	var b strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			b.WriteString(next(mac, segment))
		}
		b.WriteByte('/')
		if b.Len() > pathMost {
			return b.String()
		}
	}
	return b.String()[:b.Len()-1]
}

// next is the hash of one more segment, whatever its escapes and however its
// letters are composed.
func next(mac hash.Hash, segment string) string {
	if plain, err := url.PathUnescape(segment); err == nil {
		segment = plain
	}
	mac.Write([]byte(norm.NFC.String(segment)))
	mac.Write([]byte{'/'})
	return string(hashMark) + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:hashBytes])
}

// A Seeker finds lines about a path, whether names are hashed in them or not.
type Seeker struct {
	paths *Paths // nil: nothing can be hashed
	want  []string
	below bool
}

// NewSeeker makes a seeker of a path, as it is written in a URL of ours
// (/dav/Reports/x.pdf) or as Nextcloud's files have it (/Reports/x.pdf). With
// below, what lies under it is meant, too. key may be empty where no names are
// hashed.
func NewSeeker(key []byte, path string, below bool) *Seeker {
	s := &Seeker{want: segments(path), below: below}
	if len(key) > 0 {
		s.paths = newPaths(key)
	}
	return s
}

// segments are the names in a path, unescaped and composed.
func segments(path string) (names []string) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
		names = append(names, norm.NFC.String(name))
	}
	return names
}

// Matches reports whether an event is about the path.
func (s *Seeker) Matches(e Event) bool {
	return s.matches(e.Path) || s.matches(e.Object) || s.matches(e.To)
}

// matches compares one path of a line: as a whole, and, as a URL of ours has a
// prefix that Nextcloud's path does not, from each of its segments on.
func (s *Seeker) matches(path string) bool {
	have := segments(path)
	for from := range have {
		if s.equal(have[from:]) {
			return true
		}
		if hashedName(have[from]) {
			return false // hashes hold from the first hashed segment on
		}
	}
	return false
}

func (s *Seeker) equal(have []string) bool {
	if len(have) < len(s.want) || !s.below && len(have) != len(s.want) || len(s.want) == 0 {
		return false
	}
	var mac hash.Hash
	for i, name := range s.want {
		switch {
		case mac == nil && s.paths != nil && hashedName(have[i]):
			mac = hmac.New(sha256.New, s.paths.key)
		case mac == nil && have[i] != name:
			return false
		case mac == nil:
			continue
		}
		if next(mac, url.PathEscape(name)) != have[i] {
			return false
		}
	}
	return true
}

// hashedName reports whether a segment can be a hash.
func hashedName(segment string) bool {
	return len(segment) == 1+base64.RawURLEncoding.EncodedLen(hashBytes) && segment[0] == hashMark
}
