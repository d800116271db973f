package mail

import (
	"encoding/base64"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/net/html"
)

func TestParameters(t *testing.T) {
	for want, params := range map[string]map[string]string{
		"a.txt":          {"filename": "a.txt", "filename*": "utf-8''b.txt"},
		"Übersicht.pdf":  {"filename*0*": "iso-8859-1''%DCber", "filename*1": "sicht.", "filename*2*": "pd%66"},
		"Ünix":           {"filename*": "UTF-8'de'%C3%9Cnix"},
		"no quotes":      {"filename*": "no quotes"},
		"half'escaped%Z": {"filename*": "''half'escaped%Z"},
		"":               {"filename*1": "the first is missing"},
	} {
		if got := param(params, "filename"); got != want {
			t.Errorf("param(%q) = %q, want %q", params, got, want)
		}
	}
}

func TestBase64(t *testing.T) {
	for in, want := range map[string]string{
		"aGVsbG8=": "hello", "aGVsbG8": "hello", "aGVs\r\nbG8=\r\n": "hello", "a G*V s-bG8": "hello", "aGVsbG8=trailing": "hello", "": "", "=": "", "aGk=": "hi", "aGkh": "hi!",
		base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 5000))): strings.Repeat("x", 5000),
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in)), "with its end": iotest.DataErrReader(strings.NewReader(in))} {
			if b, err := io.ReadAll(decoder("base64", r)); err != nil || string(b) != want {
				t.Errorf("decoder(%q, %s) = %q, %v, want %q", in, name, b, err, want)
			}
		}
	}
	if _, err := io.ReadAll(decoder("base64", iotest.ErrReader(io.ErrUnexpectedEOF))); err == nil {
		t.Error("decoder(broken) = no error, want one")
	}
}

func TestShape(t *testing.T) {
	deep := strings.Repeat("(", maxNesting+1)
	for in, want := range map[string]bool{
		deep:                          false,
		deep[1:]:                      true,
		"* 1 X \"" + deep + "\"":      true,
		"* 1 X \"a\\\"" + deep + "\"": true,
		"* 1 X \"a\" " + deep:         false,
		"* 1 X {300}\r\n" + strings.Repeat("(", 300) + "x": true,
		"* 1 X {3}\r\n(((" + deep:                          false,
		"* 1 X {3}x\r\n" + deep:                            false,
		"* OK {300}\r\n" + deep:                            false,
		"T1 NO {300}\r\n" + deep:                           false,
		"* 1 X {99999999999999999999}\r\n" + deep:          false,
		strings.Repeat("* 1 X (\r\n", 500):                 true,
	} {
		var whole, pieces shape
		got, also := whole.scan([]byte(in)), true
		for i := range in {
			also = also && pieces.scan([]byte(in[i:i+1]))
		}
		if got != want || also != want {
			t.Errorf("scan(%.40q) = %v, byte by byte %v, want %v", in, got, also, want)
		}
	}
}

// inert fails for HTML in which something runs, is loaded or is sent.
func inert(t *testing.T, s string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(s))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		tag := z.Token()
		switch tag.Data {
		case "script", "style", "iframe", "object", "embed", "form", "input", "button", "textarea", "svg", "math", "link", "meta", "base", "video", "audio", "source", "template", "noscript", "frame", "frameset", "plaintext", "xmp", "title", "html", "body", "head":
			t.Errorf("HTML has <%s>:\n%s", tag.Data, s)
		}
		for _, a := range tag.Attr {
			v := strings.ToLower(strings.TrimSpace(a.Val))
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "srcset", a.Key == "style", a.Key == "background", a.Key == "action", a.Key == "formaction", a.Key == "xlink:href", a.Key == "ping", a.Key == "id", a.Key == "name", a.Key == "class", a.Key == "srcdoc", a.Key == "poster", a.Key == "data":
				t.Errorf("HTML has the attribute %s:\n%s", a.Key, s)
			case a.Key == "href" && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") && !strings.HasPrefix(v, "mailto:") && !strings.HasPrefix(v, "tel:"):
				t.Errorf("HTML has a link to %q:\n%s", a.Val, s)
			case a.Key == "data-src" && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") && !strings.HasPrefix(v, "cid:"):
				t.Errorf("HTML has an image of %q:\n%s", a.Val, s)
			}
		}
	}
}

