package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"

	"anteroom/session"
)

// Client is one entry of "clients": a program that calls in with a secret of
// its own.
type Client struct {
	Name       string   `yaml:"name" doc:"what it is called: its user name for Basic, and its name in allow lists"`
	SecretHash string   `yaml:"secret_hash" doc:"as anteroom clients new prints it: sha256: and the hash of its secret"`
	Groups     []string `yaml:"groups" doc:"groups it counts as a member of, in allow lists of integrations, and of routes that name clients"`
}

// hashPrefix names the hash. Secrets are random and long: a slow hash, made for
// those that people choose, would only cost time.
const hashPrefix = "sha256:"

// NewSecret makes a client's secret of 260 random bits, in letters and digits
// that no command line takes for anything else, and the hash for the
// configuration.
func NewSecret() (secret session.Secret, hash string) {
	text := strings.ToLower(rand.Text() + rand.Text())
	sum := sha256.Sum256([]byte(text))
	return session.Secret(text), hashPrefix + hex.EncodeToString(sum[:])
}

// ErrHash: a client's secret_hash is none.
var ErrHash = errors.New("is not sha256: and 64 hexadecimal digits, as anteroom clients new prints it")

// ParseHash reads a client's secret_hash.
func ParseHash(text string) (sum [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(sum) {
		return sum, ErrHash
	}
	return [sha256.Size]byte(b), nil
}

// clients knows programs by name and secret.
type clients struct {
	byName map[string]*client
}

type client struct {
	sum [sha256.Size]byte
	who session.Identity
}

func newClients(list []Client) (*clients, error) {
	c := &clients{byName: map[string]*client{}}
	for _, l := range list {
		sum, err := ParseHash(l.SecretHash)
		if err != nil {
			return nil, err
		}
		c.byName[l.Name] = &client{sum: sum, who: session.Identity{Subject: session.ClientSubject(l.Name), Username: l.Name, Groups: l.Groups, Method: session.ByClient}}
	}
	return c, nil
}

// know returns the client with a name and a secret; nil for none. It takes the
// same time whether there is one of the name or not.
func (c *clients) know(name, secret string) *session.Identity {
	found, sum := c.byName[name], sha256.Sum256([]byte(secret))
	want := &client{}
	if found != nil {
		want = found
	}
	if subtle.ConstantTimeCompare(sum[:], want.sum[:]) != 1 || found == nil {
		return nil
	}
	return &found.who
}

// knowToken returns the client whose secret a Bearer token is; nil for none, and
// where several have that secret. It takes the same time whichever it is.
func (c *clients) knowToken(token string) (who *session.Identity) {
	sum, found := sha256.Sum256([]byte(token)), 0
	for _, one := range c.byName {
		if subtle.ConstantTimeCompare(sum[:], one.sum[:]) == 1 {
			who, found = &one.who, found+1
		}
	}
	if found != 1 {
		return nil
	}
	return who
}
