// Package person is somebody at a browser, for tests: it keeps cookies, follows
// redirects, fills in forms and clicks the one link there is, over real
// sockets. It runs no script.
package person

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Person is one browser. The zero value is not usable; see New.
type Person struct {
	Client *http.Client      // with its own cookie jar
	Fields map[string]string // what to type, by input name
	Header http.Header       // sent with each request besides what is usual; nil: nothing
}

// New is a person who types these fields into whatever form asks for them.
func New(fields map[string]string) *Person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // only for a bad public suffix list, and there is none
	}
	return &Person{Client: &http.Client{Jar: jar}, Fields: fields}
}

// Page is what the person sees.
type Page struct {
	URL    *url.URL
	Status int
	Header http.Header
	Body   string
}

// Open navigates to an address, as typed.
func (p *Person) Open(address string) (*Page, error) {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	return p.do(r)
}

// SignIn opens an address and goes through every form and link until a page of
// the address's own site, or of another in sites, appears.
func (p *Person) SignIn(address string, sites ...string) (*Page, error) {
	start, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	page, err := p.Open(address)
	for range 8 {
		if err != nil {
			return page, err
		}
		if page.URL.Host == start.Host || contains(sites, page.URL.Host) {
			return page, nil
		}
		page, err = p.Next(page)
	}
	return page, errors.New("the sign-in goes on for ever")
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// Next fills in the page's form and sends it or, where there is none, follows
// its last link.
func (p *Person) Next(page *Page) (*Page, error) {
	root, err := html.Parse(strings.NewReader(page.Body))
	if err != nil {
		return page, err
	}
	if form := find(root, "form"); form != nil {
		return p.submit(page, form)
	}
	var links []string
	walk(root, func(n *html.Node) {
		if n.Data == "a" && attr(n, "href") != "" {
			links = append(links, attr(n, "href"))
		}
	})
	if len(links) == 0 {
		return page, fmt.Errorf("nothing to click at %s (status %d)", page.URL, page.Status)
	}
	to, err := page.URL.Parse(links[len(links)-1])
	if err != nil {
		return page, err
	}
	return p.Open(to.String())
}

func (p *Person) submit(page *Page, form *html.Node) (*Page, error) {
	values := url.Values{}
	walk(form, func(n *html.Node) {
		name := attr(n, "name")
		if name == "" || n.Data != "input" && n.Data != "button" {
			return
		}
		values.Set(name, attr(n, "value"))
		if typed, ok := p.Fields[name]; ok {
			values.Set(name, typed)
		}
	})
	to, err := page.URL.Parse(attr(form, "action"))
	if err != nil {
		return page, err
	}
	r, err := http.NewRequest(http.MethodPost, to.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return page, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", page.URL.Scheme+"://"+page.URL.Host)
	return p.do(r)
}

func (p *Person) do(r *http.Request) (*Page, error) {
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	for name, values := range p.Header {
		r.Header[name] = values
	}
	resp, err := p.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return &Page{URL: resp.Request.URL, Status: resp.StatusCode, Header: resp.Header, Body: string(body)}, err
}

func find(n *html.Node, name string) (found *html.Node) {
	walk(n, func(n *html.Node) {
		if found == nil && n.Data == name {
			found = n
		}
	})
	return found
}

func walk(n *html.Node, f func(*html.Node)) {
	if n.Type == html.ElementNode {
		f(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, f)
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
