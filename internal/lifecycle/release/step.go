// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// number is a version's place in the order; what follows a "-" makes it earlier.
type number struct {
	major, minor, patch int
	pre                 string
}

// parse reads a version as spec.version is written: MAJOR.MINOR.PATCH[-PRERELEASE].
func parse(version string) (n number, ok bool) {
	core, pre, early := strings.Cut(version, "-")
	parts := strings.Split(core, ".")
	// As the rule of spec.version has it, whose length is limited too.
	if len(version) > 32 || len(parts) != 3 || early && !prerelease(pre) {
		return number{}, false
	}
	for i, to := range []*int{&n.major, &n.minor, &n.patch} {
		u, err := strconv.ParseUint(parts[i], 10, 31)
		if err != nil {
			return number{}, false
		}
		*to = int(u)
	}
	n.pre = pre
	return n, true
}

// prerelease tells whether s is words of lower case letters and digits, between dots and dashes.
func prerelease(s string) bool {
	word := false
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (!word || c != '.' && c != '-') {
			return false
		}
		word = letter
	}
	return word
}

// compare orders versions as Semantic Versioning does (semver.org, 11).
func (n number) compare(o number) int {
	if c := cmp.Or(cmp.Compare(n.major, o.major), cmp.Compare(n.minor, o.minor), cmp.Compare(n.patch, o.patch)); c != 0 {
		return c
	}
	switch {
	case n.pre == o.pre:
		return 0
	case n.pre == "":
		return 1
	case o.pre == "":
		return -1
	}
	return slices.CompareFunc(strings.Split(n.pre, "."), strings.Split(o.pre, "."), func(a, b string) int {
		x, errA := strconv.ParseUint(a, 10, 64)
		y, errB := strconv.ParseUint(b, 10, 64)
		switch {
		case errA == nil && errB == nil:
			return cmp.Compare(x, y)
		case errA == nil:
			return -1
		case errB == nil:
			return 1
		}
		return cmp.Compare(a, b)
	})
}

// Allowed tells whether a mesh may change from one version to another at once, in either direction;
// see Catalog.Allowed. No release is known, so the path in the error has minors only.
func Allowed(from, to string) error { return Catalog(nil).Allowed(from, to) }

// Allowed tells whether a mesh may change from one version to another at once, and so whether
// proxies of the one may live beside a control plane of the other: within a major, and at most one
// minor away. The error names the way there, by the newest known releases where there are some.
// From nothing, everything is allowed.
func (c Catalog) Allowed(from, to string) error {
	if from == "" || from == to {
		return nil
	}
	a, ok := parse(from)
	if !ok {
		return fmt.Errorf("%q is not a version such as 0.1.0", from)
	}
	b, ok := parse(to)
	if !ok {
		return fmt.Errorf("%q is not a version such as 0.1.0", to)
	}
	if a.major != b.major {
		return fmt.Errorf("%s can't go to %s: there is no way from one major version to another but a new mesh", from, to)
	}
	step := cmp.Compare(b.minor, a.minor)
	if a.minor+step == b.minor {
		return nil
	}
	// Far away the rest of the way is clear from its beginning.
	const most = 8
	var way []string
	for m := a.minor + step; m != b.minor && len(way) < most; m += step {
		way = append(way, c.newest(a.major, m))
	}
	if len(way) == most {
		way[most-1] += " and on, one minor at a time"
	}
	return fmt.Errorf("%s can't go to %s at once: set spec.version to %s, then %s", from, to, strings.Join(way, ", then "), to)
}

// newest is the newest known release of a minor, or "0.3.x". A prerelease is nobody's way.
func (c Catalog) newest(major, minor int) string {
	found, best := fmt.Sprintf("%d.%d.x", major, minor), number{patch: -1}
	for _, r := range c {
		if n, ok := parse(r.Version); ok && n.major == major && n.minor == minor && n.pre == "" && n.patch > best.patch {
			found, best = r.Version, n
		}
	}
	return found
}
