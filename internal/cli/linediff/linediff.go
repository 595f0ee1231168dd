// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package linediff

import (
	"fmt"
	"strings"
)

// maxCells bounds the work and memory of one comparison, at four bytes each. Beyond that, everything
// between the first and the last line that differ is shown as replaced.
const maxCells = 4 << 20

// edit is a line and whose it is: ' ' of both, '-' of the first text, '+' of the second.
type edit struct {
	mark byte
	line string
}

// Unified returns the hunks in which two texts differ, each with that many lines around it; nothing
// if they are the same.
func Unified(a, b string, around int) string {
	edits := compare(lines(a), lines(b))
	var out strings.Builder
	lineA, lineB := 1, 1 // of edits[i]
	for i := 0; i < len(edits); {
		if edits[i].mark == ' ' {
			lineA, lineB, i = lineA+1, lineB+1, i+1
			continue
		}
		// The hunk reaches from some lines before i to some after the last change that is near enough.
		start := max(0, i-around)
		end, last := i, i
		for end < len(edits) && end-last <= 2*around+1 {
			if edits[end].mark != ' ' {
				last = end
			}
			end++
		}
		end = min(len(edits), last+around+1)
		lineA, lineB = lineA-(i-start), lineB-(i-start)
		var body strings.Builder
		countA, countB := 0, 0
		for _, e := range edits[start:end] {
			body.WriteByte(e.mark)
			body.WriteString(e.line)
			body.WriteByte('\n')
			if e.mark != '+' {
				countA++
			}
			if e.mark != '-' {
				countB++
			}
		}
		fmt.Fprintf(&out, "@@ -%d,%d +%d,%d @@\n%s", lineA, countA, lineB, countB, body.String())
		lineA, lineB, i = lineA+countA, lineB+countB, end
	}
	return out.String()
}

func lines(s string) []string {
	s = strings.TrimSuffix(s, "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// compare finds the fewest lines to take away and add: what is left of both is their longest common
// subsequence.
func compare(a, b []string) []edit {
	var out []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		out = append(out, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	same := 0
	for same < len(a) && same < len(b) && a[len(a)-1-same] == b[len(b)-1-same] {
		same++
	}
	tail := a[len(a)-same:]
	a, b = a[:len(a)-same], b[:len(b)-same]
	out = append(out, middle(a, b)...)
	for _, l := range tail {
		out = append(out, edit{' ', l})
	}
	return out
}

func middle(a, b []string) []edit {
	width := len(b) + 1
	var common []int32 // common[i*width+j]: how many lines a[i:] and b[j:] have in common
	if (len(a)+1)*width <= maxCells {
		common = make([]int32, (len(a)+1)*width)
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	var out []edit
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case common != nil && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case common == nil || common[(i+1)*width+j] >= common[i*width+j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	for ; i < len(a); i++ {
		out = append(out, edit{'-', a[i]})
	}
	for ; j < len(b); j++ {
		out = append(out, edit{'+', b[j]})
	}
	return out
}
