package doctor

import (
	"context"
	"errors"
	"strings"
	"sync"

	"anteroom/session/signin"
)

// SignIn are the probes of the sign-in provider.
func (p *Patient) SignIn(rp *signin.RelyingParty) []Probe {
	s := &signIn{p: p, rp: rp}
	return []Probe{
		{Name: Provider, Needs: []string{Status}, Look: s.provider},
		{Name: "issuer", Needs: []string{Provider}, Look: s.issuer},
		{Name: "client", Needs: []string{Provider}, Look: s.client},
		{Name: "redirect URI", Needs: []string{Provider}, Look: s.redirect},
		{Name: "signing keys", Needs: []string{Provider}, Look: s.keys},
	}
}

type signIn struct {
	p  *Patient
	rp *signin.RelyingParty

	once sync.Once
	exam *signin.Examination
	err  error
}

// look examines the provider, once.
func (s *signIn) look(ctx context.Context) (*signin.Examination, error) {
	s.once.Do(func() { s.exam, s.err = s.rp.Examine(ctx) })
	return s.exam, s.err
}

func (s *signIn) provider(ctx context.Context) Finding {
	e, err := s.look(ctx)
	switch {
	case errors.Is(err, signin.ErrNoOIDC):
		return failed("Nextcloud offers no OpenID Connect", "Install the app \"OIDC Identity Provider\" (H2CK/oidc) in Nextcloud, or set "+s.p.Key("signin.provider")+" to nextcloud, for its built-in OAuth2.")
	case errors.Is(err, signin.ErrIssuer):
		return ok("OpenID Connect")
	case err != nil:
		return failed("it does not say what it offers: "+err.Error(), "Open "+strings.TrimSuffix(s.p.Nextcloud.URL, "/")+"/.well-known/openid-configuration in a browser: it has to show a JSON document.")
	case e.Kind == "oidc":
		return ok("OpenID Connect")
	}
	return ok("Nextcloud's built-in OAuth2: there is no OpenID Connect app, which nobody needs. It means that signing out here leaves people signed in at Nextcloud")
}

func (s *signIn) issuer(ctx context.Context) Finding {
	e, err := s.look(ctx)
	switch {
	case errors.Is(err, signin.ErrIssuer):
		return failed(err.Error(), "Set "+s.p.Key("signin.issuer")+" to what the provider calls itself. If that is a name which browsers do not know, the provider is asked by the wrong one: it takes the Host of the request.")
	case err != nil:
		return unknown("the provider was not found")
	case e.Issuer == "":
		return ok("the built-in OAuth2 has none")
	}
	return ok("%s", e.Issuer)
}

func (s *signIn) client(ctx context.Context) Finding {
	e, err := s.look(ctx)
	if err != nil {
		return unknown("the provider was not found")
	}
	v, err := e.Client(ctx)
	switch {
	case err != nil:
		return failed("the provider cannot be asked: "+err.Error(), "Check the provider's log.")
	case v == signin.VerdictGood:
		return ok("id and secret are accepted")
	case v == signin.VerdictRefused:
		return failed("the provider does not accept id and secret", "Verify that "+s.p.Key("signin.client_id")+" and "+s.p.Key("signin.client_secret")+" are as Nextcloud shows them: no typos, no extra spaces, nothing cut off. "+s.elsewhere(e))
	}
	return unknown("this provider looks at the code of a sign-in before the secret: a wrong secret shows itself at the first sign-in, as invalid_client in the log")
}

// elsewhere is for a client that was made where Nextcloud's other provider has
// its clients, as the guide does it.
func (s *signIn) elsewhere(e *signin.Examination) string {
	if e.Kind != "oidc" {
		return "A client made under OpenID Connect clients belongs to the OIDC app."
	}
	return "A client made under Security, OAuth 2.0, belongs to the built-in OAuth2: set " + s.p.Key("signin.provider") + " to nextcloud for it."
}

func (s *signIn) redirect(ctx context.Context) Finding {
	e, err := s.look(ctx)
	if err != nil {
		return unknown("the provider was not found")
	}
	v, other, err := e.Redirect(ctx)
	remedy := "Register exactly " + e.RedirectURI + " at the client in Nextcloud, or set " + s.p.Key("signin.redirect_uri") + " to what is registered there."
	switch {
	case err != nil:
		return failed("the provider cannot be asked: "+err.Error(), "Check the provider's log.")
	case v == signin.VerdictGood:
		return ok("%s is accepted", e.RedirectURI)
	case v == signin.VerdictRefused && other != "":
		return failed("another one is registered: "+other, remedy)
	case v == signin.VerdictRefused:
		return failed("the provider knows the client not, or not with "+e.RedirectURI, remedy+" Check "+s.p.Key("signin.client_id")+", too.")
	}
	return unknown("this provider says so only once somebody signs in; it has to be %s", e.RedirectURI)
}

func (s *signIn) keys(ctx context.Context) Finding {
	e, err := s.look(ctx)
	if err != nil {
		return unknown("the provider was not found")
	}
	if e.Kind != "oidc" {
		return ok("the built-in OAuth2 has none: Nextcloud is asked who somebody is")
	}
	n, algorithms, err := e.Keys(ctx)
	switch {
	case err != nil:
		return failed("they cannot be fetched: "+err.Error(), "Open the provider's jwks_uri in a browser: it has to show a JSON document.")
	case n == 0:
		return failed("the provider shows none that could verify anything", "Have the provider make signing keys; in Nextcloud's OIDC app, an administrator does so in its settings.")
	}
	return ok("%d, for %s", n, strings.Join(algorithms, ", "))
}
