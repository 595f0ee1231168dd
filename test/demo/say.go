// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// speaker writes to a terminal or a file. On a terminal a live line is overwritten by the next;
// elsewhere every line stays, and nothing but text is written. Safe for concurrent use.
type speaker struct {
	out *os.File
	tty bool

	mu   sync.Mutex
	live bool // guarded by mu; the cursor is on a live line
}

func newSpeaker(out *os.File) *speaker {
	info, err := out.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
	return &speaker{out: out, tty: tty}
}

func (s *speaker) heading(text string) {
	s.write(false, func() string {
		if s.tty {
			return "\n\x1b[1m" + text + "\x1b[0m\n"
		}
		return "\n" + text + "\n"
	})
}

// line writes an indented line that stays.
func (s *speaker) line(format string, args ...any) {
	s.write(false, func() string { return "  " + fmt.Sprintf(format, args...) + "\n" })
}

// now writes a line that the next one replaces, on a terminal.
func (s *speaker) now(format string, args ...any) {
	text := "  " + fmt.Sprintf(format, args...)
	if !s.tty {
		s.line("%s", strings.TrimSpace(text))
		return
	}
	s.write(true, func() string { return text })
}

func (s *speaker) write(live bool, text func() string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
	fmt.Fprint(s.out, text())
	s.live = live
}
