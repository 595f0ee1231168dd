// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"slices"
	"strings"

	"tulle.dev/tulle/internal/names"
)

// Release is a version that can be run.
type Release struct {
	// Version as in Mesh spec.version.
	Version string
	// Image of the operator and the control plane; ProxyImage of slots, agent and init.
	Image, ProxyImage string
	// Envoy is the version of Envoy in ProxyImage, "1.40.0".
	Envoy string
	// GatewayFeatures and MeshFeatures are what GatewayClass and XMesh say they support.
	GatewayFeatures, MeshFeatures []string
	// Kubernetes is the oldest one that it runs on, "1.29", and Kinds are those that it reads.
	Kubernetes string
	Kinds      []Kind
}

// Revision is the version as it appears in names and labels.
func (r Release) Revision() string { return names.RevisionOf(r.Version) }

func release020() Release {
	return Release{
		Version: "0.2.0", Envoy: "1.40.0",
		GatewayFeatures: gatewayFeatures02(), MeshFeatures: meshFeatures02(),
		Kubernetes: oldestKubernetes(), Kinds: kinds02(),
	}
}

func release030() Release {
	return Release{
		Version: "0.3.0", Envoy: "1.40.0",
		GatewayFeatures: gatewayFeatures03(), MeshFeatures: meshFeatures03(),
		Kubernetes: oldestKubernetes(), Kinds: kinds02(), // it reads what 0.2 reads
	}
}

// Catalog is a list of releases, the newest last. The zero value knows none.
type Catalog []Release

// Known are the releases this operator can run. The references name the images of the Current
// release; one without tag or digest gets the Current version as its tag. Earlier releases are
// expected at the same repositories, tagged with their version: a tag or a digest of the Current
// one says nothing about theirs. Where they are elsewhere, With says so.
func Known(image, proxyImage string) Catalog {
	c := built()
	for i := range c {
		if r := &c[i]; r.Version == Current {
			r.Image, r.ProxyImage = tagged(image, Current), tagged(proxyImage, Current)
		} else {
			r.Image, r.ProxyImage = repository(image)+":"+r.Version, repository(proxyImage)+":"+r.Version
		}
	}
	return c
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

// HasProxyRepository reports whether a release's proxy image is in the repository.
func (c Catalog) HasProxyRepository(name string) bool {
	return slices.ContainsFunc(c, func(r Release) bool { return repository(r.ProxyImage) == name })
}

// Versions lists the known versions, "0.2.0, 0.3.0".
func (c Catalog) Versions() string {
	v := make([]string, 0, len(c))
	for _, r := range c {
		v = append(v, r.Version)
	}
	return strings.Join(v, ", ")
}

// tagged adds a tag to a reference that has neither tag nor digest.
func tagged(ref, tag string) string {
	if repository(ref) != ref {
		return ref
	}
	return ref + ":" + tag
}

// repository is a reference without tag and digest. A colon before the last slash belongs to a
// registry's port.
func repository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[:i]
	}
	return ref
}
