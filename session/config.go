package session

import "time"

// Config is the section "session": where sessions live and how long.
type Config struct {
	Store       string        `yaml:"store" default:"memory" oneof:"memory,cookie,redis" doc:"where sessions are kept: memory (this process), redis (shared by replicas) or cookie (sealed, in the browser)"`
	Keys        []Secret      `yaml:"keys" doc:"base64 of 32 bytes each; the first seals, every one opens. Needed for store: redis and cookie, the same on every replica; made by 'anteroom keys new'"`
	Redis       RedisConfig   `yaml:"redis"`
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"1h" doc:"a session unused for this long ends"`
	Lifetime    time.Duration `yaml:"lifetime" default:"12h" doc:"a session ends this long after sign-in, used or not"`
	Grace       time.Duration `yaml:"grace" default:"1h" doc:"how long a known session goes on while its store or Nextcloud does not answer"`
	Cookie      CookieConfig  `yaml:"cookie"`
}

// CookieConfig is the section "session.cookie".
type CookieConfig struct {
	Name     string `yaml:"name" default:"anteroom" doc:"name of the session cookie, before the __Host- or __Secure- prefix that https adds"`
	Domain   string `yaml:"domain" doc:"share sign-in across the hosts below this domain; empty: only the site itself"`
	SameSite string `yaml:"same_site" default:"lax" oneof:"lax,strict,none" doc:"the cookie's SameSite attribute"`
}
