package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"anteroom/proxy/pages"
	"anteroom/session"
	"anteroom/session/signin"
)

const (
	logoutForm = 64 << 10              // the largest form with a logout token
	logoutTime = 5 * time.Second       // for the store, all that is asked of it together
	logoutHold = 15 * time.Second      // for how long one delivery of a token keeps others off; longer than it may take
	lookTime   = 20 * time.Millisecond // for which a look lasts
)

// The reasons why a provider's word does not end a session.
const (
	reasonLogout   = "logout_refused"
	reasonNoLogout = "logout_not_offered"
)

// backchannelLogout is where the provider says that a sign-in is over (OpenID
// Connect Back-Channel Logout 1.0 §2.5). It is a server that calls: what speaks
// for it is the token's signature, and there is no cookie for a forged form to
// abuse.
func (s *Server) backchannelLogout(x *exchange, _ *session.Identity) error {
	x.Header().Set("Cache-Control", "no-store")
	raw, err := readLogoutToken(x)
	if err != nil {
		s.refuseProvider(x, logoutRefusal(err))
		return nil
	}
	l, err := s.o.SignIn.VerifyLogout(x.r.Context(), raw)
	if err != nil {
		s.refuseProvider(x, logoutRefusal(err))
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), logoutTime)
	defer cancel()
	n, err := endOnce(ctx, s.o.Sessions, l)
	if err != nil {
		s.refuseProvider(x, logoutRefusal(err))
		return nil
	}
	s.o.Log.Info("the provider ended a sign-in", "by", "back-channel", "sessions", n, "request_id", x.hop.RequestID)
	x.WriteHeader(http.StatusOK)
	return nil
}

var (
	errLogoutForm = errors.New("not a form with one logout_token")
	errReplayed   = errors.New("the logout token came before")
	errUnderWay   = errors.New("the logout token came a moment ago, and was not done with")
)

// readLogoutToken reads the one parameter there is, from the body alone.
func readLogoutToken(x *exchange) (string, error) {
	if kind, _ := mediaType(x.r); kind != "application/x-www-form-urlencoded" {
		return "", errLogoutForm
	}
	x.r.Body = http.MaxBytesReader(x, x.r.Body, logoutForm)
	if err := x.r.ParseForm(); err != nil {
		return "", fmt.Errorf("%w: %w", errLogoutForm, err)
	}
	all := x.r.Form["logout_token"] // the query's, too: whoever writes it there and here means two
	if one := x.r.PostForm["logout_token"]; len(all) == 1 && len(one) == 1 && one[0] != "" {
		return one[0], nil
	}
	return "", errLogoutForm
}

// ender is what ends sessions by login; session.Manager.
type ender interface {
	EndLogin(ctx context.Context, l session.Login, why session.End) (ended int, err error)
	Once(ctx context.Context, key string, ttl time.Duration) (first bool, err error)
}

// endOnce acts upon a logout token, unless that was done before, on this
// replica or another: later it might end a sign-in that is newer than it. A
// token counts as used once the sessions are ended and not before, so that a
// provider may send it again where the store failed in between.
//
// Two marks do that. One keeps other deliveries off while this one is under way.
// The other says that it is done; to look at it means to set it for a moment.
func endOnce(ctx context.Context, m ender, l signin.Logout) (ended int, err error) {
	done, doing := "logout done "+l.Token, "logout doing "+l.Token
	for _, mark := range []struct {
		key   string
		ttl   time.Duration
		taken error
	}{{done, lookTime, errReplayed}, {doing, logoutHold, errUnderWay}} {
		first, err := m.Once(ctx, mark.key, mark.ttl)
		if err != nil {
			return 0, err
		}
		if !first {
			return 0, mark.taken
		}
	}
	if ended, err = m.EndLogin(ctx, l.Login, session.EndAtProvider); err != nil {
		return ended, err
	}
	return ended, markDone(ctx, m, done)
}

// markDone waits for looks to be over, ours first of all.
func markDone(ctx context.Context, m ender, key string) error {
	for {
		if first, err := m.Once(ctx, key, signin.LogoutWindow); first || err != nil {
			return err
		}
		select {
		case <-time.After(lookTime):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", session.ErrUnavailable, ctx.Err())
		}
	}
}

