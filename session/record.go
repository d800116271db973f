package session

import (
	"encoding/json"
	"fmt"
	"time"
)

// record is what a store keeps of a session.
type record struct {
	Identity Identity
	Tokens   Tokens
	Created  time.Time // sign-in
	Seen     time.Time // last use that was written down
	Until    time.Time // how long the provider's last word on the person holds, before grace
}

// wire is a record as bytes. The tokens are plain here: whoever keeps the
// bytes outside of this process seals them.
type wire struct {
	Identity Identity  `json:"identity"`
	Access   string    `json:"access,omitempty"`
	Refresh  string    `json:"refresh,omitempty"`
	ID       string    `json:"id,omitempty"`
	Issued   time.Time `json:"issued"`
	Expiry   time.Time `json:"expiry"`
	Created  time.Time `json:"created"`
	Seen     time.Time `json:"seen"`
	Until    time.Time `json:"until"`
}

func (r *record) encode() ([]byte, error) {
	b, err := json.Marshal(wire{
		Identity: r.Identity,
		Access:   r.Tokens.Access.Reveal(), Refresh: r.Tokens.Refresh.Reveal(), ID: r.Tokens.ID.Reveal(),
		Issued: r.Tokens.Issued, Expiry: r.Tokens.Expiry,
		Created: r.Created, Seen: r.Seen, Until: r.Until,
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
		Identity: w.Identity,
		Tokens:   Tokens{Access: Secret(w.Access), Refresh: Secret(w.Refresh), ID: Secret(w.ID), Issued: w.Issued, Expiry: w.Expiry},
		Created:  w.Created, Seen: w.Seen, Until: w.Until,
	}
	return nil
}
