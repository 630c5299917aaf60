package e2e_test

import (
	"os"
	"time"
)

// An httpRecord is a line of an http listener's access log. What is nil was left
// out.
type httpRecord struct {
	Time      time.Time
	Listener  string
	Client    string
	Method    string
	Host      string
	Target    string
	Protocol  string
	Referer   *string
	UserAgent *string `json:"user_agent"`
	Received  *int64
	Status    *int
	Sent      *int64
	Route     *string
	Pool      *string
	Server    *string
	Tried     *int64
	Reused    *bool

	QueueMS    *float64 `json:"queue_ms"`
	ConnectMS  *float64 `json:"connect_ms"`
	FirstByte  *float64 `json:"first_byte_ms"`
	DurationMS *float64 `json:"duration_ms"`
	Ended      string
}

// read returns what is in a file.
func (w *world) read(path string) string {
	w.Helper()
	text, err := os.ReadFile(path)
	w.must(err)
	return string(text)
}
