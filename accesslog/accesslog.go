// Package accesslog writes records, one line each, to a file, stdout or stderr,
// without ever making the one who writes a record wait.
//
// Write copies a record into a buffer in memory; one goroutine for each Log
// writes what has gathered there, at most a tenth of a second later. When what
// is written to does not keep up (a full disk, a slow or vanished reader of a
// pipe), the buffer fills, and then records are dropped and counted. What the
// buffer holds is tried again until it is taken, so a disk that was full for a
// moment costs nothing.
//
// After the file was renamed, as logrotate does it, Reopen goes on in a new one;
// no record is lost or torn by that. Close writes what is left and must be called
// to end the goroutine. A file is appended to, so several processes may share
// one. Package accesslog does not rotate or sync.
//
// A Line puts a record together as JSON; AppendEscaped writes the texts of other
// formats. Both take what came from the network as it is, however hostile: a record
// stays one line, and a text in it bounded.
package accesslog

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// limit is the size in bytes of each of the two buffers.
	limit = 1 << 20
	// linger is how long records gather before they are written together.
	linger = 100 * time.Millisecond
	// closeTime bounds Close; its goroutine gives up a little earlier.
	closeTime, giveUpTime = time.Second, 800 * time.Millisecond
)

// Options are what a Log needs besides its path.
type Options struct {
	Logger *slog.Logger // told when writing begins to fail and when that is over; needed
}

// A Log takes records and writes them in order. Its methods may be called from
// any goroutine.
type Log struct {
	path   string
	logger *slog.Logger

	mu      sync.Mutex
	filling []byte    // records that the goroutine has not taken yet; guarded by mu
	closed  bool      // guarded by mu
	giveUp  time.Time // when to stop trying; written before stop is closed, read after

	dropped atomic.Int64
	wake    chan struct{} // holds one: there is something to take, or much
	next    chan int      // holds one: a descriptor to go on with; sent under mu
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the goroutine has ended
}

// Open opens a file, "stdout" or "stderr" for records and starts the goroutine
// that writes them. A file is created with mode 0640 when there is none, and
// appended to otherwise. The caller must Close the log.
func Open(path string, o Options) (*Log, error) {
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	l := &Log{
		path:    path,
		logger:  o.Logger,
		filling: make([]byte, 0, limit),
		wake:    make(chan struct{}, 1),
		next:    make(chan int, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	w := &writer{log: l, sink: newSink(fd)}
	go w.run()
	return l, nil
}

// Write takes one record, which ends with its newline and has no other. It
// copies the record and never blocks. A record for which the buffer has no room,
// or that comes after Close, is dropped.
func (l *Log) Write(record []byte) {
	l.mu.Lock()
	before := len(l.filling)
	after := before + len(record)
	if l.closed || after > limit {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	l.filling = append(l.filling, record...)
	l.mu.Unlock()
	if before == 0 || !pressing(before) && pressing(after) {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// pressing reports whether so many bytes are to be written without delay.
func pressing(gathered int) bool { return gathered >= limit/2 }

// Dropped returns how many records were dropped since Open: for want of room, or
// because Close could not write them in time.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Reopen opens the log's path anew and goes on there: every record written after
// Reopen has returned goes to the new file, those before it to either, none to
// both. The old file is closed after that. On an error, also that of a log that
// is closed, everything stays as it was. With stdout and stderr it does nothing.
func (l *Log) Reopen() error {
	if standard(l.path) >= 0 {
		return nil
	}
	fd, err := open(l.path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		unix.Close(fd)
		return fmt.Errorf("access log %q cannot be reopened: %w", l.path, errClosed)
	}
	select {
	case overtaken := <-l.next:
		unix.Close(overtaken)
	default:
	}
	l.next <- fd
	return nil
}

var errClosed = errors.New("it is closed")

// Close writes what is left, closes the file (never stdout or stderr) and ends
// the goroutine. It takes a second at most: what was not taken by then is
// dropped. It may be called more than once.
func (l *Log) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		l.giveUp = time.Now().Add(giveUpTime)
		close(l.stop)
	}
	l.mu.Unlock()
	// The kernel may hold on to a write for longer, and nobody can call it back.
	select {
	case <-l.done:
	case <-time.After(closeTime):
	}
}
