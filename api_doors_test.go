package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"anteroom/demo"
)

// TestFilesForPrograms: what a program does with a person's files, by a
// session.
func TestFilesForPrograms(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	const at = "/integrations/files"
	typed := "Content-Type: application/json"
	same := "Sec-Fetch-Site: same-origin"
	steps := []struct {
		method, path, body string
		header             []string
		want               int
		says               string
	}{
		{"POST", at + "/folders", `{"path":"/Ärzte/Befunde","parents":true}`, []string{typed, same}, 201, `"path":"/Ärzte/Befunde"`},
		{"POST", at + "/folders", `{"path":"/Ärzte/Befunde"}`, []string{typed, same}, 409, "already_exists"},
		{"POST", at + "/folders", `{"path":"/n1","Path":"/n2"}`, []string{typed, same}, 400, `"field":"Path"`},
		{"POST", at + "/folders", `{"path":"/n1"}`, []string{typed, same, "Content-Encoding: gzip"}, 415, `"field":"Content-Encoding"`},
		{"POST", at + "/folders", `{"path":"/no/where"}`, []string{typed, same}, 409, "conflict"},
		{"PUT", at + "/content?path=/%C3%84rzte/Befunde/a.txt", "canary-finding", []string{same}, 201, ""},
		{"PUT", at + "/content?path=/%C3%84rzte/Befunde/a.txt", "x", []string{same, "If-None-Match: *"}, 412, "changed_meanwhile"},
		{"PUT", at + "/content?path=/nowhere/a.txt", "x", []string{same}, 409, "conflict"},
		{"GET", at + "/content?path=/%C3%84rzte/Befunde/a.txt", "", nil, 200, "canary-finding"},
		{"GET", at + "/content?path=/%C3%84rzte/Befunde/a.txt", "", []string{"Range: bytes=7-"}, 206, "finding"},
		{"GET", at + "/content?path=/nowhere.txt", "", nil, 404, "not_found"},
		{"GET", at + "?path=/%C3%84rzte/Befunde", "", nil, 200, `"path":"/Ärzte/Befunde/a.txt","name":"a.txt","folder":false,"size":14,"content_type":"text/plain"`},
		{"GET", at + "?path=/&depth=infinity", "", nil, 200, `"path":"/Ärzte/Befunde/a.txt"`},
		{"GET", at + "?path=/nowhere", "", nil, 404, "not_found"},
		{"GET", at + "?path=/../admin", "", nil, 400, `"field":"path"`},
		{"GET", at + "?path=/%252e%252e/admin", "", nil, 400, `"field":"path"`},
		{"GET", at + "?paht=/", "", nil, 400, `"field":"paht"`},
		{"GET", at + "/entry?path=/", "", nil, 200, `"quota_available":-3`},
		{"GET", at + "/search?name=A.T", "", nil, 200, `"path":"/Ärzte/Befunde/a.txt"`},
		{"GET", at + "/search?type=image/*", "", nil, 200, `"items":[]`},
		{"POST", at + "/copy", `{"from":"/Ärzte","to":"/Kopie"}`, []string{typed, same}, 201, `"path":"/Kopie"`},
		{"POST", at + "/copy", `{"from":"/Ärzte","to":"/Kopie"}`, []string{typed, same}, 409, "already_exists"},
		{"POST", at + "/copy", `{"from":"/Ärzte/Befunde/a.txt","to":"/b.txt"}`, []string{typed, same, `If-Match: "no"`}, 412, "changed_meanwhile"},
		{"GET", at + "/entry?path=/b.txt", "", nil, 404, "not_found"},
		{"POST", at + "/move", `{"from":"/Kopie/Befunde/a.txt","to":"/b.txt"}`, []string{typed, same}, 200, `"path":"/b.txt"`},
		{"POST", at + "/move", `{"from":"/b.txt","to":"/Kopie","overwrite":true,"extra":1}`, []string{typed, same}, 400, `"field":"extra"`},
		{"POST", at + "/move", `{"from":"/","to":"/Kopie"}`, []string{typed, same}, 400, `"field":"from"`},
		{"DELETE", at + "?path=/b.txt", "", []string{same, `If-Match: "no"`}, 412, "changed_meanwhile"},
		{"DELETE", at + "?path=/b.txt", "", []string{same}, 204, ""},
		{"DELETE", at + "?path=/", "", []string{same}, 400, "root"},
		{"GET", at + "?path=/A%CC%88rzte/Befunde", "", nil, 200, `"name":"a.txt"`}, // as macOS writes it
		{"POST", at + "/changes", `{"path":"/A\u0308rzte"}`, []string{typed, same}, 200, `"name":"a.txt"`},
		{"GET", at + "/search?name=a%CC%88RZ", "", nil, 200, `"path":"/Ärzte"`},
		{"GET", at + "/content?path=/%C3%84rzte", "", nil, 409, "That is a folder"},
		{"PUT", at + "/content?path=/%C3%84rzte", "x", []string{same}, 409, "There is a folder at that path"},
		{"PUT", at + "/content?path=/c.txt", "x", []string{same, "Content-Range: bytes 0-0/9"}, 400, `"field":"Content-Range"`},
		{"PUT", at + "/content?path=/c.txt", "x", []string{same, "Content-Encoding: gzip"}, 415, `"field":"Content-Encoding"`},
		{"GET", at + "/entry?path=/c.txt", "", nil, 404, "not_found"},
		{"POST", at + "/move", `{"from":"/Kopie","to":"/Ärzte"}`, []string{typed, same, "If-Match: *"}, 409, "already_exists"},
		{"POST", at + "/copy", `{"from":"/Ärzte/Befunde/a.txt","to":"/Kopie","overwrite":true}`, []string{typed, same}, 409, "a folder is not replaced"},
		{"POST", at + "/move", `{"from":"/Ärzte/Befunde/a.txt","to":"/Kopie","overwrite":true}`, []string{typed, same}, 409, "a folder is not replaced"},
		{"POST", at + "/move", `{"from":"/Ärzte","to":"/A\u0308rzte","overwrite":true}`, []string{typed, same}, 409, "another spelling"},
		{"POST", at + "/copy", `{"from":"/Ärzte","to":"/A\u0308rzte","overwrite":true}`, []string{typed, same}, 409, "another spelling"},
		{"POST", at + "/move", `{"from":"/Ärzte/Befunde","to":"/A\u0308rzte","overwrite":true}`, []string{typed, same}, 400, `"field":"to"`},
		{"POST", at + "/copy", `{"from":"/Ärzte","to":"/A\u0308rzte/x"}`, []string{typed, same}, 400, `"field":"to"`},
		{"GET", at + "/content?path=/%C3%84rzte/Befunde/a.txt", "", nil, 200, "canary-finding"},
		{"DELETE", at + "?path=/b.txt", "", []string{"Sec-Fetch-Site: cross-site"}, 403, "foreign_origin"},
		{"PATCH", at, "", []string{same}, 405, "method_not_allowed"},
		{"GET", "/integrations/people/me", "", nil, 200, `"id":"testdoc","name":"Test Doctor"`},
		{"GET", "/integrations/people", "", nil, 404, "not_configured"},
		{"GET", "/integrations/openapi.json", "", nil, 200, `"openapi": "3.1.0"`},
	}
	for _, s := range steps {
		resp, body := w.ask(p, s.method, s.path, s.body, s.header...)
		if resp.StatusCode != s.want || !strings.Contains(body, s.says) {
			t.Errorf("%s %s = %d %s, want %d with %q", s.method, s.path, resp.StatusCode, body, s.want, s.says)
		}
		if strings.Contains(body, "/remote.php/") {
			t.Errorf("%s %s shows where Nextcloud has it: %s", s.method, s.path, body)
		}
	}
	w.stop()
	if log := w.log.String(); strings.Contains(log, "Befund") || strings.Contains(log, "canary") || strings.Contains(log, "b.txt") {
		t.Errorf("the log names files:\n%s", log)
	}
	lines := w.audited("access")
	if len(lines) != len(steps)-1 { // a foreign page's got no further than the gate
		t.Fatalf("%d lines of access, want one for each of %d requests:\n%s", len(lines), len(steps)-1, w.audit)
	}
	if put := lines[5]; put["operation"] != "uploadFile" || put["object"] != "/Ärzte/Befunde/a.txt" || put["received"] != 14.0 || put["status"] != 201.0 || put["sub"] != "testdoc" {
		t.Errorf("the upload is written down as %v", put)
	}
	if move := lines[24]; move["object"] != "/Kopie/Befunde/a.txt" || move["to"] != "/b.txt" {
		t.Errorf("the move is written down as %v", move)
	}
}

