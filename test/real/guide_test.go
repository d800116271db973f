//go:build real

package realtest

import (
	"testing"

	"anteroom/demo"
)

// TestOnlyGuideVariables runs Anteroom on the guide's variables and an upstream
// alone, in front of a Nextcloud that has only what the guide sets up: the
// built-in OAuth2, which Anteroom has to find out by itself.
func TestOnlyGuideVariables(t *testing.T) {
	for name, o := range map[string]demo.Options{
		"Nextcloud 24":       {OIDC: demo.NoOIDC},
		"a recent Nextcloud": {OIDC: demo.NoOIDC, Modern: true},
		"with the oidc app":  {OIDC: demo.OIDC06},
		"with oidc app 2.0":  {OIDC: demo.OIDC20},
	} {
		t.Run(name, func(t *testing.T) {
			s, app := newSite(t), newApplication(t)
			nc := startNextcloud(t, s, o)
			s.start(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL)})
			p := newPerson(t)
			got := shown(t, p.signIn(s, s.URL+"/chart?patient=7", demo.DefaultUser, demo.DefaultPassword))
			checkIdentity(t, s, got, app.URL, someone{
				subject: "testdoc", username: "testdoc", mail: "testdoc@example.com", name: "Test Doctor", groups: []string{"users"}})
			signOut(t, p, s, len(app.reached()), app)
			if n := nc.FailedLogins(); n != 0 {
				t.Errorf("Nextcloud booked %d failed logins on Anteroom, want none", n)
			}
			s.noSecrets(t, demo.DefaultClientSecret, demo.DefaultPassword)
		})
	}
}
