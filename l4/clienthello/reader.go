package clienthello

import "fmt"

// reader reads a handshake message out of the records that carry it. Its methods
// go forward; their error is ErrIncomplete where the bytes end.
type reader struct {
	b      []byte
	next   int // the byte of b that is next
	record int // how many bytes the current record has left
	at     int // how many bytes of handshake have been read
	end    int // where the innermost structure being read ends, counted like at
}

// byte reads one byte of handshake.
func (r *reader) byte() (byte, error) {
	if r.at == r.end {
		return 0, fmt.Errorf("the ClientHello ends within a field, after %d bytes", r.at)
	}
	if r.record == 0 {
		if err := r.header(); err != nil {
			return 0, err
		}
	}
	if r.next == len(r.b) {
		return 0, ErrIncomplete
	}
	c := r.b[r.next]
	r.next++
	r.record--
	r.at++
	return c, nil
}

// header reads the header of a record, RFC 8446 section 5.1. What is in it must
// be handshake: nothing else may come within a message.
func (r *reader) header() error {
	h := r.b[r.next:]
	h = h[:min(len(h), recordHeader)]
	if len(h) > 0 && h[0] != recordHandshake {
		return fmt.Errorf("a record of type %d is within the ClientHello; want %d, handshake", h[0], recordHandshake)
	}
	if len(h) > 1 && h[1] != versionMajor {
		return fmt.Errorf("a record of version %d.x is within the ClientHello; want %d.x", h[1], versionMajor)
	}
	if len(h) < recordHeader {
		return ErrIncomplete
	}
	size := int(h[3])<<8 | int(h[4])
	if size == 0 || size > maxRecord {
		return fmt.Errorf("a record of the ClientHello has %d bytes; want 1 to %d", size, maxRecord)
	}
	r.next += recordHeader
	r.record = size
	return nil
}

// number reads a number of so many bytes.
func (r *reader) number(bytes int) (int, error) {
	n := 0
	for range bytes {
		c, err := r.byte()
		if err != nil {
			return 0, err
		}
		n = n<<8 | int(c)
	}
	return n, nil
}

// length reads the length of what, a number of so many bytes that must be from
// least to most and fit into the structure around it.
func (r *reader) length(bytes, least, most int, what string) (int, error) {
	n, err := r.number(bytes)
	if err != nil {
		return 0, err
	}
	if n < least || n > most {
		return 0, fmt.Errorf("%s of %d bytes in the ClientHello; want %d to %d", what, n, least, most)
	}
	if n > r.end-r.at {
		return 0, fmt.Errorf("%s of %d bytes in the ClientHello; only %d are left", what, n, r.end-r.at)
	}
	return n, nil
}

// skip passes over n bytes, which a length has promised.
func (r *reader) skip(n int) error {
	for n > 0 {
		if r.record == 0 {
			if err := r.header(); err != nil {
				return err
			}
		}
		step := min(n, r.record, len(r.b)-r.next)
		if step == 0 {
			return ErrIncomplete
		}
		r.next += step
		r.record -= step
		r.at += step
		n -= step
	}
	return nil
}

// vector skips a field that begins with its length.
func (r *reader) vector(bytes, least, most int, what string) error {
	n, err := r.length(bytes, least, most, what)
	if err != nil {
		return err
	}
	return r.skip(n)
}
