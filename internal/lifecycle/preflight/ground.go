// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package preflight

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"

	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// Ground is what an upgrade stands on. The zero value: nothing is known, and nothing is in the way.
type Ground struct {
	// Kubernetes is the API server's version, "v1.36.3"; empty: not known.
	Kubernetes string
	// Unserved are kinds that the release needs and that the cluster does not serve.
	Unserved []release.Kind
	// Denied are the rights among those asked for that the operator does not have.
	Denied []Right
	// Forbidden are the restarted workloads of which a PodDisruptionBudget lets no pod go, with its name.
	Forbidden map[Workload]string
	// Deployments are those among the restarted workloads.
	Deployments map[Workload]*appsv1.Deployment
	// Quotas are those of the control plane's namespace.
	Quotas []corev1.ResourceQuota
}

// Obstacles are what must be mended before the mesh goes to a release: pods are those with a proxy,
// added the objects that come with its control plane; nil: they are there already.
func Obstacles(g Ground, to release.Release, pods []upgrade.Pod, added []*unstructured.Unstructured) []string {
	var out []string
	for _, problem := range []string{tooOld(g.Kubernetes, to), unserved(g.Unserved, to), denied(g.Denied)} {
		if problem != "" {
			out = append(out, problem)
		}
	}
	out = append(out, full(g.Quotas, added)...)
	return append(out, disruptions(pods, g)...)
}

// tooOld compares minor releases: distributions add to the rest of a version as they like.
func tooOld(have string, to release.Release) string {
	v, err := version.ParseGeneric(have)
	oldest, wrong := version.ParseGeneric(to.Kubernetes)
	if err != nil || wrong != nil || v.AtLeast(oldest) {
		return ""
	}
	return fmt.Sprintf("the cluster is Kubernetes %s, and release %s needs %s or later: upgrade the cluster first", have, to.Version, to.Kubernetes)
}

func unserved(list []release.Kind, to release.Release) string {
	if len(list) == 0 {
		return ""
	}
	var kinds []string
	for _, k := range list {
		kinds = append(kinds, k.Definition+" "+k.Version)
	}
	slices.Sort(kinds)
	return fmt.Sprintf("release %s reads kinds that the cluster does not serve: %s; install, or upgrade, their definitions (tulle check says how)", to.Version, strings.Join(kinds, ", "))
}
