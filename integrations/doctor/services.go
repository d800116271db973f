package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"anteroom/integrations"
	"anteroom/integrations/calendars"
	"anteroom/integrations/collections"
	"anteroom/integrations/contacts"
	"anteroom/session"
)

// service is a DAV service with an account of ours.
type service struct {
	p             *Patient
	name, section string
	dav           *integrations.DAV
	tried         *tried
}

// tried remembers accounts that were refused, so that none is tried twice:
// Nextcloud slows down whoever fails often.
type tried struct {
	mu      sync.Mutex // held while an account is tried
	refused map[session.Credential]string
}

// by is which service refuses an account, if one does.
func (t *tried) by(account session.Credential) (name string, refused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, refused = t.refused[account]
	return name, refused
}

// Services are the probes of the services that accounts of ours are for.
func (p *Patient) Services() (probes []Probe) {
	t := &tried{refused: map[session.Credential]string{}}
	i := &p.Integrations
	looked := map[session.Credential]bool{}
	var passwords []Probe
	after := func() []string { // the last of the probes, so that it is known what was refused
		if n := len(probes); n > 0 {
			return []string{probes[n-1].Name}
		}
		return nil
	}
	for _, s := range []*service{{p, "WebDAV", "webdav", &i.WebDAV, t}, {p, "CalDAV", "caldav", &i.CalDAV, t}, {p, "CardDAV", "carddav", &i.CardDAV, t}} {
		account := s.dav.Account()
		if !s.dav.Program() || account.User == "" || !s.dav.ByService() {
			continue
		}
		var needs []string
		if p.own(s.dav.URL) {
			needs = []string{Status}
		}
		probes = append(probes, Probe{Name: s.name, Needs: needs, After: after(), Look: s.look})
		if p.own(s.dav.URL) && !looked[account] {
			looked[account] = true
			passwords = append(passwords, Probe{Name: "app password for " + s.name, Needs: []string{s.name}, Look: s.appPassword})
		}
	}
	if i.Directory.Username != "" {
		passwords = append(passwords, Probe{Name: "directory", Needs: []string{Status}, After: after(), Look: func(ctx context.Context) Finding { return p.directory(ctx, t) }})
	}
	if i.Mail.Nextcloud > 0 {
		passwords = append(passwords, Probe{Name: "Mail app", Needs: []string{Status}, After: after(), Look: func(ctx context.Context) Finding { return p.mailApp(ctx, t) }})
	}
	return append(probes, passwords...)
}

// own reports whether an address is at the Nextcloud that people sign in with.
func (p *Patient) own(address string) bool {
	a, errA := url.Parse(address)
	b, errB := url.Parse(p.Nextcloud.URL)
	return errA == nil && errB == nil && a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// signedBy sends a credential with each request, and follows no redirect.
func signedBy(c *http.Client, cred session.Credential) *http.Client {
	s := still(c)
	s.Transport = &signed{c.Transport, cred}
	return s
}

type signed struct {
	next http.RoundTripper
	cred session.Credential
}

// RoundTrip implements http.RoundTripper.
func (s *signed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	s.cred.Set(r.Header)
	next := s.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(r)
}

const whoami = `<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:current-user-principal/></d:prop></d:propfind>`

// whose asks what is at an address, and who asks.
func whose(ctx context.Context, client *http.Client, address string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "PROPFIND", address, strings.NewReader(whoami))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Depth", "0")
	r.Header.Set("Content-Type", "application/xml; charset=utf-8")
	return client.Do(r)
}

func (s *service) key(name string) string { return s.p.Key("integrations." + s.section + "." + name) }

func (s *service) look(ctx context.Context) Finding {
	s.tried.mu.Lock()
	defer s.tried.mu.Unlock()
	cred := s.dav.Account()
	if by, refused := s.tried.refused[cred]; refused {
		return refusedBy(by)
	}
	client := signedBy(s.p.Client, cred)
	resp, err := whose(ctx, client, s.dav.URL)
	if err != nil {
		return s.p.silent(err, s.key("url"))
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, statusMost))
	if resp.StatusCode == http.StatusUnauthorized {
		s.tried.refused[cred] = s.name
	}
	if resp.StatusCode != http.StatusMultiStatus {
		return s.refused(resp)
	}
	if s.astray(ctx, client) {
		return failed("there is nothing at its scope, "+s.dav.Scope, "Make that folder or calendar in Nextcloud, or set "+s.key("scope")+" to what is there, as a path below "+s.key("url")+".")
	}
	return s.sound(ctx, client, string(body))
}

