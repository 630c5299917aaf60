// Package quiet keeps the program from asking the terminal for its colours when it
// starts: bubbletea does so before main, in any command, and waits for the answer.
// Packages are initialized in the order of their import paths as far as their imports
// allow, and this one needs less than bubbletea and stands before it.
package quiet

import "github.com/charmbracelet/lipgloss"

func init() { lipgloss.SetHasDarkBackground(true) }
