package files

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
	"anteroom/integrations/multistatus"
)

const recordings = "../../proxy/dav/testdata/nextcloud/"

// answering is a server that says the same to everybody, and files there.
func answering(t testing.TB, status int, body io.Reader) *Files {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		w.WriteHeader(status)
		io.Copy(w, body)
	}))
	t.Cleanup(s.Close)
	u, _ := url.Parse(s.URL + davRoot)
	f, err := Open(context.Background(), Options{HTTP: s.Client(), URL: u, User: "testdoc"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestRecorded reads what a real Nextcloud said.
func TestRecorded(t *testing.T) {
	entries := func(file, folder string, deep bool) []Entry {
		b, err := os.ReadFile(recordings + file)
		if err != nil {
			t.Fatal(err)
		}
		var got []Entry
		f := answering(t, http.StatusMultiStatus, bytes.NewReader(b))
		err = f.List(t.Context(), folder, deep, func(e *Entry) error { return nil }, func(e *Entry) error { got = append(got, *e); return nil })
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		return got
	}
	home := entries("dav-01-files-home-depth-1.xml", "/", false)
	names := map[string]Entry{}
	for _, e := range home {
		names[e.Name] = e
	}
	if e := names["Documents"]; !e.Folder || e.ETag == "" || e.Path != "/Documents" || e.Modified.IsZero() {
		t.Errorf("Documents is read as %+v", e)
	}
	var files, folders int
	for _, e := range entries("dav-01-files-depth-infinity.xml", "/", true) {
		if e.Folder {
			folders++
		} else if files++; e.Size < 0 || e.Type == "" || e.ETag == "" {
			t.Errorf("a file is read as %+v", e)
		}
	}
	if files < 10 || folders < 3 {
		t.Errorf("the whole tree has %d files and %d folders, want more", files, folders)
	}
	odd := entries("dav-01-files-odd-name-listing.xml", "/lab", false)
	for _, e := range odd {
		if strings.Contains(e.Path, "%") && !strings.Contains(e.Name, "%") {
			t.Errorf("a name in lowercase escapes is read as %+v", e)
		}
	}
	if len(odd) == 0 {
		t.Error("no odd names were read")
	}
}

// TestQuotas: -3 is unlimited, and stays a number.
func TestQuotas(t *testing.T) {
	b, err := os.ReadFile(recordings + "dav-01-files-many-props-on-home.xml")
	if err != nil {
		t.Fatal(err)
	}
	e, err := answering(t, http.StatusMultiStatus, bytes.NewReader(b)).Stat(t.Context(), "/")
	if err != nil || e.Free == nil || *e.Free != -3 || e.Used == nil || e.ID == "" || e.Access == "" {
		t.Errorf("the home is read as %+v, %v, want -3 bytes available", e, err)
	}
}

// TestEveryRecordedMultistatus is read to its end, whatever it is about.
func TestEveryRecordedMultistatus(t *testing.T) {
	all, err := filepath.Glob(recordings + "*.xml")
	if err != nil || len(all) < 50 {
		t.Fatalf("%d recordings, %v", len(all), err)
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte("multistatus")) {
			continue
		}
		n := 0
		if _, err := multistatus.Read(bytes.NewReader(b), func(r *response) error { n++; return nil }); err != nil {
			t.Errorf("%s: %v after %d responses", filepath.Base(name), err, n)
		}
	}
}

func TestUnusableAnswers(t *testing.T) {
	ms := `<d:multistatus xmlns:d="DAV:">`
	for _, tt := range []struct{ name, body string }{
		{"nothing", ""},
		{"a page", "<html></html>"},
		{"JSON", "{}"},
		{"cut off", ms + `<d:response><d:href>/x`},
		{"without its end", ms},
		{"a document type", `<!DOCTYPE x>` + ms + `</d:multistatus>`},
		{"entities", `<!DOCTYPE x [<!ENTITY a "b">]>` + ms + `&a;</d:multistatus>`},
		{"nesting", ms + strings.Repeat("<a>", 100)},
		{"no bound", ms + "<d:response><d:href>" + strings.Repeat("x", 9<<20)},
		{"no bound between", ms + strings.Repeat(" ", 9<<20)},
		{"another encoding", `<?xml version="1.0" encoding="UTF-7"?>` + ms + `</d:multistatus>`},
	} {
		_, err := answering(t, http.StatusMultiStatus, strings.NewReader(tt.body)).Stat(t.Context(), "/x")
		p, ok := integrations.ProblemOf(err)
		if !ok || p.Status != http.StatusBadGateway {
			t.Errorf("%s: %v, want a 502", tt.name, err)
		}
	}
}

// TestStrayResponses: nothing outside of the root, or that could not be asked
// for, is told.
func TestStrayResponses(t *testing.T) {
	body := `<d:multistatus xmlns:d="DAV:"><d:response><d:href>/remote.php/dav/files/testdoc/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`
	for _, href := range []string{"/remote.php/dav/files/admin/x", "/remote.php/dav/files/testdoc/../admin/y", "/remote.php/dav/files/testdoc/%2e%2e/z", "/remote.php/dav/files/testdocs", "http://[", "/remote.php/dav/files/testdoc/a%0ab"} {
		body += `<d:response><d:href>` + href + `</d:href></d:response>`
	}
	body += `<d:response><d:status>HTTP/1.1 200 OK</d:status><d:href>http://elsewhere/remote.php/dav/files/testdoc/b%c3%bc%23.txt</d:href></d:response></d:multistatus>`
	var got []string
	err := answering(t, http.StatusMultiStatus, strings.NewReader(body)).List(t.Context(), "/", false, func(*Entry) error { return nil }, func(e *Entry) error { got = append(got, e.Path); return nil })
	if diff := cmp.Diff([]string{"/bü#.txt"}, got); diff != "" || err != nil {
		t.Errorf("List = %v (-want +got):\n%s", err, diff)
	}
}

// endless is a multistatus of n entries, made as it is read.
type endless struct {
	n, at int
	buf   bytes.Buffer
}

func (e *endless) Read(p []byte) (int, error) {
	for e.buf.Len() < len(p) && e.at <= e.n+1 {
		switch e.at {
		case 0:
			e.buf.WriteString(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:response><d:href>/remote.php/dav/files/testdoc/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype><d:getetag>"x"</d:getetag></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`)
		case e.n + 1:
			e.buf.WriteString(`</d:multistatus>`)
		default:
			fmt.Fprintf(&e.buf, `<d:response><d:href>/remote.php/dav/files/testdoc/Befund%%20M%%c3%%bcller%%20%d.pdf</d:href><d:propstat><d:prop><d:resourcetype/><d:getcontentlength>%d</d:getcontentlength><d:getcontenttype>application/pdf</d:getcontenttype><d:getetag>&quot;%032d&quot;</d:getetag><d:getlastmodified>Sun, 22 Nov 2026 20:32:33 GMT</d:getlastmodified><oc:fileid>%d</oc:fileid><oc:size>%d</oc:size><oc:permissions>RGDNVW</oc:permissions></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, e.at, e.at, e.at, e.at, e.at)
		}
		e.at++
	}
	return e.buf.Read(p)
}

// TestFlatMemory: what a listing holds does not grow with its length.
func TestFlatMemory(t *testing.T) {
	f := answering(t, http.StatusMultiStatus, &endless{n: 20_000})
	var n int
	var most, before uint64
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before = heap()
	err := f.List(t.Context(), "/", false, func(*Entry) error { return nil }, func(*Entry) error {
		if n++; n%10_000 == 0 {
			most = max(most, heap())
		}
		return nil
	})
	if err != nil || n != 20_000 {
		t.Fatalf("List = %d entries, %v", n, err)
	}
	if grown := int64(most) - int64(before); grown > 4<<20 {
		t.Errorf("a listing of %d entries holds %d KiB, want 4 MiB at most", n, grown>>10)
	}
}

// TestFlatMemoryOfChanges: nor does what is held of a folder that changed.
func TestFlatMemoryOfChanges(t *testing.T) {
	const entries = 20_000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}
	for _, nextcloud := range []bool{true, false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusMultiStatus)
			switch {
			case r.Header.Get("Depth") == "1":
				io.Copy(w, &endless{n: entries})
			case nextcloud:
				io.WriteString(w, `<d:multistatus xmlns:d="DAV:"><d:response><d:href>/remote.php/dav/files/testdoc/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype><d:getetag>"y"</d:getetag><fileid xmlns="http://owncloud.org/ns">1</fileid></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`)
			default:
				io.Copy(w, &endless{})
			}
		}))
		u, _ := url.Parse(s.URL + davRoot)
		f, err := Open(t.Context(), Options{HTTP: s.Client(), URL: u, User: "testdoc"})
		if err != nil {
			t.Fatal(err)
		}
		before, most, n := heap(), int64(0), 0
		count := Told{func(string, string) error { return nil }, func(*Entry) error {
			if n++; n%10_000 == 0 {
				most = max(most, heap())
			}
			return nil
		}}
		cursor, err := f.Changes(t.Context(), "/", "", count)
		if err != nil || n != entries {
			t.Fatalf("Nextcloud %v: %d entries, %v", nextcloud, n, err)
		}
		if grown := most - before; grown > 4<<20 {
			t.Errorf("Nextcloud %v: changes of %d entries hold %d KiB, want 4 MiB at most", nextcloud, n, grown>>10)
		}
		if !nextcloud { // whose folder has the same ETag, whatever is in it
			n = 0
			if again, err := f.Changes(t.Context(), "/", cursor, count); err != nil || n != 0 || again != cursor {
				t.Errorf("with nothing changed: %d entries, %v", n, err)
			}
		}
		s.Close()
	}
}

