// Command zitadel is an OpenID provider for the suites: the example provider
// of zitadel/oidc, bound to loopback, with one web client.
//
//	zitadel -port 21120 -redirect URI -signed-out URI [-access-ttl 5s]
//
// The person is test-user@localhost, the password verysecure. The example
// lets no client come back after signing out and gives every access token five
// minutes: both are widened here, everything else is as published.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	port := flag.String("port", "", "port on 127.0.0.1")
	redirect := flag.String("redirect", "", "the client's redirect `URI`")
	signedOut := flag.String("signed-out", "", "the client's post-logout redirect `URI`")
	ttl := flag.Duration("access-ttl", 5*time.Minute, "what expires_in says of access tokens")
	flag.Parse()
	if err := run(*port, *redirect, *signedOut, *ttl); err != nil {
		fmt.Fprintln(os.Stderr, "zitadel:", err)
		os.Exit(1)
	}
}

func run(port, redirect, signedOut string, ttl time.Duration) error {
	issuer := "http://localhost:" + port + "/"
	storage.RegisterClients(storage.WebClient("anteroom", "a-client-secret-of-more-than-32-bytes", redirect))
	st := &provider{Storage: storage.NewStorage(storage.NewUserStore(issuer)), signedOut: signedOut, ttl: ttl}
	handler := exampleop.SetupServer(issuer, st, slog.New(slog.NewTextHandler(os.Stderr, nil)), false)
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return http.Serve(l, handler)
}

// provider is the example's storage with shorter tokens and a way back.
type provider struct {
	*storage.Storage
	signedOut string
	ttl       time.Duration
}

func (p *provider) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, until, err := p.Storage.CreateAccessToken(ctx, r)
	return id, p.sooner(until), err
}

func (p *provider) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	id, refresh, until, err := p.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
	return id, refresh, p.sooner(until), err
}

func (p *provider) sooner(until time.Time) time.Time {
	if t := time.Now().Add(p.ttl); t.Before(until) {
		return t
	}
	return until
}

func (p *provider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return &client{Client: c, signedOut: p.signedOut}, nil
}

// client may come back after signing out.
type client struct {
	op.Client
	signedOut string
}

func (c *client) PostLogoutRedirectURIs() []string { return []string{c.signedOut} }
