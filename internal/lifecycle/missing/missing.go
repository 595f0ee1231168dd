// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package missing

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/internal/names"
)

const (
	// settle is how old a pod must be to be chosen: what was just made without a proxy would come back
	// without one, and is not made anew again and again.
	settle = 2 * time.Minute
	// atOnce is how many pods are chosen in one round.
	atOnce = 5
	// longestUID is longer than any UID of Kubernetes. Whoever creates a pod may write any text as its owner's UID.
	longestUID = 64
)

// Pod is a pod that asks for a proxy, can have one, and has none.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	Created         time.Time
	// Workload is the UID of what makes the pod anew when it goes; empty: nothing would, or it would
	// begin its work again.
	Workload types.UID
	// Unsteady tells that some pod of the workload, this one included, is not Ready or is going away.
	Unsteady bool
}

// Asks tells whether pods with these labels ask for a proxy: they, or else their namespace, or else the
// Mesh's selector. A nil selector selects nothing.
func Asks(namespace string, pod, of labels.Set, selector labels.Selector, system string) bool {
	if namespace == system || namespace == metav1.NamespaceSystem {
		return false
	}
	switch pod[names.LabelInject] {
	case names.InjectEnabled:
		return true
	case names.InjectDisabled:
		return false
	}
	if pod[names.LabelClient] != "" {
		return false // it does without
	}
	if v, set := of[names.LabelInject]; set {
		return v == names.InjectEnabled
	}
	return selector != nil && selector.Matches(of)
}

// Namespace finds the pods of one namespace that ask for a proxy and have none. It keeps little of a pod, so that
// its pods can be read in pages. Make it with In.
type Namespace struct {
	of       labels.Set
	selector labels.Selector
	system   string
	unsteady map[types.UID]bool
	found    []Pod
}

// In returns a Namespace with these labels, before any of its pods was added.
func In(of labels.Set, selector labels.Selector, system string) *Namespace {
	return &Namespace{of: of, selector: selector, system: system, unsteady: map[types.UID]bool{}}
}

// Add takes some of the pods.
func (n *Namespace) Add(pods []corev1.Pod) {
	for i := range pods {
		p := &pods[i]
		w := workload(p)
		if w != "" && (!ready(p) || !p.DeletionTimestamp.IsZero()) && !ended(p) {
			n.unsteady[w] = true
		}
		if p.Labels[names.LabelProxy] != "" || ended(p) || !p.DeletionTimestamp.IsZero() || !able(p) || !Asks(p.Namespace, p.Labels, n.of, n.selector, n.system) {
			continue
		}
		n.found = append(n.found, Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Created: p.CreationTimestamp.Time, Workload: w})
	}
}

// Pods returns those that ask for a proxy and have none. All pods of the namespace must have been added.
func (n *Namespace) Pods() []Pod {
	for i, p := range n.found {
		n.found[i].Unsteady = n.unsteady[p.Workload]
	}
	return n.found
}

// able tells whether a pod can have a proxy at all.
func able(p *corev1.Pod) bool {
	return !p.Spec.HostNetwork && (p.Spec.OS == nil || p.Spec.OS.Name != corev1.Windows) && p.Annotations[corev1.MirrorPodAnnotationKey] == ""
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// workload is what makes the pod anew. A Job would begin its work again, and of kinds that are not
// Kubernetes' own nobody knows what they do.
func workload(p *corev1.Pod) types.UID {
	o := metav1.GetControllerOf(p)
	if o == nil || len(o.UID) > longestUID {
		return ""
	}
	switch o.APIVersion + " " + o.Kind {
	case "apps/v1 ReplicaSet", "apps/v1 StatefulSet", "apps/v1 DaemonSet", "v1 ReplicationController":
		return o.UID
	}
	return ""
}

// Choose returns the pods to be evicted now: a few, one of each workload whose pods are all Ready. Namespaces have
// turns, and the workloads of a namespace. Where the turns begin moves on with time, so that pods that can't be evicted
// do not delay others, least of all those of other namespaces.
func Choose(list []Pod, now time.Time) []Pod {
	list = slices.DeleteFunc(slices.Clone(list), func(p Pod) bool {
		return p.Workload == "" || p.Unsteady || now.Sub(p.Created) < settle
	})
	slices.SortFunc(list, func(a, b Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	type controller struct { // a UID alone may be that of another namespace's workload: see longestUID
		namespace string
		uid       types.UID
	}
	seen := map[controller]bool{}
	list = slices.DeleteFunc(list, func(p Pod) bool {
		c := controller{p.Namespace, p.Workload}
		twice := seen[c]
		seen[c] = true
		return twice
	})
	if len(list) <= atOnce {
		return list
	}
	var namespaces [][]Pod
	for i, p := range list {
		if i == 0 || p.Namespace != list[i-1].Namespace {
			namespaces = append(namespaces, nil)
		}
		last := len(namespaces) - 1
		namespaces[last] = append(namespaces[last], p)
	}
	var out []Pod
	for turn := int(now.Unix()/int64(Every.Seconds())) * atOnce; len(out) < atOnce; turn++ {
		of := namespaces[turn%len(namespaces)]
		if p := of[turn/len(namespaces)%len(of)]; !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// Every is how often pods are looked for: those without a proxy are not watched.
const Every = 15 * time.Second
