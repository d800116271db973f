package dav

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"anteroom/session"
)

// granting has an app password of everybody's.
type granting struct{}

func (granting) Of(_ context.Context, subject string) (session.Credential, bool, error) {
	return session.Credential{User: subject, Secret: "granted"}, true, nil
}

func (granting) Forget(context.Context, string, session.Credential) {}

// rawServer answers every request with bytes as they are, and closes.
func rawServer(t *testing.T, answer func(r *http.Request) string) (origin string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(c))
				if err == nil {
					fmt.Fprint(c, answer(r))
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// slots has one entry for each upload under way.
func slots(f *front) (taken []struct{}) { return make([]struct{}, len(f.service.uploads)) }
