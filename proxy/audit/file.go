package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// fileSink appends to a file that no other process appends to. Beside it, in a
// file of the same name with .head after it, stands where the chain has got to:
// what is cut off the end shows, and a new file goes on where the last ended.
type fileSink struct {
	name string
	f    *os.File
	part int64 // bytes at its end of a write that failed, which are to be taken away
}

// prior is what a file says about the lines before.
type prior struct {
	at      link
	torn    int   // bytes of a line cut short, which were taken away
	missing int64 // lines that were there, and are not

	tail    stretch // where there is a key
	unsound string  // why the chain cannot go on from it; empty: it can
}

// head is where a chain had got to, in the file beside it. Where there is a key
// it is signed: else who can write it could have a chain go on from lines of
// their own.
type head struct {
	Chain  string    `json:"chain"`
	Seq    int64     `json:"seq"`
	Hash   string    `json:"hash"`
	Time   time.Time `json:"time"`
	Closed bool      `json:"closed,omitempty"` // the program ended there
	Sig    []byte    `json:"sig,omitempty"`

	link link
}

const (
	headMost  = 4 << 10
	headWords = "anteroom audit head v1\n"
)

// signedText is what of it is signed.
func (h *head) signedText() []byte {
	return fmt.Appendf(nil, "%s%s %d %s %t", headWords, h.Chain, h.Seq, h.Hash, h.Closed)
}

func (h *head) signedBy(k ed25519.PublicKey) bool {
	return len(h.Sig) == ed25519.SignatureSize && ed25519.Verify(k, h.signedText(), h.Sig)
}

func headName(name string) string { return name + ".head" }

// openFile opens a file to append to, alone, and takes an unfinished line off
// its end: nobody was told that it was there. With key, what follows the last
// signature is looked at.
func openFile(name string, key ed25519.PrivateKey) (*fileSink, *prior, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the audit file: %w", err)
	}
	p, err := begin(f, name, key)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("opening the audit file %s: %w", name, err)
	}
	return &fileSink{name: name, f: f}, p, nil
}

func begin(f *os.File, name string, key ed25519.PrivateKey) (*prior, error) {
	if err := lock(f); err != nil {
		return nil, err
	}
	last, torn, size, err := tail(f)
	if err != nil {
		return nil, err
	}
	if torn > 0 {
		if err := f.Truncate(size); err != nil {
			return nil, err
		}
	}
	p := &prior{torn: torn}
	kept := readHead(name)
	foreign := kept != nil && key != nil && !kept.signedBy(key.Public().(ed25519.PublicKey))
	const notOurs = "what stands beside it has no signature of this key"
	if parsed, err := parseLine(last); err == nil {
		p.at = parsed.link
		if key != nil {
			if p.tail, p.unsound, err = unsignedTail(f, size, key.Public().(ed25519.PublicKey)); err != nil {
				return nil, err
			}
		}
		if kept != nil && kept.Chain == p.at.chain && kept.Seq > p.at.seq {
			p.missing, p.at = kept.Seq-p.at.seq, kept.link
			if foreign {
				p.unsound = notOurs
			}
		}
		return p, nil
	}
	if kept != nil {
		p.at = kept.link
		switch {
		case foreign:
			p.unsound = notOurs
		case !kept.Closed: // lines may have come after it
			p.unsound = "it was moved away, or its end made unreadable, before the program could end its chain"
		}
		return p, nil
	}
	if torn == 0 {
		return nil, nil
	}
	p.at = newLink()
	return p, nil
}

// tail is the last whole line of a file, how many bytes follow it, and where
// they begin.
func tail(f *os.File) (last []byte, torn int, size int64, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil, 0, 0, err
	}
	const most = 256 << 10 // far more than a line of ours
	from := max(0, info.Size()-most)
	b, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil {
		return nil, 0, 0, err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if end == 0 && from > 0 {
		return nil, 0, 0, errors.New("it does not end in lines")
	}
	whole := bytes.TrimSuffix(b[:end], []byte("\n"))
	return whole[bytes.LastIndexByte(whole, '\n')+1:], len(b) - end, from + int64(end), nil
}

func (s *fileSink) write(b *batch) error {
	if err := s.takeAway(); err != nil {
		return err
	}
	n, err := s.f.Write(b.text)
	if err != nil { // part of a line must not stay in front of the next
		s.part = int64(n)
		return errors.Join(err, s.takeAway())
	}
	switch err := s.f.Sync(); {
	case err == nil, notAFile(err):
		return nil
	default:
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
}

// takeAway takes what a failed write left off the end. Until that is done nothing
// is written. A file that somebody made shorter meanwhile is not made longer.
func (s *fileSink) takeAway() error {
	if s.part == 0 {
		return nil
	}
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	if end := info.Size() - s.part; end >= 0 {
		if err := s.f.Truncate(end); err != nil {
			return fmt.Errorf("part of a line is at its end, and stays: %w", err)
		}
	}
	s.part = 0
	return nil
}

func (s *fileSink) close() error { return s.f.Close() }

// keepHead writes down where the chain has got to, signed where there is a key.
func (s *fileSink) keepHead(at link, closed bool, now time.Time, key ed25519.PrivateKey) error {
	h := head{Chain: at.chain, Seq: at.seq, Hash: hashText.EncodeToString(at.hash[:]), Time: now, Closed: closed}
	if key != nil {
		h.Sig = ed25519.Sign(key, h.signedText())
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(s.name), ".audit-head-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), headName(s.name))
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}

// readHead reads that; nil where it cannot be used.
func readHead(name string) *head {
	f, err := os.Open(headName(name))
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, headMost))
	var h head
	if err != nil || json.Unmarshal(text, &h) != nil || h.Seq < 1 || !chainName(h.Chain) {
		return nil
	}
	sum, err := hashText.DecodeString(h.Hash)
	if err != nil || len(sum) != len(h.link.hash) {
		return nil
	}
	h.link = link{chain: h.Chain, seq: h.Seq, hash: [32]byte(sum)}
	return &h
}

// notAFile reports whether a sync failed because there is nothing to sync: a
// pipe, or a device.
func notAFile(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && unsyncable(p.Err)
}

// sameFile reports whether the file still has its name.
func (s *fileSink) sameFile() (bool, error) {
	open, err := s.f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(s.name)
	return err == nil && os.SameFile(open, named), err
}
