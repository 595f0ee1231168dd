// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

// lastWithout is the last release whose control plane has no names.PortInternal: it serves all of its
// paths on names.PortMonitor, to anyone.
const lastWithout = "0.2.0"

// InternalPort reports whether the release's control plane has names.PortInternal.
func (r Release) InternalPort() bool {
	n, ok := parse(r.Version)
	last, _ := parse(lastWithout)
	return ok && n.compare(last) > 0
}
