package proxy

import (
	"net/http"
	"time"

	"anteroom/proxy/throttle"
)

// reasonRate refuses who asks for something too often.
const reasonRate = "too_often"

// rates are how often people may sign in and ask for tokens: by address before
// anybody is known, by account once somebody is. They refuse a new sign-in or
// token; a session that is there goes on.
type rates struct {
	signIn, signInAccount, token, tokenAccount *rateLimit
}

// rateLimit is a throttle and its name in the metric.
type rateLimit struct {
	limit string
	*throttle.Throttle
}

func newRates(cfg Config, shared throttle.Shared, now func() time.Time) rates {
	one := func(limit string, r throttle.Rate) *rateLimit {
		return &rateLimit{limit, throttle.New(limit, r, shared, now)}
	}
	return rates{one(limitSignIn, cfg.SignInRate), one(limitSignInAccount, cfg.SignInAccountRate), one(limitToken, cfg.TokenRate), one(limitTokenAccount, cfg.TokenAccountRate)}
}

// rated counts a request against a limit.
func (s *Server) rated(x *exchange, l *rateLimit, key string, style refusalStyle) error {
	wait := l.Take(x.r.Context(), key)
	if wait == 0 {
		return nil
	}
	s.limits.hit(l.limit)
	return &refusal{status: http.StatusTooManyRequests, reason: reasonRate, style: style, after: wholeSeconds(wait)}
}

// wholeSeconds is a wait as Retry-After says it (RFC 9110 §10.2.3): never too short.
func wholeSeconds(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }
