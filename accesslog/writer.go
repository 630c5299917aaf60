package accesslog

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"
)

// retryDelay is how long a write that failed is not tried again, unless the log
// is reopened or closed.
const retryDelay = 250 * time.Millisecond

// A writer is the goroutine of a Log and what only that may touch.
type writer struct {
	log     *Log
	sink    sink
	batch   []byte // what is being written
	written int    // of batch
	failing bool   // the latest write failed, and that was told
}

// run writes what gathers until Close.
func (w *writer) run() {
	l := w.log
	defer close(l.done)
	defer w.closeSinks()
	w.batch = make([]byte, 0, limit)
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for w.gather(timer) {
		w.take()
		w.writeBatch()
	}
	w.take()
	w.writeBatch()
}

// gather waits until there are records and more of them have had time to come.
// It reports false when the log is being closed.
func (w *writer) gather(timer *time.Timer) bool {
	l := w.log
	for waiting := true; waiting; {
		select {
		case <-l.wake:
			waiting = false
		case fd := <-l.next:
			w.moveTo(fd)
		case <-l.stop:
			return false
		}
	}
	// A wake-up that found the first one not yet taken was lost.
	l.mu.Lock()
	now := pressing(len(l.filling))
	l.mu.Unlock()
	if now {
		return true
	}
	timer.Reset(linger)
	select {
	case <-l.wake:
	case <-timer.C:
	case <-l.stop:
	}
	return true
}

// take exchanges the buffer that was written for the one that has filled.
func (w *writer) take() {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.batch, w.log.filling = w.log.filling, w.batch[:0]
	w.written = 0
}

// writeBatch writes the batch. It comes back when all of it was taken, or when
// the log is being closed and the rest will not be taken in time.
func (w *writer) writeBatch() {
	for w.written < len(w.batch) {
		select {
		case fd := <-w.log.next:
			w.moveTo(fd)
		default:
		}
		n, err := w.sink.write(w.batch[w.written:])
		w.written += n
		w.tell(n, err)
		if w.written < len(w.batch) && !w.goOn(err) {
			w.log.dropped.Add(int64(bytes.Count(w.batch[w.written:], []byte("\n"))))
			return
		}
	}
}

// goOn reports whether a batch is to be written on, after a delay when err says
// that this would be of no use at once.
func (w *writer) goOn(err error) bool {
	l := w.log
	select {
	case <-l.stop:
		return err == nil && time.Now().Before(l.giveUp)
	default:
	}
	if err == nil {
		return true
	}
	select {
	case fd := <-l.next:
		w.moveTo(fd)
	case <-time.After(retryDelay):
	case <-l.stop:
	}
	return true
}

// tell logs the beginning and the end of a failure.
func (w *writer) tell(n int, err error) {
	l := w.log
	switch {
	case err != nil && !w.failing:
		w.failing = true
		l.logger.Warn("access log cannot be written", "path", l.path, "error", err)
	case n > 0 && w.failing:
		w.failing = false
		l.logger.Info("access log is written again", "path", l.path, "dropped", l.dropped.Load())
	}
}

// moveTo goes on with another descriptor. A record of which the old one took
// only a part is written whole to the new one.
func (w *writer) moveTo(fd int) {
	w.sink.close()
	w.sink = newSink(fd)
	w.written = bytes.LastIndexByte(w.batch[:w.written], '\n') + 1
}

func (w *writer) closeSinks() {
	select {
	case fd := <-w.log.next:
		unix.Close(fd)
	default:
	}
	w.sink.close()
}
