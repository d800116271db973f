package pages

import (
	"fmt"
	"net/http"
	"time"

	"anteroom/session"
)

// samples are the pages as people meet them, one for each way they can look.
func samples() map[string]Page {
	ada := &session.Identity{Subject: "testdoc", Username: "testdoc", Name: "Dr. Theresa Dócekal", Email: "testdoc@hospital.example",
		Groups: []string{"cardiology", "doctors", "on-call", "ward 3 · night shift"}}
	many := *ada
	many.Groups = nil
	for i := range 30 {
		many.Groups = append(many.Groups, fmt.Sprintf("group-%02d", i))
	}
	times := func(who *session.Identity) Account {
		return Account{Identity: who, Started: noon.Add(-3*time.Hour - 20*time.Minute), LastSeen: noon.Add(-20 * time.Second),
			IdleEnds: noon.Add(59*time.Minute + 40*time.Second), Ends: noon.Add(8*time.Hour + 40*time.Minute),
			Provider: "https://cloud.hospital.example/nextcloud/", SignOut: "/auth/logout"}
	}
	all := map[string]Page{
		"account":           times(ada),
		"account-groups":    times(&many),
		"account-bare":      Account{Identity: &session.Identity{Subject: "u1"}, SignOut: "/auth/logout"},
		"account-sessions":  withSessions(times(ada), 4),
		"account-folded":    withSessions(times(ada), 23),
		"account-alone":     withSessions(times(ada), 1),
		"account-unlisted":  Account{Identity: ada, Sessions: Sessions{Listing: Unlisted}},
		"account-no-list":   Account{Identity: ada, Sessions: Sessions{Listing: Unlistable}},
		"account-connect":   Account{Identity: ada, Access: Connection{Standing: Unconnected, Connect: "/auth/nextcloud/connect"}},
		"account-connected": withSessions(connected(times(ada)), 2),
		"account-untold":    Account{Identity: ada, Access: Connection{Standing: Unreachable}},
		"account-by-oauth":  Account{Identity: ada, Access: Connection{Standing: BySignIn, Connect: "/auth/nextcloud/connect"}},
		"connecting":        connecting(WaitingForGrant),
		"connecting-away":   Connecting{Login: "https://cloud.hospital.example/flow", Away: true},
		"connecting-check":  connecting(WaitingForCheck),
		"connecting-other":  connecting(GrantedByAnother),
		"connecting-left":   Connecting{Stage: GrantedByAnother, Left: true, Again: "/auth/nextcloud/connect", Settings: "https://cloud.hospital.example/settings/user/security"},
		"connecting-dead":   connecting(NotAccepted),
		"disconnected":      Disconnected{Settings: "https://cloud.hospital.example/settings/user/security", Back: "/auth/"},
		"sign-out-ask":      SignOutAsk{Identity: ada, Action: "/auth/logout", Back: "/"},
		"signed-out":        SignedOut{SignIn: "/auth/login"},
		"signed-out-all":    SignedOut{SignIn: "/auth/login", Provider: true},
		"signed-in":         SignedIn{},
		"continue":          Continue{To: "https://cloud.hospital.example/logout?to=1&x=2"},
		"not-allowed":       NotAllowed{Identity: ada, Switch: "/auth/login?switch=1"},
		"not-allowed-mail":  NotAllowed{Identity: ada, Switch: "/auth/login?switch=1", Contact: "it@hospital.example"},
		"not-allowed-url":   NotAllowed{Identity: ada, Contact: "https://help.hospital.example/"},
		"not-allowed-app":   NotAllowed{Identity: ada, Switch: "/auth/login?switch=1", ByApp: true},
		"not-allowed-words": NotAllowed{Identity: ada, Contact: "the desk on the second floor"},
		"forbidden":         Forbidden{Identity: ada, Switch: "/auth/login?switch=1"},
		"frame":             FrameSignIn{SignIn: "/auth/login?return_to=%2F"},
		"lost-form-kept":    keptForm(),
		"lost-form-fields":  LostForm{Action: "/notes", Method: "POST", Fields: keptForm().Fields, SignIn: "/auth/login", Kept: true},
		"lost-form-gone":    LostForm{Action: "/notes", Method: "POST", SignIn: "/auth/login"},
		"error-account":     Error{Status: 403, Text: "Connect your Nextcloud account first.", Account: "/auth/"},
		"error-titled":      Error{Status: 400, Title: "A title", Text: "A text.", RequestID: "01J-ABC"},
	}
	for _, what := range []string{"nextcloud", "store", "sign_out", "connection", "provision", "application", "other"} {
		all["unavailable-"+what] = Unavailable{What: what, RetryAfter: 5 * time.Second}
	}
	for _, status := range []int{400, 403, 404, 405, 418, 421, 500, http.StatusGatewayTimeout} {
		all[fmt.Sprintf("error-%d", status)] = Error{Status: status, RequestID: "01J9Z7RZ6E8Y"}
	}
	for _, reason := range []Reason{ReasonExpired, ReasonProvider, ReasonInvalid, ReasonTooLarge, "unheard-of"} {
		all["failed-"+string(reason)] = SignInFailed{Reason: reason, Retry: "/auth/login", RequestID: "01J9Z7RZ6E8Y", Detail: "invalid_scope"}
	}
	all["failed-declined"] = SignInFailed{Reason: ReasonProvider, Retry: "/auth/login", Detail: "access_denied"}
	for _, why := range []Why{"", WhySecureOverHTTP, WhyOtherHost, WhyTooLarge, WhyBlocked, WhyTossed} {
		f := SignInFailed{Reason: ReasonCookieLost, Why: why, Cookie: "__Host-anteroom_signin", Retry: "/auth/login", RequestID: "01J9Z7RZ6E8Y"}
		if why == WhyOtherHost {
			all["failed-cookie-some-host"] = f
			f.Want, f.Got = "voice.hospital.example", "10.0.3.7:8000"
		}
		all["failed-cookie-"+string(why)] = f
		f.Reason = ReasonLoop
		all["failed-loop-"+string(why)] = f
	}
	return all
}

