//go:build real

package realtest

import "testing"

var traefik = front{name: "traefik", door: "/auth/forward/traefik", relays: true, start: startTraefik}

func startTraefik(t *testing.T, f *frontage) *process {
	t.Helper()
	dir := deployed(t, "traefik", `address: ":80"`, `address: "127.0.0.1:`+f.port+`"`, "example.com", "front.test", "anteroom:8000", f.Listen, "app:8001", f.app.Listen)
	return launch(t, "traefik", command{dir: dir, argv: []string{tool(t, "traefik"), "--configFile=traefik.yml"}})
}

func TestTraefik(t *testing.T) { frontSuite(t, traefik) }
