package authz

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"

	"anteroom/session"
)

var policy = NewPolicy([]Rule{
	{Path: "/public/", Allow: Allow{Public: true}},
	{Path: "/admin", Allow: Allow{Groups: []string{"admin"}}},
	{Path: "/hook", Methods: []string{"POST"}, Allow: Allow{Public: true}},
	{Path: "/", Host: "docs.example.com", Allow: Allow{Public: true}},
	{Path: "/"},
})

const refused = -2

func TestMatch(t *testing.T) {
	tests := []struct {
		method, host, path string
		want               int
	}{
		{"GET", "", "/public", 0},
		{"GET", "", "/public/", 0},
		{"GET", "", "/public/a/b%20c.txt", 0},
		{"GET", "", "/public/100%25", 0},
		{"GET", "", "/public/%C3%BC", 0},
		{"GET", "", "/public/a;v=1/b", 0},
		{"GET", "", "/public//a", 0},
		{"GET", "", "/publicity", 4},
		{"GET", "", "/PUBLIC/x", refused},
		{"GET", "", "/ADMIN", refused},
		{"GET", "", "/Publicity", 4},
		{"GET", "", "/public/%25zz/%252e%252e/%252e%252e/admin", refused},
		{"GET", "", "/admin", 1},
		{"GET", "", "/admin/x", 1},
		{"POST", "", "/hook", 2},
		{"GET", "", "/hook", 4},
		{"GET", "docs.example.com", "/x", 3},
		{"GET", "", "/", 4},
		{"GET", "", "/a/../b", 4}, // all readings fall under one rule
		{"GET", "", "/a%2fb", 4},

		{"GET", "", "/public/../admin", refused},
		{"GET", "", "/public/%2e%2e/admin", refused},
		{"GET", "", "/public/%2E%2e/admin", refused},
		{"GET", "", "/public/.%2e/x", refused},
		{"GET", "", "/public/..%2fadmin", refused},
		{"GET", "", "/public%2f..%2fadmin", refused},
		{"GET", "", "/public/%252e%252e/admin", refused},
		{"GET", "", "/public/%25252e%25252e/admin", refused},
		{"GET", "", "/public/..;/admin", refused},
		{"GET", "", "/public/..;x=y/admin", refused},
		{"GET", "", "/public;/../admin", refused},
		{"GET", "", `/public/..\admin`, refused},
		{"GET", "", "/public/..%5cadmin", refused},
		{"GET", "", "/public/%5c..%5cadmin", refused},
		{"GET", "", "/public/#/../admin", 0}, // all readings stay below /public
		{"GET", "", "/public/#/../../admin", refused},
		{"GET", "", "/admin#/public/", refused},
		{"GET", "", "/admin%23/public/", refused},
		{"GET", "", "/admin%3f/public/", refused},
		{"GET", "", "//public/x", refused},
		{"GET", "", "/./public/x", refused},
		{"GET", "", "/x/../public/y", refused},
		{"GET", "", "/%70ublic/x", refused},
		{"GET", "", "/admin%2fx", refused},
		{"GET", "", "/admin;x", refused},
		{"GET", "", "/%zz", refused},
		{"GET", "", "/public/%", refused},
		{"GET", "", "/public/\x00", refused},
		{"GET", "", "/public/%00", refused},
		{"GET", "", "/public/%0d%0a", refused},
		{"GET", "", "/public/\x7f", refused},
		{"GET", "", "/public/%c0%ae%c0%ae/admin", refused},
		{"GET", "", "/public/\xff", refused},
		{"GET", "", "/public/%25252525252e", refused},
		{"GET", "", "", refused},
		{"GET", "", "*", refused},
		{"GET", "", "public/x", refused},
	}
	for _, tt := range tests {
		got, err := policy.Match(Target{tt.method, tt.host, tt.path})
		if errors.Is(err, ErrAmbiguous) {
			got = refused
		}
		if got != tt.want {
			t.Errorf("Match(%s %s%q) = rule %d, %v, want rule %d", tt.method, tt.host, tt.path, got, err, tt.want)
		}
	}
}

// guarded has a rule that others fall back from.
var guarded = NewPolicy([]Rule{{Path: "/admin", Allow: Allow{Groups: []string{"admin"}}}, {Path: "/backup", Allow: Allow{Groups: []string{"admin"}}}, {Path: "/", Allow: Allow{Public: true}}})

