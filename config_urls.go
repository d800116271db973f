package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"anteroom/session"
)

// urlAt reads a key's URL into its normal form, or notes what is wrong with it
// and returns nil. An empty text is no fault.
func (l *loader) urlAt(key, text string, schemes ...string) *url.URL {
	if text == "" {
		return nil
	}
	u, err := parseURL(text, schemes...)
	if err != nil {
		l.breaks(key, "%v", err)
		l.spoil(key)
		return nil
	}
	return u
}

// parseURL reads an absolute URL of one of the schemes: a server with or
// without a path, and nothing else; or a socket's file for unix. Its normal
// form is lower case, without default port and trailing slashes. The error
// shows no user and no password.
func parseURL(text string, schemes ...string) (*url.URL, error) {
	if strings.Contains(text, "@") {
		return nil, errors.New("has an @ in it; leave out the user before it")
	}
	if strings.ContainsAny(text, "?#") {
		return nil, errors.New("has a ? or # in it; leave out what follows")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme):
		return nil, fmt.Errorf("is %s; write a URL that begins with %s", quoted(text), prefixes(schemes))
	case strings.ContainsAny(text, " \\"):
		return nil, fmt.Errorf("is %s; write a URL without spaces and backslashes", quoted(text))
	case u.Scheme == "unix":
		return socketURL(u, text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("is %s; write a server after %s://", quoted(text), u.Scheme)
	}
	if err := checkHost(u.Host); err != nil {
		return nil, err
	}
	return normal(u), nil
}

func socketURL(u *url.URL, text string) (*url.URL, error) {
	if u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) == "/" {
		return nil, fmt.Errorf("is %s; write unix: and the full path of the socket, such as unix:/run/app.sock", quoted(text))
	}
	return &url.URL{Scheme: "unix", Path: path.Clean(u.Path), OmitHost: true}, nil
}

func normal(u *url.URL) *url.URL {
	n := &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/")}
	if port := map[string]string{"http": ":80", "h2c": ":80", "https": ":443"}[u.Scheme]; port != "" {
		n.Host = strings.TrimSuffix(n.Host, port)
	}
	return n
}

// origin is scheme://host[:port] of a URL in normal form.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

func prefixes(schemes []string) string {
	var all []string
	for _, s := range schemes {
		if s != "unix" {
			s += "://"
		} else {
			s += ":"
		}
		all = append(all, s)
	}
	if last := len(all) - 1; last > 0 {
		return strings.Join(all[:last], ", ") + " or " + all[last]
	}
	return all[0]
}

// checkHost wants a name or an address, with or without a port.
func checkHost(host string) error {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if err := checkPort(host[i+1:]); err != nil || strings.Count(host, ":") > 1 && host[0] != '[' {
			return fmt.Errorf("is %s; write a host such as app.example.com or app.example.com:8443, an IPv6 address in brackets", quoted(host))
		}
		name = host[:i]
	}
	if strings.HasPrefix(name, "[") {
		if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err != nil {
			return fmt.Errorf("is %s, which is no address", quoted(host))
		}
		return nil
	}
	return checkName(name)
}

// checkName wants a DNS name: underscores are borne, since containers have them.
func checkName(name string) error {
	for label := range strings.SplitSeq(name, ".") {
		bad := strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		})
		if label == "" || len(label) > 63 || len(name) > 253 || bad {
			return fmt.Errorf("is %s; write a plain host name such as app.example.com (letters beyond a-z in their xn-- form)", quoted(name))
		}
	}
	return nil
}

func checkPort(port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	if strconv.FormatUint(n, 10) != port {
		return errors.New("is no port number")
	}
	return nil
}

// bare is a host without its port.
func bare(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// checkNetwork wants a CIDR, or one address. All of the Internet is refused:
// everybody could then say which address they come from.
func checkNetwork(text string) error {
	p, err := netip.ParsePrefix(text)
	if a, addrErr := netip.ParseAddr(text); addrErr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil || p.Addr().Zone() != "":
		return fmt.Errorf("is %s; write a network such as 10.0.0.0/8, or one address", quoted(text))
	case p.Bits() == 0:
		return fmt.Errorf("is %s, which is everybody; name the network of your front proxy", quoted(text))
	case p.Addr().Is4In6():
		return fmt.Errorf("is %s; write it as an IPv4 network", quoted(text))
	}
	return nil
}

func entry(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

func valueOf(p any) reflect.Value { return reflect.ValueOf(p).Elem() }

// brief writes a duration without its zero minutes and seconds: 12h, not 12h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// readableAt returns the content of the file a key names, or notes that it
// cannot be read.
func (l *loader) readableAt(key, name string) ([]byte, bool) {
	data, _, err := session.ReadFile(name, maxConfigBytes)
	if err != nil {
		l.breaks(key, "names %s, which cannot be read: %v", quoted(name), err)
		return nil, false
	}
	return data, true
}

func (l *loader) checkAuthorities(key, name string) {
	if name == "" {
		return
	}
	data, ok := l.readableAt(key, name)
	if ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
		l.breaks(key, "names %s, which holds no certificate; write a PEM file", quoted(name))
	}
	if l.cfg.AuthorityFiles == nil {
		l.cfg.AuthorityFiles = map[string]secretFile{}
	}
	l.cfg.AuthorityFiles[key] = secretFile{name, session.Secret(bytes.TrimSpace(data))}
}

func (l *loader) checkKeyPair(certAt, certFile, keyAt, keyFile string) {
	cert, certOK := l.readableAt(certAt, certFile)
	key, keyOK := l.readableAt(keyAt, keyFile)
	if !certOK || !keyOK {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		l.breaks(certAt, "does not go with %s: %s", keyAt, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
