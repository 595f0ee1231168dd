// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"cmp"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Pod is a pod that carries a proxy.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	// Kind is names.KindSidecar or names.KindGateway; empty if the pod has no container of a proxy, whatever its labels.
	Kind string
	// Workload is what made the pod, "NAMESPACE/KIND/NAME"; pods of one workload are alike.
	Workload string
	Labels   map[string]string
	// Order is names.UpgradeFirst, names.UpgradeNever or "", of the pod or else of its namespace.
	Order string
	// Ready is the pod's condition; Deleting pods are going away.
	Ready, Deleting bool
	// Obstacle says why the slots can't be replaced in place; empty: they can. Such a pod is replaced by
	// restarting Restart.
	Obstacle string
	// Restart is the workload whose restart replaces the pod; zero: there is none that Tulle can restart.
	Restart Restart
	// Template identifies which of its workload's pod templates the pod was created from; empty: not known.
	Template string
	// Created is when the pod was created.
	Created time.Time
	// RestartedFor is the version that its workload was restarted for, if injection has not removed the
	// annotation: the pod's proxy is in its template, and no restart changes it.
	RestartedFor string
	// A and B are the slots.
	A, B Slot
	// Node is the node that it runs on; empty: none yet.
	Node string
	// Target is the order that the pod's annotation gives; the zero value: none.
	Target protocol.Target
	// reported is the version of the connected proxy that serves; empty: none does.
	reported string
}

// Slot is a proxy slot as the API server shows it.
type Slot struct {
	Image string
	// Problem says why the container does not run, in the kubelet's words; empty: it does.
	Problem string
	// Requests of the container.
	Requests corev1.ResourceList
}

func (p Pod) key() string { return p.Namespace + "/" + p.Name }

// version is that of the proxy that serves, as it reports, or else as the pod's label says.
func (p Pod) version() string { return cmp.Or(p.reported, p.label()) }

// label is the version that the pod's label says. The pod's owner can write it.
func (p Pod) label() string { return p.Labels[names.LabelVersion] }

func (p Pod) slot(name string) Slot {
	if name == "b" {
		return p.B
	}
	return p.A
}

// target is the order in force: without the annotation it is slot a, generation 0.
func (p Pod) target() protocol.Target {
	if p.Target.Slot == "" {
		return protocol.Target{Slot: "a"}
	}
	return p.Target
}

// swapped is what the slots are to ask for when one of them serves: the larger requests are the serving
// one's. nil: it is so already, as with proxies injected where requests can't change, whose slots ask for
// the same.
func (p Pod) swapped(serving string) map[string]corev1.ResourceList {
	standby := other(serving)
	more, less := p.slot(standby).Requests, p.slot(serving).Requests
	if cmp.Or(more.Cpu().Cmp(*less.Cpu()), more.Memory().Cmp(*less.Memory())) <= 0 {
		return nil
	}
	return map[string]corev1.ResourceList{serving: more, standby: less}
}

// takesPart tells whether the pod's proxy is to be replaced in place at all. Gateways are deployed
// anew instead, by their own Deployment.
func (p Pod) takesPart() bool {
	return p.Kind == names.KindSidecar && p.Order != names.UpgradeNever && !p.Deleting
}

func other(slot string) string {
	if slot == "a" {
		return "b"
	}
	return "a"
}

// Restart is a workload: a Deployment, a StatefulSet or a DaemonSet of the pod's namespace.
type Restart struct{ Kind, Name string }

// Move is a change of one pod. It is applied as one patch, guarded by the pod's UID.
type Move struct {
	// Restart, if set, is done instead: the workload's pods are made anew, for Version, as the workload's
	// own strategy says.
	Restart Restart
	// Template and Created are those of the pod, for Restart: a restart for the same version and template
	// is the same restart.
	Template        string
	Created         time.Time
	Namespace, Name string
	UID             types.UID
	// Images by slot ("a", "b"); others stay.
	Images map[string]string
	// Requests by slot, set first, by a patch of their own: that it is refused is no reason not to go on.
	Requests map[string]corev1.ResourceList
	// Target replaces the annotation; nil: it stays.
	Target *protocol.Target
	// Version replaces the label; empty: it stays.
	Version string
	// free: nothing of the pod serves, so that the move takes no place of spec.upgrade.maxUnavailable.
	free bool
}
