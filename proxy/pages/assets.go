package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// assetsAt is where the assets are served.
const assetsAt = "/auth/assets/"

// assetPaths are the URLs the templates name.
type assetPaths struct {
	Style, Script, Icon string
}

// asset is one file as it is served.
type asset struct {
	contentType string
	body        []byte
}

// assets holds the files by name. A name carries a hash of the content, so
// that a browser may keep it for good and a new program is never shown in an
// old one's style.
type assets struct {
	files map[string]asset
	paths assetPaths
}

func loadAssets() (*assets, error) {
	a := &assets{files: make(map[string]asset)}
	for _, f := range []struct {
		file, contentType string
		url               *string
	}{
		{"style.css", "text/css; charset=utf-8", &a.paths.Style},
		{"page.js", "text/javascript; charset=utf-8", &a.paths.Script},
		{"icon.svg", "image/svg+xml", &a.paths.Icon},
	} {
		body, err := assetFiles.ReadFile("assets/" + f.file)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(f.file)
		name := strings.TrimSuffix(f.file, ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		a.files[name] = asset{f.contentType, body}
		*f.url = assetsAt + name
	}
	return a, nil
}

// Assets serves the pages' style, script and icon below /auth/assets/, to be
// kept for a year and never asked for again. Every other name is 404.
func (p *Pages) Assets() http.Handler { return p.assets }

// ServeHTTP answers GET and HEAD.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	name, _ := strings.CutPrefix(r.URL.Path, assetsAt)
	file, ok := a.files[name]
	if !ok {
		h.Set("Cache-Control", "no-store")
		http.Error(w, "no such asset", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "assets are only read", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", file.contentType)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method == http.MethodGet {
		w.Write(file.body)
	}
}
