package forwardauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// ask has a dialect read a question of header lines.
func ask(d *Dialect, method, host, uri string, lines ...string) (Asked, error) {
	r := &http.Request{Method: method, Host: host, RequestURI: uri, Header: http.Header{}}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return d.Ask(r)
}

// fourParts are the header lines of a whole question, with one changed.
func fourParts(name string, values ...string) (lines []string) {
	all := [][2]string{{"X-Forwarded-Method", "GET"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "app.example.com"}, {"X-Forwarded-Uri", "/a?b=c"}}
	for _, p := range all {
		if p[0] != name {
			lines = append(lines, p[0]+": "+p[1])
		}
	}
	for _, v := range values {
		lines = append(lines, name+": "+v)
	}
	return lines
}

func TestForwarded(t *testing.T) {
	whole := Asked{Method: "GET", Proto: "https", Host: "app.example.com", Target: "/a?b=c"}
	for _, tt := range []struct {
		lines []string
		want  Asked
	}{
		{fourParts(""), whole},
		{fourParts("X-Forwarded-Proto", "WSS"), whole},
		{fourParts("X-Forwarded-Method", "M-SEARCH"), Asked{"M-SEARCH", "https", "app.example.com", "/a?b=c"}},
		{fourParts("X-Forwarded-Host", "APP.example.com:8443"), Asked{"GET", "https", "APP.example.com:8443", "/a?b=c"}},
		{fourParts("X-Forwarded-Host", "[::1]:80"), Asked{"GET", "https", "[::1]:80", "/a?b=c"}},
		{fourParts("X-Forwarded-Uri", "/public/../admin"), Asked{"GET", "https", "app.example.com", "/public/../admin"}},
		{fourParts("X-Forwarded-Uri", "/a,b?c=//d"), Asked{"GET", "https", "app.example.com", "/a,b?c=//d"}},
		{fourParts("X-Original-Url", "/public"), whole},
	} {
		if got, err := ask(traefik(), "POST", "anteroom", "/auth/forward/traefik?x=/public", tt.lines...); err != nil || got != tt.want {
			t.Errorf("%q = %+v, %v, want %+v", tt.lines, got, err, tt.want)
		}
	}
}

// noQuestions are parts that are missing, doubled, or none.
var noQuestions = map[string][][]string{
	"X-Forwarded-Method": {{}, {""}, {"GET", "GET"}, {"GET, POST"}, {"GE T"}, {"GET\x00"}, {"G\u00c9T"}},
	"X-Forwarded-Proto":  {{}, {""}, {"https", "https"}, {"https,http"}, {"https, http"}, {"javascript"}, {"ftp"}, {" https"}, {"https\x00"}},
	"X-Forwarded-Host": {{}, {""}, {"app.example.com", "app.example.com"}, {"a, b"}, {"a,b"}, {"user@app.example.com"}, {"app.example.com/x"}, {"app.example.com#"},
		{"app.example.com?"}, {"app example.com"}, {"app.example.com\x00"}, {"app.ex\u00e4mple.com"}, {"app%2eexample.com"}, {`app\example.com`}},
	"X-Forwarded-Uri": {{}, {""}, {"/a", "/a"}, {"/a, /b"}, {"a"}, {"*"}, {"http://evil/public/x"}, {"//evil/public/x"}, {"//"}, {"/public/#/../admin"}, {"/admin#/public"},
		{"/a b"}, {"/\x00"}, {"/a\x7f"}, {"\\evil"}, {"/" + strings.Repeat("a", 64<<10)}, {"?a=b"}, {"#"}},
}

