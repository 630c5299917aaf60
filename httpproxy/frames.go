package httpproxy

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	opcodeClose = 0x8
	goingAway   = 1001 // the status of a Close frame (RFC 6455, section 7.4.1)
)

// frames follows the frames of a WebSocket (RFC 6455, section 5.2) in one direction,
// however its bytes are cut, to know where one ends. It judges none of them: one that
// is malformed has an end somewhere too, or never comes to it.
type frames struct {
	left     uint64 // bytes of the payload to come
	length   uint64 // of the payload, as far as the head has told
	came     uint8  // bytes of the head; 0: none
	lengthTo uint8  // the byte of the head that the length ends with,
	headTo   uint8  // and that the head does; known from the second on
	closes   uint8  // 1: it is a Close frame
	closed   uint8  // 1: a whole one has passed
}

// pass takes what comes next.
func (f *frames) pass(b []byte) {
	for len(b) > 0 {
		used := uint64(1)
		if f.left > 0 {
			used = min(f.left, uint64(len(b)))
			f.left -= used
		} else {
			f.head(b[0])
		}
		b = b[used:]
		if f.between() {
			f.closed |= f.closes
		}
	}
}

// between reports whether the last frame has ended and no other one begun.
func (f *frames) between() bool { return f.came == 0 && f.left == 0 }

// head takes a byte of a frame's head.
func (f *frames) head(c byte) {
	f.came++
	switch {
	case f.came == 1:
		f.length, f.closes = 0, 0
		if c&0x0f == opcodeClose {
			f.closes = 1
		}
		return
	case f.came == 2:
		f.measure(c)
	case f.came <= f.lengthTo:
		f.length = f.length<<8 | uint64(c)
	}
	if f.came == f.headTo {
		f.left, f.came = f.length, 0
	}
}

// measure takes the byte that tells how long the rest of the head is.
func (f *frames) measure(c byte) {
	f.lengthTo = 2
	switch short := c & 0x7f; short {
	case 126:
		f.lengthTo += 2
	case 127:
		f.lengthTo += 8
	default:
		f.length = uint64(short)
	}
	if f.headTo = f.lengthTo; c&0x80 != 0 {
		f.headTo += 4 // the key of the mask
	}
}

// appendClose appends a Close frame that says who sends it is going away, masked as
// those to a server have to be.
func appendClose(dst []byte, masked bool) []byte {
	const final, mask, length = 0x80, 0x80, 2
	if !masked {
		return binary.BigEndian.AppendUint16(append(dst, final|opcodeClose, length), goingAway)
	}
	key := rand.Uint32()
	dst = binary.BigEndian.AppendUint32(append(dst, final|opcodeClose, mask|length), key)
	return binary.BigEndian.AppendUint16(dst, goingAway^uint16(key>>16))
}