func BenchmarkList(b *testing.B) {
	const entries = 10_000
	whole, err := io.ReadAll(&endless{n: entries})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(whole)))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		f := &Files{root: davRoot + "/files/testdoc", dav: davRoot}
		var e Entry
		if _, err := multistatus.Read(bytes.NewReader(whole), func(r *response) error {
			if f.entry(r, &e) {
				n++
			}
			return nil
		}); err != nil || n != entries+1 {
			b.Fatalf("%d entries, %v", n, err)
		}
	}
}

// FuzzMultistatus: whatever a server says ends, and names nothing outside.
func FuzzMultistatus(f *testing.F) {
	all, _ := filepath.Glob(recordings + "dav-0*.xml")
	for _, name := range all {
		if b, err := os.ReadFile(name); err == nil && len(b) < 1<<14 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		files := &Files{root: davRoot + "/files/testdoc", dav: davRoot}
		var e Entry
		_, err := multistatus.Read(bytes.NewReader(body), func(r *response) error {
			if files.entry(r, &e) && (!strings.HasPrefix(e.Path, "/") || strings.Contains(e.Path+"/", "/../")) {
				t.Errorf("an entry at %q", e.Path)
			}
			return nil
		})
		if _, ok := integrations.ProblemOf(err); err != nil && !ok {
			t.Errorf("read = %v, want a problem", err)
		}
	})
}
