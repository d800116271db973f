package signin

import "anteroom/session"

// Kind says what became of a sign-in that did not succeed; a closed set.
type Kind string

// The kinds.
const (
	Unavailable Kind = "unavailable" // the provider does not answer, or not sensibly
	CookieLost  Kind = "cookie_lost" // the flow cookie did not come back
	Expired     Kind = "expired"     // it took too long
	Invalid     Kind = "invalid"     // the callback is not one we began, or the provider's answer does not verify
	Refused     Kind = "refused"     // the provider said error=…
	NotAllowed  Kind = "not_allowed" // a known person who may not enter
	Loop        Kind = "loop"        // it succeeds again and again and the session is never there
)

// Why says why a cookie was lost; a closed set.
type Why string

// The reasons.
const (
	SecureOverHTTP Why = "secure_over_http" // a cookie for https only, but the browser came by http
	OtherHost      Why = "other_host"       // the browser uses another host than public_url's
	TooLarge       Why = "too_large"        // browsers drop cookies over 4 KiB
	Tossed         Why = "tossed"           // two different cookies of the name
	Blocked        Why = "blocked"          // none of these: the browser keeps no cookies here
)

// Error is a sign-in that did not succeed. Its text is for logs; it holds no
// code, token or state.
type Error struct {
	Kind     Kind
	Cookie   string            // CookieLost and Loop: which
	Why      Why               // CookieLost and Loop
	Code     string            // Refused: the provider's error code, printable ASCII of at most 64 bytes
	Who      *session.Identity // NotAllowed
	ReturnTo string            // where the sign-in would have led, if that is known
	Err      error

	// Again is where a sign-in started anew would lead, if that is all there is
	// to do: the state is ours and fresh, but another tab that started at the
	// same moment set the cookie. The code is not redeemed, so it does no harm
	// if it was another person's browser instead. Empty otherwise.
	Again string
}

func (e *Error) Error() string {
	s := "sign-in: " + string(e.Kind)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
