package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// pages are all Markdown files of the project, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "node_modules" || d.Name() == "testdata" || p == "test/out"):
			return fs.SkipDir
		case strings.HasSuffix(p, ".md"):
			all[p] = read(t, p)
		}
		return nil
	})
	if err != nil || len(all) < 20 {
		t.Fatalf("pages = %d, %v, want 20 or more", len(all), err)
	}
	return all
}

// block is a piece of a page between fences.
type block struct {
	page, lang, text, before string // before: the line above it
	line                     int
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var fence = regexp.MustCompile("^( *)```+ *([a-z]*)")

func blocks(page, text string) (all []block) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		b := block{page: page, lang: m[2], line: i + 1}
		if i > 0 {
			b.before = strings.TrimSpace(lines[i-1])
		}
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			b.text += strings.TrimPrefix(lines[i], m[1]) + "\n"
		}
		all = append(all, b)
	}
	return all
}

// prose is a page without its blocks, line for line.
func prose(text string) string {
	inside := false
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if fence.MatchString(l) {
			inside = !inside
			lines[i] = ""
		} else if inside {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// anchors are the names that GitHub gives the headings of a page.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`).FindAllStringSubmatch(prose(text), -1) {
		title := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1")
		var b strings.Builder
		for _, r := range strings.ToLower(title) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				b.WriteRune(r)
			}
		}
		name := b.String()
		for n := 1; all[name]; n++ {
			name = fmt.Sprintf("%s-%d", b.String(), n)
		}
		all[name] = true
	}
	return all
}

// TestLinks: every relative link leads to something, anchor and all.
func TestLinks(t *testing.T) {
	all := pages(t)
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := page
			if target != "" {
				to = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(to, ".md") && !anchors(all[to])[anchor] {
				t.Errorf("%s: %s has no such heading", page, m[1])
			}
		}
	}
}

// TestEveryPageIsListed: the index of docs names each page.
func TestEveryPageIsListed(t *testing.T) {
	index := read(t, "docs/README.md")
	for page := range pages(t) {
		if name, ok := strings.CutPrefix(page, "docs/"); ok && name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}

// TestCommandsParse: what people are to paste into a shell, a shell can read.
func TestCommandsParse(t *testing.T) {
	n := 0
	for page, text := range pages(t) {
		for _, b := range blocks(page, text) {
			if b.lang != "sh" && b.lang != "bash" {
				continue
			}
			n++
			c := exec.Command("bash", "-n")
			c.Stdin = strings.NewReader(b.text)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %s", b, out)
			}
		}
	}
	if n < 10 {
		t.Errorf("blocks = %d, want 10 or more", n)
	}
}

// TestCommandsRun runs the blocks below a line <!-- tested: run -->, in order,
// each page in a folder of its own, with the program in PATH.
func TestCommandsRun(t *testing.T) {
	n := 0
	for page, text := range pages(t) {
		dir := t.TempDir()
		for _, b := range blocks(page, text) {
			if b.before != "<!-- tested: run -->" {
				continue
			}
			n++
			c := exec.Command("bash", "-eu", "-o", "pipefail", "-c", b.text)
			c.Dir, c.Env = dir, []string{"PATH=" + filepath.Dir(anteroom(t)) + ":" + os.Getenv("PATH"), "HOME=" + dir}
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v:\n%s", b, err, out)
			}
		}
	}
	if n == 0 {
		t.Error("no block is marked to be run")
	}
}

// flagsOf says which flags a command has, as its --help lists them. Help of
// something that has none of its own is that of the command.
type flagsOf struct {
	t     *testing.T
	known map[string]string
}

func (f *flagsOf) help(args ...string) string {
	key := strings.Join(args, " ")
	if text, ok := f.known[key]; ok {
		return text
	}
	text, _ := output(f.t, f.t.TempDir(), nil, append(args, "--help")...)
	f.known[key] = text
	return text
}

// callsIn are the words after anteroom, of each call in a text: where a shell
// would look for a command, or by its path, up to where a shell would end it.
func callsIn(text string) (all [][]string) {
	begin := regexp.MustCompile(`^(&&|\|\||[|;(]|sudo|exec|.*=.*|.*[|;(])$`)
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		words := strings.Fields(line)
		for i, w := range words {
			bare := strings.TrimLeft(w, "$(`")
			byName := bare == "anteroom" && (i == 0 || begin.MatchString(words[i-1]) || bare != w)
			if !byName && bare != "./anteroom" && bare != "/anteroom" {
				continue
			}
			var rest []string
			for _, w := range words[i+1:] {
				if strings.ContainsAny(w, "|&;<>#`\"'") {
					break
				}
				rest = append(rest, strings.TrimRight(w, ")"))
			}
			if len(rest) > 0 {
				all = append(all, rest)
			}
		}
	}
	return all
}

// TestProgramsCommandsExist: every call in a block or between backticks names a
// command and flags that there are.
func TestProgramsCommandsExist(t *testing.T) {
	usage, _ := output(t, t.TempDir(), nil, "help")
	f := &flagsOf{t, map[string]string{}}
	n := 0
	for page, text := range pages(t) {
		var places []string
		for _, b := range blocks(page, text) {
			if b.lang == "sh" || b.lang == "bash" || b.lang == "yaml" {
				places = append(places, b.text)
			}
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(strings.ReplaceAll(prose(text), "\n", " "), -1) {
			if strings.HasPrefix(m[1], "anteroom ") {
				places = append(places, m[1])
			}
		}
		for _, place := range places {
			for _, words := range callsIn(place) {
				if n++; !f.exists(usage, words) {
					t.Errorf("%s: anteroom %s is no command, or has not these flags", page, strings.Join(words, " "))
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("calls = %d, want 20 or more", n)
	}
}

// exists reports whether a command line begins with a command and uses its flags.
func (f *flagsOf) exists(usage string, words []string) bool {
	name := words[0]
	if strings.HasPrefix(name, "-") {
		return name == "--config" || name == "--help" || name == "--version" || strings.HasPrefix(name, "--config=")
	}
	if !regexp.MustCompile(`^[a-z]+$`).MatchString(name) {
		return true // a path or a host, not a call
	}
	if !regexp.MustCompile(`(?m)^  ` + name + `\b`).MatchString(usage) {
		return false
	}
	for _, w := range words[1:] {
		flag, long := strings.CutPrefix(w, "--")
		if !long {
			continue
		}
		flag, _, _ = strings.Cut(flag, "=")
		listed := regexp.MustCompile(`(?m)(^|[\s\[])--?` + regexp.QuoteMeta(flag) + `\b`)
		sub := ""
		if len(words) > 1 && regexp.MustCompile(`^[a-z]+$`).MatchString(words[1]) {
			sub = f.help(name, words[1])
		}
		if !listed.MatchString(f.help(name)) && !listed.MatchString(sub) && flag != "help" && flag != "config" {
			return false
		}
	}
	return true
}

// TestMakeTargetsExist: every make target that is named is one.
func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z][a-z -]*)").FindAllStringSubmatch(text, -1) {
			for _, target := range strings.Fields(m[1]) {
				if !regexp.MustCompile(`(?m)^` + target + `:`).MatchString(makefile) {
					t.Errorf("%s: make %s: there is no target %s", page, m[1], target)
				}
			}
		}
	}
}

// TestSnippets: YAML that is Anteroom's configuration has no key or value that
// the program does not know. A snippet may leave out what a whole one has, and
// name files and secrets that are not here.
func TestSnippets(t *testing.T) {
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^## ([a-z]+)$").FindAllStringSubmatch(read(t, "docs/configuration.md"), -1) {
		sections[m[1]] = true
	}
	n := 0
	for page, text := range pages(t) {
		for _, b := range blocks(page, text) {
			if b.lang != "yaml" || strings.Contains(b.text, "{{") { // a template of Helm's
				continue
			}
			if !readable(b.text) {
				t.Errorf("%s: is no YAML", b)
			}
			var doc map[string]any
			if yaml.Unmarshal([]byte(b.text), &doc) != nil || !ours(doc, sections) || strings.HasPrefix(page, "charts/") || page == "docs/kubernetes.md" {
				continue
			}
			n++
			if bad := faultsOf(t, b.text, doc); bad != "" {
				t.Errorf("%s:\n%s", b, bad)
			}
		}
	}
	if n < 5 {
		t.Errorf("snippets = %d, want 5 or more", n)
	}
}

