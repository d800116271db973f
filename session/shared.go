package session

import (
	"context"
	"errors"
	"time"
)

// Shared is a store that several processes keep sessions in at once. What it
// does to one session is one step for all of them, and what changes is told to
// all who Watch.
//
// As with Store, keys are hashes already and an error means that the store did
// not answer. A session it holds has a version that only ever rises: that is
// the fence which keeps a late writer's answer from replacing a newer one.
// Seen is kept to the millisecond. All methods are safe for concurrent use.
type Shared interface {
	Store

	// Load reads a session.
	Load(ctx context.Context, key string) (s Saved, found bool, err error)
	// Begin writes a new session for ttl (> 0), and lists it under each of the
	// names until ends, after which no list shows it whatever its ttl.
	// ErrExists means that the key is taken.
	Begin(ctx context.Context, key string, s Saved, ttl time.Duration, names []string, ends time.Time) error
	// Save replaces a session's value if the one there is older (s.Version
	// rises), gives up the claim on it, and tells of the change. With an owner,
	// only while that claim holds: what was made without presenting the refresh
	// token must not replace what was made with it. Saved tells
	// whether this state is there now: false, nil means that another one of this
	// version, or a newer one, is; found is false if the session is over, which
	// nothing brings back. Seen never goes backwards.
	Save(ctx context.Context, key string, s Saved, ttl time.Duration, owner string) (saved, found bool, err error)
	// Touch writes down that the session was used, without a word to anybody;
	// found is false if it is over.
	Touch(ctx context.Context, key string, seen time.Time, ttl time.Duration) (found bool, err error)
	// End ends a session and tells of it, unless it was used after the time
	// given (zero: whatever its use). ended is true for one caller: who really
	// ended it, or for none where an answer was lost. One that is not there is
	// told of all the same, for somebody may still remember it.
	End(ctx context.Context, key string, e Ended) (ended bool, err error)

	// Claim asks for the right to renew a session's tokens.
	Claim(ctx context.Context, key string, c Claim) (ClaimAnswer, error)
	// Extend makes a claim hold for longer, from now on. held is false if it is
	// another's now, or nobody's.
	Extend(ctx context.Context, key, owner string, hold time.Duration) (held bool, err error)
	// Release gives a claim up without a Save. If the token was spent for all
	// anyone knows, the session stays in doubt.
	Release(ctx context.Context, key, owner string, spent bool) error

	// List returns the sessions begun under a name that are not over, in no
	// order, at most a store's own limit (not below 10,000).
	List(ctx context.Context, name string) ([]Listed, error)
	// Once reports true to the first caller with a key, until ttl is over.
	Once(ctx context.Context, key string, ttl time.Duration) (first bool, err error)
	// Watch tells w of every change until ctx is done, connecting again by
	// itself whenever it must. Several may watch at once.
	Watch(ctx context.Context, w Watcher)
	// Writable is nil if a new session could be written now.
	Writable(ctx context.Context) error
}

// ErrExists: there is a session under that key already.
var ErrExists = errors.New("the key is taken")

// Saved is a session as a store has it.
type Saved struct {
	Value   []byte    // sealed by its owner's key
	Info    []byte    // what lists show of it; sealed by the deployment's keys. Written by Begin, not read by Load
	Version uint64    // from 1; below 2^53
	Seen    time.Time // its last use that was written down
}

// Ended says how a session ended.
type Ended struct {
	Why       End
	UnusedFor time.Time // end it only if it was not used after this; zero: in any case
	Orphaned  bool      // whoever ended it does not know its tokens: those who do give them back
}

// Listed is one session in a list.
type Listed struct {
	Key  string
	Info []byte
	Seen time.Time
}

// Claim asks for a session's renewal.
type Claim struct {
	Owner   string        // who asks; a new one for each try
	Version uint64        // of the session whose tokens are to be renewed
	Hold    time.Duration // for how long, unless extended
	Spend   bool          // the refresh token will be presented, which can be done but once
	Force   bool          // although it may have been presented before: there is nothing left to lose
	Durable bool          // an error rather than a claim which a store that keeps copies of itself might forget
}

// ClaimAnswer says what came of a Claim.
type ClaimAnswer struct {
	Outcome ClaimOutcome
	Wait    time.Duration // ClaimHeld: for how long at most unless its holder extends it
}

// ClaimOutcome is a closed set.
type ClaimOutcome int

// What can come of a claim.
const (
	ClaimGone    ClaimOutcome = iota // the session is over
	ClaimYours                       // go on; Save or Release ends it
	ClaimChanged                     // the session has another version: read it
	ClaimHeld                        // somebody else is at it
	ClaimDoubt                       // whoever was at it may have presented the token, and gave no Save: their answer may still come, so nobody else renews anything, Spend or not
)

// Note is one thing that happened to a session.
type Note struct {
	Key      string
	Version  uint64 // of a change
	Why      End    // of an end; empty for a change
	Orphaned bool   // see Ended
}

// Watcher is told what happens in a store. Its methods are called one at a
// time and must not block. Heard may be called shortly before Connected;
// Disconnected only follows a Connected.
type Watcher interface {
	// Connected: from now on every change is heard. What was read before may be
	// out of date.
	Connected()
	// Alive: the connection was seen to work, for everything that happened
	// before at.
	Alive(at time.Time)
	// Disconnected: changes may go unheard from now on.
	Disconnected(err error)
	// Heard: one change.
	Heard(n Note)
}
