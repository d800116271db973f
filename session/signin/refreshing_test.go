package signin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/session"
)

// renewalAt makes a relying party whose provider is anything that listens at a
// URL, and a grant to renew there. The client's limits are short.
func renewalAt(t testing.TB, base string, how session.Method, change func(*http.Transport)) (*RelyingParty, session.Grant) {
	t.Helper()
	tr := &http.Transport{ResponseHeaderTimeout: 50 * time.Millisecond, TLSHandshakeTimeout: 200 * time.Millisecond, ForceAttemptHTTP2: true}
	if change != nil {
		change(tr)
	}
	t.Cleanup(tr.CloseIdleConnections)
	p := relyingParty(t, base, func(_ *Config, o *Options) { o.Client = &http.Client{Transport: tr, Timeout: 50 * time.Millisecond} })
	if how == session.ByNextcloud {
		p.adopt(newNextcloud(p))
	} else {
		o, err := newOIDC(p, &metadata{Issuer: base, TokenURL: base + "/token"})
		p.adopt(must(o, err))
	}
	return p, session.Grant{Identity: session.Identity{Subject: "ada", Method: how}, Tokens: session.Tokens{Access: "access-1", Refresh: "refresh-1", ID: "id-1"}}
}

// drop reads a request and closes the connection.
func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// halfAnswer breaks an answer off.
func halfAnswer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "500")
		w.WriteHeader(status)
		io.WriteString(w, `{"access_token":"access-2","refr`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// TestRefreshInDoubt has a provider fail over a refresh token in every way, and
// asks whether it may have taken it.
func TestRefreshInDoubt(t *testing.T) {
	code := func(status int, code string) http.HandlerFunc { return fails(status, map[string]any{"error": code}) }
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   error // ErrInDoubt, ErrGrantDead, or nil for neither
	}{
		{"closes", drop, session.ErrInDoubt},
		{"504", fails(504, nil), session.ErrInDoubt},
		{"504 with a page", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusGatewayTimeout)
			io.WriteString(w, "<p>refresh-1 was too slow</p>")
		}, session.ErrInDoubt},
		{"504 with a code", code(504, "invalid_grant"), session.ErrInDoubt},
		{"freezes", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, session.ErrInDoubt},
		{"half of a good answer", halfAnswer(200), session.ErrInDoubt},
		{"half of a bad answer", halfAnswer(400), nil},
		{"500", fails(500, nil), nil},
		{"502", fails(502, nil), nil},
		{"503", fails(503, nil), nil},
		{"503 with a code", code(503, "invalid_grant"), nil},
		{"429", fails(429, nil), nil},
		{"a page", page, nil},
		{"1 MiB", huge, nil},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/token", http.StatusTemporaryRedirect)
		}, nil},
		{"invalid_client", code(401, "invalid_client"), nil},
		{"invalid_grant", code(400, "invalid_grant"), session.ErrGrantDead},
		{"invalid_request", code(400, "invalid_request"), session.ErrGrantDead},
	} {
		for _, how := range []session.Method{session.ByOIDC, session.ByNextcloud} {
			t.Run(tt.name+" by "+string(how), func(t *testing.T) {
				t.Parallel()
				var came atomic.Int64
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					came.Add(1)
					tt.answer(w, r)
				}))
				t.Cleanup(s.Close)
				p, old := renewalAt(t, s.URL, how, nil)
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				defer cancel()
				judgeRefusal(t, p, ctx, old, tt.want)
				if n := came.Load(); n != 1 {
					t.Errorf("the refresh token came %d times, want once", n)
				}
			})
		}
	}
}

