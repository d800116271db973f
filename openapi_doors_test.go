package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDocumentSaysWhatIsTaken: the OpenAPI document has the session's cookie as
// it is configured, and bounds of texts that hold as it counts them.
func TestDocumentSaysWhatIsTaken(t *testing.T) {
	w, secret := programs(t, "ANTEROOM_SESSION_COOKIE_NAME=ward")
	var doc struct {
		Components struct {
			SecuritySchemes map[string]struct{ Name string }
			Schemas         map[string]struct {
				Properties map[string]struct{ MaxLength int }
			}
		}
	}
	_, body := w.ask(nil, "GET", "/integrations/openapi.json", "", basic("indexer", secret))
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Components.SecuritySchemes["session"].Name != "ward" {
		t.Errorf("the session's cookie is %+v, %v", doc.Components.SecuritySchemes, err)
	}
	most := doc.Components.Schemas["CalendarsFields"].Properties["title"].MaxLength
	if most == 0 {
		t.Fatalf("a title's length is not said: %s", body)
	}
	if contact := doc.Components.Schemas["ContactsFields"].Properties; contact["nickname"].MaxLength == 0 || contact["recurrence"].MaxLength != 0 {
		t.Errorf("what a contact takes is %v", contact)
	}
	if taken, told := doc.Components.Schemas["ContactsTyped"], doc.Components.Schemas["Typed"]; taken.Properties["value"].MaxLength == 0 || told.Properties["value"].MaxLength != 0 {
		t.Errorf("a mail address is taken as %v and told as %v", taken, told)
	}
	for n, want := range map[int]int{most: 201, most + 1: 400} {
		event := `{"start":"2026-10-20","title":"` + strings.Repeat("ä", n) + `"}`
		if resp, body := w.ask(nil, "POST", "/integrations/calendars/personal/events", event, basic("indexer", secret), "Content-Type: application/json"); resp.StatusCode != want {
			t.Errorf("a title of %d characters = %d %s, want %d", n, resp.StatusCode, body, want)
		}
	}
}
