//go:build real

package realtest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// person is somebody at a browser without JavaScript: cookies, redirects,
// links and forms.
type person struct {
	t      *testing.T
	client *http.Client
}

func newPerson(t *testing.T) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	t.Cleanup(transport.CloseIdleConnections)
	return &person{t: t, client: &http.Client{Jar: jar, Transport: transport}}
}

// page is what a person has before them.
type page struct {
	status int
	url    *url.URL
	header http.Header
	body   string
	forms  []form
	links  []*url.URL
}

// form is one form of a page, its fields at their first values.
type form struct {
	action *url.URL
	method string
	fields url.Values
	text   string // name of the field that takes a user name, "" without
	secret string // name of the password field, "" without
}

// visit goes to an address as one typed in, or a link followed, would.
func (p *person) visit(address string) *page {
	p.t.Helper()
	return p.do(p.request(http.MethodGet, address, nil))
}

// request makes a navigation.
func (p *person) request(method, address string, body io.Reader) *http.Request {
	p.t.Helper()
	r, err := http.NewRequest(method, address, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return r
}

// submit sends a form of a page, with some fields filled in.
func (p *person) submit(from *page, f form, fill url.Values) *page {
	p.t.Helper()
	return p.do(p.filled(from, f, fill))
}

// filled is the request that sends a form.
func (p *person) filled(from *page, f form, fill url.Values) *http.Request {
	values := url.Values{}
	maps.Copy(values, f.fields)
	maps.Copy(values, fill)
	if f.method != http.MethodPost {
		to := *f.action
		to.RawQuery = values.Encode()
		return p.request(http.MethodGet, to.String(), nil)
	}
	r := p.request(http.MethodPost, f.action.String(), strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", from.url.Scheme+"://"+from.url.Host)
	return r
}

// do sends a request and reads the page that comes of it.
func (p *person) do(r *http.Request) *page {
	p.t.Helper()
	g, err := p.try(r)
	if err != nil {
		p.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return g
}

// try is do for other goroutines than the test's, and where an error is due.
func (p *person) try(r *http.Request) (*page, error) {
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	g := &page{status: resp.StatusCode, url: resp.Request.URL, header: resp.Header, body: string(body)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		if doc, err := html.Parse(strings.NewReader(g.body)); err == nil {
			g.read(doc, nil)
		}
	}
	return g, nil
}

// read collects a page's forms and links.
func (g *page) read(n *html.Node, in *form) {
	if n.Type == html.ElementNode {
		switch n.Data {
		case "form":
			g.forms = append(g.forms, form{action: g.resolve(attr(n, "action")), method: strings.ToUpper(attr(n, "method")), fields: url.Values{}})
			in = &g.forms[len(g.forms)-1]
		case "a":
			g.links = append(g.links, g.resolve(attr(n, "href")))
		case "input", "button":
			if in != nil && attr(n, "name") != "" {
				in.field(attr(n, "name"), strings.ToLower(attr(n, "type")), attr(n, "value"))
			}
		}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		g.read(c, in)
	}
}

func (f *form) field(name, kind, value string) {
	switch kind {
	case "password":
		f.secret = name
	case "", "text", "email":
		if f.text == "" {
			f.text = name
		}
	case "checkbox", "radio":
		return
	}
	f.fields.Set(name, value)
}

func (g *page) resolve(ref string) *url.URL {
	u, err := g.url.Parse(ref)
	if err != nil {
		return g.url
	}
	return u
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// signIn visits an address and does what each page on the way asks for, until
// the site shows a page of its own or of the application.
func (p *person) signIn(s *site, address, user, password string) *page {
	p.t.Helper()
	g, err := p.trySignIn(s, address, user, password)
	if err != nil {
		p.t.Fatalf("signing in as %s: %v", user, err)
	}
	return g
}

// trySignIn is signIn for other goroutines than the test's.
func (p *person) trySignIn(s *site, address, user, password string) (*page, error) {
	g, err := p.try(p.request(http.MethodGet, address, nil))
	for range 12 {
		if err != nil || g.url.Scheme+"://"+g.url.Host == s.URL {
			return g, err
		}
		var r *http.Request
		if r, err = p.next(g, user, password); err == nil {
			g, err = p.try(r)
		}
	}
	return g, fmt.Errorf("ended at %s (%d), not at %s:\n%.600s", g.url, g.status, s.URL, g.body)
}

// next is what a page of a provider asks a person to do.
func (p *person) next(g *page, user, password string) (*http.Request, error) {
	for _, f := range g.forms {
		if f.secret != "" {
			return p.filled(g, f, url.Values{f.text: {user}, f.secret: {password}}), nil
		}
	}
	switch {
	case strings.HasSuffix(g.url.Path, "/apps/oidc/redirect"): // its script would go on to here
		return p.request(http.MethodGet, g.resolve("authorize").String(), nil), nil
	case len(g.forms) > 0:
		return p.filled(g, g.forms[0], nil), nil
	}
	for _, l := range g.links {
		if strings.Contains(l.Path, "/login/flow") {
			return p.request(http.MethodGet, l.String(), nil), nil
		}
	}
	return nil, fmt.Errorf("%s (%d) asks for nothing a person could do:\n%.600s", g.url, g.status, g.body)
}

// cookie is the value of a cookie the person's browser would send there.
func (p *person) cookie(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, c := range p.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}
