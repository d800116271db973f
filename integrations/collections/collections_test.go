package collections_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/caldav"

	"anteroom/integrations"
	"anteroom/integrations/collections"
)

func service(t *testing.T, path string, h http.HandlerFunc) *collections.Service {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return &collections.Service{HTTP: &http.Client{Transport: s.Client().Transport}, URL: at, Name: "The server", Kind: "event"}
}

func homeOf(ctx context.Context, client webdav.HTTPClient, endpoint, principal string) (string, error) {
	w, err := caldav.NewClient(client, endpoint)
	if err != nil {
		return "", err
	}
	return w.FindCalendarHomeSet(ctx, principal)
}

func propfound(w http.ResponseWriter, at, prop string) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	fmt.Fprintf(w, `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>%s</d:href><d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`, at, prop)
}

// TestHomeOfAServerInTrouble: a server that fails once is not taken for one that
// does not know where the account's calendars are.
func TestHomeOfAServerInTrouble(t *testing.T) {
	for name, tc := range map[string]struct {
		trouble http.HandlerFunc
		home    string // "": a refusal
		sure    bool
	}{
		"none":      {nil, "/remote.php/dav/calendars/a/", true},
		"an error":  {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }, "", false},
		"a proxy's": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, "", false},
		"half an answer": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusMultiStatus)
			io.WriteString(w, "<d:multistatus")
		}, "/remote.php/dav/", false},
		"it knows none": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusMethodNotAllowed) }, "/remote.php/dav/", false},
		"large": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusMultiStatus)
			for range 1000 {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
					return
				}
			}
		}, "/remote.php/dav/", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(t, "/remote.php/dav", func(w http.ResponseWriter, r *http.Request) {
				switch {
				case tc.trouble != nil:
					tc.trouble(w, r)
				case strings.Contains(r.URL.Path, "principals"):
					propfound(w, r.URL.Path, `<c:calendar-home-set><d:href>/remote.php/dav/calendars/a/</d:href></c:calendar-home-set>`)
				default:
					propfound(w, r.URL.Path, `<d:current-user-principal><d:href>/remote.php/dav/principals/users/a/</d:href></d:current-user-principal>`)
				}
			})
			home, sure, err := s.Home(t.Context(), homeOf)
			if _, is := integrations.ProblemOf(err); home != tc.home || sure != tc.sure || is != (tc.home == "") {
				t.Errorf("Home = %q, %v, %v; want %q, %v", home, sure, err, tc.home, tc.sure)
			}
		})
	}
}

// TestETagsOfWhatIsCompressed: a proxy that compresses on the way, and weakens
// the ETag, does not keep a resource from being changed.
func TestETagsOfWhatIsCompressed(t *testing.T) {
	s := service(t, "/", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("ETag", `W/"1"`)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			io.WriteString(z, "text")
			return
		}
		w.Header().Set("ETag", `"1"`)
		io.WriteString(w, "text")
	})
	text, etag, err := s.Held(t.Context(), "/a", `"1"`, 100)
	if text != "text" || etag != `"1"` || err != nil {
		t.Errorf("Held = %q, %s, %v; want the resource of the ETag that lists have", text, etag, err)
	}
}

// TestLists: of a list of versions one is enough.
func TestLists(t *testing.T) {
	at, _ := url.Parse("https://cloud.example.com")
	for _, c := range []struct {
		match, etag string
		want        bool
	}{
		{`"a"`, `"a"`, true}, {`"x", "a"`, `"a"`, true}, {`"a","x"`, `"a"`, true}, {` , "x" ,, "a" `, `"a"`, true}, {" * ", `"a"`, true},
		{`"x,y", "a"`, `"x,y"`, true}, {`W/"a"`, `W/"a"`, true}, {`a`, `a`, true},
		{`"x", "y"`, `"a"`, false}, {`"x,"a"`, `"a"`, false}, {`W/"a"`, `"a"`, false}, {`"a`, `"a"`, false}, {`x, *`, `"a"`, false}, {`,`, `"a"`, false},
	} {
		s := &collections.Service{HTTP: &http.Client{Transport: tagged(c.etag)}, URL: at, Kind: "event"}
		_, _, err := s.Held(t.Context(), "/a", c.match, 100)
		if p, ok := integrations.ProblemOf(err); (err == nil) != c.want || !c.want && (!ok || p.Status != http.StatusPreconditionFailed) {
			t.Errorf("If-Match: %s of %s = %v, want it taken: %v", c.match, c.etag, err, c.want)
		}
	}
}

