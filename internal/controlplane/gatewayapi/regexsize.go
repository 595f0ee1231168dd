// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// regexSize returns how large the program of an expression would be, without compiling it: a repetition counts as often as
// it repeats. It is never less than the program, and equal but for what the compiler leaves out of odd expressions.
func regexSize(tree *syntax.Regexp) int {
	n, _ := programSize(tree)
	return n + 2 // what each program begins and ends with
}

// sizeLimit is where sizes end, so that products of them do not overflow.
const sizeLimit = 1 << 20

// programSize returns the size of the program of a part, and whether the part matches the empty text. The parser bounds
// the depth of a tree.
func programSize(re *syntax.Regexp) (size int, empty bool) {
	subs, all, any := 0, true, false
	for _, sub := range re.Sub {
		n, e := programSize(sub)
		subs, all, any = min(subs+n, sizeLimit), all && e, any || e
	}
	switch re.Op {
	case syntax.OpNoMatch:
		return 0, false
	case syntax.OpLiteral:
		return max(1, len(re.Rune)), len(re.Rune) == 0
	case syntax.OpCharClass:
		return rangesSize(len(re.Rune) / 2), false
	case syntax.OpAnyChar:
		return rangesSize(1), false
	case syntax.OpAnyCharNotNL:
		return rangesSize(2), false
	case syntax.OpCapture:
		return subs + 2, all
	case syntax.OpStar:
		return starSize(subs, all), true
	case syntax.OpPlus:
		return subs + 1, all
	case syntax.OpQuest:
		return subs + 1, true
	case syntax.OpRepeat:
		return repeatSize(subs, re.Min, re.Max, all), re.Min == 0 || all
	case syntax.OpConcat:
		return max(1, subs), all
	case syntax.OpAlternate:
		return min(subs+len(re.Sub)-1, sizeLimit), any
	default: // an empty text, or an assertion
		return 1, true
	}
}

// rangesSize is the size of the instruction of a class with so many ranges.
// Go 1.27 has the ranges of Unicode 17, which are one in 25 more: what was accepted before still is.
func rangesSize(ranges int) int { return 1 + (ranges*24+24)/25 }

func starSize(sub int, empty bool) int {
	if empty {
		return sub + 2
	}
	return sub + 1
}

// repeatSize is the size of sub{least,most}; most < 0 is no limit.
func repeatSize(sub, least, most int, empty bool) int {
	switch {
	case most < 0 && least == 0:
		return starSize(sub, empty)
	case most < 0:
		return min(least*sub+1, sizeLimit)
	case most == 0:
		return 1
	}
	return min(least*sub+(most-least)*(sub+1), sizeLimit)
}

// classSize is how many ranges the parser makes of a class of Unicode, where letters of both cases count as well.
func classSize(name string) int {
	n := 1
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts, unicode.FoldCategory, unicode.FoldScript} {
		t := tables[name]
		if t == nil {
			continue
		}
		for _, r := range t.R16 {
			n += ranges(uint32(r.Lo), uint32(r.Hi), uint32(r.Stride))
		}
		for _, r := range t.R32 {
			n += ranges(r.Lo, r.Hi, r.Stride)
		}
	}
	return n
}

func ranges(lo, hi, stride uint32) int {
	if stride == 1 {
		return 1
	}
	return int((hi-lo)/stride) + 1
}

// folded is how many characters the parser looks at, at most, in ranges of classes where the case of letters does not
// matter: each of a range, one by one. It looks at the text alone, and takes each "-" for a range. An escape is a
// character of one byte (see escapes).
func folded(expr string) int {
	if !folds(expr) {
		return 0
	}
	n := 0
	for i := range len(expr) {
		if expr[i] != '-' || strings.HasPrefix(expr[i+1:], "]") { // the last of a class is itself
			continue
		}
		lo, _ := utf8.DecodeLastRuneInString(expr[:i])
		hi, _ := utf8.DecodeRuneInString(expr[i+1:])
		n += max(1, int(min(hi, lastFold)-lo))
		if lo == '}' || hi == '\\' || strings.Contains(expr[max(0, i-4):i], `\`) {
			n += unicode.MaxLatin1
		}
	}
	return n
}

// lastFold is the last character that has another case; the parser looks at none beyond it.
const lastFold = 0x1e943

// folds reports whether the case of letters may not matter somewhere in an expression.
func folds(expr string) bool {
	for {
		_, flags, ok := strings.Cut(expr, "(?")
		if !ok {
			return false
		}
		if end := strings.IndexAny(flags, ":)"); end >= 0 && strings.Contains(flags[:end], "i") {
			return true
		}
		expr = flags
	}
}
