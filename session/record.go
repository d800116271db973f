package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// record is what a store keeps of a session.
type record struct {
	Version  uint64 // rises with each change; from 1
	Identity Identity
	Tokens   Tokens
	Login    Login
	Created  time.Time // sign-in
	Seen     time.Time // last use that was written down
	Asked    time.Time // when the provider last said who the person is
	Until    time.Time // how long that word holds, before grace
}

// wire is a record as bytes. The tokens are plain here: whoever keeps the
// bytes outside of this process seals them.
type wire struct {
	Version  uint64    `json:"v"`
	Identity Identity  `json:"identity"`
	Access   string    `json:"access,omitempty"`
	Refresh  string    `json:"refresh,omitempty"`
	ID       string    `json:"id,omitempty"`
	Login    Login     `json:"login,omitzero"`
	Issued   time.Time `json:"issued"`
	Expiry   time.Time `json:"expiry"`
	Created  time.Time `json:"created"`
	Seen     time.Time `json:"seen"`
	Asked    time.Time `json:"asked"`
	Until    time.Time `json:"until"`
}

func (r *record) encode() ([]byte, error) {
	b, err := json.Marshal(wire{
		Version: r.Version, Identity: r.Identity, Login: r.Login,
		Access: r.Tokens.Access.Reveal(), Refresh: r.Tokens.Refresh.Reveal(), ID: r.Tokens.ID.Reveal(),
		Issued: r.Tokens.Issued, Expiry: r.Tokens.Expiry,
		Created: r.Created, Seen: r.Seen, Asked: r.Asked, Until: r.Until,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding session: %w", err)
	}
	return b, nil
}

func (r *record) decode(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("decoding session: %w", err)
	}
	*r = record{
		Version: w.Version, Identity: w.Identity, Login: w.Login,
		Tokens:  Tokens{Access: Secret(w.Access), Refresh: Secret(w.Refresh), ID: Secret(w.ID), Issued: w.Issued, Expiry: w.Expiry},
		Created: w.Created, Seen: w.Seen, Asked: w.Asked, Until: w.Until,
	}
	return nil
}

// seal makes of a record what a store may have. A browser's store seals by
// itself.
func (m *Manager) seal(l *live, r *record) (Saved, error) {
	s := Saved{Version: r.Version, Seen: r.Seen}
	plain, err := r.encode()
	if err != nil {
		return s, err
	}
	if s.Value = plain; !m.alone {
		s.Value = m.o.Codec.sealRecord(l.secret, plain)
	}
	return s, nil
}

// open reverses seal.
func (m *Manager) open(secret recordSecret, s Saved) (*record, error) {
	plain := s.Value
	if !m.alone {
		var err error
		if plain, err = m.o.Codec.openRecord(secret, s.Value); err != nil {
			return nil, err
		}
	}
	r := &record{}
	if err := r.decode(plain); err != nil {
		return nil, err
	}
	if s.Version != 0 && s.Version != r.Version {
		return nil, errors.New("session record is not of the version it is kept as")
	}
	if s.Seen.After(r.Seen) {
		r.Seen = s.Seen
	}
	return r, nil
}
