package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Overview is a session as lists show it.
type Overview struct {
	ID       string    `json:"id"` // public id (the JWT's sid)
	Subject  string    `json:"sub"`
	Username string    `json:"username,omitempty"`
	Name     string    `json:"name,omitempty"`
	Method   Method    `json:"method"`
	Agent    string    `json:"agent,omitempty"`   // User-Agent as the browser sent it at sign-in, at most 256 bytes
	Address  string    `json:"address,omitempty"` // of the client at sign-in
	Started  time.Time `json:"started"`
	Ends     time.Time `json:"ends"` // at the latest
	Seen     time.Time `json:"-"`    // last use that was written down

	key   string
	login Login
}

// info is what a store keeps for lists, sealed by the deployment's keys alone:
// the command line has no session's secret. It holds no token and no address
// of mail.
type info struct {
	Overview
	Key   string `json:"key"`
	Login Login  `json:"login,omitzero"`
}

const agentMax = 256

func newInfo(key string, s *Session, agent, address string, life time.Duration) info {
	who := s.Who()
	return info{Key: key, Login: s.Login, Overview: Overview{
		ID: who.SessionID, Subject: who.Subject, Username: who.Username, Name: who.Name, Method: who.Method,
		Agent: strings.ToValidUTF8(agent[:min(len(agent), agentMax)], ""), Address: address,
		Started: s.Created, Ends: s.Created.Add(life),
	}}
}

const infoName = "overview"

func (c *Codec) sealInfo(i info) ([]byte, error) {
	s, err := c.For(infoName, 0).Seal(i)
	return []byte(s), err
}

// allSessions is the name every session is listed under, whatever the keys.
const allSessions = "all"

func nameOfPerson(subject string) string { return "person " + subject }

// nameOfLogin is the provider's name for a session of its own, or for a person.
func nameOfLogin(l Login) string {
	if l.Session != "" {
		return fmt.Sprintf("session %q at %q", l.Session, l.Issuer)
	}
	return fmt.Sprintf("subject %q at %q", l.Subject, l.Issuer)
}

// namesOf is what a session is listed under.
func (c *Codec) namesOf(r *record) []string {
	texts := []string{nameOfPerson(r.Identity.Subject)}
	if l := r.Login; l.Issuer != "" {
		texts = append(texts, nameOfLogin(Login{Issuer: l.Issuer, Subject: l.Subject}))
		if l.Session != "" {
			texts = append(texts, nameOfLogin(l))
		}
	}
	out := []string{allSessions}
	for _, t := range texts {
		out = append(out, c.names(t)[0])
	}
	return out
}

// ErrOtherKeys: there are sessions in the list, but none sealed by these keys.
var ErrOtherKeys = errors.New("the sessions there were sealed with other session.keys")

// list finds the sessions listed under any of the names, those used last first.
func list(ctx context.Context, st Shared, codec *Codec, names []string) ([]Overview, error) {
	sealer := codec.For(infoName, 0)
	var out []Overview
	foreign := 0
	for _, name := range names {
		found, err := st.List(ctx, name)
		if errors.Is(err, ErrNoList) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		for _, f := range found {
			var i info
			if sealer.Open(string(f.Info), &i) != nil || i.Key != f.Key {
				foreign++ // sealed by a key that is no more, or moved by somebody else
				continue
			}
			i.Overview.key, i.Overview.login, i.Overview.Seen = i.Key, i.Login, f.Seen
			out = append(out, i.Overview)
		}
	}
	if len(out) == 0 && foreign > 0 {
		return nil, ErrOtherKeys
	}
	slices.SortFunc(out, func(a, b Overview) int { return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// ListAll lists every session of a store, for the command line.
func ListAll(ctx context.Context, st Shared, codec *Codec) ([]Overview, error) {
	return list(ctx, st, codec, []string{allSessions})
}

// ListSubject lists one person's.
func ListSubject(ctx context.Context, st Shared, codec *Codec, subject string) ([]Overview, error) {
	return list(ctx, st, codec, codec.names(nameOfPerson(subject)))
}

// EndListed ends a listed session for an operator, and has every replica hear of
// it: one that knows the session tells of its end. ended is false if it was over
// already.
func EndListed(ctx context.Context, st Shared, o Overview) (ended bool, err error) {
	ended, err = st.End(ctx, o.key, Ended{Why: EndByOperator, Orphaned: true})
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return ended, nil
}

// SessionsOf lists a person's sessions, those used last first. ErrNoList means
// that the store keeps no list.
func (m *Manager) SessionsOf(ctx context.Context, subject string) ([]Overview, error) {
	out, err := list(ctx, m.st, m.o.Codec, m.o.Codec.names(nameOfPerson(subject)))
	for i := range out {
		if l, ok := m.known.Load(out[i].key); ok && l.(*live).lastSeen().After(out[i].Seen) {
			out[i].Seen = l.(*live).lastSeen()
		}
	}
	return out, err
}

// Revoke ends one of a person's sessions by its public id.
func (m *Manager) Revoke(ctx context.Context, subject, id string, why End) (found bool, err error) {
	n, err := m.endThose(ctx, nameOfPerson(subject), why, func(o Overview) bool { return o.ID == id && o.Subject == subject })
	return n > 0, err
}

// RevokeOthers ends all of a person's sessions but s.
func (m *Manager) RevokeOthers(ctx context.Context, s *Session, why End) (n int, err error) {
	who := s.Who()
	return m.endThose(ctx, nameOfPerson(who.Subject), why, func(o Overview) bool { return o.ID != who.SessionID && o.Subject == who.Subject })
}

// EndLogin ends the sessions that the provider means: of its own session where
// it names one (and of its subject, if it names that, too), else of its
// subject.
func (m *Manager) EndLogin(ctx context.Context, l Login, why End) (ended int, err error) {
	return m.endThose(ctx, nameOfLogin(l), why, func(o Overview) bool {
		return o.login.Issuer == l.Issuer && (l.Session == "" || o.login.Session == l.Session) && (l.Subject == "" || o.login.Subject == l.Subject)
	})
}

// endThose ends the listed sessions that match, as many as it can: an error
// means that some may live on.
func (m *Manager) endThose(ctx context.Context, text string, why End, match func(Overview) bool) (n int, err error) {
	found, err := list(ctx, m.st, m.o.Codec, m.o.Codec.names(text))
	if err != nil {
		return 0, err
	}
	for _, o := range found {
		if !match(o) {
			continue
		}
		first, e := m.endOne(ctx, o, why)
		if e != nil {
			err = e
		}
		if first {
			n++
		}
	}
	return n, err
}

// endOne ends a listed session: as its owner, if this process knows it.
func (m *Manager) endOne(ctx context.Context, o Overview, why End) (first bool, err error) {
	if v, ok := m.known.Load(o.key); ok {
		l := v.(*live)
		m.freshen(ctx, l)
		first, err = m.endFirst(ctx, l, why)
		if first {
			m.tellOf(l, why)
		}
		return first, err
	}
	first, err = m.st.End(ctx, o.key, Ended{Why: why, Orphaned: true})
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if first {
		m.metrics.ended.WithLabelValues(string(why)).Inc()
		if m.o.Ended != nil {
			m.o.Ended(&Identity{Subject: o.Subject, Username: o.Username, Method: o.Method, SessionID: o.ID}, why)
		}
	}
	return first, nil
}