// TestNoWayAround a rule, for applications that take other letters, marks and
// ends of names for the same.
func TestNoWayAround(t *testing.T) {
	for _, path := range []string{
		"/Admin", "/ADMIN/x", "/Admin/users#/../../x", "/admin/users#/../../x", "/Admin#x", "/Admin%23x", "/Admin%3Fx", "/Admin?x", "/Admin/../x",
		"/Admin/%2e%2e/x", "/Admin/%252e%252e/x", "/Admin/users;/../../x", "/%41dmin", "/x/../Admin", `/Admin\..\x`, "/Admin%2fx", "/Admin;x",
		"/backup.", "/backup./x", "/backup%20", "/backup%20/x", "/backup%2e", "/backup.%20.", "/backup::$DATA", "/backup::$INDEX_ALLOCATION/x", "/Backup.", "/x/../backup.",
		"/backup:$I30:$INDEX_ALLOCATION/x", "/backup:$i30:$index_allocation",
		"//x/admin", "///x/admin/users", `/\x/admin`, "//x:80/Admin", "//u@x//admin", "/%2Fx/admin", "/%5C%5Cx/admin", "//x/y/../admin", "//x;/admin", "//x/backup.",
		"/bac%E2%84%AAup", "/adm%C4%B1n", "/adm%C4%B0n", "/%EF%BD%81dmin", "/%EF%BC%8Fadmin/x", "/x%EF%BC%8F%EF%BC%8E%EF%BC%8E/admin",
	} {
		if got, err := guarded.Match(Target{Method: "GET", Path: path}); err == nil && got == 2 {
			t.Errorf("Match(%q) = the public rule", path)
		}
	}
	for _, path := range []string{"/", "/administrators", "/a.b/c.html", "/backups", "/Backups.", "/x::y", "/x:y$", "//x/y", "/x//admin", "//x/administrators", "/%E2%84%AA", "/x/Admin", "/.hidden"} {
		if got, err := guarded.Match(Target{Method: "GET", Path: path}); err != nil || got != 2 {
			t.Errorf("Match(%q) = rule %d, %v, want the public one", path, got, err)
		}
	}
}

// FuzzNoWayAround holds that a path which falls back to the public rule cannot be
// read as one below a rule before it, whatever is cut, resolved or folded.
func FuzzNoWayAround(f *testing.F) {
	for _, s := range []string{"/Admin/users#/../../x", "/Admin%23x", "/backup.", "/bac%E2%84%AAup", "/adm%C4%B1n", "/backup::$DATA", `/x/..\Admin`, "/%EF%BC%8FAdmin", "//x/admin", `/\x:1/Admin`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		if i, err := guarded.Match(Target{Method: "GET", Path: escaped}); err != nil || i != 2 {
			return
		}
		decoded, err := decodings(escaped)
		if err != nil {
			t.Fatalf("Match(%q) took what cannot be decoded", escaped)
		}
		for _, d := range decoded {
			cut, _, _ := strings.Cut(d, "#")
			bare, _, _ := strings.Cut(cut, "?")
			reads := []string{d, cut, bare, withoutParams(bare), path.Clean(d), path.Clean(bare), normalForm(bare), normalForm(d)}
			if u, err := url.Parse(strings.ReplaceAll(d, `\`, "/")); err == nil && u.Host != "" {
				reads = append(reads, u.Path, path.Clean(u.Path))
			}
			for _, read := range reads {
				for _, folded := range []string{strings.ToLower(read), strings.ToUpper(read)} {
					for _, at := range []string{"/admin", "/backup", "/ADMIN", "/BACKUP"} {
						if folded == at || strings.HasPrefix(folded, at+"/") || strings.TrimRight(folded, ". ") == at {
							t.Errorf("Match(%q) = the public rule, but it can be read as %q", escaped, read)
						}
					}
				}
			}
		}
	})
}

func TestPermits(t *testing.T) {
	doc := &session.Identity{Subject: "testdoc", Groups: []string{"users"}}
	tests := []struct {
		allow Allow
		want  bool
	}{
		{Allow{}, true},
		{Allow{Public: true}, true},
		{Allow{Groups: []string{"users"}}, true},
		{Allow{Groups: []string{"admin"}}, false},
		{Allow{Groups: []string{"admin"}, Users: []string{"testdoc"}}, true},
		{Allow{Users: []string{"TESTDOC"}}, false},
	}
	for _, tt := range tests {
		if got := tt.allow.Permits(doc); got != tt.want {
			t.Errorf("%+v.Permits(testdoc) = %v, want %v", tt.allow, got, tt.want)
		}
	}
}

// FuzzMatch holds that a path which opens the public rule cannot be read by an
// eager application as one outside of it.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"/public/../admin", "/public/%2e%2e/admin", "/public/..;/admin", `/public\..\admin`, "/public/%252e%252e%252fadmin", "/public/a#b", "//x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		i, err := policy.Match(Target{Method: "GET", Path: path})
		if err != nil || i != 0 {
			return
		}
		decoded, err := decodings(path)
		if err != nil {
			t.Fatalf("Match(%q) took what cannot be decoded", path)
		}
		for _, d := range decoded {
			eager := normalForm(d)
			if eager != "/public" && !strings.HasPrefix(eager, "/public/") {
				t.Errorf("Match(%q) = the public rule, but it can be read as %q", path, eager)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	t := Target{Method: "GET", Host: "app.example.com", Path: "/api/v1/notes/42"}
	if n := testing.AllocsPerRun(100, func() { policy.Match(t) }); n > 0 {
		b.Fatalf("Match of a plain path allocates %v times, want 0", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		policy.Match(t)
	}
}
