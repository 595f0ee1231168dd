// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package licenses

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/google/licensecheck"
)

// names are the file names under which projects keep their licence.
var names = regexp.MustCompile(`(?i)^(li[cs]en[cs]e|copying|unlicense)([-._].*)?$`)

// notText are the endings of files that have such a name and are programs.
var notText = regexp.MustCompile(`(?i)\.(go|sh|py|ya?ml|json|tpl|tmpl)$`)

// leastCovered is the part of a licence file, in percent of its words, that
// must be the text of known licences. A file with more other text than that
// may contain conditions that no known licence has.
const leastCovered = 75

// Unknown is the identifier of a licence text that was not recognised.
const Unknown = "unknown"

// Of returns the SPDX identifiers of the licences of a module, sorted and
// without duplicates, from the licence files in the module's top folder.
// A file that is not recognised adds Unknown. A module without such a file
// has no licence: the result is empty.
func Of(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list files of module: %w", err)
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() || !names.MatchString(e.Name()) || notText.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read licence: %w", err)
		}
		found = append(found, identify(text)...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// identify returns the licences of one text, or Unknown.
func identify(text []byte) []string {
	c := licensecheck.Scan(text)
	var found []string
	for _, m := range c.Match {
		if !m.IsURL {
			found = append(found, m.ID)
		}
	}
	if len(found) == 0 || c.Percent < leastCovered {
		found = append(found, Unknown)
	}
	return found
}
