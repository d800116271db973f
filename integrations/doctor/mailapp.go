package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"anteroom/integrations/mail"
)

// mailApp looks whether the account of Nextcloud's Mail app is there.
func (p *Patient) mailApp(ctx context.Context, t *tried) Finding {
	m := p.Integrations.Mail
	if by, refused := t.by(m.Account()); refused {
		return refusedBy(by)
	}
	key := p.Key("integrations.mail.nextcloud_account")
	status, body, err := p.ocs(ctx, http.MethodGet, mail.AppAt(m)+"/account/list?format=json", m.Account())
	var said struct {
		OCS struct {
			Data []struct{ ID int }
		}
	}
	if f, is := passing(status); is {
		return f
	}
	switch {
	case err != nil:
		return p.silent(err, p.Key("nextcloud.url"))
	case status == http.StatusUnauthorized:
		return failed("Nextcloud does not accept user and password", "Verify "+p.Key("integrations.mail.username")+" and "+p.Key("integrations.mail.password")+": with "+key+" they are Nextcloud's, and an app password is best.")
	case status == http.StatusNotFound:
		return failed("Nextcloud has no Mail app that programs may use", "Install or update it (occ app:install mail), or set "+p.Key("integrations.mail.imap_url")+" and "+p.Key("integrations.mail.smtp_url")+" instead.")
	case status != http.StatusOK:
		return failed(fmt.Sprintf("it answers with an error (%d)", status), "Look into Nextcloud's log (data/nextcloud.log).")
	case json.Unmarshal(body, &said) != nil:
		return failed("it does not answer as Nextcloud's Mail app does", "Look into Nextcloud's log (data/nextcloud.log), and update the Mail app.")
	}
	var there []string
	for _, a := range said.OCS.Data {
		if a.ID == m.Nextcloud {
			return ok("account %d of %s is there", a.ID, m.Username)
		}
		there = append(there, fmt.Sprint(a.ID))
	}
	if len(there) == 0 {
		return failed(m.Username+" has no account in the Mail app", "Sign in to Nextcloud as "+m.Username+", open Mail and set one up; then put its id into "+key+".")
	}
	return failed(fmt.Sprintf("%s has no account %d in the Mail app", m.Username, m.Nextcloud), "Set "+key+" to one that is there: "+strings.Join(there[:min(len(there), 20)], ", ")+".")
}
