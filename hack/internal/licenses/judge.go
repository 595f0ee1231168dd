// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package licenses

import (
	"fmt"
	"slices"
	"strings"
)

// permissive licences are allowed everywhere: they ask for notices only.
var permissive = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "Unlicense", "Zlib"}

// unpublished are allowed in addition where no published image contains the
// module. MPL-2.0 covers files, the other two documentation and fonts.
var unpublished = []string{"CC-BY-SA-4.0", "MPL-2.0", "OFL-1.1"}

// gpl marks linters: programs of their own that read source code. Nothing of
// them is linked into Tulle or published with it.
const gpl = "a linter that is run as a program"

// exceptions are allowed outside of published images whatever was found, by
// module path, with the reason.
var exceptions = map[string]string{
	"github.com/OpenPeeDeeP/depguard/v2":     gpl,
	"github.com/denis-tingaikin/go-header":   gpl,
	"github.com/firefart/nonamedreturns":     gpl,
	"github.com/golangci/golangci-lint/v2":   gpl,
	"github.com/ldez/structtags":             gpl,
	"github.com/leonklingele/grouper":        gpl,
	"github.com/xen0n/gosmopolitan":          gpl,
	"github.com/alecthomas/go-check-sumtype": "COPYING says: Unlicense or MIT, as the user chooses",
	"github.com/golangci/gofmt":              "a copy of the Go project's gofmt; its licence (BSD-3-Clause) is in internal/LICENSE",
}

// Judge returns what is wrong with the licences of a module as Of found them,
// or "" if they are allowed. published says that an image of Tulle contains
// the module; then there are no exceptions.
func Judge(path string, found []string, published bool) string {
	if !published && exceptions[path] != "" {
		return ""
	}
	if len(found) == 0 {
		return "has no licence file that is recognised; without a licence it must not be used"
	}
	var bad []string
	for _, id := range found {
		if slices.Contains(permissive, id) || !published && slices.Contains(unpublished, id) {
			continue
		}
		bad = append(bad, id)
	}
	if len(bad) == 0 {
		return ""
	}
	where := "in tools and tests"
	if published {
		where = "in published images"
	}
	return fmt.Sprintf("has the licence %s, which is not allowed %s", strings.Join(bad, " and "), where)
}

// Unused returns the paths of exceptions that are about none of the modules.
func Unused(all []Module) []string {
	var unused []string
	for path := range exceptions {
		if !slices.ContainsFunc(all, func(m Module) bool { return m.Path == path }) {
			unused = append(unused, path)
		}
	}
	slices.Sort(unused)
	return unused
}
