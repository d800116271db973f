package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"anteroom/session"
)

var (
	// ErrAway: Nextcloud does not answer, or not now. That says nothing about
	// anybody's credential.
	ErrAway = errors.New("nextcloud does not answer")
	// ErrRefused: Nextcloud does not accept the credential.
	ErrRefused = errors.New("nextcloud refuses the credential")
)

// answerMost is how much of an answer is read.
const answerMost = 64 << 10

// nextcloud is a server that small questions are put to.
type nextcloud struct {
	base   url.URL
	client http.Client
}

func newNextcloud(base *url.URL, client *http.Client) nextcloud {
	n := nextcloud{base: *base, client: *client}
	n.base.Path = strings.TrimSuffix(n.base.Path, "/")
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return n
}

func (n *nextcloud) origin() string { return n.base.Scheme + "://" + n.base.Host }

// at is the address of a path.
func (n *nextcloud) at(path string) string { return n.origin() + n.base.EscapedPath() + path }

// own checks that an address which Nextcloud gave is its own.
func (n *nextcloud) own(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Fragment != "" || !sound(address) || strings.ContainsFunc(address+u.Host, unprintable) { // both are shown, and the host is decoded
		return errors.New("nextcloud gives an address that cannot be read")
	}
	if u.Scheme != n.base.Scheme || hostPort(u) != hostPort(&n.base) {
		return fmt.Errorf("nextcloud calls itself %s://%s, want %s: see its overwriteprotocol, overwritehost and trusted_proxies", u.Scheme, u.Host, n.origin())
	}
	if !strings.HasPrefix(u.Path, n.base.Path+"/") {
		return fmt.Errorf("nextcloud gives an address outside of %s: see its overwritewebroot", n.at("/"))
	}
	return nil
}

func unprintable(c rune) bool { return !unicode.IsPrint(c) }

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// call is one question.
type call struct {
	method, url string
	agent       string             // "" for Go's
	depth       string             // of a PROPFIND; "" for none
	form        url.Values         // nil: no body
	cred        session.Credential // zero: nobody's
}

// ask puts a question. Whatever is not an answer is ErrAway: silence, a server
// error, maintenance, throttling.
func (n *nextcloud) ask(ctx context.Context, c call) (status int, body []byte, err error) {
	var form io.Reader
	if c.form != nil {
		form = strings.NewReader(c.form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, form)
	if err != nil {
		return 0, nil, err
	}
	if c.form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.agent != "" {
		r.Header.Set("User-Agent", c.agent)
	}
	if c.depth != "" {
		r.Header.Set("Depth", c.depth)
	}
	r.Header.Set("Accept", "application/json")
	if !c.cred.IsZero() {
		c.cred.Set(r.Header)
		r.Header.Set("OCS-APIRequest", "true")
	}
	resp, err := n.client.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrAway, session.WithoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return 0, nil, fmt.Errorf("%w: it says %d", ErrAway, resp.StatusCode)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, answerMost+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%w: %w", ErrAway, err)
	case len(body) > answerMost:
		return 0, nil, errors.New("nextcloud's answer is too large")
	}
	return resp.StatusCode, body, nil
}

// Owner is the id of the account that a credential belongs to. ErrRefused
// means that it belongs to none that may be used.
func (n *nextcloud) Owner(ctx context.Context, cred session.Credential) (string, error) {
	status, body, err := n.ask(ctx, call{method: http.MethodGet, url: n.at("/ocs/v2.php/cloud/user?format=json"), cred: cred})
	switch {
	case err != nil:
		return "", fmt.Errorf("asking whose an app password is: %w", err)
	case status == http.StatusUnauthorized:
		return "", fmt.Errorf("asking whose an app password is: %w", ErrRefused)
	case status != http.StatusOK:
		return "", fmt.Errorf("asking whose an app password is: nextcloud answers %d", status)
	}
	var said struct {
		OCS struct {
			Data struct {
				ID string `json:"id"`
			} `json:"data"`
		} `json:"ocs"`
	}
	if json.Unmarshal(body, &said) != nil || !sound(said.OCS.Data.ID) {
		return "", errors.New("asking whose an app password is: nextcloud's answer cannot be read")
	}
	return said.OCS.Data.ID, nil
}

// Revoke has Nextcloud delete an app password. One that it does not know, or
// no longer, is deleted.
func (n *nextcloud) Revoke(ctx context.Context, cred session.Credential) error {
	status, _, err := n.ask(ctx, call{method: http.MethodDelete, url: n.at("/ocs/v2.php/core/apppassword"), cred: cred})
	switch {
	case err != nil:
		return fmt.Errorf("deleting an app password: %w", err)
	case status != http.StatusOK && status != http.StatusUnauthorized:
		return fmt.Errorf("deleting an app password: nextcloud answers %d", status)
	}
	return nil
}

// OpensDAV tries a credential at the DAV server. ErrRefused means that it does
// not open it.
func (n *nextcloud) OpensDAV(ctx context.Context, cred session.Credential) error {
	status, _, err := n.ask(ctx, call{method: "PROPFIND", url: n.at("/remote.php/dav/"), depth: "0", cred: cred})
	switch {
	case err != nil:
		return fmt.Errorf("trying an app password with DAV: %w", err)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("trying an app password with DAV: %w", ErrRefused)
	case status != http.StatusMultiStatus:
		return fmt.Errorf("trying an app password with DAV: nextcloud answers %d", status)
	}
	return nil
}
