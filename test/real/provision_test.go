//go:build real

package realtest

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/loopback"
)

// TestProvisionReceiver runs the application's end of identity.provision as
// docs/provision.md has it, in Python: what it answers is the JWT's sub, and it
// takes nothing from anybody else.
func TestProvisionReceiver(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(root, "docs/provision.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(doc)
	if found == nil {
		t.Fatal("docs/provision.md has no Python any more")
	}
	s, app, port := newSite(t), newApplication(t), loopback.Port(t)
	receiver := "http://127.0.0.1:" + port + "/internal/provision"
	code := strings.NewReplacer("http://anteroom:8000", s.URL, "https://app.example.com", s.URL, "http://app:8001/internal/provision", receiver).Replace(string(found[1]))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "receiver.py"), `import types
class Users:
    def upsert(self, nextcloud_id, name, email, groups):
        return types.SimpleNamespace(id="va-" + nextcloud_id)
users = Users()
`+code)
	py := launch(t, "receiver", command{dir: dir, argv: []string{"/usr/bin/python3", "-m", "uvicorn", "--host", "127.0.0.1", "--port", port, "receiver:app"}})
	until(t, py, "starting the receiver", 20*time.Second, func() error { return listening(port) })
	nc := startNextcloud(t, s, demo.Options{})
	s.start(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL, "ANTEROOM_IDENTITY_PROVISION_URL", receiver)})
	p := newPerson(t)
	got := shown(t, p.signIn(s, s.URL+"/chart", demo.DefaultUser, demo.DefaultPassword))
	token := strings.TrimPrefix(got.Headers.Get("Authorization"), "Bearer ")
	if id := verify(t, s, got, app.URL); id.Subject != "va-testdoc" {
		t.Errorf("sub = %q, want va-testdoc", id.Subject)
	}
	for name, header := range map[string]string{"nobody": "", "an identity JWT": "Bearer " + token, "nonsense": "Bearer x"} {
		r, err := http.NewRequest(http.MethodPost, receiver, strings.NewReader(`{"nextcloud_id":"admin","groups":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s at the receiver = %d, want 401", name, resp.StatusCode)
		}
	}
}
