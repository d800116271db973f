package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"anteroom/integrations"
)

// What a Nextcloud 24 answered, but for fields that are not read.
const (
	oneUser  = `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},"data":{"enabled":true,"id":"testdoc","lastLogin":1795379050000,"backend":"Database","subadmin":[],"quota":{"free":67932790784,"used":11287640,"total":67944078424,"relative":0.02,"quota":-3},"email":"testdoc@example.com","displayname":"Test Doctor","groups":["users"],"language":"en","notify_email":null}}}`
	bareUser = `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},"data":{"id":"x","email":null,"display-name":"X Y","groups":[],"lastLogin":0,"quota":"none"}}}`
	details  = `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},"data":{"users":{"testdoc":{"enabled":true,"id":"testdoc","lastLogin":1795379050000,"quota":{"quota":-3},"email":null,"displayname":"Test Doctor","groups":["users"]},"admin":{"id":"admin","enabled":false,"displayname":"admin","groups":["admin"]},"ghost":{"id":"ghost"}}}}}`
	nobody   = `{"ocs":{"meta":{"status":"ok","statuscode":200,"message":"OK"},"data":{"users":[]}}}`
	refused  = "<?xml version=\"1.0\"?>\n<ocs>\n <meta>\n  <status>failure</status>\n  <statuscode>997</statuscode>\n  <message>Unauthorised</message>\n </meta>\n <data/>\n</ocs>\n"
)

// directory is one whose Nextcloud gives one answer to everything.
func directory(t *testing.T, status int, body string) *Directory {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("OCS-APIRequest") != "true" || r.URL.Query().Get("format") != "json" {
			t.Errorf("%s with %v: want OCS-APIRequest, and JSON asked for", r.URL, r.Header)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return Open(s.Client(), s.URL)
}

func TestRecordedPeople(t *testing.T) {
	ctx := context.Background()
	p, err := directory(t, 200, oneUser).Person(ctx, "testdoc")
	if err != nil || p.ID != "testdoc" || p.Name != "Test Doctor" || p.Email != "testdoc@example.com" || p.Enabled == nil || !*p.Enabled || *p.Quota != -3 || *p.Used != 11287640 || p.LastLogin.Unix() != 1795379050 || len(p.Groups) != 1 {
		t.Errorf("Person = %+v, %v", p, err)
	}
	p, err = directory(t, 200, bareUser).Person(ctx, "x")
	if err != nil || p.Name != "X Y" || p.Email != "" || p.Enabled != nil || !p.LastLogin.IsZero() || p.Groups == nil {
		t.Errorf("Person = %+v, %v", p, err)
	}
	all, more, err := directory(t, 200, details).People(ctx, "", 0, 4)
	if err != nil || more || len(all) != 3 || all[0].ID != "admin" || *all[0].Enabled || all[1].ID != "ghost" {
		t.Errorf("People = %+v, %v, %v", all, more, err)
	}
	all, more, err = directory(t, 200, nobody).People(ctx, "x", 0, 2)
	if err != nil || more || len(all) != 0 || all == nil {
		t.Errorf("People = %v, %v, %v", all, more, err)
	}
}

// TestPagesOfPeople: Nextcloud counts for each of its backends, so that two of
// them give more than were asked for: none is left out for that, and the next
// page begins after as many of each.
func TestPagesOfPeople(t *testing.T) {
	backends := [][]string{{"admin", "backup"}, {"a", "b", "c", "d", "e"}} // the database, and LDAP
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		users, groups := map[string]any{}, []string{}
		for _, all := range backends {
			for _, id := range all[min(offset, len(all)):min(offset+limit, len(all))] {
				users[id], groups = map[string]string{"id": id}, append(groups, id)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"ocs": map[string]any{"meta": map[string]int{"statuscode": 200}, "data": map[string]any{"users": users, "groups": groups}}})
	}))
	t.Cleanup(s.Close)
	d := Open(s.Client(), s.URL)
	for _, limit := range []int{1, 2, 5, 100} {
		var people, groups []string
		for skip, more := 0, true; more && skip < 100; skip += limit {
			found, again, err := d.People(t.Context(), "", skip, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range found {
				people = append(people, p.ID)
			}
			more = again
		}
		for skip, more := 0, true; more && skip < 100; skip += limit {
			found, again, err := d.Groups(t.Context(), "", skip, limit)
			if err != nil {
				t.Fatal(err)
			}
			groups, more = append(groups, found...), again
		}
		slices.Sort(people)
		slices.Sort(groups)
		want := []string{"a", "admin", "b", "backup", "c", "d", "e"}
		if !slices.Equal(people, want) || !slices.Equal(groups, want) {
			t.Errorf("by %d: people %v, groups %v, want %v", limit, people, groups, want)
		}
	}
}

