package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/webdav"

	"anteroom/demo"
	"anteroom/test/person"
)

// search is one page of what a search finds.
func (w *town) search(p *person.Person, query string) (paths []string, cursor string) {
	w.Helper()
	resp, text := w.ask(p, "GET", "/integrations/files/search?"+query, "")
	var said struct {
		Items  []struct{ Path string }
		Cursor string
	}
	if err := json.Unmarshal([]byte(text), &said); err != nil || resp.StatusCode != 200 {
		w.Fatalf("search %s = %d %s", query, resp.StatusCode, text)
	}
	for _, i := range said.Items {
		paths = append(paths, i.Path)
	}
	return paths, said.Cursor
}

// found is all that a search finds, page by page, in order.
func (w *town) found(p *person.Person, query string, limit int) (paths []string) {
	w.Helper()
	for cursor, pages := "", 0; ; pages++ {
		page, next := w.search(p, fmt.Sprintf("%s&limit=%d&cursor=%s", query, limit, cursor))
		if paths = append(paths, page...); len(page) > limit || pages > 100 {
			w.Fatalf("by %d: page %d has %d items", limit, pages, len(page))
		}
		if cursor = next; cursor == "" {
			slices.Sort(paths)
			return paths
		}
	}
}

// TestSearchByPages: page after page, every match comes once, however many
// changed in the same second, and though files change in between.
func TestSearchByPages(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	put := func(name string, changed int) {
		t.Helper()
		r, _ := http.NewRequest("PUT", w.cloudURL+"/remote.php/dav/files/testdoc/"+name, strings.NewReader("x"))
		r.SetBasicAuth("testdoc", demo.DefaultPassword)
		r.Header.Set("X-OC-MTime", strconv.Itoa(changed))
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode/100 != 2 {
			t.Fatalf("PUT %s = %v %v", name, resp, err)
		}
		resp.Body.Close()
	}
	var want []string
	for i := range 23 { // seven in each second
		name := fmt.Sprintf("scan_%d.txt", i)
		put(name, 1_700_000_000+i/7)
		want = append(want, "/"+name)
	}
	all := slices.Sorted(slices.Values(want))
	for _, limit := range []int{1, 2, 5, 7, 10, 22, 23, 100} {
		if got := w.found(p, "name=scan_&type=text/plain", limit); !slices.Equal(got, all) {
			t.Errorf("by %d: found %v, want each of %v once", limit, got, all)
		}
	}
	first, cursor := w.search(p, "name=scan_&limit=10")
	put("scan_0.txt", 1_700_000_009) // one that was found changes, and comes again at the end
	rest, _ := w.search(p, "name=scan_&limit=100&cursor="+cursor)
	if len(first) != 7 || len(rest) != 17 || !slices.Contains(rest, "/scan_0.txt") {
		t.Errorf("with a change in between: %d, then %v, want seven, then the other sixteen and what changed", len(first), rest)
	}
	for _, query := range []string{"type=image", "type=%25", "type=image/p%25", "name=x&cursor=MSB4"} { // the last is "1 x"
		if resp, text := w.ask(p, "GET", "/integrations/files/search?"+query, ""); resp.StatusCode != 400 {
			t.Errorf("search %s = %d %s, want 400", query, resp.StatusCode, text)
		}
	}
	if _, text := w.ask(p, "GET", "/integrations/files/search?limit=2", ""); !strings.Contains(text, "name or type is needed.") {
		t.Errorf("a search for nothing = %s, want what is missing", text)
	}
}

// TestSearchElsewhere: a server that is no Nextcloud is not asked to search; its
// folders are gone through, and page after page every match comes once.
func TestSearchElsewhere(t *testing.T) {
	store := webdav.NewMemFS()
	files := &webdav.Handler{FileSystem: store, LockSystem: webdav.NewMemLS()}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "svc" || password != "pw" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(other.Close)
	var want []string
	for _, folder := range []string{"", "/a", "/a/b", "/a/b/c", "/d"} {
		if folder != "" {
			store.Mkdir(t.Context(), folder, 0o755)
		}
		for _, name := range []string{"SCAN_1.txt", "scan_2.png", "note.txt"} {
			f, err := store.OpenFile(t.Context(), folder+"/"+name, os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		want = append(want, folder+"/SCAN_1.txt")
	}
	w := found(t, demo.Options{}, "ANTEROOM_INTEGRATIONS_WEBDAV_URL="+other.URL, "ANTEROOM_INTEGRATIONS_WEBDAV_USERNAME=svc",
		"ANTEROOM_INTEGRATIONS_WEBDAV_PASSWORD=pw", "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in")
	p, _ := w.testdoc("/hello")
	for _, limit := range []int{1, 2, 5, 100} {
		if got := w.found(p, "name=scan&type=text/plain", limit); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("by %d: found %v, want each of %v once", limit, got, want)
		}
	}
	if got, _ := w.search(p, "name=scan_2&within=/a/b"); len(got) != 2 {
		t.Errorf("within /a/b: found %v, want that of b and that of c", got)
	}
}
