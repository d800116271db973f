package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"
)

// Finding is something that is not as it was written.
type Finding struct {
	File    string
	Line    int // from 1; 0: of the file as a whole
	Problem string
}

func (f Finding) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Problem
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Problem)
}

// Report is what Verify found.
type Report struct {
	Lines       int
	First       time.Time     // of the first line
	Last        time.Time     // of the last
	Sequence    int64         // of the last line
	Signed      int           // signatures that hold
	Unsigned    int           // lines after the last of them, of all chains
	UnsignedFor time.Duration // between the first and the last of them, of the chain with most
	Before      int64         // lines that chains go on from, and that are in none of the files: rotated away, or taken
	Resumed     int           // lines that a start found unsigned after the program was killed, and signed
	Unended     int           // times that writing began anew without having ended: the process was killed
	Findings    []Finding     // the first hundred; empty: all is as it was written
	FindCount   int           // all of them
}

const mostFindings = 100

// Proof is what Verify holds files against.
type Proof struct {
	Keys     []ed25519.PublicKey // whose signatures count; none: signatures are not looked at
	Sequence int64               // number that the last line must at least have, as a metric or another place knows it; 0: any
}

// Verify reads files of audit lines, also gzipped ones, in the order of what is
// in them, and finds every line that was changed, moved, repeated or taken out.
// Beside a file it looks for where its chain had got to. The error is of reading.
func Verify(files []string, p Proof) (*Report, error) {
	v := &verifier{proof: p, at: map[string]*link{}, report: &Report{}, tails: map[string]*remainder{}, open: map[string]bool{}}
	ordered, err := inOrder(files)
	if err != nil {
		return nil, err
	}
	for _, name := range ordered {
		if err := v.file(name); err != nil {
			return nil, err
		}
	}
	v.ends(ordered)
	return v.report, nil
}

// verifier goes through lines.
type verifier struct {
	proof  Proof
	report *Report
	at     map[string]*link      // by chain
	tails  map[string]*remainder // by chain
	open   map[string]bool       // chains that began and did not end
	name   string
	line   int
}

// remainder is the lines of a chain after its last signature.
type remainder struct {
	stretch
	told   bool // that it is too long
	signed bool // a signature before it holds
}

func (v *verifier) find(format string, args ...any) {
	v.report.FindCount++
	if len(v.report.Findings) < mostFindings {
		v.report.Findings = append(v.report.Findings, Finding{v.name, v.line, fmt.Sprintf(format, args...)})
	}
}

func (v *verifier) file(name string) error {
	v.name, v.line = name, 0
	return EachLine(name, func(text []byte, whole bool) error {
		v.line++
		v.report.Lines++
		if !whole {
			v.find("the last line is cut short")
			return nil
		}
		l, err := parseLine(text)
		if err != nil {
			v.find("is no line of an audit chain: %v", err)
			return nil
		}
		v.check(l)
		return nil
	})
}

// check holds a line against the one before it in its chain.
func (v *verifier) check(l *parsed) {
	if v.report.First.IsZero() {
		v.report.First = l.Time
	}
	v.report.Last, v.report.Sequence = l.Time, l.link.seq
	before := v.at[l.link.chain]
	switch {
	case before == nil:
		before = v.first(l)
	case l.link.seq == before.seq+2:
		v.find("the line before this one is missing (%d)", before.seq+1)
		before = nil
	case l.link.seq > before.seq+1:
		v.find("%d before this one are missing (%d to %d)", l.link.seq-before.seq-1, before.seq+1, l.link.seq-1)
		before = nil
	case l.link.seq <= before.seq:
		v.find("line %d comes after line %d: it was moved, or is there twice", l.link.seq, before.seq)
		return
	}
	if before != nil && before.over(l.before) != l.link.hash {
		v.find("was changed, or the one before it was")
	}
	v.at[l.link.chain] = &l.link
	v.marks(l)
}

// first is what a chain begins with; nil where that cannot be told.
func (v *verifier) first(l *parsed) *link {
	if l.link.seq == 1 {
		return &link{chain: l.link.chain}
	}
	if l.Kind == Opened {
		if sum, err := hashText.DecodeString(l.Prev); err == nil && len(sum) == len(l.link.hash) {
			v.report.Before += l.link.seq - 1
			return &link{chain: l.link.chain, seq: l.link.seq - 1, hash: [32]byte(sum)}
		}
	}
	v.find("the chain begins in the middle: lines before this one are missing")
	return nil
}

// marks looks at what the stream says of itself.
func (v *verifier) marks(l *parsed) {
	chain := l.link.chain
	v.count(l)
	switch l.Kind {
	case Opened:
		if v.open[chain] {
			v.report.Unended++
		}
		if l.Instead == "" {
			v.report.Resumed += l.Unsigned
		}
		v.open[chain] = true
		return
	case Closed:
		v.open[chain] = false
	case Checkpoint:
	default:
		return
	}
	if len(v.proof.Keys) == 0 {
		return
	}
	if !slices.ContainsFunc(v.proof.Keys, l.signedBy) {
		v.find("the signature does not hold, or is of another key (%.40q)", l.Key)
		return
	}
	v.report.Signed++
	v.tails[chain] = &remainder{signed: true}
}