// TestNumbersForNames: an id of digits may come as a number, and records by such
// ids as a list.
func TestNumbersForNames(t *testing.T) {
	const envelope = `{"ocs":{"meta":{"statuscode":200},"data":%s}}`
	p, err := directory(t, 200, fmt.Sprintf(envelope, `{"id":4711,"displayname":12,"groups":[7,"staff"]}`)).Person(t.Context(), "4711")
	if err != nil || p.ID != "4711" || p.Name != "12" || !slices.Equal(p.Groups, []string{"7", "staff"}) {
		t.Errorf("Person = %+v, %v", p, err)
	}
	all, _, err := directory(t, 200, fmt.Sprintf(envelope, `{"users":[{"id":"0"},{"id":1}]}`)).People(t.Context(), "", 0, 9)
	if err != nil || len(all) != 2 || all[0].ID != "0" || all[1].ID != "1" {
		t.Errorf("People = %+v, %v", all, err)
	}
	members, err := directory(t, 200, fmt.Sprintf(envelope, `{"users":[4711,"b"]}`)).Members(t.Context(), "staff")
	if err != nil || !slices.Equal(members, []string{"4711", "b"}) {
		t.Errorf("Members = %v, %v", members, err)
	}
}

// TestGroupsByTheirNames: Nextcloud decodes a group's name from the path, and then
// once more as PHP does with a form's.
func TestGroupsByTheirNames(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ = url.QueryUnescape(strings.TrimPrefix(r.URL.Path, "/ocs/v2.php/cloud/groups/"))
		_, _ = w.Write([]byte(nobody))
	}))
	defer s.Close()
	for _, name := range []string{"staff", "Ärzte + Pflege", "100%", "a%41", "x & y?#;="} {
		if _, err := Open(s.Client(), s.URL).Members(t.Context(), name); err != nil || asked != name {
			t.Errorf("Members(%q) asks for %q (%v)", name, asked, err)
		}
	}
}

// TestOddAnswers: what is no answer is the server's fault, or says that there is
// nobody; it is never taken for somebody.
func TestOddAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   int // of the problem
	}{
		{"nobody of that id", 404, `{"ocs":{"meta":{"status":"failure","statuscode":404,"message":"User does not exist"},"data":[]}}`, 404},
		{"not an administrator", 403, `{"ocs":{"meta":{"status":"failure","statuscode":403,"message":"Logged in user must be at least a sub admin"},"data":[]}}`, 403},
		{"XML where JSON was asked for", 200, refused, 502},
		{"XML with an error", 401, refused, 502},
		{"a page", 200, "<html>maintenance</html>", 502},
		{"nothing", 200, "", 502},
		{"data that is a list", 200, `{"ocs":{"meta":{"statuscode":200},"data":[]}}`, 502},
		{"data that is a text", 200, `{"ocs":{"meta":{"statuscode":200},"data":"x"}}`, 502},
		{"no envelope", 200, `[]`, 502},
		{"a failure that says 200", 200, `{"ocs":{"meta":{"status":"failure","statuscode":404},"data":[]}}`, 0},
		{"an error", 500, "", 502},
		{"throttled", 429, "", 502},
		{"a redirect", 303, "", 502},
	} {
		p, err := directory(t, tc.status, tc.body).Person(context.Background(), "x")
		no, ok := integrations.ProblemOf(err)
		if err == nil || tc.want != 0 && (!ok || no.Status != tc.want) {
			t.Errorf("%s: Person = %+v, %v, want a problem with %d", tc.name, p, err, tc.want)
		}
		if errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
