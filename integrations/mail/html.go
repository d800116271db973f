package mail

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// policy is what is left of the HTML of mail: text, its structure, and links
// that tell nobody where they were found. Nothing runs, nothing is loaded,
// nothing is sent. What an image was is in data-src.
var policy = newPolicy()

func newPolicy() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("a", "abbr", "acronym", "address", "b", "bdi", "big", "blockquote", "br", "caption", "center", "cite", "code", "col", "colgroup",
		"dd", "del", "dfn", "div", "dl", "dt", "em", "font", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "ol", "p", "pre", "q",
		"s", "samp", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var")
	word, number := regexp.MustCompile(`^[A-Za-z-]{1,20}$`), regexp.MustCompile(`^[0-9]{1,5}%?$`)
	p.AllowAttrs("align", "valign", "dir").Matching(word).Globally()
	p.AllowAttrs("width", "height", "colspan", "rowspan", "border", "cellpadding", "cellspacing", "start", "size").Matching(number).Globally()
	p.AllowAttrs("color", "bgcolor").Matching(regexp.MustCompile(`^(#[0-9A-Fa-f]{3,8}|[A-Za-z]{1,30})$`)).Globally()
	p.AllowAttrs("alt", "title").Matching(bluemonday.Paragraph).Globally()
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("data-src").Matching(regexp.MustCompile(`^(https?://|cid:)[^\s"'<>\x60\\]{1,1000}$`)).OnElements("img")
	p.AllowURLSchemes("mailto", "tel")
	for _, scheme := range []string{"http", "https"} { // without a host, browsers take it for a place of the page's own site
		p.AllowURLSchemeWithCustomPolicy(scheme, func(u *url.URL) bool { return u.Host != "" })
	}
	p.AllowRelativeURLs(false)
	p.RequireParseableURLs(true)
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true) // and noopener
	p.SkipElementsContent("script", "style", "head", "title", "svg", "math", "noscript", "iframe", "object", "embed", "applet", "template", "textarea", "select", "xmp", "noembed", "noframes", "frameset", "plaintext")
	return p
}

// safeHTML is what is left of a mail's HTML.
func safeHTML(s string) string { return policy.Sanitize(inertImages(plainText(s))) }

// inertImages has images say where they are from in data-src alone. The policy
// judges what comes out; here nothing needs to be safe.
func inertImages(s string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return b.String()
		}
		raw := string(z.Raw())
		if t := z.Token(); (kind == html.StartTagToken || kind == html.SelfClosingTagToken) && t.DataAtom == atom.Img {
			for i := range t.Attr {
				switch t.Attr[i].Key {
				case "src":
					t.Attr[i].Key = "data-src"
				case "data-src":
					t.Attr[i].Key = "x"
				}
			}
			raw = t.String()
		}
		b.WriteString(raw)
	}
}

// blocks are elements that stand on lines of their own.
var blocks = map[string]bool{"address": true, "blockquote": true, "br": true, "center": true, "dd": true, "div": true, "dl": true, "dt": true,
	"h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "hr": true, "li": true, "ol": true, "p": true, "pre": true,
	"table": true, "tr": true, "ul": true}

// textOf is the text of HTML that is safe already, for mail that has no other.
func textOf(safe string) string {
	w := lines{}
	z := html.NewTokenizer(strings.NewReader(safe))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(w.b.String())
		case html.TextToken:
			w.text(string(z.Text()))
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			if name, _ := z.TagName(); blocks[string(name)] {
				w.end()
			}
		}
	}
}

// lines is text with single spaces between words, and no more than one empty
// line.
type lines struct {
	b     strings.Builder
	ends  int  // of line, since the last word
	space bool // since the last word
}

func (l *lines) text(s string) {
	l.space = l.space || strings.TrimLeftFunc(s, unicode.IsSpace) != s
	for word := range strings.FieldsSeq(s) {
		if l.space && l.ends == 0 && l.b.Len() > 0 {
			l.b.WriteByte(' ')
		}
		l.b.WriteString(word)
		l.space, l.ends = true, 0
	}
	if strings.TrimRightFunc(s, unicode.IsSpace) == s && strings.TrimSpace(s) != "" {
		l.space = false
	}
}

func (l *lines) end() {
	if l.ends < 2 && l.b.Len() > 0 {
		l.b.WriteByte('\n')
	}
	l.ends++
	l.space = false
}
