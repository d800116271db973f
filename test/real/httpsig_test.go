//go:build real

package realtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"anteroom/demo"
)

// signedRequest is a request as the application had it.
type signedRequest struct {
	JWKS      string      `json:"jwks"`
	Method    string      `json:"method"`
	Authority string      `json:"authority"`
	Target    string      `json:"target"`
	Headers   [][2]string `json:"headers"`
	Body      string      `json:"body"`
}

// TestSignedRequests: a verifier of another make accepts what went through
// Anteroom, and nothing that was changed on the way.
func TestSignedRequests(t *testing.T) {
	got := make(chan signedRequest, 10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		x := signedRequest{Method: r.Method, Authority: r.Host, Target: r.RequestURI, Body: string(body)}
		for name, values := range r.Header {
			for _, v := range values {
				x.Headers = append(x.Headers, [2]string{name, v})
			}
		}
		got <- x
	}))
	defer app.Close()
	s := newSite(t)
	nc := startNextcloud(t, s, demo.Options{})
	s.start(t, settings{env: nc.env(), yaml: "routes:\n  - path: /strict\n    upstream: " + app.URL + "\n    sign: body\n  - path: /\n    upstream: " + app.URL + "\n    sign: request\n"})
	p := newPerson(t)
	if _, err := p.trySignIn(s, s.URL+"/", demo.DefaultUser, demo.DefaultPassword); err != nil {
		t.Fatal(err)
	}
	<-got
	send := func(method, path string, body io.Reader, header ...string) int {
		t.Helper()
		r, err := http.NewRequest(method, s.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		r.Header.Set("Sec-Fetch-Mode", "cors")
		resp, err := p.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	forged := []string{"Signature", "anteroom=:AAAA:", "Signature-Input", "anteroom=();created=1", "Content-Digest", "sha-256=:AAAA:", "Content-Type", "application/json"}
	send("POST", "/notes/M%C3%BCller?a=1&b=%20", strings.NewReader(`{"text": "canary"}`), forged...)
	whole := <-got
	whole.JWKS = s.URL + "/.well-known/jwks.json"
	in, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("python3", root+"/test/httpsig/mutations.py")
	c.Stdin = bytes.NewReader(in)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("mutations.py: %v\n%s\n%s", err, out, in)
	}
	t.Logf("%s", bytes.TrimSpace(out))

	covered := func(x signedRequest) string {
		for _, h := range x.Headers {
			if h[0] == "Signature-Input" {
				return h[1]
			}
		}
		return ""
	}
	long := func() io.Reader { return io.MultiReader(strings.NewReader("of unknown length")) }
	send("POST", "/long", long())
	if in := covered(<-got); in == "" || strings.Contains(in, "content-digest") {
		t.Errorf("a body of unknown length is signed as %q, want it without a digest", in)
	}
	if status := send("POST", "/strict/long", long()); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of unknown length where it has to be signed = %d, want 413", status)
	}
	if status := send("POST", "/strict", bytes.NewReader(make([]byte, 1<<20+1))); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body where it has to be signed = %d, want 413", status)
	}
	if status := send("POST", "/strict", bytes.NewReader(make([]byte, 1<<20))); status != http.StatusOK || !strings.Contains(covered(<-got), "content-digest") {
		t.Errorf("a body of 1 MiB = %d, want it signed", status)
	}
	send("GET", "/", nil, forged...)
	empty := <-got
	if in := covered(empty); !strings.Contains(in, "content-digest") {
		t.Errorf("a request without a body is signed as %q, want the digest of nothing in it", in)
	}
	for _, h := range empty.Headers {
		if h[0] == "Content-Digest" && h[1] != "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:" {
			t.Errorf("Content-Digest of a request without a body = %q, want that of nothing", h[1])
		}
	}
	if doc, err := os.ReadFile(root + "/docs/signed-requests.md"); err != nil || !strings.Contains(string(doc), "test/httpsig/verify.py") {
		t.Errorf("docs/signed-requests.md does not name the verifier, %v", err)
	}
}
