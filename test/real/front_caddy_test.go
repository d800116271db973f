//go:build real

package realtest

import "testing"

// caddy is Caddy from a binary.
func caddy(binary string) front {
	return front{name: "caddy", door: "/auth/forward/caddy", relays: true, start: func(t *testing.T, f *frontage) *process {
		dir := deployed(t, "caddy", ".example.com {", ".front.test:"+f.port+" {\n\tbind 127.0.0.1", "anteroom:8000", f.Listen, "app:8001", f.app.Listen)
		return launch(t, "caddy", command{dir: dir, env: []string{"XDG_CONFIG_HOME=" + dir, "XDG_DATA_HOME=" + dir}, argv: []string{binary, "run", "--config", "Caddyfile", "--adapter", "caddyfile"}})
	}}
}

// TestCaddy: the current one, and the one that Debian 12 has.
func TestCaddy(t *testing.T) {
	t.Run("current", func(t *testing.T) { frontSuite(t, caddy(tool(t, "caddy"))) })
	t.Run("debian", func(t *testing.T) { frontSuite(t, caddy("/usr/bin/caddy")) })
}

// tool is a program that "make setup" builds.
func tool(t *testing.T, name string) string { return absolute(t, root+"/.cache/bin/"+name) }
