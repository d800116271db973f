package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/proxy/authn"
)

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// tokenIn reads what /auth/token gave a signed-in person a JWT.
func (w *town) tokenIn(body string) string {
	w.Helper()
	var t struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &t); err != nil || t.Token == "" {
		w.Fatalf("/auth/token = %s", body)
	}
	return t.Token
}

// TestProgramsByBasic: configured clients with the service account, and people
// with their app password and their own.
func TestProgramsByBasic(t *testing.T) {
	secret, hash := authn.NewSecret()
	w := found(t, demo.Options{}, "NEXTCLOUD_WEBDAV_USERNAME=admin", "NEXTCLOUD_WEBDAV_PASSWORD=admin_dev_password",
		"ANTEROOM_INTEGRATIONS_CALDAV_CREDENTIAL=user",
		"ANTEROOM_INTEGRATIONS_CALDAV_URL={cloud}/remote.php/dav/files", // files stand for calendars here
		`ANTEROOM_CLIENTS=[{name: admin, secret_hash: "`+hash+`"}, {name: indexer, secret_hash: "`+hash+`"}]`)
	p, _ := w.testdoc("/hello")
	good := basic("indexer", secret.Reveal())
	for _, tt := range []struct {
		name, path string
		header     []string
		cookies    bool
		want       int
	}{
		{"client", "/dav/files/admin/", []string{good}, false, 207},
		{"client with the name of an account", "/dav/files/admin/", []string{basic("admin", secret.Reveal())}, false, 207},
		{"client at what is everybody's own", "/calendar/testdoc/", []string{good}, false, 403},
		{"wrong secret", "/dav/files/admin/", []string{basic("indexer", "wrong")}, false, 401},
		{"unknown client", "/dav/files/admin/", []string{basic("nobody", secret.Reveal())}, false, 401},
		{"wrong secret beside a good session", "/calendar/testdoc/", []string{basic("indexer", "wrong")}, true, 401},
		{"another scheme", "/dav/files/admin/", []string{"Authorization: Negotiate x"}, true, 401},
		{"a person with their password", "/calendar/testdoc/", []string{basic("testdoc", "testdoc123")}, false, 207},
		{"a person with their address", "/calendar/testdoc/", []string{basic("testdoc@example.com", "testdoc123")}, false, 207},
		{"a person at the service account's", "/dav/files/admin/", []string{basic("testdoc", "testdoc123")}, false, 403},
		{"a person with a wrong password", "/calendar/testdoc/", []string{basic("testdoc", "wrong")}, false, 401},
	} {
		who := p
		if !tt.cookies {
			who = nil
		}
		resp, body := w.ask(who, "PROPFIND", tt.path, "", append(tt.header, "Depth: 0")...)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, resp.StatusCode, body, tt.want)
		}
		if tt.want == 401 && !strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ","), "Basic") {
			t.Errorf("%s: no challenge", tt.name)
		}
	}
	asked := w.cloud.Calls(demo.OCS)
	for range 20 {
		w.ask(nil, "PROPFIND", "/calendar/testdoc/", "", basic("testdoc", "testdoc123"))
		w.ask(nil, "PROPFIND", "/calendar/testdoc/", "", basic("testdoc", "wrong"))
	}
	if n := w.cloud.Calls(demo.OCS) - asked; n > 0 {
		t.Errorf("Nextcloud was asked %d times about credentials it was asked about before", n)
	}
	w.cloud.SetDown(true)
	if resp, _ := w.ask(nil, "PROPFIND", "/calendar/testdoc/", "", basic("nurse", "nurse123")); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("with Nextcloud away = %d, want 503: broken is not refused", resp.StatusCode)
	}
	w.cloud.SetDown(false)
	if resp, _ := w.ask(nil, "PROPFIND", "/calendar/nurse/", "", basic("nurse", "nurse123")); resp.StatusCode != http.StatusMultiStatus {
		t.Errorf("with Nextcloud back = %d, want 207", resp.StatusCode)
	}
	var last int
	for i := range 30 {
		resp, _ := w.ask(nil, "PROPFIND", "/calendar/", "", basic("testdoc", "guess"+string(rune('a'+i))))
		last = resp.StatusCode
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the 30th guess = %d, want 429", last)
	}
	if resp, _ := w.ask(nil, "PROPFIND", "/calendar/testdoc/", "", basic("testdoc", "testdoc123")); resp.StatusCode != http.StatusMultiStatus {
		t.Errorf("the good password after all the guesses = %d, want 207", resp.StatusCode)
	}
	w.stop()
	if all := w.log.String() + w.audit.String(); strings.Contains(all, secret.Reveal()) || strings.Contains(all, "testdoc123") || strings.Contains(all, "admin_dev_password") {
		t.Error("a secret was written down")
	}
}

