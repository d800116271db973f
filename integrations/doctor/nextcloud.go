package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"anteroom/integrations"
)

// The names of the probes that others need.
const (
	Address     = "address of Nextcloud"
	Connection  = "connection to Nextcloud"
	Certificate = "certificate of Nextcloud"
	Status      = "Nextcloud"
	Provider    = "sign-in provider"
)

// Patient is what is looked at.
type Patient struct {
	Nextcloud    integrations.NextcloudConfig
	Integrations integrations.Config
	Client       *http.Client // for Nextcloud; see [integrations.NewClient]
	// Key is a key of the configuration as an operator knows it, with the
	// variable that sets it: "nextcloud.url (NEXTCLOUD_BASE_URL)".
	Key func(key string) string
	Now func() time.Time

	status sync.Once
	answer statusAnswer
}

// statusAnswer is what came of asking for status.php, once for all who look.
type statusAnswer struct {
	resp   *http.Response // its body is read already
	body   []byte
	err    error
	secure atomic.Pointer[tls.ConnectionState] // once there is TLS, whatever comes then
}

const statusMost = 64 << 10

// ask asks for status.php, without following redirects.
func (p *Patient) ask(ctx context.Context) *statusAnswer {
	p.status.Do(func() {
		a := &p.answer
		r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, strings.TrimSuffix(p.Nextcloud.URL, "/")+"/status.php", nil)
		if err != nil {
			a.err = err
			return
		}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
			if c, ok := got.Conn.(*tls.Conn); ok {
				cs := c.ConnectionState()
				a.secure.Store(&cs)
			}
		}}))
		client := still(p.Client)
		if client.Timeout == 0 || client.Timeout > lookTime {
			client.Timeout = lookTime
		}
		if a.resp, a.err = client.Do(r); a.err != nil {
			return
		}
		defer a.resp.Body.Close()
		a.body, a.err = io.ReadAll(io.LimitReader(a.resp.Body, statusMost))
	})
	return &p.answer
}

// still is a client that follows no redirect.
func still(c *http.Client) *http.Client {
	s := *c
	s.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &s
}

// Server are the probes of the Nextcloud itself.
func (p *Patient) Server() []Probe {
	return []Probe{
		{Name: Address, Look: p.address},
		{Name: Connection, Needs: []string{Address}, Look: p.connection},
		{Name: Certificate, Needs: []string{Connection}, Look: p.certificate},
		{Name: Status, Needs: []string{Connection, Certificate}, Look: p.nextcloud},
		{Name: "clock", Needs: []string{Connection, Certificate}, Look: p.clock},
	}
}

// dialled is the host and port that Nextcloud is reached at.
func (p *Patient) dialled() (host, port string, err error) {
	if p.Nextcloud.ConnectTo != "" {
		return net.SplitHostPort(p.Nextcloud.ConnectTo)
	}
	u, err := url.Parse(p.Nextcloud.URL)
	if err != nil {
		return "", "", err
	}
	if port = u.Port(); port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Hostname(), port, nil
}

func (p *Patient) address(ctx context.Context) Finding {
	host, _, err := p.dialled()
	if err != nil {
		return failed("the address cannot be read", "Set "+p.Key("nextcloud.url")+" to Nextcloud's URL.")
	}
	if net.ParseIP(host) != nil {
		return ok("%s is an address", host)
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return failed(fmt.Sprintf("nobody knows a host called %s", host),
			"Check the name in "+p.Key("nextcloud.url")+". Where this machine knows Nextcloud by another name than browsers do, set "+p.Key("nextcloud.connect_to")+" to that, with the port.")
	}
	return ok("%s is %s", host, strings.Join(found, ", "))
}

func (p *Patient) connection(ctx context.Context) Finding {
	host, port, _ := p.dialled()
	start := p.Now()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		remedy := "Check that Nextcloud runs, and the port in " + p.Key("nextcloud.url") + "; then firewalls between here and there."
		if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
			remedy += " Within a container, " + host + " is the container itself: set " + p.Key("nextcloud.connect_to") + " to Nextcloud's name there, such as nextcloud:80, and name nextcloud in " + p.Key("server.allow_plaintext") + " where that is plain HTTP."
		}
		return failed(fmt.Sprintf("nothing answers at %s", net.JoinHostPort(host, port)), remedy)
	}
	conn.Close()
	return ok("%s answers in %v", net.JoinHostPort(host, port), p.Now().Sub(start).Round(time.Millisecond))
}

