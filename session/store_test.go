package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/session/storetest"
)

// clock is a time that moves when told to.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Harness {
		c := &clock{time.Now()}
		return &storetest.Harness{Store: &session.Memory{Now: c.now}, Advance: c.advance}
	})
	storetest.RunShared(t, func(*testing.T) *storetest.SharedHarness {
		c := &clock{time.Now()}
		return &storetest.SharedHarness{Store: &session.Memory{Now: c.now}, Advance: c.advance, Now: c.now}
	})
}

func TestBrowser(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *storetest.Harness {
		c := &clock{time.Now()}
		b := newBrowser(t)
		store := session.NewBrowser(session.NewCookies(session.CookieConfig{Name: "anteroom"}, false), codec(t), c.now)
		return &storetest.Harness{Store: store, Context: b.next, Advance: c.advance, Single: true}
	})
}

// browser keeps cookies from one request to the next, as a browser does.
type browser struct {
	jar  http.CookieJar
	site *url.URL
	last *httptest.ResponseRecorder
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{jar: jar, site: &url.URL{Scheme: "http", Host: "app.test", Path: "/"}}
}

// next takes in the cookies of the last answer and makes the next request.
func (b *browser) next() context.Context {
	w, r := b.exchange()
	return session.WithJar(r.Context(), w, r)
}

func (b *browser) exchange() (*httptest.ResponseRecorder, *http.Request) {
	if b.last != nil {
		b.jar.SetCookies(b.site, b.last.Result().Cookies())
	}
	b.last = httptest.NewRecorder()
	r := httptest.NewRequest("GET", b.site.String(), nil)
	for _, c := range b.jar.Cookies(b.site) {
		r.AddCookie(c)
	}
	return b.last, r
}

func codec(t *testing.T, keys ...session.Secret) *session.Codec {
	c, err := session.NewCodec(keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBrowserRefuses(t *testing.T) {
	cookies := session.NewCookies(session.CookieConfig{Name: "anteroom"}, false)
	store := session.NewBrowser(cookies, codec(t), nil)
	b := newBrowser(t)
	value := []byte(strings.Repeat("x", 6000)) // three chunks once sealed
	if err := store.Put(b.next(), "k", value, time.Hour); err != nil {
		t.Fatal(err)
	}
	_, sent := b.exchange()
	whole := sent.Cookies()
	if len(whole) != 3 {
		t.Fatalf("6000 bytes are in %d cookies, want 3", len(whole))
	}
	flip := *whole[1]
	flip.Value = "A" + flip.Value[1:]
	if flip.Value == whole[1].Value {
		flip.Value = "B" + flip.Value[1:]
	}
	extra := &http.Cookie{Name: "anteroom_3", Value: "AAAA"}
	tests := map[string][]*http.Cookie{
		"first chunk missing": whole[1:],
		"last chunk missing":  whole[:2],
		"middle missing":      {whole[0], whole[2]},
		"chunk too many":      append([]*http.Cookie{extra}, whole...),
		"bit flipped":         {whole[0], &flip, whole[2]},
		"chunk doubled":       {whole[0], whole[1], whole[2], &flip},
		"order swapped":       {{Name: "anteroom_0", Value: whole[1].Value}, {Name: "anteroom_1", Value: whole[0].Value}, whole[2]},
	}
	for name, cs := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			for _, c := range cs {
				r.AddCookie(c)
			}
			if _, found, err := store.Get(session.WithJar(t.Context(), nil, r), "k"); found || err != nil {
				t.Errorf("Get(%s) = %v, %v, want absent", name, found, err)
			}
		})
	}
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range whole {
		r.AddCookie(c)
	}
	if _, found, _ := store.Get(session.WithJar(t.Context(), nil, r), "another"); found {
		t.Error("Get(another key) = found, want absent: a record is bound to its key")
	}
}

func TestBrowserTooLarge(t *testing.T) {
	store := session.NewBrowser(session.NewCookies(session.CookieConfig{Name: "anteroom"}, false), codec(t), nil)
	b := newBrowser(t)
	if err := store.Put(b.next(), "k", make([]byte, 20_000), time.Hour); !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("Put(20 kB) = %v, want ErrTooLarge", err)
	}
	if n := len(b.last.Result().Cookies()); n != 0 {
		t.Errorf("Put(20 kB) set %d cookies, want none", n)
	}
}

const keyA, keyB = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk="

func TestCodecRotation(t *testing.T) {
	old, both, only := codec(t, keyA), codec(t, keyB, keyA), codec(t, keyB)
	sealed, err := old.For("state", time.Minute).Seal(map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]string
	if err := both.For("state", time.Minute).Open(sealed, &v); err != nil || v["a"] != "b" {
		t.Errorf("Open(old key still known) = %v, %v, want the value", v, err)
	}
	if err := only.For("state", time.Minute).Open(sealed, &v); !errors.Is(err, session.ErrSeal) {
		t.Errorf("Open(old key gone) = %v, want ErrSeal", err)
	}
	if err := old.For("session", time.Minute).Open(sealed, &v); !errors.Is(err, session.ErrSeal) {
		t.Errorf("Open(another name) = %v, want ErrSeal", err)
	}
	if strings.Contains(sealed, "a") && strings.Contains(sealed, `"b"`) {
		t.Error("sealed value shows its content")
	}
}

func TestCookieNames(t *testing.T) {
	tests := []struct {
		cfg    session.CookieConfig
		secure bool
		want   string
	}{
		{session.CookieConfig{Name: "anteroom"}, true, "__Host-anteroom"},
		{session.CookieConfig{Name: "anteroom", Domain: "example.com"}, true, "__Secure-anteroom"},
		{session.CookieConfig{Name: "anteroom"}, false, "anteroom"},
	}
	for _, tt := range tests {
		c := session.NewCookies(tt.cfg, tt.secure)
		if got := c.Name(""); got != tt.want {
			t.Errorf("Name(%+v, secure %v) = %q, want %q", tt.cfg, tt.secure, got, tt.want)
		}
		w := httptest.NewRecorder()
		c.Set(w, c.Name("0"), "v", 0)
		line := w.Header().Get("Set-Cookie")
		if !strings.Contains(line, "HttpOnly") || !strings.Contains(line, "SameSite=Lax") || strings.Contains(line, "Secure;") != tt.secure && tt.secure {
			t.Errorf("Set = %q, want HttpOnly, SameSite=Lax, Secure %v", line, tt.secure)
		}
	}
	c := session.NewCookies(session.CookieConfig{Name: "anteroom"}, true)
	for name, want := range map[string]bool{"__Host-anteroom": true, "anteroom": true, "anteroom_0": true, "__Secure-anteroom_signin": true, "anteroomx": false, "app": false} {
		if c.Ours(name) != want {
			t.Errorf("Ours(%q) = %v, want %v", name, !want, want)
		}
	}
}

func FuzzBrowserOpen(f *testing.F) {
	f.Add("anteroom_0=abc; anteroom_1=def")
	f.Add("anteroom_0=; anteroom_0=x")
	store := session.NewBrowser(session.NewCookies(session.CookieConfig{Name: "anteroom"}, false), mustCodec(), nil)
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", header)
		if _, found, err := store.Get(session.WithJar(t.Context(), nil, r), "k"); found || err != nil {
			t.Errorf("Get(%q) = %v, %v, want absent", header, found, err)
		}
	})
}

func mustCodec() *session.Codec {
	c, err := session.NewCodec(nil)
	if err != nil {
		panic(err)
	}
	return c
}
