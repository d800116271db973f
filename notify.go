package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// notifier tells a service manager how the program is, by the protocol of
// sd_notify(3): datagrams of NAME=value lines. A library for it would be larger
// than the protocol. Where there is no such manager it does nothing.
type notifier struct {
	socket   string
	interval time.Duration // between signs of life; 0: none are wanted
	log      *slog.Logger
}

func newNotifier(sys system, log *slog.Logger) *notifier {
	n := &notifier{log: log}
	n.socket, _ = sys.lookup("NOTIFY_SOCKET")
	if strings.HasPrefix(n.socket, "@") {
		n.socket = "\x00" + n.socket[1:] // in the abstract namespace
	}
	if usec, ok := sys.lookup("WATCHDOG_USEC"); ok && n.socket != "" {
		if limit, err := strconv.ParseInt(usec, 10, 64); err == nil && limit > 0 {
			n.interval = time.Duration(limit) * time.Microsecond / 3
		}
	}
	return n
}

// say sends the state. That nobody hears it does not keep the program from
// serving.
func (n *notifier) say(state string) {
	if n.socket == "" {
		return
	}
	conn, err := net.Dial("unixgram", n.socket)
	if err == nil {
		_, err = io.WriteString(conn, state)
		conn.Close()
	}
	if err != nil {
		n.log.Warn("the service manager was not told", "state", state, "error", err)
	}
}

// watch gives signs of life until ctx is done, as long as the admin listener
// answers: a program that hangs gives none, and is started anew.
func (n *notifier) watch(ctx context.Context, admin net.Addr) {
	if n.interval == 0 {
		return
	}
	client := &http.Client{Timeout: n.interval, Transport: &http.Transport{DisableKeepAlives: true}}
	every := time.NewTicker(n.interval)
	defer every.Stop()
	for {
		if lives(ctx, client, "http://"+reachable(admin.String())+"/healthz") {
			n.say("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func lives(ctx context.Context, client *http.Client, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
