//go:build real

package realtest

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// TestFrontInBrowser: Chromium signs in at one host for another behind Traefik,
// arrives where it wanted to go, and is shown our page, in our style, where it
// may not go.
func TestFrontInBrowser(t *testing.T) {
	f := newFrontage(t, traefik, "auth")
	wanted := f.at("wiki", "/notes?a=1&b=%2F..%2F")
	options, _ := json.Marshal(map[string]string{"wanted": wanted, "refused": f.at("wiki", "/admin/x"), "user": "nurse", "password": "nurse123",
		"shot": absolute(t, root+"/test/out/front-forbidden.png")})
	cmd := exec.CommandContext(t.Context(), "node", "front.mjs", string(options))
	cmd.Dir = root + "/test/npm"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var saw struct {
		At         []string
		Status     int
		Corners    string
		Complaints []string
	}
	if err == nil {
		err = json.Unmarshal(out, &saw)
	}
	if err != nil {
		t.Fatalf("driving Chromium: %v\n%s%s", err, out, stderr.String())
	}
	if last := saw.At[len(saw.At)-1]; last != wanted {
		t.Errorf("the browser went %v, want it to end at %s", saw.At, wanted)
	}
	if saw.Status != 403 || saw.Corners == "0px" {
		t.Errorf("/admin/x = %d, with corners of %s, want 403 and our page's round ones", saw.Status, saw.Corners)
	}
	for _, c := range saw.Complaints {
		if strings.Contains(c, "Cross-Origin-Opener-Policy header has been ignored") {
			continue // the hosts here are plain http, where browsers go without it
		}
		t.Errorf("the browser complains: %s", c)
	}
}
