package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestCursorsOfCollections: a list of events or contacts goes on by its cursor
// while nothing changed, and is refused after that.
func TestCursorsOfCollections(t *testing.T) {
	w, secret := programs(t)
	ask := func(method, path, body string) (*http.Response, string) {
		t.Helper()
		return w.ask(nil, method, path, body, basic("indexer", secret), "Content-Type: application/json")
	}
	for _, tt := range []struct{ list, one string }{
		{"/integrations/calendars/personal/events?from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:00Z&limit=2", `{"title":"%d","start":"2026-10-0%dT09:00:00Z"}`},
		{"/integrations/contacts/contacts/cards?limit=2", `{"name":"%d","note":"%d"}`},
	} {
		at, _, _ := strings.Cut(tt.list, "?")
		make := func(i int) {
			t.Helper()
			if resp, body := ask("POST", at, fmt.Sprintf(tt.one, i, i)); resp.StatusCode != 201 {
				t.Fatalf("POST %s = %d %s", at, resp.StatusCode, body)
			}
		}
		for i := 1; i < 4; i++ {
			make(i)
		}
		var first, second struct {
			Items  []json.RawMessage
			Cursor string
		}
		_, body := ask("GET", tt.list, "")
		if err := json.Unmarshal([]byte(body), &first); err != nil || len(first.Items) != 2 || first.Cursor == "" {
			t.Fatalf("%s = %s", tt.list, body)
		}
		next := tt.list + "&cursor=" + first.Cursor
		if resp, body := ask("GET", next, ""); resp.StatusCode != 200 || json.Unmarshal([]byte(body), &second) != nil || len(second.Items) != 1 || second.Cursor != "" {
			t.Errorf("%s = %d %s, want the third", next, resp.StatusCode, body)
		}
		make(4)
		if resp, body := ask("GET", next, ""); resp.StatusCode != http.StatusGone || !strings.Contains(body, "cursor_expired") {
			t.Errorf("after a change: %s = %d %s, want 410", next, resp.StatusCode, body)
		}
		if resp, body := ask("GET", tt.list+"&cursor=x", ""); resp.StatusCode != 400 {
			t.Errorf("by no cursor: %d %s, want 400", resp.StatusCode, body)
		}
	}
}
