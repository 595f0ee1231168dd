// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"slices"
	"strings"

	"tulle.dev/tulle/internal/names"
)

// Current is the version this source tree builds.
const Current = "0.1.0"

// Release is a version that can be run.
type Release struct {
	// Version as in Mesh spec.version.
	Version string
	// Image of the operator and the control plane; ProxyImage of slots, agent and init.
	Image, ProxyImage string
	// GatewayFeatures and MeshFeatures are what GatewayClass and XMesh say they support.
	GatewayFeatures, MeshFeatures []string
}

// Revision is the version as it appears in names and labels.
func (r Release) Revision() string { return names.RevisionOf(r.Version) }

// Catalog is a list of releases, the newest last. The zero value knows none.
type Catalog []Release

// Known are the releases this operator can run. The references name the images of the Current
// release; earlier ones are at the same repositories, tagged with their version. A reference
// without tag or digest gets the Current version as its tag.
func Known(image, proxyImage string) Catalog {
	return Catalog{{
		Version:         Current,
		Image:           tagged(image, Current),
		ProxyImage:      tagged(proxyImage, Current),
		GatewayFeatures: gatewayFeatures(),
		MeshFeatures:    meshFeatures(),
	}}
}

// Find returns the release of a version.
func (c Catalog) Find(version string) (Release, bool) {
	i := slices.IndexFunc(c, func(r Release) bool { return r.Version == version })
	if i < 0 {
		return Release{}, false
	}
	return c[i], true
}

// FindRevision returns the release of a revision.
func (c Catalog) FindRevision(revision string) (Release, bool) {
	i := slices.IndexFunc(c, func(r Release) bool { return r.Revision() == revision })
	if i < 0 {
		return Release{}, false
	}
	return c[i], true
}

// Versions lists the known versions, "0.1.0, 0.2.0".
func (c Catalog) Versions() string {
	v := make([]string, 0, len(c))
	for _, r := range c {
		v = append(v, r.Version)
	}
	return strings.Join(v, ", ")
}

// tagged adds a tag to a reference that has neither tag nor digest. A colon before the last slash
// belongs to a registry's port.
func tagged(ref, tag string) string {
	if strings.Contains(ref, "@") || strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		return ref
	}
	return ref + ":" + tag
}
