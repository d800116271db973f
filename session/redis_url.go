package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// redisTarget is a Redis address taken apart.
type redisTarget struct {
	kind     redisKind
	network  string   // tcp or unix
	addrs    []string // of servers, or of the Sentinels; one socket's path for unix
	master   string   // the name Sentinels know it by
	db       int
	username string
	password Secret
	tls      bool
}

// redisKind is a closed set.
type redisKind int

const (
	redisSingle redisKind = iota
	redisSentinel
	redisCluster
)

// redisSchemes is every scheme there is.
var redisSchemes = map[string]struct {
	kind redisKind
	unix bool
	tls  bool
}{
	"redis":           {kind: redisSingle},
	"rediss":          {kind: redisSingle, tls: true},
	"unix":            {kind: redisSingle, unix: true},
	"redis+unix":      {kind: redisSingle, unix: true},
	"redis+sentinel":  {kind: redisSentinel},
	"rediss+sentinel": {kind: redisSentinel, tls: true},
	"redis+cluster":   {kind: redisCluster},
	"rediss+cluster":  {kind: redisCluster, tls: true},
}

// CheckRedisURL tells what is wrong with an address of Redis, without asking
// anybody on the network. The error names the remedy and repeats no part of
// the address, for any part may turn out to be a piece of a password.
func CheckRedisURL(u Secret) error {
	_, err := parseRedisURL(u)
	return err
}

// parseRedisURL is by hand where net/url cannot be used: it takes one host only.
func parseRedisURL(u Secret) (redisTarget, error) {
	scheme, rest, ok := strings.Cut(u.Reveal(), "://")
	form, known := redisSchemes[strings.ToLower(scheme)]
	if !ok || !known {
		return redisTarget{}, errors.New("does not begin with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// (rediss+… for TLS)")
	}
	t := redisTarget{kind: form.kind, tls: form.tls, network: "tcp"}
	if strings.ContainsAny(rest, "# \t\r\n") {
		return redisTarget{}, errors.New("has a # or white space in it; write %23 for a # in a password")
	}
	rest, query, asked := strings.Cut(rest, "?")
	if asked {
		if !form.unix {
			return redisTarget{}, errors.New("has a ? in it; only unix:// takes a parameter (?db=N), and in a password it is written %3F")
		}
		if err := t.parseQuery(query); err != nil {
			return redisTarget{}, err
		}
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		slash = len(rest)
	}
	authority, path := rest[:slash], rest[slash:]
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := t.parseUser(authority[:at]); err != nil {
			return redisTarget{}, err
		}
		authority = authority[at+1:]
	}
	if form.unix {
		return t, t.parseSocket(authority, path)
	}
	if err := t.parseHosts(authority); err != nil {
		return redisTarget{}, err
	}
	return t, t.parsePath(path)
}

func (t *redisTarget) parseUser(info string) error {
	name, password, _ := strings.Cut(info, ":")
	var err1, err2 error
	t.username, err1 = url.PathUnescape(name)
	password, err2 = url.PathUnescape(password)
	t.password = Secret(password)
	if err1 != nil || err2 != nil || strings.Contains(info, "@") {
		return errors.New("has a user or password with a bare % or @ in it; write %25 and %40")
	}
	return nil
}

func (t *redisTarget) parseHosts(list string) error {
	port := "6379"
	if t.kind == redisSentinel {
		port = "26379"
	}
	hosts := strings.Split(list, ",")
	if len(hosts) > 1 && t.kind == redisSingle {
		return errors.New("names several hosts; write redis+sentinel:// or redis+cluster:// for several")
	}
	for i, h := range hosts {
		addr, err := redisHost(h, port)
		if err != nil {
			return fmt.Errorf("host %d: %w", i+1, err)
		}
		t.addrs = append(t.addrs, addr)
	}
	return nil
}

// redisHost reads host, host:port, [v6] or [v6]:port.
func redisHost(s, port string) (string, error) {
	host, given := s, ""
	colon := strings.LastIndexByte(s, ':')
	if colon > strings.LastIndexByte(s, ']') {
		host, given = s[:colon], s[colon+1:]
		n, err := strconv.ParseUint(given, 10, 16)
		if err != nil || n == 0 {
			return "", errors.New("the port is no number from 1 to 65535; a / @ : ? or # in a password is written %2F %40 %3A %3F %23")
		}
		port = given
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok || net.ParseIP(host) == nil {
			return "", errors.New("is no IPv6 address in brackets")
		}
	} else if strings.ContainsAny(host, ":[]%\\") {
		return "", errors.New("is no host name; an IPv6 address goes in brackets")
	}
	if host == "" {
		return "", errors.New("is missing")
	}
	return net.JoinHostPort(host, port), nil
}

// parsePath reads /db, or /name[/db] for Sentinel.
func (t *redisTarget) parsePath(path string) error {
	path = strings.TrimPrefix(path, "/")
	if t.kind == redisSentinel {
		var err error
		name, db, _ := strings.Cut(path, "/")
		if t.master, err = url.PathUnescape(name); err != nil || name == "" {
			return errors.New("does not name the master its Sentinels watch; write it after the hosts: …:26379/mymaster")
		}
		path = db
	}
	if err := t.parseDB(path); err != nil {
		return err
	}
	if t.kind == redisCluster && t.db != 0 {
		return errors.New("has a database number; a Cluster has only database 0, and session.redis.prefix keeps deployments apart")
	}
	return nil
}

func (t *redisTarget) parseDB(s string) error {
	if s == "" {
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return errors.New("has a path that is no database number, such as /0; a / in a password is written %2F")
	}
	t.db = int(n)
	return nil
}

func (t *redisTarget) parseSocket(host, path string) error {
	p, err := url.PathUnescape(path)
	if host != "" || err != nil || len(p) < 2 {
		return errors.New("does not give a socket's absolute path; write unix:///run/redis/redis.sock")
	}
	t.network, t.addrs = "unix", []string{p}
	return nil
}

func (t *redisTarget) parseQuery(q string) error {
	db, ok := strings.CutPrefix(q, "db=")
	if !ok || db == "" || strings.ContainsAny(db, "&;") {
		return errors.New("has a parameter that is not db=N, the only one there is")
	}
	return t.parseDB(db)
}

// tlsConfig is for TLS, but for the authorities. It is nil for a target without.
func (t redisTarget) tlsConfig(cfg RedisConfig, log *slog.Logger) (*tls.Config, error) {
	if !t.tls {
		if cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" {
			return nil, errors.New("ca_file, cert_file and key_file are for a url that begins with rediss")
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		p := &clientPair{files: [2]string{cfg.CertFile, cfg.KeyFile}, log: log}
		if err := p.load(p.stamps()); err != nil {
			return nil, fmt.Errorf("reading cert_file and key_file: %w", err)
		}
		c.GetClientCertificate = p.get
	}
	return c, nil
}
