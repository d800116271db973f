package demo

import (
	"bytes"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// AppOptions of the demo application.
type AppOptions struct {
	JWKSURL  string           // where the identity JWT's keys are; "": the JWT is shown but not verified
	Issuer   string           // the iss a JWT must have; "": any
	Audience string           // an aud a JWT must have; "": any
	Account  string           // the account page; "": /auth/
	Logout   string           // what the sign-out form posts to; "": /auth/logout
	Client   *http.Client     // fetches the keys; nil: one with a timeout of 5 s
	Now      func() time.Time // nil: time.Now
	Tick     time.Duration    // between two events of /events; 0: 1 s
	Log      *slog.Logger     // nil: nothing is logged
}

// App is a small application to stand behind Anteroom. It believes what it is
// told about its caller in headers, as such applications do, shows all of it,
// and says whether the identity JWT verifies. Make one with [NewApp].
//
//	/                        who is signed in, the JWT, events and a WebSocket at work
//	/public/ /admin/         pages to put rules on
//	/headers                 the request as it arrived, JSON; any method
//	/events                  Server-Sent Events, one a Tick
//	/echo                    WebSocket: says who is calling, then echoes
//	/form                    a form; POST shows its fields
//	/upload, /download       POST counts the bytes; GET ?bytes=N streams N bytes
//	/healthz                 200
type App struct {
	o     AppOptions
	keys  *remoteKeys
	pages *template.Template
	mux   *http.ServeMux
}

// NewApp makes the application. It starts nothing and touches no network before
// the first JWT arrives.
func NewApp(o AppOptions) *App {
	if o.Account == "" {
		o.Account = "/auth/"
	}
	if o.Logout == "" {
		o.Logout = "/auth/logout"
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick <= 0 {
		o.Tick = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &App{o: o, keys: newRemoteKeys(o.Client, o.JWKSURL, o.Now), mux: http.NewServeMux()}
	a.pages = template.Must(template.ParseFS(assets, "application/*.html"))
	a.mux.HandleFunc("GET /{$}", a.page("home", "Demo application"))
	a.mux.HandleFunc("GET /public/", a.page("plain", "Public page"))
	a.mux.HandleFunc("GET /admin/", a.page("plain", "Administration page"))
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok\n")) })
	a.mux.HandleFunc("GET /events", a.events)
	a.mux.HandleFunc("GET /echo", a.echo)
	a.mux.HandleFunc("GET /form", a.form)
	a.mux.HandleFunc("POST /form", a.form)
	a.mux.HandleFunc("POST /upload", a.upload)
	a.mux.HandleFunc("GET /download", a.download)
	a.mux.HandleFunc("GET /static/app.css", asset("application/app.css"))
	a.mux.HandleFunc("GET /static/app.js", asset("application/app.js"))
	return a
}

// ServeHTTP answers one request.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.o.Log.DebugContext(r.Context(), "demo application", "method", r.Method, "path", r.URL.Path)
	if strings.HasPrefix(r.URL.Path, "/headers") {
		a.headers(w, r) // not through the mux, which would redirect odd paths
		return
	}
	a.mux.ServeHTTP(w, r)
}

// appView is what a page shows.
type appView struct {
	Title, Path                string
	User, Username, Name, Mail string
	Groups                     []string
	Headers                    [][2]string // what begins with X-Forwarded-
	Token                      *verdict    // nil: none came
	Account, Logout            string
	Fields                     [][2]string // of the posted form
}

// view collects what a request says about its caller.
func (a *App) view(r *http.Request, title string) appView {
	h := r.Header
	v := appView{Title: title, Path: r.URL.Path, Account: a.o.Account, Logout: a.o.Logout,
		User: h.Get("X-Forwarded-User"), Username: h.Get("X-Forwarded-Preferred-Username"),
		Name: decoded(h.Get("X-Forwarded-Name")), Mail: h.Get("X-Forwarded-Email")}
	for g := range strings.SplitSeq(h.Get("X-Forwarded-Groups"), ",") {
		if g = strings.TrimSpace(g); g != "" {
			v.Groups = append(v.Groups, g)
		}
	}
	for name, values := range h {
		if strings.HasPrefix(name, "X-Forwarded-") {
			v.Headers = append(v.Headers, [2]string{name, strings.Join(values, " ⏎ ")})
		}
	}
	slices.SortFunc(v.Headers, func(x, y [2]string) int { return strings.Compare(x[0], y[0]) })
	if token := identityToken(r); token != "" {
		v.Token = a.verify(r.Context(), token)
	}
	return v
}

func (a *App) page(name, title string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { a.show(w, name, a.view(r, title)) }
}

// show renders a page. Its policy lets forms lead anywhere: signing out ends at
// the provider, which is another origin, and a browser holds redirects after a
// form against form-action too.
func (a *App) show(w http.ResponseWriter, name string, v appView) {
	var buf bytes.Buffer
	if err := a.pages.ExecuteTemplate(&buf, name, v); err != nil {
		a.o.Log.Error("demo application: rendering", "error", err)
		http.Error(w, "rendering the page", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	w.Write(buf.Bytes())
}

func (a *App) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	e.Encode(v) // a caller that went away is no concern of ours
}
