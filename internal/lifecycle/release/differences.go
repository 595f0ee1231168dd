// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

// last020 is the last release of the kind that this file tells apart: what it says of 0.2.0 was read from
// 0.2.0's sources, and tests compare it with what that release recorded.
const last020 = "0.2.0"

// InternalPort reports whether the release's control plane has names.PortInternal. Up to 0.2.0 it serves all of
// its paths on names.PortMonitor, to any client.
func (r Release) InternalPort() bool { return r.after(last020) }

// RequiresIntermediates reports whether the release's control plane and proxies refuse chains that pass through no
// intermediate of the mesh. Up to 0.2.0 any chain from a root of the mesh is accepted.
func (r Release) RequiresIntermediates() bool { return r.after(last020) }

// RemovesProxies reports whether the release's webhook removes proxies from pods that do not ask for one. Up to 0.2.0
// it is not asked about them.
func (r Release) RemovesProxies() bool { return r.after(last020) }

// WatchesSecrets reports whether the release's control plane watches all TLS Secrets and ConfigMaps of the
// cluster, whether anything refers to them or not. Up to 0.2.0 it does: without the right to do so, each of its
// replicas waits for half a minute before it is ready.
func (r Release) WatchesSecrets() bool {
	_, ok := parse(r.Version)
	return ok && !r.after(last020)
}

// after reports whether the release is newer than a version; false if it has no version.
func (r Release) after(version string) bool {
	n, ok := parse(r.Version)
	v, _ := parse(version)
	return ok && n.compare(v) > 0
}
