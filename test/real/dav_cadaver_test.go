//go:build real

package realtest

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cadaverSession is what somebody types. Every command has to come out the same
// with Anteroom in between.
const cadaverSession = `mkcol ward
put here.txt ward/note.txt
ls ward
copy ward/note.txt "ward/copy of ü & 50%.txt"
move ward/note.txt ward/moved.txt
lock ward/moved.txt
discover ward/moved.txt
put changed.txt ward/moved.txt
unlock ward/moved.txt
propset ward/moved.txt patient 7
propget ward/moved.txt patient
get ward/moved.txt there.txt
ls ward
delete ward/moved.txt
get ward/moved.txt gone.txt
rmcol ward
ls
quit
`

// TestCadaver goes through all that cadaver can do, locks and properties too.
func TestCadaver(t *testing.T) {
	for name, start := range map[string]func(*testing.T) *davServer{"sabre": startSabre, "apache": startApache} {
		t.Run(name, func(t *testing.T) {
			said := map[string]string{}
			bothWays(t, start, func(t *testing.T, _ *davServer, at wayToDAV) { said[at.name] = cadaver(t, at) })
			if len(said) < 2 {
				t.FailNow() // what came of it is said above
			}
			if diff := cmp.Diff(strings.Split(said["direct"], "\n"), strings.Split(said["through"], "\n")); diff != "" {
				t.Errorf("cadaver, directly (-) and through Anteroom (+):\n%s", diff)
			}
		})
	}
}

// cadaver types the session and returns what is printed, without what differs
// by time and place.
func cadaver(t *testing.T, at wayToDAV) string {
	t.Helper()
	dir := t.TempDir()
	u, err := url.Parse(at.origin)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, ".netrc"), "machine "+u.Hostname()+" login "+at.user+" password "+at.secret+"\n")
	writeFile(t, filepath.Join(dir, "here.txt"), "first\n")
	writeFile(t, filepath.Join(dir, "changed.txt"), "changed while locked\n")
	out := must(t, time.Minute, command{dir: dir, argv: []string{"cadaver", at.origin + at.homes.files + "/"}}, cadaverSession)
	if n := strings.Count(out, "succeeded"); n < 13 {
		t.Errorf("cadaver succeeded %d times, want 13 at least:\n%s", n, out)
	}
	for _, trouble := range []string{"Authentication", "Could not connect", "Unrecognised"} {
		if strings.Contains(out, trouble) {
			t.Errorf("cadaver met %q:\n%s", trouble, out)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "there.txt")); err != nil || string(b) != "changed while locked\n" {
		t.Errorf("the file that came back = %q, %v, want what was put over it under the lock:\n%s", b, err, out)
	}
	out = cadaverPrompt.ReplaceAllString(out, "")
	out = strings.NewReplacer(at.origin, "ORIGIN", at.homes.files, "HOME", "`"+u.Hostname()+"'", "SERVER", at.user, "WHO").Replace(out)
	return cadaverVaries.ReplaceAllString(out, "*")
}

// cadaverPrompt is what is typed: the prompt is cut where it is too long.
var cadaverPrompt = regexp.MustCompile(`(?m)^.*> .*\n`)

// cadaverVaries are lock tokens, dates and progress.
var cadaverVaries = regexp.MustCompile(`(?:opaquelocktoken|urn:uuid):[-0-9a-fA-F]+|[A-Z][a-z]{2} +\d+ +\d\d:\d\d|\[\.*\]?|[0-9a-f]{8}-[0-9a-f]{4}-[-0-9a-f]+`)