func (p *Patient) certificate(ctx context.Context) Finding {
	if strings.HasPrefix(p.Nextcloud.URL, "http:") {
		if host, _, err := p.dialled(); err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback()) {
			return ok("none: plain HTTP, on this machine")
		}
		return warning("none: plain HTTP, which anybody on the way can read", "Use https in "+p.Key("nextcloud.url")+" for anything but trying out.")
	}
	a := p.ask(ctx)
	secure := a.secure.Load()
	switch {
	case secure == nil && a.err != nil:
		return p.untrusted(a.err)
	case secure == nil || len(secure.PeerCertificates) == 0:
		return failed("the server shows none", "Check "+p.Key("nextcloud.url")+".")
	}
	left := secure.PeerCertificates[0].NotAfter.Sub(p.Now())
	detail := fmt.Sprintf("good for %d more days", int(left.Hours()/24))
	if n := len(p.Nextcloud.Pins); n > 0 {
		detail += fmt.Sprintf(", and one of the %d pins fits", n)
	}
	if left < 14*24*time.Hour {
		return warning(detail, "Renew Nextcloud's certificate.")
	}
	return ok("%s", detail)
}

// untrusted says what is wrong with a certificate.
func (p *Patient) untrusted(err error) Finding {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case strings.Contains(err.Error(), "is pinned"):
		return failed("no certificate of the chain is one that is pinned", "If Nextcloud's certificate was exchanged on purpose, put the SHA-256 of its public key into "+p.Key("nextcloud.pins")+"; else somebody may be in between: find out who.")
	case errors.As(err, &host):
		return failed("it is for another host", "Call Nextcloud in "+p.Key("nextcloud.url")+" by a name that its certificate has.")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return failed("it has expired, or is not good yet", "Renew Nextcloud's certificate, and check the clocks of both machines.")
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return failed("nobody whom this machine trusts vouches for it", "Put the certificate of the authority that made it into a PEM file, and name that in "+p.Key("nextcloud.ca_file")+".")
	}
	return failed("no TLS connection comes about", "Check that "+p.Key("nextcloud.url")+" has the right scheme and port: perhaps Nextcloud speaks plain HTTP there.")
}

func (p *Patient) nextcloud(ctx context.Context) Finding {
	a := p.ask(ctx)
	if a.err != nil {
		return failed("it does not answer a request", "Check that Nextcloud's web server and PHP run.")
	}
	var s struct {
		Installed, Maintenance bool
		NeedsDBUpgrade         bool   `json:"needsDbUpgrade"`
		Version                string `json:"versionstring"`
		Error                  string `json:"error"`
	}
	err := json.Unmarshal(a.body, &s)
	switch status := a.resp.StatusCode; {
	case status == http.StatusBadRequest && (strings.Contains(s.Error, "Trusted domain") || strings.Contains(string(a.body), "rusted domain")):
		return failed("it does not answer to the name it is called by", "Add the host of "+p.Key("nextcloud.url")+" to trusted_domains in Nextcloud's config/config.php.")
	case status/100 == 3:
		return failed("it sends us to another place", "Set "+p.Key("nextcloud.url")+" to where Nextcloud is, with the scheme, host and path that browsers end up at.")
	case status != http.StatusOK || err != nil:
		return failed(fmt.Sprintf("there is no Nextcloud: status.php is answered with %d, and not as Nextcloud does", status), "Set "+p.Key("nextcloud.url")+" to Nextcloud's own URL, with its folder if it has one (https://example.com/nextcloud).")
	case !s.Installed:
		return failed("it is not installed yet", "Open Nextcloud in a browser and finish its installation.")
	case s.Maintenance:
		return failed("it is in maintenance mode", "When the work is done: occ maintenance:mode --off.")
	case s.NeedsDBUpgrade:
		return failed("it waits for an upgrade of its database", "Run occ upgrade.")
	}
	return ok("version %s", s.Version)
}

// The clocks may differ by as much as is forgiven in tokens.
const skewMost = time.Minute

func (p *Patient) clock(ctx context.Context) Finding {
	a := p.ask(ctx)
	if a.err != nil {
		return unknown("Nextcloud does not answer")
	}
	there, err := http.ParseTime(a.resp.Header.Get("Date"))
	if err != nil {
		return unknown("Nextcloud does not say what time it is")
	}
	skew := p.Now().Sub(there).Round(time.Second)
	if skew > skewMost || skew < -skewMost {
		return failed(fmt.Sprintf("this machine's and Nextcloud's differ by %v", skew.Abs()), "Set both machines' clocks by NTP: tokens are judged by time.")
	}
	return ok("Nextcloud's is the same, within a few seconds")
}
