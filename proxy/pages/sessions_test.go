package pages

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// page parses a page as somebody with that language gets it.
func page(t *testing.T, lang string, of Page) *html.Node {
	t.Helper()
	doc, err := html.Parse(render(newPages(t), get(lang), of).Body)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// within lists the elements of one name in the part of the page about sessions.
func within(doc *html.Node, name string) []*html.Node {
	for _, s := range all(doc, "section") {
		if attr(s, "class") == "sessions" {
			return all(s, name)
		}
	}
	return nil
}

func TestSessionsOnThePage(t *testing.T) {
	for _, lang := range spoken() {
		doc := page(t, lang, samples()["account-sessions"])
		items, buttons := within(doc, "li"), within(doc, "button")
		if len(items) != 4 || len(buttons) != 4 { // three and one for them all
			t.Fatalf("%s: %d sessions with %d buttons, want 4 with 4", lang, len(items), len(buttons))
		}
		if attr(items[0], "class") != "current" || len(all(items[0], "form")) != 0 || !strings.Contains(words(items[0]), "Firefox") {
			t.Errorf("%s: the current session is %q", lang, words(items[0]))
		}
		seen := map[string]bool{}
		for _, b := range buttons[:3] {
			label := attr(b, "aria-label")
			if !strings.Contains(label, words(b)) || seen[label] { // WCAG 2.5.3
				t.Errorf("%s: the button %q is labelled %q", lang, words(b), label)
			}
			seen[label] = true
		}
		for i, form := range within(doc, "form") {
			in := all(form, "input")
			if len(in) != 1 || attr(form, "method") != "post" || attr(form, "action") != "/auth/sessions/end" {
				t.Fatalf("%s: form %d posts %d fields to %q", lang, i, len(in), attr(form, "action"))
			}
			if got := attr(in[0], "name"); (got == "others") != (i == 3) {
				t.Errorf("%s: form %d has the field %q", lang, i, got)
			}
		}
	}
}

func TestFewAndManySessions(t *testing.T) {
	for n, want := range map[int]struct{ buttons, folded int }{1: {0, 0}, 2: {1, 0}, 3: {3, 0}, 20: {20, 0}, 21: {21, 1}, 45: {45, 25}} {
		doc := page(t, "en", withSessions(Account{Started: noon, LastSeen: noon}, n))
		folded := 0
		for _, d := range within(doc, "details") {
			folded += len(all(d, "li"))
		}
		if b := len(within(doc, "button")); b != want.buttons || folded != want.folded {
			t.Errorf("%d sessions: %d buttons and %d folded away, want %d and %d", n, b, folded, want.buttons, want.folded)
		}
	}
}

func TestNoListOfSessions(t *testing.T) {
	for listing, want := range map[Listing]string{Unasked: "", Unlisted: "cannot be listed", Unlistable: "at the moment"} {
		doc := page(t, "en", Account{Sessions: Sessions{Listing: listing, List: []Session{{ID: "x"}}}})
		if got := words(doc); !strings.Contains(got, want) || strings.Contains(got, "Your sessions") != (want != "") || len(within(doc, "li")) != 0 {
			t.Errorf("listing %d: %q", listing, got)
		}
	}
}

// TestSessionsLeadNowhereElse: what cannot be posted has no button.
func TestSessionsLeadNowhereElse(t *testing.T) {
	for _, s := range []Sessions{
		{Listing: Listed, End: "javascript:alert(1)", List: []Session{{ID: "a"}, {ID: "b"}}},
		{Listing: Listed, End: "/end", List: []Session{{}, {ID: "b", Current: true}}},
	} {
		if b := within(page(t, "en", Account{Sessions: s}), "button"); len(b) != 0 {
			t.Errorf("%+v has %d buttons, want none", s, len(b))
		}
	}
}

func TestExpiryInWords(t *testing.T) {
	a := Account{Started: noon, LastSeen: noon, IdleEnds: noon.Add(time.Hour), Ends: noon.Add(9 * time.Hour)}
	for lang, want := range map[string]string{
		"en": "After 1 hour without use, and in 9 hours at the latest 22 November 2026, 21:00 UTC",
		"de": "Nach 1 Stunde ohne Nutzung, spätestens in 9 Stunden 22. November 2026, 21:00 Uhr UTC",
		"fr": "Après 1 heure sans utilisation, et au plus tard dans 9 heures 22 novembre 2026, 21:00 UTC",
		"es": "Tras 1 hora sin uso y, a más tardar, dentro de 9 horas 22 de noviembre de 2026, 21:00 UTC",
	} {
		if got := words(page(t, lang, a)); !strings.Contains(got, want) {
			t.Errorf("%s: %q lacks %q", lang, got, want)
		}
	}
}