// appPassword has Nextcloud make one.
func (w *town) appPassword(user, password string) string {
	w.Helper()
	r, err := http.NewRequest("GET", w.cloudURL+"/ocs/v2.php/core/getapppassword?format=json", nil)
	if err != nil {
		w.Fatal(err)
	}
	r.SetBasicAuth(user, password)
	r.Header.Set("OCS-APIRequest", "true")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		OCS struct {
			Data struct {
				AppPassword string `json:"apppassword"`
			} `json:"data"`
		} `json:"ocs"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || said.OCS.Data.AppPassword == "" {
		w.Fatalf("getapppassword = %s, %v", resp.Status, err)
	}
	return said.OCS.Data.AppPassword
}

// TestProgramsByBearer: our own JWTs for as long as their session lives, and
// the provider's access tokens.
func TestProgramsByBearer(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	_, body := w.ask(p, "POST", "/auth/token", "")
	jwt := w.tokenIn(body)
	ask := func(token string) int {
		t.Helper()
		resp, _ := w.ask(nil, "PROPFIND", "/dav/files/testdoc/", "", "Authorization: Bearer "+token)
		return resp.StatusCode
	}
	if got := ask(jwt); got != http.StatusMultiStatus {
		t.Errorf("with a JWT of ours = %d, want 207 with the token of its session", got)
	}
	head, rest, _ := strings.Cut(jwt, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for name, token := range map[string]string{"another signature": head + "." + payload + "." + strings.Repeat("A", len(signature)), "no algorithm": forged + "." + payload + ".", "cut": jwt[:len(jwt)-2], "junk": "junk"} {
		if got := ask(token); got != http.StatusUnauthorized {
			t.Errorf("with %s = %d, want 401", name, got)
		}
	}
	app := w.appPassword("testdoc", "testdoc123")
	if got := ask(app); got != http.StatusMultiStatus {
		t.Errorf("with a token of Nextcloud's = %d, want 207", got)
	}
	w.cloud.RevokeAll("testdoc")
	if got := ask(app); got != http.StatusUnauthorized {
		t.Errorf("with a token that Nextcloud revoked = %d, want 401", got)
	}
	p, _ = w.testdoc("/hello")
	_, body = w.ask(p, "POST", "/auth/token", "")
	jwt = w.tokenIn(body)
	if got := ask(jwt); got != http.StatusMultiStatus {
		t.Errorf("with a JWT of a new session = %d, want 207", got)
	}
	w.ask(p, "POST", "/auth/logout", "", "Sec-Fetch-Site: same-origin")
	if got := ask(jwt); got != http.StatusUnauthorized {
		t.Errorf("with a JWT whose session is over = %d, want 401", got)
	}
}

// TestTransferEndsWithItsSession: an upload on a person's behalf, by a JWT, is
// cut off when their session ends, and leaves nothing.
func TestTransferEndsWithItsSession(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	_, body := w.ask(p, "POST", "/auth/token", "")
	host := strings.TrimPrefix(w.site, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /dav/files/testdoc/half.bin HTTP/1.1\r\nHost: %s\r\nContent-Length: 1048576\r\nAuthorization: Bearer %s\r\n\r\n", host, w.tokenIn(body))
	if _, err := conn.Write(make([]byte, 1<<19)); err != nil {
		t.Fatal(err)
	}
	w.await("under way", func() bool { return w.cloud.Calls(demo.DAV) > 0 })
	w.ask(p, "POST", "/auth/logout", "", "Sec-Fetch-Site: same-origin")
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	said, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || strings.HasPrefix(string(said), "HTTP/1.1 2") {
		t.Errorf("the upload goes on although its session ended: %q, %v", said, err)
	}
	p, _ = w.testdoc("/hello")
	if resp, _ := w.ask(p, "GET", "/dav/files/testdoc/half.bin", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("GET of the half upload = %d, want 404", resp.StatusCode)
	}
}

// TestConnectedByLoginFlow: whoever signed in by OpenID Connect reaches their
// files once they granted an app password, and no longer when they took it back.
func TestConnectedByLoginFlow(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user")
	p, _ := w.testdoc("/hello")
	files := func() (int, string) {
		resp, body := w.ask(p, "PROPFIND", "/dav/files/testdoc/", "", "Depth: 1")
		return resp.StatusCode, body
	}
	if got, body := files(); got != http.StatusForbidden || !strings.Contains(body, "nextcloud_not_connected") || !strings.Contains(body, "/auth/") {
		t.Errorf("before connecting = %d %s, want 403 that says where to connect", got, body)
	}
	_, body := w.ask(p, "POST", "/auth/nextcloud/connect", "", asProgram)
	var said struct{ State, Login string }
	if err := json.Unmarshal([]byte(body), &said); err != nil || said.State != "pending" {
		t.Fatalf("connect = %s", body)
	}
	page, err := p.Open(said.Login)
	for err == nil && !strings.Contains(page.Body, "now be connected") {
		page, err = p.Next(page)
	}
	if err != nil {
		t.Fatalf("granting: %v", err)
	}
	if _, body = w.ask(p, "GET", "/auth/nextcloud/connect", "", asProgram); !strings.Contains(body, `"connected"`) {
		t.Fatalf("after granting: %s", body)
	}
	if got, body := files(); got != http.StatusMultiStatus || !strings.Contains(body, "/dav/files/testdoc/Welcome.md") {
		t.Errorf("connected = %d %s, want their files", got, body)
	}
	w.ask(p, "POST", "/auth/nextcloud/disconnect", "", asProgram)
	if got, _ := files(); got != http.StatusForbidden {
		t.Errorf("disconnected = %d, want 403", got)
	}
}
