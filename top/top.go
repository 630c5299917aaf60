// Package top shows in a terminal what happens in a balancer: its listeners, its pools
// with their servers, how these are and why, how much goes through and how fast, and
// the last events, each second anew.
//
// Run does so until it is ended by a key, or by its context; Once prints one such
// screen, and Now returns the same as data. All of it comes from the admin listener by GET
// /live and GET /events. When the balancer goes away, Run keeps what it has on the
// screen, says that it is old, and goes on as soon as there is a balancer again.
//
// Names, reasons and whatever else others have written comes to the terminal by one
// way only, which leaves nothing in it but printable text. Of very many servers and
// events only the first 100,000 and the last 100 are kept.
package top

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"fulcrum/admin"
	"fulcrum/admin/client"
	"fulcrum/events"
	_ "fulcrum/top/quiet" // before bubbletea
)

// A Balancer is what is looked at: a client of its admin listener.
type Balancer interface {
	// Live calls tell with the messages of one stream of GET /live until that ends.
	Live(ctx context.Context, tell func(admin.Live) error) error
	Events(ctx context.Context, w client.EventsWanted) (admin.EventsAnswer, error)
	// Follow calls tell with the events that there are and with each that happens,
	// over as many streams as it takes.
	Follow(ctx context.Context, w client.EventsWanted, tell func(events.Event) error) error
	Change(ctx context.Context, change admin.ServerChange, ifMatch string) (answer admin.ChangeAnswer, etag string, err error)
}

const (
	comeBack   = time.Second      // after a stream has ended
	answerTime = 10 * time.Second // for the balancer to tell everything once, or to make a change
)

// Run shows a balancer on the terminal that out is, and takes keys from the standard
// input or, if that is none, the terminal of the process, which it leaves as it was.
// It is an error if there is no balancer to begin with, or if it refuses to be looked
// at.
func Run(ctx context.Context, b Balancer, out io.Writer, look Look) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	var p *tea.Program
	m := newModel(look, func(c admin.ServerChange) {
		running.Go(func() { p.Send(change(ctx, b, c)) })
	})
	p = tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(out), tea.WithAltScreen())
	running.Go(func() { watch(ctx, b, p.Send) })
	running.Go(func() { follow(ctx, b, p.Send) })
	_, err := p.Run()
	switch {
	case m.fatal != nil:
		return m.fatal
	case errors.Is(err, tea.ErrInterrupted), ctx.Err() != nil:
		return nil
	}
	return err
}

func change(ctx context.Context, b Balancer, c admin.ServerChange) changed {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, _, err := b.Change(ctx, c, "")
	switch {
	case err != nil:
		return changed{"could not " + whatOf(c), err}
	case len(answer.Changes) == 0:
		return changed{whatOf(c) + ": it was so already", nil}
	}
	return changed{whatOf(c) + ": " + strings.Join(answer.Changes, "; "), nil}
}

// watch tells of what streams bring, one after another.
func watch(ctx context.Context, b Balancer, tell func(tea.Msg)) {
	for first := true; ; first = false {
		tell(begun{})
		told := false
		err := b.Live(ctx, func(m admin.Live) error {
			told = true
			tell(m)
			return nil
		})
		refusal, _ := errors.AsType[*client.Error](err)
		if ctx.Err() != nil {
			return
		}
		if first && !told && err != nil || refusal != nil && refusal.Final() {
			tell(refused{err})
			return
		}
		tell(lost{err})
		if !pause(ctx) {
			return
		}
	}
}

// follow tells of events. That it cannot is nothing to be told of: watch cannot either.
func follow(ctx context.Context, b Balancer, tell func(tea.Msg)) {
	wanted := client.EventsWanted{Limit: maxEvents}
	for {
		b.Follow(ctx, wanted, func(e events.Event) error {
			wanted.After = max(wanted.After, e.ID)
			tell(happened(e))
			return nil
		})
		if !pause(ctx) {
			return
		}
	}
}

// pause waits a little, and reports whether it may go on.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(comeBack):
		return true
	}
}

// errTold ends a stream that has told everything.
var errTold = errors.New("everything is told")

// collect returns what a balancer tells of itself at once.
func collect(ctx context.Context, b Balancer) (*known, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	k := newKnown()
	k.begin()
	err := b.Live(ctx, func(m admin.Live) error {
		k.apply(m)
		if k.complete() {
			return errTold
		}
		return nil
	})
	switch {
	case err == errTold:
		return k, nil
	case err == nil:
		err = errors.New("the balancer has ended the stream before it had told everything")
	}
	return nil, err
}

// Now returns how it is about a balancer, with all servers that it tells of at once.
func Now(ctx context.Context, b Balancer) (admin.Live, error) {
	k, err := collect(ctx, b)
	if err != nil {
		return admin.Live{}, err
	}
	return k.live(), nil
}

// Once prints one screen, as wide as told and as long as it takes.
func Once(ctx context.Context, b Balancer, out io.Writer, look Look, width int) error {
	k, err := collect(ctx, b)
	if err != nil {
		return err
	}
	answer, err := b.Events(ctx, client.EventsWanted{Limit: mostEvents})
	if err != nil {
		return err
	}
	for _, e := range answer.Events {
		k.happen(e)
	}
	p := k.picture()
	v := &view{Look: look, width: width, picture: &p, rows: p.rows, cursor: -1, sorted: -1, link: p.at.Local().Format(time.DateTime), linked: true}
	lines := append(v.head(), v.table(len(p.rows)+titleLine)...)
	lines = append(lines, "", v.line(width, "", piece{text: "EVENTS", style: faint}))
	lines = append(lines, v.happened(mostEvents)...)
	_, err = io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return err
}
