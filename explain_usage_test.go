package main

import (
	"errors"
	"flag"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestExplainBadly(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // in the error or what was said
	}{
		{[]string{}, "say a method and a URL"},
		{[]string{"GET"}, "say a method and a URL"},
		{[]string{"GET", "/x", "/y"}, `do not know what to do with "/y"`},
		{[]string{"G T", "/x"}, `"G T" is no method`},
		{[]string{"", "/x"}, "is no method"},
		{[]string{"GET", "x"}, "is no URL"},
		{[]string{"GET", ""}, "is no URL"},
		{[]string{"GET", "ftp://app.example.com/"}, "is no URL"},
		{[]string{"GET", "https:/x"}, "is no URL"},
		{[]string{"GET", "https:///x"}, "the URL's host"},
		{[]string{"GET", "https://app.ex ample.com/"}, "has a space"},
		{[]string{"GET", "/x\r\nHost: evil"}, "has a space"},
		{[]string{"GET", "https://ada@app.example.com/"}, "leave out the user"},
		{[]string{"GET", `https://app.example.com\x`}, "the URL's host"},
		{[]string{"GET", "https://äpp.example.com/"}, "xn--"},
		{[]string{"GET", "/" + strings.Repeat("a", 40<<10)}, "longer than 32 KiB"},
		{[]string{"GET", "/x", "--user", ""}, "name somebody"},
		{[]string{"GET", "/x", "--group="}, "name a group"},
		{[]string{"GET", "/x", "--who", "ada"}, "-who"},
		{[]string{"GET", "/x", "--config", "absent.yaml"}, "absent.yaml: cannot be read"},
	} {
		out, said, err := explained(smallest(), tt.args...)
		if err == nil || errors.Is(err, flag.ErrHelp) || out != "" || !strings.Contains(err.Error()+said, tt.want) {
			t.Errorf("explain %.80q = %v, said %.300q, printed %q; want a failure that says %q", tt.args, err, said, out, tt.want)
		}
	}
	if _, said, err := explained(env{"ANTEROOM_UPSTREAM": "http://app:8001"}, "GET", "/x"); !errors.Is(err, errSaid) || !strings.Contains(said, "nextcloud.url") {
		t.Errorf("explain without a configuration = %v, %q", err, said)
	}
	if out, said, err := explained(env{}, "--help"); !errors.Is(err, flag.ErrHelp) || said != "" || !strings.Contains(out, "--group GROUP") {
		t.Errorf("explain --help = %v, printed %q, said %q; want help on the output", err, out, said)
	}
}

// TestExplainIsAlone: nothing that the configuration names is asked or opened.
func TestExplainIsAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := l.Addr().String()
	e := smallest().with(env{"NEXTCLOUD_BASE_URL": "http://" + at, "ANTEROOM_UPSTREAM": "http://" + at, "ANTEROOM_SERVER_LISTEN": taken.Addr().String(),
		"ANTEROOM_SESSION_STORE": "redis", "ANTEROOM_SESSION_REDIS_URL": "redis://" + at, "ANTEROOM_SESSION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"ANTEROOM_AUDIT_OUTPUT": t.TempDir() + "/audit.log"})
	if out, said, err := explained(e, "GET", "/x", "--user", "ada"); err != nil || !strings.Contains(out, "ada") {
		t.Errorf("explain = %v %s%s", err, out, said)
	}
	if _, err := os.Stat(e["ANTEROOM_AUDIT_OUTPUT"]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the audit log was touched: %v", err)
	}
	l.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if conn, err := l.Accept(); err == nil {
		t.Errorf("somebody was asked, from %s", conn.RemoteAddr())
	}
}