// tagged answers with an ETag.
type tagged string

func (etag tagged) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Etag": {string(etag)}}, Body: http.NoBody, Request: r}, nil
}

// TestPlaces: hrefs lead to no other server and, within a scope, nowhere else.
func TestPlaces(t *testing.T) {
	at, _ := url.Parse("https://cloud.example.com/remote.php/dav")
	scoped := &collections.Service{URL: at, Scope: []string{"calendars", "team"}}
	open := &collections.Service{URL: at}
	for _, tc := range []struct{ href, open, scoped string }{
		{"/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/"},
		{"/remote.php/dav/calendars/team/a", "/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/"},
		{"https://evil.example.com/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/"}, // at the host that is configured
		{"/remote.php/dav/calendars/other/a/", "/remote.php/dav/calendars/other/a/", ""},
		{"/remote.php/dav/calendars/teamwork/a/", "/remote.php/dav/calendars/teamwork/a/", ""},
		{"/remote.php/dav//calendars//team/a/", "/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/"},
		{"/remote.php/dav/calendars/team/../other/a/", "", ""},
		{"/remote.php/dav/calendars/team/%2e%2e/other/a/", "", ""},
		{"/remote.php/dav/calendars/team/%252e%252e/other/a/", "", ""},
		{"/remote.php/dav/calendars/team%2f..%2fother/a/", "", ""},
		{"/remote.php/dav/calendars/team/..%5cother/a/", "", ""},
		{"calendars/team/a/", "", ""},
		{"/remote.php/dav/calendars/team/a?x=/../", "/remote.php/dav/calendars/team/a/", "/remote.php/dav/calendars/team/a/"},
		{"/a\x00b/", "", ""},
		{"", "", ""},
	} {
		for _, c := range []struct {
			s    *collections.Service
			want string
		}{{open, tc.open}, {scoped, tc.scoped}} {
			got, ok := c.s.Place(tc.href)
			if ok != (c.want != "") || ok && got != c.want {
				t.Errorf("Place(%q) within %v = %q, %v; want %q", tc.href, c.s.Scope, got, ok, c.want)
			}
			if u, err := url.Parse(c.s.At(got)); ok && (err != nil || u.Host != "cloud.example.com" || u.RawQuery != "") {
				t.Errorf("At(%q) = %v, %v", got, u, err)
			}
		}
	}
}

