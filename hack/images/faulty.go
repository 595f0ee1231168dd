// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

// faulty returns releases for tests of upgrades: each is the current one with a fault that an upgrade must not
// get past. No operator supports them before test/e2e names them in its releases file. The faults are in
// test/faulty, and a test compares the versions.
func faulty() []release {
	var all []release
	for _, version := range []string{"0.3.3", "0.3.4", "0.3.5", "0.3.6", "0.3.7"} {
		r := currentRelease()
		r.version, r.faulty = version, true
		all = append(all, r)
	}
	return all
}

// programsOf returns the programs of an image of a release. In a release with a fault, those of test/faulty are
// where the product's are expected.
func (i image) programsOf(r release) []program {
	if !r.faulty {
		return i.programs
	}
	var out []program
	for _, p := range i.programs {
		switch p.path {
		case "tulle":
			p.pkg = "./test/faulty/tulle"
		case "tulle-proxy":
			out = append(out, program{"released/tulle-proxy", p.module, p.pkg}) // where test/faulty/tulle-proxy expects it
			p.pkg = "./test/faulty/tulle-proxy"
		}
		out = append(out, p)
	}
	return out
}
