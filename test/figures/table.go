// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package figures

import (
	"strings"
	"unicode/utf8"
)

// Table is a table for people, in Markdown that can be read as it is.
type Table struct {
	Head []string
	Rows [][]string
}

// Add appends a row. Cells that are missing are empty.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// String is the table with its columns under one another: the first to the left, the figures to
// the right.
func (t Table) String() string {
	widths := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i := range t.Head {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell(row, i)), 3)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, w := range widths {
			c := cell(row, i)
			space := strings.Repeat(" ", w-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("| " + c + space + " |")
			} else {
				b.WriteString(" " + space + c + " |")
			}
		}
		b.WriteByte('\n')
	}
	line(t.Head)
	rule := make([]string, len(widths))
	for i, w := range widths {
		rule[i] = strings.Repeat("-", w)
		if i > 0 { // Markdown's mark for a column that is aligned to the right
			rule[i] = strings.Repeat("-", w-1) + ":"
		}
	}
	line(rule)
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// cell is a cell's text; a bar would end it.
func cell(row []string, i int) string {
	if i >= len(row) {
		return ""
	}
	return strings.ReplaceAll(row[i], "|", `\|`)
}