// TestChangesInParts: a server that tells what changed in parts is asked for all
// of them before anybody believes that they are all there is; one that breaks
// off is not asked in another way.
func TestChangesInParts(t *testing.T) {
	member := func(id string) string {
		return "<d:response><d:href>/c/" + id + "</d:href><d:propstat><d:prop><d:getetag>\"1\"</d:getetag></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
	}
	const more = `<d:response><d:href>/c/</d:href><d:status>HTTP/1.1 507 Insufficient Storage</d:status></d:response>`
	for name, tc := range map[string]struct {
		parts  map[string]string // by the token that is asked with
		cursor string
		status int // instead of 207
		ids    string
		next   string // "": a refusal
	}{
		"one part":             {parts: map[string]string{"": member("a") + member("b") + "<d:sync-token>1</d:sync-token>"}, ids: "a b", next: "1"},
		"several":              {parts: map[string]string{"": member("a") + more + "<d:sync-token>1</d:sync-token>", "1": more + member("b") + "<d:sync-token>2</d:sync-token>", "2": member("c") + "<d:sync-token>3</d:sync-token>"}, ids: "a b c", next: "3"},
		"always more":          {parts: map[string]string{"": member("a") + more + "<d:sync-token>1</d:sync-token>", "1": more + "<d:sync-token>1</d:sync-token>"}},
		"other places":         {parts: map[string]string{"": member("a") + member("d/b") + strings.ReplaceAll(member("x"), "/c/", "/e/") + "<d:sync-token>1</d:sync-token>"}, ids: "a", next: "1"},
		"it breaks off":        {parts: map[string]string{"": member("a") + "<d:oops>"}},
		"an error":             {status: http.StatusInternalServerError},
		"an error, later":      {status: http.StatusBadGateway, cursor: "1"},
		"it knows no changes":  {status: http.StatusNotImplemented, ids: "z", next: "list:"},
		"nor lets one ask":     {status: http.StatusForbidden, ids: "z", next: "list:"},
		"the token of another": {status: http.StatusForbidden, cursor: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(t, "/", func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				_, token, _ := strings.Cut(string(b), "<d:sync-token>")
				token, _, _ = strings.Cut(token, "<")
				body := tc.parts[token]
				switch {
				case r.Method == "PROPFIND":
					body = member("z")
				case tc.status != 0:
					w.WriteHeader(tc.status)
					return
				}
				w.WriteHeader(http.StatusMultiStatus)
				io.WriteString(w, `<d:multistatus xmlns:d="DAV:">`+body+`</d:multistatus>`)
			})
			var ids []string
			next, complete, err := s.Changes(t.Context(), "/c/", tc.cursor, func(c *collections.Change) error { ids = append(ids, c.ID); return nil })
			_, refused := integrations.ProblemOf(err)
			if refused != (tc.next == "") || !refused && (strings.Join(ids, " ") != tc.ids || !strings.HasPrefix(next, tc.next) || !complete) {
				t.Errorf("Changes = %v, %q, complete %v, %v; want %s and %q", ids, next, complete, err, tc.ids, tc.next)
			}
		})
	}
}

// TestSameUID: a resource of the same UID under another name is said to be
// there, in whichever words the server refuses the second; other refusals are
// not taken for that.
func TestSameUID(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"Nextcloud", `<?xml version="1.0"?><d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>Sabre\DAV\Exception\BadRequest</s:exception><s:message>Calendar object with uid already exists in this calendar collection.</s:message></d:error>`, 400, integrations.ReasonExists},
		{"by RFC 4791", `<d:error xmlns:d="DAV:"><c:no-uid-conflict xmlns:c="urn:ietf:params:xml:ns:caldav"/></d:error>`, 403, integrations.ReasonExists},
		{"by that name", "", 412, integrations.ReasonExists},
		{"something else", "no", 409, integrations.ReasonConflict},
		{"not iCalendar", "no", 415, integrations.ReasonMediaType},
		{"in trouble", "uid already exists", 500, integrations.ReasonAnswer},
	} {
		s := service(t, "/", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		})
		_, err := s.Make(t.Context(), "/a.ics", "text/calendar", "x")
		if p, ok := integrations.ProblemOf(err); !ok || p.Reason != tt.want {
			t.Errorf("%s: Make = %v, want %s", tt.name, err, tt.want)
		}
	}
}

// TestSetBack: a Nextcloud that was set back to a backup answers that nothing
// changed since; whoever asks is told to begin anew.
func TestSetBack(t *testing.T) {
	s := service(t, "/", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		io.WriteString(w, `<d:multistatus xmlns:d="DAV:"><d:sync-token>http://sabre.io/ns/sync/4</d:sync-token></d:multistatus>`)
	})
	for cursor, want := range map[string]string{"": "", "http://sabre.io/ns/sync/3": "", "http://sabre.io/ns/sync/4": "", "http://sabre.io/ns/sync/999999": integrations.ReasonCursor, "http://radicale.org/ns/sync/9": ""} {
		next, _, err := s.Changes(t.Context(), "/cal/", cursor, func(*collections.Change) error { return nil })
		p, _ := integrations.ProblemOf(err)
		if want == "" && (err != nil || next != "http://sabre.io/ns/sync/4") || want != "" && (p == nil || p.Reason != want || p.Status != http.StatusGone) {
			t.Errorf("Changes(%q) = %q, %v, want %q", cursor, next, err, want)
		}
	}
}
