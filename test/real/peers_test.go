//go:build real

package realtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/loopback"
)

const (
	clientID     = "anteroom"
	clientSecret = "a-client-secret-of-more-than-32-bytes"
)

// startPanva starts panva's oidc-provider for a site and returns its issuer.
func startPanva(t *testing.T, s *site, alg string, accessTTL time.Duration) string {
	t.Helper()
	port := loopback.Port(t)
	number, _ := strconv.Atoi(port)
	options, err := json.Marshal(map[string]any{
		"port": number, "redirect": s.Redirect, "signedOut": s.URL + "/auth/logout",
		"alg": alg, "accessTTL": accessTTL.Seconds(), "backchannel": s.URL + "/auth/backchannel-logout",
	})
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, "oidc-provider", command{dir: absolute(t, root+"/test/npm"), argv: []string{"node", "op.mjs", string(options)}})
	until(t, p, "starting oidc-provider", 30*time.Second, p.printed("ready\n"))
	return "http://127.0.0.1:" + port
}

// startZitadel starts zitadel's example provider for a site.
func startZitadel(t *testing.T, s *site, accessTTL time.Duration) string {
	t.Helper()
	port := loopback.Port(t)
	p := launch(t, "zitadel", command{argv: []string{absolute(t, binaries+"/zitadel"), "-port", port,
		"-redirect", s.Redirect, "-signed-out", s.URL + "/auth/logout", "-access-ttl", accessTTL.String()}})
	until(t, p, "starting zitadel", 30*time.Second, p.printed("ready\n"))
	return "http://localhost:" + port + "/"
}

// startVoiceAssist starts the FastAPI application and returns its origin.
func startVoiceAssist(t *testing.T, secret string) string {
	t.Helper()
	port := loopback.Port(t)
	origin := "http://127.0.0.1:" + port
	p := launch(t, "uvicorn", command{
		dir:  absolute(t, root+"/test/voiceassist"),
		env:  []string{"SECRET_KEY=" + secret, "PYTHONDONTWRITEBYTECODE=1"},
		argv: []string{"/usr/bin/python3", "-m", "uvicorn", "--host", "127.0.0.1", "--port", port, "app:app"},
	})
	until(t, p, "starting uvicorn", 30*time.Second, func() error {
		resp, err := http.Get(origin + "/health")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return origin
}

// nextcloud is the pretend Nextcloud on a socket of its own, knobs and all.
type nextcloud struct {
	*demo.Nextcloud
	*httptest.Server
}

// startNextcloud starts it with the demo's client registered for a site.
func startNextcloud(t *testing.T, s *site, o demo.Options) nextcloud {
	t.Helper()
	n := demo.NewNextcloud(o)
	n.AddRedirectURI(demo.DefaultClientID, s.Redirect)
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	return nextcloud{n, server}
}

// env is what connects an Anteroom to it, by the guide's variables.
func (n nextcloud) env() map[string]string {
	return map[string]string{
		"NEXTCLOUD_BASE_URL":      n.URL,
		"NEXTCLOUD_CLIENT_ID":     demo.DefaultClientID,
		"NEXTCLOUD_CLIENT_SECRET": demo.DefaultClientSecret,
	}
}

// providerEnv connects an Anteroom to an OpenID provider that is no Nextcloud.
func providerEnv(issuer, upstream string) map[string]string {
	return map[string]string{
		"NEXTCLOUD_BASE_URL":       issuer,
		"NEXTCLOUD_OIDC_ISSUER":    issuer,
		"NEXTCLOUD_CLIENT_ID":      clientID,
		"NEXTCLOUD_CLIENT_SECRET":  clientSecret,
		"ANTEROOM_SIGNIN_PROVIDER": "oidc",
		"ANTEROOM_UPSTREAM":        upstream,
	}
}

// with adds settings to a set of variables.
func with(env map[string]string, more ...string) map[string]string {
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

// count reads a counter of the site's /metrics; an absent one is 0.
func (s *site) count(series string) (float64, error) {
	resp, err := http.Get(s.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		return 0, nil
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// counted is a condition: a counter has reached at least n.
func (s *site) counted(series string, n float64) func() error {
	return func() error {
		got, err := s.count(series)
		if err == nil && got < n {
			err = fmt.Errorf("%s = %v, want at least %v", series, got, n)
		}
		return err
	}
}

const renewedOK = `anteroom_session_renewals_total{result="ok"}`

var errStillThere = errors.New("the session is still there")

// gone is a condition: the person's session is no more, as /auth/me tells.
func (p *person) gone(s *site) func() error {
	return func() error {
		switch g := p.visit(s.URL + "/auth/me"); g.status {
		case http.StatusUnauthorized:
			return nil
		case http.StatusOK:
			return errStillThere
		default:
			return fmt.Errorf("/auth/me = %d", g.status)
		}
	}
}
