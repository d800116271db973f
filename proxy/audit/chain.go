package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// The end of a line, after the event's own members:
//
//	,"chain":"4f1d2a8c09be77aa","seq":12,"hash":"…"}
//
// hash is base64url of SHA-256 over the 32 bytes of the hash before (zero for
// none) and the line up to the comma before "hash". A signed line has a further
// member after it, sig: Ed25519 over signedWords and that hash.
const (
	hashMember  = `,"hash":"`
	sigMember   = `","sig":"`
	signedWords = "anteroom audit chain v1\n"
)

var hashText = base64.RawURLEncoding

// link is where a chain has got to.
type link struct {
	chain string // names it: 16 hexadecimal digits
	seq   int64  // of the last line; 0: there is none
	hash  [sha256.Size]byte
}

// chainBytes is the length of a chain's name, before it is written in
// hexadecimal.
const chainBytes = 8

// chainName reports whether a text can be one.
func chainName(text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == chainBytes
}

// newLink begins a chain.
func newLink() link {
	var b [chainBytes]byte
	rand.Read(b[:])
	return link{chain: hex.EncodeToString(b[:])}
}

// over is the hash of the next line, of which text is all before its hash.
func (l *link) over(text []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(l.hash[:])
	h.Write(text)
	h.Sum(sum[:0])
	return sum
}

// add appends an event's line to b. event is its JSON without the last brace.
// With key it is signed.
func (l *link) add(b, event []byte, key ed25519.PrivateKey) []byte {
	from := len(b)
	b = append(b, event...)
	b = append(b, `,"chain":"`...)
	b = append(b, l.chain...)
	b = append(b, `","seq":`...)
	l.seq++
	b = strconv.AppendInt(b, l.seq, 10)
	l.hash = l.over(b[from:])
	b = append(b, hashMember...)
	b = hashText.AppendEncode(b, l.hash[:])
	if key != nil {
		b = append(b, sigMember...)
		b = hashText.AppendEncode(b, ed25519.Sign(key, signedText(l.hash)))
	}
	return append(b, '"', '}', '\n')
}

func signedText(hash [sha256.Size]byte) []byte { return append([]byte(signedWords), hash[:]...) }

// mark is a line that the stream says of itself.
type mark struct {
	Time  time.Time `json:"time"`
	Kind  Kind      `json:"event"`
	Prev  string    `json:"prev,omitempty"`  // hash that an opening goes on from
	Torn  int       `json:"torn,omitempty"`  // bytes of a line cut short by a crash, which were taken away
	Key   string    `json:"key,omitempty"`   // of the signature, or of those to come
	Count int       `json:"count,omitempty"` // of events lost

	Unsigned int    `json:"unsigned,omitempty"` // lines that an opening found after the last signature
	Instead  string `json:"instead,omitempty"`  // chain that an opening does not go on from: those lines cannot be ours
}

// add appends a mark's line to b.
func (m mark) add(l *link, b []byte, key ed25519.PrivateKey) []byte {
	if key != nil {
		m.Key = keyID(key.Public().(ed25519.PublicKey))
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // of plain values
	}
	if m.Kind != Checkpoint && m.Kind != Closed {
		key = nil
	}
	return l.add(b, text[:len(text)-1], key)
}
