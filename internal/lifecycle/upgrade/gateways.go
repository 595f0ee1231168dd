// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// GatewayDeployment is the Deployment that the operator created for a Gateway, as its status describes it. Pods are
// not looked at: any pod may have the labels of a Gateway's.
type GatewayDeployment struct {
	// Namespace and Gateway name the Gateway.
	Namespace, Gateway string
	// Version is the release in the Deployment's pod template.
	Version string
	// Waiting says what its rollout waits for; empty: all its pods are of this template and Ready.
	Waiting string
}

// GatewayFrom is the Deployment of a Gateway as an upgrade sees it.
func GatewayFrom(d *appsv1.Deployment, gateway string) GatewayDeployment {
	out := GatewayDeployment{Namespace: d.Namespace, Gateway: gateway, Version: d.Spec.Template.Labels[names.LabelVersion]}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		out.Waiting = "its Deployment was changed a moment ago"
	case s.UpdatedReplicas < want:
		out.Waiting = fmt.Sprintf("%d of %d new pods are created", s.UpdatedReplicas, want)
	case s.Replicas > s.UpdatedReplicas:
		out.Waiting = fmt.Sprintf("%d former pods are not deleted yet", s.Replicas-s.UpdatedReplicas)
	case s.ReadyReplicas < s.UpdatedReplicas:
		out.Waiting = fmt.Sprintf("%d of %d new pods are Ready", s.ReadyReplicas, s.UpdatedReplicas)
	}
	return out
}

// gatewaysBehind names the Gateways whose proxies are not all of the version and Ready.
func (u *run) gatewaysBehind(version string) []string {
	var out []string
	for _, g := range u.GatewayDeployments {
		name := "Gateway " + g.Namespace + "/" + g.Gateway
		switch {
		case g.Version != version:
			out = append(out, name+": its Deployment is not of "+version+" yet")
		case g.Waiting != "":
			out = append(out, name+": "+g.Waiting)
		}
	}
	slices.Sort(out)
	return out
}

// gatewaysWait returns the Gateways that are waited for and those that were waited for long enough, which is shown as
// status.upgrade.unreadySince. Then the change of the version ends without them: their Deployments continue, and their
// former pods serve until the new ones are Ready. Nothing else that happens meanwhile prolongs the time.
func (u *run) gatewaysWait(version string) (waiting, late []string) {
	behind := u.gatewaysBehind(version)
	if len(behind) == 0 {
		u.s.UnreadySince = nil
		return nil, nil
	}
	since := metav1.NewTime(u.Now)
	if !u.GatewaysSince.IsZero() {
		since = metav1.NewTime(u.GatewaysSince)
	}
	u.s.UnreadySince = &metav1.Time{Time: since.UTC().Truncate(time.Second)}
	if Late(since.Time, u.Clock) {
		return nil, behind
	}
	return behind, nil
}
