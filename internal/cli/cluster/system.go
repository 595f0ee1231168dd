// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// System returns the namespace of the operator and the control plane: the one of the flags, else the one
// in which their Deployments are found. If there are none, or they can't be listed in all namespaces, it
// is names.SystemNamespace. It asks the API server once.
func (c *Cluster) System(ctx context.Context) string {
	c.find.Do(func() {
		if c.system != "" {
			return
		}
		c.system = names.SystemNamespace
		list, err := c.typed.AppsV1().Deployments("").List(ctx, metav1.ListOptions{
			LabelSelector: names.LabelApp + " in (" + names.Operator + "," + names.ControlPlaneService + ")",
		})
		if err == nil { // what can't be listed is said by whoever reads the namespace
			c.system, c.others = systemOf(list.Items)
		}
	})
	return c.system
}

// systemOf picks the namespace of an installation. The operator's counts more than the control plane's,
// and where there are several the usual one, else the first by name; others are the further ones that have
// an operator.
func systemOf(deployments []appsv1.Deployment) (system string, others []string) {
	in := func(app string) []string {
		var out []string
		for i := range deployments {
			if deployments[i].Labels[names.LabelApp] == app {
				out = append(out, deployments[i].Namespace)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	found := in(names.Operator)
	others = found
	if len(found) == 0 {
		found = in(names.ControlPlaneService)
	}
	if len(found) == 0 || slices.Contains(found, names.SystemNamespace) {
		system = names.SystemNamespace
	} else {
		system = found[0]
	}
	return system, slices.DeleteFunc(slices.Clone(others), func(ns string) bool { return ns == system })
}
