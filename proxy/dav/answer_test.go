package dav

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"anteroom/integrations"
)

// TestPrincipalsAside: who may use calendars alone still finds theirs, by way
// of the server's principals, which are there to be read and nothing else.
func TestPrincipalsAside(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusMultiStatus)
		io.WriteString(w, `<d:x xmlns:d="DAV:"><d:href>/remote.php/dav/principals/users/svc/</d:href><d:href>/remote.php/dav/calendars/svc/</d:href><d:href>/remote.php/dav/files/svc/</d:href></d:x>`)
	})
	for name, change := range map[string]func(*integrations.DAV){
		"not served":       func(d *integrations.DAV) { d.Mount = integrations.NoMount },
		"not for them":     func(d *integrations.DAV) { d.Allow.Users = []string{"somebody"} },
		"out of its scope": func(d *integrations.DAV) { d.Scope = "/files/svc/Shared" },
	} {
		cfg := services(u.URL)
		change(&cfg.WebDAV)
		cfg.CalDAV.Scope = "/svc"
		f := newFront(t, cfg, nil)
		resp, body := f.ask(t, "PROPFIND", "/calendar/svc/", "")
		want := `<d:x xmlns:d="DAV:"><d:href>/calendar/~/principals/users/svc/</d:href><d:href>/calendar/svc/</d:href><d:href>/remote.php/dav/files/svc/</d:href></d:x>`
		if resp.StatusCode != 207 || body != want {
			t.Errorf("files %s: %d\n got %s\nwant %s", name, resp.StatusCode, body, want)
		}
		u.heard()
		for _, tt := range []struct {
			method, uri, destination string
			want                     int
			heard                    string
		}{
			{"PROPFIND", "/calendar/~/principals/users/svc/", "", 207, "/remote.php/dav/principals/users/svc/"},
			{"REPORT", "/calendar/~/principals/users/svc/", "", 403, ""},
			{"PROPPATCH", "/calendar/~/principals/users/svc/", "", 403, ""},
			{"DELETE", "/calendar/~/principals", "", 403, ""},
			{"COPY", "/calendar/svc/x", "/calendar/~/principals/x", 403, ""},
			{"PROPFIND", "/calendar/~/principals/../files/", "", 400, ""},
			{"PROPFIND", "/calendar/~/principalsx", "", 403, ""},
			{"PROPFIND", "/calendar/~/files", "", 403, ""},
		} {
			var headers []string
			if tt.destination != "" {
				headers = append(headers, "Destination: "+tt.destination)
			}
			resp, body := f.ask(t, tt.method, tt.uri, "", headers...)
			heard := ""
			if h := u.heard(); len(h) > 0 {
				heard = h[0].uri
			}
			if resp.StatusCode != tt.want || heard != tt.heard {
				t.Errorf("files %s: %s %s = %d %s, the server was asked for %q; want %d and %q", name, tt.method, tt.uri, resp.StatusCode, body, heard, tt.want, tt.heard)
			}
		}
	}
}

// TestCompressedAnswers are mapped, and decoded on the way.
func TestCompressedAnswers(t *testing.T) {
	doc := multistatus(2000, "/remote.php/dav")
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusMultiStatus)
		z := gzip.NewWriter(w)
		z.Write(doc)
		z.Close()
	})
	f := newFront(t, services(u.URL), nil)
	resp, body := f.ask(t, "PROPFIND", "/dav/files/svc/", "", "Accept-Encoding: gzip")
	want := bytes.ReplaceAll(doc, []byte(">/remote.php/dav/"), []byte(">/dav/"))
	if resp.StatusCode != http.StatusMultiStatus || body != string(want) || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("PROPFIND = %d, %d bytes %s; want 207 and %d bytes", resp.StatusCode, len(body), resp.Header.Get("Content-Encoding"), len(want))
	}
	if a := u.heard()[0].h.Get("Accept-Encoding"); a != "" && a != "identity" {
		t.Errorf("Accept-Encoding = %q, want none: what is mapped has to be read", a)
	}
}
