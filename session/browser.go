package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	chunkSize = 3800 // of a cookie's value; name, flags and value must stay under the 4096 bytes browsers keep
	maxChunks = 5    // more than front proxies' usual 32 KiB of headers would bear is no use
)

var (
	// ErrTooLarge: the record does not fit into the cookies a browser keeps.
	ErrTooLarge = errors.New("session is too large for cookies; use another session.store")
	// errNoJar: the browser store was asked outside of a request.
	errNoJar = errors.New("no browser at hand to keep the session")
	// errNoRoom: the answer at hand does not take as many cookies to the browser.
	errNoRoom = errors.New("no room in the answer for the session's cookies")
)

// AnyCookies is room for every Set-Cookie of an answer.
const AnyCookies = math.MaxInt

// Browser is a Store that keeps its records in the browser that makes the
// request: sealed, in cookies named <name>_0, <name>_1, … A browser holds one
// record at a time. It needs a Jar in the context of each call, see WithJar.
//
// What was taken or deleted is remembered in this process until it would have
// expired, so that a copy of the cookies opens nothing here; another replica
// does not know of it.
type Browser struct {
	cookies *Cookies
	sealer  *Sealer
	now     func() time.Time

	mu   sync.Mutex
	gone map[string]time.Time // guarded by mu: deleted keys, until when
}

// NewBrowser makes the cookie store. now may be nil for time.Now.
func NewBrowser(cookies *Cookies, codec *Codec, now func() time.Time) *Browser {
	if now == nil {
		now = time.Now
	}
	return &Browser{cookies: cookies, sealer: codec.For("session", 0), now: now, gone: make(map[string]time.Time)}
}

// Jar is the browser at the other end of one request: the cookies it sent and
// the answer that can set more.
type Jar struct {
	w    http.ResponseWriter
	r    *http.Request
	room int // how many Set-Cookie of the answer reach the browser
}

type jarKey struct{}

// WithJar makes the request's browser known to the Browser store. w may be nil
// where only reading is meant; a Put or Delete then fails.
func WithJar(ctx context.Context, w http.ResponseWriter, r *http.Request) context.Context {
	return withJar(ctx, &Jar{w: w, r: r, room: AnyCookies})
}

func withJar(ctx context.Context, j *Jar) context.Context { return context.WithValue(ctx, jarKey{}, j) }

func jarOf(ctx context.Context) *Jar {
	j, _ := ctx.Value(jarKey{}).(*Jar)
	return j
}

// left is how many more cookies the answer takes along.
func (j *Jar) left() int { return j.room - len(j.w.Header()["Set-Cookie"]) }

// carried is what is sealed into the cookies: key and expiry bound to the value.
type carried struct {
	key     string
	expires time.Time
	value   []byte
}

// bytes lays a record out as one line of key and Unix milliseconds, then the
// value as it is: cookies have no room for more.
func (c *carried) bytes() []byte {
	return append(fmt.Appendf(nil, "%s %d\n", c.key, c.expires.UnixMilli()), c.value...)
}

func (c *carried) parse(b []byte) bool {
	line, value, ok := strings.Cut(string(b), "\n")
	key, millis, _ := strings.Cut(line, " ")
	ms, err := strconv.ParseInt(millis, 10, 64)
	*c = carried{key: key, expires: time.UnixMilli(ms), value: []byte(value)}
	return ok && err == nil
}

// Get implements Store.
func (b *Browser) Get(ctx context.Context, key string) ([]byte, bool, error) {
	j := jarOf(ctx)
	if j == nil {
		return nil, false, errNoJar
	}
	c, ok := b.open(j.r)
	if !ok || c.key != key || !b.now().Before(c.expires) || b.isGone(key) {
		return nil, false, nil
	}
	return c.value, true, nil
}

// Put implements Store. ErrTooLarge is permanent for that value. Where the
// answer has no room for all of the cookies, none is written: a browser that
// gets a part of them has nothing.
func (b *Browser) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	j := jarOf(ctx)
	if j == nil || j.w == nil {
		return errNoJar
	}
	c := carried{key: key, value: value, expires: b.now().Add(ttl)}
	sealed, err := b.sealer.Seal(c.bytes())
	if err != nil {
		return fmt.Errorf("keeping session in cookies: %w", err)
	}
	if len(sealed) > chunkSize*maxChunks {
		return ErrTooLarge
	}
	chunks := (len(sealed) + chunkSize - 1) / chunkSize
	stale := b.from(j, chunks)
	if chunks+len(stale) > j.left() {
		return errNoRoom
	}
	b.revive(key)
	for n := range chunks {
		part := sealed[:min(chunkSize, len(sealed))]
		sealed = sealed[len(part):]
		b.cookies.Set(j.w, b.chunk(n), part, 0)
	}
	for _, name := range stale {
		b.cookies.Clear(j.w, name)
	}
	return nil
}

// Take implements Store.
func (b *Browser) Take(ctx context.Context, key string) ([]byte, bool, error) {
	value, found, err := b.Get(ctx, key)
	if err != nil || !found || !b.bury(key) {
		return nil, false, err
	}
	return value, true, b.Delete(ctx, key)
}

// Delete implements Store.
func (b *Browser) Delete(ctx context.Context, key string) error {
	b.bury(key)
	if j := jarOf(ctx); j != nil && j.w != nil {
		for _, name := range b.from(j, 0) {
			b.cookies.Clear(j.w, name)
		}
	}
	return nil
}

// open joins and opens the chunks. Any that is missing, doubled or altered
// makes the whole unreadable: nothing is ever cut short.
func (b *Browser) open(r *http.Request) (c carried, ok bool) {
	var sealed []byte
	for n := range maxChunks + 1 {
		part, tossed := b.cookies.Read(r, b.chunk(n))
		if tossed || n == maxChunks && part != "" {
			return c, false
		}
		if part == "" {
			break
		}
		sealed = append(sealed, part...)
	}
	if len(sealed) == 0 {
		return c, false
	}
	var plain []byte
	return c, b.sealer.Open(string(sealed), &plain) == nil && c.parse(plain)
}

// from names the chunks n, n+1, … that the browser has.
func (b *Browser) from(j *Jar, n int) (names []string) {
	for ; n < maxChunks; n++ {
		if _, err := j.r.Cookie(b.chunk(n)); err == nil {
			names = append(names, b.chunk(n))
		}
	}
	return names
}

func (b *Browser) chunk(n int) string { return b.cookies.Name(strconv.Itoa(n)) }

// goneFor is how long a deleted key is remembered: longer than any session.
const goneFor = 31 * 24 * time.Hour

// bury marks a key as deleted and reports whether it was not so before.
func (b *Browser) bury(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if until, ok := b.gone[key]; ok && now.Before(until) {
		return false
	}
	for k, until := range b.gone {
		if !now.Before(until) {
			delete(b.gone, k)
		}
	}
	b.gone[key] = now.Add(goneFor)
	return true
}

func (b *Browser) revive(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.gone, key)
}

func (b *Browser) isGone(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, ok := b.gone[key]
	return ok && b.now().Before(until)
}
