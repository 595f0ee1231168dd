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

// checkRegex tells what is wrong with an expression, which the proxy compiles with RE2. The empty
// string means that nothing is. Go's syntax is RE2's, but for escapes.
func checkRegex(expr string) string {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "is not an RE2 expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	if bad := unknownEscape(expr); bad != "" {
		return "is not an expression that proxies take: " + bad
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return "is not an RE2 expression: " + err.Error()
	}
	size := 0
	for _, in := range prog.Inst {
		// Go 1.27 has the ranges of Unicode 17, which are one in 25 more: what was accepted before still is.
		size += 1 + (len(in.Rune)/2*24+24)/25
	}
	if size > maxRegexSize {
		return "is too large to match with: write a shorter expression, or several matches"
	}
	return ""
}

// unknownEscape finds an escape that Go knows and Envoy does not: it would refuse the whole table, and
// no other route on it could change any more. Go knows more names of classes than RE2, and in any case of
// letters, and Envoy has RE2 look at bytes, of which none is above ff. expr is valid to Go.
func unknownEscape(expr string) string {
	for {
		i := strings.IndexByte(expr, '\\')
		if i < 0 {
			return ""
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
				name, expr = rest[:1], rest[1:] // those without braces are letters of ASCII
			}
			if name = strings.TrimPrefix(name, "^"); !knownClass(name) {
				return fmt.Sprintf(`\%c{%s} is no class of RE2: it knows those of one or two letters, such as Lu, and scripts, such as Greek`, kind, name)
			}
		case kind == 'x' && strings.HasPrefix(rest, "{"):
			var digits string
			digits, expr, _ = strings.Cut(rest[1:], "}")
			if n, err := strconv.ParseUint(digits, 16, 32); err != nil || n > 0xff {
				return fmt.Sprintf(`\x{%s} is above ff: proxies look at bytes, write the character itself`, digits)
			}
		case kind >= '0' && kind <= '7':
			n := 1
			for n < 3 && n < len(escape) && escape[n] >= '0' && escape[n] <= '7' {
				n++
			}
			if v, err := strconv.ParseUint(escape[:n], 8, 32); err != nil || v > 0xff {
				return fmt.Sprintf(`\%s is above 377: proxies look at bytes, write the character itself`, escape[:n])
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
