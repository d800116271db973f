package pages

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

//go:embed texts/*.json
var textFiles embed.FS

// spoken lists the languages; the first is for everybody else. A new one is a
// file in texts and a word here.
func spoken() []string { return []string{"en", "de", "fr", "es"} }

// longestAccept is how much of an Accept-Language header is read.
const longestAccept = 256

// languages are the texts, and the choice among them.
type languages struct {
	matcher  language.Matcher
	catalogs []*catalog // in the matcher's order
}

// catalog holds one language's texts by key.
type catalog struct {
	code  string
	texts map[string]string
}

// loadLanguages reads the texts and checks that all languages say the same:
// each key of the first is in every other, with the same {names} in it.
func loadLanguages() (*languages, error) {
	l := &languages{}
	var tags []language.Tag
	for _, code := range spoken() {
		c, err := loadCatalog(code)
		if err != nil {
			return nil, err
		}
		if len(l.catalogs) > 0 {
			if err := sameKeys(l.catalogs[0], c); err != nil {
				return nil, err
			}
		}
		l.catalogs = append(l.catalogs, c)
		tags = append(tags, language.Make(code))
	}
	l.matcher = language.NewMatcher(tags)
	return l, nil
}

func loadCatalog(code string) (*catalog, error) {
	raw, err := textFiles.ReadFile("texts/" + code + ".json")
	if err != nil {
		return nil, err
	}
	c := &catalog{code: code}
	if err := json.Unmarshal(raw, &c.texts); err != nil {
		return nil, fmt.Errorf("texts/%s.json: %w", code, err)
	}
	return c, nil
}

// sameKeys reports the first difference between two languages.
func sameKeys(a, b *catalog) error {
	for key, text := range a.texts {
		other, ok := b.texts[key]
		if !ok || strings.TrimSpace(other) == "" {
			return fmt.Errorf("text %q is missing in %s", key, b.code)
		}
		if want, got := names(text), names(other); want != got {
			return fmt.Errorf("text %q has {%s} in %s but {%s} in %s", key, want, a.code, got, b.code)
		}
	}
	for key := range b.texts {
		if _, ok := a.texts[key]; !ok {
			return fmt.Errorf("text %q is in %s alone", key, b.code)
		}
	}
	return nil
}

// choose picks the language for an Accept-Language header (RFC 9110 §12.5.4).
// A header that cannot be read gets the first language.
func (l *languages) choose(accept string) *catalog {
	if len(accept) > longestAccept {
		accept = accept[:longestAccept]
		accept = accept[:max(0, strings.LastIndexByte(accept, ','))]
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return l.catalogs[0]
	}
	_, i, _ := l.matcher.Match(tags...)
	return l.catalogs[i]
}

// text is one text, with {name} replaced by the value that follows name in
// pairs. A value is never searched for further names.
func (c *catalog) text(key string, pairs ...any) (string, error) {
	t, ok := c.texts[key]
	if !ok {
		return "", fmt.Errorf("no text %q in %s", key, c.code)
	}
	if len(pairs) == 0 {
		return t, nil
	}
	olds := make([]string, len(pairs))
	for i, p := range pairs {
		olds[i] = fmt.Sprint(p)
		if i%2 == 0 {
			olds[i] = "{" + olds[i] + "}"
		}
	}
	return strings.NewReplacer(olds...).Replace(t), nil
}

// names lists the {names} in a text, sorted, so that two languages compare.
func names(text string) string {
	var out []string
	for {
		_, rest, ok := strings.Cut(text, "{")
		if !ok {
			break
		}
		var name string
		name, text, _ = strings.Cut(rest, "}")
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}
