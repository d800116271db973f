package doctor

import (
	"context"
	"errors"

	"anteroom/integrations"
	"anteroom/integrations/mail"
)

// Mail are the probes of the mail account.
func (p *Patient) Mail() ([]Probe, error) {
	cfg := p.Integrations.Mail
	if cfg.IMAP == "" && cfg.SMTP == "" {
		return nil, nil
	}
	a, err := mail.Open(cfg, mail.Options{Now: p.Now})
	if err != nil {
		return nil, err
	}
	var probes []Probe
	if cfg.IMAP != "" {
		probes = append(probes, Probe{Name: "IMAP", Look: func(ctx context.Context) Finding {
			defer a.Close() // what was opened is not wanted again
			return p.mailFinding(a.CheckReading(ctx), "integrations.mail.imap_url", "mail can be read")
		}})
	}
	if cfg.SMTP != "" {
		probes = append(probes, Probe{Name: "SMTP", Look: func(ctx context.Context) Finding {
			return p.mailFinding(a.CheckSending(ctx), "integrations.mail.smtp_url", "mail can be sent")
		}})
	}
	return probes, nil
}

func (p *Patient) mailFinding(err error, key, good string) Finding {
	no, is := integrations.ProblemOf(err)
	switch {
	case err == nil:
		return ok("%s, as %s", good, p.Integrations.Mail.Username)
	case is && no.Reason == integrations.ReasonService:
		return failed("the mail server does not accept user and password", "Verify "+p.Key("integrations.mail.username")+" and "+p.Key("integrations.mail.password")+"; many mail servers want an app password of their own.")
	case errors.Is(err, mail.ErrNoTLS):
		return failed(no.Text, "Turn on TLS at the mail server, or use its TLS port in "+p.Key(key)+" (imaps://…:993, smtps://…:465).")
	case errors.Is(err, mail.ErrNoAuth):
		return failed(no.Text, "Use the mail server's port for those who send in "+p.Key(key)+" (smtps://…:465, smtp://…:587), or have it offer AUTH PLAIN there.")
	case is && no.Reason == integrations.ReasonAway:
		return failed(no.Text, "Check host and port in "+p.Key(key)+", and "+p.Key("integrations.mail.ca_file")+" where the certificate is of an authority of your own.")
	case is && no.Reason == integrations.ReasonSlow:
		return failed(no.Text, "Check host and port in "+p.Key(key)+", then firewalls between here and there.")
	case is && (no.Reason == integrations.ReasonBusy || no.Reason == integrations.ReasonAnswer):
		return failed(no.Text, "Look into the mail server's log.")
	}
	return failed("it does not answer as a mail server does", "Check "+p.Key(key)+".")
}
