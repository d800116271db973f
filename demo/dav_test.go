package demo

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestDAVFiles(t *testing.T) {
	s := serve(t, Options{})
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(DefaultUser, DefaultPassword)
	basic := r.Header.Get("Authorization")
	do := func(method, path, body string, headers ...string) answer {
		return s.browser().do(method, path, body, append([]string{"Authorization", basic}, headers...)...)
	}
	const home = "/remote.php/dav/files/testdoc/"
	tests := []struct {
		name, method, path, body string
		headers                  []string
		want                     int
	}{
		{"MKCOL", "MKCOL", home + "lab", "", nil, 201},
		{"MKCOL again", "MKCOL", home + "lab", "", nil, 405},
		{"MKCOL without parent", "MKCOL", home + "no/where", "", nil, 409},
		{"PUT", "PUT", home + "lab/a.txt", "hello", nil, 201},
		{"PUT over it", "PUT", home + "lab/a.txt", "hello world", nil, 204},
		{"PUT without parent", "PUT", home + "nodir/a.txt", "x", nil, 404},
		{"PUT if none", "PUT", home + "lab/a.txt", "x", []string{"If-None-Match", "*"}, 412},
		{"PUT if another", "PUT", home + "lab/a.txt", "x", []string{"If-Match", `"bogus"`}, 412},
		{"PUT new if match", "PUT", home + "lab/new.txt", "x", []string{"If-Match", "*"}, 412},
		{"GET", "GET", home + "lab/a.txt", "", nil, 200},
		{"GET a range", "GET", home + "lab/a.txt", "", []string{"Range", "bytes=0-4"}, 206},
		{"GET two ranges", "GET", home + "lab/a.txt", "", []string{"Range", "bytes=0-1,3-4"}, 200},
		{"GET past the end", "GET", home + "lab/a.txt", "", []string{"Range", "bytes=100-"}, 416},
		{"GET a collection", "GET", home + "lab/", "", nil, 200},
		{"GET nothing", "GET", home + "lab/none.txt", "", nil, 404},
		{"COPY", "COPY", home + "lab/a.txt", "", []string{"Destination", home + "lab/b.txt"}, 201},
		{"COPY by another host", "COPY", home + "lab/a.txt", "", []string{"Destination", "http://localhost:8000" + home + "lab/c.txt"}, 201},
		{"COPY out of the tree", "COPY", home + "lab/a.txt", "", []string{"Destination", "https://proxy.example/dav/files/testdoc/x"}, 403},
		{"COPY nowhere", "COPY", home + "lab/a.txt", "", nil, 400},
		{"COPY onto something", "COPY", home + "lab/a.txt", "", []string{"Destination", home + "lab/b.txt", "Overwrite", "F"}, 412},
		{"COPY over it", "COPY", home + "lab/a.txt", "", []string{"Destination", home + "lab/b.txt", "Overwrite", "T"}, 204},
		{"MOVE with a space", "MOVE", home + "lab/c.txt", "", []string{"Destination", home + "lab/sp ace.txt"}, 201},
		{"MOVE without parent", "MOVE", home + "lab/b.txt", "", []string{"Destination", home + "nodir/x.txt"}, 409},
		{"LOCK", "LOCK", home + "lab/a.txt", "", nil, 501},
		{"UNLOCK", "UNLOCK", home + "lab/a.txt", "", nil, 501},
		{"the homes", "PROPFIND", "/remote.php/dav/files/", "", nil, 405},
		{"another's home", "PROPFIND", "/remote.php/dav/files/admin/", "", nil, 207},
		{"another's file", "GET", "/remote.php/dav/files/admin/Welcome.md", "", nil, 404},
		{"nobody's home", "PROPFIND", "/remote.php/dav/files/nobody/", "", nil, 404},
		{"the older address", "GET", "/remote.php/webdav/lab/a.txt", "", nil, 200},
		{"DELETE", "DELETE", home + "lab/b.txt", "", nil, 204},
		{"DELETE again", "DELETE", home + "lab/b.txt", "", nil, 404},
	}
	for _, tt := range tests {
		a := do(tt.method, tt.path, tt.body, tt.headers...)
		if a.StatusCode != tt.want {
			t.Errorf("%s = %s %s, want %d", tt.name, a.Status, a.body, tt.want)
		}
		if a.StatusCode >= 400 && !strings.Contains(a.body, "<s:exception>") {
			t.Errorf("%s = %s %q, want sabre's error document", tt.name, a.Status, a.body)
		}
	}
	a := do("PUT", home+"lab/e.txt", "x")
	if etag := a.Header.Get("ETag"); etag == "" || a.Header.Get("OC-ETag") != etag || a.Header.Get("OC-FileId") == "" {
		t.Errorf("PUT headers = %v, want ETag, the same OC-ETag and OC-FileId", a.Header)
	}
	wantStatus(t, do("PUT", home+"lab/e.txt", "y", "If-Match", a.Header.Get("ETag")), 204)
}