func TestNoQuestion(t *testing.T) {
	for name, all := range noQuestions {
		for _, values := range all {
			for _, d := range []*Dialect{verify(), forward(), traefik(), caddy(), haproxy()} {
				if got, err := ask(d, "GET", "anteroom", d.Path, fourParts(name, values...)...); !errors.Is(err, ErrQuestion) {
					t.Errorf("%s of %s %.80q = %+v, %v, want ErrQuestion", d.Name, name, values, got, err)
				}
			}
			if name == "X-Forwarded-Method" || len(values) != 1 {
				continue
			}
			u := map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.com", "X-Forwarded-Uri": "/a?b=c"}
			u[name] = values[0]
			address := u["X-Forwarded-Proto"] + "://" + u["X-Forwarded-Host"] + u["X-Forwarded-Uri"]
			if name == "X-Forwarded-Host" && strings.Contains(values[0], "/") || values[0] == "a" && name == "X-Forwarded-Uri" {
				continue // one text holds all: it is another host or path then
			}
			if got, err := ask(nginx(), "GET", "anteroom", "/", "X-Original-Method: GET", "X-Original-Url: "+address); !errors.Is(err, ErrQuestion) {
				t.Errorf("nginx about %.80q = %+v, %v, want ErrQuestion", address, got, err)
			}
		}
	}
}

func TestOriginal(t *testing.T) {
	want := Asked{"GET", "https", "app.example.com", "/a?b=https://x/"}
	for _, d := range []*Dialect{nginx(), verify(), forward()} {
		if got, err := ask(d, "GET", "anteroom", d.Path, "X-Original-Method: GET", "X-Original-Url: https://app.example.com/a?b=https://x/"); err != nil || got != want {
			t.Errorf("%s = %+v, %v, want %+v", d.Name, got, err, want)
		}
	}
	for _, lines := range [][]string{
		{"X-Original-Url: https://app.example.com/"}, {"X-Original-Method: GET"}, {"X-Original-Method: GET", "X-Original-Uri: /public"},
		{"X-Original-Method: GET", "X-Original-Url: /public"}, {"X-Original-Method: GET", "X-Original-Url: https://app.example.com"},
		{"X-Original-Method: GET", "X-Original-Url: https://app.example.com?/x"}, {"X-Original-Method: GET", "X-Original-Url: https:///x"},
	} {
		for _, d := range []*Dialect{nginx(), verify(), forward()} {
			if got, err := ask(d, "GET", "anteroom", d.Path, lines...); !errors.Is(err, ErrQuestion) {
				t.Errorf("%s of %q = %+v, %v, want ErrQuestion", d.Name, lines, got, err)
			}
		}
	}
}

// TestIngressNginx: what it writes of the host is the client's Host header, and
// counts only where it is also the host that it forwards to.
func TestIngressNginx(t *testing.T) {
	for _, tt := range []struct {
		host, query string
		ok          bool
	}{
		{"app.example.com", "?host=app.example.com", true},
		{"APP.example.com:8443", "?host=app.example.com", true},
		{"app.example.com.", "?host=app.example.com", true},
		{"[::1]:80", "?host=[::1]", true},
		{"[::1]", "?host=[::1]", true},
		{"app.example.com", "?host=wiki.example.com", false},
		{"app.example.com", "?host=app.example.com&host=wiki.example.com", false},
		{"app.example.com", "?host=", false},
		{"app.example.com", "?", false},
		{"app.example.com", "", false},
	} {
		for _, d := range []*Dialect{nginx(), verify(), forward()} {
			_, err := ask(d, "GET", "anteroom", d.Path+tt.query, "X-Sent-From: nginx-ingress-controller", "X-Original-Method: GET", "X-Original-Url: https://"+tt.host+"/")
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrQuestion) {
				t.Errorf("%s about %s with %q = %v, want it read: %v", d.Name, tt.host, tt.query, err, tt.ok)
			}
		}
	}
}