// connected adds that the person is connected.
func connected(a Account) Account {
	a.Access = Connection{Standing: Connected, Login: "testdoc@hospital.example", Since: noon.Add(-75 * 24 * time.Hour), Disconnect: "/auth/nextcloud/disconnect"}
	return a
}

func connecting(at Stage) Connecting {
	return Connecting{Stage: at, Login: "https://cloud.hospital.example/nextcloud/index.php/login/v2/flow/Zk3", Ends: noon.Add(19 * time.Minute),
		Here: "/auth/nextcloud/connect", Again: "/auth/nextcloud/connect", Back: "/auth/", Settings: "https://cloud.hospital.example/settings/user/security"}
}

// withSessions adds n sessions to an account page, of which the first is this one.
func withSessions(a Account, n int) Account {
	agents := []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
		"",
	}
	a.Sessions = Sessions{Listing: Listed, End: "/auth/sessions/end"}
	for i := range n {
		a.Sessions.List = append(a.Sessions.List, Session{ID: fmt.Sprintf("id-%d", i), Agent: agents[i%len(agents)], Address: fmt.Sprintf("192.0.2.%d", i+1),
			Started: a.Started.Add(-time.Duration(i) * time.Hour), LastSeen: a.LastSeen.Add(-time.Duration(i*7) * time.Minute), Current: i == 0})
	}
	a.Sessions.List[n-1].Address = "2001:db8:85a3:8d3:1319:8a2e:370:7348"
	return a
}

func keptForm() LostForm {
	return LostForm{
		Action: "https://voice.hospital.example/notes?patient=17&x='y'", Method: "POST", Enctype: "multipart/form-data",
		Fields: []Field{{"subject", "Visit & \"follow-up\""}, {"text", "line one\nline two <b>bold</b>"}, {"text", ""}},
		Files: []File{{"scan", "scan one.txt", "text/plain", "aGVsbG8K"}, {"scan", "zwei.bin", "application/octet-stream", "AAECAw=="},
			{"letter", "brief.txt", "text/plain", "QnJpZWY="}},
		SignIn: "https://voice.hospital.example/auth/login?return_to=%2Fauth%2Fsigned-in", Kept: true,
	}
}