var hostileHTML = []string{
	`<script>alert(1)</script>`, `<SCRIPT SRC=//evil.example/x.js></SCRIPT>`, `<img src=x onerror=alert(1)>`, `<img src="http://evil.example/pixel.gif" srcset="http://evil.example/2x 2x">`,
	`<svg onload=alert(1)><script>alert(1)</script></svg>`, `<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>`, `<a href="javascript:alert(1)">x</a>`, `<a href=" java&#10;script:alert(1)">x</a>`,
	`<a href="data:text/html,<script>1</script>">x</a>`, `<a href="//evil.example">x</a>`, `<a href="/auth/logout">x</a>`, `<p style="background:url(http://evil.example)">x</p>`, `<style>@import url(http://evil.example)</style>`,
	`<link rel=stylesheet href=http://evil.example>`, `<meta http-equiv=refresh content="0;url=http://evil.example">`, `<base href="http://evil.example/">`, `<form action=http://evil.example><input name=a><button>go</button></form>`,
	`<iframe src=http://evil.example srcdoc="<script>1</script>"></iframe>`, `<object data=x></object><embed src=x>`, `<video src=x poster=y><source src=z></video><audio src=x>`, `<table background=http://evil.example><tr><td background=x>1</td></tr></table>`,
	`<body onload=alert(1) background=x>`, `<!--[if gte IE 4]><script>alert(1)</script><![endif]-->`, `<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, `<textarea><img title="</textarea><img src=x onerror=alert(1)>">`,
	`<img src="cid:a@b" alt="x">`, `<img data-src="javascript:alert(1)" src=x>`, `<img src="data:image/svg+xml,<svg onload=alert(1)>">`, `<xmp><img src=x onerror=alert(1)></xmp>`, `<plaintext><script>`, `<div id=login name=x class=y>x</div>`, "<a href=\"http://ok.example/\x00\">x</a>",
	`<template><script>1</script></template>`, `<p title="a<script>b">x</p>`, `<<script>alert(1)//<</script>`, `<a href="http://ok.example" ping="http://evil.example" onclick=x>x</a>`,
}

func TestSafeHTML(t *testing.T) {
	for _, in := range hostileHTML {
		inert(t, safeHTML(in))
	}
	for in, want := range map[string]string{
		`<a href="https://ok.example/?a=1&amp;b=2">x</a>`:               `<a href="https://ok.example/?a=1&amp;b=2" rel="nofollow noreferrer noopener" target="_blank">x</a>`,
		`<img src="cid:a@b" alt="x">`:                                   `<img data-src="cid:a@b" alt="x">`,
		`<p>a<script>b</script>c</p>`:                                   `<p>ac</p>`,
		`<table width="600"><tr><td bgcolor="#fff">x</td></tr></table>`: `<table width="600"><tr><td bgcolor="#fff">x</td></tr></table>`,
		"<title>a</title><head><style>b</style></head>c":                "c",
	} {
		if got := safeHTML(in); got != want {
			t.Errorf("safeHTML(%q) = %q, want %q", in, got, want)
		}
	}
}

func leafOf(name, set, encoding string) leaf {
	return leaf{&imap.BodyStructureSinglePart{Type: "text", Subtype: name, Encoding: encoding, ID: name, Params: map[string]string{"charset": set, "name*": name}}, []int{1}}
}

// FuzzMessage: whatever a mail holds, nothing of it breaks its reader, and its
// HTML does nothing.
func FuzzMessage(f *testing.F) {
	for _, h := range hostileHTML {
		f.Add("text/html", "utf-8", "7bit", []byte("From: a@b.c\r\nSubject: x"), []byte(h))
	}
	f.Add("text/html", "iso-2022-jp", "base64", []byte(plainMail), []byte("\x1b$B4A;z\x1b(B"))
	f.Add("x", "utf-16", "quoted-printable", []byte("From: =?x?q?=?="), []byte("=3Cscript=3E"))
	f.Fuzz(func(t *testing.T, name, set, encoding string, head, body []byte) {
		h := readHeader(head)
		for _, s := range []string{h.text("Subject"), plainName(name), plainLine(name), messageIDLike(name), messageID(name)} {
			if strings.ContainsAny(s, "\r\n\x00") || len(s) > maxLine {
				t.Errorf("a line = %q, want one that is short", s)
			}
		}
		for _, field := range fields {
			for _, a := range h.addresses(field) {
				if strings.ContainsAny(a.Name+a.Email, "\r\n\x00") {
					t.Errorf("an address = %q, want one line", a)
				}
			}
		}
		if _, err := h.date(dateOf("Sun, 1 Mar 2026 10:30:00 +0100")).MarshalJSON(); err != nil {
			t.Errorf("the date: %v", err)
		}
		if n := plainName(name); strings.ContainsAny(n, "/\\") || strings.HasPrefix(n, ".") {
			t.Errorf("plainName(%q) = %q, want a plain name", name, n)
		}
		l := leafOf(name, set, encoding)
		s, _ := text(body, l)
		safe := safeHTML(s)
		inert(t, safe)
		if again := safeHTML(safe); strings.Contains(again, "<script") {
			t.Errorf("safeHTML(safeHTML(%q)) = %q", s, again)
		}
		textOf(safe)
		l.attachment()
	})
}
