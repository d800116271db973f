package pages

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestLanguageIsNegotiated(t *testing.T) {
	l, err := loadLanguages()
	if err != nil {
		t.Fatal(err)
	}
	for accept, want := range map[string]string{
		"":                                     "en",
		"de":                                   "de",
		"de-AT,en;q=0.5":                       "de",
		"fr-CA;q=0.9, de;q=0.3":                "fr",
		"es-419":                               "es",
		"ja, es;q=0.2":                         "es",
		"ja":                                   "en",
		"*":                                    "en",
		"en-GB,de":                             "en",
		"de;q=":                                "en",
		"\xff\xfe":                             "en",
		"fr," + strings.Repeat("x-y-z,", 5000): "fr",
		strings.Repeat("-", 5000):              "en",
	} {
		if got := l.choose(accept).code; got != want {
			t.Errorf("choose(%.40q) = %s, want %s", accept, got, want)
		}
	}
}

func TestLanguagesSayTheSame(t *testing.T) {
	catalog := func(texts map[string]string) *catalog { return &catalog{code: "xx", texts: texts} }
	en := catalog(map[string]string{"a": "one {n}", "b": "two"})
	for name, other := range map[string]map[string]string{
		"missing": {"a": "eins {n}"},
		"empty":   {"a": "eins {n}", "b": " "},
		"extra":   {"a": "eins {n}", "b": "zwei", "c": "drei"},
		"names":   {"a": "eins {m}", "b": "zwei"},
	} {
		if err := sameKeys(en, catalog(other)); err == nil {
			t.Errorf("sameKeys(%s) = nil, want an error", name)
		}
	}
	if err := sameKeys(en, catalog(map[string]string{"a": "{n} eins", "b": "zwei"})); err != nil {
		t.Errorf("sameKeys(whole) = %v, want nil", err)
	}
}

// TestTextsAreUsed: a text that no page can reach is one nobody keeps right.
func TestTextsAreUsed(t *testing.T) {
	en, err := loadCatalog("en")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".html") || strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go")) {
			raw, _ := os.ReadFile(path)
			source.Write(raw)
		}
		return err
	})
	// Made of a topic, a reason, a unit or a number; rendering every sample
	// proves that they exist.
	made := regexp.MustCompile(`\.(title|lead|posted|what|do|admin|one|other)$|^(near|month|date)\b`)
	for key := range en.texts {
		if !made.MatchString(key) && !strings.Contains(source.String(), `"`+key+`"`) {
			t.Errorf("text %q is used by no template and no code", key)
		}
	}
}

func TestTextFillsNamesOnce(t *testing.T) {
	c := &catalog{code: "en", texts: map[string]string{"a": "{x} and {y}"}}
	if got, err := c.text("a", "x", "{y}", "y", 2); err != nil || got != "{y} and 2" {
		t.Errorf("text = %q, %v; want {y} and 2", got, err)
	}
	if _, err := c.text("b"); err == nil {
		t.Error("text(absent) = nil error, want one")
	}
}

func TestTimesInWords(t *testing.T) {
	l, err := loadLanguages()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		lang string
		d    time.Duration
		want string
	}{
		{"en", 0, "just now"},
		{"en", -59 * time.Second, "just now"},
		{"en", 59 * time.Second, "in less than a minute"},
		{"en", -time.Minute, "1 minute ago"},
		{"en", -5 * time.Minute, "5 minutes ago"},
		{"en", 59*time.Minute + 40*time.Second, "in 1 hour"},
		{"en", 95 * time.Minute, "in 95 minutes"},
		{"en", 12 * time.Hour, "in 12 hours"},
		{"de", 72 * time.Hour, "in 3 Tagen"},
		{"de", -2 * time.Hour, "vor 2 Stunden"},
		{"fr", -2 * time.Hour, "il y a 2 heures"},
		{"es", 49 * time.Hour, "dentro de 2 días"},
	} {
		if got, err := l.choose(tt.lang).near(tt.d); err != nil || got != tt.want {
			t.Errorf("near(%s, %v) = %q, %v; want %q", tt.lang, tt.d, got, err, tt.want)
		}
	}
	first := time.Date(2026, 5, 1, 9, 5, 0, 0, time.FixedZone("", 2*3600))
	for lang, want := range map[string]string{
		"en": "1 May 2026, 07:05 UTC", "de": "1. Mai 2026, 07:05 Uhr UTC",
		"fr": "1er mai 2026, 07:05 UTC", "es": "1 de mayo de 2026, 07:05 UTC",
	} {
		if got, err := l.choose(lang).date(first); err != nil || got != want {
			t.Errorf("date(%s) = %q, %v; want %q", lang, got, err, want)
		}
	}
}

func FuzzAcceptLanguage(f *testing.F) {
	l, err := loadLanguages()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"de", "de-AT;q=0.3,*", "x-y", strings.Repeat("a-", 200), ",,,;q=9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		if l.choose(accept) == nil {
			t.Fatalf("choose(%q) = nil", accept)
		}
	})
}
