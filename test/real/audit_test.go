//go:build real

package realtest

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAuditSurvivesKill: whatever was answered when the program is killed has
// its line: with audit.required all of it, else all but what came within the
// last window. What is left proves whole, and the next start goes on from it.
func TestAuditSurvivesKill(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("X-Request-Id"))
		io.WriteString(w, "hello")
	}))
	defer app.Close()
	for name, required := range map[string]bool{"required": true, "default": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "audit.log")
			const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
			yaml := "upstream: " + app.URL + "\nnextcloud: {url: http://127.0.0.1:1}\nsignin: {client_id: c}\nroutes: [{path: /, allow: public}]\n" +
				"audit: {output: " + file + ", key: " + key + ", required: " + map[bool]string{true: "true", false: "false"}[required] + "}\ntelemetry: {log_level: error}\n"
			if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(yaml), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSite(t)
			run := func(args ...string) *exec.Cmd {
				c := exec.Command(absolute(t, binaries+"/anteroom-plain"), args...)
				c.Dir = dir
				c.Env = []string{"ANTEROOM_SERVER_LISTEN=" + s.Listen, "ANTEROOM_SERVER_ADMIN_LISTEN=" + strings.TrimPrefix(s.Admin, "http://"), "NEXTCLOUD_REDIRECT_URI=" + s.Redirect}
				return c
			}
			answered := map[string]time.Time{}
			var killed time.Time
			for range 2 { // the second goes on after the first
				c := run()
				c.Stderr = os.Stderr
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				ids, at := loadUntilKilled(t, s, c)
				killed = at
				for id, when := range ids {
					answered[id] = when
				}
				if !required { // only the last kill is judged by its window
					for id, when := range ids {
						if at.Sub(when) < 500*time.Millisecond {
							delete(answered, id)
						}
					}
				}
			}
			lines := requestIDs(t, file)
			missing := 0
			for id := range answered {
				if !lines[id] {
					missing++
				}
			}
			t.Logf("%d answered, %d lines, %d missing, killed at %s", len(answered), len(lines), missing, killed.Format(time.TimeOnly))
			if missing > 0 || len(answered) < 100 {
				t.Errorf("%d of %d answered requests have no line", missing, len(answered))
			}
			c := run() // and an orderly end, after which all is signed
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, nil, "waiting for /healthz", 20*time.Second, func() error {
				resp, err := http.Get(s.Admin + "/healthz")
				if err == nil {
					resp.Body.Close()
				}
				return err
			})
			c.Process.Signal(syscall.SIGTERM)
			c.Wait()
			if out, err := run("audit", "verify").CombinedOutput(); err != nil || !strings.Contains(string(out), "2 times the program was killed") {
				t.Errorf("audit verify = %v\n%s", err, out)
			}
		})
	}
}

// loadUntilKilled asks for two seconds, kills the program, and says which
// requests were answered when.
func loadUntilKilled(t *testing.T, s *site, c *exec.Cmd) (ids map[string]time.Time, at time.Time) {
	t.Helper()
	until(t, nil, "waiting for /healthz", 20*time.Second, func() error {
		resp, err := http.Get(s.Admin + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	ids = map[string]time.Time{}
	var mu sync.Mutex
	var work sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	for range 16 {
		work.Go(func() {
			for {
				resp, err := client.Get(s.URL + "/x")
				if err != nil {
					return
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil {
					return
				}
				mu.Lock()
				ids[resp.Header.Get("X-Seen")] = time.Now()
				mu.Unlock()
			}
		})
	}
	timer := time.NewTimer(2 * time.Second)
	<-timer.C
	c.Process.Kill()
	at = time.Now()
	c.Wait()
	work.Wait()
	return ids, at
}

// requestIDs are the requests that a file has lines of.
func requestIDs(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids := map[string]bool{}
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var line struct {
			ID string `json:"request_id"`
		}
		if json.Unmarshal(scan.Bytes(), &line) == nil && line.ID != "" {
			ids[line.ID] = true
		}
	}
	return ids
}
