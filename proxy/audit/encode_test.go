package audit

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

// TestEncoding: a line's members are what the struct tags say, every one.
func TestEncoding(t *testing.T) {
	full := Event{Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x" + v.Type().Field(i).Name)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(i + 1))
		}
	}
	for _, e := range []Event{full, {Kind: SignIn}, {}, {Kind: Access, Path: "/\"\\<>&\x00\xff\u2028é", Means: session.ByOIDC, Sent: -1}} {
		var want bytes.Buffer
		to := json.NewEncoder(&want)
		to.SetEscapeHTML(false)
		if err := to.Encode(e); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.String(), string(e.appendTo(nil))+"}\n"); diff != "" {
			t.Error(diff)
		}
	}
	for _, name := range []string{"chain", "seq", "hash", "sig", "prev", "torn", "key"} {
		for i := range v.NumField() {
			if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
				t.Errorf("an event has the member %q, which is the chain's", name)
			}
		}
	}
}

// TestBounds: whatever a client sends, a line is short, and still JSON.
func TestBounds(t *testing.T) {
	for _, long := range []string{"a", "&", "<", "\"", "\\", "\x00", "\x7f", "\xff", "\u2028", "\ufffd", "é", "😀"} {
		var e Event
		v := reflect.ValueOf(&e).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.String:
				f.SetString(strings.Repeat(long, 1<<17/len(long)))
			case reflect.Int, reflect.Int64:
				f.SetInt(-1 << 62)
			}
		}
		at := newLink()
		at.seq = 1 << 61
		key, err := ParseKey(testKey)
		if err != nil {
			t.Fatal(err)
		}
		text := at.add(nil, e.appendTo(nil), signer(key))
		if len(text) > lineLimit {
			t.Errorf("a line of %q repeated has %d bytes, want %d at most", long, len(text), lineLimit)
		}
		if _, err := parseLine(bytes.TrimSuffix(text, []byte("\n"))); err != nil {
			t.Errorf("a line of %q repeated: %v", long, err)
		}
		var got Event
		if err := json.Unmarshal(text, &got); err != nil || !strings.HasSuffix(got.Path, "…") || len(got.Path) < 600 || len(got.Host) > nameMost+len("…") {
			t.Errorf("a line of %q repeated has host %q, path %q, %v; want them cut", long, got.Host, got.Path, err)
		}
	}
	if s := bounded("/a&b", 4); s != "/a&b" {
		t.Errorf("bounded(what fits) = %q", s)
	}
}
