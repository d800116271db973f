package session

import (
	"context"
	"errors"
	"fmt"
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
)

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
	w http.ResponseWriter
	r *http.Request
}

type jarKey struct{}

// WithJar makes the request's browser known to the Browser store. w may be nil
// where only reading is meant; a Put or Delete then fails.
func WithJar(ctx context.Context, w http.ResponseWriter, r *http.Request) context.Context {
	return context.WithValue(ctx, jarKey{}, &Jar{w: w, r: r})
}

func jarOf(ctx context.Context) *Jar {
	j, _ := ctx.Value(jarKey{}).(*Jar)
	return j
}

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

// Put implements Store. ErrTooLarge is permanent for that value.
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
	b.revive(key)
	n := 0
	for ; len(sealed) > 0; n++ {
		part := sealed[:min(chunkSize, len(sealed))]
		sealed = sealed[len(part):]
		b.cookies.Set(j.w, b.chunk(n), part, 0)
	}
	b.clearFrom(j, n)
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
		b.clearFrom(j, 0)
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

// clearFrom removes the chunks n, n+1, … that the browser still has.
func (b *Browser) clearFrom(j *Jar, n int) {
	for ; n < maxChunks; n++ {
		if _, err := j.r.Cookie(b.chunk(n)); err == nil {
			b.cookies.Clear(j.w, b.chunk(n))
		}
	}
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
