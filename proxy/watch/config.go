package watch

import (
	"time"

	"anteroom/proxy/throttle"
	"anteroom/session"
)

// Config is the section "watch". A rule reads "15 in 10m", or off.
type Config struct {
	Spray             throttle.Rate `yaml:"spray" default:"15 in 10m" doc:"accounts for which credentials from one address (IPv6: one /64) were refused, and none was good since; or off"`
	SprayWide         throttle.Rate `yaml:"spray_wide" default:"40 in 10m" doc:"pairs of account and address of that kind, wherever they are from; or off"`
	Guessing          throttle.Rate `yaml:"guessing" default:"10 in 10m" doc:"different wrong credentials for one account, from wherever; or off"`
	Failures          throttle.Rate `yaml:"failures" default:"100 in 10m" doc:"refused tokens and failed sign-ins, which name no account, from one address (IPv6: one /64); or off"`
	TwoNetworks       throttle.Rate `yaml:"two_networks" default:"3 in 5m" doc:"returns of one session to a network (IPv4: /16, IPv6: /32) that it left that lately: it is used in two places; or off"`
	ChangedAgent      throttle.Rate `yaml:"changed_agent" default:"1 in 1h" doc:"changes of browser or system within one session; or off"`
	NewDevice         bool          `yaml:"new_device" default:"true" doc:"alert when somebody signs in, or comes with a password or token, from a kind of browser or system not seen of them before"`
	Learning          time.Duration `yaml:"learning" default:"1h" doc:"after somebody is first seen by this process, their devices are learned and not reported for so long"`
	RevokedSession    throttle.Rate `yaml:"revoked_session" default:"1 in 1h" doc:"uses of a session that was signed out, replaced or revoked, or of its token; or off"`
	ServiceCredential throttle.Rate `yaml:"service_credential" default:"1 in 10m" doc:"refusals of a service account's credential by Nextcloud or the mail server; or off"`
	SecretRefused     throttle.Rate `yaml:"secret_refused" default:"1 in 10m" doc:"changed files of secrets or authorities that are no good, or would put a retired key back; or off"`
	BulkDownload      throttle.Rate `yaml:"bulk_download" default:"500 in 10m" doc:"different files, mails, contacts and events that one person or client reads; or off"`
	BulkMiB           throttle.Rate `yaml:"bulk_mib" default:"4096 in 10m" doc:"mebibytes that one person or client reads by DAV and the JSON API; or off"`
	BulkDelete        throttle.Rate `yaml:"bulk_delete" default:"100 in 10m" doc:"different things that one person or client deletes (a folder is one); or off"`
	BulkExempt        []string      `yaml:"bulk_exempt" doc:"who may read and delete as much as they like: people by their Nextcloud id, clients as client:NAME"`
	Quiet             time.Duration `yaml:"quiet" default:"10m" doc:"an alert is not repeated for so long; then one more says how often it would have been"`
	Webhook           WebhookConfig `yaml:"webhook"`
}

// WebhookConfig is the section "watch.webhook".
type WebhookConfig struct {
	URL     string         `yaml:"url" doc:"where each alert is posted to as JSON: an https:// URL, or http:// to this machine; none: alerts are audit lines, log lines and metrics alone"`
	Token   session.Secret `yaml:"token" doc:"sent there as a Bearer token"`
	Timeout time.Duration  `yaml:"timeout" default:"5s" doc:"for one try; it is tried again for a day"`
	CAFile  string         `yaml:"ca_file" doc:"PEM file of authorities to trust for it, instead of the system's; read again when it changes"`
}
