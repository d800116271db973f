package upstream

// What the first bytes of a WebSocket frame say (RFC 6455 §5.2).
const (
	finBit     = 0x80 // the first: the message's last frame
	opcodeBits = 0x0f // the first
	opClose    = 0x08
	maskBit    = 0x80 // the second: four bytes of masking key follow the length
	lengthBits = 0x7f // the second: the length itself, or
	length16   = 126  // two bytes of it follow
	length64   = 127  // eight bytes of it follow
	keySize    = 4
)

// frames follows a stream of WebSocket frames by their headers alone: where
// one ends and another may be put between. The zero value is the beginning.
type frames struct {
	have    uint8  // bytes of the header so far; 0 between frames
	length  uint8  // bytes of the header without the masking key, once have is 2
	size    uint8  // bytes of the header
	left    uint64 // bytes of the payload to come
	closing bool   // a Close frame has begun
}

// between reports whether no frame is under way.
func (f *frames) between() bool { return f.have == 0 }

// follow takes note of all of p.
func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		p = p[f.next(p):]
	}
}

// next takes note of p as far as the frame under way goes, or the one that
// begins there, and returns how far that is.
func (f *frames) next(p []byte) (n int) {
	for n < len(p) {
		if f.have < 2 || f.have < f.size {
			f.header(p[n])
			n++
		} else {
			part := min(f.left, uint64(len(p)-n)) // #nosec G115 -- n is at most len(p)
			f.left -= part
			n += int(part) // #nosec G115 -- at most len(p)
		}
		if f.have >= 2 && f.have == f.size && f.left == 0 {
			f.have = 0
			return n
		}
	}
	return n
}

// header takes note of the header's next byte.
func (f *frames) header(b byte) {
	switch {
	case f.have == 0:
		f.closing = f.closing || b&opcodeBits == opClose
	case f.have == 1:
		f.lengths(b)
	case f.have < f.length:
		f.left = f.left<<8 | uint64(b)
	}
	f.have++
}

// lengths reads the header's second byte.
func (f *frames) lengths(b byte) {
	f.length, f.left = 2, 0
	switch l := b & lengthBits; l {
	case length16:
		f.length += 2
	case length64:
		f.length += 8
	default:
		f.left = uint64(l)
	}
	if f.size = f.length; b&maskBit != 0 {
		f.size += keySize
	}
}
