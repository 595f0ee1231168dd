// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package clip shortens the text of others for messages, which have a limit and a reader.
package clip

import "strings"

// Text returns s, or, if it is longer than most bytes, its first most bytes and "...". A character that is cut in two is
// left out.
func Text(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