func readable(text string) bool {
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return true
		} else if err != nil {
			return false
		}
	}
}

// ours reports whether a document is Anteroom's configuration: a section of it is
// there, and nothing says that it is Kubernetes' or Compose's.
func ours(doc map[string]any, sections map[string]bool) bool {
	any := false
	for k := range doc {
		any = any || sections[k]
	}
	return any && doc["apiVersion"] == nil && doc["services"] == nil
}

// lacking are the faults that a snippet may have: files of another machine.
var lacking = regexp.MustCompile(`: cannot be read|, which is no directory`)

var secretFile = regexp.MustCompile(`((?:key|keys|secret|password|token)_file: *)([^\s,}]+)`)

// withSecrets gives a snippet secrets of its own: a key, or a set of signing keys.
func withSecrets(t *testing.T, dir, text string) string {
	t.Helper()
	for name, args := range map[string][]string{"key": {"keys", "new"}, "jwt": {"keys", "new", "--jwt", "ES256"}} {
		key, err := output(t, dir, nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return secretFile.ReplaceAllStringFunc(text, func(said string) string {
		m := secretFile.FindStringSubmatch(said)
		name := "key"
		if strings.HasPrefix(m[1], "keys") && strings.Contains(m[2], "jwt") {
			name = "jwt"
		}
		return m[1] + filepath.Join(dir, name)
	})
}

// faultsOf is what the program says against a snippet, beside what it lacks. What
// it does not say comes from the environment.
func faultsOf(t *testing.T, text string, doc map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text = strings.ReplaceAll(withSecrets(t, dir, text), "sha256:…", "sha256:"+strings.Repeat("0", 64))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"NEXTCLOUD_BASE_URL=https://cloud.example.com", "NEXTCLOUD_CLIENT_ID=x"}
	if doc["upstream"] == nil {
		environ = append(environ, "ANTEROOM_UPSTREAM=http://localhost:8001")
	}
	if server, _ := doc["server"].(map[string]any); server["public_url"] == nil {
		environ = append(environ, "NEXTCLOUD_REDIRECT_URI=https://app.example.com/auth/callback")
	}
	out, err := output(t, dir, environ, "check", "--config", file)
	if err == nil {
		return ""
	}
	var bad []string
	for line := range strings.Lines(out) {
		if !lacking.MatchString(line) {
			bad = append(bad, line)
		}
	}
	return strings.Join(bad, "")
}

// TestEnvironmentsAreWhole: where a block sets Nextcloud and an upstream by
// variables, the program can be used with them.
func TestEnvironmentsAreWhole(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("something"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?m)(?:^ *|-e |export |\s)((?:ANTEROOM|NEXTCLOUD)_[A-Z0-9_]+)=(\S+)`)
	published := regexp.MustCompile(` -p (\S+)`)
	n := 0
	for page, text := range pages(t) {
		for _, b := range blocks(page, text) {
			for _, m := range published.FindAllStringSubmatch(b.text, -1) {
				if b.lang == "sh" && strings.Contains(b.text, "docker run") && !strings.HasPrefix(m[1], "127.0.0.1:") {
					t.Errorf("%s: port %s is published to everybody, without TLS", b, m[1])
				}
			}
			var environ []string
			for _, m := range set.FindAllStringSubmatch(b.text, -1) {
				if strings.HasSuffix(m[1], "_FILE") {
					m[2] = secret
				}
				environ = append(environ, m[1]+"="+strings.ReplaceAll(m[2], "…", "something"))
			}
			whole := strings.Join(environ, " ")
			if b.lang != "sh" || !strings.Contains(whole, "NEXTCLOUD_BASE_URL=") || !strings.Contains(whole, "ANTEROOM_UPSTREAM=") {
				continue
			}
			n++
			if out, err := output(t, t.TempDir(), environ, "check"); err != nil {
				t.Errorf("%s: anteroom check: %v:\n%s", b, err, out)
			}
		}
	}
	if n < 3 {
		t.Errorf("blocks = %d, want 3 or more", n)
	}
}

// others are variables that begin as ours do, and whose they are.
var others = map[string]string{
	"NEXTCLOUD_TRUSTED_DOMAINS": "Nextcloud's image", "NEXTCLOUD_VERSION": "compose.yaml's", "NEXTCLOUD_AT": "first-run.sh's",
	"ANTEROOM_IMAGE": "compose.production.yaml's", "ANTEROOM_TEST_CACHE": "test/setup's",
}

// TestVariablesExist: every variable that documentation and compose files name
// is one that the program reads.
func TestVariablesExist(t *testing.T) {
	known := variables(t)
	places := pages(t)
	for _, name := range []string{"deploy/compose.yaml", "deploy/compose.production.yaml", "deploy/.env.example", "deploy/first-run/first-run.sh"} {
		places[name] = read(t, name)
	}
	n := 0
	for page, text := range places {
		for _, m := range regexp.MustCompile(`\b(ANTEROOM|NEXTCLOUD)_[A-Z0-9_]*[A-Z0-9]\b[^*…_]?`).FindAllString(text, -1) {
			name := strings.TrimRightFunc(m, func(r rune) bool { return !unicode.IsUpper(r) && !unicode.IsDigit(r) })
			if n++; !known[name] && others[name] == "" {
				t.Errorf("%s: %s is no variable", page, name)
			}
		}
	}
	if n < 50 {
		t.Errorf("variables named = %d, want 50 or more", n)
	}
}

// TestTroubleshootingNamesEveryProbe: whatever line the doctor prints, the page
// has it.
func TestTroubleshootingNamesEveryProbe(t *testing.T) {
	page := read(t, "docs/troubleshooting.md")
	environ := []string{
		"NEXTCLOUD_BASE_URL=http://127.0.0.1:1", "NEXTCLOUD_CLIENT_ID=x", "NEXTCLOUD_CLIENT_SECRET=y", "NEXTCLOUD_REDIRECT_URI=http://127.0.0.1:1/auth/callback",
		"ANTEROOM_UPSTREAM=http://127.0.0.1:2", "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL=redis://127.0.0.1:1", "ANTEROOM_SESSION_KEYS=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:1",
		"NEXTCLOUD_WEBDAV_USERNAME=a", "NEXTCLOUD_WEBDAV_PASSWORD=b", "NEXTCLOUD_CALDAV_USERNAME=a", "NEXTCLOUD_CALDAV_PASSWORD=b", "NEXTCLOUD_CARDDAV_USERNAME=a", "NEXTCLOUD_CARDDAV_PASSWORD=b",
		"NEXTCLOUD_ADMIN_USER=a", "NEXTCLOUD_ADMIN_PASSWORD=b",
		"NEXTCLOUD_IMAP_URL=imaps://127.0.0.1:1", "NEXTCLOUD_SMTP_URL=smtps://127.0.0.1:1", "NEXTCLOUD_EMAIL_USERNAME=a@example.com", "NEXTCLOUD_EMAIL_PASSWORD=b",
	}
	out, _ := output(t, t.TempDir(), environ, "doctor", "--json")
	var found []struct{ Name, State string }
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) < 20 {
		t.Fatalf("doctor --json = %d findings, %v:\n%s", len(found), err, out)
	}
	for _, f := range found {
		name := f.Name
		if strings.HasPrefix(name, "application at ") {
			name = "application at …"
		}
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/troubleshooting.md does not name `%s`", name)
		}
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.Name
	}
	for _, want := range []string{"configuration", "Redis", "IMAP", "SMTP", "directory", "CardDAV", "site"} {
		if !slices.Contains(names, want) {
			t.Errorf("doctor does not look at %s here, want all it can look at", want)
		}
	}
}

// TestGuideIsRun: what docs/integrations.md has for the guide's integrations is
// what test/dav/api_guide.py runs, word for word.
func TestGuideIsRun(t *testing.T) {
	runs, err := os.ReadFile(root + "/test/dav/api_guide.py")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, b := range blocks("docs/integrations.md", pages(t)["docs/integrations.md"]) {
		for f := range strings.SplitSeq(b.text, "\n\n") {
			if !strings.HasPrefix(f, "def ") {
				continue
			}
			n++
			if !strings.Contains(string(runs), strings.TrimSpace(f)+"\n") {
				t.Errorf("%s: test/dav/api_guide.py does not run\n%s", b, f)
			}
		}
	}
	if n == 0 {
		t.Error("docs/integrations.md has no functions")
	}
}
