package files

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
)

// cursorWith writes a cursor of folders at these depths.
func cursorWith(depths ...int) string {
	var b []byte
	for i, d := range depths {
		r := recordOf(d, fmt.Sprintf("/top/%d", i), fmt.Sprint("etag", i))
		b = append(b, r[:]...)
	}
	return cursorVersion + base64.RawURLEncoding.EncodeToString(b)
}

// TestForgedCursors: a cursor is anybody's to write. One that no walk gives is
// refused, and one that a walk could have given is not copied over and over.
func TestForgedCursors(t *testing.T) {
	for _, depths := range [][]int{{1}, {0, 2}, {0, 1, 3}, {0, 0}, {0, 1, 0}, {0, 255}} {
		if _, err := readCursor(cursorWith(depths...)); !errors.Is(err, errCursor) {
			t.Errorf("readCursor(depths %v) = %v, want that it is none", depths, err)
		}
	}
	if _, err := readCursor(cursorWith(0, 1, 2, 1, 1, 2, 3, 1)); err != nil {
		t.Errorf("readCursor of a walk = %v", err)
	}
	if _, err := readCursor(cursorWith(make([]int, maxFolders+1)...)); !errors.Is(err, errCursor) {
		t.Errorf("readCursor of too many = %v, want that it is none", err)
	}

	const nested = 150 // each holds the next, so that each holds all that follow
	depths := make([]int, maxFolders)
	var within []place
	for i := range depths {
		depths[i] = min(i, nested)
		if i > 0 && i < nested {
			within = append(within, place{fmt.Sprintf("/top/%d", i), fmt.Sprint("etag", i)})
		}
	}
	before, err := readCursor(cursorWith(depths...))
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{before: before, tells: true}
	if err := w.within(t.Context(), within, 1); !errors.Is(err, errFolders) || len(w.now) > maxFolders {
		t.Errorf("within = %v with %d records, want errFolders and no more than %d", err, len(w.now), maxFolders)
	}
}