// astray reports whether everything has to stay within what is not there. What
// is each caller's own nobody can look at here.
func (s *service) astray(ctx context.Context, client *http.Client) bool {
	at, err := url.Parse(s.dav.URL)
	if err != nil || strings.Trim(s.dav.Scope, "/") == "" || strings.Contains(s.dav.Scope, "{user}") {
		return false
	}
	at.Path, at.RawPath = strings.TrimSuffix(at.Path, "/")+"/"+strings.Trim(s.dav.Scope, "/")+"/", ""
	resp, err := whose(ctx, client, at.String())
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusNotFound
}

// refused says what an answer means that is none.
func (s *service) refused(resp *http.Response) Finding {
	right := strings.TrimSuffix(s.p.Nextcloud.URL, "/") + "/remote.php/dav"
	if f, is := passing(resp.StatusCode); is {
		return f
	}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return failed("Unauthorized: the server does not accept user and password", "Verify "+s.key("username")+" and "+s.key("password")+". It has to be an app password (Nextcloud: Settings, Security) where the account has a second factor, and the name as that page shows it, letter case included.")
	case status == http.StatusForbidden:
		return failed("the account may not look there", "Check that "+s.key("url")+" is a place of "+s.key("username")+"'s, or shared with that account.")
	case status == http.StatusMethodNotAllowed:
		return failed("Method not allowed: there is no DAV service at that address", "Ensure that "+s.key("url")+" is "+right+", not /webdav or /dav.")
	case status == http.StatusNotFound && s.section == "caldav":
		return failed("Calendar not found: the path, or its user, is not there", "Verify that the calendar exists for the user, and that "+s.key("url")+" is "+right+", or "+right+"/calendars/"+s.dav.Username+".")
	case status == http.StatusNotFound || status == http.StatusOK || status/100 == 3:
		return failed(fmt.Sprintf("there is no DAV service at that address (%d)", status), "Ensure that "+s.key("url")+" is "+right+", not /webdav or /dav.")
	default:
		return failed(fmt.Sprintf("it answers with an error (%d)", status), "Look into Nextcloud's log (data/nextcloud.log).")
	}
}

// passing is what an answer means that says nothing of what was asked, or by
// whom.
func passing(status int) (f Finding, is bool) {
	switch status {
	case http.StatusTooManyRequests:
		return failed("Nextcloud lets nobody sign in from this address for now: wrong passwords came from here", "Wait half an hour, or: occ security:bruteforce:reset with this machine's address."), true
	case http.StatusServiceUnavailable:
		return failed("Nextcloud is in maintenance, or has too much to do", "When the work is done: occ maintenance:mode --off."), true
	}
	return f, false
}

// silent is why there is no answer from the address that a key has.
func (p *Patient) silent(err error, key string) Finding {
	var untrusted *tls.CertificateVerificationError
	var slow net.Error
	switch {
	case errors.As(err, &untrusted), strings.Contains(err.Error(), "is pinned"):
		return failed("its certificate is not for its name, not from an authority that is trusted, or not pinned", "Check "+key+", and "+p.Key("nextcloud.ca_file")+" and "+p.Key("nextcloud.pins")+", which hold here, too.")
	case errors.As(err, &slow) && slow.Timeout():
		return failed("it does not answer in time", "Check "+key+". Nextcloud also answers late, by up to 25 s, after wrong passwords came from this address: then wait half an hour.")
	}
	return failed("nothing answers at that address", "Check scheme, host and port in "+key+".")
}

// sound looks on at a service that answers.
func (s *service) sound(ctx context.Context, client *http.Client, body string) Finding {
	at, err := url.Parse(s.dav.URL)
	if err != nil {
		return failed("the address cannot be read", "Check "+s.key("url")+".")
	}
	if strings.HasSuffix(strings.TrimSuffix(at.Path, "/"), "/remote.php/webdav") {
		return warning("it is the old service, without uploads in parts, search and trash", "Set "+s.key("url")+" to "+strings.TrimSuffix(s.p.Nextcloud.URL, "/")+"/remote.php/dav.")
	}
	n, what, problem := 0, "", error(nil)
	switch of := (collections.Service{HTTP: client, URL: at}); s.section {
	case "caldav":
		what = "calendars"
		if c, err := calendars.Open(ctx, calendars.Options{Service: of, Now: s.p.Now}); err != nil {
			problem = err
		} else {
			all, err := c.Calendars(ctx)
			n, problem = len(all), err
		}
	case "carddav":
		what = "address books"
		if c, err := contacts.Open(ctx, contacts.Options{Service: of, Now: s.p.Now}); err != nil {
			problem = err
		} else {
			all, err := c.Books(ctx)
			n, problem = len(all), err
		}
	default:
		if !strings.Contains(body, "current-user-principal") {
			return warning("it answers, but not as Nextcloud does", "Check "+s.key("url")+".")
		}
		return ok("%s may use it", s.dav.Username)
	}
	switch {
	case problem != nil:
		return failed("its "+what+" cannot be listed", "Verify "+s.key("url")+" and "+s.key("username")+".")
	case n == 0:
		return warning("it works, and there are no "+what, "Sign in to Nextcloud as "+s.dav.Username+" once: that makes the first.")
	}
	return ok("%s's %s: %d", s.dav.Username, what, n)
}

