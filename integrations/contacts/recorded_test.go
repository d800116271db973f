package contacts

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
	"time"

	"anteroom/integrations/collections"
)

// TestRecorded reads what a Nextcloud answered.
func TestRecorded(t *testing.T) {
	const home = "/remote.php/dav/addressbooks/users/testdoc/"
	answers := map[string]string{"PROPFIND " + home: "carddav-01-addressbook-home.xml", "REPORT " + home + "contacts/": "carddav-01-addressbook-query.xml"}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile("../../proxy/dav/testdata/nextcloud/" + answers[r.Method+" "+r.URL.Path])
		if err != nil {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		w.WriteHeader(http.StatusMultiStatus)
		_, _ = w.Write(b)
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL + "/remote.php/dav/addressbooks")
	ctx := context.Background()
	c, err := Open(ctx, Options{Service: collections.Service{HTTP: s.Client(), URL: u}, Home: home, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	books, err := c.Books(ctx)
	if err != nil || len(books) == 0 {
		t.Fatalf("Books = %v, %v", books, err)
	}
	book, err := Named(books, "Contacts")
	if err != nil || book.ID != "contacts" || book.ReadOnly || book.Version == "" {
		t.Errorf("Named(Contacts) = %+v, %v", book, err)
	}
	found, cut, err := c.Find(ctx, book, "")
	if err != nil || cut || len(found) != 1 || found[0].Name != "Ada Lo" || found[0].Given != "Ada" || found[0].Family != "L" || found[0].Emails[0].Value != "ada@example.com" || found[0].ETag == "" {
		t.Errorf("Find = %+v, %v, %v", found, cut, err)
	}
	answers["REPORT "+home+"contacts/"] = "carddav-01-sync-collection.xml"
	n := 0
	next, complete, err := c.Changes(ctx, book, "", func(e *collections.Change) error {
		if n++; e.ID == "" || e.Deleted {
			t.Errorf("a change %+v", e)
		}
		return nil
	})
	if err != nil || !complete || next == "" || n == 0 {
		t.Errorf("Changes = %q, %v, %v with %d", next, complete, err, n)
	}
}
