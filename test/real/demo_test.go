//go:build real

package realtest

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
)

// looked is what demo.mjs saw.
type looked struct {
	Pages []struct {
		Name, URL  string
		Status     int
		Text       string
		Violations []struct {
			Scheme, ID, Impact string
			Where              []string
		}
	}
	Complaints []string
}

// TestDemoInBrowser is the first thing a newcomer does: start the demo, open
// http://localhost:8000, sign in, see who the application thinks they are.
// Screenshots of every page are left in test/out/.
func TestDemoInBrowser(t *testing.T) {
	for _, provider := range []string{"oidc", "nextcloud"} {
		t.Run(provider, func(t *testing.T) {
			p := launch(t, "anteroom demo", command{dir: t.TempDir(), argv: []string{absolute(t, binaries+"/anteroom"), "demo", "--provider", provider}})
			t.Cleanup(func() {
				if p.interrupt(t); p.err != nil {
					t.Errorf("anteroom demo after SIGINT: %v, want exit code 0", p.err)
				}
			})
			const url = "http://localhost:8000/"
			until(t, p, "starting the demo", 20*time.Second, func() error {
				resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(url)
				if err == nil {
					resp.Body.Close()
				}
				return err
			})
			if err := p.printed(strings.TrimSuffix(url, "/"))(); err != nil {
				t.Errorf("the demo says nothing of where to go: %v", err)
			}
			checkPages(t, look(t, url, provider))
		})
	}
}

// look sends Chromium through the demo.
func look(t *testing.T, url, prefix string) looked {
	t.Helper()
	options, _ := json.Marshal(map[string]string{
		"url": url, "user": demo.DefaultUser, "password": demo.DefaultPassword,
		"out": absolute(t, root+"/test/out"), "prefix": prefix,
	})
	cmd := exec.CommandContext(t.Context(), "node", "demo.mjs", string(options))
	cmd.Dir = root + "/test/npm"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var saw looked
	if err == nil {
		err = json.Unmarshal(out, &saw)
	}
	if err != nil {
		t.Fatalf("driving Chromium: %v\n%s%s", err, out, stderr.String())
	}
	return saw
}

// checkPages holds each page to what it is for, and all to accessibility.
func checkPages(t *testing.T, saw looked) {
	t.Helper()
	for _, c := range saw.Complaints {
		t.Errorf("the browser complains: %s", c)
	}
	must := map[string][]string{
		"application": {"testdoc", "testdoc@example.com", "users", "Verified. Signature, issuer and times hold."},
		"account":     {"Test Doctor", "testdoc@example.com"},
		"connecting":  nil,
		"connected":   {"testdoc", "Disconnect"},
		"signout-ask": nil, "signed-out": nil, "signin-failed": nil, "bad-path": nil,
	}
	for _, g := range saw.Pages {
		for _, want := range must[g.Name] {
			if !strings.Contains(g.Text, want) {
				t.Errorf("page %s (%s) does not show %q:\n%s", g.Name, g.URL, want, g.Text)
			}
		}
		delete(must, g.Name)
		for _, v := range g.Violations {
			if v.Impact == "serious" || v.Impact == "critical" {
				t.Errorf("page %s (%s): %s accessibility fault %s at %q", g.Name, v.Scheme, v.Impact, v.ID, v.Where)
			}
		}
	}
	for name := range must {
		t.Errorf("page %s was not reached", name)
	}
}