func TestDAVHrefs(t *testing.T) {
	s := serve(t, Options{})
	b := s.browser()
	token := s.oauthTokens().Access
	const odd = "/remote.php/dav/files/testdoc/sp%20ace%20%C3%BC%23.txt"
	wantStatus(t, b.do("PUT", odd, "u", bearer(token)...), 201)
	a := b.do("PROPFIND", "/remote.php/dav/files/testdoc/", "", bearer(token)...) // no Depth: 1
	for _, want := range []string{"/remote.php/dav/files/testdoc/<", "/remote.php/dav/files/testdoc/sp%20ace%20%c3%bc%23.txt<", "/remote.php/dav/files/testdoc/Documents/<"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("PROPFIND has no href %s:\n%s", want, a.body)
		}
	}
}

// A body without Content-Length is lost, and the answer says nothing of it.
func TestDAVChunkedBodyIsLost(t *testing.T) {
	s := serve(t, Options{})
	token := s.oauthTokens().Access
	b := s.browser()
	const file = "/remote.php/dav/files/testdoc/chunked.txt"
	req, _ := http.NewRequest("PUT", s.url+file, struct{ *bytes.Reader }{bytes.NewReader([]byte("lost"))})
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	got := b.do("GET", file, "", bearer(token)...)
	if res.StatusCode != 201 || got.body != "" {
		t.Errorf("chunked PUT = %d, stored %q; want 201 and nothing", res.StatusCode, got.body)
	}
}

func TestDAVHalfCookies(t *testing.T) {
	s := serve(t, Options{})
	a := s.browser().do("PROPFIND", "/remote.php/dav/files/testdoc/", "", "Cookie", sessionCookie+"=x; "+laxCookie+"=true")
	if a.StatusCode != 503 || a.body != "" {
		t.Errorf("WebDAV without the strict cookie = %s %q, want an empty 503", a.Status, a.body)
	}
}

