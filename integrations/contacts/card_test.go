package contacts

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

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
		fields := Fields{Note: &note, Family: &note, Department: &note, Emails: c.Emails, Addresses: c.Addresses}
		if err := fields.write(s, time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		if len(s.Lines) > lines+4 || at.First != 0 && s.Lines[0] != contentline.Of(text).Lines[0] {
			t.Errorf("%q became %q: more lines came than there are fields", text, s)
		}
		now, err := read(s.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, s, err)
		}
		if now.Note != note || now.Family != note || now.Department != note || !slices.Equal(now.Emails, c.Emails) || !slices.Equal(now.Addresses, c.Addresses) {
			t.Errorf("%q became %q, which is read as %+v, want %q and what there was", text, s, now, note)
		}
	})
}

// TestWhatIsNotSaidStays: a change leaves what it does not name as it was written,
// though what is told of it is less.
func TestWhatIsNotSaidStays(t *testing.T) {
	str := func(s string) *string { return &s }
	const card = "N;LANGUAGE=en:Lovelace;Ada;King,Byron;Dr.,Prof.;\r\nFN;LANGUAGE=en:Ada Lovelace\r\nFN;LANGUAGE=de:Ada\r\n" +
		"item1.URL;TYPE=work:http://one.example/\r\nitem1.X-ABLabel:Lab\r\nURL:http://two.example/\r\nBDAY:--1210\r\n" +
		"item2.EMAIL;TYPE=home,internet;PREF=1:ada@example.com\r\nTEL;VALUE=uri;TYPE=\"cell,voice\":tel:+49-30-1234\r\nADR;TYPE=home:PO 7;2nd floor;Street 1;Berlin;;;\r\n" +
		"ORG:Analytical\\; Engines;Tables;Third\r\nNOTE;ENCODING=QUOTED-PRINTABLE:=41\r\nBEGIN:VCARD\r\nFN:Within\r\nEND:VCARD\r\n"
	whole := "BEGIN:VCARD\r\nVERSION:4.0\r\n" + card + "END:VCARD\r\n"
	told, err := read(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		fields Fields
		want   []string // lines that are there then, beside all that are not without
		gone   []string
	}{
		"given name":      {Fields{Given: str("Augusta")}, []string{"N;LANGUAGE=en:Lovelace;Augusta;King,Byron;Dr.,Prof.;"}, []string{"N;LANGUAGE=en:Lovelace;Ada;"}},
		"full name":       {Fields{Name: str("A; L")}, []string{`FN;LANGUAGE=en:A\; L`}, []string{"FN;LANGUAGE=en:Ada"}},
		"address of site": {Fields{URL: str("http://three.example/")}, []string{"item1.URL;TYPE=work:http://three.example/"}, []string{"item1.URL;TYPE=work:http://one"}},
		"no site at all":  {Fields{URL: str("")}, nil, []string{"item1.URL", "URL:http://two"}},
		"department":      {Fields{Department: str("X")}, []string{`ORG:Analytical\; Engines;X;Third`}, []string{`ORG:Analytical\; Engines;Tables`}},
		"note":            {Fields{Note: str("=41")}, []string{"NOTE:=41"}, []string{"NOTE;ENC"}},
		"one more mail":   {Fields{Emails: append([]Typed{{"b@example.com", ""}}, told.Emails...)}, []string{"EMAIL:b@example.com"}, nil},
		"all lists again": {Fields{Emails: told.Emails, Phones: told.Phones, Addresses: told.Addresses, Birthday: &told.Birthday}, nil, nil},
		"another address": {Fields{Addresses: append([]Address{{City: "Bonn"}}, told.Addresses...)}, []string{"ADR:;;;Bonn;;;"}, nil},
		"no addresses":    {Fields{Addresses: []Address{}, Phones: []Typed{}}, nil, []string{"ADR", "TEL"}},
		"another day":     {Fields{Birthday: str("1815-12-10")}, []string{"BDAY:18151210"}, []string{"BDAY:--"}},
		"of no year":      {Fields{Birthday: str("--02-29")}, []string{"BDAY:--0229"}, []string{"BDAY:--"}},
	} {
		s := contentline.Of(whole)
		if err := tc.fields.write(s, time.Unix(0, 0)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := append([]string{"VERSION:4.0", "REV:19700101T000000Z"}, tc.want...)
		for _, line := range strings.Split(strings.TrimSuffix(card, "\r\n"), "\r\n") {
			if !slices.ContainsFunc(tc.gone, func(start string) bool { return strings.HasPrefix(line, start) }) {
				want = append(want, line)
			}
		}
		got := strings.Split(strings.TrimSuffix(strings.TrimPrefix(s.String(), "BEGIN:VCARD\r\n"), "\r\nEND:VCARD\r\n"), "\r\n")
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
	}
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
