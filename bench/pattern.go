package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// All payloads are parts of one pseudo-random text, repeated for ever. A
// receiver knows from the offset what must come next, so a byte that was lost,
// doubled, changed or moved shows, at the cost of one comparison of memory.
const (
	patternSize = 1 << 20
	chunkSize   = 256 << 10 // the most that is read or written at a time
)

// pattern is longer than its period by a chunk, so that a chunk can begin anywhere.
var pattern = makePattern()

func makePattern() []byte {
	text := make([]byte, patternSize+chunkSize)
	random := rand.NewChaCha8([32]byte([]byte("a text that is the same each run")))
	if _, err := random.Read(text[:patternSize]); err != nil {
		panic("the generator of math/rand/v2 never fails: " + err.Error())
	}
	copy(text[patternSize:], text)
	return text
}

// patternAt returns what a stream carries from offset on, at most a chunk of it.
func patternAt(offset int64) []byte {
	start := offset % patternSize
	return pattern[start : start+chunkSize]
}

// verify reports bytes, at most a chunk, that are not what a stream carries at offset.
func verify(got []byte, offset int64) error {
	if !bytes.Equal(got, patternAt(offset)[:len(got)]) {
		return fmt.Errorf("wrong bytes between offset %d and %d of the stream", offset, offset+int64(len(got)))
	}
	return nil
}
