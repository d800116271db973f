// Package people is who there is at a Nextcloud, as its provisioning API
// (OCS) tells an account that may ask. It trusts no answer to be small, to be
// JSON because JSON was asked for, or to have the members it should.
package people

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"anteroom/integrations"
)

// Directory is asked about people. Safe for concurrent use.
type Directory struct {
	http *http.Client
	base string
}

// Open makes a Directory of a Nextcloud's base URL. The client attaches the
// credential; see [integrations.Access.Wire].
func Open(client *http.Client, base string) *Directory {
	return &Directory{client, strings.TrimSuffix(base, "/") + "/ocs/v2.php/cloud"}
}

// Person is what Nextcloud says of somebody.
type Person struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Email     string    `json:"email,omitempty"`
	Groups    []string  `json:"groups"`
	Enabled   *bool     `json:"enabled,omitempty" doc:"whether the account may sign in; missing where only administrators are told"`
	Language  string    `json:"language,omitempty"`
	LastLogin time.Time `json:"last_login,omitzero"`
	Used      *int64    `json:"quota_used,omitempty" doc:"bytes"`
	Quota     *int64    `json:"quota,omitempty" doc:"bytes; -1 not computed, -2 unknown, -3 unlimited"`
}

// record is Nextcloud's. The name is called differently in different places,
// and what is empty may be null, or a list.
type record struct {
	ID          name            `json:"id"`
	DisplayName name            `json:"displayname"`
	DisplayDash name            `json:"display-name"`
	Email       *string         `json:"email"`
	Groups      names           `json:"groups"`
	Enabled     *bool           `json:"enabled"`
	Language    string          `json:"language"`
	LastLogin   json.Number     `json:"lastLogin"` // milliseconds; 0 or -1 for never
	Quota       json.RawMessage `json:"quota"`
}

// name is an id or a name. One of digits alone may be a number: PHP makes them
// so where they are keys.
type name string

// UnmarshalJSON implements json.Unmarshaler.
func (n *name) UnmarshalJSON(b []byte) error {
	var number json.Number // of a text, too
	if b[0] != '"' && json.Unmarshal(b, &number) == nil {
		*n = name(number)
		return nil
	}
	return json.Unmarshal(b, (*string)(n))
}

// names are some. What is none of them has no names in it.
type names []name

// UnmarshalJSON implements json.Unmarshaler.
func (n *names) UnmarshalJSON(b []byte) error {
	var all []name
	if json.Unmarshal(b, &all) == nil {
		*n = all
	}
	return nil
}

func (n names) strings() []string {
	all := make([]string, len(n))
	for i := range n {
		all[i] = string(n[i])
	}
	return all
}

func (r *record) person() Person {
	p := Person{ID: string(r.ID), Name: string(r.DisplayName), Groups: r.Groups.strings(), Enabled: r.Enabled, Language: r.Language}
	if p.Name == "" {
		p.Name = string(r.DisplayDash)
	}
	if r.Email != nil {
		p.Email = *r.Email
	}
	if ms, err := r.LastLogin.Int64(); err == nil && ms > 0 {
		p.LastLogin = time.UnixMilli(ms).UTC().Truncate(time.Second)
	}
	var q struct{ Used, Quota json.RawMessage }
	if json.Unmarshal(r.Quota, &q) == nil {
		p.Used, p.Quota = number(q.Used), number(q.Quota)
	}
	return p
}

// number reads what may be a number, or the word none for no limit.
func number(raw json.RawMessage) *int64 {
	var f float64
	if json.Unmarshal(raw, &f) == nil && len(raw) > 0 && string(raw) != "null" {
		n := int64(f)
		return &n
	}
	if string(raw) == `"none"` {
		n := int64(-3)
		return &n
	}
	return nil
}

// Person is one by id.
func (d *Directory) Person(ctx context.Context, id string) (Person, error) {
	var r record
	if err := d.get(ctx, "/users/"+url.PathEscape(id), nil, "person", &r); err != nil {
		return Person{}, err
	}
	if r.ID == "" {
		return Person{}, integrations.Unusable("Nextcloud", errors.New("a user record without an id"))
	}
	return r.person(), nil
}

