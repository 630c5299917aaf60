package top

import (
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"fulcrum/admin"
	"fulcrum/events"
)

// What the model is told, beside keys and the size of the terminal.
type (
	begun    struct{} // a stream begins
	happened events.Event
	lost     struct{ err error } // the stream has ended; nil: nobody knows why
	refused  struct{ err error } // there is no use in asking again
	changed  struct {            // what came of a change
		what string
		err  error
	}
	tick time.Time
)

// A mode is who gets the keys.
type mode int

const (
	watching mode = iota
	filtering
	confirming
	helping
)

// model is all of top that is on the screen. It is told of everything by Update, and
// does nothing by itself but to ask for changes by change.
type model struct {
	look   Look
	change func(admin.ServerChange) // must not wait

	known   *known
	picture picture // of known; as it was, while paused
	rows    []row   // of picture, those that the filter lets through, as sorted

	width, height int
	mode          mode
	paused        bool
	filter        string
	sorted        int     // a column; -1: as the config has them
	chosen        subject // what the cursor is on
	cursor, top   int     // of rows, where that is and which is the first on the screen
	asked         admin.ServerChange
	status        string // what came of the last key; "": nothing worth saying

	now   time.Time
	live  bool      // messages come
	heard time.Time // when the last one did
	since time.Time // since when there are none
	why   string
	fatal error // why top ends; nil: it was asked to
}

func newModel(look Look, change func(admin.ServerChange)) *model {
	return &model{look: look, change: change, known: newKnown(), width: 80, height: 24, sorted: -1, now: time.Now()}
}

func (m *model) Init() tea.Cmd { return everySecond() }

func everySecond() tea.Cmd {
	return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tick(t) })
}

func (m *model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		if message.Width > 0 && message.Height > 0 { // some terminals do not know
			m.width, m.height = message.Width, message.Height
		}
	case tick:
		m.now = time.Time(message)
		return m, everySecond()
	case begun:
		m.known.begin()
	case admin.Live:
		m.known.apply(message)
		m.live, m.heard, m.why = true, m.now, ""
		m.refresh()
	case happened:
		m.known.happen(events.Event(message))
		if !m.paused {
			m.picture.events = slices.Clone(m.known.events)
		}
	case lost:
		m.breakOff(message.err)
	case refused:
		m.fatal = message.err
		return m, tea.Quit
	case changed:
		m.status = message.what
		if message.err != nil {
			m.status = message.what + ": " + message.err.Error()
		}
	case tea.KeyMsg:
		cmd := m.keys(message)
		m.scroll()
		return m, cmd
	}
	m.scroll()
	return m, nil
}

func (m *model) breakOff(err error) {
	switch {
	case m.live:
		m.since = m.heard
	case m.since.IsZero():
		m.since = m.now
	}
	m.live, m.why = false, "the balancer has ended the stream"
	if err != nil {
		m.why = err.Error()
	}
}

// refresh draws what is known, but for who has paused it.
func (m *model) refresh() {
	if !m.paused {
		m.picture = m.known.picture()
	}
	m.arrange()
}

// arrange makes rows of the picture, and finds the one that was chosen.
func (m *model) arrange() {
	m.rows = m.rows[:0]
	all := m.picture.rows
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].kind == aServer {
			n++
		}
		m.group(all[:n])
		all = all[n:]
	}
	if at := slices.IndexFunc(m.rows, func(r row) bool { return r.subject == m.chosen }); at >= 0 {
		m.cursor = at
	}
	m.move(0)
}

// group adds a listener or pool and the servers behind it, as far as the filter lets
// them through: no server without its pool.
func (m *model) group(rows []row) {
	from := len(m.rows)
	m.rows = append(m.rows, rows[0])
	for i := range rows[1:] {
		if server := &rows[1+i]; m.wanted(server) {
			m.rows = append(m.rows, *server)
		}
	}
	servers := m.rows[from+1:]
	if len(servers) == 0 && !m.wanted(&rows[0]) {
		m.rows = m.rows[:from]
	}
	if m.sorted >= 0 {
		slices.SortStableFunc(servers, func(a, b row) int { return columns[m.sorted].compare(&a, &b) })
	}
}

// wanted reports whether a row has the text of the filter.
func (m *model) wanted(r *row) bool {
	if m.filter == "" {
		return true
	}
	for _, text := range []string{r.name, r.server, r.state, r.reason} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(m.filter)) {
			return true
		}
	}
	return false
}

// move moves the cursor.
func (m *model) move(by int) {
	m.cursor = max(min(m.cursor+by, len(m.rows)-1), 0)
	if len(m.rows) > 0 && (by != 0 || m.mode != confirming) {
		m.chosen = m.rows[m.cursor].subject
	}
	m.scroll()
}

// scroll has the cursor on the screen.
func (m *model) scroll() {
	visible := max(m.areas().rows, 1)
	m.top = max(min(m.top, len(m.rows)-visible, m.cursor), m.cursor-visible+1, 0)
}
