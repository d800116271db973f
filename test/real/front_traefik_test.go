//go:build real

package realtest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var traefik = front{name: "traefik", door: "/auth/forward/traefik", relays: true, start: startTraefik}

func startTraefik(t *testing.T, f *frontage) *process {
	t.Helper()
	dir := deployed(t, "traefik", `address: ":80"`, `address: "127.0.0.1:`+f.port+`"`, "example.com", "front.test", "anteroom:8000", f.Listen, "app:8001", f.app.Listen)
	return launch(t, "traefik", command{dir: dir, argv: []string{tool(t, "traefik"), "--configFile=traefik.yml"}})
}

// TestTraefikReadsLongUploads: readTimeout is for a request's body, too, and a minute
// where nothing is said.
func TestTraefikReadsLongUploads(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy/traefik/traefik.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		EntryPoints map[string]struct {
			Transport struct {
				RespondingTimeouts struct {
					ReadTimeout time.Duration `yaml:"readTimeout"`
				} `yaml:"respondingTimeouts"`
			}
		} `yaml:"entryPoints"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.EntryPoints) == 0 {
		t.Fatalf("traefik.yml: %v, %d entry points", err, len(file.EntryPoints))
	}
	for name, e := range file.EntryPoints {
		if d := e.Transport.RespondingTimeouts.ReadTimeout; d < time.Hour {
			t.Errorf("%s cuts off an upload after %v, want an hour at least", name, d)
		}
	}
}

func TestTraefik(t *testing.T) { frontSuite(t, traefik) }
