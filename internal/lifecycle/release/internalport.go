// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package release

// lastWithout is the last release whose control plane has no names.PortInternal: it serves all of its
// paths on names.PortMonitor, to anyone.
const lastWithout = "0.2.0"

// InternalPort reports whether the release's control plane has names.PortInternal. The release that this
// tree builds has it, also while it is still called as the last one without.
func (r Release) InternalPort() bool {
	if r.Version == Current {
		return true
	}
	n, ok := parse(r.Version)
	last, _ := parse(lastWithout)
	return ok && n.compare(last) > 0
}
