// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package clip shortens the text of others for messages, which have a limit and a reader, and their labels for caches.
package clip

import (
	"strings"

	"tulle.dev/tulle/internal/printable"
)

// Text returns s as one line, as printable.Line does. If s or the line is longer than most bytes, it is the first most
// bytes and "...". A character that is cut in two is left out.
func Text(s string, most int) string {
	s, cut := first(s, most)
	s, again := first(printable.Line(s), most)
	if cut || again {
		s += "..."
	}
	return s
}

// first returns the first most bytes of s without a character that is cut in two, and whether there are more.
func first(s string, most int) (string, bool) {
	if len(s) <= most {
		return s, false
	}
	return strings.ToValidUTF8(s[:most], ""), true
}
