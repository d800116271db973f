package demo

import (
	"crypto/rand"
	"crypto/subtle"
	"net/url"
	"slices"
	"sync"
)

// The first of the [DefaultUsers] and the one of the [DefaultClients].
const (
	DefaultUser         = "testdoc"
	DefaultPassword     = "testdoc123"
	DefaultClientID     = "AnteroomDemoClient000000000000000000000000000000000000000000demo"
	DefaultClientSecret = "OnlyForTheDemoOnLoopback0000000000000000000000000000000000secret"
)

// User is a person who has an account.
type User struct {
	UID      string
	Password string
	Name     string // display name
	Email    string // may be used to sign in instead of the uid
	Groups   []string
}

// DefaultUsers are two ordinary people and an administrator.
func DefaultUsers() []User {
	return []User{
		{DefaultUser, DefaultPassword, "Test Doctor", "testdoc@example.com", []string{"users"}},
		{"admin", "admin_dev_password", "Ada Admin", "admin@example.com", []string{"admin"}},
		{"nurse", "nurse123", "Nora Nürse", "nurse@example.com", []string{"users", "ward-3"}},
	}
}

// Client is an application registered with both the built-in OAuth2 and the
// oidc app.
type Client struct {
	ID           string
	Secret       string   // not asked for where Public
	Name         string   // shown on the grant page
	RedirectURIs []string // the built-in OAuth2 uses the first
	LogoutURIs   []string // where end_session may lead; nil: the origins of RedirectURIs, with any path (0.6) or exactly "/" (2.0)
	Public       bool     // has no secret (oidc app)
	HS256        bool     // id_tokens are signed with the secret instead of a key (oidc app)
}

// DefaultClients is Anteroom at http://localhost:8000.
func DefaultClients() []Client {
	return []Client{{ID: DefaultClientID, Secret: DefaultClientSecret, Name: "Anteroom", RedirectURIs: []string{"http://localhost:8000/auth/callback"}}}
}

// account is a user and what happened to them.
type account struct {
	User
	disabled bool
}

// directory holds the accounts.
type directory struct {
	mu   sync.Mutex
	list []account // guarded by mu
}

func newDirectory(users []User) *directory {
	d := new(directory)
	for _, u := range users {
		d.list = append(d.list, account{User: u})
	}
	return d
}

// get finds an account by uid.
func (d *directory) get(uid string) (account, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.list {
		if a.UID == uid {
			return a, true
		}
	}
	return account{}, false
}

// named finds an account by uid or mail address.
func (d *directory) named(login string) (account, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.list {
		if a.UID == login || (a.Email != "" && a.Email == login) {
			return a, true
		}
	}
	return account{}, false
}

// check finds the account that a login name and its password open.
func (d *directory) check(login, password string) (account, bool) {
	a, ok := d.named(login)
	if !ok || !equal(a.Password, password) {
		return account{}, false
	}
	return a, true
}

// uids lists every account.
func (d *directory) uids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []string{}
	for _, a := range d.list {
		list = append(list, a.UID)
	}
	return list
}

// groups lists every group, sorted.
func (d *directory) groups() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []string{"admin"}
	for _, a := range d.list {
		list = append(list, a.Groups...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (d *directory) edit(uid string, f func(*account)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.list {
		if d.list[i].UID == uid {
			f(&d.list[i])
		}
	}
}

// registry holds the clients.
type registry struct {
	mu   sync.Mutex
	list []Client // guarded by mu
}

func newRegistry(clients []Client) *registry {
	r := new(registry)
	for _, c := range clients {
		c.RedirectURIs = slices.Clone(c.RedirectURIs)
		r.list = append(r.list, c)
	}
	return r
}

func (r *registry) get(id string) (Client, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.list {
		if c.ID == id && id != "" {
			c.RedirectURIs = slices.Clone(c.RedirectURIs)
			return c, true
		}
	}
	return Client{}, false
}

func (r *registry) addRedirect(id, uri string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		if r.list[i].ID == id {
			r.list[i].RedirectURIs = slices.Insert(r.list[i].RedirectURIs, 0, uri)
		}
	}
}

func (r *registry) setSecret(id, secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.list {
		if r.list[i].ID == id {
			r.list[i].Secret = secret
		}
	}
}

// redirect is the one redirect URI the built-in OAuth2 knows.
func (c Client) redirect() string {
	if len(c.RedirectURIs) == 0 {
		return ""
	}
	return c.RedirectURIs[0]
}

// logoutURIs are the addresses end_session may lead to.
func (c Client) logoutURIs() []string {
	if c.LogoutURIs != nil {
		return c.LogoutURIs
	}
	var list []string
	for _, s := range c.RedirectURIs {
		if u, err := url.Parse(s); err == nil {
			list = append(list, u.Scheme+"://"+u.Host+"/")
		}
	}
	return list
}

// equal compares two secrets in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// alnum is a random string of n letters and digits, as Nextcloud's tokens are.
func alnum(n int) string {
	const set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out, buf := make([]byte, 0, n), make([]byte, n)
	for len(out) < n {
		rand.Read(buf) // never fails, see crypto/rand
		for _, b := range buf {
			if int(b) < 256/len(set)*len(set) && len(out) < n {
				out = append(out, set[int(b)%len(set)])
			}
		}
	}
	return string(out)
}
