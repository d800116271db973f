package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "anteroom"

// mayImport is the table of the house: main → proxy → integrations → session,
// and never the other way. A package that is not in it may import none of ours.
// test packages and _test.go files are held to nothing.
var mayImport = map[string][]string{
	"session":                  {},
	"session/signin":           {"session"},
	"session/semaphore":        {},
	"integrations":             {"session"},
	"integrations/multistatus": {"integrations"},
	"integrations/files":       {"integrations", "integrations/multistatus"},
	"integrations/collections": {"integrations", "integrations/multistatus"}, "integrations/contentline": {},
	"integrations/contacts":  {"integrations", "integrations/multistatus", "integrations/collections", "integrations/contentline"},
	"integrations/calendars": {"integrations", "integrations/multistatus", "integrations/collections", "integrations/contentline"},
	"integrations/doctor":    {"session", "session/signin", "integrations", "integrations/calendars", "integrations/collections", "integrations/contacts", "integrations/mail", "integrations/people"},
	"integrations/people":    {"integrations"},
	"integrations/mail":      {"session", "session/semaphore", "integrations"},
	"integrations/api":       {"session", "session/semaphore", "integrations", "integrations/files", "integrations/calendars", "integrations/collections", "integrations/contacts", "integrations/mail", "integrations/people"},
	"proxy/throttle":         {},
	"proxy/trace":            {"session"},
	"proxy/authn":            {"session", "proxy/throttle"},
	"proxy/authz":            {"session"},
	"proxy/audit":            {"session"},
	"proxy/httpsig":          {},
	"proxy/upstream":         {"session", "session/semaphore", "proxy/httpsig", "proxy/throttle"},
	"proxy/watch":            {"session", "proxy/audit", "proxy/throttle"},
	"proxy/pages":            {"session"},
	"proxy/dav":              {"session", "session/semaphore", "integrations"},
	"proxy/forwardauth":      {"session", "proxy/authz"},
	"proxy":                  {"session", "session/signin", "integrations", "integrations/api", "proxy/authn", "proxy/authz", "proxy/audit", "proxy/throttle", "proxy/trace", "proxy/upstream", "proxy/dav", "proxy/pages", "proxy/forwardauth"},
	"demo":                   {},
	"session/storetest":      {"session"},
	".":                      nil, // main may import anything
}

// homes says where a third-party library may be imported. Each has few homes,
// so that exchanging one, or reading all that touches it, stays a small matter.
var homes = []struct {
	prefix string
	in     []string
}{
	{"github.com/redis/go-redis", []string{"session"}},
	{"github.com/gorilla/", []string{"session"}},
	{"github.com/coreos/go-oidc", []string{"session/signin"}},
	{"golang.org/x/oauth2", []string{"session/signin"}},
	{"github.com/go-jose/go-jose", []string{"session/signin", "proxy/authn", "proxy/upstream", "demo"}},
	{"github.com/studio-b12/gowebdav", []string{"integrations/files"}},
	{"github.com/emersion/go-imap", []string{"integrations/mail"}},
	{"github.com/emersion/go-message", []string{"integrations/mail"}},
	{"github.com/emersion/go-sasl", []string{"integrations/mail"}},
	{"github.com/emersion/go-smtp", []string{"integrations/mail"}},
	{"github.com/emersion/go-ical", []string{"integrations/calendars"}},
	{"github.com/emersion/go-vcard", []string{"integrations/contacts"}},
	{"github.com/emersion/go-webdav", []string{"integrations/calendars", "integrations/contacts", "integrations/collections"}},
	{"github.com/microcosm-cc/bluemonday", []string{"integrations/mail"}},
	{"github.com/teambition/rrule-go", []string{"integrations/calendars"}},
	{"github.com/mileusna/useragent", []string{"proxy/pages"}},
	{"google.golang.org/grpc", []string{"proxy"}},
	{"google.golang.org/protobuf", []string{"proxy", "proxy/trace"}},
	{"go.opentelemetry.io/", []string{"proxy/trace"}},
	{"github.com/envoyproxy/go-control-plane", []string{"proxy", "proxy/forwardauth"}},
	{"github.com/mdp/qrterminal", []string{"."}},
	{"golang.org/x/term", []string{"."}},
	{"go.yaml.in/yaml", []string{"."}},
}

// notNames are package names that say nothing of what is inside.
var notNames = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "base", "lib", "shared"}

// source is one file of the module, without its tests.
type source struct {
	dir, file string
	imports   []string
	doc       string
}

func TestImportsGoOneWay(t *testing.T) {
	for _, s := range sources(t) {
		allowed, listed := mayImport[s.dir]
		for _, imp := range s.imports {
			ours, ok := strings.CutPrefix(imp, module+"/")
			switch {
			case !ok || s.dir == "." || exempt(s.dir):
			case !listed:
				t.Errorf("%s imports %s, but %s is not in the table of imports_test.go", s.file, ours, s.dir)
			case !slices.Contains(allowed, ours):
				t.Errorf("%s imports %s, want one of %v", s.file, ours, allowed)
			}
		}
	}
}

func TestLibrariesStayAtHome(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports {
			for _, h := range homes {
				if strings.HasPrefix(imp, h.prefix) && !exempt(s.dir) && !slices.Contains(h.in, s.dir) {
					t.Errorf("%s imports %s, whose home is %v", s.file, imp, h.in)
				}
			}
		}
	}
}

func TestEveryPackageIsDocumentedAndNamed(t *testing.T) {
	docs := map[string]string{}
	for _, s := range sources(t) {
		docs[s.dir] += s.doc
	}
	for dir, doc := range docs {
		name := path.Base(dir)
		if len(strings.Fields(doc)) < 8 {
			t.Errorf("package %s has the comment %q, want one that says what it is for and what it trusts", dir, doc)
		}
		if slices.Contains(notNames, name) {
			t.Errorf("package %s is called %s, want a noun for what it holds", dir, name)
		}
	}
}

// TestTheTableIsInUse keeps the table from outliving what it speaks of.
func TestTheTableIsInUse(t *testing.T) {
	for dir, allowed := range mayImport {
		for _, a := range allowed {
			if _, ok := mayImport[a]; !ok {
				t.Errorf("%s may import %s, which the table does not list", dir, a)
			}
		}
	}
}

// exempt are packages that only tests import.
func exempt(dir string) bool {
	return strings.HasSuffix(dir, "test") || strings.HasPrefix(dir, "test/")
}

// sources reads the imports and package comments of every file of the module
// that is no test; other modules inside the tree are left out.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skip(p, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go"):
			return nil
		}
		s, err := read(p)
		list = append(list, s)
		return err
	})
	if err != nil {
		t.Fatalf("reading the module's files: %v", err)
	}
	if len(list) == 0 {
		t.Fatal("no Go files found, want the module's")
	}
	return list
}

func skip(p, name string) bool {
	if name == "node_modules" || name == "testdata" || name != "." && strings.HasPrefix(name, ".") {
		return true
	}
	nested, _ := filepath.Glob(filepath.Join(p, "go.mod"))
	return p != "." && len(nested) > 0
}

func read(p string) (source, error) {
	f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return source{}, err
	}
	s := source{dir: path.Dir(filepath.ToSlash(p)), file: p, doc: f.Doc.Text()}
	for _, i := range f.Imports {
		s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
	}
	return s, nil
}
