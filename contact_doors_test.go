package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"anteroom/demo"
)

// TestContactsForPrograms: what a program does with an address book, by its
// secret.
func TestContactsForPrograms(t *testing.T) {
	w, secret := programs(t)
	auth, typed := basic("indexer", secret), "Content-Type: application/json"
	ask := func(method, path, body string, header ...string) (*http.Response, string) {
		t.Helper()
		if body != "" {
			header = append(header, typed)
		}
		return w.ask(nil, method, path, body, append(header, auth)...)
	}
	const cards = "/integrations/contacts/contacts/cards"
	// A card that somebody else's program wrote, with what Anteroom has no field for.
	const foreign = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:ada\r\nFN:Ada Lovelace\r\nN:Lovelace;Ada;King;Dr.;\\, Countess\r\nitem1.EMAIL;TYPE=\"home,internet\";PREF=1:ada@example.com\r\nitem1.X-ABLabel:Zuhause\r\nTEL;VALUE=uri;TYPE=cell:tel:+49-30-1234\r\nORG:Analytical\\; Engines;Tables\r\nBDAY:18151210\r\nX-UNKNOWN;X=\"a:b\":kept\r\nPHOTO:data:image/png;base64,iVBOR\r\n w0KGgo=\r\nNOTE:eins\\nzwei\\, drei\r\nEND:VCARD\r\n"
	dav := w.cloudURL + "/remote.php/dav/addressbooks/users/testdoc/contacts/ada.vcf"
	raw := func(method, body string) string {
		t.Helper()
		r, _ := http.NewRequest(method, dav, strings.NewReader(body))
		r.SetBasicAuth("testdoc", demo.DefaultPassword)
		r.Header.Set("Content-Type", "text/vcard")
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode/100 != 2 {
			t.Fatalf("%s = %v %v", method, resp, err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		_ = resp.Write(&b)
		return b.String()
	}
	raw("PUT", foreign)

	resp, body := ask("POST", cards, `{"name":"Grace; Hopper","given":"Grace","family":"Hop, per","emails":[{"value":"grace@example.com","type":"work"},{"value":"x@example.com\u0000"}]}`)
	if resp.StatusCode != 400 || !strings.Contains(body, `emails[1].value`) {
		t.Errorf("create with a NUL = %d %s", resp.StatusCode, body)
	}
	resp, body = ask("POST", cards, `{"name":"Grace; Hopper","given":"Grace","family":"Hop, per","emails":[{"value":"grace@example.com","type":"work"}],"phones":[{"value":"+1 2","type":"c\"ell;X:"}],"addresses":[{"type":"home","street":"A; B","city":"Berlin"}],"birthday":"1906-12-09","note":"a\nEND:VCARD\nX:1","categories":["a,b","c"],"uid":"grace"}`)
	var made struct{ ID, ETag string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || resp.StatusCode != 201 || made.ID != "grace.vcf" || made.ETag == "" || resp.Header.Get("Location") != cards+"/grace.vcf" {
		t.Fatalf("create = %d %s", resp.StatusCode, body)
	}
	for _, s := range []struct {
		method, path, body string
		header             []string
		want               int
		says               string
	}{
		{"GET", "/integrations/contacts", "", nil, 200, `"id":"contacts"`},
		{"GET", cards, "", nil, 200, `"name":"Ada Lovelace","given":"Ada","family":"Lovelace","emails":[{"value":"ada@example.com","type":"home"}],"phones":[{"value":"+49-30-1234","type":"cell"}],"organization":"Analytical; Engines","department":"Tables","birthday":"1815-12-10","note":"eins\nzwei, drei"`},
		{"GET", cards + "?text=GRACE@", "", nil, 200, `"name":"Grace; Hopper","given":"Grace","family":"Hop, per","emails":[{"value":"grace@example.com","type":"work"}],"phones":[{"value":"+1 2","type":"cell;x:"}],"addresses":[{"type":"home","street":"A; B","city":"Berlin"}],"birthday":"1906-12-09","note":"a\nEND:VCARD\nX:1","categories":["a,b","c"]`},
		{"GET", cards + "?text=nobody", "", nil, 200, `"items":[]`},
		{"GET", cards + "?limit=1", "", nil, 200, `"cursor":"`},
		{"GET", cards + "/nobody.vcf", "", nil, 404, "not_found"},
		{"GET", cards + "/..%2fx.vcf", "", nil, 400, ""},
		{"GET", "/integrations/contacts/nowhere/cards", "", nil, 404, "address book"},
		{"POST", cards, `{"name":"x","uid":"grace"}`, nil, 409, "already_exists"},
		{"POST", cards, `{"given":"x"}`, nil, 400, `"field":"name"`},
		{"POST", cards, `{"name":"x","birthday":"yesterday"}`, nil, 400, `"field":"birthday"`},
		{"POST", cards, `{"name":"x","birthday":"--02-30"}`, nil, 400, `"field":"birthday"`},
		{"POST", cards, `{"name":"x","birthday":"--02-29","uid":"leap"}`, nil, 201, `"birthday":"--02-29"`},
		{"DELETE", cards + "/leap.vcf", "", []string{"If-Match: *"}, 204, ""},
		{"POST", cards, `{"name":"x","url":"http://a\r\nX:1"}`, nil, 400, `"field":"url"`},
		{"PATCH", cards + "/ada.vcf", `{"note":""}`, nil, 428, "condition_required"},
		{"PATCH", cards + "/ada.vcf", `{"note":""}`, []string{`If-Match: "old", "older"`}, 412, "changed_meanwhile"},
		{"PATCH", cards + "/ada.vcf", `{"note":"","family":"King","birthday":"1815-12-11"}`, []string{"If-Match: *"}, 200, `"family":"King"`},
		{"GET", cards + "/ada.vcf", "", nil, 200, `"has_photo":true`},
		{"DELETE", cards + "/grace.vcf", "", nil, 428, "condition_required"},
		{"DELETE", cards + "/grace.vcf", "", []string{"If-Match: " + made.ETag}, 204, ""},
		{"GET", "/integrations/contacts/contacts/changes", "", nil, 200, `"id":"ada.vcf"`},
	} {
		resp, body := ask(s.method, s.path, s.body, s.header...)
		if resp.StatusCode != s.want || !strings.Contains(body, s.says) {
			t.Errorf("%s %s %s = %d %s, want %d with %q", s.method, s.path, s.body, resp.StatusCode, body, s.want, s.says)
		}
	}
	// What was not named is there as it was, to the byte.
	now := raw("GET", "")
	for _, line := range []string{"N:King;Ada;King;Dr.;\\, Countess\r\n", "item1.EMAIL;TYPE=\"home,internet\";PREF=1:ada@example.com\r\n", "item1.X-ABLabel:Zuhause\r\n", "X-UNKNOWN;X=\"a:b\":kept\r\n", "PHOTO:data:image/png;base64,iVBOR\r\n w0KGgo=\r\n", "BDAY:18151211\r\n", "ORG:Analytical\\; Engines;Tables\r\n"} {
		if !strings.Contains(now, line) {
			t.Errorf("%q is not in the card now:\n%s", line, now)
		}
	}
	if strings.Contains(now, "NOTE") {
		t.Errorf("the note is still there:\n%s", now)
	}
}