// People are those whose id, name or mail address has a text in it, by id; more
// reports that there may be more after skip and limit, which is at least 1.
// Nextcloud counts both for each of its backends of users: where it has several,
// more than limit come, and none of them again.
func (d *Directory) People(ctx context.Context, text string, skip, limit int) (people []Person, more bool, err error) {
	var data struct {
		Users json.RawMessage `json:"users"`
	}
	if err := d.get(ctx, "/users/details", page(text, skip, limit), "list of people", &data); err != nil {
		return nil, false, err
	}
	people = []Person{}
	var list []record // where it is empty, or the ids are 0, 1, 2
	if json.Unmarshal(data.Users, &list) == nil {
		for _, r := range list {
			people = append(people, r.person())
		}
		return people, len(people) >= limit, nil
	}
	var byID map[string]record
	if err := json.Unmarshal(data.Users, &byID); err != nil {
		return nil, false, integrations.Unusable("Nextcloud", fmt.Errorf("reading people: %w", err))
	}
	for id, r := range byID {
		if r.ID == "" {
			r.ID = name(id) // that is all it says of some
		}
		people = append(people, r.person())
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.ID, b.ID) })
	return people, len(people) >= limit, nil
}

func isEmptyList(raw json.RawMessage) bool {
	var list []json.RawMessage
	return json.Unmarshal(raw, &list) == nil && len(list) == 0
}

// Groups are those whose name has a text in it; as for People.
func (d *Directory) Groups(ctx context.Context, text string, skip, limit int) (groups []string, more bool, err error) {
	var data struct {
		Groups names `json:"groups"`
	}
	if err := d.get(ctx, "/groups", page(text, skip, limit), "list of groups", &data); err != nil {
		return nil, false, err
	}
	return data.Groups.strings(), len(data.Groups) >= limit, nil
}

// Members are the ids of who is in a group.
func (d *Directory) Members(ctx context.Context, group string) ([]string, error) {
	var data struct {
		Users names `json:"users"`
	}
	once := strings.NewReplacer("%", "%25", "+", "%2B").Replace(group) // Nextcloud decodes it a second time, as a form's
	if err := d.get(ctx, "/groups/"+url.PathEscape(once), nil, "group", &data); err != nil {
		return nil, err
	}
	return data.Users.strings(), nil
}

func page(text string, skip, limit int) url.Values {
	q := url.Values{"limit": {strconv.Itoa(limit)}, "offset": {strconv.Itoa(skip)}}
	if text != "" {
		q.Set("search", text)
	}
	return q
}

const maxAnswer = 8 << 20

// get asks one question. What is refused comes with the status, and the reason
// within the envelope.
func (d *Directory) get(ctx context.Context, path string, query url.Values, what string, into any) error {
	if query == nil {
		query = url.Values{}
	}
	query.Set("format", "json")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return integrations.Invalid("id", "cannot be asked for.")
	}
	r.Header.Set("OCS-APIRequest", "true")
	r.Header.Set("Accept", "application/json")
	resp, err := d.http.Do(r)
	if err != nil {
		return integrations.Lost(err)
	}
	defer resp.Body.Close()
	if p := integrations.Answered(resp, what); p != nil {
		return p
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return integrations.Lost(err)
	case len(b) > maxAnswer:
		return integrations.Unusable("Nextcloud", errors.New("an OCS answer that is too large"))
	}
	var envelope struct {
		OCS struct {
			Meta struct {
				Code int `json:"statuscode"`
			} `json:"meta"`
			Data json.RawMessage `json:"data"`
		} `json:"ocs"`
	}
	if err := json.Unmarshal(b, &envelope); err != nil {
		return integrations.Unusable("Nextcloud", fmt.Errorf("reading an OCS answer: %w", err))
	}
	switch code := envelope.OCS.Meta.Code; {
	case code == 404 || code == 998:
		return integrations.NotFound(what)
	case code == 403 || code == 997:
		return &integrations.Problem{Status: http.StatusForbidden, Reason: integrations.ReasonForbidden, Text: "Nextcloud does not let this account do that."}
	case code != 100 && code/100 != 2:
		return integrations.Unusable("Nextcloud", fmt.Errorf("OCS status %d", code))
	}
	if err := json.Unmarshal(envelope.OCS.Data, into); err != nil && !isEmptyList(envelope.OCS.Data) {
		return integrations.Unusable("Nextcloud", fmt.Errorf("reading OCS data: %w", err))
	}
	return nil
}
