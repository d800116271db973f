package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"anteroom/session"
)

// FlowTime is how long a person has to grant an app password.
const FlowTime = 20 * time.Minute

// LoginFlow has a person grant an app password at Nextcloud, in their own
// browser (Login Flow v2). Who grants it need not be who asked: see Owner.
type LoginFlow struct {
	nextcloud
	agent string
}

// NewLoginFlow makes one for the Nextcloud at base. The client must keep no
// cookies, see NewClient. site is what the person reads in the list of their
// devices.
func NewLoginFlow(base *url.URL, client *http.Client, site string) *LoginFlow {
	return &LoginFlow{nextcloud: newNextcloud(base, client), agent: "Anteroom (" + site + ")"}
}

// Flow is one app password that was asked for and is not granted yet.
type Flow struct {
	Login    string         // where the person grants it
	Endpoint string         // where it is fetched
	Token    session.Secret // and with what
}

// Start asks for an app password.
func (f *LoginFlow) Start(ctx context.Context) (Flow, error) {
	status, body, err := f.ask(ctx, call{method: http.MethodPost, url: f.at("/index.php/login/v2"), agent: f.agent})
	if err != nil {
		return Flow{}, fmt.Errorf("starting a login flow: %w", err)
	}
	if status != http.StatusOK {
		return Flow{}, fmt.Errorf("starting a login flow: nextcloud answers %d", status)
	}
	var said struct {
		Poll struct {
			Token    string `json:"token"`
			Endpoint string `json:"endpoint"`
		} `json:"poll"`
		Login string `json:"login"`
	}
	if json.Unmarshal(body, &said) != nil || !sound(said.Poll.Token) {
		return Flow{}, errors.New("starting a login flow: nextcloud's answer cannot be read")
	}
	for _, u := range []string{said.Login, said.Poll.Endpoint} {
		if err := f.own(u); err != nil {
			return Flow{}, fmt.Errorf("starting a login flow: %w", err)
		}
	}
	return Flow{Login: said.Login, Endpoint: said.Poll.Endpoint, Token: session.Secret(said.Poll.Token)}, nil
}

// Fetch asks for what was granted. It reports false while nothing was, and
// just so once the flow is over. Nextcloud tells it once: whoever gets it must
// keep it before anything else.
func (f *LoginFlow) Fetch(ctx context.Context, flow Flow) (session.Credential, bool, error) {
	status, body, err := f.ask(ctx, call{method: http.MethodPost, url: flow.Endpoint, agent: f.agent, form: url.Values{"token": {flow.Token.Reveal()}}})
	switch {
	case err != nil:
		return session.Credential{}, false, fmt.Errorf("fetching an app password: %w", err)
	case status == http.StatusNotFound:
		return session.Credential{}, false, nil
	case status != http.StatusOK:
		return session.Credential{}, false, fmt.Errorf("fetching an app password: nextcloud answers %d", status)
	}
	var said struct {
		LoginName   string `json:"loginName"`
		AppPassword string `json:"appPassword"`
	}
	if json.Unmarshal(body, &said) != nil || !sound(said.LoginName) || strings.Contains(said.LoginName, ":") || !sound(said.AppPassword) {
		return session.Credential{}, false, errors.New("fetching an app password: nextcloud's answer cannot be read")
	}
	return session.Credential{User: said.LoginName, Secret: session.Secret(said.AppPassword)}, true, nil
}

// sound reports whether a text can be a name, a token or a password.
func sound(s string) bool {
	return s != "" && len(s) <= 1024 && !strings.ContainsFunc(s, unicode.IsControl)
}
