// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"fmt"
)

// Shape bounds the structure of a JSON text. A decoder makes a struct of hundreds of bytes of an
// element that takes three ("{},"), so bytes alone are no bound of memory.
type Shape struct {
	// Elements are those of all arrays together, Members those of all objects.
	Elements, Members int
	// Depth is how far arrays and objects may be nested; at most maxDepth.
	Depth int
}

// maxDepth is the deepest nesting that a Scanner can follow.
const maxDepth = 128

// ShapeError is what a text has too much of.
type ShapeError struct {
	What string // "array elements", "object members" or "levels of nesting"
	Most int
}

// Error implements error.
func (e *ShapeError) Error() string { return fmt.Sprintf("more than %d %s", e.Most, e.What) }

// Scanner counts the structure of a JSON text that arrives in pieces. It allocates nothing and does
// not check that the text is JSON: for a text that is, the counts are exact.
type Scanner struct {
	most  Shape
	seen  Shape
	array [maxDepth]bool // by depth: array or object
	empty bool           // nothing has followed the last opening bracket yet
	text  bool           // inside a string
	skip  bool           // after a backslash in a string
}

// NewScanner returns a Scanner that stops at a Shape.
func NewScanner(most Shape) *Scanner {
	most.Depth = min(most.Depth, maxDepth)
	return &Scanner{most: most}
}

// Scan counts the next piece of the text. The error is a *ShapeError at the first byte that is too much.
func (s *Scanner) Scan(piece []byte) error {
	for _, c := range piece {
		if s.text {
			switch {
			case s.skip:
				s.skip = false
			case c == '\\':
				s.skip = true
			case c == '"':
				s.text = false
			}
			continue
		}
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case ']', '}':
			s.empty = false
			s.seen.Depth = max(s.seen.Depth-1, 0)
			continue
		}
		if s.empty || c == ',' {
			s.empty = false
			if err := s.count(); err != nil {
				return err
			}
		}
		switch c {
		case '"':
			s.text = true
		case '[', '{':
			if s.seen.Depth == s.most.Depth {
				return &ShapeError{"levels of nesting", s.most.Depth}
			}
			s.array[s.seen.Depth] = c == '['
			s.seen.Depth++
			s.empty = true
		}
	}
	return nil
}

// count counts an element or member of what is open.
func (s *Scanner) count() error {
	if s.seen.Depth == 0 {
		return nil // not JSON
	}
	if s.array[s.seen.Depth-1] {
		if s.seen.Elements++; s.seen.Elements > s.most.Elements {
			return &ShapeError{"array elements", s.most.Elements}
		}
		return nil
	}
	if s.seen.Members++; s.seen.Members > s.most.Members {
		return &ShapeError{"object members", s.most.Members}
	}
	return nil
}

// Seen returns the elements and members counted so far, and how deep the end of the text is.
func (s *Scanner) Seen() Shape { return s.seen }

// Check counts a whole text.
func Check(text []byte, most Shape) error { return NewScanner(most).Scan(text) }