// judgeRefusal renews, which must fail and mean what is wanted.
func judgeRefusal(t *testing.T, p *RelyingParty, ctx context.Context, old session.Grant, want error) {
	t.Helper()
	next, err := p.Renew(ctx, old)
	if err == nil || errors.Is(err, session.ErrInDoubt) != (want == session.ErrInDoubt) || errors.Is(err, session.ErrGrantDead) != (want == session.ErrGrantDead) {
		t.Errorf("Renew = %v, want %v", err, want)
	}
	if err != nil && (strings.Contains(err.Error(), "refresh-1") || strings.Contains(err.Error(), "access-2")) {
		t.Errorf("Renew = %v, which tells a token", err)
	}
	if next.Tokens != old.Tokens {
		t.Errorf("Renew gave tokens %+v along with an error, want the old ones", next.Tokens)
	}
}

// TestRefreshNeverSent: a token that never left is in no doubt.
func TestRefreshNeverSent(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server without a good certificate was asked") }))
	stranger.Config.ErrorLog = nil
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and begins no TLS
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	for name, base := range map[string]string{
		"refused": "http://" + closed.Addr().String(), "a stranger's certificate": stranger.URL, "no TLS": "https://" + mute.Addr().String(),
		"no such name": "http://nobody.invalid",
	} {
		for _, how := range []session.Method{session.ByOIDC, session.ByNextcloud} {
			t.Run(name+" by "+string(how), func(t *testing.T) {
				p, old := renewalAt(t, base, how, func(tr *http.Transport) {
					tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if strings.HasPrefix(addr, "nobody.invalid") {
							return nil, &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}
						}
						return new(net.Dialer).DialContext(ctx, network, addr)
					}
				})
				judgeRefusal(t, p, t.Context(), old, nil)
			})
		}
	}
}

// TestRefreshAcceptedAndClosed: a connection that is made and cut, for all we
// know after the request was read.
func TestRefreshAcceptedAndClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var came atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			c.Close()
		}
	}()
	p, old := renewalAt(t, "http://"+l.Addr().String(), session.ByOIDC, nil)
	judgeRefusal(t, p, t.Context(), old, session.ErrInDoubt)
	if n := came.Load(); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}

// TestRefreshWaitsForThaw: an answer that comes after nextcloud.timeout is an
// answer; everything else is held to that limit.
func TestRefreshWaitsForThaw(t *testing.T) {
	h := newHostile(t, nil)
	h.gives("")
	h.mu.Lock()
	answer := h.pages["/token"]
	h.mu.Unlock()
	h.set("/token", func(w http.ResponseWriter, r *http.Request) { time.Sleep(300 * time.Millisecond); answer(w, r) })
	p, old := renewalAt(t, h.URL, session.ByOIDC, nil)
	next, err := p.Renew(t.Context(), old)
	if err != nil || next.Tokens.Refresh != "refresh-2" {
		t.Errorf("Renew(slow provider) = %v with new tokens: %t, want its answer", err, next.Tokens.Refresh == "refresh-2")
	}
	if _, err := found(t, p).provider().exchange(t.Context(), "c", "", flow{}); kindOf(err) != Unavailable {
		t.Errorf("exchange(slow provider) = %v, want Unavailable: somebody waits for it", err)
	}
}

// TestRefreshesOnConnectionsOfTheirOwn: where the server speaks HTTP/2, too,
// and closes connections at will. None is used twice, so net/http never sends a
// request again.
func TestRefreshesOnConnectionsOfTheirOwn(t *testing.T) {
	var mu sync.Mutex
	from := map[string]int{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		from[r.RemoteAddr]++
		if r.ProtoMajor != 1 {
			t.Errorf("a refresh came by %s, want HTTP/1.1", r.Proto)
		}
		says(map[string]any{"access_token": "access-2", "refresh_token": "refresh-2", "token_type": "Bearer"})(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	p, old := renewalAt(t, s.URL, session.ByOIDC, func(tr *http.Transport) {
		tr.TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		tr.TLSHandshakeTimeout = 5 * time.Second
	})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if next, err := p.Renew(t.Context(), old); err != nil || next.Tokens.Refresh != "refresh-2" {
				t.Errorf("Renew = %v", err)
			}
		})
	}
	wg.Wait()
	if len(from) != 100 {
		t.Errorf("100 refreshes came on %d connections, want 100", len(from))
	}
}
