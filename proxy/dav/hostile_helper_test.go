package dav

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"anteroom/session"
	"anteroom/test/loopback"
)

// granting has an app password of everybody's.
type granting struct{}

func (granting) Of(_ context.Context, subject string) (session.Credential, bool, error) {
	return session.Credential{User: subject, Secret: "granted"}, true, nil
}

func (granting) Forget(context.Context, string, session.Credential) {}

// rawServer answers every request with bytes as they are, and closes.
func rawServer(t *testing.T, answer func(r *http.Request) string) (origin string) {
	return "http://" + loopback.Serve(t, nil, func(c net.Conn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			fmt.Fprint(c, answer(r))
		}
	})
}

// slots has one entry for each upload under way.
func slots(f *front) (taken []struct{}) { return make([]struct{}, f.service.uploads.Held()) }
