package pages

// SignInFailed explains a sign-in that did not come to its end: in plain words
// what happened, what the person can do, and what the administrator can.
type SignInFailed struct {
	Reason    Reason
	Cookie    string // name of the cookie that was lost; for the administrator
	Why       Why    // how it was lost, for ReasonCookieLost and ReasonLoop
	Want, Got string // for WhyOtherHost: the site's host, and the one the browser used
	Retry     string // where signing in starts anew
	RequestID string // to quote; "" for the reply's X-Request-Id
	Detail    string // for ReasonProvider: its error code (RFC 6749 §4.1.2.1)
}

// Reason is why a sign-in failed: one of the constants here. The zero value
// counts as ReasonInvalid.
type Reason string

// Why a sign-in failed.
const (
	ReasonExpired    Reason = "expired"     // it took too long
	ReasonCookieLost Reason = "cookie_lost" // the browser came back without our cookie
	ReasonLoop       Reason = "loop"        // the browser was sent round several times
	ReasonProvider   Reason = "provider"    // Nextcloud answered with an error
	ReasonInvalid    Reason = "invalid"     // the answer does not belong to a sign-in of this browser
	ReasonTooLarge   Reason = "too_large"   // the session does not fit in cookies
)

// Why is how a cookie was lost: one of the constants here. The zero value
// means that it is not known.
type Why string

// How a cookie is lost.
const (
	WhySecureOverHTTP Why = "secure_over_http" // it is for https, the browser came over http
	WhyOtherHost      Why = "other_host"       // it belongs to another host name
	WhyTooLarge       Why = "too_large"        // browsers and proxies drop what is too long
	WhyBlocked        Why = "blocked"          // the browser keeps no cookies of this site
	WhyTossed         Why = "tossed"           // two cookies of the same name came back
)

func (SignInFailed) name() string { return "sign_in_failed" }

func (f SignInFailed) topic() string {
	switch f.Reason {
	case ReasonExpired, ReasonCookieLost, ReasonLoop, ReasonTooLarge:
		return "failed." + string(f.Reason)
	case ReasonProvider:
		if f.Detail == "access_denied" {
			return "failed.declined"
		}
		return "failed.provider"
	}
	return "failed.invalid"
}

// Lost says what the explanation of the lost cookie is filed under; "" where
// no cookie was lost.
func (f SignInFailed) Lost() string {
	if f.Reason != ReasonCookieLost && f.Reason != ReasonLoop {
		return ""
	}
	switch f.Why {
	case WhyOtherHost:
		if f.Want == "" || f.Got == "" {
			return "lost.some_host"
		}
		return "lost.other_host"
	case WhySecureOverHTTP, WhyTooLarge, WhyBlocked, WhyTossed:
		return "lost." + string(f.Why)
	}
	return "lost.unknown"
}
