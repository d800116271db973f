package contentline_test

import (
	"strings"
	"testing"

	"anteroom/integrations/contentline"
)

// FuzzLines: whatever a value is, it stays within its property, and what is not
// changed stays as it was.
func FuzzLines(f *testing.F) {
	f.Add("a\r\nATTENDEE:x\n", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:a\r\n b\r\nBEGIN:VALARM\r\nSUMMARY:c\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	f.Add("\u2028;:,\"\\n\x00\x7f", "\r\nBEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VEVENT\nEND:VCALENDAR")
	f.Add(strings.Repeat("ü", 100), "BEGIN:A\n \n:\nBEGIN:VEVENT\nX\n")
	f.Fuzz(func(t *testing.T, value, text string) {
		for name, v := range map[string]string{"escaped": contentline.Escaped(value), "inline": contentline.Inline(value), "a parameter": contentline.Param(value)} {
			folded := contentline.Fold("X:" + v)
			if unfolded := contentline.Unfolded(folded); unfolded != "X:"+v || len(contentline.Of(folded+"Y:1\r\n").Lines) != 2 {
				t.Errorf("%s %q leaves its line: %q", name, value, folded)
			}
		}
		s := contentline.Of(text)
		if s.String() != text {
			t.Fatalf("%q came back as %q", text, s.String())
		}
		contentline.Modest(text)
		for _, at := range s.Components("VEVENT") {
			c := &contentline.Sheet{Lines: s.Lines}
			c.Set(at, map[string]bool{"SUMMARY": true}, "SUMMARY:"+contentline.Escaped(value))
			if got := contentline.Text(contentline.Value(c.Lines[at.First+1])); len(c.Lines) > len(s.Lines)+1 || !strings.HasPrefix(c.Lines[at.First+1], "SUMMARY:") && got != value {
				t.Errorf("%q became %q", text, c)
			}
		}
		s.Add(true, "X:1")
		s.Add(false, "X:1")
	})
}
