package main

import (
	"net"
	"strings"
	"testing"
)

// TestAddressTaken: that is said, with what helps, and nothing else is.
func TestAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	audit, log := &output{}, &output{}
	err = runDemo(t.Context(), []string{"--listen", l.Addr().String(), "--nextcloud-listen", "localhost:0", "--app-listen", "localhost:0"}, system{Out: audit, Err: log})
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("demo = %v, want it to name --listen", err)
	}
	if said := audit.String() + log.String(); said != "" {
		t.Errorf("besides it said %q, want nothing", said)
	}
}

func TestDemoSaysWhatItWaitsFor(t *testing.T) {
	out := &output{}
	d := &demonstration{sys: system{Out: out}}
	d.stopping(0)
	d.stopping(1)
	if want := "\nStopping: waiting for 1 request, 3s at the most. Ctrl-C again ends at once.\n"; out.String() != want {
		t.Errorf("said %q, want %q", out, want)
	}
}
