// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package printable makes the text of others harmless where people read it: a pod may report escape sequences that
// control a terminal, characters that change the order of what is shown, or lines that look like those of a program.
//
//	Line    a value, where it comes in or is shown: one line
//	Writer  all that a program prints: what is left of such characters
//
// Control and format characters (Unicode's Cc and Cf, such as ESC, C1, the bidirectional ones), the separators of lines
// and paragraphs, and bytes that are not UTF-8 become U+FFFD. An escaped form would show which character it was, but it
// could not be told from the same text written out, and would be invalid in a JSON string or mean the character again.
package printable

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// replacement is what is shown instead.
const replacement = string(utf8.RuneError)

// Line returns s as one line: white space that is not printed as itself, such as a line break or a tab, is a space, and
// each other character that is not printed becomes U+FFFD. The result has at most three times the bytes of s.
func Line(s string) string {
	bad := strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || hidden(r) })
	if bad < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:bad])
	for _, r := range s[bad:] {
		switch {
		case !hidden(r):
			b.WriteRune(r) // U+FFFD for a byte that is not UTF-8
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			b.WriteString(replacement)
		}
	}
	return b.String()
}

// hidden says whether a character is not printed as itself.
func hidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Writer passes text on with U+FFFD for what is not printed as itself, but for line feeds and tabs. It keeps a
// character that is cut in two until the rest is written, or Flush is called. It may be used concurrently.
type Writer struct {
	mu   sync.Mutex // guards all below
	to   io.Writer
	part []byte // the beginning of a character
	err  error  // the first of to
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Write writes p, except for the beginning of a character at its end.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p
	if len(w.part) > 0 {
		text = append(w.part, p...)
	}
	whole := len(text)
	for i := max(0, whole-utf8.UTFMax+1); i < whole; i++ {
		if utf8.RuneStart(text[i]) && !utf8.FullRune(text[i:]) {
			whole = i
		}
	}
	w.part = bytes.Clone(text[whole:])
	if err := w.write(text[:whole]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what is kept of a character that did not end. It returns the first error of all writes.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	part := w.part
	w.part = nil
	_ = w.write(part) // in w.err
	return w.err
}

func (w *Writer) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if bytes.IndexFunc(text, unprinted) >= 0 {
		var b bytes.Buffer
		for len(text) > 0 {
			r, size := utf8.DecodeRune(text)
			if unprinted(r) {
				b.WriteString(replacement)
			} else {
				b.Write(text[:size])
			}
			text = text[size:]
		}
		text = b.Bytes()
	}
	_, err := w.to.Write(text)
	if w.err == nil {
		w.err = err
	}
	return err
}

// unprinted says whether a Writer replaces a character.
func unprinted(r rune) bool { return r != '\n' && r != '\t' && hidden(r) || r == utf8.RuneError }
