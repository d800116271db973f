package demo

import (
	"sync"
	"time"
)

// grant is what one person allowed one client. In Nextcloud 24 the code and,
// after it, the refresh token are one field of one row; here it is key.
type grant struct {
	row       int
	client    string
	uid       string
	scope     string
	nonce     string
	challenge string // PKCE S256 or plain, "" without
	method    string // S256 or plain
	authTime  time.Time

	key         string // code, later refresh token; "": no more to redeem
	keyUntil    time.Time
	access      string // "" before the code is redeemed
	accessUntil time.Time
	redeemed    bool   // the code has been used
	code        string // the used code
}

// expired reports whether a moment has passed; the zero time never does.
func expired(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// grants is the table of one app.
type grants struct {
	mu     sync.Mutex
	last   int            // guarded by mu, like the rest
	rows   map[int]*grant // by row number
	keys   map[string]int // code or refresh token → row
	access map[string]int // access token → row
	used   map[string]int // used code → row
	spent  map[string]int // used refresh token → row
	reuses int            // of refresh tokens
}

func newGrants() *grants {
	return &grants{rows: make(map[int]*grant), keys: make(map[string]int), access: make(map[string]int), used: make(map[string]int), spent: make(map[string]int)}
}

// add stores a new grant and numbers it.
func (g *grants) add(x grant) grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	x.row = g.last
	g.rows[x.row] = &x
	g.index(&x)
	return x
}

func (g *grants) index(x *grant) {
	if x.key != "" {
		g.keys[x.key] = x.row
	}
	if x.access != "" {
		g.access[x.access] = x.row
	}
	if x.code != "" {
		g.used[x.code] = x.row
	}
}

func (g *grants) unindex(x *grant) {
	delete(g.keys, x.key)
	delete(g.access, x.access)
	delete(g.used, x.code)
}

// byKey finds a grant by its code or refresh token.
func (g *grants) byKey(key string) (grant, bool) { return g.lookup(g.keys, key) }

// byAccess finds a grant by its access token, expired or not.
func (g *grants) byAccess(token string) (grant, bool) { return g.lookup(g.access, token) }

// byUsedCode finds the grant whose code was redeemed before.
func (g *grants) byUsedCode(code string) (grant, bool) { return g.lookup(g.used, code) }

func (g *grants) lookup(index map[string]int, key string) (grant, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	row, ok := index[key]
	if !ok || key == "" {
		return grant{}, false
	}
	return *g.rows[row], true
}

// replace writes a grant back under its row number. With guard set, only if its
// key is still the one given: without, as Nextcloud 24 does it, whoever writes
// last wins and the others hold dead tokens. It reports whether it wrote.
func (g *grants) replace(x grant, guard bool, key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.rows[x.row]
	if !ok || guard && old.key != key {
		return false
	}
	g.unindex(old)
	g.rows[x.row] = &x
	g.index(&x)
	return true
}

// spend notes that a refresh token is used up, and reports false where it was
// before: then nobody gets anything for it or what came of it.
func (g *grants) spend(key string, row int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, again := g.spent[key]; again {
		g.reuses++
		g.remove(old)
		return false
	}
	g.spent[key] = row
	return true
}

func (g *grants) drop(row int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(row)
}

func (g *grants) dropUser(uid string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for row, x := range g.rows {
		if x.uid == uid {
			g.remove(row)
		}
	}
}

func (g *grants) remove(row int) {
	if x, ok := g.rows[row]; ok {
		g.unindex(x)
		delete(g.rows, row)
	}
}
