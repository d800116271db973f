package pages

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestAssets(t *testing.T) {
	p := newPages(t)
	srv := httptest.NewServer(p.Assets())
	defer srv.Close()
	for path, kind := range map[string]string{
		p.assets.paths.Style: "text/css; charset=utf-8", p.assets.paths.Script: "text/javascript; charset=utf-8", p.assets.paths.Icon: "image/svg+xml",
	} {
		res, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		h := res.Header
		if res.StatusCode != 200 || len(body) == 0 || h.Get("Content-Type") != kind || h.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.Contains(h.Get("Cache-Control"), "immutable") {
			t.Errorf("GET %s = %d, %d bytes, headers %v", path, res.StatusCode, len(body), h)
		}
		if !regexp.MustCompile(`-[0-9a-f]{12}\.\w+$`).MatchString(path) {
			t.Errorf("%s carries no hash", path)
		}
	}
	for _, path := range []string{"/auth/assets/", "/auth/assets/style.css", "/auth/assets/../pages.go", "/auth/assets/style-000000000000.css"} {
		res, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 404 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s = %d, Cache-Control %q; want 404, no-store", path, res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
}

func TestAssetsAreOnlyRead(t *testing.T) {
	p := newPages(t)
	for method, want := range map[string]int{"HEAD": 200, "POST": 405, "DELETE": 405} {
		w := httptest.NewRecorder()
		p.Assets().ServeHTTP(w, httptest.NewRequest(method, p.assets.paths.Style, nil))
		if w.Code != want || method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("%s = %d with %d bytes, want %d", method, w.Code, w.Body.Len(), want)
		}
	}
}

// TestStyleStaysHome: the style and the icon name nothing to load.
func TestStyleStaysHome(t *testing.T) {
	p := newPages(t)
	for name, f := range p.assets.files {
		body := strings.ReplaceAll(string(f.body), `xmlns="http://www.w3.org/2000/svg"`, "")
		for _, bad := range []string{"url(", "@import", "http:", "https:", "//fonts", "eval(", "innerHTML"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s contains %s", name, bad)
			}
		}
	}
}