// made are the forms that Nextcloud gives app passwords: by a login flow, and by
// the settings page.
var made = regexp.MustCompile(`^([A-Za-z0-9]{72}|[A-Za-z0-9]{5}(-[A-Za-z0-9]{5}){4})$`)

// appPassword tells an app password from the account's own. One that does not
// look like Nextcloud's is shown to Nextcloud as a Bearer token, which an app
// password is, too, and the account's own is not: nothing is made there to find
// out, and no failed sign-in is booked.
func (s *service) appPassword(ctx context.Context) Finding {
	secret := s.dav.Account().Secret
	if made.MatchString(secret.Reveal()) {
		return ok("it is one")
	}
	own := warning("it is the account's own password, which opens everything and cannot be revoked alone", "Run anteroom connect, or make an app password in Nextcloud (Settings, Security), and put that into "+s.key("password")+".")
	if strings.ContainsFunc(secret.Reveal(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) { // in no app password, and in no Bearer token
		return own
	}
	status, _, err := s.p.ocs(ctx, http.MethodGet, strings.TrimSuffix(s.p.Nextcloud.URL, "/")+"/ocs/v2.php/cloud/user?format=json", session.Credential{Secret: secret})
	switch {
	case err != nil:
		return unknown("Nextcloud does not answer")
	case status == http.StatusUnauthorized:
		return own
	case status == http.StatusOK:
		return ok("it is one")
	}
	return unknown("Nextcloud does not say (%d)", status)
}

// ocs puts a question to Nextcloud's own API.
func (p *Patient) ocs(ctx context.Context, method, address string, cred session.Credential) (status int, body []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("OCS-APIRequest", "true")
	r.Header.Set("Accept", "application/json")
	resp, err := signedBy(p.Client, cred).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, statusMost))
	return resp.StatusCode, body, err
}

func refusedBy(name string) Finding {
	return Finding{State: Skipped, Detail: "not looked at: " + name + " refuses the same account"}
}

func (p *Patient) directory(ctx context.Context, t *tried) Finding {
	d := p.Integrations.Directory
	if by, refused := t.by(d.Account()); refused && p.own(d.URL) {
		return refusedBy(by)
	}
	status, body, err := p.ocs(ctx, http.MethodGet, strings.TrimSuffix(d.URL, "/")+"/ocs/v2.php/cloud/users?format=json&limit=1", d.Account())
	if f, is := passing(status); is {
		return f
	}
	var said struct {
		OCS struct {
			Data struct{ Users json.RawMessage }
		}
	}
	switch {
	case err != nil:
		return p.silent(err, p.Key("integrations.directory.url"))
	case status == http.StatusUnauthorized:
		return failed("Nextcloud does not accept user and password", "Verify "+p.Key("integrations.directory.username")+" and "+p.Key("integrations.directory.password")+".")
	case status == http.StatusForbidden:
		return failed("the account may not list people", "Make "+p.Key("integrations.directory.username")+" an administrator, or an administrator of a group, in Nextcloud.")
	case status == http.StatusNotFound, status/100 == 3, status == http.StatusOK && (json.Unmarshal(body, &said) != nil || said.OCS.Data.Users == nil):
		return failed(fmt.Sprintf("there is no Nextcloud at that address (%d)", status), "Set "+p.Key("integrations.directory.url")+" to Nextcloud's own URL, or leave it out.")
	case status != http.StatusOK:
		return failed(fmt.Sprintf("it answers with an error (%d)", status), "Look into Nextcloud's log (data/nextcloud.log).")
	}
	return ok("%s may list people", d.Username)
}
