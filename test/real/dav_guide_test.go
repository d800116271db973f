//go:build real

package realtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/demo"
)

// TestGuidePython runs the guide's own file and calendar clients: what they see
// through Anteroom is what they see without it, but for where things are.
func TestGuidePython(t *testing.T) {
	seen := map[string]map[string]any{}
	bothWays(t, startSabre, func(t *testing.T, d *davServer, at wayToDAV) {
		seen[at.name] = map[string]any{"files": guideFiles(t, at, d.homes.files), "calendar": guideCalendar(t, d, at)}
	})
	if diff := cmp.Diff(seen["direct"], seen["through"]); diff != "" && len(seen) == 2 {
		t.Errorf("what the guide's clients saw, directly (-) and through Anteroom (+):\n%s", diff)
	}
	t.Run("demo", func(t *testing.T) {
		d := startDemoDAV(t)
		s := d.through(t)
		guideFiles(t, s.way, d.homes.files)
		if d.homes.calendars != "" {
			guideCalendar(t, d, s.way)
		}
	})
}

// guideFiles runs the guide's file client in a folder below the root.
func guideFiles(t *testing.T, at wayToDAV, folder string) map[string]any {
	t.Helper()
	seen := said(t, must(t, time.Minute, command{dir: t.TempDir(), argv: []string{"/usr/bin/python3", absolute(t, root+"/test/dav/guide_files.py"), folder},
		env: []string{"NEXTCLOUD_WEBDAV_URL=" + at.origin + at.roots.files, "NEXTCLOUD_WEBDAV_USERNAME=" + at.user, "NEXTCLOUD_WEBDAV_PASSWORD=" + at.secret}}, ""))
	if seen["same"] != true {
		t.Errorf("what was downloaded is not what was uploaded: %v", seen)
	}
	return seen
}

// guideCalendar runs the guide's calendar client.
func guideCalendar(t *testing.T, d *davServer, at wayToDAV) map[string]any {
	t.Helper()
	return guideCalendarAt(t, d, at, at.roots.calendars)
}

// guideCalendarAt runs it with another address to begin at.
func guideCalendarAt(t *testing.T, d *davServer, at wayToDAV, path string) map[string]any {
	t.Helper()
	out := must(t, time.Minute, command{dir: t.TempDir(), argv: []string{"/usr/bin/python3", absolute(t, root+"/test/dav/guide_calendar.py"), d.calendar},
		env: []string{"NEXTCLOUD_CALDAV_URL=" + at.origin + path, "NEXTCLOUD_CALDAV_USERNAME=" + at.user, "NEXTCLOUD_CALDAV_PASSWORD=" + at.secret}}, "")
	seen := said(t, out)
	// Where things are differs by the mounts alone.
	mounts := strings.NewReplacer(at.roots.calendars+"/~/principals/", "PRINCIPALS/", at.roots.calendars+"/", "CALENDARS/", at.roots.files+"/calendars/", "CALENDARS/", at.roots.files+"/principals/", "PRINCIPALS/")
	for _, key := range []string{"principal", "home", "calendars"} {
		where, _ := json.Marshal(seen[key])
		seen[key] = mounts.Replace(string(where))
	}
	return seen
}

// said reads the last line of a program's output, which is JSON.
func said(t *testing.T, out string) map[string]any {
	t.Helper()
	var seen map[string]any
	if err := json.Unmarshal([]byte(lastOf(out, 1)), &seen); err != nil {
		t.Fatalf("%v in:\n%s", err, lastOf(out, 40))
	}
	return seen
}

// startDemoDAV is the pretend Nextcloud as a DAV server.
func startDemoDAV(t *testing.T) *davServer {
	t.Helper()
	nc := startNextcloud(t, newSite(t), demo.Options{})
	return &davServer{name: "demo", origin: nc.URL, user: demo.DefaultUser, secret: demo.DefaultPassword, calendar: "Personal",
		roots: services{files: "/remote.php/dav"}, homes: services{files: "/files/" + demo.DefaultUser}}
}
