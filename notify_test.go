package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestNotify: a service manager is told of the start, hears signs of life while
// it runs, and is told of the stop.
func TestNotify(t *testing.T) {
	for name, socket := range map[string]string{"file": filepath.Join(t.TempDir(), "notify"), "abstract": "@anteroom-test-" + rand8(t)} {
		t.Run(name, func(t *testing.T) {
			address := &net.UnixAddr{Net: "unixgram", Name: socket}
			manager, err := net.ListenUnixgram("unixgram", address)
			if err != nil {
				t.Fatal(err)
			}
			defer manager.Close()
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			var said output
			go func() {
				done <- run(ctx, []string{"serve"}, system{Out: &said, Err: &said, Environ: []string{
					"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=http://localhost:8000/auth/callback", "ANTEROOM_UPSTREAM=http://localhost:1",
					"ANTEROOM_SERVER_LISTEN=127.0.0.1:0", "ANTEROOM_SERVER_ADMIN_LISTEN=127.0.0.1:0",
					"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=300000",
				}})
			}()
			hears(t, manager, "READY=1\nSTATUS=Serving http://localhost:8000")
			hears(t, manager, "WATCHDOG=1")
			hears(t, manager, "WATCHDOG=1")
			stop()
			hears(t, manager, "STOPPING=1\nSTATUS=Finishing requests under way")
			if err := <-done; err != nil {
				t.Errorf("serve = %v\n%s", err, said.String())
			}
		})
	}
}

// TestNotifyWithoutManager: serving needs none, nor one that does not answer.
func TestNotifyWithoutManager(t *testing.T) {
	log := newLog(TelemetryConfig{LogLevel: "error"}, &output{})
	for _, environ := range [][]string{nil, {"NOTIFY_SOCKET=/nowhere/notify", "WATCHDOG_USEC=many"}, {"WATCHDOG_USEC=1000"}} {
		n := newNotifier(system{Environ: environ}, log)
		n.say("READY=1")
		if n.interval != 0 {
			t.Errorf("with %v signs of life every %v, want none", environ, n.interval)
		}
	}
}

// TestNoSignOfLife: a program whose admin listener is silent gives none.
func TestNoSignOfLife(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, answers none
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(t.TempDir(), "n")})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	n := &notifier{socket: manager.LocalAddr().String(), interval: 20 * time.Millisecond, log: newLog(TelemetryConfig{}, &output{})}
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	n.watch(ctx, silent.Addr())
	manager.SetReadDeadline(time.Now())
	b := make([]byte, 100)
	if size, err := manager.Read(b); err == nil {
		t.Errorf("a silent program said %q", b[:size])
	}
}

func hears(t *testing.T, manager *net.UnixConn, want string) {
	t.Helper()
	b := make([]byte, 4096)
	manager.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		size, err := manager.Read(b)
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if got := string(b[:size]); got == want {
			return
		} else if got != "WATCHDOG=1" { // may come at any time
			t.Fatalf("the manager hears %q, want %q", got, want)
		}
	}
}

func rand8(t *testing.T) string {
	return filepath.Base(t.TempDir()) + time.Now().Format("150405.000000")
}
