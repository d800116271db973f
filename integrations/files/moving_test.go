package files

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
)

// TestReplacingOneself: a destination that is the source in other letters, or a
// folder above it, is not replaced; where the server tells the two apart, it is.
func TestReplacingOneself(t *testing.T) {
	for _, tt := range []struct {
		name, from, to string
		fold           func(string) string // the paths that the server takes for the same
		refused        bool
	}{
		{"another name", "/a.txt", "/b.txt", strings.ToLower, false},
		{"another normalization", "/\u00e4.txt", "/a\u0308.txt", alike, true},
		{"another, of a folder above", "/\u00e4/x.txt", "/a\u0308", alike, true},
		{"other capitals", "/dir/a.txt", "/Dir/A.txt", strings.ToLower, true},
		{"other capitals of a folder above", "/dir/sub/a.txt", "/DIR/Sub", strings.ToLower, true},
		{"other capitals, of another file", "/a.txt", "/A.txt", strings.Clone, false},
		{"another file in a folder of that name", "/a/x.txt", "/A/y.txt", strings.ToLower, false},
	} {
		ids, moved := map[string]int{}, 0
		id := func(path string) int {
			key := tt.fold(strings.TrimSuffix(path, "/"))
			if ids[key] == 0 {
				ids[key] = len(ids) + 1
			}
			return ids[key]
		}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "PROPFIND" {
				moved++
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.WriteHeader(http.StatusMultiStatus)
			fmt.Fprintf(w, `<d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:response><d:href>%s</d:href><d:propstat><d:prop><oc:fileid>%d</oc:fileid></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`, r.URL.EscapedPath(), id(r.URL.Path))
		}))
		u, _ := url.Parse(s.URL + davRoot)
		f, err := Open(t.Context(), Options{HTTP: &http.Client{Transport: http.DefaultTransport}, URL: u, User: "testdoc"})
		if err != nil {
			t.Fatal(err)
		}
		for name, do := range map[string]func() (bool, error){
			"Move": func() (bool, error) { return f.Move(t.Context(), tt.from, tt.to, true, "") },
			"Copy": func() (bool, error) { return f.Copy(t.Context(), tt.from, tt.to, true, "") },
		} {
			moved = 0
			_, err := do()
			p, _ := integrations.ProblemOf(err)
			if tt.refused != (p != nil && p.Status == http.StatusConflict) || tt.refused != (moved == 0) {
				t.Errorf("%s: %s = %v with %d requests, want refused %v", tt.name, name, err, moved, tt.refused)
			}
		}
		s.Close()
	}
}

// TestServerByAddress: a server may be named by an IPv6 address.
func TestServerByAddress(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no IPv6 here")
	}
	host, asked := l.Addr().String(), []string{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.Host+" "+r.URL.EscapedPath()+" "+r.Header.Get("Destination"))
		w.WriteHeader(http.StatusCreated)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	u, _ := url.Parse(s.URL + davRoot)
	f, err := Open(t.Context(), Options{HTTP: &http.Client{Transport: http.DefaultTransport}, URL: u, User: "testdoc"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.MakeFolder(t.Context(), "/[a]", false); err != nil {
		t.Error(err)
	}
	if _, err := f.Move(t.Context(), "/[a]", "/b c", false, ""); err != nil {
		t.Error(err)
	}
	const home = davRoot + "/files/testdoc/"
	want := []string{"MKCOL " + host + " " + home + "%5Ba%5D/ ", "MOVE " + host + " " + home + "%5Ba%5D http://" + host + home + "b%20c"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
}
