package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"anteroom/integrations/doctor"
	"anteroom/proxy"
	"anteroom/session"
)

// stranger is an address that no client of ours has (RFC 5737): what is said
// to come from there was made up.
const stranger = "203.0.113.7"

// frontProxy looks at what stands between people and Anteroom, by asking for
// the site as people do.
type frontProxy struct {
	cfg    *Config
	public *url.URL
	seal   *session.Sealer // nil: there are no keys that the running server would know us by
	store  string

	once     sync.Once
	finding  doctor.Finding
	mirrored proxy.Mirrored
}

const siteProbe = "site"

func (f *frontProxy) probes() []doctor.Probe {
	return []doctor.Probe{
		{Name: siteProbe, Look: f.site},
		{Name: "headers through the front proxy", Needs: []string{siteProbe}, Look: f.headers},
		{Name: "cookies through the front proxy", Needs: []string{siteProbe}, Look: f.cookies},
		{Name: "cookies that were lost", Look: f.lost},
	}
}

func unsure(format string, args ...any) doctor.Finding {
	return doctor.Finding{State: doctor.Unknown, Detail: fmt.Sprintf(format, args...)}
}

// client follows no redirect: where the site answers is what is asked.
func (f *frontProxy) client() *http.Client {
	return &http.Client{Timeout: 6 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask asks the site how a request arrives there.
func (f *frontProxy) ask(ctx context.Context, large bool, cookie string) (*http.Response, []byte, error) {
	r, err := proxy.AskMirror(f.public.String(), f.seal, large)
	if err != nil {
		return nil, nil, err
	}
	r = r.WithContext(ctx)
	r.Header.Set("X-Forwarded-For", stranger)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	resp, err := f.client().Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp, body, err
}

func (f *frontProxy) site(ctx context.Context) doctor.Finding {
	f.once.Do(func() { f.finding = f.look(ctx) })
	return f.finding
}

func (f *frontProxy) look(ctx context.Context) doctor.Finding {
	if f.seal == nil {
		return unsure("how requests arrive is told to whoever has session.keys, and none are set: %s makes one", "'anteroom keys new'")
	}
	resp, body, err := f.ask(ctx, false, "")
	var problem struct{ Reason string }
	switch {
	case err != nil:
		return unsure("nothing that this machine trusts answers at %s: start Anteroom and what stands before it, and look again", f.public)
	case resp.StatusCode == http.StatusOK && json.Unmarshal(body, &f.mirrored) == nil && f.mirrored.Peer != "":
		return doctor.Finding{State: doctor.OK, Detail: fmt.Sprintf("Anteroom answers at %s", f.public)}
	case json.Unmarshal(body, &problem) == nil && problem.Reason == "no_route":
		return unsure("an Anteroom with other session.keys answers at %s", f.public)
	case problem.Reason != "":
		return doctor.Finding{State: doctor.Failed, Detail: fmt.Sprintf("Anteroom refuses what arrives through the front proxy (%s)", problem.Reason),
			Remedy: "Have the front proxy send one X-Forwarded-Proto and one X-Forwarded-Host, and the client's address in X-Forwarded-For."}
	}
	return doctor.Finding{State: doctor.Failed, Detail: fmt.Sprintf("what answers at %s is not Anteroom (%d)", f.public, resp.StatusCode),
		Remedy: "Have the front proxy pass /auth/ of that site to Anteroom, or set " + keyAndVariable("server.public_url") + " to where people find Anteroom."}
}

// unreached says why nothing was learnt of the site.
func (f *frontProxy) unreached() doctor.Finding {
	if f.seal == nil {
		return unsure("nothing was asked: session.keys is not set")
	}
	return unsure("the site was not reached")
}

func (f *frontProxy) headers(context.Context) doctor.Finding {
	if f.finding.State != doctor.OK {
		return f.unreached()
	}
	m := f.mirrored
	bad := func(detail, remedy string) doctor.Finding {
		return doctor.Finding{State: doctor.Failed, Detail: detail, Remedy: remedy}
	}
	others := slices.DeleteFunc(strings.Split(strings.ReplaceAll(strings.Join(m.ForwardedFor, ","), " ", ""), ","), func(a string) bool { return a == stranger || a == "" })
	trust := "list " + m.Peer + " in " + keyAndVariable("server.trusted_proxies")
	switch {
	case !strings.EqualFold(m.Host, f.public.Host):
		return bad("the front proxy names the site "+m.Host, "Have it pass on the Host of the request (nginx: proxy_set_header Host $host), or say it in X-Forwarded-Host, and "+trust+".")
	case m.Client == stranger && len(others) > 0:
		return unsure("this machine's own address is among server.trusted_proxies, and so is believed whatever it says: look from another")
	case m.Client == stranger:
		return bad("the front proxy passes on what clients say of where they come from, and is trusted", "Have it replace X-Forwarded-For, or append to it, and trust no address in "+keyAndVariable("server.trusted_proxies")+" that clients come from.")
	case m.Proto != f.public.Scheme:
		return bad("requests seem to come by "+m.Proto, "Have the front proxy set X-Forwarded-Proto, and "+trust+".")
	case !m.Trusted && len(others) > 0:
		return doctor.Finding{State: doctor.Warning, Detail: "the front proxy at " + m.Peer + " is not trusted: everybody seems to come from there", Remedy: strings.ToUpper(trust[:1]) + trust[1:] + "."}
	case m.Trusted:
		return doctor.Finding{State: doctor.OK, Detail: "host, scheme and address of the client arrive"}
	}
	return doctor.Finding{State: doctor.OK, Detail: "there is no front proxy, or it hides nothing"}
}

// sentCookie is as long as one cookie may be.
const sentCookie = 3800

func (f *frontProxy) cookies(ctx context.Context) doctor.Finding {
	if f.finding.State != doctor.OK {
		return f.unreached()
	}
	large, n := f.store == "cookie", 1
	if large {
		n = 3
	}
	var cookie []string
	for i := range n {
		cookie = append(cookie, fmt.Sprintf("anteroom_mirror_%d=%s", i, strings.Repeat("x", sentCookie)))
	}
	resp, body, err := f.ask(ctx, large, strings.Join(cookie, "; "))
	var m proxy.Mirrored
	switch {
	case err != nil:
		return unsure("the site no longer answers")
	case resp.StatusCode == http.StatusBadGateway:
		return doctor.Finding{State: doctor.Failed, Detail: "the front proxy does not take an answer with as many cookies as a sign-in has", Remedy: "nginx: proxy_buffer_size 32k; proxy_buffers 8 32k. Or keep sessions elsewhere: " + keyAndVariable("session.store") + "."}
	case resp.StatusCode != http.StatusOK || json.Unmarshal(body, &m) != nil:
		return doctor.Finding{State: doctor.Failed, Detail: fmt.Sprintf("the front proxy does not pass on %d bytes of cookies (%d)", n*sentCookie, resp.StatusCode), Remedy: "nginx: large_client_header_buffers 4 32k; HAProxy: tune.bufsize 32768."}
	case m.Cookies < n*sentCookie:
		return doctor.Finding{State: doctor.Failed, Detail: "the front proxy drops cookies on their way to Anteroom", Remedy: "Have it pass on the Cookie header as it is."}
	case len(resp.Header.Values("Set-Cookie")) < n:
		return doctor.Finding{State: doctor.Failed, Detail: "the front proxy drops cookies on their way to the browser", Remedy: "Have it pass on Set-Cookie as it is, and every one of them."}
	case slices.ContainsFunc(resp.Cookies(), func(c *http.Cookie) bool { return c.Path != proxy.MirrorPath || !c.HttpOnly || c.Domain != "" }):
		return doctor.Finding{State: doctor.Failed, Detail: "the front proxy changes cookies", Remedy: "Remove proxy_cookie_path, proxy_cookie_domain and proxy_cookie_flags, or what does the like."}
	}
	return doctor.Finding{State: doctor.OK, Detail: "they pass in both directions"}
}

const lostMetric = "anteroom_session_cookies_lost_total"

// lost asks the running server, if there is one here, for browsers whose
// session cookie did not come back.
func (f *frontProxy) lost(ctx context.Context) doctor.Finding {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(f.cfg.Server.AdminListen)+"/metrics", nil)
	if err != nil {
		return unsure("the admin listener cannot be asked")
	}
	resp, err := f.client().Do(r)
	if err != nil {
		return unsure("no Anteroom with this configuration runs on this machine")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return unsure("the admin listener cannot be asked")
	}
	n := 0.0
	for line := range strings.Lines(string(body)) {
		var v float64
		if i := strings.LastIndexByte(strings.TrimSpace(line), ' '); strings.HasPrefix(line, lostMetric) && i > 0 {
			if _, err := fmt.Sscan(strings.TrimSpace(line)[i+1:], &v); err == nil {
				n += v
			}
		}
	}
	if n > 0 {
		return doctor.Finding{State: doctor.Warning, Detail: fmt.Sprintf("%d since Anteroom started: browsers that signed in and came back without the cookie", int(n)),
			Remedy: "The log says why. Mostly: " + keyAndVariable("server.public_url") + " says https and people come by http, or the front proxy drops cookies."}
	}
	return doctor.Finding{State: doctor.OK, Detail: "none since Anteroom started"}
}
