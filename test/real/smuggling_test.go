//go:build real

package realtest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// hidden is a request inside another's body. A server and an application that
// disagree about where the first one ends would serve it.
const hidden = "GET /admin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

// TestSmuggling sends requests whose end two readers could see in different
// places (RFC 9112 §6.3, §11.2). Whatever the answer, what is hidden must never
// be served, and what is malformed must be refused.
func TestSmuggling(t *testing.T) {
	g := attacked(t)
	host := "Host: " + strings.TrimPrefix(g.URL, "http://") + "\r\n"
	post := func(lines, body string) string { return "POST /public/s HTTP/1.1\r\n" + host + lines + "\r\n" + body }
	const chunked = "Transfer-Encoding: chunked\r\n"
	refused := []int{400, 501, 0}
	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"CL and TE":                 {post("Content-Length: 4\r\n"+chunked, "0\r\n\r\n"+hidden), []int{200, 400}},
		"TE and CL":                 {post(chunked+"Content-Length: 5\r\n", "2b\r\n"+hidden+"\r\n0\r\n\r\n"), []int{200, 400}},
		"two lengths":               {post("Content-Length: 0\r\nContent-Length: 43\r\n", hidden), refused},
		"two lengths, one line":     {post("Content-Length: 0, 43\r\n", hidden), refused},
		"signed length":             {post("Content-Length: +5\r\n", "hello"), refused},
		"negative length":           {post("Content-Length: -5\r\n", "hello"), refused},
		"hexadecimal length":        {post("Content-Length: 0x5\r\n", "hello"), refused},
		"length with a space":       {post("Content-Length: 1 1\r\n", "hello world"), refused},
		"huge length":               {post("Content-Length: 99999999999999999999\r\n", hidden), refused},
		"TE identity too":           {post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+hidden), refused},
		"TE twice":                  {post(chunked+"Transfer-Encoding: identity\r\n", "0\r\n\r\n"+hidden), refused},
		"TE chunked twice":          {post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"+hidden), refused},
		"TE misspelt":               {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+hidden), refused},
		"TE quoted":                 {post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"+hidden), refused},
		"TE with vertical tab":      {post("Transfer-Encoding: \vchunked\r\nContent-Length: 4\r\n", "0\r\n\r\n"+hidden), refused},
		"TE by another name":        {post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), []int{200, 400}},
		"space before the colon":    {post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+hidden), refused},
		"folded first line":         {"GET /public/s HTTP/1.1\r\n " + host + "\r\n", refused},
		"NUL in a value":            {post("X-A: a\x00b\r\nContent-Length: 0\r\n", ""), refused},
		"bare CR in a value":        {post("X-A: a\rX-Forwarded-User: admin\r\nContent-Length: 0\r\n", ""), refused},
		"chunk size with a sign":    {post(chunked, "+5\r\nhello\r\n0\r\n\r\n"), refused},
		"chunk size with 0x":        {post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"), refused},
		"chunk size overflowing":    {post(chunked, "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), refused},
		"chunk longer than said":    {post(chunked, "3\r\nhello\r\n0\r\n\r\n"+hidden), refused},
		"bare LF after a chunk":     {post(chunked, "5\r\nhello\n0\r\n\r\n"+hidden), refused},
		"bare LF in an extension":   {post(chunked, "5;x\ny\r\nhello\r\n0\r\n\r\n"+hidden), refused},
		"no version":                {"GET /public/s\r\n\r\n", refused},
		"version 1.2 and two hosts": {"GET /public/s HTTP/1.1\r\n" + host + "Host: evil.example\r\n\r\n", refused},
		"space in the target":       {"GET /public/s /admin HTTP/1.1\r\n" + host + "\r\n", refused},
		"HTTP/0.9 after a body":     {post("Content-Length: 0\r\n", "GET /admin/smuggled\r\n\r\n"), []int{200}},
	} {
		before := len(g.app.reached())
		all := g.raws(t, c.request)
		if !slices.Contains(c.want, all[0].status) && !(all[0].status == http.StatusBadGateway && slices.Contains(c.want, 400)) {
			t.Errorf("%s: %d %.120q, want one of %v", name, all[0].status, all[0].body, c.want)
		}
		for _, r := range g.app.reached()[before:] {
			if strings.Contains(r.URI, "smuggled") {
				t.Errorf("%s: the hidden request was served", name)
			}
			if r.Headers.Get("X-Forwarded-User") != "" {
				t.Errorf("%s: the application takes nobody for %q", name, r.Headers.Get("X-Forwarded-User"))
			}
		}
		for _, a := range all[1:] {
			if a.status == http.StatusOK {
				t.Errorf("%s: what is hidden was answered 200 %.120q", name, a.body)
			}
		}
	}
}
