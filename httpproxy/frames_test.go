package httpproxy

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// frame returns a frame with a payload of n bytes; a mask of its key.
func frame(opcode byte, n int, masked bool) []byte {
	return frameOfLength(opcode, n, masked, n)
}

// frameOfLength says that the payload is another length than it is.
func frameOfLength(opcode byte, n int, masked bool, says int) []byte {
	b, mask := []byte{0x80 | opcode}, byte(0)
	if masked {
		mask = 0x80
	}
	switch {
	case says < 126:
		b = append(b, mask|byte(says))
	case says < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(says))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(says))
	}
	if masked {
		b = append(b, 0xff, 0xfe, 0xfd, 0xfc)
	}
	return append(b, bytes.Repeat([]byte{0x88}, n)...) // which looks like the beginning of a Close frame
}

// TestFramesAreFollowed: whatever the cuts, the ends of frames are known, and only a
// whole Close frame counts as one.
func TestFramesAreFollowed(t *testing.T) {
	t.Parallel()
	for _, masked := range []bool{false, true} {
		var f frames
		for _, n := range []int{0, 1, 5, 125, 126, 127, 1 << 8, 1<<16 - 1, 1 << 16, 100_000} {
			b := frame(2, n, masked)
			for i := range b {
				if i > 0 && f.between() {
					t.Fatalf("masked %v, %d bytes: between frames after %d of %d", masked, n, i, len(b))
				}
				f.pass(b[i : i+1])
			}
			if !f.between() || f.closed != 0 {
				t.Fatalf("masked %v, %d bytes: %+v at the end", masked, n, f)
			}
			f.pass(append(bytes.Clone(b), b...))
			if !f.between() {
				t.Fatalf("masked %v, %d bytes, twice at once: %+v", masked, n, f)
			}
		}
		b := frame(opcodeClose, 2, masked)
		for i := range b {
			if f.closed != 0 {
				t.Fatalf("closed after %d of %d bytes", i, len(b))
			}
			f.pass(b[i : i+1])
		}
		f.pass(nil)
		if f.closed == 0 || !f.between() {
			t.Fatalf("not closed: %+v", f)
		}
	}
}

// TestEndlessFrame: a length that no message has keeps the place between two frames
// from ever coming, and nothing else.
func TestEndlessFrame(t *testing.T) {
	t.Parallel()
	var f frames
	f.pass([]byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	for range 3 {
		if f.pass(make([]byte, 1<<16)); f.between() {
			t.Fatal("an end of a frame of 2⁶⁴ bytes")
		}
	}
}

// modelFrames reads all bytes anew.
func modelFrames(b []byte) (between, closed bool) {
	for len(b) > 0 {
		if len(b) < 2 {
			return false, closed
		}
		head, n := 2, uint64(b[1]&0x7f)
		if b[1]&0x80 != 0 {
			head += 4
		}
		switch {
		case n == 126 && len(b) >= 4:
			head, n = head+2, uint64(binary.BigEndian.Uint16(b[2:]))
		case n == 127 && len(b) >= 10:
			head, n = head+8, binary.BigEndian.Uint64(b[2:])
		case n > 125:
			return false, closed
		}
		if len(b) < head || uint64(len(b)-head) < n {
			return false, closed
		}
		closed = closed || b[0]&15 == 8
		b = b[uint64(head)+n:]
	}
	return true, closed
}

func FuzzFrames(f *testing.F) {
	f.Add(bytes.Join([][]byte{frame(1, 5, true), frame(9, 0, false), frame(2, 300, true), frame(8, 2, true)}, nil), uint64(1))
	f.Add(append(frame(2, 70_000, false), 0x88, 0x82, 1, 2), uint64(2))
	f.Add(frameOfLength(2, 9, false, 10), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		var frames frames
		for at := 0; at < len(b); {
			n := 1 + random.IntN(min(len(b)-at, 1<<random.IntN(12)))
			frames.pass(b[at : at+n])
			at += n
			if between, closed := modelFrames(b[:at]); frames.between() != between || (frames.closed != 0) != closed {
				t.Fatalf("after %d of %q: %+v, want between %v, closed %v", at, b, frames, between, closed)
			}
		}
	})
}

// TestCloseFrames are understood by a WebSocket library, on either side.
func TestCloseFrames(t *testing.T) {
	t.Parallel()
	for range 20 {
		b := appendClose(nil, true)
		if b[0] != 0x88 || b[1] != 0x82 || len(b) != 8 {
			t.Fatalf("got %x", b)
		}
		if code := [2]byte{b[6] ^ b[2], b[7] ^ b[3]}; code != [2]byte{0x03, 0xe9} {
			t.Errorf("%x says %x", b, code)
		}
	}
	if b := appendClose(nil, false); !bytes.Equal(b, []byte{0x88, 2, 0x03, 0xe9}) {
		t.Errorf("got %x", b)
	}
}

func BenchmarkFrames(b *testing.B) {
	small := bytes.Repeat(frame(2, 64, true), 100)
	large := frame(2, 64<<10, true)
	for name, input := range map[string][]byte{"small": small, "large": large} {
		b.Run(name, func(b *testing.B) {
			var f frames
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			for b.Loop() {
				f.pass(input)
			}
		})
	}
}
