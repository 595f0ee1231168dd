// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
)

// move changes one pod: the images of slots, the order to them, the label of the version; all in one
// patch, so that no half of it is ever seen. A pod that has gone, or another one of its name, is no error.
func (a *Applier) move(ctx context.Context, m upgrade.Move) error {
	if m.Restart != (upgrade.Restart{}) {
		return a.restart(ctx, m)
	}
	if len(m.Requests) > 0 {
		a.resize(ctx, m)
	}
	metadata := map[string]any{"uid": m.UID}
	if m.Target != nil {
		order, err := json.Marshal(m.Target)
		if err != nil {
			return fmt.Errorf("marshal the order to Pod %s/%s: %w", m.Namespace, m.Name, err)
		}
		metadata["annotations"] = map[string]string{names.AnnotationTarget: string(order)}
	}
	labels := map[string]string{}
	if m.Version != "" {
		labels[names.LabelVersion] = m.Version
	}
	if len(m.Images) > 0 {
		labels[names.LabelImageReplaced] = "true"
	}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	patch := map[string]any{"metadata": metadata}
	var containers []map[string]string
	for _, slot := range []struct{ name, container string }{{"a", names.ContainerSlotA}, {"b", names.ContainerSlotB}} {
		if image := m.Images[slot.name]; image != "" {
			containers = append(containers, map[string]string{"name": slot.container, "image": image})
		}
	}
	if len(containers) > 0 {
		patch["spec"] = map[string]any{"initContainers": containers}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("marshal the patch of Pod %s/%s: %w", m.Namespace, m.Name, err)
	}
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = m.Namespace, m.Name
	// A strategic merge finds containers by name.
	err = a.client.Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, body), client.FieldOwner(names.FieldManager))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("patch the proxy of Pod %s/%s: %w", m.Namespace, m.Name, err)
	}
	return nil
}

// resize changes what the slots of a running pod ask for, both in one patch, so that their sum stays. A
// refusal (an old API server, a policy, a node that can't) is said and is all right: the slots work with
// the requests they have, which are weights under contention, and limits do not change.
func (a *Applier) resize(ctx context.Context, m upgrade.Move) {
	var containers []map[string]any
	for _, slot := range []struct{ name, container string }{{"a", names.ContainerSlotA}, {"b", names.ContainerSlotB}} {
		if requests, ok := m.Requests[slot.name]; ok {
			containers = append(containers, map[string]any{"name": slot.container, "resources": map[string]any{"requests": requests}})
		}
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": m.UID}, "spec": map[string]any{"initContainers": containers}})
	if err == nil {
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name = m.Namespace, m.Name
		err = a.client.SubResource("resize").Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, body), client.FieldOwner(names.FieldManager))
	}
	if err != nil && !apierrors.IsConflict(err) {
		logr.FromContextOrDiscard(ctx).Info("The slots of a pod keep what they ask for", "pod", m.Namespace+"/"+m.Name, "because", err.Error())
	}
}

// restart changes the template of a workload, which then creates its pods again. Repeated for pods of the
// same template it changes nothing.
func (a *Applier) restart(ctx context.Context, m upgrade.Move) error {
	value := m.Version
	if m.Template != "" {
		value += "/" + m.Template
	}
	annotations := map[string]any{names.AnnotationRestart: value, names.AnnotationRestart020: nil}
	template := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
	if err != nil {
		return fmt.Errorf("marshal the patch of %s %s/%s: %w", m.Restart.Kind, m.Namespace, m.Restart.Name, err)
	}
	workload := &metav1.PartialObjectMetadata{}
	workload.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(m.Restart.Kind))
	workload.Namespace, workload.Name = m.Namespace, m.Restart.Name
	err = a.client.Patch(ctx, workload, client.RawPatch(types.StrategicMergePatchType, body), client.FieldOwner(names.FieldManager))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("restart %s %s/%s: %w", m.Restart.Kind, m.Namespace, m.Restart.Name, err)
	}
	return nil
}
