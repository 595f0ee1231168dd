// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

// faultyTag is the build tag that compiles the faults in.
const faultyTag = "faults"

// faulty are releases for tests of upgrades: each is the current one with a fault that an upgrade must
// not get past. No operator knows them by itself; test/e2e tells it. The faults are in the files with
// the build tag in internal/controlplane and internal/dataplane/agent, and go by these versions.
func faulty() []release {
	var all []release
	for _, version := range []string{
		"0.2.3", // its Envoy ends two seconds after each start
		"0.2.4", // Envoy refuses its inbound listeners
		"0.2.5", // each fifth inbound request is answered with 503
		"0.2.6", // each inbound request waits for 300 ms
		"0.2.7", // a slot that leaves cuts its connections; nothing shows it before
	} {
		r := currentRelease()
		r.version, r.tags = version, faultyTag
		all = append(all, r)
	}
	return all
}
