//go:build real

package realtest

import "testing"

var haproxy = front{name: "haproxy", door: "/auth/verify/haproxy", start: startHAProxy}

func startHAProxy(t *testing.T, f *frontage) *process {
	t.Helper()
	dir := deployed(t, "haproxy", "bind :80", "bind 127.0.0.1:"+f.port, "example.com", "front.test", "lua-load anteroom.lua", "lua-load anteroom.lua\n\tmaxconn 500",
		"http://anteroom:8000", "http://"+f.Listen, "anteroom:8000", f.Listen, "app:8001", f.app.Listen)
	return launch(t, "haproxy", command{dir: dir, argv: []string{"/usr/sbin/haproxy", "-db", "-f", "haproxy.cfg"}})
}

func TestHAProxy(t *testing.T) { frontSuite(t, haproxy) }
