// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/lifecycle/scale"
)

// scaling is how many replicas of the control plane there are to be; nil: as many as spec.controlPlane.replicas says.
func (d decision) scaling() *scale.State {
	spec := d.mesh.Spec.ControlPlane.Autoscaling
	if spec == nil {
		return nil
	}
	in := scale.Input{
		Min: spec.MinReplicas, Max: spec.MaxReplicas, ProxiesPerReplica: spec.ProxiesPerReplica,
		Proxies: d.seen.Proxies.Connected, Now: d.now,
	}
	if d.seen.Proxies.Connected != nil && d.seen.CPU != nil && spec.TargetCPUPercent != nil {
		in.CPU = *d.seen.CPU
		in.TargetCPU = render.ControlPlaneCPU(d.mesh) * float64(*spec.TargetCPUPercent) / 100
	}
	if !d.up.Settled {
		// Two control planes run, and proxies move from one to the other.
		in.Proxies = nil
	}
	if running := d.seen.Deployments[d.seen.ServingRevision]; running != nil && running.Spec.Replicas != nil {
		in.Running = *running.Spec.Replicas
	}
	if s := d.mesh.Status.ControlPlane; s != nil && s.Autoscaling != nil {
		in.Before = &scale.State{Replicas: s.Autoscaling.Replicas}
		if s.Autoscaling.LowerSince != nil {
			in.Before.LowerSince = s.Autoscaling.LowerSince.Time
		}
	}
	next := scale.Next(in)
	return &next
}

func autoscalingStatus(s *scale.State) *v1alpha1.AutoscalingStatus {
	if s == nil {
		return nil
	}
	out := &v1alpha1.AutoscalingStatus{Replicas: s.Replicas}
	if !s.LowerSince.IsZero() {
		// As it will be read again.
		at := metav1.NewTime(s.LowerSince).Rfc3339Copy()
		out.LowerSince = &at
	}
	return out
}