// count counts a line as unsigned, and finds more of those in a row than the
// program leaves.
func (v *verifier) count(l *parsed) {
	at := v.tails[l.link.chain]
	if at == nil {
		at = new(remainder)
		v.tails[l.link.chain] = at
	}
	at.add(l, false)
	if problem := at.problem(mostUnsigned); problem != "" && !at.told && len(v.proof.Keys) > 0 {
		at.told = true
		v.find("%s", problem)
	}
}

// ends looks at how the chains end.
func (v *verifier) ends(files []string) {
	v.line = 0
	for _, name := range files {
		v.name = name
		h := readHead(name)
		if h == nil {
			continue
		}
		switch at := v.at[h.Chain]; {
		case len(v.proof.Keys) > 0 && !slices.ContainsFunc(v.proof.Keys, h.signedBy):
			v.find("what stands beside it (%s) has no signature that holds, or one of another key", headName(name))
		case at == nil:
			v.find("line %d of chain %s had been written, and no line of it is here: it was cut off, or the file exchanged", h.Seq, h.Chain)
		case at.seq < h.Seq:
			v.find("ends with line %d, but line %d had been written: its end was cut off", at.seq, h.Seq)
		}
	}
	if p := v.proof.Sequence; p > v.report.Sequence {
		v.find("ends with line %d, but line %d had been written: its end was cut off", v.report.Sequence, p)
	}
	for _, chain := range slices.Sorted(maps.Keys(v.tails)) {
		at := v.tails[chain]
		v.report.Unsigned += at.lines
		v.report.UnsignedFor = max(v.report.UnsignedFor, at.span())
		if len(v.proof.Keys) > 0 && !at.signed {
			v.find("no signature holds: chain %s says nothing", chain)
		}
	}
	if v.report.Lines == 0 {
		v.find("there is no line")
	}
}

// parsed is a line as it was read.
type parsed struct {
	mark
	link   link
	before []byte // all before the hash
	sig    []byte
}

// signs reports whether it is a line that has a signature.
func (p *parsed) signs() bool { return p.sig != nil && (p.Kind == Checkpoint || p.Kind == Closed) }

func (p *parsed) signedBy(k ed25519.PublicKey) bool {
	return len(p.sig) == ed25519.SignatureSize && ed25519.Verify(k, signedText(p.link.hash), p.sig)
}

// errNoHash is a line that is in no chain.
var errNoHash = errors.New("it has no hash")

// parseLine reads a line without its newline.
func parseLine(text []byte) (*parsed, error) {
	var p struct {
		mark
		Chain string `json:"chain"`
		Seq   int64  `json:"seq"`
		Hash  string `json:"hash"`
		Sig   string `json:"sig"`
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, errors.New("it is no JSON")
	}
	at := bytes.LastIndex(text, []byte(hashMember))
	if at < 0 {
		return nil, errNoHash
	}
	out := &parsed{mark: p.mark, before: text[:at], link: link{chain: p.Chain, seq: p.Seq}}
	sum, err := hashText.DecodeString(p.Hash)
	if err != nil || len(sum) != len(out.link.hash) || !chainName(p.Chain) || p.Seq < 1 {
		return nil, errNoHash
	}
	copy(out.link.hash[:], sum)
	if p.Sig != "" {
		if out.sig, err = hashText.DecodeString(p.Sig); err != nil {
			return nil, errors.New("its signature is no base64")
		}
	}
	end := hashMember + p.Hash
	if p.Sig != "" {
		end += sigMember + p.Sig
	}
	if string(text[at:]) != end+`"}` {
		return nil, errors.New("something follows its hash")
	}
	return out, nil
}

// lineMost is the longest line that is read, in bytes; ours are far shorter.
const lineMost = 1 << 20

// EachLine calls f with every line of a file, which may be gzipped. whole is
// false of a last line that has no end.
func EachLine(name string, f func(text []byte, whole bool) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		in = bufio.NewReaderSize(z, 64<<10)
	}
	var long []byte
	for {
		part, err := in.ReadSlice('\n')
		long = append(long, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if len(long) > lineMost {
				return fmt.Errorf("%s: a line is longer than %d bytes: this is no audit log", name, lineMost)
			}
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("%s: %w", name, err)
		case len(long) > 0:
			if err := f(bytes.TrimSuffix(long, []byte("\n")), err == nil); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
		long = long[:0]
	}
}

// inOrder sorts files by their first line's place in its chain, so that rotated
// ones can be named in any order.
func inOrder(files []string) ([]string, error) {
	type first struct {
		name string
		seq  int64
		time time.Time
	}
	var all []first
	for _, name := range files {
		f := first{name: name}
		err := EachLine(name, func(text []byte, _ bool) error {
			if p, err := parseLine(text); err == nil {
				f.seq, f.time = p.link.seq, p.Time
			}
			return errEnough
		})
		if err != nil && !errors.Is(err, errEnough) {
			return nil, err
		}
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b first) int {
		if c := a.time.Compare(b.time); c != 0 {
			return c
		}
		return int(a.seq - b.seq)
	})
	var names []string
	for _, f := range all {
		names = append(names, f.name)
	}
	return names, nil
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")