// TestNamesThatAreLeftOut: what another reader could take for another path is
// in no list, and the log says that there is such, by no name.
func TestNamesThatAreLeftOut(t *testing.T) {
	w, secret := programs(t)
	for _, name := range []string{"50%252f60.txt", "%252e%252e", "50%25.txt", "a%2541.txt"} {
		r, err := http.NewRequest("PUT", w.cloudURL+"/remote.php/dav/files/testdoc/"+name, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(demo.DefaultUser, demo.DefaultPassword)
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("PUT %s = %v %v", name, resp, err)
		}
		resp.Body.Close()
	}
	_, body := w.ask(nil, "GET", "/integrations/files", "", basic("indexer", secret))
	if strings.Contains(body, "50%2f60") || strings.Contains(body, "%2e") || !strings.Contains(body, `"path":"/50%.txt"`) || !strings.Contains(body, `"path":"/a%41.txt"`) {
		t.Errorf("the list is %s, want it with 50%%.txt and a%%41.txt and without the others", body)
	}
	for path, want := range map[string]int{"/50%252f60.txt": 400, "/50%25.txt": 200, "/a%2541.txt": 200} {
		if resp, body := w.ask(nil, "GET", "/integrations/files/content?path="+path, "", basic("indexer", secret)); resp.StatusCode != want {
			t.Errorf("GET %s = %d %s, want %d", path, resp.StatusCode, body, want)
		}
	}
	w.stop()
	if log := w.log.String(); strings.Count(log, "left_out=2") != 1 && strings.Count(log, `"left_out":2`) != 1 || strings.Contains(log, "60.txt") {
		t.Errorf("the log says:\n%s", log)
	}
}

