package pages

import (
	"strings"
	"unicode/utf8"
)

// LostForm meets a form that was sent after its session had ended. Nothing of
// it went to the application. Where it was kept, the page carries it whole:
// sign in elsewhere, then send the very same form from here. Without a script
// everything but files is sent again; files are to be chosen anew.
//
// A form with bytes that a page cannot carry unchanged (not UTF-8, or NUL)
// counts as not kept: what is sent again is the same or nothing.
type LostForm struct {
	Action  string // the URL it was sent to
	Method  string // POST; nothing else is kept
	Fields  []Field
	Files   []File
	Enctype string // application/x-www-form-urlencoded (also if "") or multipart/form-data
	SignIn  string // opened in a tab of its own
	Kept    bool   // false: too large, or another site sent it
}

// Field is one field of a form, in the form's order.
type Field struct {
	Name, Value string
}

// File is one file of a form.
type File struct {
	Name        string // of the field
	Filename    string
	ContentType string
	Base64      string // content, RFC 4648 §4
}

func (LostForm) name() string { return "lost_form" }

func (f LostForm) topic() string {
	if f.Whole() {
		return "lost_form.kept"
	}
	return "lost_form.gone"
}

// Whole reports whether the page can send the very same form again.
func (f LostForm) Whole() bool {
	if !f.Kept || !strings.EqualFold(f.Method, "POST") || link(f.Action) == "" {
		return false
	}
	for _, field := range f.Fields {
		if !carriable(field.Name) || !carriable(field.Value) {
			return false
		}
	}
	for _, file := range f.Files {
		if !carriable(file.Name) || !carriable(file.Filename) {
			return false
		}
	}
	return true
}

// carriable reports whether a string comes out of an HTML attribute as it went
// in, but for line ends, which forms normalise anyway.
func carriable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// Encoding is the form's enctype attribute.
func (f LostForm) Encoding() string {
	if len(f.Files) > 0 || strings.EqualFold(f.Enctype, "multipart/form-data") {
		return "multipart/form-data"
	}
	return "application/x-www-form-urlencoded"
}

// Inputs groups the files by field, in order: one input holds them all.
func (f LostForm) Inputs() [][]File {
	var inputs [][]File
	at := make(map[string]int)
	for _, file := range f.Files {
		i, ok := at[file.Name]
		if !ok {
			i = len(inputs)
			at[file.Name] = i
			inputs = append(inputs, nil)
		}
		inputs[i] = append(inputs[i], file)
	}
	return inputs
}
