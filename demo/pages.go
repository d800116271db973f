package demo

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed nextcloud application
var assets embed.FS

// view is what a page of the pretend Nextcloud shows.
type view struct {
	Title        string
	Message      string
	Hint         string // credentials to try; set by show
	Client       string // name of the client that asks
	User         string
	Name         string
	Login        string // what was typed as user name
	RequestToken string
	StateToken   string
	ClientID     string
	Back         string // return address after the login
	Next         string // where the page's one link leads
	FormAction   string // a further address the page's form may lead to
}

// pages renders them.
type pages struct {
	set  *template.Template
	hint string
}

func newPages(hint string) *pages {
	return &pages{set: template.Must(template.ParseFS(assets, "nextcloud/*.html")), hint: hint}
}

// show renders one page. Rendering goes to a buffer first so that a fault in a
// template is an error and not half a page.
func (p *pages) show(w http.ResponseWriter, status int, name string, v view) {
	v.Hint = p.hint
	var buf bytes.Buffer
	if err := p.set.ExecuteTemplate(&buf, name, v); err != nil {
		http.Error(w, "rendering the page", http.StatusInternalServerError)
		return
	}
	htmlHeaders(w)
	policy := pagePolicy
	if status >= http.StatusBadRequest {
		policy = corePolicy
	}
	if v.FormAction != "" {
		policy += " " + v.FormAction
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	w.Write(buf.Bytes())
}

// file serves one embedded file of the pretend Nextcloud.
func (p *pages) file(name string) http.HandlerFunc { return asset("nextcloud/" + name) }

// asset serves one embedded file, with its type by extension alone: what the
// machine has registered for it does not matter.
func asset(path string) http.HandlerFunc {
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(path, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := assets.ReadFile(path)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "public, max-age=300")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}