// TestBothForms: the form that the front proxy does not use comes from the
// client, and may only say the same.
func TestBothForms(t *testing.T) {
	for _, d := range []*Dialect{verify(), forward()} {
		same := []string{"X-Original-Method: GET", "X-Original-Url: https://app.example.com/a?b=c"}
		if got, err := ask(d, "GET", "", d.Path, fourParts("", same...)...); err == nil && got.Target != "/a?b=c" {
			t.Errorf("%s of both = %+v, %v", d.Name, got, err)
		}
		for _, line := range []string{"X-Original-Url: https://app.example.com/public", "X-Original-Method: GET", "X-Original-Uri: /public"} {
			if got, err := ask(d, "GET", "", d.Path, append(fourParts(""), line)...); !errors.Is(err, ErrQuestion) {
				t.Errorf("%s with %s besides = %+v, %v, want ErrQuestion", d.Name, line, got, err)
			}
		}
		lines := append(fourParts(""), "X-Original-Method: GET", "X-Original-Url: https://app.example.com/public")
		if got, err := ask(d, "GET", "", d.Path, lines...); !errors.Is(err, ErrQuestion) {
			t.Errorf("%s of two questions = %+v, %v, want ErrQuestion", d.Name, got, err)
		}
		for _, line := range []string{"X-Forwarded-Uri: /public", "X-Forwarded-Method: POST"} {
			if got, err := ask(d, "GET", "", d.Path, append(same, line)...); !errors.Is(err, ErrQuestion) {
				t.Errorf("%s of X-Original-* with %s besides = %+v, %v, want ErrQuestion", d.Name, line, got, err)
			}
		}
	}
}

func TestEnvoy(t *testing.T) {
	want := Asked{"POST", "https", "app.example.com", "/a//b?c"}
	if got, err := ask(envoy(), "POST", "app.example.com", "/auth/forward/envoy/a//b?c", "X-Forwarded-Proto: https", "X-Forwarded-Uri: /public"); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, uri := range []string{"/auth/forward/envoy//evil/public", "http://x/auth/forward/envoy/public", "/auth/forward/envoy/a#b"} {
		if got, err := ask(envoy(), "GET", "app.example.com", uri, "X-Forwarded-Proto: https"); !errors.Is(err, ErrQuestion) {
			t.Errorf("%s = %+v, %v, want ErrQuestion", uri, got, err)
		}
	}
	if got, err := ask(envoy(), "GET", "app.example.com", "/auth/forward/envoy/a"); !errors.Is(err, ErrQuestion) {
		t.Errorf("without a scheme = %+v, %v, want ErrQuestion", got, err)
	}
}

func TestStatus(t *testing.T) {
	for status, want := range map[int]int{200: 403, 302: 403, 400: 403, 401: 401, 403: 403, 404: 403, 421: 403, 500: 500, 503: 503} {
		if got := nginx().Status(status); got != want {
			t.Errorf("nginx says %d by %d, want %d", status, got, want)
		}
		if got := traefik().Status(status); got != status {
			t.Errorf("traefik says %d by %d, want it as it is", status, got)
		}
	}
}

// FuzzAsk holds that a question that can be read is one a URL can be made of
// that means the same.
func FuzzAsk(f *testing.F) {
	f.Add("GET", "https", "app.example.com", "/a?b", "https://app.example.com/a?b")
	for name, all := range noQuestions {
		for _, values := range all {
			if len(values) == 1 && name == "X-Forwarded-Uri" {
				f.Add("GET", "https", "app.example.com", values[0], "https://app.example.com"+values[0])
			}
		}
	}
	f.Fuzz(func(t *testing.T, method, proto, host, uri, address string) {
		for _, q := range []func() (Asked, error){
			func() (Asked, error) {
				return ask(traefik(), "", "", "", "X-Forwarded-Method: "+method, "X-Forwarded-Proto: "+proto, "X-Forwarded-Host: "+host, "X-Forwarded-Uri: "+uri)
			},
			func() (Asked, error) {
				return ask(nginx(), "", "", "", "X-Original-Method: "+method, "X-Original-Url: "+address)
			},
		} {
			got, err := q()
			if err != nil {
				continue
			}
			u, err := url.Parse(got.Proto + "://" + got.Host + got.Target)
			if err != nil {
				continue // not for us to judge; the gate refuses it
			}
			if u.User != nil || u.Host != got.Host || u.Fragment != "" || u.RequestURI() != got.Target && !strings.HasSuffix(got.Target, "?") && u.RawPath == "" && u.EscapedPath() == u.Path {
				t.Errorf("%+v is read by others as %q: host %q, target %q", got, u, u.Host, u.RequestURI())
			}
		}
	})
}
