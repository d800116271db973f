package pages

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// webkit is what most browsers say of their engine.
const webkit = "AppleWebKit/537.36 (KHTML, like Gecko) "

func TestDevice(t *testing.T) {
	p := newPages(t)
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                        "Firefox on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/140.0.0.0 Safari/537.36":                                                  "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":                                    "Edge on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/140.0.0.0 Safari/537.36 OPR/120.0.0.0":                                    "Opera on Windows",
		"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko":                                                                    "Internet Explorer on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15":                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1":  "Chrome on iPad",
		"Mozilla/5.0 (Linux; Android 10; K) " + webkit + "Chrome/140.0.0.0 Mobile Safari/537.36":                                                  "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) " + webkit + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":               "Samsung Browser on Android",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) " + webkit + "Version/4.0 Chrome/120.0.0.0 Mobile DuckDuckGo/5 Safari/537.36":                   "DuckDuckGo on Android",
		"Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0":                                                                    "Firefox on Android",
		"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                          "Firefox on Linux",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + webkit + "Chrome/140.0.0.0 Safari/537.36":                                                   "Chrome on ChromeOS",
		"Mozilla/5.0 (X11; OpenBSD amd64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                 "Firefox",
		"Mozilla/5.0 (Linux) mirall/3.13.0git (Nextcloud, ubuntu-6.5 ClientArchitecture: x86_64 OsArchitecture: x86_64)":                          "mirall on Linux",
		"Mozilla/5.0 (Android) Nextcloud-android/3.30.0":                                                                                          "A device with Android",
		"curl/8.5.0":                "curl",
		"":                          "Unknown device",
		"Mozilla/5.0":               "Unknown device",
		"<script>alert(1)</script>": "Unknown device",
		"\x1b[31mred/1":             "Unknown device",
	} {
		if got := p.Device(agent); got != want {
			t.Errorf("Device(%q) = %q, want %q", agent, got, want)
		}
	}
}

// FuzzDevice: nothing that a browser sends ends the program or reaches a
// terminal or a page as more than a few plain words.
func FuzzDevice(f *testing.F) {
	p, err := New()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "curl/8.5.0", "Mozilla/5.0 (X11; CrOS x86_64 1) X/1", "Mozilla/5.0 (Windows NT 10.0) https://x/", "(;[:/", "Android; tablet)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, agent string) {
		got := p.Device(agent)
		plain := func(r rune) bool {
			return r == ' ' || r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		}
		if got == "" || utf8.RuneCountInString(got) > 64 || strings.ContainsFunc(got, func(r rune) bool { return !plain(r) }) {
			t.Fatalf("Device(%q) = %q", agent, got)
		}
	})
}
