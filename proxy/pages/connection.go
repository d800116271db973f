package pages

import "time"

// Connection is the part of the account page about what the person let this
// site do at Nextcloud for them.
type Connection struct {
	Standing   Standing
	Login      string // Connected: the name they granted it under
	Since      time.Time
	Connect    string // where the form to connect is posted to
	Disconnect string // and the form to disconnect
}

// Standing says whether somebody is connected.
type Standing int

// The zero value says nothing: there is no such part of the page.
const (
	Unoffered Standing = iota
	Unconnected
	Connected
	Unreachable // nobody can tell at the moment
	BySignIn    // not connected, and the sign-in itself opens the same in a browser
)

// Connected and Unconnected are what the template asks.
func (c Connection) Connected() bool   { return c.Standing == Connected }
func (c Connection) Unconnected() bool { return c.Standing == Unconnected || c.Standing == BySignIn }

// Key names the text for who is not connected.
func (c Connection) Key() string {
	if c.Standing == BySignIn {
		return "connection.by_sign_in"
	}
	return "connection.unconnected"
}

// Connecting leads a person to Nextcloud, in a tab of its own, and waits for
// what they do there: the page looks at its own address for what has come of
// it, by itself. Without script it is loaded again.
type Connecting struct {
	Stage    Stage
	Login    string    // WaitingForGrant: where it is granted
	Ends     time.Time // WaitingForGrant: until when
	Away     bool      // WaitingForGrant: Nextcloud did not answer just now
	Left     bool      // GrantedByAnother: it is not taken back at Nextcloud
	Here     string    // this page
	Again    string    // where the form to start again is posted to
	Back     string    // where no leads
	Settings string    // where Nextcloud lists what was granted
}

// Stage is how far connecting has come.
type Stage int

// The stages.
const (
	WaitingForGrant Stage = iota
	WaitingForCheck       // it is granted; Nextcloud does not say by whom
	GrantedByAnother
	NotAccepted // Nextcloud refuses what it gave
)

// Waits reports whether the page changes by itself.
func (c Connecting) Waits() bool { return c.Stage == WaitingForGrant || c.Stage == WaitingForCheck }

// State is the stage as programs read it, and the page's own script.
func (c Connecting) State() string {
	return [...]string{"pending", "checking", "refused", "dead"}[c.Stage]
}

// Disconnected is for a person who has something left to do at Nextcloud.
type Disconnected struct {
	Settings string // where Nextcloud lists what was granted
	Back     string // the account page
}

func (Connecting) name() string   { return "connecting" }
func (Disconnected) name() string { return "disconnected" }

func (c Connecting) topic() string { return "connecting." + c.State() }
func (Disconnected) topic() string { return "disconnected" }