// TestAllowedMethods: a refusal of a method names those that are answered.
func TestAllowedMethods(t *testing.T) {
	w, secret := programs(t)
	for path, want := range map[string]string{"/files": "DELETE, GET, HEAD", "/files/move": "POST", "/people/me": "GET, HEAD"} {
		resp, body := w.ask(nil, "PATCH", "/integrations"+path, "", basic("indexer", secret))
		if got := resp.Header.Get("Allow"); resp.StatusCode != http.StatusMethodNotAllowed || got != want {
			t.Errorf("PATCH %s = %d, Allow: %s, want 405 with %s: %s", path, resp.StatusCode, got, want, body)
		}
	}
}

// TestChangesForAnIndexer: what changed is told by folder, and it costs one
// question where nothing did.
func TestChangesForAnIndexer(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	same, typed := "Sec-Fetch-Site: same-origin", "Content-Type: application/json"
	cursor := ""
	changes := func() (folders map[string][]string, asked int) {
		t.Helper()
		before := w.cloud.Calls(demo.DAV)
		body, _ := json.Marshal(map[string]string{"cursor": cursor})
		resp, text := w.ask(p, "POST", "/integrations/files/changes", string(body), same, typed)
		var said struct {
			Items []struct {
				Path  string
				Items []struct{ Path string }
			}
			Cursor string
		}
		if err := json.Unmarshal([]byte(text), &said); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("changes = %d %s", resp.StatusCode, text)
		}
		cursor, folders = said.Cursor, map[string][]string{}
		for _, f := range said.Items {
			folders[f.Path] = []string{}
			for _, i := range f.Items {
				folders[f.Path] = append(folders[f.Path], i.Path)
			}
		}
		return folders, w.cloud.Calls(demo.DAV) - before
	}
	do := func(method, path, body string, header ...string) {
		t.Helper()
		if resp, text := w.ask(p, method, path, body, append(header, same)...); resp.StatusCode/100 != 2 {
			t.Fatalf("%s %s = %d %s", method, path, resp.StatusCode, text)
		}
	}
	for _, dir := range []string{"/a/b/c", "/a/d", "/e/f"} {
		do("POST", "/integrations/files/folders", `{"path":"`+dir+`","parents":true}`, typed)
	}
	if got, _ := changes(); len(got) != 8 { // with / and Documents
		t.Errorf("the first look finds %v, want all eight folders", got)
	}
	if got, asked := changes(); len(got) != 0 || asked != 1 {
		t.Errorf("with nothing changed: %v by %d requests, want none by one", got, asked)
	}
	do("PUT", "/integrations/files/content?path=/a/b/x.txt", "x")
	if got, _ := changes(); len(got) != 3 || len(got["/a/b"]) != 2 {
		t.Errorf("after a file in /a/b: %v, want that and the two above it", got)
	}
	do("DELETE", "/integrations/files?path=/a", "")
	if got, _ := changes(); len(got) != 1 || strings.Contains(strings.Join(got["/"], " "), "/a") {
		t.Errorf("after /a is gone: %v, want / without it", got)
	}
	short := len(cursor)
	do("POST", "/integrations/files/folders", `{"path":"/a"}`, typed)
	if got, _ := changes(); len(got) != 2 || len(cursor) != short+12 {
		t.Errorf("after /a is back: %v, and the cursor grew by %d, want / and /a, and 12", got, len(cursor)-short)
	}
	if got, asked := changes(); len(got) != 0 || asked != 1 {
		t.Errorf("with nothing changed: %v by %d requests, want none by one", got, asked)
	}
	resp, text := w.ask(p, "POST", "/integrations/files/changes", `{"cursor":"x"}`, same, typed)
	if resp.StatusCode != http.StatusGone || !strings.Contains(text, "cursor_expired") {
		t.Errorf("changes by a foreign cursor = %d %s, want 410", resp.StatusCode, text)
	}
}
