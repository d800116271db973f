package files

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"

	"anteroom/integrations"
)

// A cursor is what folders there were, and in which version: for each, depth
// first, one byte for how deep it lies and eight of a hash of its path and
// version. It holds no names, means the same to every replica, and lasts for as
// long as whoever got it keeps it.
const (
	recordSize    = 1 + 8
	cursorVersion = "1"
	maxFolders    = 100_000 // that are gone through at most
	maxDepth      = 200
)

// MaxCursor is the length of the longest cursor.
const MaxCursor = maxFolders*recordSize*4/3 + 16

// record is one folder in a cursor.
type record [recordSize]byte

func recordOf(depth int, path, version string) (r record) {
	sum := sha256.Sum256([]byte(path + "\x00" + version))
	r[0] = byte(depth) // #nosec G115 -- depth is 0 to maxDepth
	copy(r[1:], sum[:])
	return r
}

// hash is of a folder's path and version.
func (r *record) hash() uint64 { return binary.BigEndian.Uint64(r[1:]) }

// memory is what a cursor says.
type memory struct {
	records []record
	at      map[uint64]int // index by hash
}

// readCursor reads a cursor; "" is the one of somebody who knows nothing.
func readCursor(cursor string) (*memory, error) {
	m := &memory{at: map[uint64]int{}}
	if cursor == "" {
		return m, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor[1:])
	if err != nil || cursor[:1] != cursorVersion || len(b) == 0 || len(b)%recordSize != 0 || len(b)/recordSize > maxFolders {
		return nil, errCursor
	}
	for depth := -1; len(b) > 0; b = b[recordSize:] {
		r := record(b[:recordSize])
		if d := int(r[0]); d > depth+1 || d > maxDepth || d == 0 && depth >= 0 { // no walk through one folder comes by there
			return nil, errCursor
		}
		depth = int(r[0])
		m.at[r.hash()] = len(m.records)
		m.records = append(m.records, r)
	}
	return m, nil
}

var errCursor = &integrations.Problem{Status: http.StatusGone, Reason: integrations.ReasonCursor, Field: "cursor", Text: "The cursor is none of this operation's: begin again without one."}

// has reports whether a folder was known in a version.
func (m *memory) has(path, version string) bool {
	r := recordOf(0, path, version)
	_, ok := m.at[r.hash()]
	return ok
}

// below are the records of a folder that was known, and of all below it.
func (m *memory) below(path, version string) []record {
	r := recordOf(0, path, version)
	i := m.at[r.hash()]
	end := i + 1
	for end < len(m.records) && m.records[end][0] > m.records[i][0] {
		end++
	}
	return m.records[i:end]
}

// cursorOf writes a cursor.
func cursorOf(records []record) string {
	b := make([]byte, 0, len(records)*recordSize)
	for i := range records {
		b = append(b, records[i][:]...)
	}
	return cursorVersion + base64.RawURLEncoding.EncodeToString(b)
}
