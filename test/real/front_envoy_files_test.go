//go:build real

package realtest

import (
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

// TestEnvoyFiles: what is to be asked about is, nothing lets pass without an
// answer, and the two files differ in how Envoy asks alone.
func TestEnvoyFiles(t *testing.T) {
	var all []*envoy
	for _, kind := range []string{"http", "grpc"} {
		e := &envoy{t: t, clusters: map[string]string{}}
		e.load(filepath.Join(root, "deploy", "envoy", "envoy-"+kind+".yaml"))
		all = append(all, e)
		if e.authz.GetFailureModeAllow() || e.authz.GetClearRouteCache() || e.authz.GetFilterEnabled() != nil || e.authz.GetShadowMode() {
			t.Errorf("%s: ext_authz lets pass what nobody allowed: %v", kind, e.authz)
		}
		if f := e.manager.HttpFilters; len(f) != 2 || f[1].Name != "envoy.filters.http.router" {
			t.Errorf("%s: %d filters, want ext_authz and then the router", kind, len(f))
		}
		if d := e.manager.GetStreamIdleTimeout().AsDuration(); d < time.Hour {
			t.Errorf("%s: a WebSocket that rests is ended after %v", kind, d)
		}
		asked := 0
		for _, v := range e.manager.GetRouteConfig().VirtualHosts {
			for _, to := range v.Routes {
				cluster := to.GetRoute().GetCluster()
				if e.clusters[cluster] == "" && to.GetDirectResponse() == nil {
					t.Errorf("%s: %s leads to %q, which is no cluster", kind, v.Name, cluster)
				}
				if cluster != "" && (to.GetRoute().Timeout == nil || to.GetRoute().Timeout.AsDuration() != 0) {
					t.Errorf("%s: answers by %v of %s are cut off", kind, to.Match, v.Name)
				}
				if e.disabled(to) == (cluster == "application") {
					t.Errorf("%s: %v of %s, to %q: asked about is %v", kind, to.Match, v.Name, cluster, !e.disabled(to))
				}
				if !e.disabled(to) {
					asked++
				}
			}
		}
		if asked != 2 {
			t.Errorf("%s: %d routes are asked about, want those of app and wiki", kind, asked)
		}
		e.manager.HttpFilters = nil
	}
	if !proto.Equal(all[0].manager, all[1].manager) {
		t.Error("the two files have different routes or settings")
	}
}