// logoutRefusal names what is wrong with a call of the provider's, without
// repeating any of it.
func logoutRefusal(err error) *refusal {
	no := &refusal{status: http.StatusBadRequest, reason: reasonLogout, cause: err, style: refuseByPage}
	var failed *signin.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		no.status, no.text = http.StatusRequestEntityTooLarge, "The form is too large."
	case errors.Is(err, errLogoutForm):
		no.text = "Send a form with one logout_token."
	case errors.Is(err, errReplayed):
		no.text = "This token was used before."
	case errors.Is(err, signin.ErrNoLogout):
		no.status, no.reason, no.text = http.StatusNotFound, reasonNoLogout, "People do not sign in by OpenID Connect here."
	case errors.Is(err, session.ErrNoList):
		no.status, no.reason, no.text = http.StatusNotFound, reasonNoList, "The sessions are kept in the browsers here, so that no other can end them."
	case errors.As(err, &failed) && failed.Kind == signin.Unavailable:
		no.status, no.reason, no.text = http.StatusServiceUnavailable, reasonProvider, "This cannot be verified at the moment. Send it again."
	case failed != nil:
		no.text = "The token does not verify."
	default:
		no.status, no.reason, no.text = http.StatusServiceUnavailable, reasonBroken, "The sessions cannot be reached at the moment. Send it again."
	}
	return no
}

// refuseProvider refuses in the words that a provider knows (§2.8, RFC 6749 §5.2).
func (s *Server) refuseProvider(x *exchange, no *refusal) {
	x.err = no
	s.metrics.refused.WithLabelValues(no.reason).Inc()
	s.record(x, no)
	code := "invalid_request"
	h := x.Header()
	if no.status == http.StatusServiceUnavailable {
		code = "temporarily_unavailable"
		h.Set("Retry-After", strconv.Itoa(int(logoutHold/time.Second)))
	}
	h.Set("X-Request-Id", x.hop.RequestID)
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	x.WriteHeader(no.status)
	json.NewEncoder(x).Encode(map[string]string{"error": code, "error_description": no.text})
}

// frontchannelLogout is where the provider's page, in a frame, has a browser
// say that a sign-in is over (OpenID Connect Front-Channel Logout 1.0 §2). The
// browser's cookie seldom comes along from a frame of another site: what counts
// is the session's name at the provider, which nobody else knows.
func (s *Server) frontchannelLogout(x *exchange, _ *session.Identity) error {
	issuer, err := s.o.SignIn.Issuer()
	if err != nil {
		return logoutRefusal(err)
	}
	q := x.r.URL.Query()
	if len(q["iss"]) != 1 || len(q["sid"]) != 1 || q.Get("iss") != issuer || q.Get("sid") == "" {
		return &refusal{status: http.StatusBadRequest, reason: reasonLogout, style: refuseByPage, page: pages.Error{Status: http.StatusBadRequest, RequestID: x.hop.RequestID}}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), logoutTime)
	defer cancel()
	n, err := s.endFramed(ctx, x, session.Login{Issuer: issuer, Session: q.Get("sid")})
	if err != nil {
		return logoutRefusal(err)
	}
	s.o.Log.Info("the provider ended a sign-in", "by", "front-channel", "sessions", n, "request_id", x.hop.RequestID)
	framedAnswer(x, issuer)
	return nil
}

// endFramed ends a sign-in, and takes the cookie away if it is that one's.
// Where the store knows no other session, that one is ended at least.
func (s *Server) endFramed(ctx context.Context, x *exchange, l session.Login) (ended int, err error) {
	ended, err = s.o.Sessions.EndLogin(ctx, l, session.EndAtProvider)
	if x.session == nil {
		return ended, err
	}
	if own := x.session.Grant().Login; own.Issuer != l.Issuer || own.Session != l.Session {
		return ended, err
	}
	if errors.Is(err, session.ErrNoList) {
		grants, err := s.o.Sessions.End(ctx, x, x.r, session.EndAtProvider)
		return len(grants), err
	}
	s.o.Cookies.Clear(x, s.o.Cookies.Name(""))
	return ended, err
}

// framedAnswer is a page for the provider's frame and nobody else's.
func framedAnswer(x *exchange, issuer string) {
	ancestors := "'none'"
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		ancestors = originOf(u)
	}
	h := x.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors "+ancestors)
	h.Del("X-Frame-Options") // which knows no places
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	io.WriteString(x, "<!doctype html><title>Signed out</title><p>Signed out.</p>\n")
}
