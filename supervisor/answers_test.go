package supervisor

import (
	"context"
	"testing"
)

// One loop that hangs is enough for the balancer not to answer, until it goes on.
func TestAnswers(t *testing.T) {
	w := start(t, onePool, `"127.0.0.1:1"`, "30s")
	patient, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !w.Answers(patient) {
		t.Fatal("no answer from idle loops")
	}
	last := w.current.Load().loops[len(w.current.Load().loops)-1]
	hangs, goOn := make(chan struct{}), make(chan struct{})
	last.Post(func() { close(hangs); <-goOn })
	<-hangs
	asked, answered := make(chan struct{}), make(chan bool, 1)
	short, giveUp := context.WithCancel(t.Context())
	go func() {
		close(asked)
		answered <- w.Answers(short)
	}()
	<-asked
	giveUp()
	if <-answered {
		t.Error("an answer from a loop that hangs")
	}
	close(goOn)
	if !w.Answers(patient) {
		t.Error("no answer from a loop that goes on")
	}
	w.stop(0)
	if w.Answers(patient) {
		t.Error("an answer from loops that have ended")
	}
}
