package top

import (
	"fmt"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"

	"fulcrum/admin"
)

const maxFilter = 60 // characters

// help is what ? shows.
var help = []string{
	"up, down, j, k      choose a row; pgup, pgdown, home and end too",
	"d                   drain the server, or all of the pool: nothing new goes to it",
	"u                   undrain it",
	"/                   show only what has a text in its name, state or reason",
	"s                   sort servers by the next column",
	"p                   pause, and go on",
	"esc                 no filter, no sorting",
	"q                   quit",
	"",
	"RATE/S, ERR/S       connections or requests, and failures, a second",
	"P50, P99            of the time to the first byte, within a second",
	"5 MIN               the rate of the last five minutes; servers of a pool to one scale",
}

// keys does what keys are for. Those that come faster than they are read come
// together; of these none is taken for an answer to what another of them asks. Nothing
// that is pasted is a key.
func (m *model) keys(key tea.KeyMsg) tea.Cmd {
	if m.mode == filtering || key.Type != tea.KeyRunes {
		return m.key(key)
	}
	if key.Paste {
		return nil
	}
	for _, r := range key.Runes {
		if cmd := m.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: key.Alt}); cmd != nil || m.mode == confirming {
			return cmd
		}
	}
	return nil
}

func (m *model) key(key tea.KeyMsg) tea.Cmd {
	if key.String() == "ctrl+c" {
		return tea.Quit
	}
	switch m.mode {
	case filtering:
		m.editFilter(key)
	case confirming:
		m.confirm(key.String())
	case helping:
		m.mode = watching
	default:
		m.status = ""
		return m.command(key.String())
	}
	return nil
}

func (m *model) command(key string) tea.Cmd {
	page := max(m.areas().rows-1, 1)
	switch key {
	case "q":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup":
		m.move(-page)
	case "pgdown", " ":
		m.move(page)
	case "home", "g":
		m.move(-len(m.rows))
	case "end", "G":
		m.move(len(m.rows))
	case "/":
		m.mode = filtering
	case "?":
		m.mode = helping
	case "s":
		m.sortNext()
	case "p":
		m.paused = !m.paused
		m.refresh()
	case "esc":
		m.filter, m.sorted = "", -1
		m.arrange()
	case "d":
		m.ask(admin.Drain)
	case "u":
		m.ask(admin.Undrain)
	}
	return nil
}

// sortNext goes on to the next column that servers can be sorted by, and in the end to
// their own order.
func (m *model) sortNext() {
	m.sorted++
	for m.sorted < len(columns) && columns[m.sorted].compare == nil {
		m.sorted++
	}
	if m.sorted == len(columns) {
		m.sorted = -1
	}
	m.arrange()
}

func (m *model) editFilter(key tea.KeyMsg) {
	switch key.Type {
	case tea.KeyEnter:
		m.mode = watching
	case tea.KeyEsc:
		m.mode, m.filter = watching, ""
	case tea.KeyBackspace:
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-size]
	case tea.KeyCtrlU:
		m.filter = ""
	case tea.KeyRunes, tea.KeySpace:
		for _, r := range key.Runes {
			if utf8.RuneCountInString(m.filter) < maxFilter {
				m.filter += string(r)
			}
		}
	}
	m.arrange()
}

// ask asks for a yes to what the keys d and u are for.
func (m *model) ask(action admin.Action) {
	if len(m.rows) == 0 || m.chosen.kind == aListener {
		m.status = fmt.Sprintf("choose a server or a pool to %s", action)
		return
	}
	m.asked = admin.ServerChange{Action: action, Pool: m.chosen.name, Server: m.chosen.server}
	m.mode = confirming
}

func (m *model) confirm(key string) {
	switch key {
	case "y", "Y":
		m.status = "asking to " + whatOf(m.asked) + " ..."
		m.change(m.asked)
	case "n", "N", "esc", "q":
		m.status = "nothing was changed"
	default:
		return
	}
	m.mode = watching
}

// whatOf says in words what a change is.
func whatOf(c admin.ServerChange) string {
	if c.Server == "" {
		return fmt.Sprintf("%s all servers of pool %s", c.Action, c.Pool)
	}
	return fmt.Sprintf("%s %s in pool %s", c.Action, c.Server, c.Pool)
}
