//go:build real

package realtest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSlowClients has slowhttptest open four hundred connections that take their
// time, in each way that it knows.
func TestSlowClients(t *testing.T) {
	d := drilled(t, "ANTEROOM_SERVER_HEADER_TIMEOUT", "2s", "ANTEROOM_SERVER_BODY_TIMEOUT", "2s", "ANTEROOM_SERVER_WRITE_TIMEOUT", "2s")
	const common = "-c 400 -r 400 -l 6 -i 1 -p 5"
	for _, c := range []struct{ name, args, path, limit string }{
		{"slowloris", "-H -x 10", "/public/x", ""},
		{"slow body", "-B -s 100000 -x 10", "/public/x", "upload_stalled"},
		{"slow read", "-X -w 1 -y 512 -n 2 -z 5 -k 1", "/public/large", "reader_stalled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var printed []byte
			d.spared(t, func() {
				args := append(strings.Fields(common+" "+c.args), "-u", d.URL+c.path)
				printed, _ = exec.CommandContext(ctx, "slowhttptest", args...).CombinedOutput()
			})
			if out := string(printed); !strings.Contains(out, "service available:") || !strings.Contains(lastLine(out, "service available:"), "YES") {
				t.Errorf("slowhttptest found the site wanting:\n%s", printed)
			}
			if c.limit != "" && d.limited(t, c.limit) == 0 {
				t.Errorf("the limit %s was never reached, want slow clients cut off by it", c.limit)
			}
			d.recovers(t)
		})
	}
}

// lastLine is the last line with a text in it; "" for none.
func lastLine(out, text string) (last string) {
	for line := range strings.Lines(out) {
		if strings.Contains(line, text) {
			last = line
		}
	}
	return last
}

// room is how many connections this process can have open beside what it needs
// anyway, ten thousand at most.
func room(t *testing.T) int {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	return min(10_000, int(files.Cur)-1000)
}

// TestTenThousandConnections holds as many as there may be. Who has one is
// served on, who comes later is not let in, and there is room again afterwards.
func TestTenThousandConnections(t *testing.T) {
	n := room(t)
	if n < 1000 {
		t.Fatalf("only %d connections can be opened here: raise ulimit -n", n)
	}
	t.Logf("%d connections", n)
	d := drilled(t, "ANTEROOM_SERVER_MAX_CONNECTIONS", fmt.Sprint(n), "ANTEROOM_SERVER_HEADER_TIMEOUT", "1m")
	var held []net.Conn
	d.spared(t, func() {
		if held != nil {
			return
		}
		held = d.crowd(t, n+500)
		until(t, d.process, "taking the connections that are waiting", 10*time.Second, func() error {
			open, err := d.count("anteroom_connections")
			if err == nil && int(open) != n {
				err = fmt.Errorf("%v are open, want %d", open, n)
			}
			return err
		})
		if c, err := d.from("127.0.0.9"); err == nil {
			defer c.Close()
			if !gone(c, 5*time.Second) {
				t.Error("one connection more stays open, want it closed at once")
			}
		}
		now, err := d.sample()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("while they are open: resident %.0f MiB, that is %.1f KiB each; %v goroutines", now.resident/(1<<20), (now.resident-d.before.resident)/1024/float64(n), now.goroutines)
	})
	if got := d.limited(t, "connections"); got < 100 {
		t.Errorf("connections beyond the limit = %v, want those turned away counted", got)
	}
	for _, c := range held {
		c.Close()
	}
	until(t, d.process, "letting the connections go", 10*time.Second, func() error {
		open, err := d.count("anteroom_connections")
		if err == nil && open > 10 {
			err = fmt.Errorf("%v are open", open)
		}
		return err
	})
	if resp, err := http.Get(d.URL + "/public/x"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("who comes afterwards: %v, want 200", err)
	} else {
		resp.Body.Close()
	}
	d.recovers(t)
}

// crowd opens connections from a dozen addresses, and keeps those it gets.
func (d *drill) crowd(t *testing.T, n int) (held []net.Conn) {
	t.Helper()
	var mu sync.Mutex
	var work sync.WaitGroup
	for i := range 40 {
		work.Go(func() {
			for k := i; k < n; k += 40 {
				c, err := d.from(fmt.Sprintf("127.1.0.%d", k%12+1))
				if err != nil {
					continue // closed before we knew it was open
				}
				mu.Lock()
				held = append(held, c)
				mu.Unlock()
			}
		})
	}
	work.Wait()
	t.Cleanup(func() {
		for _, c := range held {
			c.Close()
		}
	})
	return held
}
