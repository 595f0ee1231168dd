// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxRegexSize bounds a compiled expression. It is counted in instructions, a character class as
// nearly as many as it has ranges, and stays far below what the proxies are told to accept.
const maxRegexSize = 2000

// maxRegexSizes bounds the expressions of one route together, maxRegexWork and maxRouteWork the work of parsing one
// expression and those of a route.
const (
	maxRegexSizes = 150_000
	maxRegexWork  = 1 << 16
	maxRouteWork  = 1 << 20
)

// expressions counts the regular expressions of one route while it is read.
type expressions struct{ sizes, work int }

// check returns what is wrong with an expression, which the proxy compiles with RE2, and else its size. The empty
// string means that nothing is wrong. Go's syntax is RE2's, but for escapes. Nothing is expanded before it is counted:
// the control plane reads routes one after the other, so that whatever takes long delays the configuration of all.
func (x *expressions) check(expr string) (size int, wrong string) {
	if x.sizes > maxRegexSizes || x.work > maxRouteWork {
		return 0, tooLargeTogether
	}
	work := len(expr)
	if work <= maxRegexWork {
		classes, bad := escapes(expr)
		if bad != "" {
			return 0, "is not an expression that proxies take: " + bad
		}
		work += classes + folded(expr)
	}
	x.work += min(work, maxRegexWork)
	switch {
	case work > maxRegexWork:
		return 0, tooLargeToMatch
	case x.work > maxRouteWork:
		return 0, tooLargeTogether
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0, "is not an RE2 expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	if size = regexSize(tree); size > maxRegexSize {
		return 0, tooLargeToMatch
	}
	if x.sizes += size; x.sizes > maxRegexSizes {
		return 0, tooLargeTogether
	}
	return size, ""
}

const (
	tooLargeToMatch  = "is too large to match with: write a shorter expression, or several matches"
	tooLargeTogether = "is too large together with the other expressions of the route: write shorter expressions, or several routes"
)

// escapes finds an escape that Go knows and Envoy does not: it would refuse the whole table, and
// no other route on it could change any more. Go knows more names of classes than RE2, and in any case of
// letters, and Envoy has RE2 look at bytes, of which none is above ff. classes is the number of ranges to which the
// parser expands the named classes. Of an expression that is not valid to Go, at least what Go reads of it is read.
func escapes(expr string) (classes int, bad string) {
	for {
		i := strings.IndexByte(expr, '\\')
		if i < 0 || i+1 == len(expr) || classes > maxRegexWork {
			return classes, ""
		}
		escape, kind, rest := expr[i+1:], expr[i+1], expr[i+2:]
		expr = rest
		switch {
		case kind == 'Q':
			_, expr, _ = strings.Cut(rest, `\E`)
		case kind == 'p' || kind == 'P':
			name, braced := strings.CutPrefix(rest, "{")
			if braced {
				name, expr, _ = strings.Cut(name, "}")
			} else {
				name, expr = rest[:min(1, len(rest))], rest[min(1, len(rest)):] // those without braces are letters of ASCII
			}
			name = strings.TrimPrefix(name, "^")
			classes += classSize(name)
			if !knownClass(name) {
				return 0, fmt.Sprintf(`\%c{%s} is no class of RE2: it knows those of one or two letters, such as Lu, and scripts, such as Greek`, kind, name)
			}
		case kind == 'x' && strings.HasPrefix(rest, "{"):
			var digits string
			digits, expr, _ = strings.Cut(rest[1:], "}")
			if n, err := strconv.ParseUint(digits, 16, 32); err != nil || n > 0xff {
				return 0, fmt.Sprintf(`\x{%s} is above ff: proxies look at bytes, write the character itself`, digits)
			}
		case kind >= '0' && kind <= '7':
			n := 1
			for n < 3 && n < len(escape) && escape[n] >= '0' && escape[n] <= '7' {
				n++
			}
			if v, err := strconv.ParseUint(escape[:n], 8, 32); err != nil || v > 0xff {
				return 0, fmt.Sprintf(`\%s is above 377: proxies look at bytes, write the character itself`, escape[:n])
			}
		}
	}
}

// knownClass tells whether RE2 has a class of that name. Cn and LC are Go's alone.
func knownClass(name string) bool {
	if name == "Any" {
		return true
	}
	if _, ok := unicode.Categories[name]; ok {
		return name != "Cn" && name != "LC"
	}
	_, ok := unicode.Scripts[name]
	return ok && !slices.Contains(newScripts(), name)
}

// newScripts are those that Unicode 16 and 17 added. Go has them since 1.27, and proxies may have an RE2 that
// does not.
func newScripts() []string {
	return []string{
		"Beria_Erfe", "Garay", "Gurung_Khema", "Kirat_Rai", "Ol_Onal", "Sidetic", "Sunuwar", "Tai_Yo", "Todhri", "Tolong_Siki", "Tulu_Tigalari",
	}
}