func TestDAVChunkedUpload(t *testing.T) {
	s := serve(t, Options{})
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(DefaultUser, DefaultPassword)
	basic := r.Header.Get("Authorization")
	const uploads, file = "/remote.php/dav/uploads/testdoc/up-1", "/remote.php/dav/files/testdoc/big.bin"
	for _, step := range []struct {
		method, path, body string
		headers            []string
		want               int
		says               string
	}{
		{"MKCOL", uploads, "", nil, 201, ""},
		{"MKCOL", uploads, "", nil, 405, ""},
		{"PUT", uploads + "/2", "world", nil, 201, ""},
		{"PUT", uploads + "/00001", "hello ", nil, 201, ""},
		{"PUT", "/remote.php/dav/uploads/testdoc/none/1", "x", nil, 404, ""},
		{"PROPFIND", uploads, "", nil, 207, uploads + "/.file</d:href>"},
		{"PROPFIND", uploads, "", nil, 207, "<d:getcontentlength>11<"},
		{"MOVE", uploads + "/.file", "", []string{"Destination", "/dav/files/testdoc/big.bin"}, 403, ""},
		{"MOVE", uploads + "/.file", "", []string{"Destination", file, "OC-Total-Length", "9"}, 400, "sum up to 9 but to 11"},
		{"MOVE", uploads + "/.file", "", []string{"Destination", file, "OC-Total-Length", "11"}, 201, ""},
		{"GET", file, "", nil, 200, "hello world"},
		{"PROPFIND", uploads, "", nil, 404, ""},
		{"MKCOL", uploads, "", nil, 201, ""},
		{"MOVE", uploads + "/.file", "", []string{"Destination", file, "Overwrite", "F"}, 412, ""},
		{"MOVE", uploads + "/.file", "", []string{"Destination", file, "If", "<" + file + `> (["bad"])`}, 412, ""},
		{"MOVE", uploads + "/.file", "", []string{"Destination", file + "2", "If", "<" + file + `2> (["bad"])`}, 404, ""},
		{"GET", file, "", nil, 200, "hello world"},
		{"MOVE", uploads + "/.file", "", []string{"Destination", file, "If", "<" + file + `> (Not ["bad"])`}, 204, ""},
		{"MKCOL", uploads, "", nil, 201, ""},
		{"DELETE", uploads, "", nil, 204, ""},
		{"PUT", "/remote.php/dav/uploads/admin/x/1", "x", nil, 404, ""},
	} {
		a := s.browser().do(step.method, step.path, step.body, append([]string{"Authorization", basic}, step.headers...)...)
		if a.StatusCode != step.want || !strings.Contains(a.body, step.says) {
			t.Errorf("%s %s = %s %s, want %d with %q", step.method, step.path, a.Status, a.body, step.want, step.says)
		}
	}
}

// TestDAVSearch: what Nextcloud cannot look for, or order by, is refused, and
// the offset has a namespace of its own.
func TestDAVSearch(t *testing.T) {
	s := serve(t, Options{})
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(DefaultUser, DefaultPassword)
	do := func(method, path, body string) answer {
		return s.browser().do(method, path, body, "Authorization", r.Header.Get("Authorization"), "Content-Type", "text/xml")
	}
	const home = "/remote.php/dav/files/testdoc/"
	for _, name := range []string{"a.scan", "b.scan", "c.scan"} {
		do("PUT", home+name, "x")
	}
	const all = `<d:like><d:prop><d:displayname/></d:prop><d:literal>%.scan</d:literal></d:like>`
	by := func(prop string) string {
		return `<d:orderby><d:order><d:prop><` + prop + `/></d:prop><d:descending/></d:order></d:orderby>`
	}
	for _, tt := range []struct {
		name, where, rest string
		want, found       int
	}{
		{"by name", all, by("d:displayname"), 207, 3},
		{"by file id", all, by("oc:fileid"), 400, 0},
		{"file ids beyond one", `<d:gt><d:prop><oc:fileid/></d:prop><d:literal>1</d:literal></d:gt>`, "", 400, 0},
		{"files of a length", `<d:eq><d:prop><d:getcontentlength/></d:prop><d:literal>1</d:literal></d:eq>`, "", 400, 0},
		{"of some day on", `<d:and>` + all + `<d:gte><d:prop><d:getlastmodified/></d:prop><d:literal>0</d:literal></d:gte></d:and>`, "", 207, 3},
		{"all but one", all, `<d:limit><d:nresults>5</d:nresults><ns:firstresult>1</ns:firstresult></d:limit>`, 207, 2},
		{"an offset of another namespace", all, `<d:limit><d:nresults>5</d:nresults><nc:firstresult>1</nc:firstresult></d:limit>`, 207, 3},
	} {
		a := do("SEARCH", "/remote.php/dav/", `<?xml version="1.0"?><d:searchrequest xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns" xmlns:ns="https://github.com/icewind1991/SearchDAV/ns"><d:basicsearch><d:select><d:prop><d:getetag/></d:prop></d:select><d:from><d:scope><d:href>/files/testdoc</d:href><d:depth>infinity</d:depth></d:scope></d:from><d:where>`+tt.where+`</d:where>`+tt.rest+`</d:basicsearch></d:searchrequest>`)
		if n := strings.Count(a.body, ".scan<"); a.StatusCode != tt.want || n != tt.found {
			t.Errorf("%s = %s with %d hits, want %d with %d: %s", tt.name, a.Status, n, tt.want, tt.found, a.body)
		}
	}
}
