package contacts

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"anteroom/integrations/contentline"
)

// FuzzContact: whatever a card says, reading it ends, and gives what JSON can
// say; and what is written into it can be read again.
func FuzzContact(f *testing.F) {
	f.Add("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nN:L;A;;;\r\nitem1.EMAIL;TYPE=home:a@b\r\nADR;TYPE=\"a,b\":;;1;2;3;4;5\r\nREV:2020-01-01T00:00:00Z\r\nEND:VCARD\r\n", "x\ny")
	f.Add("BEGIN:VCARD\nFN;X=\"\\u0041:b\nORG:a\\;b;c\nBDAY:--0203\nCATEGORIES:a\\,b,c\nREV:00000101T000000Z\nEND:VCARD", ";,\\")
	f.Add("BEGIN:VCARD\nBEGIN:VCARD\nEND:VCARD\nFN:a\n b\n\tc\nEND:VCARD\n", "END:VCARD")
	f.Fuzz(func(t *testing.T, text, note string) {
		if len(text) > 8<<10 {
			return
		}
		c, err := read(text)
		if err != nil {
			return
		}
		if b, err := json.Marshal(c); err != nil || !utf8.Valid(b) {
			t.Fatalf("%v: %v", c, err)
		}
		if !utf8.ValidString(note) || strings.ContainsFunc(note, func(r rune) bool { return r < ' ' && r != '\n' }) {
			return
		}
		s := contentline.Of(text)
		at, ok := s.Top()
		if !ok {
			return
		}
		lines := len(s.Lines)
		fields := Fields{Note: &note}
		if err := fields.write(s, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		if len(s.Lines) > lines+2 || at.First != 0 && s.Lines[0] != contentline.Of(text).Lines[0] {
			t.Errorf("%q became %q: more than two lines came", text, s)
		}
	})
}

// TestLargeCards: photos, and lists without end, take no longer than they are
// long.
func TestLargeCards(t *testing.T) {
	photo := "PHOTO:data:image/png;base64," + strings.Repeat(strings.Repeat("A", 73)+"\r\n ", 50_000) + "\r\n"
	many := strings.Repeat("EMAIL:a@b\r\nCATEGORIES:a\r\nADR:;;1;2;3;4;5\r\n", 20_000)
	for name, body := range map[string]string{"a photo": photo, "many": many, "names": "N:" + strings.Repeat(";", 3<<20) + "\r\n", "categories": "CATEGORIES:" + strings.Repeat(",", 3<<20) + "\r\n"} {
		c, err := read("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\n" + body + "END:VCARD\r\n")
		if err != nil || c.Name != "A" || len(c.Emails) > maxEntries || len(c.Categories) > maxEntries || len(c.Addresses) > maxEntries {
			t.Errorf("%s: %d addresses, %v", name, len(c.Emails), err)
		}
	}
	for name, body := range map[string]string{"a parameter": "EMAIL;TYPE=" + strings.Repeat("a,", 1<<20) + ":a@b\r\n", "lines": strings.Repeat("A:\n", 1<<20), "a quote": `TEL;TYPE="` + strings.Repeat("a", 1<<20) + "\":1\r\n"} {
		if _, err := read("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\n" + body + "END:VCARD\r\n"); err == nil {
			t.Errorf("%s: a card that takes a hundred times its size was read", name)
		}
	}
	if _, err := read("BEGIN:VCARD\r\n" + strings.Repeat("A", maxCard) + "\r\nEND:VCARD\r\n"); err == nil {
		t.Error("a card that is too large was read")
	}
}
