package pages

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// TestLostFormIsTheVerySame reads the page as a browser does and finds the
// form it was made of.
func TestLostFormIsTheVerySame(t *testing.T) {
	want := keptForm()
	doc, err := html.Parse(render(newPages(t), get("en"), want).Body)
	if err != nil {
		t.Fatal(err)
	}
	form := all(doc, "form")[0]
	got := LostForm{Action: attr(form, "action"), Method: http.MethodPost, Enctype: attr(form, "enctype"), Kept: true}
	for _, in := range all(form, "input") {
		if attr(in, "type") == "hidden" {
			got.Fields = append(got.Fields, Field{attr(in, "name"), attr(in, "value")})
		}
	}
	for _, label := range all(form, "label") {
		name := attr(all(label, "input")[0], "name")
		for _, d := range all(label, "data") {
			got.Files = append(got.Files, File{name, attr(d, "data-filename"), attr(d, "data-kind"), attr(d, "value")})
		}
	}
	link := all(doc, "a")[0]
	got.SignIn = attr(link, "href")
	want.Action = "https://voice.hospital.example/notes?patient=17&x=%27y%27" // the same URL, escaped for the page
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the form on the page (-want +got):\n%s", diff)
	}
	if attr(link, "target") != "_blank" || attr(link, "rel") != "noopener" {
		t.Errorf("signing in has target=%q rel=%q, want _blank and noopener", attr(link, "target"), attr(link, "rel"))
	}
	if got := len(all(doc, "script")); got != 1 {
		t.Errorf("%d scripts, want the one that puts files back", got)
	}
}

func TestWhole(t *testing.T) {
	form := func(change func(*LostForm)) LostForm {
		f := keptForm()
		change(&f)
		return f
	}
	for name, tt := range map[string]struct {
		form LostForm
		want bool
	}{
		"kept":               {keptForm(), true},
		"not kept":           {form(func(f *LostForm) { f.Kept = false }), false},
		"PUT":                {form(func(f *LostForm) { f.Method = "PUT" }), false},
		"script for action":  {form(func(f *LostForm) { f.Action = "javascript:alert(1)" }), false},
		"NUL in a value":     {form(func(f *LostForm) { f.Fields[1].Value = "a\x00b" }), false},
		"Latin-1 in a value": {form(func(f *LostForm) { f.Fields[1].Value = "caf\xe9" }), false},
		"Latin-1 in a name":  {form(func(f *LostForm) { f.Fields[1].Name = "caf\xe9" }), false},
		"Latin-1 filename":   {form(func(f *LostForm) { f.Files[0].Filename = "caf\xe9.txt" }), false},
	} {
		if got := tt.form.Whole(); got != tt.want {
			t.Errorf("Whole(%s) = %t, want %t", name, got, tt.want)
		}
		doc, err := html.Parse(render(newPages(t), get("en"), tt.form).Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(all(doc, "form")) == 1; got != tt.want {
			t.Errorf("%s: the page has a form to send: %t, want %t", name, got, tt.want)
		}
	}
}
