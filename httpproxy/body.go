package httpproxy

import (
	"bufio"
	"errors"
	"io"
	"net/http/httputil"
	"strconv"
	"sync"
)

const (
	pieceSize  = 32 << 10
	chunkStart = 8 // room for a chunk's size line
	maxTrailer = 8 << 10
)

var errTrailer = errors.New("the trailer section is malformed or too large")

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// newBody returns the body of a head that was read from br: as long as length
// says, or until the connection ends. It ends in io.EOF only when it is whole.
func newBody(br *bufio.Reader, length int64) io.Reader {
	switch {
	case length == lengthChunked:
		return &chunkedBody{br: br, chunks: httputil.NewChunkedReader(br)}
	case length >= 0:
		return &fixedBody{br: br, left: length}
	}
	return br
}

type fixedBody struct {
	br   *bufio.Reader
	left int64
}

// Read returns io.EOF together with the last bytes.
func (b *fixedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.br.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunkedBody drops the trailer section, as RFC 9110, section 6.5.1 allows.
type chunkedBody struct {
	br     *bufio.Reader
	chunks io.Reader
}

func (b *chunkedBody) Read(p []byte) (int, error) {
	n, err := b.chunks.Read(p)
	if err == io.EOF {
		err = b.skipTrailer()
	}
	return n, err
}

func (b *chunkedBody) skipTrailer() error {
	for size := 0; size < maxTrailer; {
		line, err := b.br.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err == bufio.ErrBufferFull:
			return errTrailer
		case err != nil:
			return err
		case len(line) < 2 || line[len(line)-2] != '\r':
			return errTrailer
		case len(line) == 2:
			return io.EOF
		}
		size += len(line)
	}
	return errTrailer
}

// copyBody passes a body on piece by piece, as it comes. It flushes what dst
// holds already (the head) with the first piece, or before it would have to
// wait for one. ended, if any, is called when the body has come to its end and
// before the last of it is written; br belongs to the callee from then on. On
// an error the body is left without an end.
func copyBody(dst *bufio.Writer, br *bufio.Reader, length int64, chunked bool, ended func()) (srcErr, dstErr error) {
	src := newBody(br, length)
	buffer := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(buffer)
	if br.Buffered() == 0 && length != 0 {
		if err := dst.Flush(); err != nil {
			return nil, err
		}
	}
	for {
		n, err := src.Read(buffer[chunkStart : pieceSize-2])
		if err == io.EOF && ended != nil {
			ended()
		}
		if n > 0 {
			dst.Write(piece(buffer, n, chunked))
		}
		if err == io.EOF && chunked {
			dst.WriteString("0\r\n\r\n")
		}
		if err := dst.Flush(); err != nil {
			return nil, err
		}
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// piece returns the n bytes read into buffer, as a chunk if asked to.
func piece(buffer *[pieceSize]byte, n int, chunked bool) []byte {
	if !chunked {
		return buffer[chunkStart : chunkStart+n]
	}
	var line [chunkStart]byte
	size := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
	copy(buffer[chunkStart-len(size):], size)
	copy(buffer[chunkStart+n:], "\r\n")
	return buffer[chunkStart-len(size) : chunkStart+n+2]
}
