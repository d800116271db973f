package doctor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"anteroom/integrations"
	"anteroom/integrations/doctor"
	"anteroom/integrations/mail/mailtest"
	"anteroom/test/loopback"
)

// TestProbesThatTrip: a look that panics is a finding, and the others go on.
func TestProbesThatTrip(t *testing.T) {
	found := doctor.Run(t.Context(), []doctor.Probe{
		{Name: "a", Look: func(context.Context) doctor.Finding { panic("secret") }},
		{Name: "b", Needs: []string{"a"}, Look: func(context.Context) doctor.Finding { return doctor.Finding{State: doctor.OK} }},
	}, func(doctor.Finding) {})
	if len(found) != 2 || found[0].State != doctor.Unknown || found[0].Name != "a" || found[1].State != doctor.OK || strings.Contains(found[0].Detail, "secret") {
		t.Errorf("Run = %+v, want one that is not known and one in order", found)
	}
}

// finding is the finding of a probe.
func finding(t *testing.T, found []doctor.Finding, name string) doctor.Finding {
	t.Helper()
	i := slices.IndexFunc(found, func(f doctor.Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("%s is not among %+v", name, found)
	}
	return found[i]
}

// TestNextcloudThatHangs: one whose TLS is in order and which answers nothing
// has no wrong certificate.
func TestNextcloudThatHangs(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(over)
	client := s.Client()
	client.Timeout = 500 * time.Millisecond
	p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: s.URL}, Client: client, Key: func(key string) string { return key }, Now: time.Now}
	found := doctor.Run(t.Context(), p.Server(), func(doctor.Finding) {})
	if f := finding(t, found, doctor.Certificate); f.State != doctor.OK {
		t.Errorf("the certificate = %+v, want it in order", f)
	}
	if f := finding(t, found, doctor.Status); f.State != doctor.Failed || !strings.Contains(f.Remedy, "PHP") {
		t.Errorf("nextcloud = %+v, want that it does not answer", f)
	}
}

// TestMailServerThatHangs: where a firewall swallows what is sent, it is the
// address that has to be looked at.
func TestMailServerThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &doctor.Patient{Key: func(key string) string { return key }, Now: time.Now, Integrations: integrations.Config{Mail: integrations.Mail{
		IMAP: "imaps://" + l.Addr().String(), SMTP: "smtp://" + l.Addr().String(), Username: "voice@example.com", Password: "x"}}}
	probes, err := p.Mail()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, f := range doctor.Run(ctx, probes, func(doctor.Finding) {}) {
		if f.State != doctor.Failed || !strings.Contains(f.Detail, "takes too long") || !strings.Contains(f.Remedy, "firewalls") {
			t.Errorf("%+v, want that it takes too long", f)
		}
	}
}

// TestMailServerWithoutAuth: where nobody can sign in, TLS is not at fault.
func TestMailServerWithoutAuth(t *testing.T) {
	authority := mailtest.NewAuthority(t)
	at := loopback.Serve(t, authority.TLS, func(c net.Conn) {
		io.WriteString(c, "220 hi\r\n")
		for r := bufio.NewScanner(c); r.Scan(); {
			io.WriteString(c, "250 x\r\n")
		}
	})
	p := &doctor.Patient{Key: func(key string) string { return key }, Now: time.Now, Integrations: integrations.Config{Mail: integrations.Mail{
		SMTP: "smtps://" + at, CAFile: authority.File, Username: "voice@example.com", Password: "x"}}}
	probes, err := p.Mail()
	if err != nil {
		t.Fatal(err)
	}
	if f := finding(t, doctor.Run(t.Context(), probes, func(doctor.Finding) {}), "SMTP"); f.State != doctor.Failed || !strings.Contains(f.Detail, "AUTH") || !strings.Contains(f.Remedy, "587") || strings.Contains(f.Remedy, "TLS") {
		t.Errorf("%+v, want that it is the wrong port", f)
	}
}

