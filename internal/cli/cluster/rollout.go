// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/internal/cli/unmesh"
	"tulle.dev/tulle/internal/names"
)

// restartedAt is kubectl's own annotation: a restart looks the same whoever asks for it.
const restartedAt = "kubectl.kubernetes.io/restartedAt"

// rollout is how far a workload is with its template, for all kinds alike.
type rollout struct {
	selector *metav1.LabelSelector
	// wanted pods, those made of the newest template, those that are available, and all there are.
	wanted, updated, available, all int32
	// seen: the counts are of the newest template.
	seen bool
	// stuck is why a change of the template replaces no pods; empty: it does.
	stuck string
}

func (r rollout) done() bool {
	return r.seen && r.updated >= r.wanted && r.available >= r.wanted && r.all <= r.updated
}

func (c *Cluster) rollout(ctx context.Context, ref unmesh.Ref) (rollout, error) {
	var r rollout
	var err error
	apps := c.typed.AppsV1()
	switch ref.Kind {
	case kindDeployment:
		var d *appsv1.Deployment
		if d, err = apps.Deployments(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{}); err == nil {
			r = ofDeployment(d)
		}
	case kindStatefulSet:
		var s *appsv1.StatefulSet
		if s, err = apps.StatefulSets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{}); err == nil {
			r = ofStatefulSet(s)
		}
	default:
		var d *appsv1.DaemonSet
		if d, err = apps.DaemonSets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{}); err == nil {
			r = ofDaemonSet(d)
		}
	}
	if err != nil {
		return r, fmt.Errorf("get %s: %w", ref, err)
	}
	return r, nil
}

func ofDeployment(d *appsv1.Deployment) rollout {
	r := rollout{
		selector: d.Spec.Selector, wanted: wanted(d.Spec.Replicas),
		updated: d.Status.UpdatedReplicas, available: d.Status.AvailableReplicas, all: d.Status.Replicas,
		seen: d.Status.ObservedGeneration >= d.Generation,
	}
	if d.Spec.Paused {
		r.stuck = "its rollouts are paused: kubectl -n " + d.Namespace + " rollout resume deployment " + d.Name
	}
	return r
}

func ofStatefulSet(s *appsv1.StatefulSet) rollout {
	r := rollout{
		selector: s.Spec.Selector, wanted: wanted(s.Spec.Replicas),
		updated: s.Status.UpdatedReplicas, available: s.Status.AvailableReplicas, all: s.Status.Replicas,
		seen: s.Status.ObservedGeneration >= s.Generation,
	}
	if s.Status.UpdateRevision == s.Status.CurrentRevision {
		r.updated = s.Status.Replicas // then the count of updated ones need not be there
	}
	switch u := s.Spec.UpdateStrategy; {
	case u.Type == appsv1.OnDeleteStatefulSetStrategyType:
		r.stuck = "it replaces pods only when they are deleted (OnDelete): change its updateStrategy for the time being"
	case u.RollingUpdate != nil && u.RollingUpdate.Partition != nil && *u.RollingUpdate.Partition > 0:
		r.stuck = "it replaces only some of its pods (partition): change its updateStrategy for the time being"
	}
	return r
}

func ofDaemonSet(d *appsv1.DaemonSet) rollout {
	r := rollout{
		selector: d.Spec.Selector, wanted: d.Status.DesiredNumberScheduled,
		updated: d.Status.UpdatedNumberScheduled, available: d.Status.NumberAvailable,
		seen: d.Status.ObservedGeneration >= d.Generation,
	}
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		r.stuck = "it replaces pods only when they are deleted (OnDelete): change its updateStrategy for the time being"
	}
	return r
}

func wanted(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// Progress is how far a restart is.
type Progress struct {
	// Done: all pods are of the newest template and available, and none carries a proxy.
	Done bool
	// InVain: all pods are new and available, and some carry a proxy all the same.
	InVain bool
	// Replaced of Wanted pods are new and available.
	Replaced, Wanted int32
	// Proxies are the pods that carry a proxy still.
	Proxies int
	// Message is what the pods that are not ready say; empty: nothing.
	Message string
}

// Unmesh has a workload replace its pods, as its own strategy wants, by such without a proxy.
func (c *Cluster) Unmesh(ctx context.Context, r unmesh.Ref, at time.Time) error {
	meta := map[string]any{
		"annotations": map[string]any{restartedAt: at.UTC().Format(time.RFC3339)},
		"labels":      map[string]any{names.LabelInject: names.InjectDisabled},
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": meta}}})
	if err != nil {
		return fmt.Errorf("restart %s: %w", r, err)
	}
	opts := metav1.PatchOptions{FieldManager: fieldManager}
	apps := c.typed.AppsV1()
	switch r.Kind {
	case kindDeployment:
		_, err = apps.Deployments(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, opts)
	case kindStatefulSet:
		_, err = apps.StatefulSets(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, opts)
	default:
		_, err = apps.DaemonSets(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, patch, opts)
	}
	if err != nil {
		return fmt.Errorf("restart %s: %w", r, err)
	}
	return nil
}

// Restarted looks how far a restart is. A workload that has gone is done.
func (c *Cluster) Restarted(ctx context.Context, r unmesh.Ref) (Progress, error) {
	s, err := c.rollout(ctx, r)
	if IsNotFound(err) {
		return Progress{Done: true}, nil
	}
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Replaced: min(s.updated, s.available), Wanted: s.wanted}
	if !s.seen {
		p.Replaced = 0
	}
	selector, err := metav1.LabelSelectorAsSelector(s.selector)
	if err != nil {
		return p, fmt.Errorf("read the selector of %s: %w", r, err)
	}
	pods, err := c.typed.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return p, fmt.Errorf("list the pods of %s: %w", r, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if by := metav1.GetControllerOf(pod); by == nil || ended(pod) {
			continue // what only looks like one of them is nobody's
		}
		if hasProxy(pod) {
			p.Proxies++
		}
		if f := podOf(pod); !f.Ready && f.Message != "" {
			p.Message = "pod " + f.Name + ": " + f.Message
		}
	}
	p.Done, p.InVain = s.done() && p.Proxies == 0, s.done() && p.Proxies > 0
	return p, nil
}
