// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// wide lets everything through.
func wide() Shape { return Shape{Elements: 1 << 40, Members: 1 << 40, Depth: maxDepth} }

// counted counts the structure of a value that a decoder made.
func counted(v any) (s Shape) {
	add := func(child any) {
		c := counted(child)
		s.Elements += c.Elements
		s.Members += c.Members
		s.Depth = max(s.Depth, c.Depth)
	}
	switch v := v.(type) {
	case map[string]any:
		s.Members += len(v)
		for _, child := range v {
			add(child)
		}
		s.Depth++
	case []any:
		s.Elements += len(v)
		for _, child := range v {
			add(child)
		}
		s.Depth++
	}
	return s
}

// texts are JSON and what is not.
func texts() []string {
	return []string{
		``, `{}`, `[]`, `1`, `null`, `"a,b"`, ` [ ] `, ` { } `, `[1]`, `[1,2]`, `[[],[[]],{}]`, `{"a":[1,{"b":2,"c":[]}],"d":"x"}`,
		`["\"",",\\",{"\\\"":"[[["}]`, "[\n1 ,\t2\r]", `{"a":{"b":{"c":{}}}}`, `]`, `}}}`, `{"a`, `[,,,`, `,`, `"\`, `[{},{},{}]`,
	}
}

// TestScanner: for a text that is JSON the counts are those of what a decoder makes of it, wherever it is cut.
func TestScanner(t *testing.T) {
	for _, text := range texts() {
		for cut := range len(text) + 1 {
			s := NewScanner(wide())
			if err := s.Scan([]byte(text[:cut])); err != nil {
				t.Fatal(err)
			}
			if err := s.Scan([]byte(text[cut:])); err != nil {
				t.Fatal(err)
			}
			var v any
			if json.Unmarshal([]byte(text), &v) != nil {
				continue
			}
			want := counted(v)
			want.Depth = 0 // all is closed
			if got := s.Seen(); got != want {
				t.Errorf("%s, cut at %d: %+v, want %+v", text, cut, got, want)
			}
		}
	}
}

// TestShape: each bound holds exactly.
func TestShape(t *testing.T) {
	most := Shape{Elements: 3, Members: 2, Depth: 2}
	for text, what := range map[string]string{
		`[1,2,3]`: "", `[1,2,3,4]`: "array elements", `[[1],2]`: "", `[[1,2],3]`: "array elements",
		`{"a":1,"b":2}`: "", `{"a":1,"b":2,"c":3}`: "object members", `[{"a":1},{"b":1}]`: "", `[{"a":1},{"b":1,"c":1}]`: "object members",
		`[[]]`: "", `[[[]]]`: "levels of nesting",
	} {
		err := Check([]byte(text), most)
		var shape *ShapeError
		if what == "" && err != nil || what != "" && (!errors.As(err, &shape) || shape.What != what) {
			t.Errorf("%s: %v, want %q", text, err, what)
		}
	}
	if err := Check([]byte(strings.Repeat("[", 10_000)), Shape{Elements: 1 << 30, Depth: 1 << 30}); err == nil {
		t.Error("deeper than it can follow")
	}
}

// FuzzScanner: no text panics, memory does not grow, and for JSON the counts are a decoder's, or more where
// a key is there twice.
func FuzzScanner(f *testing.F) {
	for _, text := range texts() {
		f.Add([]byte(text), 1)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		s := NewScanner(wide())
		cut = min(max(cut, 0), len(text))
		err := s.Scan(text[:cut])
		if err == nil {
			err = s.Scan(text[cut:])
		}
		var v any
		if json.Unmarshal(text, &v) != nil {
			return
		}
		want := counted(v)
		if err != nil {
			if want.Depth <= maxDepth && len(text) < maxDepth {
				t.Errorf("%v", err)
			}
			return
		}
		if got := s.Seen(); got.Elements < want.Elements || got.Members < want.Members || got.Depth != 0 {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