// TestTextsOfServers: what a server says of itself is shown so that it does
// nothing to a terminal, and not at any length.
func TestTextsOfServers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"installed":true,"maintenance":false,"versionstring":"1\u009b31m\u001b]0;x\u0007\u202e`+strings.Repeat("x", 30<<10)+`"}`)
	}))
	defer s.Close()
	p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: s.URL}, Client: s.Client(), Key: func(key string) string { return key }, Now: time.Now}
	f := finding(t, doctor.Run(t.Context(), p.Server(), func(doctor.Finding) {}), doctor.Status)
	if f.State != doctor.OK || len(f.Detail) > 2000 || strings.ContainsFunc(f.Detail, func(c rune) bool { return !unicode.IsPrint(c) }) {
		t.Errorf("%.200q", f.Detail)
	}
}

// TestServiceElsewhere: a service at another server than Nextcloud's own is not
// said to be slow if it is something else.
func TestServiceElsewhere(t *testing.T) {
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are meant to
	strange.StartTLS()
	defer strange.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for at, remedy := range map[string]string{strange.URL: "nextcloud.ca_file", gone.URL: "host and port in integrations.caldav.url"} {
		p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: "https://cloud.example.org"}, Client: &http.Client{Transport: &http.Transport{}}, Key: func(key string) string { return key }, Now: time.Now,
			Integrations: integrations.Config{CalDAV: integrations.DAV{URL: at + "/dav", Username: "svc", Password: "x", Credential: "service"}}}
		f := finding(t, doctor.Run(t.Context(), p.Services(), func(doctor.Finding) {}), "CalDAV")
		if f.State != doctor.Failed || !strings.Contains(f.Remedy, remedy) {
			t.Errorf("%+v, want a remedy that names %q", f, remedy)
		}
	}
}

// TestRefusedOnce: a password that was refused is tried by no other probe.
func TestRefusedOnce(t *testing.T) {
	var tried atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/status.php") {
			io.WriteString(w, `{"installed":true,"maintenance":false,"versionstring":"1"}`)
			return
		}
		tried.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	dav := integrations.DAV{URL: s.URL + "/remote.php/dav", Username: "svc", Password: "x", Credential: "service"}
	p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: s.URL}, Client: s.Client(), Key: func(key string) string { return key }, Now: time.Now,
		Integrations: integrations.Config{WebDAV: dav, CalDAV: dav, CardDAV: dav, Directory: integrations.Directory{URL: s.URL, Username: "svc", Password: "x"}}}
	found := doctor.Run(t.Context(), append(p.Server(), p.Services()...), func(doctor.Finding) {})
	if f := finding(t, found, "directory"); f.State != doctor.Skipped || tried.Load() != 1 {
		t.Errorf("%+v after %d tries, want one", f, tried.Load())
	}
}

// TestThrottled: what Nextcloud answers to an address that failed often is no
// fault of its own.
func TestThrottled(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/status.php") {
			io.WriteString(w, `{"installed":true,"maintenance":false,"versionstring":"1"}`)
			return
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	dav := integrations.DAV{URL: s.URL + "/remote.php/dav", Username: "svc", Password: "x", Credential: "service"}
	p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: s.URL}, Client: s.Client(), Key: func(key string) string { return key }, Now: time.Now,
		Integrations: integrations.Config{WebDAV: dav, Directory: integrations.Directory{URL: s.URL, Username: "admin", Password: "x"}, Mail: integrations.Mail{Nextcloud: 1, AppURL: s.URL, Username: "mail", Password: "x"}}}
	found := doctor.Run(t.Context(), append(p.Server(), p.Services()...), func(doctor.Finding) {})
	for _, name := range []string{"WebDAV", "directory", "Mail app"} {
		if f := finding(t, found, name); f.State != doctor.Failed || !strings.Contains(f.Remedy, "Wait") {
			t.Errorf("%+v, want that it takes time", f)
		}
	}
}

// TestHostileNextcloud: whatever answers in Nextcloud's place, the doctor ends
// soon, and neither says a password nor sends it anywhere else.
func TestHostileNextcloud(t *testing.T) {
	const password = "Pass-word-of-the-account"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was asked of another server, with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	endless := func(w io.Writer, begin, more string) {
		io.WriteString(w, begin)
		for more = strings.Repeat(more, 1000); ; {
			if _, err := io.WriteString(w, more); err != nil {
				return
			}
		}
	}
	const multistatus = `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="urn:ietf:params:xml:ns:carddav">`
	status := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/status.php") {
			io.WriteString(w, `{"installed":true,"maintenance":false,"versionstring":"1"}`)
			return true
		}
		return false
	}
	for name, answer := range map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"redirects but its status": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			}
		},
		"what never ends": func(w http.ResponseWriter, r *http.Request) { endless(w, "", "a") },
		"a multistatus that never ends": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				w.WriteHeader(http.StatusMultiStatus)
				endless(w, multistatus, "<d:response/>")
			}
		},
		"places elsewhere": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				w.WriteHeader(http.StatusMultiStatus)
				href := "<d:href>" + elsewhere.URL + "/x/</d:href>"
				io.WriteString(w, multistatus+"<d:response>"+href+"<d:propstat><d:prop><d:current-user-principal>"+href+"</d:current-user-principal><c:calendar-home-set>"+href+"</c:calendar-home-set><a:addressbook-home-set>"+href+"</a:addressbook-home-set></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>")
			}
		},
		"what it was asked": func(w http.ResponseWriter, r *http.Request) {
			if !status(w, r) {
				user, pass, _ := r.BasicAuth()
				w.Header().Set("WWW-Authenticate", user+pass)
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, user+pass)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(answer)
			defer s.Close()
			dav := integrations.DAV{URL: s.URL + "/remote.php/dav", Username: "svc", Password: password, Credential: "service"}
			p := &doctor.Patient{Nextcloud: integrations.NextcloudConfig{URL: s.URL}, Client: s.Client(), Key: func(key string) string { return key }, Now: time.Now,
				Integrations: integrations.Config{WebDAV: dav, CalDAV: dav, CardDAV: dav, Directory: integrations.Directory{URL: s.URL, Username: "svc", Password: password}}}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			found := doctor.Run(ctx, append(p.Server(), p.Services()...), func(doctor.Finding) {})
			said, err := json.Marshal(found)
			if err != nil || ctx.Err() != nil || strings.Contains(string(said), password) {
				t.Errorf("%s (%v, %v)", said, err, ctx.Err())
			}
		})
	}
}
