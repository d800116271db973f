package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"anteroom/demo"
)

// asked is Anteroom as forward-auth, and nginx that asks it or nobody.
type asked struct {
	site, cookie        string
	told                string // address of a bare handler that says yes, a process of its own as Anteroom is
	nginx, bare, static string // addresses
}

// startAsked starts an Anteroom that is only asked, and an nginx that asks.
func (s *scene) startAsked(ctx context.Context, anteroom string, cloud *demo.Nextcloud, at string) (err error) {
	a := &s.asked
	a.site, a.told, a.nginx, a.bare, a.static = freeAddr(), freeAddr(), freeAddr(), freeAddr(), freeAddr()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err = s.start(ctx, nil, self, "app", a.told, ""); err != nil {
		return err
	}
	if _, err = s.startAnteroom(ctx, anteroom, cloud, at, a.site, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1"); err != nil {
		return err
	}
	if a.cookie, err = signIn(a.site); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "nginx.conf")
	asking := strings.NewReplacer("@listen@", a.nginx, "@door@", "http://anteroom/auth/verify/nginx").Replace(askingServer) +
		strings.NewReplacer("@listen@", a.bare, "@door@", "http://told/told").Replace(askingServer)
	conf := strings.NewReplacer("@dir@", s.dir, "@static@", a.static, "@anteroom@", a.site, "@app@", s.app, "@told@", a.told).Replace(strings.Replace(nginxConf, "@asking@", asking, 1))
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return err
	}
	if _, err := s.start(ctx, []string{}, "nginx", "-p", s.dir, "-c", file); err != nil {
		return err
	}
	return await("http://" + a.static + "/hello")
}

// askingServer is a server that asks somewhere.
const askingServer = `
	server {
		listen @listen@;
		location = /check {
			internal;
			proxy_pass @door@;
			proxy_pass_request_body off;
			proxy_set_header Content-Length ""; proxy_set_header Connection "";
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Original-Method $request_method;
			proxy_set_header X-Original-URL http://@anteroom@$request_uri;
			proxy_buffer_size 16k; proxy_buffers 4 16k;
		}
		location / {
			auth_request /check;
			auth_request_set $user $upstream_http_x_forwarded_user;
			auth_request_set $jwt $upstream_http_authorization;
			auth_request_set $rest $upstream_http_cookie;
			proxy_set_header X-Forwarded-User $user; proxy_set_header Authorization $jwt; proxy_set_header Cookie $rest;
			proxy_set_header Connection "";
			proxy_pass http://app;
		}
	}
`

// nginxConf has servers that differ in whom they ask.
const nginxConf = `
daemon off; worker_processes 2; pid @dir@/nginx.pid; error_log /dev/null;
events { worker_connections 1024; }
http {
	access_log off; keepalive_requests 1000000;
	client_body_temp_path @dir@/1; proxy_temp_path @dir@/2; fastcgi_temp_path @dir@/3; uwsgi_temp_path @dir@/4; scgi_temp_path @dir@/5;
	proxy_http_version 1.1; proxy_set_header Connection "";
	upstream anteroom { server @anteroom@; keepalive 64; keepalive_requests 1000000; }
	upstream told { server @told@; keepalive 64; keepalive_requests 1000000; }
	upstream app { server @app@; keepalive 64; keepalive_requests 1000000; }
	server {
		listen @static@;
		location = /check { internal; return 204; }
		location / { auth_request /check; proxy_pass http://app; }
	}
@asking@}
`

// checks compares the check alone, and nginx that asks us with one that asks
// itself.
func (s *scene) checks(ctx context.Context) error {
	a := s.asked
	about := []string{"X-Original-Method: GET", "X-Original-URL: http://" + a.site + "/hello"}
	ts := []*target{
		{name: "bare handler, the yes of a check", url: "http://" + a.told + "/told", cookie: a.cookie, headers: about},
		{name: "Anteroom, signed in, /auth/verify/nginx", url: "http://" + a.site + "/auth/verify/nginx", cookie: a.cookie, headers: about},
		{name: "nginx + return 204 → application", url: "http://" + a.static + "/hello", cookie: a.cookie},
		{name: "nginx + a bare handler's check → app.", url: "http://" + a.bare + "/hello", cookie: a.cookie},
		{name: "nginx + Anteroom's check → application", url: "http://" + a.nginx + "/hello", cookie: a.cookie},
	}
	for range rounds {
		for _, t := range ts {
			if err := t.run(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Printf("forward-auth, %d connections, medians of %d rounds of %v, in turns\n", connections, rounds, roundTime)
	for _, t := range ts {
		t.print()
	}
	fmt.Printf("  check: %.2f of the bare handler; nginx with it: %.2f of nginx with a static one, %.2f of nginx with the bare handler's\n", ratio(ts[1], ts[0]), ratio(ts[4], ts[2]), ratio(ts[4], ts[3]))
	return nil
}

// told answers what a check does, with headers of the same length, and asks
// nobody who is calling.
func told(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	for name, value := range fixed {
		h.Set(name, value)
	}
	h.Set("X-Forwarded-Groups-Truncated", "")
	h.Set("Cookie", "")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}
