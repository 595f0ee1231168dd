// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package printable

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// cases are texts, what they are on one line, and what a Writer makes of them.
var cases = []struct{ in, line, written string }{
	{"", "", ""},
	{"plain: ä € 𝄞 é", "plain: ä € 𝄞 é", "plain: ä € 𝄞 é"},
	{"a\n  [ok] b\tc", "a   [ok] b c", "a\n  [ok] b\tc"},
	{"a\r[ok]", "a [ok]", "a�[ok]"},
	{"\x1b]52;c;ZXZpbA==\x07", "�]52;c;ZXZpbA==�", "�]52;c;ZXZpbA==�"},
	{"\x00\x08\x7f", "���", "���"},
	{"\u0080\u009b2J\u009f", "��2J�", "��2J�"},
	{"\u0085\u2028\u2029\v\f", "     ", "�����"},
	{"\u061c\u200e\u200f\u202a\u202e\u2066\u2069", "�������", "�������"},
	{"\u200b\ufeff\U000e0041", "���", "���"},
	{"a\xff\x9b\xe2\x80", "a����", "a����"},
	{"\xf0\x9d\x84", "���", "���"},
	{"�", "�", "�"},
}

func TestLine(t *testing.T) {
	for _, c := range cases {
		if got := Line(c.in); got != c.line {
			t.Errorf("%q became %q, want %q", c.in, got, c.line)
		}
	}
}

// TestWriter: the result is the same wherever the text is cut between two writes, and when it is written by bytes.
func TestWriter(t *testing.T) {
	for _, c := range cases {
		for cut := range len(c.in) + 1 {
			if got := written(t, c.in[:cut], c.in[cut:]); got != c.written {
				t.Errorf("%q, cut at %d, became %q, want %q", c.in, cut, got, c.written)
			}
		}
		if got := written(t, strings.Split(c.in, "")...); got != c.written {
			t.Errorf("%q by characters became %q, want %q", c.in, got, c.written)
		}
		var single []string
		for i := range len(c.in) {
			single = append(single, c.in[i:i+1])
		}
		if got := written(t, single...); got != c.written {
			t.Errorf("%q by bytes became %q, want %q", c.in, got, c.written)
		}
	}
	// What is whole is not kept back: a question waits for its answer.
	var out bytes.Buffer
	if _, err := NewWriter(&out).Write([]byte("Type ä: \xe2")); err != nil || out.String() != "Type ä: " {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestWriterFails: the first error is the result of Flush as well, for callers that print without looking.
func TestWriterFails(t *testing.T) {
	r, w := io.Pipe()
	closed := errors.New("closed")
	r.CloseWithError(closed)
	out := NewWriter(w)
	if _, err := out.Write([]byte("a")); !errors.Is(err, closed) || !errors.Is(out.Flush(), closed) {
		t.Error(err, out.Flush())
	}
}

func written(t testing.TB, parts ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out)
	for _, p := range parts {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// FuzzPrintable: nothing that is not printed is left, and the cut does not matter.
func FuzzPrintable(f *testing.F) {
	for _, c := range cases {
		f.Add(c.in, 1)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		line := Line(s)
		if strings.ContainsFunc(line, hidden) || !utf8.ValidString(line) || len(line) > 3*len(s) || Line(line) != line {
			t.Errorf("%q became %q", s, line)
		}
		whole := written(t, s)
		if strings.ContainsFunc(whole, func(r rune) bool { return hidden(r) && r != '\n' && r != '\t' }) || !utf8.ValidString(whole) {
			t.Errorf("%q is written as %q", s, whole)
		}
		if cut = max(0, min(cut, len(s))); written(t, s[:cut], s[cut:]) != whole {
			t.Errorf("%q, cut at %d, is written in another way", s, cut)
		}
	})
}
