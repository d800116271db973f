package main

import (
	"net/mail"
	"strings"

	"anteroom/integrations/api"
)

// checkMail checks the mail account. Neither server is ever talked to in clear:
// of the schemes without TLS from the start, STARTTLS is required.
func (l *loader) checkMail() {
	const key = "integrations.mail"
	m := l.cfg.Integrations.Mail
	l.checkAccount(key, m.Username, m.Password)
	for _, s := range []struct{ name, url, plain string }{{"imap_url", m.IMAP, "imap"}, {"smtp_url", m.SMTP, "smtp"}} {
		if u := l.urlAt(key+"."+s.name, s.url, s.plain+"s", s.plain); u != nil && u.Path != "" {
			l.breaks(key+"."+s.name, "has a path; write the server alone: %s", origin(u))
		}
	}
	l.checkAuthorities(key+".ca_file", m.CAFile)
	if m.From != "" {
		if a, err := mail.ParseAddress(m.From); err != nil || strings.ContainsFunc(m.From, func(c rune) bool { return c < ' ' || c > '~' }) || a.Address != m.From {
			l.breaks(key+".from", "is no mail address, such as voiceassist@example.com")
		}
	} else if m.SMTP != "" && m.Username != "" && !strings.Contains(m.Username, "@") {
		l.breaks(key+".from", "is not set, and the username is no address to send from; name one")
	}
	switch {
	case m.Nextcloud < 0:
		l.breaks(key+".nextcloud_account", "is below zero; write the id of an account in Nextcloud's Mail app")
	case m.Nextcloud > 0 && (m.IMAP != "" || m.SMTP != ""):
		l.breaks(key+".nextcloud_account", "is set beside imap_url or smtp_url; write the one or the other")
	case m.Said() && m.Username == "" && m.Password == "":
		l.breaks(key+".username", "is not set; name the account at the mail server")
	}
	if m.Allow.Public {
		l.breaks(key+".allow", "is public: mail is nobody's business whom nobody knows; write signed-in, or groups:, users: and clients: lists")
	}
	if m.Said() {
		l.checkShadowed("the JSON API of integrations", api.Prefix)
	}
}
