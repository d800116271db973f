package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"anteroom/session"
)

// Vault keeps secrets under names, sealed. An error means that it did not
// answer; an absent secret is none.
type Vault interface {
	Get(ctx context.Context, name string) (secret []byte, found bool, err error)
	Put(ctx context.Context, name string, secret []byte, ttl time.Duration) error
	Delete(ctx context.Context, name string) error
}

// ErrUnkept: the vault does not answer. That says nothing about any connection.
var ErrUnkept = errors.New("connections cannot be looked up")

const (
	unusedTime  = 180 * 24 * time.Hour    // after which a connection that nobody used is forgotten
	grantedTime = 24 * time.Hour          // for which something granted waits for Nextcloud to say whose it is
	goneTime    = grantedTime + time.Hour // how long an end is remembered: longer than anything lasts that might undo it
	vaultTime   = 3 * time.Second         // for the vault to answer
)

// connection is what the vault has of one.
type connection struct {
	ID      string // no other connection has it
	Subject string
	Login   string
	Secret  password
	Since   time.Time
	Kept    time.Time // when it was last written
}

func (r connection) credential() session.Credential {
	return session.Credential{User: r.Login, Secret: session.Secret(r.Secret)}
}

func (r connection) shown() Connection { return Connection{Login: r.Login, Since: r.Since} }

// password is a secret on its way to the vault or from it: written as it is
// there, and shown nowhere else.
type password session.Secret

func (password) String() string       { return session.Secret("").String() }
func (password) GoString() string     { return session.Secret("").String() }
func (password) LogValue() slog.Value { return session.Secret("").LogValue() }

// The names of what is in the vault.
func (r connection) name() string     { return "connection\x00" + r.Subject }
func (r connection) goneName() string { return "gone\x00" + r.ID }

// load reads a connection from the vault.
func (c *Connections) load(ctx context.Context, subject string) (r connection, found bool, err error) {
	found, err = c.get(ctx, connection{Subject: subject}.name(), &r)
	return r, found && r.Subject == subject && subject != "", err
}

var errEnded = errors.New("the connection ended meanwhile")

// keep writes a connection for as long as it may go unused, unless it ended:
// whoever ends one marks that first, so either they find this or we find the
// mark.
func (c *Connections) keep(ctx context.Context, r connection) error {
	r.Kept = c.o.Now()
	if err := c.put(ctx, r.name(), r, unusedTime); err != nil {
		return err
	}
	var mark bool
	ended, err := c.get(ctx, r.goneName(), &mark)
	if err != nil || !ended {
		return err
	}
	return errors.Join(errEnded, c.remove(ctx, r.name()))
}

// end removes a connection from the vault for good.
func (c *Connections) end(ctx context.Context, r connection) error {
	if err := c.put(ctx, r.goneName(), true, goneTime); err != nil {
		return err
	}
	return c.remove(ctx, r.name())
}

// get reads a record. One that cannot be read is none.
func (c *Connections) get(ctx context.Context, name string, into any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, vaultTime)
	defer cancel()
	b, found, err := c.o.Vault.Get(ctx, name)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnkept, err)
	}
	return found && json.Unmarshal(b, into) == nil, nil
}

func (c *Connections) put(ctx context.Context, name string, record any, ttl time.Duration) error {
	b, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding a connection: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, vaultTime)
	defer cancel()
	if err := c.o.Vault.Put(ctx, name, b, ttl); err != nil {
		return fmt.Errorf("%w: %w", ErrUnkept, err)
	}
	return nil
}

func (c *Connections) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, vaultTime)
	defer cancel()
	if err := c.o.Vault.Delete(ctx, name); err != nil {
		return fmt.Errorf("%w: %w", ErrUnkept, err)
	}
	return nil
}
